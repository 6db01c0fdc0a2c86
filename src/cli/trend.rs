//! `bklog trend`.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{error::CliError, exit_code, times};
use crate::{
    evidence::commit::short,
    history::Selection,
    policy::Policy,
    report::{
        escape,
        text::{
            self,
            style::{BAD, painted},
        },
        trend_json, trend_markdown, trend_words,
    },
    trend::{
        analysis::{Question, Steps, Told, ToldChange, Trend},
        change_point::{Settings, detect},
        ledger::{LeftOut, Measured, Metric},
        levels::{Among, Found, regression},
        series::Series,
    },
};

/// Find since when builds take another time, by how much, and which steps and commits made it
#[derive(Debug, Args)]
pub(super) struct TrendArgs {
    /// The history's directory
    #[arg(long, value_name = "DIR", env = "BKLOG_HISTORY")]
    history: Option<PathBuf>,

    /// The project; the name of the repository's directory if not given, all where that has no runs
    #[arg(long, value_name = "NAME")]
    project: Option<String>,

    /// Of one target of bake or compose
    #[arg(long, value_name = "NAME")]
    target: Option<String>,

    /// What to look at; may be given more than once [default: all]
    #[arg(long, value_name = "METRIC")]
    metric: Vec<MetricArg>,

    /// Series of the steps whose name holds this, too, or fits it where it has a `*`
    #[arg(long, value_name = "NAME", conflicts_with = "per_step")]
    step: Option<String>,

    /// Series of all steps, too
    #[arg(long)]
    per_step: bool,

    /// Runs since this time: a day, RFC 3339, or how long ago (90d, 12h)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Runs of one branch
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,

    /// Build times kept elsewhere instead of a history: a CSV file with the columns time,commit,seconds; `-` is standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["project", "target", "metric", "step", "per_step", "since", "branch"]
    )]
    csv: Option<PathBuf>,

    /// How to write the answer
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: TrendFormat,

    /// Exit with 1 when builds have become slower and still are, or take longer than bklog.toml allows
    #[arg(long)]
    fail_on_regression: bool,

    /// Smallest factor between two levels that counts as a change, 1 or more [default: that of bklog.toml, else 1.1]
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    min_ratio: Option<f64>,

    /// Columns to fit the text into [default: those of the terminal, else 100]
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(40..))]
    width: Option<u16>,
}

/// The formats of `trend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TrendFormat {
    /// Charts of one line and sentences
    Text,
    /// For programs (schema bklog.trend/1)
    Json,
    /// For job summaries and chats
    Markdown,
}

/// The metrics of `trend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MetricArg {
    /// How long builds take
    Duration,
    /// The share of the commands that the cache answered
    CacheHits,
    /// Bytes of build context that were transferred
    Context,
    /// The share of the cache imports that worked
    Imports,
}

impl MetricArg {
    fn metric(self) -> Metric {
        match self {
            Self::Duration => Metric::Duration,
            Self::CacheHits => Metric::CacheHitRatio,
            Self::Context => Metric::ContextBytes,
            Self::Imports => Metric::ImportSuccess,
        }
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (1.0..1000.0).contains(&factor) => Ok(factor),
        _ => Err("a number from 1 on is needed, such as 1.2".to_owned()),
    }
}

/// Runs the command.
pub(super) fn run(args: &TrendArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let policy = Policy::find(&std::env::current_dir().unwrap_or_default(), &crate::rules::names())?;
    let min_ratio = args.min_ratio.or(policy.trend.min_ratio).unwrap_or(Settings::default().min_ratio);
    let trend = match &args.csv {
        Some(file) => from_csv(file, min_ratio)?,
        None => from_history(args, &policy, min_ratio, color)?,
    };
    match args.format {
        TrendFormat::Text => {
            let width = args.width.map_or_else(|| super::terminal_width(&console::Term::stdout()), usize::from);
            let mut out = BufWriter::new(anstream::AutoStream::new(io::stdout().lock(), color));
            text::trend::write(&trend, width, &mut out)?;
            out.flush()?;
        }
        TrendFormat::Json => written(&trend, trend_json::write)?,
        TrendFormat::Markdown => written(&trend, trend_markdown::write)?,
    }
    if !args.fail_on_regression || !trend.is_bad() {
        return Ok(exit_code::SUCCESS);
    }
    let (what, hint) = failure(&trend);
    let mut err = anstream::AutoStream::new(io::stderr().lock(), color);
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(err, "{} {}\n  hint: {}", painted(BAD, "error:"), escape::terminal(&what), escape::terminal(&hint));
    Ok(exit_code::FINDINGS)
}

/// Why the gate fails, and what can be done.
fn failure(trend: &Trend) -> (String, String) {
    let Some((told, change)) = trend.regressions().next() else {
        let what = "builds take longer than bklog.toml allows".to_owned();
        return (what, "mend it, or raise the budget in [trend.budget]".to_owned());
    };
    let of = told.measured.step.as_deref().or(told.measured.target.as_deref());
    let subject = of.map_or_else(|| "builds are".to_owned(), |of| format!("{of} is"));
    let what = format!("{subject} slower {}", trend_words::since(&told.measured, change));
    let point = told.measured.series.points().get(change.found.change.index);
    let place = point.and_then(|point| point.commit.as_deref().map(short).or(point.run.as_deref()));
    let accept = place.map_or_else(String::new, |place| {
        format!("; if it is meant to be so, accept it in bklog.toml: [[trend.accept]] since = {place:?}")
    });
    (what, format!("the steps and commits above made it{accept}"))
}

fn written(trend: &Trend, write: fn(&Trend, &mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
    let mut out = BufWriter::new(io::stdout().lock());
    write(trend, &mut out)?;
    Ok(out.flush()?)
}

/// A series of build times kept elsewhere. Nothing is known of its steps.
fn from_csv(file: &Path, min_ratio: f64) -> Result<Trend, CliError> {
    let name = file.to_string_lossy().into_owned();
    let unreadable = |cause: &dyn std::fmt::Display| CliError::Series { name: name.clone(), cause: cause.to_string() };
    let series = if name == "-" {
        Series::from_csv(io::stdin().lock())
    } else {
        Series::from_csv(File::open(file).map_err(|cause| unreadable(&cause))?)
    };
    let series = series.map_err(|cause| unreadable(&cause))?;
    let found: Vec<Found> = detect(&series, &Settings { min_ratio, ..Settings::default() })
        .into_iter()
        .map(|change| Found { change, among: Among::All })
        .collect();
    let regression = regression(&found, &|_| false, min_ratio).and_then(|worst| found.iter().position(|found| found == worst));
    let measured = Measured {
        project: file.file_stem().map_or_else(|| name.clone(), |stem| stem.to_string_lossy().into_owned()),
        target: None,
        step: None,
        metric: Metric::Duration,
        ran: vec![true; series.points().len()],
        series,
        left_out: LeftOut::default(),
    };
    let changes = found
        .into_iter()
        .map(|found| ToldChange { found, attribution: Default::default(), sign_runs: Vec::new(), accepted: None })
        .collect();
    Ok(Trend { series: vec![Told { measured, changes, regression }], ..Trend::default() })
}

/// Asks the history.
fn from_history(args: &TrendArgs, policy: &Policy, min_ratio: f64, color: anstream::ColorChoice) -> Result<Trend, CliError> {
    let question = Question {
        target: args.target.clone(),
        metrics: if args.metric.is_empty() { Metric::ALL.to_vec() } else { args.metric.iter().map(|metric| metric.metric()).collect() },
        steps: match &args.step {
            Some(name) => Steps::Named(name.clone()),
            None if args.per_step => Steps::All,
            None => Steps::None,
        },
        min_ratio,
    };
    let since = args.since.as_deref().map(|text| times::ago_or_time("--since", text, jiff::Timestamp::now())).transpose()?;
    let selection = Selection { project: args.project.clone(), since, until: None, branch: args.branch.clone() };
    answer(args.history.as_deref(), selection, &question, policy, color)
}

#[cfg(not(feature = "history"))]
fn answer(_: Option<&Path>, _: Selection, _: &Question, _: &Policy, _: anstream::ColorChoice) -> Result<Trend, CliError> {
    let hint = "give build times as --csv FILE, or use a bklog with the feature `history`";
    Err(CliError::Usage { what: "this bklog was built without the history".to_owned(), hint })
}

/// Answers the question from the history in a directory. `wanted` names the project where the user did.
#[cfg(feature = "history")]
fn answer(
    history: Option<&Path>,
    wanted: Selection,
    question: &Question,
    policy: &Policy,
    color: anstream::ColorChoice,
) -> Result<Trend, CliError> {
    use super::ledger;
    use crate::{
        history::{History, HistoryError},
        trend::{
            analysis::analyse,
            ledger::{recorded, targets},
        },
    };

    let root = ledger::root(history, policy)?;
    let project = ledger::project(wanted.project.as_deref(), &std::env::current_dir().unwrap_or_default());
    let history = History::open(&root, &project);
    let failed = |error: HistoryError| CliError::History(error.to_string());
    let mut selection = Selection { project: Some(project.clone()), ..wanted.clone() };
    let mut runs = history.read_runs(&selection).map_err(failed)?;
    if runs.is_empty() {
        let mut known: Vec<String> = history.read_runs(&Selection::default()).map_err(failed)?.into_iter().map(|run| run.project).collect();
        known.sort_unstable();
        known.dedup();
        if known.is_empty() {
            return Err(CliError::NothingRecorded(root));
        }
        if known.contains(&project) {
            return Err(CliError::NoSuchRuns { project });
        }
        if wanted.project.is_some() {
            return Err(CliError::UnknownProject { name: project, known: known.join(", ") });
        }
        // The directory is no project of the history: then all of them are meant.
        selection.project = None;
        runs = history.read_runs(&selection).map_err(failed)?;
        if runs.is_empty() {
            return Err(CliError::NoSuchRuns { project: known.join(", ") });
        }
    }
    let runs = recorded(runs, history.read_builds(&selection).map_err(failed)?);
    if let Some(target) = &question.target {
        let known = targets(&runs);
        if !known.contains(target.as_str()) {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(CliError::UnknownTarget { name: target.clone(), known });
        }
    }
    let trend = analyse(runs, question, &policy.trend, |since, until| {
        history.read_steps(&Selection { since: Some(since), until: Some(until), ..selection.clone() }).map_err(failed)
    })?;
    if let Steps::Named(name) = &question.steps
        && trend.series.iter().all(|told| told.measured.step.is_none())
    {
        return Err(CliError::Usage { what: format!("no step that ran holds {name:?}"), hint: "--per-step shows them all" });
    }
    let mut err = anstream::AutoStream::new(io::stderr().lock(), color);
    for problem in history.problems() {
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(err, "warning: {}", escape::terminal(&problem));
    }
    Ok(trend)
}
