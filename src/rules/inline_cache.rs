//! `inline-cache`: the image carries inline cache although it must not.

use super::{Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};
use crate::build::Kind;

/// The rule.
#[derive(Debug)]
pub struct InlineCache;

static META: Meta = Meta {
    name: "inline-cache",
    severity: Severity::Error,
    summary: "The image carries inline cache metadata, which the settings forbid",
    docs: Docs {
        finds: "\
A build that writes inline cache metadata into its image (`BUILDKIT_INLINE_CACHE=1` or `--cache-to type=inline`), where `bklog.toml` says
`[forbid] inline-cache = true`. Without that setting nothing is reported.",
        matters: "\
Some teams decide against it, because every later build that imports the image takes its layers over, whoever built it. Others depend on it:
taking it away made builds go from 2–5 minutes to more than 20, because nothing was cached on a new machine any more.",
        example: "\
#9 exporting to image
#9 exporting layers done
#9 preparing layers for inline cache 0.0s done",
        measured: Some(
            "\
Inline cache does not make a COPY stale: it answers a step only when the content that the step takes is the same. In the replayed builds that
imported one on an empty builder every COPY was fresh; what was old was a RUN that fetches remote code (`stale-run`), which an imported cache
answers like any other. Where copied code is old although the image was rebuilt, look at `sync-blind-spot`.",
        ),
        fix: "\
Take `BUILDKIT_INLINE_CACHE` out of the build arguments (compose: `args`), and give the builds another cache before:
`--cache-to type=registry,ref=…,mode=max` and `--cache-from type=registry,ref=…`.",
    },
};

impl Rule for InlineCache {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for InlineCache {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in &facts.builds {
            let service = facts.policy.service(build.service());
            let forbidden = service.and_then(|service| service.no_inline_cache).unwrap_or(facts.policy.demands.no_inline_cache);
            if !forbidden || !build.build.cache.inline {
                continue;
            }
            let mut draft = Draft::new("the image carries inline cache metadata, which bklog.toml forbids").confidence(Confidence::Certain);
            // Newer engines say it within the export of the image, older ones in a step of its own.
            let step = build.of_kind(Kind::CacheExport).chain(build.of_kind(Kind::Export)).next();
            draft = step.map_or_else(|| draft.clone().build(build), |step| draft.clone().step(build, step));
            if build.targets.iter().any(|target| target.target.arg("BUILDKIT_INLINE_CACHE").is_some_and(|value| value == "1")) {
                draft = draft.evidence("the command passes BUILDKIT_INLINE_CACHE=1");
            }
            out.add(&META, draft.help("take BUILDKIT_INLINE_CACHE and type=inline out of the build; export to a registry cache instead"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, log};

    #[test]
    fn only_where_it_is_forbidden() {
        let text =
            log(&["[1/1] FROM x | DONE 0.0s", "#2 exporting to image", "#2 preparing layers for inline cache 0.0s done", "#2 DONE 0.1s"]);
        assert!(Case::new(text.clone()).messages("inline-cache").is_empty());
        let case = Case::new(text).policy("[forbid]\ninline-cache = true");
        assert_eq!(case.messages("inline-cache").len(), 1);
        let text = log(&["[1/1] FROM x | DONE 0.0s", "#2 exporting to image", "#2 exporting layers done", "#2 DONE 0.1s"]);
        assert!(Case::new(text).policy("[forbid]\ninline-cache = true").messages("inline-cache").is_empty());
    }
}
