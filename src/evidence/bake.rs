//! Bake files: what `docker buildx bake` builds.
//!
//! The rules are buildx's `bake/bake.go` and `bake/hclparser`: all files are parsed and evaluated,
//! compose files among them become targets, targets of one name are merged, groups are opened,
//! `inherits` is followed, `--set` is applied. Where bake refuses a file, so does this.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::build_target::{BuildTarget, ContextSource, Env, normalize};
use super::compose::{self, ComposeError};

mod config;
mod eval;
mod functions;
mod ops;
mod syntax;
mod target;
mod template;
#[cfg(test)]
mod tests;
mod value;

use config::Config;
use syntax::SyntaxError;
use target::Target;

/// The files that bake reads by itself, all that exist, in this order (buildx `defaultFilenames`).
pub const DEFAULT_FILES: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// Bytes of a bake file that are read at most.
const MAX_BAKE_BYTES: u64 = 512 << 10;

/// Why bake files could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BakeError {
    /// No file was named and none of the default names is there.
    #[error("no bake or compose file in {0}: name it with -f")]
    NoFile(PathBuf),
    /// The definition is behind a URL or comes through standard input.
    #[error("the bake definition {0} is not a local file: it cannot be read here")]
    Remote(String),
    /// A file cannot be read.
    #[error("{file} cannot be read: {message}")]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        message: String,
    },
    /// A file is neither HCL nor JSON.
    #[error("{file}:{line}: {message}")]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// An expression or attribute cannot be evaluated.
    #[error("{file}:{line}: {message}")]
    Eval {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A variable's validation does not hold, or a variable cannot be evaluated.
    #[error("variable {name}: {message}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A compose file is wrong.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// A target that is named and does not exist.
    #[error("failed to find target {name} (there are: {known})")]
    NoTarget {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A name that no target may have.
    #[error("{0:?} cannot be a target's name: only letters, digits, _ and - can")]
    TargetName(String),
    /// Targets that use one another as contexts in a circle.
    #[error("infinite loop from {from} to {to}")]
    Loop {
        /// The one.
        from: String,
        /// The other.
        to: String,
    },
    /// A `--set` that cannot be applied.
    #[error("--set {set}: {message}")]
    Set {
        /// The override as given.
        set: String,
        /// What is wrong.
        message: String,
    },
    /// A target's final values make no build.
    #[error("target {name}: {message}")]
    Target {
        /// The target.
        name: String,
        /// What is wrong.
        message: String,
    },
}

/// What to bake.
#[derive(Debug, Clone, Default)]
pub struct BakeOptions {
    /// The files (`-f`), relative to the working directory; empty reads the default ones.
    pub files: Vec<PathBuf>,
    /// The targets and groups on the command line; empty is `default`.
    pub targets: Vec<String>,
    /// `--set`, in order: `TARGET.KEY=VALUE`.
    pub set: Vec<String>,
    /// `--var`, in order.
    pub vars: Vec<(String, String)>,
}

/// What a bake command builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BakePlan {
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// The targets, in the order in which the groups name them, linked ones behind.
    pub targets: Vec<BuildTarget>,
    /// The groups that were asked for; `default` names what the command line asked for.
    pub groups: BTreeMap<String, Vec<String>>,
}

/// Reads the files and resolves the targets.
///
/// `cwd` is the working directory, absolute; `env` the environment.
///
/// # Errors
/// See [`BakeError`].
pub fn load(cwd: &Path, options: &BakeOptions, env: &Env<'_>) -> Result<BakePlan, BakeError> {
    let files = files(cwd, options)?;
    let config = read_config(cwd, &files, options, env)?;
    let asked: Vec<String> = if options.targets.is_empty() {
        vec!["default".to_owned()]
    } else {
        options.targets.iter().map(|name| name.replace('.', "_")).collect()
    };
    let mut names: Vec<String> = Vec::new();
    for name in asked {
        for name in config.match_names(&name)? {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let overrides = config.overrides(&options.set, env)?;
    let mut done: Vec<(String, Target)> = Vec::new();
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in &names {
        let (targets, opened) = config.open_group(name);
        for target in targets {
            if !done.iter().any(|(known, _)| *known == target) {
                let resolved = config.resolve(&target, &overrides)?;
                done.push((target, resolved));
            }
        }
        for group in opened {
            if let Some((_, targets)) = config.groups.iter().find(|(known, _)| *known == group) {
                groups.entry(group).or_insert_with(|| targets.clone());
            }
        }
    }
    for name in &names {
        if name != "default" || !groups.contains_key("default") {
            groups.entry("default".to_owned()).or_default().push(name.clone());
        }
    }
    if let Some(default) = groups.get_mut("default") {
        default.sort();
        default.dedup();
    }
    let mut at = 0;
    while at < done.len() {
        let links: Vec<String> = done[at].1.links().map(str::to_owned).collect();
        for link in links {
            if !done.iter().any(|(known, _)| *known == link) {
                let resolved = config.resolve(&link, &overrides)?;
                done.push((link, resolved));
            }
        }
        at += 1;
    }
    check_links(&done)?;
    let targets = done
        .into_iter()
        .map(|(name, target)| target.into_build_target(cwd).map_err(|message| BakeError::Target { name, message }))
        .collect::<Result<_, _>>()?;
    Ok(BakePlan { files, targets, groups })
}

/// Refuses targets that use one another in a circle.
fn check_links(targets: &[(String, Target)]) -> Result<(), BakeError> {
    let links: HashMap<&str, Vec<&str>> = targets.iter().map(|(name, target)| (name.as_str(), target.links().collect())).collect();
    // 0 is new, 1 is on the way down, 2 is done; the stack holds who is next of whom.
    let mut state: HashMap<&str, u8> = HashMap::new();
    for (start, _) in targets {
        let mut stack = vec![(start.as_str(), 0_usize)];
        while let Some((name, next)) = stack.pop() {
            if next == 0 && state.insert(name, 1) == Some(2) {
                state.insert(name, 2);
                continue;
            }
            match links.get(name).and_then(|links| links.get(next)) {
                None => {
                    state.insert(name, 2);
                }
                Some(&link) => {
                    stack.push((name, next + 1));
                    match state.get(link) {
                        Some(1) => {
                            return Err(BakeError::Loop { from: name.to_owned(), to: link.to_owned() });
                        }
                        Some(2) => {}
                        _ => stack.push((link, 0)),
                    }
                }
            }
        }
    }
    Ok(())
}

fn files(cwd: &Path, options: &BakeOptions) -> Result<Vec<PathBuf>, BakeError> {
    if options.files.is_empty() {
        let found: Vec<PathBuf> = DEFAULT_FILES.iter().map(|name| cwd.join(name)).filter(|file| file.is_file()).collect();
        return if found.is_empty() { Err(BakeError::NoFile(cwd.to_owned())) } else { Ok(found) };
    }
    options
        .files
        .iter()
        .map(|file| {
            let text = file.to_string_lossy();
            if text == "-" || super::build_target::is_remote(&text) {
                return Err(BakeError::Remote(text.into_owned()));
            }
            let local = text.strip_prefix("cwd://").map_or_else(|| file.clone(), PathBuf::from);
            Ok(normalize(&cwd.join(local)))
        })
        .collect()
}

enum Kind {
    Compose,
    Hcl(syntax::File),
}

fn read_config(cwd: &Path, files: &[PathBuf], options: &BakeOptions, env: &Env<'_>) -> Result<Config, BakeError> {
    let vars = &options.vars;
    let given = |name: &str| vars.iter().rev().find(|(known, _)| known == name).map(|(_, v)| v.clone());
    // BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP turns the environment off.
    let closed = matches!(env("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP").as_deref(), Some("1" | "t" | "T" | "true" | "TRUE" | "True"));
    let lookup = |name: &str| given(name).or_else(|| if closed { None } else { env(name) });
    let mut compose_files = Vec::new();
    let mut hcl_files = Vec::new();
    for file in files {
        match kind(cwd, file, &lookup)? {
            Kind::Compose => compose_files.push(file.clone()),
            Kind::Hcl(parsed) => hcl_files.push((file.clone(), parsed)),
        }
    }
    let mut config = Config::default();
    if !compose_files.is_empty() {
        let project = compose::load_for_bake(cwd, &compose_files, &lookup)?;
        config.add_compose(&project)?;
    }
    if !hcl_files.is_empty() {
        config.add_hcl(hcl_files, cwd, &lookup)?;
    }
    Ok(config)
}

fn kind(cwd: &Path, file: &Path, env: &Env<'_>) -> Result<Kind, BakeError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if name.ends_with(".yml") || name.ends_with(".yaml") {
        return Ok(Kind::Compose);
    }
    let text = read_text(file)?;
    let fail = |error: SyntaxError| BakeError::Syntax { file: file.to_owned(), line: error.line, message: error.message };
    if name.ends_with(".json") {
        return syntax::parse_json(&text).map(Kind::Hcl).map_err(fail);
    }
    if name.ends_with(".hcl") {
        return syntax::parse_hcl(&text).map(Kind::Hcl).map_err(fail);
    }
    // A file of another name is what it can be read as.
    if compose::load_for_bake(cwd, &[file.to_owned()], env).is_ok() {
        return Ok(Kind::Compose);
    }
    syntax::parse_hcl(&text).or_else(|error| syntax::parse_json(&text).map_err(|_| error)).map(Kind::Hcl).map_err(fail)
}

fn read_text(file: &Path) -> Result<String, BakeError> {
    let fail = |message: String| BakeError::Read { file: file.to_owned(), message };
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .map_err(|error| fail(error.to_string()))?
        .take(MAX_BAKE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fail(error.to_string()))?;
    if bytes.len() as u64 > MAX_BAKE_BYTES {
        return Err(fail("it is larger than 512 KiB".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8".to_owned()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// A context of a bake file.
fn context(typed: &str, cwd: &Path) -> ContextSource {
    ContextSource::parse(typed, cwd)
}
