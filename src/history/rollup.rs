//! The weekly roll-up: counts and sums, month by month, so that memory stays small whatever the size of the ledger.
//!
//! Every row carries its week and the bucket of its duration, so that a roll-up adds numbers and nothing else; percentiles come from the
//! histograms. Any other engine can do the same with the SQL of `docs/history.md`.

use std::collections::HashMap;

use polars::prelude::*;

use super::files::{self, Partition, Table};
use super::frames::Columns;
use super::rows::{Selection, bucket_seconds};
use super::{History, HistoryError};

/// One week of one step (or of one build or target) of a project.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WeekRow {
    /// The project.
    pub project: String,
    /// The bake or compose target.
    pub target: Option<String>,
    /// What the step is called in every run; empty for builds and targets.
    pub identity: String,
    /// The ISO week in UTC: `2026-W47`.
    pub week: String,
    /// Rows.
    pub count: u64,
    /// Steps that ran (for builds: commands that ran).
    pub executed: u64,
    /// Steps that the cache answered for certain (for builds: commands).
    pub cached: u64,
    /// Seconds of all rows that have some, summed.
    pub seconds: f64,
    /// How many durations fell into each bucket (see [`super::rows::duration_bucket`]), in the order of the buckets.
    pub histogram: Vec<(i32, u64)>,
}

impl WeekRow {
    /// The duration in seconds that a share `p` (0 to 1) of the rows does not exceed, within 4.5 %; `None` without durations.
    pub fn percentile(&self, p: f64) -> Option<f64> {
        let total: u64 = self.histogram.iter().map(|(_, count)| count).sum();
        let wanted = (p.clamp(0.0, 1.0) * total as f64).max(1.0);
        let mut sum = 0;
        for (bucket, count) in &self.histogram {
            sum += count;
            if sum as f64 >= wanted {
                return Some(bucket_seconds(*bucket));
            }
        }
        None
    }

    /// The share of the cache among the commands that ran or were cached; `None` where there were none.
    pub fn cache_ratio(&self) -> Option<f64> {
        let all = self.executed + self.cached;
        (all > 0).then(|| self.cached as f64 / all as f64)
    }
}

type Key = (Option<String>, String, String);

impl History {
    /// The weeks of the steps of a selection, by project, target, identity and week.
    ///
    /// # Errors
    /// A file of a newer program.
    pub fn rollup(&self, selection: &Selection) -> Result<Vec<WeekRow>, HistoryError> {
        self.roll(Table::Steps, selection)
    }

    /// The weeks of the builds and targets of a selection.
    ///
    /// # Errors
    /// A file of a newer program.
    pub fn rollup_builds(&self, selection: &Selection) -> Result<Vec<WeekRow>, HistoryError> {
        self.roll(Table::Builds, selection)
    }

    fn roll(&self, table: Table, selection: &Selection) -> Result<Vec<WeekRow>, HistoryError> {
        let mut rows = Vec::new();
        let mut partitions = files::partitions(self.root(), table, selection).into_iter().peekable();
        while let Some(partition) = partitions.next() {
            let mut weeks: HashMap<Key, WeekRow> = HashMap::new();
            self.roll_month(table, &partition, selection, &mut weeks)?;
            // A week can begin in one month and end in the next.
            while let Some(next) = partitions.next_if(|next| next.project == partition.project) {
                self.roll_month(table, &next, selection, &mut weeks)?;
            }
            let mut weeks: Vec<WeekRow> = weeks.into_values().collect();
            weeks.sort_by(|a, b| (&a.target, &a.identity, &a.week).cmp(&(&b.target, &b.identity, &b.week)));
            rows.extend(weeks);
        }
        Ok(rows)
    }

    fn roll_month(
        &self,
        table: Table,
        partition: &Partition,
        selection: &Selection,
        weeks: &mut HashMap<Key, WeekRow>,
    ) -> Result<(), HistoryError> {
        let counted: &[&str] = match table {
            Table::Builds => &["target", "week", "duration_bucket", "seconds", "executed", "cached", "at", "branch"],
            _ => &["target", "identity", "week", "duration_bucket", "seconds", "status", "cache_hit", "at", "branch"],
        };
        let whole = self.whole_runs(table, partition)?;
        let directory = partition.directory(self.root(), table);
        let (sums, failed) = self.settled(&directory, |files| {
            let (mut sums, mut failed) = (Vec::new(), Vec::new());
            for piece in self.pieces(files, whole.as_ref(), counted)? {
                match summed(piece, table, selection) {
                    Ok(sum) => sums.push(sum),
                    Err(error) => failed.push(error.to_string()),
                }
            }
            Ok((sums, failed))
        })?;
        for message in failed {
            self.note(&HistoryError::Damaged { path: directory.clone(), message: files::short(&message) });
        }
        for sum in &sums {
            add(sum, &partition.project, weeks);
        }
        Ok(())
    }
}

/// The sums of a piece by step, week and bucket.
fn summed(piece: LazyFrame, table: Table, selection: &Selection) -> PolarsResult<DataFrame> {
    let time = |at: jiff::Timestamp| lit(at.as_microsecond()).cast(DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)));
    let mut piece = piece;
    if let Some(since) = selection.since {
        piece = piece.filter(col("at").gt_eq(time(since)));
    }
    if let Some(until) = selection.until {
        piece = piece.filter(col("at").lt(time(until)));
    }
    if let Some(branch) = &selection.branch {
        piece = piece.filter(col("branch").eq(lit(branch.as_str())));
    }
    let sum = |name: &str| col(name).cast(DataType::Int64).sum().alias(name);
    let (keys, figures) = match table {
        Table::Builds => (vec![col("target"), col("week"), col("duration_bucket")], vec![sum("executed"), sum("cached")]),
        _ => {
            let executed = col("status").eq(lit("done")).cast(DataType::Int64).sum().alias("executed");
            let cached = col("cache_hit").cast(DataType::Int64).sum().alias("cached");
            (vec![col("target"), col("identity"), col("week"), col("duration_bucket")], vec![executed, cached])
        }
    };
    let figures = [figures, vec![len().cast(DataType::Int64).alias("count"), col("seconds").sum()]].concat();
    // A query without sinks of its own has a single result, always.
    Ok(piece.group_by(keys).agg(figures).collect_with_engine(Engine::Streaming)?.unwrap_single())
}

/// Adds the sums of one piece to the weeks.
fn add(sums: &DataFrame, project: &str, weeks: &mut HashMap<Key, WeekRow>) {
    let columns = Columns::new(sums);
    let (target, identity, week) = (columns.get("target"), columns.get("identity"), columns.get("week"));
    let (bucket, count, seconds) = (columns.get("duration_bucket"), columns.get("count"), columns.get("seconds"));
    let (executed, cached) = (columns.get("executed"), columns.get("cached"));
    let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default();
    for row in 0..sums.height() {
        let key = (target.owned(row), identity.owned(row).unwrap_or_default(), week.owned(row).unwrap_or_default());
        let entry = weeks.entry(key).or_insert_with_key(|(target, identity, week)| WeekRow {
            project: project.to_owned(),
            target: target.clone(),
            identity: identity.clone(),
            week: week.clone(),
            ..WeekRow::default()
        });
        let count = number(count.integer(row));
        entry.count += count;
        entry.executed += number(executed.integer(row));
        entry.cached += number(cached.integer(row));
        entry.seconds += seconds.double(row).unwrap_or_default();
        if let Some(bucket) = bucket.bucket(row) {
            match entry.histogram.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
                Ok(place) => entry.histogram[place].1 += count,
                Err(place) => entry.histogram.insert(place, (bucket, count)),
            }
        }
    }
}
