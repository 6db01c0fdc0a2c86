use std::collections::BTreeMap;
use std::io::Read;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    ignorefile: String,
    ignored: BTreeMap<String, bool>,
    error: Option<String>,
}

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/moby/ignore.json.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn says_what_moby_says() {
    let cases = cases();
    assert_eq!(cases.len(), 1200);
    let every_path: std::collections::BTreeSet<&String> = cases.iter().flat_map(|c| c.ignored.keys()).collect();
    let mut paths = 0;
    for case in &cases {
        let rules = match IgnoreRules::parse(case.ignorefile.as_bytes()) {
            Ok(rules) => rules,
            Err(error) => {
                assert_eq!(Some(error.to_string()), case.error, "{:?}", case.ignorefile);
                assert!(case.ignored.is_empty(), "{:?}", case.ignorefile);
                continue;
            }
        };
        for (path, expected) in &case.ignored {
            paths += 1;
            assert_eq!(rules.try_ignores(path), Ok(*expected), "{:?}, path {path:?}", case.ignorefile);
        }
        // An error that shows only while matching: the data says the paths before it, so some other path must reach it.
        if let Some(error) = &case.error {
            let reached = every_path.iter().find_map(|path| rules.try_ignores(path).err());
            assert_eq!(reached.map(|e| e.to_string()).as_ref(), Some(error), "{:?}", case.ignorefile);
        }
    }
    assert!(paths > 21_000, "{paths}");
}

#[test]
fn the_walk_differs_from_the_question_only_by_exceptions() {
    for case in cases() {
        let Ok(rules) = IgnoreRules::parse(case.ignorefile.as_bytes()) else {
            continue;
        };
        if rules.has_exceptions() || case.error.is_some() {
            continue;
        }
        for (path, expected) in &case.ignored {
            assert_eq!(rules.leaves_out(path), *expected, "{:?} {path:?}", case.ignorefile);
        }
    }
}

fn rules(text: &str) -> IgnoreRules {
    IgnoreRules::parse(text.as_bytes()).unwrap()
}

#[test]
fn the_walk_does_not_bring_back_what_its_directory_did_not() {
    let rules = rules("a/b\n!a\n");
    assert!(!rules.ignores("a/b"));
    assert!(rules.leaves_out("a/b"));
}

#[test]
fn directories_are_skipped_when_no_exception_reaches_in() {
    let plain = rules("node_modules\n*.log\n");
    assert!(plain.enter("node_modules", None).unwrap().skips_directory());
    let with = rules("docs\nsrc\n!docs/keep/*\n");
    let docs = with.enter("docs", None).unwrap();
    assert!(docs.ignored() && !docs.skips_directory());
    assert!(with.enter("src", None).unwrap().skips_directory());
    assert!(!with.leaves_out("docs/keep/a"));
    assert!(with.leaves_out("docs/other/a"));
    let wild = rules("docs\n!**/README.md\n");
    assert!(!wild.enter("docs", None).unwrap().skips_directory());
    assert!(!wild.leaves_out("docs/a/README.md"));
}

#[test]
fn lines_as_the_reader_takes_them() {
    let read = rules("\u{FEFF}/a/ \r\n#b\n #c\n\n ! ./d/../e \n*\n");
    assert!(read.ignores("a"));
    // A comment begins in the first column; this is a pattern.
    assert!(rules(" #c").ignores("#c"));
    // The last rule of this file is `*`.
    assert!(read.ignores("x") && read.ignores("e"));
    assert_eq!(IgnoreRules::parse(b"!/").unwrap_err(), IgnoreError::IllegalExclusion);
    assert_eq!(IgnoreRules::parse(&[b'a'; 70_000]).unwrap_err(), IgnoreError::LineTooLong { line: 1 });
    let mut longest = vec![b'a'; 65_535];
    assert!(IgnoreRules::parse(&longest).is_ok());
    longest.push(b'\n');
    assert!(IgnoreRules::parse(&longest).is_ok());
}

#[test]
fn candidates_stand_beside_the_dockerfile_first() {
    assert_eq!(candidates("docker/api.Dockerfile"), ["docker/api.Dockerfile.dockerignore", ".dockerignore"]);
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), path in "[a-z/.*\\[]{0,20}") {
        if let Ok(rules) = IgnoreRules::parse(&bytes) {
            let _ = rules.try_ignores(&path);
            let _ = rules.leaves_out(&path);
        }
    }

    #[test]
    fn never_panics_on_near_patterns(text in "[ab!#*?\\[\\]\\\\/.^:\\-QEpdx0 \n\r]{0,60}", path in "[ab/.\\-]{0,12}") {
        if let Ok(rules) = IgnoreRules::parse(text.as_bytes()) {
            let _ = rules.try_ignores(&path);
            let _ = rules.leaves_out(&path);
        }
    }
}
