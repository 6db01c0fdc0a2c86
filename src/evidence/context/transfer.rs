//! How many bytes a context transfer takes on the wire, to the byte.
//!
//! The figure of `transferring context: N` counts the messages that the builder receives (fsutil `wire.proto`): the listing, one
//! message an entry and an empty one at its end, and the contents of the files that it asks for, in pieces of 32 KiB with an empty
//! one at the end of each file. N equal to the listing alone proves that nothing was read.

use super::Entry;

/// Bytes that fsutil's sender puts into one message.
const CHUNK: u64 = 32 * 1024;

/// The sizes of a context transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferSizes {
    /// Bytes of the listing: what is transferred where nothing is read.
    pub listing: u64,
    /// Bytes that the content of each entry adds when it is read, in the order of the entries.
    pub contents: Vec<u64>,
}

impl TransferSizes {
    /// Computes the sizes for a listing in the order of the walk.
    pub fn of(entries: &[Entry]) -> Self {
        let listing = entries.iter().map(packet).fold(2, u64::saturating_add);
        let contents = (0..).zip(entries).map(|(index, entry)| content(index, entry)).collect();
        Self { listing, contents }
    }

    /// Bytes where everything is read.
    pub fn full(&self) -> u64 {
        self.contents.iter().fold(self.listing, |sum, size| sum.saturating_add(*size))
    }
}

/// The bytes that a file adds to a transfer, listing and content together, when it has this size and not none.
pub fn growth(index: u64, entry: &Entry, size: u64) -> u64 {
    let of = |size| {
        let entry = Entry { size, ..entry.clone() };
        packet(&entry).saturating_add(content(index, &entry))
    };
    of(size).saturating_sub(of(0))
}

/// Bytes of a number in protobuf's encoding.
fn varint(value: u64) -> u64 {
    u64::from((64 - (value | 1).leading_zeros()).div_ceil(7))
}

/// Bytes of a field of text or bytes: nothing where it is empty.
fn text(length: u64) -> u64 {
    if length == 0 { 0 } else { 1 + varint(length) + length }
}

/// Bytes of a field with a number: nothing where it is zero.
fn number(value: u64) -> u64 {
    if value == 0 { 0 } else { 1 + varint(value) }
}

fn packet(entry: &Entry) -> u64 {
    // A negative time takes the ten bytes of its two's complement.
    let mtime = number(entry.mtime_ns.cast_unsigned());
    let stat = text(entry.path.len() as u64) + number(u64::from(entry.mode)) + number(entry.size) + mtime + text(entry.link.len() as u64);
    1 + varint(stat) + stat
}

fn content(index: u64, entry: &Entry) -> u64 {
    if !entry.has_content() {
        return 0;
    }
    let head = 2 + number(index);
    let (whole, rest) = (entry.size / CHUNK, entry.size % CHUNK);
    let piece = |size: u64| if size == 0 { 0 } else { head + text(size) };
    whole.saturating_mul(piece(CHUNK)).saturating_add(piece(rest)).saturating_add(head)
}

/// A figure of a log with what its rounding leaves open: BuildKit prints three digits above 999 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// The least that it can stand for.
    pub least: u64,
    /// The most that it can stand for.
    pub most: u64,
}

impl Figure {
    /// A figure that is exact, as in rawjson.
    pub fn exact(bytes: u64) -> Self {
        Self { least: bytes, most: bytes }
    }

    /// A figure as a plain log prints it.
    pub fn rounded(bytes: u64) -> Self {
        let mut unit = 1;
        while bytes / unit >= 1000 {
            unit *= 10;
        }
        // Three digits of at least 1000 leave half a unit open on either side.
        let half = if unit == 1 { 0 } else { unit / 2 };
        Self { least: bytes.saturating_sub(half), most: bytes.saturating_add(half) }
    }

    /// The figure of a transfer that may have held up to so many bytes more than can be computed.
    #[must_use]
    pub fn with_up_to(self, more: u64) -> Self {
        Self { least: self.least.saturating_sub(more), ..self }
    }

    /// Says whether it can stand for so many bytes.
    pub fn fits(self, bytes: u64) -> bool {
        (self.least..=self.most).contains(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MODE_DIR, MODE_SYMLINK};
    use super::*;

    fn entry(path: &str, mode: u32, size: u64, link: &str) -> Entry {
        Entry { path: path.into(), mode, size, mtime_ns: 1_700_000_000_000_000_000, link: link.into(), inode: 0, ctime_ns: 0 }
    }

    #[test]
    fn numbers_take_their_bytes() {
        assert_eq!([0, 1, 127, 128, 16_383, 16_384, u64::MAX].map(varint), [1, 1, 1, 2, 2, 3, 10]);
    }

    #[test]
    fn nothing_is_two_bytes() {
        assert_eq!(TransferSizes::of(&[]), TransferSizes { listing: 2, contents: vec![] });
    }

    #[test]
    fn kinds_of_entries() {
        // path 1+1+1, mode 1+5 with the type bits and 1+2 without, time 1+9, head of the message 1+1.
        let sizes = TransferSizes::of(&[
            entry("d", MODE_DIR | 0o755, 0, ""),
            entry("e", 0o644, 0, ""),
            entry("f", 0o644, 40_000, ""),
            entry("l", MODE_SYMLINK | 0o777, 3, "f/g"),
        ]);
        assert_eq!(sizes.listing, 2 + 21 + 18 + 22 + (20 + 2 + 5));
        assert_eq!(sizes.contents, [0, 4, (4 + 1 + 3 + 32_768) + (4 + 1 + 2 + 7_232) + 4, 0]);
    }

    #[test]
    fn a_file_that_grows_adds_its_bytes() {
        let sizes = |size| TransferSizes::of(&[entry("a", 0o644, 3, ""), entry("log", 0o644, size, "")]);
        for size in [0, 1, 200, 40_000] {
            let log = entry("log", 0o644, 9, "");
            assert_eq!(sizes(0).full() + growth(1, &log, size), sizes(size).full(), "{size}");
        }
        assert!(Figure::exact(500).with_up_to(100).fits(400) && !Figure::exact(500).with_up_to(100).fits(501));
    }

    #[test]
    fn figures_round_to_three_digits() {
        assert_eq!(Figure::rounded(999), Figure { least: 999, most: 999 });
        assert_eq!(Figure::rounded(3570), Figure { least: 3565, most: 3575 });
        assert!(Figure::rounded(35_700).fits(35_749));
        assert!(!Figure::rounded(35_700).fits(35_751));
    }
}
