//! With the image at hand its bytes decide.
//!
//! A COPY puts into its layer what the builder's copy of the context held, whether it ran or came from the cache: the cache answers
//! only for equal content. So a layer says what that copy held of a file, for its own step and for every other step of the build that
//! takes the same file. Only contents are compared, never times.

use std::collections::BTreeMap;

use crate::build::{Build, Instant, Step};
use crate::evidence::build_command::{BuildCommand, ClientKind};
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
use super::layer_files::{Compared, Place, anywhere};
use super::local::{ContextState, Judged, count, judge_local, missing_source, of_which_tree};
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
    /// Of commands: the layer that each of them made.
    pub(super) ran: BTreeMap<u32, LayerOf>,
    /// True where there is an image of the target.
    pub(super) any: bool,
}

/// The layer that a command made, as the image tells it.
#[derive(Debug, Clone)]
pub(super) struct LayerOf {
    /// Its digest, unpacked.
    pub(super) digest: Option<String>,
    /// When it was made.
    pub(super) created: Option<jiff::Timestamp>,
    /// The repositories in it with the commits that they have checked out.
    pub(super) clones: Vec<(String, String)>,
}

/// Which build and target an image is of: by its digest, else by its name, else the last build. `None` where that cannot be told.
pub(super) fn assign(input: &Input<'_>, notes: &mut Vec<String>) -> Vec<Option<(usize, Option<String>)>> {
    input.images.iter().map(|image| assign_one(input, image, notes)).collect()
}

fn assign_one(input: &Input<'_>, image: &Image, notes: &mut Vec<String>) -> Option<(usize, Option<String>)> {
    let command = |number: usize| -> Option<&BuildCommand> { input.commands.get(number).and_then(Option::as_ref) };
    let shown = || image.names.first().cloned().unwrap_or_else(|| "the image".to_owned());
    let named = |names: &[String]| names.iter().any(|name| image.names.contains(&image_name::tagged(name)));
    // The legacy builder prints the first twelve digits of the image's id.
    let is_digest = |digest: &str, known: &String| {
        known == digest || (digest.len() == 12 && known.strip_prefix("sha256:").is_some_and(|id| id.starts_with(digest)))
    };
    let has_digest =
        |build: &Build| build.image.digest.as_ref().is_some_and(|digest| image.digests.iter().any(|known| is_digest(digest, known)));
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
        let target = target.or_else(|| image.names.iter().find_map(|name| service_of(command, name)));
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

/// The service of a compose file that has no name for its image, by the name that compose gives it: `PROJECT-SERVICE`, and `PROJECT_SERVICE`
/// in its first generation.
pub(super) fn service_of<'c>(command: &'c BuildCommand, image: &str) -> Option<&'c BuildTarget> {
    let image = image_name::tagged(image);
    let (name, _) = image.rsplit_once(':').filter(|_| command.client == ClientKind::Compose)?;
    let is_default = |service: &str| {
        name.strip_suffix(service).and_then(|project| project.strip_suffix(['-', '_'])).is_some_and(|project| !project.is_empty())
    };
    let services = command.targets.iter().filter(|target| target.tags.is_empty());
    let named = services.filter(|target| target.name.as_deref().is_some_and(is_default));
    // `my-web` ends with the name of another service, `web`.
    named.max_by_key(|target| target.name.as_deref().map_or(0, str::len))
}

impl Judge<'_> {
    /// Finds the steps of the target's images and compares what they copied with what they should have.
    pub(super) fn by_image(
        &mut self,
        number: usize,
        build: &Build,
        target: &BuildTarget,
        view: Option<&View<'_>>,
        steps: &[StepUses<'_, '_>],
        contexts: &mut Contexts,
    ) -> Shown {
        let mut shown = Shown::default();
        let of_image = steps_of_image(view, steps);
        let images = self.input.images;
        for (at, image) in images.iter().enumerate() {
            if !self.is_of(at, number, target) {
                continue;
            }
            shown.any = true;
            for context in contexts.values_mut() {
                if let Context::Local(state) = context {
                    state.has_image = true;
                }
            }
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
        let unknown = if let Context::Local(state) = context { of_which_tree(state) } else { String::new() };
        if compared.wrong.is_empty() {
            // What the image does not decide, the rest of the evidence may still prove, or put in doubt.
            if let (Context::Local(state), false) = (context, compared.open.is_empty()) {
                let Judged { verdict, files, .. } = judge_local(step, taken, state);
                let in_doubt = || verdict == Verdict::Suspect && !compared.own && files.iter().any(|file| compared.open.contains(file));
                if verdict == Verdict::Stale || in_doubt() {
                    return self.judge_use(number, step, taken, context, target, None);
                }
            }
            self.withdraw(number, step.index);
            let because = match compared.open.is_empty() {
                true => format!("the image holds these very files{unknown}"),
                false if compared.own => {
                    format!("the image holds these very files, but for {}, which changed since{unknown}", count(&compared.open))
                }
                false => format!(
                    "the image holds {} of these very files{unknown}; later commands may have changed the others",
                    compared.same.len()
                ),
            };
            self.verdict(number, step, Said::new(Verdict::Fresh, &because));
            return (Verdict::Fresh, because);
        }
        self.withdraw(number, step.index);
        let files: Vec<String> = compared.wrong.iter().map(|wrong| wrong.path.clone()).collect();
        let mut said = Said::new(Verdict::Stale, "");
        said.because = match unknown.is_empty() {
            true => format!("the image does not hold {} as the commit has it", count(&files)),
            false => format!("the image does not hold {} as the tree has it{unknown}", count(&files)),
        };
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
    /// `None` where the Dockerfile is not that of the build: then the log's own words count.
    view: Option<&'v View<'d>>,
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
        for step in steps.iter().rev() {
            let is_run = match step.step.parts.keyword {
                Some("COPY" | "ADD") => false,
                Some("RUN") => true,
                _ => continue,
            };
            let in_view = step.place.and_then(|place| self.view?.workdir(place.stage, place.line));
            // From the end, as the base image can have layers of the same text below.
            let commands = if is_run { self.commands(step) } else { Vec::new() };
            let entry = (0..next).rev().find(|at| match is_run {
                true => ran(image, *at, step.step, &commands),
                false => made(image, *at, step, in_view.as_deref()),
            });
            next = entry.unwrap_or(next);
            let made = entry.and_then(|entry| image.history.get(entry));
            let own = made.and_then(|made| made.layer);
            if let (true, Some(made), Some(layer)) = (is_run, made, own) {
                let digest = image.diff_id(layer).map(str::to_owned);
                // The layer is read only where the command can have put a repository there.
                let clones = if step.step.name.contains("git") { image.clones(layer)? } else { Vec::new() };
                shown.ran.insert(step.step.index, LayerOf { digest, created: made.created, clones });
            }
            let workdir = in_view.unwrap_or_else(|| workdir(image, entry));
            // Without a layer for each step the image as a whole is looked at. A step that only the log tells of may be none of the image.
            let whole = || image.layers().checked_sub(1).filter(|_| step.place.is_some() && !is_run);
            let Some(up_to) = own.or_else(whole) else {
                continue;
            };
            for taken in step.uses() {
                if let Origin::Stage(from) = taken.origin {
                    if let Some(layer) = own.filter(|_| !taken.mount) {
                        self.through_stage(step.step.index, taken, from, layer, &workdir, all, contexts, shown)?;
                    }
                    continue;
                }
                let Some(Context::Local(state)) = context_key(&taken.origin).and_then(|name| contexts.get_mut(&name)) else {
                    continue;
                };
                if taken.mount {
                    state.learn(&anywhere(image, up_to, &selected(taken, state), state)?);
                    continue;
                }
                let at = Place { image, up_to, own: own.is_some(), workdir: &workdir, outer: None, started: self.started };
                let mut compared = at.compare(taken, state)?;
                if own.is_none() {
                    let open: Vec<&str> = compared.open.iter().map(String::as_str).collect();
                    let moved = anywhere(image, up_to, &open, state)?;
                    compared.open.retain(|path| !moved.held.contains_key(path));
                    compared.add(moved);
                }
                let nothing = compared.same.is_empty() && compared.wrong.is_empty();
                if nothing && (own.is_none() || (compared.is_empty() && missing_source(taken, state).is_some())) {
                    continue;
                }
                state.learn(&compared);
                shown.steps.entry(step.step.index).or_default().add(compared);
            }
        }
        Ok(())
    }

    /// The text of a RUN as the Dockerfile has it, in the forms that a history may have.
    fn commands(&self, step: &StepUses<'_, '_>) -> Vec<String> {
        step.place.zip(self.view).map(|(place, view)| view.run_texts(place.stage, place.line)).unwrap_or_default()
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
        let Some(view) = self.view else {
            return Ok(());
        };
        let mut result = Compared::default();
        let mut stage = Some(from);
        while let Some(at) = stage {
            for copied in all.iter().filter(|copied| copied.place.is_some_and(|place| place.stage == at)) {
                let inner = copied.place.and_then(|place| view.workdir(place.stage, place.line)).unwrap_or_default();
                for taken in copied.uses() {
                    let Some(Context::Local(state)) = context_key(&taken.origin).and_then(|name| contexts.get_mut(&name)) else {
                        continue;
                    };
                    let mut compared = Compared::default();
                    if !taken.mount {
                        let outer = Some((outer, workdir));
                        let place = Place { image: self.image, up_to: layer, own: true, workdir: &inner, outer, started: self.started };
                        compared = place.compare(taken, state)?;
                        // A file that is not the commit's may have been made so by a command of the stage: only an older version is proof.
                        compared.forget_wrong_but_older();
                    }
                    // Commands of the stage move files, and give them other names.
                    let files = selected(taken, state);
                    let left: Vec<&str> = files.into_iter().filter(|path| !compared.held.contains_key(*path)).collect();
                    compared.add(anywhere(self.image, layer, &left, state)?);
                    state.learn(&compared);
                    result.add(compared);
                }
            }
            stage = match view.environment.base(at) {
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

/// The steps that made the image, from its base up: those of the target's stage, and of the stages that it is made from.
fn steps_of_image<'s, 'b, 'v>(view: Option<&View<'_>>, steps: &'s [StepUses<'b, 'v>]) -> Vec<&'s StepUses<'b, 'v>> {
    let Some(view) = view else {
        // Without its Dockerfile it is known only where the build has one stage.
        let mut words: Vec<_> = steps.iter().map(|step| &step.step.parts.stage).collect();
        words.dedup();
        let mut found: Vec<_> = if words.len() == 1 { steps.iter().collect() } else { Vec::new() };
        found.sort_by_key(|step| step.step.parts.number);
        return found;
    };
    let mut stages: Vec<usize> = view.environment.target().ok().flatten().into_iter().collect();
    while let Some(Base::Stage(base)) = stages.last().and_then(|stage| view.environment.base(*stage))
        && !stages.contains(base)
    {
        stages.push(*base);
    }
    stages.reverse();
    // What an ONBUILD of the base image does stands in no line of the Dockerfile.
    let place = |step: &StepUses<'_, '_>| {
        let stage = step.place.map_or_else(|| view.stage_of(step.step), |place| Some(place.stage))?;
        let rank = stages.iter().position(|known| *known == stage)?;
        Some((rank, step.step.parts.number))
    };
    let mut found: Vec<_> = steps.iter().filter_map(|step| Some((place(step)?, step))).collect();
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, step)| step).collect()
}

/// The files of a context that a command takes, those with content.
fn selected<'s>(taken: &Use, state: &'s ContextState) -> Vec<&'s str> {
    let files = state.listing.entries.iter().filter(|entry| entry.has_content());
    files.map(|entry| entry.path.as_str()).filter(|path| taken.selection.selects(path)).collect()
}

/// Says whether an entry of the history is that of a RUN: `RUN /bin/sh -c make`, `RUN |1 V=2 /bin/sh -c make` (BuildKit,
/// `dockerfile2llb/convert.go`, `dispatchRun`), `/bin/sh -c make` (the legacy builder). `commands` are its
/// texts in the Dockerfile.
fn ran(image: &Image, entry: usize, step: &Step, commands: &[String]) -> bool {
    let Some(made) = image.history.get(entry) else {
        return false;
    };
    let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    let held = words(&made.text);
    let ends_with = |text: &str| {
        let text = words(text);
        !text.is_empty() && held.ends_with(&text)
    };
    let shown = step.instruction().split_whitespace().skip(1).skip_while(|word| word.starts_with("--"));
    let shown = shown.collect::<Vec<_>>().join(" ");
    commands.iter().any(|command| ends_with(command)) || ends_with(&shown)
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
