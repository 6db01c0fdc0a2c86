//! The weekly report: what a project's builds took, what changed, what it cost, what to do first.
//!
//! [`weekly`] is a pure function from the rows of the ledger to a [`Weekly`]; the formats ([`markdown`], [`json`] and the HTML page)
//! only write it down.

pub mod advice;
pub mod changes;
pub mod json;
pub mod markdown;
pub mod numbers;
pub mod old_code;
pub mod steps;
pub mod tiles;
pub mod window;

use std::collections::HashMap;

use jiff::Timestamp;

pub use advice::{Advice, Urgency};
pub use changes::{Shift, TrendSeries};
pub use numbers::Numbers;
pub use old_code::OldCode;
pub use steps::{HeatMap, Seen, StepCost, StepUse};
pub use window::Window;

use crate::{
    history::rows::RunRow,
    report::units,
    trend::{analysis::Told, ledger::Recorded},
};

/// What a report is made of.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The project.
    pub project: &'a str,
    /// When the report is made.
    pub now: Timestamp,
    /// What it is about.
    pub window: Window,
    /// The runs of the window, of the one before, and of as long before as the charts reach, with their builds.
    pub runs: &'a [Recorded],
    /// What was seen of the steps of the window and of the one before.
    pub steps: &'a Seen,
    /// How often steps were cached longer ago, a row a step and period. May be empty.
    pub usual: &'a [StepUse],
    /// Durations over time with their changes, as [`crate::trend::analysis`] tells them.
    pub told: &'a [Told],
}

/// A report.
#[derive(Debug, Clone, PartialEq)]
pub struct Weekly {
    /// The project.
    pub project: String,
    /// When it was made.
    pub now: Timestamp,
    /// What it is about.
    pub window: Window,
    /// The finding that matters most, as a sentence without its full stop.
    pub headline: String,
    /// The numbers of the window.
    pub numbers: Numbers,
    /// Those of the window before.
    pub before: Numbers,
    /// When the last run of the project was, in the window or before it.
    pub last_run: Option<Timestamp>,
    /// What to do, the most urgent first.
    pub first: Vec<Advice>,
    /// Durations over time: of the whole runs, then of the targets that changed.
    pub series: Vec<TrendSeries>,
    /// Steps, the most expensive first.
    pub steps: Vec<StepCost>,
    /// Cache answers by step and day.
    pub heat: HeatMap,
    /// Steps that put old code into an image, or may have.
    pub old_code: Vec<OldCode>,
    /// Steps on which a verdict was given at all.
    pub judged: u64,
}

/// Runs by their ids.
pub fn by_id(runs: &[Recorded]) -> HashMap<&str, &RunRow> {
    runs.iter().map(|recorded| (recorded.run.run.as_str(), &recorded.run)).collect()
}

/// Makes the report.
pub fn weekly(input: Input<'_>) -> Weekly {
    let Input { project, now, window, runs, steps: seen, usual, told } = input;
    let mut numbers = Numbers::of(&window, runs);
    let mut before = Numbers::of(&window.before(), runs);
    let steps::Steps { costs, heat, lost, lost_before } = steps::steps(seen, usual);
    (numbers.lost, before.lost) = (lost, lost_before);
    let (old_code, judged) = old_code::find(&seen.old_code);
    let series = changes::series(&window, told);
    let last_run = runs.iter().map(|recorded| recorded.run.at).filter(|at| *at < window.to).max();
    let imports = advice::failed_imports(&window, runs);
    let first = advice::first(&numbers, &series, &costs, &old_code, &imports, &window.this());
    let headline = headline(&window, &numbers, &before, &series, &old_code);
    Weekly {
        project: project.to_owned(),
        now,
        window,
        headline,
        numbers,
        before,
        last_run,
        first,
        series,
        steps: costs,
        heat,
        old_code,
        judged,
    }
}

/// The finding that matters most: old code in an image, then a lasting change of the build time, then what the week was like.
fn headline(window: &Window, numbers: &Numbers, before: &Numbers, series: &[TrendSeries], old_code: &[OldCode]) -> String {
    let (noun, this) = (window.noun(), window.this());
    if numbers.runs == 0 {
        return format!("No builds in {this}");
    }
    let stale = old_code.iter().filter(|found| found.verdict == "stale").count();
    if stale > 0 {
        return format!("{} put old code into an image {this}", units::count(stale, "step"));
    }
    if let Some(shift) = changes::of_note(series) {
        return shift.headline.clone();
    }
    if numbers.failed == numbers.builds {
        return match numbers.builds {
            1 => format!("The only build of {this} failed"),
            all => format!("All {all} builds of {this} failed"),
        };
    }
    if numbers.p50.is_none() && numbers.builds > 0 {
        return format!("No build of {this} succeeded");
    }
    let failed = match numbers.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let time = match (numbers.p50, before.p50) {
        (Some(now), Some(then)) if (now / then.max(0.1)).ln().abs() < 0.1 => {
            format!(", median {} as in the {noun} before", units::duration(now))
        }
        (Some(now), _) => format!(", median {}", units::duration(now)),
        (None, _) => String::new(),
    };
    format!("{}{failed}{time}", units::count(numbers.builds, "build"))
}

#[cfg(test)]
pub(in crate::report) mod tests;
