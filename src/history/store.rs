//! The ledger: runs are recorded whole or not at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::files::{self, Partition, Table, publish, publish_large};
use super::fold::{ROW_GROUP, together};
use super::frames::{builds_frame, run_frame, steps_frame};
use super::past::Judged;
use super::rows::{RunRow, RunRows, Selection};
use crate::freshness::SyncRecord;

/// The version of the schema that this program writes. Later versions only add columns.
pub const SCHEMA_VERSION: i32 = 1;

/// Files of one partition that are tried at most before something is held for not recorded.
pub(super) const MAX_TRIED: usize = 64;

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The directory or a file in it cannot be read or written.
    #[error("the history {path} cannot be used: {cause}")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file is not what the ledger holds.
    #[error("{path} in the history cannot be read and is left out: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What polars says.
        message: String,
    },
    /// A newer program wrote it.
    #[error("{path} was written by a newer bklog (schema {found}, this one knows {SCHEMA_VERSION}): update bklog; nothing was changed")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
    },
    /// The rows cannot be made into a file.
    #[error("the run cannot be recorded: {0}")]
    Encode(String),
}

/// How sure the time of a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The log or the caller says when the build began: the same log at another time is another run.
    Known,
    /// Taken from the file or the clock: the same log is the same run, whatever the time.
    Guessed,
}

/// What became of a run that was to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is in the ledger now.
    New,
    /// It was there before, under this id.
    Before(String),
}

/// A ledger in a directory.
#[derive(Debug)]
pub struct History {
    root: PathBuf,
    project: String,
    /// What could not be read, for the user.
    problems: Mutex<Vec<String>>,
    /// The run that is judged by it.
    pub(super) judged: Option<Judged>,
}

impl History {
    /// Opens the ledger in a directory, which need not be there yet, for one project.
    pub fn open(root: &Path, project: &str) -> Self {
        Self { root: root.to_owned(), project: project.to_owned(), problems: Mutex::default(), judged: None }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The project that is recorded for and judged by.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The projects that have runs, by name.
    pub fn projects(&self) -> Vec<String> {
        let mut projects: Vec<String> =
            files::partitions(&self.root, Table::Runs, &Selection::default()).into_iter().map(|partition| partition.project).collect();
        projects.dedup();
        projects
    }

    /// What could not be read so far.
    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what could not be read, once.
    pub(super) fn note(&self, error: &HistoryError) {
        let text = error.to_string();
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if !problems.contains(&text) {
            problems.push(text);
        }
    }

    /// Records a run, with the builder's copies of its contexts where they are known. A run that is recorded already stays as it is.
    ///
    /// # Errors
    /// The directory cannot be written; another, newer program owns the ledger.
    pub fn record(&self, rows: &RunRows, syncs: &[SyncRecord], clock: Clock) -> Result<Recorded, HistoryError> {
        if let Some(before) = self.same_run(&rows.run, clock)? {
            return Ok(Recorded::Before(before));
        }
        // A program must not write beside one that knows more.
        self.newest_run()?;
        let run = &rows.run;
        let partition = Partition::of(&run.project, run.at);
        let file = files::single_name(run.at, &run.run);
        let recorded_at = Timestamp::now();
        self.record_contexts(run, syncs, recorded_at)?;
        publish(&partition.directory(&self.root, Table::Steps).join(&file), &mut steps_frame(rows)?)?;
        publish(&partition.directory(&self.root, Table::Builds).join(&file), &mut builds_frame(rows)?)?;
        let new = publish(&partition.directory(&self.root, Table::Runs).join(&file), &mut run_frame(run, recorded_at)?)?;
        Ok(if new { Recorded::New } else { Recorded::Before(run.run.clone()) })
    }

    /// Writes many runs at once, as one folded file a month and table: for benchmarks and tests of large ledgers. Unlike
    /// [`History::record`] it does not look for what is there, and a kill leaves the steps of runs that are not there.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn seed(&self, runs: &[RunRows]) -> Result<(), HistoryError> {
        let mut months: BTreeMap<Partition, Vec<&RunRows>> = BTreeMap::new();
        for rows in runs {
            months.entry(Partition::of(&rows.run.project, rows.run.at)).or_default().push(rows);
        }
        let now = Timestamp::now();
        for (partition, runs) in months {
            let name = format!("{}.parquet", files::folded_name(now));
            for table in Table::ALL {
                let frames = runs.iter().map(|rows| match table {
                    Table::Steps => steps_frame(rows),
                    Table::Builds => builds_frame(rows),
                    Table::Runs => run_frame(&rows.run, now),
                });
                let mut all = together(frames.collect::<Result<Vec<_>, _>>()?)?;
                let path = partition.directory(&self.root, table).join(&name);
                publish_large(&path, &mut all, ROW_GROUP)?;
                if table == Table::Steps {
                    self.store_sums(&partition, &path, &all);
                }
            }
        }
        Ok(())
    }

    /// The recorded run that came from the same log, if there is one.
    fn same_run(&self, run: &RunRow, clock: Clock) -> Result<Option<String>, HistoryError> {
        let selection = match clock {
            Clock::Known => {
                Selection { project: Some(run.project.clone()), since: Some(run.at), until: Some(run.at), ..Selection::default() }
            }
            Clock::Guessed => Selection { project: Some(run.project.clone()), ..Selection::default() },
        };
        let time = |id: &str| id.split('-').next().map(str::to_owned);
        for partition in files::partitions(&self.root, Table::Runs, &selection) {
            for other in self.run_ids(&partition)? {
                let same_log = log_of(&other) == log_of(&run.run);
                let (one, two) = (commit_of(&other), commit_of(&run.run));
                let same_commit = one == two || one == Some("none") || two == Some("none");
                if same_log && if clock == Clock::Known { time(&other) == time(&run.run) } else { same_commit } {
                    return Ok(Some(other));
                }
            }
        }
        Ok(None)
    }
}

/// The part of a run's id that stands for the content of its log.
pub(super) fn log_of(run: &str) -> Option<&str> {
    run.rsplit('-').next()
}

/// The part of a run's id that stands for the commit; `none` where none is known.
fn commit_of(run: &str) -> Option<&str> {
    run.rsplit('-').nth(1)
}

#[cfg(test)]
#[path = "store_tests.rs"]
pub(super) mod tests;
