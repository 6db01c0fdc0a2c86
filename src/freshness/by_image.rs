//! With the image at hand its bytes decide.
//!
//! A COPY puts into its layer what the builder's copy of the context held, whether it ran or came from the cache: the cache answers
//! only for equal content. So a layer says what that copy held of a file, for its own step and for every other step of the build that
//! takes the same file. Only contents are compared, never times.

use std::collections::BTreeMap;

use crate::build::{Build, Instant, Step};
use crate::evidence::build_command::BuildCommand;
use crate::evidence::build_target::BuildTarget;
use crate::evidence::dockerfile::dependencies::Origin;
use crate::evidence::dockerfile::environment::Base;
use crate::evidence::go_match::below_root;
use crate::evidence::{
    image::{Image, ImageError},
    image_name,
};
use crate::finding::{Confidence, Severity};

use super::judge::{Input, Judge, Raised, Said, first_line};
use super::layer_files::{Compared, Place};
use super::local::{Judged, count, judge_local};
use super::plan::{Use, View};
use super::target::{Context, Contexts, StepUses};
use super::uses::context_key;
use super::verdict::Verdict;

/// What the image shows of a copy from another stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Through {
    /// All that it put into the image are files of the context, as they should be.
    Same,
    /// Among what it put there are earlier versions of these files.
    Old(Vec<String>),
    /// It put there what commands made, which nothing can be compared with.
    Made,
}

/// What the images of a target show.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Of the steps that copy from a context, by their numbers.
    pub(super) steps: BTreeMap<u32, Compared>,
    /// Of the steps that copy from another stage.
    pub(super) through: BTreeMap<u32, Through>,
    /// True where there is an image of the target.
    pub(super) any: bool,
}

/// Which build and target an image is of: by its digest, else by its name, else the last build. `None` where that cannot be told.
pub(super) fn assign(input: &Input<'_>, notes: &mut Vec<String>) -> Vec<Option<(usize, Option<String>)>> {
    input.images.iter().map(|image| assign_one(input, image, notes)).collect()
}

fn assign_one(input: &Input<'_>, image: &Image, notes: &mut Vec<String>) -> Option<(usize, Option<String>)> {
    let command = |number: usize| -> Option<&BuildCommand> { input.commands.get(number).and_then(Option::as_ref) };
    let shown = || image.names.first().cloned().unwrap_or_else(|| "the image".to_owned());
    let named = |names: &[String]| names.iter().any(|name| image.names.contains(&image_name::tagged(name)));
    let has_digest = |build: &Build| build.image.digest.as_ref().is_some_and(|digest| image.digests.contains(digest));
    let by_digest = input.builds.iter().rposition(has_digest);
    let by_name = || {
        (0..input.builds.len()).rev().find(|number| {
            input.builds.get(*number).is_some_and(|build| named(&build.image.names))
                || command(*number).is_some_and(|command| command.targets.iter().any(|target| named(&target.tags)))
        })
    };
    let found = by_digest.or_else(by_name);
    let number = found.or_else(|| input.builds.len().checked_sub(1))?;
    let command = command(number)?;
    if found.is_none() && input.builds.len() > 1 {
        notes.push(format!("{} is of no build that the log names; it is taken for that of the last one", shown()));
    }
    let Some(only) = command.targets.first().filter(|_| command.targets.len() == 1) else {
        let target = command.targets.iter().find(|target| named(&target.tags));
        if target.is_none() {
            notes.push(format!("{} has the name of no target that was built, so that it tells nothing of them", shown()));
        }
        return target.map(|target| (number, target.name.clone()));
    };
    let digest = input.builds.get(number).and_then(|build| build.image.digest.as_deref());
    if let Some(digest) = digest.filter(|_| by_digest.is_none() && !image.digests.is_empty()) {
        notes.push(format!(
            "{} may be another image than the one that was built: the log made {digest}, the archive holds {}",
            shown(),
            image.digests.first().map(String::as_str).unwrap_or_default()
        ));
    }
    Some((number, only.name.clone()))
}

impl Judge<'_> {
    /// Finds the steps of the target's images and compares what they copied with what they should have.
    pub(super) fn by_image(
        &mut self,
        number: usize,
        build: &Build,
        target: &BuildTarget,
        view: &View<'_>,
        steps: &[StepUses<'_, '_>],
        contexts: &mut Contexts,
    ) -> Shown {
        let mut shown = Shown::default();
        // The target's stage and those that it is made from.
        let mut stages: Vec<usize> = view.environment.target().ok().flatten().into_iter().collect();
        while let Some(Base::Stage(base)) = stages.last().and_then(|stage| view.environment.base(*stage))
            && !stages.contains(base)
        {
            stages.push(*base);
        }
        let mut of_image: Vec<&StepUses<'_, '_>> =
            steps.iter().filter(|step| step.place.is_some_and(|place| stages.contains(&place.stage))).collect();
        of_image.sort_by_key(|step| step.place.map(|place| place.line));
        let images = self.input.images;
        for (at, image) in images.iter().enumerate() {
            if !self.is_of(at, number, target) {
                continue;
            }
            shown.any = true;
            let of_platform: Vec<_> = of_image.iter().copied().filter(|step| is_platform(step.step, image)).collect();
            let look = Look { image, view, started: build.started };
            if let Err(error) = look.compare(&of_platform, steps, contexts, &mut shown) {
                self.note(error.to_string());
            }
        }
        shown
    }

    /// Says what the image shows of a step that copied from a context.
    pub(super) fn by_layer(
        &mut self,
        number: usize,
        step: &StepUses<'_, '_>,
        taken: &Use,
        compared: &Compared,
        context: &Context,
        target: &BuildTarget,
    ) -> (Verdict, String) {
        let location = step.place.and_then(|place| self.location(target, place.line));
        let step = step.step;
        if compared.wrong.is_empty() {
            // What the image does not decide, the rest of the evidence may still prove.
            if !compared.open.is_empty()
                && let Context::Local(state) = context
                && let Judged { verdict: Verdict::Stale, .. } = judge_local(step, taken, state)
            {
                return self.judge_use(number, step, taken, context, target, None);
            }
            self.withdraw(number, step.index);
            let because = match compared.open.is_empty() {
                true => "the image holds these very files".to_owned(),
                false => format!("the image holds these very files, but for {}, which changed since", count(&compared.open)),
            };
            self.verdict(number, step, Said::new(Verdict::Fresh, &because));
            return (Verdict::Fresh, because);
        }
        self.withdraw(number, step.index);
        let files: Vec<String> = compared.wrong.iter().map(|wrong| wrong.path.clone()).collect();
        let mut said = Said::new(Verdict::Stale, "");
        said.because = format!("the image does not hold {} as the commit has it", count(&files));
        said.changed_files.clone_from(&files);
        let because = said.because.clone();
        self.verdict(number, step, said);
        let raised = Raised {
            rule: "stale-copy",
            severity: Severity::Error,
            confidence: Confidence::Certain,
            message: format!("the image holds old code: {}", first_line(step.instruction())),
            evidence: compared.wrong.iter().take(10).map(|wrong| format!("{}: {}", wrong.path, wrong.why)).collect(),
            files,
            help: "docker builder prune -f, then build again".to_owned(),
            location,
        };
        self.raise(number, step, raised);
        (Verdict::Stale, because)
    }

    /// Says whether an image is that of a target of a build.
    pub(super) fn is_of(&self, image: usize, number: usize, target: &BuildTarget) -> bool {
        matches!(self.assigned.get(image), Some(Some((build, name))) if *build == number && *name == target.name)
    }
}

/// One image with the view of the Dockerfile that it was made by.
struct Look<'i, 'v, 'd> {
    image: &'i Image,
    view: &'v View<'d>,
    started: Option<Instant>,
}

impl Look<'_, '_, '_> {
    /// Compares the steps of the image, and what it has through other stages. `all` are the steps of all stages.
    fn compare(
        &self,
        steps: &[&StepUses<'_, '_>],
        all: &[StepUses<'_, '_>],
        contexts: &mut Contexts,
        shown: &mut Shown,
    ) -> Result<(), ImageError> {
        let image = self.image;
        let mut next = image.history.len();
        for step in steps.iter().rev().filter(|step| matches!(step.step.parts.keyword, Some("COPY" | "ADD"))) {
            let Some(place) = step.place else {
                continue;
            };
            let in_view = self.view.workdir(place.stage, place.line);
            // From the end, as the base image can have layers of the same text below.
            let entry = (0..next).rev().find(|at| made(image, *at, step, in_view.as_deref()));
            next = entry.unwrap_or(next);
            let workdir = in_view.unwrap_or_else(|| workdir(image, entry));
            let own = entry.and_then(|entry| image.history.get(entry)).and_then(|made| made.layer);
            // Without a layer for each step the image as a whole is looked at.
            let Some(up_to) = own.or_else(|| image.layers().checked_sub(1)) else {
                continue;
            };
            for taken in step.uses().filter(|taken| !taken.mount) {
                if let Origin::Stage(from) = taken.origin {
                    if let Some(layer) = own {
                        self.through_stage(step.step.index, taken, from, layer, &workdir, all, contexts, shown)?;
                    }
                    continue;
                }
                let Some(Context::Local(state)) = context_key(&taken.origin).and_then(|name| contexts.get_mut(&name)) else {
                    continue;
                };
                if state.reference.as_ref().is_some_and(|reference| !reference.known) {
                    continue;
                }
                let at = Place { image, up_to, own: own.is_some(), workdir: &workdir, outer: None, started: self.started };
                let compared = at.compare(taken, state)?;
                if own.is_none() && compared.same.is_empty() && compared.wrong.is_empty() {
                    continue;
                }
                state.learn(&compared);
                shown.steps.entry(step.step.index).or_default().add(compared);
            }
        }
        Ok(())
    }

    /// What the image shows of a copy from another stage: files of a context that the stage copied, and that are taken as they are.
    #[expect(clippy::too_many_arguments, reason = "the place of a step in the image")]
    fn through_stage(
        &self,
        index: u32,
        outer: &Use,
        from: usize,
        layer: usize,
        workdir: &str,
        all: &[StepUses<'_, '_>],
        contexts: &mut Contexts,
        shown: &mut Shown,
    ) -> Result<(), ImageError> {
        let mut result = Compared::default();
        let mut stage = Some(from);
        while let Some(at) = stage {
            for copied in all.iter().filter(|copied| copied.place.is_some_and(|place| place.stage == at)) {
                let inner = copied.place.and_then(|place| self.view.workdir(place.stage, place.line)).unwrap_or_default();
                for taken in copied.uses().filter(|taken| !taken.mount) {
                    let Some(Context::Local(state)) = context_key(&taken.origin).and_then(|name| contexts.get_mut(&name)) else {
                        continue;
                    };
                    if state.reference.as_ref().is_some_and(|reference| !reference.known) {
                        continue;
                    }
                    let outer = Some((outer, workdir));
                    let place = Place { image: self.image, up_to: layer, own: true, workdir: &inner, outer, started: self.started };
                    let mut compared = place.compare(taken, state)?;
                    // A file that is not the commit's may have been made so by a command of the stage: only an older version is proof.
                    compared.wrong.retain(|wrong| wrong.older);
                    state.learn(&compared);
                    result.add(compared);
                }
            }
            stage = match self.view.environment.base(at) {
                Some(Base::Stage(base)) if *base < at => Some(*base),
                _ => None,
            };
        }
        let through = if !result.wrong.is_empty() {
            Through::Old(result.wrong.into_iter().map(|wrong| wrong.path).collect())
        } else if result.places.len() >= self.image.files(layer)? && !result.places.is_empty() {
            Through::Same
        } else {
            Through::Made
        };
        let worse = |known: &Through| matches!((known, &through), (Through::Old(_), _) | (Through::Made, Through::Same));
        if !shown.through.get(&index).is_some_and(worse) {
            shown.through.insert(index, through);
        }
        Ok(())
    }
}

/// Says whether an entry of the history is that of a step.
fn made(image: &Image, entry: usize, step: &StepUses<'_, '_>, workdir: Option<&str>) -> bool {
    let parts = &step.step.parts;
    let Some(made) = image.history.get(entry).filter(|made| Some(made.keyword.as_str()) == parts.keyword) else {
        return false;
    };
    let taken = step.uses().find(|taken| !taken.mount);
    let sources = taken.map_or(&parts.sources, |taken| &taken.sources);
    let destination = taken.map_or_else(|| parts.destination.as_deref().unwrap_or_default(), |taken| taken.destination.as_str());
    // The legacy builder and buildah name what they copied by a digest.
    let digested = |word: &str| ["file:", "dir:", "multi:"].iter().any(|kind| word.starts_with(kind));
    let mut words: Vec<&str> = made.text.split_whitespace().filter(|word| !word.starts_with("--")).collect();
    if words.get(1).is_some_and(|word| digested(word)) {
        let below_workdir = below_root(&format!("{}/{destination}", workdir.unwrap_or_default()));
        return made.text.split_once(" in ").is_some_and(|(_, to)| {
            let to = below_root(to.trim());
            to == below_root(destination) || (!destination.starts_with('/') && to == below_workdir)
        });
    }
    // Heredocs stand between the sources and the destination.
    words.retain(|word| !word.starts_with("<<"));
    let expected = parts.keyword.into_iter().chain(sources.iter().map(String::as_str)).chain([destination]);
    words.into_iter().eq(expected.flat_map(str::split_whitespace))
}

/// The working directory at a place of the history, which the base image may have set.
fn workdir(image: &Image, entry: Option<usize>) -> String {
    let set: Vec<(usize, &str)> = image
        .history
        .iter()
        .enumerate()
        .filter(|(_, made)| made.keyword == "WORKDIR")
        .filter_map(|(at, made)| Some((at, made.text.split_once(char::is_whitespace)?.1.trim())))
        .collect();
    let Some(entry) = entry.filter(|_| !set.is_empty()) else {
        return image.workdir.clone();
    };
    set.iter().filter(|(at, _)| *at < entry).fold(String::new(), |before, (_, to)| match to.starts_with('/') {
        true => (*to).to_owned(),
        false => format!("{before}/{to}"),
    })
}

/// Says whether a step is of the image's platform: `linux/arm64`, `linux/amd64->arm64`.
fn is_platform(step: &Step, image: &Image) -> bool {
    let (Some(step), Some(image)) = (step.parts.platform.as_deref(), image.platform.as_deref()) else {
        return true;
    };
    let step = match step.split_once("->") {
        Some((_, to)) if to.contains('/') && !to.starts_with("arm/") => to.to_owned(),
        Some((from, to)) => format!("{}/{to}", from.split('/').next().unwrap_or_default()),
        None => step.to_owned(),
    };
    let within = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
    within(&step, image) || within(image, &step)
}
