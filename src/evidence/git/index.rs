//! The index of a work tree, read from its file as git wrote it (git's `gitformat-index`).
//!
//! It names for every tracked file the blob and what the file system said of it when git last looked. A file of which the file system
//! still says all of that holds that blob, without another look into it. Whoever lists a tree anyway so learns of each file what
//! `git status` would say, at no further cost. What is out of the ordinary is left to git: `Index::parse` gives `None` for an index
//! that is split or sparse, that has unmerged entries, entries that are not to be compared, or submodules.

use std::{
    io::Read,
    ops::Range,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Bytes of an index that are read at most.
const MAX_BYTES: u64 = 1 << 30;

/// Modes of entries.
const FILE: u32 = 0o100_644;
const EXECUTABLE: u32 = 0o100_755;
const LINK: u32 = 0o120_000;

/// The blob of no bytes, in SHA-1 and SHA-256. An entry of size 0 with another blob is one whose size git has struck out.
const EMPTY_BLOBS: [&str; 2] =
    ["e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"];

/// What the file system says of a file, as far as it tells whether the file changed. Times in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileState {
    /// The kind and the right to execute.
    pub kind: FileKind,
    /// Bytes of the content, or of a link's target.
    pub size: u64,
    /// Time of the last change of content.
    pub mtime_ns: i64,
    /// Time of the last change of content or status.
    pub ctime_ns: i64,
    /// Its number on the file system.
    pub inode: u64,
}

/// What git can have at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A file.
    File,
    /// A file that its owner may execute.
    Executable,
    /// A symbolic link.
    Link,
}

#[derive(Debug, Clone)]
struct Entry {
    path: Range<u32>,
    mode: u32,
    size: u32,
    inode: u32,
    mtime: (u32, u32),
    ctime: (u32, u32),
    id: [u8; 32],
}

/// An index in which nothing is out of the ordinary.
#[derive(Debug, Clone)]
pub struct Index {
    entries: Vec<Entry>,
    /// The paths of all entries, one after another.
    paths: Vec<u8>,
    /// Bytes of an object's id.
    id_bytes: usize,
    /// The tree that holds just these entries, where git knew it.
    tree: Option<String>,
    /// When it was written: what was touched since then may carry the times of before.
    written: (u32, u32),
}

impl Index {
    /// Reads the index of a work tree whose object ids have so many hexadecimal digits. `None` where it cannot be read or is out of the
    /// ordinary.
    pub(super) fn read(path: &Path, id_digits: usize) -> Option<Self> {
        let mut file = std::fs::File::open(path).ok()?;
        let metadata = file.metadata().ok().filter(|metadata| metadata.is_file() && metadata.len() <= MAX_BYTES)?;
        let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH).duration_since(UNIX_EPOCH).ok()?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).ok()?);
        file.by_ref().take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        Self::parse(&bytes, id_digits / 2, (u32::try_from(written.as_secs()).ok()?, written.subsec_nanos()))
    }

    /// Reads the bytes of an index whose object ids have so many bytes.
    fn parse(bytes: &[u8], id_bytes: usize, written: (u32, u32)) -> Option<Self> {
        let mut rest = bytes.strip_prefix(b"DIRC")?;
        let version = number(&mut rest)?;
        let count = usize::try_from(number(&mut rest)?).ok()?;
        if !(2..=4).contains(&version) || !matches!(id_bytes, 20 | 32) || count > bytes.len() / 42 {
            return None;
        }
        let mut index =
            Self { entries: Vec::with_capacity(count), paths: Vec::with_capacity(bytes.len() / 2), id_bytes, tree: None, written };
        for _ in 0..count {
            index.entry(&mut rest, version)?;
        }
        // Git keeps them in this order; all that is looked up here goes by it.
        if !(1..count).all(|at| index.path(at - 1) < index.path(at)) {
            return None;
        }
        index.extensions(rest)?;
        Some(index)
    }

    fn entry(&mut self, rest: &mut &[u8], version: u32) -> Option<()> {
        let start = rest.len();
        let ctime = (number(rest)?, number(rest)?);
        let mtime = (number(rest)?, number(rest)?);
        let (_device, inode) = (number(rest)?, number(rest)?);
        let mode = number(rest)?;
        let (_user, _group) = (number(rest)?, number(rest)?);
        let size = number(rest)?;
        let mut id = [0; 32];
        id.get_mut(..self.id_bytes)?.copy_from_slice(take(rest, self.id_bytes)?);
        let flags = take(rest, 2)?;
        // Assumed to be unchanged (0x80), more flags (0x40: kept out of the tree, to be added), stages of a merge (0x30).
        let extended = flags[0] & 0x40 != 0;
        if flags[0] & 0xB0 != 0 || !matches!(mode, FILE | EXECUTABLE | LINK) || (extended && take(rest, 2)? != [0, 0]) {
            return None;
        }
        let before = self.entries.last().map_or(0..0, |last| last.path.clone());
        let from = u32::try_from(self.paths.len()).ok()?;
        if version == 4 {
            let dropped = usize::try_from(offset(rest)?).ok()?;
            let before = usize::try_from(before.start).ok()?..usize::try_from(before.end).ok()?;
            let kept = before.start..before.end.checked_sub(dropped).filter(|end| *end >= before.start)?;
            self.paths.extend_from_within(kept);
        }
        let length = memchr::memchr(0, rest)?;
        self.paths.extend_from_slice(take(rest, length)?);
        if version == 4 {
            take(rest, 1)?;
        } else {
            // One to eight zeros up to a multiple of eight.
            take(rest, 8 - (start - rest.len()) % 8)?;
        }
        let path = from..u32::try_from(self.paths.len()).ok()?;
        self.entries.push(Entry { path, mode, size, inode, mtime, ctime, id });
        Some(())
    }

    /// Reads what stands behind the entries: one extension after another, then the checksum. `None` for one that must be understood.
    fn extensions(&mut self, mut rest: &[u8]) -> Option<()> {
        while rest.len() > self.id_bytes {
            let name = take(&mut rest, 4)?;
            let length = usize::try_from(number(&mut rest)?).ok()?;
            let body = take(&mut rest, length)?;
            match name {
                b"TREE" => self.tree = self.root_tree(body),
                [b'A'..=b'Z', ..] => {}
                _ => return None,
            }
        }
        (rest.len() == self.id_bytes).then_some(())
    }

    /// The tree of the whole index out of the extension that keeps trees.
    fn root_tree(&self, body: &[u8]) -> Option<String> {
        // Of the root the path is empty: a zero, the number of its entries, its subtrees, a line break, its id.
        let line = body.strip_prefix(b"\0")?;
        let end = memchr::memchr(b'\n', line)?;
        let (count, _) = std::str::from_utf8(&line[..end]).ok()?.split_once(' ')?;
        let complete = count.parse::<usize>().ok()? == self.entries.len();
        let id = line.get(end + 1..end + 1 + self.id_bytes)?;
        complete.then(|| hex(id))
    }

    /// The tree that holds just these entries; `None` where git has not kept it, as after `git add`.
    pub fn tree(&self) -> Option<&str> {
        self.tree.as_deref()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The path of an entry from the top of the work tree; entries are in the order of its bytes.
    pub fn path(&self, at: usize) -> &[u8] {
        let range = self.entries.get(at).map_or(0..0, |entry| entry.path.clone());
        self.paths.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// The mode of an entry as git has it.
    pub fn mode(&self, at: usize) -> u32 {
        self.entries.get(at).map_or(0, |entry| entry.mode)
    }

    /// The blob of an entry, in hexadecimal digits.
    pub fn id(&self, at: usize) -> String {
        self.entries.get(at).map_or_else(String::new, |entry| hex(entry.id.get(..self.id_bytes).unwrap_or_default()))
    }

    /// Says whether the blob of an entry is this one.
    pub fn is_blob(&self, at: usize, id: &str) -> bool {
        let same = |entry: &Entry| {
            let digits = id.as_bytes().chunks_exact(2);
            id.len() == 2 * self.id_bytes && digits.zip(entry.id).all(|(pair, byte)| pair == hex_pair(byte))
        };
        self.entries.get(at).is_some_and(same)
    }

    /// The place of a path. `next` is where the last search ended: who asks in about the order of the entries has most answers at once.
    pub fn find(&self, path: &[u8], next: &mut usize) -> Option<usize> {
        if *next < self.entries.len() && self.path(*next) == path {
            *next += 1;
            return Some(*next - 1);
        }
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.path(middle).cmp(path) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    *next = middle + 1;
                    return Some(middle);
                }
            }
        }
        *next = low;
        None
    }

    /// The places of all entries whose path begins so.
    pub fn below(&self, prefix: &[u8]) -> Range<usize> {
        let from = self.first(|path| path >= prefix);
        from..self.first(|path| path >= prefix && !path.starts_with(prefix))
    }

    fn first(&self, reached: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = low.midpoint(high);
            if reached(self.path(middle)) { high = middle } else { low = middle + 1 }
        }
        low
    }

    /// The kind of an entry.
    pub fn kind(&self, at: usize) -> FileKind {
        match self.mode(at) {
            LINK => FileKind::Link,
            EXECUTABLE => FileKind::Executable,
            _ => FileKind::File,
        }
    }

    /// Says whether a file is as git saw it last, to the nanosecond, so that it holds the blob of its entry. Stricter than git, which
    /// compares seconds by default: `false` means that its content has to be looked at.
    ///
    /// What changed in the very moment in which the index was written, or later, may carry the times of before. Git looks at the time
    /// of content alone; the time of status cannot be set by a script, so it counts as well.
    pub fn is_unchanged(&self, at: usize, now: &FileState) -> bool {
        let Some(entry) = self.entries.get(at) else { return false };
        let struck_out = entry.size == 0 && !EMPTY_BLOBS.iter().any(|empty| self.is_blob(at, empty));
        // Git keeps the lower bits of large numbers.
        let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
        low(now.size) == entry.size
            && low(now.inode) == entry.inode
            && time(now.mtime_ns) == Some(entry.mtime)
            && time(now.ctime_ns) == Some(entry.ctime)
            && now.kind == self.kind(at)
            && !struck_out
            && entry.mtime.max(entry.ctime) < self.written
    }
}

/// Seconds and nanoseconds as the index keeps them.
fn time(nanoseconds: i64) -> Option<(u32, u32)> {
    let (seconds, rest) = (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
    Some((u32::try_from(seconds).ok()?, u32::try_from(rest).ok()?))
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?))
}

/// A number as packs write offsets: seven bits a byte, and one more for each further byte.
fn offset(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    loop {
        let byte = take(rest, 1)?[0];
        value = value.checked_shl(7).filter(|shifted| shifted >> 7 == value)? | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            return Some(value);
        }
        value = value.checked_add(1)?;
    }
}

fn hex_pair(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// An id in hexadecimal digits; of every tracked file, so it is not put together piece by piece.
fn hex(bytes: &[u8]) -> String {
    let mut digits = [0; 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&hex_pair(*byte));
    }
    String::from_utf8_lossy(digits.get(..2 * bytes.len()).unwrap_or_default()).into_owned()
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
