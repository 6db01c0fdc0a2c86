//! Text for people: each finding with the line of the Dockerfile that it is about.

use std::io::{self, Write};

use console::measure_text_width;

use super::{CheckReport, FindingsWriter, Scope, files};
use crate::{
    build::Status,
    report::{
        escape,
        text::style::{BAD, BOLD, DIM, GOOD, WARN, painted},
    },
    rules::{Finding, Severity},
};

/// Writes findings for a terminal. Colour is always written; the stream behind takes it out where it is not wanted.
#[derive(Debug, Clone, Copy)]
pub struct CheckText {
    /// Columns of the terminal.
    pub width: usize,
}

/// So many evidence lines of one finding are shown.
const MOST_EVIDENCE: usize = 12;

impl FindingsWriter for CheckText {
    fn write(&self, report: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
        for finding in report.shown() {
            self.finding(finding, out)?;
            writeln!(out)?;
        }
        for note in report.notes() {
            writeln!(out, "{}", painted(DIM, format!("note: {}", escape::ci(note))))?;
        }
        let counts = report.counts();
        let verdicts = match (report.judged().0, counts.stale, counts.suspect) {
            (text, _, _) if counts.verdicts().is_empty() => text,
            (text, 0, 0) => painted(GOOD, text),
            (text, 0, _) => painted(WARN, text),
            (text, _, _) => painted(BAD, text),
        };
        let mut parts = vec![verdicts];
        match counts.findings() {
            none if none.is_empty() && report.scope() != Scope::Log => parts.push(painted(GOOD, "no findings")),
            findings => parts.extend(Some(findings).filter(|text| !text.is_empty())),
        }
        parts.extend(report.run().recorded.as_ref().map(|run| format!("recorded as run {}", escape::ci(run))));
        parts.extend(report.shown().next().map(|finding| format!("bklog explain {}", finding.rule)));
        writeln!(out, "{}", parts.join(&painted(DIM, " · ")))
    }
}

impl CheckText {
    fn finding(&self, finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
        let style = match finding.severity {
            Severity::Error => BAD,
            Severity::Warning => WARN,
            Severity::Note => DIM,
        };
        let head = format!(
            "{}: {}",
            painted(style, format!("{}[{}]", finding.severity.name(), finding.rule)),
            painted(BOLD, escape::ci(&finding.message))
        );
        let confidence = finding.confidence.name();
        let gap = self.width.saturating_sub(measure_text_width(&head) + confidence.len()).max(2);
        writeln!(out, "{head}{:gap$}{}", "", painted(DIM, confidence))?;
        let place = place(finding);
        if !place.is_empty() {
            writeln!(out, "  {} {place}", painted(DIM, "-->"))?;
        }
        let lines = finding.location.as_ref().map(|location| (location.line, location.text.as_slice()));
        let (first, text) = lines.unwrap_or((0, &[]));
        let last = u64::from(first) + text.len() as u64;
        let margin = last.to_string().len().max(3);
        let bar = painted(DIM, format!("{:margin$} |", ""));
        for (number, line) in (u64::from(first)..).zip(text) {
            writeln!(out, "{} {}", painted(DIM, format!("{number:margin$} |")), escape::ci(line))?;
        }
        for line in finding.evidence.iter().take(MOST_EVIDENCE) {
            writeln!(out, "{bar}  {}", escape::ci(line))?;
        }
        if finding.evidence.len() > MOST_EVIDENCE {
            writeln!(out, "{bar}  and {} more lines", finding.evidence.len() - MOST_EVIDENCE)?;
        }
        if !finding.files.is_empty() {
            writeln!(out, "{bar}  files: {}", escape::ci(&files(finding, 5)))?;
        }
        if !finding.help.is_empty() {
            writeln!(out, "{} do: {}", painted(DIM, format!("{:margin$} =", "")), escape::ci(&finding.help))?;
        }
        if let Some(fix) = &finding.fix {
            writeln!(out, "{} fix: --fix can {}", painted(DIM, format!("{:margin$} =", "")), escape::ci(&fix.title))?;
        }
        Ok(())
    }
}

/// `backend/Dockerfile:14    #7 [backend stage-1 6/9] CACHED, log line 31`
fn place(finding: &Finding) -> String {
    let file = finding.location.as_ref().map(|location| format!("{}:{}", escape::ci(&location.path), location.line));
    let step = finding.in_log.as_ref().map(|place| {
        let name = place.step.as_deref().unwrap_or_default();
        // With the Dockerfile's line below, the bracket is enough.
        let bracket = name.split_once("] ").map(|(bracket, _)| format!("{bracket}]"));
        let shown =
            if finding.location.is_some() { bracket.unwrap_or_default() } else { name.lines().next().unwrap_or_default().to_owned() };
        let mut text = place.index.map_or_else(|| format!("build {}", place.build + 1), |index| format!("#{index} {}", escape::ci(&shown)));
        if let Some(status) = place.status {
            text += match status {
                Status::Done => " DONE",
                Status::Cached => " CACHED",
                Status::Error => " ERROR",
                Status::Canceled => " CANCELED",
                Status::Unfinished => " unfinished",
            };
        }
        if let Some(line) = place.line {
            text += &format!(", log line {line}");
        }
        text
    });
    [file, step].into_iter().flatten().collect::<Vec<_>>().join("    ")
}
