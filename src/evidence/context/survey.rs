//! What a build context would send, counted within bounds.
//!
//! [`super::list`] is exact and takes what it takes; this looks at so many entries at most and says where it stopped. Directories that
//! nobody means to send (`.git`, `node_modules`, …) are counted last and apart, so that they cannot hide the rest.

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::ignore_rules;
use crate::evidence::ignore::{IgnoreRules, IgnoreState};

/// Entries of one context that are looked at at most.
const MOST_ENTRIES: usize = 20_000;
/// Comparisons of an entry with a pattern that are made at most.
const MOST_COMPARISONS: usize = 2_000_000;
/// Entries of all contexts of a repository that are looked at at most.
const MOST_OF_ALL: usize = 100_000;

/// What a context holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The ignore file that holds; `None` where there is none.
    pub ignore_file: Option<PathBuf>,
    /// Files and links outside of `apart`: path from the context with slashes, and bytes. In the order of paths.
    pub files: Vec<(String, u64)>,
    /// Directories that nobody means to send, outermost ones, in the order of paths.
    pub apart: Vec<Apart>,
    /// False where there is more than was looked at.
    pub complete: bool,
}

/// A directory that nobody means to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apart {
    /// The path from the context, with slashes.
    pub path: String,
    /// What it is.
    pub kind: ApartKind,
    /// Files in it, as far as they were looked at.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Why nobody means to send a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApartKind {
    /// git's own files: every commit, checkout and fetch changes some.
    Git,
    /// Installed dependencies: made for this machine, and the build makes its own.
    Dependencies,
    /// A tool's cache, or what it built.
    Cache,
}

impl Survey {
    /// Files and bytes of all that was looked at.
    pub fn totals(&self) -> (usize, u64) {
        let apart = self.apart.iter().map(|apart| (apart.files, apart.bytes));
        let own = self.files.iter().map(|(_, bytes)| (1, *bytes));
        apart.chain(own).fold((0, 0), |(files, all), (count, bytes)| (files + count, all.saturating_add(bytes)))
    }
}

/// The surveys of a repository's contexts: each is made once, and all together stay within bounds.
#[derive(Debug, Default)]
pub struct Surveys {
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    looked_at: usize,
    known: HashMap<(PathBuf, Option<PathBuf>), Option<Arc<Survey>>>,
}

impl Surveys {
    /// The survey of a context with the ignore file that a Dockerfile gives it. `None` where the context is no directory or its ignore
    /// file cannot be read, and where the repository's contexts hold more than can be looked at.
    pub fn of(&self, context: &Path, dockerfile: Option<&Path>) -> Option<Arc<Survey>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        // An ignore file can be long: it is read once for all Dockerfiles that share it.
        let own = dockerfile.filter(|path| {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(".dockerignore");
            path.with_file_name(name).exists()
        });
        let key = (context.to_owned(), own.map(Path::to_owned));
        if let Some(known) = made.known.get(&key) {
            return known.clone();
        }
        let left = MOST_OF_ALL.saturating_sub(made.looked_at);
        let rules = if left > 0 && context.is_dir() { ignore_rules(context, dockerfile).ok() } else { None };
        let survey = rules.map(|(rules, ignore_file)| {
            let (mut survey, looked_at) = survey(context, &rules, MOST_ENTRIES.min(left));
            made.looked_at += looked_at;
            survey.ignore_file = ignore_file;
            Arc::new(survey)
        });
        made.known.insert(key, survey.clone());
        survey
    }
}

struct Directory {
    path: PathBuf,
    relative: String,
    state: Option<IgnoreState>,
    apart: Option<usize>,
}

/// Looks at `most` entries of a context at most; gives the survey and how many were looked at. Links are not followed; what cannot be
/// read is passed over, since the build itself says so.
fn survey(root: &Path, rules: &IgnoreRules, most: usize) -> (Survey, usize) {
    let most = most.min(MOST_COMPARISONS / (rules.len() + 1)).max(100);
    let mut survey = Survey { complete: true, ..Survey::default() };
    let (mut own, mut apart) = (VecDeque::new(), VecDeque::new());
    own.push_back(Directory { path: root.to_owned(), relative: String::new(), state: None, apart: None });
    let mut seen = 0;
    while let Some(directory) = own.pop_front().or_else(|| apart.pop_front()) {
        let Ok(entries) = std::fs::read_dir(&directory.path) else { continue };
        for entry in entries.flatten() {
            if seen >= most {
                survey.complete = false;
                own.clear();
                apart.clear();
                break;
            }
            seen += 1;
            let name = entry.file_name();
            let shown = name.to_string_lossy();
            let relative = if directory.relative.is_empty() { shown.into_owned() } else { format!("{}/{shown}", directory.relative) };
            let Ok(state) = rules.enter(&relative, directory.state.as_ref()) else { continue };
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                if state.skips_directory() {
                    continue;
                }
                let path = entry.path();
                let mut within = directory.apart;
                if within.is_none()
                    && !state.ignored()
                    && let Some(kind) = apart_kind(&path, &name.to_string_lossy())
                {
                    within = Some(survey.apart.len());
                    survey.apart.push(Apart { path: relative.clone(), kind, files: 0, bytes: 0 });
                }
                let queue = if within.is_some() { &mut apart } else { &mut own };
                queue.push_back(Directory { path, relative, state: Some(state), apart: within });
            } else if !state.ignored() {
                // The bytes of a link are those of its target's name.
                let bytes = if kind.is_file() { entry.metadata().map(|metadata| metadata.len()).unwrap_or_default() } else { 0 };
                match directory.apart.and_then(|at| survey.apart.get_mut(at)) {
                    Some(apart) => (apart.files, apart.bytes) = (apart.files + 1, apart.bytes.saturating_add(bytes)),
                    None => survey.files.push((relative, bytes)),
                }
            }
        }
    }
    survey.files.sort();
    // One that only an exception of the ignore file reaches into can be empty.
    survey.apart.retain(|apart| apart.files > 0);
    survey.apart.sort_by(|a, b| a.path.cmp(&b.path));
    (survey, seen)
}

fn apart_kind(path: &Path, name: &str) -> Option<ApartKind> {
    let holds = |file: &str| path.join(file).exists();
    match name {
        ".git" | ".hg" | ".svn" => Some(ApartKind::Git),
        "node_modules" | "bower_components" => Some(ApartKind::Dependencies),
        ".venv" | "venv" | "env" | "virtualenv" if holds("pyvenv.cfg") => Some(ApartKind::Dependencies),
        "__pycache__" | ".mypy_cache" | ".pytest_cache" | ".ruff_cache" | ".tox" | ".nox" | ".gradle" | ".terraform" | ".next"
        | ".nuxt" | ".turbo" | ".parcel-cache" | ".angular" | ".cache" => Some(ApartKind::Cache),
        "target" if holds("CACHEDIR.TAG") => Some(ApartKind::Cache),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "12345").unwrap();
        }
        dir
    }

    fn of(dir: &Path) -> Arc<Survey> {
        Surveys::default().of(dir, Some(&dir.join("Dockerfile"))).unwrap()
    }

    #[test]
    fn what_is_sent_and_what_nobody_means_to_send() {
        let dir = tree(&[
            "Dockerfile",
            "src/a.py",
            ".git/HEAD",
            ".git/objects/1",
            "web/node_modules/x/i.js",
            "web/node_modules/x/node_modules/y/i.js",
            "venv/a",
            "target/x",
        ]);
        let survey = of(dir.path());
        let apart: Vec<_> = survey.apart.iter().map(|apart| (apart.path.as_str(), apart.kind, apart.files, apart.bytes)).collect();
        assert_eq!(apart, [(".git", ApartKind::Git, 2, 10), ("web/node_modules", ApartKind::Dependencies, 2, 10)]);
        assert_eq!((survey.totals(), survey.complete, survey.ignore_file.is_none()), ((8, 40), true, true));
    }

    #[test]
    fn the_ignore_file_counts_that_beside_the_dockerfile_first() {
        let dir = tree(&["Dockerfile", "src/a.py", ".git/HEAD", "docs/b"]);
        fs::write(dir.path().join(".dockerignore"), ".git\n*\n!src\n").unwrap();
        assert_eq!(of(dir.path()).files, [("src/a.py".to_owned(), 5)]);
        fs::write(dir.path().join("Dockerfile.dockerignore"), "src\n").unwrap();
        let survey = of(dir.path());
        assert_eq!((survey.apart.len(), survey.files.len()), (1, 4));
        assert!(survey.ignore_file.as_ref().unwrap().ends_with("Dockerfile.dockerignore"));
        fs::write(dir.path().join("Dockerfile.dockerignore"), "[\n").unwrap();
        assert_eq!(Surveys::default().of(dir.path(), Some(&dir.path().join("Dockerfile"))), None);
    }

    #[test]
    fn bounds() {
        let dir = tree(&["src/main.py"]);
        fs::create_dir(dir.path().join("node_modules")).unwrap();
        for at in 0..300 {
            fs::write(dir.path().join(format!("node_modules/{at}")), "").unwrap();
        }
        let (survey, seen) = survey(dir.path(), &IgnoreRules::default(), 200);
        assert_eq!((seen, survey.complete, survey.files.len()), (200, false, 1));
        assert_eq!(Surveys::default().of(&dir.path().join("src/main.py"), None), None);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_counted_not_followed() {
        let dir = tree(&["a"]);
        std::os::unix::fs::symlink(".", dir.path().join("loop")).unwrap();
        assert_eq!(of(dir.path()).files, [("a".to_owned(), 5), ("loop".to_owned(), 0)]);
    }
}
