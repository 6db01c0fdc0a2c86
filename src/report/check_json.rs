//! `check --format json`: verdicts and findings, in the form that other programs read (`bklog.check/1`).

use std::io::{self, Write};

use serde::Serialize;

use crate::build::Status;
use crate::freshness::{StepVerdict, Verdict};
use crate::rules::finding::{Confidence, Finding, Severity};

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    steps: Vec<StepView<'a>>,
    findings: Vec<FindingView<'a>>,
    summary: Summary,
    /// The commit that was to be built.
    commit: Option<&'a str>,
    /// What could not be used as evidence, and why.
    notes: &'a [String],
}

#[derive(Serialize)]
struct StepView<'a> {
    build: usize,
    index: u32,
    name: &'a str,
    status: &'static str,
    verdict: &'static str,
    because: &'a str,
    baseline: Option<BaselineView<'a>>,
    changed_files: &'a [String],
}

#[derive(Serialize)]
struct BaselineView<'a> {
    commit: Option<&'a str>,
    run: Option<&'a str>,
}

#[derive(Serialize)]
struct FindingView<'a> {
    rule: &'a str,
    severity: &'static str,
    confidence: &'static str,
    build: Option<usize>,
    index: Option<u32>,
    /// Line of the log.
    line: Option<u64>,
    /// Place in the repository.
    location: Option<LocationView<'a>>,
    message: &'a str,
    evidence: &'a [String],
    files: &'a [String],
    help: &'a str,
    suppressed: bool,
    suppressed_because: Option<&'a str>,
}

#[derive(Serialize)]
struct LocationView<'a> {
    path: &'a str,
    line: u32,
    end_line: u32,
}

/// Counts of what was found; those that are suppressed are not among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Stale steps.
    pub stale: usize,
    /// Suspect steps.
    pub suspect: usize,
    /// Fresh steps.
    pub fresh: usize,
    /// Steps that nothing can be said of.
    pub unknown: usize,
    /// Findings that are errors.
    pub errors: usize,
    /// Findings that are warnings.
    pub warnings: usize,
}

impl Summary {
    /// Counts.
    pub fn of(steps: &[StepVerdict], findings: &[Finding]) -> Self {
        let verdicts = |verdict| steps.iter().filter(|step| step.verdict == verdict).count();
        let findings = |severity| findings.iter().filter(|finding| finding.severity == severity && finding.suppressed.is_none()).count();
        Self {
            stale: verdicts(Verdict::Stale),
            suspect: verdicts(Verdict::Suspect),
            fresh: verdicts(Verdict::Fresh),
            unknown: verdicts(Verdict::Unknown),
            errors: findings(Severity::Error),
            warnings: findings(Severity::Warning),
        }
    }
}

/// The word for how a step ended.
pub fn status(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::Cached => "cached",
        Status::Error => "error",
        Status::Canceled => "canceled",
        Status::Unfinished => "unfinished",
    }
}

/// Writes the document.
///
/// `commit` is what was to be built; `notes` what could not be used.
///
/// # Errors
/// The output cannot be written.
pub fn write(steps: &[StepVerdict], findings: &[Finding], commit: Option<&str>, notes: &[String], out: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        schema: "bklog.check/1",
        steps: steps.iter().map(step).collect(),
        findings: findings.iter().map(finding).collect(),
        summary: Summary::of(steps, findings),
        commit,
        notes,
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn step(verdict: &StepVerdict) -> StepView<'_> {
    StepView {
        build: verdict.build,
        index: verdict.index,
        name: &verdict.name,
        status: status(verdict.status),
        verdict: verdict.verdict.name(),
        because: &verdict.because,
        baseline: verdict.baseline.as_ref().map(|base| BaselineView { commit: base.commit.as_deref(), run: base.run.as_deref() }),
        changed_files: &verdict.changed_files,
    }
}

fn finding(finding: &Finding) -> FindingView<'_> {
    FindingView {
        rule: finding.rule,
        severity: match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        },
        confidence: match finding.confidence {
            Confidence::Certain => "certain",
            Confidence::Likely => "likely",
            Confidence::Possible => "possible",
        },
        build: finding.in_log.map(|at| at.build),
        index: finding.in_log.and_then(|at| at.index),
        line: finding.in_log.and_then(|at| at.line),
        location: finding.location.as_ref().map(|at| LocationView { path: &at.path, line: at.line, end_line: at.end_line }),
        message: &finding.message,
        evidence: &finding.evidence,
        files: &finding.files,
        help: &finding.help,
        suppressed: finding.suppressed.is_some(),
        suppressed_because: finding.suppressed.as_deref(),
    }
}
