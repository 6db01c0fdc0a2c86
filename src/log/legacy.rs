//! The builder from before BuildKit: `Step 1/5 : FROM …`, ` ---> Using cache`, `Successfully built …`.
//!
//! Source: docker's `builder/dockerfile/` (dispatch and output). The output of commands stands at the start of the line and can forge
//! every one of these lines; only the order and the total of the steps tell, so a step that is not the next one is output.

use nom::{
    IResult, Parser,
    bytes::complete::tag,
    character::complete::{char, digit1},
    combinator::{map_opt, rest},
    sequence::{preceded, separated_pair},
};

use super::{
    anchor::Format,
    event::{At, BuildId, End, Event, Events},
    grammar,
};

/// A line that announces a step: number, total and instruction.
pub fn step(line: &[u8]) -> Option<(u32, u32, &[u8])> {
    fn number(input: &[u8]) -> IResult<&[u8], u32> {
        map_opt(digit1, |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok()).parse(input)
    }
    let place = separated_pair(number, char('/'), number);
    let mut parser = (preceded(tag("Step "), place), preceded(tag(" : "), rest));
    let parsed: Result<_, nom::Err<nom::error::Error<&[u8]>>> = parser.parse(line);
    let (_, ((number, total), text)) = parsed.ok()?;
    (1..=total).contains(&number).then_some((number, total, text))
}

/// Reads one build of the legacy builder.
#[derive(Debug)]
pub struct Legacy {
    build: BuildId,
    total: u32,
    current: u32,
    ended: bool,
    running: bool,
    log_lines: u64,
    over: bool,
}

impl Legacy {
    /// Begins a build at its first step or at `Sending build context`.
    pub fn begin(at: At, next_build: &mut u32, events: &mut impl Events) -> Self {
        let build = BuildId(*next_build);
        *next_build += 1;
        events.event(build, at, Event::Begin { format: Format::Legacy, interleaved: false });
        Self { build, total: 0, current: 0, ended: true, running: false, log_lines: 0, over: false }
    }

    /// The build that is read.
    pub fn build(&self) -> BuildId {
        self.build
    }

    /// True once the build has said how it ended.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Reads one line.
    pub fn line(&mut self, line: &[u8], at: At, events: &mut impl Events) {
        // A command's stderr is wrapped in colours, and the reset is glued to the next line.
        let line = line.strip_prefix(b"\x1b[0m").unwrap_or(line);
        if let Some((number, total, text)) = step(line)
            && number == self.current + 1
            && (self.total == 0 || self.total == total)
        {
            self.end(End::Done(None), at, events);
            (self.current, self.total, self.ended, self.running, self.log_lines) = (number, total, false, false, 0);
            if number == 1 {
                events.event(self.build, at, Event::StepTotal(total));
            }
            return events.event(self.build, at, Event::Step { index: number, name: text });
        }
        if line == b" ---> Using cache" && !self.running && !self.ended {
            return self.end(End::Cached, at, events);
        }
        if line.starts_with(b" ---> Running in ") && !self.running && !self.ended {
            self.running = true;
            return;
        }
        if is_image_id(line) {
            if !self.running || self.log_lines > 0 || !self.ended {
                self.end(End::Done(None), at, events);
            }
            return;
        }
        if is_removal(line) {
            // `printf` without a newline at the end is glued to the line of the builder.
            if !line.starts_with(b"Removing intermediate container ") {
                self.output(line, at, events);
            }
            return;
        }
        if let Some(error) = failure(line)
            && self.current > 0
        {
            self.end(End::Error(error), at, events);
            self.over = true;
            return events.event(self.build, at, Event::BuildError { text: line, certain: true });
        }
        if let Some(id) = line.strip_prefix(b"Successfully built ")
            && self.current == self.total
            && self.ended
        {
            self.over = true;
            return events.event(self.build, at, Event::Built { image: Some(id), tag: None });
        }
        if let Some(tag) = line.strip_prefix(b"Successfully tagged ")
            && self.over
        {
            return events.event(self.build, at, Event::Built { image: None, tag: Some(tag) });
        }
        if let Some(size) = context_sent(line)
            && self.current == 0
        {
            return events.event(self.build, at, Event::ContextSent(size));
        }
        if self.running && !self.ended {
            self.output(line, at, events);
        } else if !line.iter().all(u8::is_ascii_whitespace) {
            events.foreign(Some(self.build), at, line);
        }
    }

    /// The log is over.
    pub fn finish(self, at: At, events: &mut impl Events) {
        events.event(self.build, at, Event::Over);
    }

    fn end(&mut self, end: End<'_>, at: At, events: &mut impl Events) {
        if !std::mem::replace(&mut self.ended, true) {
            events.event(self.build, at, Event::Ended { index: self.current, end });
        }
        self.running = false;
    }

    fn output(&mut self, line: &[u8], at: At, events: &mut impl Events) {
        self.log_lines += 1;
        let index = self.current;
        let event = if self.log_lines <= events.head_lines() { Event::Log { index, text: line } } else { Event::Logs { index, count: 1 } };
        events.event(self.build, at, event);
    }
}

/// How the first line of the builder begins.
pub const CONTEXT: &[u8] = b"Sending build context to Docker daemon";

/// `Sending build context to Docker daemon  3.072kB`: the context's size in bytes. The line is redrawn with carriage returns.
pub fn context_sent(line: &[u8]) -> Option<u64> {
    let last = line.rsplit(|b| *b == b'\r').find(|piece| !piece.is_empty())?;
    let size = last.strip_prefix(CONTEXT)?;
    grammar::size(size.trim_ascii())
}

fn is_image_id(line: &[u8]) -> bool {
    line.strip_prefix(b" ---> ").is_some_and(|id| id.len() == 12 && id.iter().all(u8::is_ascii_hexdigit))
}

fn is_removal(line: &[u8]) -> bool {
    const REMOVAL: &[u8] = b"Removing intermediate container ";
    memchr::memmem::find(line, REMOVAL).is_some_and(|at| {
        let id = &line[at + REMOVAL.len()..];
        id.len() == 12 && id.iter().all(u8::is_ascii_hexdigit)
    })
}

fn failure(line: &[u8]) -> Option<&[u8]> {
    let returned = line.starts_with(b"The command '") && memchr::memmem::find(line, b"' returned a non-zero code: ").is_some();
    let refused = [&b"COPY failed: "[..], b"ADD failed: ", b"failed to solve", b"Error response from daemon: ", b"ERROR: "]
        .iter()
        .any(|start| line.starts_with(start));
    (returned || refused).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_a_number_within_their_total() {
        assert_eq!(step(b"Step 2/5 : RUN x"), Some((2, 5, &b"RUN x"[..])));
        assert_eq!(step(b"Step 6/5 : RUN x"), None);
        assert_eq!(step(b"Step #0 - \"build\": x"), None);
    }

    #[test]
    fn the_context_size_is_redrawn() {
        assert_eq!(
            context_sent(b"Sending build context to Docker daemon  1.024kB\r\rSending build context to Docker daemon  3.072kB\r\r"),
            Some(3072)
        );
        assert_eq!(context_sent(b"Sending build context to Docker daemon  3.072kB"), Some(3072));
    }
}
