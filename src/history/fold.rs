//! Folding: many small files of a month become one.
//!
//! A fold reads what is there, publishes one file with all of it, changes the partition's generation (see [`files::generation`]), and
//! only then removes what it has read. It can be killed between any two of these: what was not removed is in two files, readers take
//! each run once, and the next fold removes the rest. Two folds at once are kept apart by an advisory lock; where the file system
//! has none they make two files with the same runs, which is no harm either.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use polars::prelude::*;

use super::files::{self, Files, Partition, Table};
use super::read::{run_set, without};
use super::rollup::sums_path;
use super::rows::Selection;
use super::{History, HistoryError};

/// So many runs with files of their own (three each) may lie in a month before recording folds them.
pub const MOST_SINGLE: usize = 64;

/// So many may lie in a month that is over, which is one file otherwise.
pub const MOST_SINGLE_IN_A_PAST_MONTH: usize = 8;

/// A file of folded runs that is larger than this stays as it is; further runs are folded into another one.
const LARGEST_REWRITTEN: u64 = 64 * 1024 * 1024;

/// The same where a recorder folds the current month in passing: who records a run should not wait for those of a month.
const LARGEST_REWRITTEN_IN_PASSING: u64 = 128 * 1024;

/// Rows that readers can skip as one.
pub(super) const ROW_GROUP: usize = 250_000;

/// Temporary files that are older than this belong to nobody who still writes.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// What a fold did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fold {
    /// Runs in the months that were folded.
    pub runs: usize,
    /// Files before.
    pub files_before: usize,
    /// Files after.
    pub files_after: usize,
    /// Partitions that another process was folding.
    pub busy: usize,
}

impl Fold {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.files_before += other.files_before;
        self.files_after += other.files_after;
        self.busy += other.busy;
    }
}

impl History {
    /// Folds every month of the selection's projects that has more than one file, and removes what builders held long ago.
    ///
    /// # Errors
    /// A directory that cannot be written, or a file of a newer program.
    pub fn compact(&self, selection: &Selection) -> Result<Fold, HistoryError> {
        let mut done = Fold::default();
        for partition in files::partitions(self.root(), Table::Runs, selection) {
            done.add(self.fold(&partition, LARGEST_REWRITTEN)?);
        }
        self.prune_all()?;
        Ok(done)
    }

    /// Folds the months of this project in which too many files lie. Nothing is lost when it cannot: that is noted.
    pub fn tidy(&self) {
        let selection = Selection { project: Some(self.project().to_owned()), ..Selection::default() };
        let now = files::month(Timestamp::now());
        for partition in files::partitions(self.root(), Table::Runs, &selection) {
            let files = files::list(&partition.directory(self.root(), Table::Runs));
            let is_over = partition.month < now;
            let folds = if is_over {
                files.single.len() > MOST_SINGLE_IN_A_PAST_MONTH || files.folded.len() > 1
            } else {
                files.single.len() > MOST_SINGLE
            };
            let largest = if is_over { LARGEST_REWRITTEN } else { LARGEST_REWRITTEN_IN_PASSING };
            if folds && let Err(error) = self.fold(&partition, largest) {
                self.note(&error);
            }
        }
    }

    /// Folds one month in all tables. Files of folded runs that are larger than `largest`, in bytes, stay as they are.
    fn fold(&self, partition: &Partition, largest: u64) -> Result<Fold, HistoryError> {
        self.complete_removals(partition)?;
        let whole = self.run_ids(partition)?;
        let mut done = Fold { runs: whole.len(), ..Fold::default() };
        for table in Table::ALL {
            done.add(self.fold_table(partition, table, &whole, largest)?);
        }
        Ok(done)
    }

    fn fold_table(&self, partition: &Partition, table: Table, whole: &HashSet<String>, largest: u64) -> Result<Fold, HistoryError> {
        let directory = &partition.directory(self.root(), table);
        if !directory.is_dir() {
            return Ok(Fold::default());
        }
        let Some(_lock) = lock(directory)? else {
            return Ok(Fold { busy: 1, ..Fold::default() });
        };
        remove_abandoned(directory);
        let listed = files::list(directory);
        let before = listed.single.len() + listed.folded.len();
        let (folded, removed) = self.gather(&listed, whole, largest)?;
        if let Some(mut frame) = folded {
            let name = files::folded_name(Timestamp::now());
            let path = directory.join(format!("{name}.parquet"));
            if !files::publish_large(&path, &mut frame, ROW_GROUP)? {
                return Ok(Fold { busy: 1, ..Fold::default() });
            }
            files::set_generation(directory, &name)?;
            if table == Table::Steps {
                self.store_sums(partition, &path, &frame);
            }
        }
        for path in &removed {
            // What cannot be removed is there twice, which readers know how to read; the next fold tries again.
            let _ = fs::remove_file(path);
        }
        if table == Table::Steps {
            self.remove_sums(partition);
        }
        let listed = files::list(directory);
        Ok(Fold { files_before: before, files_after: listed.single.len() + listed.folded.len(), ..Fold::default() })
    }

    /// Removes stored sums whose file of steps is gone.
    pub(super) fn remove_sums(&self, partition: &Partition) {
        let there = files::list(&partition.directory(self.root(), Table::Steps)).folded;
        let wanted: HashSet<_> = there.iter().filter_map(|folded| sums_path(self.root(), partition, folded)).collect();
        let any = sums_path(self.root(), partition, Path::new("any"));
        let Some(directory) = any.as_deref().and_then(Path::parent) else { return };
        for path in files::list(directory).folded.into_iter().filter(|path| !wanted.contains(path)) {
            let _ = fs::remove_file(path);
        }
    }

    /// The rows that go into one file, if there is anything to fold, and the files that it makes superfluous.
    fn gather(&self, listed: &Files, whole: &HashSet<String>, largest: u64) -> Result<(Option<DataFrame>, Vec<PathBuf>), HistoryError> {
        let mut seen: HashSet<String> = HashSet::new();
        let mut frames: Vec<DataFrame> = Vec::new();
        let mut taken: Vec<PathBuf> = Vec::new();
        let mut leftover: Vec<PathBuf> = Vec::new();
        let mut rewritten = 0;
        for path in &listed.folded {
            let large = fs::metadata(path).is_ok_and(|file| file.len() > largest);
            let Some(frame) = self.readable(path, large.then_some(&["run"]))? else { continue };
            let frame = without(frame, &seen);
            seen.extend(run_set(&frame));
            if !large {
                rewritten += 1;
                frames.push(frame);
                taken.push(path.clone());
            }
        }
        for (path, run) in &listed.single {
            if seen.contains(run) {
                leftover.push(path.clone());
            } else if whole.contains(run)
                && let Some(frame) = self.readable(path, None)?
            {
                frames.push(frame);
                taken.push(path.clone());
            }
        }
        // One file that is folded already needs no fold.
        if taken.len() == rewritten && rewritten < 2 {
            return Ok((None, leftover));
        }
        taken.extend(leftover);
        Ok((Some(together(frames)?), taken))
    }
}

/// All rows in one frame, in the order of time, with every column that any of them has.
pub(super) fn together(frames: Vec<DataFrame>) -> Result<DataFrame, HistoryError> {
    let failed = |error: PolarsError| HistoryError::Encode(error.to_string());
    let mut schema: Vec<(PlSmallStr, DataType)> = Vec::new();
    for frame in &frames {
        for column in frame.columns() {
            if !schema.iter().any(|(name, _)| name == column.name()) {
                schema.push((column.name().clone(), column.dtype().clone()));
            }
        }
    }
    let mut all: Option<DataFrame> = None;
    for frame in frames {
        let columns = schema.iter().map(|(name, kind)| match frame.column(name) {
            Ok(column) => column.cast(kind).map_err(failed),
            Err(_) => Ok(Column::full_null(name.clone(), frame.height(), kind)),
        });
        let frame = super::frames::frame(columns.collect::<Result<Vec<_>, _>>()?)?;
        match &mut all {
            Some(all) => {
                all.vstack_mut_owned(frame).map_err(failed)?;
            }
            None => all = Some(frame),
        }
    }
    let mut all = all.unwrap_or_default();
    all.rechunk_mut();
    let stable = SortMultipleOptions::default().with_maintain_order(true).with_multithreaded(false);
    all.sort(["at", "run"], stable).map_err(failed)
}

/// The right to fold a partition, for as long as it is kept; `None` where somebody else has it. The system takes it back from a process
/// that is killed.
pub(super) fn lock(directory: &Path) -> Result<Option<fs::File>, HistoryError> {
    let file = lock_file(directory)?;
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        // Some file systems know no locks: two folds at once are no harm there either, see above.
        Ok(()) | Err(fs::TryLockError::Error(_)) => Ok(Some(file)),
    }
}

/// Waits for who has the lock, and keeps it from others who would, for as long as it is kept; any number share it.
pub(super) fn shared_lock(directory: &Path) -> Result<fs::File, HistoryError> {
    fs::create_dir_all(directory).map_err(|cause| HistoryError::Io { path: directory.to_owned(), cause })?;
    let file = lock_file(directory)?;
    // Some file systems know no locks.
    let _ = file.lock_shared();
    Ok(file)
}

fn lock_file(directory: &Path) -> Result<fs::File, HistoryError> {
    let path = directory.join(files::LOCK);
    let opened = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    opened.map_err(|cause| HistoryError::Io { path, cause })
}

/// Removes what killed writers left.
fn remove_abandoned(directory: &Path) {
    for name in files::names(directory) {
        let path = directory.join(&name);
        if files::is_temporary(&name) && is_abandoned(&path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether a file is so old that its writer must be gone.
pub(super) fn is_abandoned(path: &Path) -> bool {
    let changed = fs::metadata(path).and_then(|file| file.modified()).ok();
    changed.and_then(|changed| SystemTime::now().duration_since(changed).ok()).is_some_and(|age| age > ABANDONED)
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
