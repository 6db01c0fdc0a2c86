//! Which paths of a context a build asks for.
//!
//! BuildKit's Dockerfile frontend collects the sources of every COPY, ADD and bind mount that the target's stages take from the
//! context (`dockerfile2llb/convert.go`: `ctxPaths`, `normalizeContextPaths`); the client resolves them, with the symbolic links on
//! the way, to patterns (fsutil `followlinks.go`). One source that is the root makes it the whole context.

use std::collections::BTreeSet;
use std::path::Path;

use crate::evidence::go_match::{below_root, filepath_match};

/// Makes the list of followed paths of the sources as written. `None` is the whole context: a source is its root, or there is none.
pub fn followed_paths<'s>(sources: impl IntoIterator<Item = &'s str>) -> Option<Vec<String>> {
    let mut paths = BTreeSet::new();
    for source in sources {
        let path = below_root(source);
        if path.is_empty() {
            return None;
        }
        paths.insert(path);
    }
    (!paths.is_empty()).then(|| paths.into_iter().collect())
}

/// Resolves followed paths to the patterns that the walk takes: links become what they point to, and are taken themselves.
///
/// Gives `None` where the root is among them, which is no filter at all.
pub fn resolve(root: &Path, paths: &[String]) -> Option<Vec<String>> {
    let mut resolver = Resolver { root, resolved: BTreeSet::new(), steps: 0 };
    for path in paths {
        resolver.follow(path);
    }
    let mut kept: Vec<String> = Vec::new();
    for path in resolver.resolved {
        if path == "." {
            return None;
        }
        let covered = kept.last().is_some_and(|last| path.strip_prefix(last.as_str()).is_some_and(|rest| rest.starts_with('/')));
        if !covered {
            kept.push(path);
        }
    }
    (!kept.is_empty()).then_some(kept)
}

/// Links that are followed at most; fsutil has no such limit and is stopped by what it has seen.
const MAX_STEPS: usize = 100_000;

struct Resolver<'r> {
    root: &'r Path,
    resolved: BTreeSet<String>,
    steps: usize,
}

impl Resolver<'_> {
    fn follow(&mut self, path: &str) {
        let mut waiting = vec![clean(path)];
        while let Some(path) = waiting.pop() {
            let mut current = ".".to_owned();
            let mut rest = path.as_str();
            loop {
                self.steps += 1;
                if self.steps > MAX_STEPS {
                    return;
                }
                let (part, behind) = rest.split_once('/').unwrap_or((rest, ""));
                current = join(&current, part);
                let targets = self.links(&current);
                if (behind.is_empty() || targets.is_some()) && self.resolved.contains(&current) {
                    break;
                }
                if let Some(targets) = targets {
                    self.resolved.insert(current);
                    waiting.extend(targets.iter().map(|target| clean(&join(target, behind))));
                    break;
                }
                if behind.is_empty() {
                    self.resolved.insert(current);
                    break;
                }
                rest = behind;
            }
        }
    }

    /// The targets of the links that a path means; `None` where it means none.
    fn links(&self, path: &str) -> Option<Vec<String>> {
        let (directory, base) = path.rsplit_once('/').unwrap_or((".", path));
        if !base.contains(['*', '?', '[', '\\']) {
            return self.link(path).map(|target| vec![target]);
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.root.join(directory)).ok()?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if filepath_match(base.as_bytes(), name.as_bytes()).unwrap_or(false) {
                found.extend(self.link(&join(directory, &name)));
            }
        }
        (!found.is_empty()).then_some(found)
    }

    fn link(&self, path: &str) -> Option<String> {
        let target = std::fs::read_link(self.root.join(path)).ok()?;
        let target = target.to_string_lossy();
        if target.starts_with('/') {
            return Some(below_root(&target));
        }
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        Some(below_root(&format!("{directory}/{target}")))
    }
}

fn clean(path: &str) -> String {
    let path = below_root(path);
    if path.is_empty() { ".".to_owned() } else { path }
}

fn join(directory: &str, name: &str) -> String {
    match (directory, name) {
        ("." | "", "") => ".".to_owned(),
        ("." | "", name) => name.to_owned(),
        (directory, "" | ".") => directory.to_owned(),
        (directory, name) => format!("{directory}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_takes_everything() {
        assert_eq!(followed_paths(["a", "./b/../c", "/d/*"]), Some(vec!["a".into(), "c".into(), "d/*".into()]));
        assert_eq!(followed_paths(["a", "."]), None);
        assert_eq!(followed_paths([]), None);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_taken() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("real/sub")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        std::os::unix::fs::symlink("/real/sub", root.join("absolute")).unwrap();
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
        let resolved = |paths: &[&str]| resolve(root, &paths.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>());
        assert_eq!(resolved(&["link/sub/x"]), Some(vec!["link".into(), "real/sub/x".into()]));
        assert_eq!(resolved(&["absolute"]), Some(vec!["absolute".into(), "real/sub".into()]));
        assert_eq!(resolved(&["a*"]), Some(vec!["a*".into(), "real/sub".into()]));
        assert_eq!(resolved(&["loop"]), Some(vec!["loop".into()]));
        assert_eq!(resolved(&["real", "real/sub", "missing"]), Some(vec!["missing".into(), "real".into()]));
    }
}
