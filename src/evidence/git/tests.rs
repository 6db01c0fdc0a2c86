//! Small repositories, built with the git binary under a scrubbed environment.

use super::*;

/// A directory that git's own configuration of the machine cannot reach.
struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let sandbox = Self { dir: tempfile::tempdir().unwrap() };
        sandbox.git(".", &["init", "-q", "-b", "main"]);
        sandbox
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn git(&self, at: &str, args: &[&str]) -> String {
        let out = Command::new("git")
            .args(["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"])
            .args(["-c", "protocol.file.allow=always"])
            .args(args)
            .current_dir(self.path().join(at))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_DATE", "2023-11-14T22:13:20Z")
            .env("GIT_COMMITTER_DATE", "2023-11-14T22:13:20Z")
            .output()
            .unwrap();
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn commit(&self, message: &str) -> String {
        self.git(".", &["add", "-A"]);
        self.git(".", &["commit", "-q", "-m", message]);
        self.git(".", &["rev-parse", "HEAD"])
    }

    fn open(&self) -> Repository {
        Repository::open(self.path()).unwrap()
    }
}

fn paths(changes: &[FileChange]) -> Vec<(String, &ChangeKind)> {
    changes.iter().map(|c| (String::from_utf8_lossy(&c.path).into_owned(), &c.kind)).collect()
}

#[test]
fn what_cannot_be_opened_says_so() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Repository::open(dir.path()), Err(GitError::NotARepository(_))));
    assert!(matches!(Repository::open(&dir.path().join("no")), Err(GitError::NoDirectory(_))));
    assert!(matches!(Repository::open_with(OsStr::new("/nonexistent/git"), dir.path()), Err(GitError::Missing)));
    let sandbox = Sandbox::new();
    assert!(matches!(sandbox.open().head(), Err(GitError::UnbornHead)));
}

#[test]
fn a_foreign_owner_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let fake = dir.path().join("git");
    std::fs::write(&fake, "#!/bin/sh\necho \"fatal: detected dubious ownership in repository at '/r'\" >&2\nexit 128\n").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = Repository::open_with(fake.as_os_str(), dir.path()).unwrap_err();
        assert!(matches!(error, GitError::UnsafeOwner(_)));
        assert!(error.to_string().contains("safe.directory"));
    }
}

#[test]
fn commits_and_revisions() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "1");
    let first = sandbox.commit("first: ü");
    sandbox.write("a", "2");
    let second = sandbox.commit("second");
    let repo = sandbox.open();
    assert_eq!(repo.head().unwrap(), second);
    assert_eq!(repo.resolve("main~1").unwrap(), first);
    assert_eq!(repo.resolve(&first[..8]).unwrap(), first);
    for wrong in ["nope", "", "--all", "a\0b"] {
        assert!(matches!(repo.resolve(wrong), Err(GitError::UnknownRevision { .. })), "{wrong}");
    }
    assert!(repo.is_ancestor(&first, "HEAD").unwrap());
    assert!(!repo.is_ancestor("HEAD", &first).unwrap());
    assert_eq!(repo.merge_base("HEAD", &first).unwrap(), Some(first.clone()));
    let info = repo.commit_info(&first).unwrap();
    assert_eq!((info.time, info.subject.as_str()), (1_700_000_000, "first: ü"));
    sandbox.git(".", &["checkout", "-q", "--orphan", "other"]);
    sandbox.commit("root");
    assert_eq!(sandbox.open().merge_base("main", "other").unwrap(), None);
}

#[test]
fn changes_between_commits() {
    let sandbox = Sandbox::new();
    let long = "line\n".repeat(40);
    sandbox.write("keep", &long);
    sandbox.write("old name", &format!("{long}x"));
    sandbox.write("gone", "g");
    sandbox.write("mode.sh", "#!/bin/sh\n");
    sandbox.write("sub/ü\nnl", "1");
    let first = sandbox.commit("1");
    std::fs::rename(sandbox.path().join("old name"), sandbox.path().join("new name")).unwrap();
    std::fs::remove_file(sandbox.path().join("gone")).unwrap();
    sandbox.write("sub/ü\nnl", "2");
    sandbox.write("added", "a");
    sandbox.git(".", &["add", "-A"]);
    sandbox.git(".", &["update-index", "--chmod=+x", "mode.sh"]);
    sandbox.git(".", &["commit", "-q", "-m", "2"]);
    let repo = sandbox.open();
    let changes = repo.changes(&first, "HEAD").unwrap();
    assert_eq!(
        paths(&changes),
        [
            ("added".to_owned(), &ChangeKind::Added),
            ("gone".to_owned(), &ChangeKind::Deleted),
            ("mode.sh".to_owned(), &ChangeKind::Modified),
            ("new name".to_owned(), &ChangeKind::Renamed { from: b"old name".to_vec(), similarity: 100 }),
            ("sub/ü\nnl".to_owned(), &ChangeKind::Modified),
        ]
    );
    let mode = &changes[2];
    assert_eq!((mode.old_mode, mode.new_mode, mode.content_changed()), (0o100_644, 0o100_755, false));
    assert!(repo.changes("HEAD", "HEAD").unwrap().is_empty());
}

#[test]
fn files_of_a_commit() {
    let sandbox = Sandbox::new();
    sandbox.write("app/a.txt", "hello");
    sandbox.write("app/d/b", "");
    sandbox.write("app2/c", "c");
    #[cfg(unix)]
    std::os::unix::fs::symlink("a.txt", sandbox.path().join("app/link")).unwrap();
    let first = sandbox.commit("1");
    sandbox.write("app/a.txt", "changed since");
    let repo = Repository::open(&sandbox.path().join("app/d")).unwrap();
    let entries = repo.tree(&first, b"app/").unwrap();
    let names: Vec<_> = entries.iter().map(|e| String::from_utf8_lossy(&e.path).into_owned()).collect();
    assert_eq!(names, ["app/a.txt", "app/d/b", "app/link"]);
    assert_eq!(entries[0].size, Some(5));
    assert!(entries[2].is_link());
    assert_eq!(repo.tree("HEAD", b"").unwrap().len(), 4);
    assert_eq!(repo.file_at("HEAD", b"app/a.txt").unwrap(), b"hello");
    assert!(matches!(repo.file_at("HEAD", b"app/no"), Err(GitError::NoSuchFile { .. })));
    assert!(matches!(repo.file_at("HEAD", b"app"), Err(GitError::NoSuchFile { .. })));
    let mut blobs = repo.blobs().unwrap();
    assert!(blobs.read(&"0".repeat(40)).is_err());
    assert!(blobs.read("HEAD").is_err());
    for entry in &entries {
        assert_eq!(blobs.read(&entry.id).unwrap().len() as u64, entry.size.unwrap());
    }
    let mut sizes = 0;
    let size = blobs
        .each_chunk(&entries[0].id, |chunk| {
            sizes += chunk.len();
            Ok(())
        })
        .unwrap();
    assert_eq!((size, sizes), (5, 5));
    assert!(blobs.each_chunk(&entries[0].id, |_| Err(std::io::Error::other("no"))).is_err());
    assert_eq!(blobs.read(&entries[0].id).unwrap(), b"hello");
}

#[test]
fn a_dirty_tree() {
    let sandbox = Sandbox::new();
    sandbox.write(".gitignore", "*.log\n");
    sandbox.write("a", "1");
    sandbox.write("moved", &"x\n".repeat(20));
    sandbox.commit("1");
    let repo = Repository::open(sandbox.path()).unwrap();
    assert!(repo.status(false).unwrap().is_empty());
    sandbox.write("a", "2");
    sandbox.write("d/new file", "n");
    sandbox.write("x.log", "l");
    sandbox.git(".", &["mv", "moved", "to here"]);
    let status = repo.status(false).unwrap();
    assert_eq!(status.len(), 3);
    assert!(status.contains(&StatusEntry { kind: StatusKind::Changed { index: '.', worktree: 'M' }, path: b"a".to_vec() }));
    assert!(status.contains(&StatusEntry { kind: StatusKind::Renamed { from: b"moved".to_vec() }, path: b"to here".to_vec() }));
    assert!(status.contains(&StatusEntry { kind: StatusKind::Untracked, path: b"d/new file".to_vec() }));
    let with_ignored = repo.status(true).unwrap();
    assert!(with_ignored.contains(&StatusEntry { kind: StatusKind::Ignored, path: b"x.log".to_vec() }));
}

#[test]
fn shallow_bare_worktree() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "1");
    let first = sandbox.commit("1");
    sandbox.write("a", "2");
    sandbox.commit("2");
    let url = format!("file://{}", sandbox.path().display());
    let elsewhere = tempfile::tempdir().unwrap();
    let at = |name: &str| elsewhere.path().join(name);
    sandbox.git(".", &["clone", "-q", "--depth=1", &url, at("shallow").to_str().unwrap()]);
    sandbox.git(".", &["clone", "-q", "--bare", &url, at("bare").to_str().unwrap()]);
    sandbox.git(".", &["worktree", "add", "-q", at("tree").to_str().unwrap(), "-b", "wt", &first]);
    let shallow = Repository::open(&at("shallow")).unwrap();
    assert!(shallow.is_shallow());
    assert!(matches!(shallow.resolve(&first), Err(GitError::Shallow { .. })));
    assert!(matches!(shallow.changes(&first, "HEAD"), Err(GitError::Shallow { .. })));
    let bare = Repository::open(&at("bare")).unwrap();
    assert!(bare.is_bare());
    assert_eq!(bare.changes(&first, "HEAD").unwrap().len(), 1);
    assert!(matches!(bare.status(false), Err(GitError::Bare)));
    let tree = Repository::open(&at("tree")).unwrap();
    assert_eq!(tree.head().unwrap(), first);
    assert_eq!(tree.root().unwrap().file_name(), Some(OsStr::new("tree")));
}

#[test]
fn submodules_are_seen() {
    let library = Sandbox::new();
    library.write("l", "1");
    let old = library.commit("1");
    library.write("l", "2");
    let new = library.commit("2");
    let sandbox = Sandbox::new();
    sandbox.git(".", &["submodule", "add", "-q", library.path().to_str().unwrap(), "libs/shared"]);
    sandbox.commit("1");
    let repo = sandbox.open();
    let modules = repo.submodules().unwrap();
    assert_eq!(modules.len(), 1);
    assert_eq!((modules[0].path.as_slice(), &modules[0].recorded), (&b"libs/shared"[..], &new));
    assert!(modules[0].is_current());
    sandbox.git("libs/shared", &["checkout", "-q", &old]);
    let modules = repo.submodules().unwrap();
    assert_eq!(modules[0].checked_out.as_deref(), Some(old.as_str()));
    assert!(!modules[0].is_current());
    let status = repo.status(false).unwrap();
    assert_eq!(status[0].kind, StatusKind::Submodule { commit_changed: true, dirty: false });
    sandbox.write("libs/shared/l", "dirty");
    assert_eq!(repo.status(false).unwrap()[0].kind, StatusKind::Submodule { commit_changed: true, dirty: true });
    let inner = Repository::open(&sandbox.path().join("libs/shared")).unwrap();
    assert_eq!(inner.head().unwrap(), old);
    let url = format!("file://{}", sandbox.path().display());
    let elsewhere = tempfile::tempdir().unwrap();
    let clone = elsewhere.path().join("c");
    sandbox.git(".", &["clone", "-q", &url, clone.to_str().unwrap()]);
    let modules = Repository::open(&clone).unwrap().submodules().unwrap();
    assert_eq!(modules[0].checked_out, None);
}
