//! `bklog check` through the binary: small repositories, and logs as BuildKit would have written them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use bklog::evidence::context::transfer::TransferSizes;
use bklog::evidence::context::{ignore_rules, list};
use serde_json::Value;

use crate::git::git;

/// A repository with its history beside it.
pub(crate) struct Repo {
    dir: tempfile::TempDir,
}

impl Repo {
    /// An empty directory that is no repository yet.
    pub(crate) fn bare_directory() -> Self {
        let repo = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(repo.root()).unwrap();
        repo
    }

    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let repo = Self::bare_directory();
        repo.git(&["init", "-q"]);
        repo.write(files);
        repo.commit();
        repo
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("app")
    }

    pub(crate) fn history(&self) -> PathBuf {
        self.dir.path().join("history")
    }

    pub(crate) fn write(&self, files: &[(&str, &str)]) {
        for (name, content) in files {
            let path = self.root().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    #[cfg(feature = "history")]
    /// Gives files one time, as scripts do that set times.
    pub(crate) fn set_times(&self, files: &[&str]) {
        for name in files {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
            fs::File::options().write(true).open(self.root().join(name)).unwrap().set_modified(time).unwrap();
        }
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.root(), args)
    }

    pub(crate) fn commit(&self) -> String {
        // A file of one size and a set time looks unchanged to git.
        let _ = fs::remove_file(self.root().join(".git/index"));
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", "x", "--allow-empty"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Bytes of the context's transfer: the listing, and the contents of these files; `*` is all.
    pub(crate) fn bytes(&self, read: &[&str]) -> u64 {
        let root = self.root();
        let rules = ignore_rules(&root, Some(&root.join("Dockerfile"))).unwrap().0;
        let entries = list(&root, &rules, None).unwrap();
        let sizes = TransferSizes::of(&entries);
        let wanted = |path: &str| read.contains(&"*") || read.contains(&path);
        sizes.listing + entries.iter().zip(&sizes.contents).filter(|(entry, _)| wanted(&entry.path)).map(|(_, size)| *size).sum::<u64>()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bklog"));
        for (name, _) in std::env::vars() {
            if ["BKLOG_", "GITHUB_", "GITLAB_", "CI", "DOCKER_", "BUILDX_"].iter().any(|start| name.starts_with(start)) {
                command.env_remove(name);
            }
        }
        command.args(args).current_dir(self.root()).env("HOME", self.dir.path()).env("GIT_CONFIG_NOSYSTEM", "1").env_remove("PWD");
        command
    }

    pub(crate) fn log(&self, text: &str) -> PathBuf {
        let path = self.dir.path().join("build.log");
        fs::write(&path, text).unwrap();
        path
    }

    /// Checks a log as JSON; gives the exit code too.
    pub(crate) fn check(&self, log: &str, more: &[&str]) -> (Value, i32) {
        let path = self.log(log);
        let mut args = vec!["check", path.to_str().unwrap(), "--format", "json", "--build", "docker buildx build ."];
        args.extend(more);
        let out = self.command(&args).output().unwrap();
        let report = serde_json::from_slice(&out.stdout);
        (report.unwrap_or_else(|error| panic_with(&error.to_string(), &out)), out.status.code().unwrap())
    }

    #[cfg(feature = "history")]
    /// The same, with the history: recorded as begun at a second of a minute.
    pub(crate) fn record(&self, log: &str, second: u32, more: &[&str]) -> (Value, i32) {
        let history = self.history();
        let started = format!("2026-11-21T08:00:{second:02}Z");
        let mut args = vec!["--history", history.to_str().unwrap(), "--record", "--started-at", &started];
        args.extend(more);
        self.check(log, &args)
    }
}

#[expect(clippy::panic, reason = "the failure that the test is for")]
fn panic_with(message: &str, out: &Output) -> ! {
    panic!("{message}\n{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// A log of one build. Sizes are below 1000 bytes in these tests, and so exact.
pub(crate) fn log(bytes: u64, steps: &[(&str, &str)]) -> String {
    let mut text = format!(
        "#0 building with \"b\" instance using docker-container driver\n\n#1 [internal] load build context\n#1 transferring context: {bytes}B done\n#1 DONE 0.0s\n\n#2 [1/9] FROM docker.io/library/busybox@sha256:{0}\n#2 CACHED\n\n",
        "0".repeat(64)
    );
    for (number, (name, status)) in (3..).zip(steps) {
        text += &format!("#{number} {name}\n#{number} {status}\n\n");
    }
    text + "#90 exporting to image\n#90 exporting layers done\n#90 DONE 0.1s\n"
}

pub(crate) fn verdict(report: &Value, index: u32) -> (String, String) {
    let step = report["steps"].as_array().unwrap().iter().find(|step| step["index"] == index).unwrap();
    (step["verdict"].as_str().unwrap().to_owned(), step["because"].as_str().unwrap().to_owned())
}

pub(crate) fn messages(report: &Value, rule: &str) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter().filter(|finding| finding["rule"] == rule);
    findings.map(|finding| finding["message"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn notes(report: &Value) -> String {
    report["notes"].to_string()
}

pub(crate) const DOCKERFILE: (&str, &str) = ("Dockerfile", "FROM busybox\nCOPY . /app\n");
pub(crate) const IGNORE: (&str, &str) = (".dockerignore", ".git\ndocs\n!docs/schema.json\n");
const COPY: &str = "[2/2] COPY . /app";

#[test]
#[cfg(feature = "history")]
fn a_second_check_of_a_recorded_log_is_the_same_as_the_first() {
    let repo = Repo::new(&[DOCKERFILE, IGNORE, ("a", "old"), ("b", "b")]);
    repo.set_times(&["a", "b", "Dockerfile", ".dockerignore"]);
    let first = log(repo.bytes(&["*"]), &[(COPY, "DONE 0.1s")]);
    assert_eq!(repo.record(&first, 1, &[]).1, 0);
    repo.write(&[("a", "new")]);
    repo.set_times(&["a"]);
    repo.commit();
    let second = log(repo.bytes(&[]), &[(COPY, "CACHED")]);
    let (before, code) = repo.record(&second, 2, &[]);
    assert_eq!((verdict(&before, 3).0.as_str(), code), ("stale", 1));
    let (again, code) = repo.record(&second, 2, &[]);
    assert_eq!((again["steps"].clone(), code), (before["steps"].clone(), 1));
    let history = repo.history();
    let (without, _) = repo.check(&second, &["--history", history.to_str().unwrap(), "--started-at", "2026-11-21T08:00:02Z"]);
    assert_eq!(without["steps"], before["steps"]);
}

#[test]
#[cfg(feature = "history")]
fn the_history_tells_a_cold_cache_and_a_repeated_bust() {
    let file = ("Dockerfile", "FROM busybox\nARG CACHEBUST=1\nRUN echo \"bust: $CACHEBUST\"\nCOPY . /app\n");
    let repo = Repo::new(&[file, IGNORE, ("a", "a")]);
    let steps = |bust: &str, copy: &str| log(repo.bytes(&[]), &[("[2/3] RUN echo \"bust: 7\"", bust), ("[3/3] COPY . /app", copy)]);
    let command = ["--build", "docker buildx build --build-arg CACHEBUST=7 ."];
    let check = |text: &str, second: u32| {
        let path = repo.log(text);
        let (history, started) = (repo.history(), format!("2026-11-21T08:00:{second:02}Z"));
        let args = ["check", path.to_str().unwrap(), "--format", "json", "--history", history.to_str().unwrap(), "--record"];
        let args: Vec<&str> = args.into_iter().chain(["--started-at", started.as_str()]).chain(command).collect();
        let out = repo.command(&args).output().unwrap();
        serde_json::from_slice::<Value>(&out.stdout).unwrap_or_else(|error| panic_with(&error.to_string(), &out))
    };
    let first = check(&steps("DONE 0.1s", "DONE 0.1s"), 1);
    assert_eq!((messages(&first, "cold-cache"), messages(&first, "bust-ineffective")), (vec![], vec![]));
    let second = check(&steps("CACHED", "CACHED"), 2);
    let found = second["findings"].as_array().unwrap().iter().find(|finding| finding["rule"] == "bust-ineffective").unwrap();
    assert_eq!(found["message"], "CACHEBUST=7 was used before: the bust step is CACHED");
    let evidence = found["evidence"].to_string();
    assert!(evidence.contains("was given the same value") && evidence.contains("run 20261121T080001."), "{evidence}");
    let third = check(&steps("DONE 0.1s", "DONE 0.2s"), 3);
    assert_eq!(messages(&third, "cold-cache"), ["not one of 2 steps was cached"]);
    let evidence = third["findings"].to_string();
    assert!(evidence.contains("run 20261121T080002.") && evidence.contains("had 2 of 2 steps cached"), "{evidence}");
}

#[test]
#[cfg(all(feature = "history", unix))]
fn run_and_the_pipe_ask_the_history_too() {
    let repo = Repo::new(&[("Dockerfile", "FROM busybox\nRUN x\nRUN y\n"), IGNORE]);
    let text = |status| log(repo.bytes(&["*"]), &[("[2/3] RUN x", status), ("[3/3] RUN y", status)]);
    let history = repo.history();
    let history = ["--history", history.to_str().unwrap(), "--record"];
    let build = |log: &std::path::Path| format!("cat '{}' >&2", log.display());
    let warm = repo.log(&text("CACHED"));
    let run = |log: &std::path::Path| {
        let mut command = repo.command(&["run", "--format", "json"]);
        command.args(history).args(["--build", "docker buildx build ."]).args(["--", "sh", "-c", &build(log)]).output().unwrap()
    };
    let out = run(&warm);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let cold = repo.log(&text("DONE 0.1s"));
    let out = run(&cold);
    assert!(String::from_utf8_lossy(&out.stderr).contains("not one of 2 steps was cached"), "{}", String::from_utf8_lossy(&out.stderr));
    let mut pipe = repo.command(&["--format", "json"]);
    let out = pipe.args(history).args(["--build", "docker buildx build ."]).stdin(fs::File::open(&cold).unwrap()).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stderr).contains("not one of 2 steps was cached"), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn changes_that_the_ignore_file_keeps_out_are_told() {
    let repo = Repo::new(&[DOCKERFILE, IGNORE, ("docs/a.md", "1"), ("docs/schema.json", "1"), ("src/a", "1")]);
    repo.write(&[("docs/a.md", "2"), ("docs/untracked", "x")]);
    let head = repo.git(&["rev-parse", "HEAD"]);
    repo.git(&["commit", "-qam", "docs"]);
    let text = log(repo.bytes(&[]), &[(COPY, "CACHED")]);
    let (report, code) = repo.check(&text, &["--since", &head]);
    assert_eq!(messages(&report, "ignored-change"), ["A changed file is kept out of the context by .dockerignore"]);
    assert_eq!((verdict(&report, 3).0.as_str(), code), ("fresh", 0));
    let finding = report["findings"].as_array().unwrap().iter().find(|finding| finding["rule"] == "ignored-change").unwrap();
    assert_eq!(finding["files"], serde_json::json!(["docs/a.md"]));
    // An exception takes it in again, and what nobody compares with is not told.
    repo.write(&[("docs/schema.json", "2")]);
    let head = repo.commit();
    assert_eq!(messages(&repo.check(&text, &["--since", &head]).0, "ignored-change"), Vec::<String>::new());
    assert_eq!(messages(&repo.check(&text, &[]).0, "ignored-change"), Vec::<String>::new());
}
