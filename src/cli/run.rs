//! `bklog run`: runs a build, shows its output as it comes, and sums it up.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use clap::Args;

use super::{
    calls::{self, Watch},
    checking::{CheckingArgs, Stream, arrival},
    error::CliError,
    exit_code,
    judging::{Judged, working_directory},
    live::{PassedOn, Progress, outlive_the_first_interrupt},
    overall::Overall,
};
use crate::{
    build::{Build, collect::Collector},
    evidence::build_command,
    log::Reader,
};

/// Run a build, show its output as it comes, check it and record it
///
/// Works for `docker build`, `docker buildx build|bake`, `docker compose build`, `buildctl build` and for what calls them: a script, make.
/// Context, Dockerfile and arguments are read from the calls. Standard output and standard error stay apart. The exit code is the command's
/// own when it fails.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The command and its arguments, best behind `--`
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,

    #[command(flatten)]
    checking: CheckingArgs,
}

/// A piece of output, and from which of the two streams.
struct Piece {
    bytes: Vec<u8>,
    is_error: bool,
}

/// Pieces that wait to be read; a command that writes faster than that is slowed down, as by any pipe.
const WAITING_PIECES: usize = 64;

/// A signal is passed on after so long at the latest.
const SIGNAL_DELAY: Duration = Duration::from_millis(100);

/// The size of a piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Runs the command.
pub(super) fn run(args: &RunArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let checking = &args.checking;
    // Wrong settings are said when the build is over: they must not keep it from running.
    let policy = checking.report.policy();
    let words: Vec<String> = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let watch = if build_command::is_build(&words) { None } else { Watch::new() };
    let mut child = spawn(&args.command, watch.as_ref())?;
    outlive_the_first_interrupt();
    let passed_on = PassedOn::new();
    let progress = Progress::new(checking.quiet);
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
    loop {
        passed_on.to(child.id());
        let Piece { bytes, is_error } = match pieces.recv_timeout(SIGNAL_DELAY) {
            Ok(piece) => piece,
            Err(mpsc::RecvTimeoutError::Timeout) => continue,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        };
        if !checking.quiet && !gone {
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
    let mut notes = Vec::new();
    let calls = calls::builds(&words, &working_directory(), watch.as_ref(), &mut notes);
    drop(watch);
    let judged = Judged { name: &name(&args.command), builds: &builds, remarks: &remarks, calls: &calls, notes: &notes, is_run: true };
    // What the build printed stands on standard output; what is said of it goes where its progress went.
    let report = policy.and_then(|policy| checking.report(&judged, &policy, Stream::Error, "\n", color));
    match report {
        Ok(report) if status.success() => Ok(checking.report.exit_code(&report, code)),
        Ok(_) => Ok(code),
        // The build's own failure is the news.
        Err(error) if !status.success() => {
            error.print(color);
            Ok(code)
        }
        Err(error) => Err(error),
    }
}

/// Starts the command. Its progress is asked for in plain form, because it is read, and shown as it comes.
fn spawn(words: &[OsString], watch: Option<&Watch>) -> Result<Child, CliError> {
    let Some((program, arguments)) = words.split_first() else { return Err(CliError::TerminalInput) };
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(watch) = watch {
        command.env("PATH", watch.path());
    }
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
