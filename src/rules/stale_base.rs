//! `stale-base`: the base image, or an image that a COPY takes from, may be an old one.

use super::{BuildFacts, Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};
use crate::build::{Format, Outcome, Step};

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
one that is built now.",
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
    use super::super::testing::{Case, log};

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
