//! Questions to the ledger: partition by partition, and of those only the months and projects that are asked for.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::mpsc;

use jiff::Timestamp;
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

    /// Gives the steps of the runs of a selection month by month, within each in the order of their runs' times: a year of them fits into
    /// little memory.
    ///
    /// # Errors
    /// As [`History::read_runs`].
    pub fn each_steps(&self, selection: &Selection, mut each: impl FnMut(&[StepRow])) -> Result<(), HistoryError> {
        self.months(Table::Steps, selection, |rows| each(&rows.into_iter().map(|(_, row)| row).collect::<Vec<StepRow>>()))
    }

    fn read_rows<T: Row + Send>(&self, table: Table, selection: &Selection) -> Result<Vec<T>, HistoryError> {
        let mut rows = Vec::new();
        self.months(table, selection, |month| rows.extend(month))?;
        // Stable: the rows of one run stay in the order of the log.
        rows.sort_by_key(|(at, _)| *at);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// Gives the rows of a selection month by month, in the order of projects and months. Several months are read at once, each by a thread
    /// of its own that waits until its rows are wanted.
    fn months<T: Row + Send>(
        &self,
        table: Table,
        selection: &Selection,
        mut each: impl FnMut(Vec<(Timestamp, T)>),
    ) -> Result<(), HistoryError> {
        let partitions = &files::partitions(self.root(), table, selection);
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(partitions.len());
        std::thread::scope(|scope| {
            let read: Vec<mpsc::Receiver<_>> = (0..workers)
                .map(|first| {
                    let (sender, receiver) = mpsc::sync_channel(0);
                    scope.spawn(move || {
                        for partition in partitions.iter().skip(first).step_by(workers) {
                            if sender.send(self.rows_of_month(table, partition, selection)).is_err() {
                                return;
                            }
                        }
                    });
                    receiver
                })
                .collect();
            // The months take turns, and so do the threads that read them.
            for (_, receiver) in partitions.iter().zip(read.iter().cycle()) {
                // A thread ends early only by a panic, which the scope passes on.
                let Ok(month) = receiver.recv() else { break };
                each(month?);
            }
            Ok(())
        })
    }

    /// The rows of a month that a selection wants, with their times, in the order of these.
    fn rows_of_month<T: Row>(
        &self,
        table: Table,
        partition: &Partition,
        selection: &Selection,
    ) -> Result<Vec<(Timestamp, T)>, HistoryError> {
        let mut rows = Vec::new();
        for frame in self.frames(table, partition, None)? {
            rows.extend(T::read(&frame, &partition.project, &wanted(&frame, selection)));
        }
        rows.sort_by_key(|(at, _)| *at);
        Ok(rows)
    }

    /// The rows of a partition, every run once, whatever is folded meanwhile; only of runs that were recorded to their end.
    pub(super) fn frames(&self, table: Table, partition: &Partition, columns: Option<&[&str]>) -> Result<Vec<DataFrame>, HistoryError> {
        let removed = self.removed(partition)?;
        self.settled(&partition.directory(self.root(), table), |files| {
            let mut frames = Vec::new();
            let unfinished = self.unfinished(table, partition, files)?;
            let mut seen = removed.clone();
            let alone = files.single.is_empty() && files.folded.len() == 1;
            for path in &files.folded {
                let Some(frame) = self.readable(path, columns)? else { continue };
                let frame = without(frame, &seen);
                if !alone {
                    seen.extend(run_set(&frame));
                }
                frames.push(frame);
            }
            for (path, run) in &files.single {
                if !seen.contains(run) && !unfinished.contains(run) {
                    frames.extend(self.readable(path, columns)?);
                }
            }
            Ok(frames)
        })
    }

    /// The runs with a file of their own that were not recorded to their end: those that the runs table, which is written last, does not
    /// have. What is folded is whole.
    pub(super) fn unfinished(&self, table: Table, partition: &Partition, files: &files::Files) -> Result<HashSet<String>, HistoryError> {
        if table == Table::Runs || files.single.is_empty() {
            return Ok(HashSet::new());
        }
        let mut missing: HashSet<String> = files.single.iter().map(|(_, run)| run.clone()).collect();
        for (_, run) in files::list(&partition.directory(self.root(), Table::Runs)).single {
            missing.remove(&run);
        }
        if !missing.is_empty() {
            let whole = self.run_ids(partition)?;
            missing.retain(|run| !whole.contains(run));
        }
        Ok(missing)
    }

    /// Reads a partition until it was not folded meanwhile.
    pub(super) fn settled<T>(&self, directory: &Path, read: impl Fn(&files::Files) -> Result<T, HistoryError>) -> Result<T, HistoryError> {
        let mut attempts = 0;
        loop {
            let generation = files::generation(directory);
            let result = read(&files::list(directory))?;
            attempts += 1;
            if files::generation(directory) == generation || attempts == MOST_ATTEMPTS {
                return Ok(result);
            }
        }
    }

    /// The runs of a partition that were recorded to their end.
    pub(super) fn run_ids(&self, partition: &Partition) -> Result<HashSet<String>, HistoryError> {
        self.settled(&partition.directory(self.root(), Table::Runs), |files| {
            let mut runs: HashSet<String> = files.single.iter().map(|(_, run)| run.clone()).collect();
            for path in &files.folded {
                if let Some(frame) = self.readable(path, Some(&["run"]))? {
                    runs.extend(run_set(&frame));
                }
            }
            Ok(runs)
        })
    }

    /// The last runs of the project with their steps, the last one first, at most `limit` of them. Of a judged run (see
    /// [`History::judge`]) and of later ones there are none. Only the months that are needed are read.
    ///
    /// # Errors
    /// As [`History::read_runs`].
    pub fn earlier_steps(&self, limit: usize) -> Result<Vec<(RunRow, Vec<StepRow>)>, HistoryError> {
        let selection = Selection { project: Some(self.project().to_owned()), ..Selection::default() };
        let mut earlier: Vec<(RunRow, Vec<StepRow>)> = Vec::new();
        for partition in files::partitions(self.root(), Table::Runs, &selection).iter().rev() {
            let mut runs: Vec<RunRow> = Vec::new();
            for frame in self.frames(Table::Runs, partition, None)? {
                runs.extend(RunRow::read(&frame, &partition.project, &all(&frame)).into_iter().map(|(_, run)| run));
            }
            runs.retain(|run| self.came_before(&files::stamp(run.at), &run.run));
            runs.sort_by(|a, b| (b.at, &b.run).cmp(&(a.at, &a.run)));
            runs.truncate(limit - earlier.len());
            let wanted: HashSet<String> = runs.iter().map(|run| run.run.clone()).collect();
            let mut steps = self.steps_of(partition, &wanted)?;
            earlier.extend(runs.into_iter().map(|run| {
                let steps = steps.remove(&run.run).unwrap_or_default();
                (run, steps)
            }));
            if earlier.len() >= limit {
                break;
            }
        }
        Ok(earlier)
    }

    /// The steps of some runs of a month. Files of folded runs are read only where files of single runs do not have them all.
    fn steps_of(&self, partition: &Partition, wanted: &HashSet<String>) -> Result<HashMap<String, Vec<StepRow>>, HistoryError> {
        self.settled(&partition.directory(self.root(), Table::Steps), |files| {
            let mut found: HashMap<String, Vec<StepRow>> = HashMap::new();
            let singles = files.single.iter().filter(|(_, run)| wanted.contains(run)).map(|(path, _)| path);
            for path in singles.chain(&files.folded) {
                if wanted.iter().all(|run| found.contains_key(run)) {
                    break;
                }
                let Some(frame) = self.readable(path, None)? else { continue };
                let before: HashSet<String> = found.keys().cloned().collect();
                for (_, step) in StepRow::read(&frame, &partition.project, &all(&frame)) {
                    if wanted.contains(&step.run) && !before.contains(&step.run) {
                        found.entry(step.run.clone()).or_default().push(step);
                    }
                }
            }
            Ok(found)
        })
    }

    /// Reads a file. One that is gone or damaged is `None`, and the damage is noted.
    pub(super) fn readable(&self, path: &Path, columns: Option<&[&str]>) -> Result<Option<DataFrame>, HistoryError> {
        // Duplicates are told by the run, so that column is read in any case.
        let columns = columns.map(|columns| if columns.contains(&"run") { columns.to_vec() } else { [columns, &["run"]].concat() });
        self.noted_unless_newer(files::read(path, columns.as_deref())).map(Option::flatten)
    }

    /// What was read. A damaged file is noted and gives `None`; one of a newer program is an error.
    pub(super) fn noted_unless_newer<T>(&self, read: Result<T, HistoryError>) -> Result<Option<T>, HistoryError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(newer @ HistoryError::Newer { .. }) => Err(newer),
            Err(error) => {
                self.note(&error);
                Ok(None)
            }
        }
    }
}

/// Which rows of a frame a selection wants.
pub(super) fn wanted(frame: &DataFrame, selection: &Selection) -> Vec<usize> {
    if selection.since.is_none() && selection.until.is_none() && selection.branch.is_none() {
        return all(frame);
    }
    let columns = Columns::new(frame);
    let (at, branch) = (columns.get("at"), columns.get("branch"));
    let within = |row: &usize| {
        let time = at.time(*row);
        selection.since.is_none_or(|since| time.is_some_and(|at| at >= since))
            && selection.until.is_none_or(|until| time.is_some_and(|at| at < until))
            && selection.branch.as_deref().is_none_or(|wanted| branch.text(*row) == Some(wanted))
    };
    (0..frame.height()).filter(within).collect()
}

fn all(frame: &DataFrame) -> Vec<usize> {
    (0..frame.height()).collect()
}

/// The runs that a frame has rows of.
pub(super) fn run_set(frame: &DataFrame) -> HashSet<String> {
    let run = Columns::new(frame).get("run");
    let mut set: HashSet<String> = HashSet::new();
    let mut last = "";
    for row in 0..frame.height() {
        // The rows of a run stand together: most of them need no look-up.
        if let Some(text) = run.text(row)
            && text != last
        {
            last = text;
            if !set.contains(text) {
                set.insert(text.to_owned());
            }
        }
    }
    set
}

/// The rows of a frame whose runs are not among `seen`.
pub(super) fn without(frame: DataFrame, seen: &HashSet<String>) -> DataFrame {
    if seen.is_empty() {
        return frame;
    }
    let run = Columns::new(&frame).get("run");
    let fresh: BooleanChunked = (0..frame.height()).map(|row| run.text(row).is_none_or(|run| !seen.contains(run))).collect();
    // The mask is as long as the frame, so that nothing can go wrong; if it did, a run would be there twice.
    frame.filter(&fresh).unwrap_or(frame)
}
