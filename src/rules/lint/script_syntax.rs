//! `script-syntax`: a script that bash refuses.

use super::{FileFacts, FileRule};
use crate::rules::{Confidence, Docs, Draft, Findings, Meta, Rule, Severity};

/// The rule.
#[derive(Debug)]
pub struct ScriptSyntax;

static META: Meta = Meta {
    name: "script-syntax",
    severity: Severity::Error,
    summary: "A shell script is no valid shell: bash refuses to read it",
    docs: Docs {
        finds: "\
A shell script (`*.sh`, `*.bash`, or a first line that asks for sh or bash) that `bash -n` refuses. Nothing of it is run: bash reads it and
stops. Where there is no bash the report says so in a note.",
        matters: "\
A shell reads a script as it goes: it runs everything above the mistake, the prune and the first builds perhaps, and stops there. Or the
mistake stands in a branch that is only taken on the day when it is needed.",
        example: "\
if [ \"$FORCE_REBUILD\" = true ]; then
  docker compose build --no-cache --pull
else
  docker compose build
# fi is missing",
        measured: None,
        fix: "\
Run `bash -n SCRIPT` and mend what it names. The line is where bash noticed; the quote, `fi` or `done` that is missing can stand far above.",
    },
};

impl Rule for ScriptSyntax {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl FileRule for ScriptSyntax {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        for wrong in &facts.repository.syntax {
            let file = facts.repository.file(wrong.file);
            // An error at the end of the text stands on a line that is not there.
            let line = wrong.line.clamp(1, file.text.lines().count().max(1));
            let message = format!("bash refuses this script: {}", wrong.message);
            let mut draft = Draft::new(message).confidence(Confidence::Certain).in_file(file, line, line);
            let windows = file.text.contains("\r\n");
            if windows {
                draft = draft.evidence("its lines end in CR LF, which bash takes for a part of the words");
            }
            out.add(
                &META,
                draft.help(if windows {
                    "give it Unix line ends (git: *.sh text eol=lf)"
                } else {
                    "run bash -n on it and mend what it names"
                }),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    #[test]
    fn what_bash_refuses() {
        let tree = Tree::new(&[
            ("a.sh", "#!/bin/bash\nfor x in a; do\n  echo\n"),
            ("b.sh", "#!/usr/bin/env bash\necho \"open\n"),
            ("bin/c", "#!/bin/sh\nfi\n"),
        ]);
        assert_eq!(tree.places("script-syntax"), ["a.sh:3", "b.sh:2", "bin/c:2"]);
    }

    #[test]
    fn what_it_reads_or_what_is_not_its_own() {
        let marker = tempfile::tempdir().unwrap();
        let run = format!("touch {0}/ran\nX=$(touch {0}/ran)\n", marker.path().display());
        let tree = Tree::new(&[
            ("a.sh", "#!/bin/bash\nA=(x y)\nfor x in \"${A[@]}\"; do echo \"$x\"; done\n"),
            ("b.sh", &run),
            ("z.zsh", "for x (a b) { echo }\n"),
            ("z.sh", "#!/bin/zsh\nfor x (a b) { echo }\n"),
            ("Makefile", "a:\n\tif\n"),
        ]);
        assert!(tree.places("script-syntax").is_empty());
        assert_eq!(std::fs::read_dir(marker.path()).unwrap().count(), 0);
    }
}
