//! Reading logs: from files and standard input, in pieces, to builds.

use std::{
    cell::RefCell,
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

/// What becomes of the lines that the steps printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepOutput {
    /// The first lines of every step are kept, for the rules.
    Kept,
    /// They are only counted.
    Counted,
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

/// How many builds are handed to the writer at a time, and how many steps suffice instead: to wake it costs more than to write a build.
const BUILDS_TOGETHER: usize = 32;
const STEPS_TOGETHER: usize = 1000;

/// Hands of builds that wait to be written.
const HANDS_WAITING: usize = 2;

/// Reads a log to its end and hands its builds to `take`. The error of a log that cannot be read to its end comes after the builds
/// that could be read.
///
/// Reading and writing go on side by side: a log of hundreds of megabytes takes as long as the slower of the two. Memory is bound by
/// what may wait in between. To read a file ahead would cost more than it saves: what the system has just copied lies in the cache of
/// the processor that asked for it.
pub(super) fn read(name: &str, output: StepOutput, mut take: impl FnMut(Build) -> Result<(), CliError> + Send) -> Result<LogEnd, CliError> {
    let source = open(name)?;
    std::thread::scope(|scope| {
        let (finished, builds) = mpsc::sync_channel::<Vec<Build>>(HANDS_WAITING);
        let writer = scope.spawn(move || builds.iter().flatten().try_for_each(&mut take));
        // The sender goes with the end of the reading; without that the writer would wait for ever.
        let end = understand(name, source, output, Hand::new(finished));
        match writer.join() {
            Ok(Ok(())) => end,
            Ok(Err(error)) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Builds on their way to the writer.
struct Hand {
    builds: Vec<Build>,
    steps: usize,
    writer: mpsc::SyncSender<Vec<Build>>,
    /// False once the writer has gone, because nobody reads its output any more.
    wanted: bool,
}

impl Hand {
    fn new(writer: mpsc::SyncSender<Vec<Build>>) -> Self {
        Self { builds: Vec::new(), steps: 0, writer, wanted: true }
    }

    fn add(&mut self, build: Build) {
        self.steps += build.steps.len();
        self.builds.push(build);
        if self.builds.len() >= BUILDS_TOGETHER || self.steps >= STEPS_TOGETHER {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        self.steps = 0;
        self.wanted = self.wanted && self.writer.send(std::mem::take(&mut self.builds)).is_ok();
    }
}

fn understand(name: &str, mut source: impl Read, output: StepOutput, hand: Hand) -> Result<LogEnd, CliError> {
    let mut builds = 0;
    let hand = RefCell::new(hand);
    let collector = Collector::new(|build| {
        builds += 1;
        hand.borrow_mut().add(build);
    });
    let mut reader = Reader::new(match output {
        StepOutput::Kept => collector,
        StepOutput::Counted => collector.without_output(),
    });
    let mut piece = vec![0; CHUNK_BYTES];
    let mut broken = None;
    while hand.borrow().wanted {
        match source.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => break,
            Ok(length) => reader.feed(&piece[..length]),
            Err(cause) => {
                broken = Some(SourceError::Read { name: display_name(name).to_owned(), cause });
                break;
            }
        }
    }
    let (lines, bytes) = (reader.lines(), reader.bytes());
    let collector = reader.finish();
    let early_errors = collector.early_errors().to_vec();
    let remarks = collector.remarks().to_vec();
    drop(collector);
    hand.into_inner().pass_on();
    match broken {
        Some(error) => Err(error.into()),
        None if bytes == 0 => Err(CliError::Empty(display_name(name).to_owned())),
        None => Ok(LogEnd { builds, early_errors, remarks, lines }),
    }
}
