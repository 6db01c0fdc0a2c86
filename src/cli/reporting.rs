//! How `check` and `lint` report: the settings, the formats, the exit code.

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{error::CliError, exit_code};
use crate::{
    evidence::checkout::Checkouts,
    policy::Policy,
    report::findings::{CheckJson, CheckMarkdown, CheckReport, CheckText, CodeQuality, FindingsWriter, GitHub, JUnit, Sarif},
    rules::{self, Finding, Severity},
};

/// How the findings of a repository are weighed and written.
#[derive(Debug, Args)]
pub(super) struct LintReportArgs {
    /// How to write what was found
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: CheckFormat,

    /// From which severity on the exit code is 1
    #[arg(long, value_name = "SEVERITY", default_value = "error")]
    fail_on: FailOn,

    /// The settings [default: bklog.toml in the directory or above it]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl LintReportArgs {
    /// The settings that hold for a directory.
    pub(super) fn policy(&self, directory: &Path) -> Result<Policy, CliError> {
        match &self.config {
            Some(path) => Ok(Policy::read(path, &rules::names())?),
            None => Ok(Policy::find(directory, &rules::names())?),
        }
    }

    /// Writes a report in the format asked for. `width` are the columns for text.
    pub(super) fn write(&self, report: &CheckReport, width: usize, out: &mut dyn Write) -> Result<(), CliError> {
        write(self.format, report, width, out)
    }

    /// The exit code.
    pub(super) fn exit_code(&self, report: &CheckReport) -> u8 {
        self.fail_on.exit_code(report, exit_code::SUCCESS)
    }
}

/// How findings are weighed and written.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// How to write what was found. On a pipe it goes to standard error, with --quiet to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: CheckFormat,

    /// From which severity on the exit code is 1; a build that failed is 4 all the same
    #[arg(long, value_name = "SEVERITY", default_value = "error")]
    fail_on: FailOn,

    /// A cached COPY of application source is an error unless it is proved fresh
    #[arg(long)]
    strict: bool,

    /// The settings [default: bklog.toml in this directory or above it]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The formats of `check` and `lint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CheckFormat {
    /// For people
    Text,
    /// Everything, for programs (schemas bklog.check/1 and bklog.lint/1)
    Json,
    /// For merge requests and chats
    Markdown,
    /// Annotations of GitHub Actions, and a job summary where GITHUB_STEP_SUMMARY is set
    Github,
    /// GitLab Code Quality
    Gitlab,
    /// SARIF 2.1.0
    Sarif,
    /// JUnit XML
    Junit,
}

/// The threshold of the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Error,
    Warning,
    Never,
}

impl ReportArgs {
    /// The settings that hold: those of the file, and the flags over them.
    pub(super) fn policy(&self) -> Result<Policy, CliError> {
        let rules = rules::names();
        let mut policy = match &self.config {
            Some(path) => Policy::read(path, &rules)?,
            None => Policy::find(&std::env::current_dir().unwrap_or_default(), &rules)?,
        };
        policy.strict |= self.strict;
        Ok(policy)
    }

    /// Writes a report in the format asked for. `width` are the columns for text.
    pub(super) fn write(&self, report: &CheckReport, width: usize, out: &mut dyn Write) -> Result<(), CliError> {
        write(self.format, report, width, out)
    }

    /// The exit code: findings are worse than a build that failed.
    pub(super) fn exit_code(&self, report: &CheckReport, build: u8) -> u8 {
        self.fail_on.exit_code(report, build)
    }
}

impl FailOn {
    /// The exit code of a report, `otherwise` where nothing reaches the threshold.
    fn exit_code(self, report: &CheckReport, otherwise: u8) -> u8 {
        let threshold = match self {
            Self::Error => Severity::Error,
            Self::Warning => Severity::Warning,
            Self::Never => return otherwise,
        };
        if report.worst().is_some_and(|worst| worst >= threshold) { exit_code::FINDINGS } else { otherwise }
    }
}

/// Writes a report, and the job summary of GitHub Actions beside its annotations.
fn write(format: CheckFormat, report: &CheckReport, width: usize, out: &mut dyn Write) -> Result<(), CliError> {
    let text = CheckText { width };
    let writer: &dyn FindingsWriter = match format {
        CheckFormat::Text => &text,
        CheckFormat::Json => &CheckJson,
        CheckFormat::Markdown => &CheckMarkdown,
        CheckFormat::Github => &GitHub,
        CheckFormat::Gitlab => &CodeQuality,
        CheckFormat::Sarif => &Sarif,
        CheckFormat::Junit => &JUnit,
    };
    writer.write(report, out)?;
    if let (CheckFormat::Github, Some(path)) = (format, std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty())) {
        let path = Path::new(&path);
        let added = OpenOptions::new().append(true).create(true).open(path).and_then(|mut file| CheckMarkdown.write(report, &mut file));
        added.map_err(|cause| CliError::Summary { path: path.to_owned(), cause })?;
    }
    Ok(())
}

/// Says of every finding where its file stands in the repository that the report is of, that of the directory `subject`, and gives the
/// same of the log. Paths are relative to `cwd`.
pub(super) fn locate(findings: &mut [Finding], log: &str, subject: &Path, cwd: &Path) -> Option<String> {
    let mut checkouts = Checkouts::of(subject);
    for location in findings.iter_mut().filter_map(|finding| finding.location.as_mut()) {
        location.in_repository = checkouts.path(&cwd.join(&location.path));
    }
    let log = cwd.join(log);
    checkouts.path(&log).filter(|_| log.is_file())
}

/// Today in UTC, as `YYYY-MM-DD`.
pub(super) fn today() -> String {
    jiff::Timestamp::now().to_string().chars().take(10).collect()
}

/// The fingerprints of the baseline file.
pub(super) fn known(policy: &Policy) -> Result<Vec<String>, CliError> {
    #[derive(serde::Deserialize)]
    struct Baseline {
        findings: Vec<HashMap<String, serde_json::Value>>,
    }
    let Some(path) = &policy.baseline else { return Ok(Vec::new()) };
    let path = policy.resolve(path);
    let wrong = |cause: io::Error| CliError::Baseline { path: path.clone(), cause };
    let text = std::fs::read(&path).map_err(wrong)?;
    let baseline: Baseline = serde_json::from_slice(&text).map_err(|cause| wrong(cause.into()))?;
    let fingerprint = |finding: &HashMap<String, serde_json::Value>| finding.get("fingerprint")?.as_str().map(str::to_owned);
    Ok(baseline.findings.iter().filter_map(fingerprint).collect())
}
