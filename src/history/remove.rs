//! Removing old runs, for good.

use std::collections::HashSet;
use std::fs;

use jiff::Timestamp;

use super::files::{self, Table};
use super::fold::lock;
use super::read::without;
use super::rows::{RunRow, Selection};
use super::{History, HistoryError};

impl History {
    /// Removes the runs of a selection, in all tables; `selection.branch` is not heeded. Gives those that were removed.
    ///
    /// The runs table comes first: a run that is not in it is not there for readers, so that a removal that is killed leaves no run
    /// half there, and doing it again completes it.
    ///
    /// # Errors
    /// A directory that cannot be written, a file of a newer program, or another process that folds.
    pub fn remove(&self, selection: &Selection) -> Result<Vec<RunRow>, HistoryError> {
        let selection = Selection { branch: None, ..selection.clone() };
        let doomed = self.read_runs(&selection)?;
        let ids: HashSet<String> = doomed.iter().map(|run| run.run.clone()).collect();
        for table in [Table::Runs, Table::Builds, Table::Steps] {
            for partition in files::partitions(self.root(), table, &selection) {
                self.remove_from(&partition.directory(self.root(), table), &ids)?;
                if table == Table::Steps {
                    self.remove_sums(&partition);
                }
            }
        }
        self.remove_contexts(&ids);
        Ok(doomed)
    }

    fn remove_from(&self, directory: &std::path::Path, doomed: &HashSet<String>) -> Result<(), HistoryError> {
        let unusable = |path: &std::path::Path| {
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
                files::publish_large(&directory.join(format!("{name}.parquet")), &mut kept, super::fold::ROW_GROUP)?;
                files::set_generation(directory, &name)?;
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
        for table in ["contexts", "images"] {
            for key in files::names(&self.root().join(table)) {
                let directory = self.root().join(table).join(key);
                for (path, run) in files::list(&directory).single {
                    // The names of these files have the time of recording in front of the run.
                    if run.split_once('-').is_some_and(|(_, run)| doomed.contains(run)) {
                        let _ = fs::remove_file(path);
                    }
                }
            }
        }
    }
}
