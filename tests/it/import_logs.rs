//! `scripts/import-ci-logs.py`, with a `gh` and a `curl` that answer from files.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const GH: &str = r#"#!/bin/sh
case "$*" in
  "run list --repo acme/app --limit 200 --json"*)
    echo '[{"databaseId": 11, "headSha": "9f2c1e4aa", "headBranch": "main", "startedAt": "2026-11-18T08:00:00Z", "updatedAt": "2026-11-18T08:02:00Z", "url": "https://ci.example/11", "status": "completed"},
           {"databaseId": 12, "headSha": "0a1b2c3dd", "headBranch": "main", "startedAt": "2026-11-19T08:00:00Z", "updatedAt": "2026-11-19T08:02:00Z", "url": "https://ci.example/12", "status": "completed"},
           {"databaseId": 13, "headSha": "ffff", "headBranch": "main", "startedAt": "2026-11-20T08:00:00Z", "url": "https://ci.example/13", "status": "in_progress"},
           {"databaseId": 14, "headSha": "eeee", "headBranch": "main", "startedAt": "2026-08-20T08:00:00Z", "url": "https://ci.example/14", "status": "completed"}]' ;;
  "run view 11 "*--log) cat "$LOGS/gha.log" ;;
  "run view 12 "*--log) echo "nothing was built here" ;;
  *) echo "log not found: $*" >&2; exit 1 ;;
esac
"#;

const CURL: &str = r#"#!/bin/sh
grep -q 'PRIVATE-TOKEN: t0ken' || { echo "no token" >&2; exit 22; }
for url; do :; done
case "$*" in *t0ken*) echo "the token stands on the command line" >&2; exit 99 ;; esac
case "$url" in
  https://git.example/api/v4/projects/group%2Fapp/jobs\?*page=1)
    echo '[{"id": 21, "name": "build", "ref": "main", "commit": {"id": "9f2c1e4aa"}, "started_at": "2026-11-18T08:00:00.000Z", "finished_at": "2026-11-18T08:02:00.000Z", "web_url": "https://git.example/21", "runner": {"description": "big"}},
           {"id": 22, "name": "test", "ref": "main", "commit": null, "started_at": null, "finished_at": null, "web_url": "https://git.example/22", "runner": null}]' ;;
  https://git.example/api/v4/projects/group%2Fapp/jobs\?*) echo '[]' ;;
  https://git.example/api/v4/projects/group%2Fapp/jobs/21/trace) cat "$LOGS/gitlab.log" ;;
  *) echo "404 $url" >&2; exit 22 ;;
esac
"#;

struct Stage {
    directory: PathBuf,
    root: PathBuf,
}

impl Stage {
    fn new(name: &str) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let directory = std::env::temp_dir().join(format!("bklog-import-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("bin")).unwrap();
        for (tool, text) in [("gh", GH), ("curl", CURL)] {
            let path = directory.join("bin").join(tool);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (log, case) in [("gha.log", "202-ci-gha-view-log"), ("gitlab.log", "204-ci-gitlab-ts-O")] {
            fs::copy(root.join("testdata/format").join(case).join("prefixed.log"), directory.join(log)).unwrap();
        }
        Self { directory, root }
    }

    fn import(&self, arguments: &[&str]) -> Output {
        let path = format!("{}:{}", self.directory.join("bin").display(), std::env::var("PATH").unwrap_or_default());
        Command::new("python3")
            .arg(self.root.join("scripts/import-ci-logs.py"))
            .args(arguments)
            .args(["--", "--project", "app", "--history"])
            .arg(self.directory.join("history"))
            .env("PATH", path)
            .env("LOGS", &self.directory)
            .env("BKLOG", env!("CARGO_BIN_EXE_bklog"))
            .env("GITLAB_URL", "https://git.example/")
            .env("GITLAB_TOKEN", "t0ken")
            .output()
            .unwrap()
    }

    /// What a report knows of the imported runs.
    fn report(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_bklog"))
            .args([
                "report",
                "--format",
                "json",
                "--project",
                "app",
                "--since",
                "2026-11-01",
                "--until",
                "2026-11-21T00:00:00Z",
                "--history",
            ])
            .arg(self.directory.join("history"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn has_python() -> bool {
    Path::new("/usr/bin/python3").exists() || Command::new("python3").arg("--version").output().is_ok()
}

#[test]
fn logs_of_github_actions() {
    if !has_python() {
        return;
    }
    let stage = Stage::new("github");
    let github = ["github", "--repo", "acme/app"];
    assert_eq!(said(&stage.import(&github)), "1 new, 0 already there, 1 without a build, 1 whose log is gone");
    assert_eq!(said(&stage.import(&github)), "0 new, 1 already there, 1 without a build, 1 whose log is gone");
    let report = stage.report();
    assert!(report.contains("\"runs\": 1,") && report.contains("2026-11-"), "{report}");
    let unknown = stage.import(&["github", "--repo", "acme/other"]);
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("gh auth status"));
}

#[test]
fn logs_of_gitlab() {
    if !has_python() {
        return;
    }
    let stage = Stage::new("gitlab");
    let gitlab = ["gitlab", "--project", "group/app", "--job", "build"];
    assert_eq!(said(&stage.import(&gitlab)), "1 new, 0 already there, 0 without a build, 0 whose log is gone");
    assert!(stage.report().contains("\"runs\": 1,"));
}
