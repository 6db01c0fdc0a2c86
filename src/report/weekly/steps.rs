//! What each step of the builds cost, and how often the cache answered it.

use std::collections::{BTreeMap, HashMap};

use jiff::{Timestamp, civil};
use serde::Serialize;

use super::{numbers::quantile, window::Window, window::date};
use crate::{
    build::{Kind, Status},
    history::rows::{RunRow, StepRow},
};

/// Fewest uses of a step within a period from which its usual cache ratio is told.
const FEWEST_USES: u64 = 5;
/// A step that the cache answers less often than this is one that normally runs: its runs are no loss.
const USUALLY_CACHED: f64 = 0.5;
/// Most days of a heat map; longer windows show their last days.
const MOST_DAYS: usize = 31;
/// Steps in a heat map.
const HEAT_ROWS: usize = 20;

/// How often a step ran and was cached within a period: what a step's usual cache ratio is told from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUse {
    /// The target.
    pub target: Option<String>,
    /// What the step is called in every run.
    pub identity: String,
    /// How often it ran to its end.
    pub executed: u64,
    /// How often the cache answered it for certain.
    pub cached: u64,
}

/// One step over a window.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct StepCost {
    /// The bake or compose target.
    pub target: Option<String>,
    /// The stage.
    pub stage: Option<String>,
    /// The instruction, as the last run printed it.
    pub instruction: String,
    /// What the step is called in every run.
    pub identity: String,
    /// How often it ran to its end.
    pub executed: u64,
    /// How often the cache answered it for certain.
    pub cached: u64,
    /// How often it failed.
    pub failed: u64,
    /// Seconds of all its runs.
    pub seconds: f64,
    /// Median of the seconds when it ran.
    pub p50: Option<f64>,
    /// 95th percentile of the same.
    pub p95: Option<f64>,
    /// Seconds in the window before.
    pub seconds_before: f64,
    /// Share of its uses that the cache answered in the window before.
    pub cache_ratio_before: Option<f64>,
    /// Share of its uses that the cache answers normally: that of its best period.
    pub usual_cache_ratio: Option<f64>,
    /// Seconds spent on it beyond what its usual cache ratio lets expect; 0 for steps that normally run.
    pub lost: f64,
    /// The last error of it.
    pub last_error: Option<String>,
}

impl StepCost {
    /// Share of its uses that the cache answered.
    pub fn cache_ratio(&self) -> Option<f64> {
        ratio(self.executed, self.cached)
    }

    /// Where it stands: `backend · deps`.
    pub fn place(&self) -> String {
        [&self.target, &self.stage].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" · ")
    }
}

/// The sum; of nothing it is 0 and not −0, which is what `Iterator::sum` gives.
fn total(seconds: &[f64]) -> f64 {
    seconds.iter().fold(0.0, |sum, second| sum + second)
}

fn ratio(executed: u64, cached: u64) -> Option<f64> {
    let all = executed + cached;
    (all > 0).then(|| cached as f64 / all as f64)
}

type Key<'a> = (Option<&'a str>, &'a str);

#[derive(Default)]
struct Tally<'a> {
    last: Option<(Timestamp, &'a StepRow)>,
    last_error: Option<(Timestamp, &'a str)>,
    executed: u64,
    cached: u64,
    failed: u64,
    seconds: Vec<f64>,
    days: BTreeMap<civil::Date, (u64, u64)>,
}

/// The steps of a window by what they cost, and the same as days.
pub struct Steps {
    /// Commands that were used in the window, the most expensive first.
    pub costs: Vec<StepCost>,
    /// Those of them that cost most, by day.
    pub heat: HeatMap,
    /// Seconds lost to misses in the window.
    pub lost: f64,
    /// Seconds lost to misses in the window before.
    pub lost_before: f64,
}

/// How often the cache answered, step by day.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct HeatMap {
    /// The days in UTC, also those without builds.
    pub days: Vec<civil::Date>,
    /// The steps.
    pub rows: Vec<HeatRow>,
}

/// One step of a heat map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeatRow {
    /// The bake or compose target.
    pub target: Option<String>,
    /// The stage.
    pub stage: Option<String>,
    /// The instruction.
    pub instruction: String,
    /// True for a step that the cache answers less than half of the time even in its best week.
    pub normally_runs: bool,
    /// A cell for each day.
    pub cells: Vec<HeatCell>,
}

/// One step on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct HeatCell {
    /// How often it ran to its end.
    pub executed: u64,
    /// How often the cache answered it for certain.
    pub cached: u64,
}

impl HeatCell {
    /// Share of the uses that the cache answered; `None` on a day without any.
    pub fn cache_ratio(&self) -> Option<f64> {
        ratio(self.executed, self.cached)
    }
}

/// Adds up the steps of a window and of the one before it. `usual` holds what longer ago is known of them, a row a period.
pub fn steps(window: &Window, runs: &HashMap<&str, &RunRow>, steps: &[StepRow], usual: &[StepUse]) -> Steps {
    let before = window.before();
    let (now, then) = (tally(window, runs, steps), tally(&before, runs, steps));
    let mut best: HashMap<Key<'_>, f64> = HashMap::new();
    let mut learn = |key, executed, cached| {
        if executed + cached >= FEWEST_USES
            && let Some(ratio) = ratio(executed, cached)
        {
            let known = best.entry(key).or_insert(ratio);
            *known = known.max(ratio);
        }
    };
    for used in usual {
        learn((used.target.as_deref(), used.identity.as_str()), used.executed, used.cached);
    }
    for (key, tally) in now.iter().chain(&then) {
        learn(*key, tally.executed, tally.cached);
    }
    let lost_before = then.iter().map(|(key, tally)| lost(tally, best.get(key).copied())).fold(0.0, |sum, lost| sum + lost);
    let mut costs: Vec<(StepCost, &Tally<'_>)> = now
        .iter()
        .map(|(key, tally)| {
            let mut cost = cost(tally);
            let earlier = then.get(key);
            cost.seconds_before = earlier.map_or(0.0, |tally| total(&tally.seconds));
            cost.cache_ratio_before = earlier.and_then(|tally| ratio(tally.executed, tally.cached));
            cost.usual_cache_ratio = best.get(key).copied();
            cost.lost = lost(tally, cost.usual_cache_ratio);
            (cost, tally)
        })
        .collect();
    costs.sort_by(|(a, _), (b, _)| b.seconds.total_cmp(&a.seconds).then_with(|| (&a.target, &a.identity).cmp(&(&b.target, &b.identity))));
    let heat = heat_map(window, &costs);
    let costs: Vec<StepCost> = costs.into_iter().map(|(cost, _)| cost).collect();
    Steps { lost: costs.iter().fold(0.0, |sum, cost| sum + cost.lost), costs, heat, lost_before }
}

fn tally<'a>(window: &Window, runs: &HashMap<&str, &RunRow>, steps: &'a [StepRow]) -> HashMap<Key<'a>, Tally<'a>> {
    let mut tallies: HashMap<Key<'a>, Tally<'a>> = HashMap::new();
    // The steps of a run stand together, and so do runs of one time.
    let mut known: (&str, Option<Timestamp>) = ("", None);
    for step in steps.iter().filter(|step| step.kind == Kind::Instruction && step.keyword.as_deref() != Some("FROM")) {
        if known.0 != step.run {
            known = (&step.run, runs.get(step.run.as_str()).map(|run| run.at).filter(|at| window.contains(*at)));
        }
        let Some(at) = known.1 else {
            continue;
        };
        let tally = tallies.entry((step.target.as_deref(), &step.identity)).or_default();
        if tally.last.is_none_or(|(last, _)| last <= at) {
            tally.last = Some((at, step));
        }
        match step.status {
            Status::Done => {
                tally.executed += 1;
                tally.seconds.extend(step.seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0));
                tally.days.entry(date(at)).or_default().0 += 1;
            }
            Status::Cached if step.cache_hit == Some(true) => {
                tally.cached += 1;
                tally.days.entry(date(at)).or_default().1 += 1;
            }
            Status::Error => {
                tally.failed += 1;
                if let Some(error) = &step.error
                    && tally.last_error.is_none_or(|(last, _)| last <= at)
                {
                    tally.last_error = Some((at, error));
                }
            }
            Status::Cached | Status::Canceled | Status::Unfinished => {}
        }
    }
    tallies
}

fn cost(tally: &Tally<'_>) -> StepCost {
    let mut sorted = tally.seconds.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = tally.last.map(|(_, step)| step);
    StepCost {
        target: last.and_then(|step| step.target.clone()),
        stage: last.and_then(|step| step.stage.clone()),
        instruction: last.map(|step| instruction(&step.name).to_owned()).unwrap_or_default(),
        identity: last.map(|step| step.identity.clone()).unwrap_or_default(),
        executed: tally.executed,
        cached: tally.cached,
        failed: tally.failed,
        seconds: total(&sorted),
        p50: quantile(&sorted, 0.5),
        p95: quantile(&sorted, 0.95),
        last_error: tally.last_error.map(|(_, error)| error.to_owned()),
        ..StepCost::default()
    }
}

/// The name of a step without its bracket.
pub fn instruction(name: &str) -> &str {
    match name.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, instruction)) => instruction,
        None => name,
    }
}

/// Seconds beyond what the usual cache ratio lets expect: the surplus of runs, each at the mean of those that ran.
fn lost(tally: &Tally<'_>, usual: Option<f64>) -> f64 {
    let Some(usual) = usual.filter(|usual| *usual >= USUALLY_CACHED) else {
        return 0.0;
    };
    if tally.seconds.is_empty() {
        return 0.0;
    }
    let expected = (1.0 - usual) * (tally.executed + tally.cached) as f64;
    let surplus = (tally.executed as f64 - expected).max(0.0);
    surplus * tally.seconds.iter().sum::<f64>() / tally.seconds.len() as f64
}

fn heat_map(window: &Window, costs: &[(StepCost, &Tally<'_>)]) -> HeatMap {
    let last = date(window.to.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(window.to));
    let mut days: Vec<civil::Date> = date(window.from).series(jiff::Span::new().days(1)).take_while(|day| *day <= last).collect();
    days.drain(..days.len().saturating_sub(MOST_DAYS));
    let rows = costs
        .iter()
        .filter(|(cost, _)| cost.executed + cost.cached > 0)
        .take(HEAT_ROWS)
        .map(|(cost, tally)| HeatRow {
            target: cost.target.clone(),
            stage: cost.stage.clone(),
            instruction: cost.instruction.clone(),
            normally_runs: cost.usual_cache_ratio.is_some_and(|usual| usual < USUALLY_CACHED),
            cells: days
                .iter()
                .map(|day| {
                    tally.days.get(day).map_or(HeatCell::default(), |(executed, cached)| HeatCell { executed: *executed, cached: *cached })
                })
                .collect(),
        })
        .collect();
    HeatMap { days, rows }
}
