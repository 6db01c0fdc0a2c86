//! `stale-copy`: a COPY or ADD put old code into the image, or may have.

use super::{BuildFacts, Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};
use crate::{
    build::{Status, Step},
    freshness::{StepVerdict, Verdict},
};

/// The rule.
#[derive(Debug)]
pub struct StaleCopy;

static META: Meta = Meta {
    name: "stale-copy",
    severity: Severity::Error,
    summary: "A COPY or ADD put other code into the image than the commit's, or may have",
    docs: Docs {
        finds: "\
Each COPY and ADD from the build context gets a verdict: `fresh`, `stale`, `suspect` or `unknown`. This rule reports

- `stale` (error): the layer cannot hold the commit's content. The evidence says why, file by file;
- `suspect` (warning): the step is CACHED, its sources changed, and nothing available tells whether the same content was built before;
- `unknown` (warning; a note for dependency manifests): the step is CACHED and nothing at hand can tell. The evidence says
  what is missing: a command, a baseline, a commit, a directory.

With `strict = true` in `bklog.toml` (or `--strict`) every CACHED copy of application source that is not proved fresh is an error.",
        matters: "\
The image goes out with code that nobody reviewed for it. The build is green, the log looks like that of any rebuild, and the
difference shows only in production.",
        example: "\
#4 [internal] load build context
#4 transferring context: 261B done
#4 DONE 0.0s
…
#8 [4/5] COPY . .
#8 CACHED",
        measured: Some(
            "\
`grep CACHED` is the wrong test. Of 1,655 CACHED steps replayed on real engines, with the bytes of the image as the truth, 1,484 held
exactly the commit's content: the files of that step had not changed, or the same content had been built before. And DONE is no proof
of the opposite: of 1,107 steps that ran, 30 held something else than the commit, among them copies that `--no-cache` or a cache-bust
argument had run again, from the same old copy of the context.

What separates the two is the size behind `transferring context`: it is the size of the file list plus that of the files that were read
again. In the example 261 B is the list alone. If a file of the context changed since the builder saw it last, it was not read.",
        ),
        fix: "\
For `stale`: `docker builder prune -f` (without a filter: it drops the builder's copy of the context), then build again. Then take away
the cause; the finding names it. `touch` on the changed files heals too, `--no-cache` does not.

For `suspect` and `unknown`: record runs (`bklog check --record --history DIR`), or name the commit that was built before
(`--since REV`), or give the image (`--image ARCHIVE`), which outranks all other evidence.",
    },
};

impl Rule for StaleCopy {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

/// The rules that speak about a step's freshness with more to say than this one.
const OTHERS: [&str; 6] = ["stale-copy", "stale-run", "sync-blind-spot", "stale-base", "stale-dockerfile", "dirty-tree"];

impl LogRule for StaleCopy {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for verdict in facts.verdicts.iter().filter(|verdict| verdict.verdict != Verdict::Fresh) {
            let Some(build) = facts.builds.iter().find(|build| build.number == verdict.build) else { continue };
            let Some(step) = build.commands().find(|step| step.index == verdict.index) else { continue };
            if !matches!(step.parts.keyword, Some("COPY" | "ADD")) {
                continue;
            }
            let application = is_cached_application(facts, step);
            let strict = facts.policy.strict && application;
            let raised = facts.is_raised(&OTHERS, verdict.build, Some(verdict.index));
            if raised && !(strict && verdict.verdict != Verdict::Stale) {
                continue;
            }
            if let Some(draft) = draft(build, step, verdict, application, strict) {
                out.add(&META, draft);
            }
        }
    }
}

/// True for a cached copy that may take application source, by what it names.
fn is_cached_application(facts: &Facts<'_>, step: &Step) -> bool {
    let sources = &facts.policy.sources;
    let named = step.parts.sources.iter().any(|source| !crate::build::is_remote(source) && sources.may_copy_application(source));
    step.status == Status::Cached && named
}

fn draft(build: &BuildFacts<'_>, step: &Step, verdict: &StepVerdict, application: bool, strict: bool) -> Option<Draft> {
    let name = step.instruction().lines().next().unwrap_or_default();
    let service = build.service().map_or(String::new(), |service| format!(" into {service}"));
    let (message, severity, confidence, help) = match verdict.verdict {
        Verdict::Stale => {
            (format!("{name} put old code{service}"), Severity::Error, Confidence::Likely, "docker builder prune -f, then build again")
        }
        Verdict::Suspect => (
            match verdict.changed_files.is_empty() {
                true => format!("{name} may hold other code than the commit's"),
                false => format!("{name} is cached although its files changed"),
            },
            Severity::Warning,
            Confidence::Possible,
            verdict
                .advice
                .unwrap_or("record runs (--history DIR --record) so that the next check can tell, or give the image (--image ARCHIVE)"),
        ),
        // In a build that failed there may be no image to worry about.
        Verdict::Unknown if step.status != Status::Cached => return None,
        Verdict::Unknown => (
            format!("{name} is cached, and nothing tells whether it is fresh"),
            if application { Severity::Warning } else { Severity::Note },
            Confidence::Possible,
            verdict.advice.unwrap_or("name the commit that was built before (--since REV), or record runs (--history DIR --record)"),
        ),
        Verdict::Fresh => return None,
    };
    let severity = if strict { Severity::Error } else { severity };
    let strictly = strict && verdict.verdict != Verdict::Stale;
    let mut draft = Draft::new(message).severity(severity).confidence(confidence).step(build, step).evidence(verdict.because.as_str());
    if strictly {
        draft = draft.evidence("strict: a cached copy of application source must be proved fresh");
    }
    Some(draft.files(&verdict.changed_files).help(help))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, log};
    use super::*;

    fn case() -> Case {
        let mut case = Case::new(log(&[
            "[1/4] FROM x | DONE 0.0s",
            "[2/4] COPY package.json ./ | CACHED",
            "[3/4] COPY . . | CACHED",
            "[4/4] COPY --from=b /x /y | CACHED",
        ]));
        let unknown = |step: &Step| StepVerdict {
            build: 0,
            index: step.index,
            name: step.name.clone(),
            status: step.status,
            verdict: Verdict::Unknown,
            because: "there is only the log".to_owned(),
            advice: None,
            baseline: None,
            changed_files: Vec::new(),
        };
        case.verdicts = case.builds().0[0].steps.iter().filter(|step| step.copies_from_context()).map(unknown).collect();
        case
    }

    #[test]
    fn each_verdict_has_its_severity() {
        let mut case = case();
        let found = case.findings();
        assert_eq!(
            found.iter().map(|f| (f.rule, f.severity, f.in_log.as_ref().unwrap().index)).collect::<Vec<_>>(),
            [("stale-copy", Severity::Warning, Some(3)), ("stale-copy", Severity::Note, Some(2)),]
        );
        case.verdicts[1].verdict = Verdict::Stale;
        case.verdicts[0].verdict = Verdict::Suspect;
        let found = case.findings();
        assert_eq!(
            found.iter().map(|f| (f.severity, f.in_log.as_ref().unwrap().index)).collect::<Vec<_>>(),
            [(Severity::Error, Some(3)), (Severity::Warning, Some(2)),]
        );
        case.verdicts[1].verdict = Verdict::Fresh;
        case.verdicts[0].verdict = Verdict::Fresh;
        assert!(case.findings().is_empty());
    }

    #[test]
    fn strict_is_about_application_source() {
        let case = case().policy("strict = true");
        let found = case.findings();
        assert_eq!(
            found.iter().map(|f| (f.severity, f.in_log.as_ref().unwrap().index)).collect::<Vec<_>>(),
            [(Severity::Error, Some(3)), (Severity::Note, Some(2)),]
        );
    }
}
