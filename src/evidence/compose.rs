//! Compose files: which service builds what.
//!
//! The rules are compose-go's: files are read as trees, interpolated, `extends` and `include` are
//! followed, and the trees are merged (`merge.rs`); only then is a service read. Two programs read
//! compose files, and they differ: `docker compose` looks for the files upwards, takes
//! `compose.override.yaml` in, and minds profiles; `docker buildx bake` does none of that (buildx
//! `bake/compose.go`) and takes build arguments without a value from the service's `environment`.

use std::path::{Path, PathBuf};

use super::build_target::{BuildTarget, ContextSource, Env, Place, normalize};
use super::yaml::{Node, ScalarKind, Value};

mod load;
mod merge;
mod service;
#[cfg(test)]
mod tests;

pub use load::ComposeError;
use service::{Places, service};

/// The names that `docker compose` and bake look for, in their order (compose-go `cli/options.go`).
pub const DEFAULT_FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// The override files that `docker compose` takes in by itself, in their order.
pub const DEFAULT_OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// How the files are to be read.
#[derive(Debug, Clone, Default)]
pub struct ComposeOptions {
    /// The files (`-f`), relative to the working directory; empty looks for the default ones.
    pub files: Vec<PathBuf>,
    /// `--project-directory`.
    pub project_dir: Option<PathBuf>,
    /// `--env-file`; empty is `.env` in the project directory.
    pub env_files: Vec<PathBuf>,
    /// `--profile`.
    pub profiles: Vec<String>,
}

/// A service, with or without a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    /// Its image.
    pub image: Option<String>,
    /// What it builds; `None` where it only runs an image.
    pub build: Option<BuildTarget>,
    /// The services that it needs.
    pub depends_on: Vec<String>,
    /// The profiles that turn it on; none is always on.
    pub profiles: Vec<String>,
}

/// A compose project, all files merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeProject {
    /// The files in the order in which they were merged, with those of `extends` and `include`.
    pub files: Vec<PathBuf>,
    /// The directory that relative paths of the main files start from.
    pub dir: PathBuf,
    /// The project's name where a file or `COMPOSE_PROJECT_NAME` gives it.
    pub name: Option<String>,
    /// The services, by name.
    pub services: Vec<Service>,
    /// The profiles that are on.
    pub profiles: Vec<String>,
}

/// Who reads the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Compose,
    Bake,
}

/// Reads a project as `docker compose` does.
///
/// `cwd` is the working directory, absolute; `env` the environment.
///
/// # Errors
/// See [`ComposeError`].
pub fn load(cwd: &Path, options: &ComposeOptions, env: &Env<'_>) -> Result<ComposeProject, ComposeError> {
    let files = find_files(cwd, options, env)?;
    let dir = match (&options.project_dir, files.first()) {
        (Some(dir), _) => normalize(&cwd.join(dir)),
        (None, Some(first)) => first.parent().unwrap_or(cwd).to_owned(),
        (None, None) => cwd.to_owned(),
    };
    let env_files = env_file_list(cwd, options, env);
    let mut vars = load::env_files(&dir, &env_files, env)?;
    if options.files.is_empty() && options.project_dir.is_none() && dir != cwd {
        // Files found upwards: compose reads `.env` here first, and its values win.
        vars.extend(load::env_files(cwd, &env_files, env)?);
    }
    let env = |name: &str| env(name).or_else(|| vars.get(name).cloned());
    let mut profiles = options.profiles.clone();
    if let Some(more) = env("COMPOSE_PROFILES") {
        profiles.extend(more.split(',').map(|p| p.trim().to_owned()));
        profiles.retain(|p| !p.is_empty());
    }
    let mut project = read(&files, &dir, &env, Reader::Compose)?;
    project.profiles = profiles;
    Ok(project)
}

/// Reads compose files as `docker buildx bake` does: the files as named, paths from `cwd`, `.env` of
/// `cwd`, no override file, every profile.
///
/// # Errors
/// See [`ComposeError`].
pub fn load_for_bake(cwd: &Path, files: &[PathBuf], env: &Env<'_>) -> Result<ComposeProject, ComposeError> {
    let vars = load::env_files(cwd, &[], env)?;
    let env = |name: &str| env(name).or_else(|| vars.get(name).cloned());
    let files: Vec<PathBuf> = files.iter().map(|f| normalize(&cwd.join(f))).collect();
    let mut project = read(&files, cwd, &env, Reader::Bake)?;
    project.profiles = vec!["*".to_owned()];
    Ok(project)
}

fn env_file_list(cwd: &Path, options: &ComposeOptions, env: &Env<'_>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = options.env_files.clone();
    if files.is_empty()
        && let Some(list) = env("COMPOSE_ENV_FILES")
    {
        files = list.split(',').filter(|f| !f.is_empty()).map(PathBuf::from).collect();
    }
    files.iter().map(|f| normalize(&cwd.join(f))).collect()
}

/// The files that `docker compose` reads: those named, those of `COMPOSE_FILE`, or the default ones
/// of the nearest directory upwards that has any.
fn find_files(cwd: &Path, options: &ComposeOptions, env: &Env<'_>) -> Result<Vec<PathBuf>, ComposeError> {
    let absolute = |files: &[PathBuf]| files.iter().map(|f| normalize(&cwd.join(f))).collect();
    if !options.files.is_empty() {
        return Ok(absolute(&options.files));
    }
    // `.env` may set COMPOSE_FILE too.
    let start = options.project_dir.as_ref().map_or_else(|| cwd.to_owned(), |dir| normalize(&cwd.join(dir)));
    let vars = load::env_files(&start, &env_file_list(cwd, options, env), env)?;
    let lookup = |name: &str| env(name).or_else(|| vars.get(name).cloned());
    if let Some(list) = lookup("COMPOSE_FILE").filter(|list| !list.is_empty()) {
        let separator =
            lookup("COMPOSE_PATH_SEPARATOR").filter(|s| !s.is_empty()).unwrap_or_else(|| if cfg!(windows) { ";" } else { ":" }.to_owned());
        let files: Vec<PathBuf> = list.split(separator.as_str()).filter(|f| !f.is_empty()).map(PathBuf::from).collect();
        return Ok(absolute(&files));
    }
    for dir in start.ancestors() {
        if let Some(file) = DEFAULT_FILES.iter().map(|f| dir.join(f)).find(|f| f.is_file()) {
            let overrides = DEFAULT_OVERRIDES.iter().map(|f| dir.join(f)).find(|f| f.is_file());
            return Ok(std::iter::once(file).chain(overrides).collect());
        }
    }
    Err(ComposeError::NoFile(start))
}

fn read(files: &[PathBuf], dir: &Path, env: &Env<'_>, reader: Reader) -> Result<ComposeProject, ComposeError> {
    let mut loader = load::Loader::new();
    let tree = loader.load_all(files, dir, env)?;
    let sources = loader.sources();
    let root = Places { sources };
    let mut services = Vec::new();
    if let Some(node) = tree.get("services").filter(|node| !node.is_null()) {
        let entries = node.as_map().ok_or_else(|| root.wrong(node, "services", "a mapping"))?;
        for entry in entries {
            services.push(service(&root, &entry.key, entry.line, &entry.node, env, reader)?);
        }
    } else if reader == Reader::Bake && tree.get("secrets").is_none() {
        return Err(ComposeError::Empty(files.first().cloned().unwrap_or_default()));
    }
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let name =
        env("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()).or_else(|| tree.get("name").and_then(Node::as_text).map(str::to_owned));
    Ok(ComposeProject {
        files: sources.iter().map(|source| source.file.clone()).collect(),
        dir: dir.to_owned(),
        name,
        services,
        profiles: Vec::new(),
    })
}

impl ComposeProject {
    /// The service of a name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// What `docker compose build` builds: the named services, or all that the profiles turn on;
    /// and the services whose result those take as a named context, in front of them.
    ///
    /// # Errors
    /// [`ComposeError::NoService`] for a name that is no service.
    pub fn build_targets(&self, names: &[String]) -> Result<Vec<BuildTarget>, ComposeError> {
        let mut wanted: Vec<&Service> = Vec::new();
        for name in names {
            wanted.push(self.service(name).ok_or_else(|| ComposeError::NoService {
                name: name.clone(),
                known: self.services.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", "),
            })?);
        }
        if names.is_empty() {
            wanted.extend(self.services.iter().filter(|service| self.is_on(service)));
        }
        let mut targets: Vec<BuildTarget> = Vec::new();
        let mut visiting = Vec::new();
        for service in wanted {
            self.push_with_linked(service, &mut targets, &mut visiting);
        }
        Ok(targets)
    }

    /// The services that the named ones need by `depends_on`, themselves first, each once.
    ///
    /// # Errors
    /// [`ComposeError::NoService`] for a name that is no service.
    pub fn with_dependencies(&self, names: &[String]) -> Result<Vec<String>, ComposeError> {
        let mut out: Vec<String> = Vec::new();
        let mut todo: Vec<String> = names.iter().rev().cloned().collect();
        while let Some(name) = todo.pop() {
            if out.contains(&name) {
                continue;
            }
            let service = self.service(&name).ok_or_else(|| ComposeError::NoService {
                name: name.clone(),
                known: self.services.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", "),
            })?;
            todo.extend(service.depends_on.iter().rev().cloned());
            out.push(name);
        }
        Ok(out)
    }

    fn is_on(&self, service: &Service) -> bool {
        service.profiles.is_empty() || self.profiles.iter().any(|p| p == "*" || service.profiles.contains(p))
    }

    fn push_with_linked<'s>(&'s self, service: &'s Service, targets: &mut Vec<BuildTarget>, visiting: &mut Vec<&'s str>) {
        let Some(build) = &service.build else {
            return;
        };
        if visiting.contains(&service.name.as_str()) || targets.iter().any(|t| t.name.as_deref() == Some(service.name.as_str())) {
            return;
        }
        visiting.push(&service.name);
        for context in build.contexts.values() {
            if let ContextSource::Target(name) = context
                && let Some(linked) = self.service(name)
            {
                self.push_with_linked(linked, targets, visiting);
            }
        }
        visiting.pop();
        targets.push(build.clone());
    }
}

/// Says whether a scalar is a plain string, as some keys ask for.
fn is_string(node: &Node) -> bool {
    matches!(node.value, Value::Scalar(_, ScalarKind::Str))
}
