//! `--progress=rawjson`: one `SolveStatus` (BuildKit's `client/graph.go`) a line, with exact times.
//!
//! The records are those that the plain printer would have shown: a step appears when it first starts, its seconds are the sum of
//! its merged intervals, and the pieces of its output are joined to lines.

use std::{collections::HashMap, fmt, marker::PhantomData};

use base64::Engine as _;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use super::{
    anchor::Format,
    event::{At, BuildId, End, Event, Events},
    grammar::Progress,
    timestamp::Instant,
};

#[derive(Deserialize)]
struct SolveStatus<'a> {
    #[serde(borrow, default, deserialize_with = "few")]
    vertexes: Vec<Vertex<'a>>,
    #[serde(borrow, default, deserialize_with = "few")]
    statuses: Vec<Status<'a>>,
    #[serde(borrow, default, deserialize_with = "few")]
    logs: Vec<Log<'a>>,
    #[serde(borrow, default, deserialize_with = "few")]
    warnings: Vec<Warning<'a>>,
}

type Text<'a> = std::borrow::Cow<'a, str>;

/// More entries than this do not stand in one line: BuildKit writes many times a second. An entry needs many times the memory of the few
/// bytes that it can be written with.
const MOST_ENTRIES: usize = 50_000;

/// Reads a list and leaves out what is more than [`MOST_ENTRIES`].
fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Few<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut entries = Vec::new();
            while entries.len() < MOST_ENTRIES {
                match list.next_element()? {
                    Some(entry) => entries.push(entry),
                    None => return Ok(entries),
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(entries)
        }
    }
    deserializer.deserialize_seq(Few(PhantomData))
}

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
    #[serde(borrow, rename = "progressGroup")]
    group: Option<Group<'a>>,
}

/// Vertexes that the printer shows as one step (`COPY --link` is two). A weak member does not show the step by itself.
#[derive(Deserialize)]
struct Group<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(default)]
    weak: bool,
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

/// What is remembered of a vertex, or of a group of them.
#[derive(Debug, Default)]
struct Known {
    /// 0 until it starts.
    index: u32,
    name: String,
    /// Start and end of the intervals in which it was active, sorted and merged, in nanoseconds.
    intervals: Vec<(i128, i128)>,
    log_lines: u64,
    /// The beginning of an output line that is not complete yet.
    partial: Vec<u8>,
    has_partial: bool,
    clipped_seen: bool,
    members: HashMap<String, Member>,
}

/// What is remembered of one vertex of a step.
#[derive(Debug, Default)]
struct Member {
    started: Option<i128>,
    running: bool,
    cached: bool,
    weak: bool,
    error: String,
}

/// What a hostile log may make the reader remember: vertexes, the length of a digest or an id, vertexes and intervals of a step, bytes of
/// all errors.
/// No real build comes near.
const MOST_VERTEXES: usize = 20_000;
const LONGEST_DIGEST: usize = 256;
const MOST_MEMBERS: usize = 100;
const MOST_INTERVALS: usize = 1000;
const MOST_ERROR_BYTES: usize = 4 * 1024 * 1024;

/// An output line is kept up to this length; its rest is only skipped.
const LINE_BYTES: usize = 1024;

/// Reads one build in rawjson.
#[derive(Debug)]
pub struct RawJson {
    build: BuildId,
    /// By the digest of a vertex, or the id of a group.
    steps: HashMap<String, Known>,
    /// The group of each vertex that is in one.
    groups: HashMap<String, String>,
    indexes: u32,
    /// Bytes of the errors that are kept.
    error_bytes: usize,
}

impl RawJson {
    /// Begins a build.
    pub fn begin(at: At, next_build: &mut u32, events: &mut impl Events) -> Self {
        let build = BuildId(*next_build);
        *next_build += 1;
        events.event(build, at, Event::Begin { format: Format::RawJson, interleaved: false });
        Self { build, steps: HashMap::new(), groups: HashMap::new(), indexes: 0, error_bytes: 0 }
    }

    /// The build that is read.
    pub fn build(&self) -> BuildId {
        self.build
    }

    /// Reads one line. Returns false where it is no status, and nothing was told.
    pub fn line(&mut self, line: &[u8], at: At, next_build: &mut u32, events: &mut impl Events) -> bool {
        let Ok(status) = serde_json::from_slice::<SolveStatus<'_>>(line) else {
            if let Some(text) = line.strip_prefix(b"WARNING: ") {
                events.event(self.build, at, Event::BuildWarning(text));
                return true;
            }
            if let Some(certain) = super::client::build_error(line) {
                events.event(self.build, at, Event::BuildError { text: line, certain });
                return true;
            }
            return false;
        };
        for vertex in &status.vertexes {
            if self.is_of_another_build(vertex) {
                let before = std::mem::replace(self, Self::begin(at, next_build, events));
                before.finish(at, events);
            }
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
            if let Some(known) = self.known(&warning.vertex) {
                events.event(self.build, at, Event::Warning { index: known.index, text: &text });
            }
        }
        true
    }

    /// The build is over: output lines that were never ended count now.
    pub fn finish(self, at: At, events: &mut impl Events) {
        let mut open: Vec<&Known> = self.steps.values().filter(|known| known.has_partial && known.index > 0).collect();
        open.sort_by_key(|known| known.index);
        for known in open {
            events.event(self.build, at, Event::Logs { index: known.index, count: 1 });
        }
        events.event(self.build, at, Event::Over);
    }

    /// True for the vertex with which another build begins in the same log: nothing says so but a second Dockerfile of the same name
    /// that is loaded after all that was begun had ended.
    fn is_of_another_build(&self, vertex: &Vertex<'_>) -> bool {
        let loads = vertex.name.contains("internal] load build definition from ") && !self.steps.contains_key(vertex.digest.as_ref());
        loads
            && self.steps.values().any(|known| known.index > 0 && known.name == vertex.name)
            && self.steps.values().all(|known| known.members.values().all(|member| !member.running))
    }

    fn key<'k>(&'k self, digest: &'k str) -> &'k str {
        self.groups.get(digest).map_or(digest, String::as_str)
    }

    /// The step of a vertex, once it is shown.
    fn known(&self, digest: &str) -> Option<&Known> {
        self.steps.get(self.key(digest)).filter(|known| known.index > 0)
    }

    fn vertex(&mut self, vertex: &Vertex<'_>, at: At, events: &mut impl Events) {
        let longest = vertex.group.as_ref().map_or(0, |group| group.id.len()).max(vertex.digest.len());
        if longest > LONGEST_DIGEST || (self.groups.len() >= MOST_VERTEXES && !self.groups.contains_key(vertex.digest.as_ref())) {
            return;
        }
        if let Some(group) = &vertex.group
            && !self.groups.contains_key(vertex.digest.as_ref())
        {
            self.groups.insert(vertex.digest.clone().into_owned(), group.id.clone().into_owned());
        }
        let name = vertex.group.as_ref().map_or(&vertex.name, |group| &group.name);
        let key = self.key(&vertex.digest).to_owned();
        if self.steps.len() >= MOST_VERTEXES && !self.steps.contains_key(&key) {
            return;
        }
        let known = self.steps.entry(key).or_default();
        if known.members.len() >= MOST_MEMBERS && !known.members.contains_key(vertex.digest.as_ref()) {
            return;
        }
        let member = known.members.entry(vertex.digest.clone().into_owned()).or_default();
        member.weak = vertex.group.as_ref().is_some_and(|group| group.weak);
        member.cached = vertex.cached;
        if self.error_bytes + vertex.error.len() <= MOST_ERROR_BYTES {
            self.error_bytes = self.error_bytes + vertex.error.len() - member.error.len();
            member.error = vertex.error.clone().into_owned();
        }
        if let Some(started) = vertex.started {
            member.started = Some(started.as_nanosecond());
            member.running = vertex.completed.is_none();
            if let Some(completed) = vertex.completed
                && known.intervals.len() < MOST_INTERVALS
            {
                merge(&mut known.intervals, (started.as_nanosecond(), completed.as_nanosecond()));
            }
        }
        let errors = known.members.values().filter(|member| !member.error.is_empty()).count();
        let shown = known.members.values().any(|member| member.started.is_some() && !member.weak) || errors > 1;
        if known.index == 0 {
            if !shown {
                return;
            }
            self.indexes += 1;
            known.index = self.indexes;
            known.name = name.clone().into_owned();
            events.event(self.build, at, Event::Step { index: known.index, name: name.as_bytes() });
        }
        let (Some(first), Some(last)) = (known.intervals.first(), known.intervals.last()) else {
            return;
        };
        if known.members.values().any(|member| member.running) {
            return;
        }
        let instant = |nanoseconds| Instant { nanoseconds, absolute: true };
        events.event(self.build, at, Event::Active { index: known.index, from: instant(first.0), to: instant(last.1) });
        let active: i128 = known.intervals.iter().map(|(from, to)| to - from).sum();
        let seconds = active as f64 / 1e9;
        let error = known.members.values().map(|member| member.error.as_str()).find(|error| !error.is_empty()).unwrap_or_default();
        // printer.go: an error that ends in Go's `context.Canceled` text is shown as a cancellation.
        let end = if error.ends_with("context canceled") {
            End::Canceled
        } else if !error.is_empty() {
            End::Error(error.as_bytes())
        } else if known.members.values().all(|member| member.cached) {
            End::Cached
        } else {
            End::Done(Some(seconds))
        };
        events.event(self.build, at, Event::Ended { index: known.index, end });
    }

    fn progress(&self, status: &Status<'_>, at: At, events: &mut impl Events) {
        let Some(known) = self.known(&status.vertex) else {
            return;
        };
        let current = u64::try_from(status.current).ok().filter(|bytes| *bytes > 0);
        let progress = Progress { id: status.id.as_bytes(), current, done: status.completed.is_some() };
        events.event(self.build, at, Event::Progress { index: known.index, progress });
    }

    fn output(&mut self, log: &Log<'_>, at: At, events: &mut impl Events) {
        let key = self.key(&log.vertex).to_owned();
        let Some(known) = self.steps.get_mut(&key).filter(|known| known.index > 0) else {
            return;
        };
        let Ok(data) = base64::engine::general_purpose::STANDARD.decode(log.data.as_bytes()) else {
            return;
        };
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &data) {
            known.add(&data[start..end]);
            start = end + 1;
            known.log_lines += 1;
            let index = known.index;
            let event = if known.log_lines <= events.head_lines() {
                Event::Log { index, text: &known.partial }
            } else {
                Event::Logs { index, count: 1 }
            };
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
