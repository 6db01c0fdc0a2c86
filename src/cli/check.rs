//! `bklog check`, and `bklog` alone: a build passes through, then it is summed up.

use std::{
    cell::Cell,
    io::{self, BufWriter, Read, Write},
    rc::Rc,
    sync::Arc,
};

use clap::{Args, ValueEnum};

use super::{
    error::CliError,
    live::{PipeState, Progress, Tee, outlive_the_first_interrupt},
    overall::Overall,
    reading::{self, display_name},
};
use crate::{
    build::{Build, collect::Collector},
    log::{
        Instant, Reader,
        source::{self, CHUNK_BYTES, SourceError},
    },
    report::{
        BuildWriter, escape,
        text::{Layout, Order, ShowText, questions},
        units,
    },
};

/// Pass a build through and sum it up, or sum up the builds of a log
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The log; `-` is standard input, which is passed through untouched while it is read
    #[arg(value_name = "LOG", default_value = "-")]
    log: String,

    /// Do not pass standard input through
    #[arg(long, short)]
    quiet: bool,

    /// From which severity on the exit code is 1. There is nothing yet that is found; a build that failed is 4 all the same
    #[arg(long, value_name = "SEVERITY", default_value = "error")]
    fail_on: FailOn,
}

/// The threshold of the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Error,
    Warning,
    Never,
}

/// Runs the command.
pub(super) fn run(args: &CheckArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    if args.log == "-" { pipe(args, color) } else { file(args, color) }
}

/// Sums up a log file.
fn file(args: &CheckArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let mut out = BufWriter::new(anstream::AutoStream::new(io::stdout(), color));
    let mut writer = ShowText::new(layout(&console::Term::stdout()));
    let mut overall = Overall::default();
    let end = reading::read(&args.log, |build| {
        overall.add(build);
        writer.build(build, &mut out)?;
        questions::write(build, &mut out)?;
        Ok(())
    })?;
    out.flush()?;
    finish(&overall, display_name(&args.log), end.lines, &end.early_errors)
}

/// Passes standard input through, reads it on the way, and sums it up on standard error.
fn pipe(args: &CheckArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let stdin = io::stdin();
    if io::IsTerminal::is_terminal(&stdin) {
        return Err(CliError::TerminalInput);
    }
    outlive_the_first_interrupt();
    let progress = Progress::new(args.quiet);
    let state = Arc::new(PipeState::default());
    let overall = Rc::new(std::cell::RefCell::new(Overall::default()));
    let mut builds = Vec::new();
    let mut dropped = 0_usize;
    let steps_before = Cell::new(0);
    let mut reader = Reader::new(Collector::new(|build: Build| {
        overall.borrow_mut().add(&build);
        steps_before.set(steps_before.get() + build.steps.len());
        // Hundreds of builds in one pipe are no build that anybody watches; the last ones are summed up.
        if builds.len() >= SUMMED_UP {
            builds.remove(0);
            dropped += 1;
        }
        builds.push(build);
    }));
    let read = pass_through(&mut reader, Tee::new(stdin, args.quiet, progress.clone(), state.clone()), &progress, &steps_before);
    progress.finish();
    let (lines, bytes) = (reader.lines(), reader.bytes());
    let collector = reader.finish();
    let early_errors = collector.early_errors().to_vec();
    drop(collector);
    if let Some(error) = state.output_error.lock().ok().and_then(|mut error| error.take()) {
        return Err(error.into());
    }
    let mut out = BufWriter::new(anstream::AutoStream::new(io::stderr().lock(), color));
    if dropped > 0 {
        writeln!(out, "\n{} before these are left out; `bklog show` shows them all", units::count(dropped, "build"))?;
    }
    summary(&builds, &mut out)?;
    out.flush()?;
    drop(out);
    read?;
    if bytes == 0 {
        return Err(CliError::Empty(display_name("-").to_owned()));
    }
    let overall = overall.borrow();
    finish(&overall, display_name("-"), lines, &early_errors)
}

/// So many builds of one pipe are summed up.
const SUMMED_UP: usize = 50;

fn pass_through<F: FnMut(Build)>(
    reader: &mut Reader<Collector<F>>,
    tee: impl Read + Send + 'static,
    progress: &Progress,
    steps_before: &Cell<usize>,
) -> Result<(), CliError> {
    let unreadable = |cause| CliError::Source(SourceError::Read { name: display_name("-").to_owned(), cause });
    let mut source = source::decoded(tee).map_err(unreadable)?;
    let mut piece = vec![0; CHUNK_BYTES];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                reader.feed_live(&piece[..length], arrival());
                if progress.is_visible() {
                    progress.message(running(reader.events(), steps_before.get()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(unreadable(cause)),
        }
    }
}

/// `12 steps done · #7 [2/3] RUN npm ci · 2 more`
fn running<F: FnMut(Build)>(collector: &Collector<F>, steps_before: usize) -> String {
    let mut text = format!("{} done", units::count(steps_before + collector.ended_steps(), "step"));
    let mut steps = collector.running();
    if let Some(name) = steps.next() {
        text += &format!(" · {}", escape::terminal(name));
        let more = steps.count();
        if more > 0 {
            text += &format!(" · and {more} more");
        }
    }
    text
}

fn finish(overall: &Overall, name: &str, lines: u64, early_errors: &[String]) -> Result<u8, CliError> {
    if overall.builds() > 0 {
        return Ok(overall.exit_code());
    }
    Err(match early_errors.first() {
        Some(error) => CliError::FailedEarly(error.clone()),
        None => CliError::NoBuild { name: name.to_owned(), lines },
    })
}

/// Sums builds up for the terminal behind standard error.
pub(super) fn summary(builds: &[Build], out: &mut dyn Write) -> io::Result<()> {
    let mut writer = ShowText::new(layout(&console::Term::stderr()));
    for (n, build) in builds.iter().enumerate() {
        if n == 0 {
            writeln!(out)?;
        }
        writer.build(build, out)?;
        questions::write(build, out)?;
    }
    Ok(())
}

/// The time at which a piece arrives.
pub(super) fn arrival() -> Instant {
    Instant { nanoseconds: jiff::Timestamp::now().as_nanosecond(), absolute: true }
}

fn layout(terminal: &console::Term) -> Layout {
    Layout { width: super::terminal_width(terminal), order: Order::Log, all: false }
}
