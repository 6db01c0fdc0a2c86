//! Rows to columns and back. This is where the columns of the three tables have their names and types.
//!
//! Types are those that every engine reads: 32 and 64 bit integers, doubles, text, booleans, times in microseconds of UTC (without a
//! zone, because engines differ in what they make of one). Lists are text with a line for each element. A column that a file lacks
//! reads as `null`: files of older versions stay readable.

use jiff::Timestamp;
use polars::prelude::*;

use super::HistoryError;
use super::rows::{BuildRow, RunRow, RunRows, StepRow};
use super::store::SCHEMA_VERSION;
use crate::build::{DurationSource, Kind, Outcome, Status};
use crate::freshness::Verdict;

pub(super) fn frame(columns: Vec<Column>) -> Result<DataFrame, HistoryError> {
    DataFrame::new_infer_height(columns).map_err(|error| HistoryError::Encode(error.to_string()))
}

/// Times, as microseconds of UTC.
pub(super) fn times(name: &str, times: impl Iterator<Item = Option<Timestamp>>) -> Result<Column, HistoryError> {
    let numbers: Vec<Option<i64>> = times.map(|at| at.map(Timestamp::as_microsecond)).collect();
    Column::new(name.into(), numbers)
        .cast(&DataType::Datetime(TimeUnit::Microseconds, None))
        .map_err(|error| HistoryError::Encode(error.to_string()))
}

fn texts<'a>(name: &str, texts: impl Iterator<Item = Option<&'a str>>) -> Column {
    Column::new(name.into(), texts.collect::<Vec<_>>())
}

fn lines<'a>(name: &str, lists: impl Iterator<Item = &'a Vec<String>>) -> Column {
    Column::new(name.into(), lists.map(|list| (!list.is_empty()).then(|| list.join("\n"))).collect::<Vec<_>>())
}

fn small(name: &str, numbers: impl Iterator<Item = Option<u32>>) -> Column {
    Column::new(name.into(), numbers.map(|number| number.map(|number| i32::try_from(number).unwrap_or(i32::MAX))).collect::<Vec<_>>())
}

fn large(name: &str, numbers: impl Iterator<Item = Option<u64>>) -> Column {
    Column::new(name.into(), numbers.map(|number| number.map(|number| i64::try_from(number).unwrap_or(i64::MAX))).collect::<Vec<_>>())
}

/// The row of the runs table.
pub(super) fn run_frame(run: &RunRow, recorded_at: Timestamp) -> Result<DataFrame, HistoryError> {
    let one = |text: Option<&str>, name: &str| texts(name, std::iter::once(text));
    frame(vec![
        Column::new("schema_version".into(), [SCHEMA_VERSION]),
        one(Some(&run.run), "run"),
        times("at", std::iter::once(Some(run.at)))?,
        times("finished_at", std::iter::once(run.finished_at))?,
        times("recorded_at", std::iter::once(Some(recorded_at)))?,
        one(Some(&run.week), "week"),
        one(run.commit.as_deref(), "commit"),
        one(run.branch.as_deref(), "branch"),
        one(run.job_url.as_deref(), "job_url"),
        one(run.runner.as_deref(), "runner"),
        one(run.builder.as_deref(), "builder"),
        one(run.command.as_deref(), "command"),
        one(Some(run.outcome.name()), "outcome"),
        small("builds", std::iter::once(Some(run.builds))),
        Column::new("seconds".into(), [run.seconds]),
        one(run.duration_source.map(DurationSource::name), "duration_source"),
        Column::new("duration_bucket".into(), [run.duration_bucket]),
        lines("images", std::iter::once(&run.images)),
        one(Some(&run.bklog), "bklog"),
    ])
}

/// What rows of builds and steps repeat of their run, so that they can be asked without a join.
fn of_run(run: &RunRow, count: usize) -> Result<Vec<Column>, HistoryError> {
    Ok(vec![
        Column::new("schema_version".into(), vec![SCHEMA_VERSION; count]),
        Column::new("run".into(), vec![run.run.as_str(); count]),
        times("at", std::iter::repeat_n(Some(run.at), count))?,
        Column::new("week".into(), vec![run.week.as_str(); count]),
        Column::new("commit".into(), vec![run.commit.as_deref(); count]),
        Column::new("branch".into(), vec![run.branch.as_deref(); count]),
    ])
}

/// The rows of the builds table.
pub(super) fn builds_frame(rows: &RunRows) -> Result<DataFrame, HistoryError> {
    let builds = || rows.builds.iter();
    let mut columns = of_run(&rows.run, rows.builds.len())?;
    columns.extend([
        small("build", builds().map(|row| Some(row.build))),
        texts("target", builds().map(|row| row.target.as_deref())),
        texts("outcome", builds().map(|row| row.outcome.map(Outcome::name))),
        Column::new("seconds".into(), builds().map(|row| row.seconds).collect::<Vec<_>>()),
        texts("duration_source", builds().map(|row| row.duration_source.map(DurationSource::name))),
        Column::new("duration_bucket".into(), builds().map(|row| row.duration_bucket).collect::<Vec<_>>()),
        small("executed", builds().map(|row| Some(row.executed))),
        small("cached", builds().map(|row| Some(row.cached))),
        small("failed", builds().map(|row| Some(row.failed))),
        Column::new("executed_seconds".into(), builds().map(|row| row.executed_seconds).collect::<Vec<_>>()),
        large("context_bytes", builds().map(|row| row.context_bytes)),
        lines("cache_imports", builds().map(|row| &row.cache_imports)),
        lines("failed_imports", builds().map(|row| &row.failed_imports)),
        lines("cache_exports", builds().map(|row| &row.cache_exports)),
        Column::new("inline_cache".into(), builds().map(|row| row.inline_cache).collect::<Vec<_>>()),
        lines("bases", builds().map(|row| &row.bases)),
        lines("versions", builds().map(|row| &row.versions)),
    ]);
    frame(columns)
}

/// The rows of the steps table.
pub(super) fn steps_frame(rows: &RunRows) -> Result<DataFrame, HistoryError> {
    let steps = || rows.steps.iter();
    let mut columns = of_run(&rows.run, rows.steps.len())?;
    columns.extend([
        small("build", steps().map(|row| Some(row.build))),
        small("index", steps().map(|row| Some(row.index))),
        texts("name", steps().map(|row| Some(row.name.as_str()))),
        texts("identity", steps().map(|row| Some(row.identity.as_str()))),
        texts("kind", steps().map(|row| Some(row.kind.name()))),
        texts("target", steps().map(|row| row.target.as_deref())),
        texts("stage", steps().map(|row| row.stage.as_deref())),
        texts("platform", steps().map(|row| row.platform.as_deref())),
        small("number", steps().map(|row| row.number)),
        texts("keyword", steps().map(|row| row.keyword.as_deref())),
        texts("status", steps().map(|row| Some(row.status.name()))),
        Column::new("cache_hit".into(), steps().map(|row| row.cache_hit).collect::<Vec<_>>()),
        Column::new("seconds".into(), steps().map(|row| row.seconds).collect::<Vec<_>>()),
        Column::new("duration_bucket".into(), steps().map(|row| row.duration_bucket).collect::<Vec<_>>()),
        large("transferred_bytes", steps().map(|row| row.transferred_bytes)),
        texts("verdict", steps().map(|row| row.verdict.map(Verdict::name))),
        texts("error", steps().map(|row| row.error.as_deref())),
    ]);
    frame(columns)
}

/// Typed access to the columns of a frame; what is missing or of another type is `None` in every row.
pub(super) struct Columns<'f> {
    frame: &'f DataFrame,
}

/// The values of one column.
pub(super) enum Values<'f> {
    Text(&'f StringChunked),
    Small(&'f Int32Chunked),
    Large(&'f Int64Chunked),
    Double(&'f Float64Chunked),
    Truth(&'f BooleanChunked),
    /// Microseconds.
    Time(&'f Int64Chunked),
    Missing,
}

impl<'f> Columns<'f> {
    pub(super) fn new(frame: &'f DataFrame) -> Self {
        Self { frame }
    }

    pub(super) fn get(&self, name: &str) -> Values<'f> {
        let Ok(column) = self.frame.column(name) else { return Values::Missing };
        let values = match column.dtype() {
            DataType::String => column.str().map(Values::Text),
            DataType::Int32 => column.i32().map(Values::Small),
            DataType::Int64 => column.i64().map(Values::Large),
            DataType::Float64 => column.f64().map(Values::Double),
            DataType::Boolean => column.bool().map(Values::Truth),
            DataType::Datetime(TimeUnit::Microseconds, _) => column.datetime().map(|times| Values::Time(times.physical())),
            _ => return Values::Missing,
        };
        values.unwrap_or(Values::Missing)
    }
}

impl<'f> Values<'f> {
    pub(super) fn text(&self, row: usize) -> Option<&'f str> {
        if let Self::Text(values) = self { values.get(row) } else { None }
    }

    pub(super) fn owned(&self, row: usize) -> Option<String> {
        self.text(row).map(str::to_owned)
    }

    fn lines(&self, row: usize) -> Vec<String> {
        self.text(row).map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default()
    }

    pub(super) fn integer(&self, row: usize) -> Option<i64> {
        match self {
            Self::Small(values) => values.get(row).map(i64::from),
            Self::Large(values) | Self::Time(values) => values.get(row),
            _ => None,
        }
    }

    fn small(&self, row: usize) -> Option<u32> {
        self.integer(row).and_then(|number| u32::try_from(number).ok())
    }

    pub(super) fn bucket(&self, row: usize) -> Option<i32> {
        self.integer(row).and_then(|number| i32::try_from(number).ok())
    }

    pub(super) fn double(&self, row: usize) -> Option<f64> {
        if let Self::Double(values) = self { values.get(row) } else { None }
    }

    fn truth(&self, row: usize) -> Option<bool> {
        if let Self::Truth(values) = self { values.get(row) } else { None }
    }

    pub(super) fn time(&self, row: usize) -> Option<Timestamp> {
        if let Self::Time(values) = self { values.get(row).and_then(|at| Timestamp::from_microsecond(at).ok()) } else { None }
    }
}

/// Rows that a table holds.
pub(super) trait Row: Sized {
    /// Reads some rows of a frame, by their numbers, with their times.
    fn read(frame: &DataFrame, project: &str, rows: &[usize]) -> Vec<(Timestamp, Self)>;
}

macro_rules! read_rows {
    ($frame:ident, $rows:ident, $($column:ident),+; |$row:ident| $make:expr) => {{
        let columns = Columns::new($frame);
        let at_column = columns.get("at");
        $(let $column = columns.get(stringify!($column));)+
        $rows.iter().map(|$row| { let $row = *$row; (at_column.time($row).unwrap_or_default(), $make) }).collect()
    }};
}

impl Row for RunRow {
    fn read(frame: &DataFrame, project: &str, rows: &[usize]) -> Vec<(Timestamp, Self)> {
        read_rows!(frame, rows, run, at, finished_at, week, commit, branch, job_url, runner, builder, command, outcome, builds, seconds,
        duration_source, duration_bucket, images, bklog; |row| Self {
            run: run.owned(row).unwrap_or_default(),
            project: project.to_owned(),
            at: at.time(row).unwrap_or_default(),
            finished_at: finished_at.time(row),
            week: week.owned(row).unwrap_or_default(),
            commit: commit.owned(row),
            branch: branch.owned(row),
            job_url: job_url.owned(row),
            runner: runner.owned(row),
            builder: builder.owned(row),
            command: command.owned(row),
            outcome: outcome.text(row).and_then(Outcome::from_name).unwrap_or(Outcome::Truncated),
            builds: builds.small(row).unwrap_or_default(),
            seconds: seconds.double(row),
            duration_source: duration_source.text(row).and_then(DurationSource::from_name),
            duration_bucket: duration_bucket.bucket(row),
            images: images.lines(row),
            bklog: bklog.owned(row).unwrap_or_default(),
        })
    }
}

impl Row for BuildRow {
    fn read(frame: &DataFrame, _project: &str, rows: &[usize]) -> Vec<(Timestamp, Self)> {
        read_rows!(frame, rows, run, build, target, outcome, seconds, duration_source, duration_bucket, executed, cached, failed,
        executed_seconds, context_bytes, cache_imports, failed_imports, cache_exports, inline_cache, bases, versions; |row| Self {
            run: run.owned(row).unwrap_or_default(),
            build: build.small(row).unwrap_or_default(),
            target: target.owned(row),
            outcome: outcome.text(row).and_then(Outcome::from_name),
            seconds: seconds.double(row),
            duration_source: duration_source.text(row).and_then(DurationSource::from_name),
            duration_bucket: duration_bucket.bucket(row),
            executed: executed.small(row).unwrap_or_default(),
            cached: cached.small(row).unwrap_or_default(),
            failed: failed.small(row).unwrap_or_default(),
            executed_seconds: executed_seconds.double(row).unwrap_or_default(),
            context_bytes: context_bytes.integer(row).and_then(|bytes| u64::try_from(bytes).ok()),
            cache_imports: cache_imports.lines(row),
            failed_imports: failed_imports.lines(row),
            cache_exports: cache_exports.lines(row),
            inline_cache: inline_cache.truth(row).unwrap_or_default(),
            bases: bases.lines(row),
            versions: versions.lines(row),
        })
    }
}

impl Row for StepRow {
    fn read(frame: &DataFrame, _project: &str, rows: &[usize]) -> Vec<(Timestamp, Self)> {
        read_rows!(frame, rows, run, build, index, name, identity, kind, target, stage, platform, number, keyword, status, cache_hit, seconds,
        duration_bucket, transferred_bytes, verdict, error; |row| Self {
            run: run.owned(row).unwrap_or_default(),
            build: build.small(row).unwrap_or_default(),
            index: index.small(row).unwrap_or_default(),
            name: name.owned(row).unwrap_or_default(),
            identity: identity.owned(row).unwrap_or_default(),
            kind: kind.text(row).and_then(Kind::from_name).unwrap_or_default(),
            target: target.owned(row),
            stage: stage.owned(row),
            platform: platform.owned(row),
            number: number.small(row),
            keyword: keyword.owned(row),
            status: status.text(row).and_then(Status::from_name).unwrap_or(Status::Unfinished),
            cache_hit: cache_hit.truth(row),
            seconds: seconds.double(row),
            duration_bucket: duration_bucket.bucket(row),
            transferred_bytes: transferred_bytes.integer(row).and_then(|bytes| u64::try_from(bytes).ok()),
            verdict: verdict.text(row).and_then(Verdict::from_name),
            error: error.owned(row),
        })
    }
}
