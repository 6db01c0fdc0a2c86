//! The weekly roll-up: counts and sums, month by month, so that memory stays small whatever the size of the ledger.
//!
//! Every row carries its week and the bucket of its duration, so that a roll-up adds numbers and nothing else; percentiles come from the
//! histograms. Months are counted side by side. Any other engine can do the same with the SQL of `docs/history.md`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use polars::prelude::*;

use super::files::{self, Partition, Table};
use super::frames::Columns;
use super::rows::{Selection, bucket_seconds};
use super::store::SCHEMA_VERSION;
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

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.executed += other.executed;
        self.cached += other.cached;
        self.seconds += other.seconds;
        for (bucket, count) in &other.histogram {
            self.add_to_bucket(*bucket, *count);
        }
    }

    fn add_to_bucket(&mut self, bucket: i32, count: u64) {
        match self.histogram.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => self.histogram[place].1 += count,
            Err(place) => self.histogram.insert(place, (bucket, count)),
        }
    }

    /// The share of the cache among the commands that ran or were cached; `None` where there were none.
    pub fn cache_ratio(&self) -> Option<f64> {
        let all = self.executed + self.cached;
        (all > 0).then(|| self.cached as f64 / all as f64)
    }
}

/// The directory of stored sums.
pub(super) const SUMS: &str = "weeks";

/// Target, identity and week.
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
        let partitions = files::partitions(self.root(), table, selection);
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(partitions.len());
        let next = AtomicUsize::new(0);
        let (sender, months) = mpsc::sync_channel(workers.max(1));
        let mut projects: BTreeMap<String, BTreeMap<Key, WeekRow>> = BTreeMap::new();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (sender, next, partitions) = (sender.clone(), &next, &partitions);
                scope.spawn(move || {
                    while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let month = self.roll_month(table, partition, selection);
                        if sender.send((partition.project.clone(), month)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for (project, month) in months {
                let weeks = projects.entry(project).or_default();
                for row in month? {
                    let key = (row.target.clone(), row.identity.clone(), row.week.clone());
                    // A week can begin in one month and end in the next.
                    match weeks.entry(key) {
                        Entry::Vacant(place) => {
                            place.insert(row);
                        }
                        Entry::Occupied(mut place) => place.get_mut().add(&row),
                    }
                }
            }
            Ok(())
        })?;
        Ok(projects.into_values().flat_map(BTreeMap::into_values).collect())
    }

    fn roll_month(&self, table: Table, partition: &Partition, selection: &Selection) -> Result<Vec<WeekRow>, HistoryError> {
        let counted: &[&str] = match table {
            Table::Builds => &["target", "week", "duration_bucket", "seconds", "executed", "cached", "at", "branch"],
            _ => &["target", "identity", "week", "duration_bucket", "seconds", "status", "cache_hit", "at", "branch"],
        };
        let whole = self.whole_runs(table, partition)?;
        let directory = partition.directory(self.root(), table);
        let is_all = table == Table::Steps && covers(selection, &partition.month);
        let (sums, failed) = self.settled(&directory, |files| {
            let (mut sums, mut failed) = (Vec::new(), Vec::new());
            // What a fold has summed up already need not be summed up again.
            let known = files.folded.first().filter(|_| is_all).and_then(|first| self.stored_sums(partition, first));
            for piece in self.pieces(files, whole.as_ref(), counted, known.is_some())? {
                match summed(piece, table, selection) {
                    Ok(sum) => sums.push(sum),
                    Err(error) => failed.push(error.to_string()),
                }
            }
            sums.extend(known);
            Ok((sums, failed))
        })?;
        for message in failed {
            self.note(&HistoryError::Damaged { path: directory.clone(), message: files::short(&message) });
        }
        Ok(weeks_of(&sums, &partition.project))
    }
}

/// Whether a selection wants every row of a month.
fn covers(selection: &Selection, month: &str) -> bool {
    selection.branch.is_none()
        && selection.since.is_none_or(|since| files::month(since).as_str() < month)
        && selection.until.is_none_or(|until| files::month(until).as_str() > month)
}

/// The sums of a folded file of steps lie under its own name in a table of their own. Both never change, so that they agree for ever;
/// where the sums are missing they are made from the steps.
pub(super) fn sums_path(root: &Path, partition: &Partition, folded: &Path) -> Option<PathBuf> {
    let directory = partition.directory(root, Table::Steps);
    let inside = directory.strip_prefix(root.join(Table::Steps.name())).ok()?;
    Some(root.join(SUMS).join(inside).join(folded.file_name()?))
}

impl History {
    fn stored_sums(&self, partition: &Partition, folded: &Path) -> Option<DataFrame> {
        files::read(&sums_path(self.root(), partition, folded)?, None).ok().flatten()
    }

    /// Stores the sums of a folded file of steps. Without them it only takes longer.
    pub(super) fn store_sums(&self, partition: &Partition, folded: &Path, steps: &DataFrame) {
        let Some(path) = sums_path(self.root(), partition, folded) else { return };
        let stored = summed(steps.clone().lazy(), Table::Steps, &Selection::default())
            .and_then(|mut sums| {
                let version = Column::new("schema_version".into(), vec![SCHEMA_VERSION; sums.height()]);
                sums.with_column(version)?;
                Ok(sums)
            })
            .map_err(|error| HistoryError::Encode(error.to_string()))
            .and_then(|mut sums| files::publish(&path, &mut sums));
        if let Err(error) = stored {
            self.note(&error);
        }
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

/// The weeks that sums are about.
fn weeks_of(sums: &[DataFrame], project: &str) -> Vec<WeekRow> {
    let mut weeks: HashMap<(Option<&str>, &str, &str), WeekRow> = HashMap::new();
    let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default();
    let sums: Vec<Columns<'_>> = sums.iter().map(Columns::new).collect();
    for columns in &sums {
        let (target, identity, week) = (columns.get("target"), columns.get("identity"), columns.get("week"));
        let (bucket, count, seconds) = (columns.get("duration_bucket"), columns.get("count"), columns.get("seconds"));
        let (executed, cached) = (columns.get("executed"), columns.get("cached"));
        for row in 0..columns.height() {
            let key = (target.text(row), identity.text(row).unwrap_or_default(), week.text(row).unwrap_or_default());
            let entry = weeks.entry(key).or_default();
            let count = number(count.integer(row));
            entry.count += count;
            entry.executed += number(executed.integer(row));
            entry.cached += number(cached.integer(row));
            entry.seconds += seconds.double(row).unwrap_or_default();
            if let Some(bucket) = bucket.bucket(row) {
                entry.add_to_bucket(bucket, count);
            }
        }
    }
    let named = |((target, identity, week), row): ((Option<&str>, &str, &str), WeekRow)| WeekRow {
        project: project.to_owned(),
        target: target.map(str::to_owned),
        identity: identity.to_owned(),
        week: week.to_owned(),
        ..row
    };
    weeks.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::rows::duration_bucket;
    use crate::history::store::tests::{record, rows};

    #[test]
    fn percentiles_of_a_histogram() {
        let mut week = WeekRow::default();
        assert_eq!((week.percentile(0.5), week.cache_ratio()), (None, None));
        for seconds in 1..=100 {
            week.add_to_bucket(duration_bucket(f64::from(seconds)), 1);
        }
        for (p, seconds) in [(0.0, 1.0), (0.5, 50.0), (0.95, 95.0), (1.0, 100.0)] {
            let found = week.percentile(p).unwrap();
            assert!((found / seconds).log2().abs() < 1.0 / 8.0, "{p}: {found}");
        }
        assert!(week.histogram.is_sorted());
    }

    #[test]
    fn a_week_of_two_months_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path(), "a/b.c");
        // Monday 30 November and Wednesday 2 December 2026 are of one week, Monday 7 December is of the next.
        for (id, day) in [("a", 9), ("b", 11), ("c", 16)] {
            let mut rows = rows(id, day * 86_400);
            rows.run.week = crate::history::week(rows.run.at);
            rows.steps[0].seconds = Some(day as f64);
            rows.steps[0].duration_bucket = Some(duration_bucket(day as f64));
            assert!(record(&history, &rows));
        }
        let found = |selection: &Selection| -> Vec<(String, u64, u64, f64)> {
            let weeks = history.rollup(selection).unwrap();
            weeks.into_iter().map(|week| (week.week, week.count, week.cached, week.seconds)).collect()
        };
        let all = Selection::default();
        assert_eq!(found(&all), [("2026-W49".to_owned(), 2, 2, 20.0), ("2026-W50".to_owned(), 1, 1, 16.0)]);
        assert_eq!(history.rollup(&all).unwrap()[0].histogram.len(), 2);
        let since = Selection { since: Some("2026-12-01T00:00:00Z".parse().unwrap()), ..Selection::default() };
        assert_eq!(found(&since), [("2026-W49".to_owned(), 1, 1, 11.0), ("2026-W50".to_owned(), 1, 1, 16.0)]);
        let builds = history.rollup_builds(&all).unwrap();
        assert_eq!((builds.len(), builds[0].count, builds[0].cached, builds[0].percentile(0.5).is_some()), (2, 2, 2, false));
        assert_eq!(found(&Selection { branch: Some("other".to_owned()), ..all }), []);
    }
}
