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
}

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
                let id = FileId::of(&mut entry, size).map_err(unreadable)?;
                contents.entries.insert(name, Found::File(id));
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

    pub(super) fn has_blob(&self, id: &str) -> bool {
        self.entries.values().any(|found| matches!(found, Found::File(file) if file.is_blob(id) == Some(true)))
    }
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
