//! Events become records.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Build, CacheTransfer, CacheTransfers, Duration, DurationSource, Foreign, Format, Image, Instant, Kind, Outcome, Status, Step, StepName,
    known_names::Names,
    outcome::{self, Ending},
    timing,
};
use crate::log::{At, BuildId, End, Event, Events, HEAD_LINES, by_index::ByIndex, text as text_of};

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

/// What all builds that are not handed over yet may keep together, in bytes. The largest real ones need a few hundred kilobytes; a log
/// that is made to fill the memory shall not.
const MOST_KEPT_BYTES: usize = 16 * 1024 * 1024;

/// What a build and a step need beside their texts, as it is counted for [`MOST_KEPT_BYTES`].
const BUILD_BYTES: usize = 2048;
const STEP_BYTES: usize = 1024;

/// How many complete builds wait for one that began before them. When there are more, that one is over.
const MOST_WAITING: usize = 1000;

/// Makes builds of events and hands each over when it is complete, in the order in which they begin.
#[derive(Debug)]
pub struct Collector<F> {
    take: F,
    open: BTreeMap<BuildId, Open>,
    /// Builds that are complete but must wait for an earlier one.
    waiting: BTreeMap<BuildId, (Build, usize)>,
    next: u32,
    /// What may still be kept of [`MOST_KEPT_BYTES`].
    room: usize,
    head_lines: u64,
    names: Names,
    outside: Foreign,
    /// Errors in front of any build.
    early_errors: Vec<String>,
    /// Lines of no build that say something of them all.
    remarks: Vec<(u64, String)>,
}

#[derive(Debug)]
struct Open {
    build: Build,
    /// What may still be kept, and what this build has kept.
    room: usize,
    kept: usize,
    positions: ByIndex<usize>,
    /// Steps that had ended and were announced again, until they end again; true once they went on.
    reopened: BTreeMap<u32, bool>,
    ending: Ending,
    first: Option<Instant>,
    last: Option<Instant>,
    /// True once a time came from a CI prefix; times of arrival count no more then.
    stamped: bool,
    /// First start and last end, where the log has exact times.
    active: Option<(Instant, Instant)>,
    shown_total: Option<f64>,
    total_steps: Option<u32>,
}

impl<F: FnMut(Build)> Collector<F> {
    /// Makes a collector that hands builds to `take`.
    pub fn new(take: F) -> Self {
        Self {
            take,
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next: 0,
            room: MOST_KEPT_BYTES,
            head_lines: HEAD_LINES,
            names: Names::default(),
            outside: Foreign::default(),
            early_errors: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// Leaves [`Step::log_head`] empty: for those who do not ask what the steps printed.
    pub fn without_output(self) -> Self {
        Self { head_lines: 0, ..self }
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
        self.complete(id);
        self.hand_over();
        while self.waiting.len() > MOST_WAITING {
            self.complete(BuildId(self.next));
            self.hand_over();
        }
    }

    fn complete(&mut self, id: BuildId) {
        if let Some(open) = self.open.remove(&id) {
            let kept = open.kept;
            self.waiting.insert(id, (open.complete(), kept));
        }
    }

    fn hand_over(&mut self) {
        while let Some((build, kept)) = self.waiting.remove(&BuildId(self.next)) {
            self.next += 1;
            (self.take)(build);
            self.room += kept;
        }
    }
}

impl<F: FnMut(Build)> Events for Collector<F> {
    fn event(&mut self, id: BuildId, at: At, event: Event<'_>) {
        if id.0 < self.next {
            // It was handed over before its end; see MOST_WAITING.
            return;
        }
        match event {
            Event::Over => return self.over(id),
            Event::Begin { format, interleaved } => {
                let room = &mut self.room;
                let open = self.open.entry(id).or_insert_with(|| {
                    let before = *room;
                    *room = room.saturating_sub(BUILD_BYTES);
                    Open::new(format, at, before - *room)
                });
                open.build.interleaved |= interleaved;
            }
            _ => {}
        }
        if let Some(open) = self.open.get_mut(&id) {
            open.room = self.room;
            open.event(at, event, &mut self.names);
            // An error that takes the place of another gives room back.
            open.kept = (open.kept + self.room).saturating_sub(open.room);
            self.room = open.room;
        }
    }

    fn head_lines(&self) -> u64 {
        self.head_lines
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
                if crate::log::client::build_error(text) == Some(true) && self.early_errors.len() < KEPT_TEXTS {
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
    fn new(format: Format, at: At, kept: usize) -> Self {
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
            room: 0,
            kept,
            positions: ByIndex::default(),
            reopened: BTreeMap::new(),
            ending: Ending::default(),
            first: at.time,
            last: at.time,
            stamped: at.time.is_some() && !at.arrived,
            active: None,
            shown_total: None,
            total_steps: None,
        }
    }

    fn step(&mut self, index: u32) -> Option<&mut Step> {
        let position = *self.positions.get(index)?;
        self.build.steps.get_mut(position)
    }

    fn event(&mut self, at: At, event: Event<'_>, names: &mut Names) {
        self.build.lines.1 = self.build.lines.1.max(at.line);
        // The times of rawjson are exact; those at which its lines were written are not.
        let at = if self.build.format == Format::RawJson { At { time: None, ..at } } else { at };
        let at = if self.stamped && at.arrived { At { time: None, ..at } } else { at };
        if !self.stamped && !at.arrived && at.time.is_some() {
            (self.stamped, self.first) = (true, at.time);
        }
        if at.time.is_some() {
            self.first = self.first.or(at.time);
            self.last = at.time;
        }
        match event {
            Event::Begin { .. } | Event::Over => {}
            Event::Builder { name, driver } => (self.build.builder, self.build.driver) = (Some(kept(name)), Some(kept(driver))),
            Event::Step { index, name } => self.announce(index, name, at, names),
            Event::BuildError { text, certain } => self.error(text, certain),
            Event::BuildWarning(text) => self.warning(text),
            Event::ErrorOutput(line) => push(&mut self.room, &mut self.build.error_output, line),
            Event::ErrorAt(place) => push(&mut self.room, &mut self.build.error_at, place),
            Event::Built { image, tag } => {
                self.ending.said_finished = true;
                self.build.image.digest = image.map(kept).or(self.build.image.digest.take());
                if let Some(tag) = tag {
                    push(&mut self.room, &mut self.build.image.names, tag);
                }
            }
            Event::ContextSent(bytes) => {
                // The legacy builder has no step for it; the records of all formats should be alike.
                self.announce(0, b"Sending build context to Docker daemon", at, names);
                if let Some(step) = self.step(0) {
                    Arc::make_mut(&mut step.parts).kind = Kind::Context;
                    (step.status, step.transferred_bytes) = (Status::Done, Some(bytes));
                }
            }
            Event::TotalTime { seconds, finished } => {
                self.shown_total = Some(seconds);
                self.ending.said_finished |= finished;
            }
            Event::StepTotal(total) => self.total_steps = Some(total),
            Event::NameContinues { index, .. }
            | Event::Log { index, .. }
            | Event::LogAgain { index, .. }
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
                self.reopened(index, &event);
                let mut room = self.room;
                if let Some(step) = self.step(index) {
                    step.lines.1 = at.line;
                    step_event(step, at, event, &mut room);
                    self.room = room;
                }
            }
        }
    }

    fn announce(&mut self, index: u32, name: &[u8], at: At, names: &mut Names) {
        let name = &name[..name.len().min(LONGEST_NAME)];
        let mut room = self.room;
        let plain = self.build.format == Format::Plain;
        if let Some(step) = self.step(index) {
            let ended = step.status != Status::Unfinished;
            let name = text_of(name);
            step.lines.1 = at.line;
            let same = step.name == name || step.name.strip_prefix(&name).is_some_and(|rest| rest.starts_with('\n'));
            if !same && !step.other_names.contains(&name) && step.other_names.len() < KEPT_TEXTS && room > name.len() {
                room -= name.len();
                step.other_names.push(name);
            }
            self.room = room;
            if plain && ended {
                self.reopened.entry(index).or_insert(false);
            }
            return;
        }
        if self.build.steps.len() >= MOST_STEPS || self.room < STEP_BYTES {
            return;
        }
        self.room -= STEP_BYTES;
        let name = keep(&mut self.room, name, LONGEST_NAME);
        let parts = if self.build.format == Format::Legacy && index > 0 {
            Arc::new(StepName::legacy(&name, index, self.total_steps))
        } else {
            names.parts(&name)
        };
        let words = parts.sources.iter().map(|source| source.len() + size_of::<String>() + 16).sum::<usize>();
        self.room = self.room.saturating_sub(words);
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

    /// Follows a step that was announced again after its end. The client of a build that succeeds may leave right after the header,
    /// before the last update; but a step that goes on ends again.
    fn reopened(&mut self, index: u32, event: &Event<'_>) {
        match event {
            _ if self.reopened.is_empty() => {}
            Event::Ended { .. } => _ = self.reopened.remove(&index),
            Event::Progress { .. } | Event::Log { .. } | Event::Logs { .. } => {
                if let Some(goes_on) = self.reopened.get_mut(&index) {
                    *goes_on = true;
                }
            }
            _ => {}
        }
    }

    fn error(&mut self, text: &[u8], certain: bool) {
        self.ending.certain_error |= certain;
        self.ending.possible_error |= !certain;
        self.ending.canceled |= memchr::memmem::find(text, b"context canceled").is_some();
        push(&mut self.room, &mut self.build.errors, text);
    }

    fn warning(&mut self, text: &[u8]) {
        let skipped = text
            .strip_prefix(b"local cache import at ")
            .and_then(|rest| Some(&rest[..memchr::memmem::find(rest, b" skipped due to err")?]));
        if let Some(path) = skipped {
            let imports = &mut self.build.cache.imports;
            if imports.len() < KEPT_TEXTS {
                imports.push(CacheTransfer { reference: keep(&mut self.room, path, KEPT_TEXT_BYTES), ok: false });
            }
        }
        push(&mut self.room, &mut self.build.warnings, text);
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
            push(&mut self.room, &mut image.names, name.as_bytes());
        }
        let inline = id == b"preparing layers for inline cache";
        // docker 20.10 shows inline cache as a step of its own, whose name has no destination.
        let inline_step = kind == Some(Kind::CacheExport) && id == b"preparing build cache for export";
        let without_place = self.step(index).is_some_and(|step| step.name == "exporting cache");
        self.build.cache.inline |= inline || (inline_step && without_place);
    }

    fn complete(self) -> Build {
        let Self { mut build, mut ending, reopened, first, last, stamped, active, shown_total, .. } = self;
        // A name of many lines is taken apart once, and not with every line.
        for step in build.steps.iter_mut().filter(|step| step.name.contains('\n') && build.format != Format::Legacy) {
            step.parts = Arc::new(StepName::parse(&step.name));
        }
        (build.started, build.finished) = match active {
            Some((from, to)) => (Some(from), Some(to)),
            None => (first, last),
        };
        let live = !stamped && active.is_none() && build.started.is_some();
        if live && is_replay(&build) {
            (build.started, build.finished) = (None, None);
            for step in &mut build.steps {
                step.span = None;
            }
        }
        build.duration = duration(&build, live, active, shown_total);
        build.cache.imports.splice(0..0, cache_imports(&build.steps));
        build.cache.exports = cache_exports(&build.steps);
        // Where two builds write at once it is a guess to which of them a header belongs.
        ending.reopened = !build.interleaved && reopened.values().any(|goes_on| *goes_on);
        build.outcome = outcome::outcome(&build, ending);
        outcome::mark_cache_hits(&mut build);
        build
    }
}

/// True for a line that may name a commit or a prune. Rules read it; here it is only kept.
fn is_remark(text: &[u8]) -> bool {
    [&b"ommit"[..], b"OMMIT", b"reclaimed", b"Total:", b"prune"].iter().any(|word| memchr::memmem::find(text, word).is_some())
}

fn step_event(step: &mut Step, at: At, event: Event<'_>, room: &mut usize) {
    match event {
        Event::NameContinues { line, .. } if step.name.len() + line.len() < LONGEST_NAME => {
            step.name.push('\n');
            step.name.push_str(&keep(room, line, LONGEST_NAME));
        }
        Event::Log { text, .. } => {
            step.log_lines += 1;
            push(room, &mut step.log_head, text);
        }
        Event::LogAgain { text, .. } => {
            if let Some(last) = step.log_head.last_mut() {
                *last = kept(text);
            }
        }
        Event::Logs { count, .. } => step.log_lines += count,
        Event::Clipped { .. } => step.clipped = true,
        Event::Progress { progress, .. } if progress.id.starts_with(b"transferring ") => {
            step.transferred_bytes = progress.current.or(step.transferred_bytes);
        }
        Event::Progress { progress, .. } if progress.id.starts_with(b"extracting sha256:") => step.pulled = true,
        Event::Warning { text, .. } => push(room, &mut step.warnings, text),
        Event::Ended { end, .. } => {
            *room += step.error.take().map_or(0, |error| error.len());
            step.seconds = None;
            step.status = match end {
                End::Done(seconds) => {
                    step.seconds = seconds;
                    Status::Done
                }
                End::Cached => Status::Cached,
                End::Canceled => Status::Canceled,
                End::Error(text) => {
                    step.error = Some(keep(room, text, LONGEST_NAME));
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
                error.push_str(&keep(room, line, LONGEST_NAME));
            }
        }
        Event::Active { from, to, .. } => {
            step.span = Some(step.span.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
        }
        _ => {}
    }
}

/// True where a log that came through a pipe was an old one: it came faster than its steps can have run.
fn is_replay(build: &Build) -> bool {
    let (Some(first), Some(last)) = (build.started, build.finished) else { return false };
    timing::estimate(&build.steps).is_some_and(|least| timing::seconds_between(first, last) < least * 0.9 - 0.3)
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

/// Adds a text, if there are few enough of them and there is room for it.
fn push(room: &mut usize, texts: &mut Vec<String>, text: &[u8]) {
    if texts.len() < KEPT_TEXTS && *room > 0 {
        texts.push(keep(room, text, KEPT_TEXT_BYTES));
    }
}

/// Makes a text of the first `most` bytes, or of as many as there is room for.
fn keep(room: &mut usize, text: &[u8], most: usize) -> String {
    let text = text_of(&text[..text.len().min(most).min(*room)]);
    *room = room.saturating_sub(text.len() + size_of::<String>());
    text
}

fn kept(text: &[u8]) -> String {
    text_of(&text[..text.len().min(KEPT_TEXT_BYTES)])
}
