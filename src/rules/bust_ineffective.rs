//! `bust-ineffective`: a cache-bust argument that busts nothing.

use super::{
    BuildFacts, Confidence, Docs, Draft, Facts, FileFacts, FileRule, Findings, LogRule, Meta, Rule, Severity, TargetFacts,
    bust::{self, BustArg, TRUTH},
    lint::builds::{self, Once},
};
use crate::{
    build::{Status, Step},
    evidence::dockerfile::{CommandKind, steps::Agreement},
};

/// The rule.
#[derive(Debug)]
pub struct BustIneffective;

static META: Meta = Meta {
    name: "bust-ineffective",
    severity: Severity::Warning,
    summary: "A cache-bust argument is passed and busts nothing: misspelled, out of scope, unused, or the same value again",
    docs: Docs {
        finds: "\
A build argument that is meant to make steps run again (CACHEBUST, SHARED_LIBS_CACHE_BUST, those of `[bust] arguments`) and does not:

- misspelled: passed under a name that no stage declares, while a declared one keeps its default;
- declared before FROM only: inside the stage it is unset, and the log shows `$CACHEBUST` literally;
- not declared at all;
- overridden: an ENV of the same name wins over the argument;
- the log shows another value than the one passed;
- the bust RUN is CACHED: the value was used before, or the files pass a constant;
- declared and passed, but no instruction uses it and a COPY stands directly below it.",
        matters: "\
The script prints that it busts the cache, every build is green, and nobody notices until the trick is needed. Neither engine warns of a
build argument that is misspelled or unused.",
        example: "\
$ docker build --build-arg CACHEBUST=1795227406 .      # ARG CACHEBUST stands before FROM
#9 [5/7] RUN echo \"Build timestamp: $CACHEBUST\"
#9 CACHED",
        measured: Some(
            "\
A cache-bust argument is never needed to keep COPY fresh: with ordinary modification times every variant, right or wrong, gave a fresh image,
because BuildKit compares the contents of what it copies. And where COPY is stale (`sync-blind-spot`) a working bust does not help: COPY
runs again, from the same old copy of the context. What a bust is good for is remote code (`RUN git clone`), and there a pinned commit is
better.",
        ),
        fix: "\
Declare the argument in the stage, behind FROM; use it in a RUN in front of what is to run again (`RUN echo \"bust: $CACHEBUST\"`); pass a value
that is new each time (`--build-arg CACHEBUST=$(date +%s)`). Or take it out, and let `bklog check` say whether the code is the commit's.",
    },
};

impl Rule for BustIneffective {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for BustIneffective {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in &facts.builds {
            let mut known = false;
            for target in &build.targets {
                known |= target.environment().is_some();
                for arg in bust::arguments(facts.policy, build.service(), target) {
                    if let Some(draft) = declared(target, &arg) {
                        let literal = build.commands().find(|step| bust::mentions(step.instruction(), &arg.name));
                        out.add(
                            &META,
                            match literal.filter(|_| arg.declared.is_empty() && arg.global.is_some()) {
                                Some(step) => draft.step(build, step).evidence(format!("log line {}: {}", step.lines.0, first_line(step))),
                                None => draft.build(build),
                            },
                        );
                    }
                    if !arg.declared.is_empty() {
                        printed(facts, build, target, &arg, out);
                    }
                }
            }
            if !known {
                by_log_alone(facts, build, out);
            }
        }
    }
}

impl FileRule for BustIneffective {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        let mut once = Once::default();
        builds::each(facts, |build| {
            for arg in bust::arguments(facts.policy, build.target.name(), &build.target) {
                // What is passed under a name that nothing declares is `unknown-build-arg`'s.
                let known = arg.misspelled_as.is_none() && !(arg.declared.is_empty() && arg.global.is_none());
                let arg = BustArg { passed: arg.passed.clone().or_else(|| build.may_pass(&arg.name).then(String::new)), ..arg };
                if let Some(draft) = declared(&build.target, &arg).filter(|_| known) {
                    once.add(&META, draft, out);
                }
                if let Some((file, line, value)) = build.image.and_then(|image| builds::constant(facts, image, &arg.name))
                    && !arg.declared.is_empty()
                {
                    let draft = Draft::new(format!("{}={value} is the same at every build: it busts once", arg.name));
                    let draft = draft.confidence(Confidence::Certain).in_file(file, line, line);
                    once.add(&META, draft.help(format!("pass a value that is new each time: $(date +%s); {TRUTH}")), out);
                }
            }
        });
    }
}

/// What the Dockerfile and the command say against an argument.
fn declared(target: &TargetFacts<'_>, arg: &BustArg<'_>) -> Option<Draft> {
    let name = &arg.name;
    let at = |draft: Draft, line: Option<(usize, usize)>| match (target.source, line) {
        (Some(source), Some((line, end_line))) => draft.at(source, line, end_line),
        _ => draft,
    };
    let first = arg.declared.first().map(|declaration| (declaration.command.line, declaration.command.end_line));
    if let Some(wrong) = &arg.misspelled_as {
        let draft = Draft::new(format!("the command passes {wrong}, the Dockerfile declares {name}: it keeps its default"));
        let draft = at(draft, first).confidence(Confidence::Certain);
        return Some(draft.help(format!("pass it as --build-arg {name}=…; {TRUTH}")));
    }
    let passed = arg.passed.as_ref()?;
    if !arg.declared.is_empty() {
        if let Some((line, end_line)) = overridden(target, arg) {
            let draft = Draft::new(format!("ENV {name} wins over the argument {name}"));
            let draft = at(draft, Some((line, end_line))).confidence(Confidence::Certain);
            return Some(draft.help(format!("drop the ENV, or write it as ENV {name}=${name}")));
        }
        let copy = unused(target, arg)?;
        let draft = Draft::new(format!("no instruction uses {name}: the COPY below it is not busted")).severity(Severity::Note);
        let draft = at(draft, first).confidence(Confidence::Certain).evidence(copy);
        let draft = draft.evidence("an ARG that no RUN mentions makes the RUN steps below it run again, and not a COPY directly below");
        return Some(draft.help(format!("use it in a RUN in front of the COPY (RUN echo \"bust: ${name}\"), or take it out; {TRUTH}")));
    }
    if let Some(global) = arg.global {
        let draft = Draft::new(format!("{name} is declared before FROM only: inside the stage it is unset"));
        let draft = at(draft, Some((global.line, global.end_line))).confidence(Confidence::Certain);
        return Some(draft.help(format!("repeat `ARG {name}` behind FROM, in front of the RUN that uses it; {TRUTH}")));
    }
    if arg.elsewhere.is_empty() {
        let draft = Draft::new(format!("the command passes {name}={passed}, and no stage declares it")).confidence(Confidence::Certain);
        return Some(draft.help(format!("declare it behind FROM (ARG {name}) and use it in a RUN, or do not pass it; {TRUTH}")));
    }
    None
}

/// What the log says against an argument that is declared and passed.
fn printed<'a>(facts: &Facts<'_>, build: &BuildFacts<'a>, target: &TargetFacts<'a>, arg: &BustArg<'_>, out: &mut Findings<'_>) {
    let Some(passed) = &arg.passed else { return };
    for step in build.commands().filter(|step| step.parts.keyword == Some("RUN")) {
        let Some((owner, command)) = build.command_of(step) else { continue };
        if !std::ptr::eq(owner, target) || !command.command.is_some_and(|command| bust::mentions(&command.text, &arg.name)) {
            continue;
        }
        let expected = target.steps().and_then(|steps| {
            steps
                .steps(command.stage)
                .iter()
                .find(|known| known.command.is_some_and(|running| running.command.line == command.line))
                .map(|known| known.name.clone())
        });
        let shown = step.instruction();
        if command.agreement == Agreement::Number
            && let Some(value) = expected.as_deref().and_then(|expected| other_value(expected, shown, passed))
        {
            let default = arg.declared.iter().find_map(|declaration| bust::default_of(declaration.command, &arg.name));
            let what = if value == format!("${}", arg.name) || value == format!("${{{}}}", arg.name) {
                "it is unset there".to_owned()
            } else if default == Some(value) {
                format!("the default {value}")
            } else {
                format!("{value:?}")
            };
            let draft = Draft::new(format!("{}={passed} was passed, and the log shows {what}", arg.name)).confidence(Confidence::Likely);
            let draft = draft.step(build, step).evidence(format!("log line {}: {}", step.lines.0, first_line(step)));
            out.add(&META, draft.help("the log may be that of another command or Dockerfile; look which one ran"));
            return;
        }
        if is_repeated(facts, build, step) && shown.contains(passed.as_str()) && !is_commit(facts, passed) {
            let mut draft = Draft::new(format!("{}={passed} was used before: the bust step is CACHED", arg.name));
            let earlier = facts.history.of(target.name()).into_iter().find(|run| run.args.get(&arg.name) == Some(passed));
            if let Some(run) = earlier {
                draft = draft.evidence(format!("run {} was given the same value", run.run));
            }
            let draft = draft.confidence(Confidence::Certain).step(build, step).evidence(format!("log line {}: CACHED", step.lines.1));
            out.add(&META, draft.help(format!("pass a value that is new each time: $(date +%s); {TRUTH}")));
            return;
        }
    }
}

/// What can be seen without the Dockerfile.
fn by_log_alone(facts: &Facts<'_>, build: &BuildFacts<'_>, out: &mut Findings<'_>) {
    for step in build.commands() {
        if let Some(name) = bust::literal(facts, build, step) {
            let draft = Draft::new(format!("{name} is unset in the stage: the log shows it literally"))
                .confidence(Confidence::Likely)
                .step(build, step);
            let draft = draft.evidence(format!("log line {}: {}", step.lines.0, first_line(step)));
            out.add(&META, draft.help(format!("declare it behind FROM, in front of the RUN: ARG {name}; {TRUTH}")));
        } else if says_bust(step) && is_repeated(facts, build, step) && !bust::shows_default(step.instruction()) {
            let draft = Draft::new("the bust step is CACHED: its value was used before").confidence(Confidence::Likely).step(build, step);
            out.add(&META, draft.help(format!("pass a value that is new each time: $(date +%s); {TRUTH}")));
        }
    }
}

fn says_bust(step: &Step) -> bool {
    let text = step.instruction().to_ascii_lowercase();
    step.parts.keyword == Some("RUN") && ["cache bust", "cachebust", "cache_bust", "cache-bust"].iter().any(|words| text.contains(words))
}

/// True for a cached step that no earlier build of this log has run or reported: ten services share a bust, and one of them runs it.
fn is_repeated(facts: &Facts<'_>, build: &BuildFacts<'_>, step: &Step) -> bool {
    let earlier = facts.builds.iter().filter(|other| other.number < build.number).flat_map(BuildFacts::commands);
    let same = |other: &Step| other.instruction() == step.instruction();
    step.status == Status::Cached && step.cache_hit == Some(true) && !earlier.into_iter().any(same)
}

/// True for a value that is the commit: at the same commit the cache is right to answer.
fn is_commit(facts: &Facts<'_>, value: &str) -> bool {
    value.len() >= 7 && facts.commit().is_some_and(|commit| commit.starts_with(value) || value.starts_with(commit))
}

/// The value that a step shows where another was expected: what stands between the same beginning and the same end.
fn other_value<'s>(expected: &str, shown: &'s str, passed: &str) -> Option<&'s str> {
    let at = expected.find(passed)?;
    let (before, after) = (&expected[..at], &expected[at + passed.len()..]);
    shown.strip_prefix(before)?.strip_suffix(after)
}

fn first_line(step: &Step) -> &str {
    step.name.lines().next().unwrap_or_default()
}

/// The lines of an ENV behind the declaration that gives the name another value.
fn overridden(target: &TargetFacts<'_>, arg: &BustArg<'_>) -> Option<(usize, usize)> {
    let environment = target.environment()?;
    let stages = arg.declared.iter().map(|declaration| declaration.stage);
    for stage in stages {
        for running in environment.commands(stage) {
            if let CommandKind::Env(pairs) = &running.command.kind
                && pairs.iter().any(|(name, value)| *name == arg.name && !bust::mentions(value, name))
            {
                return Some((running.command.line, running.command.end_line));
            }
        }
    }
    None
}

/// Whether an argument is one that nothing uses, directly above a COPY.
pub(super) fn is_unused(target: &TargetFacts<'_>, arg: &BustArg<'_>) -> bool {
    arg.passed.is_some() && unused(target, arg).is_some()
}

/// The COPY directly below an argument that nothing uses.
fn unused(target: &TargetFacts<'_>, arg: &BustArg<'_>) -> Option<String> {
    if bust::is_mentioned(target, arg) {
        return None;
    }
    let declaration = arg.declared.first()?;
    let environment = target.environment()?;
    let commands = environment.commands(declaration.stage);
    let next = commands.iter().skip(declaration.at + 1).find(|running| matches!(running.command.keyword, "RUN" | "COPY" | "ADD"))?;
    (next.command.keyword != "RUN").then(|| format!("line {}: {}", next.command.line, next.command.text))
}

#[cfg(test)]
#[path = "bust_tests.rs"]
mod tests;
