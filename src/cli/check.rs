//! `bklog check`, and `bklog` alone: a build passes through, then it is summed up.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
    sync::Arc,
};

use clap::Args;

use super::{
    checking::{CheckingArgs, Stream, arrival},
    error::CliError,
    judging::Judged,
    live::{PipeState, Progress, Tee, outlive_the_first_interrupt},
    overall::Overall,
    reading::{self, StepOutput, display_name},
    reporting::CheckFormat,
};
use crate::{
    build::{Build, collect::Collector},
    log::{
        Reader,
        source::{self, CHUNK_BYTES, SourceError},
    },
    redact,
    report::{escape, units},
};

/// Pass a build through and sum it up, or sum up the builds of a log
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The log; `-` is standard input, which is passed through untouched while it is read
    #[arg(value_name = "LOG", default_value = "-")]
    log: String,

    #[command(flatten)]
    checking: CheckingArgs,
}

/// So many builds of one log are judged; more are no deploy that anybody watches.
const JUDGED: usize = 2_000;

/// Runs the command.
pub(super) fn run(args: &CheckArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    if args.log == "-" { pipe(args, color) } else { file(args, color) }
}

/// Sums up a log file.
fn file(args: &CheckArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let checking = &args.checking;
    let policy = checking.report.policy()?;
    let mut overall = Overall::default();
    let mut builds = Vec::new();
    let end = reading::read(&args.log, StepOutput::Kept, |build| {
        overall.add(&build);
        if builds.len() < JUDGED {
            builds.push(build);
        }
        Ok(())
    })?;
    let name = display_name(&args.log);
    let code = finish(&overall, name, end.lines, &end.early_errors)?;
    let judged = Judged { name, builds: &builds, remarks: &end.remarks, calls: &[], notes: &[], is_run: false };
    let report = checking.report(&judged, &policy, Stream::Out, "", color)?;
    Ok(checking.report.exit_code(&report, code))
}

/// Passes standard input through, reads it on the way, and sums it up on standard error.
fn pipe(args: &CheckArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let stdin = io::stdin();
    if io::IsTerminal::is_terminal(&stdin) {
        return Err(CliError::TerminalInput);
    }
    // Wrong settings are said when the build is over: it must not die of a broken pipe.
    let checking = &args.checking;
    let policy = checking.report.policy();
    outlive_the_first_interrupt();
    let progress = Progress::new(checking.quiet);
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
    let read = pass_through(&mut reader, Tee::new(stdin, checking.quiet, progress.clone(), state.clone()), &progress, &steps_before);
    progress.finish();
    let (lines, bytes) = (reader.lines(), reader.bytes());
    let collector = reader.finish();
    let early_errors = collector.early_errors().to_vec();
    let remarks = collector.remarks().to_vec();
    drop(collector);
    if let Some(error) = state.output_error.lock().ok().and_then(|mut error| error.take()) {
        return Err(error.into());
    }
    let overall = overall.borrow();
    let mut report = None;
    if overall.builds() > 0 {
        let left_out = match dropped {
            0 => String::new(),
            dropped => format!("{} before these are left out; `bklog show` shows them all\n\n", units::count(dropped, "build")),
        };
        let judged = Judged { name: display_name("-"), builds: &builds, remarks: &remarks, calls: &[], notes: &[], is_run: false };
        // What was passed through stands on standard output; with --quiet it is free.
        let to = if checking.quiet && checking.report.format != CheckFormat::Text { Stream::Out } else { Stream::Error };
        report = Some(checking.report(&judged, &policy?, to, &format!("\n{left_out}"), color)?);
    }
    read?;
    if bytes == 0 {
        return Err(CliError::Empty(display_name("-").to_owned()));
    }
    let code = finish(&overall, display_name("-"), lines, &early_errors)?;
    Ok(report.map_or(code, |report| checking.report.exit_code(&report, code)))
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
        text += &format!(" · {}", escape::terminal(&redact::text(name)));
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
        Some(error) => CliError::FailedEarly(redact::text(error).into_owned()),
        None => CliError::NoBuild { name: name.to_owned(), lines },
    })
}
