//! Archives that ADD unpacks.
//!
//! Facts from BuildKit (`solver/llbsolver/file/unpack.go`): a local source that is a tar archive, plain or compressed by gzip, bzip2, xz or
//! zstd, is unpacked into the destination; whatever it is called, and any other file is copied.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::evidence::go_match::below_root;
use crate::evidence::image::FileId;

/// Files of an archive that are looked at most.
const MAX_FILES: usize = 1_000_000;

/// The files in an archive, by their paths in it; `None` where the file is none, or one that cannot be read to its end.
pub(super) fn contents(path: &Path) -> Option<Vec<(String, FileId)>> {
    let mut archive = tar::Archive::new(open(path).ok()?);
    let mut found = Vec::new();
    let mut any = false;
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        any = true;
        if found.len() >= MAX_FILES {
            return None;
        }
        if entry.header().entry_type().is_file() {
            let name = below_root(&String::from_utf8_lossy(&entry.path_bytes()));
            let size = entry.size();
            found.push((name, FileId::of(&mut entry, size).ok()?));
        }
    }
    any.then_some(found)
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = File::open(path)?;
    let mut magic = [0; 6];
    let mut length = 0;
    while length < magic.len() {
        match file.read(magic.get_mut(length..).unwrap_or_default())? {
            0 => break,
            more => length += more,
        }
    }
    file.seek(SeekFrom::Start(0))?;
    let file = BufReader::new(file);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(file)?),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new(file, true)),
        _ => Box::new(file),
    })
}
