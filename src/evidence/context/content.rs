//! What the files of a context hold, named by content.
//!
//! A file that git tracks and finds unchanged has the content of its blob: nothing is read. Every other file is read once and named
//! by the blob that git would make of it, after the filters that its attributes name, so that line ends and LFS pointers that the
//! checkout changed are no difference. Where there is no repository, or git is not asked, it is named by its SHA-256.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{
    Entry,
    work_tree::{WorkTree, is_gits, state},
};
use crate::evidence::git::GitError;

/// The name of a content. Two are comparable only if they are of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentId {
    /// The id of the blob that git makes of it.
    Git(Arc<str>),
    /// SHA-256 of the bytes, in hexadecimal digits.
    Sha256(Arc<str>),
    /// The file was not read; listing and times stand for the content (files below `.git`).
    Stat(Arc<str>),
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
            "git" => Some(Self::Git(value.into())),
            "sha256" => Some(Self::Sha256(value.into())),
            "stat" => Some(Self::Stat(value.into())),
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

/// Names the contents of the files of a context.
///
/// `known` gives the name of a file that an earlier run has read and that has not changed since by any sign that the file system
/// gives; it spares reading. Directories and links get no name: their listing says everything. A file that cannot be read gets none.
/// The names are in the order of the entries.
pub fn identify(
    root: &Path,
    entries: &[Entry],
    tree: Option<&WorkTree>,
    known: &dyn Fn(&Entry) -> Option<ContentId>,
) -> Vec<Option<ContentId>> {
    let prefix = tree.and_then(|tree| tree.prefix(root));
    let tree = tree.filter(|_| prefix.is_some());
    let prefix = prefix.unwrap_or_default();
    let mut found = vec![None; entries.len()];
    let mut to_read: Vec<(&Entry, &mut Option<ContentId>)> = Vec::new();
    let (mut full, mut next) = (prefix.clone(), 0);
    for (entry, place) in entries.iter().zip(&mut found).filter(|(entry, _)| entry.has_content()) {
        if is_gits(&entry.path) {
            // Git's own files change under our eyes, and are not what anybody asks for.
            let id = format!("{}-{}-{}-{}", entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode);
            *place = Some(ContentId::Stat(id.into()));
            continue;
        }
        full.truncate(prefix.len());
        full.extend_from_slice(entry.path.as_bytes());
        if let Some(id) = tree.and_then(|tree| tree.clean_blob(&full, entry, &mut next)) {
            *place = Some(ContentId::Git(id.into()));
        } else if let Some(id) = known(entry).filter(|id| matches!(id, ContentId::Git(_)) == tree.is_some()) {
            *place = Some(id);
        } else {
            to_read.push((entry, place));
        }
    }
    if let Some(tree) = tree.filter(|_| !to_read.is_empty()) {
        let files: Vec<_> = to_read.iter().map(|(entry, _)| ([prefix.as_slice(), entry.path.as_bytes()].concat(), state(entry))).collect();
        if let Ok(ids) = tree.blobs(&files) {
            for ((_, place), id) in to_read.drain(..).zip(ids) {
                *place = Some(ContentId::Git(id.into()));
            }
        }
    }
    for (entry, place) in to_read {
        if let Ok(digest) = sha256_file(&root.join(&entry.path)) {
            *place = Some(ContentId::Sha256(digest.into()));
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
    // What is nowhere in the repository was in no commit. Most edits are such, and to go through the history takes longer than all else.
    let ids: Vec<&str> = files.iter().map(|(_, id)| id.as_str()).collect();
    let existing = tree.repository().existing(&ids)?;
    let files: Vec<_> = files.iter().filter(|(_, id)| existing.as_ref().is_none_or(|existing| existing.contains(id))).collect();
    if files.is_empty() {
        return Ok(HashSet::new());
    }
    let wanted: HashMap<&[u8], &str> = files.iter().map(|(path, id)| (path.as_slice(), id.as_str())).collect();
    let paths: Vec<Vec<u8>> = files.iter().map(|(path, _)| path.clone()).collect();
    let past = tree.repository().past_blobs(&tree.head, &paths, depth)?;
    Ok(past.into_iter().filter(|(path, blob)| wanted.get(path.as_slice()) == Some(&blob.as_str())).map(|(path, _)| path).collect())
}
