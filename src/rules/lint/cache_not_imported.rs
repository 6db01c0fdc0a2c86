//! `cache-not-imported`: a build on a machine that forgets, without a cache from elsewhere.

use std::collections::BTreeSet;

use super::{
    FileFacts, FileRule,
    builds::{self, Once},
};
use crate::{
    evidence::{
        build_command,
        build_target::normalize,
        repository::{File, FileId, FileKind, Image, NamedBy},
        yaml::{Node, Value},
    },
    rules::{Confidence, Docs, Draft, Findings, Meta, Rule, Severity},
};

/// The rule.
#[derive(Debug)]
pub struct CacheNotImported;

static META: Meta = Meta {
    name: "cache-not-imported",
    severity: Severity::Warning,
    summary: "A build on an ephemeral CI machine imports no cache: every run begins from nothing",
    docs: Docs {
        finds: "\
A build in a job of GitHub Actions on a hosted runner (`runs-on: ubuntu-…`, `windows-…`, `macos-…`), or in a job of GitLab with a
`docker:dind` service, that has no `cache_from`: neither in the command or action, nor in the compose or bake file that it reads. Builds in a
script of the repository that such a job calls count too. Self-hosted runners are not looked at, nor builds with `--no-cache`.",
        matters: "\
A hosted machine is thrown away behind the job, its build cache with it. Without an import every dependency is downloaded and installed again
at every run: a team whose inline cache was taken away went from 2–5 minutes to more than 20, and back with `cache_from`.",
        example: "\
runs-on: ubuntu-latest
steps:
  - run: docker compose build",
        measured: Some(
            "\
On an empty builder an imported registry cache (`mode=max`) or inline cache answered every step, and every COPY was fresh. An image without
cache metadata as `cache_from` answered none (`cache-import-useless`).",
        ),
        fix: "\
`cache_from` and `cache_to` with `type=registry,ref=…:buildcache,mode=max`, or `type=gha` on GitHub; both need a builder of the
docker-container driver (`docker/setup-buildx-action`).",
    },
};

impl Rule for CacheNotImported {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

/// A job: its lines, and why its machine forgets.
struct Job {
    from: usize,
    to: usize,
    why: String,
}

/// The jobs of a CI file whose machines are thrown away.
fn ephemeral_jobs(file: &File) -> Vec<Job> {
    let mut jobs = Vec::new();
    for document in &file.yaml {
        let top = match file.kind {
            FileKind::GitHub => document.get("jobs"),
            FileKind::GitLab => Some(document),
            _ => None,
        };
        let Some(Value::Map(entries)) = top.map(|node| &node.value) else { continue };
        for (at, entry) in entries.iter().enumerate() {
            let why = match file.kind {
                FileKind::GitHub => hosted(&entry.node),
                _ => entry.node.get("services").or_else(|| document.get("services")).and_then(dind),
            };
            let to = entries.get(at + 1).map_or(usize::MAX, |next| next.line - 1);
            jobs.extend(why.map(|why| Job { from: entry.line, to, why }));
        }
    }
    jobs
}

fn hosted(job: &Node) -> Option<String> {
    let labels = texts(job.get("runs-on")?);
    if labels.contains(&"self-hosted") {
        return None;
    }
    let known = |label: &&&str| ["ubuntu-", "windows-", "macos-"].iter().any(|system| label.starts_with(system));
    labels.iter().find(known).map(|label| format!("runs-on: {label}: a hosted runner is thrown away behind the job"))
}

fn dind(services: &Node) -> Option<String> {
    let Value::Seq(items) = &services.value else { return None };
    let names = items.iter().filter_map(|item| item.as_text().or_else(|| item.get("name").and_then(Node::as_text)));
    names
        .into_iter()
        .find(|name| name.contains("docker") && name.contains("dind"))
        .map(|name| format!("{name}: its build cache ends with the job"))
}

fn texts(node: &Node) -> Vec<&str> {
    match &node.value {
        Value::Seq(items) => items.iter().filter_map(Node::as_text).collect(),
        _ => node.as_text().into_iter().collect(),
    }
}

/// The jobs on whose machines a file's builds run: those of the file itself, or those that call it.
fn why(
    facts: &FileFacts<'_>,
    image: &Image,
    jobs: &[(FileId, Job)],
    callers: &[(FileId, usize, FileId)],
) -> Option<(String, Option<String>)> {
    let within = |file: FileId, line: usize| {
        jobs.iter().find(|(id, job)| *id == file && (job.from..=job.to).contains(&line)).map(|(_, job)| job.why.clone())
    };
    if let Some(why) = within(image.file, image.line) {
        return Some((why, None));
    }
    callers.iter().filter(|(called, ..)| *called == image.file).find_map(|(_, line, by)| {
        let place = format!("{}:{line} calls it", facts.repository.file(*by).path);
        Some((within(*by, *line)?, Some(place)))
    })
}

impl FileRule for CacheNotImported {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        let repository = facts.repository;
        let mut jobs = Vec::new();
        let mut callers = Vec::new();
        for (id, file) in repository.with_ids().filter(|(_, file)| matches!(file.kind, FileKind::GitHub | FileKind::GitLab)) {
            jobs.extend(ephemeral_jobs(file).into_iter().map(|job| (id, job)));
            for command in &file.commands {
                let Some(path) = build_command::script_path(&command.words) else { continue };
                let dir = command.dir.as_ref().map_or_else(|| repository.root.clone(), |dir| repository.root.join(dir));
                callers.extend(repository.at(&normalize(&dir.join(path))).map(|called| (called, command.line, id)));
            }
        }
        let mut once = Once::default();
        let mut said: BTreeSet<(FileId, usize)> = BTreeSet::new();
        for image in builds::effective(repository) {
            let allowed = facts.policy.service(image.target.name.as_deref()).and_then(|service| service.cache_import) == Some(false);
            let runs = matches!(image.by, NamedBy::Command(_) | NamedBy::Action);
            if !runs || allowed || image.open || image.target.no_cache || !image.target.cache_from.is_empty() {
                continue;
            }
            let Some((why, place)) = why(facts, image, &jobs, &callers) else { continue };
            if !said.insert((image.file, image.line)) {
                continue;
            }
            let what = image.target.name.as_deref().map_or(String::new(), |name| format!(" of {name}"));
            let mut draft = Draft::new(format!("the build{what} imports no cache, and its machine keeps none"));
            draft = draft.confidence(Confidence::Likely).in_file(repository.file(image.file), image.line, image.end_line).evidence(why);
            if let Some(place) = place {
                draft = draft.evidence(place);
            }
            once.add(&META, draft.help("cache_from and cache_to: type=registry,ref=…:buildcache,mode=max, or type=gha"), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    fn workflow(runner: &str, step: &str) -> String {
        format!(
            "jobs:\n  build:\n    runs-on: {runner}\n    steps:\n      - uses: actions/checkout@v4\n      {step}\n  other:\n    runs-on: self-hosted\n    steps:\n      - run: docker build .\n"
        )
    }

    fn places(workflow: &str) -> Vec<String> {
        Tree::new(&[("Dockerfile", "FROM x\n"), ("build.sh", "docker build .\n"), (".github/workflows/ci.yml", workflow)])
            .places("cache-not-imported")
    }

    #[test]
    fn on_machines_that_forget() {
        let ci = ".github/workflows/ci.yml:6";
        assert_eq!(places(&workflow("ubuntu-latest", "- run: docker build .")), [ci]);
        assert_eq!(places(&workflow("[ubuntu-24.04]", "- uses: docker/build-push-action@v6")), [ci]);
        assert_eq!(places(&workflow("ubuntu-latest", "- run: ./build.sh")), ["build.sh:1"]);
        let gitlab = "services: [docker:27-dind]\nbuild:\n  script:\n    - docker build .\n";
        assert_eq!(Tree::new(&[("Dockerfile", "FROM x\n"), (".gitlab-ci.yml", gitlab)]).places("cache-not-imported"), [".gitlab-ci.yml:4"]);
    }

    #[test]
    fn with_a_cache_or_on_a_machine_that_stays() {
        for text in [
            workflow("self-hosted", "- run: docker build ."),
            workflow("${{ matrix.os }}", "- run: docker build ."),
            workflow("ubuntu-latest", "- run: docker buildx build --cache-from type=gha --cache-to type=gha ."),
            workflow("ubuntu-latest", "- run: docker build --no-cache ."),
            workflow("ubuntu-latest", "- run: docker build $ARGS ."),
            workflow("ubuntu-latest", "- run: echo"),
        ] {
            assert!(places(&text).is_empty(), "{text}");
        }
    }
}
