//! Whether every file of the ledger is what it should be.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::files::{self, Partition, Table};
use super::frames::Columns;
use super::read::run_set;
use super::rollup::SUMS;
use super::rows::Selection;
use super::{History, HistoryError};

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, from the top of the ledger.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub what: String,
}

/// What was looked at and found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// Files that are what they should be.
    pub sound: usize,
    /// Runs that are there.
    pub runs: usize,
    /// Runs whose recording did not come to its end; readers leave them out, and recording them again completes them.
    pub unfinished: usize,
    /// Files that killed writers left, which no reader looks at.
    pub abandoned: usize,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl History {
    /// Reads every file of the ledger, of all projects.
    pub fn verify(&self) -> Verification {
        let mut found = Verification::default();
        let mut pending = vec![self.root().to_owned()];
        while let Some(directory) = pending.pop() {
            let mut names = files::names(&directory);
            names.sort();
            for name in names {
                let path = directory.join(&name);
                match fs::symlink_metadata(&path) {
                    Ok(kind) if kind.is_dir() => pending.push(path),
                    Ok(_) => self.verify_file(&path, &name, &mut found),
                    // Folded meanwhile.
                    Err(_) => {}
                }
            }
        }
        for partition in files::partitions(self.root(), Table::Runs, &Selection::default()) {
            found.runs += self.run_ids(&partition).map(|runs| runs.len()).unwrap_or_default();
        }
        for partition in files::partitions(self.root(), Table::Steps, &Selection::default()) {
            let whole = self.run_ids(&partition).unwrap_or_default();
            let steps = files::list(&partition.directory(self.root(), Table::Steps));
            found.unfinished += steps.single.iter().filter(|(_, run)| !whole.contains(run)).count();
        }
        found.problems.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    fn verify_file(&self, path: &Path, name: &str, found: &mut Verification) {
        if files::is_temporary(name) {
            found.abandoned += 1;
            return;
        }
        if files::is_own_mark(name) {
            return;
        }
        match self.wrong(path, name) {
            Ok(None) => found.sound += 1,
            Ok(Some(what)) => found.problems.push(Problem { path: path.strip_prefix(self.root()).unwrap_or(path).to_owned(), what }),
            Err(_) => {}
        }
    }

    /// What is wrong with a file; the error is that it is gone.
    fn wrong(&self, path: &Path, name: &str) -> Result<Option<String>, ()> {
        let inside = path.strip_prefix(self.root()).unwrap_or(path);
        let parts: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let table = Table::ALL.into_iter().find(|table| parts.first().is_some_and(|part| part == table.name()));
        let known = table.is_some() || parts.first().is_some_and(|part| ["contexts", "images", SUMS].contains(&part.as_str()));
        if !known || !name.ends_with(".parquet") {
            return Ok(Some("bklog did not write it; move it elsewhere".to_owned()));
        }
        let frame = match files::read(path, None) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(()),
            Err(HistoryError::Newer { found, .. }) => return Ok(Some(format!("a newer bklog wrote it (schema {found}); update bklog"))),
            Err(HistoryError::Io { cause, .. }) => return Ok(Some(format!("it cannot be read: {cause}"))),
            Err(HistoryError::Damaged { message, .. }) => {
                let again = "the run can be recorded again from its log once the file is removed";
                return Ok(Some(format!("it is damaged or cut off ({message}); {again}")));
            }
            Err(other) => return Ok(Some(other.to_string())),
        };
        if table.is_none() {
            return Ok(None);
        }
        let [_, project, month, _] = parts.as_slice() else {
            return Ok(Some("it lies in the wrong directory: TABLE/project=P/month=M is the right one".to_owned()));
        };
        let (Some(project), Some(month)) = (project.strip_prefix("project="), month.strip_prefix("month=")) else {
            return Ok(Some("it lies in the wrong directory: TABLE/project=P/month=M is the right one".to_owned()));
        };
        let partition = Partition { project: files::decode(project), month: month.to_owned() };
        let at = Columns::new(&frame).get("at");
        if let Some(other) = (0..frame.height()).filter_map(|row| at.time(row)).find(|at| files::month(*at) != partition.month) {
            return Ok(Some(format!("it holds a run of {}, and lies among those of {}", files::month(other), partition.month)));
        }
        let runs: HashSet<String> = run_set(&frame);
        let own = name.strip_suffix(".parquet").and_then(|stem| stem.split_once('-')).map(|(_, run)| run.to_owned());
        // A build without steps is possible, a file with the rows of another run is not.
        if !name.starts_with(files::FOLDED_PREFIX) && runs.iter().any(|run| Some(run) != own.as_ref()) {
            return Ok(Some("it holds another run than its name says".to_owned()));
        }
        Ok(None)
    }
}
