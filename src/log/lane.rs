//! One build of plain progress: what a line means after the lines before it.

use super::{
    by_index::ByIndex,
    client::{build_error, is_clip_notice, is_dashes, is_excerpt_head, is_own_line},
    event::{At, BuildId, End, Event, Events},
    grammar::{self, Body},
    name,
};

/// A name or an error text that is longer is cut: no real one comes near, and memory must stay bounded.
const MOST_CONTINUATION_LINES: u32 = 1000;

/// The bytes of lines that wait for the end of a quotation.
const MOST_PENDING_BYTES: usize = 64 * 1024;

/// `PROGRESS_NO_TRUNC=0` cuts names after 72 bytes and puts three dots there.
const CUT_NAME_BYTES: usize = 75;

/// How many names of several lines, and how many lines of an error, are known again when the client repeats them.
const KEPT_HASHES: usize = 100;

/// How much of an output line that may still be open is kept, to know it again when it is printed in full.
const OPEN_LINE_BYTES: usize = 4096;

/// The blocks that BuildKit and buildx print between and after steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
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
pub(super) enum Open {
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
pub(super) struct Known {
    pub(super) ended: bool,
    /// Hash of the first line of the name under which it was announced last.
    pub(super) name: u64,
    pub(super) log_lines: u64,
    /// The output line before the printer left the step: an open line is printed again in full when it comes back.
    pub(super) open_line: Option<OpenLine>,
}

/// What must be kept of an output line to know it again: a few bytes for each of many steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenLine {
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
pub(super) struct OutputLine {
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
pub(super) struct Lane {
    pub(super) build: BuildId,
    /// True where buildx's `#0` began it.
    pub(super) announced: bool,
    /// The step within which the printer is.
    pub(super) current: Option<u32>,
    pub(super) known: ByIndex<Known>,
    /// How many they are, and how many of them have not ended.
    pub(super) steps: usize,
    pub(super) open_steps: usize,
    pub(super) highest: u32,
    pub(super) has_instructions: bool,
    pub(super) open: Open,
    /// Lines after a name with an open quotation: they belong to the name if one of them closes it.
    pub(super) pending: Vec<(At, Vec<u8>)>,
    pub(super) pending_bytes: usize,
    pub(super) block: Block,
    /// Counts lines given to any lane: the lane with the lowest was fed least recently.
    pub(super) fed: u64,
    /// Set where the last output line of the current step ends like another line of it; see [`Lane::note_output`].
    pub(super) glued: Option<Glued>,
    /// The last output line that was not counted by [`Plain::count_output`], up to [`OPEN_LINE_BYTES`] of its text.
    pub(super) last_output: OutputLine,
    /// The step of that line, while nothing else was printed after it.
    pub(super) last_output_of: Option<u32>,
    /// The first lines of names that may have several, and how many followed.
    pub(super) long_names: Vec<(u64, u32)>,
    /// The lines of the last error of a step, because the client repeats them at the end: the beginning of the first, and hashes of all.
    pub(super) error: Vec<u8>,
    pub(super) error_lines: Vec<u64>,
}

/// A line of the printer that may stand at the end of an output line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Glued {
    /// `#N ...`, behind so many bytes of output.
    Switch(usize),
    Done(Option<f64>),
    Cached,
    Canceled,
}

impl Lane {
    /// A build that begins; `announced` says that buildx's `#0` began it.
    pub(super) fn new(build: BuildId, announced: bool, fed: u64) -> Self {
        Self {
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
            fed,
            glued: None,
            last_output: OutputLine::default(),
            last_output_of: None,
            long_names: Vec::new(),
            error: Vec::new(),
            error_lines: Vec::new(),
        }
    }

    pub(super) fn step_line(&mut self, index: u32, body: Body<'_>, text: &[u8], at: At, events: &mut impl Events) {
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
    pub(super) fn note_output(&mut self, index: u32, time: &[u8], text: &[u8]) {
        self.last_output.set(time, text);
        self.last_output_of = Some(index);
        self.glued = None;
        if self.current != Some(index) || !self.may_be_glued(text) {
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

    /// A cheap look at the end of an output line; most lines end like no line of the printer.
    pub(super) fn may_be_glued(&self, text: &[u8]) -> bool {
        text.ends_with(b"...") || (!self.announced && (text.ends_with(b"s") || text.ends_with(b"ED") || text.ends_with(b"DONE")))
    }

    /// The current step is left: what its last output line ended like is what it was.
    pub(super) fn end_glued(&mut self, at: At, events: &mut impl Events) {
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
        if let Some(instruction) = name::instruction_text(name) {
            self.has_instructions = true;
            quotation.read(instruction);
        }
        if !again && quotation.is_open() {
            if self.long_names.len() >= KEPT_HASHES {
                self.long_names.remove(0);
            }
            self.long_names.push((hash(name), 0));
        }
        if quotation.is_open() {
            self.open = Open::Name { index, quotation, lines: 0, again, length: name.len() };
        }
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
            if step.log_lines <= events.head_lines() {
                events.event(self.build, at, Event::LogAgain { index, text });
            }
            return;
        }
        step.log_lines += 1;
        let event = if step.log_lines <= events.head_lines() { Event::Log { index, text } } else { Event::Logs { index, count: 1 } };
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
    pub(super) fn continues_name(&self, index: Option<u32>, length: usize) -> bool {
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

    pub(super) fn continue_name(&mut self, line: &[u8], at: At, events: &mut impl Events) {
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
    pub(super) fn other_line(&mut self, line: &[u8], at: At, events: &mut impl Events) {
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

fn hash_line(time: &[u8], text: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&(time, text), &mut hasher);
    std::hash::Hasher::finish(&hasher)
}

pub(super) fn hash(name: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hasher::write(&mut hasher, name);
    std::hash::Hasher::finish(&hasher)
}
