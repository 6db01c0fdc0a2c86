//! Where a lost cache began: a step that runs makes every step behind it run.
//!
//! Within a stage the steps follow one another. A COPY from another stage depends on that stage's last step, and a stage without a FROM of
//! its own begins where another stage ends. The log does not say which; it is the one with a FROM, if there is only one such.

use std::collections::BTreeMap;

use super::{Became, StepDiff};
use crate::{
    build::{Kind, Status, StepName},
    history::identity::is_unnamed,
};

/// The commands of one stage in their order, as positions in the steps.
struct Chain {
    build: u32,
    target: Option<String>,
    platform: Option<String>,
    stage: Option<String>,
    /// True where it begins with a base image.
    has_base: bool,
    /// Places, with the number of each.
    steps: Vec<(u32, usize)>,
    total: Option<u32>,
}

/// Sets the root of every step that lost the cache.
pub(super) fn mark(steps: &mut [StepDiff]) {
    let parts: Vec<StepName> = steps.iter().map(|step| step.b.as_ref().map(|row| StepName::parse(&row.name)).unwrap_or_default()).collect();
    let chains = chains(steps, &parts);
    let mut place: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (number, chain) in chains.iter().enumerate() {
        for (at, (_, step)) in chain.steps.iter().enumerate() {
            place.insert(*step, (number, at));
        }
    }
    let search = Search { steps, parts: &parts, chains: &chains, place: &place };
    let roots: Vec<Option<usize>> =
        (0..steps.len()).map(|at| (steps[at].became == Became::LostCache && place.contains_key(&at)).then(|| search.root(at))).collect();
    for (step, root) in std::iter::zip(steps, roots) {
        step.root = root;
    }
}

fn chains(steps: &[StepDiff], parts: &[StepName]) -> Vec<Chain> {
    let mut chains: Vec<Chain> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let Some(row) = step.b.as_ref().filter(|row| row.kind == Kind::Instruction) else { continue };
        let Some(number) = row.number else { continue };
        let parts = &parts[at];
        let same = |chain: &&mut Chain| {
            let stage = chain.build == row.build && chain.platform == row.platform && chain.stage == row.stage;
            // Bake announces the steps of a shared stage under any of its targets.
            let shared = chain.total == parts.total
                && row.stage.as_deref().is_some_and(|stage| !is_unnamed(stage))
                && chain.steps.iter().all(|(other, _)| *other != number);
            stage && (chain.target == row.target || shared)
        };
        let at_chain = chains.iter_mut().find(same);
        let is_base = row.keyword.as_deref() == Some("FROM");
        match at_chain {
            Some(chain) => {
                chain.has_base |= is_base;
                chain.steps.push((number, at));
            }
            None => chains.push(Chain {
                build: row.build,
                target: row.target.clone(),
                platform: row.platform.clone(),
                stage: row.stage.clone(),
                has_base: is_base,
                steps: vec![(number, at)],
                total: parts.total,
            }),
        }
    }
    for chain in &mut chains {
        chain.steps.sort_unstable();
    }
    chains
}

struct Search<'s> {
    steps: &'s [StepDiff],
    parts: &'s [StepName],
    chains: &'s [Chain],
    place: &'s BTreeMap<usize, (usize, usize)>,
}

impl Search<'_> {
    /// The first step of those that made this one run.
    fn root(&self, mut at: usize) -> usize {
        let mut seen = vec![at];
        while let Some(before) = self.made_it_run(at) {
            if seen.contains(&before) {
                break;
            }
            seen.push(before);
            at = before;
        }
        at
    }

    /// The step that ran right before this one in what it is built on.
    fn made_it_run(&self, at: usize) -> Option<usize> {
        let &(number, position) = self.place.get(&at)?;
        let chain = &self.chains[number];
        let earlier = chain.steps[..position].iter().rev().map(|(_, step)| *step).find(|step| self.ran(*step));
        let from = self.parts[at].from.as_deref().and_then(|from| self.end_of(chain, from));
        earlier.or(from).or_else(|| self.parent(chain).filter(|_| !chain.has_base))
    }

    /// True for a command that ran in the second build.
    fn ran(&self, at: usize) -> bool {
        let ran = |row: &crate::history::rows::StepRow| {
            row.keyword.as_deref() != Some("FROM") && matches!(row.status, Status::Done | Status::Error)
        };
        self.steps[at].b.as_ref().is_some_and(ran)
    }

    /// The last command of a stage, if it ran. `from` is the stage's name or number.
    fn end_of(&self, of: &Chain, from: &str) -> Option<usize> {
        let unnamed = format!("stage-{from}");
        let named = |chain: &&Chain| {
            let stage = chain.stage.as_deref();
            chain.build == of.build
                && (stage == Some(from) || (from.bytes().all(|b| b.is_ascii_digit()) && stage == Some(unnamed.as_str())))
        };
        let candidates: Vec<&Chain> = self.chains.iter().filter(named).collect();
        let chain = candidates.iter().find(|chain| chain.target == of.target && chain.platform == of.platform).or(candidates.first())?;
        chain.steps.last().map(|(_, step)| *step).filter(|step| self.ran(*step))
    }

    /// The last command of the stage that a stage without a base begins with, if it ran and there is only one that it can be.
    fn parent(&self, of: &Chain) -> Option<usize> {
        let based: Vec<&Chain> = self.chains.iter().filter(|chain| chain.build == of.build && chain.has_base).collect();
        let own: Vec<&&Chain> = based.iter().filter(|chain| chain.target == of.target && chain.platform == of.platform).collect();
        let chain = match (own.as_slice(), based.as_slice()) {
            ([one], _) => one,
            ([], [one]) => one,
            _ => return None,
        };
        chain.steps.last().map(|(_, step)| *step).filter(|step| self.ran(*step))
    }
}
