//! `secret-build-arg`: a secret is handed to a build as an argument.

use std::collections::BTreeSet;

use super::{FileFacts, FileRule};
use crate::{
    evidence::repository::{FileId, NamedBy},
    redact::names::is_secret,
    rules::{Confidence, Docs, Draft, Findings, Meta, Rule, Severity},
};

/// The rule.
#[derive(Debug)]
pub struct SecretBuildArg;

static META: Meta = Meta {
    name: "secret-build-arg",
    severity: Severity::Warning,
    summary: "A secret is handed to a build as a build argument",
    docs: Docs {
        finds: "\
A build argument whose name says that it is secret (`NPM_TOKEN`, `DB_PASSWORD`, …), given by a compose or bake file, a script or a CI file. An
error where the value itself stands in the file. That a Dockerfile declares such an ARG or ENV is left to `docker build --check`
(SecretsUsedInArgOrEnv); it does not see who passes what.",
        matters: "\
Arguments are no secrets: they stand in the history of the image (`docker history`), in its provenance, in the process list, and in the log
wherever a RUN mentions them. And each new value runs every RUN below the ARG again: a token that is renewed daily costs the cache daily.",
        example: "\
build:
  context: .
  args:
    NPM_TOKEN: ${NPM_TOKEN}",
        measured: None,
        fix: "\
Give it as a secret: `RUN --mount=type=secret,id=npm_token …` in the Dockerfile, `secrets:` below `build:` in compose, `--secret id=npm_token,env=NPM_TOKEN`
on the command line. Its value is no part of the cache key.",
    },
};

impl Rule for SecretBuildArg {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl FileRule for SecretBuildArg {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        let repository = facts.repository;
        let mut told: BTreeSet<(FileId, usize, &str)> = BTreeSet::new();
        for image in &repository.images {
            for arg in image.target.args.iter().filter(|arg| is_secret(&arg.name)) {
                let place = arg.place.as_ref().and_then(|place| Some((repository.at(&place.file)?, place.line)));
                // A command that builds compose services passes on what the compose file says, which is found there.
                if place.is_none() && !matches!(image.by, NamedBy::Command(_)) {
                    continue;
                }
                let (id, line) = place.unwrap_or((image.file, image.line));
                let file = repository.file(id);
                let line = if place.is_some() { line } else { file.line_with(image.line, image.end_line, &arg.name) };
                let written = file.line(line);
                if !written.contains(&arg.name) || !told.insert((id, line, &arg.name)) {
                    continue;
                }
                let literal = arg.value.as_deref().is_some_and(|value| is_literal(value, written));
                let mut draft = Draft::new(format!("{} is passed as a build argument, which the image's history shows", arg.name))
                    .confidence(Confidence::Likely)
                    .in_file(file, line, line);
                if literal {
                    draft = draft.severity(Severity::Error).evidence("its value stands in this file; renew it");
                }
                out.add(
                    &META,
                    draft.help("give it as a build secret: RUN --mount=type=secret in the Dockerfile, build.secrets in compose"),
                );
            }
        }
    }
}

/// Whether the file itself holds the value: no variable, no substitution, no expression of a CI system, no placeholder.
fn is_literal(value: &str, written: &str) -> bool {
    let open = ["$", "`", "{{", "<", "%"].iter().any(|sign| value.contains(sign));
    let placeholder = ["changeme", "change-me", "example", "dummy", "placeholder", "xxx", "todo", "test", "none"];
    let lower = value.to_ascii_lowercase();
    value.len() >= 4 && !open && written.contains(value) && !written.contains('$') && !placeholder.iter().any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    #[test]
    fn whoever_passes_it() {
        let tree = Tree::new(&[
            ("Dockerfile", "FROM x\nARG NPM_TOKEN\n"),
            (
                "compose.yaml",
                "services:\n  api:\n    build:\n      context: .\n      args:\n        NPM_TOKEN: ${NPM_TOKEN}\n        DB_PASSWORD: hunter2-really\n        API_URL: http://x\n",
            ),
            ("build.sh", "docker build \\\n  --build-arg API_KEY=\"$KEY\" \\\n  --build-arg CACHE_KEY=1 .\ndocker compose build\n"),
        ]);
        assert_eq!(
            tree.found("secret-build-arg"),
            [
                "build.sh:2: warning: API_KEY is passed as a build argument, which the image's history shows",
                "compose.yaml:6: warning: NPM_TOKEN is passed as a build argument, which the image's history shows",
                "compose.yaml:7: error: DB_PASSWORD is passed as a build argument, which the image's history shows",
            ]
        );
    }

    #[test]
    fn secrets_given_as_secrets() {
        let tree = Tree::new(&[
            ("Dockerfile", "FROM x\n"),
            (
                "compose.yaml",
                "services:\n  api:\n    build:\n      context: .\n      args:\n        TOKEN_URL: http://x\n      secrets:\n        - npm_token\nsecrets:\n  npm_token:\n    environment: NPM_TOKEN\n",
            ),
            ("build.sh", "docker build --secret id=npm_token,env=NPM_TOKEN .\n"),
        ]);
        assert!(tree.found("secret-build-arg").is_empty());
    }
}
