//! Errors of the command line: what is wrong, where, and what to do next.

use std::{io, path::PathBuf};

use super::exit_code;
use crate::{
    log::source::SourceError,
    policy::PolicyError,
    redact,
    report::{escape, text::style},
};

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The reader of the output went away; there is nobody to tell.
    #[error("the reader of the output went away")]
    ReaderGone,
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// A log cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A log is empty.
    #[error("{0} is empty")]
    Empty(String),
    /// No build in a log.
    #[error("no build found in {name} ({})", crate::units::count(usize::try_from(*lines).unwrap_or(usize::MAX), "line"))]
    NoBuild {
        /// The log.
        name: String,
        /// Its lines.
        lines: u64,
    },
    /// The build failed before its first step.
    #[error("the build failed before its first step: {0}")]
    FailedEarly(String),
    /// A series of build times cannot be read.
    #[error("{name}: {cause}")]
    Series {
        /// The file.
        name: String,
        /// Why.
        cause: String,
    },
    /// A command cannot be run.
    #[error("cannot run {name}: {cause}")]
    Command {
        /// The command.
        name: String,
        /// Why.
        cause: io::Error,
    },
    /// The settings file cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The baseline file cannot be used.
    #[error("cannot read the baseline file {}: {cause}", .path.display())]
    Baseline {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The job summary cannot be written.
    #[error("cannot add to the job summary {}: {cause}", .path.display())]
    Summary {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A file cannot be written.
    #[cfg_attr(not(any(feature = "history", feature = "charts")), expect(dead_code, reason = "only pages and reports become files"))]
    #[error("cannot write {}: {cause}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// No rule has the name.
    #[error("no rule is called {name:?}{}", near.map_or(String::new(), |near| format!(": did you mean {near}?")))]
    UnknownRule {
        /// The name.
        name: String,
        /// The one that is nearest.
        near: Option<&'static str>,
    },
    /// Flags or settings that cannot be understood.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A repository cannot be read.
    #[error("cannot read {}: {cause}", .path.display())]
    Repository {
        /// What was named.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Nothing in a repository says how images are built.
    #[error("nothing to lint in {}: no {}", .0.display(), crate::evidence::repository::LOOKED_FOR)]
    NothingToLint(PathBuf),
    /// The history cannot be used.
    #[cfg_attr(not(feature = "history"), expect(dead_code, reason = "there is no history without the feature"))]
    #[error("{0}")]
    History(String),
    /// The history has no runs at all.
    #[cfg_attr(not(feature = "history"), expect(dead_code, reason = "there is no history without the feature"))]
    #[error("no run is recorded in {}", .0.display())]
    NothingRecorded(PathBuf),
    /// The history has runs, but none of the project.
    #[cfg_attr(not(feature = "history"), expect(dead_code, reason = "there is no history without the feature"))]
    #[error("no run of {name:?} is recorded; there are runs of {known}")]
    UnknownProject {
        /// The project.
        name: String,
        /// Those that have runs.
        known: String,
    },
    /// The project has runs, but none that is asked for.
    #[cfg_attr(not(feature = "history"), expect(dead_code, reason = "there is no history without the feature"))]
    #[error("no run of {project} is of that time and branch")]
    NoSuchRuns {
        /// The project.
        project: String,
    },
    /// There is no log and no run of a name.
    #[cfg_attr(not(feature = "history"), expect(dead_code, reason = "there is no history without the feature"))]
    #[error("there is no log and no run {name:?}; {known}")]
    NoSuchBuild {
        /// The name.
        name: String,
        /// What there is.
        known: String,
    },
    /// No run built the target.
    #[cfg_attr(not(feature = "history"), expect(dead_code, reason = "there is no history without the feature"))]
    #[error("no run built a target {name:?}{}", if known.is_empty() { "; the logs name no targets".to_owned() } else { format!("; there are {known}") })]
    UnknownTarget {
        /// The target.
        name: String,
        /// Those that were built.
        known: String,
    },
    /// Something that the user should know and that is no failure.
    #[cfg_attr(not(feature = "history"), expect(dead_code, reason = "there is no history without the feature"))]
    #[error("{0}")]
    Remark(String),
    /// None of the files is a build log.
    #[cfg_attr(not(feature = "history"), expect(dead_code, reason = "there is no history without the feature"))]
    #[error("{what}")]
    NoLogs {
        /// What was looked for.
        what: String,
    },
    /// The history has no such run.
    #[cfg_attr(not(feature = "history"), expect(dead_code, reason = "there is no history without the feature"))]
    #[error("{what}")]
    NoRuns {
        /// What was looked for, and what is there.
        what: String,
    },
    /// There is nothing to read.
    #[error("nothing to read: standard input is a terminal")]
    TerminalInput,
}

impl CliError {
    /// What to do about it, where that is not plain from the message.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Empty(_) => Some("docker writes its progress to standard error: add 2>&1 before the pipe or file"),
            Self::NoBuild { .. } | Self::NoLogs { .. } => {
                Some("build with --progress=plain and keep standard error (2>&1); `bklog help` lists what is read")
            }
            Self::Usage { hint, .. } => Some(hint),
            Self::History(_) => Some("`bklog history verify` looks at every file; --history or BKLOG_HISTORY names another directory"),
            Self::NoRuns { .. } => Some("`bklog record LOG` puts runs into it; --history names another one"),
            Self::TerminalInput => {
                Some("pipe a build into it, `docker build --progress=plain . 2>&1 | bklog`, or name a log: `bklog show build.log`")
            }
            Self::Source(SourceError::Read { .. }) => Some("the file may be cut off or damaged; what could be read is shown"),
            Self::NothingRecorded(_) => {
                Some("record logs with `bklog record LOG…` or `bklog check --record`, or name another history with --history DIR")
            }
            Self::UnknownProject { .. } => Some("give one of them as --project NAME"),
            Self::NoSuchBuild { .. } => Some("name a log, or a run by its id, its commit, `latest` or `latest~1`"),
            Self::NoSuchRuns { .. } => Some("widen --since, or leave --branch out"),
            Self::UnknownTarget { .. } => Some("leave --target out for whole runs"),
            Self::File { .. } => Some("name a file in a directory that exists and that you can write"),
            Self::UnknownRule { .. } => Some("`bklog explain` lists all rules"),
            Self::Baseline { .. } => Some("it is what `bklog check --format json` writes; bklog.toml names it as `baseline`"),
            Self::NothingToLint(_) => {
                Some("name the directory: `bklog lint DIR`; what git ignores, node_modules, target and vendor are left out")
            }
            Self::Repository { .. }
            | Self::ReaderGone
            | Self::Output(_)
            | Self::Source(_)
            | Self::FailedEarly(_)
            | Self::Series { .. }
            | Self::Command { .. }
            | Self::Policy(_)
            | Self::Summary { .. }
            | Self::Remark(_) => None,
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::ReaderGone | Self::Remark(_) => exit_code::SUCCESS,
            Self::FailedEarly(_) => exit_code::BUILD_FAILED,
            Self::TerminalInput
            | Self::Command { .. }
            | Self::Usage { .. }
            | Self::History(_)
            | Self::Policy(_)
            | Self::Baseline { .. }
            | Self::UnknownRule { .. } => exit_code::USAGE,
            Self::Repository { .. } | Self::NothingToLint(_) => exit_code::NOT_A_LOG,
            Self::UnknownProject { .. } | Self::UnknownTarget { .. } | Self::NoSuchBuild { .. } => exit_code::USAGE,
            Self::NothingRecorded(_)
            | Self::NoSuchRuns { .. }
            | Self::Output(_)
            | Self::Summary { .. }
            | Self::File { .. }
            | Self::Source(_)
            | Self::Empty(_)
            | Self::NoBuild { .. }
            | Self::NoLogs { .. }
            | Self::NoRuns { .. }
            | Self::Series { .. } => exit_code::NOT_A_LOG,
        }
    }

    /// Prints the error to standard error, in one or two lines.
    pub(super) fn print(&self, color: anstream::ColorChoice) {
        use io::Write as _;
        let mut out = anstream::AutoStream::new(io::stderr().lock(), color);
        // Nobody is left to tell when standard error is gone too.
        let word =
            if matches!(self, Self::Remark(_)) { style::painted(style::BOLD, "note:") } else { style::painted(style::BAD, "error:") };
        let _ = writeln!(out, "{word} {}", escape::terminal(&redact::text(&self.to_string())));
        if let Some(hint) = self.hint() {
            let _ = writeln!(out, "  hint: {hint}");
        }
    }
}

impl From<io::Error> for CliError {
    /// An error of the output.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::ReaderGone } else { Self::Output(error) }
    }
}
