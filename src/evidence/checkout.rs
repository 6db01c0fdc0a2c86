//! Where a file stands in the repository that it is part of.
//!
//! Readers of reports (GitHub, GitLab, code scanning) know files by their paths from the top of the repository. A job that runs in a
//! subdirectory sees other paths.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use super::build_target::normalize;

/// Finds the tops of repositories, and remembers them by directory.
#[derive(Debug)]
pub struct Checkouts {
    /// The top of the repository that a report is of.
    own: Option<PathBuf>,
    tops: HashMap<PathBuf, Option<PathBuf>>,
}

impl Checkouts {
    /// For a report of what is in a directory: where that is in a repository, files of other repositories have no path here.
    pub fn of(directory: &Path) -> Self {
        let real = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        Self { own: top(&real), tops: HashMap::new() }
    }

    /// The path of a file from the top of its repository, with slashes; `None` where the file is in no repository, or in another one than
    /// the report's. `path` is absolute, and the file need not exist.
    ///
    /// Links among the directories are followed, since git knows a file by its real place; a link that is the file itself is not.
    pub fn path(&mut self, path: &Path) -> Option<String> {
        let path = normalize(path);
        let (directory, name) = (path.parent()?, path.file_name()?);
        let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        let top = self.tops.entry(directory.clone()).or_insert_with(|| top(&directory)).clone()?;
        if self.own.as_ref().is_some_and(|own| *own != top) {
            return None;
        }
        let below = directory.strip_prefix(&top).ok()?.join(name);
        Some(below.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("/"))
    }
}

/// The top of the repository that a directory is part of. A submodule is part of the repository around it, because that is the one that
/// a CI job checks out and links to.
fn top(directory: &Path) -> Option<PathBuf> {
    let candidates = directory.ancestors().filter(|ancestor| ancestor.join(".git").exists());
    let mut outermost_submodule = None;
    for candidate in candidates {
        if !is_submodule(&candidate.join(".git")) {
            return Some(candidate.to_owned());
        }
        outermost_submodule = Some(candidate.to_owned());
    }
    outermost_submodule
}

/// Whether a `.git` is that of a submodule: a file that points into `modules/` of the repository around it. That of a work tree points
/// into `worktrees/` (gitrepository-layout(5)).
fn is_submodule(git: &Path) -> bool {
    let Some(pointer) = fs::metadata(git).ok().filter(fs::Metadata::is_file).and_then(|_| fs::read_to_string(git).ok()) else {
        return false;
    };
    let Some(target) = pointer.strip_prefix("gitdir:") else { return false };
    let parts: Vec<&str> = target.trim().split(['/', '\\']).collect();
    parts.contains(&"modules") && !parts.contains(&"worktrees")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn paths_are_from_the_top_of_the_repository() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        make(
            root,
            &[
                ("repo/.git/HEAD", "ref: refs/heads/main\n"),
                ("repo/services/api/Dockerfile", ""),
                ("repo/libs/shared/.git", "gitdir: ../../.git/modules/shared\n"),
                ("repo/libs/shared/Dockerfile", ""),
                ("tree/.git", "gitdir: ../repo/.git/worktrees/tree\n"),
                ("repo/nested/.git/HEAD", ""),
            ],
        );
        let of = |directory: &str, path: &str| Checkouts::of(&root.join(directory)).path(&root.join(path));
        let path = |path: &str| of("", path);
        assert_eq!(path("repo/services/api/Dockerfile").as_deref(), Some("services/api/Dockerfile"));
        assert_eq!(path("repo/services/web/../api/./Dockerfile").as_deref(), Some("services/api/Dockerfile"));
        assert_eq!(path("repo/libs/shared/Dockerfile").as_deref(), Some("libs/shared/Dockerfile"), "a submodule");
        assert_eq!(path("tree/api/Dockerfile").as_deref(), Some("api/Dockerfile"), "a work tree");
        assert_eq!(path("repo/nested/a b/Dockerfile").as_deref(), Some("a b/Dockerfile"), "a repository within another");
        assert_eq!(path("repo/Dockerfile").as_deref(), Some("Dockerfile"));
        assert_eq!(path("elsewhere/Dockerfile"), None);
        assert_eq!(path("."), None);
        assert_eq!(of("repo/services", "repo/services/api/Dockerfile").as_deref(), Some("services/api/Dockerfile"));
        assert_eq!(of("repo/services", "repo/nested/Dockerfile"), None, "another repository than that of the report");
        assert_eq!(of("repo/nested", "repo/nested/Dockerfile").as_deref(), Some("Dockerfile"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_among_the_directories_is_followed() {
        let place = tempfile::tempdir().unwrap();
        make(place.path(), &[("repo/.git/HEAD", ""), ("repo/releases/1/Dockerfile", "")]);
        std::os::unix::fs::symlink("releases/1", place.path().join("repo/current")).unwrap();
        std::os::unix::fs::symlink("repo/releases", place.path().join("way")).unwrap();
        let mut checkouts = Checkouts::of(&place.path().join("repo/current"));
        let mut path = |path: &str| checkouts.path(&place.path().join(path));
        assert_eq!(path("repo/current/Dockerfile").as_deref(), Some("releases/1/Dockerfile"));
        assert_eq!(path("way/1/Dockerfile").as_deref(), Some("releases/1/Dockerfile"));
    }
}
