//! The end of a whole log: one exit code for all of its builds.

use std::collections::HashSet;

use super::exit_code;
use crate::build::{Build, Outcome};

/// Failed builds that may still be retried in the same log are remembered up to this many.
const MOST_FAILED: usize = 100;

/// Sums up the outcomes of the builds of a log.
#[derive(Debug, Default)]
pub(super) struct Overall {
    builds: u64,
    failed: Vec<HashSet<String>>,
    too_many: bool,
}

impl Overall {
    /// Adds a build.
    ///
    /// A build that succeeds makes good an earlier one that failed, if it is the same build again: every command of the failed one
    /// is in it too.
    pub(super) fn add(&mut self, build: &Build) {
        self.builds += 1;
        if build.outcome == Outcome::Succeeded && self.failed.is_empty() {
            return;
        }
        let names: HashSet<String> = build.steps.iter().filter(|step| step.is_command()).map(|step| step.name.clone()).collect();
        if build.outcome == Outcome::Succeeded {
            self.failed.retain(|failed| failed.is_empty() || !failed.is_subset(&names));
        } else if self.failed.len() < MOST_FAILED {
            self.failed.push(names);
        } else {
            self.too_many = true;
        }
    }

    /// How many builds there were.
    pub(super) fn builds(&self) -> u64 {
        self.builds
    }

    /// 4 where a build failed, was canceled or cut off and no later one made it good.
    pub(super) fn exit_code(&self) -> u8 {
        if self.failed.is_empty() && !self.too_many { exit_code::SUCCESS } else { exit_code::BUILD_FAILED }
    }
}
