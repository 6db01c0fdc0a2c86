//! Questions to the ledger: partition by partition, and of those only the months and projects that are asked for.

use std::collections::HashSet;
use std::path::PathBuf;

use polars::prelude::*;

use super::files::{self, Partition, Table};
use super::frames::{Columns, Row};
use super::rows::{BuildRow, RunRow, Selection, StepRow};
use super::{History, HistoryError};

/// How often a partition is read again because it was folded meanwhile.
const MOST_ATTEMPTS: usize = 16;

impl History {
    /// The runs of a selection in the order of time. A damaged file is left out and named in [`History::problems`].
    ///
    /// # Errors
    /// A file of a newer program, which this one must not judge by.
    pub fn read_runs(&self, selection: &Selection) -> Result<Vec<RunRow>, HistoryError> {
        let mut rows: Vec<RunRow> = self.read_rows(Table::Runs, selection)?;
        rows.sort_by(|a, b| (a.at, &a.run).cmp(&(b.at, &b.run)));
        Ok(rows)
    }

    /// The builds of the runs of a selection, in the order of their runs' times.
    ///
    /// # Errors
    /// As [`History::read_runs`].
    pub fn read_builds(&self, selection: &Selection) -> Result<Vec<BuildRow>, HistoryError> {
        self.read_rows(Table::Builds, selection)
    }

    /// The steps of the runs of a selection, in the order of their runs' times.
    ///
    /// # Errors
    /// As [`History::read_runs`].
    pub fn read_steps(&self, selection: &Selection) -> Result<Vec<StepRow>, HistoryError> {
        self.read_rows(Table::Steps, selection)
    }

    fn read_rows<T: Row>(&self, table: Table, selection: &Selection) -> Result<Vec<T>, HistoryError> {
        let mut rows = Vec::new();
        for partition in files::partitions(self.root(), table, selection) {
            for frame in self.frames(table, &partition, None)? {
                rows.extend(T::read(&frame, &partition.project).into_iter().filter(|(at, branch, _)| {
                    selection.since.is_none_or(|since| *at >= since)
                        && selection.until.is_none_or(|until| *at < until)
                        && selection.branch.as_ref().is_none_or(|wanted| branch.as_ref() == Some(wanted))
                }));
            }
        }
        // Stable: the rows of one run stay in the order of the log.
        rows.sort_by_key(|(at, _, _)| *at);
        Ok(rows.into_iter().map(|(_, _, row)| row).collect())
    }

    /// The rows of a partition, every run once, whatever is folded meanwhile; only of runs that were recorded to their end.
    pub(super) fn frames(&self, table: Table, partition: &Partition, columns: Option<&[&str]>) -> Result<Vec<DataFrame>, HistoryError> {
        // The runs first: of a run that is in their table the other tables have everything.
        let whole = if table == Table::Runs { None } else { Some(self.run_ids(partition)?) };
        let directory = partition.directory(self.root(), table);
        let mut frames = Vec::new();
        for _ in 0..MOST_ATTEMPTS {
            let generation = files::generation(&directory);
            frames = self.frames_once(&files::list(&directory), whole.as_ref(), columns)?;
            if files::generation(&directory) == generation {
                break;
            }
        }
        Ok(frames)
    }

    fn frames_once(
        &self,
        files: &files::Files,
        whole: Option<&HashSet<String>>,
        columns: Option<&[&str]>,
    ) -> Result<Vec<DataFrame>, HistoryError> {
        let mut frames = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        let alone = files.single.is_empty() && files.folded.len() == 1;
        for path in &files.folded {
            let Some(mut frame) = self.readable(path, columns)? else { continue };
            if !alone {
                let runs = run_column(&frame);
                if !seen.is_empty() {
                    let fresh: BooleanChunked = runs.iter().map(|run| !seen.contains(run)).collect();
                    frame = frame.filter(&fresh).map_err(|error| damaged(path, &error))?;
                }
                seen.extend(runs);
            }
            frames.push(frame);
        }
        for (path, run) in &files.single {
            if seen.contains(run) || whole.is_some_and(|whole| !whole.contains(run)) {
                continue;
            }
            frames.extend(self.readable(path, columns)?);
        }
        Ok(frames)
    }

    /// The runs of a partition that were recorded to their end.
    pub(super) fn run_ids(&self, partition: &Partition) -> Result<HashSet<String>, HistoryError> {
        let directory = partition.directory(self.root(), Table::Runs);
        let mut runs = HashSet::new();
        for _ in 0..MOST_ATTEMPTS {
            let generation = files::generation(&directory);
            let files = files::list(&directory);
            runs = files.single.iter().map(|(_, run)| run.clone()).collect();
            for path in &files.folded {
                if let Some(frame) = self.readable(path, Some(&["run"]))? {
                    runs.extend(run_column(&frame));
                }
            }
            if files::generation(&directory) == generation {
                break;
            }
        }
        Ok(runs)
    }

    /// Reads a file. One that is gone or damaged is `None`, and the damage is noted.
    pub(super) fn readable(&self, path: &PathBuf, columns: Option<&[&str]>) -> Result<Option<DataFrame>, HistoryError> {
        // Duplicates are told by the run, so that column is read in any case.
        let columns = columns.map(|columns| if columns.contains(&"run") { columns.to_vec() } else { [columns, &["run"]].concat() });
        match files::read(path, columns.as_deref()) {
            Ok(frame) => Ok(frame),
            Err(newer @ HistoryError::Newer { .. }) => Err(newer),
            Err(error) => {
                self.note(&error);
                Ok(None)
            }
        }
    }
}

fn damaged(path: &std::path::Path, error: &PolarsError) -> HistoryError {
    HistoryError::Damaged { path: path.to_owned(), message: error.to_string() }
}

/// The runs of the rows of a frame.
pub(super) fn run_column(frame: &DataFrame) -> Vec<String> {
    let run = Columns::new(frame).get("run");
    (0..frame.height()).map(|row| run.owned(row).unwrap_or_default()).collect()
}
