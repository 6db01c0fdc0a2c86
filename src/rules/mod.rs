//! Rules: one file each, with its documentation.
//!
//! A rule is a type that knows its [`Meta`] and looks at what is known. Rules about logs implement [`LogRule`]; they stand in
//! [`LOG_RULES`], one line each. Rules about the files of a repository implement [`FileRule`], stand in [`FILE_RULES`], and are in
//! `lint/`. A rule that does both has one name and one documentation. Everything else (`bklog explain`, docs/rules.md, the names in the settings) follows from there.

mod bust;
pub mod bust_ineffective;
pub mod bust_misplaced;
pub mod bust_missing;
pub mod cache_import_failed;
pub mod cache_import_useless;
pub mod cache_mount_mtime;
pub mod cache_not_exported;
pub mod cold_cache;
pub mod commit_mismatch;
pub mod dirty_tree;
pub mod facts;
pub mod findings;
pub mod fix;
pub mod ignored_change;
pub mod inline_cache;
pub mod lint;
pub mod log_clipped;
pub mod log_truncated;
mod meta;
pub mod prune_missing;
pub mod stale_base;
pub mod stale_copy;
pub mod stale_dockerfile;
pub mod stale_run;
pub mod sync_blind_spot;
#[cfg(test)]
mod testing;

pub use crate::finding::{self, Confidence, Edit, Finding, Fix, InLog, Location, Severity};
pub use facts::{BuildFacts, EarlierRun, EarlierRuns, Facts, GitFacts, NoHistory, SourceFile, TargetFacts};
pub use findings::{Draft, Findings, judge, judge_files};
pub use lint::{FILE_RULES, FileFacts, FileRule};
pub use meta::{Docs, Meta};

/// What every rule has, whatever it looks at.
pub trait Rule: Sync {
    /// Its name and documentation.
    fn meta(&self) -> &'static Meta;
}

/// A rule that judges a log.
pub trait LogRule: Rule {
    /// Looks at what is known and adds what it finds.
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>);
}

/// The rules about logs, in the order in which `bklog explain` lists them.
pub static LOG_RULES: &[&dyn LogRule] = &[
    &stale_copy::StaleCopy,
    &sync_blind_spot::SyncBlindSpot,
    &stale_run::StaleRun,
    &stale_base::StaleBase,
    &stale_dockerfile::StaleDockerfile,
    &commit_mismatch::CommitMismatch,
    &dirty_tree::DirtyTree,
    &ignored_change::IgnoredChange,
    &bust_ineffective::BustIneffective,
    &bust_missing::BustMissing,
    &bust_misplaced::BustMisplaced,
    &inline_cache::InlineCache,
    &prune_missing::PruneMissing,
    &cache_import_failed::CacheImportFailed,
    &cache_import_useless::CacheImportUseless,
    &cache_not_exported::CacheNotExported,
    &cold_cache::ColdCache,
    &cache_mount_mtime::CacheMountMtime,
    &log_clipped::LogClipped,
    &log_truncated::LogTruncated,
];

/// All rules.
pub fn all() -> Vec<&'static Meta> {
    let mut all: Vec<&'static Meta> = LOG_RULES.iter().map(|rule| rule.meta()).collect();
    for rule in FILE_RULES {
        if all.iter().all(|known| known.name != rule.meta().name) {
            all.push(rule.meta());
        }
    }
    all
}

/// The names of all rules, as the settings may use them.
pub fn names() -> Vec<&'static str> {
    all().iter().map(|meta| meta.name).collect()
}

/// The rule of a name.
pub fn named(name: &str) -> Option<&'static Meta> {
    all().into_iter().find(|meta| meta.name == name)
}

/// The documentation of all rules as one Markdown page: what docs/rules.md holds.
pub fn page() -> String {
    let mut text = String::from(
        "# Rules\n\nMade from the rules' sources by `bklog explain --all`; `bklog explain RULE` shows one of them.\n\n| rule | by default | finds |\n|---|---|---|\n",
    );
    for meta in all() {
        text += &format!("| [`{0}`](#{0}) | {1} | {2} |\n", meta.name, meta.severity.name(), meta.summary.replace('|', "\\|"));
    }
    for meta in all() {
        text.push('\n');
        text += &meta.markdown(2);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_told_apart() {
        let mut names: Vec<&str> = all().iter().map(|meta| meta.name).collect();
        for meta in all() {
            assert!(meta.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", meta.name);
            assert!(!meta.summary.is_empty() && !meta.summary.ends_with('.'), "{}", meta.name);
            for text in [meta.docs.finds, meta.docs.matters, meta.docs.example, meta.docs.fix] {
                assert!(text.trim().len() > 40, "{}: {text:?}", meta.name);
            }
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_contract_names_are_there() {
        for name in [
            "stale-copy",
            "stale-run",
            "sync-blind-spot",
            "stale-base",
            "bust-ineffective",
            "bust-missing",
            "bust-misplaced",
            "commit-mismatch",
            "dirty-tree",
            "inline-cache",
            "prune-missing",
            "cache-import-failed",
            "cache-not-exported",
            "cold-cache",
            "ignored-change",
            "log-clipped",
            "log-truncated",
        ] {
            assert!(named(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_page_is_current() {
        let written = include_str!("../../docs/rules.md");
        assert!(written == page(), "docs/rules.md is not what the rules say: write it anew with `bklog explain --all > docs/rules.md`");
    }
}
