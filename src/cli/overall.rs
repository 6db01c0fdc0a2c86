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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{build::collect::Collector, log::Reader};

    fn code(log: &str) -> u8 {
        let mut overall = Overall::default();
        let mut reader = Reader::new(Collector::new(|build| overall.add(&build)));
        reader.feed(log.as_bytes());
        drop(reader.finish());
        overall.exit_code()
    }

    const HEAD: &str = "#0 building with \"x\" instance using docker driver\n\n";
    const FAILED: &str = "#1 [1/2] RUN a\n#1 DONE 0.1s\n\n#2 [2/2] RUN b\n#2 ERROR: exit code: 1\nERROR: failed to build: exit code: 1\n";
    const GOOD: &str = "#1 [1/2] RUN a\n#1 CACHED\n\n#2 [2/2] RUN b\n#2 DONE 0.1s\n";

    #[test]
    fn a_retry_of_the_same_build_makes_it_good() {
        assert_eq!(code(&[HEAD, GOOD].concat()), exit_code::SUCCESS);
        assert_eq!(code(&[HEAD, FAILED].concat()), exit_code::BUILD_FAILED);
        assert_eq!(code(&[HEAD, FAILED, HEAD, GOOD].concat()), exit_code::SUCCESS);
        assert_eq!(code(&[HEAD, GOOD, HEAD, FAILED].concat()), exit_code::BUILD_FAILED);
        let other = GOOD.replace("RUN b", "RUN c");
        assert_eq!(code(&[HEAD, FAILED, HEAD, &other].concat()), exit_code::BUILD_FAILED, "another build is no retry");
    }
}
