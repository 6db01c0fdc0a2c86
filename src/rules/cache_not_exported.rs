//! `cache-not-exported`: the cache that later builds count on was not written.

use super::{Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};
use crate::build::{Kind, Outcome, Status};

/// The rule.
#[derive(Debug)]
pub struct CacheNotExported;

static META: Meta = Meta {
    name: "cache-not-exported",
    severity: Severity::Warning,
    summary: "A cache export failed, or the one that the command or the settings ask for is missing",
    docs: Docs {
        finds: "\
An `exporting cache to …` step that failed; a command with `--cache-to` whose log shows no export; with `[require] cache-export = true` (or
for a service) a build that writes neither a cache nor inline metadata.",
        matters: "\
The next build on a new machine imports what was exported last, which gets older with every run, until it fits nothing.",
        example: "\
#12 exporting cache to registry
#12 ERROR: error writing manifest blob: failed to authorize: 401 Unauthorized",
        measured: None,
        fix: "\
Look at the error; with `ignore-error=true` the build stays green and this is the only trace. The docker driver of old engines exports no
registry cache: use `docker buildx create --driver docker-container`.",
    },
};

impl Rule for CacheNotExported {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for CacheNotExported {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in &facts.builds {
            let mut failed = false;
            for step in build.of_kind(Kind::CacheExport).filter(|step| step.status == Status::Error) {
                failed = true;
                let error = step.error.as_deref().unwrap_or("no reason given");
                let draft = Draft::new("the cache was not exported").confidence(Confidence::Certain).step(build, step);
                out.add(&META, draft.evidence(error).help("check the registry login and the driver of the builder"));
            }
            let exported = build.build.cache.inline || build.build.cache.exports.iter().any(|export| export.ok);
            if failed || exported || build.build.outcome != Outcome::Succeeded || build.commands().next().is_none() {
                continue;
            }
            let asked = build.targets.iter().flat_map(|target| &target.target.cache_to).next();
            let service = facts.policy.service(build.service());
            let demanded = service.and_then(|service| service.cache_export).unwrap_or(facts.policy.demands.cache_export);
            if let Some(entry) = asked {
                let draft = Draft::new(format!("the command asks for --cache-to {}, and the log shows no export", entry.raw));
                out.add(
                    &META,
                    draft
                        .confidence(Confidence::Likely)
                        .build(build)
                        .help("check the driver of the builder; the log may be that of another command"),
                );
            } else if demanded {
                let draft = Draft::new("the build exports no cache, which bklog.toml asks for").severity(Severity::Error);
                out.add(
                    &META,
                    draft.confidence(Confidence::Certain).build(build).help("give it one: --cache-to type=registry,ref=…,mode=max"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, log};

    const FILE: &str = "FROM x\nRUN x\n";

    #[test]
    fn failed_and_missing() {
        let steps = ["[1/2] FROM x | DONE 0.0s", "[2/2] RUN x | DONE 0.1s"];
        let plain = log(&steps);
        assert!(Case::new(plain.clone()).messages("cache-not-exported").is_empty());
        assert_eq!(Case::new(plain.clone()).policy("[require]\ncache-export = true").messages("cache-not-exported").len(), 1);
        let asked = Case::new(plain).command("docker buildx build --cache-to type=registry,ref=r/a:b .", FILE);
        assert_eq!(asked.messages("cache-not-exported").len(), 1);
        let failed = log(&[steps[0], steps[1], "exporting cache to registry | ERROR: 401"]);
        assert_eq!(Case::new(failed).messages("cache-not-exported"), ["the cache was not exported"]);
        let done = log(&[steps[0], steps[1], "exporting cache to registry | DONE 0.4s"]);
        assert!(Case::new(done).policy("[require]\ncache-export = true").messages("cache-not-exported").is_empty());
    }
}
