//! What to do first: the few things of a week that cost most or put wrong code into images, each with what it costs.

use std::collections::HashMap;

use serde::Serialize;

use super::{Numbers, OldCode, StepCost, TrendSeries, Window};
use crate::{
    report::{trend_words::capital, units},
    trend::ledger::Recorded,
};

/// Things that are named; more is a list that nobody starts on.
const MOST: usize = 5;
/// A step that loses less than this in a week, in seconds, is not worth a place in the list.
const WORTH_SECONDS: f64 = 60.0;

/// How urgent something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Wrong code may be running.
    High,
    /// It costs time in every build.
    Medium,
    /// Worth knowing.
    Low,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// How urgent it is.
    pub urgency: Urgency,
    /// What is the matter, in one sentence.
    pub what: String,
    /// What to do about it, in one sentence.
    pub action: String,
    /// A command that helps with that.
    pub command: Option<String>,
}

/// A cache import that failed, by reference: builds that asked it, and those in which it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedImport {
    /// The reference, as the log has it.
    pub reference: String,
    /// Builds in which it failed.
    pub failed: u64,
    /// Builds that asked it.
    pub asked: u64,
}

/// The cache imports that failed in a window, the most often first.
pub fn failed_imports(window: &Window, runs: &[Recorded]) -> Vec<FailedImport> {
    let mut imports: HashMap<&str, (u64, u64)> = HashMap::new();
    for recorded in runs.iter().filter(|recorded| window.contains(recorded.run.at)) {
        for build in recorded.builds.iter().filter(|build| build.target.is_none()) {
            let mut of_build: Vec<&str> = build.cache_imports.iter().chain(&build.failed_imports).map(String::as_str).collect();
            of_build.sort_unstable();
            of_build.dedup();
            for reference in of_build {
                let counted = imports.entry(reference).or_default();
                counted.0 += u64::from(build.failed_imports.iter().any(|failed| failed == reference));
                counted.1 += 1;
            }
        }
    }
    let mut failed: Vec<FailedImport> = imports
        .into_iter()
        .filter(|(_, (failed, _))| *failed > 0)
        .map(|(reference, (failed, asked))| FailedImport { reference: reference.to_owned(), failed, asked })
        .collect();
    failed.sort_by(|a, b| b.failed.cmp(&a.failed).then_with(|| a.reference.cmp(&b.reference)));
    failed
}

/// The list, the most urgent first and within that the most expensive.
pub fn first(
    numbers: &Numbers,
    series: &[TrendSeries],
    steps: &[StepCost],
    old_code: &[OldCode],
    imports: &[FailedImport],
    this: &str,
) -> Vec<Advice> {
    let mut list: Vec<(f64, Advice)> = Vec::new();
    let mut explained: Vec<&str> = Vec::new();
    let place = |target: &Option<String>| target.as_ref().map_or_else(String::new, |target| format!("{target}: "));
    for old in old_code.iter().filter(|old| old.verdict == "stale" && !old.fresh_since) {
        let what =
            format!("{}{} put old code into the image in {}", place(&old.target), old.instruction, units::count(old.runs as usize, "run"));
        let action = "Clear the builder's copy of the context, build again, and do not deploy the image of that run".to_owned();
        list.push((old.runs as f64, Advice { urgency: Urgency::High, what, action, command: Some("docker builder prune -f".to_owned()) }));
    }
    // A change of a target is that of the whole run once more: the first series that has one tells it.
    if let Some(shift) = series
        .iter()
        .flat_map(|series| &series.shifts)
        .find(|shift| shift.regression || (shift.is_of_note() && shift.is_slower() && shift.in_effect))
    {
        let change = &shift.change;
        let suspected = if shift.is_suspected() { ", if the next builds confirm it" } else { "" };
        let each = shift.now - change.before;
        let cost = each * numbers.runs as f64;
        let what = format!("{}: {} more in each{suspected}", shift.headline, units::duration(each));
        let action = match &shift.suspects {
            Some(_) => "Look at what changed between the last good and the first slow build",
            None => "Look at what changed in the builder, its cache and the Dockerfile just before",
        };
        let why = &shift.explanation.why;
        let action = if why.is_empty() { action.to_owned() } else { format!("{} {action}", capital(why)) };
        explained = shift.explanation.steps.iter().filter(|step| step.delta_seconds > 0.0).map(|step| step.name.as_str()).collect();
        let command = shift.suspects.as_deref().map(|range| format!("git log {range}"));
        list.push((cost, Advice { urgency: Urgency::Medium, what, action, command }));
    }
    for import in imports.iter().take(2) {
        let what = format!(
            "The cache import {} failed in {} of {}",
            import.reference,
            import.failed,
            units::count(import.asked as usize, "build")
        );
        let action = "See that the reference exists and that the job may read it; without it every step of a fresh builder runs".to_owned();
        let cost = numbers.lost * import.failed as f64 / import.asked.max(1) as f64;
        list.push((cost, Advice { urgency: Urgency::Medium, what, action, command: Some("bklog explain cache-import-failed".to_owned()) }));
    }
    let mut losing: Vec<&StepCost> = steps.iter().filter(|step| step.lost >= WORTH_SECONDS.max(0.01 * numbers.spent)).collect();
    // What the regression says already is not said twice.
    losing.retain(|step| !explained.iter().any(|name| name.ends_with(&step.instruction)));
    losing.sort_by(|a, b| b.lost.total_cmp(&a.lost));
    for step in losing.into_iter().take(2) {
        let ratio = |ratio: Option<f64>| format!("{:.0} %", 100.0 * ratio.unwrap_or(0.0));
        let what = format!(
            "{}{} lost the cache: {} of its uses were cached, normally {}; that cost {} {this}",
            place(&step.target),
            step.instruction,
            ratio(step.cache_ratio()),
            ratio(step.usual_cache_ratio),
            units::duration(step.lost),
        );
        let action = "Find the first step in front of it that ran too: a changed COPY, argument or base image, or a cache that was cleared"
            .to_owned();
        list.push((step.lost, Advice { urgency: Urgency::Medium, what, action, command: None }));
    }
    if numbers.failed > 0 && (numbers.failed > 2 || numbers.failed * 5 >= numbers.builds) {
        let often = steps.iter().filter(|step| step.failed > 0).max_by_key(|step| step.failed);
        let often =
            often.map_or_else(String::new, |step| format!(", {} of them in {}{}", step.failed, place(&step.target), step.instruction));
        let what = format!("{} of {} failed{often}", numbers.failed, units::count(numbers.builds, "build"));
        let action = "Open the last of them; a step that fails now and then is worth a retry or a pinned version".to_owned();
        list.push((0.0, Advice { urgency: Urgency::Medium, what, action, command: None }));
    }
    for old in old_code.iter().filter(|old| old.verdict == "suspect" && !old.fresh_since).take(1) {
        let what = format!(
            "{}{} may have put old code into the image in {}",
            place(&old.target),
            old.instruction,
            units::count(old.runs as usize, "run")
        );
        let action = "Record every build of the builder, so that the history can tell, or compare the image".to_owned();
        list.push((0.0, Advice { urgency: Urgency::Low, what, action, command: Some("bklog check --image ARCHIVE".to_owned()) }));
    }
    if list.is_empty()
        && let Some(step) = steps.first().filter(|step| step.seconds > 0.25 * numbers.spent && step.seconds >= WORTH_SECONDS)
    {
        let what = format!(
            "{}{} takes {} of the {} that all commands took {this}",
            place(&step.target),
            step.instruction,
            units::duration(step.seconds),
            units::duration(steps.iter().map(|step| step.seconds).sum()),
        );
        let action = "A cache mount, or copying less before it, is where time can be saved".to_owned();
        list.push((step.seconds, Advice { urgency: Urgency::Low, what, action, command: None }));
    }
    list.sort_by(|(a_cost, a), (b_cost, b)| a.urgency.cmp(&b.urgency).then(b_cost.total_cmp(a_cost)));
    let mut list: Vec<Advice> = list.into_iter().map(|(_, advice)| advice).collect();
    list.truncate(MOST);
    list
}

/// True for a commit range that can be pasted into a shell whatever a log claims its commits to be.
pub fn is_plain(range: &str) -> bool {
    range.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/')) && !range.starts_with('-')
}
