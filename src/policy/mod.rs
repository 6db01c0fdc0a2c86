//! What a team wants to hold: `bklog.toml`.
//!
//! The file is looked for in the working directory and in each directory above it. Everything in it is optional. A key that nobody
//! knows is an error, with the line and the name that was probably meant: a rule that is misspelled protects nothing.

mod file;
pub mod nearest;
pub mod sources;
pub mod trend;

use std::path::{Path, PathBuf};

pub use file::{PolicyError, parse};
pub use sources::Sources;

use crate::rules::Severity;

/// The name of the file.
pub const FILE_NAME: &str = "bklog.toml";

/// The largest settings file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// What is to hold.
#[derive(Debug, Default)]
pub struct Policy {
    /// The file that it was read from.
    pub path: Option<PathBuf>,
    /// A cached copy of application source fails unless it is proved fresh.
    pub strict: bool,
    /// The history, as the file names it, relative to the file.
    pub history: Option<PathBuf>,
    /// Which files are application source.
    pub sources: Sources,
    /// Cache-bust arguments.
    pub bust: Bust,
    /// What each log must show, and what it must not.
    pub demands: Demands,
    /// What is known of services.
    pub services: Vec<Service>,
    /// Severities that differ from the rules' own; `None` turns a rule off.
    pub severities: Vec<(String, Option<Severity>)>,
    /// Findings that are accepted.
    pub accepted: Vec<Accepted>,
    /// The file of accepted findings, relative to the settings file.
    pub baseline: Option<PathBuf>,
    /// What is wanted of build times.
    pub trend: trend::Trend,
    /// Further names of secrets; `*` stands for anything.
    pub secret_names: Vec<String>,
}

/// Cache-bust arguments.
#[derive(Debug, Clone, Default)]
pub struct Bust {
    /// Names of further bust arguments; `*` stands for anything.
    pub arguments: Vec<String>,
    /// Arguments that every build must be given.
    pub required: Vec<String>,
}

/// What each log must show, and what it must not.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// A prune before the first build.
    pub prune: bool,
    /// A line that says which commit is built.
    pub commit_line: bool,
    /// A cache import.
    pub cache_import: bool,
    /// A cache export.
    pub cache_export: bool,
    /// No inline cache.
    pub no_inline_cache: bool,
}

/// A service: some of what holds for all can be otherwise for it.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// The bake or compose target, or the image name's last part; `*` stands for anything.
    pub name: String,
    /// Its bust arguments, besides those of all.
    pub bust: Vec<String>,
    /// Overrides [`Demands::cache_import`].
    pub cache_import: Option<bool>,
    /// Overrides [`Demands::cache_export`].
    pub cache_export: Option<bool>,
    /// Overrides [`Demands::no_inline_cache`].
    pub no_inline_cache: Option<bool>,
}

/// A finding that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The rule.
    pub rule: String,
    /// The step's name, with `*`; any step where it is missing.
    pub step: Option<String>,
    /// A file among the finding's, with `*`; any where it is missing.
    pub file: Option<String>,
    /// Why.
    pub reason: String,
    /// The last day on which it is accepted, `YYYY-MM-DD`.
    pub until: Option<String>,
}

impl Policy {
    /// Reads the settings that hold in a directory: those of the nearest file above it, else the defaults.
    ///
    /// # Errors
    /// The file cannot be read or is wrong.
    pub fn find(directory: &Path) -> Result<Self, PolicyError> {
        match directory.ancestors().map(|above| above.join(FILE_NAME)).find(|path| path.is_file()) {
            Some(path) => Self::read(&path),
            None => Ok(Self::default()),
        }
    }

    /// Reads a settings file.
    ///
    /// # Errors
    /// The file cannot be read or is wrong.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let unreadable = |cause| PolicyError::Read { path: path.to_owned(), cause };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > LARGEST {
            return Err(PolicyError::TooLarge { path: path.to_owned(), bytes: size });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let mut policy = parse(&text, path)?;
        policy.path = Some(path.to_owned());
        Ok(policy)
    }

    /// A path of the settings, which is relative to the settings file.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.path.as_deref().and_then(Path::parent).map_or_else(|| path.to_owned(), |directory| directory.join(path))
    }

    /// The severity that the settings give to a rule: `None` where they say nothing, `Some(None)` where they turn it off.
    pub fn severity(&self, rule: &str) -> Option<Option<Severity>> {
        self.severities.iter().rev().find(|(name, _)| name == rule).map(|(_, severity)| *severity)
    }

    /// What holds for a service.
    pub fn service(&self, name: Option<&str>) -> Option<&Service> {
        let name = name?;
        self.services.iter().find(|service| crate::redact::names::wildcard(service.name.as_bytes(), name.as_bytes()))
    }
}
