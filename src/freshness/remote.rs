//! Commands that fetch code from elsewhere, and that the cache answered.
//!
//! The commit names the command, and not what the remote held when it ran. So the commit's code is in the image where the layer is that of
//! this very command; whether the remote has moved on since, only the remote can tell. The image says when the command ran and, where it
//! cloned a repository, which commit it got. Without the image it is not known what the cache holds.

use crate::build::{Build, Kind, Status, Step};
use crate::evidence::remote_code::{self, Fetch};
use crate::finding::{Confidence, Severity};

use super::by_image::LayerOf;
use super::judge::{Judge, Raised, Said, first_line};
use super::verdict::Verdict;
use crate::evidence::commit::short;

impl Judge<'_> {
    /// Judges the steps of a build that fetch remote code.
    pub(super) fn remote_code(&mut self, number: usize, build: &Build) {
        for step in build.steps.iter().filter(|step| step.parts.kind == Kind::Instruction) {
            match step.parts.keyword {
                Some("RUN") if step.status == Status::Cached || (step.pulled && step.status == Status::Done) => {
                    let fetch = remote_code::fetches(step.instruction()).into_iter().find(|fetch| fetch.pin.is_none());
                    if let Some(fetch) = fetch {
                        self.cached_fetch(number, build, step, &fetch);
                    }
                }
                Some("ADD") if step.status == Status::Cached && step.parts.sources.iter().any(|source| crate::build::is_remote(source)) => {
                    self.remote_add(number, step);
                }
                Some("ADD") if step.parts.sources.iter().any(|source| source.starts_with("http")) && !step.name.contains("--checksum") => {
                    self.remote_add(number, step);
                }
                _ => {}
            }
        }
    }

    fn cached_fetch(&mut self, number: usize, build: &Build, step: &Step, fetch: &Fetch) {
        let layer = self.layers.get(&(number, step.index)).cloned();
        let mut evidence = vec![format!("it fetches with `{}` and did not run", fetch.what)];
        let (verdict, because) = match &layer {
            Some(layer) if self.is_of_this_log(layer) => {
                self.verdict(number, step, Said::new(Verdict::Fresh, &format!("{}: another build of this log ran it", made(layer))));
                return;
            }
            Some(layer) => {
                evidence.push(made(layer));
                evidence.extend(layer.clones.iter().map(|(path, commit)| format!("{path} in it is at {commit}")));
                let because = format!(
                    "{}: what it fetched then is in the image. The commit does not say which version that is to be, so whether the remote has \
                     moved on since, only the remote can tell",
                    made(layer)
                );
                (Verdict::Fresh, because)
            }
            None => {
                let because =
                    "CACHED, and it fetches code that nothing in the command pins: what the cache holds is what was there when it ran";
                (Verdict::Suspect, because.to_owned())
            }
        };
        self.verdict(number, step, Said::new(verdict, &because));
        let at = layer.as_ref().and_then(|layer| Some((layer.created?, age(layer, build)?)));
        let message = match at {
            Some((created, age)) => {
                format!("remote code of {age} before the build ({}): {}", date(created), first_line(step.instruction()))
            }
            None => format!("the cache answers for remote code: {}", first_line(step.instruction())),
        };
        let clone = layer.as_ref().and_then(|layer| layer.clones.first());
        let compare = clone.map_or(String::new(), |(_, commit)| format!("compare {} with `git ls-remote`; ", short(commit)));
        let raised = Raised {
            rule: "stale-run",
            severity: Severity::Warning,
            confidence: Confidence::Possible,
            message,
            evidence,
            files: Vec::new(),
            help: format!(
                "{compare}pin what it fetches (a commit, a version, a digest that is checked), or give it a build argument that changes with the remote"
            ),
            location: None,
        };
        self.raise(number, step, raised);
    }

    /// Says whether a layer was made while the log was.
    fn is_of_this_log(&self, layer: &LayerOf) -> bool {
        let started = self.input.builds.first().and_then(|build| build.started).filter(|started| started.absolute);
        started.zip(layer.created).is_some_and(|(started, created)| created.as_nanosecond() >= started.nanoseconds)
    }

    fn remote_add(&mut self, number: usize, step: &Step) {
        if step.name.contains("--checksum") {
            return;
        }
        let because = "the builder asks the server at every build whether the file has changed, and believes its answer";
        self.verdict(number, step, Said::new(Verdict::Fresh, because));
        let raised = Raised {
            rule: "stale-run",
            severity: Severity::Note,
            confidence: Confidence::Possible,
            message: format!("the server decides whether this is fresh: {}", first_line(step.instruction())),
            evidence: vec!["a server that repeats its ETag for other content gets the old file into the image".to_owned()],
            files: Vec::new(),
            help: "add --checksum=sha256:… to the ADD".to_owned(),
            location: None,
        };
        self.raise(number, step, raised);
    }
}

/// `its layer sha256:0123456789ab was made on 2026-11-21 10:00:00 UTC`.
fn made(layer: &LayerOf) -> String {
    let digest = layer.digest.as_deref().map_or("", |digest| digest.get(..19).unwrap_or(digest));
    let space = if digest.is_empty() { "" } else { " " };
    match layer.created {
        Some(created) => format!("its layer{space}{digest} was made on {}", date(created)),
        None => format!("its layer{space}{digest} is that of this very command; the image does not say when it ran"),
    }
}

fn date(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long before the build a layer was made, in whole units, where the log has times.
fn age(layer: &LayerOf, build: &Build) -> Option<String> {
    let started = build.started.filter(|started| started.absolute)?;
    let seconds = (started.nanoseconds - layer.created?.as_nanosecond()) / 1_000_000_000;
    let (count, unit) = match seconds {
        ..0 => return None,
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    Some(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }))
}
