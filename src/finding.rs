//! What a rule finds.

use crate::build::Status;

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

impl Severity {
    /// The name in reports and settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Confidence {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
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
    /// The path as people in the working directory see it: relative to it where the file is below it, with slashes.
    pub path: String,
    /// The path from the top of the file's repository, with slashes, where the file is in one.
    pub in_repository: Option<String>,
    /// First line, from 1.
    pub line: u32,
    /// Last line.
    pub end_line: u32,
    /// What stands there, line by line, where it is known.
    pub text: Vec<String>,
}

impl Location {
    /// The path by which other programs know the file: from the top of its repository where it is in one.
    pub fn path_for_programs(&self) -> &str {
        self.in_repository.as_deref().unwrap_or(&self.path)
    }
}

/// A place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InLog {
    /// The build, from 0.
    pub build: usize,
    /// The step, where it is about one.
    pub index: Option<u32>,
    /// The line of the log, from 1.
    pub line: Option<u64>,
    /// The step's name, where it is about one.
    pub step: Option<String>,
    /// How the step ended.
    pub status: Option<Status>,
}

/// What would mend a finding: edits of one file that change nothing else in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// The file, absolute.
    pub file: std::path::PathBuf,
    /// What the edits do, in a few words: `remove BUILDKIT_INLINE_CACHE`.
    pub title: String,
    /// The edits; they do not overlap.
    pub edits: Vec<Edit>,
}

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The bytes of the file that are replaced; empty to insert.
    pub span: std::ops::Range<usize>,
    /// What stands there then.
    pub replacement: String,
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
    /// Edits that mend it, where a rule knows safe ones.
    pub fix: Option<Fix>,
    /// Why it is not to be shown, where a comment or the baseline file says so.
    pub suppressed: Option<String>,
}

impl Finding {
    /// What makes this finding the same one in a later log or at a later commit: rule, step or file (and what stands
    /// there, for findings about files), and files; not the line, the step's number or the wording. 16 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        use sha2::{Digest, Sha256};
        let step = self.in_log.as_ref().and_then(|place| place.step.as_deref()).unwrap_or_default();
        let location = self.location.as_ref().map_or("", |location| location.path.as_str());
        // Numbers in the bracket move when a line is added above.
        let step = step.split_once("] ").map_or(step, |(_, instruction)| instruction);
        // What stands in the file, without secrets: a report has none, and its fingerprints are compared with these.
        let excerpt = self.location.as_ref().and_then(|location| location.text.first()).filter(|_| self.in_log.is_none());
        let excerpt = excerpt.map(|line| crate::redact::text(line.trim()).into_owned()).unwrap_or_default();
        let subject = if step.is_empty() && location.is_empty() { self.message.as_str() } else { excerpt.as_str() };
        let mut hash = Sha256::new();
        for part in [self.rule, step, location, subject].into_iter().chain(self.files.iter().map(String::as_str)) {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}
