//! Evidence that cannot be had: what is said, and what the verdict is then.

use std::fs;

use crate::verdicts::{DOCKERFILE, IGNORE, Repo, log, messages, notes, verdict};

const COPY: &str = "[2/2] COPY . /app";

#[test]
fn outside_of_a_repository() {
    let repo = Repo::bare_directory();
    repo.write(&[DOCKERFILE, ("a", "a")]);
    let (report, code) = repo.check(&log(repo.bytes(&["*"]), &[(COPY, "DONE 0.1s")]), &[]);
    assert_eq!((verdict(&report, 3).0.as_str(), code), ("fresh", 0));
    let (report, code) = repo.check(&log(repo.bytes(&[]), &[(COPY, "CACHED")]), &["--since", "main"]);
    assert_eq!((verdict(&report, 3).0.as_str(), code), ("unknown", 0));
    assert!(notes(&report).contains("is not inside a git repository"), "{}", notes(&report));
}

#[test]
fn before_the_first_commit() {
    let repo = Repo::bare_directory();
    repo.git(&["init", "-q"]);
    repo.write(&[DOCKERFILE, IGNORE, ("a", "a")]);
    let (report, code) = repo.check(&log(repo.bytes(&[]), &[(COPY, "CACHED")]), &[]);
    assert_eq!((verdict(&report, 3).0.as_str(), code), ("unknown", 0));
    assert!(notes(&report).contains("no commit yet"), "{}", notes(&report));
}

#[test]
fn a_commit_that_is_not_here() {
    let repo = Repo::new(&[DOCKERFILE, IGNORE, ("a", "a")]);
    let text = log(repo.bytes(&[]), &[(COPY, "CACHED")]);
    let (report, code) = repo.check(&text, &["--commit", "0123456789abcdef0123456789abcdef01234567"]);
    let (said, because) = verdict(&report, 3);
    // The tree is not at it, for certain.
    assert_eq!((said.as_str(), code), ("suspect", 1));
    assert_eq!(messages(&report, "commit-mismatch").len(), 1);
    assert!(because.contains("0123456789ab is not in the repository"), "{because}");
    // The same for what is to be compared with.
    let (report, code) = repo.check(&text, &["--since", "no-such-branch"]);
    let (said, because) = verdict(&report, 3);
    assert_eq!((said.as_str(), code), ("unknown", 0));
    assert!(notes(&report).contains("\\\"no-such-branch\\\" names no commit here"), "{because} {}", notes(&report));
}

#[test]
fn a_shallow_clone_without_the_baseline() {
    let origin = Repo::new(&[DOCKERFILE, IGNORE, ("a", "1")]);
    let old = origin.git(&["rev-parse", "HEAD"]);
    origin.write(&[("a", "2")]);
    origin.commit();
    let clone = Repo::bare_directory();
    clone.git(&["clone", "-q", "--depth", "1", &format!("file://{}", origin.root().display()), "."]);
    let (report, code) = clone.check(&log(clone.bytes(&[]), &[(COPY, "CACHED")]), &["--since", &old]);
    let (said, because) = verdict(&report, 3);
    assert_eq!((said.as_str(), code), ("unknown", 0));
    assert!(notes(&report).contains("shallow clone: fetch more history"), "{because} {}", notes(&report));
}

#[test]
fn files_of_the_build_that_cannot_be_read() {
    let repo = Repo::new(&[("Dockerfile", "NOT A DOCKERFILE\n"), ("a", "a"), (".dockerignore", "[\n")]);
    let (report, code) = repo.check(&log(50, &[(COPY, "CACHED")]), &[]);
    let (said, because) = verdict(&report, 3);
    assert_eq!((said.as_str(), code), ("unknown", 0));
    assert!(because.contains(".dockerignore: syntax error in pattern"), "{because}");
    assert!(notes(&report).contains("the Dockerfile cannot be read"), "{}", notes(&report));
    fs::remove_file(repo.root().join("Dockerfile")).unwrap();
    let (report, _) = repo.check(&log(50, &[(COPY, "CACHED")]), &[]);
    assert!(notes(&report).contains("Dockerfile cannot be read"), "{}", notes(&report));
}

#[test]
fn a_dockerfile_that_is_not_that_of_the_log() {
    let repo = Repo::new(&[("Dockerfile", "FROM scratch\nRUN other\n"), IGNORE, ("a", "1")]);
    let old = repo.git(&["rev-parse", "HEAD"]);
    repo.write(&[("a", "2")]);
    repo.commit();
    // What the step says is what counts.
    let (report, _) = repo.check(&log(repo.bytes(&[]), &[(COPY, "CACHED")]), &["--since", &old]);
    assert_eq!(verdict(&report, 3).0, "suspect");
}

#[test]
fn a_compose_file_with_errors() {
    let repo = Repo::new(&[("compose.yaml", "services: [\n"), ("a", "a")]);
    let path = repo.log(&log(50, &[(COPY, "CACHED")]));
    let out = repo.command(&["check", path.to_str().unwrap(), "--build", "docker compose build"]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{text}");
    assert!(text.contains("compose.yaml"), "{text}");
}

#[test]
fn an_archive_that_is_cut_or_no_image() {
    let repo = Repo::new(&[DOCKERFILE, IGNORE, ("a", "a")]);
    let text = log(repo.bytes(&[]), &[(COPY, "CACHED")]);
    for (name, content, expected) in [
        ("none.tar", None, "none.tar cannot be read"),
        ("text.tar", Some(b"no archive at all".repeat(99)), "text.tar is no image: give an archive of docker save"),
        ("empty.tar", Some(Vec::new()), "empty.tar is no image"),
    ] {
        let path = repo.history().with_file_name(name);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let (report, code) = repo.check(&text, &["--image", path.to_str().unwrap()]);
        assert_eq!((verdict(&report, 3).0.as_str(), code), ("unknown", 0), "{name}");
        assert!(notes(&report).contains(expected), "{name}: {}", notes(&report));
    }
}

#[cfg(feature = "history")]
mod ledger {
    use std::path::PathBuf;

    use polars::prelude::*;

    use super::*;

    fn files(root: &std::path::Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => files(&path, found),
                // Locks hold nothing.
                path if path.extension().is_some() => found.push(path),
                _ => {}
            }
        }
    }

    fn contents(repo: &Repo) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        files(&repo.history(), &mut found);
        found.sort();
        found.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    /// A recorded run, then a change under an unchanged listing.
    fn stale() -> (Repo, String) {
        let repo = Repo::new(&[DOCKERFILE, IGNORE, ("a", "old")]);
        repo.set_times(&["a", "Dockerfile", ".dockerignore"]);
        repo.record(&log(repo.bytes(&["*"]), &[(COPY, "DONE 0.1s")]), 1, &[]);
        repo.write(&[("a", "new")]);
        repo.set_times(&["a"]);
        repo.commit();
        let text = log(repo.bytes(&[]), &[(COPY, "CACHED")]);
        (repo, text)
    }

    #[test]
    fn of_a_newer_program() {
        let (repo, text) = stale();
        for (path, _) in contents(&repo) {
            let mut frame = ParquetReader::new(fs::File::open(&path).unwrap()).finish().unwrap();
            let versions = Column::new("schema_version".into(), vec![99_i32; frame.height()]);
            frame.with_column(versions).unwrap();
            fs::remove_file(&path).unwrap();
            ParquetWriter::new(fs::File::create(&path).unwrap()).finish(&mut frame).unwrap();
        }
        let before = contents(&repo);
        let (report, code) = repo.record(&text, 2, &[]);
        // Without the record nothing is known of the builder's copy.
        assert_eq!((verdict(&report, 3).0.as_str(), code), ("unknown", 0));
        assert!(notes(&report).contains("was written by a newer bklog (schema 99"), "{}", notes(&report));
        assert!(notes(&report).contains("the run was not recorded"), "{}", notes(&report));
        assert!(contents(&repo) == before, "nothing in it is touched");
    }

    #[test]
    fn with_damaged_files() {
        let (repo, text) = stale();
        let before = contents(&repo);
        for (path, content) in &before {
            fs::remove_file(path).unwrap();
            fs::write(path, &content[..content.len() / 2]).unwrap();
        }
        let (report, code) = repo.record(&text, 2, &[]);
        assert_eq!((verdict(&report, 3).0.as_str(), code), ("unknown", 0));
        assert!(notes(&report).contains("in the history cannot be read and is left out"), "{}", notes(&report));
        // The run is recorded all the same, beside what is damaged.
        assert!(contents(&repo).len() > before.len());
        repo.write(&[("a", "New")]);
        repo.set_times(&["a"]);
        repo.commit();
        let (report, _) = repo.record(&log(repo.bytes(&[]), &[(COPY, "DONE 0.1s")]), 3, &[]);
        assert_ne!(verdict(&report, 3).0, "fresh");
    }

    #[test]
    fn that_cannot_be_written() {
        let (repo, text) = stale();
        let blocked = repo.history().with_file_name("a-file");
        fs::write(&blocked, "x").unwrap();
        let blocked = blocked.join("history");
        let (report, code) = repo.check(&text, &["--history", blocked.to_str().unwrap(), "--record"]);
        assert_eq!((verdict(&report, 3).0.as_str(), code), ("unknown", 0));
        assert!(notes(&report).contains("the run was not recorded"), "{}", notes(&report));
        assert_eq!(messages(&report, "stale-copy").len(), 1);
    }
}
