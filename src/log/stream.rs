//! One stream of a log: the lines with one prefix, as if they stood in a file of their own.

use super::{
    anchor::{self, Format},
    event::{At, BuildId, Events},
    is_powershell,
    legacy::Legacy,
    output_line::{OutputLine, TimePrefix},
    plain::{Plain, Running},
    prefix::Pattern,
    rawjson::RawJson,
    timestamp::Instant,
    tty::Tty,
};

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) pattern: Pattern,
    /// True where lines end in `\r\n`.
    pub(super) crlf: bool,
    /// Lines of builds seen so far, as far as they prove the pattern.
    pub(super) build_lines: u64,
    plain: Plain,
    other: Other,
}

/// The build in another format than plain that is being read.
#[derive(Debug)]
enum Other {
    None,
    RawJson(Box<RawJson>),
    Legacy(Legacy),
    Tty(Tty),
}

impl Stream {
    pub(super) fn new(pattern: Pattern, crlf: bool) -> Self {
        Self { pattern, crlf, build_lines: 0, plain: Plain::default(), other: Other::None }
    }

    /// The build of the last line.
    pub(super) fn build(&self) -> Option<BuildId> {
        match &self.other {
            Other::None => self.plain.recent_build(),
            Other::RawJson(raw) => Some(raw.build()),
            Other::Legacy(legacy) => Some(legacy.build()),
            Other::Tty(tty) => Some(tty.build()),
        }
    }

    /// True before the first step of the first build.
    pub(super) fn is_at_start(&self) -> bool {
        matches!(self.other, Other::None) && self.plain.is_at_start()
    }

    /// True where buildx announced a build and nothing came after it yet.
    pub(super) fn is_announced(&self) -> bool {
        self.is_at_start() && self.plain.is_announced()
    }

    /// Reads one line with its prefix.
    pub(super) fn line(
        &mut self,
        line: &[u8],
        before: Option<&[u8]>,
        number: u64,
        arrival: Option<Instant>,
        next_build: &mut u32,
        events: &mut impl Events,
    ) {
        let crlf = self.crlf;
        let bare = |core| trim_carriage_return(core, crlf);
        let before = before.and_then(|before| self.pattern.strip(before)).map(|stripped| bare(stripped.core));
        let Some(stripped) = self.pattern.strip(line) else {
            return;
        };
        let core = bare(stripped.core);
        // An empty line tells nothing, so its time is not worth reading.
        let stamp = if core.is_empty() { None } else { stripped.instant() };
        let at = At { line: number, time: stamp.or(arrival), arrived: stamp.is_none() };
        // PowerShell puts the name of a command before its first line only.
        let colon = if core.first() == Some(&b'#') || self.plain.is_within_step() { None } else { memchr::memmem::find(core, b" : #") };
        let core = match colon {
            Some(colon) if is_powershell(&core[..colon + 3]) && anchor::is_plain(&core[colon + 3..]) => &core[colon + 3..],
            _ => core,
        };
        if self.build_lines < super::PROVEN_LINES && core.first() == Some(&b'#') && anchor::is_plain(core) {
            self.build_lines += 1;
        }
        self.choose_format(core, at, next_build, events);
        match &mut self.other {
            Other::None => self.plain.line(core, before, at, next_build, events),
            Other::RawJson(raw) => {
                if !raw.line(core, at, next_build, events) && !core.is_empty() {
                    events.foreign(Some(raw.build()), at, core);
                }
            }
            Other::Legacy(legacy) => legacy.line(core, at, events),
            Other::Tty(tty) => tty.line(core, at, events),
        }
    }

    /// Changes to another format where a line begins a build in it.
    fn choose_format(&mut self, core: &[u8], at: At, next_build: &mut u32, events: &mut impl Events) {
        let format = match core.first() {
            Some(b'#') if !matches!(self.other, Other::None) && anchor::is_plain(core) => Format::Plain,
            Some(b'{') if anchor::is_rawjson(core) => Format::RawJson,
            // The first line of the legacy builder tells the size of the context.
            Some(b'S') if anchor::is_legacy(core) || super::legacy::context_sent(core).is_some() => Format::Legacy,
            Some(b'[' | 0x1b) if memchr::memmem::find(core, b"[+] Building ").is_some() => Format::Tty,
            _ => return,
        };
        let stays = match (&self.other, format) {
            (Other::None, Format::Plain) => true,
            // In plain progress only foreign programs write such lines while a step runs.
            (Other::None, _) => self.plain.is_within_step(),
            (Other::RawJson(_), Format::RawJson) | (Other::Tty(_), Format::Tty) => true,
            // The output of a command can look like anything there, until the build has said that it is over.
            (Other::Legacy(legacy), Format::Legacy) => {
                !(legacy.is_over() && (super::legacy::context_sent(core).is_some() || matches!(super::legacy::step(core), Some((1, ..)))))
            }
            (Other::Legacy(legacy), _) => !legacy.is_over(),
            _ => false,
        };
        if stays {
            return;
        }
        self.end_other(at, events);
        if format != Format::Plain {
            self.plain.finish(at, next_build, events);
        }
        self.other = match format {
            Format::Plain => Other::None,
            Format::RawJson => Other::RawJson(Box::new(RawJson::begin(at, next_build, events))),
            Format::Legacy => Other::Legacy(Legacy::begin(at, next_build, events)),
            Format::Tty => Other::Tty(Tty::begin(at, next_build, events)),
        };
    }

    fn end_other(&mut self, at: At, events: &mut impl Events) {
        match std::mem::replace(&mut self.other, Other::None) {
            Other::None => {}
            Other::RawJson(raw) => raw.finish(at, events),
            Other::Legacy(legacy) => legacy.finish(at, events),
            Other::Tty(tty) => tty.finish(at, events),
        }
    }

    /// Takes note of the last line that the fast way counted.
    pub(super) fn note_counted(&mut self, line: &[u8]) {
        let crlf = self.crlf;
        if let Some(stripped) = self.pattern.strip(line) {
            self.plain.note_counted(trim_carriage_return(stripped.core, crlf));
        }
    }

    /// The log is over.
    pub(super) fn finish(mut self, at: At, next_build: &mut u32, events: &mut impl Events) {
        self.end_other(at, events);
        self.plain.finish(at, next_build, events);
    }

    /// Counts output lines that the fast way recognised.
    pub(super) fn count_output(&mut self, running: Running, count: u64, at: At, events: &mut impl Events) {
        self.plain.count_output(running, count, at, events);
    }

    /// The fast way through the next lines, where there is one; `before` is the one until now.
    pub(super) fn fast(&self, before: Option<Fast>, head_lines: u64) -> Option<Fast> {
        if !matches!(self.other, Other::None) || self.build_lines < super::PROVEN_LINES {
            return None;
        }
        let running = self.plain.running(head_lines)?;
        let prefix = match self.pattern.timestamp_length() {
            Some(length) => length,
            None if self.pattern.is_empty() => 0,
            None => return None,
        };
        // Most slow lines stand amid the output of a step.
        match before {
            Some(fast) if fast.running == running && fast.prefix_bytes == prefix => before,
            _ => Fast::new(prefix, running),
        }
    }
}

fn trim_carriage_return(core: &[u8], crlf: bool) -> &[u8] {
    if crlf { core.strip_suffix(b"\r").unwrap_or(core) } else { core }
}

/// The fast way: while a step runs, nearly every line is `#N SECONDS text` with the same N, and needs no more than counting.
///
/// It recognises a subset of those lines, and exactly: every other line takes the slow way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fast {
    /// The step whose output it counts.
    pub(super) running: Running,
    line: OutputLine,
    /// The time in front of every line.
    prefix: Option<TimePrefix>,
    prefix_bytes: usize,
}

impl Fast {
    fn new(prefix_bytes: usize, running: Running) -> Option<Self> {
        let prefix = if prefix_bytes == 0 { None } else { Some(TimePrefix::new(prefix_bytes)?) };
        Some(Self { running, line: OutputLine::of_step(running.index)?, prefix, prefix_bytes })
    }

    /// True where bytes begin with a line of output of the running step.
    #[inline(always)]
    pub(super) fn is_output(&mut self, text: &[u8]) -> bool {
        let Some(core) = text.get(self.prefix_bytes..) else { return false };
        self.prefix.as_ref().is_none_or(|prefix| prefix.begins(text)) && self.line.begins(core)
    }

    /// Counts the lines of output of the running step from `start` on, up to the first line that is none; `ends` are the places of the
    /// next newlines.
    #[inline]
    pub(super) fn output(&mut self, piece: &[u8], mut start: usize, ends: &[usize]) -> usize {
        for (count, end) in ends.iter().enumerate() {
            if !piece.get(start..).is_some_and(|text| self.is_output(text)) {
                return count;
            }
            start = end + 1;
        }
        ends.len()
    }
}
