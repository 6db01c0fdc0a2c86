//! What is said of a step.

use crate::build::Status;

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

    /// The verdict of that word; `None` for any other text.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Fresh, Self::Unknown, Self::Suspect, Self::Stale].into_iter().find(|verdict| verdict.name() == name)
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
    /// What to give so that the next check can tell, where this one cannot.
    pub advice: Option<&'static str>,
    /// What it was compared with, where it was.
    pub baseline: Option<RunRef>,
    /// The files that the verdict is about; for a fresh step those that changed since the baseline.
    pub changed_files: Vec<String>,
}
