//! The history as users meet it: recording, listing, folding, and everything that can go wrong with its files and its writers.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use bklog::history::{History, Selection};

const ALL: Selection = Selection { project: None, since: None, until: None, branch: None };

fn bklog(history: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bklog"));
    command.args(arguments).env_clear().env("BKLOG_HISTORY", history).stdin(Stdio::null()).current_dir(history.parent().unwrap());
    command
}

fn run(history: &Path, arguments: &[&str]) -> Output {
    bklog(history, arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// A small log that no other number makes.
fn log(number: usize) -> String {
    format!(
        "#1 [internal] load build definition from Dockerfile\n#1 DONE 0.0s\n\n#2 [1/3] FROM docker.io/library/alpine:3.20\n#2 CACHED\n\n\
         #3 [2/3] COPY . /src\n#3 DONE 0.1s\n\n#4 [3/3] RUN make\n#4 1.0 built {number}\n#4 DONE {}.{}s\n\n\
         #5 exporting to image\n#5 writing image sha256:{number:064x} done\n#5 DONE 0.0s\n",
        1 + number / 10,
        number % 10
    )
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// In memory where the system has such a place: what is tested is order and atomicity, not the disk.
    fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        fs::create_dir(dir.path().join("logs")).unwrap();
        Self { dir }
    }

    fn history(&self) -> PathBuf {
        self.dir.path().join("history")
    }

    /// Records three runs; gives the directory of their steps and its files in order.
    fn three_runs(&self) -> (PathBuf, Vec<PathBuf>) {
        for number in 1..4 {
            assert!(self.spawn(&self.record(number)).wait().unwrap().success());
        }
        let month = self.history().join("steps/project=shop/month=2026-05");
        let mut files: Vec<PathBuf> = fs::read_dir(&month).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        (month, files)
    }

    fn log(&self, number: usize) -> String {
        let path = self.dir.path().join(format!("logs/{number}.log"));
        if !path.exists() {
            fs::write(&path, log(number)).unwrap();
        }
        path.to_string_lossy().into_owned()
    }

    /// The arguments that record a log at a time of its own.
    fn record(&self, number: usize) -> Vec<String> {
        let at = format!("{}", 1_780_000_000 + number * 600);
        ["record", &self.log(number), "--project", "shop", "--started-at", &at].map(str::to_owned).to_vec()
    }

    /// The arguments that record a log which says itself when it ran.
    fn record_timed(&self, number: usize) -> Vec<String> {
        let path = self.dir.path().join(format!("logs/{number}.log"));
        let time = jiff::Timestamp::from_second(1_780_000_000 + 600 * i64::try_from(number).unwrap()).unwrap();
        let line = |line: &str| format!("{} {line}\n", time.strftime("%Y-%m-%dT%H:%M:%S.0000000Z"));
        fs::write(&path, log(number).lines().map(line).collect::<String>()).unwrap();
        ["record", path.to_str().unwrap(), "--project", "shop"].map(str::to_owned).to_vec()
    }

    fn spawn(&self, arguments: &[String]) -> Child {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        bklog(&self.history(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn runs(&self) -> Vec<String> {
        History::open(&self.history(), "shop").read_runs(&ALL).unwrap().into_iter().map(|run| run.run).collect()
    }

    /// Fails unless every run is there once, whole.
    fn is_sound(&self, runs: usize) {
        let ids = self.runs();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "a run is there twice");
        assert_eq!(ids.len(), runs);
        let history = History::open(&self.history(), "shop");
        assert_eq!(history.read_steps(&ALL).unwrap().len(), 5 * runs);
        assert_eq!(history.read_builds(&ALL).unwrap().len(), runs);
        assert_eq!(history.problems(), [""; 0]);
    }
}

#[test]
fn sixty_four_writers_at_once() {
    let place = Place::new();
    let writers: Vec<Child> = (0..64).map(|number| place.spawn(&place.record(number))).collect();
    for writer in writers {
        let output = writer.wait_with_output().unwrap();
        assert_eq!((code(&output), out(&output).starts_with("1 run recorded")), (0, true), "{}", err(&output));
    }
    place.is_sound(64);
    assert_eq!(code(&run(&place.history(), &["history", "verify"])), 0);
}

/// A sequence of numbers that is the same in every run of the tests.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Two hundred writers and folders are killed at any moment of their work. What was said to be recorded is there, nothing is there twice,
/// no file is half written, and what was not finished can be recorded again.
#[test]
fn two_hundred_kills() {
    const KILLS: usize = 200;
    const AT_ONCE: usize = 8;
    let place = Place::new();
    let mut numbers = Numbers(7);
    // The kills are to hit all of a writer's life, however long that is here and now.
    let begun = Instant::now();
    assert!(place.spawn(&place.record_timed(0)).wait().unwrap().success());
    let mut longest = 2 * u64::try_from(begun.elapsed().as_micros()).unwrap();
    let mut promised = HashSet::from([0]);
    let (mut killed, mut number) = (0, 0);
    let started = Instant::now();
    while killed < KILLS && started.elapsed() < Duration::from_secs(300) {
        let mut children: Vec<(Option<usize>, Child, Instant)> = Vec::new();
        for slot in 0..AT_ONCE {
            let arguments = ["history", "compact"].map(str::to_owned).to_vec();
            let of = (slot % 4 != 3).then(|| {
                number += 1;
                number
            });
            let child = place.spawn(&of.map_or(arguments, |number| place.record_timed(number)));
            children.push((of, child, Instant::now() + Duration::from_micros(numbers.below(longest))));
        }
        children.sort_by_key(|(_, _, at)| *at);
        let mut hit = 0;
        for (of, mut child, at) in children {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            // A child that has ended already cannot be killed, and does not count.
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                hit += 1;
            }
            let output = child.wait_with_output().unwrap();
            if let Some(number) = of.filter(|_| out(&output).contains("recorded")) {
                promised.insert(number);
            }
        }
        killed += hit;
        longest = if hit > AT_ONCE * 3 / 4 { longest * 5 / 4 } else { (longest * 4 / 5).max(1000) };
        let runs = place.runs();
        assert_eq!(runs.iter().collect::<HashSet<_>>().len(), runs.len(), "a run is there twice");
        assert!(runs.len() >= promised.len(), "{} runs of {}", runs.len(), promised.len());
    }
    assert!(killed >= KILLS, "only {killed} were killed in time");
    let verified = run(&place.history(), &["history", "verify"]);
    assert_eq!(code(&verified), 0, "{}", out(&verified));
    // Everything again: what is there stays, what is missing comes.
    let there = place.runs().len();
    let logs = place.dir.path().join("logs");
    let again = run(&place.history(), &["record", logs.to_str().unwrap(), "--project", "shop"]);
    assert_eq!(code(&again), 0, "{}", err(&again));
    let (new, number) = (number + 1 - there, number + 1);
    assert!(out(&again).starts_with(&format!("{new} runs recorded, {there} already there")), "{}", out(&again));
    place.is_sound(number);
    assert_eq!(code(&run(&place.history(), &["history", "compact"])), 0);
    place.is_sound(number);
}

/// Removals are killed at any moment: no run is there half, what stays is there, and the next removal completes what the others began.
#[test]
fn removals_that_are_killed() {
    const OLD: usize = 12;
    const NEW: usize = 3;
    let mut numbers = Numbers(11);
    let mut killed = 0;
    // The kills are to hit all of a removal's life, however long that is here and now.
    let mut longest = 40_000;
    for round in 0..8 {
        let place = Place::new();
        for number in 0..OLD + NEW {
            // Old ones of 2020, new ones of today; two thirds of the old ones are folded.
            let at = if number < OLD { format!("{}", 1_600_000_000 + number * 600) } else { jiff::Timestamp::now().to_string() };
            let arguments = ["record", &place.log(number), "--project", "shop", "--started-at", &at].map(str::to_owned);
            assert!(place.spawn(&arguments).wait().unwrap().success());
            if number == 7 {
                assert_eq!(code(&run(&place.history(), &["history", "compact"])), 0);
            }
        }
        let remove = ["history", "rm", "--older-than", "90d", "--yes"].map(str::to_owned);
        for _ in 0..4 {
            let begun = Instant::now();
            let mut child = place.spawn(&remove);
            std::thread::sleep(Duration::from_micros(numbers.below(longest)));
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                killed += 1;
            } else {
                longest = (longest * 3 / 4).max(2_000);
            }
            child.wait().unwrap();
            longest = longest.max(u64::try_from(begun.elapsed().as_micros()).unwrap() / 2);
            let runs = place.runs().len();
            assert!((NEW..=OLD + NEW).contains(&runs), "round {round}: {runs} runs");
            place.is_sound(runs);
        }
        assert_eq!(code(&run(&place.history(), &remove.each_ref().map(String::as_str))), 0);
        place.is_sound(NEW);
        // Nothing of them is left in any file, marks included.
        let mut pending = vec![place.history()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.file_type().unwrap().is_dir() {
                    pending.push(entry.path());
                } else {
                    assert!(!name.starts_with("2020") && !name.starts_with("month-") && !name.starts_with(".removing"), "{name} is left");
                }
            }
        }
        assert_eq!(code(&run(&place.history(), &["history", "verify"])), 0);
    }
    assert!(killed >= 8, "only {killed} were killed in time");
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_said_and_leaves_the_ledger_whole() {
    let place = Place::new();
    assert!(place.spawn(&place.record(1)).wait().unwrap().success());
    let arguments = place.record(2).join("' '");
    // A limit on the size of files fails writes as a full disk does, once its signal is ignored.
    let script = format!("trap '' XFSZ; ulimit -f 1; exec '{}' '{arguments}'", env!("CARGO_BIN_EXE_bklog"));
    let output = Command::new("sh").args(["-c", &script]).env("BKLOG_HISTORY", place.history()).output().unwrap();
    assert_eq!(code(&output), 2, "{}", out(&output));
    assert!(err(&output).contains("cannot be used: File too large"), "{}", err(&output));
    place.is_sound(1);
    let verified = run(&place.history(), &["history", "verify"]);
    assert_eq!(code(&verified), 0, "{}", out(&verified));
    assert!(place.spawn(&place.record(2)).wait().unwrap().success());
    place.is_sound(2);
}

#[test]
fn a_directory_that_cannot_be_written() {
    let place = Place::new();
    fs::write(place.history(), "a file").unwrap();
    let output = run(&place.history(), &["record", &place.log(1)]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("cannot be used") && err(&output).contains("history"), "{}", err(&output));
}

#[test]
fn verify_names_what_is_wrong() {
    let place = Place::new();
    let (month, files) = place.three_runs();
    let bytes = fs::read(&files[0]).unwrap();
    fs::write(&files[0], &bytes[..bytes.len() / 2]).unwrap();
    fs::write(month.join("notes.txt"), "mine").unwrap();
    fs::copy(&files[1], month.join("20260528T000000.000000000Z-20260528T000000.000-none-000000000000.parquet")).unwrap();
    fs::write(month.join(".writing-abc.tmp"), "PAR1").unwrap();
    let output = run(&place.history(), &["history", "verify"]);
    let text = out(&output);
    assert_eq!(code(&output), 1, "{text}");
    let cut = files[0].file_name().unwrap().to_string_lossy();
    for expected in
        [&cut, "damaged or cut off", "notes.txt", "bklog did not write it", "another run than its name says", "3 problems", "1 file"]
    {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&run(&place.history(), &["history", "verify", "--format", "json"]).stdout).unwrap();
    assert_eq!((json["problems"].as_array().unwrap().len(), json["runs"].as_i64()), (3, Some(3)));
    // Readers name the file, leave it out and go on.
    let listed = run(&place.history(), &["history", "show", "last"]);
    assert_eq!(code(&listed), 0);
    let exported = run(&place.history(), &["history", "export", "--table", "steps"]);
    assert_eq!(code(&exported), 0);
    assert!(err(&exported).contains(&*cut), "{}", err(&exported));
    assert_eq!(out(&exported).lines().count(), 1 + 2 * 5);
}

/// Files whose pages are broken in every way: each is named, no reader panics aloud, and what is sound is read.
#[test]
fn broken_pages_are_named_and_nothing_else_is_said() {
    let place = Place::new();
    let (_, files) = place.three_runs();
    let whole = fs::read(&files[0]).unwrap();
    let cut = files[0].file_name().unwrap().to_string_lossy();
    for from in (4..whole.len() - 8).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        let to = (from + 24).min(bytes.len() - 8);
        bytes[from..to].fill(0xEE);
        fs::write(&files[0], &bytes).unwrap();
        for arguments in [&["history", "export", "--table", "steps"][..], &["history", "verify"]] {
            let output = run(&place.history(), arguments);
            assert!(output.status.code().is_some_and(|code| code < 3), "{from}: {:?}", output.status);
            assert!(!err(&output).contains("panicked"), "{from}: {}", err(&output));
            if arguments.len() > 2 && out(&output).lines().count() < 1 + 3 * 5 {
                assert!(err(&output).contains(&*cut), "{from}: {}", err(&output));
            }
        }
    }
}

#[test]
fn the_same_log_is_one_run_whatever_its_name() {
    let place = Place::new();
    let first = place.log(1);
    let copy = place.dir.path().join("logs/copy.txt");
    fs::write(&copy, log(1)).unwrap();
    let prefixed = place.dir.path().join("logs/prefixed.log");
    fs::write(&prefixed, log(1).lines().map(|line| format!("build-1 | {line}\n")).collect::<String>()).unwrap();
    assert!(out(&run(&place.history(), &["record", &first, "--project", "shop"])).starts_with("1 run recorded"));
    for other in [&copy, &prefixed] {
        let output = out(&run(&place.history(), &["record", other.to_str().unwrap(), "--project", "shop"]));
        assert!(output.starts_with("0 runs recorded, 1 already there"), "{output}");
    }
    let checked = run(&place.history(), &["check", &first, "--project", "shop", "--record"]);
    assert_eq!(code(&checked), 0, "{}", err(&checked));
    place.is_sound(1);
    // At another time it is another run, and in another project too.
    assert!(
        out(&run(&place.history(), &["record", &first, "--project", "shop", "--started-at", "2026-05-01T00:00:00Z"])).starts_with("1 run")
    );
    place.is_sound(2);
    assert!(out(&run(&place.history(), &["record", &first, "--project", "other"])).starts_with("1 run"));
}

#[test]
fn a_directory_of_logs_and_what_is_none() {
    let place = Place::new();
    for number in 1..4 {
        place.log(number);
    }
    let logs = place.dir.path().join("logs");
    fs::write(logs.join("notes.txt"), "hello\n").unwrap();
    fs::write(logs.join("empty.log"), "").unwrap();
    let output = run(&place.history(), &["record", logs.to_str().unwrap(), "--project", "shop"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(out(&output), "3 runs recorded, 2 files in the directories hold no build\n");
    assert!(err(&output).contains("3 logs hold no time"), "{}", err(&output));
    let pattern = logs.join("[1n]*");
    let output = run(&place.history(), &["record", pattern.to_str().unwrap(), "gone.log", "--project", "shop"]);
    assert_eq!(code(&output), 3);
    assert!(out(&output).contains("0 runs recorded, 1 already there"), "{}", out(&output));
    assert!(out(&output).contains("1 is no build log: ") && err(&output).contains("gone.log"), "{}", out(&output));
}

#[test]
fn what_ci_says_is_recorded_and_flags_win() {
    let place = Place::new();
    let sha = "9f2c1e4b7a0d3c5e6f8091a2b3c4d5e6f7081920";
    let job = |arguments: &[&str]| {
        let mut command = bklog(&place.history(), arguments);
        command.envs([
            ("GITLAB_CI", "true"),
            ("CI_COMMIT_SHA", sha),
            ("CI_COMMIT_BRANCH", "main"),
            ("CI_JOB_URL", "https://x:s3cret@gl/1"),
        ]);
        assert_eq!(code(&command.output().unwrap()), 0);
    };
    job(&["record", &place.log(1), "--project", "shop", "--branch", "given"]);
    job(&["record", &place.log(2), "--project", "shop", "--started-at", "2026-05-01T00:00:00Z"]);
    job(&["check", &place.log(3), "--project", "shop", "--record"]);
    let runs = History::open(&place.history(), "shop").read_runs(&ALL).unwrap();
    let facts: Vec<_> = runs.iter().map(|run| (run.commit.as_deref(), run.branch.as_deref(), run.job_url.as_deref())).collect();
    assert_eq!(facts[0], (None, None, None), "an old log takes nothing from the job that imports it");
    let mut recent = facts[1..].to_vec();
    recent.sort_unstable();
    let url = Some("https://****@gl/1");
    assert_eq!(recent, [(Some(sha), Some("given"), url), (Some(sha), Some("main"), url)]);
}

#[test]
fn secrets_are_not_recorded() {
    let place = Place::new();
    let secret = "tr0ub4dor-and-3";
    let text = log(1).replace("RUN make", &format!("RUN API_TOKEN={secret} make")).replace(
        "#4 DONE 1.1s",
        &format!("#4 ERROR: process \"/bin/sh -c API_TOKEN={secret} make\" did not complete successfully: exit code: 1"),
    );
    let path = place.dir.path().join("logs/secret.log");
    fs::write(&path, text).unwrap();
    let command = format!("docker build --build-arg API_TOKEN={secret} .");
    let path = path.to_str().unwrap();
    let job = format!("https://u:{secret}@ci/1");
    run(&place.history(), &["record", path, "--project", "shop", "--job-url", &job]);
    run(&place.history(), &["check", path, "--project", "checked", "--record", "--build", &command]);
    let mut files = 0;
    for table in ["runs", "builds", "steps"] {
        let json = run(&place.history(), &["history", "export", "--table", table, "--format", "jsonl"]);
        files += out(&json).lines().count();
        assert!(!out(&json).contains(secret), "{}", out(&json));
    }
    assert_eq!(files, 2 + 2 + 10);
    let shown = out(&run(&place.history(), &["history", "show", "last", "--project", "checked", "--format", "json"]));
    assert!(shown.contains("API_TOKEN=****") && shown.contains("exit code: 1"), "{shown}");
}

#[test]
fn times_that_cannot_be() {
    let place = Place::new();
    let log = place.log(1);
    for time in ["0001-01-01T00:00:00Z", "9998-12-31T00:00:00Z", "yesterday", ""] {
        let output = run(&place.history(), &["record", &log, "--started-at", time]);
        assert_eq!(code(&output), 2, "{time}");
        assert!(err(&output).contains("--started-at") && err(&output).contains("hint:"), "{}", err(&output));
    }
    let backwards = ["record", &log, "--started-at", "2026-05-02T00:00:00Z", "--finished-at", "2026-05-01T00:00:00Z"];
    assert!(err(&run(&place.history(), &backwards)).contains("before it began"));
    // A clock that was set wrong when the log was written: its times are not believed.
    let wrong = place.dir.path().join("logs/wrong.log");
    fs::write(&wrong, self::log(7).lines().map(|line| format!("1970-01-01T00:00:07.0000000Z {line}\n")).collect::<String>()).unwrap();
    assert_eq!(code(&run(&place.history(), &["record", wrong.to_str().unwrap(), "--project", "shop"])), 0);
    assert!(!place.runs()[0].starts_with("1970"), "{:?}", place.runs());
}

#[test]
fn an_empty_history_and_other_projects() {
    let place = Place::new();
    for arguments in [["history", "ls"], ["history", "show"], ["history", "export"], ["history", "compact"]] {
        let output = run(&place.history(), &arguments);
        assert_eq!(code(&output), 3, "{arguments:?}");
        assert!(err(&output).contains("is empty") && err(&output).contains("bklog record"), "{}", err(&output));
    }
    assert_eq!(code(&run(&place.history(), &["history", "verify"])), 0);
    assert!(place.spawn(&place.record(1)).wait().unwrap().success());
    let output = run(&place.history(), &["history", "ls", "--project", "ship"]);
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains("no project \"ship\"; it has shop"), "{}", err(&output));
    let output = run(&place.history(), &["history", "ls", "--until", "2020-01-01"]);
    assert!(err(&output).contains("no run") && code(&output) == 3);
}

#[test]
fn list_show_export_and_remove() {
    let place = Place::new();
    for number in 0..3 {
        let mut arguments = place.record(number * 10_000);
        arguments.extend(["--branch", "main", "--commit", "9f2c1e4b7a0d"].map(str::to_owned));
        assert!(place.spawn(&arguments).wait().unwrap().success());
    }
    let listed = out(&run(&place.history(), &["history", "ls"]));
    insta::assert_snapshot!("ls", listed);
    insta::assert_snapshot!("show", out(&run(&place.history(), &["history", "show", "20260528"])));
    let shown = |name: &str| out(&run(&place.history(), &["history", "show", name]));
    assert_eq!(shown("latest"), shown("last"));
    assert_ne!(shown("latest~1"), shown("latest"));
    assert_eq!(code(&run(&place.history(), &["history", "show", "latest~9"])), 3);
    let json: serde_json::Value = serde_json::from_slice(&run(&place.history(), &["history", "ls", "--format", "json"]).stdout).unwrap();
    assert_eq!((json["schema"].as_str(), json["runs"].as_array().unwrap().len()), (Some("bklog.history/1"), 3));
    let csv = out(&run(&place.history(), &["history", "export", "--table", "builds", "--since", "2026-07-01"]));
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(csv.starts_with("project,schema_version,run,at,week,commit,branch,build,target,outcome,seconds,"), "{csv}");
    // Removing needs to be meant.
    let asked = run(&place.history(), &["history", "rm", "--older-than", "0d"]);
    assert_eq!(code(&asked), 2);
    assert!(err(&asked).contains("3 runs") && err(&asked).contains("--yes"), "{}", err(&asked));
    assert!(out(&run(&place.history(), &["history", "rm", "--older-than", "0d", "--dry-run"])).starts_with("would remove 3 runs"));
    assert_eq!(place.runs().len(), 3);
    run(&place.history(), &["history", "compact"]);
    let gone = run(&place.history(), &["history", "rm", "--older-than", "0d", "--yes"]);
    assert!(out(&gone).starts_with("removed 3 runs"), "{}{}", out(&gone), err(&gone));
    assert!(place.runs().is_empty());
    let exported = run(&place.history(), &["history", "export", "--table", "steps"]);
    assert_eq!((code(&exported), out(&exported).lines().count()), (3, 0));
}

/// What other versions wrote: see `testdata/history/README.md`.
#[test]
fn an_older_history_is_read_and_a_newer_one_refused() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/history");
    let older = History::open(&data.join("older"), "shop");
    let runs = older.read_runs(&ALL).unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].seconds, runs[0].builder.as_deref(), runs[0].images.len()), (Some(2.5), None, 0));
    assert_eq!(older.read_steps(&ALL).unwrap().len(), 5);
    assert_eq!(older.rollup(&ALL).unwrap().iter().map(|week| week.count).sum::<u64>(), 5);
    assert_eq!(older.problems(), [""; 0]);
    let newer = History::open(&data.join("newer"), "shop").read_runs(&ALL);
    assert!(newer.unwrap_err().to_string().contains("newer bklog (schema 2, this one knows 1): update bklog"));
    let place = Place::new();
    let month = place.history().join("runs/project=shop/month=2026-05");
    fs::create_dir_all(&month).unwrap();
    let from = data.join("newer/runs/project=shop/month=2026-05");
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), month.join(entry.file_name())).unwrap();
    }
    let output = run(&place.history(), &["record", &place.log(1), "--project", "shop"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("update bklog"), "{}", err(&output));
    // Old and new files of one month fold into one, and what the old ones lack is empty.
    let mixed = Place::new();
    for table in ["runs", "builds", "steps"] {
        let month = mixed.history().join(table).join("project=shop/month=2026-05");
        fs::create_dir_all(&month).unwrap();
        for entry in fs::read_dir(data.join("older").join(table).join("project=shop/month=2026-05")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), month.join(entry.file_name())).unwrap();
        }
    }
    assert!(mixed.spawn(&mixed.record(3)).wait().unwrap().success());
    mixed.is_sound(2);
    assert_eq!(code(&run(&mixed.history(), &["history", "compact"])), 0);
    mixed.is_sound(2);
}

/// A run that is recorded already is not its own baseline: what a check says does not depend on how often it was asked.
#[test]
fn a_check_is_not_compared_with_its_own_record() {
    let place = Place::new();
    let repository = place.dir.path().join("shop");
    fs::create_dir(&repository).unwrap();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t"];
        let output = Command::new("git").args(identity).args(arguments).current_dir(&repository).output().unwrap();
        assert!(output.status.success(), "{}", err(&output));
        out(&output).trim().to_owned()
    };
    git(&["init", "-q"]);
    fs::write(repository.join("Dockerfile"), "FROM alpine:3.20\nCOPY . /src\nRUN make\n").unwrap();
    let check = |number: usize, extra: &[&str]| -> serde_json::Value {
        let log = place.log(number);
        let arguments = ["check", &log, "--record", "--build", "docker build .", "--format", "json", "--fail-on", "never"];
        let mut command = bklog(&place.history(), &[&arguments[..], extra].concat());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let output = command.current_dir(&repository).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", err(&output)))
    };
    let mut commits = Vec::new();
    for (number, times) in [(1, &[][..]), (2, &[][..]), (3, &["--started-at", "2026-05-03T00:00:00Z"][..])] {
        fs::write(repository.join("main.c"), format!("int version = {number};")).unwrap();
        git(&["add", "."]);
        git(&["commit", "-qm", "x"]);
        commits.push(git(&["rev-parse", "HEAD"]));
        let baseline = |report: serde_json::Value| {
            let steps = report["steps"].as_array().unwrap();
            let copy = steps.iter().find(|step| step["name"].as_str().unwrap().contains("COPY")).unwrap();
            copy["baseline"]["commit"].clone()
        };
        let baselines: Vec<_> = (0..3).map(|_| baseline(check(number, times))).collect();
        // The third says that it ran before the others, so that nothing came before it.
        let expected = if number == 2 { Some(commits[0].as_str()) } else { None };
        assert_eq!(baselines.iter().map(serde_json::Value::as_str).collect::<Vec<_>>(), [expected; 3], "log {number}");
    }
    assert_eq!(History::open(&place.history(), "shop").read_runs(&ALL).unwrap().len(), 3);
}
