//! `unknown-build-arg`: a build argument that the Dockerfile does not declare.

use std::collections::{BTreeSet, HashSet};

use super::{
    FileFacts, FileRule,
    builds::{self, Once},
};
use crate::{
    evidence::dockerfile::{CommandKind, Dockerfile},
    nearest::nearest,
    rules::{Confidence, Docs, Draft, Findings, Meta, Rule, Severity, bust},
};

/// The rule.
#[derive(Debug)]
pub struct UnknownBuildArg;

static META: Meta = Meta {
    name: "unknown-build-arg",
    severity: Severity::Warning,
    summary: "A build argument is passed that the Dockerfile does not declare: misspelled, or forgotten",
    docs: Docs {
        finds: "\
An argument that a command, a compose or bake file or a workflow passes and no ARG of the Dockerfile declares. An error where it is a
cache-bust or commit argument and the Dockerfile declares one of nearly the same name, which keeps its default. What BuildKit knows by itself
is fine: proxies, `TARGETPLATFORM` and the like, `BUILDKIT_…`, `SOURCE_DATE_EPOCH`. An argument that several builds are given together is
reported only where none of their Dockerfiles declares it, unless it is a bust or the commit.",
        matters: "\
Nothing warns: BuildKit drops what no ARG declares without a word. The script says that it busts the cache or records the commit, and it does
neither.",
        example: "\
docker build --build-arg GIT_COMIT_HASH=$(git rev-parse HEAD) .    # the Dockerfile has ARG GIT_COMMIT_HASH=unknown",
        measured: Some(
            "\
Neither BuildKit nor docker 20.10 with BuildKit printed anything for an argument that was misspelled or unused; only the builder that was
before BuildKit did.",
        ),
        fix: "\
Pass it under the name that the Dockerfile declares, or declare it (`ARG NAME` behind FROM), or stop passing it.",
    },
};

/// Arguments that need no declaration (BuildKit: `dockerfile2llb` and `dockerui`).
const PREDEFINED: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];
const PLATFORM: [&str; 12] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDARCH",
    "BUILDVARIANT",
    "SOURCE_DATE_EPOCH",
];

impl Rule for UnknownBuildArg {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

fn is_predefined(name: &str) -> bool {
    PREDEFINED.contains(&name.to_ascii_uppercase().as_str()) || PLATFORM.contains(&name) || name.starts_with("BUILDKIT_")
}

fn declared(dockerfile: &Dockerfile) -> BTreeSet<&str> {
    let commands = dockerfile.global_args.iter().chain(dockerfile.stages.iter().flat_map(|stage| &stage.commands));
    let commands = commands.map(|command| match &command.kind {
        CommandKind::Onbuild { trigger: Some(trigger), .. } => trigger,
        _ => command,
    });
    let args = commands.filter_map(|command| match &command.kind {
        CommandKind::Arg(pairs) => Some(pairs),
        _ => None,
    });
    args.flatten().map(|(name, _)| name.as_str()).collect()
}

impl FileRule for UnknownBuildArg {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        // Where an argument is written whose declaration some Dockerfile has.
        let mut taken: HashSet<(String, usize, String)> = HashSet::new();
        builds::each(facts, |build| {
            let (Some(image), Some(dockerfile)) = (build.image, &build.file.dockerfile) else { return };
            for name in declared(dockerfile).into_iter().filter(|name| image.target.args.iter().any(|arg| arg.name == *name)) {
                let (file, line) = builds::place(facts, image, name);
                taken.insert((file.path.clone(), line, name.to_owned()));
            }
        });
        let mut once = Once::default();
        builds::each(facts, |build| {
            let (Some(image), Some(dockerfile)) = (build.image, &build.file.dockerfile) else { return };
            let known = declared(dockerfile);
            for arg in &image.target.args {
                let name = arg.name.as_str();
                if known.contains(name) || is_predefined(name) || name.is_empty() || name.contains(['$', '`']) {
                    continue;
                }
                let (file, line) = builds::place(facts, image, name);
                let matters = |name: &str| bust::is_commit_name(name) || bust::is_bust(facts.policy, build.target.name(), name);
                if !matters(name) && taken.contains(&(file.path.clone(), line, name.to_owned())) {
                    continue;
                }
                let passed = |other: &str| image.target.args.iter().any(|arg| arg.name == other);
                let near = nearest(name, known.iter().copied().filter(|other| !passed(other)));
                let mut draft = Draft::new(match near {
                    Some(near) => format!("{name} is passed, and {} declares {near}", build.file.path),
                    None => format!("{name} is passed, and {} does not declare it", build.file.path),
                });
                if near.is_some_and(|near| matters(near) || matters(name)) {
                    draft = draft.severity(Severity::Error);
                }
                draft = draft.confidence(Confidence::Certain).in_file(file, line, line);
                let declaration = near.and_then(|near| {
                    let global = dockerfile.global_args.iter().chain(dockerfile.stages.iter().flat_map(|stage| &stage.commands));
                    global.filter(|command| command.keyword == "ARG").find(|command| bust::default_of(command, near).is_some())
                });
                if let Some(command) = declaration {
                    draft = draft.evidence(format!("{}:{}: {}: the default stays", build.file.path, command.line, command.text));
                }
                let help = match near {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("declare it behind FROM (ARG {name}) and use it, or stop passing it"),
                };
                once.add(&META, draft.help(help), out);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    fn found(dockerfile: &str, script: &str) -> Vec<String> {
        Tree::new(&[("Dockerfile", dockerfile), ("b.sh", script)]).found("unknown-build-arg")
    }

    #[test]
    fn misspelled_and_undeclared() {
        let file = "FROM x\nARG CACHEBUST=1\nARG GIT_COMMIT_HASH=unknown\nARG VERSION\nRUN x\n";
        for (script, expected) in [
            (
                "docker build \\\n  --build-arg CACHE_BUSTER=$(date +%s) .\n",
                "b.sh:2: error: CACHE_BUSTER is passed, and Dockerfile declares CACHEBUST",
            ),
            (
                "docker build --build-arg GIT_COMIT_HASH=$X .",
                "b.sh:1: error: GIT_COMIT_HASH is passed, and Dockerfile declares GIT_COMMIT_HASH",
            ),
            (
                "docker build --build-arg GIT_COMMIT_HASHES=$X .",
                "b.sh:1: error: GIT_COMMIT_HASHES is passed, and Dockerfile declares GIT_COMMIT_HASH",
            ),
            ("docker build --build-arg VERSOIN=1 .", "b.sh:1: warning: VERSOIN is passed, and Dockerfile declares VERSION"),
            ("docker build --build-arg COLOUR=1 .", "b.sh:1: warning: COLOUR is passed, and Dockerfile does not declare it"),
        ] {
            assert_eq!(found(file, script), [expected], "{script}");
        }
    }

    #[test]
    fn declared_known_or_not_to_be_told() {
        let file = "ARG VERSION\nFROM x:$VERSION\nARG A\nONBUILD ARG LATER\n";
        for script in [
            "docker build --build-arg A=1 --build-arg VERSION=2 --build-arg LATER=3 .",
            "docker build --build-arg http_proxy=x --build-arg NO_PROXY=x --build-arg TARGETARCH=x --build-arg BUILDKIT_INLINE_CACHE=1 .",
            "docker build --build-arg \"$ARG\" .",
            "docker build --build-arg X=1 \"$DIR\"",
            "docker build --build-arg X=1 elsewhere",
        ] {
            assert!(found(file, script).is_empty(), "{script}");
        }
    }

    #[test]
    fn arguments_for_many() {
        let tree = Tree::new(&[
            ("a/Dockerfile", "FROM x\nARG ONE\n"),
            ("b/Dockerfile", "FROM x\n"),
            ("b.sh", "for s in a b; do docker build --build-arg ONE=1 --build-arg TWO=2 --build-arg GIT_SHA=$S $s; done\n"),
        ]);
        let found: Vec<String> = tree.found("unknown-build-arg").iter().map(|text| text.split(": ").last().unwrap().to_owned()).collect();
        assert_eq!(
            found,
            [
                "GIT_SHA is passed, and a/Dockerfile does not declare it",
                "GIT_SHA is passed, and b/Dockerfile does not declare it",
                "TWO is passed, and a/Dockerfile does not declare it",
                "TWO is passed, and b/Dockerfile does not declare it",
            ]
        );
    }
}
