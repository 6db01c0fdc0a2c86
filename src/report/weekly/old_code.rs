//! The steps of a window that put old code into an image, or may have.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Serialize;

use super::{steps::instruction, window::Window};
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

/// The steps with such a verdict, stale ones first, then those that last had it; and on how many steps a verdict was given.
pub fn find(window: &Window, runs: &HashMap<&str, &RunRow>, steps: &[StepRow]) -> (Vec<OldCode>, u64) {
    type Key<'a> = (Option<&'a str>, &'a str);
    let mut judged = 0;
    let mut found: BTreeMap<(Key<'_>, &'static str), (OldCode, Option<&str>)> = BTreeMap::new();
    let mut fresh: HashMap<Key<'_>, Timestamp> = HashMap::new();
    for step in steps {
        let Some(verdict) = step.verdict else {
            continue;
        };
        let Some(run) = runs.get(step.run.as_str()).filter(|run| window.contains(run.at)) else {
            continue;
        };
        let key = (step.target.as_deref(), step.identity.as_str());
        judged += 1;
        match verdict {
            Verdict::Fresh => {
                let last = fresh.entry(key).or_insert(run.at);
                *last = run.at.max(*last);
            }
            Verdict::Unknown => judged -= 1,
            Verdict::Stale | Verdict::Suspect => {
                let (old, counted) = found.entry((key, verdict.name())).or_insert_with(|| {
                    let new = OldCode {
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
                    (new, None)
                });
                // A run may hold the step once for every platform.
                if *counted != Some(step.run.as_str()) {
                    old.runs += 1;
                    *counted = Some(&step.run);
                }
                if run.at >= old.last_at {
                    (old.last_at, old.last_run, old.commit, old.job_url) =
                        (run.at, run.run.clone(), run.commit.clone(), run.job_url.clone());
                }
            }
        }
    }
    let mut found: Vec<OldCode> = found
        .into_iter()
        .map(|((key, _), (mut old, _))| {
            old.fresh_since = fresh.get(&key).is_some_and(|at| *at > old.last_at);
            old
        })
        .collect();
    found.sort_by(|a, b| (a.verdict != "stale", b.last_at).cmp(&(b.verdict != "stale", a.last_at)));
    (found, judged)
}
