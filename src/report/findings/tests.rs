//! One fixture in every format, an ordinary and a hostile one, and texts that are made up.

use proptest::prelude::*;

use super::*;
use crate::{
    build::Status,
    freshness::RunRef,
    rules::{Confidence, InLog, Location},
};

fn finding(rule: &'static str, severity: Severity, confidence: Confidence, message: &str) -> Finding {
    Finding {
        rule,
        severity,
        confidence,
        in_log: None,
        location: None,
        message: message.to_owned(),
        evidence: Vec::new(),
        files: Vec::new(),
        help: String::new(),
        fix: None,
        suppressed: None,
    }
}

fn verdict(index: u32, name: &str, verdict: Verdict, because: &str) -> StepVerdict {
    StepVerdict {
        build: 0,
        index,
        name: name.to_owned(),
        status: Status::Cached,
        verdict,
        because: because.to_owned(),
        advice: None,
        baseline: Some(RunRef { run: Some("20261121-a".to_owned()), commit: Some("491088b".to_owned()) }),
        changed_files: Vec::new(),
    }
}

/// What a check of an ordinary deploy finds.
fn ordinary() -> CheckReport {
    let in_log = |index, step: &str, line| InLog {
        build: 0,
        index: Some(index),
        line: Some(line),
        step: Some(step.to_owned()),
        status: Some(Status::Cached),
    };
    let location = |line, text: &str| Location {
        path: "backend/Dockerfile".to_owned(),
        in_repository: Some("services/backend/Dockerfile".to_owned()),
        line,
        end_line: line,
        text: vec![text.to_owned()],
    };
    let findings = vec![
        Finding {
            in_log: Some(in_log(7, "[backend stage-1 6/9] COPY . /app/", 31)),
            location: Some(location(14, "COPY . /app/")),
            evidence: vec![
                "same size (2,041 B) and mtime (2023-11-14 22:13:20) as the copy that it had".to_owned(),
                "it received 261 B, the file list alone; with the file it would have been 2.32 kB".to_owned(),
            ],
            files: vec!["api/auth.py".to_owned()],
            help: "docker builder prune -f, then build again".to_owned(),
            ..finding(
                "sync-blind-spot",
                Severity::Error,
                Confidence::Certain,
                "api/auth.py changed in 9f2c1e4, but the builder did not read it again",
            )
        },
        Finding {
            in_log: Some(in_log(6, "[backend stage-1 5/9] RUN echo \"Cache bust: 1\"", 28)),
            location: Some(location(3, "ARG CACHE_BUST=1")),
            evidence: vec!["its default is used: 1".to_owned()],
            help: "--build-arg CACHE_BUST=$(date +%s), or take the argument out".to_owned(),
            ..finding("bust-missing", Severity::Warning, Confidence::Certain, "CACHE_BUST is not passed to the build")
        },
        Finding {
            in_log: Some(InLog { build: 0, index: None, line: Some(2), step: None, status: None }),
            ..finding("prune-missing", Severity::Error, Confidence::Likely, "no prune is seen before the first build")
        },
        Finding {
            in_log: Some(in_log(5, "[backend builder 2/5] RUN curl -L https://example.org/x | sh", 25)),
            suppressed: Some("accepted: only changes with the base image".to_owned()),
            ..finding("stale-run", Severity::Error, Confidence::Possible, "`curl -L https://example.org/x` was not run")
        },
    ];
    let verdicts = vec![
        verdict(7, "[backend stage-1 6/9] COPY . /app/", Verdict::Stale, "api/auth.py was not read again"),
        verdict(4, "[backend builder 1/5] COPY requirements.txt ./", Verdict::Fresh, "requirements.txt did not change"),
    ];
    let run = RunHead {
        project: Some("watchparty".to_owned()),
        commit: Some("9f2c1e4bd0c31c6f6f5ee7b1cbb7a4b0c8d1e2f3".to_owned()),
        branch: Some("main".to_owned()),
        recorded: Some("20261121T081426-9f2c1e4-0a1b2c3d4e5f".to_owned()),
    };
    let report = CheckReport::new("deploy.log", verdicts, findings, vec!["the history is empty".to_owned()], &Redactor::default());
    report.of_run(run, &Redactor::default())
}

/// Everything that can break a format, in every text.
const HOSTILE: &str = "a\n::error::x\r%0A%25 \x1b[31mred\x1b[0m <b>&amp;</b> |`*_[l](u)| , ]]> \0\u{7f}\u{9b}\u{202e}\u{2028} ##[command]x ##vso[y] \u{fffe}\" ' \\ ÄÖ日本";

fn report_of(text: &str) -> CheckReport {
    let hostile = Finding {
        in_log: Some(InLog {
            build: 0,
            index: Some(3),
            line: Some(9),
            step: Some(format!("[2/3] RUN {text}")),
            status: Some(Status::Done),
        }),
        location: Some(Location {
            path: format!("dir/{text}"),
            in_repository: None,
            line: 2,
            end_line: 3,
            text: vec![text.to_owned(), text.to_owned()],
        }),
        evidence: vec![text.to_owned()],
        files: vec![text.to_owned()],
        help: text.to_owned(),
        ..finding("stale-copy", Severity::Error, Confidence::Certain, text)
    };
    let suppressed = Finding { suppressed: Some(text.to_owned()), ..hostile.clone() };
    let plain = Finding { location: None, severity: Severity::Note, ..hostile.clone() };
    CheckReport::new(
        text,
        vec![verdict(3, text, Verdict::Suspect, text)],
        vec![hostile, suppressed, plain],
        vec![text.to_owned()],
        &Redactor::default(),
    )
    .of_run(
        RunHead {
            project: Some(text.to_owned()),
            commit: Some(text.to_owned()),
            branch: Some(text.to_owned()),
            recorded: Some(text.to_owned()),
        },
        &Redactor::default(),
    )
}

fn written(writer: &dyn FindingsWriter, report: &CheckReport) -> String {
    let mut out = Vec::new();
    writer.write(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Text without its colours.
fn text(report: &CheckReport) -> String {
    let coloured = written(&CheckText { width: 110 }, report);
    let mut plain = Vec::new();
    let mut stream = anstream::StripStream::new(&mut plain);
    stream.write_all(coloured.as_bytes()).unwrap();
    String::from_utf8(plain).unwrap()
}

/// The rules' documentation is tested elsewhere; here it would only make the snapshot long.
fn without_rules(sarif: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(sarif).unwrap();
    let driver = &mut value["runs"][0]["tool"]["driver"];
    driver["rules"] = serde_json::json!([]);
    driver["semanticVersion"] = serde_json::json!("VERSION");
    serde_json::to_string_pretty(&value).unwrap()
}

fn snapshots(name: &str, report: &CheckReport) {
    insta::assert_snapshot!(format!("{name}_text"), text(report));
    insta::assert_snapshot!(format!("{name}_json"), written(&CheckJson, report));
    insta::assert_snapshot!(format!("{name}_github"), written(&GitHub, report));
    insta::assert_snapshot!(format!("{name}_gitlab"), written(&CodeQuality, report));
    insta::assert_snapshot!(format!("{name}_sarif"), without_rules(&written(&Sarif, report)));
    insta::assert_snapshot!(format!("{name}_junit"), written(&JUnit, report));
    insta::assert_snapshot!(format!("{name}_markdown"), written(&CheckMarkdown, report));
}

#[test]
fn an_ordinary_report_in_every_format() {
    snapshots("ordinary", &ordinary());
}

#[test]
fn a_hostile_report_in_every_format() {
    snapshots("hostile", &report_of(HOSTILE));
}

#[test]
fn nothing_found() {
    let report = CheckReport::new(
        "-",
        vec![verdict(7, "COPY . .", Verdict::Fresh, "nothing changed")],
        Vec::new(),
        Vec::new(),
        &Redactor::default(),
    );
    assert_eq!(text(&report), "1 fresh\n");
    assert_eq!(written(&GitHub, &report), "");
    assert_eq!(written(&CodeQuality, &report), "[]\n");
    assert_eq!(report.worst(), None);
}

#[test]
fn secrets_are_gone_before_any_writer() {
    let report = report_of("RUN NPM_TOKEN=s3cret-value npm ci");
    for writer in [&CheckText { width: 100 } as &dyn FindingsWriter, &CheckJson, &GitHub, &CodeQuality, &Sarif, &JUnit, &CheckMarkdown] {
        assert!(!written(writer, &report).contains("s3cret"));
    }
}

#[test]
fn the_same_thing_twice_has_two_fingerprints() {
    let fingerprints = report_of("x").fingerprints();
    assert_eq!(fingerprints[1], format!("{}-2", fingerprints[0]));
    assert_ne!(fingerprints[0], fingerprints[2]);
}

/// Holds every format to what its readers rely on.
fn holds(report: &CheckReport) {
    let harmful = |c: char| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{2028}';
    let text = text(report);
    assert!(!text.contains(harmful), "{text:?}");
    for line in text.lines() {
        assert!(!line.trim_start().starts_with("::") && !line.contains("##"), "{line:?}");
    }
    let github = written(&GitHub, report);
    assert!(!github.contains(harmful));
    for line in github.lines() {
        assert!(["::error ", "::warning ", "::notice "].iter().any(|start| line.starts_with(start)), "{line:?}");
        let properties = &line[2..2 + line[2..].find("::").unwrap()];
        assert!(properties.split(',').all(|pair| pair.contains('=')), "{properties:?}");
        assert!(!line.contains("##"));
    }
    assert_eq!(github.lines().count(), report.shown().count());
    for json in [written(&CheckJson, report), written(&CodeQuality, report), written(&Sarif, report)] {
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
    }
    let xml = written(&JUnit, report);
    let read = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    assert_eq!(read.test_suites.len(), 1);
    let markdown = written(&CheckMarkdown, report);
    assert!(!markdown.contains(harmful));
    for line in markdown.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |") && !line.starts_with("| step |")) {
        // Cells are parted by bars that are not escaped.
        let bars =
            line.match_indices('|').filter(|(at, _)| line[..*at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0).count();
        assert!(bars == 6 || bars == 4, "{line:?}");
    }
    assert!(!markdown.contains("<b>"));
}

#[test]
fn the_fixtures_hold() {
    holds(&ordinary());
    holds(&report_of(HOSTILE));
}

proptest! {
    #[test]
    fn any_text_holds(text in "\\PC{0,40}|(.|\n|::|##|\\[|%0A|\\|`|<b>|\\]\\]>|\r|\0|\u{1b}\\[1m|,|TOKEN=){0,30}") {
        holds(&report_of(&text));
    }
}
