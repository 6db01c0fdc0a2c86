//! From the records of a log to the rows of the ledger.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::identity::identity;
use super::naming::{Called, build_names};
use super::rows::{BuildRow, RunRow, RunRows, StepRow, duration_bucket};
use crate::build::timing::seconds_between;
use crate::build::{Build, Duration, DurationSource, Instant, Kind, Outcome, Status, Step};
use crate::evidence::commit::brief;
use crate::evidence::context::content::hex;
use crate::freshness::StepVerdict;
use crate::redact::Redactor;

/// The longest error that is kept, in characters.
const LONGEST_ERROR: usize = 300;

/// What is known of a run beside its log.
#[derive(Debug, Clone, Default)]
pub struct RunInfo {
    /// The project.
    pub project: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended, where somebody measured it; the log's own times are read from the log.
    pub finished_at: Option<Timestamp>,
    /// The commit.
    pub commit: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// Where people find the CI job.
    pub job_url: Option<String>,
    /// The machine that ran it.
    pub runner: Option<String>,
    /// The builder.
    pub builder: Option<String>,
    /// The command that built, as the user gave it.
    pub command: Option<String>,
    /// What the command of each build says of it, where that is known; in the order of the log.
    pub called: Vec<Option<Called>>,
    /// What is secret; every text goes through it before it becomes a row.
    pub redactor: Redactor,
}

/// Makes the rows of a run. Times are kept to the microsecond, which every reader of Parquet understands.
pub fn run_rows(builds: &[Build], verdicts: &[StepVerdict], info: &RunInfo) -> RunRows {
    let redactor = &info.redactor;
    let clean = |text: &str| redactor.text(text).into_owned();
    let clean_option = |text: &Option<String>| text.as_deref().map(clean);
    let at = microseconds(info.started_at);
    let finished_at = info.finished_at.or_else(|| last_line(builds)).map(microseconds);
    let duration = run_duration(builds, info);
    let mut images: Vec<String> = builds.iter().flat_map(|build| build.image.names.iter().map(|name| clean(name))).collect();
    images.dedup();
    let id = run_id(builds, info);
    let run = RunRow {
        run: id.clone(),
        project: info.project.clone(),
        at,
        finished_at,
        week: week(at),
        commit: clean_option(&info.commit),
        branch: clean_option(&info.branch),
        job_url: clean_option(&info.job_url),
        runner: clean_option(&info.runner),
        builder: clean_option(&info.builder.clone().or_else(|| builds.iter().find_map(|build| build.builder.clone()))),
        command: clean_option(&info.command),
        outcome: builds.iter().map(|build| build.outcome).max_by_key(|outcome| badness(*outcome)).unwrap_or(Outcome::Truncated),
        builds: u32::try_from(builds.len()).unwrap_or(u32::MAX),
        seconds: duration.map(|duration| duration.seconds),
        duration_source: duration.map(|duration| duration.source),
        duration_bucket: duration.map(|duration| duration_bucket(duration.seconds)),
        images,
        bklog: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut rows = RunRows { run, builds: Vec::new(), steps: Vec::new() };
    let names = build_names(builds, &info.called).into_iter().map(|name| clean_option(&name));
    for ((number, build), given) in (0..).zip(builds).zip(names) {
        rows.builds.extend(build_rows(&id, number, build, given.as_deref(), redactor));
        let place = given.as_ref().map_or_else(String::new, |name| format!("{name} "));
        for step in &build.steps {
            let verdict = verdicts.iter().find(|verdict| verdict.build == number as usize && verdict.index == step.index);
            rows.steps.push(StepRow {
                run: id.clone(),
                build: number,
                index: step.index,
                name: clean(&step.name),
                identity: format!("{place}{}", clean(&identity(step))),
                kind: step.parts.kind,
                target: clean_option(&step.parts.target).or_else(|| given.clone()),
                stage: clean_option(&step.parts.stage),
                platform: clean_option(&step.parts.platform),
                number: step.parts.number,
                keyword: step.parts.keyword.map(str::to_owned),
                status: step.status,
                cache_hit: step.cache_hit,
                seconds: step.seconds,
                duration_bucket: step.seconds.map(duration_bucket),
                transferred_bytes: step.transferred_bytes,
                verdict: verdict.map(|verdict| verdict.verdict),
                error: step.error.as_deref().map(|error| clean(&first_line(error))),
            });
        }
    }
    rows
}

/// The row of a build as a whole, and one for each of its targets, in the order of the log. A build that was given a name is its only target.
fn build_rows(run: &str, number: u32, build: &Build, given: Option<&str>, redactor: &Redactor) -> Vec<BuildRow> {
    let clean_all = |texts: Vec<&str>| texts.into_iter().map(|text| redactor.text(text).into_owned()).collect::<Vec<_>>();
    let imports = |wanted: fn(bool) -> bool| {
        clean_all(build.cache.imports.iter().filter(|import| wanted(import.ok)).map(|import| import.reference.as_str()).collect())
    };
    let steps: Vec<&Step> = build.steps.iter().collect();
    let whole = BuildRow {
        cache_imports: imports(|_| true),
        failed_imports: imports(|ok| !ok),
        cache_exports: clean_all(build.cache.exports.iter().map(|export| export.reference.as_str()).collect()),
        inline_cache: build.cache.inline,
        bases: clean_all(unique(build.steps.iter().filter_map(|step| step.parts.base.as_deref()))),
        versions: clean_all(versions(build)),
        ..part(run, number, build, &steps, build.duration)
    };
    let named = given.map(|name| BuildRow { target: Some(name.to_owned()), ..whole.clone() });
    let mut rows: Vec<BuildRow> = std::iter::once(whole).chain(named).collect();
    for target in unique(build.steps.iter().filter_map(|step| step.parts.target.as_deref())) {
        let steps: Vec<&Step> = build.steps.iter().filter(|step| step.parts.target.as_deref() == Some(target)).collect();
        let row = part(run, number, build, &steps, target_duration(build, &steps));
        rows.push(BuildRow {
            target: Some(redactor.text(target).into_owned()),
            bases: clean_all(unique(steps.iter().filter_map(|step| step.parts.base.as_deref()))),
            ..row
        });
    }
    rows
}

/// What is counted over some steps of a build.
fn part(run: &str, number: u32, build: &Build, steps: &[&Step], duration: Option<Duration>) -> BuildRow {
    let mut row = BuildRow {
        run: run.to_owned(),
        build: number,
        outcome: Some(build.outcome),
        seconds: duration.map(|duration| duration.seconds),
        duration_source: duration.map(|duration| duration.source),
        duration_bucket: duration.map(|duration| duration_bucket(duration.seconds)),
        ..BuildRow::default()
    };
    for step in steps {
        if step.parts.kind == Kind::Context
            && let Some(bytes) = step.transferred_bytes
        {
            row.context_bytes = Some(row.context_bytes.unwrap_or_default().saturating_add(bytes));
        }
        if !step.is_command() {
            continue;
        }
        match step.status {
            // The result came out of an imported cache: BuildKit says DONE, and the command did not run.
            Status::Done if step.pulled => row.cached += 1,
            Status::Done => {
                row.executed += 1;
                row.executed_seconds += step.seconds.unwrap_or_default();
            }
            Status::Cached if step.cache_hit == Some(true) => row.cached += 1,
            Status::Error => {
                row.failed += 1;
                row.executed_seconds += step.seconds.unwrap_or_default();
            }
            _ => {}
        }
    }
    row
}

/// The time of a target: from its first step's beginning to its last step's end, or the sum of its steps where the log has no times.
fn target_duration(build: &Build, steps: &[&Step]) -> Option<Duration> {
    let spans = || steps.iter().filter_map(|step| step.span);
    if let (Some(first), Some(last)) = (spans().map(|span| span.0).min(), spans().map(|span| span.1).max()) {
        let source = build.duration.map(|duration| duration.source).filter(|source| *source != DurationSource::Estimate);
        return Some(Duration { seconds: seconds_between(first, last), source: source.unwrap_or(DurationSource::Timestamps) });
    }
    let seconds: Vec<f64> = steps.iter().filter_map(|step| step.seconds).collect();
    (!seconds.is_empty()).then(|| Duration { seconds: seconds.iter().sum(), source: DurationSource::Estimate })
}

/// The time of a run: what was measured around it, else the sum of its builds' times with the weakest source among them.
fn run_duration(builds: &[Build], info: &RunInfo) -> Option<Duration> {
    if let Some(finished) = info.finished_at {
        let seconds = finished.duration_since(info.started_at).as_secs_f64();
        if seconds >= 0.0 {
            return Some(Duration { seconds, source: DurationSource::Timestamps });
        }
    }
    let durations: Vec<Duration> = builds.iter().filter_map(|build| build.duration).collect();
    let source = durations.iter().map(|duration| duration.source).max_by_key(|source| rank(*source))?;
    Some(Duration { seconds: durations.iter().map(|duration| duration.seconds).sum(), source })
}

/// The versions that a log names: the Dockerfile frontend that was loaded, the image of a BuildKit that was started.
fn versions(build: &Build) -> Vec<&str> {
    let frontends = build.steps.iter().filter_map(|step| {
        let image =
            step.name.strip_prefix("docker-image://").or_else(|| step.name.strip_prefix("resolve image config for docker-image://"));
        image.filter(|image| image.contains("docker/dockerfile") || image.contains("docker/dockerfile-upstream"))
    });
    let booted = build.steps.iter().filter(|step| step.name.ends_with("booting buildkit"));
    let booted = booted.flat_map(|step| step.log_head.iter().filter_map(|line| line.trim().strip_prefix("pulling image ")));
    unique(frontends.chain(booted))
}

/// Each text once, in the order of the first.
fn unique<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for text in texts {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen
}

/// The first line of an error, cut to [`LONGEST_ERROR`].
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(LONGEST_ERROR).collect()
}

/// When the first build of a log began, where the log names the instant and not only a distance.
pub fn logged_start(builds: &[Build]) -> Option<Timestamp> {
    builds.iter().find_map(|build| absolute(build.started))
}

fn last_line(builds: &[Build]) -> Option<Timestamp> {
    builds.iter().rev().find_map(|build| absolute(build.finished))
}

fn absolute(instant: Option<Instant>) -> Option<Timestamp> {
    instant.filter(|instant| instant.absolute).and_then(|instant| Timestamp::from_nanosecond(instant.nanoseconds).ok())
}

fn microseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// The ISO week of a time in UTC.
pub fn week(at: Timestamp) -> String {
    let date = at.to_zoned(TimeZone::UTC).date().iso_week_date();
    format!("{}-W{:02}", date.year(), date.week())
}

/// What tells one log of a project from another: a digest of everything that its builds did, in 12 hexadecimal digits. CI prefixes,
/// compression and the file's name play no part in it.
pub fn log_digest(project: &str, builds: &[Build]) -> String {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update(text.as_bytes());
        hasher.update([0]);
    };
    add(project);
    for build in builds {
        add(build.outcome.name());
        for step in &build.steps {
            add(&step.index.to_string());
            add(&step.name);
            add(step.status.name());
            add(&step.seconds.map(|seconds| seconds.to_string()).unwrap_or_default());
            add(&step.transferred_bytes.map(|bytes| bytes.to_string()).unwrap_or_default());
            add(&step.log_lines.to_string());
        }
        for name in &build.image.names {
            add(name);
        }
        add(build.image.digest.as_deref().unwrap_or_default());
    }
    let mut digest = hex(&hasher.finalize());
    digest.truncate(12);
    digest
}

/// `20261121T081426.575-9f2c1e4-0a1b2c3d4e5f`: time, commit, [`log_digest`].
fn run_id(builds: &[Build], info: &RunInfo) -> String {
    let is_hex = |commit: &&str| commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let commit = info.commit.as_deref().filter(is_hex).map_or("none", brief);
    let time = info.started_at.strftime("%Y%m%dT%H%M%S%.3f");
    format!("{time}-{}-{}", commit.to_ascii_lowercase(), log_digest(&info.project, builds))
}

fn badness(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Succeeded => 0,
        Outcome::Truncated => 1,
        Outcome::Canceled => 2,
        Outcome::Failed => 3,
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
#[path = "record_tests.rs"]
mod tests;
