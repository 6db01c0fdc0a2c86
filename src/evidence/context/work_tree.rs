//! What git says of a work tree: which files are as HEAD has them.
//!
//! Whoever judges a build lists its context anyway, so what the file system says of each file is known. Git's index names for each
//! tracked file what the file system said when git looked last; where both agree, the file holds the blob of the index, as `git status`
//! would find by asking the file system for each file again. Content is looked at only where they do not agree. Where the index is out of
//! the ordinary ([`Index`] says what that is), and where a difference takes more than a look at the content to judge, git is asked for
//! its status.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{Entry, MODE_TYPE, Stat, content::ContentId};
use crate::evidence::git::{
    GitError, Repository, StatusKind, TreeEntry, bytes_to_path,
    index::{FileKind, FileState, Index},
};

/// Longer command lines are not sure to be taken.
const MOST_NAMED_BYTES: usize = 64 * 1024;

/// Paths from the top that are not as HEAD has them, and untracked ones, with what git says of them.
pub type Changes = HashMap<Vec<u8>, StatusKind>;

/// A work tree and its HEAD, asked once and used for every context in it.
#[derive(Debug)]
pub struct WorkTree {
    repository: Repository,
    root: PathBuf,
    /// The commit that is checked out.
    pub head: String,
    index: Option<AtHead>,
    /// The files of HEAD, where the index does not tell.
    tree: HashMap<Vec<u8>, TreeEntry>,
    status: OnceCell<Changes>,
    /// The blobs of files whose content was looked at, with what the file system said of them.
    read: RefCell<HashMap<Vec<u8>, (FileState, String)>>,
}

/// An index, and where HEAD has something else.
#[derive(Debug)]
struct AtHead {
    index: Index,
    /// What HEAD has at paths where the index has something else.
    staged: HashMap<Vec<u8>, Option<TreeEntry>>,
}

/// How a file stands to the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Same,
    Changed,
    /// Git's settings decide.
    Unsure,
}

impl WorkTree {
    /// Opens the work tree that holds `dir`. `revisions` will be asked for later.
    ///
    /// # Errors
    /// As [`Repository::open`], [`Repository::head`], [`Repository::status`].
    pub fn open(dir: &Path, revisions: &[&str]) -> Result<Self, GitError> {
        let repository = Repository::open_asking(dir, revisions)?;
        let root = repository.root().ok_or(GitError::Bare)?.to_owned();
        let head = repository.head()?;
        let index = repository.index().and_then(|index| AtHead::new(index, &repository));
        let (tree, status) = (HashMap::new(), OnceCell::new());
        let mut work = Self { repository, root, head, index, tree, status, read: RefCell::default() };
        if work.index.is_none() {
            // Two processes that take the most of the time here, side by side.
            let (tree, status) = std::thread::scope(|scope| {
                let status = scope.spawn(|| work.repository.status(false));
                let tree = work.repository.tree_without_sizes(&work.head);
                (tree, status.join())
            });
            let status = status.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            work.tree = tree?.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
            work.status = OnceCell::from(changes(status));
        }
        Ok(work)
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The top of the work tree.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What HEAD has at a path from the top.
    pub fn at_head(&self, path: &[u8]) -> Option<TreeEntry> {
        let Some(AtHead { index, staged }) = &self.index else {
            return self.tree.get(path).cloned();
        };
        if let Some(at_head) = staged.get(path) {
            return at_head.clone();
        }
        let at = index.find(path, &mut 0)?;
        Some(TreeEntry { mode: index.mode(at), id: index.id(at), size: None, path: path.to_vec() })
    }

    /// Says whether HEAD has something at a path from the top.
    pub fn tracks(&self, path: &[u8]) -> bool {
        match &self.index {
            Some(AtHead { index, staged }) => {
                staged.get(path).map_or_else(|| index.find(path, &mut 0).is_some(), |at_head| at_head.is_some())
            }
            None => self.tree.contains_key(path),
        }
    }

    /// All paths that are not as HEAD has them, as git's status tells them.
    ///
    /// # Errors
    /// As [`Repository::status`].
    pub fn status(&self) -> Result<&Changes, GitError> {
        if let Some(known) = self.status.get() {
            return Ok(known);
        }
        let changes = changes(self.repository.status(false)?);
        Ok(self.status.get_or_init(|| changes))
    }

    /// The path of `dir` from the top, with a slash at its end unless it is the top; `None` where it is outside.
    pub fn prefix(&self, dir: &Path) -> Option<Vec<u8>> {
        let top = self.root.canonicalize().ok()?;
        let dir = dir.canonicalize().ok()?;
        let relative = dir.strip_prefix(top).ok()?;
        let mut prefix = path_bytes(relative);
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        Some(prefix)
    }

    /// The blob that a file of a listing holds, if that can be said without a look into it. `path` is its path from the top, `next`
    /// where the last question ended.
    pub(super) fn clean_blob(&self, path: &[u8], entry: &Entry, next: &mut usize) -> Option<String> {
        let Some(AtHead { index, .. }) = &self.index else {
            let at_head = self.tree.get(path).filter(|entry| entry.is_blob())?;
            return (!self.status.get()?.contains_key(path)).then(|| at_head.id.clone());
        };
        let at = index.find(path, next)?;
        index.is_unchanged(at, &state(entry)?).then(|| index.id(at))
    }

    /// The blobs that git would make of files, which are looked into unless that was done before.
    pub(super) fn blobs(&self, files: &[(Vec<u8>, Option<FileState>)]) -> Result<Vec<String>, GitError> {
        let mut read = self.read.borrow_mut();
        let known = |path: &Vec<u8>, state: &Option<FileState>, read: &HashMap<Vec<u8>, (FileState, String)>| {
            read.get(path).filter(|(before, _)| Some(before) == state.as_ref()).map(|(_, id)| id.clone())
        };
        let wanted: Vec<&(Vec<u8>, Option<FileState>)> = files.iter().filter(|(path, state)| known(path, state, &read).is_none()).collect();
        let mut new = HashMap::new();
        if !wanted.is_empty() {
            let paths: Vec<Vec<u8>> = wanted.iter().map(|(path, _)| path.clone()).collect();
            for ((path, state), id) in wanted.into_iter().zip(self.repository.hash_files(&paths)?) {
                if let Some(state) = state {
                    read.insert(path.clone(), (*state, id.clone()));
                }
                new.insert(path, id);
            }
        }
        let found = files.iter().map(|(path, state)| new.get(path).cloned().or_else(|| known(path, state, &read)));
        found.collect::<Option<_>>().ok_or(GitError::Unreadable("hash-object"))
    }

    /// The paths below a prefix that are not as HEAD has them, and the untracked ones of the listing.
    ///
    /// `listing` are the entries of the directory that the prefix names, with their contents where they have any. Files that the listing
    /// lacks are looked for.
    ///
    /// # Errors
    /// git fails.
    pub fn changes_below<'e>(
        &self,
        prefix: &[u8],
        listing: impl Iterator<Item = (&'e Entry, Option<&'e ContentId>)>,
    ) -> Result<Changes, GitError> {
        let by_git = || {
            let below = |(path, _): &(&Vec<u8>, &StatusKind)| path.starts_with(prefix);
            Ok(self.status()?.iter().filter(below).map(|(path, kind)| (path.clone(), kind.clone())).collect())
        };
        match &self.index {
            Some(at_head) => match self.by_index(at_head, prefix, listing)? {
                Some(changes) => Ok(changes),
                None => by_git(),
            },
            None => by_git(),
        }
    }

    /// As [`WorkTree::changes_below`]; `None` where git has to be asked.
    fn by_index<'e>(
        &self,
        at_head: &AtHead,
        prefix: &[u8],
        listing: impl Iterator<Item = (&'e Entry, Option<&'e ContentId>)>,
    ) -> Result<Option<Changes>, GitError> {
        let AtHead { index, staged } = at_head;
        let range = index.below(prefix);
        let mut seen = vec![false; range.len()];
        let mut changes: Changes =
            staged.keys().filter(|path| path.starts_with(prefix)).map(|path| (path.clone(), changed('M', '.'))).collect();
        let mut untracked: Vec<Vec<u8>> = Vec::new();
        let (mut full, mut next) = (prefix.to_vec(), range.start);
        for (entry, content) in listing.filter(|(entry, _)| !entry.is_dir()) {
            full.truncate(prefix.len());
            full.extend_from_slice(entry.path.as_bytes());
            let Some(at) = index.find(&full, &mut next) else {
                if !is_gits(&entry.path) {
                    untracked.push(full.clone());
                }
                continue;
            };
            let second_name = !entry.link.is_empty() && !entry.is_symlink();
            let Some(place) = seen.get_mut(at.wrapping_sub(range.start)).filter(|_| !second_name) else { continue };
            *place = true;
            match look(index, at, state(entry), content) {
                Look::Same => {}
                Look::Changed => _ = changes.entry(full.clone()).or_insert_with(|| changed('.', 'M')),
                Look::Unsure => return Ok(None),
            }
        }
        let elsewhere = range.clone().zip(&seen).filter(|(_, seen)| !**seen).map(|(at, _)| at);
        let Some(more) = self.not_listed(index, elsewhere)? else { return Ok(None) };
        for (path, kind) in more {
            changes.entry(path).or_insert(kind);
        }
        for path in self.untracked(untracked, prefix)? {
            changes.entry(path).or_insert(StatusKind::Untracked);
        }
        Ok(Some(changes))
    }

    /// Looks for tracked files that a listing lacks, for their being left out of it or gone.
    fn not_listed(&self, index: &Index, places: impl Iterator<Item = usize>) -> Result<Option<Changes>, GitError> {
        let mut changes = Changes::new();
        let mut directories = HashMap::new();
        let (mut to_read, mut read_at) = (Vec::new(), Vec::new());
        for at in places {
            let path = index.path(at);
            let metadata = match std::fs::symlink_metadata(self.root.join(bytes_to_path(path))) {
                // What is reached through a link that took the place of a directory is not what git tracks.
                Ok(metadata) if self.is_in_real_directory(path, &mut directories) => metadata,
                Err(error) if !matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => return Ok(None),
                _ => {
                    changes.insert(path.to_vec(), changed('.', 'D'));
                    continue;
                }
            };
            let state = state_of(&metadata);
            match look(index, at, state, None) {
                Look::Same => {}
                Look::Changed => _ = changes.insert(path.to_vec(), changed('.', 'M')),
                Look::Unsure if state.is_some_and(|state| state.kind != FileKind::Link) && index.kind(at) != FileKind::Link => {
                    to_read.push((path.to_vec(), state));
                    read_at.push(at);
                }
                Look::Unsure => return Ok(None),
            }
        }
        for (((path, state), at), id) in to_read.iter().zip(read_at).zip(self.blobs(&to_read)?) {
            match look(index, at, *state, Some(&ContentId::Git(id.into()))) {
                Look::Same => {}
                Look::Changed => _ = changes.insert(path.clone(), changed('.', 'M')),
                Look::Unsure => return Ok(None),
            }
        }
        Ok(Some(changes))
    }

    fn is_in_real_directory(&self, path: &[u8], known: &mut HashMap<Vec<u8>, bool>) -> bool {
        let Some(end) = memchr::memrchr(b'/', path) else { return true };
        let parent = &path[..end];
        if let Some(known) = known.get(parent) {
            return *known;
        }
        let real = std::fs::symlink_metadata(self.root.join(bytes_to_path(parent))).is_ok_and(|metadata| metadata.is_dir())
            && self.is_in_real_directory(parent, known);
        known.insert(parent.to_vec(), real);
        real
    }

    /// Which of these paths git would call untracked: not those that it is told to ignore, nor those of another repository.
    fn untracked(&self, paths: Vec<Vec<u8>>, prefix: &[u8]) -> Result<Vec<Vec<u8>>, GitError> {
        let mut repositories = HashMap::new();
        let paths: Vec<Vec<u8>> = paths.into_iter().filter(|path| !self.is_in_other_repository(path, &mut repositories)).collect();
        if paths.is_empty() {
            return Ok(paths);
        }
        let named = paths.iter().map(|path| path.len() + 1).sum::<usize>() <= MOST_NAMED_BYTES;
        let below = if prefix.is_empty() { Vec::new() } else { vec![prefix.to_vec()] };
        let mut found = self.repository.untracked(if named { &paths } else { &below })?;
        found.retain(|path| path.starts_with(prefix) && !path.ends_with(b"/"));
        Ok(found)
    }

    fn is_in_other_repository(&self, path: &[u8], known: &mut HashMap<Vec<u8>, bool>) -> bool {
        let Some(end) = memchr::memrchr(b'/', path) else { return false };
        let parent = &path[..end];
        if let Some(known) = known.get(parent) {
            return *known;
        }
        let other = std::fs::symlink_metadata(self.root.join(bytes_to_path(parent)).join(".git")).is_ok()
            || self.is_in_other_repository(parent, known);
        known.insert(parent.to_vec(), other);
        other
    }
}

impl AtHead {
    fn new(index: Index, repository: &Repository) -> Option<Self> {
        let mut staged = HashMap::new();
        if index.tree() != repository.head_tree() {
            for change in repository.staged().ok()? {
                let at_head = TreeEntry { mode: change.old_mode, id: change.old_id, size: None, path: change.path.clone() };
                staged.insert(change.path, (change.old_mode != 0).then_some(at_head));
            }
        }
        // Git's status knows what became of a submodule that the index lacks.
        staged.values().flatten().all(TreeEntry::is_blob).then_some(Self { index, staged })
    }
}

fn changed(index: char, worktree: char) -> StatusKind {
    StatusKind::Changed { index, worktree }
}

fn changes(status: Vec<crate::evidence::git::StatusEntry>) -> Changes {
    let mut changes = Changes::new();
    for entry in status {
        if let StatusKind::Renamed { from } = &entry.kind {
            changes.insert(from.clone(), entry.kind.clone());
        }
        changes.insert(entry.path, entry.kind);
    }
    changes
}

/// Compares a file with its entry in the index; `content` is what it holds, where somebody looked.
fn look(index: &Index, at: usize, state: Option<FileState>, content: Option<&ContentId>) -> Look {
    let Some(state) = state else { return Look::Changed };
    if index.is_unchanged(at, &state) {
        return Look::Same;
    }
    match content {
        // Whether a file may stand for a link, and whether the right to execute counts, is set in git's configuration.
        _ if state.kind == FileKind::Link || index.kind(at) == FileKind::Link => Look::Unsure,
        Some(ContentId::Git(id)) if !index.is_blob(at, id) => Look::Changed,
        Some(ContentId::Git(_)) if state.kind == index.kind(at) => Look::Same,
        _ => Look::Unsure,
    }
}

/// Says whether a path is one of git's own.
pub(super) fn is_gits(path: &str) -> bool {
    path.split('/').any(|part| part == ".git")
}

/// What the file system said of an entry; `None` for what git does not track. A second name of a file says too little of it.
pub(super) fn state(entry: &Entry) -> Option<FileState> {
    let kind = match () {
        () if entry.is_symlink() => FileKind::Link,
        () if entry.mode & MODE_TYPE != 0 || !entry.link.is_empty() => return None,
        () if entry.mode & 0o100 != 0 => FileKind::Executable,
        () => FileKind::File,
    };
    Some(FileState { kind, size: entry.size, mtime_ns: entry.mtime_ns, ctime_ns: entry.ctime_ns, inode: entry.inode })
}

fn state_of(metadata: &std::fs::Metadata) -> Option<FileState> {
    let stat = Stat::of(metadata)?;
    let entry = Entry {
        path: String::new(),
        mode: stat.mode,
        size: metadata.len(),
        mtime_ns: stat.mtime_ns,
        link: String::new(),
        inode: stat.inode,
        ctime_ns: stat.ctime_ns,
    };
    state(&entry)
}

#[cfg(unix)]
fn path_bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

#[cfg(not(unix))]
fn path_bytes(path: &Path) -> Vec<u8> {
    path.to_string_lossy().replace('\\', "/").into_bytes()
}

#[cfg(test)]
#[path = "work_tree_tests.rs"]
mod tests;
