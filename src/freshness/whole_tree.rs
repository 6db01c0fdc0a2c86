//! What there is to say of a target's tree as a whole.

use crate::build::{Build, Outcome, Step};
use crate::evidence::build_target::BuildTarget;
use crate::evidence::commit::short;
use crate::finding::{Confidence, Severity};

use super::judge::{Judge, Raised, Said, first_line};
use super::local::count;
use super::plan::Located;
use super::target::{Context, Contexts};
use super::tree::Difference;
use super::verdict::Verdict;

impl Judge<'_> {
    /// A tool that builds again what is newer than its product finds nothing newer where times are set.
    pub(super) fn cache_mounts(&mut self, number: usize, target: &BuildTarget, contexts: &Contexts, located: &[(&Step, Option<Located>)]) {
        if !contexts.values().any(|context| matches!(context, Context::Local(state) if state.set_times)) {
            return;
        }
        for (step, place) in located {
            if step.parts.keyword != Some("RUN") || !step.instruction().contains("--mount=type=cache") {
                continue;
            }
            let because = "its layer is what the command made; what is in its cache mount, the builder does not look at";
            self.verdict(number, step, Said::new(Verdict::Fresh, because));
            let raised = Raised {
                rule: "cache-mount-mtime",
                severity: Severity::Warning,
                confidence: Confidence::Possible,
                message: format!("a cache mount and times that a script has set: {}", first_line(step.instruction())),
                evidence: vec!["files of the context have a time without parts of a second, the same for all of them".to_owned()],
                files: Vec::new(),
                help: "leave the files' times alone, or let the tool compare contents: what make, cargo and others find up to date by time may be old"
                    .to_owned(),
                location: place.and_then(|place| self.location(target, place.line)),
            };
            self.raise(number, step, raised);
        }
    }

    /// What there is to say of the tree as a whole: another commit, files that are not committed.
    pub(super) fn tree_findings(&mut self, number: usize, build: &Build, target: &BuildTarget, contexts: &Contexts) {
        if build.outcome == Outcome::Canceled {
            return;
        }
        for context in contexts.values() {
            let Context::Local(state) = context else {
                continue;
            };
            let Some(reference) = &state.reference else {
                continue;
            };
            let in_log = crate::finding::InLog { build: number, index: None, line: Some(build.lines.0), step: None, status: None };
            if !reference.is_head() && !self.has_finding(number, "commit-mismatch", None) {
                let head = &reference.work.head;
                let raised = Raised {
                    rule: "commit-mismatch",
                    severity: Severity::Error,
                    confidence: Confidence::Certain,
                    message: format!("the tree that was built is at {}, not at {}", short(head), short(&reference.commit)),
                    evidence: vec![format!("HEAD of {} is {head}", reference.work.root().display())],
                    files: Vec::new(),
                    help: "check the commit out in the directory that is built, before the build".to_owned(),
                    location: None,
                };
                self.raise_at(in_log.clone(), raised);
            }
            let dirty: Vec<String> = state
                .differences
                .iter()
                .filter(|(path, difference)| **difference == Difference::Dirty && !state.rules.leaves_out(path))
                .map(|(path, _)| path.clone())
                .collect();
            if !dirty.is_empty() && !self.has_finding(number, "dirty-tree", target.name.as_deref()) {
                let raised = Raised {
                    rule: "dirty-tree",
                    severity: Severity::Warning,
                    confidence: Confidence::Certain,
                    message: format!("{} of the context {} not committed", count(&dirty), if dirty.len() == 1 { "is" } else { "are" }),
                    evidence: vec![format!("git status in {}", state.root.display())],
                    files: dirty,
                    help: "commit, or build in a clean checkout; keep what is no source out with .dockerignore".to_owned(),
                    location: None,
                };
                self.raise_at(in_log.clone(), raised);
            }
        }
    }

    fn has_finding(&self, build: usize, rule: &str, _target: Option<&str>) -> bool {
        let here = |finding: &crate::finding::Finding| {
            finding.rule == rule && finding.in_log.as_ref().is_some_and(|at| at.build == build && at.index.is_none())
        };
        self.report.findings.iter().any(here)
    }
}
