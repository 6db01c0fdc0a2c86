//! What the tests compare: the records of a log, without what does not depend on the build.

use bklog::{
    build::{Build, Outcome, Status, collect::Collector},
    log::Reader,
};

/// One step, as far as every log of the same build tells the same of it.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    pub index: u32,
    pub name: String,
    pub status: Status,
    pub seconds: Option<f64>,
    pub log_lines: u64,
    pub clipped: bool,
    pub warnings: Vec<String>,
    pub error: Option<String>,
    pub transferred_bytes: Option<u64>,
}

/// One build of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildRecord {
    pub outcome: Outcome,
    pub builder: Option<String>,
    pub steps: Vec<StepRecord>,
}

impl From<&Build> for BuildRecord {
    fn from(build: &Build) -> Self {
        let steps = build.steps.iter().map(|step| StepRecord {
            index: step.index,
            name: step.name.clone(),
            status: step.status,
            seconds: step.seconds,
            log_lines: step.log_lines,
            clipped: step.clipped,
            warnings: step.warnings.clone(),
            error: step.error.clone(),
            transferred_bytes: step.transferred_bytes,
        });
        Self { outcome: build.outcome, builder: build.builder.clone(), steps: steps.collect() }
    }
}

/// Reads a log that comes in these pieces.
pub fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Build> {
    let mut builds = Vec::new();
    let mut reader = Reader::new(Collector::new(|build| builds.push(build)));
    for piece in pieces {
        reader.feed(piece);
    }
    reader.finish();
    builds
}

/// Reads a log that comes in one piece.
pub fn read(log: &[u8]) -> Vec<Build> {
    read_pieces([log])
}
