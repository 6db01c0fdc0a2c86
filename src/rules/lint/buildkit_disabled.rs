//! `buildkit-disabled`: the builder that was before BuildKit is switched on.

use std::sync::LazyLock;

use regex::Regex;

use super::{FileFacts, FileRule, edits};
use crate::{
    evidence::repository::{File, FileKind},
    rules::{Confidence, Docs, Draft, Findings, Fix, Meta, Rule, Severity},
};

/// The rule.
#[derive(Debug)]
pub struct BuildkitDisabled;

static META: Meta = Meta {
    name: "buildkit-disabled",
    severity: Severity::Warning,
    summary: "BuildKit is switched off for a build",
    docs: Docs {
        finds: "\
`DOCKER_BUILDKIT` set to a false value (`0`, `false`, `f`) in a script, a CI file, an environment file or the `environment` of a compose
service, and `COMPOSE_DOCKER_CLI_BUILD` likewise, which only docker-compose 1 reads. A `daemon.json` whose `features` say `\"buildkit\": false`.",
        matters: "\
The builder that was before BuildKit sends the whole context for every build, builds stages that nobody needs, one after another, and knows
neither cache mounts nor secrets nor `--cache-to`. Its log has other lines: most of what `bklog check` can prove, it cannot prove there. It is
deprecated and prints so at every build.",
        example: "\
export DOCKER_BUILDKIT=0
docker build -t registry.example.org/api .",
        measured: Some(
            "\
Teams switch BuildKit off against stale code. It does cure one cause, the context sync that skips files of the same size and time
(`sync-blind-spot`), because the old builder has no such sync. `docker builder prune -f`, or not setting file times before the build, cures
the same and keeps BuildKit.",
        ),
        fix: "\
Take the variable out: docker uses BuildKit by itself from version 23 on. With docker 20.10 set it to 1, as `bklog lint --fix` does. Where it was set because of stale
code, run `bklog check` on a BuildKit log and mend what that finds.",
    },
};

/// The variables that switch it off.
const SWITCHES: [&str; 2] = ["DOCKER_BUILDKIT", "COMPOSE_DOCKER_CLI_BUILD"];

impl Rule for BuildkitDisabled {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl FileRule for BuildkitDisabled {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        for file in &facts.repository.files {
            let features = file.yaml.iter().filter(|_| file.kind == FileKind::Daemon).filter_map(|document| document.get("features"));
            for entry in features.filter_map(|features| features.entry("buildkit")) {
                if entry.node.as_text() == Some("false") {
                    let draft = Draft::new("BuildKit is switched off for every build of this daemon").confidence(Confidence::Certain);
                    out.add(
                        &META,
                        draft.in_file(file, entry.line, entry.line).help("take it out; docker 23 and newer has it on by itself"),
                    );
                }
            }
            for variable in file.variables() {
                if !SWITCHES.contains(&variable.name.as_str()) || !is_false(&variable.value) {
                    continue;
                }
                let line = file.line_with(variable.line, variable.line + 20, &variable.name);
                let mut draft =
                    Draft::new(format!("BuildKit is switched off: {}={}", variable.name, variable.value)).in_file(file, line, line);
                if variable.name == "COMPOSE_DOCKER_CLI_BUILD" {
                    draft =
                        draft.severity(Severity::Note).evidence("only docker-compose 1 reads this variable; compose 2 always asks docker");
                } else if file.kind == FileKind::Compose {
                    draft = draft.confidence(Confidence::Possible).evidence("this holds for builds that the container itself starts");
                } else {
                    draft = draft.confidence(Confidence::Certain);
                }
                if let Some(fix) = switch_on(file, line, &variable.name).filter(|_| file.kind != FileKind::Compose) {
                    draft = draft.fix(fix);
                }
                out.add(&META, draft.help("take it out (docker 23 and newer), or set it to 1 (docker 20.10)"));
            }
        }
    }
}

static OFF: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\b(DOCKER_BUILDKIT|COMPOSE_DOCKER_CLI_BUILD)["']?(?:=|\s*:\s+)["']?(0|[fF]|false|False|FALSE)\b"#).ok());

/// Sets the variable to 1, which means the same to every docker as leaving it out means to a new one.
fn switch_on(file: &File, line: usize, name: &str) -> Option<Fix> {
    let span = file.span_of_line(line);
    let mut found =
        OFF.as_ref()?.captures_iter(file.text.get(span.clone())?).filter(|found| found.get(1).is_some_and(|known| known.as_str() == name));
    let value = found.next().filter(|_| found.next().is_none())?.get(2)?;
    edits::fix(file, &format!("set {name} to 1"), span.start + value.start()..span.start + value.end(), "1")
}

/// What docker's client takes for false (Go's `strconv.ParseBool`).
pub(super) fn is_false(value: &str) -> bool {
    matches!(value, "0" | "f" | "F" | "false" | "False" | "FALSE")
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    #[test]
    fn wherever_it_is_set() {
        let tree = Tree::new(&[
            ("deploy.sh", "set -e\nexport DOCKER_BUILDKIT=0\nDOCKER_BUILDKIT=false docker build .\nDOCKER_BUILDKIT=1 docker build .\n"),
            (
                ".github/workflows/ci.yml",
                "env:\n  DOCKER_BUILDKIT: 0\njobs:\n  a:\n    steps:\n      - run: |\n          X=1 \\\n            DOCKER_BUILDKIT=0 docker build .\n",
            ),
            (".gitlab-ci.yml", "variables:\n  DOCKER_BUILDKIT: \"0\"\n"),
            ("compose.yaml", "services:\n  ci:\n    image: docker\n    environment:\n      - DOCKER_BUILDKIT=0\n"),
            (".env", "COMPOSE_DOCKER_CLI_BUILD=0\n"),
            ("host/daemon.json", "{\n  \"features\": {\n    \"buildkit\": false\n  }\n}\n"),
        ]);
        assert_eq!(
            tree.found("buildkit-disabled"),
            [
                ".env:1: note: BuildKit is switched off: COMPOSE_DOCKER_CLI_BUILD=0",
                ".github/workflows/ci.yml:2: warning: BuildKit is switched off: DOCKER_BUILDKIT=0",
                ".github/workflows/ci.yml:8: warning: BuildKit is switched off: DOCKER_BUILDKIT=0",
                ".gitlab-ci.yml:2: warning: BuildKit is switched off: DOCKER_BUILDKIT=0",
                "compose.yaml:5: warning: BuildKit is switched off: DOCKER_BUILDKIT=0",
                "deploy.sh:2: warning: BuildKit is switched off: DOCKER_BUILDKIT=0",
                "deploy.sh:3: warning: BuildKit is switched off: DOCKER_BUILDKIT=false",
                "host/daemon.json:3: warning: BuildKit is switched off for every build of this daemon",
            ]
        );
    }

    #[test]
    fn on_unknown_or_silenced() {
        let tree = Tree::new(&[
            ("a.sh", "export DOCKER_BUILDKIT=1\nexport DOCKER_BUILDKIT=\"$X\"\n# DOCKER_BUILDKIT=0\necho DOCKER_BUILDKIT=0\n"),
            ("b.sh", "# bklog: ignore[buildkit-disabled] the base has no BuildKit\nexport DOCKER_BUILDKIT=0\n"),
            ("c.sh", "export DOCKER_BUILDKIT=0 # bklog: ignore[buildkit-disabled] old host\n"),
        ]);
        assert!(tree.found("buildkit-disabled").is_empty());
        assert_eq!(tree.findings().len(), 2);
        assert!(Tree::new(&[("a.sh", "export DOCKER_BUILDKIT=0\n")]).policy("[rules]\nbuildkit-disabled = \"off\"").findings().is_empty());
    }

    #[test]
    fn fixes_change_the_value_alone() {
        let tree = Tree::new(&[
            ("a.sh", "#!/bin/sh\r\n\texport DOCKER_BUILDKIT=0 # old\r\nDOCKER_BUILDKIT=\"false\" docker build ."),
            (".gitlab-ci.yml", "variables:\n  DOCKER_BUILDKIT: \"0\"\n"),
            ("compose.yaml", "services:\n  ci:\n    image: docker\n    environment:\n      - DOCKER_BUILDKIT=0\n"),
            ("b.sh", "DOCKER_BUILDKIT=0 docker build . && DOCKER_BUILDKIT=0 docker build x\n"),
        ]);
        assert_eq!(
            tree.fixed(),
            [
                (".gitlab-ci.yml".to_owned(), "variables:\n  DOCKER_BUILDKIT: \"1\"\n".to_owned()),
                ("a.sh".to_owned(), "#!/bin/sh\r\n\texport DOCKER_BUILDKIT=1 # old\r\nDOCKER_BUILDKIT=\"1\" docker build .".to_owned()),
            ]
        );
    }
}
