//! What the rules about cache-bust arguments have in common: which arguments those are, and where they stand.
//!
//! Facts (BuildKit, by experiment): the name of a RUN step shows the argument expanded; a variable that is unset in the stage stands
//! there literally; the default value means that the argument was not passed or misspelled, and no engine warns of either. An ARG that no
//! RUN mentions still makes the RUN steps below it run again, and the copies below those, but not a COPY directly below it.

use std::collections::BTreeSet;

use super::{BuildFacts, Facts, TargetFacts};
use crate::{
    build::Step,
    evidence::{
        dockerfile::{Command, CommandKind, dependencies::Origin},
        remote_code,
    },
    nearest::nearest,
    policy::Policy,
    redact::names::wildcard,
};

/// Says what a bust can do and what it cannot; every help text ends with it.
pub(super) const TRUTH: &str = "a bust is not what keeps COPY fresh: BuildKit compares contents";

/// A declaration of an argument in a stage.
#[derive(Debug, Clone)]
pub(super) struct Declaration<'a> {
    pub(super) stage: usize,
    /// Its place among the commands of the stage.
    pub(super) at: usize,
    pub(super) command: &'a Command,
}

/// A bust argument of one target.
#[derive(Debug)]
pub(super) struct BustArg<'a> {
    pub(super) name: String,
    /// The value that the command passes.
    pub(super) passed: Option<String>,
    /// Where the stages that are built declare it.
    pub(super) declared: Vec<Declaration<'a>>,
    /// Where stages that are not built declare it.
    pub(super) elsewhere: Vec<Declaration<'a>>,
    /// Where it is declared before the first FROM.
    pub(super) global: Option<&'a Command>,
    /// The argument that the command passes instead, where this one is declared and that one is not: a misspelling.
    pub(super) misspelled_as: Option<String>,
}

/// True for the name of a cache-bust argument: those of the settings, and what people call them.
pub(super) fn is_bust(policy: &Policy, service: Option<&str>, name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    const PARTS: [&str; 7] = ["CACHEBUST", "BUSTCACHE", "CACHEBREAK", "BREAKCACHE", "CACHEDATE", "INVALIDATECACHE", "FORCEREBUILD"];
    let usual = plain.ends_with("BUST") || plain.ends_with("BUSTER") || PARTS.iter().any(|part| plain.contains(part));
    let service = policy.service(service).map(|service| service.bust.as_slice()).unwrap_or_default();
    let given = policy.bust.arguments.iter().chain(&policy.bust.required).chain(service);
    usual || given.into_iter().any(|pattern| wildcard(pattern.as_bytes(), name.as_bytes()))
}

/// The bust arguments of a target whose Dockerfile is known: passed, declared or required.
pub(super) fn arguments<'a>(policy: &Policy, service: Option<&str>, target: &TargetFacts<'a>) -> Vec<BustArg<'a>> {
    chosen_arguments(policy, target, &|name| is_bust(policy, service, name))
}

/// As [`arguments`], for the names that `is_meant` tells.
pub(super) fn chosen_arguments<'a>(policy: &Policy, target: &TargetFacts<'a>, is_meant: &dyn Fn(&str) -> bool) -> Vec<BustArg<'a>> {
    let Some(environment) = target.environment() else { return Vec::new() };
    let file = environment.file();
    let needed = environment.needed_stages().unwrap_or_else(|_| (0..file.stages.len()).collect());
    let mut all: Vec<BustArg<'a>> = Vec::new();
    let mut entry = |name: &str| -> usize {
        if let Some(at) = all.iter().position(|arg| arg.name == name) {
            return at;
        }
        all.push(BustArg {
            name: name.to_owned(),
            passed: None,
            declared: Vec::new(),
            elsewhere: Vec::new(),
            global: None,
            misspelled_as: None,
        });
        all.len() - 1
    };
    let mut globals = Vec::new();
    for command in &file.global_args {
        for name in declared_names(command) {
            globals.push((entry(name), command));
        }
    }
    let mut declarations = Vec::new();
    for stage in 0..file.stages.len() {
        for (at, running) in environment.commands(stage).into_iter().enumerate() {
            for name in declared_names(running.command) {
                declarations.push((entry(name), Declaration { stage, at, command: running.command }));
            }
        }
    }
    let passed: Vec<(usize, String)> = target.target.args.iter().filter_map(|arg| Some((entry(&arg.name), arg.value.clone()?))).collect();
    for name in &policy.bust.required {
        if !name.contains('*') {
            entry(name);
        }
    }
    for (at, command) in globals {
        all[at].global = Some(command);
    }
    for (at, declaration) in declarations {
        let list = if needed.contains(&declaration.stage) { &mut all[at].declared } else { &mut all[at].elsewhere };
        list.push(declaration);
    }
    for (at, value) in passed {
        all[at].passed = Some(value);
    }
    let misspelled: Vec<(usize, usize)> = all
        .iter()
        .enumerate()
        .filter(|(_, arg)| arg.passed.is_some() && arg.declared.is_empty() && arg.global.is_none())
        .filter_map(|(wrong, arg)| {
            let candidates = all.iter().filter(|other| other.passed.is_none() && !other.declared.is_empty());
            let near = nearest(&arg.name, candidates.map(|other| other.name.as_str()))?;
            let right = all.iter().position(|other| other.name == near)?;
            (is_meant(&arg.name) || is_meant(near)).then_some((right, wrong))
        })
        .collect();
    for (right, wrong) in &misspelled {
        all[*right].misspelled_as = Some(all[*wrong].name.clone());
    }
    let wrong: BTreeSet<usize> = misspelled.iter().map(|(_, wrong)| *wrong).collect();
    let mut at = 0;
    all.retain(|arg| {
        let keep = !wrong.contains(&at) && (arg.misspelled_as.is_some() || is_meant(&arg.name));
        at += 1;
        keep
    });
    all
}

fn declared_names(command: &Command) -> impl Iterator<Item = &str> {
    let pairs = match &command.kind {
        CommandKind::Arg(pairs) => pairs.as_slice(),
        _ => &[],
    };
    pairs.iter().map(|(name, _)| name.as_str())
}

/// What people call an argument that carries the commit.
pub(super) fn is_commit_name(name: &str) -> bool {
    const NAMES: [&str; 24] = [
        "GITCOMMIT",
        "GITCOMMITHASH",
        "GITCOMMITSHA",
        "GITCOMMITID",
        "GITHASH",
        "GITSHA",
        "GITSHA1",
        "GITREV",
        "GITREVISION",
        "GITREF",
        "COMMIT",
        "COMMITSHA",
        "COMMITHASH",
        "COMMITID",
        "COMMITREF",
        "VCSREF",
        "VCSREVISION",
        "REVISION",
        "SOURCECOMMIT",
        "BUILDCOMMIT",
        "BUILDSHA",
        "CICOMMITSHA",
        "GITHUBSHA",
        "APPCOMMIT",
    ];
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    NAMES.contains(&plain.as_str())
}

/// The default that a declaration gives to an argument.
pub(super) fn default_of<'a>(command: &'a Command, name: &str) -> Option<&'a str> {
    match &command.kind {
        CommandKind::Arg(pairs) => pairs.iter().find(|(known, _)| known == name).and_then(|(_, default)| default.as_deref()),
        _ => None,
    }
}

/// True where a text refers to a variable: `$NAME`, `${NAME…`.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    references(text).any(|reference| reference == name)
}

/// The variables that a text refers to.
pub(super) fn references(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('$').filter_map(move |(at, _)| {
        let rest = &text[at + 1..];
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let escaped = at > 0 && text.as_bytes()[at - 1] == b'\\';
        (end > 0 && !escaped && !rest.starts_with(|c: char| c.is_ascii_digit())).then(|| &rest[..end])
    })
}

/// A bust argument that a RUN of the log shows literally: it is unset in the stage. A name that the command sets itself is none.
pub(super) fn literal<'s>(facts: &Facts<'_>, build: &BuildFacts<'_>, step: &'s Step) -> Option<&'s str> {
    if step.parts.keyword != Some("RUN") {
        return None;
    }
    let text = step.instruction();
    let set = |name: &str| {
        text.match_indices(name).any(|(at, _)| {
            let before = at.checked_sub(1).map(|at| text.as_bytes()[at]);
            let alone = before.is_none_or(|byte| matches!(byte, b' ' | b'\t' | b';' | b'&' | b'(' | b'\n'));
            let rest = &text[at + name.len()..];
            alone && (rest.starts_with('=') || (text[..at].ends_with("read ") || text[..at].ends_with("for ")))
        })
    };
    references(text).find(|name| is_bust(facts.policy, build.service(), name) && !set(name))
}

/// True for a RUN that says by its text that it is a bust, and whose value is a default that no script passes.
pub(super) fn shows_default(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    const WORDS: [&str; 5] = ["cache bust", "cachebust", "cache_bust", "cache-bust", "build timestamp"];
    let Some((_, at)) = WORDS.iter().filter_map(|words| lower.find(words).map(|at| (at, at + words.len()))).min() else {
        return false;
    };
    let rest = lower[at..].trim_start_matches([':', '=', ' ', '"', '\'']);
    let value: String = rest.chars().take_while(|c| !matches!(c, '"' | '\'' | ' ' | ';' | '&' | '>' | '|')).collect();
    lower.starts_with("run echo") && matches!(value.as_str(), "" | "0" | "1" | "none" | "default" | "unset" | "unknown")
}

/// The commands of a stage that copy application source from the context, by their place.
pub(super) fn source_copies<'a>(policy: &Policy, target: &TargetFacts<'a>, stage: usize) -> Vec<(usize, &'a Command)> {
    let Some(environment) = target.environment() else { return Vec::new() };
    let mut found = Vec::new();
    for (at, running) in environment.commands(stage).into_iter().enumerate() {
        let (CommandKind::Copy(copy) | CommandKind::Add(copy)) = &running.command.kind else { continue };
        let local = matches!(environment.copy_origin(running.command), Some(Origin::Context | Origin::NamedContext(_)));
        if local && copy.local_sources().any(|source| policy.sources.may_copy_application(source)) {
            found.push((at, running.command));
        }
    }
    found
}

/// True where a RUN at or behind a place of a stage fetches remote code: that is what a bust there is for.
pub(super) fn fetches_behind(target: &TargetFacts<'_>, stage: usize, at: usize) -> bool {
    let Some(environment) = target.environment() else { return false };
    let commands = environment.commands(stage);
    commands.iter().skip(at).any(|running| {
        let remote_add = matches!(&running.command.kind, CommandKind::Add(copy) if copy.local_sources().count() < copy.sources.len());
        remote_add || (running.command.keyword == "RUN" && !remote_code::fetches(&running.command.text).is_empty())
    })
}

/// Where a bust takes effect in a stage: the first RUN at or behind the declaration (its environment holds every ARG), or an earlier
/// command that mentions the argument.
pub(super) fn effect(target: &TargetFacts<'_>, declaration: &Declaration<'_>, name: &str) -> Option<usize> {
    let commands = target.environment()?.commands(declaration.stage);
    let works = |command: &Command| command.keyword == "RUN" || (command.keyword != "ARG" && mentions(&command.text, name));
    commands.iter().enumerate().skip(declaration.at).find(|(_, running)| works(running.command)).map(|(at, _)| at)
}

/// True where a command of a built stage mentions the argument.
pub(super) fn is_mentioned(target: &TargetFacts<'_>, arg: &BustArg<'_>) -> bool {
    let Some(environment) = target.environment() else { return false };
    let stages: BTreeSet<usize> = arg.declared.iter().map(|declaration| declaration.stage).collect();
    let file = environment.file();
    let in_stage = |stage: usize| environment.commands(stage).iter().any(|running| uses(running.command, &arg.name));
    // A stage made from one that declares the argument knows it too.
    stages.iter().any(|stage| in_stage(*stage))
        || (0..file.stages.len()).any(|stage| environment.start(stage).args.contains_key(&arg.name) && in_stage(stage))
}

fn uses(command: &Command, name: &str) -> bool {
    let heredocs = command.heredocs.iter().any(|heredoc| heredoc.expand && mentions(&heredoc.content, name));
    heredocs || mentions(&command.text, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_variables() {
        let names = |text| references(text).collect::<Vec<_>>();
        assert_eq!(names("RUN echo \"$A ${B:-x} $C_1$ $1 \\$D\""), ["A", "B", "C_1"]);
        assert!(mentions("echo ${BUST}", "BUST") && !mentions("echo $BUSTED", "BUST"));
    }

    #[test]
    fn defaults() {
        for (text, is_default) in [
            ("RUN echo \"Cache bust: 1\"", true),
            ("RUN echo \"Cache bust: 1795227406\"", false),
            ("RUN echo \"Build timestamp: \"", true),
            ("RUN echo \"Build timestamp: 2026-11-21\"", false),
            ("RUN npm ci", false),
            ("RUN echo 1", false),
        ] {
            assert_eq!(shows_default(text), is_default, "{text}");
        }
    }
}
