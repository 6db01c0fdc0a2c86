//! From recorded runs to what `bklog trend` says: series, their changes, what each change is made of, budgets.

use jiff::{SignedDuration, Timestamp};

use super::{
    attribution::{self, Attribution, Windows},
    gate::{self, Spent},
    ledger::{self, Measured, Metric, Recorded},
    levels::{self, Found},
};
use crate::{
    history::rows::StepRow,
    policy::trend::{BudgetOf, Trend as TrendPolicy},
};

/// Runs at the end whose steps are read for the budgets of steps.
const RECENT: usize = 50;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Of this target alone.
    pub target: Option<String>,
    /// Of these metrics.
    pub metrics: Vec<Metric>,
    /// Series of steps, too.
    pub steps: Steps,
    /// Smallest factor between two levels that counts as a change.
    pub min_ratio: f64,
}

/// Which steps get a series of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steps {
    /// None.
    None,
    /// Those whose name holds this, or fits it where it has a `*`.
    Named(String),
    /// All.
    All,
}

impl Steps {
    fn wants(&self, identity: &str) -> bool {
        match self {
            Self::None => false,
            Self::Named(pattern) => gate::names_step(pattern, identity),
            Self::All => true,
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trend {
    /// The series, those of whole runs first.
    pub series: Vec<Told>,
    /// The budgets.
    pub budgets: Vec<Spent>,
    /// Accepted levels of the settings that fit no change.
    pub unused_accepts: Vec<String>,
}

/// A series and its changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The series.
    pub measured: Measured,
    /// Its changes.
    pub changes: Vec<ToldChange>,
    /// The position in `changes` of the one that makes it slower and still holds.
    pub regression: Option<usize>,
}

/// A change and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldChange {
    /// The change.
    pub found: Found,
    /// What it is made of.
    pub attribution: Attribution,
    /// For each sign the run from which on it holds; `None` for the first run of the change itself.
    pub sign_runs: Vec<Option<String>>,
    /// Why it is accepted, if it is.
    pub accepted: Option<String>,
}

impl Trend {
    /// The regressions that hold: series and change.
    pub fn regressions(&self) -> impl Iterator<Item = (&Told, &ToldChange)> {
        self.series.iter().filter_map(|told| Some((told, told.changes.get(told.regression?)?)))
    }

    /// True where something is slower than it was, or takes longer than it may.
    pub fn is_bad(&self) -> bool {
        self.regressions().next().is_some() || self.budgets.iter().any(Spent::is_over)
    }
}

/// Answers the question for runs, in any order and of any number of projects. `steps` gives the rows of the steps of the runs that began
/// from the first time on and before the second: only what is near a change is asked for.
///
/// # Errors
/// What `steps` gives.
pub fn analyse<E>(
    runs: Vec<Recorded>,
    question: &Question,
    policy: &TrendPolicy,
    mut steps: impl FnMut(Timestamp, Timestamp) -> Result<Vec<StepRow>, E>,
) -> Result<Trend, E> {
    let mut trend = Trend::default();
    let mut used = vec![false; policy.accepted.len()];
    for runs in ledger::by_project(runs).values() {
        let mut window = StepWindow { runs, rows: None, load: &mut steps };
        let targets: Vec<Option<&str>> = match &question.target {
            Some(target) => vec![Some(target.as_str())],
            None => std::iter::once(None).chain(ledger::targets(runs).into_iter().map(Some)).collect(),
        };
        let mut series = Vec::new();
        for target in targets {
            series.extend(question.metrics.iter().filter_map(|metric| ledger::measure(runs, target, *metric)));
        }
        series.retain(|measured| !measured.series.points().is_empty() || measured.metric == Metric::Duration);
        if question.steps != Steps::None && question.metrics.contains(&Metric::Duration) {
            let rows = window.between(0, runs.len())?;
            let wanted = |row: &StepRow| question.steps.wants(&row.identity);
            series.extend(ledger::measure_steps(runs, rows, question.target.as_deref(), &wanted));
        }
        trend.budgets.extend(budgets(policy, runs, &series, &mut window)?);
        let changes = levels::find_all(&series, question.min_ratio);
        for (measured, found) in series.into_iter().zip(changes) {
            let accepted = |found: &Found| {
                let at =
                    policy.accepted.iter().position(|level| gate::accepted(std::slice::from_ref(level), &measured, found).is_some())?;
                Some((at, policy.accepted.get(at)?.reason.clone()))
            };
            let regression = if measured.metric == Metric::Duration {
                let regression = levels::regression(&found, &|found| accepted(found).is_some(), question.min_ratio);
                regression.and_then(|regression| found.iter().position(|other| other == regression))
            } else {
                None
            };
            let mut changes = Vec::new();
            for (at, this) in found.iter().enumerate() {
                let reason = accepted(this);
                if let Some((level, _)) = &reason {
                    used[*level] = true;
                }
                let windows = if measured.step.is_some() {
                    Windows { before: Vec::new(), after: Vec::new() }
                } else {
                    attribution::windows(&measured, &found, at, runs)
                };
                let (from, to) = range(&windows);
                let rows = window.between(from, to)?;
                let attribution = attribution::attribute(&measured, this, &windows, runs, rows);
                let run_at = |since: usize| {
                    let at = windows.before.iter().chain(&windows.after).nth(since)?;
                    Some(runs.get(*at)?.run.run.clone()).filter(|_| since != windows.before.len())
                };
                let sign_runs = attribution.signs.iter().map(|sign| run_at(sign.since)).collect();
                changes.push(ToldChange { found: *this, attribution, sign_runs, accepted: reason.map(|(_, reason)| reason) });
            }
            trend.series.push(Told { measured, changes, regression });
        }
    }
    // What was asked of one target says nothing of the settings for others.
    if question.target.is_none() {
        let unused = std::iter::zip(&policy.accepted, used).filter(|(_, used)| !used);
        trend.unused_accepts = unused.map(|(level, _)| level.since.clone()).collect();
    }
    Ok(trend)
}

fn budgets<E>(
    policy: &TrendPolicy,
    runs: &[Recorded],
    series: &[Measured],
    window: &mut StepWindow<'_, impl FnMut(Timestamp, Timestamp) -> Result<Vec<StepRow>, E>>,
) -> Result<Vec<Spent>, E> {
    let wanted: Vec<&str> = policy
        .budgets
        .iter()
        .filter_map(|budget| match &budget.of {
            BudgetOf::Step(pattern) => Some(pattern.as_str()),
            _ => None,
        })
        .collect();
    if wanted.is_empty() {
        return Ok(gate::spent(&policy.budgets, series));
    }
    let rows = window.between(runs.len().saturating_sub(RECENT), runs.len())?;
    let steps = ledger::measure_steps(runs, rows, None, &|row| wanted.iter().any(|pattern| gate::names_step(pattern, &row.identity)));
    Ok(gate::spent(&policy.budgets, series.iter().filter(|measured| measured.step.is_none()).chain(&steps)))
}

/// The runs from the first to behind the last of both windows.
fn range(windows: &Windows) -> (usize, usize) {
    let all = || windows.before.iter().chain(&windows.after).copied();
    (all().min().unwrap_or(0), all().max().map_or(0, |last| last + 1))
}

/// The steps of some runs in a row; kept, because the series of one project change together.
struct StepWindow<'r, L> {
    runs: &'r [Recorded],
    rows: Option<((usize, usize), Vec<StepRow>)>,
    load: L,
}

impl<E, L: FnMut(Timestamp, Timestamp) -> Result<Vec<StepRow>, E>> StepWindow<'_, L> {
    /// The rows of the runs `from..to`, and perhaps others.
    fn between(&mut self, from: usize, to: usize) -> Result<&[StepRow], E> {
        let known = self.rows.as_ref().is_some_and(|((first, end), _)| *first <= from && to <= *end);
        if !known {
            let of = self.runs.get(from..to).unwrap_or_default();
            let rows = match (of.first(), of.last()) {
                (Some(first), Some(last)) => {
                    let until = last.run.at.checked_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX);
                    (self.load)(first.run.at, until)?
                }
                _ => Vec::new(),
            };
            self.rows = Some(((from, to), rows));
        }
        Ok(self.rows.as_ref().map_or(&[], |(_, rows)| rows.as_slice()))
    }
}
