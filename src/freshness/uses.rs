//! What the steps of a target take, and what is said of each.

use std::collections::BTreeMap;

use crate::build::{Status, Step};
use crate::evidence::build_target::BuildTarget;
use crate::evidence::dockerfile::dependencies::{Origin, Via};
use crate::finding::{Confidence, Severity};

use super::by_image::{Shown, Through};
use super::judge::{Judge, Raised, Said, first_line};
use super::local::{Judged, count, judge_local, select, taken_files};

use super::plan::{Located, Use, View};
use super::target::Context;
use super::tree::changed_since;
use super::verdict::{RunRef, Verdict};

impl Judge<'_> {
    /// Judges what one step takes from one context, and says so.
    pub(super) fn judge_use(
        &mut self,
        number: usize,
        step: &Step,
        taken: &Use,
        context: &Context,
        target: &BuildTarget,
        place: Option<Located>,
    ) -> (Verdict, String) {
        let ended = matches!(step.status, Status::Done | Status::Cached);
        let judged = match context {
            _ if !ended => Judged::plain(Verdict::Unknown, "the step did not end, so that no image holds it"),
            Context::Whole(why) => Judged::plain(Verdict::Fresh, why),
            Context::Unreadable(why) => self.without_tree(step, taken, why),
            Context::Local(state) => judge_local(step, taken, state),
        };
        let result = (judged.verdict, judged.because.clone());
        let report = judged.verdict != Verdict::Fresh || !taken.mount;
        if report {
            let baseline = match context {
                Context::Local(state) => judged.baseline.clone().or_else(|| state.baseline.run.clone()),
                _ => judged.baseline.clone().or_else(|| self.last_run.clone()),
            };
            let mut said = Said::new(judged.verdict, &judged.because);
            (said.baseline, said.changed_files) = (baseline, judged.files.clone());
            said.advice = Some(judged.help).filter(|help| !help.is_empty() && judged.verdict != Verdict::Fresh);
            self.verdict(number, step, said);
        }
        if let Some(rule) = judged.rule {
            let (severity, confidence) = match judged.verdict {
                Verdict::Stale => (Severity::Error, judged.confidence),
                Verdict::Fresh => (Severity::Note, Confidence::Possible),
                _ => (Severity::Warning, Confidence::Possible),
            };
            let raised = Raised {
                rule,
                severity,
                confidence,
                message: format!("{}: {}", judged.headline, first_line(step.instruction())),
                evidence: judged.evidence,
                files: judged.files,
                help: judged.help.to_owned(),
                location: place.and_then(|place| self.location(target, place.line)),
            };
            self.raise(number, step, raised);
        }
        result
    }

    /// Judges a step whose context is not here: by the commit alone.
    fn without_tree(&mut self, step: &Step, taken: &Use, why: &str) -> Judged {
        let mut judged = Judged::unknown(why, "name the directory that was built (--context DIR, or the whole command with --build)");
        let cwd = self.input.cwd.to_owned();
        let reference = self.tree(&cwd);
        if let Some(reference) = reference.filter(|reference| reference.known) {
            let to = reference.commit.clone();
            let prefix = reference.work.prefix(&cwd).unwrap_or_default();
            let baseline =
                self.input.since.map(|since| RunRef { run: None, commit: Some(since.to_owned()) }).or_else(|| self.last_run.clone());
            let from = baseline.as_ref().and_then(|baseline| baseline.commit.clone());
            let changed = from
                .and_then(|from: String| changed_since(reference.work.repository(), reference.work.status().ok()?, &from, &to, &prefix));
            if let Some(changed) = changed {
                judged.files = select(taken, &taken_files(taken, &cwd), changed.iter().map(String::as_str));
                judged.baseline = baseline;
                (judged.verdict, judged.because) = match (judged.files.is_empty(), step.status) {
                    (true, _) => {
                        judged.help = "";
                        (Verdict::Fresh, format!("{why}; the commit changed nothing that this step takes since the last recorded run"))
                    }
                    (false, Status::Cached) => {
                        judged.rule = Some("stale-copy");
                        "another tree than the one looked at may have been built".clone_into(&mut judged.headline);
                        judged.help = "build the directory that holds the commit, or give it with --context";
                        (
                            Verdict::Suspect,
                            format!("CACHED, but the commit changed {} since the last recorded run, and {why}", count(&judged.files)),
                        )
                    }
                    (false, _) => (Verdict::Unknown, format!("it ran, but {why}")),
                };
                return judged;
            }
        }
        if step.status == Status::Done {
            judged = Judged::plain(Verdict::Fresh, &format!("it ran; {why}"));
        }
        judged
    }

    /// Commands that take from a stage that holds old code hold it too.
    pub(super) fn stages(
        &mut self,
        number: usize,
        target: &BuildTarget,
        view: &View<'_>,
        located: &[(&Step, Option<Located>)],
        shown: &Shown,
        worst: &mut BTreeMap<usize, (Verdict, String)>,
    ) {
        let stages = view.environment.file().stages.len();
        let stage_name = |index: usize| match view.environment.file().stages.get(index).and_then(|stage| stage.name.clone()) {
            Some(name) => name,
            None => format!("stage-{index}"),
        };
        for stage in 0..stages {
            for dependency in view.environment.dependencies(stage) {
                let Origin::Stage(from) = dependency.origin else {
                    continue;
                };
                let Some((held, _)) = worst.get(&from).cloned() else {
                    continue;
                };
                let because = format!("it takes from {}, which holds code that is {}", stage_name(from), held.name());
                // The old code may leave what is taken as it is, so nothing more can be said than that.
                let mut verdict = Verdict::Suspect;
                let taker =
                    located.iter().find(|(_, place)| place.is_some_and(|place| place.stage == stage && place.line == dependency.line));
                if let Some((step, place)) = taker.filter(|_| dependency.via != Via::From) {
                    let by_image = shown.through.get(&step.index);
                    let (said, evidence) = match by_image {
                        Some(Through::Same) => (Verdict::Fresh, "the image holds these very files".to_owned()),
                        Some(Through::Old(files)) => {
                            (Verdict::Stale, format!("through {} the image has an earlier version of {}", stage_name(from), count(files)))
                        }
                        Some(Through::Made) if held == Verdict::Stale => {
                            (Verdict::Stale, format!("it takes what {} made of old code", stage_name(from)))
                        }
                        Some(Through::Made) | None => (Verdict::Suspect, because.clone()),
                    };
                    verdict = said;
                    self.verdict(number, step, Said::new(verdict, &evidence));
                    if verdict != Verdict::Fresh {
                        let raised = Raised {
                            rule: "stale-copy",
                            severity: if verdict == Verdict::Stale { Severity::Error } else { Severity::Warning },
                            confidence: Confidence::Likely,
                            message: format!("what it takes was made of old code: {}", first_line(step.instruction())),
                            evidence: vec![evidence],
                            files: Vec::new(),
                            help: "see the finding on the step of that stage".to_owned(),
                            location: place.and_then(|place| self.location(target, place.line)),
                        };
                        self.raise(number, step, raised);
                    }
                }
                if verdict != Verdict::Fresh {
                    let entry = worst.entry(stage).or_insert_with(|| (verdict, because.clone()));
                    if verdict > entry.0 {
                        *entry = (verdict, because);
                    }
                }
            }
        }
    }
}

/// What a step takes as the log alone tells it.
pub(super) fn use_by_log(step: &Step, target: &BuildTarget) -> Vec<Use> {
    let origin = match step.parts.from.as_deref() {
        None => Origin::Context,
        Some(from) if target.contexts.contains_key(from) => Origin::NamedContext(from.to_owned()),
        Some(_) => return Vec::new(),
    };
    if !matches!(step.parts.keyword, Some("COPY" | "ADD")) || (origin == Origin::Context && !step.copies_from_context()) {
        return Vec::new();
    }
    Use::by_log(origin, step).into_iter().collect()
}

/// The name of a context: the main one has none. `None` for what is no context.
pub(super) fn context_key(origin: &Origin) -> Option<Option<String>> {
    match origin {
        Origin::Context => Some(None),
        Origin::NamedContext(name) => Some(Some(name.clone())),
        Origin::Stage(_) | Origin::Image(_) => None,
    }
}
