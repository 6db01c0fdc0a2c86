//! What a rule finds.

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Deserves a look.
    Warning,
    /// Must not go out like this.
    Error,
}

/// How sure a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// It may be otherwise.
    Possible,
    /// Hardly anything else explains the evidence.
    Likely,
    /// The evidence is a proof.
    Certain,
}

/// A place in a file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The path, relative to the repository or the working directory, with slashes.
    pub path: String,
    /// First line, from 1.
    pub line: u32,
    /// Last line.
    pub end_line: u32,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InLog {
    /// The build, from 0.
    pub build: usize,
    /// The step, where it is about one.
    pub index: Option<u32>,
    /// The line of the log, from 1.
    pub line: Option<u64>,
}

/// One finding. All texts are plain, as the log or the file has them; every output format escapes them for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name in kebab-case; stable.
    pub rule: &'static str,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// Where in the log, for findings of `check`.
    pub in_log: Option<InLog>,
    /// Where in the repository, if that is known.
    pub location: Option<Location>,
    /// One sentence that names what is wrong.
    pub message: String,
    /// What proves it, a line each.
    pub evidence: Vec<String>,
    /// The files concerned, relative to the build context.
    pub files: Vec<String>,
    /// What to do.
    pub help: String,
    /// Why it is not to be shown, where a comment or the baseline file says so.
    pub suppressed: Option<String>,
}
