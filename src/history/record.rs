//! The rows of a run.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use crate::build::{Build, DurationSource, Outcome, Status, Step};
use crate::evidence::context::content::hex;
use crate::freshness::StepVerdict;
use crate::redact;

/// What is known of a run beside its log.
#[derive(Debug, Clone, Default)]
pub struct RunInfo {
    /// The project.
    pub project: String,
    /// When it began.
    pub started_at: Timestamp,
    /// The commit.
    pub commit: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// The builder.
    pub builder: Option<String>,
    /// The command that built, as the user gave it.
    pub command: Option<String>,
}

/// One row of the runs table: one log.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// The run's id: time, commit and a digest of the log's steps, so that one log has one id.
    pub run: String,
    /// The project.
    pub project: String,
    /// When it began, in nanoseconds since 1970.
    pub at_ns: i64,
    /// The week of that, `2026-W47`.
    pub week: String,
    /// The commit.
    pub commit: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// The builder.
    pub builder: Option<String>,
    /// The command, secrets taken out.
    pub command: Option<String>,
    /// The worst end of its builds.
    pub outcome: &'static str,
    /// The builds in it.
    pub builds: i64,
    /// The sum of their total times, in seconds.
    pub seconds: Option<f64>,
    /// The weakest source of those.
    pub duration_source: Option<&'static str>,
    /// See [`duration_bucket`].
    pub duration_bucket: Option<i32>,
    /// The names of the images, a line each.
    pub images: String,
    /// The version of bklog.
    pub bklog: &'static str,
}

/// One row of the steps table.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRow {
    /// The build in the log, from 0.
    pub build: i32,
    /// The step's number.
    pub index: i64,
    /// Its name, secrets taken out.
    pub name: String,
    /// The name without numbers: what a step is called in every run.
    pub identity: String,
    /// The target.
    pub target: Option<String>,
    /// The stage.
    pub stage: Option<String>,
    /// The platform.
    pub platform: Option<String>,
    /// The place in the stage.
    pub number: Option<i64>,
    /// The instruction.
    pub keyword: Option<&'static str>,
    /// How it ended.
    pub status: &'static str,
    /// Whether CACHED was a hit for certain.
    pub cache_hit: Option<bool>,
    /// Seconds as the log has them.
    pub seconds: Option<f64>,
    /// See [`duration_bucket`].
    pub duration_bucket: Option<i32>,
    /// Bytes of a transfer.
    pub transferred_bytes: Option<i64>,
    /// The verdict, where there is one.
    pub verdict: Option<&'static str>,
    /// How the build ended.
    pub outcome: &'static str,
}

/// Makes the rows of a run.
pub fn run_rows(builds: &[Build], verdicts: &[StepVerdict], info: &RunInfo) -> (RunRow, Vec<StepRow>) {
    let at = info.started_at;
    let durations: Vec<_> = builds.iter().filter_map(|build| build.duration).collect();
    let seconds = (!durations.is_empty()).then(|| durations.iter().map(|duration| duration.seconds).sum::<f64>());
    let worst = builds.iter().map(|build| build.outcome).max_by_key(|outcome| match outcome {
        Outcome::Succeeded => 0,
        Outcome::Truncated => 1,
        Outcome::Canceled => 2,
        Outcome::Failed => 3,
    });
    let mut images: Vec<String> = builds.iter().flat_map(|build| build.image.names.clone()).collect();
    images.dedup();
    let run = RunRow {
        run: run_id(builds, info),
        project: info.project.clone(),
        at_ns: i64::try_from(at.as_nanosecond()).unwrap_or_default(),
        week: week(at),
        commit: info.commit.clone(),
        branch: info.branch.clone(),
        builder: info.builder.clone().or_else(|| builds.iter().find_map(|build| build.builder.clone())),
        command: info.command.as_deref().map(|command| redact::text(command).into_owned()),
        outcome: worst.map_or("truncated", outcome),
        builds: i64::try_from(builds.len()).unwrap_or(i64::MAX),
        seconds,
        duration_source: durations.iter().map(|duration| duration.source).max_by_key(|source| rank(*source)).map(source),
        duration_bucket: seconds.map(duration_bucket),
        images: images.join("\n"),
        bklog: env!("CARGO_PKG_VERSION"),
    };
    let mut steps = Vec::new();
    for (number, build) in builds.iter().enumerate() {
        for step in &build.steps {
            let verdict = verdicts.iter().find(|verdict| verdict.build == number && verdict.index == step.index);
            steps.push(StepRow {
                build: i32::try_from(number).unwrap_or(i32::MAX),
                index: i64::from(step.index),
                name: redact::text(&step.name).into_owned(),
                identity: redact::text(&identity(step)).into_owned(),
                target: step.parts.target.clone(),
                stage: step.parts.stage.clone(),
                platform: step.parts.platform.clone(),
                number: step.parts.number.map(i64::from),
                keyword: step.parts.keyword,
                status: status(step.status),
                cache_hit: step.cache_hit,
                seconds: step.seconds,
                duration_bucket: step.seconds.map(duration_bucket),
                transferred_bytes: step.transferred_bytes.and_then(|bytes| i64::try_from(bytes).ok()),
                verdict: verdict.map(|verdict| verdict.verdict.name()),
                outcome: outcome(build.outcome),
            });
        }
    }
    (run, steps)
}

/// The logarithmic bucket of a duration: eight to each doubling, counted from a millisecond, so that roll-ups add counts.
pub fn duration_bucket(seconds: f64) -> i32 {
    const PER_DOUBLING: f64 = 8.0;
    let milliseconds = (seconds * 1000.0).clamp(1.0, 1e15);
    #[expect(clippy::cast_possible_truncation, reason = "the clamp leaves at most 8 * 50")]
    let bucket = (milliseconds.log2() * PER_DOUBLING).floor() as i32;
    bucket
}

/// The ISO week of a time in UTC.
fn week(at: Timestamp) -> String {
    let date = at.to_zoned(TimeZone::UTC).date().iso_week_date();
    format!("{}-W{:02}", date.year(), date.week())
}

/// The step's name without its place and without digests, which change with every base.
fn identity(step: &Step) -> String {
    let text = step.instruction();
    let text = text.split_once("@sha256:").map_or(text, |(before, _)| before);
    let stage = [step.parts.target.as_deref(), step.parts.platform.as_deref(), step.parts.stage.as_deref()];
    let mut parts: Vec<&str> = stage.into_iter().flatten().collect();
    parts.push(text);
    parts.join(" ")
}

/// `20261121T081426-9f2c1e4-0a1b2c3d4e5f`
fn run_id(builds: &[Build], info: &RunInfo) -> String {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update(text.as_bytes());
        hasher.update([0]);
    };
    add(&info.project);
    add(&info.started_at.to_string());
    add(info.command.as_deref().unwrap_or_default());
    for build in builds {
        add(outcome(build.outcome));
        for step in &build.steps {
            add(&step.index.to_string());
            add(&step.name);
            add(status(step.status));
            add(&step.seconds.map(|seconds| seconds.to_string()).unwrap_or_default());
            add(&step.transferred_bytes.map(|bytes| bytes.to_string()).unwrap_or_default());
        }
        for name in &build.image.names {
            add(name);
        }
        add(build.image.digest.as_deref().unwrap_or_default());
    }
    let digest = hex(&hasher.finalize());
    let is_hex = |commit: &&str| commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let commit = info.commit.as_deref().filter(is_hex).and_then(|commit| commit.get(..7)).unwrap_or("none");
    format!("{}-{commit}-{}", info.started_at.strftime("%Y%m%dT%H%M%S"), digest.get(..12).unwrap_or(&digest))
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Canceled => "canceled",
        Outcome::Truncated => "truncated",
    }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::Cached => "cached",
        Status::Error => "error",
        Status::Canceled => "canceled",
        Status::Unfinished => "unfinished",
    }
}

fn source(source: DurationSource) -> &'static str {
    match source {
        DurationSource::RawJson => "rawjson",
        DurationSource::Live => "live",
        DurationSource::Timestamps => "timestamps",
        DurationSource::Estimate => "estimate",
    }
}

fn rank(source: DurationSource) -> u8 {
    match source {
        DurationSource::RawJson => 0,
        DurationSource::Live => 1,
        DurationSource::Timestamps => 2,
        DurationSource::Estimate => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_are_iso_weeks() {
        for (at, expected) in
            [("2026-11-21T08:00:00Z", "2026-W47"), ("2027-01-01T00:00:00Z", "2026-W53"), ("2024-12-30T00:00:00Z", "2025-W01")]
        {
            assert_eq!(week(at.parse().unwrap()), expected);
        }
    }

    #[test]
    fn buckets_double_every_eight() {
        assert_eq!(duration_bucket(0.0), 0);
        assert_eq!(duration_bucket(0.002) - duration_bucket(0.001), 8);
        assert_eq!(duration_bucket(128.0) - duration_bucket(64.0), 8);
        assert!(duration_bucket(f64::INFINITY) < 400);
    }
}
