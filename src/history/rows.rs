//! What the ledger keeps of a run: the rows of its three tables, as typed records.
//!
//! One run is one log. Its row says what is known of it beside the log; a row of [`BuildRow`] stands for one build of the log or one
//! target of it, and a [`StepRow`] for one step. Texts are redacted before they become rows.

use jiff::Timestamp;

use crate::build::{DurationSource, Kind, Outcome, Status};
use crate::freshness::Verdict;

/// One row of the runs table: one log.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// The run's id: time, commit and a digest of the log's steps, so that one log has one id.
    pub run: String,
    /// The project.
    pub project: String,
    /// When it began.
    pub at: Timestamp,
    /// When it ended, where that is known.
    pub finished_at: Option<Timestamp>,
    /// The ISO week of `at` in UTC: `2026-W47`.
    pub week: String,
    /// The commit.
    pub commit: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// Where people find the CI job.
    pub job_url: Option<String>,
    /// The machine that ran it, as CI names it.
    pub runner: Option<String>,
    /// The builder.
    pub builder: Option<String>,
    /// The command that built, secrets taken out.
    pub command: Option<String>,
    /// The worst end of its builds.
    pub outcome: Outcome,
    /// The builds in it.
    pub builds: u32,
    /// From its beginning to its end, in seconds; where no end is known the sum of its builds' times.
    pub seconds: Option<f64>,
    /// Where `seconds` comes from, the weakest source of those that it was made of.
    pub duration_source: Option<DurationSource>,
    /// See [`duration_bucket`].
    pub duration_bucket: Option<i32>,
    /// The names of the images that it made.
    pub images: Vec<String>,
    /// The version of bklog that recorded it.
    pub bklog: String,
}

/// One row of the builds table: one build of the log, or one target of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BuildRow {
    /// The run.
    pub run: String,
    /// The build in the log, from 0.
    pub build: u32,
    /// The bake or compose target, or the name of a build that has none and is one of several in its log
    /// ([`build_names`](super::naming::build_names)); `None` for the build as a whole, which every build has a row for.
    pub target: Option<String>,
    /// How the build ended.
    pub outcome: Option<Outcome>,
    /// Its time in seconds: of the build as the log or the clock says, of a target from its first step's beginning to its last
    /// step's end, or the sum of its steps' seconds where the log has no times.
    pub seconds: Option<f64>,
    /// Where `seconds` comes from.
    pub duration_source: Option<DurationSource>,
    /// See [`duration_bucket`].
    pub duration_bucket: Option<i32>,
    /// Commands (instructions other than FROM) that ran.
    pub executed: u32,
    /// Commands that the cache answered for certain.
    pub cached: u32,
    /// Commands that failed.
    pub failed: u32,
    /// Seconds of the commands that ran, summed.
    pub executed_seconds: f64,
    /// Bytes of the build contexts that were transferred.
    pub context_bytes: Option<u64>,
    /// Cache imports, a line each in the order of the log: the reference as printed.
    pub cache_imports: Vec<String>,
    /// Those of them that failed.
    pub failed_imports: Vec<String>,
    /// Cache exports, as `cache_imports`.
    pub cache_exports: Vec<String>,
    /// True where the image carries inline cache metadata.
    pub inline_cache: bool,
    /// The base images as the log names them, with their digests.
    pub bases: Vec<String>,
    /// The version of the Dockerfile frontend, of BuildKit or of the client, where the log names one.
    pub versions: Vec<String>,
}

/// One row of the steps table.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRow {
    /// The run.
    pub run: String,
    /// The build in the log, from 0.
    pub build: u32,
    /// The step's number.
    pub index: u32,
    /// Its name, secrets taken out.
    pub name: String,
    /// What the step is called in every run, whatever its number, stage number, padding or bust value.
    pub identity: String,
    /// What it is.
    pub kind: Kind,
    /// The target, or the name of its build as in [`BuildRow::target`].
    pub target: Option<String>,
    /// The stage.
    pub stage: Option<String>,
    /// The platform.
    pub platform: Option<String>,
    /// The place in the stage.
    pub number: Option<u32>,
    /// The instruction.
    pub keyword: Option<String>,
    /// How it ended.
    pub status: Status,
    /// Whether CACHED was a hit for certain.
    pub cache_hit: Option<bool>,
    /// Seconds as the log has them.
    pub seconds: Option<f64>,
    /// See [`duration_bucket`].
    pub duration_bucket: Option<i32>,
    /// Bytes of a transfer.
    pub transferred_bytes: Option<u64>,
    /// The verdict, where there is one.
    pub verdict: Option<Verdict>,
    /// The error, cut to its first line.
    pub error: Option<String>,
}

/// All rows of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRows {
    /// The run.
    pub run: RunRow,
    /// Its builds and their targets.
    pub builds: Vec<BuildRow>,
    /// Its steps.
    pub steps: Vec<StepRow>,
}

/// Which runs a question is about.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selection {
    /// Of this project alone.
    pub project: Option<String>,
    /// Begun at or after this time.
    pub since: Option<Timestamp>,
    /// Begun before this time.
    pub until: Option<Timestamp>,
    /// Of this branch alone.
    pub branch: Option<String>,
}

/// Buckets to each doubling of a duration.
const PER_DOUBLING: f64 = 8.0;

/// The logarithmic bucket of a duration in seconds: eight to each doubling, counted from a millisecond, so that roll-ups add counts
/// and percentiles come from histograms within 4.5 %.
pub fn duration_bucket(seconds: f64) -> i32 {
    let milliseconds = (seconds * 1000.0).clamp(1.0, 1e15);
    #[expect(clippy::cast_possible_truncation, reason = "the clamp leaves at most 8 * 50")]
    let bucket = (milliseconds.log2() * PER_DOUBLING).floor() as i32;
    bucket
}

/// The seconds in the middle of a bucket (on the logarithmic scale).
pub fn bucket_seconds(bucket: i32) -> f64 {
    ((f64::from(bucket) + 0.5) / PER_DOUBLING).exp2() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_double_every_eight() {
        assert_eq!(duration_bucket(0.0), 0);
        assert_eq!(duration_bucket(0.002) - duration_bucket(0.001), 8);
        assert_eq!(duration_bucket(128.0) - duration_bucket(64.0), 8);
        assert!(duration_bucket(f64::INFINITY) < 400);
        for seconds in [0.05, 1.0, 77.0, 5000.0] {
            assert!((bucket_seconds(duration_bucket(seconds)) / seconds).log2().abs() <= 1.0 / 16.0 + 1e-9, "{seconds}");
        }
    }
}
