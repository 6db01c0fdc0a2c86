//! What cached steps saved, as far as one run of the tool can know: the same step ran in an earlier build that was read.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use crate::build::{Build, Status, Step};

/// How many steps are remembered; memory must stay bounded however long the logs are.
const MOST_STEPS: usize = 50_000;

/// Remembers how long steps took when they last ran.
#[derive(Debug, Default)]
pub struct Savings {
    seconds: HashMap<u64, f64>,
}

impl Savings {
    /// Remembers the steps of a build that ran.
    pub fn learn(&mut self, build: &Build) {
        for step in build.steps.iter().filter(|step| step.status == Status::Done && step.is_command()) {
            if let Some(seconds) = step.seconds
                && (self.seconds.len() < MOST_STEPS || self.seconds.contains_key(&key(step)))
            {
                self.seconds.insert(key(step), seconds);
            }
        }
    }

    /// Seconds that a cached step took when it last ran.
    pub fn of(&self, step: &Step) -> Option<f64> {
        let hit = step.status == Status::Cached && step.cache_hit == Some(true) && step.is_command();
        self.seconds.get(&key(step)).copied().filter(|_| hit)
    }

    /// Seconds that the cached steps of a build took when they last ran, and how many of these steps are known.
    pub fn total(&self, build: &Build) -> (f64, usize) {
        let known = build.steps.iter().filter_map(|step| self.of(step));
        known.fold((0.0, 0), |(sum, n), seconds| (sum + seconds, n + 1))
    }
}

fn key(step: &Step) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&step.parts.target, &step.parts.platform, &step.parts.stage, step.instruction()).hash(&mut hasher);
    hasher.finish()
}
