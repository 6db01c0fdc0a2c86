//! The steps of a window that put old code into an image, or may have.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Serialize;

use super::steps::instruction;
use crate::{
    freshness::Verdict,
    history::rows::{RunRow, StepRow},
};

/// One step with the verdict `stale` or `suspect`, over all its runs in the window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OldCode {
    /// `stale` or `suspect`.
    pub verdict: &'static str,
    /// The bake or compose target.
    pub target: Option<String>,
    /// The stage.
    pub stage: Option<String>,
    /// The instruction.
    pub instruction: String,
    /// Runs in which it had the verdict.
    pub runs: u64,
    /// The last of them.
    pub last_run: String,
    /// When that was.
    pub last_at: Timestamp,
    /// Its commit.
    pub commit: Option<String>,
    /// Where people find its CI job.
    pub job_url: Option<String>,
    /// True where a later run of the window found the step fresh again.
    pub fresh_since: bool,
}

/// What was seen of the verdicts of a window, added up step by step.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    judged: u64,
    found: BTreeMap<(Key, &'static str), Found>,
    fresh: HashMap<Key, Timestamp>,
}

/// Target and identity.
type Key = (Option<String>, String);

#[derive(Debug, Clone)]
struct Found {
    old: OldCode,
    /// The run that was counted last.
    counted: String,
}

impl Seen {
    /// Adds a step of a run of the window.
    pub(super) fn add(&mut self, run: &RunRow, step: &StepRow) {
        let Some(verdict) = step.verdict.filter(|verdict| *verdict != Verdict::Unknown) else { return };
        self.judged += 1;
        let key = (step.target.clone(), step.identity.clone());
        if verdict == Verdict::Fresh {
            let last = self.fresh.entry(key).or_insert(run.at);
            *last = run.at.max(*last);
            return;
        }
        let Found { old, counted } = self.found.entry((key, verdict.name())).or_insert_with(|| {
            let old = OldCode {
                verdict: verdict.name(),
                target: step.target.clone(),
                stage: step.stage.clone(),
                instruction: instruction(&step.name).to_owned(),
                runs: 0,
                last_run: run.run.clone(),
                last_at: run.at,
                commit: run.commit.clone(),
                job_url: run.job_url.clone(),
                fresh_since: false,
            };
            Found { old, counted: String::new() }
        });
        // A run may hold the step once for every platform.
        if *counted != step.run {
            old.runs += 1;
            counted.clone_from(&step.run);
        }
        if run.at >= old.last_at {
            (old.last_at, old.last_run, old.commit, old.job_url) = (run.at, run.run.clone(), run.commit.clone(), run.job_url.clone());
        }
    }
}

/// The steps with such a verdict, stale ones first, then those that last had it; and on how many steps a verdict was given.
pub fn find(seen: &Seen) -> (Vec<OldCode>, u64) {
    let mut found: Vec<OldCode> = seen
        .found
        .iter()
        .map(|((key, _), Found { old, .. })| OldCode {
            fresh_since: seen.fresh.get(key).is_some_and(|at| *at > old.last_at),
            ..old.clone()
        })
        .collect();
    found.sort_by(|a, b| (a.verdict != "stale", b.last_at).cmp(&(b.verdict != "stale", a.last_at)));
    (found, seen.judged)
}
