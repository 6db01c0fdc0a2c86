//! The live pipe: what comes in goes out at once and unchanged, and is read on the way.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::exit_code;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What the two ends of the pipe tell each other.
#[derive(Debug, Default)]
pub(super) struct PipeState {
    /// Why the output could not be written.
    pub(super) output_error: Mutex<Option<io::Error>>,
}

/// A reader that passes on what it reads.
pub(super) struct Tee<R> {
    input: R,
    output: Option<io::Stdout>,
    progress: Progress,
    state: Arc<PipeState>,
}

impl<R: Read> Tee<R> {
    /// Passes `input` on to standard output, unless `quiet`.
    pub(super) fn new(input: R, quiet: bool, progress: Progress, state: Arc<PipeState>) -> Self {
        Self { input, output: (!quiet).then(io::stdout), progress, state }
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        let Some(output) = &self.output else {
            return Ok(length);
        };
        let piece = &buffer[..length];
        if piece.is_empty() {
            return Ok(length);
        }
        let complete = piece.ends_with(b"\n");
        let passed = self.progress.aside(complete, || {
            let mut output = output.lock();
            output.write_all(piece)?;
            // Standard output holds back what does not end a line.
            output.flush()
        });
        if let Err(error) = passed {
            let kind = error.kind();
            if let Ok(mut first) = self.state.output_error.lock() {
                first.get_or_insert(error);
            }
            return Err(io::Error::new(kind, "the output cannot be written"));
        }
        Ok(length)
    }
}

/// A line on the terminal that says what runs now and since when. Where standard error is no terminal there is none.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    shares_screen: bool,
}

impl Progress {
    /// Makes the line, if anybody can see it.
    pub(super) fn new(quiet: bool) -> Self {
        use io::IsTerminal as _;
        if !io::stderr().is_terminal() {
            return Self { bar: None, shares_screen: false };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        let style =
            ProgressStyle::with_template("{spinner:.cyan} {elapsed} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar: Some(bar), shares_screen: !quiet && io::stdout().is_terminal() }
    }

    /// True where somebody can see the line.
    pub(super) fn is_visible(&self) -> bool {
        self.bar.is_some()
    }

    /// Says what runs now.
    pub(super) fn message(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }

    /// Takes the line away for good.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Writes to the screen that the line may share: it goes away before, and comes back once a line is complete.
    pub(super) fn aside<T>(&self, line_is_complete: bool, write: impl FnOnce() -> T) -> T {
        let Some(bar) = self.bar.as_ref().filter(|_| self.shares_screen) else {
            return write();
        };
        let result = bar.suspend(write);
        let target = if line_is_complete { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        if bar.is_hidden() == line_is_complete {
            bar.set_draw_target(target);
        }
        result
    }
}

/// Signals that are meant for the command that `run` runs: it is told, and says its last lines.
#[derive(Debug, Default)]
pub(super) struct PassedOn {
    /// The signal that came last; 0 where none did.
    last: Arc<AtomicUsize>,
}

impl PassedOn {
    /// Catches the signals that ask a program to end. Where signals cannot be handled, they end this one.
    #[cfg(unix)]
    pub(super) fn new() -> Self {
        let passed = Self::default();
        for (signal, name) in Self::SIGNALS.into_iter().zip(1..) {
            let _ = signal_hook::flag::register_usize(signal.0, Arc::clone(&passed.last), name);
        }
        passed
    }

    /// Nothing is passed on where programs are not asked to end by signals.
    #[cfg(not(unix))]
    pub(super) fn new() -> Self {
        Self::default()
    }

    #[cfg(unix)]
    const SIGNALS: [(i32, &str); 3] =
        [(signal_hook::consts::SIGTERM, "TERM"), (signal_hook::consts::SIGHUP, "HUP"), (signal_hook::consts::SIGQUIT, "QUIT")];

    /// Sends what has come in to a process.
    pub(super) fn to(&self, process: u32) {
        let at = self.last.swap(0, Ordering::Relaxed);
        #[cfg(unix)]
        if let Some((_, name)) = at.checked_sub(1).and_then(|at| Self::SIGNALS.get(at)) {
            // The standard library can only kill. A process that is gone already needs no signal.
            let _ =
                std::process::Command::new("kill").args(["-s", name, &process.to_string()]).stderr(std::process::Stdio::null()).status();
        }
        #[cfg(not(unix))]
        let _ = (at, process);
    }
}

/// The terminal sends Ctrl-C to the build and to its readers alike. The build then still has to say how it ended, so the first one
/// is left to it; the second one is meant for us.
pub(super) fn outlive_the_first_interrupt() {
    let interrupted = Arc::new(AtomicBool::new(false));
    let code = i32::from(exit_code::INTERRUPTED);
    // Where signals cannot be handled, Ctrl-C ends the reader as it ends any program.
    if signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, code, Arc::clone(&interrupted)).is_ok() {
        let _ = signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted.clone());
    }
    interrupted.store(false, Ordering::Relaxed);
}
