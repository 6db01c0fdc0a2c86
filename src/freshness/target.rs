//! One target of one build: its syncs and the verdicts of its steps.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use crate::build::{Build, Format, Kind, Outcome, Status, Step};
use crate::evidence::build_command::BuildCommand;
use crate::evidence::build_target::{BuildTarget, ContextSource};
use crate::evidence::context::content::{ContentId, identify};
use crate::evidence::context::transfer::Figure;
use crate::evidence::context::{self, Entry, follow};
use crate::evidence::dockerfile::Dockerfile;
use crate::evidence::dockerfile::dependencies::{Origin, Via};
use crate::evidence::dockerfile::environment::Base;
use crate::evidence::dockerfile::steps::Agreement as StepAgreement;
use crate::evidence::glob::CopySelection;
use crate::evidence::ignore::IgnoreRules;
use crate::finding::{Confidence, Severity};

use super::judge::{Judge, Raised, Said, SyncRecord, first_line};
use super::key::{KeyMaker, Sharing};
use super::local::{ContextState, Judged, count, judge_local, select, short, taken_files};
use super::past::Copies;
use super::plan::{self, Located, Source, Use, View};
use super::sync::{Agreement, Held, Listing, Replayed, replay};
use super::tree::{Difference, Reference, changed_since};
use super::verdict::{RunRef, Verdict};

/// Keys that syncs of the build have used so far: a second use of one runs at the same time.
pub(super) type SeenKeys = Vec<(String, PathBuf)>;

/// A context that a step may take from.
enum Context {
    Local(Box<ContextState>),
    /// It comes as a whole and is compared by content: why.
    Whole(&'static str),
    /// It should be local and cannot be read: why.
    Unreadable(String),
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

        let mut contexts: BTreeMap<Option<String>, Context> = BTreeMap::new();
        let mut worst: BTreeMap<usize, (Verdict, String)> = BTreeMap::new();
        let mut located: Vec<(&Step, Option<Located>)> = Vec::new();
        for step in &steps {
            let place = view.and_then(|view| view.locate(build, step, names));
            located.push((step, place));
            let by_log;
            let uses: &[Use] = match (view, place) {
                (Some(view), Some(place))
                    if place.agreement != StepAgreement::Number || build.format == Format::Legacy || step.parts.keyword == Some("RUN") =>
                {
                    view.uses(place.stage, place.line)
                }
                _ => {
                    by_log = use_by_log(step, target);
                    by_log.as_slice()
                }
            };
            for taken in uses {
                let Some(name) = context_key(&taken.origin) else {
                    continue;
                };
                if !contexts.contains_key(&name) {
                    let state = self.context(number, build, target, only, name.as_deref(), view, &steps, &keys, seen);
                    contexts.insert(name.clone(), state);
                }
                if let Some(state) = contexts.get(&name) {
                    let judged = self.judge_use(number, step, taken, state, target, place);
                    if let Some(place) = place
                        && judged.0 > Verdict::Unknown
                    {
                        let entry = worst.entry(place.stage).or_insert_with(|| judged.clone());
                        if judged.0 > entry.0 {
                            *entry = judged;
                        }
                    }
                }
            }
            if let Some(disk) = &disk_view {
                self.old_dockerfile_step(number, step, target, disk, old.is_some(), sharing);
            }
        }
        if let Some(view) = view {
            self.stages(number, target, view, &located, &mut worst);
            self.old_bases(number, command, target, view, &located, sharing);
            let is_last = number + 1 == self.input.builds.len();
            if let Some(image) = self.input.image.filter(|_| is_last && only) {
                let context = |taken: &Use| match contexts.get(&context_key(&taken.origin)?) {
                    Some(Context::Local(state)) => Some(&**state),
                    _ => None,
                };
                self.by_image(number, target, image, view, &located, &context);
            }
        }
        self.cache_mounts(number, target, &contexts, &located);
        self.tree_findings(number, build, target, &contexts);
    }

    /// A tool that builds again what is newer than its product finds nothing newer where times are set.
    fn cache_mounts(
        &mut self,
        number: usize,
        target: &BuildTarget,
        contexts: &BTreeMap<Option<String>, Context>,
        located: &[(&Step, Option<Located>)],
    ) {
        if !contexts.values().any(|context| matches!(context, Context::Local(state) if state.set_times)) {
            return;
        }
        for (step, place) in located {
            if step.parts.keyword != Some("RUN") || !step.instruction().contains("--mount=type=cache") {
                continue;
            }
            let because = "its layer is what the command made; what is in its cache mount, the builder does not look at";
            self.verdict(number, step, Said::new(Verdict::Fresh, because));
            let raised = Raised {
                rule: "cache-mount-mtime",
                severity: Severity::Warning,
                confidence: Confidence::Possible,
                message: format!("a cache mount and times that a script has set: {}", first_line(step.instruction())),
                evidence: vec!["files of the context have a time without parts of a second, the same for all of them".to_owned()],
                files: Vec::new(),
                help: "leave the files' times alone, or let the tool compare contents: what make, cargo and others find up to date by time may be old"
                    .to_owned(),
                location: place.and_then(|place| self.location(target, place.line)),
            };
            self.raise(number, step, raised);
        }
    }

    /// Replays the sync of the Dockerfile. Gives the bytes of the old one where the builder used an old one (`Some(None)` where they
    /// cannot be had).
    fn dockerfile_sync(
        &mut self,
        number: usize,
        build: &Build,
        target: &BuildTarget,
        source: &Source,
        keys: &KeyMaker,
        only: bool,
    ) -> Option<Option<Vec<u8>>> {
        let Source::Read(_, Some(path)) = source else {
            return None;
        };
        let key = keys.key("dockerfile", &target.context)?;
        let (dir, name) = (path.parent()?, path.file_name()?.to_str()?);
        let patterns = [name.to_owned(), format!("{name}.dockerignore")];
        let entries = context::list(dir, &IgnoreRules::default(), Some(&patterns)).ok()?;
        let step = build.steps.iter().find(|step| {
            step.parts.kind == Kind::Internal && step.name.contains("load build definition from") && plan::belongs(step, target, only)
        });
        let figure = step.and_then(|step| figure(build, step));
        let copies = self.copies(&key);
        let reference = self.tree(dir);
        let contents = identify(dir, &entries, reference.as_ref().map(|reference| &reference.work), &known(&copies));
        let listing = Rc::new(Listing::new(entries, contents));
        let replayed = replay(&copies.snapshots, &listing, figure, false);
        self.record(&key, number, target, reference.as_deref(), dir, &listing, &replayed);
        let (held, disk) = (replayed.held.get(name)?, listing.contents.get(name)?);
        if held.holds(disk) != Some(false) || replayed.agreement == Agreement::Unchecked {
            return None;
        }
        let id = match held {
            Held::Known(ContentId::Git(id)) => id,
            _ => return Some(None),
        };
        Some(reference.and_then(|reference| reference.work.repository().blobs().ok()?.read(id).ok()))
    }

    /// A step whose text the Dockerfile does not hold comes from another Dockerfile.
    fn old_dockerfile_step(&mut self, number: usize, step: &Step, target: &BuildTarget, disk: &View<'_>, old: bool, sharing: Sharing) {
        if !old || sharing != Sharing::TypedPath || !step.is_command() || disk.has_step(step.instruction()) {
            return;
        }
        let because = "the builder used an old Dockerfile: the one on disk has no such step, and its listing equals that of the old one";
        self.verdict(number, step, Said::new(Verdict::Stale, because));
        let raised = Raised {
            rule: "stale-dockerfile",
            severity: Severity::Error,
            confidence: Confidence::Certain,
            message: format!("this step is not in the Dockerfile: {}", first_line(step.instruction())),
            evidence: vec!["docker 20.10 compares the Dockerfile with its copy by size and time alone, and both were the same".to_owned()],
            files: target.dockerfile_path.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            help: "touch the Dockerfile, or docker builder prune -f, then build again; stop setting times before the build".to_owned(),
            location: None,
        };
        self.raise(number, step, raised);
    }

    /// Lists a context and replays its sync.
    #[expect(clippy::too_many_arguments, reason = "the place of a context in its build")]
    fn context(
        &mut self,
        number: usize,
        build: &Build,
        target: &BuildTarget,
        only: bool,
        name: Option<&str>,
        view: Option<&View<'_>>,
        steps: &[&Step],
        keys: &KeyMaker,
        seen: &mut SeenKeys,
    ) -> Context {
        let root = match plan::context(target, name) {
            Some(ContextSource::Dir { path, .. }) => path.clone(),
            Some(ContextSource::Stdin) => {
                return Context::Whole("the context came through standard input as a whole, and its content was compared");
            }
            Some(ContextSource::Remote(_)) => {
                return Context::Whole("the builder fetched the context itself, at the commit that the log names");
            }
            Some(_) => return Context::Whole("it is taken from an image or another target, by content"),
            None => return Context::Unreadable("the command names no such context".to_owned()),
        };
        if !root.is_dir() {
            return Context::Unreadable(format!("the context {} is not here", root.display()));
        }
        let dockerfile = if name.is_none() { target.dockerfile_path.as_deref() } else { None };
        let rules = match context::ignore_rules(&root, dockerfile) {
            Ok((rules, _)) => rules,
            Err(error) => return Context::Unreadable(error.to_string()),
        };
        let origin = name.map_or(Origin::Context, |name| Origin::NamedContext(name.to_owned()));
        let legacy = build.format == Format::Legacy;
        let followed = match view {
            _ if legacy => None,
            Some(view) => view.followed(&origin),
            // Without a Dockerfile the log's own steps say what was taken.
            None => {
                let uses: Vec<Use> =
                    steps.iter().flat_map(|step| use_by_log(step, target)).filter(|taken| taken.origin == origin).collect();
                follow::followed_paths(uses.iter().flat_map(|taken| taken.sources.iter().map(String::as_str)))
            }
        };
        let include = followed.and_then(|paths| follow::resolve(&root, &paths));
        let entries = match context::list(&root, &rules, include.as_deref()) {
            Ok(entries) => entries,
            Err(error) => return Context::Unreadable(error.to_string()),
        };
        let key = if legacy { None } else { keys.key(name.unwrap_or("context"), &target.context) };
        let copies = key.as_deref().map(|key| self.copies(key)).unwrap_or_default();
        let reference = self.tree(&root);
        let contents = identify(&root, &entries, reference.as_ref().map(|reference| &reference.work), &known(&copies));
        let listing = Rc::new(Listing::new(entries, contents));
        let step = build
            .steps
            .iter()
            .find(|step| step.parts.kind == Kind::Context && plan::context_name(step) == name && plan::belongs(step, target, only));
        let figure = step.and_then(|step| figure(build, step));
        let replayed = key.as_ref().map(|key| {
            // One transfer can serve several targets of a build; its second use is no second sync.
            let again = step.is_none() && seen.iter().any(|(used, dir)| used == key && *dir == root);
            let beside = seen.iter().any(|(used, _)| used == key);
            seen.push((key.clone(), root.clone()));
            let mut replayed = replay(&copies.snapshots, &listing, figure, beside);
            if again {
                replayed.after.clone_from(&copies.snapshots);
            }
            replayed
        });
        if let (Some(key), Some(replayed)) = (&key, &replayed) {
            self.record(key, number, target, reference.as_deref(), &root, &listing, replayed);
        }
        let prefix = reference.as_ref().and_then(|reference| reference.work.prefix(&root)).unwrap_or_default();
        let differences = reference.as_ref().map(|reference| reference.differences(&prefix, &listing.contents)).unwrap_or_default();
        let recorded = copies.snapshots.iter().flat_map(|copy| copy.values()).map(|held| &held.entry);
        let set_times = has_set_times(listing.entries.iter()) || has_set_times(recorded);
        let (baseline, changed) = self.baseline(reference.as_deref(), &prefix);
        Context::Local(Box::new(ContextState {
            root,
            rules,
            listing,
            replayed,
            figure,
            reference,
            differences,
            from: copies.from,
            changed,
            baseline,
            set_times,
        }))
    }

    /// What the tree is compared with, and which files below the prefix changed since.
    fn baseline(&self, reference: Option<&Reference>, prefix: &[u8]) -> (Option<RunRef>, Option<HashSet<String>>) {
        let env = |name: &str| (self.input.env)(name).filter(|value| !value.is_empty() && !value.bytes().all(|b| b == b'0'));
        let since = self.input.since.map(|since| RunRef { run: None, commit: Some(since.to_owned()) });
        let from_ci = || env("CI_COMMIT_BEFORE_SHA").map(|commit| RunRef { run: None, commit: Some(commit) });
        let Some(baseline) = since.or_else(|| self.last_run.clone()).or_else(from_ci) else {
            return (None, None);
        };
        let changed = reference.zip(baseline.commit.as_deref()).and_then(|(reference, commit)| {
            changed_since(reference.work.repository(), &reference.work, commit, &reference.work.head, prefix)
        });
        (Some(baseline), changed)
    }

    #[expect(clippy::too_many_arguments, reason = "what is recorded of a sync")]
    fn record(
        &mut self,
        key: &str,
        build: usize,
        target: &BuildTarget,
        reference: Option<&Reference>,
        root: &std::path::Path,
        listing: &Rc<Listing>,
        replayed: &Replayed,
    ) {
        self.set_copies(key, replayed.after.clone());
        let prefix = reference.and_then(|reference| reference.work.prefix(root)).unwrap_or_default();
        self.report.syncs.retain(|sync| sync.key != key || sync.target != target.name);
        self.report.syncs.push(SyncRecord {
            key: key.to_owned(),
            build,
            target: target.name.clone(),
            prefix: String::from_utf8_lossy(&prefix).into_owned(),
            listing: listing.clone(),
            copies: replayed.after.clone(),
        });
        // Of one key the state after the last sync counts, whichever target it was.
        for sync in self.report.syncs.iter_mut().filter(|sync| sync.key == key) {
            sync.copies.clone_from(&replayed.after);
        }
    }

    /// Judges what one step takes from one context, and says so.
    fn judge_use(
        &mut self,
        number: usize,
        step: &Step,
        taken: &Use,
        context: &Context,
        target: &BuildTarget,
        place: Option<Located>,
    ) -> (Verdict, String) {
        let ended = matches!(step.status, Status::Done | Status::Cached);
        let judged = match context {
            _ if !ended => Judged::plain(Verdict::Unknown, "the step did not end, so that no image holds it"),
            Context::Whole(why) => Judged::plain(Verdict::Fresh, why),
            Context::Unreadable(why) => self.without_tree(step, taken, why),
            Context::Local(state) => judge_local(step, taken, state),
        };
        let result = (judged.verdict, judged.because.clone());
        let report = judged.verdict != Verdict::Fresh || !taken.mount;
        if report {
            let baseline = match context {
                Context::Local(state) => judged.baseline.clone().or_else(|| state.baseline.clone()),
                _ => judged.baseline.clone().or_else(|| self.last_run.clone()),
            };
            let mut said = Said::new(judged.verdict, &judged.because);
            (said.baseline, said.changed_files) = (baseline, judged.files.clone());
            self.verdict(number, step, said);
        }
        if let Some(rule) = judged.rule {
            let (severity, confidence) = match judged.verdict {
                Verdict::Stale => (Severity::Error, judged.confidence),
                Verdict::Fresh => (Severity::Note, Confidence::Possible),
                _ => (Severity::Warning, Confidence::Possible),
            };
            let raised = Raised {
                rule,
                severity,
                confidence,
                message: format!("{}: {}", judged.headline, first_line(step.instruction())),
                evidence: judged.evidence,
                files: judged.files,
                help: judged.help.to_owned(),
                location: place.and_then(|place| self.location(target, place.line)),
            };
            self.raise(number, step, raised);
        }
        result
    }

    /// Judges a step whose context is not here: by the commit alone.
    fn without_tree(&mut self, step: &Step, taken: &Use, why: &str) -> Judged {
        let mut judged = Judged::plain(Verdict::Unknown, why);
        let cwd = self.input.cwd.to_owned();
        let reference = self.tree(&cwd);
        if let Some(reference) = reference.filter(|reference| reference.known) {
            let to = reference.commit.clone();
            let prefix = reference.work.prefix(&cwd).unwrap_or_default();
            let baseline =
                self.input.since.map(|since| RunRef { run: None, commit: Some(since.to_owned()) }).or_else(|| self.last_run.clone());
            let from = baseline.as_ref().and_then(|baseline| baseline.commit.clone());
            let changed = from.and_then(|from: String| changed_since(reference.work.repository(), &reference.work, &from, &to, &prefix));
            if let Some(changed) = changed {
                judged.files = select(taken, &taken_files(taken, &cwd), changed.iter().map(String::as_str));
                judged.baseline = baseline;
                (judged.verdict, judged.because) = match (judged.files.is_empty(), step.status) {
                    (true, _) => {
                        (Verdict::Fresh, format!("{why}; the commit changed nothing that this step takes since the last recorded run"))
                    }
                    (false, Status::Cached) => {
                        judged.rule = Some("stale-copy");
                        "another tree than the one looked at may have been built".clone_into(&mut judged.headline);
                        judged.help = "build the directory that holds the commit, or give it with --context";
                        (
                            Verdict::Suspect,
                            format!("CACHED, but the commit changed {} since the last recorded run, and {why}", count(&judged.files)),
                        )
                    }
                    (false, _) => (Verdict::Unknown, format!("it ran, but {why}")),
                };
                return judged;
            }
        }
        if step.status == Status::Done {
            judged.verdict = Verdict::Fresh;
            judged.because = format!("it ran; {why}");
        }
        judged
    }

    /// Commands that take from a stage that holds old code hold it too.
    fn stages(
        &mut self,
        number: usize,
        target: &BuildTarget,
        view: &View<'_>,
        located: &[(&Step, Option<Located>)],
        worst: &mut BTreeMap<usize, (Verdict, String)>,
    ) {
        let stages = view.environment.file().stages.len();
        let stage_name = |index: usize| match view.environment.file().stages.get(index).and_then(|stage| stage.name.clone()) {
            Some(name) => name,
            None => format!("stage-{index}"),
        };
        for stage in 0..stages {
            for dependency in view.environment.dependencies(stage) {
                let Origin::Stage(from) = dependency.origin else {
                    continue;
                };
                let Some((verdict, _)) = worst.get(&from).cloned() else {
                    continue;
                };
                let because = format!("it takes from {}, which holds code that is {}", stage_name(from), verdict.name());
                if dependency.via != Via::From {
                    let step =
                        located.iter().find(|(_, place)| place.is_some_and(|place| place.stage == stage && place.line == dependency.line));
                    if let Some((step, place)) = step {
                        // The old code may leave what is taken as it is, so nothing more can be said than that.
                        self.verdict(number, step, Said::new(Verdict::Suspect, &because));
                        let raised = Raised {
                            rule: "stale-copy",
                            severity: Severity::Warning,
                            confidence: Confidence::Likely,
                            message: format!("what it takes was made of old code: {}", first_line(step.instruction())),
                            evidence: vec![because.clone()],
                            files: Vec::new(),
                            help: "see the finding on the step of that stage".to_owned(),
                            location: place.and_then(|place| self.location(target, place.line)),
                        };
                        self.raise(number, step, raised);
                    }
                }
                worst.entry(stage).or_insert((Verdict::Suspect, because));
            }
        }
    }

    /// Base images that a recorded run built from files that have changed since, and images that docker 20.10 takes from its store.
    fn old_bases(
        &mut self,
        number: usize,
        command: &BuildCommand,
        target: &BuildTarget,
        view: &View<'_>,
        located: &[(&Step, Option<Located>)],
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
            let Some(changed) = self.changed_base(image) else {
                continue;
            };
            let because = format!("its base {image} was built before {} changed", count(&changed));
            let mut said = Said::new(Verdict::Suspect, &because);
            said.changed_files.clone_from(&changed);
            let steps = located.iter().filter(|(_, place)| place.is_some_and(|place| place.stage == stage));
            for (step, place) in steps {
                match step.parts.keyword {
                    Some("FROM") => {
                        let raised = Raised {
                            rule: "stale-base",
                            severity: Severity::Warning,
                            confidence: Confidence::Likely,
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
    fn changed_base(&mut self, image: &str) -> Option<Vec<String>> {
        let built = self.input.past.image(image)?;
        let cwd = self.input.cwd.to_owned();
        let reference = self.tree(&cwd)?;
        let expected = reference.expected();
        let changed = built.files.iter().filter(|(path, content)| {
            let full = format!("{}{path}", built.prefix);
            match (expected.get(full.as_bytes()), content) {
                (Some(entry), ContentId::Git(id)) => entry.is_blob() && entry.id != *id,
                _ => false,
            }
        });
        let changed: Vec<String> = changed.map(|(path, _)| format!("{}{path}", built.prefix)).collect();
        (!changed.is_empty()).then_some(changed)
    }

    /// What there is to say of the tree as a whole: another commit, files that are not committed.
    fn tree_findings(&mut self, number: usize, build: &Build, target: &BuildTarget, contexts: &BTreeMap<Option<String>, Context>) {
        if build.outcome == Outcome::Canceled {
            return;
        }
        for context in contexts.values() {
            let Context::Local(state) = context else {
                continue;
            };
            let Some(reference) = &state.reference else {
                continue;
            };
            let in_log = crate::finding::InLog { build: number, index: None, line: Some(build.lines.0), step: None, status: None };
            if !reference.is_head() && !self.has_finding(number, "commit-mismatch", None) {
                let head = &reference.work.head;
                let raised = Raised {
                    rule: "commit-mismatch",
                    severity: Severity::Error,
                    confidence: Confidence::Certain,
                    message: format!("the tree that was built is at {}, not at {}", short(head), short(&reference.commit)),
                    evidence: vec![format!("HEAD of {} is {head}", reference.work.root().display())],
                    files: Vec::new(),
                    help: "check the commit out in the directory that is built, before the build".to_owned(),
                    location: None,
                };
                self.raise_at(in_log.clone(), raised);
            }
            let dirty: Vec<String> = state
                .differences
                .iter()
                .filter(|(path, difference)| **difference == Difference::Dirty && !state.rules.leaves_out(path))
                .map(|(path, _)| path.clone())
                .collect();
            if !dirty.is_empty() && !self.has_finding(number, "dirty-tree", target.name.as_deref()) {
                let raised = Raised {
                    rule: "dirty-tree",
                    severity: Severity::Warning,
                    confidence: Confidence::Certain,
                    message: format!("{} of the context {} not committed", count(&dirty), if dirty.len() == 1 { "is" } else { "are" }),
                    evidence: vec![format!("git status in {}", state.root.display())],
                    files: dirty,
                    help: "commit, or build in a clean checkout; keep what is no source out with .dockerignore".to_owned(),
                    location: None,
                };
                self.raise_at(in_log.clone(), raised);
            }
        }
    }

    fn has_finding(&self, build: usize, rule: &str, _target: Option<&str>) -> bool {
        let here = |finding: &crate::finding::Finding| {
            finding.rule == rule && finding.in_log.as_ref().is_some_and(|at| at.build == build && at.index.is_none())
        };
        self.report.findings.iter().any(here)
    }
}

/// What a step takes as the log alone tells it.
fn use_by_log(step: &Step, target: &BuildTarget) -> Vec<Use> {
    let origin = match step.parts.from.as_deref() {
        None => Origin::Context,
        Some(from) if target.contexts.contains_key(from) => Origin::NamedContext(from.to_owned()),
        Some(_) => return Vec::new(),
    };
    if !matches!(step.parts.keyword, Some("COPY" | "ADD")) || (origin == Origin::Context && !step.copies_from_context()) {
        return Vec::new();
    }
    let sources: Vec<String> = step.parts.sources.iter().filter(|source| !crate::build::is_remote(source)).cloned().collect();
    let selection = CopySelection::new(sources.iter().map(String::as_str), [], step.name.contains(" --parents")).ok();
    selection.map(|selection| Use { origin, sources, selection, mount: false }).into_iter().collect()
}

fn figure(build: &Build, step: &Step) -> Option<Figure> {
    if step.status != Status::Done || build.interleaved {
        return None;
    }
    let bytes = step.transferred_bytes?;
    Some(if build.format == Format::RawJson { Figure::exact(bytes) } else { Figure::rounded(bytes) })
}

/// Names the content of files that no sign of the file system says have changed since they were recorded.
fn known(copies: &Copies) -> impl Fn(&Entry) -> Option<ContentId> + use<> {
    /// A change this close to the recording may carry the time of what was recorded.
    const RACY_NS: i64 = 2_000_000_000;
    let recorded = copies.recorded_ns;
    let disk: std::collections::HashMap<String, (u64, i64, ContentId)> =
        copies.disk.iter().map(|(path, inode, ctime, content)| (path.clone(), (*inode, *ctime, content.clone()))).collect();
    move |entry: &Entry| {
        let (inode, ctime, content) = disk.get(&entry.path)?;
        let settled = entry.ctime_ns.saturating_add(RACY_NS) < recorded;
        (*inode != 0 && *inode == entry.inode && *ctime == entry.ctime_ns && settled).then(|| content.clone())
    }
}

/// The name of a context: the main one has none. `None` for what is no context.
fn context_key(origin: &Origin) -> Option<Option<String>> {
    match origin {
        Origin::Context => Some(None),
        Origin::NamedContext(name) => Some(Some(name.clone())),
        Origin::Stage(_) | Origin::Image(_) => None,
    }
}

/// Says whether a script has set the times of these files: all of two or more have one time, without parts of a second.
fn has_set_times<'e>(entries: impl Iterator<Item = &'e Entry>) -> bool {
    let mut files = entries.filter(|entry| entry.has_content());
    let Some(first) = files.next().filter(|first| !first.has_ordinary_mtime()) else {
        return false;
    };
    let mut more = files.peekable();
    more.peek().is_some() && more.all(|entry| entry.mtime_ns == first.mtime_ns)
}
