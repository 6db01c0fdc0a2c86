//! Images that a build is made from, and that may be old.

use std::collections::BTreeSet;

use crate::build::{Status, Step};
use crate::evidence::build_command::BuildCommand;
use crate::evidence::build_target::BuildTarget;
use crate::evidence::context::content::ContentId;
use crate::evidence::dockerfile::dependencies::Origin;
use crate::evidence::dockerfile::environment::Base;
use crate::finding::{Confidence, Severity};

use super::by_image::Shown;
use super::judge::{Judge, Raised, Said};
use super::key::Sharing;
use super::local::count;
use super::plan::{Located, View};
use super::verdict::Verdict;

impl Judge<'_> {
    /// Base images that a recorded run built from files that have changed since, and images that docker 20.10 takes from its store.
    #[expect(clippy::too_many_arguments, reason = "the place of a target in its build")]
    pub(super) fn old_bases(
        &mut self,
        number: usize,
        command: &BuildCommand,
        target: &BuildTarget,
        view: &View<'_>,
        located: &[(&Step, Option<Located>)],
        shown: &Shown,
        sharing: Sharing,
    ) {
        let built_here: BTreeSet<&str> = command.targets.iter().flat_map(|target| target.tags.iter().map(String::as_str)).collect();
        for stage in view.needed.clone() {
            let Some(Base::Image(image)) = view.environment.base(stage) else {
                continue;
            };
            if built_here.contains(image.as_str()) {
                continue;
            }
            let Some(files) = self.changed_base(image) else {
                continue;
            };
            let in_image = if shown.any { self.base_in_image(number, target, &files) } else { None };
            if in_image == Some(false) {
                continue;
            }
            let verdict = if in_image == Some(true) { Verdict::Stale } else { Verdict::Suspect };
            let changed: Vec<String> = files.into_iter().map(|file| file.path).collect();
            let because = format!("its base {image} was built before {} changed", count(&changed));
            let mut said = Said::new(verdict, &because);
            said.changed_files.clone_from(&changed);
            let steps = located.iter().filter(|(_, place)| place.is_some_and(|place| place.stage == stage));
            for (step, place) in steps {
                match step.parts.keyword {
                    Some("FROM") => {
                        let raised = Raised {
                            rule: "stale-base",
                            severity: if in_image == Some(true) { Severity::Error } else { Severity::Warning },
                            confidence: if in_image == Some(true) { Confidence::Certain } else { Confidence::Likely },
                            message: format!("the base image is older than its sources: {image}"),
                            evidence: vec![because.clone()],
                            files: changed.clone(),
                            help: format!("build {image} again before what is made from it"),
                            location: place.and_then(|place| self.location(target, place.line)),
                        };
                        self.verdict(number, step, said.clone());
                        self.raise(number, step, raised);
                    }
                    // What a command made of the base is as old as the base.
                    Some("RUN") => self.verdict(number, step, said.clone()),
                    _ => {}
                }
            }
        }
        if sharing != Sharing::TypedPath || target.pull {
            return;
        }
        for (step, place) in located {
            // Docker before 23 takes the image that it has under the tag, however old.
            let from = step.parts.from.as_deref().filter(|_| step.parts.keyword == Some("COPY"));
            let Some(from) = from.filter(|from| matches!(view.environment.origin(from), Origin::Image(_)) && !from.contains('@')) else {
                continue;
            };
            if step.status != Status::Cached {
                continue;
            }
            let raised = Raised {
                rule: "stale-base",
                severity: Severity::Note,
                confidence: Confidence::Possible,
                message: format!("it takes from the local image of a tag that may have moved: {from}"),
                evidence: vec!["docker before 23 asks the registry only with --pull".to_owned()],
                files: Vec::new(),
                help: "build with --pull, or name the image by its digest".to_owned(),
                location: place.and_then(|place| self.location(target, place.line)),
            };
            self.verdict(number, step, Said::new(Verdict::Fresh, "what it takes is that of the local image of the tag"));
            self.raise(number, step, raised);
        }
    }

    /// The files that changed since a recorded run built an image; `None` where none did or nothing is recorded.
    fn changed_base(&mut self, image: &str) -> Option<Vec<ChangedFile>> {
        let built = self.input.past.image(image)?;
        let cwd = self.input.cwd.to_owned();
        let reference = self.tree(&cwd)?;
        let changed = built.files.iter().filter_map(|(path, content)| {
            let path = format!("{}{path}", built.prefix);
            match (reference.expected(path.as_bytes()), content) {
                (Some(entry), ContentId::Git(id)) if entry.is_blob() && *entry.id != **id => {
                    Some(ChangedFile { path, built: id.to_string(), now: entry.id })
                }
                _ => None,
            }
        });
        let changed: Vec<_> = changed.collect();
        (!changed.is_empty()).then_some(changed)
    }

    /// Says whether an image of the target holds old content of these files of a base; `None` where it shows neither the old nor the new.
    fn base_in_image(&mut self, number: usize, target: &BuildTarget, files: &[ChangedFile]) -> Option<bool> {
        let mut fresh = None;
        let images = self.input.images;
        for (at, image) in images.iter().enumerate() {
            if !self.is_of(at, number, target) {
                continue;
            }
            for file in files {
                match (image.holds_blob(&file.built), image.holds_blob(&file.now)) {
                    (Ok(true), Ok(false)) => return Some(true),
                    (Ok(_), Ok(true)) => fresh = Some(false),
                    (Err(error), _) | (_, Err(error)) => {
                        self.note(error.to_string());
                        return None;
                    }
                    _ => {}
                }
            }
        }
        fresh
    }
}

/// A file of a base image that has changed since the image was built.
struct ChangedFile {
    /// From the top of the repository.
    path: String,
    /// The blob that was built.
    built: String,
    /// The blob that the commit has.
    now: String,
}
