//! The weekly roll-up: counts and sums, month by month, so that memory stays small whatever the size of the ledger.
//!
//! Every row carries its week and the bucket of its duration, so that a roll-up adds numbers and nothing else; percentiles come from the
//! histograms. Months are counted side by side. Any other engine can do the same with the SQL of `docs/history.md`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use polars::prelude::DataFrame;

use super::files::{self, Partition, Table};
use super::read::run_set;
use super::rows::{Selection, bucket_seconds};
use super::tally::{Counted, Tally};
use super::{History, HistoryError};
use crate::workers;

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
        let mut projects: BTreeMap<String, BTreeMap<Key, WeekRow>> = BTreeMap::new();
        workers::each(
            &partitions,
            |partition| self.roll_month(table, partition, selection),
            |at, month| -> Result<(), HistoryError> {
                let weeks = projects.entry(partitions[at].project.clone()).or_default();
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
                Ok(())
            },
        )?;
        Ok(projects.into_values().flat_map(BTreeMap::into_values).collect())
    }

    fn roll_month(&self, table: Table, partition: &Partition, selection: &Selection) -> Result<Vec<WeekRow>, HistoryError> {
        let is_all = covers(selection, &partition.month);
        let selection = if is_all { &EVERYTHING } else { selection };
        let removed = self.removed(partition)?;
        // What a fold has summed up already need not be summed up again, unless runs in it are being removed.
        let has_sums = table == Table::Steps && is_all && removed.is_empty();
        let tally = self.settled(&partition.directory(self.root(), table), |files| {
            let mut tally = Tally::default();
            let unfinished = self.unfinished(table, partition, files)?;
            let mut seen = removed.clone();
            for (number, path) in files.folded.iter().enumerate() {
                let is_last = files.single.is_empty() && number + 1 == files.folded.len();
                // The runs of a file are of interest where others can hold them too.
                let runs = if is_last { None } else { self.readable(path, Some(&["run"]))?.map(|frame| run_set(&frame)) };
                let is_alone = seen.is_empty() || runs.as_ref().is_some_and(|runs| runs.is_disjoint(&seen));
                if !(is_alone && has_sums && self.count_sums(partition, path, &mut tally)?) {
                    self.count(path, table, selection, &seen, &mut tally)?;
                }
                seen.extend(runs.into_iter().flatten());
            }
            for (path, run) in &files.single {
                if !seen.contains(run) && !unfinished.contains(run) {
                    self.count(path, table, selection, &HashSet::new(), &mut tally)?;
                }
            }
            Ok(tally)
        })?;
        Ok(tally.weeks(&partition.project))
    }

    /// Counts the rows of a file but those of the runs `seen`. One that is damaged is noted.
    fn count(
        &self,
        path: &Path,
        table: Table,
        selection: &Selection,
        seen: &HashSet<String>,
        tally: &mut Tally,
    ) -> Result<(), HistoryError> {
        let read = tally.add_file(path, Counted::Rows(table), selection, seen);
        self.noted_unless_newer(read).map(|_| ())
    }

    /// Counts the stored sums of a folded file; false where there are none.
    fn count_sums(&self, partition: &Partition, folded: &Path, tally: &mut Tally) -> Result<bool, HistoryError> {
        let Some(path) = sums_path(self.root(), partition, folded) else { return Ok(false) };
        match tally.add_file(&path, Counted::Sums, &EVERYTHING, &HashSet::new()) {
            Err(newer @ HistoryError::Newer { .. }) => Err(newer),
            // They are made from the rows again; `verify` names those that are broken.
            read => Ok(read.unwrap_or_default()),
        }
    }
}

const EVERYTHING: Selection = Selection { project: None, since: None, until: None, branch: None };

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
    /// Stores the sums of a folded file of steps. Without them it only takes longer.
    pub(super) fn store_sums(&self, partition: &Partition, folded: &Path, steps: &DataFrame) {
        let Some(path) = sums_path(self.root(), partition, folded) else { return };
        let mut tally = Tally::default();
        tally.add_frame(steps, Counted::Rows(Table::Steps), &EVERYTHING, &HashSet::new());
        if let Err(error) = tally.sums().and_then(|mut sums| files::publish(&path, &mut sums)) {
            self.note(&error);
        }
    }
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
