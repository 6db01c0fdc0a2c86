//! Indexes as git writes them, and bytes that are none.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
};

use proptest::prelude::*;

use super::*;

fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"])
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A repository with some files, as `git init` is told to make it.
fn repository(init: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    git(root, &[&["init", "-q"], init].concat());
    for path in ["a", "a-b", "a.d/x", "a.d/y/z", "b é", "empty", "run.sh"] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, if path.ends_with("empty") { String::new() } else { format!("{}\n", path.display()) }).unwrap();
    }
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("a.d", root.join("link")).unwrap();
    // The index is to be written later than the files, by more than a tick of the clock.
    std::thread::sleep(std::time::Duration::from_millis(30));
    git(root, &["add", "-A"]);
    git(root, &["commit", "-qm", "one"]);
    dir
}

fn read(dir: &Path) -> Option<Index> {
    let digits = git(dir, &["rev-parse", "HEAD"]).len();
    Index::read(&dir.join(".git/index"), digits)
}

fn state(path: &Path) -> FileState {
    let metadata = fs::symlink_metadata(path).unwrap();
    let kind = match () {
        () if metadata.is_symlink() => FileKind::Link,
        () if metadata.mode() & 0o100 != 0 => FileKind::Executable,
        () => FileKind::File,
    };
    let at = |seconds: i64, rest: i64| seconds * 1_000_000_000 + rest;
    FileState {
        kind,
        size: metadata.len(),
        mtime_ns: at(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: at(metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
    }
}

/// Mode, blob and path of every entry, as git tells them.
fn told(dir: &Path) -> Vec<String> {
    git(dir, &["-c", "core.quotePath=false", "ls-files", "--stage"]).lines().map(str::to_owned).collect()
}

fn entries(index: &Index) -> Vec<String> {
    (0..index.len()).map(|at| format!("{:o} {} 0\t{}", index.mode(at), index.id(at), String::from_utf8_lossy(index.path(at)))).collect()
}

#[test]
fn every_version_says_what_git_says() {
    for (init, version) in [(&[][..], "2"), (&[][..], "4"), (&["--object-format=sha256"][..], "2"), (&["--object-format=sha256"][..], "4")]
    {
        let dir = repository(init);
        git(dir.path(), &["update-index", "--index-version", version]);
        let index = read(dir.path()).unwrap();
        assert_eq!(entries(&index), told(dir.path()), "{init:?} {version}");
        assert_eq!(index.tree(), Some(git(dir.path(), &["rev-parse", "HEAD^{tree}"]).as_str()));
        let mut next = 0;
        for at in (0..index.len()).chain((0..index.len()).rev()) {
            assert_eq!(index.find(index.path(at), &mut next), Some(at));
            assert!(index.is_blob(at, &index.id(at)) && !index.is_blob(at, &"0".repeat(index.id(at).len())));
        }
        assert_eq!((index.find(b"a.d", &mut next), index.find(b"", &mut next), index.find(b"z", &mut next)), (None, None, None));
        let below = |prefix: &[u8]| index.below(prefix).map(|at| String::from_utf8_lossy(index.path(at)).into_owned()).collect::<Vec<_>>();
        assert_eq!(
            (below(b"a.d/"), below(b"none/").len(), below(b"").len()),
            (vec!["a.d/x".to_owned(), "a.d/y/z".to_owned()], 0, index.len())
        );
    }
}

#[test]
fn a_file_is_unchanged_until_anything_of_it_is_not() {
    let dir = repository(&[]);
    let root = dir.path();
    let index = read(root).unwrap();
    let unchanged = |path: &str| index.is_unchanged(index.find(path.as_bytes(), &mut 0).unwrap(), &state(&root.join(path)));
    for path in ["a", "a.d/y/z", "b é", "empty", "run.sh", "link"] {
        assert!(unchanged(path), "{path}");
    }
    // The same bytes and the same time of content: the time of status tells.
    let old = fs::metadata(root.join("a")).unwrap().modified().unwrap();
    fs::write(root.join("a"), fs::read(root.join("a")).unwrap()).unwrap();
    fs::File::options().write(true).open(root.join("a")).unwrap().set_modified(old).unwrap();
    assert!(!unchanged("a"));
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(!unchanged("run.sh"));
    fs::remove_file(root.join("link")).unwrap();
    fs::write(root.join("link"), "a.d").unwrap();
    assert!(!unchanged("link"));
}

#[test]
fn what_changed_when_the_index_was_written_is_not_trusted() {
    let dir = repository(&[]);
    let path = dir.path().join("a");
    let now = state(&path);
    let mut index = read(dir.path()).unwrap();
    let at = index.find(b"a", &mut 0).unwrap();
    assert!(index.is_unchanged(at, &now));
    index.written = time(now.mtime_ns.max(now.ctime_ns)).unwrap();
    assert!(!index.is_unchanged(at, &now));
    // A size that git struck out, so that it looks at the content next time.
    let mut index = read(dir.path()).unwrap();
    index.entries[at].size = 0;
    assert!(!index.is_unchanged(at, &FileState { size: 0, ..now }));
}

#[test]
fn an_index_out_of_the_ordinary_is_left_to_git() {
    let dir = repository(&[]);
    let root = dir.path();
    for (change, back) in [
        (&["update-index", "--assume-unchanged", "a"][..], &["update-index", "--no-assume-unchanged", "a"][..]),
        (&["update-index", "--skip-worktree", "a"], &["update-index", "--no-skip-worktree", "a"]),
        (&["update-index", "--split-index"], &["update-index", "--no-split-index"]),
    ] {
        assert!(read(root).is_some(), "{change:?}");
        git(root, change);
        assert!(read(root).is_none(), "{change:?}");
        git(root, back);
    }
    fs::write(root.join("new"), "x").unwrap();
    git(root, &["add", "--intent-to-add", "new"]);
    assert!(read(root).is_none());
    git(root, &["add", "new"]);
    // It holds more than HEAD's tree, and says so by knowing no tree.
    assert_eq!(read(root).unwrap().tree(), None);
    git(root, &["update-index", "--add", "--cacheinfo", "160000,0123456789012345678901234567890123456789,sub"]);
    assert!(read(root).is_none());
    assert!(Index::read(&root.join(".git/none"), 40).is_none());
    assert!(Index::read(&root.join(".git"), 40).is_none());
}

#[test]
fn a_cut_or_damaged_index_is_none_or_stays_in_bounds() {
    let dir = repository(&[]);
    let bytes = fs::read(dir.path().join(".git/index")).unwrap();
    let whole = entries(&Index::parse(&bytes, 20, (0, 0)).unwrap());
    for length in 0..bytes.len() {
        // Behind the entries the end cannot be told from what stands there; git does not look either.
        assert!(Index::parse(&bytes[..length], 20, (0, 0)).is_none_or(|cut| entries(&cut) == whole), "{length}");
    }
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            if let Some(index) = Index::parse(&bytes, 20, (0, 0)) {
                let _ = entries(&index);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), version in 2_u8..5, count in 0_u8..4) {
        let head = [b"DIRC", &[0, 0, 0, version][..], &[0, 0, 0, count]].concat();
        let _ = Index::parse(&[head, bytes].concat(), 20, (0, 0));
    }
}
