//! Reading logs: from files and standard input, in pieces, to builds.

use std::io::{self, Read};

use super::error::CliError;
use crate::{
    build::{Build, collect::Collector},
    log::{
        Reader,
        source::{self, CHUNK_BYTES, SourceError},
    },
};

/// What is known of a log after it was read.
#[derive(Debug, Default)]
pub(super) struct LogEnd {
    /// Builds in it.
    pub(super) builds: u64,
    /// Errors of a build that failed before its first step.
    pub(super) early_errors: Vec<String>,
    /// Lines outside of builds that name a commit or a prune.
    pub(super) remarks: Vec<(u64, String)>,
    /// Lines in it.
    pub(super) lines: u64,
}

/// Opens a log: a path, or `-` for standard input.
pub(super) fn open(name: &str) -> Result<Box<dyn Read>, CliError> {
    if name != "-" {
        return Ok(source::open(name.as_ref())?);
    }
    let stdin = io::stdin();
    if io::IsTerminal::is_terminal(&stdin) {
        return Err(CliError::TerminalInput);
    }
    source::decoded(stdin).map_err(|cause| SourceError::Read { name: display_name(name).to_owned(), cause }.into())
}

/// The name of a log in messages.
pub(super) fn display_name(name: &str) -> &str {
    if name == "-" { "standard input" } else { name }
}

/// Reads a log to its end and hands its builds to `take`. The error of a log that cannot be read to its end comes after the builds
/// that could be read.
pub(super) fn read(name: &str, mut take: impl FnMut(Build) -> Result<(), CliError>) -> Result<LogEnd, CliError> {
    let mut source = open(name)?;
    let mut failed = None;
    let mut builds = 0;
    let mut reader = Reader::new(Collector::new(false, |build| {
        builds += 1;
        if failed.is_none() {
            failed = take(build).err();
        }
    }));
    let mut piece = vec![0; CHUNK_BYTES];
    let mut broken = None;
    loop {
        match source.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => reader.feed(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => {
                broken = Some(CliError::Source(SourceError::Read { name: display_name(name).to_owned(), cause }));
                break;
            }
        }
    }
    let (lines, bytes) = (reader.lines(), reader.bytes());
    let collector = reader.finish();
    let early_errors = collector.early_errors().to_vec();
    let remarks = collector.remarks().to_vec();
    drop(collector);
    if let Some(error) = failed.or(broken) {
        return Err(error);
    }
    if bytes == 0 {
        return Err(CliError::Empty(display_name(name).to_owned()));
    }
    Ok(LogEnd { builds, early_errors, remarks, lines })
}
