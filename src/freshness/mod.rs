//! The verdict of each copied step.

use crate::build::{Build, Status};

/// What is known of a step's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It holds the commit's content.
    Fresh,
    /// Nothing to judge it from.
    Unknown,
    /// It may hold old content, and nothing at hand can tell.
    Suspect,
    /// It cannot hold the commit's content.
    Stale,
}

impl Verdict {
    /// The word of the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Unknown => "unknown",
            Self::Suspect => "suspect",
            Self::Stale => "stale",
        }
    }
}

/// A recorded run, named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunRef {
    /// Its id.
    pub run: Option<String>,
    /// The commit that it was to build, in full where it is known.
    pub commit: Option<String>,
}

/// The verdict on one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepVerdict {
    /// The build in the log, from 0.
    pub build: usize,
    /// The step's number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// The verdict.
    pub verdict: Verdict,
    /// A sentence that names the evidence.
    pub because: String,
    /// What it was compared with, where it was.
    pub baseline: Option<RunRef>,
    /// The files that the verdict is about; for a fresh step those that changed since the baseline.
    pub changed_files: Vec<String>,
}

/// The verdicts that the log alone allows: a copy that ran took what the builder had; of a cached one nothing is known.
pub fn by_log_alone(builds: &[Build]) -> Vec<StepVerdict> {
    let mut verdicts = Vec::new();
    for (number, build) in builds.iter().enumerate() {
        for step in build.steps.iter().filter(|step| step.copies_from_context()) {
            let (verdict, because) = match step.status {
                Status::Done => (Verdict::Fresh, "it ran; the log alone shows nothing against it"),
                Status::Cached => (Verdict::Unknown, "it is cached, and the log alone cannot tell whether its files changed"),
                Status::Error | Status::Canceled | Status::Unfinished => (Verdict::Unknown, "it did not end"),
            };
            verdicts.push(StepVerdict {
                build: number,
                index: step.index,
                name: step.name.clone(),
                status: step.status,
                verdict,
                because: because.to_owned(),
                baseline: None,
                changed_files: Vec::new(),
            });
        }
    }
    verdicts
}
