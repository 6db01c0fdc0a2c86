//! `bklog trend`: since when builds take another time.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;
use thiserror::Error;

use crate::trend::change_point::{Change, Direction, Settings, State, detect};
use crate::trend::series::{CsvError, Series};

/// Width of the chart line, in characters.
const CHART_WIDTH: usize = 72;

/// Finds since when builds take another time
#[derive(Debug, Args)]
pub struct TrendArgs {
    /// Build times kept elsewhere: a CSV file with the columns time,commit,seconds; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub csv: PathBuf,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Exit with 1 when builds have become slower and still are
    #[arg(long)]
    pub fail_on_regression: bool,
    /// Smallest factor between two levels that counts as a change
    #[arg(long, value_name = "FACTOR", default_value_t = Settings::default().min_ratio)]
    pub min_ratio: f64,
}

/// An output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// `bklog.trend/1`.
    Json,
}

/// A series that cannot be read, or an answer that cannot be written.
#[derive(Debug, Error)]
pub enum TrendError {
    /// The file cannot be opened.
    #[error("{}: {source}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a series of builds.
    #[error("{}: {source}", .path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CsvError,
    },
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Write(#[from] io::Error),
}

/// Writes the change points of the file to `out`. Gives true when the last change made builds slower and is confirmed.
///
/// # Errors
/// See [`TrendError`].
pub fn run(args: &TrendArgs, out: &mut dyn Write) -> Result<bool, TrendError> {
    let path = args.csv.clone();
    let read = if args.csv.as_os_str() == "-" {
        Series::from_csv(io::stdin().lock())
    } else {
        match File::open(&args.csv) {
            Ok(file) => Series::from_csv(file),
            Err(source) => return Err(TrendError::Open { path, source }),
        }
    };
    let series = read.map_err(|source| TrendError::Csv { path, source })?;
    let changes = detect(
        &series,
        &Settings {
            min_ratio: args.min_ratio,
            ..Settings::default()
        },
    );
    match args.format {
        Format::Text => text(&args.csv, &series, &changes, out)?,
        Format::Json => json(&args.csv, &series, &changes, out)?,
    }
    let regressed = changes
        .last()
        .is_some_and(|c| c.direction == Direction::Slower && c.state == State::Confirmed);
    Ok(regressed)
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    series: [SeriesRecord<'a>; 1],
}

#[derive(Serialize)]
struct SeriesRecord<'a> {
    project: Option<String>,
    target: Option<&'a str>,
    metric: &'static str,
    points: Vec<PointRecord<'a>>,
    changes: Vec<ChangeRecord<'a>>,
}

#[derive(Serialize)]
struct PointRecord<'a> {
    run: Option<&'a str>,
    at: String,
    commit: Option<&'a str>,
    value: f64,
}

#[derive(Serialize)]
struct ChangeRecord<'a> {
    index: usize,
    run: Option<&'a str>,
    commit: Option<&'a str>,
    commits: Vec<String>,
    before: f64,
    after: f64,
    ratio: Option<f64>,
    p_value: f64,
    direction: Direction,
    state: State,
    steps: [(); 0],
}

fn json(path: &Path, series: &Series, changes: &[Change], out: &mut dyn Write) -> io::Result<()> {
    let points = series.points();
    let record = |change: &Change| {
        let point = points.get(change.index);
        ChangeRecord {
            index: change.index,
            run: point.and_then(|p| p.run.as_deref()),
            commit: point.and_then(|p| p.commit.as_deref()),
            commits: change.suspects(series).into_iter().collect(),
            before: change.before,
            after: change.after,
            ratio: change.ratio,
            p_value: change.p_value,
            direction: change.direction,
            state: change.state,
            steps: [],
        }
    };
    let document = Document {
        schema: "bklog.trend/1",
        series: [SeriesRecord {
            project: path
                .file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
            target: None,
            metric: "duration_seconds",
            points: points
                .iter()
                .map(|p| PointRecord {
                    run: p.run.as_deref(),
                    at: p.at.to_string(),
                    commit: p.commit.as_deref(),
                    value: p.value,
                })
                .collect(),
            changes: changes.iter().map(record).collect(),
        }],
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn text(path: &Path, series: &Series, changes: &[Change], out: &mut dyn Write) -> io::Result<()> {
    let points = series.points();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Ok(());
    };
    let day = |at: jiff::Timestamp| at.strftime("%-d %b %Y").to_string();
    writeln!(
        out,
        "{} · {} builds · {} to {}",
        path.display(),
        points.len(),
        day(first.at),
        day(last.at)
    )?;
    writeln!(out)?;
    writeln!(out, "  {}", chart(&series.values()))?;
    writeln!(out)?;
    for change in changes {
        let Some(point) = points.get(change.index) else {
            continue;
        };
        let word = match change.direction {
            Direction::Slower => "slower",
            Direction::Faster => "faster",
        };
        let state = match change.state {
            State::Suspected => "suspected",
            State::Confirmed => "confirmed",
        };
        let ratio = change
            .ratio
            .map_or_else(|| "from 0".to_owned(), |ratio| format!("×{ratio:.2}"));
        let commit = point
            .commit
            .as_deref()
            .map_or_else(String::new, |commit| format!(", commit {}", short(commit)));
        writeln!(
            out,
            "{word} {ratio:<7} {:>8} → {:<8} since build {} ({}{commit})  {state}",
            duration(change.before),
            duration(change.after),
            change.index + 1,
            point.at.strftime("%-d %b %Y %H:%M UTC"),
        )?;
        if let Some((good, bad)) = change
            .suspects(series)
            .as_deref()
            .and_then(|range| range.split_once(".."))
        {
            writeln!(
                out,
                "               suspects: git log {}..{}",
                short(good),
                short(bad)
            )?;
        }
    }
    if changes.is_empty() {
        writeln!(out, "no lasting change of level")?;
    }
    Ok(())
}

fn short(commit: &str) -> String {
    commit.chars().take(12).collect()
}

fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1}s");
    }
    // A cast of a float saturates, so no value can overflow.
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

/// The series in one line: medians of equal stretches as blocks, on a logarithmic scale from the smallest to the largest.
fn chart(values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let width = values.len().min(CHART_WIDTH);
    let heights: Vec<f64> = (0..width)
        .map(|column| {
            let stretch = column * values.len() / width..(column + 1) * values.len() / width;
            let mut sorted = values[stretch].to_vec();
            sorted.sort_unstable_by(f64::total_cmp);
            sorted[sorted.len() / 2].max(1e-3).ln()
        })
        .collect();
    let low = heights.iter().copied().fold(f64::INFINITY, f64::min);
    let span = heights.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low;
    heights
        .iter()
        .map(|height| {
            BLOCKS[(((height - low) / span.max(0.1)) * 7.0)
                .round()
                .clamp(0.0, 7.0) as usize]
        })
        .collect()
}
