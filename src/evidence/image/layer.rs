//! One layer of an image: what it adds and what it takes away.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{Blobs, ImageError, MAX_ENTRIES, clean};
use crate::evidence::context::content::{ContentId, hex};

/// The content of a file of a layer, by both names that can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    sha256: [u8; 32],
    git: [u8; 20],
}

impl FileId {
    /// Says whether it is this content; `None` where the two cannot be compared (git with SHA-256, files that nobody read).
    pub fn is(&self, id: &ContentId) -> Option<bool> {
        match id {
            ContentId::Git(id) => self.is_blob(id),
            ContentId::Sha256(digest) => Some(hex(&self.sha256) == **digest),
            ContentId::Stat(_) => None,
        }
    }

    /// Says whether it is the blob that git calls so; `None` for a repository that names by SHA-256.
    pub fn is_blob(&self, id: &str) -> Option<bool> {
        (id.len() == 40).then(|| self.git() == id)
    }

    /// Its name, of the kind of another one; git's where that other is not known.
    pub fn named_as(&self, other: Option<&ContentId>) -> ContentId {
        match other {
            Some(ContentId::Sha256(_)) => ContentId::Sha256(hex(&self.sha256).into()),
            _ => ContentId::Git(self.git().into()),
        }
    }

    /// The name that git has for it.
    pub fn git(&self) -> String {
        hex(&self.git)
    }

    /// Reads a stream to its end; `size` is what it will give.
    ///
    /// # Errors
    /// The stream cannot be read.
    pub fn of(mut stream: impl Read, size: u64) -> io::Result<Self> {
        let mut sha256 = Sha256::new();
        let mut git = Sha1::new();
        git.update(format!("blob {size}\0"));
        let mut piece = [0; 32 * 1024];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => {
                    let read = piece.get(..length).unwrap_or_default();
                    sha256.update(read);
                    git.update(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { sha256: sha256.finalize().into(), git: git.finalize().into() })
    }
}

/// Largest file of a repository's references that is kept, in bytes, and how many of them.
const MAX_REFERENCE: u64 = 64 << 10;
const MAX_REFERENCES: usize = 1_000;

/// True for the files of a repository (`gitrepository-layout`) that say which commit is checked out.
fn is_reference(path: &str) -> bool {
    let Some((_, below)) = path.rsplit_once(".git/") else {
        return false;
    };
    matches!(below, "HEAD" | "packed-refs") || below.starts_with("refs/heads/")
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A regular file.
    File(FileId),
    /// A symbolic link to this.
    Link(String),
}

/// A layer, read when it is asked for.
#[derive(Debug)]
pub(super) struct Layer {
    blobs: Rc<Blobs>,
    name: String,
    contents: OnceCell<Result<Contents, ImageError>>,
}

/// What a layer holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// By path without a leading slash.
    entries: HashMap<String, Found>,
    /// Paths that the layer deletes (OCI image spec, "whiteouts").
    removed: HashSet<String>,
    /// Directories whose content below is deleted.
    opaque: HashSet<String>,
    /// What git says of itself in the repositories that the layer holds: `HEAD`, branches, packed references.
    git: HashMap<String, String>,
    /// The paths of each content, made when it is asked for: by git's name, and by SHA-256.
    paths: OnceCell<(Paths<20>, Paths<32>)>,
}

/// Paths by the content that is there.
type Paths<const N: usize> = HashMap<[u8; N], Vec<String>>;

impl Layer {
    pub(super) fn new(blobs: Rc<Blobs>, name: String) -> Self {
        Self { blobs, name, contents: OnceCell::new() }
    }

    /// Reads the layer of an image at `path`, the first time.
    pub(super) fn contents(&self, path: &Path) -> Result<&Contents, ImageError> {
        let read = || {
            let stream = self.blobs.read(&self.name).and_then(unpacked).map_err(|cause| ImageError::io(path, cause))?;
            Contents::read(stream, path)
        };
        self.contents.get_or_init(read).as_ref().map_err(Clone::clone)
    }
}

impl Contents {
    fn read(stream: impl Read, path: &Path) -> Result<Self, ImageError> {
        let unreadable = |cause| ImageError::io(path, cause);
        let mut contents = Self::default();
        let mut archive = tar::Archive::new(stream);
        for (number, entry) in archive.entries().map_err(unreadable)?.enumerate() {
            let mut entry = entry.map_err(unreadable)?;
            if number >= MAX_ENTRIES {
                return Err(ImageError::TooLarge(path.to_owned()));
            }
            let name = clean(&entry.path_bytes());
            let (directory, base) = name.rsplit_once('/').unwrap_or(("", &name));
            let kind = entry.header().entry_type();
            if base == ".wh..wh..opq" {
                contents.opaque.insert(directory.to_owned());
            } else if let Some(gone) = base.strip_prefix(".wh.") {
                let gone = if directory.is_empty() { gone.to_owned() } else { format!("{directory}/{gone}") };
                contents.removed.insert(gone);
            } else if kind.is_hard_link() {
                let target = entry.link_name_bytes().map(|target| clean(&target));
                if let Some(found) = target.and_then(|target| contents.entries.get(&target).cloned()) {
                    contents.entries.insert(name, found);
                }
            } else if kind.is_symlink() {
                let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
                contents.entries.insert(name, Found::Link(target.unwrap_or_default()));
            } else if kind.is_file() || kind.is_contiguous() {
                let size = entry.size();
                let mut text = Vec::new();
                let wanted = is_reference(&name) && size <= MAX_REFERENCE && contents.git.len() < MAX_REFERENCES;
                let id = match wanted {
                    true => {
                        entry.read_to_end(&mut text).map_err(unreadable)?;
                        contents.git.insert(name.clone(), String::from_utf8_lossy(&text).into_owned());
                        FileId::of(&*text, size)
                    }
                    false => FileId::of(&mut entry, size),
                };
                contents.entries.insert(name, Found::File(id.map_err(unreadable)?));
            }
        }
        Ok(contents)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn find(&self, path: &str) -> Option<Found> {
        self.entries.get(path).cloned()
    }

    /// Says whether what lower layers have at a path is not seen any more.
    pub(super) fn hides(&self, path: &str) -> bool {
        let above = path.match_indices('/').map(|(at, _)| path.get(..at).unwrap_or_default());
        let gone = |part: &str| self.removed.contains(part) || matches!(self.entries.get(part), Some(Found::File(_)));
        self.removed.contains(path) || self.opaque.contains("") || above.into_iter().any(|part| gone(part) || self.opaque.contains(part))
    }

    /// The paths of its files and links.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The commits that the repositories in it have checked out.
    pub(super) fn clones(&self) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = self
            .git
            .iter()
            .filter_map(|(path, head)| {
                let dir = path.strip_suffix("/.git/HEAD").or_else(|| path.strip_suffix("/HEAD").filter(|dir| dir.ends_with(".git")))?;
                let git = path.strip_suffix("/HEAD")?;
                let commit = match head.trim().strip_prefix("ref: ") {
                    None => head.trim(),
                    Some(branch) => match self.git.get(&format!("{git}/{branch}")) {
                        Some(commit) => commit.trim(),
                        None => self
                            .git
                            .get(&format!("{git}/packed-refs"))?
                            .lines()
                            .find_map(|line| line.strip_suffix(branch)?.strip_suffix(' '))?,
                    },
                };
                let is_commit = matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
                is_commit.then(|| (format!("/{dir}"), commit.to_owned()))
            })
            .collect();
        found.sort();
        found
    }

    /// The paths of the files with this content.
    pub(super) fn with_content(&self, id: &ContentId) -> impl Iterator<Item = &str> {
        let (by_git, by_sha256) = self.paths.get_or_init(|| {
            let (mut by_git, mut by_sha256) = (Paths::<20>::new(), Paths::<32>::new());
            for (path, found) in &self.entries {
                if let Found::File(file) = found {
                    by_git.entry(file.git).or_default().push(path.clone());
                    by_sha256.entry(file.sha256).or_default().push(path.clone());
                }
            }
            (by_git, by_sha256)
        });
        let paths = match id {
            ContentId::Git(id) => unhex(id).and_then(|id| by_git.get(&id)),
            ContentId::Sha256(id) => unhex(id).and_then(|id| by_sha256.get(&id)),
            ContentId::Stat(_) => None,
        };
        paths.into_iter().flatten().map(String::as_str)
    }

    pub(super) fn has_blob(&self, id: &str) -> bool {
        self.with_content(&ContentId::Git(id.into())).next().is_some()
    }
}

/// The bytes of hexadecimal digits; `None` for another number of them.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// A layer's archive, whatever it is compressed with.
pub(super) fn unpacked(mut stream: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut magic = [0; 4];
    let mut length = 0;
    while length < magic.len() {
        match stream.read(magic.get_mut(length..).unwrap_or_default())? {
            0 => break,
            more => length += more,
        }
    }
    let whole = io::Cursor::new(magic.get(..length).unwrap_or_default().to_vec()).chain(stream);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}
