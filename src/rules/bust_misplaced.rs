//! `bust-misplaced`: a cache-bust argument that stands behind what it is to bust, or in another stage.

use super::{
    Confidence, Docs, Draft, Facts, FileFacts, FileRule, Findings, LogRule, Meta, Rule, Severity, TargetFacts,
    bust::{self, BustArg, TRUTH},
    bust_ineffective,
    lint::builds::{self, Once},
};
use crate::{
    build::Step,
    evidence::dockerfile::{Command, CommandKind},
    policy::Policy,
};

/// The rule.
#[derive(Debug)]
pub struct BustMisplaced;

static META: Meta = Meta {
    name: "bust-misplaced",
    severity: Severity::Warning,
    summary: "A cache-bust argument takes effect behind the source COPY, or in a stage that does not matter",
    docs: Docs {
        finds: "\
A bust argument whose first effect in its stage (the RUN that mentions it, or the first RUN behind the ARG) stands below every COPY of
application source; one in a stage without any such COPY, while another stage has it; one that only stages declare which the target does not
build. No finding where remote code is fetched below the bust: that is what it is for then.",
        matters: "\
It makes the steps below it run again at every build, which is slow, and leaves alone the COPY that it was written for.",
        example: "\
COPY shared-libs /tmp/shared-libs
ARG SHARED_LIBS_CACHE_BUST=1
RUN echo \"Cache bust: $SHARED_LIBS_CACHE_BUST\"

#6 [2/6] COPY shared-libs /tmp/shared-libs
#6 CACHED
#7 [3/6] RUN echo \"Cache bust: 1795227406\"
#7 DONE 0.1s",
        measured: Some("In every variant of the position the image was fresh: BuildKit compares the contents of what COPY takes."),
        fix: "\
Move the ARG and its RUN in front of the COPY, in the stage that copies. Or take it out.",
    },
};

impl Rule for BustMisplaced {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for BustMisplaced {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in &facts.builds {
            for target in &build.targets {
                for arg in bust::arguments(facts.policy, build.service(), target) {
                    let Some((draft, line)) = check_argument(facts.policy, target, &arg) else { continue };
                    let on_line = |step: &&Step| build.line_of(step).is_some_and(|(_, found, _)| Some(found) == line);
                    out.add(
                        &META,
                        match build.commands().find(on_line) {
                            Some(step) => draft.step(build, step),
                            None => draft.build(build),
                        },
                    );
                }
            }
        }
    }
}

/// What is wrong with the place of an argument, and the line of the COPY that it misses.
fn check_argument(policy: &Policy, target: &TargetFacts<'_>, arg: &BustArg<'_>) -> Option<(Draft, Option<usize>)> {
    let (Some(source), Some(environment)) = (target.source, target.environment()) else { return None };
    let name = &arg.name;
    if let (Some(declaration), true, true) = (arg.elsewhere.first(), arg.declared.is_empty(), arg.passed.is_some()) {
        let draft = Draft::new(format!("{name} is declared in a stage that this build does not need")).confidence(Confidence::Certain);
        let draft = draft.at(source, declaration.command.line, declaration.command.end_line);
        return Some((draft.help(format!("declare it in a stage that is built, in front of the COPY; {TRUTH}")), None));
    }
    let needed = environment.needed_stages().unwrap_or_default();
    let copies_of = |stage: usize| bust::source_copies(policy, target, stage);
    // One place that is right is enough.
    let mut wrong = None;
    for declaration in &arg.declared {
        let Some(effect) = bust::effect(target, declaration, name) else { continue };
        if bust::fetches_behind(target, declaration.stage, declaration.at) {
            return None;
        }
        let copies = copies_of(declaration.stage);
        let above = copies.iter().rfind(|(at, _)| *at < effect);
        let below = copies.iter().any(|(at, _)| *at > effect);
        match (above, below) {
            (None, true) => return None,
            (Some((_, copy)), below) => wrong = wrong.or(Some((declaration, *copy, below, false))),
            (None, false) => {
                let elsewhere = needed
                    .iter()
                    .filter(|stage| **stage != declaration.stage)
                    .find_map(|stage| copies_of(*stage).first().map(|(_, copy)| *copy));
                wrong = wrong.or(elsewhere.map(|copy| (declaration, copy, false, true)));
            }
        }
    }
    let (declaration, copy, below, other_stage) = wrong?;
    let what = if other_stage { "in another stage than" } else { "behind" };
    let draft = Draft::new(format!("{name} takes effect {what} `{}`: that COPY is not busted", copy.text));
    let mut draft =
        draft.at(source, declaration.command.line, declaration.command.end_line).evidence(format!("line {}: {}", copy.line, copy.text));
    if below && !is_named_after(name, copy) {
        // A later COPY is busted all the same; which one was meant only its author knows.
        draft = draft.severity(Severity::Note).confidence(Confidence::Possible);
    } else {
        draft = draft.confidence(Confidence::Certain);
    }
    let help = format!("move the ARG and the RUN that uses it in front of the COPY, or take them out; {TRUTH}");
    Some((draft.help(help), Some(copy.line)))
}

impl FileRule for BustMisplaced {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        let mut once = Once::default();
        builds::each(facts, |build| {
            for arg in bust::arguments(facts.policy, build.target.name(), &build.target) {
                let arg = BustArg { passed: arg.passed.clone().or_else(|| build.may_pass(&arg.name).then(String::new)), ..arg };
                // One that nothing uses is `bust-ineffective`'s.
                let found = check_argument(facts.policy, &build.target, &arg).filter(|_| !bust_ineffective::is_unused(&build.target, &arg));
                if let Some((draft, _)) = found {
                    once.add(&META, draft, out);
                }
            }
        });
    }
}

/// True where the argument's name says which COPY it is for: SHARED_LIBS_CACHE_BUST and `COPY shared-libs`.
fn is_named_after(name: &str, copy: &Command) -> bool {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect::<String>();
    let name = plain(name);
    let subject = ["CACHEBUSTER", "CACHEBUST", "BUST", "CACHE"].iter().fold(name, |name, word| name.replace(word, ""));
    let (CommandKind::Copy(copy) | CommandKind::Add(copy)) = &copy.kind else { return false };
    subject.len() >= 3 && copy.local_sources().any(|source| plain(source).contains(&subject))
}
