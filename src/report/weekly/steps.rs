//! What each step of the builds cost, and how often the cache answered it.

use std::collections::{BTreeMap, HashMap};

use jiff::{Timestamp, civil};
use serde::Serialize;

use super::{numbers::quantile, old_code, window::Window, window::date};
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

/// What is known of a step from the last run that had it.
#[derive(Debug, Clone, Default)]
struct Last {
    at: Timestamp,
    stage: Option<String>,
    name: String,
}

#[derive(Debug, Clone, Default)]
struct Tally {
    target: Option<String>,
    last: Last,
    last_error: Option<(Timestamp, String)>,
    executed: u64,
    cached: u64,
    failed: u64,
    seconds: Vec<f64>,
    days: BTreeMap<civil::Date, (u64, u64)>,
}

/// The uses of steps within a window, by identity and then by target.
#[derive(Debug, Clone, Default)]
struct Tallies(HashMap<String, Vec<Tally>>);

/// What was seen of the steps of a window and of the one before, added up run by run, so that a year needs no more memory than a week.
#[derive(Debug, Clone)]
pub struct Seen {
    window: Window,
    now: Tallies,
    then: Tallies,
    pub(super) old_code: old_code::Seen,
}

impl Seen {
    /// Nothing of a window yet.
    pub fn new(window: Window) -> Self {
        Self { window, now: Tallies::default(), then: Tallies::default(), old_code: old_code::Seen::default() }
    }

    /// Adds steps of runs in the order of their times, those of one run in the order of the log. What is in neither window counts not.
    pub fn add(&mut self, runs: &HashMap<&str, &RunRow>, steps: &[StepRow]) {
        let before = self.window.before();
        // The steps of a run stand together.
        let mut known: (&str, Option<&RunRow>) = ("", None);
        for step in steps {
            if known.0 != step.run {
                known = (&step.run, runs.get(step.run.as_str()).copied());
            }
            let Some(run) = known.1 else { continue };
            if self.window.contains(run.at) {
                self.now.add(run.at, step);
                self.old_code.add(run, step);
            } else if before.contains(run.at) {
                self.then.add(run.at, step);
            }
        }
    }
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
pub fn steps(seen: &Seen, usual: &[StepUse]) -> Steps {
    type Key<'a> = (Option<&'a str>, &'a str);
    let Seen { window, now, then, .. } = seen;
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
    for (identity, tally) in now.iter().chain(then.iter()) {
        learn((tally.target.as_deref(), identity), tally.executed, tally.cached);
    }
    let usual = |identity, tally: &Tally| best.get(&(tally.target.as_deref(), identity)).copied();
    // In one order, whatever that of the table: sums of the same numbers are to be the same.
    let mut earlier: Vec<(&str, &Tally)> = then.iter().collect();
    earlier.sort_by(|a, b| (a.0, &a.1.target).cmp(&(b.0, &b.1.target)));
    let lost_before = earlier.iter().map(|(identity, tally)| lost(tally, usual(identity, tally))).fold(0.0, |sum, lost| sum + lost);
    let mut costs: Vec<(StepCost, &Tally)> = now
        .iter()
        .map(|(identity, tally)| {
            let mut cost = cost(identity, tally);
            let earlier = then.get(identity, tally.target.as_deref());
            cost.seconds_before = earlier.map_or(0.0, |tally| total(&tally.seconds));
            cost.cache_ratio_before = earlier.and_then(|tally| ratio(tally.executed, tally.cached));
            cost.usual_cache_ratio = usual(identity, tally);
            cost.lost = lost(tally, cost.usual_cache_ratio);
            (cost, tally)
        })
        .collect();
    costs.sort_by(|(a, _), (b, _)| b.seconds.total_cmp(&a.seconds).then_with(|| (&a.target, &a.identity).cmp(&(&b.target, &b.identity))));
    let heat = heat_map(window, &costs);
    let costs: Vec<StepCost> = costs.into_iter().map(|(cost, _)| cost).collect();
    Steps { lost: costs.iter().fold(0.0, |sum, cost| sum + cost.lost), costs, heat, lost_before }
}

impl Tallies {
    fn iter(&self) -> impl Iterator<Item = (&str, &Tally)> {
        self.0.iter().flat_map(|(identity, tallies)| tallies.iter().map(move |tally| (identity.as_str(), tally)))
    }

    fn get(&self, identity: &str, target: Option<&str>) -> Option<&Tally> {
        self.0.get(identity)?.iter().find(|tally| tally.target.as_deref() == target)
    }

    fn add(&mut self, at: Timestamp, step: &StepRow) {
        if step.kind != Kind::Instruction || step.keyword.as_deref() == Some("FROM") {
            return;
        }
        // A name is made only for a step that is new.
        if !self.0.contains_key(&step.identity) {
            self.0.insert(step.identity.clone(), Vec::new());
        }
        let Some(tallies) = self.0.get_mut(&step.identity) else { return };
        let place = tallies.iter().position(|tally| tally.target == step.target).unwrap_or(tallies.len());
        if place == tallies.len() {
            tallies.push(Tally { target: step.target.clone(), last: Last { at, ..Last::default() }, ..Tally::default() });
        }
        tallies[place].add(at, step);
    }
}

impl Tally {
    fn add(&mut self, at: Timestamp, step: &StepRow) {
        if self.last.at <= at {
            self.last.at = at;
            if self.last.name != step.name || self.last.stage != step.stage {
                (self.last.name, self.last.stage) = (step.name.clone(), step.stage.clone());
            }
        }
        match step.status {
            Status::Done => {
                self.executed += 1;
                self.seconds.extend(step.seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0));
                self.days.entry(date(at)).or_default().0 += 1;
            }
            Status::Cached if step.cache_hit == Some(true) => {
                self.cached += 1;
                self.days.entry(date(at)).or_default().1 += 1;
            }
            Status::Error => {
                self.failed += 1;
                if let Some(error) = &step.error
                    && self.last_error.as_ref().is_none_or(|(last, _)| *last <= at)
                {
                    self.last_error = Some((at, error.clone()));
                }
            }
            Status::Cached | Status::Canceled | Status::Unfinished => {}
        }
    }
}

fn cost(identity: &str, tally: &Tally) -> StepCost {
    let mut sorted = tally.seconds.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    StepCost {
        target: tally.target.clone(),
        stage: tally.last.stage.clone(),
        instruction: instruction(&tally.last.name).to_owned(),
        identity: identity.to_owned(),
        executed: tally.executed,
        cached: tally.cached,
        failed: tally.failed,
        seconds: total(&sorted),
        p50: quantile(&sorted, 0.5),
        p95: quantile(&sorted, 0.95),
        last_error: tally.last_error.as_ref().map(|(_, error)| error.clone()),
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
fn lost(tally: &Tally, usual: Option<f64>) -> f64 {
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

fn heat_map(window: &Window, costs: &[(StepCost, &Tally)]) -> HeatMap {
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
