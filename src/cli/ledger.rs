//! Where the history is, what the project is called, what the surroundings say of a run: shared by all commands that use the history.

use std::path::{Path, PathBuf};

pub(super) use super::project::project;
use super::{error::CliError, times::is_plausible};
use crate::{
    build::Build,
    evidence::{ci, git::Repository},
    history,
    policy::Policy,
};

/// The history's directory: the flag (or `BKLOG_HISTORY`), else the settings, else the user's data directory.
///
/// # Errors
/// Nothing says where, or a file stands there.
pub(super) fn root(flag: Option<&Path>, policy: &Policy) -> Result<PathBuf, CliError> {
    let settings = || policy.history.as_deref().map(|path| policy.resolve(path));
    let root = flag.map(Path::to_owned).or_else(settings).or_else(data_directory).ok_or(CliError::Usage {
        what: "there is no place for the history".to_owned(),
        hint: "give --history DIR, or set BKLOG_HISTORY or HOME",
    })?;
    if root.is_file() {
        let what = format!("the history {} cannot be used: it is a file, not a directory", root.display());
        return Err(CliError::Usage { what, hint: "--history, BKLOG_HISTORY or `history` in bklog.toml names it" });
    }
    Ok(root)
}

/// `$XDG_DATA_HOME/bklog`, as other programs of the user keep their data.
fn data_directory() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_DATA_HOME").or_else(|| set("LOCALAPPDATA")).or_else(|| set("HOME").map(|home| home.join(".local/share")));
    base.map(|base| base.join("bklog"))
}

/// The run that a name means: `latest`, `latest~2`, an id, the beginning of one, or a commit, of which the latest run counts.
pub(super) fn find_run<'r>(name: &str, runs: &'r [history::RunRow]) -> Option<&'r history::RunRow> {
    const SHORTEST: usize = 7;
    if let Some(back) = name.strip_prefix("latest") {
        let back: usize = if back.is_empty() { 0 } else { back.strip_prefix('~')?.parse().ok()? };
        return runs.len().checked_sub(back.checked_add(1)?).and_then(|at| runs.get(at));
    }
    let lower = name.to_ascii_lowercase();
    let long = name.len() >= SHORTEST;
    let by = |fits: &dyn Fn(&history::RunRow) -> bool| runs.iter().rev().find(|run| fits(run));
    by(&|run| run.run == name)
        .or_else(|| by(&|run| long && run.run.starts_with(name)))
        .or_else(|| by(&|run| long && run.commit.as_ref().is_some_and(|commit| commit.to_ascii_lowercase().starts_with(&lower))))
}

/// What the surroundings of this process say of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    /// The commit: that of the CI job, else HEAD.
    pub(super) commit: Option<String>,
    /// The branch: that of the CI job, else the one that is checked out.
    pub(super) branch: Option<String>,
    /// Where people find the CI job.
    pub(super) job_url: Option<String>,
    /// The machine that runs the CI job.
    pub(super) runner: Option<String>,
    /// The builder, as `BUILDX_BUILDER` names it.
    pub(super) builder: Option<String>,
}

impl Surroundings {
    /// Asks the CI system's variables, and git where they say nothing.
    pub(super) fn look(cwd: &Path) -> Self {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let job = ci::job(&env).unwrap_or_default();
        let repository = if job.commit.is_none() || job.branch.is_none() { Repository::open(cwd).ok() } else { None };
        let head = || repository.as_ref().and_then(|repository| repository.head().ok());
        let on_branch = || {
            // A CI job that names no branch has checked out a tag or a commit.
            let repository = repository.as_ref().filter(|_| job.system.is_empty())?;
            let head = std::fs::read_to_string(repository.git_dir().join("HEAD")).ok()?;
            head.trim().strip_prefix("ref: refs/heads/").map(str::to_owned)
        };
        Self {
            commit: job.commit.clone().or_else(head),
            branch: job.branch.clone().or_else(on_branch),
            job_url: job.url,
            runner: job.runner,
            builder: env("BUILDX_BUILDER"),
        }
    }
}

/// When the builds of a log began, where it says that, and that time can be.
pub(super) fn logged_start(builds: &[Build]) -> Option<jiff::Timestamp> {
    history::logged_start(builds).filter(|at| is_plausible(*at, jiff::Timestamp::now()))
}

/// When the builds of a log began, if the log itself does not say: its file was written last when they ended.
pub(super) fn file_time(log: &str, builds: &[Build]) -> Option<jiff::Timestamp> {
    let modified = std::fs::metadata(log).ok().filter(std::fs::Metadata::is_file)?.modified().ok()?;
    let at = jiff::Timestamp::try_from(modified).ok()?;
    let seconds: f64 = builds.iter().filter_map(|build| build.duration).map(|duration| duration.seconds).sum();
    let began = jiff::SignedDuration::try_from_secs_f64(seconds).ok().and_then(|length| at.checked_sub(length).ok());
    began.filter(|began| is_plausible(*began, jiff::Timestamp::now()))
}
