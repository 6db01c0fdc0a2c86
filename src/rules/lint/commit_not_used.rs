//! `commit-not-used`: the commit is passed and the image does not take it up.

use super::{
    FileFacts, FileRule,
    builds::{self, Once},
};
use crate::rules::{
    Confidence, Docs, Draft, Findings, Meta, Rule, Severity,
    bust::{self, BustArg},
};

/// The rule.
#[derive(Debug)]
pub struct CommitNotUsed;

static META: Meta = Meta {
    name: "commit-not-used",
    severity: Severity::Warning,
    summary: "A Dockerfile declares an argument for the commit and no instruction of the stage uses it",
    docs: Docs {
        finds: "\
An ARG for the commit (GIT_COMMIT_HASH, COMMIT_SHA, VCS_REF, …) that no LABEL, ENV, RUN or other instruction mentions, or that is declared
before the first FROM only: inside the stage it is unset then.",
        matters: "\
The image does not say which commit it is, although every script passes it.",
        example: "\
ARG GIT_COMMIT_HASH
FROM python:3.12
LABEL org.opencontainers.image.revision=$GIT_COMMIT_HASH    # empty: the ARG is outside of the stage",
        measured: Some(
            "\
An ARG that nothing mentions makes the RUN steps below it run again all the same when its value changes (BuildKit gives every declared ARG to
RUN), and leaves a COPY directly below it alone.",
        ),
        fix: "\
Behind FROM, as low as it can stand: `ARG GIT_COMMIT_HASH` and `LABEL org.opencontainers.image.revision=$GIT_COMMIT_HASH`.",
    },
};

impl Rule for CommitNotUsed {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl FileRule for CommitNotUsed {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        let mut once = Once::default();
        builds::each(facts, |build| {
            let is_meant = |name: &str| bust::is_commit_name(name) && !bust::is_bust(facts.policy, build.target.name(), name);
            for arg in bust::chosen_arguments(facts.policy, &build.target, &is_meant) {
                let Some((message, line, end_line)) = fault(&build.target, &arg) else { continue };
                let draft = Draft::new(message).confidence(Confidence::Certain).in_file(build.file, line, end_line);
                let name = &arg.name;
                let help = format!("behind FROM: ARG {name} and LABEL org.opencontainers.image.revision=${name}, below what is expensive");
                once.add(&META, draft.help(help), out);
            }
        });
    }
}

fn fault(target: &crate::rules::TargetFacts<'_>, arg: &BustArg<'_>) -> Option<(String, usize, usize)> {
    let name = &arg.name;
    if let Some(declaration) = arg.declared.first() {
        let command = declaration.command;
        return (!bust::is_mentioned(target, arg))
            .then(|| (format!("{name} is declared and nothing uses it"), command.line, command.end_line));
    }
    let global = arg.global.filter(|_| arg.elsewhere.is_empty())?;
    // It may choose the base image.
    let bases = target.source.iter().flat_map(|source| &source.dockerfile.stages);
    let chooses = bases.into_iter().any(|stage| bust::mentions(&stage.base, name));
    (!chooses).then(|| (format!("{name} is declared before FROM only: inside the stage it is unset"), global.line, global.end_line))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    fn places(dockerfile: &str) -> Vec<String> {
        Tree::new(&[("Dockerfile", dockerfile)]).places("commit-not-used")
    }

    #[test]
    fn unused_or_out_of_scope() {
        assert_eq!(places("FROM x\nCOPY . .\nARG GIT_COMMIT_HASH=unknown\n"), ["Dockerfile:3"]);
        assert_eq!(places("ARG VCS_REF\nFROM x\nLABEL r=$VCS_REF\n"), ["Dockerfile:1"]);
    }

    #[test]
    fn used() {
        for text in [
            "FROM x\nARG GIT_COMMIT_HASH\nLABEL r=$GIT_COMMIT_HASH\n",
            "FROM x\nARG GIT_COMMIT_HASH\nENV C=${GIT_COMMIT_HASH:-none}\n",
            "FROM x\nARG COMMIT_SHA\nRUN echo \"$COMMIT_SHA\" > /commit\n",
            "ARG GIT_REF=main\nFROM x:$GIT_REF\n",
            "FROM x AS a\nARG GIT_SHA\nFROM a\nRUN echo $GIT_SHA\n",
            "FROM x\nARG VERSION\n",
        ] {
            assert!(places(text).is_empty(), "{text}");
        }
    }
}
