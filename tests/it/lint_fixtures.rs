//! `bklog lint` on whole repositories, each in its good and in its bad form (testdata/lint).

use std::{collections::BTreeSet, path::PathBuf, process::Command};

/// The rules that the bad forms are about; each is found in one of them at least.
const COVERED: [&str; 17] = [
    "buildkit-disabled",
    "bust-before-install",
    "bust-ineffective",
    "bust-misplaced",
    "bust-missing",
    "cache-clear-incomplete",
    "cache-import-useless",
    "cache-not-imported",
    "commit-not-passed",
    "commit-not-used",
    "copy-before-install",
    "force-rebuild-weak",
    "inline-cache",
    "prune-drops-cache",
    "prune-missing",
    "script-syntax",
    "unknown-build-arg",
];

/// Place, severity and rule of a finding.
type Row = (&'static str, &'static str, &'static str);

/// Every finding of the bad forms.
const BAD: &[(&str, &[Row])] = &[
    (
        "n1-bad",
        &[
            ("rebuild.sh:16", "error", "unknown-build-arg"),
            ("rebuild.sh:16", "warning", "unknown-build-arg"),
            ("rebuild.sh:19", "warning", "bust-missing"),
            ("rebuild.sh:20", "warning", "bust-ineffective"),
            ("services/audit-events/Dockerfile:3", "warning", "bust-before-install"),
            ("services/auth/Dockerfile:7", "warning", "bust-misplaced"),
            ("services/job-management/Dockerfile:6", "warning", "bust-ineffective"),
            ("services/jobs/Dockerfile:5", "note", "bust-ineffective"),
            ("services/target-discovery/Dockerfile:6", "warning", "copy-before-install"),
            ("services/user/Dockerfile:1", "warning", "bust-ineffective"),
        ],
    ),
    (
        "n2-bad",
        &[
            (".github/workflows/deploy.yml:7", "warning", "buildkit-disabled"),
            ("build-one.sh:3", "warning", "cache-not-imported"),
            ("build-one.sh:4", "warning", "cache-not-imported"),
            ("build-one.sh:4", "warning", "commit-not-passed"),
            ("deploy.sh:11", "note", "prune-missing"),
            ("deploy.sh:6", "warning", "force-rebuild-weak"),
            ("deploy.sh:7", "warning", "commit-not-passed"),
            ("deploy.sh:9", "warning", "commit-not-passed"),
            ("docker-compose.yml:15", "note", "inline-cache"),
            ("docker-compose.yml:8", "note", "inline-cache"),
            ("frontend/Dockerfile:10", "warning", "commit-not-used"),
        ],
    ),
    (
        "n3-bad",
        &[
            (".github/workflows/build.yml:11", "note", "cache-import-useless"),
            (".github/workflows/build.yml:15", "error", "unknown-build-arg"),
            (".github/workflows/build.yml:16", "note", "cache-import-useless"),
            (".github/workflows/build.yml:17", "warning", "cache-import-useless"),
            (".github/workflows/build.yml:17", "warning", "unknown-build-arg"),
            (".github/workflows/build.yml:8", "warning", "bust-missing"),
            ("after.Dockerfile:6", "warning", "bust-misplaced"),
            ("before-from.Dockerfile:1", "warning", "bust-ineffective"),
        ],
    ),
    (
        "n4-bad",
        &[
            ("build.sh:4", "note", "prune-drops-cache"),
            ("clear-and-build.sh:4", "warning", "cache-clear-incomplete"),
            ("daemon.json:3", "warning", "buildkit-disabled"),
            ("docker-compose.yml:17", "warning", "cache-import-useless"),
            ("docker-compose.yml:9", "warning", "cache-import-useless"),
        ],
    ),
    (
        "n5-bad",
        &[
            ("broken.sh:3", "error", "prune-missing"),
            ("broken.sh:5", "error", "script-syntax"),
            ("deploy.sh:4", "error", "prune-missing"),
            ("deploy.sh:5", "error", "bust-missing"),
            ("docker-compose.yml:15", "error", "inline-cache"),
            ("docker-compose.yml:8", "error", "inline-cache"),
            ("frontend/Dockerfile:6", "warning", "bust-misplaced"),
        ],
    ),
];

/// The findings of a fixture as `(place, severity, rule)`, sorted; and the notes.
fn lint(fixture: &str) -> (Vec<(String, String, String)>, Vec<String>) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/lint").join(fixture);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bklog"));
    let output = command.args(["lint", "--format", "json"]).current_dir(&dir).env_clear().output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            let place = format!("{}:{}", text(&finding["location"]["path"]), finding["location"]["line"]);
            (place, text(&finding["severity"]), text(&finding["rule"]))
        })
        .collect();
    found.sort();
    let notes = json["notes"].as_array().into_iter().flatten().map(text).collect();
    (found, notes)
}

#[test]
fn bad_forms() {
    let mut seen = BTreeSet::new();
    for (fixture, expected) in BAD {
        let (found, _) = lint(fixture);
        let found: Vec<_> = found.iter().filter(|(.., rule)| COVERED.contains(&rule.as_str())).collect();
        let found: Vec<_> = found.iter().map(|(place, severity, rule)| (place.as_str(), severity.as_str(), rule.as_str())).collect();
        assert_eq!(found, *expected, "{fixture}: {found:#?}");
        seen.extend(expected.iter().map(|(.., rule)| *rule));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), COVERED);
}

#[test]
fn good_forms() {
    for fixture in ["n1-good", "n2-good", "n3-good", "n4-good", "n5-good"] {
        let (found, notes) = lint(fixture);
        assert!(found.is_empty() && notes.is_empty(), "{fixture}: {found:#?} {notes:#?}");
    }
}
