//! Events become records.

use std::collections::BTreeMap;

use super::{
    Build, CacheTransfer, CacheTransfers, Duration, DurationSource, Foreign, Format, Image, Instant, Kind, Outcome, Status, Step, StepName,
    outcome::{self, Ending},
    timing,
};
use crate::log::{At, BuildId, End, Event, Events, by_index::ByIndex};

/// How many foreign lines are kept.
pub const KEPT_FOREIGN_LINES: usize = 20;

/// How much of a foreign line or an output line is kept, in bytes.
pub const KEPT_TEXT_BYTES: usize = 400;

/// How many lines outside of builds are kept because they say which commit is built or that the cache was pruned.
pub const KEPT_REMARKS: usize = 200;

/// How many errors, warnings and lines of failed output a build or step keeps each.
const KEPT_TEXTS: usize = 100;

/// A step's name is kept up to this many bytes; the longest real ones have 110 kB.
const LONGEST_NAME: usize = 1024 * 1024;

/// More steps than this in one build are counted no more: no real build comes near, and memory must stay bounded.
const MOST_STEPS: usize = 20_000;

/// Makes builds of events and hands each over when it is complete, in the order in which they begin.
#[derive(Debug)]
pub struct Collector<F> {
    take: F,
    open: BTreeMap<BuildId, Open>,
    /// Builds that are complete but must wait for an earlier one.
    waiting: BTreeMap<BuildId, Build>,
    next: u32,
    /// True where times are those of arrival.
    live: bool,
    outside: Foreign,
    /// Errors in front of any build.
    early_errors: Vec<String>,
    /// Lines of no build that say something of them all.
    remarks: Vec<(u64, String)>,
}

#[derive(Debug)]
struct Open {
    build: Build,
    positions: ByIndex<usize>,
    ending: Ending,
    first: Option<Instant>,
    last: Option<Instant>,
    /// First start and last end, where the log has exact times.
    active: Option<(Instant, Instant)>,
    shown_total: Option<f64>,
    total_steps: Option<u32>,
}

impl<F: FnMut(Build)> Collector<F> {
    /// Makes a collector that hands builds to `take`. `live` says that times are those of arrival.
    pub fn new(live: bool, take: F) -> Self {
        Self {
            take,
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next: 0,
            live,
            outside: Foreign::default(),
            early_errors: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// The lines that stand in no build.
    pub fn outside(&self) -> &Foreign {
        &self.outside
    }

    /// Errors of a build that failed before its first step.
    pub fn early_errors(&self) -> &[String] {
        &self.early_errors
    }

    /// Lines that no build wrote and that say which commit is built or that the cache was pruned, with their numbers: the first
    /// [`KEPT_REMARKS`]. They stand in front of a build, between builds, or where a script prints while a build goes on.
    pub fn remarks(&self) -> &[(u64, String)] {
        &self.remarks
    }

    /// The names of the steps that run now, over all builds.
    pub fn running(&self) -> impl Iterator<Item = &str> {
        let steps = self.open.values().flat_map(|open| &open.build.steps);
        steps.filter(|step| step.status == Status::Unfinished).map(|step| step.name.as_str())
    }

    /// How many steps have ended in the builds that are not over yet.
    pub fn ended_steps(&self) -> usize {
        self.open.values().flat_map(|open| &open.build.steps).filter(|step| step.status != Status::Unfinished).count()
    }

    fn over(&mut self, id: BuildId) {
        if let Some(open) = self.open.remove(&id) {
            let build = open.complete(self.live);
            self.waiting.insert(id, build);
        }
        while let Some(build) = self.waiting.remove(&BuildId(self.next)) {
            self.next += 1;
            (self.take)(build);
        }
    }
}

impl<F: FnMut(Build)> Events for Collector<F> {
    fn event(&mut self, id: BuildId, at: At, event: Event<'_>) {
        match event {
            Event::Over => return self.over(id),
            Event::Begin { format, interleaved } => {
                let open = self.open.entry(id).or_insert_with(|| Open::new(format, at));
                open.build.interleaved |= interleaved;
            }
            _ => {}
        }
        if let Some(open) = self.open.get_mut(&id) {
            open.event(at, event);
        }
    }

    fn foreign(&mut self, build: Option<BuildId>, at: At, text: &[u8]) {
        if text.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        if self.remarks.len() < KEPT_REMARKS && is_remark(text) {
            self.remarks.push((at.line, kept(text)));
        }
        let foreign = match build.and_then(|id| self.open.get_mut(&id)) {
            Some(open) => &mut open.build.foreign,
            None => {
                if crate::log::plain::build_error(text) == Some(true) && self.early_errors.len() < KEPT_TEXTS {
                    self.early_errors.push(kept(text));
                }
                &mut self.outside
            }
        };
        foreign.count += 1;
        if foreign.first.len() < KEPT_FOREIGN_LINES {
            foreign.first.push((at.line, kept(text)));
        }
    }
}

impl Open {
    fn new(format: Format, at: At) -> Self {
        let build = Build {
            format,
            outcome: Outcome::Truncated,
            builder: None,
            driver: None,
            started: None,
            finished: None,
            duration: None,
            cache: CacheTransfers::default(),
            image: Image::default(),
            steps: Vec::new(),
            errors: Vec::new(),
            error_output: Vec::new(),
            error_at: Vec::new(),
            warnings: Vec::new(),
            interleaved: false,
            foreign: Foreign::default(),
            lines: (at.line, at.line),
        };
        Self {
            build,
            positions: ByIndex::default(),
            ending: Ending::default(),
            first: at.time,
            last: at.time,
            active: None,
            shown_total: None,
            total_steps: None,
        }
    }

    fn step(&mut self, index: u32) -> Option<&mut Step> {
        let position = *self.positions.get(index)?;
        self.build.steps.get_mut(position)
    }

    fn event(&mut self, at: At, event: Event<'_>) {
        self.build.lines.1 = self.build.lines.1.max(at.line);
        // The times of rawjson are exact; those at which its lines were written are not.
        let at = if self.build.format == Format::RawJson { At { time: None, ..at } } else { at };
        if at.time.is_some() {
            self.first = self.first.or(at.time);
            self.last = at.time;
        }
        match event {
            Event::Begin { .. } | Event::Over => {}
            Event::Builder { name, driver } => (self.build.builder, self.build.driver) = (Some(kept(name)), Some(kept(driver))),
            Event::Step { index, name } => self.announce(index, name, at),
            Event::BuildError { text, certain } => self.error(text, certain),
            Event::BuildWarning(text) => self.warning(text),
            Event::ErrorOutput(line) => push(&mut self.build.error_output, kept(line)),
            Event::ErrorAt(place) => push(&mut self.build.error_at, kept(place)),
            Event::Built { image, tag } => {
                self.ending.said_finished = true;
                self.build.image.digest = image.map(kept).or(self.build.image.digest.take());
                self.build.image.names.extend(tag.map(kept));
            }
            Event::ContextSent(bytes) => {
                // The legacy builder has no step for it; the records of all formats should be alike.
                self.announce(0, b"Sending build context to Docker daemon", at);
                if let Some(step) = self.step(0) {
                    (step.parts.kind, step.status, step.transferred_bytes) = (Kind::Context, Status::Done, Some(bytes));
                }
            }
            Event::TotalTime { seconds, finished } => {
                self.shown_total = Some(seconds);
                self.ending.said_finished |= finished;
            }
            Event::StepTotal(total) => self.total_steps = Some(total),
            Event::NameContinues { index, .. }
            | Event::Log { index, .. }
            | Event::Logs { index, .. }
            | Event::Clipped { index }
            | Event::Progress { index, .. }
            | Event::Warning { index, .. }
            | Event::Ended { index, .. }
            | Event::ErrorContinues { index, .. }
            | Event::Active { index, .. } => {
                if let Event::Active { from, to, .. } = event {
                    self.active = Some(self.active.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
                }
                if let Event::Progress { progress, .. } = event {
                    self.progress(index, progress.id);
                }
                if let Some(step) = self.step(index) {
                    step.lines.1 = at.line;
                    step_event(step, at, event);
                }
            }
        }
    }

    fn announce(&mut self, index: u32, name: &[u8], at: At) {
        let name = String::from_utf8_lossy(&name[..name.len().min(LONGEST_NAME)]).into_owned();
        if let Some(step) = self.step(index) {
            step.lines.1 = at.line;
            let same = step.name == name || step.name.strip_prefix(&name).is_some_and(|rest| rest.starts_with('\n'));
            if !same && !step.other_names.contains(&name) {
                push(&mut step.other_names, name);
            }
            return;
        }
        if self.build.steps.len() >= MOST_STEPS {
            return;
        }
        let parts = if self.build.format == Format::Legacy && index > 0 {
            StepName::legacy(&name, index, self.total_steps)
        } else {
            StepName::parse(&name)
        };
        self.positions.insert(index, self.build.steps.len());
        self.build.steps.push(Step {
            index,
            name,
            other_names: Vec::new(),
            parts,
            status: Status::Unfinished,
            cache_hit: None,
            seconds: None,
            span: at.time.map(|time| (time, time)),
            log_lines: 0,
            log_head: Vec::new(),
            transferred_bytes: None,
            clipped: false,
            pulled: false,
            warnings: Vec::new(),
            error: None,
            lines: (at.line, at.line),
        });
    }

    fn error(&mut self, text: &[u8], certain: bool) {
        self.ending.certain_error |= certain;
        self.ending.possible_error |= !certain;
        self.ending.canceled |= memchr::memmem::find(text, b"context canceled").is_some();
        push(&mut self.build.errors, kept(text));
    }

    fn warning(&mut self, text: &[u8]) {
        let skipped = text
            .strip_prefix(b"local cache import at ")
            .and_then(|rest| Some(&rest[..memchr::memmem::find(rest, b" skipped due to err")?]));
        if let Some(path) = skipped {
            self.build.cache.imports.push(CacheTransfer { reference: kept(path), ok: false });
        }
        push(&mut self.build.warnings, kept(text));
    }

    /// What progress lines say of the image and of inline cache.
    fn progress(&mut self, index: u32, id: &[u8]) {
        let kind = self.step(index).map(|step| step.parts.kind);
        if !matches!(kind, Some(Kind::Export | Kind::CacheExport)) {
            return;
        }
        let image = &mut self.build.image;
        let is_digest = |text: &[u8]| text.starts_with(b"sha256:");
        // The list of manifests is exported last, so it wins over the manifests in it.
        for start in [&b"writing image "[..], b"exporting manifest ", b"exporting manifest list "] {
            if let Some(digest) = id.strip_prefix(start).filter(|digest| is_digest(digest)) {
                image.digest = Some(kept(digest));
            }
        }
        let pushed = id.strip_prefix(b"pushing manifest for ").map(|reference| match memchr::memmem::find(reference, b"@sha256:") {
            Some(at) => &reference[..at],
            None => reference,
        });
        if let Some(name) = id.strip_prefix(b"naming to ").or(pushed).map(kept)
            && !image.names.contains(&name)
        {
            push(&mut image.names, name);
        }
        let inline = id == b"preparing layers for inline cache";
        // docker 20.10 shows inline cache as a step of its own, whose name has no destination.
        let inline_step = kind == Some(Kind::CacheExport) && id == b"preparing build cache for export";
        let without_place = self.step(index).is_some_and(|step| step.name == "exporting cache");
        self.build.cache.inline |= inline || (inline_step && without_place);
    }

    fn complete(self, live: bool) -> Build {
        let Self { mut build, ending, first, last, active, shown_total, .. } = self;
        (build.started, build.finished) = match active {
            Some((from, to)) => (Some(from), Some(to)),
            None => (first, last),
        };
        build.duration = duration(&build, live, active, shown_total);
        build.cache.imports.splice(0..0, cache_imports(&build.steps));
        build.cache.exports = cache_exports(&build.steps);
        build.outcome = outcome::outcome(&build, ending);
        outcome::mark_cache_hits(&mut build);
        build
    }
}

/// True for a line that may name a commit or a prune. Rules read it; here it is only kept.
fn is_remark(text: &[u8]) -> bool {
    [&b"ommit"[..], b"OMMIT", b"reclaimed", b"Total:", b"prune"].iter().any(|word| memchr::memmem::find(text, word).is_some())
}

fn step_event(step: &mut Step, at: At, event: Event<'_>) {
    match event {
        Event::NameContinues { line, .. } if step.name.len() + line.len() < LONGEST_NAME => {
            step.name.push('\n');
            step.name.push_str(&String::from_utf8_lossy(line));
            step.parts = StepName::parse(&step.name);
        }
        Event::Log { text, .. } => {
            step.log_lines += 1;
            step.log_head.push(kept(text));
        }
        Event::Logs { count, .. } => step.log_lines += count,
        Event::Clipped { .. } => step.clipped = true,
        Event::Progress { progress, .. } if progress.id.starts_with(b"transferring ") => {
            step.transferred_bytes = progress.current.or(step.transferred_bytes);
        }
        Event::Progress { progress, .. } if progress.id.starts_with(b"extracting sha256:") => step.pulled = true,
        Event::Warning { text, .. } => push(&mut step.warnings, kept(text)),
        Event::Ended { end, .. } => {
            step.error = None;
            step.seconds = None;
            step.status = match end {
                End::Done(seconds) => {
                    step.seconds = seconds;
                    Status::Done
                }
                End::Cached => Status::Cached,
                End::Canceled => Status::Canceled,
                End::Error(text) => {
                    step.error = Some(String::from_utf8_lossy(&text[..text.len().min(LONGEST_NAME)]).into_owned());
                    Status::Error
                }
            };
            if let (Some((_, to)), Some(time)) = (&mut step.span, at.time) {
                *to = time;
            }
        }
        Event::ErrorContinues { line, .. } => {
            if let Some(error) = &mut step.error
                && error.len() + line.len() < LONGEST_NAME
            {
                error.push('\n');
                error.push_str(&String::from_utf8_lossy(line));
            }
        }
        Event::Active { from, to, .. } => {
            step.span = Some(step.span.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
        }
        _ => {}
    }
}

fn duration(build: &Build, live: bool, active: Option<(Instant, Instant)>, shown_total: Option<f64>) -> Option<Duration> {
    let of = |seconds, source| Some(Duration { seconds, source });
    if let Some((from, to)) = active {
        return of(timing::seconds_between(from, to), DurationSource::RawJson);
    }
    if live && let (Some(first), Some(last)) = (build.started, build.finished) {
        return of(timing::seconds_between(first, last), DurationSource::Live);
    }
    if let (Some(first), Some(last)) = (build.started, build.finished) {
        return of(timing::seconds_between(first, last), DurationSource::Timestamps);
    }
    let seconds = shown_total.or_else(|| timing::estimate(&build.steps))?;
    of(seconds, DurationSource::Estimate)
}

fn cache_imports(steps: &[Step]) -> Vec<CacheTransfer> {
    let reference = |step: &Step| step.instruction().strip_prefix("importing cache manifest from ").unwrap_or_default().to_owned();
    steps
        .iter()
        .filter(|step| step.parts.kind == Kind::CacheImport)
        .map(|step| CacheTransfer { reference: reference(step), ok: matches!(step.status, Status::Done | Status::Cached) })
        .collect()
}

fn cache_exports(steps: &[Step]) -> Vec<CacheTransfer> {
    let reference = |step: &Step| step.instruction().strip_prefix("exporting cache to ").unwrap_or("inline").to_owned();
    steps
        .iter()
        .filter(|step| step.parts.kind == Kind::CacheExport)
        .map(|step| CacheTransfer { reference: reference(step), ok: matches!(step.status, Status::Done | Status::Cached) })
        .collect()
}

fn push(texts: &mut Vec<String>, text: String) {
    if texts.len() < KEPT_TEXTS {
        texts.push(text);
    }
}

fn kept(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(KEPT_TEXT_BYTES)]).into_owned()
}
