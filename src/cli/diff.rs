//! `bklog diff`.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{
    error::CliError,
    exit_code,
    reading::{self, display_name},
};
use crate::{
    build::Build,
    history::{RunInfo, logged_start, run_rows},
    policy::Policy,
    redact::Redactor,
    report::{diff_json, diff_markdown, text},
    trend::diff::{Side, compare, files_between},
};

/// Compare two builds step by step: what got slower, what lost the cache, where that began and why
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The build before: a log (`-` is standard input), or a run of the history: its id, its commit, `latest`, `latest~1`
    #[arg(value_name = "A")]
    a: String,

    /// The build after
    #[arg(value_name = "B")]
    b: String,

    /// The history's directory
    #[arg(long, value_name = "DIR", env = "BKLOG_HISTORY")]
    history: Option<PathBuf>,

    /// The project; the name of the repository's directory if not given
    #[arg(long, value_name = "NAME")]
    project: Option<String>,

    /// The commits that the two logs were built from, where no history knows them
    #[arg(long, value_name = "A..B", value_parser = commits)]
    commits: Option<(String, String)>,

    /// The repository that knows the commits
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,

    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: DiffFormat,

    /// Show also the steps that are the same (text)
    #[arg(long)]
    all: bool,

    /// Columns to fit the text into [default: those of the terminal, else 100]
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(40..))]
    width: Option<u16>,
}

/// The formats of `diff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    /// A table, causes and totals
    Text,
    /// For programs (schema bklog.diff/1)
    Json,
    /// For job summaries and chats
    Markdown,
}

fn commits(text: &str) -> Result<(String, String), String> {
    match text.split_once("..") {
        Some((a, b)) if !a.is_empty() && !b.is_empty() && !b.starts_with('.') => Ok((a.to_owned(), b.to_owned())),
        _ => Err("two commits are needed, such as 9f2c1e4..5926164".to_owned()),
    }
}

/// Runs the command.
pub(super) fn run(args: &DiffArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    if args.a == "-" && args.b == "-" {
        let hint = "give one of them as a file";
        return Err(CliError::Usage { what: "both builds cannot come from standard input".to_owned(), hint });
    }
    let policy = Policy::find(&std::env::current_dir().unwrap_or_default(), &crate::rules::names())?;
    let (mut a, mut b) = (side(&args.a, args, &policy)?, side(&args.b, args, &policy)?);
    if let Some((from, to)) = &args.commits {
        a.rows.run.commit = Some(from.clone());
        b.rows.run.commit = Some(to.clone());
    }
    let files = match (&a.rows.run.commit, &b.rows.run.commit) {
        (Some(from), Some(to)) => match files_between(&args.repo, from, to) {
            Ok(files) => Some(files),
            Err(error) => {
                // Without the files there is less to say, and no reason to stop; who gave the commits wants to know.
                if args.commits.is_some() {
                    let mut err = anstream::AutoStream::new(io::stderr().lock(), color);
                    let _ = writeln!(err, "warning: {}", crate::report::escape::terminal(&error.to_string()));
                }
                None
            }
        },
        _ => None,
    };
    let diff = compare(a, b, files.as_ref());
    match args.format {
        DiffFormat::Text => {
            let width = args.width.map_or_else(|| super::terminal_width(&console::Term::stdout()), usize::from);
            let mut out = BufWriter::new(anstream::AutoStream::new(io::stdout().lock(), color));
            text::diff::write(&diff, width, args.all, &mut out)?;
            out.flush()?;
        }
        DiffFormat::Json | DiffFormat::Markdown => {
            let mut out = BufWriter::new(io::stdout().lock());
            if args.format == DiffFormat::Json {
                diff_json::write(&diff, &mut out)?;
            } else {
                diff_markdown::write(&diff, &mut out)?;
            }
            out.flush()?;
        }
    }
    Ok(exit_code::SUCCESS)
}

/// A log, if there is such a file; else a run of the history.
fn side(name: &str, args: &DiffArgs, policy: &Policy) -> Result<Side, CliError> {
    if name == "-" || Path::new(name).is_file() {
        return log(name, policy);
    }
    recorded(name, args.history.as_deref(), args.project.as_deref(), policy)
}

fn log(name: &str, policy: &Policy) -> Result<Side, CliError> {
    let mut builds: Vec<Build> = Vec::new();
    let end = reading::read(name, reading::StepOutput::Counted, |build| {
        builds.push(build);
        Ok(())
    })?;
    if builds.is_empty() {
        return Err(CliError::NoBuild { name: display_name(name).to_owned(), lines: end.lines });
    }
    let started_at = logged_start(&builds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let info = RunInfo { started_at, redactor: Redactor::new(&policy.secret_names), ..RunInfo::default() };
    Ok(Side { name: display_name(name).to_owned(), rows: run_rows(&builds, &[], &info), recorded: false })
}

#[cfg(not(feature = "history"))]
fn recorded(name: &str, _: Option<&Path>, _: Option<&str>, _: &Policy) -> Result<Side, CliError> {
    let hint = "give two logs, or use a bklog with the feature `history`";
    Err(CliError::Usage { what: format!("there is no log {name:?}, and this bklog was built without the history"), hint })
}

#[cfg(feature = "history")]
fn recorded(name: &str, directory: Option<&Path>, wanted: Option<&str>, policy: &Policy) -> Result<Side, CliError> {
    use super::ledger;
    use crate::history::{History, RunRows, Selection};

    let root = ledger::root(directory, policy)?;
    let project = ledger::project(wanted, &std::env::current_dir().unwrap_or_default());
    let history = History::open(&root, &project);
    let failed = |error: crate::history::HistoryError| CliError::History(error.to_string());
    let mut selection = Selection { project: Some(project), ..Selection::default() };
    let mut runs = history.read_runs(&selection).map_err(failed)?;
    if runs.is_empty() && wanted.is_none() {
        selection.project = None;
        runs = history.read_runs(&selection).map_err(failed)?;
    }
    if runs.is_empty() {
        return Err(CliError::NoSuchBuild { name: name.to_owned(), known: format!("no run is recorded in {}", root.display()) });
    }
    let Some(run) = ledger::find_run(name, &runs).cloned() else {
        let last: Vec<&str> = runs.iter().rev().take(3).map(|run| run.run.as_str()).collect();
        return Err(CliError::NoSuchBuild {
            name: name.to_owned(),
            known: format!("the last {} {}", if last.len() == 1 { "run is" } else { "runs are" }, last.join(", ")),
        });
    };
    selection.project = Some(run.project.clone());
    selection.since = Some(run.at);
    selection.until = run.at.checked_add(jiff::SignedDuration::from_nanos(1)).ok();
    let mut builds = history.read_builds(&selection).map_err(failed)?;
    builds.retain(|row| row.run == run.run);
    let mut steps = history.read_steps(&selection).map_err(failed)?;
    steps.retain(|row| row.run == run.run);
    Ok(Side { name: run.run.clone(), rows: RunRows { run, builds, steps }, recorded: true })
}
