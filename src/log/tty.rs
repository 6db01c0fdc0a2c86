//! A capture of the redrawn terminal output (`--progress=tty`), read as far as it can be.
//!
//! Names are cut to the width of the terminal and the output of commands is lost, so the records are poorer than those of any other
//! format. Every redraw repeats all steps; the last word on each counts. Source: `display.print` in `progressui/display.go`.

use std::collections::HashMap;

use super::{
    anchor::Format,
    event::{At, BuildId, End, Event, Events},
};

/// Reads one build in terminal output.
#[derive(Debug)]
pub struct Tty {
    build: BuildId,
    steps: HashMap<Vec<u8>, Shown>,
    finished: bool,
}

#[derive(Debug)]
struct Shown {
    index: u32,
    last: Option<Look>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Look {
    Running,
    Done(f64),
    Cached,
    Canceled,
    Failed,
}

/// Terminals are narrower; what is longer is cut.
const LONGEST_NAME: usize = 1024;

/// A build with more steps than this is no build.
const MOST_STEPS: usize = 10_000;

impl Tty {
    /// Begins a build.
    pub fn begin(at: At, next_build: &mut u32, events: &mut impl Events) -> Self {
        let build = BuildId(*next_build);
        *next_build += 1;
        events.event(build, at, Event::Begin { format: Format::Tty, interleaved: false });
        Self { build, steps: HashMap::new(), finished: false }
    }

    /// The build that is read.
    pub fn build(&self) -> BuildId {
        self.build
    }

    /// Reads one line.
    pub fn line(&mut self, line: &[u8], at: At, events: &mut impl Events) {
        let (text, blue) = without_escapes(line);
        let text = text.trim_ascii_end();
        if let Some(head) = find_after(text, b"[+] Building ") {
            let seconds = head.split(|b| *b == b's').next().and_then(decimal);
            let finished = memchr::memmem::find(head, b") FINISHED").is_some();
            self.finished |= finished;
            if let Some(seconds) = seconds {
                events.event(self.build, at, Event::TotalTime { seconds, finished });
            }
            return;
        }
        if let Some(step) = text.strip_prefix(b" => ") {
            if !step.starts_with(b"=> ") {
                self.step(step, blue, at, events);
            }
            return;
        }
        if let Some(certain) = super::client::build_error(text) {
            events.event(self.build, at, Event::BuildError { text, certain });
        }
    }

    /// The log is over. A step that was drawn as running when the build finished is done.
    pub fn finish(self, at: At, events: &mut impl Events) {
        events.event(self.build, at, Event::Over);
    }

    fn step(&mut self, text: &[u8], blue: bool, at: At, events: &mut impl Events) {
        let Some((name, seconds)) = split_seconds(text) else {
            return;
        };
        let (look, name) = if let Some(name) = name.strip_prefix(b"CACHED ") {
            (Look::Cached, name)
        } else if let Some(name) = name.strip_prefix(b"ERROR ") {
            (Look::Failed, name)
        } else if let Some(name) = name.strip_prefix(b"CANCELED ") {
            (Look::Canceled, name)
        } else if blue || self.finished {
            (Look::Done(seconds), name)
        } else {
            (Look::Running, name)
        };
        let known = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        let name = &name[..name.len().min(LONGEST_NAME)];
        if self.steps.len() >= MOST_STEPS && !self.steps.contains_key(name) {
            return;
        }
        let shown = self.steps.entry(name.to_vec()).or_insert_with(|| {
            events.event(self.build, at, Event::Step { index: known + 1, name });
            Shown { index: known + 1, last: None }
        });
        if shown.last != Some(look) {
            shown.last = Some(look);
            let end = match look {
                Look::Running => return,
                Look::Done(seconds) => End::Done(Some(seconds)),
                Look::Cached => End::Cached,
                Look::Canceled => End::Canceled,
                Look::Failed => End::Error(b""),
            };
            events.event(self.build, at, Event::Ended { index: shown.index, end });
        }
    }
}

fn find_after<'a>(text: &'a [u8], needle: &[u8]) -> Option<&'a [u8]> {
    memchr::memmem::find(text, needle).map(|at| &text[at + needle.len()..])
}

/// `NAME…   1.2s`
fn split_seconds(text: &[u8]) -> Option<(&[u8], f64)> {
    let text = text.strip_suffix(b"s")?;
    let blank = memchr::memrchr(b' ', text)?;
    let seconds = decimal(&text[blank + 1..])?;
    Some((text[..blank].trim_ascii_end(), seconds))
}

/// Digits and a dot; no sign, no `inf`, no `nan`.
fn decimal(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.is_finite() && text.iter().all(|b| b.is_ascii_digit() || *b == b'.')).then_some(number)
}

/// The text of a line without escape sequences, and whether it was drawn in blue, the colour of steps that ended well.
fn without_escapes(line: &[u8]) -> (Vec<u8>, bool) {
    let (mut text, mut blue, mut rest) = (Vec::with_capacity(line.len()), false, line);
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != 0x1b {
            if *first != b'\r' {
                text.push(*first);
            }
            continue;
        }
        let Some(sequence) = after.strip_prefix(b"[") else {
            continue;
        };
        let parameters = sequence.iter().take_while(|b| !(0x40..=0x7e).contains(*b)).count();
        if sequence.get(parameters) == Some(&b'm') {
            blue = sequence[..parameters] == *b"34";
        }
        rest = sequence.get(parameters + 1..).unwrap_or_default();
    }
    (text, blue)
}
