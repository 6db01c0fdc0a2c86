//! The evidence that `check` is given by flags, and what it makes of it.

use std::path::{Path, PathBuf};

use clap::Args;

#[cfg(feature = "history")]
use super::earlier::Ledger;
use super::{
    commands::{Call, CommandArgs},
    error::CliError,
    reporting, times,
};
use crate::{
    build::Build,
    evidence::{build_command::BuildCommand, build_target::BuildTarget, ci, image::Image},
    freshness::{
        Input, NoPast, Past, Report,
        assign::assign,
        check,
        plan::{Source, Sources},
    },
    policy::Policy,
    redact::Redactor,
    report::findings::{CheckReport, RunHead},
    rules::{self, BuildFacts, EarlierRuns, Facts, GitFacts, NoHistory, SourceFile},
};

/// A log that is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged<'l> {
    /// Its name.
    pub(super) name: &'l str,
    /// Its builds.
    pub(super) builds: &'l [Build],
    /// Its lines outside of builds.
    pub(super) remarks: &'l [(u64, String)],
    /// The build commands that were seen while it was made.
    pub(super) calls: &'l [Call],
    /// What could not be seen of them.
    pub(super) notes: &'l [String],
    /// True where `run` made it.
    pub(super) is_run: bool,
}

/// What made the log, and what to judge it by.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct EvidenceArgs {
    #[command(flatten)]
    commands: CommandArgs,

    /// The commit that was to be built; HEAD of the tree if not given
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,

    /// Compare with this commit, and not with the last recorded run
    #[arg(long, value_name = "REV")]
    since: Option<String>,

    /// The history's directory
    #[arg(long, value_name = "DIR", env = "BKLOG_HISTORY")]
    history: Option<PathBuf>,

    /// Record the run in the history, as `run` always does
    #[arg(long, overrides_with = "no_record")]
    record: bool,

    /// Do not record the run
    #[arg(long)]
    no_record: bool,

    /// The project; the name of the repository's directory if not given
    #[arg(long, value_name = "NAME")]
    project: Option<String>,

    /// The builder, where the log does not name it
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,

    /// When the build began (RFC 3339, or seconds since 1970)
    #[arg(long, value_name = "TIME")]
    started_at: Option<String>,

    /// The image that was made: an archive of docker save or an OCI layout; once for each image. Its bytes outrank all other evidence
    #[arg(long = "image", value_name = "ARCHIVE")]
    images: Vec<PathBuf>,
}

impl EvidenceArgs {
    /// True where the run is to be recorded.
    #[cfg(feature = "history")]
    fn records(&self, is_run: bool) -> bool {
        (self.record || is_run) && !self.no_record
    }

    /// Judges the builds of a log, and records the run where that was asked for.
    ///
    /// # Errors
    /// Flags or files that cannot be understood, or a run that cannot be recorded.
    pub(super) fn judge(&self, log: &Judged<'_>, policy: &Policy) -> Result<(CheckReport, Redactor), CliError> {
        let Judged { builds, remarks, .. } = *log;
        let cwd = working_directory();
        let env = |name: &str| std::env::var(name).ok();
        let started = times::time("--started-at", self.started_at.as_deref())?;
        let known = reporting::known(policy)?;
        let mut notes = log.notes.to_vec();
        let commands = self.commands.read(&cwd, &env, log.calls, &mut notes)?;
        let sources = Sources::default();
        let assigned = assign(builds, &commands, &sources);
        notes.extend(assigned.notes);
        let commands = assigned.commands;
        let history = self.open_history(&cwd, policy, log, started, &mut notes)?;
        let past: &dyn Past = match &history {
            Some(history) => history,
            None => &NoPast,
        };
        let mut images = Vec::new();
        for path in &self.images {
            match Image::read_all(path) {
                Ok(read) => images.extend(read),
                Err(error) => notes.push(error.to_string()),
            }
        }
        // The name of a run is that of its command.
        let log_file = if log.is_run { None } else { cwd.join(log.name).canonicalize().ok() };
        let input = Input {
            builds,
            commands: &commands,
            sources: &sources,
            commit: self.commit.as_deref(),
            since: self.since.as_deref(),
            builder: self.builder.as_deref(),
            cwd: &cwd,
            env: &env,
            past,
            images: &images,
            log: log_file.as_deref(),
        };
        let mut report = check(&input);
        report.notes.splice(0..0, notes);
        let mut head = RunHead {
            project: Some(super::project::project(self.project.as_deref(), &cwd)),
            commit: report.commit.clone().or_else(|| self.commit.clone()),
            branch: ci::job(&env).and_then(|job| job.branch).or_else(|| report.branch.clone()),
            recorded: None,
        };
        let files: Vec<Vec<Option<SourceFile>>> = commands
            .iter()
            .map(|command| command.iter().flat_map(|command| &command.targets).map(|target| source_file(target, &sources, &cwd)).collect())
            .collect();
        let git = GitFacts {
            commit: report.commit.clone().or_else(|| self.commit.clone()),
            head: report.head.clone(),
            changed: std::mem::take(&mut report.changed),
            ignored: std::mem::take(&mut report.ignored),
        };
        #[cfg(feature = "history")]
        let earlier = history.as_ref().map(|history| Ledger::new(history, cwd.clone()));
        #[cfg(not(feature = "history"))]
        let earlier: Option<NoHistory> = None;
        let earlier: &dyn EarlierRuns = match &earlier {
            Some(earlier) => earlier,
            None => &NoHistory,
        };
        let facts = Facts {
            builds: builds.iter().enumerate().map(|(number, build)| build_facts(number, build, &commands, &files)).collect(),
            remarks,
            policy,
            git: Some(&git),
            history: earlier,
            verdicts: &report.steps,
            raised: &report.findings,
        };
        let redactor = facts.redactor();
        let mut findings = rules::judge(&facts, &reporting::today(), &known);
        drop(facts);
        if let Some(history) = &history {
            let known = Known { head: &head, started, commands: &commands, cwd: &cwd };
            head.recorded = self.record(history, log, &mut report, &known, &redactor);
        }
        let log_place = reporting::locate(&mut findings, log.name, &cwd, &cwd);
        // The listings of large contexts: to take them apart piece by piece takes longer than the end of the process, which is near.
        std::mem::forget(std::mem::take(&mut report.syncs));
        let report = CheckReport::new(log.name, report.steps, findings, report.notes, &redactor);
        Ok((report.log_in_repository(log_place, &redactor).of_run(head, &redactor), redactor))
    }
}

/// What is known of a run that is to be recorded, beside its log.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "history"), expect(dead_code, reason = "only the history asks"))]
struct Known<'a> {
    head: &'a RunHead,
    started: Option<jiff::Timestamp>,
    /// The command of each build.
    commands: &'a [Option<BuildCommand>],
    cwd: &'a Path,
}

#[cfg(feature = "history")]
mod with_history {
    use super::super::ledger;
    use super::{CliError, EvidenceArgs, Judged, Known, Path, Policy, Redactor, Report};
    use crate::history::naming::Called;
    use crate::history::{Clock, History, Recorded, RunInfo, log_digest, run_rows};

    impl EvidenceArgs {
        /// The history to judge by, where one is named or this run is to be recorded: without what was recorded of this very run, and of
        /// later ones. A build that was run must not fail for want of a place.
        pub(super) fn open_history(
            &self,
            cwd: &Path,
            policy: &Policy,
            log: &Judged<'_>,
            started: Option<jiff::Timestamp>,
            notes: &mut Vec<String>,
        ) -> Result<Option<History>, CliError> {
            let named = self.history.is_some() || policy.history.is_some();
            let asked = named || log.is_run || self.record;
            let root = match ledger::root(self.history.as_deref(), policy) {
                Ok(root) if asked || root.is_dir() => root,
                Err(_) if log.is_run && !self.record && !self.no_record => {
                    let why = "there is no place for the history; give --history DIR, or set BKLOG_HISTORY";
                    notes.push(format!("the run is not recorded: {why}"));
                    return Ok(None);
                }
                Err(error) if asked && !self.no_record => return Err(error),
                // Nobody asked for a history, and there is none.
                _ => return Ok(None),
            };
            if !named && !root.exists() && self.records(log.is_run) {
                notes.push(format!(
                    "the history begins in {}; --history, BKLOG_HISTORY or bklog.toml name another place, --no-record keeps none",
                    root.display()
                ));
            }
            let project = ledger::project(self.project.as_deref(), cwd);
            let mut history = History::open(&root, &project);
            history.judge(&log_digest(&project, log.builds), started.or_else(|| ledger::logged_start(log.builds)));
            Ok(Some(history))
        }

        /// Records the run and gives its id, if it is to be.
        ///
        /// What was found counts more than that it is kept: a history that cannot be written does not take the verdict away.
        pub(super) fn record(
            &self,
            history: &History,
            log: &Judged<'_>,
            report: &mut Report,
            of: &Known<'_>,
            redactor: &Redactor,
        ) -> Option<String> {
            let Known { head, started, commands: assigned, cwd } = *of;
            report.notes.extend(history.problems());
            if !self.records(log.is_run) || log.builds.is_empty() {
                return None;
            }
            let known = started.or_else(|| ledger::logged_start(log.builds));
            let around = ledger::Surroundings::look(&super::working_directory());
            let guessed = || ledger::file_time(log.name, log.builds).unwrap_or_else(jiff::Timestamp::now);
            let called = || log.calls.iter().filter_map(|call| shlex::try_join(call.words.iter().map(String::as_str)).ok());
            let commands = self.commands.texts();
            let commands = if commands.is_empty() { called().collect() } else { commands.to_vec() };
            let info = RunInfo {
                project: history.project().to_owned(),
                started_at: known.unwrap_or_else(guessed),
                finished_at: None,
                commit: head.commit.clone().or(around.commit),
                branch: head.branch.clone().or(around.branch),
                job_url: around.job_url,
                runner: around.runner,
                builder: self.builder.clone().or(around.builder),
                command: (!commands.is_empty()).then(|| commands.join("\n")),
                called: assigned.iter().map(|command| Some(Called::new(command.as_ref()?, cwd))).collect(),
                redactor: redactor.clone(),
            };
            let rows = run_rows(log.builds, &report.steps, &info);
            let clock = if known.is_some() { Clock::Known } else { Clock::Guessed };
            match history.record(&rows, &report.syncs, clock) {
                Ok(recorded) => {
                    history.tidy();
                    Some(match recorded {
                        Recorded::New => rows.run.run,
                        Recorded::Before(run) => run,
                    })
                }
                Err(error) => {
                    report.notes.push(format!("the run was not recorded: {error}"));
                    None
                }
            }
        }
    }
}

#[cfg(not(feature = "history"))]
impl EvidenceArgs {
    fn open_history(
        &self,
        _cwd: &Path,
        _policy: &Policy,
        _log: &Judged<'_>,
        _started: Option<jiff::Timestamp>,
        _notes: &mut Vec<String>,
    ) -> Result<Option<NoPast>, CliError> {
        if self.history.is_some() || self.record {
            let hint = "leave --history and --record out, or use a bklog with the feature `history`";
            return Err(CliError::Usage { what: "this bklog was built without the history".to_owned(), hint });
        }
        Ok(None)
    }

    #[expect(clippy::unused_self, reason = "the same call as with the feature")]
    fn record(
        &self,
        _history: &NoPast,
        _log: &Judged<'_>,
        _report: &mut Report,
        _known: &Known<'_>,
        _redactor: &Redactor,
    ) -> Option<String> {
        None
    }
}

/// The working directory by the name that the shell has for it, as buildx and docker see it: links in it are not resolved.
pub(super) fn working_directory() -> PathBuf {
    let real = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let shell = std::env::var_os("PWD").map(PathBuf::from).filter(|shell| shell.is_absolute());
    match shell {
        Some(shell) if shell.canonicalize().ok() == real.canonicalize().ok() => shell,
        _ => real,
    }
}

/// The Dockerfile of a target, where it can be read.
fn source_file(target: &BuildTarget, sources: &Sources, cwd: &Path) -> Option<SourceFile> {
    let source = sources.of(target);
    let Source::Read(bytes, path) = &*source else { return None };
    let inline = || target.place.as_ref().map_or_else(|| PathBuf::from("Dockerfile"), |place| place.file.clone());
    SourceFile::new(&path.clone().unwrap_or_else(inline), cwd, bytes)
}

/// A build and its command.
fn build_facts<'a>(
    number: usize,
    build: &'a Build,
    commands: &'a [Option<BuildCommand>],
    files: &'a [Vec<Option<SourceFile>>],
) -> BuildFacts<'a> {
    match (commands.get(number).and_then(Option::as_ref), files.get(number)) {
        (Some(command), Some(files)) => BuildFacts::new(number, build, command, files),
        _ => BuildFacts::log_only(number, build),
    }
}
