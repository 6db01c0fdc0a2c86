//! The typed fields of the records against a table that was written by reading the logs: `testdata/typed_fields.json`.
//!
//! Every step of a build is in the table: as an instruction with all its fields, or under its kind. A field that is not named there is
//! empty. `unsure` names the steps about which the log itself leaves a doubt.

use bklog::build::{Build, CacheTransfer, Kind, Outcome, Step, StepName};
use serde_json::{Map, Value, json};

use crate::{format::log, records::read};

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Instruction => "instruction",
        Kind::Internal => "internal",
        Kind::Auth => "auth",
        Kind::Context => "context",
        Kind::CacheImport => "cache-import",
        Kind::CacheExport => "cache-export",
        Kind::Export => "export",
        Kind::Other => "other",
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Canceled => "canceled",
        Outcome::Truncated => "truncated",
    }
}

fn transfers(transfers: &[CacheTransfer]) -> Value {
    transfers.iter().map(|transfer| json!([transfer.reference, transfer.ok])).collect()
}

/// The fields of a step that the table names, written as in the table.
fn fields(parts: &StepName) -> Value {
    let mut fields = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(key.to_owned(), value);
        }
    };
    set("n", parts.number.zip(parts.total).map(|(number, total)| json!(format!("{number}/{total}"))));
    set("target", parts.target.as_ref().map(|text| json!(text)));
    set("platform", parts.platform.as_ref().map(|text| json!(text)));
    set("stage", parts.stage.as_ref().map(|text| json!(text)));
    set("keyword", parts.keyword.map(|text| json!(text)));
    set("from", parts.from.as_ref().map(|text| json!(text)));
    set("sources", (!parts.sources.is_empty()).then(|| json!(parts.sources)));
    set("destination", parts.destination.as_ref().map(|text| json!(text)));
    Value::Object(fields)
}

fn differences(row: &Value, build: &Build) -> Vec<String> {
    let mut differ = Vec::new();
    let mut check = |what: String, found: Value, expected: Value| {
        if found != expected {
            differ.push(format!("{what}: {found}, expected {expected}"));
        }
    };
    for (key, found) in [
        ("outcome", json!(outcome(build.outcome))),
        ("builder", json!(build.builder)),
        ("driver", json!(build.driver)),
        ("imports", transfers(&build.cache.imports)),
        ("exports", transfers(&build.cache.exports)),
        ("inline", json!(build.cache.inline)),
        ("digest", json!(build.image.digest)),
        ("names", json!(build.image.names)),
    ] {
        if let Some(expected) = row.get(key) {
            check(key.to_owned(), found, expected.clone());
        }
    }
    let unsure = |step: &Step| row.get("unsure").and_then(Value::as_array).is_some_and(|unsure| unsure.contains(&json!(step.index)));
    for step in build.steps.iter().filter(|step| !unsure(step)) {
        let index = step.index.to_string();
        let listed = |list: &Value| list.as_array().is_some_and(|list| list.contains(&json!(step.index)));
        let expected_kind = row["kinds"].as_object().unwrap().iter().find(|(_, list)| listed(list)).map_or("instruction", |(kind, _)| kind);
        check(format!("#{index} kind"), json!(kind(step.parts.kind)), json!(expected_kind));
        let expected = match row["instructions"].get(&index) {
            Some(instruction) => instruction.clone(),
            None => {
                let mut outside = Map::new();
                for (list, key) in [("targets", "target"), ("platforms", "platform")] {
                    if let Some(value) = row.get(list).and_then(|list| list.get(&index)) {
                        outside.insert(key.to_owned(), value.clone());
                    }
                }
                Value::Object(outside)
            }
        };
        check(format!("#{index}"), fields(&step.parts), expected);
        check(format!("#{index} bytes"), json!(step.transferred_bytes), row["bytes"].get(&index).cloned().unwrap_or_default());
    }
    let lists = row["kinds"].as_object().unwrap().values().map(|list| list.as_array().unwrap().len()).sum::<usize>();
    let unsure = row.get("unsure").and_then(Value::as_array).map_or(0, Vec::len);
    let expected = lists + row["instructions"].as_object().unwrap().len() + unsure;
    check("number of steps".to_owned(), json!(build.steps.len()), json!(expected));
    differ
}

#[test]
fn every_field_is_as_read_by_eye() {
    let table: Vec<Value> = serde_json::from_str(include_str!("../../testdata/typed_fields.json")).unwrap();
    let mut failed = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for row in &table {
        let case = row["case"].as_str().unwrap();
        names.push(case);
        let kind = row.get("log").and_then(Value::as_str).unwrap_or("plain");
        let builds = read(log(case, kind).unwrap());
        let number = row.get("build").and_then(Value::as_u64).unwrap_or(0) as usize;
        let differ = builds.get(number).map_or_else(|| vec![format!("{} builds", builds.len())], |build| differences(row, build));
        if !differ.is_empty() {
            failed.push(format!("{case}, build {number}\n  {}", differ.join("\n  ")));
        }
    }
    names.dedup();
    assert!(names.len() >= 60, "{} cases", names.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
