//! Two builds step by step: what got slower, what lost the cache and where that began, what explains it, and totals that add up.
//!
//! Steps run side by side, so their seconds add up to more than the build took; what is over is the overlap. It is negative where no
//! step ran for a while. So for both builds, and for the difference of them, the steps less the overlap are the total.

mod cascade;
mod cause;

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    ledger::Recorded,
    matching::{self, Named},
    signs::{self, SignChange},
};
use crate::{
    build::{Kind, Status, StepName},
    history::{
        identity::{self, Place},
        naming,
        rows::{RunRows, StepRow},
    },
};

pub use cause::{Cause, ChangedFiles, files_between};

/// Least difference of seconds, and least factor, from which on a step is slower or faster.
const LEAST_SECONDS: f64 = 0.3;
const LEAST_FACTOR: f64 = 1.15;

/// One of the two builds.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// What it is called: the log's name or the run's id.
    pub name: String,
    /// What is known of it.
    pub rows: RunRows,
    /// True where the rows are those of a recorded run: a log by itself has no id, commit or time that is certain.
    pub recorded: bool,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// The cache answered it, and it ran.
    LostCache,
    /// It ran, and the cache answered it.
    WonCache,
    /// It is only in the second build.
    Added,
    /// It is only in the first build.
    Removed,
    /// It failed, was canceled or did not end, and did not before.
    Broken,
    /// It took longer.
    Slower,
    /// It took less.
    Faster,
    /// None of these.
    Same,
}

impl Became {
    /// The name in the JSON contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::LostCache => "lost-cache",
            Self::WonCache => "won-cache",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Broken => "broken",
            Self::Slower => "slower",
            Self::Faster => "faster",
            Self::Same => "same",
        }
    }
}

/// A step of either build, or of both.
#[derive(Debug, Clone, PartialEq)]
pub struct StepDiff {
    /// The step of the first build.
    pub a: Option<StepRow>,
    /// The step of the second build.
    pub b: Option<StepRow>,
    /// What became of it.
    pub became: Became,
    /// True where it is the same step, but called otherwise.
    pub edited: bool,
    /// Where a lost cache began: the position of the first step that missed it. A step that is its own root is the beginning.
    pub root: Option<usize>,
    /// What explains it, the likeliest first; only of roots and edited steps.
    pub causes: Vec<Cause>,
}

impl StepDiff {
    /// Its seconds in both builds; 0 where it did not run.
    pub fn seconds(&self) -> (f64, f64) {
        (seconds(self.a.as_ref()), seconds(self.b.as_ref()))
    }

    /// Seconds in the second build less those in the first.
    pub fn delta(&self) -> f64 {
        let (a, b) = self.seconds();
        b - a
    }

    /// The step as the second build has it, else as the first.
    pub fn row(&self) -> Option<&StepRow> {
        self.b.as_ref().or(self.a.as_ref())
    }
}

/// Seconds in which a step ran; not those of a cached one, whose time is that of looking.
fn seconds(row: Option<&StepRow>) -> f64 {
    row.filter(|row| row.status != Status::Cached).and_then(|row| row.seconds).filter(|seconds| seconds.is_finite()).unwrap_or(0.0)
}

/// A figure of both builds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Both {
    /// Of the first.
    pub a: f64,
    /// Of the second.
    pub b: f64,
}

impl Both {
    /// The second less the first.
    pub fn delta(self) -> f64 {
        self.b - self.a
    }
}

/// Two builds, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Diff {
    /// The first build.
    pub a: Side,
    /// The second build.
    pub b: Side,
    /// All steps of both, those of the second build in the order of its stages, then those that are gone.
    pub steps: Vec<StepDiff>,
    /// What the clock says, where it is known of both.
    pub total: Option<Both>,
    /// The seconds of all steps.
    pub in_steps: Both,
    /// What came and went in the logs.
    pub signs: Vec<SignChange>,
}

impl Diff {
    /// The seconds by which the steps are more than the total: they ran side by side. Negative where nothing ran for a while.
    pub fn overlap(&self) -> Option<Both> {
        self.total.map(|total| Both { a: self.in_steps.a - total.a, b: self.in_steps.b - total.b })
    }

    /// The beginnings of lost caches: positions in [`Diff::steps`], each with the positions of the steps behind it that lost the cache.
    pub fn roots(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut roots: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, step) in self.steps.iter().enumerate().filter(|(_, step)| step.became == Became::LostCache) {
            if let Some(root) = step.root {
                let behind = roots.entry(root).or_default();
                if root != at {
                    behind.push(at);
                }
            }
        }
        roots
    }
}

/// Compares two builds. `changed` is what differs between the two commits, where that is known.
pub fn compare(a: Side, b: Side, changed: Option<&ChangedFiles>) -> Diff {
    let builds = paired_builds(&a.rows, &b.rows);
    let (order_a, order_b) = (in_order(&a.rows.steps), in_order(&b.rows.steps));
    let left = named(&a.rows.steps, &order_a, |build| builds.iter().position(|pair| pair.0 == build).map_or(usize::MAX, |at| at));
    let right = named(&b.rows.steps, &order_b, |build| builds.iter().position(|pair| pair.1 == build).map_or(usize::MAX - 1, |at| at));
    let pairs = matching::pair(&left, &right);
    let mut steps: Vec<StepDiff> = Vec::with_capacity(order_a.len().max(order_b.len()));
    for (at, &row) in order_b.iter().enumerate() {
        let pair = pairs.iter().find(|pair| pair.b == at);
        let before = pair.map(|pair| a.rows.steps[order_a[pair.a]].clone());
        // A step that bake announces under another target, or of a stage that was renamed, has the same text.
        let edited = pair.is_some_and(|pair| right[at].kind == Kind::Instruction && left[pair.a].text != right[at].text);
        steps.push(step_diff(before, Some(b.rows.steps[row].clone()), edited));
    }
    for (at, &row) in order_a.iter().enumerate() {
        if !pairs.iter().any(|pair| pair.a == at) {
            steps.push(step_diff(Some(a.rows.steps[row].clone()), None, false));
        }
    }
    cascade::mark(&mut steps);
    let signs = signs::changes(&[signs_of(&a)], &[signs_of(&b)]);
    let total = a.rows.run.seconds.zip(b.rows.run.seconds).map(|(a, b)| Both { a, b });
    let in_steps = steps.iter().map(StepDiff::seconds).fold(Both::default(), |sum, (a, b)| Both { a: sum.a + a, b: sum.b + b });
    let mut diff = Diff { a, b, steps, total, in_steps, signs };
    cause::explain(&mut diff, changed);
    diff
}

fn signs_of(side: &Side) -> Vec<signs::Sign> {
    signs::of_run(&Recorded { run: side.rows.run.clone(), builds: side.rows.builds.clone() }, None)
}

fn step_diff(a: Option<StepRow>, b: Option<StepRow>, edited: bool) -> StepDiff {
    let became = match (&a, &b) {
        (None, _) => Became::Added,
        (_, None) => Became::Removed,
        (Some(a), Some(b)) => became(a, b),
    };
    StepDiff { a, b, became, edited, root: None, causes: Vec::new() }
}

fn became(a: &StepRow, b: &StepRow) -> Became {
    let hit = |row: &StepRow| row.status == Status::Cached && row.cache_hit != Some(false);
    // In a build that failed CACHED may mean that the step never ran.
    let certain = |row: &StepRow| row.status == Status::Cached && row.cache_hit == Some(true);
    let (before, after) = (seconds(Some(a)), seconds(Some(b)));
    match (a.status, b.status) {
        (Status::Done | Status::Cached, Status::Error | Status::Canceled | Status::Unfinished) => Became::Broken,
        (_, Status::Done) if certain(a) => Became::LostCache,
        (Status::Done, _) if certain(b) => Became::WonCache,
        _ if hit(a) || hit(b) => Became::Same,
        _ if after - before >= LEAST_SECONDS && after >= before * LEAST_FACTOR => Became::Slower,
        _ if before - after >= LEAST_SECONDS && before >= after * LEAST_FACTOR => Became::Faster,
        _ => Became::Same,
    }
}

/// The rows in the order of build, target, platform, stage and place; BuildKit prints steps as they end, and that differs each time.
fn in_order(rows: &[StepRow]) -> Vec<usize> {
    // Loading comes before the instructions, exporting after them.
    let phase = |row: &StepRow| match row.kind {
        Kind::Internal | Kind::Auth | Kind::Context | Kind::CacheImport => 0,
        Kind::Instruction => 1,
        Kind::Export | Kind::CacheExport | Kind::Other => 2,
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|at| {
        let row = &rows[*at];
        (row.build, phase(row), row.target.as_deref(), row.platform.as_deref(), row.stage.as_deref(), row.number, row.index)
    });
    order
}

fn named(rows: &[StepRow], order: &[usize], build: impl Fn(u32) -> usize) -> Vec<Named> {
    let parts: Vec<StepName> = order.iter().map(|at| StepName::parse(&rows[*at].name)).collect();
    let mut of_build: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (position, at) in order.iter().enumerate() {
        of_build.entry(rows[*at].build).or_default().push(position);
    }
    let mut identities = vec![String::new(); order.len()];
    for positions in of_build.values() {
        let places: Vec<Place<'_>> =
            positions.iter().map(|at| Place { parts: Cow::Borrowed(&parts[*at]), index: rows[order[*at]].index }).collect();
        let names = positions.iter().map(|at| rows[order[*at]].identity.clone()).collect();
        for (at, name) in std::iter::zip(positions, identity::numbered(names, &places)) {
            identities[*at] = name;
        }
    }
    let named = |((at, parts), identity): ((&usize, &StepName), String)| {
        let row = &rows[*at];
        let place = identity::place_of(row.target.as_deref(), parts);
        let text = row.identity.strip_prefix(&place).map_or(row.identity.as_str(), str::trim_start).to_owned();
        Named { build: build(row.build), identity, place, kind: row.kind, keyword: row.keyword.clone(), number: row.number, text }
    };
    order.iter().zip(&parts).zip(identities).map(named).collect()
}

/// What [`paired_builds`] compares of a build.
#[derive(Default)]
struct BuildSteps {
    /// The identities of its steps.
    whole: BTreeSet<String>,
    /// The same without the name that the build was given.
    bare: BTreeSet<String>,
    /// The names that it was or could be given.
    names: BTreeSet<String>,
}

impl BuildSteps {
    fn of(rows: &RunRows) -> BTreeMap<u32, Self> {
        let mut builds: BTreeMap<u32, Self> = BTreeMap::new();
        for row in &rows.steps {
            let given = row.target.as_ref().filter(|_| StepName::parse(&row.name).target.is_none());
            let bare = given.and_then(|name| row.identity.strip_prefix(name.as_str())).map_or(row.identity.as_str(), str::trim_start);
            let steps = builds.entry(row.build).or_default();
            steps.whole.insert(row.identity.clone());
            steps.bare.insert(bare.to_owned());
            steps.names.extend(given.cloned());
        }
        if let (1, Some(image), Some(steps)) = (builds.len(), rows.run.images.first(), builds.values_mut().next()) {
            steps.names.extend(naming::image_names(image));
        }
        builds
    }

    /// How much two builds are one: by name, by steps, by steps without a name.
    fn likeness(&self, other: &Self) -> [f64; 3] {
        let in_common = |x: &BTreeSet<String>, y: &BTreeSet<String>| x.intersection(y).count() as f64 / x.union(y).count().max(1) as f64;
        let named = f64::from(u8::from(!self.names.is_disjoint(&other.names)));
        [named, in_common(&self.whole, &other.whole), in_common(&self.bare, &other.bare)]
    }
}

/// Which build of one log is which of the other: those of one name, then those with the most steps in common, and of equals those at the
/// same place. A build that is alone in its log was given no name, and goes by that of its image.
fn paired_builds(a: &RunRows, b: &RunRows) -> Vec<(u32, u32)> {
    let (left, right) = (BuildSteps::of(a), BuildSteps::of(b));
    let mut candidates: Vec<([f64; 3], u32, u32, u32)> = Vec::new();
    for (x, of_x) in &left {
        for (y, of_y) in &right {
            candidates.push((of_x.likeness(of_y), x.abs_diff(*y), *x, *y));
        }
    }
    candidates.sort_by(|p, q| {
        let better = std::iter::zip(q.0, p.0).map(|(q, p)| q.total_cmp(&p)).fold(Ordering::Equal, Ordering::then);
        better.then((p.1, p.2, p.3).cmp(&(q.1, q.2, q.3)))
    });
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    for (_, _, x, y) in candidates {
        if !pairs.iter().any(|pair| pair.0 == x || pair.1 == y) {
            pairs.push((x, y));
        }
    }
    pairs
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
