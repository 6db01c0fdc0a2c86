//! `cache-import-useless`: a cache was imported, and nothing came from it.

use super::{Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};
use crate::build::{Kind, Outcome, Status};

/// The rule.
#[derive(Debug)]
pub struct CacheImportUseless;

static META: Meta = Meta {
    name: "cache-import-useless",
    severity: Severity::Note,
    summary: "A cache was imported and not one step came from it: the image may hold no cache metadata",
    docs: Docs {
        finds: "\
A build in which `importing cache manifest from …` is DONE and every step ran all the same.",
        matters: "\
`cache_from: [app:latest]` reads as if an image were a cache. An image without cache metadata is imported without a word, and does nothing.",
        example: "\
#4 importing cache manifest from registry.example/app:latest
#4 DONE 0.0s
…
#8 [2/4] RUN npm ci
#8 DONE 94.2s",
        measured: Some(
            "\
On an empty builder an image pushed without inline cache gave no cached step at all, pulled before or not, with current BuildKit and with
docker 20.10. The same image built with `BUILDKIT_INLINE_CACHE=1`, and a registry cache with `mode=max`, gave all of them.",
        ),
        fix: "\
Export what is to be imported: `--cache-to type=registry,ref=registry.example/app:buildcache,mode=max`, and import that reference; or
`--cache-to type=inline`, which keeps the final stage only. If the first step's files changed since the export, this is no fault.",
    },
};

impl Rule for CacheImportUseless {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for CacheImportUseless {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in &facts.builds {
            let no_cache = build.targets.iter().any(|target| target.target.no_cache);
            let ran = build.commands().filter(|step| step.status == Status::Done).count();
            let cached = build.commands().any(|step| step.status == Status::Cached);
            let import = build.of_kind(Kind::CacheImport).find(|step| step.status == Status::Done);
            let (Some(import), false, false) = (import, no_cache, cached) else { continue };
            if build.build.outcome != Outcome::Succeeded || ran < 2 {
                continue;
            }
            let reference = import.instruction().strip_prefix("importing cache manifest from ").unwrap_or("?");
            let draft = Draft::new(format!("{reference} was imported as a cache, and all {ran} steps ran"));
            let draft = draft.confidence(Confidence::Possible).step(build, import);
            let draft = draft.evidence("an image without cache metadata imports well and does nothing");
            out.add(&META, draft.help("export a cache (--cache-to type=registry,ref=…,mode=max, or type=inline) and import that"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, log};

    fn count(status: &str) -> usize {
        let first = format!("[2/3] RUN x | {status}");
        let steps = ["importing cache manifest from r/a:b | DONE 0.1s", "[1/3] FROM x | DONE 0.0s", &first, "[3/3] RUN y | DONE 0.1s"];
        Case::new(log(&steps)).messages("cache-import-useless").len()
    }

    #[test]
    fn nothing_came_from_it() {
        assert_eq!(count("DONE 0.1s"), 1);
        assert_eq!(count("CACHED"), 0);
    }
}
