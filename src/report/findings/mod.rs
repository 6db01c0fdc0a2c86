//! What `check` found, in every format: one file each.
//!
//! A [`CheckReport`] is made once, and every secret is taken out then: no writer sees one. Each writer escapes for its own format, since a
//! step's name can hold whatever a Dockerfile holds.

mod code_quality;
mod github;
mod json;
mod junit;
mod markdown;
mod sarif;
mod text;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

pub use code_quality::CodeQuality;
pub use github::GitHub;
pub use json::{CheckJson, SCHEMA};
pub use junit::JUnit;
pub use markdown::CheckMarkdown;
pub use sarif::Sarif;
pub use text::CheckText;

use crate::{
    freshness::{StepVerdict, Verdict},
    redact::Redactor,
    rules::{Finding, Severity},
};

/// Which run a report is of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunHead {
    /// The project.
    pub project: Option<String>,
    /// The commit, in full where it is known.
    pub commit: Option<String>,
    /// The branch.
    pub branch: Option<String>,
    /// The id under which the run was recorded.
    pub recorded: Option<String>,
}

/// Verdicts and findings of one log, without secrets.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    log: String,
    log_in_repository: Option<String>,
    scope: Scope,
    run: RunHead,
    verdicts: Vec<StepVerdict>,
    findings: Vec<Finding>,
    notes: Vec<String>,
    counts: Counts,
}

/// What was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// A log (`bklog check`).
    #[default]
    Log,
    /// The files of a repository (`bklog lint`).
    Files {
        /// So many were read.
        read: usize,
    },
}

/// How many of each there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Stale steps.
    pub stale: usize,
    /// Suspect steps.
    pub suspect: usize,
    /// Fresh steps.
    pub fresh: usize,
    /// Steps that nothing can be said of.
    pub unknown: usize,
    /// Errors that are shown.
    pub errors: usize,
    /// Warnings that are shown.
    pub warnings: usize,
    /// Notes that are shown.
    pub notes: usize,
    /// Findings that a comment, the settings or the baseline file suppress.
    pub suppressed: usize,
}

/// Writes a report in one format.
pub trait FindingsWriter {
    /// Writes the whole of it.
    ///
    /// # Errors
    /// Those of `out`.
    fn write(&self, report: &CheckReport, out: &mut dyn Write) -> io::Result<()>;
}

impl CheckReport {
    /// Makes a report and takes the secrets out of every text. `log` is the name of the log, `notes` say what could not be used.
    pub fn new(log: &str, mut verdicts: Vec<StepVerdict>, mut findings: Vec<Finding>, mut notes: Vec<String>, redactor: &Redactor) -> Self {
        for verdict in &mut verdicts {
            redactor.clean(&mut verdict.name);
            redactor.clean(&mut verdict.because);
            redactor.clean_lines(&mut verdict.changed_files);
        }
        for finding in &mut findings {
            redactor.clean(&mut finding.message);
            redactor.clean(&mut finding.help);
            redactor.clean_lines(&mut finding.evidence);
            redactor.clean_lines(&mut finding.files);
            // A fix that would hold a secret is not shown; what `--fix` does is not taken from here.
            let clean = |fix: &crate::rules::Fix| fix.edits.iter().all(|edit| redactor.text(&edit.replacement) == edit.replacement);
            finding.fix = finding.fix.take().filter(clean);
            if let Some(reason) = &mut finding.suppressed {
                redactor.clean(reason);
            }
            if let Some(step) = finding.in_log.as_mut().and_then(|place| place.step.as_mut()) {
                redactor.clean(step);
            }
            if let Some(location) = &mut finding.location {
                redactor.clean(&mut location.path);
                if let Some(path) = &mut location.in_repository {
                    redactor.clean(path);
                }
                redactor.clean_lines(&mut location.text);
            }
        }
        redactor.clean_lines(&mut notes);
        let counts = count(&verdicts, &findings);
        Self { log: redactor.text(log).into_owned(), verdicts, findings, notes, counts, ..Self::default() }
    }

    /// Makes a report about the files of a repository, of which `read` were read. `root` is the directory's name.
    pub fn of_files(root: &str, read: usize, findings: Vec<Finding>, notes: Vec<String>, redactor: &Redactor) -> Self {
        Self { scope: Scope::Files { read }, ..Self::new(root, Vec::new(), findings, notes, redactor) }
    }

    /// Says where the log stands in its repository, if it is a file of one.
    pub fn log_in_repository(mut self, path: Option<String>, redactor: &Redactor) -> Self {
        self.log_in_repository = path.map(|path| redactor.text(&path).into_owned());
        self
    }

    /// What was judged.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// What the last line begins with, `1 stale, 11 fresh` or `12 files read`; and the command that was run.
    fn judged(&self) -> (String, &'static str) {
        match self.scope {
            Scope::Files { read } => (crate::report::units::count(read, "file") + " read", "bklog lint"),
            Scope::Log if self.counts.verdicts().is_empty() => ("no copied step".to_owned(), "bklog check"),
            Scope::Log => (self.counts.verdicts(), "bklog check"),
        }
    }

    /// Says which run it is of.
    pub fn of_run(mut self, mut run: RunHead, redactor: &Redactor) -> Self {
        for text in [&mut run.project, &mut run.commit, &mut run.branch, &mut run.recorded].into_iter().flatten() {
            redactor.clean(text);
        }
        self.run = run;
        self
    }

    /// Which run it is of.
    pub fn run(&self) -> &RunHead {
        &self.run
    }

    /// The name of the log.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The verdicts in the order of the log.
    pub fn verdicts(&self) -> &[StepVerdict] {
        &self.verdicts
    }

    /// All findings, the worst first; suppressed ones too.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The findings that nothing suppresses.
    pub fn shown(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.suppressed.is_none())
    }

    /// What could not be used as evidence, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many of each there are.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The worst severity that is shown.
    pub fn worst(&self) -> Option<Severity> {
        self.shown().map(|finding| finding.severity).max()
    }

    /// Fingerprints that are told apart where the same thing is found twice: the second one gets a number.
    fn fingerprints(&self) -> Vec<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let number = |finding: &Finding| {
            let fingerprint = finding.fingerprint();
            let count = seen.entry(fingerprint.clone()).or_default();
            *count += 1;
            if *count == 1 { fingerprint } else { format!("{fingerprint}-{count}") }
        };
        self.findings.iter().map(number).collect()
    }
}

fn count(verdicts: &[StepVerdict], findings: &[Finding]) -> Counts {
    let verdict = |wanted| verdicts.iter().filter(|verdict| verdict.verdict == wanted).count();
    let shown = |wanted| findings.iter().filter(|finding| finding.suppressed.is_none() && finding.severity == wanted).count();
    Counts {
        stale: verdict(Verdict::Stale),
        suspect: verdict(Verdict::Suspect),
        fresh: verdict(Verdict::Fresh),
        unknown: verdict(Verdict::Unknown),
        errors: shown(Severity::Error),
        warnings: shown(Severity::Warning),
        notes: shown(Severity::Note),
        suppressed: findings.iter().filter(|finding| finding.suppressed.is_some()).count(),
    }
}

impl Counts {
    /// `1 stale, 11 fresh`; empty where there are no verdicts.
    pub fn verdicts(&self) -> String {
        list(
            [(self.stale, "stale"), (self.suspect, "suspect"), (self.unknown, "unknown"), (self.fresh, "fresh")]
                .map(|(n, word)| (n, word.to_owned())),
        )
    }

    /// `2 errors, 1 note`; empty where there are none.
    pub fn findings(&self) -> String {
        let plural = |n: usize, word: &str| (n, if n == 1 { word.to_owned() } else { format!("{word}s") });
        list([
            plural(self.errors, "error"),
            plural(self.warnings, "warning"),
            plural(self.notes, "note"),
            (self.suppressed, "suppressed".to_owned()),
        ])
    }
}

fn list<const N: usize>(counts: [(usize, String); N]) -> String {
    let parts: Vec<String> = counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    parts.join(", ")
}

/// `#7 [backend stage-1 6/9] COPY . /app/`: the step that a finding is about, on one line; empty where it is about none.
fn step_label(finding: &Finding) -> String {
    let Some(place) = &finding.in_log else { return String::new() };
    match (place.index, &place.step) {
        (Some(index), Some(name)) => format!("#{index} {}", name.lines().next().unwrap_or_default()),
        (Some(index), None) => format!("#{index}"),
        (None, _) => format!("build {}", place.build + 1),
    }
}

/// The text of a finding with its evidence and its help, a line each.
fn lines(finding: &Finding) -> Vec<String> {
    let mut lines = vec![finding.message.clone()];
    let label = step_label(finding);
    if !label.is_empty() {
        lines.push(label);
    }
    lines.extend(finding.evidence.iter().cloned());
    if !finding.files.is_empty() {
        lines.push(format!("files: {}", files(finding, 10)));
    }
    if !finding.help.is_empty() {
        lines.push(format!("do: {}", finding.help));
    }
    lines
}

/// The files of a finding, the first few by name.
fn files(finding: &Finding, most: usize) -> String {
    let mut text = finding.files.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    if finding.files.len() > most {
        text += &format!(" and {} more", finding.files.len() - most);
    }
    text
}
