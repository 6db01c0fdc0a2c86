//! Markdown: for job summaries, merge requests and chats.

use std::io::{self, Write};

use super::{CheckReport, FindingsWriter, Scope, files, step_label};
use crate::{
    evidence::commit::short,
    freshness::Verdict,
    report::escape,
    rules::{Finding, Severity},
};

/// Writes Markdown.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckMarkdown;

impl FindingsWriter for CheckMarkdown {
    fn write(&self, report: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
        let counts = report.counts();
        let (judged, command) = report.judged();
        let findings = if counts.findings().is_empty() { "no findings".to_owned() } else { counts.findings() };
        writeln!(out, "### {command}: {judged} · {findings}\n")?;
        let run = report.run();
        let mut of: Vec<String> = run.project.iter().map(|project| escape::markdown(project)).collect();
        of.extend(run.commit.as_ref().map(|commit| format!("commit {}", escape::markdown(short(commit)))));
        of.extend(run.branch.as_ref().map(|branch| format!("branch {}", escape::markdown(branch))));
        of.extend(run.recorded.as_ref().map(|run| format!("recorded as run {}", escape::markdown(run))));
        if !of.is_empty() {
            writeln!(out, "{}\n", of.join(" · "))?;
        }
        if report.shown().next().is_some() {
            let place = if report.scope() == Scope::Log { "step" } else { "place" };
            writeln!(out, "| | rule | {place} | what | do |\n|---|---|---|---|---|")?;
            for finding in report.shown() {
                row(finding, out)?;
            }
            writeln!(out)?;
        }
        let doubtful: Vec<_> = report.verdicts().iter().filter(|verdict| verdict.verdict != Verdict::Fresh).collect();
        if !doubtful.is_empty() {
            writeln!(out, "<details><summary>Verdicts</summary>\n\n| step | verdict | because |\n|---|---|---|")?;
            for verdict in doubtful {
                let name = escape::markdown(verdict.name.lines().next().unwrap_or_default());
                writeln!(out, "| \\#{} {name} | {} | {} |", verdict.index, verdict.verdict.name(), escape::markdown(&verdict.because))?;
            }
            writeln!(out, "\n</details>\n")?;
        }
        for note in report.notes() {
            writeln!(out, "> {}\n", escape::markdown(note))?;
        }
        Ok(())
    }
}

fn row(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let mark = match finding.severity {
        Severity::Error => "❌ error",
        Severity::Warning => "⚠️ warning",
        Severity::Note => "note",
    };
    let mut step = escape::markdown(&step_label(finding));
    if let Some(location) = &finding.location {
        let place = escape::markdown(&format!("{}:{}", location.path_for_programs(), location.line));
        step = if step.is_empty() { place } else { format!("{step}<br>{place}") };
    }
    let mut what = vec![format!("{} ({})", escape::markdown(&finding.message), finding.confidence.name())];
    what.extend(finding.evidence.iter().take(5).map(|line| escape::markdown(line)));
    if !finding.files.is_empty() {
        what.push(format!("files: {}", escape::markdown(&files(finding, 5))));
    }
    writeln!(out, "| {mark} | {} | {step} | {} | {} |", finding.rule, what.join("<br>"), escape::markdown(&finding.help))
}
