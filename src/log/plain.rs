//! The state machine of plain progress: what a line means after the lines before it.
//!
//! BuildKit's printer (`textMux` in `progressui/printer.go`) is always within one step or between steps. It enters a step by printing
//! its header, leaves it by `#N ...` or by a terminal line, and only within step N does it print other lines of step N. So a line
//! `#N text` is a header exactly when the printer is not within N, whatever the text looks like; nothing in a command's output can
//! forge one, because every line of output stands behind `#N SECONDS `.
//!
//! The machine never gives up: a line that fits nowhere is foreign, a terminal or output line of a step without a header (a log
//! that lost its beginning) makes the step known, and a new `#0` or a first step that was there before begins a new build.
//! Where a build is still running then, two builds write into one log; see [`Plain::lane_for`].

use super::{
    anchor::Format,
    by_index::ByIndex,
    event::{At, BuildId, End, Event, Events, HEAD_LINES},
    grammar::{self, Body},
    name,
};

/// The most builds that can write into one log at the same time; further ones take the place of the oldest.
const MOST_LANES: usize = 32;

/// A name or an error text that is longer is cut: no real one comes near, and memory must stay bounded.
const MOST_CONTINUATION_LINES: u32 = 1000;

/// How much of an output line that may still be open is kept, to know it again when it is printed in full.
const OPEN_LINE_BYTES: usize = 4096;

/// The blocks that BuildKit and buildx print between and after steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    None,
    /// `------`, the name and the last output of a failed step, `------`.
    ErrorOutput,
    /// `Dockerfile:3` was read; a line of dashes must follow.
    ExcerptBegins,
    /// The excerpt of the Dockerfile, until the next line of dashes.
    Excerpt,
    /// The list of build checks, until a line that is no item.
    Warnings,
}

/// The last text that can go on in a line without `#N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Name { index: u32, quotation: name::Quotation, lines: u32 },
    Error { index: u32, lines: u32 },
}

/// What must be remembered of a step to read later lines.
#[derive(Debug, Default)]
struct Known {
    ended: bool,
    log_lines: u64,
    /// The output line before the printer left the step: an open line is printed again in full when it comes back.
    open_line: Option<OpenLine>,
}

#[derive(Debug)]
struct OpenLine {
    time: Vec<u8>,
    text: Vec<u8>,
}

/// One build of the log.
#[derive(Debug)]
struct Lane {
    build: BuildId,
    /// True where buildx's `#0` began it.
    announced: bool,
    /// The step within which the printer is.
    current: Option<u32>,
    known: ByIndex<Known>,
    highest: u32,
    has_instructions: bool,
    open: Open,
    block: Block,
    /// Counts lines given to any lane: the lane with the lowest was fed least recently.
    fed: u64,
    /// Set where the last output line of the current step ends like a terminal line of it; see [`Lane::note_glued`].
    glued: Option<Glued>,
    /// The lines of the last error of a step, because the client repeats them at the end.
    error_lines: Vec<Vec<u8>>,
}

/// A terminal line that may stand at the end of an output line.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Glued {
    Done(Option<f64>),
    Cached,
    Canceled,
}

/// Reads the plain progress of one stream of a log.
#[derive(Debug, Default)]
pub struct Plain {
    lanes: Vec<Lane>,
    /// The lane of the last line.
    recent: usize,
    fed: u64,
    /// True once two lanes are known to be written at the same time.
    interleaved: bool,
}

/// The state in which the next line is most probably one more line of output of the same step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The build.
    pub build: BuildId,
    /// The step.
    pub index: u32,
}

impl Plain {
    /// The build of the last line.
    pub fn recent_build(&self) -> Option<BuildId> {
        self.lanes.get(self.recent).map(|lane| lane.build)
    }

    /// True where a step is within its output, so that lines of other formats cannot begin here.
    pub fn is_within_step(&self) -> bool {
        self.lanes.iter().any(|lane| lane.current.is_some() || lane.known.values().any(|step| !step.ended))
    }

    /// True before the first step: `#0` at most was read.
    pub fn is_at_start(&self) -> bool {
        self.lanes.iter().all(|lane| lane.highest == 0)
    }

    /// The step whose further output lines need no more than counting, if the machine is in such a state.
    pub fn running(&self) -> Option<Running> {
        let [lane] = self.lanes.as_slice() else {
            return None;
        };
        let index = lane.current?;
        let step = lane.known.get(index)?;
        let plain = lane.open == Open::Nothing && lane.block == Block::None && step.open_line.is_none() && step.log_lines >= HEAD_LINES;
        plain.then_some(Running { build: lane.build, index })
    }

    /// Counts `count` output lines of the running step that the caller recognised by itself; `last` is the last of them, without
    /// `#N `.
    pub fn count_output(&mut self, running: Running, count: u64, at: At, events: &mut impl Events) {
        if let Some(step) = self.lanes.first_mut().and_then(|lane| lane.known.get_mut(running.index)) {
            step.log_lines += count;
        }
        events.event(running.build, at, Event::Logs { index: running.index, count });
    }

    /// Reads one line. `before` is the line before it in this stream, if that was counted by [`Plain::count_output`].
    pub fn line(&mut self, line: &[u8], before: Option<&[u8]>, at: At, next_build: &mut u32, events: &mut impl Events) {
        if let (Some(before), Some(lane)) = (before, self.lanes.get_mut(self.recent)) {
            lane.note_glued(before);
        }
        if line.is_empty()
            && let Some(lane) = self.lanes.get_mut(self.recent)
            && !matches!(lane.open, Open::Name { quotation, .. } if quotation.is_open())
            && matches!(lane.block, Block::None | Block::Warnings)
        {
            if matches!(lane.open, Open::Error { .. }) {
                lane.open = Open::Nothing;
            }
            return;
        }
        let indexed = if line.first() == Some(&b'#') { grammar::indexed(line) } else { None };
        match indexed {
            Some((0, text)) => match grammar::building_with(text) {
                Some((builder, driver)) => {
                    self.begin(true, at, next_build, events);
                    if let Some(lane) = self.lanes.get(self.recent) {
                        events.event(lane.build, at, Event::Builder { name: builder, driver });
                    }
                }
                None => self.other_line(line, at, events),
            },
            Some((index, text)) => self.step_line(index, text, line, before, at, next_build, events),
            None => self.other_line(line, at, events),
        }
    }

    /// Begins a new build.
    fn begin(&mut self, announced: bool, at: At, next_build: &mut u32, events: &mut impl Events) {
        let mut over = Vec::new();
        self.lanes.retain(|lane| {
            let ended = lane.current.is_none() && lane.known.values().all(|step| step.ended);
            if ended {
                over.push(lane.build);
            }
            !ended
        });
        if self.lanes.len() >= MOST_LANES {
            over.push(self.lanes.remove(0).build);
        }
        for build in over {
            events.event(build, at, Event::Over);
        }
        let build = BuildId(*next_build);
        *next_build += 1;
        self.interleaved = false;
        self.lanes.push(Lane {
            build,
            announced,
            current: None,
            known: ByIndex::default(),
            highest: 0,
            has_instructions: false,
            open: Open::Nothing,
            block: Block::None,
            fed: self.fed,
            glued: None,
            error_lines: Vec::new(),
        });
        self.recent = self.lanes.len() - 1;
        events.event(build, at, Event::Begin { format: Format::Plain, interleaved: false });
    }

    /// Ends all builds: the log is over.
    pub fn finish(&mut self, at: At, events: &mut impl Events) {
        for lane in self.lanes.drain(..) {
            events.event(lane.build, at, Event::Over);
        }
        self.recent = 0;
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one line, taken apart once by the caller")]
    fn step_line(
        &mut self,
        index: u32,
        text: &[u8],
        line: &[u8],
        before: Option<&[u8]>,
        at: At,
        next_build: &mut u32,
        events: &mut impl Events,
    ) {
        let body = grammar::body(text);
        if let Some(lane) = self.lanes.get_mut(self.recent)
            && let Open::Name { index: named, quotation, lines } = lane.open
            && named != index
            && quotation.is_open()
            && lines < MOST_CONTINUATION_LINES
        {
            return lane.continue_name(line, at, events);
        }
        if self.lanes.is_empty() || self.begins_anew(index, &body) {
            self.begin(false, at, next_build, events);
        }
        let lane = self.lane_for(index, &body, text, at, events);
        self.fed += 1;
        self.recent = lane;
        let fed = self.fed;
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.fed = fed;
            lane.step_line(index, body, text, before, at, events);
        }
    }

    /// True where step 1 is announced again although this build's step 1 has long ended: docker 20.10 and buildctl print no `#0`
    /// line, and there a second build shows by its numbering alone.
    fn begins_anew(&self, index: u32, body: &Body<'_>) -> bool {
        let Some(lane) = self.lanes.get(self.recent) else {
            return true;
        };
        let Body::Text(text) = body else { return false };
        let restart = index == 1 && !lane.announced && lane.current != Some(1) && lane.known.get(1).is_some_and(|step| step.ended);
        restart && (lane.has_instructions || lane.highest >= 3) && name::is_certain(text)
    }

    /// Finds the build to which a line of step `index` belongs.
    ///
    /// With one build there is nothing to find. Where a build began before another had ended, either the first was killed or both
    /// run at once. A line goes to the newest build that could have written it; once a line can only be the older build's, both
    /// are known to run, and output lines that either could have written go to the one that was fed least recently. That is a
    /// guess, and the build says so (`interleaved`).
    fn lane_for(&mut self, index: u32, body: &Body<'_>, text: &[u8], at: At, events: &mut impl Events) -> usize {
        if self.lanes.len() == 1 {
            return 0;
        }
        let within = |lane: &Lane| lane.current == Some(index) && lane.known.get(index).is_some_and(|step| !step.ended);
        let open = |lane: &Lane| lane.known.get(index).is_some_and(|step| !step.ended);
        let fits: Vec<bool> = match body {
            Body::Text(_) if name::is_certain(text) && !text.starts_with(b"transferring ") && !text.starts_with(b"sha256:") => {
                let next = |lane: &Lane| lane.current != Some(index) && lane.known.get(index).is_none() && lane.highest < index;
                let fresh: Vec<bool> = self.lanes.iter().map(next).collect();
                if fresh.contains(&true) { fresh } else { self.lanes.iter().map(|lane| lane.current != Some(index)).collect() }
            }
            _ => {
                let strict: Vec<bool> = self.lanes.iter().map(within).collect();
                if strict.contains(&true) { strict } else { self.lanes.iter().map(open).collect() }
            }
        };
        let newest = self.lanes.len() - 1;
        if !self.interleaved && fits.contains(&true) && !fits[newest] && !matches!(body, Body::Text(text) if name::is_certain(text)) {
            self.interleaved = true;
            for lane in &self.lanes {
                events.event(lane.build, at, Event::Begin { format: Format::Plain, interleaved: true });
            }
        }
        let candidates = (0..self.lanes.len()).filter(|lane| fits[*lane]);
        let chosen = if self.interleaved { candidates.min_by_key(|lane| self.lanes[*lane].fed) } else { candidates.max() };
        chosen.unwrap_or(newest)
    }

    fn other_line(&mut self, line: &[u8], at: At, events: &mut impl Events) {
        // After a failure the client of the failed build prints, whichever build wrote the last line.
        let failed = |lane: &Lane| !lane.error_lines.is_empty();
        if self.lanes.len() > 1 && (line == b"------" || build_error(line).is_some() || is_excerpt_head(line)) {
            self.recent = self.lanes.iter().position(failed).unwrap_or(self.recent);
        }
        let recent = self.recent;
        match self.lanes.get_mut(recent) {
            Some(lane) => lane.other_line(line, at, events),
            None => events.foreign(None, at, line),
        }
    }
}

impl Lane {
    fn step_line(&mut self, index: u32, body: Body<'_>, text: &[u8], before: Option<&[u8]>, at: At, events: &mut impl Events) {
        self.open = Open::Nothing;
        if self.block != Block::None {
            self.block = Block::None;
        }
        self.highest = self.highest.max(index);
        if let (Some(glued), Some(current)) = (self.glued.take(), self.current)
            && current != index
        {
            let end = match glued {
                Glued::Done(seconds) => End::Done(seconds),
                Glued::Cached => End::Cached,
                Glued::Canceled => End::Canceled,
            };
            self.end_step(current, end, at, events);
        }
        let within = self.current == Some(index);
        match body {
            Body::Switch if within => {
                self.remember_open_line(index, before);
                self.current = None;
            }
            Body::Done(_) | Body::Cached | Body::Canceled | Body::Error(_) => {
                self.make_known(index, at, events);
                let end = match body {
                    Body::Done(seconds) => End::Done(seconds),
                    Body::Cached => End::Cached,
                    Body::Error(error) => End::Error(error),
                    _ => End::Canceled,
                };
                if let End::Error(text) = end {
                    self.open = Open::Error { index, lines: 0 };
                    self.error_lines = vec![text.to_vec()];
                }
                self.end_step(index, end, at, events);
            }
            Body::Log { time, text } => {
                self.make_known(index, at, events);
                self.current = Some(index);
                self.output(index, time, text, at, events);
                self.note_glued(text);
            }
            Body::Warning(text) => {
                self.make_known(index, at, events);
                self.current = Some(index);
                events.event(self.build, at, Event::Warning { index, text });
            }
            Body::VertexDigest | Body::Switch => {}
            Body::Text(text) if within => events.event(self.build, at, Event::Progress { index, progress: grammar::progress(text) }),
            Body::Text(_) => self.header(index, text, at, events),
        }
    }

    fn end_step(&mut self, index: u32, end: End<'_>, at: At, events: &mut impl Events) {
        if let Some(step) = self.known.get_mut(index) {
            step.ended = true;
            step.open_line = None;
        }
        self.current = None;
        events.event(self.build, at, Event::Ended { index, end });
    }

    /// Notes an output line of the current step that ends like its terminal line.
    ///
    /// docker 20.10 prints the terminal line behind an output line that is still open: `#7 13.97 part #7 DONE 14.6s`. That output
    /// only looks so is told by the next line: the printer never leaves a running step without `#7 ...`. (Newer printers, which
    /// begin with `#0`, end the open line first.)
    fn note_glued(&mut self, line: &[u8]) {
        self.glued = None;
        let Some(index) = self.current.filter(|_| !self.announced) else {
            return;
        };
        let tag = format!("#{index} ");
        let Some(last) = memchr::memmem::rfind(line, tag.as_bytes()).filter(|at| *at > 0) else {
            return;
        };
        self.glued = match grammar::body(&line[last + tag.len()..]) {
            Body::Done(seconds) => Some(Glued::Done(seconds)),
            Body::Cached => Some(Glued::Cached),
            Body::Canceled => Some(Glued::Canceled),
            _ => None,
        };
    }

    fn header(&mut self, index: u32, name: &[u8], at: At, events: &mut impl Events) {
        self.current = Some(index);
        match self.known.get_mut(index) {
            Some(step) => step.ended = false,
            None => self.known.insert(index, Known::default()),
        }
        let mut quotation = name::Quotation::default();
        let parsed = name::parse(name);
        if parsed.position.is_some() {
            self.has_instructions = true;
            // `PROGRESS_NO_TRUNC=0` cuts names at 72 bytes, mostly within a quotation.
            let cut = name.len() == 75 && name.ends_with(b"...");
            if !cut {
                quotation.read(parsed.text);
            }
        }
        self.open = Open::Name { index, quotation, lines: 0 };
        events.event(self.build, at, Event::Step { index, name });
    }

    /// A line of a step without a header: the log lost its beginning.
    fn make_known(&mut self, index: u32, at: At, events: &mut impl Events) {
        if self.known.get(index).is_none() {
            self.known.insert(index, Known::default());
            events.event(self.build, at, Event::Step { index, name: b"" });
        }
    }

    fn output(&mut self, index: u32, time: &[u8], text: &[u8], at: At, events: &mut impl Events) {
        let Some(step) = self.known.get_mut(index) else {
            return;
        };
        let printed_again = step.open_line.take().is_some_and(|open| open.time == time && text.starts_with(&open.text));
        if printed_again {
            return;
        }
        step.log_lines += 1;
        let event = if step.log_lines <= HEAD_LINES { Event::Log { index, text } } else { Event::Logs { index, count: 1 } };
        events.event(self.build, at, event);
        if is_clip_notice(text) {
            events.event(self.build, at, Event::Clipped { index });
        }
    }

    /// Remembers the output line before a switch. The printer says nothing of whether it is complete; it is an open one exactly if
    /// the next output of the step begins with the same time and text.
    fn remember_open_line(&mut self, index: u32, before: Option<&[u8]>) {
        let Some(Body::Log { time, text }) =
            before.and_then(grammar::indexed).filter(|(n, _)| *n == index).map(|(_, text)| grammar::body(text))
        else {
            return;
        };
        if let Some(step) = self.known.get_mut(index) {
            step.open_line = Some(OpenLine { time: time.to_vec(), text: text[..text.len().min(OPEN_LINE_BYTES)].to_vec() });
        }
    }

    fn continue_name(&mut self, line: &[u8], at: At, events: &mut impl Events) {
        if let Open::Name { index, quotation, lines } = &mut self.open {
            quotation.read(line);
            *lines += 1;
            let index = *index;
            events.event(self.build, at, Event::NameContinues { index, line });
        }
    }

    /// A line without `#N`.
    fn other_line(&mut self, line: &[u8], at: At, events: &mut impl Events) {
        match self.open {
            Open::Name { quotation, lines, .. } if quotation.is_open() && lines < MOST_CONTINUATION_LINES => {
                return self.continue_name(line, at, events);
            }
            Open::Error { index, lines }
                if !line.is_empty()
                    && line != b"------"
                    && lines < MOST_CONTINUATION_LINES
                    && !is_own_line(line)
                    && !is_excerpt_head(line) =>
            {
                self.open = Open::Error { index, lines: lines + 1 };
                if self.error_lines.len() < 100 {
                    self.error_lines.push(line.to_vec());
                }
                return events.event(self.build, at, Event::ErrorContinues { index, line });
            }
            Open::Error { .. } => self.open = Open::Nothing,
            _ => {}
        }
        match self.block {
            Block::ErrorOutput if line == b"------" => return self.block = Block::None,
            Block::ErrorOutput if !is_own_line(line) => {
                return events.event(self.build, at, Event::ErrorOutput(line));
            }
            Block::ExcerptBegins if is_dashes(line) => return self.block = Block::Excerpt,
            Block::Excerpt if is_dashes(line) => return self.block = Block::None,
            Block::Excerpt if !is_own_line(line) => return,
            Block::Warnings if line.is_empty() || line.starts_with(b" - ") || line.starts_with(b"\x1b[0m") => {
                return;
            }
            _ => self.block = Block::None,
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        if line == b"------" {
            self.block = Block::ErrorOutput;
        } else if self.current.is_none() && is_excerpt_head(line) {
            self.block = Block::ExcerptBegins;
            events.event(self.build, at, Event::ErrorAt(line));
        } else if memchr::memmem::find(line, b"found (use docker --debug to expand):").is_some()
            || line.ends_with(b"warning found:")
            || line.ends_with(b"warnings found:")
        {
            self.block = Block::Warnings;
        } else if let Some(repeated) = self.error_lines.iter().position(|error| error == line) {
            // docker 20.10 ends with the bare text of the error, and every client repeats the further lines of a long one.
            if repeated == 0 {
                events.event(self.build, at, Event::BuildError { text: line, certain: true });
            }
        } else if let Some(text) = line.strip_prefix(b"WARNING: ") {
            events.event(self.build, at, Event::BuildWarning(text));
        } else if let Some(certain) = build_error(line) {
            events.event(self.build, at, Event::BuildError { text: line, certain });
        } else if !line.starts_with(b"View build details: ") {
            events.foreign(Some(self.build), at, line);
        }
    }
}

/// `[output clipped, log limit 2MiB reached]`: a line that BuildKit's solver writes into the output itself.
fn is_clip_notice(text: &[u8]) -> bool {
    text.starts_with(b"[output clipped, log limit ") && text.ends_with(b" reached]")
}

/// Lines of buildx and BuildKit that end a block which was cut before its own end.
fn is_own_line(line: &[u8]) -> bool {
    line.starts_with(b"WARNING: No output specified") || build_error(line) == Some(true) || line.starts_with(b"View build details: ")
}

fn is_dashes(line: &[u8]) -> bool {
    line.len() == 20 && line.iter().all(|b| *b == b'-')
}

/// `Dockerfile:3`: a path, a colon, a line number.
fn is_excerpt_head(line: &[u8]) -> bool {
    let Some(colon) = memchr::memrchr(b':', line) else {
        return false;
    };
    let (path, number) = (&line[..colon], &line[colon + 1..]);
    !path.is_empty() && (1..=7).contains(&number.len()) && number.iter().all(u8::is_ascii_digit) && !path.starts_with(b" ")
}

/// Tells whether a line is an error of the build itself: `Some(true)` by the words of BuildKit, buildx or compose, `Some(false)`
/// where only the form fits.
pub fn build_error(line: &[u8]) -> Option<bool> {
    const CERTAIN: [&[u8]; 10] = [
        b"failed to compute cache key: ",
        b"failed to build: ",
        b"failed to solve: ",
        b"failed to solve with frontend ",
        b"failed to receive status: ",
        b"process \"/bin/sh -c ",
        b"executor failed running ",
        b"Canceled: context canceled",
        b"context canceled",
        b"unable to prepare context: ",
    ];
    let shouted = line.strip_prefix(b"ERROR: ");
    let text = shouted.or_else(|| line.strip_prefix(b"error: ")).unwrap_or(line);
    // `target backend: failed to solve: …` of bake and compose, with a name in front.
    let after_target = text.strip_prefix(b"target ").and_then(|t| memchr::memmem::find(t, b": ").map(|at| &t[at + 2..])).unwrap_or(text);
    if CERTAIN.iter().any(|start| after_target.starts_with(start)) {
        return Some(true);
    }
    let checks = line.starts_with(b"Check complete, ") && line.ends_with(b" been found!");
    if checks {
        return Some(true);
    }
    shouted.map(|_| false)
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
