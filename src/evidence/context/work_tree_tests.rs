//! What the index tells against what `git status` tells.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, process::Command};

use super::*;
use crate::evidence::{
    context::{content::identify, list},
    ignore::IgnoreRules,
};

struct Sandbox(tempfile::TempDir);

impl Sandbox {
    /// A repository with a commit of some files, git's index later than all of them.
    fn new() -> Self {
        let sandbox = Self(tempfile::tempdir().unwrap());
        sandbox.git(&["init", "-q"]);
        for path in ["a", "app/b", "app/c d", "app/deep/er/e", "app-x", "gone", "kept-out/f", "run.sh", ".gitignore"] {
            sandbox.write(path, if path == ".gitignore" { "*.log\n/out/\n" } else { path });
        }
        fs::set_permissions(sandbox.path("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("app/b", sandbox.path("link")).unwrap();
        sandbox.settle();
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-qm", "one"]);
        sandbox
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// Waits until the clock of the file system has gone on.
    fn settle(&self) {
        std::thread::sleep(std::time::Duration::from_millis(30));
    }

    fn git(&self, args: &[&str]) {
        let status = Command::new("git")
            .args(["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", "-c", "protocol.file.allow=always"])
            .args(args)
            .current_dir(self.0.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .status();
        assert!(status.unwrap().success(), "{args:?}");
    }

    /// What is found below a directory, and whether the index sufficed.
    fn changes(&self, dir: &str, ignore: &str) -> (BTreeSet<String>, bool) {
        let root = self.path(dir);
        let work = WorkTree::open(&root, &[]).unwrap();
        let entries = list(&root, &IgnoreRules::parse(ignore.as_bytes()).unwrap(), None).unwrap();
        let contents = identify(&root, &entries, Some(&work), &|_| None);
        let prefix = work.prefix(&root).unwrap();
        let changes = work.changes_below(&prefix, entries.iter().zip(contents.iter().map(Option::as_ref))).unwrap();
        (names(&changes), work.status.get().is_none())
    }

    /// The same as git's status tells it.
    fn status(&self, dir: &str) -> BTreeSet<String> {
        let work = WorkTree::open(&self.path(dir), &[]).unwrap();
        let prefix = String::from_utf8(work.prefix(&self.path(dir)).unwrap()).unwrap();
        let names = names(work.status().unwrap());
        names.into_iter().filter(|name| name.starts_with(&prefix) && !name.ends_with('/')).collect()
    }
}

fn names(changes: &Changes) -> BTreeSet<String> {
    changes.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
}

#[test]
fn a_clean_tree_takes_no_question() {
    let sandbox = Sandbox::new();
    for dir in ["", "app", "app/deep"] {
        assert_eq!(sandbox.changes(dir, ".git"), (BTreeSet::new(), true), "{dir}");
    }
    let work = WorkTree::open(&sandbox.path("app"), &[]).unwrap();
    let head = work.repository().tree_without_sizes("HEAD").unwrap();
    assert!(head.iter().all(|entry| work.tracks(&entry.path) && work.at_head(&entry.path).as_ref() == Some(entry)));
    assert!(!work.tracks(b"app") && work.at_head(b"none").is_none());
}

#[test]
fn every_kind_of_change_is_what_status_says() {
    type Change = fn(&Sandbox);
    let changes: [(&str, Change, bool); 18] = [
        ("other bytes", |s| s.write("app/b", "other"), true),
        ("as many bytes", |s| s.write("app/b", "bbb/a"), true),
        ("the same bytes at another time", |s| s.write("app/b", "app/b"), true),
        ("gone", |s| fs::remove_file(s.path("app/deep/er/e")).unwrap(), true),
        ("a directory gone", |s| fs::remove_dir_all(s.path("app/deep")).unwrap(), true),
        ("new", |s| s.write("app/new/er", "x"), true),
        ("new and ignored", |s| s.write("app/x.log", "x"), true),
        ("new in an ignored directory", |s| s.write("out/y/z", "x"), true),
        ("kept out of the context", |s| s.write("kept-out/f", "x"), true),
        ("kept out and as before", |s| s.write("kept-out/f", "kept-out/f"), true),
        ("staged", |s| (s.write("app/b", "other"), s.git(&["add", "app/b"])).1, true),
        ("staged and taken back", |s| (s.write("app/b", "o"), s.git(&["add", "app/b"]), s.write("app/b", "app/b")).2, true),
        ("staged new and gone", |s| (s.write("n", "o"), s.git(&["add", "n"]), fs::remove_file(s.path("n")).unwrap()).2, true),
        ("renamed", |s| s.git(&["mv", "gone", "app/come"]), true),
        ("a file in place of a directory", |s| (fs::remove_dir_all(s.path("app/deep")).unwrap(), s.write("app/deep", "x")).1, true),
        ("may not be executed", |s| fs::set_permissions(s.path("run.sh"), fs::Permissions::from_mode(0o644)).unwrap(), false),
        ("a file in place of a link", |s| (fs::remove_file(s.path("link")).unwrap(), s.write("link", "app/b")).1, false),
        ("another repository", |s| (s.git(&["init", "-q", "inner"]), s.write("inner/x", "x")).1, true),
    ];
    for (what, change, by_index) in changes {
        let sandbox = Sandbox::new();
        change(&sandbox);
        for dir in ["", "app"] {
            let (found, index) = sandbox.changes(dir, ".git\nkept-out\n");
            assert_eq!(found, sandbox.status(dir), "{what} in {dir:?}");
            assert!(index || !by_index, "{what} in {dir:?}");
        }
    }
}

#[test]
fn a_change_that_keeps_every_time_but_that_of_status_is_found() {
    let sandbox = Sandbox::new();
    let old = fs::metadata(sandbox.path("app/b")).unwrap().modified().unwrap();
    sandbox.write("app/b", "APP/B");
    fs::File::options().write(true).open(sandbox.path("app/b")).unwrap().set_modified(old).unwrap();
    assert_eq!(sandbox.changes("", ".git").0, BTreeSet::from(["app/b".to_owned()]));
}

#[test]
fn a_tree_behind_a_link_is_not_the_tracked_one() {
    let sandbox = Sandbox::new();
    fs::rename(sandbox.path("app/deep"), sandbox.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", sandbox.path("app/deep")).unwrap();
    assert_eq!(sandbox.changes("", ".git").0, sandbox.status(""));
}

#[test]
fn line_ends_that_git_converts_are_no_change() {
    let sandbox = Sandbox::new();
    sandbox.write(".gitattributes", "* text\n");
    sandbox.write("app/b", "1\r\n2\r\n");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-qm", "two"]);
    sandbox.write("app/b", "1\n2\n");
    assert_eq!(sandbox.changes("", ".git"), (BTreeSet::new(), true));
}

#[test]
fn submodules_and_what_the_index_does_not_tell_are_left_to_git() {
    let sandbox = Sandbox::new();
    let inner = Sandbox::new();
    sandbox.git(&["submodule", "--quiet", "add", inner.0.path().to_str().unwrap(), "sub"]);
    sandbox.git(&["commit", "-qm", "two"]);
    inner.write("a", "x");
    sandbox.write("sub/a", "x");
    let (found, index) = sandbox.changes("", ".git");
    assert_eq!((found, index), (BTreeSet::from(["sub".to_owned()]), false));
    assert!(WorkTree::open(&sandbox.path("app"), &[]).unwrap().at_head(b"sub").is_some_and(|entry| !entry.is_blob()));
}

#[test]
fn a_file_is_looked_into_once() {
    let sandbox = Sandbox::new();
    sandbox.write("app/b", "other");
    let work = WorkTree::open(&sandbox.path(""), &["HEAD", "none", "HEAD~1"]).unwrap();
    let entries = list(&sandbox.path(""), &IgnoreRules::parse(b".git").unwrap(), None).unwrap();
    let first = identify(&sandbox.path(""), &entries, Some(&work), &|_| None);
    // Whoever looked again would see this.
    fs::remove_file(sandbox.path("app/b")).unwrap();
    assert_eq!(identify(&sandbox.path(""), &entries, Some(&work), &|_| None), first);
}
