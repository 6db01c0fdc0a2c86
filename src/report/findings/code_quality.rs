//! GitLab Code Quality: a JSON array of issues, in the part of the Code Climate format that GitLab reads.

use std::io::{self, Write};

use serde::Serialize;

use super::{CheckReport, FindingsWriter, step_label};
use crate::{
    report::escape,
    rules::{Finding, Severity},
};

/// Writes a Code Quality report.
#[derive(Debug, Clone, Copy, Default)]
pub struct CodeQuality;

#[derive(Serialize)]
struct Issue {
    description: String,
    check_name: &'static str,
    fingerprint: String,
    severity: &'static str,
    location: Place,
}

#[derive(Serialize)]
struct Place {
    path: String,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: u64,
    end: u64,
}

impl FindingsWriter for CodeQuality {
    fn write(&self, report: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
        let all = report.findings().iter().zip(report.fingerprints());
        let shown = all.filter(|(finding, _)| finding.suppressed.is_none());
        let issues: Vec<Issue> = shown.map(|(finding, fingerprint)| issue(report, finding, fingerprint)).collect();
        serde_json::to_writer_pretty(&mut *out, &issues)?;
        writeln!(out)
    }
}

fn issue(report: &CheckReport, finding: &Finding, fingerprint: String) -> Issue {
    let location = match &finding.location {
        Some(location) => Place {
            path: escape::terminal(location.path_for_programs()).into_owned(),
            lines: Lines { begin: location.line.into(), end: location.end_line.into() },
        },
        // GitLab wants a place for every issue; without the Dockerfile it is the log.
        None => {
            let line = finding.in_log.as_ref().and_then(|place| place.line).unwrap_or(1);
            Place { path: log_path(report), lines: Lines { begin: line, end: line } }
        }
    };
    let label = step_label(finding);
    let step = if label.is_empty() { String::new() } else { format!(" ({label})") };
    let help = if finding.help.is_empty() { String::new() } else { format!(". {}", finding.help) };
    Issue {
        description: escape::terminal(&format!("{}{step}{help}", finding.message)).into_owned(),
        check_name: finding.rule,
        fingerprint,
        severity: match finding.severity {
            Severity::Error => "critical",
            Severity::Warning => "minor",
            Severity::Note => "info",
        },
        location,
    }
}

/// A path for the log, which may have come through a pipe.
pub(super) fn log_path(report: &CheckReport) -> String {
    let log = report.log_in_repository.as_deref().unwrap_or(report.log());
    if log.is_empty() || log == "-" || log == "standard input" { "build.log".to_owned() } else { escape::terminal(log).into_owned() }
}
