//! Rules about the files of a repository, one file each: what `bklog lint` says before anything is built.
//!
//! A rule implements [`FileRule`] and stands in [`FILE_RULES`], one line each. It looks at [`FileFacts`] and adds a
//! [`super::Draft`] for each finding, with its place ([`super::Draft::in_file`]) and what to do. `testing` has what its tests need.

pub mod apt_update_alone;
pub mod buildkit_disabled;
pub(super) mod builds;
pub mod bust_before_install;
pub mod cache_clearing;
pub mod cache_not_imported;
pub mod commit_not_passed;
pub mod commit_not_used;
mod copies;
pub mod copy_before_install;
pub mod dependency_outside_context;
pub mod edits;
pub mod force_rebuild_weak;
pub(super) mod prune;
pub mod script_syntax;
pub mod secret_build_arg;
pub mod secret_in_context;
mod sync_files;
#[cfg(test)]
pub(super) mod testing;
pub mod unknown_build_arg;
pub mod weak_dockerignore;

use super::{
    Findings, Rule, bust_ineffective, bust_misplaced, bust_missing, cache_import_useless, inline_cache, prune_missing, stale_base,
    stale_run, sync_blind_spot,
};
use crate::{evidence::repository::Repository, policy::Policy};

/// What rules about files judge from.
#[derive(Debug, Clone, Copy)]
pub struct FileFacts<'a> {
    /// The files, and which images are built from what.
    pub repository: &'a Repository,
    /// What is to hold.
    pub policy: &'a Policy,
}

/// A rule that judges the files of a repository.
pub trait FileRule: Rule {
    /// Looks at the files and adds what it finds.
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>);
}

/// The rules about files, in the order in which `bklog explain` lists them.
pub static FILE_RULES: &[&dyn FileRule] = &[
    &buildkit_disabled::BuildkitDisabled,
    &copy_before_install::CopyBeforeInstall,
    &bust_before_install::BustBeforeInstall,
    &unknown_build_arg::UnknownBuildArg,
    &commit_not_passed::CommitNotPassed,
    &commit_not_used::CommitNotUsed,
    &bust_missing::BustMissing,
    &bust_misplaced::BustMisplaced,
    &bust_ineffective::BustIneffective,
    &inline_cache::InlineCache,
    &cache_not_imported::CacheNotImported,
    &cache_import_useless::CacheImportUseless,
    &prune_missing::PruneMissing,
    &cache_clearing::CacheClearIncomplete,
    &cache_clearing::PruneDropsCache,
    &force_rebuild_weak::ForceRebuildWeak,
    &script_syntax::ScriptSyntax,
    &weak_dockerignore::WeakDockerignore,
    &secret_in_context::SecretInContext,
    &secret_build_arg::SecretBuildArg,
    &apt_update_alone::AptUpdateAlone,
    &dependency_outside_context::DependencyOutsideContext,
    &sync_blind_spot::SyncBlindSpot,
    &stale_run::StaleRun,
    &stale_base::StaleBase,
];
