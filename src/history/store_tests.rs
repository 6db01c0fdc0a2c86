use std::fs;
use std::rc::Rc;

use polars::prelude::Column;

use super::*;
use crate::build::{DurationSource, Kind, Outcome, Status};
use crate::evidence::context::Entry;
use crate::evidence::context::content::ContentId;
use crate::freshness::past::Past;
use crate::freshness::sync::{Held, HeldEntry, Listing, Snapshot};
use crate::freshness::verdict::{RunRef, Verdict};
use crate::history::rows::{BuildRow, StepRow};

/// A run whose id ends in `id`, at so many seconds of a day.
pub(in crate::history) fn rows(id: &str, second: i64) -> RunRows {
    let at = Timestamp::from_second(1_795_219_200 + second).unwrap();
    let run = format!("{}-none-{id}", at.strftime("%Y%m%dT%H%M%S%.3f"));
    RunRows {
        run: RunRow {
            run: run.clone(),
            project: "a/b.c".to_owned(),
            at,
            finished_at: None,
            week: "2026-W47".to_owned(),
            commit: Some(format!("commit-{id}")),
            branch: Some("main".to_owned()),
            job_url: None,
            runner: None,
            builder: None,
            command: None,
            outcome: Outcome::Succeeded,
            builds: 1,
            seconds: Some(1.5),
            duration_source: Some(DurationSource::Live),
            duration_bucket: Some(84),
            images: vec!["docker.io/library/base:latest".to_owned()],
            bklog: "0".to_owned(),
        },
        builds: vec![BuildRow {
            run: run.clone(),
            outcome: Some(Outcome::Succeeded),
            seconds: Some(1.5),
            cached: 1,
            cache_imports: vec!["a".to_owned(), "b".to_owned()],
            ..BuildRow::default()
        }],
        steps: vec![step(&run)],
    }
}

fn step(run: &str) -> StepRow {
    StepRow {
        run: run.to_owned(),
        build: 0,
        index: 7,
        name: "[2/3] COPY . .".to_owned(),
        identity: "COPY . .".to_owned(),
        kind: Kind::Instruction,
        target: None,
        stage: None,
        platform: None,
        number: Some(2),
        keyword: Some("COPY".to_owned()),
        status: Status::Cached,
        cache_hit: Some(true),
        seconds: None,
        duration_bucket: None,
        transferred_bytes: None,
        verdict: Some(Verdict::Fresh),
        error: None,
    }
}

pub(in crate::history) fn record(history: &History, rows: &RunRows) -> bool {
    history.record(rows, &[], Clock::Known).unwrap() == Recorded::New
}

pub(in crate::history) fn record_with(history: &History, rows: &RunRows, syncs: &[SyncRecord]) {
    assert_eq!(history.record(rows, syncs, Clock::Known).unwrap(), Recorded::New);
}

fn only_file(history: &History) -> PathBuf {
    files::list(&Partition::of("a/b.c", rows("one", 1).run.at).directory(history.root(), Table::Runs)).single.remove(0).0
}

fn read(path: &Path) -> polars::prelude::DataFrame {
    files::read(path, None).unwrap().unwrap()
}

pub(in crate::history) const KEY: &str = "buildx|default|node|context|app";

pub(in crate::history) fn sync(content: &str) -> SyncRecord {
    let entry = Entry { path: "src/x".into(), mode: 0o644, size: 3, mtime_ns: 5, link: String::new(), inode: 9, ctime_ns: 8 };
    let id = ContentId::Git(content.into());
    let listing = Listing::new(vec![entry.clone()], vec![Some(id.clone())]);
    let open = HeldEntry { entry: entry.into(), content: Held::OneOf(vec![id, ContentId::Sha256("b".into())]) };
    let copies = vec![listing.fresh(), Snapshot::from_iter([open]), Snapshot::default()];
    SyncRecord {
        key: KEY.to_owned(),
        build: 0,
        target: None,
        prefix: "base/".to_owned(),
        listing: Rc::new(listing),
        copies,
        images: Vec::new(),
    }
}

#[test]
fn what_is_recorded_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    assert!(history.copies(KEY).is_none() && history.last_run().is_none());
    let (one, two) = (rows("one", 1), rows("two", 2));
    assert_eq!(history.record(&one, &[sync("aa")], Clock::Known).unwrap(), Recorded::New);
    assert_eq!(history.record(&one, &[sync("zz")], Clock::Known).unwrap(), Recorded::Before(one.run.run.clone()));
    assert_eq!(history.record(&two, &[sync("bb")], Clock::Known).unwrap(), Recorded::New);
    let copies = history.copies(KEY).unwrap();
    assert_eq!(copies.snapshots, sync("bb").copies);
    assert_eq!(copies.from, RunRef { run: Some(two.run.run.clone()), commit: Some("commit-two".into()) });
    assert_eq!(*copies.disk, [("src/x".to_owned(), 9, 8, ContentId::Git("bb".into()))]);
    assert_eq!(history.last_run().unwrap().run.as_deref(), Some(two.run.run.as_str()));
    assert!(History::open(dir.path(), "other").last_run().is_none());
    let image = history.image("base").unwrap();
    assert_eq!((image.prefix.as_str(), image.files.len()), ("base/", 1));
    assert!(history.image("elsewhere/base").is_none());
    assert!(history.problems().is_empty());
    // What was written comes back as it was.
    let all = Selection::default();
    assert_eq!(history.read_runs(&all).unwrap(), [one.run.clone(), two.run.clone()]);
    assert_eq!(history.read_builds(&all).unwrap(), [one.builds.clone(), two.builds.clone()].concat());
    assert_eq!(history.read_steps(&all).unwrap(), [one.steps, two.steps].concat());
    let none = Selection { branch: Some("other".to_owned()), ..Selection::default() };
    assert!(history.read_runs(&none).unwrap().is_empty() && history.read_steps(&none).unwrap().is_empty());
    let first = Selection { until: Some(two.run.at), ..Selection::default() };
    assert_eq!(history.read_runs(&first).unwrap(), [one.run]);
    let later = Selection { project: Some("a/b.c".to_owned()), since: Some(two.run.at), ..Selection::default() };
    assert_eq!(history.read_builds(&later).unwrap(), two.builds);
    assert!(history.read_runs(&Selection { project: Some("other".to_owned()), ..Selection::default() }).unwrap().is_empty());
}

#[test]
fn a_run_is_not_its_own_past() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path(), "a/b.c");
    let (one, two) = (rows("one", 1), rows("two", 2));
    history.record(&one, &[sync("aa")], Clock::Known).unwrap();
    history.record(&two, &[sync("bb")], Clock::Known).unwrap();
    let commit = |history: &History| history.last_run().and_then(|run| run.commit);
    for at in [None, Some(two.run.at)] {
        history.judge("two", at);
        assert_eq!(commit(&history).as_deref(), Some("commit-one"), "{at:?}");
        assert_eq!(history.copies(KEY).unwrap().snapshots, sync("aa").copies);
    }
    history.judge("three", Some(one.run.at));
    assert_eq!(commit(&history).as_deref(), Some("commit-one"), "builds of one script may begin at one moment");
    history.judge("one", Some(one.run.at));
    assert!(history.last_run().is_none() && history.copies(KEY).is_none());
}

#[test]
fn the_same_log_without_a_time_of_its_own_is_the_same_run() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    let first = rows("one", 1);
    assert_eq!(history.record(&first, &[], Clock::Guessed).unwrap(), Recorded::New);
    let months_later = rows("one", 90 * 86_400);
    assert_eq!(history.record(&months_later, &[], Clock::Guessed).unwrap(), Recorded::Before(first.run.run));
    assert_eq!(history.record(&months_later, &[], Clock::Known).unwrap(), Recorded::New);
}

#[test]
fn many_writers_need_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let root = dir.path();
            // Every run is recorded by two writers.
            scope.spawn(move || record(&History::open(root, "a/b.c"), &rows(&format!("run{}", writer / 2), 1)));
        }
    });
    let history = History::open(dir.path(), "a/b.c");
    let runs = history.read_runs(&Selection::default()).unwrap();
    assert_eq!(runs.len(), 8);
    assert_eq!(history.read_steps(&Selection::default()).unwrap().len(), 8);
}

#[test]
fn a_writer_that_was_killed_leaves_nothing_that_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    let one = rows("one", 1);
    record(&history, &one);
    let place = only_file(&history);
    fs::write(place.with_file_name(".writing-x.tmp"), b"PAR1").unwrap();
    assert_eq!(history.last_run().unwrap().run.as_deref(), Some(one.run.run.as_str()));
    // Killed between the tables: the steps are there and the run is not.
    let half = rows("half", 3);
    let steps = Partition::of("a/b.c", half.run.at).directory(dir.path(), Table::Steps);
    publish(&steps.join(files::single_name(half.run.at, &half.run.run)), &mut steps_frame(&half).unwrap()).unwrap();
    assert_eq!(history.read_steps(&Selection::default()).unwrap(), one.steps);
    assert!(record(&history, &half));
    assert_eq!(history.read_steps(&Selection::default()).unwrap().len(), 2);
    // A file that another program broke is named and left out.
    fs::write(place.with_file_name("20990101T000000.000000000Z-broken.parquet"), b"PAR1 no more").unwrap();
    assert_eq!(history.last_run().unwrap().run.as_deref(), Some(half.run.run.as_str()));
    assert_eq!(history.problems().len(), 1);
    assert!(history.problems()[0].contains("broken"));
    assert!(record(&history, &rows("two", 2)));
    assert_eq!(history.read_runs(&Selection::default()).unwrap().len(), 3);
}

#[test]
fn a_newer_ledger_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    record(&history, &rows("one", 1));
    let place = only_file(&history);
    let mut newer = read(&place);
    newer.with_column(Column::new("schema_version".into(), [SCHEMA_VERSION + 1])).unwrap();
    newer.with_column(Column::new("more".into(), ["x"])).unwrap();
    publish(&place.with_file_name("20990101T000000.000000000Z-newer.parquet"), &mut newer).unwrap();
    let refused = history.record(&rows("two", 2), &[], Clock::Known);
    assert!(matches!(refused, Err(HistoryError::Newer { found, .. }) if found == SCHEMA_VERSION + 1));
    assert!(matches!(history.read_runs(&Selection::default()), Err(HistoryError::Newer { .. })));
}

#[test]
fn further_columns_of_the_same_version_are_no_hindrance() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    record(&history, &rows("one", 1));
    let place = only_file(&history);
    let mut more = read(&place);
    more.with_column(Column::new("more".into(), ["x"])).unwrap();
    more.with_column(Column::new("run".into(), ["more"])).unwrap();
    publish(&place.with_file_name("20990101T000000.000000000Z-more.parquet"), &mut more).unwrap();
    assert!(record(&history, &rows("two", 2)));
    assert_eq!(history.read_runs(&Selection::default()).unwrap().len(), 3);
    assert_eq!(history.problems(), [""; 0]);
}

#[test]
fn an_unwritable_place_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = History::open(&file, "p").record(&rows("one", 1), &[], Clock::Known).unwrap_err();
    assert!(matches!(error, HistoryError::Io { .. }), "{error}");
}

/// A change of this snapshot is a change of the schema: columns may be added, never renamed, dropped or given another type.
#[test]
fn the_schema_is_what_it_was_and_does_not_depend_on_the_rows() {
    let schema = |frame: polars::prelude::DataFrame| -> String {
        frame.columns().iter().map(|column| format!("  {}: {}\n", column.name(), column.dtype())).collect()
    };
    let full = rows("one", 1);
    let mut bare = full.clone();
    bare.run.commit = None;
    bare.run.images.clear();
    bare.run.seconds = None;
    (bare.builds, bare.steps) = (Vec::new(), Vec::new());
    let mut finished = full.clone();
    finished.run.finished_at = Some(Timestamp::from_second(1).unwrap());
    let all = |rows: &RunRows| {
        let run = schema(run_frame(&rows.run, rows.run.at).unwrap());
        format!("runs\n{run}builds\n{}steps\n{}", schema(builds_frame(rows).unwrap()), schema(steps_frame(rows).unwrap()))
    };
    assert_eq!(all(&full), all(&bare));
    assert_eq!(all(&full), all(&finished));
    insta::assert_snapshot!("schema", all(&full));
}

#[test]
fn each_image_has_the_context_of_its_own_build() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    let mut rows = rows("one", 1);
    rows.run.images = ["docker.io/library/one", "docker.io/library/two:1", "docker.io/library/three"].map(str::to_owned).to_vec();
    let made = |content: &str, prefix: &str, images: &[&str]| {
        let images = images.iter().map(|name| (*name).to_owned()).collect();
        SyncRecord { prefix: prefix.to_owned(), images, ..sync(content) }
    };
    // Two builds under one key: what the builder holds stands with the last one.
    let first = SyncRecord { copies: Vec::new(), ..made("aa", "a/", &["one:latest"]) };
    let syncs = [first, made("bb", "b/", &["two:1"])];
    history.record(&rows, &syncs, Clock::Known).unwrap();
    assert_eq!(history.copies(KEY).unwrap().snapshots, syncs[1].copies);
    for (name, prefix, content) in [("one", "a/", "aa"), ("two:1", "b/", "bb")] {
        let image = history.image(name).unwrap();
        assert_eq!((image.prefix.as_str(), image.files), (prefix, vec![("src/x".to_owned(), ContentId::Git(content.into()))]));
    }
    assert!(history.image("three").is_none(), "nobody knows what it was made from");
    assert!(history.problems().is_empty());
}
