//! `check --format json` and `lint --format json`: the schemas `bklog.check/1` and `bklog.lint/1`. Fields may be added, never renamed or dropped.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;

use super::{CheckReport, FindingsWriter, RunHead, Scope};
use crate::{
    build::Status,
    freshness::StepVerdict,
    rules::{Finding, Location},
};

/// The name of the schema of `check`.
pub const SCHEMA: &str = "bklog.check/1";
/// The name of the schema of `lint`.
pub const LINT_SCHEMA: &str = "bklog.lint/1";

/// Writes everything, for programs.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckJson;

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    project: &'a Option<String>,
    commit: &'a Option<String>,
    branch: &'a Option<String>,
    /// The id of the run in the history, where it was recorded.
    recorded_as: &'a Option<String>,
    steps: Vec<StepView<'a>>,
    findings: Vec<FindingView<'a>>,
    summary: Summary,
    notes: &'a [String],
}

/// What `lint` writes.
#[derive(Serialize)]
struct LintDocument<'a> {
    schema: &'static str,
    root: &'a str,
    findings: Vec<LintFinding<'a>>,
    summary: LintSummary,
    notes: &'a [String],
}

#[derive(Serialize)]
struct LintFinding<'a> {
    rule: &'static str,
    severity: &'static str,
    confidence: &'static str,
    location: Option<LocationView<'a>>,
    message: &'a str,
    evidence: &'a [String],
    files: &'a [String],
    help: &'a str,
    /// What `--fix` would do; `null` where there is no safe fix.
    fix: Option<&'a str>,
    suppressed: bool,
    suppressed_by: &'a Option<String>,
    fingerprint: String,
}

#[derive(Serialize)]
struct LintSummary {
    files: usize,
    errors: usize,
    warnings: usize,
    notes: usize,
    suppressed: usize,
}

#[derive(Serialize)]
struct StepView<'a> {
    build: usize,
    index: u32,
    name: &'a str,
    status: Option<&'static str>,
    /// `null` for a step that has findings and copies nothing: there is no content to judge.
    verdict: Option<&'static str>,
    because: &'a str,
    baseline: Option<BaselineView<'a>>,
    changed_files: &'a [String],
}

#[derive(Serialize)]
struct BaselineView<'a> {
    commit: &'a Option<String>,
    run: &'a Option<String>,
}

#[derive(Serialize)]
struct FindingView<'a> {
    rule: &'static str,
    severity: &'static str,
    confidence: &'static str,
    build: Option<usize>,
    index: Option<u32>,
    message: &'a str,
    evidence: &'a [String],
    files: &'a [String],
    help: &'a str,
    suppressed: bool,
    suppressed_by: &'a Option<String>,
    location: Option<LocationView<'a>>,
    log_line: Option<u64>,
    fingerprint: String,
}

#[derive(Serialize)]
struct LocationView<'a> {
    path: &'a str,
    /// From the top of the repository; `null` where the file is in none.
    repository_path: Option<&'a str>,
    line: u32,
    end_line: u32,
}

#[derive(Serialize)]
struct Summary {
    stale: usize,
    suspect: usize,
    fresh: usize,
    unknown: usize,
    errors: usize,
    warnings: usize,
    notes: usize,
    suppressed: usize,
}

impl FindingsWriter for CheckJson {
    fn write(&self, report: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
        let counts = report.counts();
        if let Scope::Files { read } = report.scope() {
            let findings = report.findings().iter().zip(report.fingerprints()).map(|(finding, print)| LintFinding::new(finding, print));
            let document = LintDocument {
                schema: LINT_SCHEMA,
                root: report.log(),
                findings: findings.collect(),
                summary: LintSummary {
                    files: read,
                    errors: counts.errors,
                    warnings: counts.warnings,
                    notes: counts.notes,
                    suppressed: counts.suppressed,
                },
                notes: report.notes(),
            };
            serde_json::to_writer(&mut *out, &document)?;
            return writeln!(out);
        }
        let RunHead { project, commit, branch, recorded } = report.run();
        let document = Document {
            schema: SCHEMA,
            project,
            commit,
            branch,
            recorded_as: recorded,
            steps: steps(report),
            findings: report
                .findings()
                .iter()
                .zip(report.fingerprints())
                .map(|(finding, fingerprint)| FindingView::new(finding, fingerprint))
                .collect(),
            summary: Summary {
                stale: counts.stale,
                suspect: counts.suspect,
                fresh: counts.fresh,
                unknown: counts.unknown,
                errors: counts.errors,
                warnings: counts.warnings,
                notes: counts.notes,
                suppressed: counts.suppressed,
            },
            notes: report.notes(),
        };
        serde_json::to_writer(&mut *out, &document)?;
        writeln!(out)
    }
}

/// Every step with a verdict, and every step with a finding.
fn steps(report: &CheckReport) -> Vec<StepView<'_>> {
    let mut steps: BTreeMap<(usize, u32), StepView<'_>> = BTreeMap::new();
    for verdict in report.verdicts() {
        steps.insert((verdict.build, verdict.index), StepView::of_verdict(verdict));
    }
    for finding in report.findings() {
        if let Some(place) = &finding.in_log
            && let (Some(index), Some(name)) = (place.index, &place.step)
        {
            steps.entry((place.build, index)).or_insert_with(|| StepView::without_verdict(place.build, index, name, place.status));
        }
    }
    steps.into_values().collect()
}

impl<'a> StepView<'a> {
    fn of_verdict(verdict: &'a StepVerdict) -> Self {
        Self {
            build: verdict.build,
            index: verdict.index,
            name: &verdict.name,
            status: Some(verdict.status.name()),
            verdict: Some(verdict.verdict.name()),
            because: &verdict.because,
            baseline: verdict.baseline.as_ref().map(|run| BaselineView { commit: &run.commit, run: &run.run }),
            changed_files: &verdict.changed_files,
        }
    }

    fn without_verdict(build: usize, index: u32, name: &'a str, status: Option<Status>) -> Self {
        Self { build, index, name, status: status.map(Status::name), verdict: None, because: "", baseline: None, changed_files: &[] }
    }
}

impl<'a> LocationView<'a> {
    fn new(location: &'a Location) -> Self {
        Self { path: &location.path, repository_path: location.in_repository.as_deref(), line: location.line, end_line: location.end_line }
    }
}

impl<'a> LintFinding<'a> {
    fn new(finding: &'a Finding, fingerprint: String) -> Self {
        Self {
            rule: finding.rule,
            severity: finding.severity.name(),
            confidence: finding.confidence.name(),
            location: finding.location.as_ref().map(LocationView::new),
            message: &finding.message,
            evidence: &finding.evidence,
            files: &finding.files,
            help: &finding.help,
            fix: finding.fix.as_ref().map(|fix| fix.title.as_str()),
            suppressed: finding.suppressed.is_some(),
            suppressed_by: &finding.suppressed,
            fingerprint,
        }
    }
}

impl<'a> FindingView<'a> {
    fn new(finding: &'a Finding, fingerprint: String) -> Self {
        let place = finding.in_log.as_ref();
        Self {
            rule: finding.rule,
            severity: finding.severity.name(),
            confidence: finding.confidence.name(),
            build: place.map(|place| place.build),
            index: place.and_then(|place| place.index),
            message: &finding.message,
            evidence: &finding.evidence,
            files: &finding.files,
            help: &finding.help,
            suppressed: finding.suppressed.is_some(),
            suppressed_by: &finding.suppressed,
            location: finding.location.as_ref().map(LocationView::new),
            log_line: place.and_then(|place| place.line),
            fingerprint,
        }
    }
}
