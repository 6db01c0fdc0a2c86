//! How a build ended, and which of its CACHED steps are cache hits for certain.

use super::{Build, Format, Kind, Outcome, Status, Step};

/// What the log said beyond the steps.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ending {
    /// BuildKit's own words for a failure were read.
    pub(super) certain_error: bool,
    /// A line that any program might have written said `ERROR:`.
    pub(super) possible_error: bool,
    /// The error says that the build was interrupted.
    pub(super) canceled: bool,
    /// The log says that the build is over (terminal output, legacy builder).
    pub(super) said_finished: bool,
    /// A step went on after its end and did not end again.
    pub(super) reopened: bool,
}

pub(super) fn outcome(build: &Build, ending: Ending) -> Outcome {
    let failed_step = build.steps.iter().any(|step| step.status == Status::Error && fails_the_build(step));
    let canceled_step = build.steps.iter().any(|step| step.status == Status::Canceled);
    let unfinished = ending.reopened || build.steps.iter().any(|step| step.status == Status::Unfinished);
    if ending.certain_error || failed_step {
        return if ending.canceled && !failed_step { Outcome::Canceled } else { Outcome::Failed };
    }
    if canceled_step {
        return Outcome::Canceled;
    }
    let incomplete = unfinished || is_cut(build, ending);
    if ending.possible_error && (incomplete || !has_commands(build)) {
        return Outcome::Failed;
    }
    if incomplete { Outcome::Truncated } else { Outcome::Succeeded }
}

/// A failing cache import never fails a build, and a failing cache export fails it only without `ignore-error=true`, which the
/// build then says itself.
fn fails_the_build(step: &Step) -> bool {
    !matches!(step.parts.kind, Kind::CacheImport | Kind::CacheExport)
}

fn has_commands(build: &Build) -> bool {
    build.steps.iter().any(|step| step.parts.kind == Kind::Instruction)
}

/// True where steps are missing although every step that the log names has ended.
///
/// Steps are numbered within their stage, and a build that succeeds names the last step of every stage that it names at all: a
/// stage whose last steps are missing was cut off. (`FROM` alone may be named: a stage of which only the base is used.)
fn is_cut(build: &Build, ending: Ending) -> bool {
    if matches!(build.format, Format::Legacy | Format::Tty) {
        return !ending.said_finished;
    }
    let complete = |step: &Step| {
        matches!(step.parts.kind, Kind::Export | Kind::CacheExport) || step.instruction().starts_with("resolving provenance for ")
    };
    let told = build.warnings.iter().any(|warning| warning.starts_with("No output specified"));
    // A named context that takes the place of a base image leaves its FROM, and so one number, out.
    let named_context = build.steps.iter().any(|step| step.name.starts_with("[context "));
    if told || named_context || build.steps.iter().any(complete) {
        return false;
    }
    if build.steps.is_empty() {
        return true;
    }
    let mut stages: Vec<(StageKey<'_>, u32, u32)> = Vec::new();
    for step in &build.steps {
        let (Some(number), Some(total)) = (step.parts.number, step.parts.total) else {
            continue;
        };
        let key = stage_key(step);
        match stages.iter_mut().find(|(stage, ..)| *stage == key) {
            Some((_, highest, _)) => *highest = (*highest).max(number),
            None => stages.push((key, number, total)),
        }
    }
    stages.iter().any(|(_, highest, total)| *highest > 1 && highest < total)
}

type StageKey<'a> = (&'a Option<String>, &'a Option<String>, &'a Option<String>, Option<u32>);

fn stage_key(step: &Step) -> StageKey<'_> {
    (&step.parts.target, &step.parts.platform, &step.parts.stage, step.parts.total)
}

/// Marks cached steps as hits or as unknown.
///
/// In a build that succeeded, CACHED is a hit. In one that did not, BuildKit prints CACHED also for steps that it dropped before it
/// had looked for their result (moby/buildkit#5644). A step was a hit for certain if a later step of the same stage ran, because
/// that one needed its result.
pub(super) fn mark_cache_hits(build: &mut Build) {
    let hits: Vec<Option<bool>> = build
        .steps
        .iter()
        .map(|step| {
            if step.status != Status::Cached {
                return None;
            }
            let needed = |later: &&Step| stage_key(later) == stage_key(step) && later.parts.number > step.parts.number && has_run(later);
            let certain =
                build.outcome == Outcome::Succeeded || (step.parts.number.is_some() && build.steps.iter().any(|later| needed(&later)));
            certain.then_some(true)
        })
        .collect();
    for (step, hit) in build.steps.iter_mut().zip(hits) {
        step.cache_hit = hit;
    }
}

fn has_run(step: &Step) -> bool {
    matches!(step.status, Status::Done | Status::Error) || step.log_lines > 0
}
