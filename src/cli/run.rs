//! `bklog run`: runs a build, shows its output as it comes, and sums it up.

use std::{
    ffi::OsString,
    io::{self, BufWriter, Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
};

use clap::Args;

use super::{
    check::{arrival, layout, summaries},
    error::CliError,
    exit_code,
    judging::EvidenceArgs,
    live::{Progress, outlive_the_first_interrupt},
    overall::Overall,
    reporting::{CheckFormat, ReportArgs},
};
use crate::{
    build::{Build, collect::Collector},
    log::Reader,
};

/// Run a build, show its output as it comes, and sum it up
///
/// Works for `docker build`, `docker buildx build|bake`, `docker compose build`, `buildctl build` and for scripts that call them. Standard
/// output and standard error stay apart. The exit code is the command's own when it fails.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The command and its arguments, best behind `--`
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,

    /// Do not show the command's output
    #[arg(long, short)]
    quiet: bool,

    #[command(flatten)]
    evidence: EvidenceArgs,

    #[command(flatten)]
    report: ReportArgs,
}

/// A piece of output, and from which of the two streams.
struct Piece {
    bytes: Vec<u8>,
    is_error: bool,
}

/// Pieces that wait to be read; a command that writes faster than that is slowed down, as by any pipe.
const WAITING_PIECES: usize = 64;

/// The size of a piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Runs the command.
pub(super) fn run(args: &RunArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    // Wrong settings are said when the build is over: they must not keep it from running.
    let policy = args.report.policy();
    let mut child = spawn(&args.command)?;
    outlive_the_first_interrupt();
    let progress = Progress::new(args.quiet);
    let (sender, pieces) = mpsc::sync_channel(WAITING_PIECES);
    for (stream, is_error) in streams(&mut child) {
        let sender = sender.clone();
        thread::spawn(move || forward(stream, is_error, &sender));
    }
    drop(sender);
    let mut overall = Overall::default();
    let mut builds: Vec<Build> = Vec::new();
    let mut reader = Reader::new(Collector::new(|build: Build| {
        overall.add(&build);
        builds.push(build);
    }));
    let mut gone = false;
    for Piece { bytes, is_error } in pieces {
        if !args.quiet && !gone {
            // The build goes on without a reader: stopping it would be worse than not showing it.
            gone = progress.aside(bytes.ends_with(b"\n"), || show(&bytes, is_error)).is_err();
        }
        reader.feed_live(&bytes, arrival());
    }
    progress.finish();
    let remarks = reader.finish().remarks().to_vec();
    let status = child.wait().map_err(|cause| CliError::Command { name: name(&args.command), cause })?;
    let code = code(status, &overall);
    if builds.is_empty() {
        return Ok(code);
    }
    let words: Vec<String> = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (report, redactor) = args.evidence.made_by(&words).judge(&name(&args.command), &builds, &remarks, &policy?)?;
    let layout = layout(&console::Term::stderr());
    // What the build printed stands on standard output; what is said of it goes where its progress went.
    let mut out = BufWriter::new(anstream::AutoStream::new(io::stderr().lock(), color));
    if args.report.format == CheckFormat::Text {
        writeln!(out)?;
        summaries(builds, layout, &redactor, &mut out)?;
    }
    args.report.write(&report, layout.width, &mut out)?;
    out.flush()?;
    Ok(if status.success() { args.report.exit_code(&report, code) } else { code })
}

/// Starts the command. Its progress is asked for in plain form, because it is read, and shown as it comes.
fn spawn(words: &[OsString]) -> Result<Child, CliError> {
    let Some((program, arguments)) = words.split_first() else { return Err(CliError::TerminalInput) };
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    if std::env::var_os("BUILDKIT_PROGRESS").is_none() {
        command.env("BUILDKIT_PROGRESS", "plain");
    }
    command.spawn().map_err(|cause| CliError::Command { name: name(words), cause })
}

fn name(words: &[OsString]) -> String {
    words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default()
}

fn streams(child: &mut Child) -> impl Iterator<Item = (Box<dyn Read + Send>, bool)> {
    let stdout = child.stdout.take().map(|stream| (Box::new(stream) as Box<dyn Read + Send>, false));
    let stderr = child.stderr.take().map(|stream| (Box::new(stream) as Box<dyn Read + Send>, true));
    stdout.into_iter().chain(stderr)
}

fn forward(mut stream: Box<dyn Read + Send>, is_error: bool, sender: &mpsc::SyncSender<Piece>) {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let piece = Piece { bytes: buffer[..length].to_vec(), is_error };
                if sender.send(piece).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn show(bytes: &[u8], is_error: bool) -> io::Result<()> {
    if is_error {
        return io::stderr().lock().write_all(bytes);
    }
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// The command's own exit code when it fails. When it does not, but the log says that a build failed, somebody swallowed the
/// failure, and that is told.
fn code(status: ExitStatus, overall: &Overall) -> u8 {
    if status.success() {
        return overall.exit_code();
    }
    let code = status.code().or_else(|| {
        #[cfg(unix)]
        {
            use std::os::unix::process::ExitStatusExt as _;
            // As shells count a command that a signal ended.
            status.signal().map(|signal| 128 + signal)
        }
        #[cfg(not(unix))]
        None
    });
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(exit_code::BUILD_FAILED)
}
