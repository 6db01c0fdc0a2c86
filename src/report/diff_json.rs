//! `diff --format json`: the schema `bklog.diff/1`. Fields may be added, never renamed or dropped.

use std::io::{self, Write};

use serde::Serialize;

use super::diff_words as words;
use crate::{
    history::rows::StepRow,
    trend::diff::{Both, Cause, Diff, Side, StepDiff},
};

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    a: SideRecord<'a>,
    b: SideRecord<'a>,
    /// What the clock says; null where it is not known of both.
    total: Option<BothRecord>,
    /// The seconds of all steps. `steps` less `overlap` is `total`.
    steps_total: BothRecord,
    overlap: Option<BothRecord>,
    steps: Vec<StepRecord<'a>>,
    signs: Vec<SignRecord<'a>>,
}

#[derive(Serialize)]
struct SideRecord<'a> {
    name: &'a str,
    run: Option<&'a str>,
    at: Option<String>,
    commit: Option<&'a str>,
    outcome: &'static str,
    builder: Option<&'a str>,
    seconds: Option<f64>,
    duration_source: Option<&'static str>,
}

#[derive(Serialize)]
struct BothRecord {
    a: f64,
    b: f64,
    delta: f64,
}

#[derive(Serialize)]
struct StepRecord<'a> {
    change: &'static str,
    edited: bool,
    name: String,
    identity: &'a str,
    target: Option<&'a str>,
    stage: Option<&'a str>,
    a: Option<RowRecord<'a>>,
    b: Option<RowRecord<'a>>,
    delta_seconds: f64,
    /// The position in `steps` of the first step that missed the cache; its own for that step.
    root: Option<usize>,
    causes: Vec<CauseRecord<'a>>,
}

#[derive(Serialize)]
struct RowRecord<'a> {
    build: u32,
    index: u32,
    name: &'a str,
    status: &'static str,
    cache_hit: Option<bool>,
    seconds: Option<f64>,
    transferred_bytes: Option<u64>,
}

#[derive(Serialize)]
struct CauseRecord<'a> {
    kind: &'static str,
    text: String,
    files: &'a [String],
}

#[derive(Serialize)]
struct SignRecord<'a> {
    kind: &'static str,
    before: Option<&'a str>,
    after: Option<&'a str>,
}

/// Writes the document.
///
/// # Errors
/// Where the output cannot be written.
pub fn write(diff: &Diff, out: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        schema: "bklog.diff/1",
        a: side(&diff.a),
        b: side(&diff.b),
        total: diff.total.map(both),
        steps_total: both(diff.in_steps),
        overlap: diff.overlap().map(both),
        steps: diff.steps.iter().filter_map(step).collect(),
        signs: diff
            .signs
            .iter()
            .map(|sign| SignRecord { kind: sign.kind.name(), before: sign.before.as_deref(), after: sign.after.as_deref() })
            .collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn side(side: &Side) -> SideRecord<'_> {
    let run = &side.rows.run;
    SideRecord {
        name: &side.name,
        run: side.recorded.then_some(run.run.as_str()),
        at: side.recorded.then(|| run.at.to_string()),
        commit: run.commit.as_deref(),
        outcome: run.outcome.name(),
        builder: run.builder.as_deref(),
        seconds: run.seconds,
        duration_source: run.duration_source.map(|source| source.name()),
    }
}

fn both(both: Both) -> BothRecord {
    BothRecord { a: both.a, b: both.b, delta: both.delta() }
}

fn step(step: &StepDiff) -> Option<StepRecord<'_>> {
    let shown = step.row()?;
    Some(StepRecord {
        change: step.became.name(),
        edited: step.edited,
        name: words::step_name(shown),
        identity: &shown.identity,
        target: shown.target.as_deref(),
        stage: shown.stage.as_deref(),
        a: step.a.as_ref().map(of_row),
        b: step.b.as_ref().map(of_row),
        delta_seconds: step.delta(),
        root: step.root,
        causes: step.causes.iter().map(cause).collect(),
    })
}

fn of_row(row: &StepRow) -> RowRecord<'_> {
    RowRecord {
        build: row.build,
        index: row.index,
        name: &row.name,
        status: row.status.name(),
        cache_hit: row.cache_hit,
        seconds: row.seconds,
        transferred_bytes: row.transferred_bytes,
    }
}

fn cause(cause: &Cause) -> CauseRecord<'_> {
    let (kind, files): (_, &[String]) = match cause {
        Cause::Text { .. } => ("text", &[]),
        Cause::Files { files, .. } => ("files", files),
        Cause::NoFiles => ("no-files", &[]),
        Cause::Base(_) => ("base", &[]),
        Cause::NothingCached => ("nothing-cached", &[]),
        Cause::Sign(sign) => (sign.kind.name(), &[]),
        Cause::Context(..) => ("context", &[]),
    };
    CauseRecord { kind, text: words::cause(cause, &|text| format!("`{text}`")), files }
}
