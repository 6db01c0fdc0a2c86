//! What the readers of the formats tell: one event a fact, borrowed from the line it stands on.

use super::{anchor::Format, grammar::Progress, timestamp::Instant};

/// Names one build of a log; builds are numbered from 0 in the order in which they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId(pub u32);

/// Where and when an event stands in the log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct At {
    /// Line number, from 1.
    pub line: u64,
    /// Time of the line: from the CI prefix, or else of its arrival where the log is read live.
    pub time: Option<Instant>,
    /// True where the time is that of arrival.
    pub arrived: bool,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End<'a> {
    /// It ran; seconds as printed (one decimal) or as recorded (rawjson), `None` where the log reports none.
    Done(Option<f64>),
    /// It did not need to run.
    Cached,
    /// Another step failed, or the build was interrupted.
    Canceled,
    /// It failed.
    Error(&'a [u8]),
}

/// One fact of a build. Indexes are those of the log (`#12`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// A build begins.
    Begin {
        /// The format of its lines.
        format: Format,
        /// True where other builds write into the same log at the same time and their lines can only be guessed apart.
        interleaved: bool,
    },
    /// buildx's first line.
    Builder {
        /// The builder instance.
        name: &'a [u8],
        /// Its driver: `docker`, `docker-container`, `remote`, …
        driver: &'a [u8],
    },
    /// A step is announced, for the first time or again.
    Step {
        /// Its index.
        index: u32,
        /// The name as printed.
        name: &'a [u8],
    },
    /// The name of the step that was announced last goes on in another line.
    NameContinues {
        /// Its index.
        index: u32,
        /// The next line of the name.
        line: &'a [u8],
    },
    /// A line of a step's own output. Only the first of a step are told one by one, see [`Events::head_lines`].
    Log {
        /// Its index.
        index: u32,
        /// The text, without time.
        text: &'a [u8],
    },
    /// The last line told by [`Event::Log`] was still open and goes on; this is the whole of it so far.
    LogAgain {
        /// Its index.
        index: u32,
        /// The text, without time.
        text: &'a [u8],
    },
    /// Lines of a step's own output that are only counted.
    Logs {
        /// Its index.
        index: u32,
        /// How many lines.
        count: u64,
    },
    /// BuildKit cut the output of this step.
    Clipped {
        /// Its index.
        index: u32,
    },
    /// A progress line of a step.
    Progress {
        /// Its index.
        index: u32,
        /// What the line says.
        progress: Progress<'a>,
    },
    /// A warning of a step.
    Warning {
        /// Its index.
        index: u32,
        /// The text.
        text: &'a [u8],
    },
    /// A step ends (again).
    Ended {
        /// Its index.
        index: u32,
        /// How.
        end: End<'a>,
    },
    /// The error text of a step goes on in another line.
    ErrorContinues {
        /// Its index.
        index: u32,
        /// The next line of the text.
        line: &'a [u8],
    },
    /// The exact time in which a step was active (rawjson).
    Active {
        /// Its index.
        index: u32,
        /// From.
        from: Instant,
        /// To.
        to: Instant,
    },
    /// A line in the block that repeats the end of a failed step's output.
    ErrorOutput(&'a [u8]),
    /// The place in a Dockerfile or bake file that an error points at: `Dockerfile:3`.
    ErrorAt(&'a [u8]),
    /// The build reports an error of its own.
    BuildError {
        /// The text.
        text: &'a [u8],
        /// True where the wording is BuildKit's, false where any program might have written the line.
        certain: bool,
    },
    /// The build warns.
    BuildWarning(&'a [u8]),
    /// The image's id, tag or digest (legacy builder).
    Built {
        /// The image id.
        image: Option<&'a [u8]>,
        /// The tag.
        tag: Option<&'a [u8]>,
    },
    /// The size of the context that was sent (legacy builder), in bytes.
    ContextSent(u64),
    /// How many steps the build has in all (legacy builder).
    StepTotal(u32),
    /// The client printed the total time itself (terminal output), in seconds.
    TotalTime {
        /// Seconds so far.
        seconds: f64,
        /// True when it said that the build is over.
        finished: bool,
    },
    /// Nothing more will be told of this build.
    Over,
}

/// How many lines of a step's output are told one by one if nothing else is asked for: enough to see what a cache-bust step or a git source printed.
pub const HEAD_LINES: u64 = 2;

/// Takes the events of a log.
pub trait Events {
    /// Takes one event of one build.
    fn event(&mut self, build: BuildId, at: At, event: Event<'_>);

    /// How many lines of a step's output are told one by one; the others are only counted.
    fn head_lines(&self) -> u64 {
        HEAD_LINES
    }

    /// Takes a line that no build wrote: of the CI system, of the script around the build, of another program. `build` is the
    /// build in whose midst it stands.
    fn foreign(&mut self, build: Option<BuildId>, at: At, text: &[u8]);
}
