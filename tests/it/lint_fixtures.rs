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

/// Every finding of the bad forms: fixture, place, severity, rule.
const BAD: &[(&str, &[(&str, &str, &str)])] = &[TABLE];

/// The findings of a fixture as `(place, severity, rule)`, sorted; and the notes.
fn lint(fixture: &str) -> (Vec<(String, String, String)>, Vec<String>) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/lint").join(fixture);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bklog"));
    let output = command.args(["lint", "--format", "json"]).current_dir(&dir).env_clear().output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{fixture}: {error}: {output:?}"));
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
