use std::sync::atomic::{AtomicBool, Ordering};

use super::super::rows::RunRows;
use super::super::store::tests::{record, rows};
use super::*;

const ALL: Selection = Selection { project: None, since: None, until: None, branch: None };

fn many(history: &History, from: i64, to: i64) -> Vec<RunRows> {
    let all: Vec<RunRows> = (from..to).map(|number| rows(&format!("run{number}"), number * 60)).collect();
    assert!(all.iter().all(|rows| record(history, rows)));
    all
}

fn ids(history: &History) -> Vec<String> {
    history.read_runs(&ALL).unwrap().into_iter().map(|run| run.run).collect()
}

fn directory(history: &History, table: Table) -> PathBuf {
    Partition::of("a/b.c", rows("x", 1).run.at).directory(history.root(), table)
}

#[test]
fn a_fold_changes_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    many(&history, 0, 12);
    let answers = |history: &History| {
        let questions = (history.read_runs(&ALL).unwrap(), history.read_builds(&ALL).unwrap(), history.read_steps(&ALL).unwrap());
        (questions, history.rollup(&ALL).unwrap(), history.rollup_builds(&ALL).unwrap(), history.earlier_steps(3).unwrap())
    };
    let before = answers(&history);
    assert_eq!(before.3.len(), 3);
    assert_eq!(before.1[0].count, 12);
    assert_eq!(history.compact(&ALL).unwrap(), Fold { runs: 12, files_before: 36, files_after: 3, busy: 0 });
    assert_eq!(answers(&history), before);
    // With the sums that the fold stored, and without them.
    let sums = dir.path().join("weeks/project=a%2Fb.c/month=2026-11");
    assert_eq!(files::list(&sums).folded.len(), 1);
    fs::remove_dir_all(&sums).unwrap();
    assert_eq!(answers(&history), before);
    assert_eq!(history.compact(&ALL).unwrap(), Fold { runs: 12, files_before: 3, files_after: 3, busy: 0 });
    // What was folded is known: the same run again is no new one.
    assert!(!record(&history, &rows("run3", 180)));
    many(&history, 12, 20);
    assert_eq!(ids(&history).len(), 20);
    history.compact(&ALL).unwrap();
    assert_eq!(ids(&history).len(), 20);
    assert_eq!(history.read_steps(&ALL).unwrap().len(), 20);
    // One more beside the stored sums; the sums of the file that is gone are gone too.
    many(&history, 20, 21);
    assert_eq!(files::list(&sums).folded.len(), 1);
    assert_eq!(history.rollup(&ALL).unwrap()[0].count, 21);
    let since = Selection { since: Some(rows("x", 60).run.at), ..ALL };
    assert_eq!(history.rollup(&since).unwrap()[0].count, 20);
    assert_eq!(history.problems(), [""; 0]);
}

/// A fold that is killed between its steps: after the file was published, after the generation changed, amid the removals.
#[test]
fn a_fold_that_was_killed_loses_nothing_and_doubles_nothing() {
    for removed in [None, Some(0), Some(5), Some(12)] {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path(), "a/b.c");
        many(&history, 0, 12);
        let whole = history.run_ids(&Partition::of("a/b.c", rows("x", 1).run.at)).unwrap();
        for table in Table::ALL {
            let directory = directory(&history, table);
            let (frame, superfluous) = history.gather(&files::list(&directory), &whole, LARGEST_REWRITTEN).unwrap();
            files::publish(&directory.join("month-1-1.parquet"), &mut frame.unwrap()).unwrap();
            if let Some(removed) = removed {
                files::set_generation(&directory, "month-1-1").unwrap();
                superfluous.iter().take(removed).for_each(|path| fs::remove_file(path).unwrap());
            }
        }
        for _ in 0..2 {
            assert_eq!(ids(&history).len(), 12, "{removed:?}");
            assert_eq!(history.read_steps(&ALL).unwrap().len(), 12);
            assert_eq!(history.rollup(&ALL).unwrap()[0].count, 12);
            history.compact(&ALL).unwrap();
            assert_eq!(files::list(&directory(&history, Table::Steps)).single, []);
        }
    }
}

#[test]
fn readers_see_every_run_once_while_two_fold_and_one_records() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    many(&history, 0, 30);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (root, done) = (dir.path(), &done);
        for _ in 0..2 {
            scope.spawn(move || {
                let history = History::open(root, "a/b.c");
                while !done.load(Ordering::Relaxed) {
                    history.compact(&ALL).unwrap();
                }
            });
        }
        scope.spawn(move || {
            let history = History::open(root, "a/b.c");
            for number in 30..60 {
                many(&history, number, number + 1);
            }
            done.store(true, Ordering::Relaxed);
        });
        scope.spawn(move || {
            let history = History::open(root, "a/b.c");
            let mut most = 30;
            while !done.load(Ordering::Relaxed) {
                let runs = ids(&history);
                let unique: HashSet<&String> = runs.iter().collect();
                assert_eq!(unique.len(), runs.len(), "a run is there twice");
                assert!(runs.len() >= most, "{} runs after {most}", runs.len());
                most = runs.len();
                let counted: u64 = history.rollup(&ALL).unwrap().iter().map(|week| week.count).sum();
                assert!(counted >= most as u64, "{counted} steps of {most} runs");
            }
            assert_eq!(history.problems(), [""; 0]);
        });
    });
    assert_eq!(ids(&history).len(), 60);
    history.compact(&ALL).unwrap();
    assert_eq!(ids(&history).len(), 60);
    assert_eq!(history.read_steps(&ALL).unwrap().len(), 60);
}

#[test]
fn what_is_not_whole_or_not_readable_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    many(&history, 0, 3);
    let steps = directory(&history, Table::Steps);
    let half = rows("half", 999);
    let orphan = steps.join(files::single_name(half.run.at, &half.run.run));
    files::publish(&orphan, &mut super::super::frames::steps_frame(&half).unwrap()).unwrap();
    let broken = steps.join(files::single_name(half.run.at, &rows("run1", 60).run.run));
    fs::write(&broken, "PAR1").unwrap();
    history.compact(&ALL).unwrap();
    assert!(orphan.exists());
    assert!(record(&history, &half));
    assert_eq!(history.read_steps(&ALL).unwrap().len(), 4);
}

/// Folds in passing leave larger files as they are; every run is there once, the sums of all files count, and one fold makes one file.
#[test]
fn several_folded_files_of_a_month_are_one_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    let partition = Partition::of("a/b.c", rows("x", 1).run.at);
    for part in 0..3 {
        many(&history, part * 10, part * 10 + 10);
        history.fold(&partition, 0).unwrap();
    }
    many(&history, 30, 33);
    for table in Table::ALL {
        let files = files::list(&directory(&history, table));
        assert_eq!((files.folded.len(), files.single.len()), (3, 3));
    }
    assert_eq!(files::list(&dir.path().join("weeks/project=a%2Fb.c/month=2026-11")).folded.len(), 3);
    let answers = || {
        assert_eq!((ids(&history).len(), history.read_steps(&ALL).unwrap().len()), (33, 33));
        (history.rollup(&ALL).unwrap(), history.rollup_builds(&ALL).unwrap())
    };
    let before = answers();
    assert_eq!(before.0[0].count, 33);
    fs::remove_dir_all(dir.path().join("weeks")).unwrap();
    assert_eq!(answers(), before);
    assert_eq!(history.compact(&ALL).unwrap(), Fold { runs: 33, files_before: 18, files_after: 3, busy: 0 });
    assert_eq!(answers(), before);
}
