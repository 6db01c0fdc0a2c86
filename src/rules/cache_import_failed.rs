//! `cache-import-failed`: a cache could not be imported, or the import that the settings ask for is missing.

use super::{Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};
use crate::build::{Kind, Status};

/// The rule.
#[derive(Debug)]
pub struct CacheImportFailed;

static META: Meta = Meta {
    name: "cache-import-failed",
    severity: Severity::Warning,
    summary: "A cache import failed, or the one that the settings ask for is missing; the build went on without it",
    docs: Docs {
        finds: "\
An `importing cache manifest from …` step that ended with an error, or a local cache that was skipped. With `[require] cache-import = true`
(or for a service) also a build that imports no cache at all.",
        matters: "\
A failed import never fails the build. It is only slow, from that run on, and nobody sees why.",
        example: "\
#4 importing cache manifest from registry.example/app:buildcache
#4 ERROR: failed to configure registry cache importer: registry.example/app:buildcache: not found",
        measured: None,
        fix: "\
Look at the reference and at the login of the machine that builds. `not found` is normal exactly once: before the first export. In a
pull request from a fork the registry login is often missing.",
    },
};

impl Rule for CacheImportFailed {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for CacheImportFailed {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in &facts.builds {
            let mut told = Vec::new();
            for step in build.of_kind(Kind::CacheImport).filter(|step| step.status == Status::Error) {
                let reference = step.instruction().strip_prefix("importing cache manifest from ").unwrap_or("?");
                told.push(reference);
                let error = step.error.as_deref().unwrap_or("no reason given");
                let draft = Draft::new(format!("no cache was imported from {reference}")).confidence(Confidence::Certain).step(build, step);
                out.add(&META, draft.evidence(error).help("check the reference and the registry login of this machine"));
            }
            for import in build.build.cache.imports.iter().filter(|import| !import.ok && !told.contains(&import.reference.as_str())) {
                let draft =
                    Draft::new(format!("no cache was imported from {}", import.reference)).confidence(Confidence::Certain).build(build);
                out.add(&META, draft.help("check that the directory exists and holds an exported cache"));
            }
            let service = facts.policy.service(build.service());
            let demanded = service.and_then(|service| service.cache_import).unwrap_or(facts.policy.demands.cache_import);
            if demanded && build.build.cache.imports.is_empty() && build.commands().next().is_some() {
                let draft = Draft::new("the build imports no cache, which bklog.toml asks for").severity(Severity::Error);
                let draft = draft.confidence(Confidence::Certain).build(build);
                out.add(&META, draft.help("give it one: --cache-from type=registry,ref=… (compose: cache_from)"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, log};

    #[test]
    fn failed_and_missing() {
        let failed =
            log(&["importing cache manifest from r/a:b | ERROR: not found", "[1/2] FROM x | DONE 0.0s", "[2/2] RUN x | DONE 0.1s"]);
        let found = Case::new(failed.clone()).findings();
        assert_eq!((found.len(), found[0].rule, found[0].message.as_str()), (1, "cache-import-failed", "no cache was imported from r/a:b"));
        assert_eq!(found[0].evidence, ["not found"]);
        let none = log(&["[1/2] FROM x | DONE 0.0s", "[2/2] RUN x | DONE 0.1s"]);
        assert!(Case::new(none.clone()).messages("cache-import-failed").is_empty());
        assert_eq!(Case::new(none).policy("[require]\ncache-import = true").messages("cache-import-failed").len(), 1);
        assert_eq!(Case::new(failed).policy("[require]\ncache-import = true").messages("cache-import-failed").len(), 1);
    }
}
