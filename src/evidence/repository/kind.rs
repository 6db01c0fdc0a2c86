//! What a file is, by its name, its place and its first bytes.

use std::path::Path;

use super::FileKind;

/// What a name and a place say. `relative` is the path from the repository's root, with slashes.
pub(super) fn by_name(relative: &str) -> Option<FileKind> {
    let name = relative.rsplit('/').next().unwrap_or(relative);
    let lower = name.to_ascii_lowercase();
    if is_dockerfile(&lower) {
        return Some(FileKind::Dockerfile);
    }
    if lower == "daemon.json" {
        return Some(FileKind::Daemon);
    }
    let (stem, extension) = lower.rsplit_once('.').unwrap_or((lower.as_str(), ""));
    match extension {
        "sh" | "bash" | "ksh" | "zsh" => Some(FileKind::Script),
        "mk" => Some(FileKind::Makefile),
        "yml" | "yaml" => yaml(relative, stem),
        "hcl" | "json" if words(stem).any(|word| word == "bake") => Some(FileKind::Bake),
        "env" if stem.is_empty() => Some(FileKind::Dotenv),
        "txt" if words(stem).any(|word| matches!(word, "requirements" | "constraints")) => Some(FileKind::Manifest),
        _ if is_manifest(&lower) => Some(FileKind::Manifest),
        _ if matches!(lower.as_str(), "makefile" | "gnumakefile") => Some(FileKind::Makefile),
        _ if lower == "jenkinsfile" || lower.starts_with("jenkinsfile.") || extension == "jenkinsfile" => Some(FileKind::Jenkinsfile),
        _ => None,
    }
}

fn yaml(relative: &str, stem: &str) -> Option<FileKind> {
    let parts: Vec<&str> = relative.split('/').collect();
    let within = |first: &str, second: &str| parts.windows(2).any(|pair| pair == [first, second]);
    if within(".github", "workflows") || stem == "action" {
        return Some(FileKind::GitHub);
    }
    if stem.starts_with(".gitlab-ci") || stem.ends_with(".gitlab-ci") || parts.contains(&".gitlab") {
        return Some(FileKind::GitLab);
    }
    // compose.yaml, docker-compose.prod.yml, compose.override.yaml, prod.compose.yml, docker-compose-dev.yml, podman-compose.yml
    words(stem).any(|word| word == "compose").then_some(FileKind::Compose)
}

fn words(stem: &str) -> impl Iterator<Item = &str> {
    stem.split(['.', '-', '_'])
}

/// Files that name the dependencies of a project.
fn is_manifest(lower: &str) -> bool {
    matches!(lower, "package.json" | "pyproject.toml" | "cargo.toml" | "go.mod")
}

/// `Dockerfile`, `api.Dockerfile`, `Dockerfile.prod`, `Containerfile`, but neither their ignore files nor texts about them.
fn is_dockerfile(lower: &str) -> bool {
    const OTHERS: [&str; 32] = [
        "dockerignore",
        "containerignore",
        "md",
        "markdown",
        "rst",
        "txt",
        "adoc",
        "html",
        "j2",
        "jinja",
        "jinja2",
        "tmpl",
        "tpl",
        "template",
        "erb",
        "mustache",
        "swp",
        "bak",
        "orig",
        "rej",
        "py",
        "go",
        "yml",
        "yaml",
        "json",
        "toml",
        "sh",
        "hcl",
        "log",
        "js",
        "ts",
        "rb",
    ];
    let (stem, extension) = lower.rsplit_once('.').unwrap_or((lower, ""));
    if OTHERS.contains(&extension) {
        return false;
    }
    let named = |text: &str| text == "dockerfile" || text == "containerfile";
    // `Dockerfile-dev` and `Dockerfile_dev` are as usual as `Dockerfile.dev`.
    let begins = |text: &str| {
        ["dockerfile", "containerfile"].iter().any(|word| text.strip_prefix(word).is_some_and(|rest| rest.starts_with(['.', '-', '_'])))
    };
    named(lower) || begins(lower) || named(extension) || stem.rsplit('.').next().is_some_and(named)
}

/// Whether a file without an extension can be a script: then its first bytes are looked at.
pub(super) fn may_have_shebang(path: &Path) -> bool {
    path.extension().is_none()
}

/// Whether the first line asks for a shell.
pub(super) fn has_shell_shebang(start: &[u8]) -> bool {
    let Some(line) = start.strip_prefix(b"#!") else { return false };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    let shell = |word: &str| matches!(word, "sh" | "bash" | "dash" | "zsh" | "ash" | "ksh");
    match words.next() {
        Some("env") => words.find(|word| !word.starts_with('-')).is_some_and(shell),
        Some(word) => shell(word),
        None => false,
    }
}

/// What a file is that the user named by itself, whatever it is called.
pub(super) fn by_content(path: &Path, text: &str) -> FileKind {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "yml" | "yaml" if text.contains("runs-on:") => FileKind::GitHub,
        "yml" | "yaml" if text.contains("script:") && !text.contains("services:") => FileKind::GitLab,
        "yml" | "yaml" => FileKind::Compose,
        "hcl" | "json" => FileKind::Bake,
        _ if has_shell_shebang(text.as_bytes()) => FileKind::Script,
        _ => FileKind::Dockerfile,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        use FileKind::{Bake, Compose, Daemon, Dockerfile, Dotenv, GitHub, GitLab, Jenkinsfile, Makefile, Manifest, Script};
        for (path, kind) in [
            ("Dockerfile", Some(Dockerfile)),
            ("api/Dockerfile.prod", Some(Dockerfile)),
            ("docker/api.Dockerfile", Some(Dockerfile)),
            ("docker/api.dockerfile", Some(Dockerfile)),
            ("Dockerfile-dev", Some(Dockerfile)),
            ("Containerfile", Some(Dockerfile)),
            ("Dockerfile.md", None),
            ("Dockerfile.dockerignore", None),
            ("Dockerfile.j2", None),
            ("Dockerfiles/readme", None),
            ("mydockerfile", None),
            ("compose.yaml", Some(Compose)),
            ("docker-compose.prod.yml", Some(Compose)),
            ("compose-notes.md", None),
            ("docker-bake.hcl", Some(Bake)),
            ("docker-bake.override.json", Some(Bake)),
            ("bakery.json", None),
            ("etc/docker/daemon.json", Some(Daemon)),
            ("Dockerfile.yaml", None),
            ("api.Dockerfile.prod", Some(Dockerfile)),
            ("terraform.hcl", None),
            ("deploy.sh", Some(Script)),
            (".github/workflows/ci.yml", Some(GitHub)),
            ("sub/.github/workflows/ci.yaml", Some(GitHub)),
            (".github/dependabot.yml", None),
            (".gitlab-ci.yml", Some(GitLab)),
            ("Jenkinsfile", Some(Jenkinsfile)),
            ("Makefile", Some(Makefile)),
            (".env", Some(Dotenv)),
            ("api/requirements-dev.txt", Some(Manifest)),
            ("requirements/base.txt", None),
            ("package.json", Some(Manifest)),
            ("go.mod", Some(Manifest)),
            ("prod.env", None),
            ("src/main.py", None),
        ] {
            assert_eq!(by_name(path), kind, "{path}");
        }
    }

    #[test]
    fn shebangs() {
        for start in ["#!/bin/sh\n", "#!/usr/bin/env bash\n", "#! /usr/bin/env -S bash -e\n", "#!/bin/bash -e"] {
            assert!(has_shell_shebang(start.as_bytes()), "{start}");
        }
        for start in ["#!/usr/bin/env python3\n", "bash", "#!", "", "#!/usr/bin/env node\nbash"] {
            assert!(!has_shell_shebang(start.as_bytes()), "{start}");
        }
    }
}
