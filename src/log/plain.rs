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
    client::{build_error, is_excerpt_head, is_header},
    event::{At, BuildId, Event, Events},
    grammar::{self, Body},
    lane::{Block, Lane, Open, hash},
    name,
};

/// The most builds that can write into one log at the same time; further ones take the place of the oldest.
const MOST_LANES: usize = 16;

/// Steps with more indexes than this in the builds of one stream are not told apart: no real build comes near.
const MOST_STEPS: usize = 20_000;

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

    /// The step whose further output lines need no more than counting, if the machine is in such a state: `head_lines` were told one by
    /// one.
    pub fn running(&self, head_lines: u64) -> Option<Running> {
        let [lane] = self.lanes.as_slice() else {
            return None;
        };
        let index = lane.current?;
        let step = lane.known.get(index)?;
        let plain = lane.open == Open::Nothing && lane.block == Block::None && step.open_line.is_none() && step.log_lines >= head_lines;
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

    /// Takes note of the last line that was counted by [`Plain::count_output`], unless `next` shows that nobody will ask for it: only
    /// where the printer leaves a step, or may have left it within that line, does it matter what the line was.
    fn note_before(&mut self, before: &[u8], next: Option<(u32, &[u8])>) {
        let Some(lane) = self.lanes.get_mut(self.recent) else { return };
        if next.is_some_and(|(index, text)| index > 0 && text != b"...") && !lane.may_be_glued(before) {
            (lane.glued, lane.last_output_of) = (None, None);
        } else {
            self.note_counted(before);
        }
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
        let indexed = if line.first() == Some(&b'#') { grammar::indexed(line) } else { None };
        if let Some(before) = before {
            self.note_before(before, indexed);
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
        self.lanes.push(Lane::new(build, announced, self.fed));
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

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
