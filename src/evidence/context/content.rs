//! What the files of a context hold, named by content.
//!
//! A file that git tracks and finds unchanged has the content of its blob: nothing is read. Every other file is read once and named
//! by the blob that git would make of it, after the filters that its attributes name, so that line ends and LFS pointers that the
//! checkout changed are no difference. Where there is no repository, or git is not asked, it is named by its SHA-256.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Entry;
use crate::evidence::git::{GitError, Repository, StatusKind, TreeEntry};

/// The name of a content. Two are comparable only if they are of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentId {
    /// The id of the blob that git makes of it.
    Git(String),
    /// SHA-256 of the bytes, in hexadecimal digits.
    Sha256(String),
    /// The file was not read; listing and times stand for the content (files below `.git`).
    Stat(String),
}

impl ContentId {
    /// Says whether both name the same content; `None` where that cannot be told.
    pub fn same(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::Git(a), Self::Git(b)) => (a.len() == b.len()).then_some(a == b),
            (Self::Sha256(a), Self::Sha256(b)) | (Self::Stat(a), Self::Stat(b)) => Some(a == b),
            _ => None,
        }
    }

    /// Reads what [`fmt::Display`] writes; `None` where it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, value) = text.split_once(':')?;
        match kind {
            "git" => Some(Self::Git(value.to_owned())),
            "sha256" => Some(Self::Sha256(value.to_owned())),
            "stat" => Some(Self::Stat(value.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git(id) => write!(out, "git:{id}"),
            Self::Sha256(id) => write!(out, "sha256:{id}"),
            Self::Stat(id) => write!(out, "stat:{id}"),
        }
    }
}

/// What git says of a work tree, asked once and used for every context in it.
#[derive(Debug)]
pub struct WorkTree {
    repository: Repository,
    root: PathBuf,
    /// The commit that is checked out.
    pub head: String,
    tree: HashMap<Vec<u8>, TreeEntry>,
    /// Paths that are not as HEAD has them, with what git says of them.
    changed: HashMap<Vec<u8>, StatusKind>,
}

impl WorkTree {
    /// Opens the work tree that holds `dir` and asks for its status.
    ///
    /// # Errors
    /// As [`Repository::open`], [`Repository::head`], [`Repository::status`].
    pub fn open(dir: &Path) -> Result<Self, GitError> {
        let repository = Repository::open(dir)?;
        let root = repository.root().ok_or(GitError::Bare)?.to_owned();
        let head = repository.head()?;
        // Two processes that take the most of the time here, side by side.
        let (tree, status) = std::thread::scope(|scope| {
            let status = scope.spawn(|| repository.status(false));
            let tree = repository.tree_without_sizes(&head);
            (tree, status.join())
        });
        let status = status.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let tree = tree?.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
        let mut changed = HashMap::new();
        for entry in status {
            if let StatusKind::Renamed { from } = &entry.kind {
                changed.insert(from.clone(), entry.kind.clone());
            }
            changed.insert(entry.path, entry.kind);
        }
        Ok(Self { repository, root, head, tree, changed })
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The top of the work tree.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files of HEAD, by path from the top.
    pub fn tree(&self) -> &HashMap<Vec<u8>, TreeEntry> {
        &self.tree
    }

    /// The paths that are not as HEAD has them, and untracked ones.
    pub fn changed(&self) -> &HashMap<Vec<u8>, StatusKind> {
        &self.changed
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

    /// The blob that a file has at HEAD, if git finds the file unchanged.
    pub fn clean_blob(&self, path: &[u8]) -> Option<&str> {
        let entry = self.tree.get(path).filter(|entry| entry.is_blob())?;
        (!self.changed.contains_key(path)).then_some(entry.id.as_str())
    }
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

/// Names the contents of the files of a context.
///
/// `known` gives the name of a file that an earlier run has read and that has not changed since by any sign that the file system
/// gives; it spares reading. Directories and links get no name: their listing says everything. A file that cannot be read gets none.
pub fn identify(
    root: &Path,
    entries: &[Entry],
    tree: Option<&WorkTree>,
    known: &dyn Fn(&Entry) -> Option<ContentId>,
) -> HashMap<String, ContentId> {
    let prefix = tree.and_then(|tree| tree.prefix(root));
    let tree = tree.filter(|_| prefix.is_some());
    let prefix = prefix.unwrap_or_default();
    let mut found = HashMap::with_capacity(entries.len());
    let mut to_read: Vec<&Entry> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.has_content()) {
        if entry.path.split('/').any(|part| part == ".git") {
            // Git's own files change under our eyes, and are not what anybody asks for.
            let id = format!("{}-{}-{}-{}", entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode);
            found.insert(entry.path.clone(), ContentId::Stat(id));
            continue;
        }
        let full = [prefix.as_slice(), entry.path.as_bytes()].concat();
        if let Some(id) = tree.and_then(|tree| tree.clean_blob(&full)) {
            found.insert(entry.path.clone(), ContentId::Git(id.to_owned()));
        } else if let Some(id) = known(entry).filter(|id| matches!(id, ContentId::Git(_)) == tree.is_some()) {
            found.insert(entry.path.clone(), id);
        } else {
            to_read.push(entry);
        }
    }
    if let Some(tree) = tree.filter(|_| !to_read.is_empty()) {
        let paths: Vec<_> = to_read.iter().map(|entry| [prefix.as_slice(), entry.path.as_bytes()].concat()).collect();
        if let Ok(ids) = tree.repository.hash_files(&paths) {
            for (entry, id) in to_read.drain(..).zip(ids) {
                found.insert(entry.path.clone(), ContentId::Git(id));
            }
        }
    }
    for entry in to_read {
        if let Ok(digest) = sha256_file(&root.join(&entry.path)) {
            found.insert(entry.path.clone(), ContentId::Sha256(digest));
        }
    }
    found
}

/// SHA-256 of a file, in hexadecimal digits.
///
/// # Errors
/// The file cannot be read.
pub fn sha256_file(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => hasher.update(piece.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hex(&hasher.finalize()))
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Which of the dirty files hold what an earlier commit had there: the tree was not brought up to date, nobody edited it.
///
/// Looks at the last `depth` commits, from HEAD back.
///
/// # Errors
/// git fails.
pub fn old_versions(tree: &WorkTree, files: &[(Vec<u8>, String)], depth: usize) -> Result<HashSet<Vec<u8>>, GitError> {
    if files.is_empty() {
        return Ok(HashSet::new());
    }
    let wanted: HashMap<&[u8], &str> = files.iter().map(|(path, id)| (path.as_slice(), id.as_str())).collect();
    let paths: Vec<Vec<u8>> = files.iter().map(|(path, _)| path.clone()).collect();
    let past = tree.repository.past_blobs(&tree.head, &paths, depth)?;
    Ok(past.into_iter().filter(|(path, blob)| wanted.get(path.as_slice()) == Some(&blob.as_str())).map(|(path, _)| path).collect())
}
