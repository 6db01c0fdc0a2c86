//! `inline-cache`: the image carries inline cache, or the files of the repository ask for it.

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;

use super::{Confidence, Docs, Draft, Facts, FileFacts, FileRule, Findings, Fix, LogRule, Meta, Rule, Severity, lint::edits};
use crate::{
    build::Kind,
    evidence::{
        build_target::Place,
        repository::{File, FileId, NamedBy},
    },
};

/// The rule.
#[derive(Debug)]
pub struct InlineCache;

static META: Meta = Meta {
    name: "inline-cache",
    severity: Severity::Error,
    summary: "The image carries inline cache metadata, or the files ask for it",
    docs: Docs {
        finds: "\
In a log: a build that writes inline cache metadata into its image, where `bklog.toml` says `[forbid] inline-cache = true`. In the files of a
repository: `BUILDKIT_INLINE_CACHE=1` or `type=inline` in compose and bake files, scripts and CI files; an error where the settings forbid it,
else a note.",
        matters: "\
Some teams decide against it, because every later build that imports the image takes its layers over, whoever built it. Others depend on it:
taking it away made builds go from 2–5 minutes to more than 20, because nothing was cached on a new machine any more.",
        example: "\
#9 exporting to image
#9 exporting layers done
#9 preparing layers for inline cache 0.0s done",
        measured: Some(
            "\
Inline cache does not make a COPY stale: it answers a step only when the content that the step takes is the same. In the replayed builds that
imported one on an empty builder every COPY was fresh; what was old was a RUN that fetches remote code (`stale-run`), which an imported cache
answers like any other. Where copied code is old although the image was rebuilt, look at `sync-blind-spot`.",
        ),
        fix: "\
Take `BUILDKIT_INLINE_CACHE` out of the build arguments (compose: `args`), and give the builds another cache before:
`--cache-to type=registry,ref=…,mode=max` and `--cache-from type=registry,ref=…`. Where the settings forbid it, `bklog lint --fix` takes
`BUILDKIT_INLINE_CACHE` out.",
    },
};

impl Rule for InlineCache {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

/// What to do.
const HELP: &str = "take BUILDKIT_INLINE_CACHE and type=inline out of the build; export to a registry cache instead";

impl FileRule for InlineCache {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        for (file, line, service) in askers(facts) {
            let allowed = facts.policy.service(service).and_then(|service| service.no_inline_cache);
            let file = facts.repository.file(file);
            let draft = match allowed.or(facts.policy.demands.no_inline_cache.then_some(true)) {
                Some(false) => continue,
                Some(true) => Draft::new("inline cache is asked for, which bklog.toml forbids"),
                None => Draft::new("inline cache is asked for: it holds the layers of the last stage only")
                    .severity(Severity::Note)
                    .evidence("steps of other stages run again on a new machine; a registry cache with mode=max keeps them too"),
            };
            let help = if allowed.is_none() && !facts.policy.demands.no_inline_cache {
                "export to a registry cache (mode=max) before you take it out: builds without any cache are far slower"
            } else {
                HELP
            };
            let mut draft = draft.confidence(Confidence::Certain).in_file(file, line, line).help(help);
            let forbidden = allowed.unwrap_or(facts.policy.demands.no_inline_cache);
            if let Some(fix) = forbidden.then(|| without(file, line)).flatten() {
                draft = draft.fix(fix);
            }
            out.add(&META, draft);
        }
    }
}

/// Where the files ask for inline cache, and for which service or target.
fn askers<'a>(facts: &FileFacts<'a>) -> BTreeSet<(FileId, usize, Option<&'a str>)> {
    let repository = facts.repository;
    let mut found = BTreeSet::new();
    for image in &repository.images {
        // Commands are looked at below, those that cannot be resolved too.
        if matches!(image.by, NamedBy::Command(_)) {
            continue;
        }
        let mut ask = |place: Option<&Place>| {
            let at = place.and_then(|place| Some((repository.at(&place.file)?, place.line)));
            let (file, line) = at.unwrap_or((image.file, image.line));
            found.insert((file, line, image.target.name.as_deref()));
        };
        for arg in image.target.args.iter().filter(|arg| arg.name == "BUILDKIT_INLINE_CACHE") {
            if arg.value.as_deref().is_some_and(|value| !is_off(value)) {
                ask(arg.place.as_ref());
            }
        }
        image.target.cache_to.iter().filter(|entry| entry.kind == "inline").for_each(|entry| ask(entry.place.as_ref()));
    }
    for (id, file) in repository.with_ids() {
        for command in file.commands.iter().filter(|command| command.is_build()) {
            found.extend(
                command
                    .words
                    .iter()
                    .filter_map(|word| asks(word))
                    .map(|text| (id, line_of(file, command.line, command.end_line, text), None)),
            );
        }
    }
    found
}

/// A line of a compose or bake file, or of a command that goes on, that holds nothing else.
static ALONE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"^\s*(?:-\s+["']?BUILDKIT_INLINE_CACHE=\w+["']?|["']?BUILDKIT_INLINE_CACHE["']?\s*[:=]\s*["']?\w+["']?|--build-arg[ =]["']?BUILDKIT_INLINE_CACHE=\w+["']?\s*\\)\s*$"#).ok()
});
/// The argument within a command, with the blanks in front of it.
static WITHIN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\s+--build-arg[ =]["']?BUILDKIT_INLINE_CACHE=\w+["']?(?:\s|$)"#).ok());

/// Takes the argument out, where nothing else stands on its line or it is one flag of a command. The last entry of a mapping or list stays:
/// without it the file would say something else.
fn without(file: &File, line: usize) -> Option<Fix> {
    const TITLE: &str = "remove BUILDKIT_INLINE_CACHE";
    let span = file.span_of_line(line);
    let text = file.text.get(span.clone())?;
    if ALONE.as_ref()?.is_match(text) {
        let flag = text.trim_start().starts_with("--");
        return (flag || has_neighbour(&file.text, line)).then(|| edits::remove_lines(file, TITLE, line, line)).flatten();
    }
    let mut found = WITHIN.as_ref()?.find_iter(text);
    let at = found.next().filter(|_| found.next().is_none())?;
    // What ends the flag belongs to what follows.
    let end = at.as_str().trim_end().len() + at.start();
    edits::fix(file, TITLE, span.start + at.start()..span.start + end, "")
}

/// Whether the line above or below is an entry of the same list or mapping: indented alike, and no comment.
fn has_neighbour(text: &str, line: usize) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |at: usize| {
        let line = lines.get(at)?;
        let entry = line.trim_start();
        (!entry.is_empty() && !entry.starts_with(['#', '/', '}', ']'])).then(|| line.len() - entry.len())
    };
    let Some(at) = line.checked_sub(1) else { return false };
    let own = indent(at);
    own.is_some() && (at.checked_sub(1).and_then(indent) == own || indent(at + 1) == own)
}

fn line_of(file: &File, line: usize, end_line: usize, text: &str) -> usize {
    file.line_with(line, end_line, text)
}

/// What in a word of a build command asks for inline cache: `BUILDKIT_INLINE_CACHE=1`, alone, in `--build-arg=…` or in `--set`; `type=inline`.
fn asks(word: &str) -> Option<&'static str> {
    if word.split(['=', ',']).collect::<Vec<_>>().windows(2).any(|pair| pair[0].ends_with("type") && pair[1] == "inline") {
        return Some("type=inline");
    }
    let value = word.split_once("BUILDKIT_INLINE_CACHE=")?.1;
    (!is_off(value)).then_some("BUILDKIT_INLINE_CACHE")
}

/// What BuildKit takes for false (Go's `strconv.ParseBool`; what it cannot read is no switch either).
fn is_off(value: &str) -> bool {
    !matches!(value, "1" | "t" | "T" | "true" | "True" | "TRUE") && !value.contains('$')
}

impl LogRule for InlineCache {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in &facts.builds {
            let service = facts.policy.service(build.service());
            let forbidden = service.and_then(|service| service.no_inline_cache).unwrap_or(facts.policy.demands.no_inline_cache);
            if !forbidden || !build.build.cache.inline {
                continue;
            }
            let mut draft = Draft::new("the image carries inline cache metadata, which bklog.toml forbids").confidence(Confidence::Certain);
            // Newer engines say it within the export of the image, older ones in a step of its own.
            let step = build.of_kind(Kind::CacheExport).chain(build.of_kind(Kind::Export)).next();
            draft = step.map_or_else(|| draft.clone().build(build), |step| draft.clone().step(build, step));
            if build.targets.iter().any(|target| target.target.arg("BUILDKIT_INLINE_CACHE").is_some_and(|value| value == "1")) {
                draft = draft.evidence("the command passes BUILDKIT_INLINE_CACHE=1");
            }
            out.add(&META, draft.help(HELP));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        lint::testing::Tree,
        testing::{Case, log},
    };

    const COMPOSE: &str = "services:\n  api:\n    build:\n      context: .\n      args:\n        - BUILDKIT_INLINE_CACHE=1\n  web:\n    build:\n      context: .\n      args:\n        BUILDKIT_INLINE_CACHE: 0\n      cache_to:\n        - type=inline\n";

    #[test]
    fn files_that_ask_for_it() {
        let tree = Tree::new(&[
            ("Dockerfile", "FROM x\n"),
            ("compose.yaml", COMPOSE),
            ("docker-bake.hcl", "target \"a\" {\n  args = {\n    BUILDKIT_INLINE_CACHE = 1\n  }\n}\n"),
            (
                "build.sh",
                "docker build \\\n  --build-arg BUILDKIT_INLINE_CACHE=1 \\\n  \"$DIR\"\ndocker buildx build --cache-to=type=inline .\ndocker build --build-arg BUILDKIT_INLINE_CACHE=0 .\necho BUILDKIT_INLINE_CACHE=1\n",
            ),
        ]);
        let places = ["build.sh:2", "build.sh:4", "compose.yaml:13", "compose.yaml:6", "docker-bake.hcl:3"];
        let found = tree.found("inline-cache");
        assert_eq!(found.len(), places.len(), "{found:#?}");
        for place in places {
            assert!(found.iter().any(|text| text.starts_with(&format!("{place}: note: "))), "{place}: {found:#?}");
        }
        let tree = tree.policy("[forbid]\ninline-cache = true\n[services.web]\ninline-cache = true\n");
        let found = tree.found("inline-cache");
        assert!(found.len() == 4 && found.iter().all(|text| text.contains(": error: ") && !text.contains(":13:")), "{found:#?}");
    }

    #[test]
    fn fixes_where_it_is_forbidden() {
        let files = [
            ("Dockerfile", "FROM x\n"),
            (
                "compose.yaml",
                "services:\r\n  api:\r\n    build:\r\n      context: .\r\n      args:\r\n        A: 1\r\n        BUILDKIT_INLINE_CACHE: 1",
            ),
            ("compose.only.yaml", "services:\n  api:\n    build:\n      context: .\n      args:\n        - BUILDKIT_INLINE_CACHE=1\n"),
            ("docker-bake.hcl", "target \"a\" {\n  args = {\n\t\tBUILDKIT_INLINE_CACHE = 1\n\t\tB = 2\n  }\n}\n"),
            (
                "build.sh",
                "docker build \\\n  --build-arg BUILDKIT_INLINE_CACHE=1 \\\n  -t x .\ndocker build -t y --build-arg BUILDKIT_INLINE_CACHE=1 .\ndocker build --cache-to=type=inline .\n",
            ),
        ];
        assert!(Tree::new(&files).fixed().is_empty(), "a note has no fix");
        let tree = Tree::new(&files).policy("[forbid]\ninline-cache = true\n");
        assert_eq!(tree.found("inline-cache").len(), 6);
        let fixed = tree.fixed();
        let texts: Vec<(&str, &str)> = fixed.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        assert_eq!(
            texts,
            [
                ("build.sh", "docker build \\\n  -t x .\ndocker build -t y .\ndocker build --cache-to=type=inline .\n"),
                ("compose.yaml", "services:\r\n  api:\r\n    build:\r\n      context: .\r\n      args:\r\n        A: 1"),
                ("docker-bake.hcl", "target \"a\" {\n  args = {\n\t\tB = 2\n  }\n}\n"),
            ]
        );
    }

    #[test]
    fn only_where_it_is_forbidden() {
        let text =
            log(&["[1/1] FROM x | DONE 0.0s", "#2 exporting to image", "#2 preparing layers for inline cache 0.0s done", "#2 DONE 0.1s"]);
        assert!(Case::new(text.clone()).messages("inline-cache").is_empty());
        let case = Case::new(text).policy("[forbid]\ninline-cache = true");
        assert_eq!(case.messages("inline-cache").len(), 1);
        let text = log(&["[1/1] FROM x | DONE 0.0s", "#2 exporting to image", "#2 exporting layers done", "#2 DONE 0.1s"]);
        assert!(Case::new(text).policy("[forbid]\ninline-cache = true").messages("inline-cache").is_empty());
    }
}
