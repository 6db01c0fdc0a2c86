//! What a change of level is made of: which steps took more time, which lost the cache, what came and went in the logs.
//!
//! A step contributes to a run the seconds in which it ran, and nothing where the cache answered it. What it contributes to a level is its
//! rate of running times the median of its seconds: the mean of its contributions, but for outliers. Steps that run side by side add up to
//! more than the level moved.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use super::{
    ledger::{Measured, Metric, Recorded},
    levels::{Among, Found},
    matching::{self, Named},
    signs::{self, SignChange},
};
use crate::{
    build::{Kind, Status, StepName},
    history::{
        identity::{self, Place},
        rows::StepRow,
    },
};

/// Runs on each side of a change that are compared, those next to it.
pub const WINDOW: usize = 60;

/// Least seconds, and least share of the change, from which on a step is worth naming.
const LEAST_SECONDS: f64 = 0.1;
const LEAST_SHARE: f64 = 0.02;
/// Change of the hit ratio from which on a step is worth naming, whatever its seconds.
const LEAST_RATIO: f64 = 0.25;
/// Steps that are named.
const MOST_STEPS: usize = 10;

/// The runs on both sides of a change, as positions in the runs of the project.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    /// Before it.
    pub before: Vec<usize>,
    /// From it on.
    pub after: Vec<usize>,
}

/// What a change is made of.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attribution {
    /// Runs compared before and after.
    pub runs: (usize, usize),
    /// The steps that made it, the most seconds first; for a change to faster those that save most.
    pub steps: Vec<StepShare>,
    /// The seconds of all steps that ran, after less before.
    pub steps_delta: f64,
    /// What came and went in the logs; `since` counts from the first run of the window.
    pub signs: Vec<SignChange>,
}

/// The part of one step in a change.
#[derive(Debug, Clone, PartialEq)]
pub struct StepShare {
    /// Place and text of the step as the newest run names it, without its number.
    pub name: String,
    /// What it was called before, where it was edited.
    pub renamed_from: Option<String>,
    /// What it is called in every run.
    pub identity: String,
    /// The target; `None` also for a step that targets share.
    pub target: Option<String>,
    /// Seconds that it contributes to a run before and after.
    pub seconds: (f64, f64),
    /// The share of its runs that the cache answered, before and after; `None` where it was in no run.
    pub hits: (Option<f64>, Option<f64>),
}

impl StepShare {
    /// Seconds after less seconds before.
    pub fn delta(&self) -> f64 {
        self.seconds.1 - self.seconds.0
    }

    /// How much of the cache it lost, from -1 (won) to 1 (lost).
    pub fn lost_hits(&self) -> f64 {
        match self.hits {
            (Some(before), Some(after)) => before - after,
            _ => 0.0,
        }
    }
}

/// The runs to compare: those of the levels on both sides of a change, as far as the changes next to it, [`WINDOW`] at most.
pub fn windows(measured: &Measured, found: &[Found], at: usize, runs: &[Recorded]) -> Windows {
    let position: HashMap<&str, usize> = runs.iter().enumerate().map(|(at, run)| (run.run.run.as_str(), at)).collect();
    let Some(this) = found.get(at) else { return Windows { before: Vec::new(), after: Vec::new() } };
    let points = measured.series.points();
    let from = at.checked_sub(1).map_or(0, |before| found[before].change.index);
    let to = found.get(at + 1).map_or(points.len(), |next| next.change.index);
    let chosen = |range: std::ops::Range<usize>| -> Vec<usize> {
        let fits = |point: &usize| this.among == Among::All || measured.ran.get(*point).copied().unwrap_or(true);
        range.filter(fits).filter_map(|point| position.get(points.get(point)?.run.as_deref()?).copied()).collect()
    };
    let mut before = chosen(from..this.change.index);
    before.drain(..before.len().saturating_sub(WINDOW));
    let mut after = chosen(this.change.index..to);
    after.truncate(WINDOW);
    Windows { before, after }
}

/// Says what a change is made of. `steps` are rows that hold those of the windows' runs; rows of other runs are left alone.
pub fn attribute(measured: &Measured, found: &Found, windows: &Windows, runs: &[Recorded], steps: &[StepRow]) -> Attribution {
    let ids = |positions: &[usize]| -> Vec<&str> { positions.iter().filter_map(|at| Some(runs.get(*at)?.run.run.as_str())).collect() };
    let (before, after) = (ids(&windows.before), ids(&windows.after));
    let mut lines = Lines::collect(&before, &after, steps);
    lines.join_shared();
    lines.join_edited();
    let mut shares: Vec<StepShare> = lines
        .lines
        .iter()
        .filter(|line| measured.target.as_ref().is_none_or(|target| line.targets.contains(target)))
        .map(|line| line.share(before.len(), after.len()))
        .collect();
    let steps_delta = shares.iter().map(StepShare::delta).sum();
    let level = found.change.after - found.change.before;
    let sign = if level < 0.0 { -1.0 } else { 1.0 };
    if measured.metric == Metric::Duration {
        let least = LEAST_SECONDS.max(LEAST_SHARE * level.abs());
        shares.retain(|share| share.delta().abs() >= least || (share.lost_hits() * sign >= LEAST_RATIO && share.delta() * sign >= 0.0));
        shares.sort_by(|a, b| (sign * b.delta()).total_cmp(&(sign * a.delta())).then(a.identity.cmp(&b.identity)));
    } else {
        // Of what is no time the cache is what counts: hits that rose or fell with it.
        shares.retain(|share| share.lost_hits().abs() >= LEAST_RATIO);
        shares.sort_by(|a, b| {
            b.lost_hits()
                .abs()
                .total_cmp(&a.lost_hits().abs())
                .then(b.delta().abs().total_cmp(&a.delta().abs()))
                .then(a.identity.cmp(&b.identity))
        });
    }
    shares.truncate(MOST_STEPS);
    let signs_of = |positions: &[usize]| -> Vec<_> {
        let of_run = |run| signs::of_run(run, measured.target.as_deref());
        positions.iter().filter_map(|at| runs.get(*at)).map(of_run).collect()
    };
    Attribution {
        runs: (before.len(), after.len()),
        steps: shares,
        steps_delta,
        signs: signs::changes(&signs_of(&windows.before), &signs_of(&windows.after)),
    }
}

/// One step in all runs of the windows.
#[derive(Debug, Clone, Default)]
struct Line {
    identity: String,
    /// The identity without the target.
    bare: String,
    name: String,
    renamed_from: Option<String>,
    targets: BTreeSet<String>,
    kind: Kind,
    keyword: Option<String>,
    place: String,
    number: Option<u32>,
    /// The runs that it is in.
    present: BTreeSet<String>,
    before: Tally,
    after: Tally,
}

/// What a step did in the runs of one side.
#[derive(Debug, Clone, Default)]
struct Tally {
    hits: usize,
    seconds: Vec<f64>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.seconds.extend(other.seconds);
    }

    /// Seconds a run.
    fn contribution(&self, runs: usize) -> f64 {
        let rate = self.seconds.len() as f64 / runs.max(1) as f64;
        rate * super::change_point::median_of(&self.seconds)
    }

    fn hit_ratio(&self) -> Option<f64> {
        let all = self.hits + self.seconds.len();
        (all > 0).then(|| self.hits as f64 / all as f64)
    }
}

impl Line {
    fn share(&self, before: usize, after: usize) -> StepShare {
        StepShare {
            name: self.name.clone(),
            renamed_from: self.renamed_from.clone(),
            identity: self.identity.clone(),
            target: if self.targets.len() == 1 { self.targets.first().cloned() } else { None },
            seconds: (self.before.contribution(before), self.after.contribution(after)),
            hits: (self.before.hit_ratio(), self.after.hit_ratio()),
        }
    }

    fn add(&mut self, other: Self) {
        self.targets.extend(other.targets);
        self.present.extend(other.present);
        self.before.add(other.before);
        self.after.add(other.after);
    }
}

struct Lines {
    lines: Vec<Line>,
    /// The targets of each run.
    targets: HashMap<String, BTreeSet<String>>,
}

impl Lines {
    fn collect(before: &[&str], after: &[&str], steps: &[StepRow]) -> Self {
        let side: HashMap<&str, bool> = before.iter().map(|run| (*run, false)).chain(after.iter().map(|run| (*run, true))).collect();
        let mut of_run: BTreeMap<&str, Vec<&StepRow>> = BTreeMap::new();
        for step in steps.iter().filter(|step| side.contains_key(step.run.as_str())) {
            of_run.entry(&step.run).or_default().push(step);
        }
        let mut lines: BTreeMap<String, Line> = BTreeMap::new();
        let mut targets: HashMap<String, BTreeSet<String>> = HashMap::new();
        for run in before.iter().chain(after) {
            let Some(rows) = of_run.get(run) else { continue };
            let parts: Vec<StepName> = rows.iter().map(|row| StepName::parse(&row.name)).collect();
            let places: Vec<Place<'_>> = std::iter::zip(&parts, rows)
                .map(|(parts, row)| Place { parts: Cow::Borrowed(parts), index: row.build << 20 | row.index })
                .collect();
            let identities = identity::numbered(rows.iter().map(|row| row.identity.clone()).collect(), &places);
            let late = side.get(run).copied().unwrap_or(false);
            for ((row, parts), identity) in std::iter::zip(rows, parts).zip(identities) {
                let line = lines.entry(identity.clone()).or_insert_with(|| Line { identity, ..Line::default() });
                line.describe(row, &parts);
                line.present.insert((*run).to_owned());
                let tally = if late { &mut line.after } else { &mut line.before };
                match row.status {
                    Status::Cached => tally.hits += usize::from(row.cache_hit != Some(false)),
                    Status::Done | Status::Error => tally.seconds.push(row.seconds.unwrap_or(0.0)),
                    Status::Canceled | Status::Unfinished => {}
                }
                if let Some(target) = &row.target {
                    targets.entry((*run).to_owned()).or_default().insert(target.clone());
                }
            }
        }
        Self { lines: lines.into_values().collect(), targets }
    }

    /// Joins the lines of a step that bake announces now under one target and now under another: never under both in one run, although
    /// both take part in it.
    fn join_shared(&mut self) {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, line) in self.lines.iter().enumerate().filter(|(_, line)| line.kind == Kind::Instruction && !line.targets.is_empty()) {
            groups.entry(&line.bare).or_default().push(at);
        }
        let shared = |group: &&Vec<usize>| {
            let targets: BTreeSet<&String> = group.iter().flat_map(|at| &self.lines[*at].targets).collect();
            let mut runs = BTreeSet::new();
            let apart = group.iter().all(|at| self.lines[*at].present.iter().all(|run| runs.insert(run)));
            let together =
                |run: &&String| self.targets.get(*run).is_some_and(|of_run| targets.iter().all(|target| of_run.contains(*target)));
            group.len() > 1 && targets.len() == group.len() && apart && runs.iter().all(together)
        };
        let groups: Vec<Vec<usize>> = groups.values().filter(shared).cloned().collect();
        let mut gone = BTreeSet::new();
        for group in groups {
            let Some((&first, others)) = group.split_first() else { continue };
            for &other in others {
                let line = std::mem::take(&mut self.lines[other]);
                gone.insert(other);
                self.lines[first].add(line);
            }
            let line = &mut self.lines[first];
            line.identity.clone_from(&line.bare);
            for target in line.targets.clone() {
                if let Some(name) = line.name.strip_prefix(&format!("{target} ")) {
                    line.name = name.to_owned();
                    break;
                }
            }
        }
        self.retain_but(&gone);
    }

    /// Joins a step that is only before the change with one that is only after it and resembles it.
    fn join_edited(&mut self) {
        let silent = |tally: &Tally| tally.hits == 0 && tally.seconds.is_empty();
        let only = |before: bool| -> Vec<usize> {
            let fits = |line: &Line| {
                if before { silent(&line.after) && !silent(&line.before) } else { silent(&line.before) && !silent(&line.after) }
            };
            self.lines.iter().enumerate().filter(|(_, line)| fits(line)).map(|(at, _)| at).collect()
        };
        let (old, new) = (only(true), only(false));
        let named = |at: &usize| self.lines[*at].named();
        let pairs = matching::pair(&old.iter().map(named).collect::<Vec<_>>(), &new.iter().map(named).collect::<Vec<_>>());
        let mut gone = BTreeSet::new();
        for pair in pairs {
            let before = std::mem::take(&mut self.lines[old[pair.a]]);
            gone.insert(old[pair.a]);
            let line = &mut self.lines[new[pair.b]];
            line.renamed_from = Some(before.name.clone());
            line.add(before);
        }
        self.retain_but(&gone);
    }

    fn retain_but(&mut self, gone: &BTreeSet<usize>) {
        let mut at = 0;
        self.lines.retain(|_| {
            at += 1;
            !gone.contains(&(at - 1))
        });
    }
}

impl Line {
    /// Takes the looks of the newest run.
    fn describe(&mut self, row: &StepRow, parts: &StepName) {
        let stage = parts.stage.as_deref().filter(|stage| !identity::is_unnamed(stage));
        let bare = [row.platform.as_deref(), stage].into_iter().flatten().collect::<Vec<_>>().join(" ");
        self.place = identity::place_of(row.target.as_deref(), parts);
        let instruction = row.kind == Kind::Instruction;
        let text = if instruction { row.name.get(parts.bracket_bytes..).unwrap_or(&row.name) } else { &row.name };
        // The name of another step says its target itself, where the log has one.
        let has_place = !self.place.is_empty() && (instruction || parts.target.is_none());
        self.name = if has_place { format!("{} {text}", self.place) } else { text.to_owned() };
        self.bare = match row.target.as_deref().and_then(|target| self.identity.strip_prefix(target)) {
            Some(rest) => rest.trim_start().to_owned(),
            None => format!("{bare} {}", self.identity),
        };
        self.kind = row.kind;
        self.keyword.clone_from(&row.keyword);
        self.number = row.number;
        self.targets.extend(row.target.clone());
    }

    fn named(&self) -> Named {
        Named {
            build: 0,
            identity: self.identity.clone(),
            place: self.place.clone(),
            kind: self.kind,
            keyword: self.keyword.clone(),
            number: self.number,
            text: self.identity.strip_prefix(&self.place).map_or(self.identity.as_str(), str::trim_start).to_owned(),
        }
    }
}

#[cfg(test)]
#[path = "attribution_tests.rs"]
mod tests;
