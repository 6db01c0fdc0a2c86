//! From files to one tree: reading, interpolation, `extends`, `include`, merging.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::build_target::{Env, is_remote, normalize};
use super::super::dotenv;
use super::super::interpolate::{InterpolateError, interpolate};
use super::super::yaml::{self, Entry, MAX_FILE_BYTES, Node, Value, YamlError};
use super::{is_string, merge};

/// Files that one project may consist of.
const MAX_FILES: usize = 500;
/// Bytes that interpolation may make in one project.
const MAX_INTERPOLATED: usize = 64 << 20;
/// Levels that `include` and `extends` may nest.
const MAX_DEPTH: usize = 40;

/// Why compose files could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// No file was named and none of the default names is there.
    #[error("no compose file in {0} or above: name it with --compose FILE")]
    NoFile(PathBuf),
    /// A file cannot be read.
    #[error("{file} cannot be read: {error}")]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is too large or not UTF-8.
    #[error("{file} is not a compose file: {message}")]
    NotText {
        /// The file.
        file: PathBuf,
        /// Why.
        message: &'static str,
    },
    /// A file is not YAML.
    #[error("{file}: {error}")]
    Yaml {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        error: YamlError,
    },
    /// An environment file is wrong.
    #[error("{file}: {error}")]
    EnvFile {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        error: dotenv::DotenvError,
    },
    /// A variable is missing or its syntax is wrong.
    #[error("{file}:{line}: {path}: {error}")]
    Interpolate {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The path of the value.
        path: String,
        /// What is wrong.
        error: InterpolateError,
    },
    /// A value is of another kind than compose takes.
    #[error("{file}:{line}: {path} must be {expected}, not {found}")]
    Shape {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The path of the value.
        path: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value cannot be read.
    #[error("{file}:{line}: {path}: {message}")]
    Value {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The path of the value.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// A key of a build section that compose does not know.
    #[error("{file}:{line}: compose knows no {path}: remove it or correct its name")]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The path of the key.
        path: String,
    },
    /// A service's name has characters that none may have.
    #[error("{file}:{line}: {name:?} cannot be a service's name")]
    ServiceName {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The name.
        name: String,
    },
    /// A service that nothing can be run for.
    #[error("{file}:{line}: service {name:?} has neither an image nor a build context")]
    NeitherImageNorBuild {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The service.
        name: String,
    },
    /// A Dockerfile is named and given inline.
    #[error("{file}:{line}: service {name:?} has both dockerfile and dockerfile_inline: keep one")]
    BothDockerfiles {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The service.
        name: String,
    },
    /// Files say different kinds of things at one path.
    #[error("{file}:{line}: cannot override {path}: the files give it different forms")]
    Conflict {
        /// The file of the later one.
        file: PathBuf,
        /// The line of the later one.
        line: usize,
        /// The path.
        path: String,
    },
    /// An included file says something else than the including one.
    #[error("{file}:{line}: {path} conflicts with what the file includes")]
    IncludeConflict {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
        /// The path.
        path: String,
    },
    /// `extends` or `include` goes in a circle, or the project has too many files.
    #[error("{0}: extends or include goes in a circle, or too far")]
    Cycle(PathBuf),
    /// A service that is named and does not exist.
    #[error("no such service: {name} (there are: {known})")]
    NoService {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// Nothing in the file is of compose.
    #[error("{0}: empty compose file")]
    Empty(PathBuf),
}

/// A file that nodes come from.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The file.
    pub file: PathBuf,
    /// The directory that its relative paths start from.
    pub base: PathBuf,
}

/// Reads files and remembers them, so that every node knows where it is from.
pub(super) struct Loader {
    sources: Vec<Source>,
    /// Bytes that interpolation has made.
    interpolated: Cell<usize>,
}

/// Reads the environment files; without any, `.env` of `dir` where there is one.
pub(super) fn env_files(dir: &Path, files: &[PathBuf], env: &Env<'_>) -> Result<HashMap<String, String>, ComposeError> {
    let default = [dir.join(".env")];
    let list = if files.is_empty() { &default[..] } else { files };
    let mut vars: HashMap<String, String> = HashMap::new();
    for file in list {
        if files.is_empty() && !file.is_file() {
            continue;
        }
        let text = read_text(file)?;
        let earlier = vars.clone();
        let parsed = dotenv::parse(&text, env, &|name| earlier.get(name).cloned())
            .map_err(|error| ComposeError::EnvFile { file: file.clone(), error })?;
        vars.extend(parsed);
    }
    Ok(vars)
}

fn read_text(file: &Path) -> Result<String, ComposeError> {
    let fail = |error| ComposeError::Read { file: file.to_owned(), error };
    let mut bytes = Vec::new();
    std::fs::File::open(file).map_err(fail)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    let not_text = |message| ComposeError::NotText { file: file.to_owned(), message };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(not_text("it is larger than 16 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| not_text("it is not UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn empty_map(file: usize) -> Node {
    Node { line: 1, file, tag: None, value: Value::Map(Vec::new()) }
}

fn remove(node: &mut Node, key: &str) -> Option<Entry> {
    let Value::Map(entries) = &mut node.value else {
        return None;
    };
    let at = entries.iter().position(|entry| entry.key == key)?;
    Some(entries.remove(at))
}

impl Loader {
    pub fn new() -> Self {
        Self { sources: Vec::new(), interpolated: Cell::new(0) }
    }

    /// The files read, as the nodes count them.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Reads `files`, each laid over those before it. Relative paths start from `base`.
    pub fn load_all(&mut self, files: &[PathBuf], base: &Path, env: &Env<'_>) -> Result<Node, ComposeError> {
        self.load_layers(files, base, env, &mut Vec::new())
    }

    fn load_layers(&mut self, files: &[PathBuf], base: &Path, env: &Env<'_>, including: &mut Vec<PathBuf>) -> Result<Node, ComposeError> {
        let mut tree = empty_map(0);
        for file in files {
            for mut document in self.read(file, base, env)? {
                self.extend_services(&mut document, file, base, env)?;
                let included = self.include(&mut document, file, base, env, including)?;
                tree = self.lay_over(tree, document)?;
                tree = self.import(tree, included)?;
            }
        }
        merge::drop_resets(&mut tree);
        Ok(tree)
    }

    /// Reads and interpolates one file; empty documents are left out.
    fn read(&mut self, file: &Path, base: &Path, env: &Env<'_>) -> Result<Vec<Node>, ComposeError> {
        if self.sources.len() >= MAX_FILES {
            return Err(ComposeError::Cycle(file.to_owned()));
        }
        let text = read_text(file)?;
        let index = self.sources.len();
        self.sources.push(Source { file: file.to_owned(), base: base.to_owned() });
        let mut documents = yaml::parse(&text, index).map_err(|error| ComposeError::Yaml { file: file.to_owned(), error })?;
        documents.retain(|document| !document.is_null());
        for document in &mut documents {
            if document.as_map().is_none() {
                return Err(self.shape(document, "the top level", "a mapping"));
            }
            self.interpolate(document, &mut Vec::new(), env)?;
        }
        Ok(documents)
    }

    fn shape(&self, node: &Node, path: &str, expected: &'static str) -> ComposeError {
        ComposeError::Shape { file: self.file(node), line: node.line, path: path.to_owned(), expected, found: node.kind_name() }
    }

    fn file(&self, node: &Node) -> PathBuf {
        self.sources.get(node.file).map(|s| s.file.clone()).unwrap_or_default()
    }

    fn interpolate(&self, node: &mut Node, path: &mut Vec<String>, env: &Env<'_>) -> Result<(), ComposeError> {
        let string = is_string(node);
        match &mut node.value {
            Value::Scalar(text, _) if string && text.contains('$') => {
                let new = interpolate(text, env).and_then(|new| {
                    self.interpolated.set(self.interpolated.get() + new.len());
                    if self.interpolated.get() > MAX_INTERPOLATED {
                        return Err(InterpolateError::TooLarge);
                    }
                    Ok(new)
                });
                match new {
                    Ok(new) => *text = new,
                    Err(error) => {
                        return Err(ComposeError::Interpolate { file: self.file(node), line: node.line, path: path.join("."), error });
                    }
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    path.push(entry.key.clone());
                    self.interpolate(&mut entry.node, path, env)?;
                    path.pop();
                }
            }
            Value::Seq(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push(index.to_string());
                    self.interpolate(item, path, env)?;
                    path.pop();
                }
            }
            Value::Null | Value::Scalar(..) => {}
        }
        Ok(())
    }

    fn lay_over(&self, base: Node, over: Node) -> Result<Node, ComposeError> {
        merge::merge(base, over, &mut Vec::new()).map_err(|c| self.conflict(&c))
    }

    fn conflict(&self, conflict: &merge::Conflict) -> ComposeError {
        ComposeError::Conflict {
            file: self.sources.get(conflict.file).map(|s| s.file.clone()).unwrap_or_default(),
            line: conflict.line,
            path: conflict.path.clone(),
        }
    }

    // ---- extends -------------------------------------------------------------------------------

    /// Replaces every service that extends another by both, merged (compose-go `loader/extends.go`).
    fn extend_services(&mut self, document: &mut Node, file: &Path, base: &Path, env: &Env<'_>) -> Result<(), ComposeError> {
        let Some(services) = document.get("services").filter(|node| !node.is_null()) else {
            return Ok(());
        };
        let Some(entries) = services.as_map() else {
            return Err(self.shape(services, "services", "a mapping"));
        };
        if !entries.iter().any(|entry| entry.node.get("extends").is_some()) {
            return Ok(());
        }
        let services = services.clone();
        let names: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        let mut done = Vec::new();
        for name in names {
            let mut trail = Vec::new();
            done.push(self.extended(&name, &services, file, base, env, &mut trail)?);
        }
        let Value::Map(top) = &mut document.value else {
            return Ok(());
        };
        if let Some(entry) = top.iter_mut().find(|entry| entry.key == "services")
            && let Value::Map(entries) = &mut entry.node.value
        {
            for (entry, node) in entries.iter_mut().zip(done) {
                entry.node = node;
            }
        }
        Ok(())
    }

    /// The service with what it extends laid under it.
    fn extended(
        &mut self,
        name: &str,
        services: &Node,
        file: &Path,
        base: &Path,
        env: &Env<'_>,
        trail: &mut Vec<(PathBuf, String)>,
    ) -> Result<Node, ComposeError> {
        let step = (file.to_owned(), name.to_owned());
        if trail.contains(&step) || trail.len() > MAX_DEPTH {
            return Err(ComposeError::Cycle(file.to_owned()));
        }
        let Some(service) = services.get(name) else {
            return Err(ComposeError::NoService {
                name: name.to_owned(),
                known: services.as_map().unwrap_or_default().iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>().join(", "),
            });
        };
        let mut own = service.clone();
        let Some(extends) = remove(&mut own, "extends").filter(|e| !e.node.is_null()) else {
            return Ok(own);
        };
        let path = format!("services.{name}.extends");
        let extends = extends.node;
        let (other_file, other) = if let Some(other) = extends.as_text() {
            (None, other.to_owned())
        } else {
            let other = extends
                .get("service")
                .and_then(Node::as_text)
                .ok_or_else(|| self.shape(&extends, &path, "a string or a mapping with a service"))?;
            let other_file = extends.get("file").and_then(Node::as_text);
            (other_file.map(str::to_owned), other.to_owned())
        };
        trail.push(step);
        let under = match other_file {
            None => self.extended(&other, services, file, base, env, trail)?,
            Some(other_file) => {
                let other_file = normalize(&base.join(other_file));
                let dir = other_file.parent().unwrap_or(base).to_owned();
                let mut found = None;
                for document in self.read(&other_file, &dir, env)? {
                    if let Some(services) = document.get("services").cloned()
                        && services.get(&other).is_some()
                    {
                        found = Some(self.extended(&other, &services, &other_file, &dir, env, trail)?);
                    }
                }
                found.ok_or_else(|| ComposeError::Value {
                    file: self.file(&extends),
                    line: extends.line,
                    path,
                    message: format!("no service {other:?} in {}", other_file.display()),
                })?
            }
        };
        trail.pop();
        let mut merge_path = vec!["services".to_owned(), name.to_owned()];
        merge::merge(under, own, &mut merge_path).map_err(|c| self.conflict(&c))
    }

    // ---- include -------------------------------------------------------------------------------

    /// Reads what a file includes (compose-go `loader/include.go`).
    fn include(
        &mut self,
        document: &mut Node,
        file: &Path,
        base: &Path,
        env: &Env<'_>,
        including: &mut Vec<PathBuf>,
    ) -> Result<Vec<Node>, ComposeError> {
        let Some(include) = remove(document, "include").filter(|e| !e.node.is_null()) else {
            return Ok(Vec::new());
        };
        let items = include.node.as_seq().ok_or_else(|| self.shape(&include.node, "include", "a list"))?;
        if including.contains(&file.to_owned()) || including.len() > MAX_DEPTH {
            return Err(ComposeError::Cycle(file.to_owned()));
        }
        including.push(file.to_owned());
        let mut trees = Vec::new();
        for item in items {
            trees.push(self.include_one(item, base, env, including)?);
        }
        including.pop();
        Ok(trees)
    }

    fn include_one(&mut self, item: &Node, base: &Path, env: &Env<'_>, including: &mut Vec<PathBuf>) -> Result<Node, ComposeError> {
        let one_or_many = |node: Option<&Node>| -> Vec<String> {
            match node {
                None => Vec::new(),
                Some(node) => match node.as_seq() {
                    Some(items) => items.iter().filter_map(Node::as_text).map(str::to_owned).collect(),
                    None => node.as_text().map(str::to_owned).into_iter().collect(),
                },
            }
        };
        let paths = match item.as_text() {
            Some(path) => vec![path.to_owned()],
            None => one_or_many(item.get("path")),
        };
        if paths.is_empty() {
            return Err(self.shape(item, "include", "a path or a mapping with a path"));
        }
        if let Some(remote) = paths.iter().find(|p| is_remote(p) || p.starts_with("oci://")) {
            return Err(ComposeError::Value {
                file: self.file(item),
                line: item.line,
                path: "include".to_owned(),
                message: format!("{remote} is remote: only local files can be read"),
            });
        }
        let files: Vec<PathBuf> = paths.iter().map(|p| normalize(&base.join(p))).collect();
        let dir = match item.get("project_directory").and_then(Node::as_text) {
            Some(dir) => normalize(&base.join(dir)),
            None => files.first().and_then(|f| f.parent()).unwrap_or(base).to_owned(),
        };
        let env_list: Vec<PathBuf> = one_or_many(item.get("env_file")).iter().map(|f| normalize(&base.join(f))).collect();
        let vars = env_files(&dir, &env_list, env)?;
        let env = |name: &str| env(name).or_else(|| vars.get(name).cloned());
        self.load_layers(&files, &dir, &env, including)
    }

    /// Adds included resources; one that is there already must be the same.
    fn import(&self, mut tree: Node, included: Vec<Node>) -> Result<Node, ComposeError> {
        const KINDS: [&str; 5] = ["services", "volumes", "networks", "secrets", "configs"];
        for other in included {
            for kind in KINDS {
                let Some(theirs) = other.get(kind).and_then(Node::as_map) else {
                    continue;
                };
                let Value::Map(top) = &mut tree.value else {
                    continue;
                };
                let at = match top.iter().position(|entry| entry.key == kind) {
                    Some(at) => at,
                    None => {
                        top.push(Entry { key: kind.to_owned(), line: other.line, node: empty_map(other.file) });
                        top.len() - 1
                    }
                };
                if top[at].node.is_null() {
                    top[at].node = empty_map(other.file);
                }
                let Value::Map(ours) = &mut top[at].node.value else {
                    continue;
                };
                for entry in theirs {
                    match ours.iter().find(|known| known.key == entry.key) {
                        None => ours.push(entry.clone()),
                        Some(known) if same_content(&known.node, &entry.node) => {}
                        Some(known) => {
                            return Err(ComposeError::IncludeConflict {
                                file: self.file(&known.node),
                                line: known.line,
                                path: format!("{kind}.{}", entry.key),
                            });
                        }
                    }
                }
            }
        }
        Ok(tree)
    }
}

/// Says whether two nodes mean the same, wherever they stand.
fn same_content(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|entry| b.iter().find(|other| other.key == entry.key).is_some_and(|other| same_content(&entry.node, &other.node)))
        }
        (Value::Seq(a), Value::Seq(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_content(a, b)),
        (a, b) => a == b,
    }
}
