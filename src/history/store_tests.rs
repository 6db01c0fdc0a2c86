use std::collections::HashMap;
use std::rc::Rc;

use super::*;
use crate::freshness::sync::Listing;

fn run(id: &str, at_ns: i64) -> RunRow {
    RunRow {
        run: id.to_owned(),
        project: "a/b.c".to_owned(),
        at_ns,
        week: "2026-W47".to_owned(),
        commit: Some(format!("commit-{id}")),
        branch: None,
        builder: None,
        command: None,
        outcome: "succeeded",
        builds: 1,
        seconds: Some(1.5),
        duration_source: Some("live"),
        duration_bucket: Some(84),
        images: "docker.io/library/base:latest".to_owned(),
        bklog: "0",
    }
}

fn step() -> StepRow {
    StepRow {
        build: 0,
        index: 7,
        name: "[2/3] COPY . .".to_owned(),
        identity: "COPY . .".to_owned(),
        target: None,
        stage: None,
        platform: None,
        number: Some(2),
        keyword: Some("COPY"),
        status: "cached",
        cache_hit: Some(true),
        seconds: None,
        duration_bucket: None,
        transferred_bytes: None,
        verdict: Some("fresh"),
        outcome: "succeeded",
    }
}

const KEY: &str = "buildx|default|node|context|app";

fn sync(content: &str) -> SyncRecord {
    let entry = Entry { path: "src/x".into(), mode: 0o644, size: 3, mtime_ns: 5, link: String::new(), inode: 9, ctime_ns: 8 };
    let id = ContentId::Git(content.to_owned());
    let listing = Listing::new(vec![entry.clone()], HashMap::from([("src/x".to_owned(), id.clone())]));
    let open = HeldEntry { entry, content: Held::OneOf(vec![id, ContentId::Sha256("b".into())]) };
    let copies = vec![listing.fresh(), Snapshot::from([("src/x".to_owned(), open)]), Snapshot::new()];
    SyncRecord { key: KEY.to_owned(), build: 0, target: None, prefix: "base/".to_owned(), listing: Rc::new(listing), copies }
}

#[test]
fn what_is_recorded_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    assert!(history.copies(KEY).is_none() && history.last_run().is_none());
    assert!(history.record(&run("one", 1), &[step()], &[sync("aa")]).unwrap());
    assert!(!history.record(&run("one", 1), &[step()], &[sync("zz")]).unwrap());
    assert!(history.record(&run("two", 2), &[step()], &[sync("bb")]).unwrap());
    let copies = history.copies(KEY).unwrap();
    assert_eq!(copies.snapshots, sync("bb").copies);
    assert_eq!(copies.from, RunRef { run: Some("two".into()), commit: Some("commit-two".into()) });
    assert_eq!(copies.disk, [("src/x".to_owned(), 9, 8, ContentId::Git("bb".into()))]);
    assert_eq!(history.last_run().unwrap().run.as_deref(), Some("two"));
    assert!(History::open(dir.path(), "other").last_run().is_none());
    let image = history.image("base").unwrap();
    assert_eq!((image.prefix.as_str(), image.files.len()), ("base/", 1));
    assert!(history.image("elsewhere/base").is_none());
    assert!(history.problems().is_empty());
}

#[test]
fn many_writers_need_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let root = dir.path();
            // Every run is recorded by two writers.
            scope.spawn(move || {
                let history = History::open(root, "a/b.c");
                history.record(&run(&format!("run-{}", writer / 2), 1), &[step()], &[sync("aa")]).unwrap();
            });
        }
    });
    let history = History::open(dir.path(), "a/b.c");
    assert_eq!(history.newest_runs().len(), 8);
    for file in history.newest_runs() {
        assert_eq!(read(&file, None).unwrap().height(), 1);
    }
}

#[test]
fn a_writer_that_was_killed_leaves_nothing_that_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    history.record(&run("one", 1), &[step()], &[sync("aa")]).unwrap();
    let place = history.newest_runs().remove(0);
    fs::write(place.with_file_name(".writing-x.tmp"), b"PAR1").unwrap();
    assert_eq!(history.last_run().unwrap().run.as_deref(), Some("one"));
    // A file that another program broke is named and left out.
    fs::write(place.with_file_name("20990101T000000.000000000Z-broken.parquet"), b"PAR1 no more").unwrap();
    assert_eq!(history.last_run().unwrap().run.as_deref(), Some("one"));
    assert_eq!(history.problems().len(), 1);
    assert!(history.problems()[0].contains("broken"));
    assert!(history.record(&run("two", 2), &[], &[]).unwrap());
}

#[test]
fn a_newer_ledger_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    history.record(&run("one", 1), &[step()], &[]).unwrap();
    let place = history.newest_runs().remove(0);
    let mut newer = read(&place, None).unwrap();
    newer.with_column(Column::new("schema_version".into(), [SCHEMA_VERSION + 1])).unwrap();
    newer.with_column(Column::new("more".into(), ["x"])).unwrap();
    publish(&place.with_file_name("20990101T000000.000000000Z-newer.parquet"), &mut newer).unwrap();
    assert!(matches!(history.record(&run("two", 2), &[], &[]), Err(HistoryError::Newer { found, .. }) if found == SCHEMA_VERSION + 1));
    assert_eq!(history.last_run().unwrap().run.as_deref(), Some("one"));
}

#[test]
fn further_columns_of_the_same_version_are_no_hindrance() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), "a/b.c");
    history.record(&run("one", 1), &[step()], &[]).unwrap();
    let place = history.newest_runs().remove(0);
    let mut more = read(&place, None).unwrap();
    more.with_column(Column::new("more".into(), ["x"])).unwrap();
    publish(&place.with_file_name("20990101T000000.000000000Z-more.parquet"), &mut more).unwrap();
    assert!(history.record(&run("two", 2), &[], &[]).unwrap());
    assert_eq!(history.problems(), [""; 0]);
}

#[test]
fn an_unwritable_place_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = History::open(&file, "p").record(&run("one", 1), &[], &[]).unwrap_err();
    assert!(matches!(error, HistoryError::Io { .. }), "{error}");
}

#[test]
fn names_of_partitions() {
    assert_eq!(encode("a/b c.d"), "a%2Fb%20c.d");
    assert_eq!(encode(".."), "%2E.");
    assert_eq!(encode(""), "__HIVE_DEFAULT_PARTITION__");
    for (name, full) in
        [("base", "base:latest"), ("docker.io/library/base:1", "base:1"), ("h:5000/x", "h:5000/x:latest"), ("x@sha256:0", "x:latest")]
    {
        assert_eq!(familiar(name), full);
    }
}
