//! `--progress=rawjson`: one `SolveStatus` (BuildKit's `client/graph.go`) a line, with exact times.
//!
//! The records are those that the plain printer would have shown: a step appears when it first starts, its seconds are the sum of
//! its merged intervals, and the pieces of its output are joined to lines.

use std::collections::HashMap;

use base64::Engine as _;
use serde::Deserialize;

use super::{
    anchor::Format,
    event::{At, BuildId, End, Event, Events, HEAD_LINES},
    grammar::Progress,
    timestamp::Instant,
};

#[derive(Deserialize)]
struct SolveStatus<'a> {
    #[serde(borrow, default)]
    vertexes: Vec<Vertex<'a>>,
    #[serde(borrow, default)]
    statuses: Vec<Status<'a>>,
    #[serde(borrow, default)]
    logs: Vec<Log<'a>>,
    #[serde(borrow, default)]
    warnings: Vec<Warning<'a>>,
}

type Text<'a> = std::borrow::Cow<'a, str>;

#[derive(Deserialize)]
struct Vertex<'a> {
    #[serde(borrow)]
    digest: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    started: Option<jiff::Timestamp>,
    completed: Option<jiff::Timestamp>,
    #[serde(default)]
    cached: bool,
    #[serde(borrow, default)]
    error: Text<'a>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow)]
    vertex: Text<'a>,
    #[serde(default)]
    current: i64,
    completed: Option<jiff::Timestamp>,
}

#[derive(Deserialize)]
struct Log<'a> {
    #[serde(borrow)]
    vertex: Text<'a>,
    #[serde(borrow, default)]
    data: Text<'a>,
}

#[derive(Deserialize)]
struct Warning<'a> {
    #[serde(borrow)]
    vertex: Text<'a>,
    /// Base64 of the text.
    #[serde(borrow, default)]
    short: Text<'a>,
}

/// What is remembered of a vertex.
#[derive(Debug, Default)]
struct Known {
    /// 0 until it starts.
    index: u32,
    /// Start and end of the intervals in which it was active, sorted and merged, in nanoseconds.
    intervals: Vec<(i128, i128)>,
    log_lines: u64,
    /// The beginning of an output line that is not complete yet.
    partial: Vec<u8>,
    has_partial: bool,
    clipped_seen: bool,
}

/// An output line is kept up to this length; its rest is only skipped.
const LINE_BYTES: usize = 4096;

/// Reads one build in rawjson.
#[derive(Debug)]
pub struct RawJson {
    build: BuildId,
    vertexes: HashMap<String, Known>,
    steps: u32,
}

impl RawJson {
    /// Begins a build.
    pub fn begin(at: At, next_build: &mut u32, events: &mut impl Events) -> Self {
        let build = BuildId(*next_build);
        *next_build += 1;
        events.event(build, at, Event::Begin { format: Format::RawJson, interleaved: false });
        Self { build, vertexes: HashMap::new(), steps: 0 }
    }

    /// The build that is read.
    pub fn build(&self) -> BuildId {
        self.build
    }

    /// Reads one line. Returns false where it is no status, and nothing was told.
    pub fn line(&mut self, line: &[u8], at: At, events: &mut impl Events) -> bool {
        let Ok(status) = serde_json::from_slice::<SolveStatus<'_>>(line) else {
            if let Some(certain) = super::plain::build_error(line) {
                events.event(self.build, at, Event::BuildError { text: line, certain });
                return true;
            }
            return false;
        };
        for vertex in &status.vertexes {
            self.vertex(vertex, at, events);
        }
        for progress in &status.statuses {
            self.progress(progress, at, events);
        }
        for log in &status.logs {
            self.output(log, at, events);
        }
        for warning in &status.warnings {
            let text = base64::engine::general_purpose::STANDARD.decode(warning.short.as_bytes()).unwrap_or_default();
            if let Some(known) = self.vertexes.get(warning.vertex.as_ref()).filter(|known| known.index > 0) {
                events.event(self.build, at, Event::Warning { index: known.index, text: &text });
            }
        }
        true
    }

    /// The build is over: output lines that were never ended count now.
    pub fn finish(self, at: At, events: &mut impl Events) {
        let mut open: Vec<&Known> = self.vertexes.values().filter(|known| known.has_partial && known.index > 0).collect();
        open.sort_by_key(|known| known.index);
        for known in open {
            events.event(self.build, at, Event::Logs { index: known.index, count: 1 });
        }
        events.event(self.build, at, Event::Over);
    }

    fn vertex(&mut self, vertex: &Vertex<'_>, at: At, events: &mut impl Events) {
        let known = self.vertexes.entry(vertex.digest.clone().into_owned()).or_default();
        let Some(started) = vertex.started else { return };
        if known.index == 0 {
            self.steps += 1;
            known.index = self.steps;
            events.event(self.build, at, Event::Step { index: known.index, name: vertex.name.as_bytes() });
        }
        let Some(completed) = vertex.completed else { return };
        let (from, to) = (started.as_nanosecond(), completed.as_nanosecond());
        let instant = |nanoseconds| Instant { nanoseconds, absolute: true };
        events.event(self.build, at, Event::Active { index: known.index, from: instant(from), to: instant(to) });
        merge(&mut known.intervals, (from, to));
        let active: i128 = known.intervals.iter().map(|(from, to)| to - from).sum();
        let seconds = active as f64 / 1e9;
        // printer.go: an error that ends in Go's `context.Canceled` text is shown as a cancellation.
        let end = if vertex.error.ends_with("context canceled") {
            End::Canceled
        } else if !vertex.error.is_empty() {
            End::Error(vertex.error.as_bytes())
        } else if vertex.cached {
            End::Cached
        } else {
            End::Done(Some(seconds))
        };
        events.event(self.build, at, Event::Ended { index: known.index, end });
    }

    fn progress(&self, status: &Status<'_>, at: At, events: &mut impl Events) {
        let Some(known) = self.vertexes.get(status.vertex.as_ref()).filter(|known| known.index > 0) else { return };
        let current = u64::try_from(status.current).ok().filter(|bytes| *bytes > 0);
        let progress = Progress { id: status.id.as_bytes(), current, done: status.completed.is_some() };
        events.event(self.build, at, Event::Progress { index: known.index, progress });
    }

    fn output(&mut self, log: &Log<'_>, at: At, events: &mut impl Events) {
        let Some(known) = self.vertexes.get_mut(log.vertex.as_ref()).filter(|known| known.index > 0) else { return };
        let Ok(data) = base64::engine::general_purpose::STANDARD.decode(log.data.as_bytes()) else { return };
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &data) {
            known.add(&data[start..end]);
            start = end + 1;
            known.log_lines += 1;
            let index = known.index;
            let event = if known.log_lines <= HEAD_LINES { Event::Log { index, text: &known.partial } } else { Event::Logs { index, count: 1 } };
            events.event(self.build, at, event);
            if known.partial.starts_with(b"[output clipped, log limit ") && !std::mem::replace(&mut known.clipped_seen, true) {
                events.event(self.build, at, Event::Clipped { index });
            }
            known.partial.clear();
            known.has_partial = false;
        }
        if start < data.len() {
            known.add(&data[start..]);
            known.has_partial = true;
        }
    }
}

impl Known {
    fn add(&mut self, piece: &[u8]) {
        let room = LINE_BYTES.saturating_sub(self.partial.len()).min(piece.len());
        self.partial.extend_from_slice(&piece[..room]);
    }
}

/// Adds an interval; intervals that began at the same time are the same one, told again with a later end.
fn merge(intervals: &mut Vec<(i128, i128)>, (from, to): (i128, i128)) {
    intervals.push((from, to));
    intervals.sort_unstable();
    let mut merged: Vec<(i128, i128)> = Vec::with_capacity(intervals.len());
    for &(from, to) in intervals.iter() {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    *intervals = merged;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_intervals_count_once() {
        let mut intervals = Vec::new();
        for interval in [(0, 10), (20, 30), (5, 15), (20, 35)] {
            merge(&mut intervals, interval);
        }
        assert_eq!(intervals, [(0, 15), (20, 35)]);
    }
}
