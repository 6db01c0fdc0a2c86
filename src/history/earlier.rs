//! The runs that came before the one that is judged, with their steps.

use super::files::{self, Partition, Table};
use super::frames::Row;
use super::rows::{RunRow, Selection, StepRow};
use super::{History, HistoryError};

impl History {
    /// The last runs of the project, the newest first, each with its steps; `most` at most. Of a judged run those before it.
    ///
    /// Reads no more files than that many runs need, however long the history is.
    ///
    /// # Errors
    /// A file of a newer program, which this one must not judge by.
    pub fn runs_before(&self, most: usize) -> Result<Vec<(RunRow, Vec<StepRow>)>, HistoryError> {
        let selection = Selection { project: Some(self.project().to_owned()), ..Selection::default() };
        let mut found = Vec::new();
        for partition in files::partitions(self.root(), Table::Runs, &selection).iter().rev() {
            for run in self.last_of(partition, most.saturating_sub(found.len()))? {
                let steps = self.steps_of(partition, &run)?;
                found.push((run, steps));
            }
            if found.len() >= most {
                break;
            }
        }
        Ok(found)
    }

    /// The last runs of a month.
    fn last_of(&self, partition: &Partition, most: usize) -> Result<Vec<RunRow>, HistoryError> {
        let listed = files::list(&partition.directory(self.root(), Table::Runs));
        let stamp = |path: &std::path::Path| Some(path.file_name()?.to_str()?.split('-').next()?.to_owned());
        let before = listed.single.iter().rev().filter(|(path, run)| self.came_before(&stamp(path).unwrap_or_default(), run));
        let mut rows: Vec<RunRow> = Vec::new();
        for path in before.map(|(path, _)| path).take(most).chain(&listed.folded) {
            if let Some(frame) = self.readable(path, None)? {
                rows.extend(RunRow::read(&frame, &partition.project).into_iter().map(|(_, _, row)| row));
            }
        }
        rows.retain(|row| self.came_before(&files::stamp(row.at), &row.run));
        rows.sort_by(|a, b| (b.at, &b.run).cmp(&(a.at, &a.run)));
        rows.dedup_by(|a, b| a.run == b.run);
        rows.truncate(most);
        Ok(rows)
    }

    fn steps_of(&self, partition: &Partition, run: &RunRow) -> Result<Vec<StepRow>, HistoryError> {
        let listed = files::list(&partition.directory(self.root(), Table::Steps));
        let single: Vec<_> = listed.single.into_iter().filter(|(_, id)| *id == run.run).map(|(path, _)| path).collect();
        let mut steps = Vec::new();
        for path in if single.is_empty() { listed.folded } else { single } {
            if let Some(frame) = self.readable(&path, None)? {
                let rows = StepRow::read(&frame, &partition.project).into_iter().map(|(_, _, row)| row);
                steps.extend(rows.filter(|row| row.run == run.run));
            }
            if !steps.is_empty() {
                break;
            }
        }
        Ok(steps)
    }
}
