//! Reading logs: from files and standard input, in pieces, to builds.

use std::{
    cell::Cell,
    io::{self, Read},
    sync::mpsc,
};

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
pub(super) fn open(name: &str) -> Result<Box<dyn Read + Send>, CliError> {
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

/// Pieces of a log that are read, or unpacked, ahead of the reader.
const PIECES_AHEAD: usize = 4;

/// Builds that wait to be written.
const BUILDS_WAITING: usize = 16;

/// Reads a log to its end and hands its builds to `take`. The error of a log that cannot be read to its end comes after the builds
/// that could be read.
///
/// Reading and unpacking, understanding, and writing go on side by side: a log of hundreds of megabytes takes as long as the slowest of
/// the three. Memory is bound by what may wait in between.
pub(super) fn read(name: &str, take: impl FnMut(Build) -> Result<(), CliError> + Send) -> Result<LogEnd, CliError> {
    let source = open(name)?;
    std::thread::scope(|scope| {
        let (full, pieces) = mpsc::sync_channel(PIECES_AHEAD);
        let (empty, used) = mpsc::channel();
        scope.spawn(move || read_ahead(source, &full, &used));
        let (finished, builds) = mpsc::sync_channel(BUILDS_WAITING);
        let writer = scope.spawn(move || write_all(&builds, take));
        let end = understand(name, &pieces, &empty, &finished);
        // Without these the other two would wait for ever.
        drop((pieces, empty, finished));
        match writer.join() {
            Ok(Ok(())) => end,
            Ok(Err(error)) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Fills pieces until the log or the interest in it ends.
fn read_ahead(mut source: impl Read, full: &mpsc::SyncSender<io::Result<Vec<u8>>>, used: &mpsc::Receiver<Vec<u8>>) {
    loop {
        let mut piece = used.try_recv().unwrap_or_default();
        piece.resize(CHUNK_BYTES, 0);
        let read = match source.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) => return,
            Ok(length) => {
                piece.truncate(length);
                Ok(piece)
            }
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if full.send(read).is_err() || failed {
            return;
        }
    }
}

fn write_all(builds: &mpsc::Receiver<Build>, mut take: impl FnMut(Build) -> Result<(), CliError>) -> Result<(), CliError> {
    builds.iter().try_for_each(&mut take)
}

fn understand(
    name: &str,
    pieces: &mpsc::Receiver<io::Result<Vec<u8>>>,
    empty: &mpsc::Sender<Vec<u8>>,
    finished: &mpsc::SyncSender<Build>,
) -> Result<LogEnd, CliError> {
    let (mut builds, mut wanted) = (0, true);
    let seen = Cell::new(true);
    let mut reader = Reader::new(Collector::new(|build| {
        builds += 1;
        // The writer goes when nobody reads its output any more.
        wanted = wanted && finished.send(build).is_ok();
        seen.set(wanted);
    }));
    let mut broken = None;
    for piece in pieces {
        match piece {
            Ok(piece) => {
                reader.feed(&piece);
                // The other side may have ended already.
                let _ = empty.send(piece);
            }
            Err(cause) => broken = Some(SourceError::Read { name: display_name(name).to_owned(), cause }),
        }
        if !seen.get() {
            break;
        }
    }
    let (lines, bytes) = (reader.lines(), reader.bytes());
    let collector = reader.finish();
    let early_errors = collector.early_errors().to_vec();
    let remarks = collector.remarks().to_vec();
    drop(collector);
    match broken {
        Some(error) => Err(error.into()),
        None if bytes == 0 => Err(CliError::Empty(display_name(name).to_owned())),
        None => Ok(LogEnd { builds, early_errors, remarks, lines }),
    }
}
