//! `cold-cache`: nothing was cached, where earlier runs had much of it cached.

use super::{BuildFacts, Confidence, Docs, Draft, EarlierRun, Facts, Findings, LogRule, Meta, Rule, Severity};
use crate::build::{Outcome, Status, Step};

/// The rule.
#[derive(Debug)]
pub struct ColdCache;

static META: Meta = Meta {
    name: "cold-cache",
    severity: Severity::Note,
    summary: "Not one step was cached, where the runs before had some: the cache was empty",
    docs: Docs {
        finds: "\
A build in which every step ran, while recorded runs of the same target shortly before had cached the very step that comes first. It needs
a history. A build whose first step ran because its files or its base image changed is no cold one.",
        matters: "\
It explains a slow build: the cache was pruned, the machine is a new one, or an import is gone. Once after a clear it is expected; if it
stays, `bklog trend` shows since when.",
        example: "\
Total reclaimed space: 1.2GB
#6 [2/4] COPY package.json ./
#6 DONE 0.0s
#7 [3/4] RUN npm ci
#7 DONE 94.2s",
        measured: None,
        fix: "\
Nothing, if the cache was cleared on purpose. On machines that are made anew for each build, import a cache
(`--cache-from type=registry,ref=…`).",
    },
};

impl Rule for ColdCache {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

/// So many earlier runs are looked at.
const LOOKED_AT: usize = 5;

impl LogRule for ColdCache {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in &facts.builds {
            let ran = build.commands().filter(|step| step.status == Status::Done).count();
            let cached = build.commands().any(|step| step.status == Status::Cached);
            if build.build.outcome != Outcome::Succeeded || cached || ran < 2 {
                continue;
            }
            let name = build.targets.first().and_then(|target| target.name());
            let earlier = facts.history.of(name);
            let Some(run) = earlier.iter().take(LOOKED_AT).find(|run| was_warm(facts, build, run)) else { continue };
            let warm = run.steps.iter().filter(|(_, cached)| *cached).count();
            let mut draft = Draft::new(format!("not one of {ran} steps was cached")).confidence(Confidence::Likely).build(build);
            draft = draft.evidence(format!("run {} had {warm} of {} steps cached", run.run, run.steps.len()));
            if build.targets.iter().any(|target| target.target.no_cache) {
                draft = draft.evidence("the command says --no-cache");
            } else if let Some((line, text)) =
                facts.remarks.iter().find(|(line, text)| *line < build.build.lines.0 && text.contains("reclaimed"))
            {
                draft = draft.evidence(format!("log line {line}: {text}"));
            }
            out.add(&META, draft.help("expected once after a clear or on a new machine; if it stays, import a cache"));
        }
    }
}

/// Says whether an earlier run had cached a step that comes first in its stage here, and that nothing but an empty cache explains.
fn was_warm(facts: &Facts<'_>, build: &BuildFacts<'_>, run: &EarlierRun) -> bool {
    let bases: Vec<&str> = build.build.steps.iter().filter(|step| step.parts.base.is_some()).map(Step::instruction).collect();
    let moved = |base: &&str| base.contains("@sha256:") && !run.bases.is_empty() && !run.bases.iter().any(|before| before == base);
    if bases.iter().any(moved) {
        return false;
    }
    let mut stages: Vec<_> = Vec::new();
    build.commands().any(|step| {
        let parts = &step.parts;
        let stage = (&parts.target, &parts.platform, &parts.stage);
        if stages.contains(&stage) {
            return false;
        }
        stages.push(stage);
        // A copy whose files changed runs by right, and one that nobody judged may.
        let explained = matches!(parts.keyword, Some("COPY" | "ADD"))
            && facts
                .verdict(build.number, step.index)
                .is_none_or(|verdict| verdict.baseline.is_none() || !verdict.changed_files.is_empty());
        !explained && run.steps.iter().any(|(text, cached)| *cached && text == step.instruction())
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, log};
    use super::*;
    use crate::freshness::{RunRef, StepVerdict, Verdict};

    #[test]
    fn only_where_it_was_warm_before() {
        let mut case = Case::new(log(&[
            "Total reclaimed space: 2GB",
            "[1/3] FROM x@sha256:1 | DONE 0.0s",
            "[2/3] RUN x | DONE 0.1s",
            "[3/3] RUN y | DONE 0.1s",
        ]));
        assert!(case.messages("cold-cache").is_empty());
        let run = |step: &str, cached| EarlierRun {
            run: "r1".to_owned(),
            steps: vec![(step.to_owned(), cached)],
            bases: vec!["FROM x@sha256:1".to_owned()],
            ..EarlierRun::default()
        };
        // Another build of the same project, and one whose first step was another.
        for cold in [run("RUN x", false), run("RUN z", true), run("RUN y", true)] {
            case.earlier = vec![cold];
            assert!(case.messages("cold-cache").is_empty());
        }
        case.earlier = vec![run("RUN x", false), run("RUN x", true)];
        let found = case.findings();
        assert_eq!(found[0].evidence, ["run r1 had 1 of 1 steps cached", "log line 1: Total reclaimed space: 2GB"]);
        // The base moved, so that everything runs by right.
        case.earlier = vec![EarlierRun { bases: vec!["FROM x@sha256:0".to_owned()], ..run("RUN x", true) }];
        assert!(case.messages("cold-cache").is_empty());
    }

    #[test]
    fn a_copy_that_changed_explains_what_ran() {
        let mut case = Case::new(log(&["[1/3] FROM x | DONE 0.0s", "[2/3] COPY . . | DONE 0.1s", "[3/3] RUN y | DONE 0.1s"]));
        let steps = vec![("COPY . .".to_owned(), true), ("RUN y".to_owned(), true)];
        case.earlier = vec![EarlierRun { run: "r1".to_owned(), steps, ..EarlierRun::default() }];
        assert!(case.messages("cold-cache").is_empty());
        let mut verdict = StepVerdict {
            build: 0,
            index: 2,
            name: "[2/3] COPY . .".to_owned(),
            status: Status::Done,
            verdict: Verdict::Fresh,
            because: String::new(),
            advice: None,
            baseline: Some(RunRef::default()),
            changed_files: vec!["a".to_owned()],
        };
        case.verdicts = vec![verdict.clone()];
        assert!(case.messages("cold-cache").is_empty());
        verdict.changed_files.clear();
        case.verdicts = vec![verdict];
        assert_eq!(case.messages("cold-cache"), ["not one of 2 steps was cached"]);
    }
}
