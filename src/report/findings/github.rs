//! Annotations of GitHub Actions: workflow commands on standard output.
//!
//! `::error file=…,line=…,title=…::message`. GitHub shows ten of each kind for a step; the worst come first. The job summary is Markdown
//! ([`super::CheckMarkdown`]), which the command line adds to the file that `GITHUB_STEP_SUMMARY` names.

use std::io::{self, Write};

use super::{CheckReport, FindingsWriter, lines};
use crate::{report::escape, rules::Severity};

/// Writes workflow commands.
#[derive(Debug, Clone, Copy, Default)]
pub struct GitHub;

impl FindingsWriter for GitHub {
    fn write(&self, report: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
        for finding in report.shown() {
            let command = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "notice",
            };
            write!(out, "::{command} ")?;
            if let Some(location) = &finding.location {
                write!(out, "file={},line={},endLine={},", property(location.path_for_programs()), location.line, location.end_line)?;
            }
            let title = format!("{} ({})", finding.rule, finding.confidence.name());
            let lines: Vec<String> = lines(finding).iter().map(|line| data(line)).collect();
            writeln!(out, "title={}::{}", property(&title), lines.join("%0A"))?;
        }
        Ok(())
    }
}

/// The message of a command: `%` and line ends are percent-encoded (actions/toolkit, `escapeData`).
fn data(text: &str) -> String {
    escape::ci(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a command: `:` and `,` as well (`escapeProperty`).
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
