//! The evidence that `check` is given by flags, and what it makes of it.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{error::CliError, reporting, times};
use crate::{
    build::Build,
    evidence::{
        build_command::{self, BuildCommand, CommandError},
        build_target::BuildTarget,
        image::Image,
    },
    freshness::{Input, NoPast, Past, Report, check, plan::Source},
    policy::Policy,
    redact::Redactor,
    report::findings::CheckReport,
    rules::{self, BuildFacts, Facts, GitFacts, NoHistory, SourceFile},
};

/// What made the log, and what to judge it by.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct EvidenceArgs {
    /// The command that made the log, as it was typed; once for each build in the log
    #[arg(long = "build", value_name = "COMMAND")]
    builds: Vec<String>,

    /// The commit that was to be built; HEAD of the tree if not given
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,

    /// Compare with this commit, and not with the last recorded run
    #[arg(long, value_name = "REV")]
    since: Option<String>,

    /// The history's directory
    #[arg(long, value_name = "DIR", env = "BKLOG_HISTORY")]
    history: Option<PathBuf>,

    /// Record the run in the history
    #[arg(long)]
    record: bool,

    /// The project; the name of the repository's directory if not given
    #[arg(long, value_name = "NAME")]
    project: Option<String>,

    /// The builder, where the log does not name it
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,

    /// When the build began (RFC 3339, or seconds since 1970)
    #[arg(long, value_name = "TIME")]
    started_at: Option<String>,

    /// The image that was made: an archive of docker save or an OCI layout. Its bytes outrank all other evidence
    #[arg(long, value_name = "ARCHIVE")]
    image: Option<PathBuf>,

    /// The build context, where no --build says it
    #[arg(long, value_name = "DIR")]
    context: Option<String>,

    /// The Dockerfile
    #[arg(long, short, value_name = "FILE")]
    file: Option<String>,

    /// The target stage
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,

    /// A build argument
    #[arg(long = "build-arg", value_name = "K=V")]
    build_args: Vec<String>,

    /// A named context
    #[arg(long = "build-context", value_name = "N=DIR")]
    build_contexts: Vec<String>,

    /// A compose file, where the services of it were built
    #[arg(long, value_name = "FILE")]
    compose: Option<String>,
}

impl EvidenceArgs {
    /// The same, for a log that the command `words` made. A command that is no build itself, a script perhaps, says nothing.
    pub(super) fn made_by(&self, words: &[String]) -> Self {
        let mut args = self.clone();
        let env = |name: &str| std::env::var(name).ok();
        let cwd = std::env::current_dir().unwrap_or_default();
        if args.builds.is_empty()
            && build_command::parse_words(words, &cwd, &env).is_ok()
            && let Ok(command) = shlex::try_join(words.iter().map(String::as_str))
        {
            args.builds.push(command);
        }
        args
    }

    /// Judges the builds of a log, and records the run where that was asked for. `log` is the log's name, `remarks` are its lines outside
    /// of builds.
    ///
    /// # Errors
    /// Flags or files that cannot be understood, or a run that cannot be recorded.
    pub(super) fn judge(
        &self,
        log: &str,
        builds: &[Build],
        remarks: &[(u64, String)],
        policy: &Policy,
    ) -> Result<(CheckReport, Redactor), CliError> {
        let cwd = working_directory();
        let env = |name: &str| std::env::var(name).ok();
        let started = times::time("--started-at", self.started_at.as_deref())?;
        let known = reporting::known(policy)?;
        let mut notes = Vec::new();
        let commands = self.commands(&cwd, &env, &mut notes)?;
        let history = self.open_history(&cwd, policy, builds, started)?;
        let past: &dyn Past = match &history {
            Some(history) => history,
            None => &NoPast,
        };
        let image = match self.image.as_deref().map(Image::read).transpose() {
            Ok(image) => image,
            Err(error) => {
                notes.push(error.to_string());
                None
            }
        };
        let input = Input {
            builds,
            commands: &commands,
            commit: self.commit.as_deref(),
            since: self.since.as_deref(),
            builder: self.builder.as_deref(),
            cwd: &cwd,
            env: &env,
            past,
            image: image.as_ref(),
        };
        let mut report = check(&input);
        report.notes.splice(0..0, notes);
        let sources: Vec<Vec<Option<SourceFile>>> =
            commands.iter().map(|command| command.targets.iter().map(|target| source_file(target, &cwd)).collect()).collect();
        let git =
            report.commit.clone().or_else(|| self.commit.clone()).map(|commit| GitFacts { commit: Some(commit), ..GitFacts::default() });
        let facts = Facts {
            builds: builds.iter().enumerate().map(|(number, build)| build_facts(number, build, &commands, &sources)).collect(),
            remarks,
            policy,
            git: git.as_ref(),
            history: &NoHistory,
            verdicts: &report.steps,
            raised: &report.findings,
        };
        let redactor = facts.redactor();
        let findings = rules::judge(&facts, &reporting::today(), &known);
        drop(facts);
        if let Some(history) = &history {
            self.record(history, log, builds, &mut report, &redactor, started)?;
        }
        Ok((CheckReport::new(log, report.steps, findings, report.notes, &redactor), redactor))
    }

    fn commands(&self, cwd: &Path, env: &dyn Fn(&str) -> Option<String>, notes: &mut Vec<String>) -> Result<Vec<BuildCommand>, CliError> {
        let mut read = Vec::new();
        if self.builds.is_empty() {
            read.extend(self.words().map(|words| build_command::parse_words(&words, cwd, env)));
        } else {
            read.extend(self.builds.iter().map(|text| build_command::parse(text, cwd, env)));
        }
        let mut commands = Vec::new();
        for command in read {
            match command {
                Ok(command) => commands.push(command),
                // Files that cannot be read leave less to judge from, and no reason to stop.
                Err(error @ (CommandError::Bake(_) | CommandError::Compose(_))) => notes.push(error.to_string()),
                Err(error) => {
                    return Err(CliError::Usage { what: error.to_string(), hint: "give --build the command as you would type it" });
                }
            }
        }
        Ok(commands)
    }

    /// The command that the other flags describe.
    fn words(&self) -> Option<Vec<String>> {
        let word = str::to_owned;
        if let Some(file) = &self.compose {
            return Some(["docker", "compose", "-f", file, "build"].map(word).to_vec());
        }
        if self.context.is_none() && self.file.is_none() {
            return None;
        }
        let mut words = ["docker", "build"].map(word).to_vec();
        let mut add = |flag: &str, value: &str| words.extend([word(flag), word(value)]);
        for (flag, value) in [("--file", &self.file), ("--target", &self.target)] {
            if let Some(value) = value {
                add(flag, value);
            }
        }
        for arg in &self.build_args {
            add("--build-arg", arg);
        }
        for context in &self.build_contexts {
            add("--build-context", context);
        }
        words.push(self.context.clone().unwrap_or_else(|| word(".")));
        Some(words)
    }
}

#[cfg(feature = "history")]
mod with_history {
    use super::super::ledger;
    use super::{Build, CliError, EvidenceArgs, Path, Policy, Redactor, Report};
    use crate::history::{Clock, History, RunInfo, log_digest, run_rows};

    impl EvidenceArgs {
        /// The history to judge by, where there is one: without what was recorded of this very run, and of later ones.
        pub(super) fn open_history(
            &self,
            cwd: &Path,
            policy: &Policy,
            builds: &[Build],
            started: Option<jiff::Timestamp>,
        ) -> Result<Option<History>, CliError> {
            if self.history.is_none() && policy.history.is_none() && !self.record {
                return Ok(None);
            }
            let project = ledger::project(self.project.as_deref(), cwd);
            let mut history = History::open(&ledger::root(self.history.as_deref(), policy)?, &project);
            history.judge(&log_digest(&project, builds), started.or_else(|| ledger::logged_start(builds)));
            Ok(Some(history))
        }

        pub(super) fn record(
            &self,
            history: &History,
            log: &str,
            builds: &[Build],
            report: &mut Report,
            redactor: &Redactor,
            started: Option<jiff::Timestamp>,
        ) -> Result<(), CliError> {
            report.notes.extend(history.problems());
            if !self.record || builds.is_empty() {
                return Ok(());
            }
            let known = started.or_else(|| ledger::logged_start(builds));
            let around = ledger::Surroundings::look(&super::working_directory());
            let guessed = || ledger::file_time(log, builds).unwrap_or_else(jiff::Timestamp::now);
            let info = RunInfo {
                project: history.project().to_owned(),
                started_at: known.unwrap_or_else(guessed),
                finished_at: None,
                commit: report.commit.clone().or_else(|| self.commit.clone()).or(around.commit),
                branch: around.branch,
                job_url: around.job_url,
                runner: around.runner,
                builder: self.builder.clone().or(around.builder),
                command: self.builds.first().cloned(),
                redactor: redactor.clone(),
            };
            let rows = run_rows(builds, &report.steps, &info);
            let clock = if known.is_some() { Clock::Known } else { Clock::Guessed };
            history.record(&rows, &report.syncs, clock).map_err(|error| CliError::History(error.to_string()))?;
            history.tidy();
            Ok(())
        }
    }
}

#[cfg(not(feature = "history"))]
impl EvidenceArgs {
    fn open_history(
        &self,
        _cwd: &Path,
        _policy: &Policy,
        _builds: &[Build],
        _started: Option<jiff::Timestamp>,
    ) -> Result<Option<NoPast>, CliError> {
        if self.history.is_some() || self.record {
            let hint = "leave --history and --record out, or use a bklog with the feature `history`";
            return Err(CliError::Usage { what: "this bklog was built without the history".to_owned(), hint });
        }
        Ok(None)
    }

    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same call as with the feature")]
    fn record(
        &self,
        _history: &NoPast,
        _log: &str,
        _builds: &[Build],
        _report: &mut Report,
        _redactor: &Redactor,
        _started: Option<jiff::Timestamp>,
    ) -> Result<(), CliError> {
        Ok(())
    }
}

/// The working directory by the name that the shell has for it, as buildx and docker see it: links in it are not resolved.
fn working_directory() -> PathBuf {
    let real = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let shell = std::env::var_os("PWD").map(PathBuf::from).filter(|shell| shell.is_absolute());
    match shell {
        Some(shell) if shell.canonicalize().ok() == real.canonicalize().ok() => shell,
        _ => real,
    }
}

/// The Dockerfile of a target, where it can be read.
fn source_file(target: &BuildTarget, cwd: &Path) -> Option<SourceFile> {
    let Source::Read(bytes, path) = Source::read(target) else { return None };
    let inline = || target.place.as_ref().map_or_else(|| PathBuf::from("Dockerfile"), |place| place.file.clone());
    SourceFile::new(&path.unwrap_or_else(inline), cwd, &bytes)
}

/// A build and its command; the last command also counts for the builds after it.
fn build_facts<'a>(
    number: usize,
    build: &'a Build,
    commands: &'a [BuildCommand],
    sources: &'a [Vec<Option<SourceFile>>],
) -> BuildFacts<'a> {
    let at = number.min(commands.len().saturating_sub(1));
    match (commands.get(at), sources.get(at)) {
        (Some(command), Some(sources)) => BuildFacts::new(number, build, command, sources),
        _ => BuildFacts::log_only(number, build),
    }
}
