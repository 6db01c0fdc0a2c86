//! The domain: builds, their steps, and how events become these records.

pub mod collect;
mod known_names;
mod names;
mod outcome;
pub mod step_name;
pub mod timing;

use std::sync::Arc;

pub use crate::log::{Format, Instant};
pub use step_name::{Kind, StepName};
pub use timing::{Duration, DurationSource};

/// One build of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    /// The format of its lines.
    pub format: Format,
    /// How it ended.
    pub outcome: Outcome,
    /// The builder instance, where buildx named it.
    pub builder: Option<String>,
    /// The builder's driver, where buildx named it.
    pub driver: Option<String>,
    /// Time of its first line; absolute only where the log says the time zone.
    pub started: Option<Instant>,
    /// Time of its last line.
    pub finished: Option<Instant>,
    /// The total time.
    pub duration: Option<Duration>,
    /// What the log says of cache imports and exports.
    pub cache: CacheTransfers,
    /// The image that was made.
    pub image: Image,
    /// The steps in the order in which the log names them first.
    pub steps: Vec<Step>,
    /// What BuildKit or buildx said of the failure.
    pub errors: Vec<String>,
    /// The last output of the failed steps, as BuildKit repeats it after the failure.
    pub error_output: Vec<String>,
    /// The places that the errors point at: `Dockerfile:3`.
    pub error_at: Vec<String>,
    /// Warnings of the build as a whole.
    pub warnings: Vec<String>,
    /// True where another build wrote into the log at the same time, without any mark that tells the lines apart: figures of steps
    /// with the same index may be swapped.
    pub interleaved: bool,
    /// Lines between those of the build that it did not write, or that could not be understood.
    pub foreign: Foreign,
    /// The first and the last line of the build.
    pub lines: (u64, u64),
}

/// Lines that no build wrote: all are counted, the first are kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Foreign {
    /// How many.
    pub count: u64,
    /// The first [`collect::KEPT_FOREIGN_LINES`], with their line numbers, cut to [`collect::KEPT_TEXT_BYTES`].
    pub first: Vec<(u64, String)>,
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Succeeded,
    /// It failed.
    Failed,
    /// It was interrupted.
    Canceled,
    /// The log ends before the build does.
    Truncated,
}

/// Cache imports and exports of a build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheTransfers {
    /// Imports in the order of the log.
    pub imports: Vec<CacheTransfer>,
    /// Exports in the order of the log.
    pub exports: Vec<CacheTransfer>,
    /// True where the image carries inline cache metadata.
    pub inline: bool,
}

/// One cache import or export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheTransfer {
    /// The reference as printed; for exports the kind of place that is printed (`registry`, `client directory`, …).
    pub reference: String,
    /// False where it failed. Success of an import does not prove that it held anything: an image without cache metadata imports
    /// well and does nothing.
    pub ok: bool,
}

/// The image that a build made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// Digest of the manifest list or manifest; the image id where docker itself exports.
    pub digest: Option<String>,
    /// The names that it was given.
    pub names: Vec<String>,
}

/// One step (BuildKit: vertex) of a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The number behind `#`.
    pub index: u32,
    /// The name exactly as printed first; newlines in it are kept, invalid UTF-8 is replaced. Empty where the log lost its
    /// beginning.
    pub name: String,
    /// Other names under which the step was announced later: bake names a shared step after each of its targets.
    pub other_names: Vec<String>,
    /// The name taken apart; steps of the same name may share it.
    pub parts: Arc<StepName>,
    /// How it ended.
    pub status: Status,
    /// For a cached step whether that was a cache hit for certain. In a build that failed or was canceled BuildKit also prints
    /// `CACHED` for steps that never ran (moby/buildkit#5644); `None` where the log cannot tell, or the step is not cached.
    pub cache_hit: Option<bool>,
    /// Seconds as the log reports them: the sum of the intervals in which it ran.
    pub seconds: Option<f64>,
    /// When it began and ended, where the log has times.
    pub span: Option<(Instant, Instant)>,
    /// Lines of the command's own output.
    pub log_lines: u64,
    /// The first lines of that output, cut to [`collect::KEPT_TEXT_BYTES`].
    pub log_head: Vec<String>,
    /// Bytes of a context or Dockerfile transfer, from the last figure shown. Exact in rawjson; plain logs round to three digits.
    pub transferred_bytes: Option<u64>,
    /// True where BuildKit cut the output of the step.
    pub clipped: bool,
    /// True where layers were pulled or unpacked for it: a command whose result came from an imported cache shows that, and ends in
    /// `DONE` although it did not run.
    pub pulled: bool,
    /// Warnings of the step.
    pub warnings: Vec<String>,
    /// The error of the step; newlines in it are kept.
    pub error: Option<String>,
    /// The first and the last line of the step.
    pub lines: (u64, u64),
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It ran.
    Done,
    /// It did not need to run; see [`Step::cache_hit`].
    Cached,
    /// It failed.
    Error,
    /// It was stopped because another step failed or the build was interrupted.
    Canceled,
    /// The log does not say.
    Unfinished,
}

impl Step {
    /// The name without its bracket: `COPY . /app/`.
    pub fn instruction(&self) -> &str {
        self.name.get(self.parts.bracket_bytes..).unwrap_or(&self.name)
    }

    /// True for a step that stands in a Dockerfile, other than `FROM`: what a cache can save.
    pub fn is_command(&self) -> bool {
        self.parts.kind == Kind::Instruction && self.parts.keyword != Some("FROM")
    }

    /// True for a `COPY` or `ADD` that takes files from the build context (or a named one that the log cannot tell from a stage).
    pub fn copies_from_context(&self) -> bool {
        let from_elsewhere = |source: &String| is_remote(source) || source.starts_with("<<");
        let sources = &self.parts.sources;
        let local = sources.is_empty() || !sources.iter().all(from_elsewhere);
        matches!(self.parts.keyword, Some("COPY" | "ADD")) && self.parts.from.is_none() && local
    }
}

/// True for a source of `ADD` that is fetched from elsewhere: a URL, or a git repository, also as `user@host:path`
/// (BuildKit `dfgitutil.ParseGitRef`, `util/sshutil`). `github.com/x`, which a build context may be called, is a file here.
pub fn is_remote(source: &str) -> bool {
    if ["http://", "https://", "git://", "ssh://"].iter().any(|scheme| source.starts_with(scheme)) {
        return true;
    }
    let Some((user, (host, _))) = source.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(':')?))) else {
        return false;
    };
    let made_of = |text: &str, more: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    made_of(user, "-_") && made_of(host, "-.")
}
