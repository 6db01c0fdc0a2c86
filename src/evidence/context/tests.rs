use std::collections::HashMap;
use std::fs;

use super::content::{ContentId, identify, old_versions};
use super::transfer::TransferSizes;
use super::work_tree::WorkTree;
use super::*;

fn tree(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    dir
}

fn paths(dir: &tempfile::TempDir, ignore: &str, include: Option<&[&str]>) -> Vec<String> {
    let rules = IgnoreRules::parse(ignore.as_bytes()).unwrap();
    let include: Option<Vec<String>> = include.map(|patterns| patterns.iter().map(|p| (*p).to_owned()).collect());
    list(dir.path(), &rules, include.as_deref()).unwrap().into_iter().map(|entry| entry.path).collect()
}

#[test]
fn names_are_walked_in_the_order_of_their_bytes() {
    let dir = tree(&["a/x", "a.txt", "a-b", "B"]);
    assert_eq!(paths(&dir, "", None), ["B", "a", "a/x", "a-b", "a.txt"]);
}

/// Every path below a directory in the order of the walk, by the file system alone.
fn walked(dir: &Path, prefix: &str) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let below = |name: String| {
        let below = if dir.join(&name).is_dir() { walked(&dir.join(&name), &format!("{prefix}{name}/")) } else { Vec::new() };
        [format!("{prefix}{name}")].into_iter().chain(below)
    };
    names.into_iter().flat_map(below).collect()
}

#[test]
fn many_directories_are_listed_in_the_same_order_every_time() {
    let files: Vec<String> = (0..600).map(|n| format!("d{}/e{}/{n}", n % 23, n % 7)).collect();
    let dir = tree(&files.iter().map(String::as_str).collect::<Vec<_>>());
    fs::hard_link(dir.path().join("d9/e2/9"), dir.path().join("d0/e0/a")).unwrap();
    let expected = walked(dir.path(), "");
    for _ in 0..20 {
        assert_eq!(paths(&dir, "", None), expected);
        let entries = list(dir.path(), &IgnoreRules::default(), None).unwrap();
        let second: Vec<_> =
            entries.iter().filter(|entry| !entry.link.is_empty()).map(|e| (e.path.as_str(), e.link.as_str(), e.size)).collect();
        assert_eq!(second, [("d9/e2/9", "d0/e0/a", 0)]);
    }
    assert_eq!(
        paths(&dir, "d*\n!d3/e1\n", None),
        expected.iter().filter(|p| *p == "d3" || p.starts_with("d3/e1")).cloned().collect::<Vec<_>>()
    );
}

#[test]
fn a_directory_that_is_left_out_is_listed_for_what_is_kept_below() {
    let dir = tree(&["docs/a/keep.md", "docs/a/no.md", "docs/b/no.md", "src/x"]);
    assert_eq!(paths(&dir, "docs\n!docs/a/keep.md\n", None), ["docs", "docs/a", "docs/a/keep.md", "src", "src/x"]);
    assert_eq!(paths(&dir, "docs\n", None), ["src", "src/x"]);
    assert_eq!(paths(&dir, "**/*.md\n", None), ["docs", "docs/a", "docs/b", "src", "src/x"]);
}

#[test]
fn only_followed_paths_are_listed_with_the_directories_above() {
    let dir = tree(&["a/b/c/one", "a/b/two", "a/three", "z"]);
    assert_eq!(paths(&dir, "", Some(&["a/b/c"])), ["a", "a/b", "a/b/c", "a/b/c/one"]);
    assert_eq!(paths(&dir, "", Some(&["a/t*"])), ["a", "a/three"]);
    assert_eq!(paths(&dir, "a/b", Some(&["a/b", "z"])), ["z"]);
    assert_eq!(paths(&dir, "", Some(&["missing"])), [""; 0]);
}

#[cfg(unix)]
#[test]
fn links_and_second_names() {
    let dir = tree(&["a"]);
    fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
    std::os::unix::fs::symlink("a", dir.path().join("c")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("d")).unwrap();
    let entries = list(dir.path(), &IgnoreRules::default(), None).unwrap();
    let seen: Vec<_> = entries.iter().map(|e| (e.path.as_str(), e.link.as_str(), e.size, e.has_content())).collect();
    assert_eq!(seen, [("a", "", 1, true), ("b", "a", 0, false), ("c", "a", 1, false)]);
    assert_eq!(entries[2].mode, MODE_SYMLINK | 0o777);
    assert_eq!(TransferSizes::of(&entries).contents[1..], [0, 0]);
}

#[test]
fn the_dockerfiles_own_ignore_file_comes_first() {
    let dir = tree(&["Dockerfile", "x"]);
    let root = dir.path();
    assert_eq!(ignore_rules(root, Some(&root.join("Dockerfile"))).unwrap().1, None);
    fs::write(root.join(".dockerignore"), "x").unwrap();
    assert_eq!(ignore_rules(root, Some(&root.join("Dockerfile"))).unwrap().1, Some(root.join(".dockerignore")));
    fs::write(root.join("Dockerfile.dockerignore"), "y").unwrap();
    let (rules, from) = ignore_rules(root, Some(&root.join("Dockerfile"))).unwrap();
    assert_eq!(from, Some(root.join("Dockerfile.dockerignore")));
    assert!(rules.ignores("y") && !rules.ignores("x"));
    assert_eq!(ignore_rules(root, None).unwrap().1, Some(root.join(".dockerignore")));
    fs::write(root.join("Dockerfile.dockerignore"), "[").unwrap();
    assert!(matches!(ignore_rules(root, Some(&root.join("Dockerfile"))), Err(ContextError::Ignore { .. })));
}

fn git(dir: &Path, args: &[&str]) {
    let status = std::process::Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .status()
        .unwrap();
    assert!(status.success(), "{args:?}");
}

fn ids(dir: &Path) -> HashMap<String, ContentId> {
    let tree = WorkTree::open(dir, &[]).unwrap();
    let entries = list(dir, &IgnoreRules::parse(b".git").unwrap(), None).unwrap();
    named(&entries, identify(dir, &entries, Some(&tree), &|_| None))
}

fn named(entries: &[Entry], contents: Vec<Option<ContentId>>) -> HashMap<String, ContentId> {
    entries.iter().zip(contents).filter_map(|(entry, content)| Some((entry.path.clone(), content?))).collect()
}

#[test]
fn contents_are_named_by_their_blobs() {
    let dir = tree(&["app/one", "app/two"]);
    let root = dir.path();
    git(root, &["init", "-q"]);
    git(root, &["add", "."]);
    git(root, &["commit", "-qm", "a"]);
    let app = root.join("app");
    let clean = ids(&app);
    fs::write(app.join("two"), "changed").unwrap();
    fs::write(app.join("new"), "app/one").unwrap();
    let dirty = ids(&app);
    assert_eq!(dirty["one"], clean["one"]);
    assert_eq!(dirty["new"], clean["one"]);
    assert_eq!(dirty["two"].same(&clean["two"]), Some(false));
    let tree = WorkTree::open(root, &[]).unwrap();
    let id = |content: &ContentId| content.to_string().strip_prefix("git:").unwrap().to_owned();
    git(root, &["add", "."]);
    git(root, &["commit", "-qm", "b"]);
    fs::write(app.join("two"), "app/two").unwrap();
    let back = ids(&app);
    assert_eq!(back["two"], clean["two"]);
    let files = [(b"app/two".to_vec(), id(&back["two"])), (b"app/one".to_vec(), id(&dirty["two"]))];
    let now = WorkTree::open(root, &[]).unwrap();
    assert_eq!(old_versions(&now, &files, 50).unwrap(), [b"app/two".to_vec()].into());
    assert_ne!(now.head, tree.head);
}

#[test]
fn line_ends_that_git_converts_are_no_difference() {
    let dir = tree(&["x.txt"]);
    let root = dir.path();
    git(root, &["init", "-q"]);
    fs::write(root.join(".gitattributes"), "*.txt text\n").unwrap();
    fs::write(root.join("x.txt"), "a\nb\n").unwrap();
    git(root, &["add", "."]);
    git(root, &["commit", "-qm", "a"]);
    let before = ids(root);
    fs::write(root.join("x.txt"), "a\r\nb\r\n").unwrap();
    assert_eq!(ids(root)["x.txt"], before["x.txt"]);
}

#[test]
fn without_git_the_bytes_name_the_content() {
    let dir = tree(&["a", "b/a"]);
    let entries = list(dir.path(), &IgnoreRules::default(), None).unwrap();
    let ids = named(&entries, identify(dir.path(), &entries, None, &|_| None));
    assert!(ids["a"].to_string().starts_with("sha256:"));
    assert_eq!(ContentId::parse(&ids["a"].to_string()).as_ref(), Some(&ids["a"]));
    assert_eq!(ids["a"].same(&ContentId::Git("00".into())), None);
    let told = identify(dir.path(), &entries, None, &|entry| (entry.path == "a").then(|| ContentId::Sha256("x".into())));
    let told = named(&entries, told);
    assert_eq!(told["a"], ContentId::Sha256("x".into()));
}
