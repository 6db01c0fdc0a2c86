//! What stands below the table: totals, and what went wrong.

use std::io::{self, Write};

use super::style::{BAD, DIM, WARN, painted};
use crate::{
    build::{Build, CacheTransfer, Kind, Outcome, Status, Step, timing},
    report::{escape, savings::Savings, units},
};

/// The labels stand in a column of this width.
const LABEL_COLUMNS: usize = 12;

/// Lines of a failed step's output that are shown.
const SHOWN_OUTPUT: usize = 12;

/// The counts of a build's own commands (`FROM` is none: a cache saves nothing there).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    /// Steps that ran.
    pub executed: usize,
    /// Seconds in which they ran, added up.
    pub executed_seconds: f64,
    /// Steps that the cache had.
    pub cached: usize,
    /// Steps printed as cached that perhaps never ran.
    pub perhaps_cached: usize,
    /// Steps that failed.
    pub failed: usize,
    /// Steps that were stopped.
    pub canceled: usize,
    /// Steps whose end is not in the log.
    pub unfinished: usize,
}

impl Counts {
    /// Counts the commands of a build.
    pub fn of(build: &Build) -> Self {
        let mut counts = Self::default();
        for step in build.steps.iter().filter(|step| step.is_command()) {
            match step.status {
                Status::Done => {
                    counts.executed += 1;
                    counts.executed_seconds += step.seconds.unwrap_or(0.0);
                }
                Status::Cached if step.cache_hit == Some(true) => counts.cached += 1,
                Status::Cached => counts.perhaps_cached += 1,
                Status::Error => counts.failed += 1,
                Status::Canceled => counts.canceled += 1,
                Status::Unfinished => counts.unfinished += 1,
            }
        }
        counts
    }

    /// All of them.
    pub fn total(&self) -> usize {
        self.executed + self.cached + self.perhaps_cached + self.failed + self.canceled + self.unfinished
    }

    /// The share of steps that the cache had, among those that ran or were cached. `None` where there were none.
    pub fn cache_ratio(&self) -> Option<f64> {
        let all = self.executed + self.cached;
        (all > 0).then(|| self.cached as f64 / all as f64)
    }
}

/// Writes the totals of a build.
pub fn write(build: &Build, savings: &Savings, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |label: &str, text: String| -> io::Result<()> {
        let padded = format!("{label:LABEL_COLUMNS$}");
        let room = width.saturating_sub(LABEL_COLUMNS).max(20);
        writeln!(out, "{}{}", painted(DIM, padded), console::truncate_str(&text, room, "…"))
    };
    line("steps", steps(&Counts::of(build), savings, build))?;
    let context = transfer(build);
    if !context.is_empty() {
        line("context", context)?;
    }
    let exports: Vec<&Step> = build.steps.iter().filter(|step| step.parts.kind == Kind::Export).collect();
    if !exports.is_empty() {
        let seconds: f64 = exports.iter().filter_map(|step| step.seconds).sum();
        line("export", units::duration(seconds))?;
    }
    for (label, transfers) in [("import", &build.cache.imports), ("cache to", &build.cache.exports)] {
        for transfer in transfers {
            line(label, cache_transfer(transfer))?;
        }
    }
    if build.cache.inline {
        line("cache to", "inline, within the image".to_owned())?;
    }
    if let Some(digest) = &build.image.digest {
        line("image", escape::ci(digest).into_owned())?;
    }
    if let Some(path) = critical_path(build) {
        line("waited for", path)?;
    }
    for warning in build.warnings.iter().chain(build.steps.iter().flat_map(|step| &step.warnings)) {
        line("warning", painted(WARN, escape::ci(warning)))?;
    }
    if build.interleaved {
        line(
            "note",
            painted(WARN, "builds were written into this log at the same time; figures of steps with the same number may be swapped"),
        )?;
    }
    let clipped: Vec<String> = build.steps.iter().filter(|step| step.clipped).map(|step| format!("#{}", step.index)).collect();
    if !clipped.is_empty() {
        line(
            "note",
            painted(WARN, format!("BuildKit cut the output of {}; raise BUILDKIT_STEP_LOG_MAX_SIZE to see all", clipped.join(", "))),
        )?;
    }
    if build.foreign.count > 0 {
        let (first, text) = build.foreign.first.first().map(|(line, text)| (*line, text.as_str())).unwrap_or_default();
        let text = format!(
            "{} not from the build; the first is line {first}: {}",
            units::count(usize::try_from(build.foreign.count).unwrap_or(usize::MAX), "line"),
            escape::ci(text)
        );
        line("note", painted(DIM, text))?;
    }
    failure(build, out)
}

fn steps(counts: &Counts, savings: &Savings, build: &Build) -> String {
    let mut parts = vec![format!("{} ran in {}", counts.executed, units::duration(counts.executed_seconds))];
    let ratio = counts.cache_ratio().map_or(String::new(), |ratio| format!(" ({:.0} %)", ratio * 100.0));
    parts.push(format!("{} cached{ratio}", counts.cached));
    for (n, what) in [
        (counts.perhaps_cached, "perhaps cached"),
        (counts.failed, "failed"),
        (counts.canceled, "canceled"),
        (counts.unfinished, "unfinished"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    let (saved, known) = savings.total(build);
    if known > 0 && saved > 0.0 {
        let by_time = saved / (saved + counts.executed_seconds) * 100.0;
        let all = if known < counts.cached { format!(", as far as known for {known}") } else { String::new() };
        parts.push(format!("saved about {} ({by_time:.0} % of the time{all})", units::duration(saved)));
    }
    format!("{}: {}", counts.total(), parts.join(", "))
}

fn transfer(build: &Build) -> String {
    let contexts = build.steps.iter().filter(|step| step.parts.kind == Kind::Context);
    let texts: Vec<String> = contexts
        .filter_map(|step| {
            let size = units::bytes(step.transferred_bytes?);
            let time = step.seconds.map_or(String::new(), |seconds| format!(" in {}", units::duration(seconds)));
            let target = step.parts.target.as_ref().map_or(String::new(), |target| format!("{} ", escape::ci(target)));
            Some(format!("{target}{size}{time}"))
        })
        .collect();
    texts.join(", ")
}

fn cache_transfer(transfer: &CacheTransfer) -> String {
    let reference = escape::ci(&transfer.reference);
    if transfer.ok { reference.into_owned() } else { format!("{reference} {}", painted(BAD, "failed")) }
}

/// The steps that everything waited for, those of a tenth of a second and more.
fn critical_path(build: &Build) -> Option<String> {
    let path = timing::critical_path(build)?;
    let mut shown = Vec::new();
    let mut sum = 0.0;
    for position in path {
        let step = &build.steps[position];
        let (from, to) = step.span?;
        let seconds = timing::seconds_between(from, to);
        sum += seconds;
        if seconds >= 0.1 {
            shown.push(format!("#{} {}", step.index, units::duration(seconds)));
        }
    }
    let total = build.duration?.seconds;
    (shown.len() > 1 && total > 0.0).then(|| format!("{} ({:.0} % of the time)", shown.join(" → "), (sum / total * 100.0).min(100.0)))
}

/// What the build said of its failure. Each text stands once: BuildKit repeats the error of a step as that of the build.
fn failure(build: &Build, out: &mut dyn Write) -> io::Result<()> {
    let failed: Vec<&Step> = build.steps.iter().filter(|step| step.status == Status::Error).collect();
    for step in &failed {
        // A failing cache import is no failure of the build.
        let label = if build.outcome == Outcome::Succeeded { painted(WARN, "warning:") } else { painted(BAD, "error:") };
        writeln!(out, "\n{label} {} {}", painted(DIM, format!("#{}", step.index)), escape::ci(&step.name))?;
        for line in step.error.as_deref().unwrap_or_default().lines() {
            writeln!(out, "  {}", escape::ci(line))?;
        }
    }
    if build.outcome == Outcome::Succeeded {
        return Ok(());
    }
    let output: Vec<&String> = build.error_output.iter().filter(|line| !line.starts_with(" > ")).collect();
    for line in &output[output.len().saturating_sub(SHOWN_OUTPUT)..] {
        writeln!(out, "  {} {}", painted(DIM, "|"), escape::ci(line))?;
    }
    let told = |error: &str| {
        failed.iter().any(|step| step.error.as_deref().is_some_and(|text| error.ends_with(text.lines().next().unwrap_or_default())))
    };
    for error in build.errors.iter().filter(|error| failed.is_empty() || !told(error)) {
        writeln!(out, "\n{}", painted(BAD, escape::ci(error)))?;
    }
    if let Some(at) = build.error_at.first() {
        writeln!(out, "  {} {}", painted(DIM, "-->"), escape::ci(at))?;
    }
    Ok(())
}
