//! Removing old runs, for good.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::files::{self, Partition, Table};
use super::fold::{is_abandoned, lock};
use super::read::without;
use super::rows::{RunRow, Selection};
use super::{History, HistoryError};

impl History {
    /// Removes the runs of a selection, in all tables; `selection.branch` is not heeded. Gives those that were removed.
    ///
    /// First a mark beside the runs table names the doomed. Then the runs table loses them: a run that is not in it is not there for
    /// readers. Then the other tables follow, and the mark goes. A removal that is killed leaves the mark, by which readers leave
    /// out what is still there, and by which the next removal or fold of the month completes it.
    ///
    /// # Errors
    /// A directory that cannot be written, a file of a newer program, or another process that folds.
    pub fn remove(&self, selection: &Selection) -> Result<Vec<RunRow>, HistoryError> {
        let selection = Selection { branch: None, ..selection.clone() };
        let doomed = self.read_runs(&selection)?;
        let mut months: BTreeMap<Partition, HashSet<String>> = BTreeMap::new();
        for run in &doomed {
            months.entry(Partition::of(&run.project, run.at)).or_default().insert(run.run.clone());
        }
        for (partition, ids) in &months {
            self.mark(partition, ids)?;
        }
        let partitions: BTreeSet<Partition> = files::partitions(self.root(), Table::Runs, &selection).into_iter().collect();
        for partition in partitions {
            self.remove_marked(&partition, months.get(&partition).unwrap_or(&HashSet::new()))?;
        }
        Ok(doomed)
    }

    /// Completes the removals of a month that were killed.
    pub(super) fn complete_removals(&self, partition: &Partition) -> Result<(), HistoryError> {
        self.remove_marked(partition, &HashSet::new())
    }

    /// Removes the doomed of a month, and those that a killed removal has taken out of the runs table already.
    fn remove_marked(&self, partition: &Partition, doomed: &HashSet<String>) -> Result<(), HistoryError> {
        let mut gone = self.removed(partition)?;
        gone.extend(doomed.iter().cloned());
        let marks = self.marks(partition);
        if gone.is_empty() && marks.is_empty() {
            return Ok(());
        }
        for table in [Table::Runs, Table::Builds, Table::Steps] {
            if !gone.is_empty() && partition.directory(self.root(), table).is_dir() {
                self.remove_from(partition, table, &gone)?;
            }
        }
        self.remove_sums(partition);
        self.remove_contexts(&gone);
        let left = self.run_ids(partition)?;
        for (path, ids) in marks {
            // Runs of a mark that are there: another process is about to remove them, or was killed before it began.
            if ids.is_disjoint(&left) || is_abandoned(&path) {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// The runs of a month whose removal has begun and not ended: readers leave them out. A run that was recorded again since then is
    /// none of them.
    pub(super) fn removed(&self, partition: &Partition) -> Result<HashSet<String>, HistoryError> {
        let mut removed: HashSet<String> = self.marks(partition).into_iter().flat_map(|(_, ids)| ids).collect();
        if !removed.is_empty() {
            let whole = self.run_ids(partition)?;
            removed.retain(|run| !whole.contains(run));
        }
        Ok(removed)
    }

    /// The marks of a month, with the runs that they name.
    fn marks(&self, partition: &Partition) -> Vec<(PathBuf, HashSet<String>)> {
        let directory = partition.directory(self.root(), Table::Runs);
        let marks = files::names(&directory).into_iter().filter(|name| files::is_removal(name)).map(|name| directory.join(name));
        // One that is gone meanwhile belongs to a removal that is complete.
        marks.filter_map(|path| Some((fs::read_to_string(&path).ok()?, path))).map(|(text, path)| (path, ids(&text))).collect()
    }

    fn mark(&self, partition: &Partition, doomed: &HashSet<String>) -> Result<(), HistoryError> {
        let mut lines: Vec<&str> = doomed.iter().map(String::as_str).collect();
        lines.sort_unstable();
        let name = files::removal_name(Timestamp::now());
        files::write_text(&partition.directory(self.root(), Table::Runs), &name, &lines.join("\n"))
    }

    fn remove_from(&self, partition: &Partition, table: Table, doomed: &HashSet<String>) -> Result<(), HistoryError> {
        let directory = &partition.directory(self.root(), table);
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |cause| HistoryError::Io { path, cause }
        };
        let busy = || std::io::Error::new(std::io::ErrorKind::WouldBlock, "another bklog is folding it; try again");
        let _lock = lock(directory)?.ok_or_else(|| unusable(directory)(busy()))?;
        let listed = files::list(directory);
        for path in &listed.folded {
            let Some(frame) = self.readable(path, None)? else { continue };
            let rows = frame.height();
            let mut kept = without(frame, doomed);
            if kept.height() == rows {
                continue;
            }
            if kept.height() > 0 {
                let name = files::folded_name(Timestamp::now());
                let whole = directory.join(format!("{name}.parquet"));
                files::publish_large(&whole, &mut kept, super::fold::ROW_GROUP)?;
                files::set_generation(directory, &name)?;
                if table == Table::Steps {
                    self.store_sums(partition, &whole, &kept);
                }
            }
            fs::remove_file(path).map_err(unusable(path))?;
        }
        for (path, _) in listed.single.iter().filter(|(_, run)| doomed.contains(run)) {
            fs::remove_file(path).map_err(unusable(path))?;
        }
        Ok(())
    }

    /// Removes what builders held after runs that are gone.
    fn remove_contexts(&self, doomed: &HashSet<String>) {
        if doomed.is_empty() {
            return;
        }
        for table in ["contexts", "images"] {
            for key in files::names(&self.root().join(table)) {
                let directory = self.root().join(table).join(key);
                for (path, run) in files::list(&directory).single {
                    // The names of these files have the time of recording in front of the run.
                    if run.split_once('-').is_some_and(|(_, run)| doomed.contains(run)) {
                        let _ = fs::remove_file(path);
                    }
                }
                // What the builder held goes with the last run that names it.
                if files::list(&directory).single.is_empty() {
                    let _ = fs::remove_dir_all(directory.join("trees"));
                }
            }
        }
    }
}

fn ids(text: &str) -> HashSet<String> {
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
#[path = "remove_tests.rs"]
mod tests;
