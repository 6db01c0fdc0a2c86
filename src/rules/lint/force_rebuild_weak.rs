//! `force-rebuild-weak`: a switch that promises a full rebuild and does not ask for one.

use super::{FileFacts, FileRule};
use crate::{
    evidence::{build_command::ScriptCommand, repository::File},
    rules::{Confidence, Docs, Draft, Findings, Meta, Rule, Severity},
};

/// The rule.
#[derive(Debug)]
pub struct ForceRebuildWeak;

static META: Meta = Meta {
    name: "force-rebuild-weak",
    severity: Severity::Warning,
    summary: "A switch like FORCE_REBUILD does not lead to --no-cache --pull",
    docs: Docs {
        finds: "\
A script or CI file that asks for a switch such as FORCE_REBUILD, FORCE_BUILD, FULL_REBUILD, CLEAN_BUILD or NO_CACHE in a condition or in
`${FORCE_REBUILD:+…}`, and whose answer does not hold `--no-cache`; as a note, where it holds `--no-cache` and not `--pull`. A switch whose
answer builds nothing and sets no options is not looked at.",
        matters: "\
`docker compose up --force-recreate` makes new containers from the old image, and `--build` builds with the cache. `--no-cache` runs every
step again, but on the base image that the host has: docker 20.10 never asks the registry for a newer one without `--pull`.",
        example: "\
if [ \"$FORCE_REBUILD\" = true ]; then
  docker compose up -d --build --force-recreate
fi",
        measured: Some(
            "\
Even `--no-cache` copies from what the builder already has of the context: a COPY that was stale by `sync-blind-spot` ran again, said DONE,
and was stale. What drops that copy is `docker builder prune -f`.",
        ),
        fix: "\
`docker compose build --no-cache --pull` (or `docker build --no-cache --pull`) behind the switch; `docker builder prune -f` in front of it
where the builder's own copy is suspected.",
    },
};

/// The words of switches, without `_`.
const SWITCHES: [&str; 10] = [
    "FORCEREBUILD",
    "FORCEBUILD",
    "REBUILDFORCE",
    "FULLREBUILD",
    "CLEANBUILD",
    "CLEANREBUILD",
    "NOCACHE",
    "DISABLECACHE",
    "SKIPCACHE",
    "IGNORECACHE",
];

impl Rule for ForceRebuildWeak {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

/// The switch that a word asks for.
fn switch(word: &str) -> Option<String> {
    crate::rules::bust::references(word).find(|name| is_switch(name)).map(str::to_owned).or_else(|| {
        // GitHub: ${{ inputs.force_rebuild }}
        let name = word.split_once("inputs.")?.1;
        let name: String = name.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect();
        is_switch(&name).then_some(name)
    })
}

fn is_switch(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    SWITCHES.contains(&plain.as_str())
}

/// What the commands of an answer say.
#[derive(Debug, Default)]
struct Answer {
    no_cache: bool,
    pull: bool,
    /// It builds, recreates, or sets a variable that a build can be given.
    acts: bool,
}

impl Answer {
    fn hear(&mut self, command: &ScriptCommand) {
        let text = command.words.join(" ");
        self.no_cache |= text.contains("--no-cache") || text.contains("no-cache=true");
        self.pull |= text.contains("--pull") || text.contains("docker pull") || text.contains("compose pull") || text.contains("pull=true");
        let options = |value: &str| value.contains("--");
        self.acts |= command.is_build()
            || text.contains("--force-recreate")
            || command.assignments().iter().any(|(_, value)| options(value))
            || command.words.iter().any(|word| word.contains("+=(") && options(word));
    }
}

/// The answers of a file to switches: the switch, its line, and what is done.
fn answers(file: &File) -> Vec<(String, usize, Answer)> {
    let mut found = Vec::new();
    let commands = &file.commands;
    for (at, command) in commands.iter().enumerate() {
        let Some(name) = command.words.iter().find_map(|word| switch(word)) else { continue };
        let mut answer = Answer::default();
        match command.words.iter().map(String::as_str).find(|word| !matches!(*word, "then" | "else" | "do" | "{")) {
            Some("if" | "elif") => {
                // Up to the `else`, `elif` or `fi` of this condition.
                let mut depth = 0_usize;
                for inner in &commands[at + 1..] {
                    let first =
                        inner.words.iter().map(String::as_str).find(|word| !matches!(*word, "then" | "do" | "{")).unwrap_or_default();
                    match first {
                        "if" | "case" => depth += 1,
                        "fi" | "esac" if depth == 0 => break,
                        "fi" | "esac" => depth -= 1,
                        "else" | "elif" if depth == 0 => break,
                        _ => {}
                    }
                    answer.hear(inner);
                }
            }
            // `[ "$FORCE_REBUILD" = 1 ] && ARGS="--no-cache"`
            Some("[" | "[[" | "test") => {
                let same_line = commands[at + 1..].iter().take_while(|next| next.line == command.end_line);
                same_line.for_each(|next| answer.hear(next));
            }
            // `${FORCE_REBUILD:+--no-cache --pull}`
            _ if command.words.iter().any(|word| word.contains(&format!("{name}:+")) || word.contains(&format!("{name}+"))) => {
                answer.hear(command)
            }
            _ => continue,
        }
        found.push((name, command.line, answer));
    }
    found
}

/// Whether the condition is that the switch is off: then its `else` answers.
fn is_negative(file: &File, line: usize) -> bool {
    let text = file.lines(line, line).into_iter().next().unwrap_or_default();
    ["!=", "-z ", "! ", "= false", "== false", "= \"false\"", "== \"false\"", "-ne 1", "= 0", "= \"0\"", "-eq 0"]
        .iter()
        .any(|sign| text.contains(sign))
}

impl FileRule for ForceRebuildWeak {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        for file in &facts.repository.files {
            let answers = answers(file);
            // One answer can clear, another build: together they count.
            for (name, line, answer) in &answers {
                let fellows = || answers.iter().filter(|(other, ..)| other == name).map(|(.., answer)| answer);
                let no_cache = fellows().any(|answer| answer.no_cache);
                let pull = fellows().any(|answer| answer.pull);
                if !answer.acts || (no_cache && pull) || is_negative(file, *line) {
                    continue;
                }
                let draft = match no_cache {
                    false => Draft::new(format!("{name} does not lead to --no-cache: the build is answered from the cache")),
                    true => Draft::new(format!("{name} leads to --no-cache without --pull: the base image stays the one that is there"))
                        .severity(Severity::Note),
                };
                let draft = draft.confidence(Confidence::Likely).in_file(file, *line, *line);
                out.add(
                    &META,
                    draft.help("build with --no-cache --pull behind the switch; docker builder prune -f drops the copy of the context too"),
                );
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    fn found(script: &str) -> Vec<String> {
        let found = Tree::new(&[("b.sh", script)]).found("force-rebuild-weak");
        found.iter().map(|text| text.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect()
    }

    #[test]
    fn promises_that_are_not_kept() {
        for (script, expected) in [
            ("if [ \"$FORCE_REBUILD\" = true ]; then\n  docker compose up -d --build --force-recreate\nfi\n", "b.sh:1: warning"),
            ("ARGS=\"\"\nif [[ $FORCE_REBUILD == 1 ]]; then\n  ARGS=\"--no-cache\"\nfi\ndocker build $ARGS .\n", "b.sh:2: note"),
            ("[ -n \"$FORCE_REBUILD\" ] && ARGS=\"--pull\"\ndocker build $ARGS .\n", "b.sh:1: warning"),
            ("docker build ${FORCE_REBUILD:+--no-cache} .\n", "b.sh:1: note"),
        ] {
            assert_eq!(found(script), [expected], "{script}");
        }
    }

    #[test]
    fn kept_or_no_promise() {
        for script in [
            "if [ \"$FORCE_REBUILD\" = true ]; then\n  docker compose build --no-cache --pull\nelse\n  docker compose build\nfi\n",
            "A=()\nif [ \"${FORCE_REBUILD:-false}\" = true ]; then\n  A+=(--no-cache --pull)\nfi\ndocker build \"${A[@]}\" .\n",
            "if [ \"$FORCE_REBUILD\" = true ]; then\n  echo forced\nfi\ndocker build .\n",
            "if [ \"$FORCE_REBUILD\" != true ]; then\n  docker compose build\nfi\n",
            "if [ \"$OTHER\" = true ]; then\n  docker compose build\nfi\n",
            "docker build ${NO_CACHE:+--no-cache --pull} .\n",
        ] {
            assert!(found(script).is_empty(), "{script}: {:?}", found(script));
        }
    }
}
