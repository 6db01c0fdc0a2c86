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
    exit_code,
    judging::EvidenceArgs,
    live::{PipeState, Progress, Tee, outlive_the_first_interrupt},
    overall::Overall,
    reading::{self, display_name},
};
use crate::{
    build::{Build, collect::Collector},
    freshness::{Report, Verdict},
    log::{
        Instant, Reader,
        source::{self, CHUNK_BYTES, SourceError},
    },
    redact::{self, Redacted, Redactor},
    report::{
        BuildWriter, check_json, escape,
        text::{Layout, Order, ShowText, questions},
        units,
    },
    rules::finding::{Finding, Severity},
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

    #[command(flatten)]
    evidence: EvidenceArgs,

    /// The form of the report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,

    /// From which severity on the exit code is 1; a build that failed is 4 if nothing was found
    #[arg(long, value_name = "SEVERITY", default_value = "error")]
    fail_on: FailOn,
}

/// The forms of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The threshold of the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Error,
    Warning,
    Never,
}

impl FailOn {
    /// Says whether something was found that is to fail the caller.
    fn is_reached(self, findings: &[Finding]) -> bool {
        let least = match self {
            Self::Error => Severity::Error,
            Self::Warning => Severity::Warning,
            Self::Never => return false,
        };
        findings.iter().any(|finding| finding.suppressed.is_none() && finding.severity >= least)
    }
}

/// Runs the command.
pub(super) fn run(args: &CheckArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    if args.log == "-" { pipe(args, color) } else { file(args, color) }
}

/// Judges a log file.
fn file(args: &CheckArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let mut out = BufWriter::new(anstream::AutoStream::new(io::stdout(), color));
    let mut overall = Overall::default();
    let mut builds = Vec::new();
    let end = reading::read(&args.log, |build| {
        overall.add(&build);
        builds.push(build);
        Ok(())
    });
    // A log that breaks off is judged as far as it goes.
    let end = match end {
        Err(error) if builds.is_empty() => return Err(error),
        other => other,
    };
    let report = args.evidence.judge(&builds)?;
    if args.format == Format::Json {
        check_json::write(&report.steps, &report.findings, report.commit.as_deref(), &report.notes, &mut out)?;
    } else {
        summary(builds, &report, &args.evidence.redactor(), layout(&console::Term::stdout()), &mut out)?;
    }
    out.flush()?;
    let end = end?;
    if args.fail_on.is_reached(&report.findings) {
        return Ok(exit_code::FINDINGS);
    }
    finish(&overall, display_name(&args.log), end.lines, &end.early_errors)
}

/// The steps, the questions, and what was found.
fn summary(builds: Vec<Build>, report: &Report, redactor: &Redactor, layout: Layout, out: &mut dyn Write) -> Result<(), CliError> {
    let mut writer = ShowText::new(layout);
    let judged = !report.steps.iter().all(|step| step.verdict == Verdict::Unknown);
    for build in builds {
        let build = Redacted::build(build, redactor);
        writer.build(&build, out)?;
        if !judged {
            questions::write(&build, out)?;
        }
    }
    for step in report.steps.iter().filter(|step| judged && step.verdict != Verdict::Fresh) {
        writeln!(out, "{:8} #{} {}", step.verdict.name(), step.index, escape::terminal(&step.name))?;
        writeln!(out, "         {}", escape::terminal(&step.because))?;
    }
    for finding in &report.findings {
        writeln!(out, "{}: {}", finding.rule, escape::terminal(&finding.message))?;
        for line in &finding.evidence {
            writeln!(out, "   |  {}", escape::terminal(line))?;
        }
        if !finding.help.is_empty() {
            writeln!(out, "   = do: {}", escape::terminal(&finding.help))?;
        }
    }
    for note in &report.notes {
        writeln!(out, "note: {}", escape::terminal(note))?;
    }
    Ok(())
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
    if !builds.is_empty() {
        writeln!(out)?;
    }
    if dropped > 0 {
        writeln!(out, "{} before these are left out; `bklog show` shows them all\n", units::count(dropped, "build"))?;
    }
    let report = if builds.is_empty() { Report::default() } else { args.evidence.judge(&builds)? };
    if args.format == Format::Json {
        check_json::write(&report.steps, &report.findings, report.commit.as_deref(), &report.notes, &mut out)?;
    } else {
        summary(builds, &report, &args.evidence.redactor(), layout(&console::Term::stderr()), &mut out)?;
    }
    out.flush()?;
    drop(out);
    read?;
    if bytes == 0 {
        return Err(CliError::Empty(display_name("-").to_owned()));
    }
    if args.fail_on.is_reached(&report.findings) {
        return Ok(exit_code::FINDINGS);
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

/// Sums builds up, unjudged, for the terminal behind standard error.
pub(super) fn unjudged_summary(builds: Vec<Build>, out: &mut dyn Write) -> Result<(), CliError> {
    writeln!(out)?;
    summary(builds, &Report::default(), &Redactor::default(), layout(&console::Term::stderr()), out)
}

/// The time at which a piece arrives.
pub(super) fn arrival() -> Instant {
    Instant { nanoseconds: jiff::Timestamp::now().as_nanosecond(), absolute: true }
}

fn layout(terminal: &console::Term) -> Layout {
    Layout { width: super::terminal_width(terminal), order: Order::Log, all: false }
}
