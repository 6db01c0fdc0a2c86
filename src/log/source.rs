//! Where the bytes of a log come from: files, standard input, compressed or not, in UTF-8 or UTF-16.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use encoding_rs_io::DecodeReaderBytesBuilder;

/// The size of the pieces in which a log is read: large enough that a system call costs nothing, small enough for the cache.
pub const CHUNK_BYTES: usize = 128 * 1024;

/// A log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be opened.
    #[error("cannot open {}: {cause}", path.display())]
    Open {
        /// The path as given.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is a directory.
    #[error("{} is a directory, not a log: name the files in it", path.display())]
    Directory {
        /// The path as given.
        path: PathBuf,
    },
    /// Reading failed in the midst: a broken archive, a failing disk.
    #[error("cannot read {name} to its end: {cause}")]
    Read {
        /// The name of the log.
        name: String,
        /// Why.
        cause: io::Error,
    },
}

/// Opens a log file, whatever its compression and encoding.
pub fn open(path: &Path) -> Result<Box<dyn Read + Send>, SourceError> {
    let failed = |cause| SourceError::Open { path: path.to_owned(), cause };
    if path.is_dir() {
        return Err(SourceError::Directory { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    decoded(file).map_err(failed)
}

/// Wraps a reader so that it gives the plain bytes of the log: gzip and zstd are unpacked, UTF-16 becomes UTF-8, a byte order mark is
/// dropped. Everything else passes through byte for byte.
pub fn decoded(reader: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut reader = BufReader::with_capacity(CHUNK_BYTES, reader);
    let start = reader.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return text(BufReader::with_capacity(CHUNK_BYTES, flate2::bufread::MultiGzDecoder::new(reader)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return text(BufReader::with_capacity(CHUNK_BYTES, zstd::Decoder::with_buffer(reader)?));
    }
    text(reader)
}

fn text(mut reader: impl BufRead + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let start = match reader.fill_buf() {
        Ok(start) => start,
        // A broken archive is reported by the first read, with the log's name.
        Err(_) => return Ok(Box::new(reader)),
    };
    let encoding = match start {
        [0xff, 0xfe, ..] => Some(encoding_rs::UTF_16LE),
        [0xfe, 0xff, ..] => Some(encoding_rs::UTF_16BE),
        [0xef, 0xbb, 0xbf, ..] => {
            reader.consume(3);
            None
        }
        // Without a mark: the first characters of a log are ASCII, so every other byte is zero.
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => Some(encoding_rs::UTF_16LE),
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => Some(encoding_rs::UTF_16BE),
        _ => None,
    };
    Ok(match encoding {
        Some(encoding) => Box::new(DecodeReaderBytesBuilder::new().encoding(Some(encoding)).strip_bom(true).build(reader)),
        None => Box::new(reader),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        decoded(io::Cursor::new(bytes)).unwrap().read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn every_wrapping_comes_off() {
        let text = "#1 [1/2] RUN ümläut\n#1 DONE 0.1s\n";
        let le = |mark: bool| {
            text.encode_utf16().fold(if mark { vec![0xff, 0xfe] } else { vec![] }, |mut v, u| {
                v.extend(u.to_le_bytes());
                v
            })
        };
        let be = text.encode_utf16().fold(vec![0xfe, 0xff], |mut v: Vec<u8>, u| {
            v.extend(u.to_be_bytes());
            v
        });
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&le(true)).unwrap();
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            le(true),
            le(false),
            be,
            gz.finish().unwrap(),
            zstd::encode_all(text.as_bytes(), 1).unwrap(),
        ] {
            assert_eq!(String::from_utf8(read(bytes)).unwrap(), text);
        }
    }

    #[test]
    fn invalid_utf8_passes_through() {
        assert_eq!(read(b"\xff\x00\xfe\n".to_vec()), b"\xff\x00\xfe\n");
        assert_eq!(read(Vec::new()), b"");
    }

    #[test]
    fn a_broken_archive_is_an_error_and_not_the_end() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&b"some log line\n".repeat(10_000)).unwrap();
        let mut bytes = gz.finish().unwrap();
        bytes.truncate(bytes.len() - 10);
        let mut out = Vec::new();
        assert!(decoded(io::Cursor::new(bytes)).unwrap().read_to_end(&mut out).is_err());
        assert!(!out.is_empty(), "what could be read is kept");
    }
}
