//! Real logs of `testdata/format` against what BuildKit's own events say of the same builds (`expect.json`).

use std::{collections::HashMap, path::PathBuf};

use bklog::{
    build::{Build, Outcome, Status, Step, collect::KEPT_TEXT_BYTES},
    log::source,
};
use serde_json::Value;

use crate::{records::read, robustness::REAL_LOGS};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/format")
}

/// The cases, in their order, with what is expected of each.
fn cases() -> Vec<(String, Value)> {
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let Some(file) = ["expect.json", "expect.json.gz"].map(|name| path.join(name)).into_iter().find(|file| file.exists()) else {
            continue;
        };
        let expect = serde_json::from_reader(source::open(&file).unwrap()).unwrap();
        cases.push((path.file_name().unwrap().to_string_lossy().into_owned(), expect));
    }
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

/// The bytes of a log of a case, packed or not.
pub fn log(case: &str, kind: &str) -> Option<&'static [u8]> {
    let names = [format!("{kind}.log"), format!("{kind}.log.gz")].map(|name| directory().join(case).join(name));
    REAL_LOGS.iter().find(|log| names.contains(&log.path)).map(|log| log.bytes.as_slice())
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::Cached => "cached",
        Status::Error => "error",
        Status::Canceled => "canceled",
        Status::Unfinished => "unfinished",
    }
}

/// Seconds as the log prints them: one decimal.
fn tenths(seconds: &Value) -> Option<i64> {
    let seconds: f64 = seconds.as_str()?.parse().unwrap();
    Some((seconds * 10.0).round() as i64)
}

fn printed_tenths(step: &Step) -> Option<i64> {
    step.seconds.map(|seconds| (seconds * 10.0).round() as i64)
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

fn steps(expect: &Value) -> Vec<&Vec<Value>> {
    match expect.get("build_list").and_then(Value::as_array) {
        Some(builds) => builds.iter().map(|build| build["steps"].as_array().unwrap()).collect(),
        None if expect["builds"] == 0 => Vec::new(),
        None => vec![expect["steps"].as_array().unwrap()],
    }
}

/// True where the numbers of parallel builds in one file clash, so that not even their author could tell every line's build.
fn clashes(expect: &Value) -> bool {
    expect["notes"].as_array().is_some_and(|notes| notes.iter().any(|note| note.as_str().is_some_and(|note| note.contains("index clash"))))
}

fn is_terminal(expect: &Value) -> bool {
    text(expect, "format") == Some("tty")
}

/// Ends a colour.
const RESET: &str = "\u{1b}[0m";

/// The differences between a step and what is expected of it.
fn differences(want: &Value, got: &Step, log: &[u8], differ: &mut Vec<String>) {
    let index = got.index;
    let mut check = |what: &str, found: String, expected: String| {
        if found != expected {
            differ.push(format!("#{index} {what}: {found}, expected {expected}"));
        }
    };
    let name = text(want, "name").unwrap_or_default();
    let cut = want.get("printed_name_bytes").is_some() && got.name.ends_with("...");
    if cut {
        let begin = got.name.trim_end_matches('.').trim_end_matches('\u{fffd}');
        check("cut name", format!("{}", name.starts_with(begin) && begin.len() > 60), "true".to_owned());
    } else {
        check("name", format!("{:?}", got.name), format!("{name:?}"));
    }
    if let Some(expected) = text(want, "status") {
        check("status", status(got.status).to_owned(), expected.to_owned());
    }
    if let Some(lines) = want["log_lines"].as_u64() {
        let shown = want.get("plain_log_lines").and_then(Value::as_u64);
        if Some(got.log_lines) != shown {
            check("log lines", got.log_lines.to_string(), lines.to_string());
        }
    }
    if text(want, "status") == Some("done") && tenths(&want["seconds"]).is_some() {
        check("seconds", format!("{:?}", printed_tenths(got)), format!("{:?}", tenths(&want["seconds"])));
    }
    if got.status == Status::Error && text(want, "error").is_some() {
        check("error", format!("{:?}", got.error), format!("{:?}", want["error"].as_str()));
    }
    if let Some(first) = text(want, "first_log_line") {
        // `expect.json` and the record each keep the beginning of a long line.
        let found = got.log_head.first().map(String::as_str).unwrap_or_default();
        // Where a CI system colours every line, the reset at its end may be anyone's.
        let first = if found.ends_with(RESET) { first } else { first.trim_end_matches(RESET) };
        let length = found.chars().count().min(first.chars().count());
        let begin = |text: &str| text.chars().take(length).collect::<String>();
        let whole = length >= first.chars().count() || found.len() >= KEPT_TEXT_BYTES - 4;
        check("first line", format!("{:?} {whole}", begin(found)), format!("{:?} true", begin(first)));
    }
    if got.log_lines == 2
        && let Some(last) = text(want, "last_log_line").filter(|last| last.len() < 100 && !last.contains("\\x"))
    {
        check("second line", format!("{:?}", got.log_head.get(1).map(String::as_str)), format!("{:?}", Some(last)));
    }
    if let Some(warnings) = want.get("warnings").and_then(Value::as_array) {
        // The client prints a warning with its step or, where it comes late, in the list at the end only.
        let printed = |warning: &&str| memchr::memmem::find(log, format!("WARN: {warning}").as_bytes()).is_some();
        let mut expected: Vec<&str> = warnings.iter().filter_map(Value::as_str).filter(printed).collect();
        let mut found: Vec<&str> = got.warnings.iter().map(String::as_str).collect();
        expected.sort_unstable();
        found.sort_unstable();
        check("warnings", format!("{found:?}"), format!("{expected:?}"));
    }
}

fn compare(expect: &Value, builds: &[Build], log: &[u8]) -> Vec<String> {
    let wanted = steps(expect);
    if builds.len() != wanted.len() {
        return vec![format!("{} builds, expected {}", builds.len(), wanted.len())];
    }
    let mut differ = Vec::new();
    if let ([build], Some("rawjson"), Some(exit_code)) = (builds, text(expect, "source"), expect["exit_code"].as_i64())
        && (build.outcome == Outcome::Succeeded) != (exit_code == 0)
    {
        differ.push(format!("{:?}, but the command's exit code was {exit_code}", build.outcome));
    }
    for (want, build) in wanted.into_iter().zip(builds) {
        let mut got: HashMap<u64, &Step> = build.steps.iter().map(|step| (u64::from(step.index), step)).collect();
        for want in want {
            let index = want["index"].as_u64().unwrap();
            match got.remove(&index) {
                Some(step) => differences(want, step, log, &mut differ),
                None => differ.push(format!("#{index} is missing: {}", want["name"])),
            }
        }
        // The legacy builder's context has no number.
        got.remove(&0);
        differ.extend(got.values().map(|step| format!("#{} is no step of the build: {:?}", step.index, step.name)));
    }
    differ
}

/// Reads one kind of log of every case. Returns how many there were, and the differences.
fn read_all(kind: &str, known: &[&str]) -> usize {
    let (mut count, mut failed) = (0, Vec::new());
    for (case, expect) in cases() {
        let indexed = steps(&expect).into_iter().flatten().all(|step| step["index"].is_u64());
        let Some(bytes) = log(&case, kind).filter(|_| indexed && !is_terminal(&expect) && !clashes(&expect)) else { continue };
        let differ = compare(&expect, &read(bytes), bytes);
        count += 1;
        if !differ.is_empty() && !known.contains(&case.as_str()) {
            failed.push(format!("{case}/{kind}.log\n  {}", differ.join("\n  ")));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    count
}

#[test]
fn plain_logs() {
    // 088: see `a_name_that_is_cut_within_a_character`.
    assert!(read_all("plain", &["088-no-trunc-0-utf8"]) >= 170);
}

#[test]
fn logs_behind_prefixes() {
    assert!(read_all("prefixed", &[]) >= 40);
}

/// `PROGRESS_NO_TRUNC=0` cuts a name at 72 bytes, here within a character, and both names of this log look the same from there on. The
/// record has the whole name; the log has 72 bytes, of which the last two are the beginning of a character of three.
#[test]
fn a_name_that_is_cut_within_a_character() {
    let builds = read(log("088-no-trunc-0-utf8", "plain").unwrap());
    let names: Vec<&str> = builds[0].steps.iter().filter(|step| step.parts.number.is_some()).map(|step| step.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "[1/2] FROM docker.io/library/alpine:3.20@sha256:f20b4dacac1a423178431970...",
            "[2/2] RUN echo x 日本語日本語日本語日本語日本語日本語\u{fffd}..."
        ]
    );
}

/// rawjson has no indexes, so its steps are compared as a set.
#[test]
fn rawjson_logs() {
    let (mut count, mut failed) = (0, Vec::new());
    for (case, expect) in cases() {
        let all = steps(&expect);
        let shows_less = case.contains("-cut-")
            || expect["not_printed"].as_array().is_some_and(|steps| !steps.is_empty())
            || all
                .iter()
                .any(|steps| steps.iter().any(|step| step.get("rawjson_status").is_some() && step.get("rawjson_seconds").is_none()));
        let renamed =
            expect.get("bake_targets").is_some() || all.iter().any(|steps| steps.iter().any(|step| step.get("names_seen").is_some()));
        let comparable = text(&expect, "source") == Some("rawjson")
            && all.len() == 1
            && !shows_less
            && !renamed
            && !clashes(&expect)
            && !is_terminal(&expect);
        let Some(bytes) = log(&case, "rawjson").filter(|_| comparable) else { continue };
        let key = |name: &str, status: &str, tenths: Option<i64>, lines: u64| format!("{name:?} {status} {tenths:?} {lines}");
        let builds = read(bytes);
        let mut found: Vec<String> = builds[0]
            .steps
            .iter()
            .map(|step| key(&step.name, status(step.status), printed_tenths(step).filter(|_| step.status == Status::Done), step.log_lines))
            .collect();
        let mut wanted: Vec<String> = all[0]
            .iter()
            .filter(|step| !text(step, "source").is_some_and(|source| source.contains("client")))
            .map(|step| {
                let status = text(step, "rawjson_status").or_else(|| text(step, "status")).unwrap();
                let seconds = step.get("rawjson_seconds").unwrap_or(&step["seconds"]);
                key(
                    text(step, "name").unwrap_or_default(),
                    status,
                    tenths(seconds).filter(|_| status == "done"),
                    step["log_lines"].as_u64().unwrap(),
                )
            })
            .collect();
        found.sort_unstable();
        wanted.sort_unstable();
        count += 1;
        if found != wanted {
            failed.push(format!("{case}\n  found {found:#?}\n  expected {wanted:#?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(count >= 120, "{count} logs");
}
