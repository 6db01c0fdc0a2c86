//! What earlier runs left: the builder's copies, the baseline, the images.

use std::sync::Arc;

use crate::evidence::context::content::ContentId;

use super::sync::Snapshot;
use super::verdict::RunRef;

/// The builder's copies under a key after the last recorded run that used it.
#[derive(Debug, Clone, Default)]
pub struct Copies {
    /// That run.
    pub from: RunRef,
    /// When it was recorded, in nanoseconds since 1970.
    pub recorded_ns: i64,
    /// The copies.
    pub snapshots: Vec<Snapshot>,
    /// What was on disk then, by path: number of the file, time of its last change of status, content.
    pub disk: Arc<Vec<(String, u64, i64, ContentId)>>,
}

/// An image that a recorded run built, with what its context held.
#[derive(Debug, Clone, Default)]
pub struct BuiltImage {
    /// That run.
    pub from: RunRef,
    /// The path of the context from the top of its repository, with a slash at its end unless it is the top.
    pub prefix: String,
    /// The files that its build could take, with their contents.
    pub files: Vec<(String, ContentId)>,
}

/// What is recorded.
pub trait Past {
    /// The copies under a key; `None` where no run used it.
    fn copies(&self, key: &str) -> Option<Copies>;
    /// The last run of this project.
    fn last_run(&self) -> Option<RunRef>;
    /// The last run that built an image of this name.
    fn image(&self, name: &str) -> Option<BuiltImage>;
}

/// Nothing is recorded.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPast;

impl Past for NoPast {
    fn copies(&self, _key: &str) -> Option<Copies> {
        None
    }

    fn last_run(&self) -> Option<RunRef> {
        None
    }

    fn image(&self, _name: &str) -> Option<BuiltImage> {
        None
    }
}
