//! The state machine of plain progress: what a line means after the lines before it.
//!
//! BuildKit's printer (`textMux` in `progressui/printer.go`) is always within one step or between steps. It enters a step by printing
//! its header, leaves it by `#N ...` or by a terminal line, and only within step N does it print other lines of step N. So a line
//! `#N text` is a header exactly when the printer is not within N, whatever the text looks like; nothing in a command's output can
//! forge one, because every line of output stands behind `#N SECONDS `.
//!
//! The machine never gives up: a line that fits nowhere is foreign, a terminal or output line of a step without a header (a log
//! that lost its beginning) makes the step known, and a new `#0` or a first step that was there before begins a new build.
//! Where a build is still running then, two builds write into one log; see `Plain::lane_for`.

use super::{
    anchor::Format,
    by_index::ByIndex,
    event::{At, BuildId, End, Event, Events, HEAD_LINES},
    grammar::{self, Body},
    name,
};

/// The most builds that can write into one log at the same time; further ones take the place of the oldest.
const MOST_LANES: usize = 16;

/// A name or an error text that is longer is cut: no real one comes near, and memory must stay bounded.
const MOST_CONTINUATION_LINES: u32 = 1000;

/// The bytes of lines that wait for the end of a quotation.
const MOST_PENDING_BYTES: usize = 64 * 1024;

/// `PROGRESS_NO_TRUNC=0` cuts names after 72 bytes and puts three dots there.
const CUT_NAME_BYTES: usize = 75;

/// How many names of several lines, and how many lines of an error, are known again when the client repeats them.
const KEPT_HASHES: usize = 100;

/// Steps with more indexes than this in the builds of one stream are not told apart: no real build comes near.
const MOST_STEPS: usize = 20_000;

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
    /// `again` where the step was announced before, so that its name is known; `length` counts the bytes of the name so far.
    Name {
        index: u32,
        quotation: name::Quotation,
        lines: u32,
        again: bool,
        length: usize,
    },
    Error {
        index: u32,
        lines: u32,
    },
    /// A name that is repeated in [`Block::ErrorOutput`] and has so many lines to come.
    RepeatedName {
        lines: u32,
    },
}

/// What must be remembered of a step to read later lines.
#[derive(Debug, Default)]
struct Known {
    ended: bool,
    /// Hash of the first line of the name under which it was announced last.
    name: u64,
    log_lines: u64,
    /// The output line before the printer left the step: an open line is printed again in full when it comes back.
    open_line: Option<OpenLine>,
}

/// What must be kept of an output line to know it again: a few bytes for each of many steps.
#[derive(Debug, Clone, Copy)]
struct OpenLine {
    length: usize,
    hash: u64,
    /// The same without blanks at its end, which some tools strip.
    trimmed_length: usize,
    trimmed_hash: u64,
}

impl OpenLine {
    fn new(time: &[u8], text: &[u8]) -> Self {
        let trimmed = text.trim_ascii_end();
        Self { length: text.len(), hash: hash_line(time, text), trimmed_length: trimmed.len(), trimmed_hash: hash_line(time, trimmed) }
    }

    /// True for a line that is this one, printed again with more of its text.
    fn is_begin_of(&self, time: &[u8], text: &[u8]) -> bool {
        let begin = text.get(..self.length).is_some_and(|begin| hash_line(time, begin) == self.hash);
        begin || (text.len() == self.trimmed_length && hash_line(time, text) == self.trimmed_hash)
    }
}

/// An output line, up to [`OPEN_LINE_BYTES`] of its text.
#[derive(Debug, Default)]
struct OutputLine {
    time: Vec<u8>,
    text: Vec<u8>,
}

impl OutputLine {
    /// Keeps a line; the memory of the line before is used again, because this happens at every line that takes the slow way.
    fn set(&mut self, time: &[u8], text: &[u8]) {
        self.time.clear();
        self.time.extend_from_slice(&time[..time.len().min(OPEN_LINE_BYTES)]);
        self.text.clear();
        self.text.extend_from_slice(&text[..text.len().min(OPEN_LINE_BYTES)]);
    }
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
    /// How many they are, and how many of them have not ended.
    steps: usize,
    open_steps: usize,
    highest: u32,
    has_instructions: bool,
    open: Open,
    /// Lines after a name with an open quotation: they belong to the name if one of them closes it.
    pending: Vec<(At, Vec<u8>)>,
    pending_bytes: usize,
    block: Block,
    /// Counts lines given to any lane: the lane with the lowest was fed least recently.
    fed: u64,
    /// Set where the last output line of the current step ends like another line of it; see [`Lane::note_output`].
    glued: Option<Glued>,
    /// The last output line that was not counted by [`Plain::count_output`], up to [`OPEN_LINE_BYTES`] of its text.
    last_output: OutputLine,
    /// The step of that line, while nothing else was printed after it.
    last_output_of: Option<u32>,
    /// The first lines of names that may have several, and how many followed.
    long_names: Vec<(u64, u32)>,
    /// The lines of the last error of a step, because the client repeats them at the end: the beginning of the first, and hashes of all.
    error: Vec<u8>,
    error_lines: Vec<u64>,
}

/// A line of the printer that may stand at the end of an output line.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Glued {
    /// `#N ...`, behind so many bytes of output.
    Switch(usize),
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
        self.lanes.iter().any(|lane| lane.current.is_some() || lane.continues_name(None, 0) || lane.open_steps > 0)
    }

    /// True where `#0` was read.
    pub fn is_announced(&self) -> bool {
        self.lanes.iter().any(|lane| lane.announced)
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

    /// Takes note of the last line that was counted by [`Plain::count_output`].
    pub fn note_counted(&mut self, line: &[u8]) {
        if let Some(lane) = self.lanes.get_mut(self.recent)
            && let Some((index, text)) = grammar::indexed(line)
            && let Body::Log { time, text } = grammar::body(text)
        {
            lane.note_output(index, time, text);
        }
    }

    /// Reads one line. `before` is the line before it in this stream, if that was counted by [`Plain::count_output`].
    pub fn line(&mut self, line: &[u8], before: Option<&[u8]>, at: At, next_build: &mut u32, events: &mut impl Events) {
        if let Some(before) = before {
            self.note_counted(before);
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
        let begins = indexed.is_some_and(|(index, text)| index == 0 && grammar::building_with(text).is_some());
        if let Some(lane) = self.lanes.get_mut(self.recent) {
            if lane.continues_name(indexed.map(|(index, _)| index).filter(|index| *index > 0), line.len()) && !begins {
                return lane.continue_name(line, at, events);
            }
            if !lane.pending.is_empty() {
                self.replay_pending(next_build, events);
            }
        }
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
            Some((index, text)) => self.step_line(index, text, at, next_build, events),
            None => self.other_line(line, at, events),
        }
    }

    /// Reads the lines that were held back for a name which they do not belong to: its quotation never closes. Then it is no shell
    /// quotation but an apostrophe, as in the summary of a heredoc (`RUN <<EOF (echo it's…)`).
    fn replay_pending(&mut self, next_build: &mut u32, events: &mut impl Events) {
        let Some(lane) = self.lanes.get_mut(self.recent) else { return };
        lane.open = Open::Nothing;
        lane.pending_bytes = 0;
        for (at, line) in std::mem::take(&mut lane.pending) {
            self.line(&line, None, at, next_build, events);
            // Held back once is enough.
            if let Some(lane) = self.lanes.get_mut(self.recent)
                && matches!(lane.open, Open::Name { .. })
            {
                lane.open = Open::Nothing;
            }
        }
    }

    /// Begins a new build.
    fn begin(&mut self, announced: bool, at: At, next_build: &mut u32, events: &mut impl Events) {
        let mut over = Vec::new();
        for lane in &mut self.lanes {
            lane.end_glued(at, events);
        }
        self.lanes.retain(|lane| {
            let ended = lane.current.is_none() && lane.open_steps == 0;
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
            steps: 0,
            open_steps: 0,
            highest: 0,
            has_instructions: false,
            open: Open::Nothing,
            pending: Vec::new(),
            pending_bytes: 0,
            block: Block::None,
            fed: self.fed,
            glued: None,
            last_output: OutputLine::default(),
            last_output_of: None,
            long_names: Vec::new(),
            error: Vec::new(),
            error_lines: Vec::new(),
        });
        self.recent = self.lanes.len() - 1;
        events.event(build, at, Event::Begin { format: Format::Plain, interleaved: false });
    }

    /// Ends all builds: the log is over.
    pub fn finish(&mut self, at: At, next_build: &mut u32, events: &mut impl Events) {
        self.replay_pending(next_build, events);
        for mut lane in self.lanes.drain(..) {
            lane.end_glued(at, events);
            events.event(lane.build, at, Event::Over);
        }
        self.recent = 0;
    }

    fn step_line(&mut self, index: u32, text: &[u8], at: At, next_build: &mut u32, events: &mut impl Events) {
        let body = grammar::body(text);
        if self.lanes.is_empty() || self.begins_anew(index, &body) {
            self.begin(false, at, next_build, events);
        }
        let lane = self.lane_for(index, &body, text, at, events);
        self.fed += 1;
        self.recent = lane;
        let fed = self.fed;
        let full = self.lanes.iter().map(|lane| lane.steps).sum::<usize>() >= MOST_STEPS;
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.fed = fed;
            if full && lane.known.get(index).is_none() {
                return events.foreign(Some(lane.build), at, text);
            }
            lane.step_line(index, body, text, at, events);
        }
    }

    /// True where a build's first step is announced again although it has long ended: docker 20.10 and buildctl print no `#0` line, and
    /// there a second build shows by its numbering alone. 20.10 numbers the steps before it shows them, so step 2 can come first.
    fn begins_anew(&self, index: u32, body: &Body<'_>) -> bool {
        let Some(lane) = self.lanes.get(self.recent) else {
            return true;
        };
        let Body::Text(text) = body else { return false };
        let again = !lane.announced && lane.current != Some(index) && lane.known.get(index).is_some_and(|step| step.ended);
        if !again || !(lane.has_instructions || lane.highest >= 3) {
            return false;
        }
        match index {
            1 => name::is_certain(text),
            2 => text.starts_with(b"[internal] load ") && lane.open_steps == usize::from(lane.glued.is_some()),
            _ => false,
        }
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
            Body::Text(_) if is_header(text) => {
                let next = |lane: &Lane| lane.current != Some(index) && lane.known.get(index).is_none() && lane.highest < index;
                let hash = hash(text);
                let again = |lane: &Lane| lane.current != Some(index) && lane.known.get(index).is_some_and(|step| step.name == hash);
                let named: Vec<bool> = self.lanes.iter().map(|lane| next(lane) || again(lane)).collect();
                if named.contains(&true) { named } else { self.lanes.iter().map(|lane| lane.current != Some(index)).collect() }
            }
            _ => {
                let strict: Vec<bool> = self.lanes.iter().map(within).collect();
                if strict.contains(&true) { strict } else { self.lanes.iter().map(open).collect() }
            }
        };
        let newest = self.lanes.len() - 1;
        if !self.interleaved && fits.contains(&true) && !fits[newest] && !matches!(body, Body::Text(text) if is_header(text)) {
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
            let said = |lane: &Lane| failed(lane) && memchr::memmem::find(line, &lane.error).is_some();
            let recent = self.lanes.get(self.recent).filter(|lane| failed(lane)).map(|_| self.recent);
            let other = if self.interleaved { self.lanes.iter().rposition(failed) } else { None };
            let lane = self.lanes.iter().rposition(said).or(recent).or(other);
            self.recent = lane.unwrap_or(self.recent);
        }
        let recent = self.recent;
        match self.lanes.get_mut(recent) {
            Some(lane) => lane.other_line(line, at, events),
            None => events.foreign(None, at, line),
        }
    }
}

impl Lane {
    fn step_line(&mut self, index: u32, body: Body<'_>, text: &[u8], at: At, events: &mut impl Events) {
        self.open = Open::Nothing;
        if self.block != Block::None {
            self.block = Block::None;
        }
        self.highest = self.highest.max(index);
        if self.current != Some(index) {
            self.end_glued(at, events);
        }
        self.glued = None;
        let within = self.current == Some(index);
        let last_output_of = self.last_output_of.take();
        match body {
            Body::Switch if within => {
                if last_output_of == Some(index) {
                    self.remember_open_line(index, OPEN_LINE_BYTES);
                }
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
                    self.error.clear();
                    self.error.extend_from_slice(&text[..text.len().min(OPEN_LINE_BYTES)]);
                    self.error_lines = vec![hash(text)];
                }
                self.end_step(index, end, at, events);
            }
            Body::Log { time, text } => {
                self.make_known(index, at, events);
                self.current = Some(index);
                self.note_output(index, time, text);
                self.output(index, time, text, at, events);
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
            self.open_steps -= usize::from(!std::mem::replace(&mut step.ended, true));
            step.open_line = None;
        }
        self.current = None;
        events.event(self.build, at, Event::Ended { index, end });
    }

    /// Notes an output line of the current step: what it is if it is printed again, and whether it ends like another line of the step.
    ///
    /// docker 20.10 prints the terminal line behind an output line that is still open: `#7 13.97 part #7 DONE 14.6s`. Newer printers,
    /// which begin with `#0`, end the open line first. All of them print `#7 ...` behind an open line whose end has just arrived.
    /// That output only looks so is told by the next line: the printer never leaves a running step without `#7 ...`.
    fn note_output(&mut self, index: u32, time: &[u8], text: &[u8]) {
        self.last_output.set(time, text);
        self.last_output_of = Some(index);
        self.glued = None;
        // Most lines end like none of them, and this happens at every line that takes the slow way.
        let may_be_glued =
            text.ends_with(b"...") || (!self.announced && (text.ends_with(b"s") || text.ends_with(b"ED") || text.ends_with(b"DONE")));
        if self.current != Some(index) || !may_be_glued {
            return;
        }
        let tag = format!("#{index} ");
        let Some(last) = memchr::memmem::rfind(text, tag.as_bytes()) else { return };
        self.glued = match grammar::body(&text[last + tag.len()..]) {
            Body::Switch => Some(Glued::Switch(last)),
            Body::Done(seconds) if !self.announced => Some(Glued::Done(seconds)),
            Body::Cached if !self.announced => Some(Glued::Cached),
            Body::Canceled if !self.announced => Some(Glued::Canceled),
            _ => None,
        };
    }

    /// The current step is left: what its last output line ended like is what it was.
    fn end_glued(&mut self, at: At, events: &mut impl Events) {
        let (Some(glued), Some(current)) = (self.glued.take(), self.current) else { return };
        let end = match glued {
            Glued::Switch(length) => {
                self.remember_open_line(current, length);
                self.current = None;
                return;
            }
            Glued::Done(seconds) => End::Done(seconds),
            Glued::Cached => End::Cached,
            Glued::Canceled => End::Canceled,
        };
        self.end_step(current, end, at, events);
    }

    fn header(&mut self, index: u32, name: &[u8], at: At, events: &mut impl Events) {
        self.current = Some(index);
        let again = self.known.get(index).is_some();
        if !again {
            self.known.insert(index, Known { ended: true, ..Known::default() });
            self.steps += 1;
        }
        if let Some(step) = self.known.get_mut(index) {
            step.name = hash(name);
            self.open_steps += usize::from(std::mem::replace(&mut step.ended, false));
        }
        let mut quotation = name::Quotation::default();
        let parsed = name::parse(name);
        if parsed.position.is_some() {
            self.has_instructions = true;
            quotation.read(parsed.text);
        }
        if !again && quotation.is_open() {
            if self.long_names.len() >= KEPT_HASHES {
                self.long_names.remove(0);
            }
            self.long_names.push((hash(name), 0));
        }
        self.open = Open::Name { index, quotation, lines: 0, again, length: name.len() };
        events.event(self.build, at, Event::Step { index, name });
    }

    /// A line of a step without a header: the log lost its beginning.
    fn make_known(&mut self, index: u32, at: At, events: &mut impl Events) {
        if self.known.get(index).is_none() {
            self.known.insert(index, Known::default());
            (self.steps, self.open_steps) = (self.steps + 1, self.open_steps + 1);
            events.event(self.build, at, Event::Step { index, name: b"" });
        }
    }

    fn output(&mut self, index: u32, time: &[u8], text: &[u8], at: At, events: &mut impl Events) {
        let Some(step) = self.known.get_mut(index) else {
            return;
        };
        let printed_again = step.open_line.take().is_some_and(|open| open.is_begin_of(time, text));
        if printed_again {
            if step.log_lines <= HEAD_LINES {
                events.event(self.build, at, Event::LogAgain { index, text });
            }
            return;
        }
        step.log_lines += 1;
        let event = if step.log_lines <= HEAD_LINES { Event::Log { index, text } } else { Event::Logs { index, count: 1 } };
        events.event(self.build, at, event);
        if is_clip_notice(text) {
            events.event(self.build, at, Event::Clipped { index });
        }
    }

    /// Remembers the first `length` bytes of the output line before a switch. The printer says nothing of whether that line is complete;
    /// it is an open one exactly if the next output of the step begins with the same time and text.
    fn remember_open_line(&mut self, index: u32, length: usize) {
        let OutputLine { time, text } = &self.last_output;
        let open_line = OpenLine::new(time, &text[..text.len().min(length)]);
        if let Some(step) = self.known.get_mut(index) {
            step.open_line = Some(open_line);
        }
    }

    /// True where the next line, of step `index` by its looks, goes on with a name.
    fn continues_name(&self, index: Option<u32>, length: usize) -> bool {
        match self.open {
            Open::Name { index: named, quotation, lines, .. } => {
                index != Some(named)
                    && quotation.is_open()
                    && lines < MOST_CONTINUATION_LINES
                    && self.pending_bytes + length < MOST_PENDING_BYTES
            }
            Open::RepeatedName { lines } => lines > 0,
            _ => false,
        }
    }

    /// Which line of the last error of a step this is, if it is one.
    fn repeated_error(&self, line: &[u8]) -> Option<usize> {
        if self.error_lines.is_empty() {
            return None;
        }
        let hash = hash(line);
        self.error_lines.iter().position(|error| *error == hash)
    }

    /// The lines that were held back belong to the name.
    fn name_has_pending(&mut self, index: u32, again: bool, events: &mut impl Events) {
        self.pending_bytes = 0;
        for (at, line) in self.pending.drain(..) {
            if again {
                continue;
            }
            if let Some((_, lines)) = self.long_names.last_mut() {
                *lines += 1;
            }
            events.event(self.build, at, Event::NameContinues { index, line: &line });
        }
    }

    /// How many more lines a name has that begins with this one.
    fn lines_after(&self, first: &[u8]) -> u32 {
        let first = hash(first);
        self.long_names.iter().rev().find(|(name, lines)| *lines > 0 && *name == first).map_or(0, |(_, lines)| *lines)
    }

    fn continue_name(&mut self, line: &[u8], at: At, events: &mut impl Events) {
        match &mut self.open {
            Open::Name { index, quotation, lines, again, length } => {
                let closes = quotation.read(line);
                *lines += 1;
                *length += 1 + line.len();
                let cut = *length == CUT_NAME_BYTES && line.ends_with(b"...");
                let (index, again) = (*index, *again);
                self.pending_bytes += line.len() + size_of::<(At, Vec<u8>)>();
                self.pending.push((at, line.to_vec()));
                if closes || cut {
                    self.name_has_pending(index, again, events);
                }
            }
            Open::RepeatedName { lines } => {
                *lines -= 1;
                events.event(self.build, at, Event::ErrorOutput(line));
            }
            _ => {}
        }
    }

    /// A line without `#N`.
    fn other_line(&mut self, line: &[u8], at: At, events: &mut impl Events) {
        if self.glued.is_some() && (line == b"------" || build_error(line) == Some(true)) {
            // The client speaks, so the printer has ended.
            self.end_glued(at, events);
        }
        match self.open {
            Open::Error { index, lines }
                if !line.is_empty()
                    && line != b"------"
                    && lines < MOST_CONTINUATION_LINES
                    && !is_own_line(line)
                    && !is_excerpt_head(line) =>
            {
                self.open = Open::Error { index, lines: lines + 1 };
                if self.error_lines.len() < KEPT_HASHES {
                    self.error_lines.push(hash(line));
                }
                return events.event(self.build, at, Event::ErrorContinues { index, line });
            }
            Open::Error { .. } => self.open = Open::Nothing,
            _ => {}
        }
        match self.block {
            Block::ErrorOutput if line == b"------" => return self.block = Block::None,
            Block::ErrorOutput if !is_own_line(line) => {
                if let Some(name) = line.strip_prefix(b" > ") {
                    self.open = Open::RepeatedName { lines: self.lines_after(name) };
                }
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
        } else if let Some(repeated) = self.repeated_error(line) {
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

/// True for a name that BuildKit gives, and false for the progress lines that are as certain.
fn is_header(text: &[u8]) -> bool {
    const PROGRESS: [&[u8]; 10] = [
        b"transferring ",
        b"sha256:",
        b"extracting ",
        b"resolve docker.io/",
        b"exporting layers",
        b"exporting manifest",
        b"exporting config",
        b"exporting attestation",
        b"writing image ",
        b"naming to ",
    ];
    name::is_certain(text) && !PROGRESS.iter().any(|start| text.starts_with(start))
}

fn hash_line(time: &[u8], text: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&(time, text), &mut hasher);
    std::hash::Hasher::finish(&hasher)
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hasher::write(&mut hasher, name);
    std::hash::Hasher::finish(&hasher)
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
