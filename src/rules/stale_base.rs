//! `stale-base`: the base image, or an image that a COPY takes from, may be an old one.

use std::collections::BTreeMap;

use super::{BuildFacts, Confidence, Docs, Draft, Facts, FileFacts, FileRule, Findings, LogRule, Meta, Rule, Severity};
use crate::{
    build::{Format, Outcome, Step},
    evidence::{
        dockerfile::{
            CommandKind,
            dependencies::Origin,
            environment::{Base, BuildOptions, Environment},
        },
        repository::{File, Repository},
    },
};

/// The rule.
#[derive(Debug)]
pub struct StaleBase;

static META: Meta = Meta {
    name: "stale-base",
    severity: Severity::Warning,
    summary: "A base image, or an image that a COPY takes from, may be older than its tag",
    docs: Docs {
        finds: "\
A FROM (or `COPY --from=IMAGE`) whose tag can move and which the log shows without a digest: the engine took the image that it had under
that tag and did not ask the registry. With a history also a base image that was built from this repository, at an older commit than the
one that is built now.

In the files of a repository (a note): a FROM or `COPY --from=IMAGE` without a tag or with one that moves by its meaning (`latest`, `stable`, `lts`,
`edge`, …). An ordinary tag without a digest is reported only where the repository names other images by digest, or where `[rules]` of
`bklog.toml` gives this rule a severity: by itself it is what most teams want.",
        matters: "\
The base holds shared code or security fixes. If the tag moved on another machine, everything below it is CACHED by right and the image is
old all the same.",
        example: "\
#5 [1/4] FROM registry.example/base:latest
#5 DONE 0.0s
#6 [2/4] RUN cat /usr/lib/shared.py > /app.py
#6 CACHED",
        measured: Some(
            "\
Current BuildKit asks the registry for the tag at every build and prints what it found (`base:latest@sha256:…`): a moved tag was never
missed. docker 20.10 takes the local image unless it is told `--pull`, prints no digest for it, and was stale each time the tag had moved.",
        ),
        fix: "\
Build with `--pull`, or name the base by digest (`FROM base@sha256:…`). If the base is built from the same repository, build it first, in the
same script.",
    },
};

impl Rule for StaleBase {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for StaleBase {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        // Ten services with one base are one finding.
        let mut told = Vec::new();
        for build in &facts.builds {
            // Without a target it is not known whether --pull was given.
            if build.targets.is_empty()
                || build.targets.iter().any(|target| target.target.pull)
                || build.build.outcome != Outcome::Succeeded
            {
                continue;
            }
            for step in build.build.steps.iter() {
                if let Some(image) = local_image(step)
                    && build.build.format != Format::Legacy
                    && !facts.is_raised(&["stale-base"], build.number, Some(step.index))
                    && !made_here(facts, build, image)
                    && !told.contains(&image)
                {
                    told.push(image);
                    let message = format!("{image} was taken as this machine had it; the registry was not asked");
                    let draft = Draft::new(message).severity(Severity::Note).confidence(Confidence::Possible).step(build, step);
                    let evidence = "the log shows no digest for it, and the command has no --pull";
                    out.add(&META, draft.evidence(evidence).help("build with --pull, or name the image by digest"));
                }
            }
        }
    }
}

/// Tags whose meaning is that they move.
const MOVING: [&str; 14] =
    ["latest", "stable", "edge", "nightly", "rolling", "current", "lts", "mainline", "main", "master", "dev", "devel", "canary", "beta"];

impl FileRule for StaleBase {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        let mut places: BTreeMap<String, Vec<(&File, usize, usize)>> = BTreeMap::new();
        for (_, file, dockerfile) in facts.repository.dockerfiles() {
            let environment = Environment::new(dockerfile, &BuildOptions::default());
            for (at, stage) in dockerfile.stages.iter().enumerate() {
                if let Some(Base::Image(image)) = environment.base(at) {
                    places.entry(image.clone()).or_default().push((file, stage.line, stage.end_line));
                }
                for command in &stage.commands {
                    if let CommandKind::Copy(copy) = &command.kind
                        && let Some(from) = copy.from.as_deref()
                        && let Origin::Image(image) = environment.origin(from)
                    {
                        places.entry(image).or_default().push((file, command.line, command.end_line));
                    }
                }
            }
        }
        let by_digest = places.keys().filter(|image| image.contains("@sha256:")).count();
        let wanted = facts.policy.severity(META.name).is_some();
        for (image, places) in &places {
            let open = image.is_empty() || image.contains(['$', '@']) || built_here(facts.repository, image);
            let Some((file, line, end_line)) = places.first().filter(|_| !open) else { continue };
            let tag = tag(image);
            let message = match tag {
                None => format!("{image} has no tag: it is whatever latest is on the day of the build"),
                Some(tag) if MOVING.contains(&tag) => format!("{image} moves: it is whatever {tag} is on the day of the build"),
                Some(_) if by_digest > 0 || wanted => format!("{image} has no digest"),
                Some(_) => continue,
            };
            let mut draft = Draft::new(message).severity(Severity::Note).confidence(Confidence::Possible).in_file(file, *line, *end_line);
            if places.len() > 1 {
                draft = draft.evidence(format!("and in {} more places", places.len() - 1));
            }
            if by_digest > 0 {
                draft = draft.evidence(format!("{by_digest} other images of this repository are named by digest"));
            }
            draft = draft.evidence(
                "BuildKit asks the registry at every build, and a moved tag runs everything anew; docker 20.10 takes what it has",
            );
            out.add(&META, draft.help("name a version, or the digest: FROM image:tag@sha256:…"));
        }
    }
}

fn tag(image: &str) -> Option<&str> {
    // A colon before the last slash is a registry's port.
    image.rsplit('/').next().and_then(|name| name.split_once(':')).map(|(_, tag)| tag)
}

/// Whether a file of the repository builds an image of this name: its digest is not known before.
fn built_here(repository: &Repository, image: &str) -> bool {
    let plain = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
    repository.images.iter().flat_map(|image| &image.target.tags).any(|tag| plain(tag) == plain(image))
}

/// The image of a FROM whose tag can move and that was not looked up in a registry.
fn local_image(step: &Step) -> Option<&str> {
    let image = match (&step.parts.base, step.name.strip_prefix("FROM ")) {
        (Some(base), _) => base.as_str(),
        // docker 20.10 shows the image of a COPY --from like this.
        (None, Some(image)) => image,
        _ => return None,
    };
    (!image.contains('@') && image != "scratch" && !image.starts_with('$')).then_some(image)
}

/// True where an earlier build of the same log made the image: then it is the newest there is.
fn made_here(facts: &Facts<'_>, build: &BuildFacts<'_>, image: &str) -> bool {
    let plain = |name: &str| {
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        let name = name.strip_prefix("library/").unwrap_or(name);
        name.strip_suffix(":latest").unwrap_or(name).to_owned()
    };
    let earlier = facts.builds.iter().take_while(|other| other.number < build.number);
    earlier.flat_map(|other| &other.build.image.names).any(|name| plain(name) == plain(image))
}

#[cfg(test)]
mod tests {
    use super::super::{
        lint::testing::Tree,
        testing::{Case, log},
    };

    #[test]
    fn in_files() {
        let text = "ARG V=latest\nFROM node:22 AS a\nFROM reg.example:5000/base\nCOPY --from=a /x /x\nCOPY --from=nginx:stable /y /y\nFROM alpine:$V\nFROM $OPEN\nFROM scratch\n";
        let tree = Tree::new(&[("Dockerfile", text), ("z.Dockerfile", "FROM reg.example:5000/base\n")]);
        assert_eq!(tree.places("stale-base"), ["Dockerfile:3", "Dockerfile:5", "Dockerfile:6"]);
        assert!(tree.found("stale-base")[0].contains("note: reg.example:5000/base has no tag"));
        let digest = Tree::new(&[("Dockerfile", "FROM a:1@sha256:00\nFROM node:22\n")]);
        assert_eq!(digest.found("stale-base"), ["Dockerfile:2: note: node:22 has no digest"]);
        assert!(Tree::new(&[("Dockerfile", "FROM node:22\n")]).found("stale-base").is_empty());
        assert_eq!(Tree::new(&[("Dockerfile", "FROM node:22\n")]).policy("[rules]\nstale-base = \"error\"").found("stale-base").len(), 1);
        let own = [("Dockerfile", "FROM base:latest\n"), ("b.sh", "docker build -t base ./base\ndocker build .\n")];
        assert!(Tree::new(&own).found("stale-base").is_empty());
    }

    const FILE: &str = "FROM base:latest\nRUN x\n";

    fn case(from: &str, command: &str) -> usize {
        let steps = [format!("[1/2] FROM {from} | DONE 0.0s"), "[2/2] RUN x | CACHED".to_owned()];
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        Case::new(log(&steps)).command(command, FILE).messages("stale-base").len()
    }

    #[test]
    fn only_a_tag_that_nobody_looked_up() {
        assert_eq!(case("docker.io/library/base:latest", "docker build ."), 1);
        assert_eq!(case("docker.io/library/base:latest@sha256:00", "docker build ."), 0);
        assert_eq!(case("docker.io/library/base:latest", "docker build --pull ."), 0);
    }
}
