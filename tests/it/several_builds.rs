//! Several builds in one log that no target names, as a script makes them: what the ledger, `trend`, `diff` and `report` say of each.

use std::process::Command;

use bklog::{
    build::Build,
    history::{Clock, History, RunInfo, run_rows},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    common::{json, text},
    records::read,
};

/// The log of a script that builds services one after the other; `seconds` is what each takes for its dependencies, `None` where the cache
/// has them.
fn log(services: &[(&str, Option<f64>)]) -> String {
    let one = |(service, seconds): &(&str, Option<f64>)| {
        let install = seconds.map_or("CACHED".to_owned(), |seconds| format!("DONE {seconds:.1}s"));
        format!(
            "#1 [internal] load build definition from Dockerfile\n#1 DONE 0.0s\n\n#2 [internal] load build context\n\
             #2 transferring context: 2.00kB done\n#2 DONE 0.1s\n\n#3 [1/4] FROM docker.io/library/node:22\n#3 CACHED\n\n\
             #4 [2/4] COPY package.json .\n#4 CACHED\n\n#5 [3/4] RUN npm ci\n#5 {install}\n\n#6 [4/4] COPY . .\n#6 DONE 2.0s\n\n\
             #7 exporting to image\n#7 exporting layers done\n#7 naming to registry.example.org/shop/{service}:9f2c1e4 done\n#7 DONE 0.3s\n"
        )
    };
    services.iter().map(one).collect()
}

fn builds(run: usize) -> Vec<Build> {
    // `web` loses its cache at run 16; nothing else changes but for a little noise.
    let noise = (run * 7 % 5) as f64 / 10.0;
    let web = if run < 16 { None } else { Some(60.0 + noise) };
    let builds = read(log(&[("api", Some(5.0 + noise)), ("web", web), ("jobs", Some(8.0 - noise))]).as_bytes());
    assert_eq!(builds.len(), 3);
    builds
}

fn info(run: usize) -> RunInfo {
    let start: Timestamp = "2026-03-02T08:00:00Z".parse().unwrap();
    let started_at = start.checked_add(SignedDuration::from_hours(i64::try_from(run).unwrap())).unwrap();
    RunInfo { project: "shop".to_owned(), started_at, ..RunInfo::default() }
}

/// A history of 24 runs, of which a program that named no builds recorded the first `old` ones.
fn recorded(old: usize) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let history = History::open(directory.path(), "shop");
    for run in 0..24 {
        let mut rows = run_rows(&builds(run), &[], &info(run));
        if run < old {
            rows.builds.retain(|row| row.target.is_none());
            for step in &mut rows.steps {
                let given = step.target.take().unwrap();
                step.identity = step.identity.strip_prefix(&format!("{given} ")).unwrap().to_owned();
            }
        }
        history.record(&rows, &[], Clock::Known).unwrap();
    }
    directory
}

fn bklog(history: &tempfile::TempDir, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bklog"));
    command.args(arguments).args(["--project", "shop", "--history"]).arg(history.path()).current_dir(history.path()).env_clear();
    command.output().unwrap()
}

fn changes(document: &serde_json::Value, metric: &str) -> Vec<(String, Vec<u64>)> {
    let series = document["series"].as_array().unwrap().iter().filter(|series| series["metric"] == metric);
    let of = |series: &serde_json::Value| {
        let changes = series["changes"].as_array().unwrap().iter().map(|change| change["index"].as_u64().unwrap()).collect();
        (series["target"].as_str().unwrap_or("all").to_owned(), changes)
    };
    series.map(of).collect()
}

fn named(name: &str, changes: &[u64]) -> (String, Vec<u64>) {
    (name.to_owned(), changes.to_vec())
}

#[test]
fn each_build_has_series_of_its_own() {
    let history = recorded(0);
    let document = json(&bklog(&history, &["trend", "--format", "json"]));
    let expected = [named("all", &[16]), named("api", &[]), named("jobs", &[]), named("web", &[16])];
    assert_eq!(changes(&document, "duration_seconds"), expected);
    // One of nine commands more that runs is no change of the whole.
    let expected = [named("all", &[]), named("api", &[]), named("jobs", &[]), named("web", &[16])];
    assert_eq!(changes(&document, "cache_hit_ratio"), expected);
    let steps = &document["series"][0]["changes"][0]["steps"];
    assert_eq!(steps.as_array().unwrap().len(), 1, "{steps}");
    assert_eq!((steps[0]["name"].as_str(), steps[0]["target"].as_str()), (Some("web RUN npm ci"), Some("web")));
    assert_eq!((steps[0]["cache_hit_before"].as_f64(), steps[0]["cache_hit_after"].as_f64()), (Some(1.0), Some(0.0)));

    let document = json(&bklog(&history, &["trend", "--format", "json", "--metric", "duration", "--step", "npm ci"]));
    let steps: Vec<_> = document["series"].as_array().unwrap().iter().filter(|series| series["step"].is_string()).collect();
    let lengths: Vec<_> =
        steps.iter().map(|series| (series["target"].as_str().unwrap(), series["points"].as_array().unwrap().len())).collect();
    assert_eq!(lengths, [("api", 24), ("jobs", 24), ("web", 8)]);

    let document = json(&bklog(&history, &["trend", "--format", "json", "--target", "web"]));
    assert!(document["series"].as_array().unwrap().iter().all(|series| series["target"] == "web"));
}

#[test]
fn two_runs_are_compared_service_by_service() {
    let history = recorded(0);
    let output = bklog(&history, &["diff", "latest~10", "latest"]);
    let said = text(&output.stdout);
    assert!(said.contains("web 3/4 RUN npm ci"), "{said}");
    assert!(!said.contains("api 3/4 RUN npm ci"), "{said}");
    // A build that is alone in its log has no name, and is the same build all the same.
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(place.path().join(name), text).unwrap();
    write("all.log", log(&[("api", Some(5.0)), ("web", None), ("jobs", Some(8.0))]));
    write("one.log", log(&[("web", Some(60.0))]));
    let output = Command::new(env!("CARGO_BIN_EXE_bklog"))
        .args(["diff", "all.log", "one.log", "--format", "json"])
        .current_dir(place.path())
        .env_clear()
        .output()
        .unwrap();
    let document = json(&output);
    let install: Vec<_> =
        document["steps"].as_array().unwrap().iter().filter(|step| step["name"].as_str().unwrap().contains("npm ci")).collect();
    let mut became: Vec<_> = install.iter().map(|step| (step["name"].as_str().unwrap(), step["change"].as_str().unwrap())).collect();
    became.sort_unstable();
    assert_eq!(became, [("3/4 RUN npm ci", "lost-cache"), ("api 3/4 RUN npm ci", "removed"), ("jobs 3/4 RUN npm ci", "removed")]);
}

#[test]
fn the_report_names_the_service() {
    let history = recorded(0);
    let output = bklog(&history, &["report", "--until", "2026-03-04T00:00:00Z", "--format", "markdown"]);
    let said = text(&output.stdout);
    assert!(said.contains("web builds"), "{said}");
    assert!(said.contains("| web · "), "{said}");
}

#[test]
fn what_was_recorded_without_names_still_counts() {
    let history = recorded(8);
    let document = json(&bklog(&history, &["trend", "--format", "json"]));
    let expected = [named("all", &[16]), named("api", &[]), named("jobs", &[]), named("web", &[8])];
    assert_eq!(changes(&document, "duration_seconds"), expected);
    let said = text(&bklog(&history, &["trend", "--width", "120"]).stdout);
    assert!(said.contains("web RUN npm ci"), "{said}");
    assert!(bklog(&history, &["history", "verify"]).status.success());
    let said = text(&bklog(&history, &["history", "show", "latest"]).stdout);
    assert!(said.contains("  web [3/4] RUN npm ci"), "{said}");
}
