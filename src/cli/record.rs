//! `bklog record`: puts runs into the history.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    error::CliError,
    exit_code,
    ledger::{self, Surroundings},
    log_files::{self, LogFile},
    reading::{self, display_name},
    times,
};
use crate::{
    build::Build,
    history::{Clock, History, HistoryError, Recorded, RunInfo, run_rows},
    policy::Policy,
    redact::Redactor,
    report::{escape, units},
    workers,
};

/// Put the runs of logs into the history
///
/// One log is one run, however many builds it holds. The same log is recorded once, whatever its name, its compression or the CI prefix of
/// its lines. Commit, branch, job and machine come from the flags, else from the variables of GitHub Actions, GitLab CI, Jenkins, Azure
/// Pipelines, Buildkite and CircleCI, else from git; logs of more than a day ago take nothing from the surroundings.
#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// Logs, directories of logs, or patterns such as 'logs/**/*.log.gz'; `-` is standard input
    #[arg(value_name = "LOG", required = true)]
    logs: Vec<String>,

    /// The history's directory [default: that of bklog.toml, else the user's data directory]
    #[arg(long, value_name = "DIR", env = "BKLOG_HISTORY")]
    history: Option<PathBuf>,

    /// The project; the name of the repository's directory if not given
    #[arg(long, value_name = "NAME")]
    project: Option<String>,

    /// The commit that was built
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,

    /// The branch
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,

    /// Where people find the CI job
    #[arg(long, value_name = "URL")]
    job_url: Option<String>,

    /// The machine that built
    #[arg(long, value_name = "NAME")]
    runner: Option<String>,

    /// The builder, where the log does not name it
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,

    /// When the build began (RFC 3339, or seconds since 1970) [default: the times in the log, else that of the file]
    #[arg(long, value_name = "TIME")]
    started_at: Option<String>,

    /// When the build ended, for one log
    #[arg(long, value_name = "TIME")]
    finished_at: Option<String>,
}

/// So many builds of one log are recorded; more are no deploy that anybody compares.
const MOST_BUILDS: usize = 2_000;

/// Runs between two foldings of an import.
const TIDY_EVERY: usize = 200;

/// What is the same for all logs of a call.
struct Recorder<'a> {
    args: &'a RecordArgs,
    history: History,
    started: Option<jiff::Timestamp>,
    finished: Option<jiff::Timestamp>,
    redactor: Redactor,
    surroundings: Option<Surroundings>,
    is_import: bool,
}

/// What became of the logs.
#[derive(Default)]
struct Tally {
    new: usize,
    before: usize,
    /// Files of directories that are no logs.
    passed_over: usize,
    failed: Vec<(String, CliError)>,
    without_time: usize,
    last: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &RecordArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let cwd = std::env::current_dir().unwrap_or_default();
    let policy = Policy::find(&cwd, &crate::rules::names())?;
    let started = times::time("--started-at", args.started_at.as_deref())?;
    let finished = times::time("--finished-at", args.finished_at.as_deref())?;
    if let (Some(started), Some(finished)) = (started, finished)
        && finished < started
    {
        let what = format!("the build ended ({finished}) before it began ({started})");
        return Err(CliError::Usage { what, hint: "check --started-at and --finished-at; a time without an offset is one in UTC" });
    }
    let root = ledger::root(args.history.as_deref(), &policy)?;
    let (files, errors) = log_files::find(&args.logs, &root);
    if finished.is_some() && files.len() > 1 {
        let what = format!("--finished-at is the end of one run, and these are {}", units::count(files.len(), "log"));
        return Err(CliError::Usage { what, hint: "record them one by one, or without it" });
    }
    let mut recorder = Recorder {
        args,
        history: History::open(&root, &ledger::project(args.project.as_deref(), &cwd)),
        started,
        finished,
        redactor: Redactor::new(&policy.secret_names),
        surroundings: None,
        is_import: files.len() > 1,
    };
    let mut tally = Tally { failed: errors, ..Tally::default() };
    recorder.all(files, &cwd, &mut tally)?;
    let code = report(&tally, color)?;
    if tally.new > 0 {
        recorder.tidy(color);
    }
    Ok(code)
}

impl Recorder<'_> {
    /// Records all logs: many are read at once, one is written at a time.
    fn all(&mut self, files: Vec<LogFile>, cwd: &Path, tally: &mut Tally) -> Result<(), CliError> {
        let bar = progress(files.len());
        workers::each(&files, read_builds, |at, result| {
            let log = &files[at];
            bar.inc(1);
            match result {
                Ok((builds, more)) => {
                    self.one(&log.name, &builds, cwd, tally)?;
                    if more > 0 {
                        let name = display_name(&log.name).to_owned();
                        let text = format!("{name} has {more} builds more than the {MOST_BUILDS} of a run that are recorded");
                        tally.failed.push((name, CliError::Remark(text)));
                    }
                }
                Err(CliError::NoBuild { .. } | CliError::Empty(_)) if log.from_directory => tally.passed_over += 1,
                Err(error @ (CliError::TerminalInput | CliError::ReaderGone)) => return Err(error),
                Err(error) => tally.failed.push((display_name(&log.name).to_owned(), error)),
            }
            Ok(())
        })?;
        bar.finish_and_clear();
        // What could not be read is no reason to fail: the run is there.
        for problem in self.history.problems() {
            tally.failed.push((String::new(), CliError::Remark(problem)));
        }
        Ok(())
    }

    /// Folds what has become many files, once everything is said: nobody waits to read it. A failure is no reason to fail: the runs are
    /// there.
    fn tidy(&self, color: anstream::ColorChoice) {
        let known = self.history.problems();
        self.history.tidy();
        for problem in self.history.problems().into_iter().filter(|problem| !known.contains(problem)) {
            CliError::Remark(problem).print(color);
        }
    }

    fn one(&mut self, name: &str, builds: &[Build], cwd: &Path, tally: &mut Tally) -> Result<(), CliError> {
        let now = jiff::Timestamp::now();
        let known = self.started.or_else(|| ledger::logged_start(builds));
        let began = known.or_else(|| ledger::file_time(name, builds)).unwrap_or(now);
        tally.without_time += usize::from(known.is_none());
        let around = self.around(began, now, known.is_some(), cwd);
        let args = self.args;
        let info = RunInfo {
            project: self.history.project().to_owned(),
            started_at: began,
            finished_at: self.finished.filter(|finished| *finished >= began),
            commit: args.commit.clone().or(around.commit),
            branch: args.branch.clone().or(around.branch),
            job_url: args.job_url.clone().or(around.job_url),
            runner: args.runner.clone().or(around.runner),
            builder: args.builder.clone().or(around.builder),
            command: None,
            called: Vec::new(),
            redactor: self.redactor.clone(),
        };
        let rows = run_rows(builds, &[], &info);
        let clock = if known.is_some() { Clock::Known } else { Clock::Guessed };
        match self.history.record(&rows, &[], clock).map_err(unusable)? {
            Recorded::New => {
                tally.new += 1;
                tally.last = Some(rows.run.run);
                if tally.new.is_multiple_of(TIDY_EVERY) {
                    self.history.tidy();
                }
            }
            Recorded::Before(run) => {
                tally.before += 1;
                tally.last = Some(run);
            }
        }
        Ok(())
    }

    /// What the surroundings say of a log: nothing where it is older than a day, nor, outside of CI, where many are imported at once
    /// that do not say when they ran.
    fn around(&mut self, began: jiff::Timestamp, now: jiff::Timestamp, is_known: bool, cwd: &Path) -> Surroundings {
        const A_DAY: i64 = 86_400;
        if now.as_second() - began.as_second() > A_DAY {
            return Surroundings::default();
        }
        let around = self.surroundings.get_or_insert_with(|| Surroundings::look(cwd)).clone();
        if self.is_import && !is_known && around.job_url.is_none() { Surroundings::default() } else { around }
    }
}

fn unusable(error: HistoryError) -> CliError {
    CliError::History(error.to_string())
}

/// The builds of a log, and how many more there are.
fn read_builds(file: &LogFile) -> Result<(Vec<Build>, u64), CliError> {
    let mut builds = Vec::new();
    let end = reading::read(&file.name, reading::StepOutput::Kept, |build| {
        if builds.len() < MOST_BUILDS {
            builds.push(build);
        }
        Ok(())
    })?;
    if builds.is_empty() {
        return Err(CliError::NoBuild { name: display_name(&file.name).to_owned(), lines: end.lines });
    }
    Ok((builds, end.builds.saturating_sub(MOST_BUILDS as u64)))
}

/// A bar for imports that somebody watches.
fn progress(logs: usize) -> ProgressBar {
    const WORTH_A_BAR: usize = 8;
    if logs < WORTH_A_BAR || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(u64::try_from(logs).ok(), ProgressDrawTarget::stderr_with_hz(10));
    let style = ProgressStyle::with_template("{wide_bar:.cyan/dim} {human_pos}/{human_len} logs · {rate} · {eta} left");
    let rate = |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
        // The template has no place for an error, and a rate that is missing harms nobody.
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", rate));
    bar
}

/// `60 runs recorded, 2 already there, 1 is no build log: notes.txt`
fn report(tally: &Tally, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let mut text = format!("{} recorded", units::count(tally.new, "run"));
    if tally.before > 0 {
        text += &format!(", {} already there", tally.before);
    }
    if let (1, Some(run)) = (tally.new + tally.before, &tally.last) {
        text += &format!(": {run}");
    }
    let no_logs: Vec<&str> = tally.failed.iter().filter(|(_, error)| is_no_log(error)).map(|(name, _)| name.as_str()).collect();
    match no_logs.as_slice() {
        [] => {}
        [one] => text += &format!(", 1 is no build log: {one}"),
        many => text += &format!(", {} are no build logs: {}", many.len(), shortened(many)),
    }
    if tally.passed_over > 0 {
        text += &format!(", {} in the directories hold no build", units::count(tally.passed_over, "file"));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(out, "{}", escape::terminal(&text))?;
    out.flush()?;
    drop(out);
    if tally.without_time > 0 && tally.new > 0 {
        let subject = if tally.without_time == 1 { "1 log holds".to_owned() } else { format!("{} logs hold", tally.without_time) };
        CliError::Remark(format!("{subject} no time: the time of the file was taken; --started-at says when a build began")).print(color);
    }
    let lone = tally.new + tally.before == 0 && tally.failed.len() == 1;
    for (_, error) in &tally.failed {
        // Of many logs the summary names those that are none; of a single one the user wants to know why.
        if lone || !is_no_log(error) {
            error.print(color);
        }
    }
    let worst = tally.failed.iter().map(|(_, error)| error.exit_code()).max();
    let found_nothing = tally.new + tally.before == 0 && tally.failed.is_empty();
    if found_nothing {
        let what = "no build log found".to_owned();
        return Err(CliError::NoLogs { what });
    }
    Ok(worst.unwrap_or(exit_code::SUCCESS))
}

fn is_no_log(error: &CliError) -> bool {
    matches!(error, CliError::NoBuild { .. } | CliError::Empty(_))
}

/// The first few names.
fn shortened(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let mut text = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}
