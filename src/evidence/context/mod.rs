//! What a build context holds, listed as BuildKit's client lists it.
//!
//! Facts from tonistiigi/fsutil (`walker.go`, `filter.go`, `stat.go`): names are walked in the order of their bytes, a directory
//! right before what is in it; a directory that a rule leaves out is listed all the same when something below it is not; sockets
//! are never listed; a second name of a file (hard link) is listed as a link to the first. The root itself is not listed.
//!
//! [`follow`] says which paths a build follows, [`transfer`] how many bytes the listing and the contents take on the wire,
//! [`content`] what the files hold, [`work_tree`] which of them are as the commit has them, [`survey`] counts within bounds what would be sent.

pub mod content;
pub mod follow;
pub mod survey;
pub mod transfer;
mod walk;
pub mod work_tree;

pub use walk::list;

use std::path::{Path, PathBuf};

use super::ignore::{IgnoreError, IgnoreRules, MAX_FILE as MAX_IGNORE_FILE, candidates};

/// Go's `os.ModeDir`.
pub const MODE_DIR: u32 = 1 << 31;
/// Go's `os.ModeSymlink`.
pub const MODE_SYMLINK: u32 = 1 << 27;
const MODE_DEVICE: u32 = 1 << 26;
const MODE_NAMED_PIPE: u32 = 1 << 25;
const MODE_SETUID: u32 = 1 << 23;
const MODE_SETGID: u32 = 1 << 22;
const MODE_CHAR_DEVICE: u32 = 1 << 21;
const MODE_STICKY: u32 = 1 << 20;
const MODE_IRREGULAR: u32 = 1 << 19;
/// All bits that make something else than a regular file.
const MODE_TYPE: u32 = MODE_DIR | MODE_SYMLINK | MODE_DEVICE | MODE_NAMED_PIPE | MODE_CHAR_DEVICE | MODE_IRREGULAR;

/// One file, directory or link of a context, with what the sync compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path from the root of the context, with slashes; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Type and permissions as Go's `FileMode` has them.
    pub mode: u32,
    /// Bytes of a file, or of a link's target; 0 for directories and for second names of a file.
    pub size: u64,
    /// Time of the last change of content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Target of a symbolic link, or the first name of the same file; else empty.
    pub link: String,
    /// Number of the file on its file system; 0 where there is none.
    pub inode: u64,
    /// Time of the last change of content or status, in nanoseconds since 1970; 0 where there is none.
    pub ctime_ns: i64,
}

impl Entry {
    /// Says whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & MODE_DIR != 0
    }

    /// Says whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.mode & MODE_SYMLINK != 0
    }

    /// Says whether it is a file whose content the builder asks for when its listing is new.
    pub fn has_content(&self) -> bool {
        self.mode & MODE_TYPE == 0 && self.link.is_empty()
    }

    /// Says whether the sync takes `other` for the same and keeps the content that it has (fsutil `diff.go`, `sameFile`).
    ///
    /// Of a directory only the mode counts. User and group are always 0 in a context.
    pub fn same_stat(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.link == other.link
            && (self.is_dir() || (self.size == other.size && self.mtime_ns == other.mtime_ns))
    }

    /// Says whether the time of change has parts of a second, as file systems give it; a script that sets times sets whole seconds.
    pub fn has_ordinary_mtime(&self) -> bool {
        self.mtime_ns % 1_000_000_000 != 0
    }
}

/// Why a context cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A file or directory of it cannot be read.
    #[error("{path} cannot be read: {cause}")]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The ignore file is wrong.
    #[error("{path}: {cause}")]
    Ignore {
        /// The ignore file.
        path: PathBuf,
        /// What is wrong.
        cause: IgnoreError,
    },
    /// There is too much of it.
    #[error("{0} holds too many files or is too deep to list")]
    TooLarge(PathBuf),
}

/// Finds and reads the ignore file of a context: `NAME.dockerignore` beside the Dockerfile, else `.dockerignore` in the root.
///
/// `dockerfile` is the path of the Dockerfile; `None` for a named context, which only knows the second. Gives the rules and the
/// file that they are from, `None` where there is none.
///
/// # Errors
/// A file that is there and cannot be read or understood.
pub fn ignore_rules(root: &Path, dockerfile: Option<&Path>) -> Result<(IgnoreRules, Option<PathBuf>), ContextError> {
    let beside = dockerfile.and_then(|path| {
        let [own, _] = candidates(path.file_name()?.to_str()?);
        Some(path.with_file_name(own))
    });
    for path in beside.into_iter().chain([root.join(".dockerignore")]) {
        match read_ignore_file(&path) {
            Ok(bytes) => {
                let rules = IgnoreRules::parse(&bytes).map_err(|cause| ContextError::Ignore { path: path.clone(), cause })?;
                return Ok((rules, Some(path)));
            }
            Err(cause) if matches!(cause.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {}
            Err(cause) => return Err(ContextError::Read { path, cause }),
        }
    }
    Ok((IgnoreRules::default(), None))
}

/// Reads an ignore file, as much of one that is too large as shows that it is. A pipe would have to be waited for: nothing is read of it.
fn read_ignore_file(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no ordinary file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_IGNORE_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the file system says of one name.
struct Stat {
    mode: u32,
    mtime_ns: i64,
    ctime_ns: i64,
    inode: u64,
    device: u64,
    names: u64,
}

impl Stat {
    /// `None` for a socket.
    #[cfg(unix)]
    fn of(metadata: &std::fs::Metadata) -> Option<Self> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let kind = metadata.file_type();
        let raw = metadata.mode();
        let mut mode = raw & 0o777;
        for (bit, go) in [(0o4000, MODE_SETUID), (0o2000, MODE_SETGID), (0o1000, MODE_STICKY)] {
            if raw & bit != 0 {
                mode |= go;
            }
        }
        mode |= match () {
            () if kind.is_socket() => return None,
            () if kind.is_dir() => MODE_DIR,
            () if kind.is_symlink() => MODE_SYMLINK,
            () if kind.is_fifo() => MODE_NAMED_PIPE,
            () if kind.is_block_device() => MODE_DEVICE,
            () if kind.is_char_device() => MODE_DEVICE | MODE_CHAR_DEVICE,
            () if kind.is_file() => 0,
            () => MODE_IRREGULAR,
        };
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Some(Self {
            mode,
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
            names: metadata.nlink(),
        })
    }

    /// fsutil on Windows gives every file 0755 and every directory 0755.
    #[cfg(not(unix))]
    fn of(metadata: &std::fs::Metadata) -> Option<Self> {
        let kind = metadata.file_type();
        let mode = match () {
            () if kind.is_dir() => MODE_DIR | 0o755,
            () if kind.is_symlink() => MODE_SYMLINK | 0o777,
            () => 0o755,
        };
        let since = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let mtime_ns = since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or_default();
        Some(Self { mode, mtime_ns, ctime_ns: 0, inode: 0, device: 0, names: 1 })
    }
}

#[cfg(test)]
mod tests;
