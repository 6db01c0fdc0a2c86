//! `bklog history`: care for the ledger.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{error::CliError, exit_code, ledger, output_file::OutputFile, times};
use crate::{
    build::StepName,
    evidence::commit::short,
    history::{BuildRow, ExportError, History, HistoryError, RunRow, Selection, StepRow, Table, TextFormat},
    policy::Policy,
    report::{
        escape,
        text::style::{self, painted},
        units,
    },
};

/// Look after the history of runs: list, show, fold, export, verify, remove
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    #[command(subcommand)]
    command: Command,

    /// The history's directory [default: that of bklog.toml, else the user's data directory]
    #[arg(long, value_name = "DIR", env = "BKLOG_HISTORY", global = true)]
    history: Option<PathBuf>,

    /// Of this project alone
    #[arg(long, value_name = "NAME", global = true)]
    project: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ls(LsArgs),
    Show(ShowArgs),
    /// Fold the small files of each month into one
    ///
    /// Recording does that by itself where a month has more than 64 runs in files of their own. Nothing is lost when it is interrupted.
    Compact,
    Export(ExportArgs),
    Verify(VerifyArgs),
    Rm(RmArgs),
}

/// List runs, the last ones first
#[derive(Debug, Args)]
struct LsArgs {
    #[command(flatten)]
    range: Range,

    /// So many at most; 0 is all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,

    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// Show one run: its builds, and the steps that took longest
#[derive(Debug, Args)]
struct ShowArgs {
    /// The run's id, its beginning, its commit, `latest` or `latest~1`
    #[arg(value_name = "RUN", default_value = "latest")]
    run: String,

    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// Write a table as text, for programs that read no Parquet
#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    range: Range,

    /// Which table
    #[arg(long, value_name = "TABLE", default_value = "runs")]
    table: TableName,

    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "csv")]
    format: ExportFormat,

    /// Where to [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Name files that are damaged, foreign or of a newer bklog
///
/// Reads every file of every project. The exit code is 1 where something is wrong.
#[derive(Debug, Args)]
struct VerifyArgs {
    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// Remove old runs for good
#[derive(Debug, Args)]
struct RmArgs {
    /// Runs that began longer ago than this: 90d, 12w, 36h
    #[arg(long, value_name = "TIME")]
    older_than: String,

    /// Say what would be removed, and remove nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Remove without asking
    #[arg(long, short)]
    yes: bool,
}

/// Which runs.
#[derive(Debug, Args)]
struct Range {
    /// Begun at or after this: 7d, 12h, 2026-11-01, 2026-11-01T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Begun before this
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Of this branch alone
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// Comma-separated values
    Csv,
    /// One JSON object a line
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TableName {
    /// One row a log
    Runs,
    /// One row a build, and one a target
    Builds,
    /// One row a step
    Steps,
}

type Out = BufWriter<anstream::AutoStream<io::Stdout>>;

/// Runs the command.
pub(super) fn run(args: &HistoryArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let policy = Policy::find(&std::env::current_dir().unwrap_or_default(), &crate::rules::names())?;
    let root = ledger::root(args.history.as_deref(), &policy)?;
    let history = History::open(&root, args.project.as_deref().unwrap_or_default());
    let mut out = BufWriter::new(anstream::AutoStream::new(io::stdout(), color));
    let result = match &args.command {
        Command::Ls(ls) => list(&history, args, ls, &mut out),
        Command::Show(show) => show_run(&history, args, show, &mut out),
        Command::Compact => compact(&history, args, &mut out),
        Command::Export(export) => export_table(&history, args, export),
        Command::Verify(verify) => verify_all(&history, verify, &mut out),
        Command::Rm(rm) => remove(&history, args, rm, &mut out),
    };
    out.flush()?;
    drop(out);
    // Also where nothing was found: what could not be read may be why.
    for problem in history.problems() {
        CliError::Remark(problem).print(color);
    }
    result
}

impl HistoryArgs {
    fn selection(&self, range: Option<&Range>) -> Result<Selection, CliError> {
        let now = jiff::Timestamp::now();
        let time = |flag: &str, text: Option<&String>| text.map(|text| times::ago_or_time(flag, text, now)).transpose();
        Ok(Selection {
            project: self.project.clone(),
            since: time("--since", range.and_then(|range| range.since.as_ref()))?,
            until: time("--until", range.and_then(|range| range.until.as_ref()))?,
            branch: range.and_then(|range| range.branch.clone()),
        })
    }
}

fn unusable(error: HistoryError) -> CliError {
    CliError::History(error.to_string())
}

/// No run is there: an error that says what is there instead.
fn nothing(history: &History, args: &HistoryArgs) -> CliError {
    let root = history.root().display();
    let mut projects: Vec<String> = history.projects();
    let what = match (&args.project, projects.as_slice()) {
        (_, []) => format!("the history {root} is empty"),
        (Some(project), _) if !projects.contains(project) => {
            projects.truncate(8);
            format!("the history {root} has no project {project:?}; it has {}", projects.join(", "))
        }
        _ => format!("no run in the history {root} is of that time and branch"),
    };
    CliError::NoRuns { what }
}

fn list(history: &History, args: &HistoryArgs, ls: &LsArgs, out: &mut Out) -> Result<u8, CliError> {
    let mut runs = history.read_runs(&args.selection(Some(&ls.range))?).map_err(unusable)?;
    if runs.is_empty() && ls.format == Format::Text {
        return Err(nothing(history, args));
    }
    runs.reverse();
    let all = runs.len();
    if ls.limit > 0 {
        runs.truncate(ls.limit);
    }
    if ls.format == Format::Json {
        let runs: Vec<_> = runs.iter().map(run_json).collect();
        serde_json::to_writer(&mut *out, &json!({"schema": "bklog.history/1", "runs": runs})).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(exit_code::SUCCESS);
    }
    let several = runs.iter().any(|run| run.project != runs[0].project);
    let mut rows = vec![headers(&["run", "began (UTC)", "project", "branch", "outcome", "builds", "time", ""], several)];
    for run in &runs {
        let cells = [
            run.run.clone(),
            run.at.strftime("%Y-%m-%d %H:%M").to_string(),
            run.project.clone(),
            run.branch.clone().unwrap_or_default(),
            run.outcome.name().to_owned(),
            run.builds.to_string(),
            run.seconds.map(units::duration).unwrap_or_default(),
            run.duration_source.map(|source| source.name().to_owned()).unwrap_or_default(),
        ];
        rows.push(cells.into_iter().enumerate().filter(|(column, _)| several || *column != 2).map(|(_, cell)| cell).collect());
    }
    table(&rows, out)?;
    if all > runs.len() {
        writeln!(out, "{}", painted(style::DIM, format!("{} more: -n 0 lists them all", all - runs.len())))?;
    }
    Ok(exit_code::SUCCESS)
}

fn headers(names: &[&str], several: bool) -> Vec<String> {
    names.iter().enumerate().filter(|(column, _)| several || *column != 2).map(|(_, name)| (*name).to_owned()).collect()
}

/// Writes rows in columns; the first is the header, columns without any text are left out.
fn table(rows: &[Vec<String>], out: &mut dyn Write) -> Result<(), CliError> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| escape::terminal(cell).into_owned()).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().enumerate().filter(|(row, _)| *row > 0).filter_map(|(_, row)| row.get(column));
        let widest = cells.map(|cell| console::measure_text_width(cell)).max().unwrap_or_default();
        let header = rows.first().and_then(|row| row.get(column)).map_or(0, |cell| console::measure_text_width(cell));
        if widest == 0 { 0 } else { widest.max(header) }
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).filter(|(_, width)| **width > 0);
        let line: Vec<String> =
            cells.map(|(cell, width)| console::pad_str(cell, *width, console::Alignment::Left, None).into_owned()).collect();
        let line = line.join("  ");
        let line = line.trim_end();
        match number {
            0 => writeln!(out, "{}", painted(style::DIM, line))?,
            _ => writeln!(out, "{line}")?,
        }
    }
    Ok(())
}

fn run_json(run: &RunRow) -> serde_json::Value {
    json!({
        "run": run.run, "project": run.project, "at": run.at.to_string(), "finished_at": run.finished_at.map(|at| at.to_string()),
        "week": run.week, "commit": run.commit, "branch": run.branch, "job_url": run.job_url, "runner": run.runner,
        "builder": run.builder, "command": run.command, "outcome": run.outcome.name(), "builds": run.builds,
        "duration": run.seconds.map(|seconds| json!({"seconds": seconds, "source": run.duration_source.map(|source| source.name())})),
        "images": run.images, "bklog": run.bklog,
    })
}

fn build_json(build: &BuildRow) -> serde_json::Value {
    json!({
        "build": build.build, "target": build.target, "outcome": build.outcome.map(|outcome| outcome.name()),
        "duration": build.seconds.map(|seconds| json!({"seconds": seconds, "source": build.duration_source.map(|source| source.name())})),
        "executed": build.executed, "cached": build.cached, "failed": build.failed, "executed_seconds": build.executed_seconds,
        "context_bytes": build.context_bytes, "cache_imports": build.cache_imports, "failed_imports": build.failed_imports,
        "cache_exports": build.cache_exports, "inline_cache": build.inline_cache, "bases": build.bases, "versions": build.versions,
    })
}

fn step_json(step: &StepRow) -> serde_json::Value {
    json!({
        "build": step.build, "index": step.index, "name": step.name, "identity": step.identity, "kind": step.kind.name(),
        "target": step.target, "stage": step.stage, "platform": step.platform, "number": step.number, "keyword": step.keyword,
        "status": step.status.name(), "cache_hit": step.cache_hit, "seconds": step.seconds,
        "transferred_bytes": step.transferred_bytes, "verdict": step.verdict.map(|verdict| verdict.name()), "error": step.error,
    })
}

fn show_run(history: &History, args: &HistoryArgs, show: &ShowArgs, out: &mut Out) -> Result<u8, CliError> {
    let all = history.read_runs(&args.selection(None)?).map_err(unusable)?;
    let found: Vec<&RunRow> = match show.run.as_str() {
        // What `latest` was called before.
        "last" => all.last().into_iter().collect(),
        id => all.iter().filter(|run| run.run.starts_with(id)).collect(),
    };
    let found = if found.is_empty() { ledger::find_run(&show.run, &all).into_iter().collect() } else { found };
    let run = match found.as_slice() {
        [] if all.is_empty() => return Err(nothing(history, args)),
        [] => return Err(CliError::NoRuns { what: format!("no run is called {}…", show.run) }),
        [one] => *one,
        many => {
            let what = format!("{} begin with {}: {}, {}, …", units::count(many.len(), "run"), show.run, many[0].run, many[1].run);
            return Err(CliError::NoRuns { what });
        }
    };
    let month = Selection {
        project: Some(run.project.clone()),
        since: Some(run.at),
        until: run.at.checked_add(jiff::SignedDuration::from_micros(1)).ok(),
        branch: None,
    };
    let builds: Vec<BuildRow> = history.read_builds(&month).map_err(unusable)?.into_iter().filter(|build| build.run == run.run).collect();
    let steps: Vec<StepRow> = history.read_steps(&month).map_err(unusable)?.into_iter().filter(|step| step.run == run.run).collect();
    if show.format == Format::Json {
        let mut value = run_json(run);
        value["targets"] = builds.iter().map(build_json).collect();
        value["steps"] = steps.iter().map(step_json).collect();
        serde_json::to_writer(&mut *out, &json!({"schema": "bklog.history-run/1", "run": value})).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(exit_code::SUCCESS);
    }
    let mut head = vec![escape::terminal(&run.project).into_owned()];
    if let Some(commit) = &run.commit {
        let branch = run.branch.as_ref().map(|branch| format!(" on {branch}")).unwrap_or_default();
        head.push(escape::terminal(&format!("commit {}{branch}", short(commit))).into_owned());
    }
    head.push(run.at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    if let (Some(seconds), Some(source)) = (run.seconds, run.duration_source) {
        head.push(format!("{} ({})", units::duration(seconds), source.name()));
    }
    head.push(run.outcome.name().to_owned());
    writeln!(out, "{}", painted(style::BOLD, &run.run))?;
    writeln!(out, "{}", head.join(" · "))?;
    for (what, value) in [("job", &run.job_url), ("runner", &run.runner), ("builder", &run.builder), ("command", &run.command)] {
        if let Some(value) = value {
            writeln!(out, "{}", escape::terminal(&format!("{what} {value}")))?;
        }
    }
    writeln!(out)?;
    let mut rows = vec![["build", "target", "outcome", "ran", "cached", "failed", "time", "context"].map(str::to_owned).to_vec()];
    rows.extend(builds.iter().map(|build| {
        vec![
            (build.build + 1).to_string(),
            build.target.clone().unwrap_or_default(),
            build.outcome.map(|outcome| outcome.name().to_owned()).unwrap_or_default(),
            build.executed.to_string(),
            build.cached.to_string(),
            if build.failed > 0 { build.failed.to_string() } else { String::new() },
            build.seconds.map(units::duration).unwrap_or_default(),
            build.context_bytes.map(units::bytes).unwrap_or_default(),
        ]
    }));
    table(&rows, out)?;
    const SLOWEST: usize = 10;
    let mut slowest: Vec<&StepRow> = steps.iter().filter(|step| step.seconds.is_some_and(|seconds| seconds >= 0.1)).collect();
    slowest.sort_by(|a, b| b.seconds.partial_cmp(&a.seconds).unwrap_or(std::cmp::Ordering::Equal));
    if !slowest.is_empty() {
        writeln!(out)?;
        let mut rows = vec![["time", "step"].map(str::to_owned).to_vec()];
        let line = |step: &&StepRow| {
            let name = step.name.lines().next().unwrap_or_default();
            // The name of a build that the log does not tell from its neighbours.
            let given = step.target.as_deref().filter(|_| StepName::parse(&step.name).target.is_none());
            let name = given.map_or_else(|| name.to_owned(), |given| format!("{given} {name}"));
            vec![step.seconds.map(units::duration).unwrap_or_default(), name]
        };
        rows.extend(slowest.iter().take(SLOWEST).map(line));
        table(&rows, out)?;
    }
    Ok(exit_code::SUCCESS)
}

fn compact(history: &History, args: &HistoryArgs, out: &mut Out) -> Result<u8, CliError> {
    let done = history.compact(&args.selection(None)?).map_err(unusable)?;
    if done.runs == 0 && done.busy == 0 {
        return Err(nothing(history, args));
    }
    let busy = if done.busy > 0 {
        format!("; {} left to another bklog that folds them now", units::count(done.busy, "directory"))
    } else {
        String::new()
    };
    writeln!(
        out,
        "{} in {}, which were {}{busy}",
        units::count(done.runs, "run"),
        units::count(done.files_after, "file"),
        done.files_before
    )?;
    Ok(exit_code::SUCCESS)
}

fn export_table(history: &History, args: &HistoryArgs, export: &ExportArgs) -> Result<u8, CliError> {
    let table = match export.table {
        TableName::Runs => Table::Runs,
        TableName::Builds => Table::Builds,
        TableName::Steps => Table::Steps,
    };
    let format = match export.format {
        ExportFormat::Csv => TextFormat::Csv,
        ExportFormat::Jsonl => TextFormat::JsonLines,
    };
    let selection = args.selection(Some(&export.range))?;
    let write = |out: &mut dyn Write| {
        let rows = history.export(table, &selection, format, out).map_err(|error| match error {
            ExportError::History(error) => unusable(error),
            ExportError::Output(error) => error.into(),
        })?;
        out.flush()?;
        if rows == 0 { Err(nothing(history, args)) } else { Ok(()) }
    };
    match &export.out {
        Some(path) => {
            let mut file = OutputFile::create(path)?;
            write(&mut file)?;
            file.finish()?;
        }
        None => write(&mut BufWriter::new(io::stdout().lock()))?,
    }
    Ok(exit_code::SUCCESS)
}

fn verify_all(history: &History, verify: &VerifyArgs, out: &mut Out) -> Result<u8, CliError> {
    let found = history.verify();
    let code = if found.problems.is_empty() { exit_code::SUCCESS } else { exit_code::FINDINGS };
    if verify.format == Format::Json {
        let problems = found.problems.iter().map(|problem| json!({"file": problem.path.to_string_lossy(), "problem": problem.what}));
        let value = json!({
            "schema": "bklog.history-verify/1", "files": found.sound, "runs": found.runs, "unfinished": found.unfinished,
            "abandoned": found.abandoned, "problems": problems.collect::<Vec<_>>(),
        });
        serde_json::to_writer(&mut *out, &value).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(code);
    }
    for problem in &found.problems {
        writeln!(out, "{} {}", painted(style::BAD, "✗"), escape::terminal(&problem.path.to_string_lossy()))?;
        writeln!(out, "  {}", escape::terminal(&problem.what))?;
    }
    let mut text = format!("{} and {} are sound", units::count(found.runs, "run"), units::count(found.sound, "file"));
    if !found.problems.is_empty() {
        text = format!("{}, {} are sound", units::count(found.problems.len(), "problem"), units::count(found.sound, "file"));
    }
    if found.unfinished > 0 {
        text += &format!("; {} not recorded to the end: record the log again", units::count(found.unfinished, "run"));
    }
    if found.abandoned > 0 {
        text += &format!("; {} of writers that were killed, which nobody reads", units::count(found.abandoned, "file"));
    }
    writeln!(out, "{text}")?;
    Ok(code)
}

fn remove(history: &History, args: &HistoryArgs, rm: &RmArgs, out: &mut Out) -> Result<u8, CliError> {
    let now = jiff::Timestamp::now();
    let until = crate::times::ago(&rm.older_than, now).ok_or_else(|| CliError::Usage {
        what: format!("--older-than {:?} is no length of time", rm.older_than),
        hint: "for example 90d, 12w or 36h",
    })?;
    let selection = Selection { until: Some(until), ..args.selection(None)? };
    let doomed = history.read_runs(&selection).map_err(unusable)?;
    let of = |runs: usize| format!("{} from before {}", units::count(runs, "run"), until.strftime("%Y-%m-%d %H:%M UTC"));
    if doomed.is_empty() {
        if !rm.dry_run {
            // What an earlier removal began and did not end is no run any more, and goes.
            history.remove(&selection).map_err(unusable)?;
        }
        writeln!(out, "nothing to remove: no run is that old")?;
    } else if rm.yes {
        let removed = history.remove(&selection).map_err(unusable)?;
        writeln!(out, "removed {}", of(removed.len()))?;
    } else if rm.dry_run {
        writeln!(out, "would remove {}, the first {}, the last {}", of(doomed.len()), doomed[0].run, doomed[doomed.len() - 1].run)?;
    } else {
        let what = format!("{} would be removed for good", of(doomed.len()));
        return Err(CliError::Usage { what, hint: "say --yes to remove them, --dry-run to see them" });
    }
    Ok(exit_code::SUCCESS)
}
