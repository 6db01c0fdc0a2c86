//! `report --format json`: the schema `bklog.report/1`. Fields may be added, never renamed or dropped.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::{Advice, HeatMap, Numbers, OldCode, StepCost, Weekly, Window, changes::StepShare};
use crate::trend::change_point::{Direction, State};

/// The name of the schema.
pub const SCHEMA: &str = "bklog.report/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    project: &'a str,
    generated_at: Timestamp,
    window: Window,
    window_before: Window,
    headline: &'a str,
    last_run_at: Option<Timestamp>,
    numbers: NumbersRecord<'a>,
    numbers_before: NumbersRecord<'a>,
    first: &'a [Advice],
    series: Vec<SeriesRecord<'a>>,
    steps: Vec<StepRecord<'a>>,
    cache_by_day: &'a HeatMap,
    old_code: &'a [OldCode],
    judged_steps: u64,
}

#[derive(Serialize)]
struct NumbersRecord<'a> {
    #[serde(flatten)]
    numbers: &'a Numbers,
    cache_ratio: Option<f64>,
}

#[derive(Serialize)]
struct StepRecord<'a> {
    #[serde(flatten)]
    step: &'a StepCost,
    cache_ratio: Option<f64>,
}

#[derive(Serialize)]
struct SeriesRecord<'a> {
    target: Option<&'a str>,
    metric: &'static str,
    headline: &'a str,
    points: usize,
    changes: Vec<ChangeRecord<'a>>,
}

#[derive(Serialize)]
struct ChangeRecord<'a> {
    index: usize,
    at: Timestamp,
    run: Option<&'a str>,
    commit: Option<&'a str>,
    commits: Vec<&'a str>,
    before: f64,
    after: f64,
    ratio: Option<f64>,
    p_value: f64,
    direction: Direction,
    state: State,
    headline: &'a str,
    new: bool,
    in_effect: bool,
    regression: bool,
    accepted: Option<&'a str>,
    steps: &'a [StepShare],
    reasons: &'a [String],
    why: &'a str,
}

/// Writes the document.
///
/// # Errors
/// Where the output cannot be written.
pub fn write(report: &Weekly, out: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        schema: SCHEMA,
        project: &report.project,
        generated_at: report.now,
        window: report.window,
        window_before: report.window.before(),
        headline: &report.headline,
        last_run_at: report.last_run,
        numbers: NumbersRecord { numbers: &report.numbers, cache_ratio: report.numbers.cache_ratio() },
        numbers_before: NumbersRecord { numbers: &report.before, cache_ratio: report.before.cache_ratio() },
        first: &report.first,
        series: report
            .series
            .iter()
            .map(|series| SeriesRecord {
                target: series.target.as_deref(),
                metric: "duration_seconds",
                headline: &series.headline,
                points: series.series.points().len(),
                changes: series
                    .shifts
                    .iter()
                    .map(|shift| ChangeRecord {
                        index: shift.change.index,
                        at: shift.at,
                        run: shift.run.as_deref(),
                        commit: shift.commit.as_deref(),
                        commits: shift.suspects.as_deref().into_iter().collect(),
                        before: shift.change.before,
                        after: shift.change.after,
                        ratio: shift.change.ratio,
                        p_value: shift.change.p_value,
                        direction: shift.change.direction,
                        state: shift.change.state,
                        headline: &shift.headline,
                        new: shift.new,
                        in_effect: shift.in_effect,
                        regression: shift.regression,
                        accepted: shift.accepted.as_deref(),
                        steps: &shift.explanation.steps,
                        reasons: &shift.explanation.reasons,
                        why: &shift.explanation.why,
                    })
                    .collect(),
            })
            .collect(),
        steps: report.steps.iter().map(|step| StepRecord { step, cache_ratio: step.cache_ratio() }).collect(),
        cache_by_day: &report.heat,
        old_code: &report.old_code,
        judged_steps: report.judged,
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}
