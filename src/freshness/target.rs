//! One target of one build: its steps, the contexts that they take from, and the verdicts.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use crate::build::{Build, Format, Kind, Step};
use crate::evidence::build_command::BuildCommand;
use crate::evidence::build_target::BuildTarget;
use crate::evidence::dockerfile::Dockerfile;
use crate::evidence::dockerfile::steps::Agreement;

use super::judge::Judge;
use super::key::{KeyMaker, Sharing};
use super::local::ContextState;
use super::plan::{self, Located, Source, Use, View};
use super::uses::{context_key, use_by_log};
use super::verdict::Verdict;

/// Keys that syncs of the build have used so far: a second use of one runs at the same time.
pub(super) type SeenKeys = Vec<(String, PathBuf)>;

/// A context that a step may take from.
pub(super) enum Context {
    Local(Box<ContextState>),
    /// It comes as a whole and is compared by content: why.
    Whole(&'static str),
    /// It should be local and cannot be read: why.
    Unreadable(String),
}

/// The contexts of a target by name; the main one has none.
pub(super) type Contexts = BTreeMap<Option<String>, Context>;

/// A step with its command and what that takes.
pub(super) struct StepUses<'b, 'v> {
    pub(super) step: &'b Step,
    pub(super) place: Option<Located>,
    known: &'v [Use],
    by_log: Vec<Use>,
}

impl StepUses<'_, '_> {
    pub(super) fn uses(&self) -> impl Iterator<Item = &Use> {
        self.known.iter().chain(&self.by_log)
    }

    /// What only the log says that it takes: the Dockerfile does not have the step.
    pub(super) fn by_log(&self) -> &[Use] {
        &self.by_log
    }
}

impl Judge<'_> {
    #[expect(clippy::too_many_arguments, reason = "the place of a target in its build")]
    pub(super) fn target(
        &mut self,
        number: usize,
        build: &Build,
        command: &BuildCommand,
        target: &BuildTarget,
        only: bool,
        names: &[&str],
        seen: &mut SeenKeys,
    ) {
        let sharing = Sharing::of(Some(command), build);
        let keys = KeyMaker::new(sharing, self.input.builder, Some(command), build, self.input.env);
        let source = self.input.sources.of(target);
        let on_disk = match &*source {
            Source::Read(bytes, _) => match Dockerfile::parse(bytes) {
                Ok(file) => Some(file),
                Err(error) => {
                    self.note(format!("the Dockerfile cannot be read as it is now: {error}"));
                    None
                }
            },
            Source::Missing(why) => {
                self.note(why.clone());
                None
            }
        };
        // Docker 20.10 syncs the Dockerfile as it syncs the context, and can so use an old one.
        let old = if sharing == Sharing::TypedPath { self.dockerfile_sync(number, build, target, &source, &keys, only) } else { None };
        let old_file = old.as_ref().and_then(|old| Dockerfile::parse(old.as_deref()?).ok());
        let options = plan::options(target);
        let disk_view = on_disk.as_ref().map(|file| View::new(file, &options));
        let old_view = old_file.as_ref().map(|file| View::new(file, &options));
        let steps: Vec<&Step> =
            build.steps.iter().filter(|step| step.parts.kind == Kind::Instruction && plan::belongs(step, target, only)).collect();
        let view = if old.is_some() { old_view.as_ref() } else { disk_view.as_ref() };
        let view = view.filter(|view| old.is_some() || view.agrees(build, &steps, names));
        if view.is_none() && old.is_none() && disk_view.is_some() {
            let file = target.dockerfile_path.as_ref().map_or_else(|| "its Dockerfile".to_owned(), |path| path.display().to_string());
            self.note(format!(
                "build {}: {file} does not have the steps of the log: it changed since, or another one was built (--file); what the steps take is \
                 read from the log",
                number + 1
            ));
        }

        let uses: Vec<StepUses<'_, '_>> = steps.iter().map(|step| uses_of(build, step, target, view, names)).collect();
        let mut contexts = Contexts::new();
        // A build that failed has synced its context, though the steps that were to take from it stand not in the log.
        let synced = build.steps.iter().filter(|step| step.parts.kind == Kind::Context && plan::belongs(step, target, only));
        let synced: Vec<Option<String>> = synced.map(|step| plan::context_name(step).map(str::to_owned)).collect();
        let synced = synced.into_iter().filter(|name| plan::context(target, name.as_deref()).is_some() && view.is_some());
        let taken = uses.iter().flat_map(StepUses::uses).filter_map(|taken| context_key(&taken.origin));
        for name in taken.chain(synced) {
            if let Entry::Vacant(place) = contexts.entry(name) {
                let name = place.key().clone();
                place.insert(self.context(number, build, target, only, name.as_deref(), view, &uses, &keys, seen));
            }
        }
        let shown = self.by_image(number, build, target, view, &uses, &mut contexts);
        self.correct(&contexts);
        self.layers.extend(shown.ran.iter().map(|(index, layer)| ((number, *index), layer.clone())));
        let mut worst: BTreeMap<usize, (Verdict, String)> = BTreeMap::new();
        for step in &uses {
            for taken in step.uses() {
                let Some(state) = context_key(&taken.origin).and_then(|name| contexts.get(&name)) else {
                    continue;
                };
                let judged = match shown.steps.get(&step.step.index) {
                    Some(by_layer) if !taken.mount => self.by_layer(number, step, taken, by_layer, state, target),
                    _ => self.judge_use(number, step.step, taken, state, target, step.place),
                };
                if let Some(place) = step.place.filter(|_| judged.0 > Verdict::Unknown) {
                    let entry = worst.entry(place.stage).or_insert_with(|| judged.clone());
                    if judged.0 > entry.0 {
                        *entry = judged;
                    }
                }
            }
            if let Some(disk) = &disk_view {
                self.old_dockerfile_step(number, step.step, target, disk, old.is_some(), sharing);
            }
        }
        let located: Vec<(&Step, Option<Located>)> = uses.iter().map(|step| (step.step, step.place)).collect();
        if let Some(view) = view {
            self.stages(number, target, view, &located, &shown, &mut worst);
            self.old_bases(number, command, target, view, &located, &shown, sharing);
        }
        self.cache_mounts(number, target, &contexts, &located);
        self.tree_findings(number, build, target, &contexts);
    }
}

/// Finds the command of a step and what it takes: by the Dockerfile where it agrees with the log, else as the log alone tells it.
fn uses_of<'b, 'v>(build: &Build, step: &'b Step, target: &BuildTarget, view: Option<&'v View<'_>>, names: &[&str]) -> StepUses<'b, 'v> {
    let place = view.and_then(|view| view.locate(build, step, names));
    let agrees =
        |place: &Located| place.agreement != Agreement::Number || build.format == Format::Legacy || step.parts.keyword == Some("RUN");
    let (known, by_log) = match (view, place.filter(agrees)) {
        (Some(view), Some(place)) => (view.uses(place.stage, place.line), Vec::new()),
        _ => (<&[Use]>::default(), use_by_log(step, target)),
    };
    StepUses { step, place, known, by_log }
}
