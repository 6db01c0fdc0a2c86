//! `bklog lint --fix`: shows what the fixes change, and changes it.

use std::io::{self, Write};

use anstream::ColorChoice;

use super::error::CliError;
use crate::{
    evidence::repository::Repository,
    redact::Redactor,
    report::{
        escape,
        text::style::{BAD, BOLD, DIM, GOOD, painted},
        units,
    },
    rules::{
        Finding,
        fix::{self, Plan},
    },
};

/// How the diff is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    /// To standard output; otherwise to standard error, because a report for programs goes there.
    pub(super) to_stdout: bool,
    /// Whether a person reads it: then nothing in it can steer the terminal. A file gets the lines as they are, for `git apply`.
    pub(super) terminal: bool,
    /// Colour.
    pub(super) color: ColorChoice,
}

/// Shows what the fixes of the findings change and, unless this is a trial, changes it. Gives how many files changed.
pub(super) fn run(
    repository: &Repository,
    findings: &[Finding],
    dry_run: bool,
    redactor: &Redactor,
    shown: Shown,
) -> Result<usize, CliError> {
    let mut plan = fix::plan(repository, findings);
    let mut failed = Vec::new();
    if !dry_run {
        plan.files.retain(|change| match change.apply() {
            Ok(()) => true,
            Err(error) => {
                failed.push(format!("{}: not changed: {error}", change.path));
                false
            }
        });
    }
    let diff = diff(&plan, redactor, shown.terminal);
    if shown.to_stdout {
        let mut out = anstream::AutoStream::new(io::stdout().lock(), shown.color);
        out.write_all(diff.as_bytes())?;
        out.flush()?;
    } else {
        anstream::AutoStream::new(io::stderr().lock(), shown.color).write_all(diff.as_bytes())?;
    }
    let mut err = anstream::AutoStream::new(io::stderr().lock(), shown.color);
    for line in summary(&plan, dry_run).into_iter().chain(failed) {
        writeln!(err, "{}", escape::ci(&redactor.text(&line)))?;
    }
    Ok(plan.files.len())
}

/// What was done, in words.
fn summary(plan: &Plan, dry_run: bool) -> Vec<String> {
    let fixes: usize = plan.files.iter().map(|change| change.titles.len()).sum();
    let mut lines: Vec<String> = Vec::new();
    for skipped in &plan.skipped {
        lines.push(format!("{}:{}: {} not fixed: {}", skipped.path, skipped.line, skipped.rule, skipped.why));
    }
    let of = format!("{} in {}", units::count(fixes, "finding"), units::count(plan.files.len(), "file"));
    lines.push(match (fixes, dry_run) {
        (0, _) => "nothing to fix: no finding has a safe fix".to_owned(),
        (_, true) => format!("would fix {of}; leave --dry-run out to do it"),
        (_, false) => format!("fixed {of}"),
    });
    lines
}

fn diff(plan: &Plan, redactor: &Redactor, terminal: bool) -> String {
    let mut text = String::new();
    for change in &plan.files {
        for (at, line) in change.diff().split_inclusive('\n').enumerate() {
            let line = line.strip_suffix('\n').unwrap_or(line);
            // The head is ASCII and quoted already.
            let style = match line.as_bytes().first() {
                _ if at < 2 => BOLD,
                Some(b'+') => GOOD,
                Some(b'-') => BAD,
                Some(b'@' | b'\\') => DIM,
                _ => anstyle::Style::new(),
            };
            let clean = redactor.text(line);
            let (bare, end) = clean.strip_suffix('\r').map_or((clean.as_ref(), ""), |bare| (bare, "\r"));
            let shown = if terminal {
                escape::ci(bare).into_owned()
            } else {
                // Tabs and line ends must stay for those that apply it.
                let parts: Vec<String> = bare.split('\t').map(|part| escape::ci(part).into_owned()).collect();
                parts.join("\t") + end
            };
            text += &painted(style, shown);
            text.push('\n');
        }
    }
    text
}
