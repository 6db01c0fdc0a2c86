//! `bust-before-install`: an argument that is new at every build stands above the install of the dependencies.

use super::{
    FileFacts, FileRule,
    builds::{self, FileBuild, Once},
    copy_before_install,
};
use crate::rules::{Confidence, Docs, Draft, Findings, Meta, Rule, Severity, bust};

/// The rule.
#[derive(Debug)]
pub struct BustBeforeInstall;

static META: Meta = Meta {
    name: "bust-before-install",
    severity: Severity::Warning,
    summary: "A cache-bust or commit argument stands above the dependency install, which then runs at every build",
    docs: Docs {
        finds: "\
A RUN that installs dependencies (as `copy-before-install` knows them) below an ARG of the same stage that carries a bust value or the commit,
where a build passes it or nothing in the repository says who does.",
        matters: "\
BuildKit gives every ARG that is declared above a RUN to that RUN, whether it mentions it or not: with another value the step runs again. Above
the install that is every dependency, at every build.",
        example: "\
ARG GIT_COMMIT_HASH
RUN pip install -r requirements.txt",
        measured: Some("An ARG that no RUN mentioned made the RUN steps below it run again, on BuildKit 0.32 and on docker 20.10 alike."),
        fix: "\
Move the ARG below the install; for the commit to the end of the stage, beside its LABEL.",
    },
};

impl Rule for BustBeforeInstall {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl FileRule for BustBeforeInstall {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        let mut once = Once::default();
        builds::each(facts, |build| check(facts, build, &mut once, out));
    }
}

fn check(facts: &FileFacts<'_>, build: &FileBuild<'_, '_>, once: &mut Once, out: &mut Findings<'_>) {
    let Some(environment) = build.target.environment() else { return };
    let is_meant = |name: &str| bust::is_commit_name(name) || bust::is_bust(facts.policy, build.target.name(), name);
    for arg in bust::chosen_arguments(facts.policy, &build.target, &is_meant) {
        let constant = build.image.is_some_and(|image| builds::constant(facts, image, &arg.name).is_some());
        if !build.may_pass(&arg.name) || constant {
            continue;
        }
        for declaration in &arg.declared {
            let copies = bust::source_copies(facts.policy, &build.target, declaration.stage);
            let commands = environment.commands(declaration.stage);
            let below = commands.iter().enumerate().skip(declaration.at + 1);
            let install =
                below.filter_map(|(at, running)| Some((at, running.command, copy_before_install::install(running.command)?))).next();
            let Some((at, command, what)) = install else { continue };
            // Below the source it runs again anyway.
            if copies.iter().any(|(copy, _)| *copy < at) {
                continue;
            }
            let line = declaration.command.line;
            let draft = Draft::new(format!("`{what}` runs again whenever {} changes: the ARG stands above it", arg.name));
            let draft = draft.confidence(Confidence::Certain).in_file(build.file, line, declaration.command.end_line);
            let draft = draft.evidence(format!("line {}: {}", command.line, command.text.lines().next().unwrap_or_default()));
            once.add(&META, draft.help(format!("move ARG {} below the install, in front of what needs it", arg.name)), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    fn places(dockerfile: &str, script: &str) -> Vec<String> {
        Tree::new(&[("Dockerfile", dockerfile), ("b.sh", script)]).places("bust-before-install")
    }

    #[test]
    fn above_the_install() {
        let file = "FROM x\nCOPY requirements.txt .\nARG GIT_SHA\nRUN pip install -r requirements.txt\nCOPY . .\nLABEL r=$GIT_SHA\n";
        assert_eq!(places(file, "docker build --build-arg GIT_SHA=$(git rev-parse HEAD) .\n"), ["Dockerfile:3"]);
        assert_eq!(places(file, "echo\n"), ["Dockerfile:3"]);
        assert!(places(file, "docker build .\n").is_empty());
        assert!(places(file, "docker build --build-arg GIT_SHA=abc1234 .\n").is_empty());
    }

    #[test]
    fn below_it_or_no_install() {
        for file in [
            "FROM x\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\nARG CACHEBUST=1\nRUN echo $CACHEBUST\nCOPY . .\n",
            "FROM x\nARG CACHEBUST\nRUN echo $CACHEBUST\nCOPY libs libs\nRUN pip install -e libs\n",
            "FROM x\nARG PYTHON=3\nRUN pip install -r requirements.txt\n",
            "FROM x AS a\nARG CACHEBUST\nRUN echo $CACHEBUST\nFROM x\nRUN npm ci\n",
        ] {
            assert!(places(file, "echo\n").is_empty(), "{file}");
        }
    }
}
