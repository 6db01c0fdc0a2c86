use super::super::rows::RunRows;
use super::super::store::tests::{record, record_with, rows, sync};
use super::*;

const ALL: Selection = Selection { project: None, since: None, until: None, branch: None };

/// Twelve runs, the first eight of them folded.
fn ledger(root: &Path) -> History {
    let history = History::open(root, "a/b.c");
    let all: Vec<RunRows> = (0..12).map(|number| rows(&format!("run{number}"), number * 60)).collect();
    for (number, rows) in all.iter().enumerate() {
        if number == 8 {
            history.compact(&ALL).unwrap();
        }
        record_with(&history, rows, &[sync(&format!("tree{number}"))]);
    }
    history
}

/// The first ten.
fn early() -> Selection {
    Selection { until: Some(rows("x", 10 * 60).run.at), ..ALL }
}

/// What readers see: runs, builds, steps, and steps as the roll-up counts them.
fn seen(history: &History) -> (usize, usize, usize, u64) {
    let counted = history.rollup(&ALL).unwrap().iter().map(|week| week.count).sum();
    (history.read_runs(&ALL).unwrap().len(), history.read_builds(&ALL).unwrap().len(), history.read_steps(&ALL).unwrap().len(), counted)
}

/// How many runs have rows in the files of a table.
fn kept(history: &History, table: Table) -> usize {
    let directory = Partition::of("a/b.c", rows("x", 1).run.at).directory(history.root(), table);
    let files = files::list(&directory);
    let frames = files.folded.iter().chain(files.single.iter().map(|(path, _)| path)).map(|path| files::read(path, None).unwrap().unwrap());
    let mut runs: HashSet<String> = HashSet::new();
    frames.for_each(|frame| runs.extend(super::super::read::run_set(&frame)));
    runs.len()
}

fn records(history: &History) -> usize {
    let keys = files::names(&history.root().join("contexts"));
    keys.iter().map(|key| files::list(&history.root().join("contexts").join(key)).single.len()).sum()
}

fn is_complete(history: &History) {
    assert_eq!(seen(history), (2, 2, 2, 2));
    assert_eq!(Table::ALL.map(|table| kept(history, table)), [2, 2, 2]);
    assert_eq!(records(history), 2);
    assert_eq!(history.marks(&Partition::of("a/b.c", rows("x", 1).run.at)), []);
    assert_eq!(history.verify().problems, []);
    assert_eq!(history.problems(), [""; 0]);
}

#[test]
fn what_is_removed_is_gone_from_every_table() {
    let dir = tempfile::tempdir().unwrap();
    let history = ledger(dir.path());
    assert_eq!(seen(&history), (12, 12, 12, 12));
    assert_eq!(history.remove(&early()).unwrap().len(), 10);
    is_complete(&history);
    assert_eq!(history.remove(&ALL).unwrap().len(), 2);
    assert_eq!(seen(&history), (0, 0, 0, 0));
}

/// A removal that was killed after its first tables: readers see no run of it half, and removing again, or folding, completes it.
#[test]
fn a_removal_that_was_killed_shows_no_half_run_and_can_be_completed() {
    for tables in [&[][..], &[Table::Runs], &[Table::Runs, Table::Builds], &[Table::Runs, Table::Builds, Table::Steps]] {
        for by_fold in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let history = ledger(dir.path());
            let partition = Partition::of("a/b.c", rows("x", 1).run.at);
            let doomed: HashSet<String> = history.read_runs(&early()).unwrap().into_iter().map(|run| run.run).collect();
            history.mark(&partition, &doomed).unwrap();
            for table in tables {
                history.remove_from(&partition, *table, &doomed).unwrap();
            }
            let left = if tables.is_empty() { 12 } else { 2 };
            assert_eq!(seen(&history), (left, left, left, left as u64), "{tables:?}");
            let exported = |table| history.export(table, &ALL, super::super::TextFormat::Csv, &mut Vec::new()).unwrap();
            assert_eq!((exported(Table::Builds), exported(Table::Steps)), (left as u64, left as u64));
            if by_fold && !tables.is_empty() {
                history.compact(&ALL).unwrap();
            } else {
                history.remove(&early()).unwrap();
            }
            is_complete(&history);
        }
    }
}

#[test]
fn a_run_that_is_recorded_again_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let history = ledger(dir.path());
    let partition = Partition::of("a/b.c", rows("x", 1).run.at);
    let doomed: HashSet<String> = history.read_runs(&early()).unwrap().into_iter().map(|run| run.run).collect();
    history.mark(&partition, &doomed).unwrap();
    history.remove_from(&partition, Table::Runs, &doomed).unwrap();
    assert!(record(&history, &rows("run3", 180)));
    assert_eq!(seen(&history), (3, 3, 3, 3));
    history.compact(&ALL).unwrap();
    assert_eq!(seen(&history), (3, 3, 3, 3));
    assert_eq!(kept(&history, Table::Steps), 3);
}
