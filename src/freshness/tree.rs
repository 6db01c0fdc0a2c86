//! The work tree against the commit that was to be built.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use crate::evidence::context::content::{ContentId, old_versions};
use crate::evidence::context::work_tree::{Changes, WorkTree};
use crate::evidence::git::{GitError, Repository, StatusKind, TreeEntry};

/// How many commits back a dirty file is looked for.
pub(super) const HISTORY_DEPTH: usize = 2_000;

/// A work tree with the commit that it is to be.
#[derive(Debug)]
pub struct Reference {
    /// The work tree.
    pub work: WorkTree,
    /// The commit that was asked for; HEAD's where none was.
    pub commit: String,
    /// False where the commit asked for is not in this repository.
    pub known: bool,
    /// The files of that commit; those of HEAD where it is the same or not known.
    expected: Option<HashMap<Vec<u8>, TreeEntry>>,
    /// Paths that differ between HEAD and that commit.
    between: HashSet<Vec<u8>>,
}

/// How one path of the tree differs from the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// It was edited, added or removed and not committed.
    Dirty,
    /// It is what an earlier commit had there.
    Old,
    /// It is as HEAD has it, and HEAD is not the commit.
    OtherCommit,
    /// The submodule is not at the commit that is recorded for it.
    Submodule,
}

impl Reference {
    /// Opens the tree that holds `dir` and compares its HEAD with the commit asked for. `since` will be asked for later.
    ///
    /// # Errors
    /// There is no work tree, or git fails.
    pub fn open(dir: &Path, asked: Option<&str>, since: Option<&str>) -> Result<Self, GitError> {
        let revisions: Vec<&str> = since.into_iter().chain(asked).collect();
        let work = WorkTree::open(dir, &revisions)?;
        let commit = match asked {
            None => Ok(work.head.clone()),
            Some(asked) => work.repository().resolve(asked),
        };
        Ok(match commit {
            Ok(commit) if commit == work.head => Self { work, commit, known: true, expected: None, between: HashSet::new() },
            Ok(commit) => {
                let between = work.repository().changed_paths(&work.head, &commit)?.into_iter().collect();
                let entries = work.repository().tree_without_sizes(&commit)?;
                let expected = Some(entries.into_iter().map(|entry| (entry.path.clone(), entry)).collect());
                Self { work, commit, known: true, expected, between }
            }
            Err(_) => {
                let commit = asked.unwrap_or_default().to_owned();
                Self { work, commit, known: false, expected: None, between: HashSet::new() }
            }
        })
    }

    /// Says whether HEAD is the commit.
    pub fn is_head(&self) -> bool {
        self.known && self.expected.is_none()
    }

    /// What the commit has at a path from the top.
    pub fn expected(&self, path: &[u8]) -> Option<TreeEntry> {
        match &self.expected {
            Some(expected) => expected.get(path).cloned(),
            None => self.work.at_head(path),
        }
    }

    /// The names of all contents of the commit; those of HEAD where it is not known.
    pub fn blobs(&self) -> Vec<String> {
        let commit = if self.known { &self.commit } else { &self.work.head };
        let entries = self.work.repository().tree_without_sizes(commit).unwrap_or_default();
        entries.into_iter().map(|entry| entry.id).collect()
    }

    /// Says whether the commit has something at a path from the top.
    pub fn tracks(&self, path: &[u8]) -> bool {
        self.expected.as_ref().map_or_else(|| self.work.tracks(path), |expected| expected.contains_key(path))
    }

    /// Compares the files of a context with the commit. `prefix` is the context's path from the top; `changes` what is not as HEAD has
    /// it below that; `content` tells what is on disk.
    ///
    /// Only paths that git names as different are looked at, so that the cost is that of the difference. Files that git does not
    /// know, or is told to ignore, are no difference.
    pub fn differences<'c>(
        &self,
        prefix: &[u8],
        changes: &Changes,
        content: impl Fn(&str) -> Option<&'c ContentId>,
    ) -> BTreeMap<String, Difference> {
        let mut found = BTreeMap::new();
        let mut dirty: Vec<(Vec<u8>, String)> = Vec::new();
        let paths: HashSet<&Vec<u8>> = self.between.iter().chain(changes.keys()).collect();
        for path in paths {
            let Some(Ok(below)) = path.strip_prefix(prefix).map(|below| std::str::from_utf8(below)) else {
                continue;
            };
            let expected = self.expected(path);
            let status = changes.get(path);
            let is_submodule = [&expected, &self.work.at_head(path)].into_iter().flatten().any(|entry| !entry.is_blob());
            if is_submodule {
                let wrong = match status {
                    Some(StatusKind::Submodule { commit_changed, .. }) => *commit_changed,
                    _ => self.between.contains(path),
                };
                found.insert(below.to_owned(), if wrong { Difference::Submodule } else { Difference::Dirty });
                continue;
            }
            let on_disk = content(below);
            let same = match (on_disk, &expected) {
                (Some(ContentId::Git(id)), Some(entry)) => **id == *entry.id,
                (None, None) => true,
                // A link has no content of its own here; git's word is taken.
                (None, Some(entry)) if entry.is_link() => !self.between.contains(path) && status.is_none(),
                _ => false,
            };
            if same {
                continue;
            }
            match (self.between.contains(path), status) {
                (true, _) => {
                    found.insert(below.to_owned(), Difference::OtherCommit);
                }
                (_, Some(StatusKind::Ignored)) => {}
                _ => {
                    found.insert(below.to_owned(), Difference::Dirty);
                    if let Some(ContentId::Git(id)) = on_disk {
                        dirty.push((path.clone(), id.to_string()));
                    }
                }
            }
        }
        for path in old_versions(&self.work, &dirty, HISTORY_DEPTH).unwrap_or_default() {
            if let Some(Ok(below)) = path.strip_prefix(prefix).map(|below| std::str::from_utf8(below)) {
                found.insert(below.to_owned(), Difference::Old);
            }
        }
        found
    }
}

/// Paths below a prefix that changed between a baseline and HEAD or are in `changes`; `None` where the baseline is not here.
pub fn changed_since(repository: &Repository, changes: &Changes, baseline: &str, to: &str, prefix: &[u8]) -> Option<HashSet<String>> {
    let committed = repository.changed_paths(baseline, to).ok()?;
    let below = |path: &Vec<u8>| path.strip_prefix(prefix).and_then(|path| String::from_utf8(path.to_vec()).ok());
    Some(committed.iter().chain(changes.keys()).filter_map(below).collect())
}
