//! `bklog record`: puts runs into the history.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;

use super::{
    error::CliError,
    exit_code, ledger,
    reading::{self, display_name},
};
use crate::{
    build::Build,
    history::{Clock, History, Recorded, RunInfo, logged_start, run_rows},
    policy::Policy,
    redact::Redactor,
    report::units,
};

/// Put the runs of logs into the history
#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// The logs; `-` is standard input
    #[arg(value_name = "LOG", required = true)]
    logs: Vec<String>,

    /// The history's directory
    #[arg(long, value_name = "DIR", env = "BKLOG_HISTORY")]
    history: Option<PathBuf>,

    /// The project; the name of the repository's directory if not given
    #[arg(long, value_name = "NAME")]
    project: Option<String>,

    /// The commit that was built
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,

    /// The branch
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,

    /// The builder, where the log does not name it
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,

    /// When the build began (RFC 3339, or seconds since 1970)
    #[arg(long, value_name = "TIME")]
    started_at: Option<String>,

    /// When the build ended
    #[arg(long, value_name = "TIME")]
    finished_at: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &RecordArgs, _color: anstream::ColorChoice) -> Result<u8, CliError> {
    let cwd = std::env::current_dir().unwrap_or_default();
    let policy = Policy::find(&cwd)?;
    let started = ledger::time("--started-at", args.started_at.as_deref())?;
    let finished = ledger::time("--finished-at", args.finished_at.as_deref())?;
    let project = ledger::project(args.project.as_deref(), &cwd);
    let history = History::open(&ledger::root(args.history.as_deref(), &policy)?, &project);
    let mut new = 0;
    for log in &args.logs {
        let mut builds: Vec<Build> = Vec::new();
        let end = reading::read(log, |build| {
            builds.push(build);
            Ok(())
        })?;
        if builds.is_empty() {
            return Err(CliError::NoBuild { name: display_name(log).to_owned(), lines: end.lines });
        }
        let known = started.or_else(|| logged_start(&builds));
        let info = RunInfo {
            project: project.clone(),
            started_at: known.unwrap_or_else(jiff::Timestamp::now),
            finished_at: finished,
            commit: args.commit.clone(),
            branch: args.branch.clone(),
            builder: args.builder.clone(),
            redactor: Redactor::new(&policy.secret_names),
            ..RunInfo::default()
        };
        let rows = run_rows(&builds, &[], &info);
        let clock = if known.is_some() { Clock::Known } else { Clock::Guessed };
        let recorded = history.record(&rows, &[], clock).map_err(|error| CliError::History(error.to_string()))?;
        new += usize::from(recorded == Recorded::New);
    }
    let there = args.logs.len() - new;
    let mut out = io::stdout().lock();
    writeln!(out, "{} recorded, {there} already there", units::count(new, "run"))?;
    out.flush()?;
    Ok(exit_code::SUCCESS)
}
