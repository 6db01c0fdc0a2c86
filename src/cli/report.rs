//! `bklog report`.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use super::{error::CliError, exit_code, ledger, output_file::OutputFile, times};
use crate::{
    history::{History, HistoryError, Selection, WeekRow, rows::RunRow},
    policy::Policy,
    report::{
        escape,
        weekly::{self, Input, Seen, StepUse, Weekly, Window},
    },
    trend::{
        analysis::{Question, Steps, analyse},
        change_point::Settings,
        ledger::{Metric, recorded},
    },
};

/// How far back charts and the search for changes reach.
const CHART_DAYS: i64 = 365;
/// How far back the usual cache ratio of a step is looked for.
const USUAL_DAYS: i64 = 12 * 7;

/// Write the report of a week: what builds took, what changed since when, what to do first
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReportArgs {
    /// Where it begins: how long before its end (7d, 2w, 36h), or a date; the time of the same length before that is what it is compared with
    #[arg(long, value_name = "TIME", default_value = "7d")]
    since: String,

    /// Where it ends [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// The project; the name of the repository's directory if not given
    #[arg(long, value_name = "NAME")]
    project: Option<String>,

    /// Only builds of this branch
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,

    /// The history's directory
    #[arg(long, value_name = "DIR", env = "BKLOG_HISTORY")]
    history: Option<PathBuf>,

    /// A file, or a directory in which the files report.html, report.md and report.json are made; `-` is standard output
    #[arg(long, value_name = "FILE|DIR", default_value = "-")]
    out: PathBuf,

    /// How to write it; for a directory several, separated by commas [default: by the file's name, all for a directory, else markdown]
    #[arg(long, value_name = "FORMAT", value_delimiter = ',')]
    format: Vec<Format>,

    /// Write the charts into this directory too, as SVG and, where the program can, as PNG
    #[cfg(feature = "charts")]
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  bklog report --out report.html                  the last seven days of this repository's builds
  bklog report --since 30d --out reports/         a month, as HTML, Markdown and JSON
  bklog report --charts pictures/ --out week.md   with the charts as pictures to attach";

/// The formats of `report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One page that loads nothing, to read, mail and keep
    #[cfg(feature = "charts")]
    Html,
    /// For job summaries and chats
    Markdown,
    /// For programs (schema bklog.report/1)
    Json,
}

impl Format {
    #[cfg(feature = "charts")]
    const ALL: &[Self] = &[Self::Html, Self::Markdown, Self::Json];
    #[cfg(not(feature = "charts"))]
    const ALL: &[Self] = &[Self::Markdown, Self::Json];

    fn extension(self) -> &'static str {
        match self {
            #[cfg(feature = "charts")]
            Self::Html => "html",
            Self::Markdown => "md",
            Self::Json => "json",
        }
    }

    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        let extension = if extension == "htm" { "html" } else { &extension };
        Self::ALL.iter().copied().find(|format| format.extension() == extension)
    }

    fn write(self, report: &Weekly, out: &mut dyn Write) -> io::Result<()> {
        match self {
            #[cfg(feature = "charts")]
            Self::Html => crate::report::html::report::page(report, out),
            Self::Markdown => weekly::markdown::write(report, out),
            Self::Json => weekly::json::write(report, out),
        }
    }
}

/// Where a report goes.
#[derive(Debug, PartialEq)]
enum Place {
    Output(Format),
    Files(Vec<(Format, PathBuf)>),
}

/// Runs the command.
pub(super) fn run(args: &ReportArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let policy = Policy::find(&std::env::current_dir().unwrap_or_default(), &crate::rules::names())?;
    let until = times::time("--until", args.until.as_deref())?;
    let now = Timestamp::now();
    let window = Window::new(&args.since, until.unwrap_or(now)).map_err(|what| CliError::Usage { what, hint: "for example --since 7d" })?;
    let place = place(&args.out, &args.format)?;
    let history = History::open(&ledger::root(args.history.as_deref(), &policy)?, "");
    let report = make(args, &policy, &history, window, now)?;
    let mut err = anstream::AutoStream::new(io::stderr().lock(), color);
    for problem in history.problems() {
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(err, "warning: {}", escape::terminal(&problem));
    }
    let mut written = Vec::new();
    match place {
        Place::Output(format) => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            format.write(&report, &mut out)?;
            out.flush()?;
        }
        Place::Files(files) => {
            for (format, path) in files {
                let mut text = Vec::new();
                format.write(&report, &mut text)?;
                OutputFile::save(&path, &text)?;
                written.push(path);
            }
        }
    }
    #[cfg(feature = "charts")]
    if let Some(directory) = &args.charts {
        written.extend(charts(&report, directory)?);
    }
    if !written.is_empty() {
        let _ = writeln!(err, "{}: {}", escape::terminal(&report.project), escape::terminal(&report.headline));
        for path in written {
            let _ = writeln!(err, "  {}", escape::terminal(&path.to_string_lossy()));
        }
    }
    Ok(exit_code::SUCCESS)
}

/// Which files are written: an existing directory, or a name that ends in a slash or has no extension, gets a file for every format.
fn place(out: &Path, formats: &[Format]) -> Result<Place, CliError> {
    let several = || CliError::Usage {
        what: format!("{} holds one format", if out == Path::new("-") { "standard output".into() } else { out.to_string_lossy() }),
        hint: "give one --format, or a directory as --out",
    };
    let one = |otherwise: Format| match formats {
        [] => Ok(otherwise),
        [format] => Ok(*format),
        _ => Err(several()),
    };
    if out == Path::new("-") {
        return Ok(Place::Output(one(Format::Markdown)?));
    }
    let named_directory = out.to_string_lossy().ends_with(['/', std::path::MAIN_SEPARATOR]);
    if named_directory || out.is_dir() || out.extension().is_none() {
        let formats = if formats.is_empty() { Format::ALL } else { formats };
        return Ok(Place::Files(formats.iter().map(|format| (*format, out.join(format!("report.{}", format.extension())))).collect()));
    }
    let format = one(Format::of(out).unwrap_or(Format::ALL[0]))?;
    Ok(Place::Files(vec![(format, out.to_owned())]))
}

/// Reads what the report needs and makes it: runs and builds of the time that the charts show, steps of the window, of the one before and
/// of what lies next to a change.
fn make(args: &ReportArgs, policy: &Policy, history: &History, window: Window, now: Timestamp) -> Result<Weekly, CliError> {
    let failed = |error: HistoryError| CliError::History(error.to_string());
    let before = window.before();
    let since = window.to.checked_sub(SignedDuration::from_hours(24 * CHART_DAYS)).unwrap_or(Timestamp::MIN).min(before.from);
    let cwd = std::env::current_dir().unwrap_or_default();
    let guess = ledger::project(args.project.as_deref(), &cwd);
    let mut selection = Selection { project: Some(guess), since: Some(since), until: Some(window.to), branch: args.branch.clone() };
    let mut runs = history.read_runs(&selection).map_err(failed)?;
    if runs.is_empty() {
        (selection.project, runs) = elsewhere(args, history, &selection)?;
    }
    let project = selection.project.clone().unwrap_or_default();
    let builds = history.read_builds(&selection).map_err(failed)?;
    let runs = recorded(runs, builds);
    let read_steps = |from, to| history.read_steps(&Selection { since: Some(from), until: Some(to), ..selection.clone() }).map_err(failed);
    let mut seen = Seen::new(window);
    {
        let runs = weekly::by_id(&runs);
        let both = Selection { since: Some(before.from), until: Some(window.to), ..selection.clone() };
        history.each_steps(&both, |rows| seen.add(&runs, rows)).map_err(failed)?;
    }
    let min_ratio = policy.trend.min_ratio.unwrap_or(Settings::default().min_ratio);
    let question = Question { target: None, metrics: vec![Metric::Duration], steps: Steps::None, min_ratio };
    let told = analyse(runs.clone(), &question, &policy.trend, read_steps)?;
    let usual = usual(history, &selection, window)?;
    Ok(weekly::weekly(Input { project: &project, now, window, runs: &runs, steps: &seen, usual: &usual, told: &told.series }))
}

/// How often each step was cached in each of the last weeks.
fn usual(history: &History, selection: &Selection, window: Window) -> Result<Vec<StepUse>, CliError> {
    let since = window.to.checked_sub(SignedDuration::from_hours(24 * USUAL_DAYS)).ok();
    let weeks = history.rollup(&Selection { since, ..selection.clone() }).map_err(|error| CliError::History(error.to_string()))?;
    let used = |week: WeekRow| StepUse { target: week.target, identity: week.identity, executed: week.executed, cached: week.cached };
    Ok(weeks.into_iter().map(used).collect())
}

/// The project and its runs where the first guess had none in the time of the charts: the only project that there is, or older runs.
fn elsewhere(args: &ReportArgs, history: &History, selection: &Selection) -> Result<(Option<String>, Vec<RunRow>), CliError> {
    let failed = |error: HistoryError| CliError::History(error.to_string());
    let everything = history.read_runs(&Selection { until: selection.until, ..Selection::default() }).map_err(failed)?;
    let mut known: Vec<&str> = everything.iter().map(|run| run.project.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    let guess = selection.project.as_deref().unwrap_or_default();
    let project = match known[..] {
        [] => return Err(CliError::NothingRecorded(history.root().to_owned())),
        _ if known.contains(&guess) => guess,
        [only] if args.project.is_none() => only,
        _ => return Err(CliError::UnknownProject { name: guess.to_owned(), known: known.join(", ") }),
    };
    let project = project.to_owned();
    let of_project =
        |run: &RunRow| run.project == project && selection.branch.as_ref().is_none_or(|branch| run.branch.as_ref() == Some(branch));
    let runs = everything.into_iter().filter(of_project).collect();
    Ok((Some(project), runs))
}

/// Writes every chart of a report as SVG and as PNG, and gives the paths.
#[cfg(feature = "charts")]
fn charts(report: &Weekly, directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    use crate::report::chart::durations;
    let look = durations::Look { width: 1040, height: 400, titled: true };
    let mut written = Vec::new();
    for (number, series) in report.series.iter().enumerate() {
        let failed = |error: crate::report::chart::ChartError| CliError::Output(io::Error::other(error));
        let svg = durations::svg(&report.project, series, look).map_err(failed)?;
        let name = match &series.target {
            None => "build-time".to_owned(),
            Some(target) => {
                let plain: String = target.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(60).collect();
                format!("build-time-{number}-{plain}")
            }
        };
        let mut files = Vec::new();
        #[cfg(feature = "pictures")]
        files.push(("png", crate::report::chart::png::png(&svg).map_err(failed)?));
        files.push(("svg", svg.into_bytes()));
        for (extension, bytes) in files {
            let path = directory.join(format!("{name}.{extension}"));
            OutputFile::save(&path, &bytes)?;
            written.push(path);
        }
    }
    if written.is_empty() {
        // An empty week has no charts; a job that uploads the directory should find one all the same.
        std::fs::create_dir_all(directory).map_err(|cause| CliError::File { path: directory.to_owned(), cause })?;
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_tells_the_format() {
        let files = |out: &str, formats: &[Format]| match place(Path::new(out), formats) {
            Ok(Place::Files(files)) => files.into_iter().map(|(_, path)| path.to_string_lossy().into_owned()).collect(),
            other => vec![format!("{other:?}")],
        };
        assert_eq!(place(Path::new("-"), &[]).unwrap(), Place::Output(Format::Markdown));
        assert_eq!(place(Path::new("-"), &[Format::Json]).unwrap(), Place::Output(Format::Json));
        assert!(place(Path::new("-"), Format::ALL).is_err());
        assert_eq!(place(Path::new("a/week.md"), &[]).unwrap(), Place::Files(vec![(Format::Markdown, "a/week.md".into())]));
        assert_eq!(place(Path::new("week.html"), &[Format::Json]).unwrap(), Place::Files(vec![(Format::Json, "week.html".into())]));
        assert_eq!(files("reports/", &[Format::Json]), ["reports/report.json"]);
        assert_eq!(files("no-such-directory", &[]).len(), Format::ALL.len());
        assert!(place(Path::new("week.md"), Format::ALL).is_err());
    }
}
