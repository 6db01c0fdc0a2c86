//! `cold-cache`: nothing was cached, where earlier runs had much of it cached.

use super::{Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};
use crate::build::{Outcome, Status};

/// The rule.
#[derive(Debug)]
pub struct ColdCache;

static META: Meta = Meta {
    name: "cold-cache",
    severity: Severity::Note,
    summary: "Not one step was cached, where the runs before had some: the cache was empty",
    docs: Docs {
        finds: "\
A build in which every step ran, while recorded runs of the same target shortly before had cached steps. It needs a history.",
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
            let warm = |steps: &[(String, bool)]| steps.iter().filter(|(_, cached)| *cached).count();
            let Some(run) = earlier.iter().take(LOOKED_AT).find(|run| warm(&run.steps) > 0) else { continue };
            let mut draft = Draft::new(format!("not one of {ran} steps was cached")).confidence(Confidence::Certain).build(build);
            draft = draft.evidence(format!("run {} had {} of {} steps cached", run.run, warm(&run.steps), run.steps.len()));
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

#[cfg(test)]
mod tests {
    use super::super::{
        EarlierRun,
        testing::{Case, log},
    };

    #[test]
    fn only_where_it_was_warm_before() {
        let mut case = Case::new(log(&[
            "Total reclaimed space: 2GB",
            "[1/3] FROM x | DONE 0.0s",
            "[2/3] RUN x | DONE 0.1s",
            "[3/3] RUN y | DONE 0.1s",
        ]));
        assert!(case.messages("cold-cache").is_empty());
        let run = |cached| EarlierRun { run: "r1".to_owned(), steps: vec![("RUN x".to_owned(), cached)], ..EarlierRun::default() };
        case.earlier = vec![run(false)];
        assert!(case.messages("cold-cache").is_empty());
        case.earlier = vec![run(false), run(true)];
        let found = case.findings();
        assert_eq!(found[0].evidence, ["run r1 had 1 of 1 steps cached", "log line 1: Total reclaimed space: 2GB"]);
    }
}
