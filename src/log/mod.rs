//! Text to events: encodings, CI prefixes, the formats of a build log.
//!
//! [`Reader`] takes bytes in pieces of any size and tells [`Events`] what they mean. It works line by line in constant memory (what it
//! remembers grows with the number of steps that run at the same time, not with the log), allocates nothing for a line of
//! output, and never gives up: it recovers at the next line that it understands.

pub mod anchor;
pub mod by_index;
pub mod client;
pub mod event;
pub mod grammar;
mod lane;
pub mod legacy;
pub mod name;
mod newlines;
mod output_line;
pub mod plain;
pub mod prefix;
pub mod rawjson;
pub mod source;
mod stream;
pub mod timestamp;
pub mod tty;

pub use anchor::Format;
pub use event::{At, BuildId, End, Event, Events, HEAD_LINES};
pub use timestamp::Instant;

use std::ops::Range;

use newlines::Newlines;
use prefix::Pattern;
use stream::{Fast, Stream};

/// A line longer than this is read up to here and its rest skipped. BuildKit itself writes lines of a megabyte and, in rawjson,
/// of some more.
const LONGEST_LINE: usize = 8 * 1024 * 1024;

/// Logs of more jobs, services or branches than this in one file are not kept apart.
const MOST_STREAMS: usize = 64;

/// A prefix that fewer build lines than this had is given up when build lines with another one come.
const PROVEN_LINES: u64 = 3;

/// Reads a log of any format.
#[derive(Debug)]
pub struct Reader<E> {
    events: E,
    /// The beginning of a line whose end has not come yet.
    unfinished: Vec<u8>,
    /// True where that line was cut at [`LONGEST_LINE`].
    skipping: bool,
    line: u64,
    next_build: u32,
    streams: Vec<Stream>,
    /// The stream of the last line.
    recent: usize,
    /// Set while lines are live: the time at which the current piece arrived.
    arrival: Option<Instant>,
    fast: Option<Fast>,
    /// Output lines that the fast way has counted and not told yet, and the last of them.
    counted: u64,
    last_counted: Vec<u8>,
    newlines: Newlines,
    bytes: u64,
}

impl<E: Events> Reader<E> {
    /// Makes a reader that tells `events`.
    pub fn new(events: E) -> Self {
        Self {
            events,
            unfinished: Vec::new(),
            skipping: false,
            line: 0,
            next_build: 0,
            streams: Vec::new(),
            recent: 0,
            arrival: None,
            fast: None,
            counted: 0,
            last_counted: Vec::new(),
            newlines: Newlines::default(),
            bytes: 0,
        }
    }

    /// What takes the events.
    pub fn events(&self) -> &E {
        &self.events
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lines read so far.
    pub fn lines(&self) -> u64 {
        self.line
    }

    /// Reads a piece that arrived just now; lines without a time of their own take this one.
    pub fn feed_live(&mut self, piece: &[u8], arrival: Instant) {
        self.arrival = Some(arrival);
        self.feed(piece);
    }

    /// Reads the next piece of the log; pieces may end anywhere.
    pub fn feed(&mut self, mut piece: &[u8]) {
        self.bytes += piece.len() as u64;
        if !self.unfinished.is_empty() || self.skipping {
            let Some(end) = memchr::memchr(b'\n', piece) else {
                return self.keep(piece);
            };
            self.keep(&piece[..end]);
            piece = &piece[end + 1..];
            let line = std::mem::take(&mut self.unfinished);
            self.skipping = false;
            self.one_line(&line);
            self.unfinished = line;
            self.unfinished.clear();
            // A single huge line must not cost its memory for the rest of the log.
            self.unfinished.shrink_to(64 * 1024);
        }
        self.whole_lines(piece);
    }

    /// The log is over. Returns what took the events.
    pub fn finish(mut self) -> E {
        if !self.unfinished.is_empty() {
            let line = std::mem::take(&mut self.unfinished);
            self.one_line(&line);
        }
        if self.tell_counted(None, self.line)
            && let Some(stream) = self.streams.get_mut(self.recent)
        {
            stream.note_counted(&self.last_counted);
        }
        let at = self.at(None);
        for stream in self.streams.drain(..) {
            stream.finish(at, &mut self.next_build, &mut self.events);
        }
        self.events
    }

    /// The place of the current line, with the time of its prefix or of its arrival.
    fn at(&self, stamp: Option<Instant>) -> At {
        At { line: self.line, time: stamp.or(self.arrival), arrived: stamp.is_none() }
    }

    /// Keeps the beginning of a line that goes on in the next piece.
    fn keep(&mut self, piece: &[u8]) {
        let room = LONGEST_LINE.saturating_sub(self.unfinished.len());
        if piece.len() > room {
            self.skipping = true;
        }
        self.unfinished.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn one_line(&mut self, line: &[u8]) {
        self.line += 1;
        if self.fast.as_mut().is_some_and(|fast| fast.is_output(line)) {
            self.counted += 1;
            self.last_counted.clear();
            self.last_counted.extend_from_slice(line);
        } else {
            self.slow_line(line, None);
        }
    }

    /// Reads the whole lines of a piece and keeps the rest.
    fn whole_lines(&mut self, piece: &[u8]) {
        let mut newlines = std::mem::take(&mut self.newlines);
        let (mut start, mut searched) = (0, 0);
        let mut last: Option<Range<usize>> = None;
        while searched < piece.len() {
            searched = newlines.find(piece, searched);
            let mut ends = newlines.places();
            loop {
                let counted = self.fast.as_mut().map_or(0, |fast| fast.output(piece, start, ends));
                if let Some((output, after)) = ends.split_at_checked(counted)
                    && let [before @ .., end] = output
                {
                    self.line += counted as u64;
                    self.counted += counted as u64;
                    last = Some(before.last().map_or(start, |end| end + 1)..*end);
                    (start, ends) = (end + 1, after);
                }
                let Some((end, after)) = ends.split_first() else {
                    break;
                };
                self.line += 1;
                self.slow_line(&piece[start..*end], last.take().map(|last| &piece[last]));
                (start, ends) = (end + 1, after);
            }
        }
        self.newlines = newlines;
        if let Some(last) = last {
            self.last_counted.clear();
            self.last_counted.extend_from_slice(&piece[last]);
        }
        if start < piece.len() {
            self.keep(&piece[start..]);
        }
    }

    /// Tells the output lines that were only counted. Returns true where there were any.
    ///
    /// The time of the last of them is told too: nothing after it may have one, and then it is the end of the build.
    fn tell_counted(&mut self, last: Option<&[u8]>, line: u64) -> bool {
        let count = std::mem::take(&mut self.counted);
        let (Some(fast), true) = (&self.fast, count > 0) else {
            return false;
        };
        let text = last.unwrap_or(&self.last_counted);
        let recent = self.recent;
        if let Some(stream) = self.streams.get_mut(recent) {
            let stamp = stream.pattern.strip(text).and_then(|stripped| stripped.instant());
            let at = At { line, time: stamp.or(self.arrival), arrived: stamp.is_none() };
            stream.count_output(fast.running, count, at, &mut self.events);
        }
        true
    }

    fn slow_line(&mut self, line: &[u8], last: Option<&[u8]>) {
        // Whether a line came in pieces or at once must not matter.
        let line = &line[..line.len().min(LONGEST_LINE)];
        let counted = self.tell_counted(last, self.line - 1);
        let held = std::mem::take(&mut self.last_counted);
        let before = if counted { Some(last.unwrap_or(&held)) } else { None };
        self.read_line(line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line), before);
        self.last_counted = held;
        let before = self.fast;
        self.fast = self.streams.get(self.recent).and_then(|stream| stream.fast(before, self.events.head_lines()));
    }

    fn read_line(&mut self, line: &[u8], before: Option<&[u8]>) {
        if let Some(stream) = self.stream_of(line) {
            self.recent = stream;
            let at_line = self.line;
            let arrival = self.arrival;
            if let Some(stream) = self.streams.get_mut(stream) {
                stream.line(line, before, at_line, arrival, &mut self.next_build, &mut self.events);
            }
            return;
        }
        let build = self.streams.get(self.recent).and_then(Stream::build);
        let at = self.at(None);
        self.events.foreign(build, at, line);
    }

    /// Finds the stream to which a line belongs, or learns a new one from it.
    fn stream_of(&mut self, line: &[u8]) -> Option<usize> {
        let recent = self.recent;
        if let Some(stream) = self.streams.get_mut(recent)
            && stream.pattern.strip(line).is_some()
        {
            // Without a prefix every line fits; nothing is certain before some lines of a build were seen.
            if !stream.pattern.is_empty() || stream.build_lines >= PROVEN_LINES {
                return Some(recent);
            }
            match anchor::find(line) {
                Some(anchor) if anchor.offset > 0 && anchor.format != Format::Tty && !is_powershell(&line[..anchor.offset]) => {
                    stream.pattern = Pattern::learn(&line[..anchor.offset]);
                    stream.crlf = ends_in_crlf(line);
                    stream.build_lines = 1;
                }
                Some(_) => stream.build_lines += 1,
                None => {}
            }
            return Some(recent);
        }
        if let Some(found) = (0..self.streams.len()).filter(|n| *n != recent).find(|n| self.streams[*n].pattern.strip(line).is_some()) {
            return Some(found);
        }
        let anchor = anchor::find(line)?;
        let prefix = &line[..anchor.offset];
        // A terminal is redrawn by sequences in front of the line, which are no prefix.
        let prefix = if anchor.format == Format::Tty { &prefix[..memchr::memchr(0x1b, prefix).unwrap_or(prefix.len())] } else { prefix };
        let pattern = if is_powershell(prefix) { Pattern::learn(b"") } else { Pattern::learn(prefix) };
        // No build is announced twice: there `job-1` and `job-2` are two jobs and no counter.
        let announces = anchor.format == Format::Plain && line[anchor.offset..].starts_with(b"#0 ");
        let counts = |s: &Stream| s.is_at_start() && !(announces && s.is_announced()) && s.pattern.differs_only_in_digits(&pattern);
        if let Some(counter) = self.streams.iter().position(counts) {
            self.streams[counter].pattern.generalise();
            return Some(counter);
        }
        if let Some(weak) = self.streams.iter().position(|s| s.build_lines < PROVEN_LINES && !s.pattern.resembles(&pattern)) {
            self.streams[weak].pattern = pattern;
            self.streams[weak].crlf = ends_in_crlf(line);
            self.streams[weak].build_lines = 1;
            return Some(weak);
        }
        let known = self.streams.iter().any(|s| s.pattern.resembles(&pattern));
        if !self.streams.is_empty() && (!known || self.streams.len() >= MOST_STREAMS) {
            return None;
        }
        self.streams.push(Stream::new(pattern, ends_in_crlf(line)));
        Some(self.streams.len() - 1)
    }
}

/// True for a line of a log with Windows line ends. The legacy builder's first line is redrawn and ends in two carriage returns anyway.
fn ends_in_crlf(line: &[u8]) -> bool {
    line.ends_with(b"\r") && (!line.ends_with(b"\r\r") || line.ends_with(b"\r\r\r"))
}

/// `docker : `: what PowerShell 5 puts before the first line, and only the first, of a native command's standard error.
fn is_powershell(prefix: &[u8]) -> bool {
    prefix
        .strip_suffix(b" : ")
        .is_some_and(|name| !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')))
}

/// The text of some bytes of a log; what is no UTF-8 becomes U+FFFD.
pub fn text(bytes: &[u8]) -> String {
    // Nearly all of it is UTF-8, and finding that out is cheaper than looking for what is not.
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
