//! Objects' contents, read from one git process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use super::{GitError, Repository, parse, spawn_error};

/// Bytes of one blob that are read into memory at most.
const MAX_BLOB_BYTES: u64 = 256 << 20;

impl Repository {
    /// Starts a reader of many objects' contents (`cat-file --batch`).
    ///
    /// # Errors
    /// [`GitError::Missing`], [`GitError::Io`].
    pub fn blobs(&self) -> Result<BlobReader, GitError> {
        let mut child = self
            .command(&self.dir)
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(spawn_error)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(GitError::Unreadable("cat-file"));
        };
        Ok(BlobReader { child, input: Some(input), output: BufReader::new(output) })
    }
}

/// Reads objects' contents one after another from one git process.
#[derive(Debug)]
pub struct BlobReader {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl BlobReader {
    /// The content of an object, in full.
    ///
    /// # Errors
    /// [`GitError::UnknownRevision`] for an id that is not here, [`GitError::TooLarge`].
    pub fn read(&mut self, id: &str) -> Result<Vec<u8>, GitError> {
        let mut content = Vec::new();
        self.stream(
            id,
            |chunk| {
                content.extend_from_slice(chunk);
                Ok(())
            },
            Some(MAX_BLOB_BYTES),
        )?;
        Ok(content)
    }

    /// Hands an object's content to `sink` piece by piece and gives its size in bytes; nothing larger
    /// than a buffer is held in memory.
    ///
    /// # Errors
    /// [`GitError::UnknownRevision`] for an id that is not here; what `sink` gives.
    pub fn each_chunk(&mut self, id: &str, sink: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<u64, GitError> {
        self.stream(id, sink, None)
    }

    fn stream(&mut self, id: &str, mut sink: impl FnMut(&[u8]) -> std::io::Result<()>, limit: Option<u64>) -> Result<u64, GitError> {
        // Only full ids: a name could hold a line break and put the answers out of step.
        if !parse::is_object_id(id.as_bytes()) {
            return Err(GitError::UnknownRevision { revision: id.to_owned() });
        }
        let input = self.input.as_mut().ok_or(GitError::Unreadable("cat-file"))?;
        writeln!(input, "{id}")?;
        input.flush()?;
        let mut header = String::new();
        self.output.read_line(&mut header)?;
        let mut words = header.trim_end().rsplit(' ');
        let last = words.next().unwrap_or_default();
        if last == "missing" {
            return Err(GitError::UnknownRevision { revision: id.to_owned() });
        }
        let size: u64 = last.parse().map_err(|_| GitError::Unreadable("cat-file"))?;
        let too_large = limit.is_some_and(|limit| size > limit);
        let mut left = size;
        let mut buffer = [0_u8; 16 << 10];
        let mut outcome = Ok(());
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let got = self.output.read(&mut buffer[..want])?;
            if got == 0 {
                return Err(GitError::Unreadable("cat-file"));
            }
            left -= got as u64;
            // The rest is read even after a failure: the next answer starts behind it.
            if !too_large && outcome.is_ok() {
                outcome = sink(&buffer[..got]);
            }
        }
        let mut newline = [0_u8; 1];
        self.output.read_exact(&mut newline)?;
        if too_large {
            return Err(GitError::TooLarge { id: id.to_owned(), size });
        }
        outcome?;
        Ok(size)
    }
}

impl Drop for BlobReader {
    fn drop(&mut self) {
        // The end of its input ends the process; an error here has nobody to hear it.
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
