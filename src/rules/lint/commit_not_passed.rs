//! `commit-not-passed`: an image is built without the commit that others are given.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    FileFacts, FileRule,
    builds::{self, FileBuild, Once},
};
use crate::{
    evidence::{
        build_command::ClientKind,
        repository::{File, FileId, Image, NamedBy},
    },
    rules::{Confidence, Docs, Draft, Findings, Meta, Rule, bust},
};

/// The rule.
#[derive(Debug)]
pub struct CommitNotPassed;

static META: Meta = Meta {
    name: "commit-not-passed",
    severity: crate::rules::Severity::Warning,
    summary: "A build is not given the commit, although its Dockerfile wants it or the builds beside it get it",
    docs: Docs {
        finds: "\
A build that does not pass the commit (GIT_COMMIT_HASH, COMMIT_SHA, VCS_REF, … and those of `[bust] required`), where its Dockerfile declares
an argument for it, or where other builds of the same file pass one. Also a script that calls compose or bake, whose files take the commit
from a variable, and never exports that variable: compose then puts its default, or nothing, in its place.",
        matters: "\
Without it nobody can ask an image which commit it is: `bklog check` compares the commit that a log or an image names with the one that was
meant, and the check after the deployment has nothing to compare with.",
        example: "\
GIT_COMMIT_HASH=$(git rev-parse HEAD)       # not exported: compose does not see it
docker compose build                        # args: GIT_COMMIT_HASH: ${GIT_COMMIT_HASH:-unknown}",
        measured: Some(
            "\
The commit as an argument does not make an image fresh: BuildKit compares the contents of what COPY takes, and the argument does not reach the
one case in which COPY is stale (`sync-blind-spot`). It is worth passing because it can be read back.",
        ),
        fix: "\
Pass it to every build: `export GIT_COMMIT_HASH=$(git rev-parse HEAD)` before `docker compose build`, or
`--build-arg GIT_COMMIT_HASH=\"$GIT_COMMIT_HASH\"`; declare it low in the Dockerfile, so that it makes nothing above it run again.",
    },
};

impl Rule for CommitNotPassed {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

/// A variable that nothing sets, for one command that builds many services: the first of them, the value that it gets, and all names.
struct Unset<'r> {
    image: &'r Image,
    value: String,
    services: Vec<String>,
}

/// The commit arguments that an image is given.
fn given(image: &Image) -> impl Iterator<Item = &str> {
    image.target.args.iter().map(|arg| arg.name.as_str()).filter(|name| bust::is_commit_name(name))
}

impl FileRule for CommitNotPassed {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        // The names that the builds of each file pass, and how many builds do.
        let mut by_file: BTreeMap<FileId, BTreeMap<&str, usize>> = BTreeMap::new();
        for image in builds::effective(facts.repository) {
            for name in given(image).collect::<BTreeSet<_>>() {
                *by_file.entry(image.file).or_default().entry(name).or_default() += 1;
            }
        }
        let mut once = Once::default();
        let mut unset: BTreeMap<(FileId, usize, String), Unset<'_>> = BTreeMap::new();
        builds::each(facts, |build| {
            let Some(image) = build.image else { return };
            let file = facts.repository.file(image.file);
            let wanted = wanted(facts, build);
            if let Some((name, value)) = not_exported(facts, image) {
                let unset = unset.entry((image.file, image.line, name)).or_insert_with(|| Unset { image, value, services: Vec::new() });
                unset.services.push(build.name());
                return;
            }
            if given(image).next().is_some() || image.open {
                return;
            }
            let beside = by_file.get(&image.file).and_then(|names| names.iter().max_by_key(|(_, count)| **count));
            let (name, evidence) = match (&wanted, beside) {
                (Some((name, line, text)), _) => (name.clone(), format!("{}:{line}: {text}", build.file.path)),
                (None, Some((name, count))) => {
                    let count = if *count == 1 { "another build".to_owned() } else { format!("{count} other builds") };
                    ((*name).to_owned(), format!("{} passes it to {count}", file.path))
                }
                (None, None) => return,
            };
            // A bust argument of the settings is `bust-missing`'s.
            if bust::is_bust(facts.policy, build.target.name(), &name) {
                return;
            }
            let draft = Draft::new(format!("the build of {} is not given the commit ({name})", build.name()));
            let draft = draft.confidence(Confidence::Certain).in_file(file, image.line, image.end_line).evidence(evidence);
            once.add(
                &META,
                draft.help(format!("pass {name}, from git rev-parse HEAD; declare it in the Dockerfile if it is not there")),
                out,
            );
        });
        for ((.., name), Unset { image, value, services }) in unset {
            out.add(&META, unset_variable(facts, image, &name, &value, &services));
        }
    }
}

/// What is said of a variable that compose takes the commit from and that nothing sets.
fn unset_variable(facts: &FileFacts<'_>, image: &Image, name: &str, value: &str, services: &[String]) -> Draft {
    let file = facts.repository.file(image.file);
    let what = if value.is_empty() { "an empty value".to_owned() } else { format!("{value:?}") };
    let draft = Draft::new(format!("{name} is not exported: {what} is passed to {}", services.join(", ")));
    let (place, line) = builds::place(facts, image, name);
    let text = place.lines(line, line).into_iter().next().unwrap_or_default();
    let draft = draft.in_file(file, image.line, image.end_line).evidence(format!("{}:{line}: {}", place.path, text.trim()));
    let set = file.commands.iter().find(|command| command.assignments().iter().any(|(known, _)| known == name));
    let draft = match set {
        Some(command) => {
            draft.confidence(Confidence::Certain).evidence(format!("{}:{}: it is set, and not exported", file.path, command.line))
        }
        None => draft.confidence(Confidence::Likely).evidence("no file of the repository sets it"),
    };
    draft.help(format!("export {name}=$(git rev-parse HEAD) before the build"))
}

/// The commit argument that the stages of a build declare, with its line.
fn wanted(facts: &FileFacts<'_>, build: &FileBuild<'_, '_>) -> Option<(String, usize, String)> {
    let args = bust::chosen_arguments(facts.policy, &build.target, &bust::is_commit_name);
    args.into_iter().find_map(|arg| {
        let command = arg.declared.first()?.command;
        Some((arg.name, command.line, command.text.clone()))
    })
}

/// A commit argument that compose or bake takes from a variable which the script, and every other file, leaves unset: its name, and the
/// value that it gets.
fn not_exported(facts: &FileFacts<'_>, image: &Image) -> Option<(String, String)> {
    if !matches!(image.by, NamedBy::Command(ClientKind::Compose | ClientKind::Bake)) {
        return None;
    }
    let script = facts.repository.file(image.file);
    image.target.args.iter().filter(|arg| bust::is_commit_name(&arg.name)).find_map(|arg| {
        let place = arg.place.as_ref()?;
        let file = facts.repository.file(facts.repository.at(&place.file)?);
        let line = file.lines(place.line, place.line).into_iter().next()?;
        let value = arg.value.clone().unwrap_or_default();
        let variable = match bust::references(&line).find(|name| bust::is_commit_name(name)) {
            Some(name) => name.to_owned(),
            // `- GIT_COMMIT_HASH` alone has its value from the environment.
            None if arg.value.is_none() => arg.name.clone(),
            None => return None,
        };
        let taken = value.contains(['$', '`']) || (!value.is_empty() && !line.contains(value.as_str()));
        let here = script.commands.iter().flat_map(|command| command.assignments()).any(|(name, _)| name == variable);
        let elsewhere = |other: &File| other.path != script.path && other.variables().iter().any(|known| known.name == variable);
        // The script can ask for it itself, or read a file that sets it.
        let asks = !here && script.text.contains(variable.as_str());
        let reads = script.commands.iter().any(|command| matches!(command.program(), Some(("source" | ".", _))));
        (!taken && !asks && !reads && !facts.repository.files.iter().any(elsewhere)).then_some((variable, value))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    const WANTS: &str = "FROM x\nCOPY . .\nARG GIT_COMMIT_HASH=unknown\nLABEL revision=$GIT_COMMIT_HASH\n";
    const COMPOSE: &str =
        "services:\n  api:\n    build:\n      context: api\n      args:\n        GIT_COMMIT_HASH: ${GIT_COMMIT_HASH:-unknown}\n";

    #[test]
    fn some_builds_pass_it_and_others_do_not() {
        let tree = Tree::new(&[
            ("api/Dockerfile", WANTS),
            ("web/Dockerfile", "FROM x\n"),
            (
                "b.sh",
                "H=$(git rev-parse HEAD)\ndocker build --build-arg GIT_COMMIT_HASH=$H api\ndocker build web\ndocker build \\\n  -t api api\n",
            ),
        ]);
        assert_eq!(
            tree.found("commit-not-passed"),
            [
                "b.sh:3: warning: the build of web/Dockerfile is not given the commit (GIT_COMMIT_HASH)",
                "b.sh:4: warning: the build of api/Dockerfile is not given the commit (GIT_COMMIT_HASH)",
            ]
        );
    }

    #[test]
    fn compose_without_the_variable() {
        for (script, expected) in [
            ("docker compose build\n", vec!["b.sh:1"]),
            ("GIT_COMMIT_HASH=$(git rev-parse HEAD)\ndocker compose build\n", vec!["b.sh:2"]),
            ("export GIT_COMMIT_HASH=$(git rev-parse HEAD)\ndocker compose build\n", vec![]),
            ("GIT_COMMIT_HASH=$(git rev-parse HEAD) docker compose build\n", vec![]),
            (". ./commit.env\ndocker compose build\n", vec![]),
            (": \"${GIT_COMMIT_HASH:?}\"\ndocker compose build\n", vec![]),
        ] {
            let tree = Tree::new(&[("api/Dockerfile", WANTS), ("compose.yaml", COMPOSE), ("b.sh", script)]);
            assert_eq!(tree.places("commit-not-passed"), expected, "{script}");
        }
    }

    #[test]
    fn nothing_to_say() {
        for files in [
            &[("Dockerfile", "FROM x\n"), ("b.sh", "docker build .\n")][..],
            &[("Dockerfile", WANTS)],
            &[("Dockerfile", WANTS), ("b.sh", "docker build \"$@\" .\n")],
            &[("api/Dockerfile", WANTS), ("compose.yaml", COMPOSE)],
            &[("Dockerfile", WANTS), ("b.sh", "# bklog: ignore[commit-not-passed] local only\ndocker build .\n")],
        ] {
            assert!(Tree::new(files).places("commit-not-passed").is_empty(), "{files:?}");
        }
    }
}
