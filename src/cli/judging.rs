//! The evidence that `check` is given by flags, and what it makes of it.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    commands::{Call, CommandArgs},
    error::CliError,
    reporting,
};
use crate::{
    build::Build,
    evidence::{build_command::BuildCommand, build_target::BuildTarget, image::Image},
    freshness::{
        Input, NoPast, Past, Report,
        assign::assign,
        check,
        plan::{Source, Sources},
    },
    policy::Policy,
    redact::Redactor,
    report::findings::{CheckReport, RunHead},
    rules::{self, BuildFacts, Facts, GitFacts, NoHistory, SourceFile},
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

    /// The image that was made: an archive of docker save or an OCI layout. Its bytes outrank all other evidence
    #[arg(long, value_name = "ARCHIVE")]
    image: Option<PathBuf>,
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
        let started = self.started_at()?;
        let known = reporting::known(policy)?;
        let mut notes = log.notes.to_vec();
        let commands = self.commands.read(&cwd, &env, log.calls, &mut notes)?;
        let sources = Sources::default();
        let assigned = assign(builds, &commands, &sources);
        notes.extend(assigned.notes);
        let commands = assigned.commands;
        let history = self.open_history(&cwd, policy, log.is_run, &mut notes)?;
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
            sources: &sources,
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
        let mut head = RunHead {
            project: Some(self.project_name(&cwd)),
            commit: report.commit.clone().or_else(|| self.commit.clone()),
            branch: branch(&env).or_else(|| report.branch.clone()),
            recorded: None,
        };
        let files: Vec<Vec<Option<SourceFile>>> = commands
            .iter()
            .map(|command| command.iter().flat_map(|command| &command.targets).map(|target| source_file(target, &sources, &cwd)).collect())
            .collect();
        let git =
            report.commit.clone().or_else(|| self.commit.clone()).map(|commit| GitFacts { commit: Some(commit), ..GitFacts::default() });
        let facts = Facts {
            builds: builds.iter().enumerate().map(|(number, build)| build_facts(number, build, &commands, &files)).collect(),
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
        if let Some(history) = history {
            head.recorded = self.record(&history, log, &mut report, &head, started, &redactor)?;
        }
        Ok((CheckReport::new(log.name, report.steps, findings, report.notes, &redactor).of_run(head, &redactor), redactor))
    }

    fn project_name(&self, cwd: &Path) -> String {
        if let Some(project) = &self.project {
            return project.clone();
        }
        let repository = cwd.ancestors().find(|directory| directory.join(".git").exists()).unwrap_or(cwd);
        repository.file_name().map_or_else(|| "default".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    fn started_at(&self) -> Result<Option<jiff::Timestamp>, CliError> {
        let Some(text) = &self.started_at else {
            return Ok(None);
        };
        let seconds = text.parse::<i64>().ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        match seconds.or_else(|| text.parse().ok()) {
            Some(at) => Ok(Some(at)),
            None => Err(CliError::Usage { what: format!("--started-at {text:?} is no time"), hint: "for example 2026-11-21T08:14:26Z" }),
        }
    }
}

#[cfg(feature = "history")]
mod with_history {
    use super::{Build, CliError, EvidenceArgs, Judged, Path, PathBuf, Policy, Redactor, Report, RunHead};
    use crate::build::Instant;
    use crate::history::{History, RunInfo, run_rows};
    use crate::redact::Redacted;

    impl EvidenceArgs {
        /// The history, where one is named or this run is to be recorded. A build that was run must not fail for want of a place.
        pub(super) fn open_history(
            &self,
            cwd: &Path,
            policy: &Policy,
            is_run: bool,
            notes: &mut Vec<String>,
        ) -> Result<Option<History>, CliError> {
            let settings = policy.history.as_deref().map(|path| policy.resolve(path));
            let root = match (self.history.as_ref().or(settings.as_ref()), is_run || self.record) {
                (Some(root), _) => root.clone(),
                (None, false) => return Ok(None),
                (None, true) => match data_directory() {
                    Some(root) => {
                        if !root.exists() && self.records(is_run) {
                            notes.push(format!(
                                "the history begins in {}; --history, BKLOG_HISTORY or bklog.toml name another place, --no-record keeps none",
                                root.display()
                            ));
                        }
                        root
                    }
                    None if self.no_record => return Ok(None),
                    None if is_run && !self.record => {
                        notes.push(
                            "the run is not recorded: there is no place for the history; give --history DIR, or set BKLOG_HISTORY"
                                .to_owned(),
                        );
                        return Ok(None);
                    }
                    None => {
                        return Err(CliError::Usage {
                            what: "there is no place for the history".to_owned(),
                            hint: "give --history DIR, or set BKLOG_HISTORY or HOME",
                        });
                    }
                },
            };
            Ok(Some(History::open(&root, &self.project_name(cwd))))
        }

        /// Records the run and gives its id, if it is to be.
        pub(super) fn record(
            &self,
            history: &History,
            log: &Judged<'_>,
            report: &mut Report,
            head: &RunHead,
            started: Option<jiff::Timestamp>,
            redactor: &Redactor,
        ) -> Result<Option<String>, CliError> {
            report.notes.extend(history.problems());
            if !self.records(log.is_run) {
                return Ok(None);
            }
            let logged = log.builds.iter().find_map(|build| build.started).filter(|started: &Instant| started.absolute);
            let logged = logged.and_then(|started| jiff::Timestamp::from_nanosecond(started.nanoseconds).ok());
            let called = log.calls.first().and_then(|call| shlex::try_join(call.words.iter().map(String::as_str)).ok());
            let info = RunInfo {
                project: head.project.clone().unwrap_or_default(),
                started_at: started.or(logged).unwrap_or_else(jiff::Timestamp::now),
                commit: head.commit.clone(),
                branch: head.branch.clone(),
                builder: self.builder.clone(),
                command: self.commands.first().cloned().or(called).map(|command| redactor.text(&command).into_owned()),
            };
            // What the arguments say is secret, the ledger must not hold either.
            let builds: Vec<Build> = log.builds.iter().map(|build| (*Redacted::build(build.clone(), redactor)).clone()).collect();
            let (run, steps) = run_rows(&builds, &report.steps, &info);
            match history.record(&run, &steps, &report.syncs) {
                Ok(_) => Ok(Some(run.run)),
                Err(error) if log.is_run && !self.record => {
                    report.notes.push(format!("the run is not recorded: {error}"));
                    Ok(None)
                }
                Err(error) => Err(CliError::History(error.to_string())),
            }
        }
    }

    /// `$XDG_DATA_HOME/bklog`, as other programs of the user keep their data.
    fn data_directory() -> Option<PathBuf> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_DATA_HOME").or_else(|| set("LOCALAPPDATA")).or_else(|| set("HOME").map(|home| home.join(".local/share")));
        base.map(|base| base.join("bklog"))
    }
}

#[cfg(not(feature = "history"))]
impl EvidenceArgs {
    fn open_history(&self, _cwd: &Path, _policy: &Policy, _is_run: bool, _notes: &mut Vec<String>) -> Result<Option<NoPast>, CliError> {
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
        _log: &Judged<'_>,
        _report: &mut Report,
        _head: &RunHead,
        _started: Option<jiff::Timestamp>,
        _redactor: &Redactor,
    ) -> Result<Option<String>, CliError> {
        Ok(None)
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

/// The branch, as the CI names it: its checkout is often at no branch.
fn branch(env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let names = ["GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "CHANGE_BRANCH", "BRANCH_NAME", "BUILDKITE_BRANCH"];
    names.into_iter().find_map(|name| env(name).filter(|branch| !branch.is_empty()))
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
