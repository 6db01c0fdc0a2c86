//! Series out of recorded runs: how long runs, their targets and their steps took, what the cache answered, what was transferred.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    change_point::Settings,
    series::{Point, Series},
};
use crate::{
    build::{Kind, Outcome, Status},
    history::rows::{BuildRow, RunRow, StepRow},
};

/// A recorded run with its builds.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The run.
    pub run: RunRow,
    /// Its builds and their targets.
    pub builds: Vec<BuildRow>,
}

/// Puts the rows of runs and builds together, in the order of their times.
pub fn recorded(mut runs: Vec<RunRow>, builds: Vec<BuildRow>) -> Vec<Recorded> {
    runs.sort_by(|a, b| (a.at, &a.run).cmp(&(b.at, &b.run)));
    runs.dedup_by(|a, b| a.run == b.run);
    let mut of_run: HashMap<String, Vec<BuildRow>> = HashMap::new();
    for row in builds {
        of_run.entry(row.run.clone()).or_default().push(row);
    }
    runs.into_iter().map(|run| Recorded { builds: of_run.remove(&run.run).unwrap_or_default(), run }).collect()
}

/// What a series is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Seconds.
    Duration,
    /// The share of the commands that the cache answered, from 0 to 1.
    CacheHitRatio,
    /// Bytes of the build contexts that were transferred.
    ContextBytes,
    /// The share of the cache imports that worked, from 0 to 1.
    ImportSuccess,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Duration, Self::CacheHitRatio, Self::ContextBytes, Self::ImportSuccess];

    /// The name in the JSON contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Duration => "duration_seconds",
            Self::CacheHitRatio => "cache_hit_ratio",
            Self::ContextBytes => "context_bytes",
            Self::ImportSuccess => "import_success",
        }
    }

    /// What counts as worth an alert: of durations at least half a second, since logs round to tenths and a tenth of nothing is much.
    pub fn settings(self, min_ratio: f64) -> Settings {
        match self {
            Self::Duration => Settings { min_ratio, min_difference: 0.5 },
            Self::CacheHitRatio => Settings { min_ratio, min_difference: 0.15 },
            Self::ContextBytes => Settings { min_ratio: min_ratio.max(1.25), min_difference: 100_000.0 },
            Self::ImportSuccess => Settings { min_ratio, min_difference: 0.3 },
        }
    }

    /// True where a larger value is a worse one.
    pub fn more_is_worse(self) -> bool {
        matches!(self, Self::Duration | Self::ContextBytes)
    }
}

/// Runs that are no points of a series, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// They failed.
    pub failed: usize,
    /// They were canceled, or their log ends early.
    pub unfinished: usize,
    /// Nothing says the value.
    pub unknown: usize,
}

impl LeftOut {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Succeeded => self.unknown += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Canceled | Outcome::Truncated => self.unfinished += 1,
        }
    }

    /// All of them.
    pub fn total(self) -> usize {
        self.failed + self.unfinished + self.unknown
    }
}

/// A series and what it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The project.
    pub project: String,
    /// The target; `None` for whole runs.
    pub target: Option<String>,
    /// The step's identity; `None` for whole runs and targets.
    pub step: Option<String>,
    /// What was measured.
    pub metric: Metric,
    /// The values.
    pub series: Series,
    /// For each point whether a command ran: a build that the cache answered altogether tells nothing of how long building takes.
    pub ran: Vec<bool>,
    /// Runs that are no points.
    pub left_out: LeftOut,
}

/// The runs of one project, in the order of their times.
pub fn by_project(runs: Vec<Recorded>) -> BTreeMap<String, Vec<Recorded>> {
    let mut projects: BTreeMap<String, Vec<Recorded>> = BTreeMap::new();
    for run in runs {
        projects.entry(run.run.project.clone()).or_default().push(run);
    }
    projects
}

/// The targets that the runs name.
pub fn targets(runs: &[Recorded]) -> BTreeSet<&str> {
    runs.iter().flat_map(|run| &run.builds).filter_map(|row| row.target.as_deref()).collect()
}

/// The series of whole runs, or of one target. Only what succeeded is a point: a failed build is fast for no good reason. `runs` are those
/// of one project in the order of their times. `None` where no run has the target.
pub fn measure(runs: &[Recorded], target: Option<&str>, metric: Metric) -> Option<Measured> {
    let mut left_out = LeftOut::default();
    let (mut points, mut ran, mut seen) = (Vec::new(), Vec::new(), false);
    for recorded in runs {
        let rows: Vec<&BuildRow> = recorded.builds.iter().filter(|row| row.target.as_deref() == target).collect();
        if target.is_some() && rows.is_empty() {
            continue;
        }
        seen = true;
        let outcome = match target {
            None => recorded.run.outcome,
            Some(_) => rows.iter().filter_map(|row| row.outcome).max_by_key(|outcome| rank(*outcome)).unwrap_or(recorded.run.outcome),
        };
        let value = value(recorded, &rows, target, metric).filter(|value| value.is_finite() && *value >= 0.0);
        match value {
            Some(value) if outcome == Outcome::Succeeded => {
                points.push(point(&recorded.run, value));
                ran.push(rows.is_empty() || rows.iter().any(|row| row.executed > 0));
            }
            _ => left_out.count(outcome),
        }
    }
    let project = runs.first()?.run.project.clone();
    let series = Series::new(points).ok().filter(|_| seen)?;
    Some(Measured { project, target: target.map(str::to_owned), step: None, metric, series, ran, left_out })
}

fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Succeeded => 0,
        Outcome::Truncated => 1,
        Outcome::Canceled => 2,
        Outcome::Failed => 3,
    }
}

fn point(run: &RunRow, value: f64) -> Point {
    Point { at: run.at, run: Some(run.run.clone()), commit: run.commit.clone(), value }
}

fn value(recorded: &Recorded, rows: &[&BuildRow], target: Option<&str>, metric: Metric) -> Option<f64> {
    let sum = |of: &dyn Fn(&BuildRow) -> f64| rows.iter().map(|row| of(row)).sum::<f64>();
    match metric {
        Metric::Duration if target.is_none() => recorded.run.seconds,
        Metric::Duration => rows.iter().map(|row| row.seconds).sum(),
        Metric::CacheHitRatio => {
            let cached = sum(&|row| f64::from(row.cached));
            let all = cached + sum(&|row| f64::from(row.executed));
            (all > 0.0).then(|| cached / all)
        }
        Metric::ContextBytes => {
            rows.iter().any(|row| row.context_bytes.is_some()).then(|| sum(&|row| row.context_bytes.unwrap_or(0) as f64))
        }
        Metric::ImportSuccess => {
            let all = sum(&|row| row.cache_imports.len() as f64);
            let failed = sum(&|row| row.failed_imports.len() as f64);
            (all > 0.0).then(|| (all - failed).max(0.0) / all)
        }
    }
}

/// A step in all runs: what it is called and the target; no target for one that targets share.
type StepKey<'r> = (&'r str, Option<&'r str>);

/// The series of the seconds of steps where they ran: a step that the cache answered took no time that could be compared. `steps` are rows
/// of `runs`; `wanted` chooses by identity and name. With a `target`, the steps that take part in it.
pub fn measure_steps(runs: &[Recorded], steps: &[StepRow], target: Option<&str>, wanted: &dyn Fn(&StepRow) -> bool) -> Vec<Measured> {
    let of_run: HashMap<&str, &RunRow> = runs.iter().map(|run| (run.run.run.as_str(), &run.run)).collect();
    let mut series: BTreeMap<StepKey<'_>, (BTreeMap<&str, f64>, LeftOut)> = BTreeMap::new();
    // BuildKit's own small steps are no work of anybody.
    let work = |step: &&StepRow| !matches!(step.kind, Kind::Internal | Kind::Auth | Kind::Other);
    let shared = shared_steps(runs, steps);
    for step in steps.iter().filter(work).filter(|step| wanted(step)) {
        let Some(run) = of_run.get(step.run.as_str()) else { continue };
        let own = (step.identity.as_str(), step.target.as_deref());
        let (key, of_target) = match bare(step).and_then(|bare| Some((bare, shared.get(bare)?))) {
            Some((bare, targets)) => ((bare, None), target.is_none_or(|target| targets.contains(target))),
            None => (own, target.is_none() || own.1 == target),
        };
        if !of_target {
            continue;
        }
        let (values, left_out) = series.entry(key).or_default();
        match (run.outcome, step.status, step.seconds) {
            (_, Status::Cached, _) => left_out.unknown += 1,
            (Outcome::Succeeded, Status::Done, Some(seconds)) => *values.entry(&step.run).or_default() += seconds,
            (outcome, ..) => left_out.count(outcome),
        }
    }
    let Some(project) = runs.first().map(|run| run.run.project.clone()) else { return Vec::new() };
    let measured = |((identity, target), (values, left_out)): (StepKey<'_>, (BTreeMap<&str, f64>, LeftOut))| {
        let points: Vec<Point> = runs.iter().filter_map(|run| Some(point(&run.run, *values.get(run.run.run.as_str())?))).collect();
        let ran = vec![true; points.len()];
        let series = Series::new(points).ok().filter(|series| !series.points().is_empty())?;
        let (step, target) = (Some(identity.to_owned()), target.map(str::to_owned));
        Some(Measured { project: project.clone(), target, step, metric: Metric::Duration, series, ran, left_out })
    };
    series.into_iter().filter_map(measured).collect()
}

/// The identity of an instruction without the target that bake announced it under; `None` where the log named none.
fn bare(step: &StepRow) -> Option<&str> {
    let target = step.target.as_deref().filter(|_| step.kind == Kind::Instruction)?;
    let announced = step.name.strip_prefix('[').and_then(|name| name.strip_prefix(target)).is_some_and(|rest| rest.starts_with(' '));
    step.identity.strip_prefix(target)?.strip_prefix(' ').filter(|_| announced)
}

/// The steps that bake announces now under one target and now under another, by [`bare`], with those targets: never under two in one run,
/// although both take part in it.
fn shared_steps<'r>(runs: &'r [Recorded], steps: &'r [StepRow]) -> HashMap<&'r str, BTreeSet<&'r str>> {
    let mut groups: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
    for step in steps {
        if let (Some(bare), Some(target)) = (bare(step), step.target.as_deref()) {
            groups.entry(bare).or_default().push((&step.run, target));
        }
    }
    let built: HashMap<&str, BTreeSet<&str>> =
        runs.iter().map(|run| (run.run.run.as_str(), run.builds.iter().filter_map(|row| row.target.as_deref()).collect())).collect();
    let shared = |(bare, uses): (&'r str, Vec<(&'r str, &'r str)>)| {
        let targets: BTreeSet<&str> = uses.iter().map(|(_, target)| *target).collect();
        if targets.len() < 2 {
            return None;
        }
        let mut under: HashMap<&str, &str> = HashMap::new();
        let apart = uses.iter().all(|(run, target)| under.insert(run, target).is_none_or(|before| before == *target));
        let together = || under.keys().all(|run| built.get(run).is_some_and(|built| targets.is_subset(built)));
        (apart && together()).then_some((bare, targets))
    };
    groups.into_iter().filter_map(shared).collect()
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
pub(crate) mod tests;
