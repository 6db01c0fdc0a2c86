//! `trend --format json`: the schema `bklog.trend/1`. Fields may be added, never renamed or dropped.

use std::io::{self, Write};

use serde::Serialize;

use super::trend_words as words;
use crate::trend::{
    analysis::{Told, ToldChange, Trend},
    attribution::StepShare,
    change_point::State,
    gate::Spent,
    ledger::Metric,
    levels::Among,
};

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    series: Vec<SeriesRecord<'a>>,
    budgets: Vec<BudgetRecord<'a>>,
}

#[derive(Serialize)]
struct SeriesRecord<'a> {
    project: &'a str,
    target: Option<&'a str>,
    step: Option<&'a str>,
    metric: &'static str,
    points: Vec<PointRecord<'a>>,
    left_out: LeftOutRecord,
    changes: Vec<ChangeRecord<'a>>,
    /// The position in `changes` of the one that makes it slower and still holds.
    regression: Option<usize>,
}

#[derive(Serialize)]
struct PointRecord<'a> {
    run: Option<&'a str>,
    at: String,
    commit: Option<&'a str>,
    value: f64,
}

#[derive(Serialize)]
struct LeftOutRecord {
    failed: usize,
    unfinished: usize,
    unknown: usize,
}

#[derive(Serialize)]
struct ChangeRecord<'a> {
    index: usize,
    run: Option<&'a str>,
    commit: Option<&'a str>,
    commits: Vec<String>,
    before: f64,
    after: f64,
    ratio: Option<f64>,
    p_value: f64,
    direction: &'static str,
    state: State,
    /// The builds whose levels `before` and `after` are.
    among: Among,
    summary: String,
    accepted: Option<&'a str>,
    runs_before: usize,
    runs_after: usize,
    steps: Vec<StepRecord<'a>>,
    steps_delta_seconds: f64,
    signs: Vec<SignRecord<'a>>,
}

#[derive(Serialize)]
struct StepRecord<'a> {
    name: &'a str,
    identity: &'a str,
    target: Option<&'a str>,
    renamed_from: Option<&'a str>,
    delta_seconds: f64,
    seconds_before: f64,
    seconds_after: f64,
    /// Part of the change of level; steps that run side by side add up to more than 1.
    share: Option<f64>,
    cache_hit_before: Option<f64>,
    cache_hit_after: Option<f64>,
}

#[derive(Serialize)]
struct SignRecord<'a> {
    kind: &'static str,
    before: Option<&'a str>,
    after: Option<&'a str>,
    /// The first run that shows it; null for the first run of the change.
    since: Option<&'a str>,
}

#[derive(Serialize)]
struct BudgetRecord<'a> {
    project: &'a str,
    of: String,
    name: Option<&'a str>,
    budget_seconds: f64,
    seconds: f64,
    builds: usize,
    over: bool,
}

/// Writes the document.
///
/// # Errors
/// Where the output cannot be written.
pub fn write(trend: &Trend, out: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        schema: "bklog.trend/1",
        series: trend.series.iter().map(series).collect(),
        budgets: trend.budgets.iter().map(budget).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn series(told: &Told) -> SeriesRecord<'_> {
    let measured = &told.measured;
    let point = |p: &'_ crate::trend::series::Point| p.at.to_string();
    SeriesRecord {
        project: &measured.project,
        target: measured.target.as_deref(),
        step: measured.step.as_deref(),
        metric: measured.metric.name(),
        points: measured
            .series
            .points()
            .iter()
            .map(|p| PointRecord { run: p.run.as_deref(), at: point(p), commit: p.commit.as_deref(), value: p.value })
            .collect(),
        left_out: LeftOutRecord {
            failed: measured.left_out.failed,
            unfinished: measured.left_out.unfinished,
            unknown: measured.left_out.unknown,
        },
        changes: told.changes.iter().map(|change| self::change(told, change)).collect(),
        regression: told.regression,
    }
}

fn change<'a>(told: &'a Told, change: &'a ToldChange) -> ChangeRecord<'a> {
    let measured = &told.measured;
    let found = &change.found.change;
    let point = measured.series.points().get(found.index);
    let plain = |name: &str| format!("`{name}`");
    let attribution = &change.attribution;
    // Only of a time is a step's time a part.
    let level = if measured.metric == Metric::Duration { found.after - found.before } else { 0.0 };
    ChangeRecord {
        index: found.index,
        run: point.and_then(|p| p.run.as_deref()),
        commit: point.and_then(|p| p.commit.as_deref()),
        commits: found.suspects(&measured.series).into_iter().collect(),
        before: found.before,
        after: found.after,
        ratio: found.ratio,
        p_value: found.p_value,
        direction: words::direction(measured, change),
        state: found.state,
        among: change.found.among,
        summary: format!("{} {}", words::what(measured, change, &plain), words::why(measured, change, &plain)).trim_end().to_owned(),
        accepted: change.accepted.as_deref(),
        runs_before: attribution.runs.0,
        runs_after: attribution.runs.1,
        steps: attribution.steps.iter().map(|step| self::step(step, level)).collect(),
        steps_delta_seconds: attribution.steps_delta,
        signs: std::iter::zip(&attribution.signs, &change.sign_runs)
            .map(|(sign, run)| SignRecord {
                kind: sign.kind.name(),
                before: sign.before.as_deref(),
                after: sign.after.as_deref(),
                since: run.as_deref(),
            })
            .collect(),
    }
}

fn step(step: &StepShare, level: f64) -> StepRecord<'_> {
    StepRecord {
        name: &step.name,
        identity: &step.identity,
        target: step.target.as_deref(),
        renamed_from: step.renamed_from.as_deref(),
        delta_seconds: step.delta(),
        seconds_before: step.seconds.0,
        seconds_after: step.seconds.1,
        share: (level != 0.0).then(|| step.delta() / level).filter(|share| share.is_finite()),
        cache_hit_before: step.hits.0,
        cache_hit_after: step.hits.1,
    }
}

fn budget(spent: &Spent) -> BudgetRecord<'_> {
    BudgetRecord {
        project: &spent.project,
        of: words::budget_name(spent),
        name: spent.name.as_deref(),
        budget_seconds: spent.budget.seconds,
        seconds: spent.seconds,
        builds: spent.builds,
        over: spent.is_over(),
    }
}
