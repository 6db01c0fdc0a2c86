//! `trend` and `diff` over sixty real builds: the cache was lost before build 26 and was back with build 41 (testdata/trend/README.md).

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use bklog::{
    build::{Build, collect::Collector},
    history::{Clock, History, RunInfo, run_rows},
    log::{Reader, source},
};

fn builds_directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/trend/sixty-real-builds")
}

fn log(number: usize) -> String {
    builds_directory().join(format!("{number:02}.log.gz")).to_str().unwrap().to_owned()
}

fn read(path: &Path) -> Vec<Build> {
    let mut builds = Vec::new();
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut source::open(path).unwrap(), &mut text).unwrap();
    let mut reader = Reader::new(Collector::new(|build| builds.push(build)));
    reader.feed(&text);
    reader.finish();
    builds
}

/// Records the first `count` builds in a fresh history.
fn recorded(count: usize, project: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let history = History::open(directory.path(), project);
    let mut rows = csv::Reader::from_path(builds_directory().join("builds.csv")).unwrap();
    for row in rows.records().take(count) {
        let row = row.unwrap();
        let info = RunInfo {
            project: project.to_owned(),
            started_at: row[2].parse().unwrap(),
            finished_at: Some(row[3].parse().unwrap()),
            commit: Some(row[1].to_owned()),
            branch: Some("main".to_owned()),
            ..RunInfo::default()
        };
        history.record(&run_rows(&read(&builds_directory().join(&row[0])), &[], &info), &[], Clock::Known).unwrap();
    }
    directory
}

fn all() -> &'static Path {
    static HISTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    HISTORY.get_or_init(|| recorded(60, "watchparty")).path()
}

/// Runs the command in a directory of its own, where no settings of the repository hold.
fn bklog_in(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bklog"));
    command.args(arguments).env_clear().stdin(Stdio::null()).current_dir(directory).output().unwrap()
}

fn bklog(arguments: &[&str]) -> Output {
    bklog_in(&std::env::temp_dir(), arguments)
}

fn trend(arguments: &[&str]) -> Output {
    bklog(&[&["trend", "--history", all().to_str().unwrap(), "--project", "watchparty"], arguments].concat())
}

fn diff(arguments: &[&str]) -> Output {
    bklog(&[&["diff", "--history", all().to_str().unwrap(), "--project", "watchparty"], arguments].concat())
}

fn out(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&out(output)).unwrap()
}

/// Exit code and message of a command that cannot do its work.
fn failure(output: &Output) -> (i32, String) {
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

#[test]
fn the_story_of_the_lost_cache() {
    insta::assert_snapshot!("trend_text", out(&trend(&["--width", "100"])));
    insta::assert_snapshot!("trend_markdown", out(&trend(&["--format", "markdown"])));
}

#[test]
fn two_changes_in_every_series_and_the_steps_that_made_them() {
    let document = json(&trend(&["--format", "json"]));
    assert_eq!(document["schema"], "bklog.trend/1");
    let series = document["series"].as_array().unwrap();
    let whole: Vec<_> = series.iter().filter(|s| s["metric"] == "duration_seconds" && s["target"].is_null()).collect();
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0]["points"].as_array().unwrap().len(), 60);
    for of in series {
        let found: Vec<_> = of["changes"].as_array().unwrap().iter().map(|c| (c["index"].as_u64().unwrap(), c["state"].clone())).collect();
        let name = format!("{} {}", of["target"], of["metric"]);
        if of["metric"] == "context_bytes" {
            assert!(found.is_empty(), "{name}: {found:?}");
        } else {
            assert_eq!(found, [(25, "confirmed".into()), (40, "confirmed".into())], "{name}");
        }
    }
    let change = &whole[0]["changes"][0];
    assert_eq!(change["direction"], "slower");
    assert_eq!(change["commits"][0], "5e6305ed8c26c7180238a56d7e7b2e66bdc25a8f..592616420acfcfccab92266e15efd3f278973c96");
    let steps = change["steps"].as_array().unwrap();
    for (step, name) in steps.iter().zip(["frontend deps RUN echo install frontend", "backend deps RUN echo install backend"]) {
        assert!(step["name"].as_str().unwrap().starts_with(name), "{step}");
        assert_eq!((step["cache_hit_before"].as_f64(), step["cache_hit_after"].as_f64()), (Some(1.0), Some(0.0)));
        assert!(step["delta_seconds"].as_f64().unwrap() > 5.0);
    }
}

#[test]
fn one_target_one_metric_one_step() {
    let document = json(&trend(&["--format", "json", "--target", "backend", "--metric", "duration", "--step", "install"]));
    let names: Vec<_> = document["series"].as_array().unwrap().iter().map(|s| (s["target"].clone(), s["step"].is_string())).collect();
    assert_eq!(names, [("backend".into(), false), ("backend".into(), true)]);
    assert_eq!(document["series"][1]["points"].as_array().unwrap().len(), 15, "where it ran");
    let document = json(&trend(&["--format", "json", "--since", "2026-11-21T02:18:00Z", "--metric", "cache-hits"]));
    assert!(document["series"].as_array().unwrap().iter().all(|s| s["metric"] == "cache_hit_ratio"));
    assert!(document["series"][0]["points"].as_array().unwrap().len() < 40);
}

#[test]
fn a_regression_that_holds_fails_the_job_until_it_is_accepted() {
    let slow = recorded(33, "shop");
    let settings = tempfile::tempdir().unwrap();
    let history = slow.path().to_str().unwrap();
    let gate = |arguments: &[&str]| {
        let arguments = [&["trend", "--history", history, "--project", "shop", "--fail-on-regression"], arguments].concat();
        bklog_in(settings.path(), &arguments).status.code().unwrap()
    };
    let write = |text: &str| std::fs::write(settings.path().join("bklog.toml"), text).unwrap();
    assert_eq!(gate(&[]), 1);
    assert_eq!(trend(&["--fail-on-regression"]).status.code(), Some(0), "it was taken back with build 41");
    for since in ["592616420acf", "2026-11-21"] {
        write(&format!("[[trend.accept]]\nsince = \"{since}\"\nreason = \"the cache moves\"\n"));
        assert_eq!(gate(&[]), 0, "{since}");
    }
    write("[[trend.accept]]\nsince = \"592616420acf\"\nreason = \"the cache moves\"\n[trend.budget]\ntotal = \"10s\"\n");
    assert_eq!(gate(&[]), 1, "over budget");
    let text = bklog_in(settings.path(), &["trend", "--history", history, "--project", "shop", "--width", "100"]);
    let text = out(&text);
    assert!(text.contains("Accepted: the cache moves."), "{text}");
    assert!(text.contains("over budget: whole run takes 13.4s, and may take 10.0s (median of the last 5 builds)"), "{text}");
    write(
        "[trend.budget]\ntotal = \"1m\"\n[trend.budget.steps]\n\"install backend\" = \"7s\"\n[[trend.accept]]\nsince = \"5926164\"\nreason = \"x\"\n",
    );
    assert_eq!(gate(&[]), 0);
}

#[test]
fn what_is_not_there_is_said() {
    let history = all().to_str().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let (code, message) = failure(&bklog(&["trend", "--history", empty.path().to_str().unwrap()]));
    assert_eq!(code, 3);
    assert!(message.contains("no run is recorded in") && message.contains("bklog record"), "{message}");
    let (code, message) = failure(&bklog(&["trend", "--history", history, "--project", "watchparti"]));
    assert_eq!(code, 2);
    assert!(message.contains("no run of \"watchparti\" is recorded; there are runs of watchparty"), "{message}");
    let (code, message) = failure(&trend(&["--target", "worker"]));
    assert_eq!(code, 2);
    assert!(message.contains("there are backend, frontend"), "{message}");
    let (code, message) = failure(&trend(&["--branch", "next"]));
    assert_eq!(code, 3);
    assert!(message.contains("widen --since"), "{message}");
    let (code, message) = failure(&trend(&["--step", "cargo build"]));
    assert_eq!(code, 2);
    assert!(message.contains("no step that ran holds \"cargo build\""), "{message}");
    let (code, message) = failure(&diff(&["latest", "nothing"]));
    assert_eq!(code, 2);
    assert!(message.contains("there is no log and no run \"nothing\"; the last runs are 2026"), "{message}");
    let (code, _) = failure(&diff(&["latest~60", "latest"]));
    assert_eq!(code, 2);
    assert_eq!(failure(&bklog(&["diff", "-", "-"])).0, 2);
}

#[test]
fn one_run_and_failed_runs_have_no_trend() {
    let one = recorded(1, "shop");
    let text = out(&bklog(&["trend", "--history", one.path().to_str().unwrap(), "--project", "shop"]));
    assert!(text.contains("shop · 1 build · 21 Nov 2026") && text.contains("seven builds"), "{text}");
    let failed = tempfile::tempdir().unwrap();
    let history = History::open(failed.path(), "shop");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/format/017-failing-run");
    let path = ["plain.log", "plain.log.gz"].map(|file| path.join(file)).into_iter().find(|path| path.exists()).unwrap();
    let info = RunInfo { project: "shop".to_owned(), started_at: "2026-11-21T08:00:00Z".parse().unwrap(), ..RunInfo::default() };
    history.record(&run_rows(&read(&path), &[], &info), &[], Clock::Known).unwrap();
    let text = out(&bklog(&["trend", "--history", failed.path().to_str().unwrap(), "--project", "shop"]));
    assert!(text.contains("left out: 1 failed") && text.contains("no build succeeded"), "{text}");
}

#[test]
fn two_builds_step_by_step() {
    // Build 25 changed documents only, build 26 came after the first prune.
    let arguments = ["5e6305ed", "59261642"];
    insta::assert_snapshot!("diff_text", out(&diff(&[&arguments[..], &["--width", "100"]].concat())));
    insta::assert_snapshot!("diff_markdown", out(&diff(&[&arguments[..], &["--format", "markdown"]].concat())));
    let document = json(&diff(&[&arguments[..], &["--format", "json"]].concat()));
    assert_eq!(document["schema"], "bklog.diff/1");
    let number = |of: &str, field: &str| document[of][field].as_f64().unwrap();
    for field in ["a", "b", "delta"] {
        assert!((number("steps_total", field) - number("overlap", field) - number("total", field)).abs() < 1e-9, "{field}");
    }
    let sum: f64 = document["steps"].as_array().unwrap().iter().map(|step| step["delta_seconds"].as_f64().unwrap()).sum();
    assert!((sum - number("steps_total", "delta")).abs() < 1e-9);
}

#[test]
fn logs_are_compared_without_a_history() {
    let text = out(&bklog(&["diff", &log(24), &log(26), "--width", "100"]));
    assert!(text.contains("no step at all came from the cache"), "{text}");
    assert!(text.contains("estimated from the steps"), "{text}");
    let same = json(&bklog(&["diff", &log(24), &log(24), "--format", "json"]));
    assert!(same["steps"].as_array().unwrap().iter().all(|step| step["change"] == "same" && step["edited"] == false));
    assert_eq!(same["total"]["delta"], 0.0);
}

#[test]
fn the_files_between_two_commits_explain_a_copy() {
    let directory = tempfile::tempdir().unwrap();
    let repository = directory.path().join("repo");
    std::fs::create_dir_all(repository.join("api/src")).unwrap();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]).args(arguments);
        let output = command.current_dir(&repository).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let commit = |content: &str| {
        for file in ["api/src/main.py", "README.md"] {
            std::fs::write(repository.join(file), content).unwrap();
        }
        git(&["add", "."]);
        git(&["commit", "-qm", "x"]);
        git(&["rev-parse", "HEAD"])
    };
    git(&["init", "-q"]);
    let (from, to) = (commit("one\n"), commit("two\n"));
    let log = |name: &str, status: &str| {
        let path = directory.path().join(name);
        let text = format!(
            "#1 [api internal] load build context\n#1 transferring context: 2.32kB done\n#1 DONE 0.0s\n\n#2 [api 2/3] COPY src ./\n#2 {status}\n\n#3 [api 3/3] RUN make\n#3 {status}\n\n#4 [api] exporting to image\n#4 DONE 0.1s\n"
        );
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (a, b) = (log("a.log", "CACHED"), log("b.log", "DONE 2.0s"));
    let range = format!("{from}..{to}");
    let repository_path = repository.to_str().unwrap();
    let text = out(&bklog(&["diff", &a, &b, "--commits", &range, "--repo", repository_path, "--width", "100"]));
    assert!(text.contains("1 file that it copies changed: `api/src/main.py`"), "{text}");
    let output = bklog(&["diff", &a, &b, "--commits", "1234567..89abcde", "--repo", repository_path]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("warning: "), "who gives commits wants to know that git does not");
    assert_eq!(bklog(&["diff", &a, &b, "--commits", "1234567"]).status.code(), Some(2));
}

/// The log of a bake build of two targets; `warm` is one whose cache was imported and answers.
fn two_targets(warm: bool, imports: bool) -> String {
    let import = |index: usize, target: &str| {
        format!("#{index} importing cache manifest from registry.example.org/app/{target}:latest\n#{index} DONE 0.6s\n\n")
    };
    let cached = |index: usize, name: &str, seconds: f64| {
        let end = if warm { "CACHED".to_owned() } else { format!("DONE {seconds:.1}s") };
        format!("#{index} {name}\n#{index} {end}\n\n")
    };
    let mut log = String::new();
    if imports {
        log += &(import(1, "backend") + &import(2, "frontend"));
    }
    log += &cached(3, "[backend builder 2/5] COPY requirements.txt .", 0.1);
    log += &cached(4, "[backend builder 3/5] RUN pip install -r requirements.txt", 1026.0);
    log +=
        "#5 [backend stage-1 4/5] COPY . /app/\n#5 DONE 1.0s\n\n#6 [backend stage-1 5/5] RUN python -m compileall /app\n#6 DONE 140.0s\n\n";
    log += &cached(7, "[frontend build 3/4] RUN npm ci", 44.0);
    log += "#8 [frontend build 4/4] RUN npm run build\n#8 DONE 60.0s\n\n#9 [backend] exporting to image\n#9 exporting layers done\n";
    if imports {
        log += "#9 preparing layers for inline cache done\n";
    }
    log + "#9 DONE 4.0s\n"
}

/// The story that the whole of `trend` is for: somebody removed the cache import, and nobody knew when and why builds became slow.
#[test]
fn since_when_by_how_much_by_which_step_and_why() {
    let directory = tempfile::tempdir().unwrap();
    let history = History::open(directory.path(), "watchparty");
    let first: jiff::Timestamp = "2026-02-06T09:00:00Z".parse().unwrap();
    for run in 0..45_usize {
        // One cold cache among the first 25 runs; from the 26th on nothing is imported, and from the 41st on it is again.
        let imports = !(25..40).contains(&run);
        let warm = imports && run != 7;
        let seconds = if warm { 156.0 } else { 1224.0 } + (run * 7 % 5) as f64;
        let started_at = first.checked_add(jiff::SignedDuration::from_hours(24 * i64::try_from(run).unwrap())).unwrap();
        let info = RunInfo {
            project: "watchparty".to_owned(),
            started_at,
            finished_at: started_at.checked_add(jiff::SignedDuration::try_from_secs_f64(seconds).unwrap()).ok(),
            commit: Some(format!("{:07x}{:033}", 0xabc_1234 + run - 25, 0)),
            ..RunInfo::default()
        };
        history.record(&run_rows(&crate::records::read(two_targets(warm, imports).as_bytes()), &[], &info), &[], Clock::Known).unwrap();
    }
    let said = out(&bklog(&["trend", "--history", directory.path().to_str().unwrap(), "--project", "watchparty", "--width", "400"]));
    for sentence in [
        "Since build 26 (commit abc123400000, 3 Mar 2026 09:00 UTC) builds take 20m 26s instead of 2m 38s (×7.8, certain). \
         16m 25s of it: `backend builder RUN pip install -r requirements.txt` was cached in 96 % of runs and is not any more; \
         the cache imports `registry.example.org/app/backend:latest` and `registry.example.org/app/frontend:latest` and inline cache \
         are gone since the same build.",
        "Since build 41 (commit abc124300000, 18 Mar 2026 09:00 UTC) builds take 2m 38s instead of 20m 26s (÷7.8, ",
        "`registry.example.org/app/frontend:latest` and inline cache are new since the same build.",
    ] {
        assert!(said.contains(sentence), "{sentence}\n{said}");
    }
    assert_eq!(said.matches("Since build").count(), 2, "{said}");
}
