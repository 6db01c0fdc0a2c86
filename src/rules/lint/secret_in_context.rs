//! `secret-in-context`: a file with secrets is copied into the image.

use std::{fs::File, io::Read, path::Path};

use super::{
    FileFacts, FileRule,
    copies::{context_copies, first_line},
};
use crate::{
    redact::names::is_secret,
    rules::{Confidence, Docs, Draft, Findings, Meta, Rule, Severity},
};

/// The rule.
#[derive(Debug)]
pub struct SecretInContext;

static META: Meta = Meta {
    name: "secret-in-context",
    severity: Severity::Warning,
    summary: "A file with secrets is copied into the image",
    docs: Docs {
        finds: "\
A file of the build context that holds secrets and that a COPY or ADD takes: `.env` and `.env.*`, private keys (`id_rsa`, `id_ed25519`, … and
`*.pem`, `*.key` that begin as one), `.netrc`, `.pypirc`, `.git-credentials`, `.npmrc` with a token, `.aws/credentials`, `.docker/config.json`.
Samples (`.env.example`, `.env.sample`, `.env.template`) are none. In a stage that is not the last it is a note, and so is a `.env` without a
variable whose name says that it is secret.",
        matters: "\
Whoever can pull the image can read the file, also when a later step deletes it: the layer that held it stays. From a stage that is not
the last it goes into the build cache, and with `--cache-to mode=max` into the registry.",
        example: "\
COPY . /app
# .env is in the context, and .dockerignore does not name it",
        measured: None,
        fix: "\
Name the file in `.dockerignore`. What the build needs, give it as a secret (`RUN --mount=type=secret,id=npmrc …`, `--secret id=npmrc,src=…`); what
the program needs, give it when it starts. Then renew the secret: images that were pushed hold it.",
    },
};

/// Files that are opened in one context at most.
const MOST_OPENED: usize = 50;
/// Bytes of a file that are looked at.
const LOOK: u64 = 64 * 1024;

impl Rule for SecretInContext {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl FileRule for SecretInContext {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        for (id, file, dockerfile) in facts.repository.dockerfiles() {
            let copies = context_copies(dockerfile);
            if copies.is_empty() {
                continue;
            }
            for context in facts.repository.contexts_of(id) {
                let Some(survey) = facts.repository.survey(&context, file) else { continue };
                let mut opened = 0;
                // By COPY: one finding with its files.
                let mut found: Vec<(usize, Severity, Vec<String>, Vec<String>)> = Vec::new();
                for (path, bytes) in survey.files.iter().filter(|(path, bytes)| *bytes > 0 && may_be_secret(path)) {
                    let Some(at) = copies.iter().position(|copy| copy.takes(path)) else { continue };
                    opened += 1;
                    if opened > MOST_OPENED {
                        break;
                    }
                    let Some((severity, what)) = look(&context.join(path), path) else { continue };
                    let last = copies[at].stage + 1 == dockerfile.stages.len();
                    let severity = if last { severity } else { Severity::Note };
                    let line = format!("{path}: {what}");
                    let _ = bytes;
                    match found.iter_mut().find(|(known, ..)| *known == at) {
                        Some((_, worst, files, evidence)) => {
                            *worst = severity.max(*worst);
                            files.push(path.clone());
                            evidence.push(line);
                        }
                        None => found.push((at, severity, vec![path.clone()], vec![line])),
                    }
                }
                for (at, severity, files, evidence) in found {
                    let copy = &copies[at];
                    let name = &files[0];
                    let more = if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
                    let mut draft = Draft::new(format!("`{}` takes {name}{more}, which holds secrets", first_line(&copy.command.text)))
                        .severity(severity)
                        .confidence(Confidence::Likely)
                        .in_file(file, copy.command.line, copy.command.end_line)
                        .files(&files);
                    for line in evidence.into_iter().take(5) {
                        draft = draft.evidence(line);
                    }
                    if copy.stage + 1 < dockerfile.stages.len() {
                        draft =
                            draft.evidence("the stage is not the last one: the build cache holds it, the image only if it is copied on");
                    }
                    out.add(&META, draft.help(format!("add {name} to .dockerignore, and give secrets with RUN --mount=type=secret")));
                }
            }
        }
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_dotenv(name: &str) -> bool {
    const SAMPLES: [&str; 9] = ["example", "sample", "template", "dist", "defaults", "default", "tpl", "schema", "vault"];
    name == ".env" || name.strip_prefix(".env.").is_some_and(|rest| !rest.split('.').any(|part| SAMPLES.contains(&part)))
}

fn may_be_secret(path: &str) -> bool {
    let name = name_of(path);
    is_dotenv(name)
        || matches!(
            name,
            "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ed25519" | ".netrc" | "_netrc" | ".pypirc" | ".git-credentials" | ".npmrc" | ".htpasswd"
        )
        || path.ends_with(".aws/credentials")
        || path.ends_with(".docker/config.json")
        || name.ends_with(".pem")
        || name.ends_with(".key")
}

/// What a file holds that is secret, by its content; never the secret itself.
fn look(file: &Path, path: &str) -> Option<(Severity, String)> {
    let mut start = Vec::new();
    File::open(file).and_then(|file| file.take(LOOK).read_to_end(&mut start)).ok()?;
    let text = String::from_utf8_lossy(&start);
    let name = name_of(path);
    if is_dotenv(name) {
        let keys: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim().trim_start_matches("export ").split_once('='))
            .filter(|(key, value)| !key.starts_with('#') && !value.trim_matches(['"', '\'', ' ']).is_empty() && is_secret(key.trim()))
            .map(|(key, _)| key.trim())
            .collect();
        return Some(match keys.as_slice() {
            [] => (Severity::Note, "an environment file".to_owned()),
            keys => (Severity::Warning, format!("sets {}", keys.iter().take(3).copied().collect::<Vec<_>>().join(", "))),
        });
    }
    let (holds, what) = match name {
        ".npmrc" => {
            (text.contains("_authToken=") && !text.contains("_authToken=${") || text.contains("_password="), "a token of a registry")
        }
        "config.json" => (text.contains("\"auth\""), "a password of a registry"),
        _ if name.ends_with(".pem") || name.ends_with(".key") || name.starts_with("id_") => {
            (text.contains("PRIVATE KEY-----"), "a private key")
        }
        ".htpasswd" => (text.contains(':'), "passwords"),
        _ => (text.contains("password") || text.contains("://") || text.contains("aws_secret_access_key"), "a password"),
    };
    holds.then(|| (Severity::Warning, what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n";

    #[test]
    fn files_that_hold_secrets() {
        let tree = Tree::new(&[
            ("Dockerfile", "FROM x\nCOPY . /app\n"),
            (".env", "PORT=1\nexport DB_PASSWORD=hunter2\n"),
            ("deploy/id_rsa", KEY),
            (".env.example", "DB_PASSWORD=change-me\n"),
            ("certs/ca.pem", "-----BEGIN CERTIFICATE-----\n"),
            (".npmrc", "//registry.example.org/:_authToken=${NPM_TOKEN}\n"),
        ]);
        assert_eq!(tree.found("secret-in-context"), ["Dockerfile:2: warning: `COPY . /app` takes .env and 1 more, which holds secrets"]);
        let finding = tree.findings().into_iter().find(|finding| finding.rule == "secret-in-context").unwrap();
        assert_eq!(finding.evidence, [".env: sets DB_PASSWORD", "deploy/id_rsa: a private key"]);
        assert!(!format!("{finding:?}").contains("hunter2"));
    }

    #[test]
    fn notes() {
        let tree = Tree::new(&[("Dockerfile", "FROM x\nCOPY . /app\n"), (".env", "PORT=1\n")]);
        assert!(tree.found("secret-in-context")[0].contains(": note: "));
        let tree = Tree::new(&[("Dockerfile", "FROM x AS b\nCOPY . /app\nFROM y\nCOPY --from=b /app/bin /bin\n"), ("id_rsa", KEY)]);
        assert!(tree.found("secret-in-context")[0].contains("Dockerfile:2: note: "));
    }

    #[test]
    fn not_taken() {
        for files in [
            [("Dockerfile", "FROM x\nCOPY . /app\n"), ("id_rsa", KEY), (".dockerignore", "id_*\n")].as_slice(),
            &[("Dockerfile", "FROM x\nCOPY src /app\n"), ("id_rsa", KEY)],
            &[("Dockerfile", "FROM x\nCOPY --exclude=**/id_rsa . /app\n"), ("a/id_rsa", KEY)],
            &[("Dockerfile", "FROM x\nCOPY . /app\n"), ("a.key", "{}"), ("id_rsa", "a test")],
        ] {
            assert!(Tree::new(files).found("secret-in-context").is_empty(), "{files:?}");
        }
    }
}
