//! `bklog report` and `bklog show --html` as a user calls them.

#[cfg(any(feature = "history", feature = "charts"))]
use std::fs;
#[cfg(feature = "history")]
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn bklog(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bklog"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(feature = "charts")]
#[test]
fn a_timeline_is_one_page() {
    for (log, code, heading, chart) in [
        ("testdata/format/201-ci-gha-raw/prefixed.log", 0, "Build succeeded in", "When each step ran"),
        ("testdata/format/201-ci-gha-raw/plain.log", 0, "Build succeeded in", "What each step took"),
        ("testdata/format/261-ci-gha-raw-fail/prefixed.log", 4, "Build failed", "When each step ran"),
    ] {
        let output = bklog(&["show", "--html", "-", log]);
        let page = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{log}: {}", text(&output.stderr));
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "{log}");
        assert!(page.contains(heading) && page.contains(chart), "{log}");
        assert_eq!(page.matches("<script").count(), 1, "{log}");
        assert!(page.contains("class=\"bar\""), "{log}");
    }
}

#[cfg(feature = "charts")]
#[test]
fn a_page_that_cannot_be_made_leaves_what_was_there() {
    let place = tempfile::tempdir().unwrap();
    let page = place.path().join("build.html");
    for log in ["no-such.log", "Cargo.toml"] {
        let output = bklog(&["show", "--html", page.to_str().unwrap(), log]);
        assert_eq!((output.status.code(), page.exists()), (Some(3), false), "{log}");
    }
    let good = "testdata/format/201-ci-gha-raw/prefixed.log";
    assert!(bklog(&["show", "--html", page.to_str().unwrap(), good]).status.success());
    let written = fs::read_to_string(&page).unwrap();
    assert!(written.ends_with("</html>\n"));
    assert_eq!(bklog(&["show", "--html", page.to_str().unwrap(), "no-such.log"]).status.code(), Some(3));
    assert_eq!(fs::read_to_string(&page).unwrap(), written);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "no temporary file is left");
    let nowhere = place.path().join("none/build.html");
    let output = bklog(&["show", "--html", nowhere.to_str().unwrap(), good]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("directory that exists"), "{}", text(&output.stderr));
}

#[cfg(feature = "charts")]
#[test]
fn a_page_of_two_logs_names_both() {
    let logs = ["testdata/format/201-ci-gha-raw/prefixed.log", "testdata/format/204-ci-gitlab-ts-O/prefixed.log"];
    let page = text(&bklog(&["show", "--html", "-", logs[0], logs[1]]).stdout);
    assert!(logs.iter().all(|log| page.contains(log)));
    assert_eq!((page.matches("<!doctype").count(), page.matches("<section").count()), (1, 2));
}

#[cfg(feature = "history")]
struct Place(std::path::PathBuf);

#[cfg(feature = "history")]
impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bklog-pages-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

#[cfg(feature = "history")]
impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(feature = "history")]
#[test]
fn a_report_of_recorded_logs() {
    let place = Place::new("report");
    let (history, out, charts) = (place.join("history"), place.join("out/"), place.join("charts"));
    for (day, log) in
        [("2026-11-10", "testdata/format/201-ci-gha-raw/prefixed.log"), ("2026-11-18", "testdata/format/005-multi-stage-padded/plain.log")]
    {
        let at = format!("{day}T08:00:00Z");
        let log = if Path::new(log).exists() { log.to_owned() } else { format!("{log}.gz") };
        let recorded = bklog(&["record", &log, "--history", &history, "--project", "app", "--started-at", &at, "--commit", "9f2c1e4aa"]);
        assert!(recorded.status.success(), "{}", text(&recorded.stderr));
    }
    let report = |more: &[&str]| bklog(&[&["report", "--history", &history, "--until", "2026-11-21T00:00:00Z"], more].concat());
    // The only project needs no name.
    let written = report(&["--out", &out]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    assert!(written.stdout.is_empty());
    for file in ["report.md", "report.json"] {
        assert!(text(&fs::read(format!("{out}{file}")).unwrap()).contains("app"), "{file}");
    }
    #[cfg(feature = "charts")]
    {
        assert!(text(&fs::read(format!("{out}report.html")).unwrap()).ends_with("</html>\n"));
        assert!(report(&["--charts", &charts]).status.success());
        assert!(fs::read_to_string(format!("{charts}/build-time.svg")).unwrap().starts_with("<svg"));
        #[cfg(feature = "pictures")]
        assert!(fs::read(format!("{charts}/build-time.png")).unwrap().starts_with(b"\x89PNG"));
    }
    let _ = &charts;
    let json: serde_json::Value = serde_json::from_slice(&report(&["--format", "json"]).stdout).unwrap();
    assert_eq!(
        (&json["schema"], &json["numbers"]["runs"], &json["numbers_before"]["runs"]),
        (&"bklog.report/1".into(), &1.into(), &1.into())
    );
    let empty = report(&["--since", "24h"]);
    assert_eq!(empty.status.code(), Some(0));
    assert!(text(&empty.stdout).contains("The last recorded run of app was on 18 November 2026"), "{}", text(&empty.stdout));
    let unknown = report(&["--project", "nobody"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("app"), "{}", text(&unknown.stderr));
    for wrong in [["--since", "soon"], ["--until", "soon"], ["--format", "html,json"]] {
        let output = bklog(&[&["report", "--history", &history], &wrong[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

#[cfg(feature = "history")]
#[test]
fn a_report_of_nothing_says_what_to_do() {
    let place = Place::new("nothing");
    let output = bklog(&["report", "--history", &place.join("none")]);
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stderr);
    assert!(said.contains("bklog record"), "{said}");
    let blocked = place.join("file");
    fs::write(&blocked, "x").unwrap();
    let history = place.join("history");
    assert!(bklog(&["record", "testdata/format/201-ci-gha-raw/prefixed.log", "--history", &history]).status.success());
    let output = bklog(&["report", "--since", "52w", "--history", &history, "--out", &format!("{blocked}/x.md")]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("cannot write"), "{}", text(&output.stderr));
}
