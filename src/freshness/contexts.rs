//! The local contexts of a target: listed, compared with the commit, and their syncs replayed.

use std::cell::LazyCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use crate::build::{Build, Format, Kind, Status, Step};
use crate::evidence::build_target::{BuildTarget, ContextSource};
use crate::evidence::context::content::{ContentId, identify};
use crate::evidence::context::transfer::{self, Figure};
use crate::evidence::context::work_tree::Changes;
use crate::evidence::context::{self, Entry, follow};
use crate::evidence::dockerfile::dependencies::Origin;
use crate::evidence::ignore::IgnoreRules;
use crate::evidence::image_name;

use super::by_image::service_of;
use super::judge::{Judge, SyncRecord};
use super::key::KeyMaker;
use super::local::{Baseline, ContextState};
use super::past::Copies;
use super::plan::{self, View};
use super::sync::{Listing, Replayed, Snapshot, correct, replay};
use super::target::{Context, Contexts, SeenKeys, StepUses};
use super::tree::{Reference, changed_since};
use super::verdict::RunRef;

impl Judge<'_> {
    /// Lists a context and replays its sync.
    #[expect(clippy::too_many_arguments, reason = "the place of a context in its build")]
    pub(super) fn context(
        &mut self,
        number: usize,
        build: &Build,
        target: &BuildTarget,
        only: bool,
        name: Option<&str>,
        view: Option<&View<'_>>,
        steps: &[StepUses<'_, '_>],
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
        let (mut rules, ignore_file) = match context::ignore_rules(&root, dockerfile) {
            Ok(read) => read,
            Err(error) => return Context::Unreadable(error.to_string()),
        };
        let old = self.old_ignore_rules(number, build, target, name, &root, ignore_file.as_deref(), keys, only);
        let on_disk = old.map(|old| std::mem::replace(&mut rules, old));
        let origin = name.map_or(Origin::Context, |name| Origin::NamedContext(name.to_owned()));
        let legacy = build.format == Format::Legacy;
        // Where the Dockerfile does not have a step, the log itself says what was taken: all of them, or those of a base image's ONBUILD.
        let by_log = steps.iter().flat_map(StepUses::by_log).filter(|taken| taken.origin == origin);
        let by_log: Vec<&str> = by_log.flat_map(|taken| taken.sources.iter().map(String::as_str)).collect();
        let followed = match view {
            _ if legacy => None,
            Some(view) => view.followed(&origin, &by_log),
            None => follow::followed_paths(by_log),
        };
        let include = followed.and_then(|paths| follow::resolve(&root, &paths));
        let entries = match context::list(&root, &rules, include.as_deref()) {
            Ok(entries) => entries,
            Err(error) => return Context::Unreadable(error.to_string()),
        };
        let misruled = on_disk.map_or_else(BTreeMap::new, |on_disk| misruled(&root, &on_disk, include.as_deref(), &entries));
        let key = if legacy { None } else { keys.key(name.unwrap_or("context"), &target.context) };
        let copies = key.as_deref().map(|key| self.copies(key)).unwrap_or_default();
        let reference = self.tree(&root);
        let contents = identify(&root, &entries, reference.as_ref().map(|reference| &reference.work), &known(&copies));
        let mut listing = Listing::new(entries, contents);
        let (reference, prefix, changes) = self.compared(reference, &root, &listing);
        let step = build
            .steps
            .iter()
            .find(|step| step.parts.kind == Kind::Context && plan::context_name(step) == name && plan::belongs(step, target, only));
        let mut figure = step.and_then(|step| figure(build, step));
        let log = self.log_in(&root, &listing);
        if let Some(log) = &log {
            let at = listing.forget_size(log);
            let growth = at.and_then(|at| Some((u64::try_from(at).ok()?, listing.entries.get(at)?))).map(|(at, entry)| {
                let written = self.input.log.zip(step).map_or(entry.size, |(path, step)| written_before(path, step.lines.1));
                transfer::growth(at, entry, written.min(entry.size))
            });
            figure = figure.map(|figure| figure.with_up_to(growth.unwrap_or_default()));
        }
        let listing = Rc::new(listing);
        let replayed = key.as_ref().map(|key| {
            // One transfer can serve several targets of a build; its second use is no second sync.
            let again = step.is_none() && seen.iter().any(|(used, dir)| used == key && *dir == root);
            let beside = seen.iter().any(|(used, _)| used == key);
            seen.push((key.clone(), root.clone()));
            let mut replayed = replay(&copies.snapshots, &listing, figure, beside);
            if step.is_some_and(|step| step.status != Status::Done) {
                replayed.cut_off(&copies.snapshots);
            }
            if again {
                replayed.after.clone_from(&copies.snapshots);
                replayed.used = 0;
            }
            replayed
        });
        if let (Some(key), Some(replayed)) = (&key, &replayed) {
            self.record(key, number, target, reference.as_deref(), &root, &listing, replayed);
        }
        let differences = reference.as_ref().map(|reference| reference.differences(&prefix, &changes, |path| listing.content(path)));
        let mut differences = differences.unwrap_or_default();
        let log_inside = log.is_some();
        if let Some(log) = log {
            let is_tracked = reference.as_ref().is_some_and(|reference| reference.tracks(&[&prefix, log.as_bytes()].concat()));
            if !is_tracked {
                differences.remove(&log);
            }
            self.note(format!(
                "the log {log} lies in the context that it is of, and grows while that is sent: write it elsewhere, or name it in .dockerignore; \
                 a COPY that takes it never comes from the cache"
            ));
        }
        let recorded = copies.snapshots.iter().flat_map(Snapshot::iter).map(|held| &*held.entry);
        let set_times = has_set_times(listing.iter().map(|(entry, _)| entry)) || has_set_times(recorded);
        let mut baseline = self.baseline(reference.as_deref(), &prefix, &changes, &copies.from);
        if let (Some(changed), Some(reference)) = (&baseline.changed, &reference) {
            self.note_changes(number, changed, reference, &prefix, &rules, ignore_file.as_deref());
        }
        // What is kept out of the context changes nothing in it.
        if let Some(changed) = &mut baseline.changed {
            changed.retain(|path| !rules.leaves_out(path));
        }
        Context::Local(Box::new(ContextState {
            root,
            rules,
            listing,
            replayed,
            figure,
            reference,
            differences,
            from: copies.from,
            baseline,
            set_times,
            shown: HashMap::new(),
            proved: HashMap::new(),
            has_image: false,
            misruled,
            log_inside,
            key,
        }))
    }

    /// Puts what the image proved of the builder's copies where the next build, and the record, find it.
    pub(super) fn correct(&mut self, contexts: &Contexts) {
        for context in contexts.values() {
            let Context::Local(state) = context else {
                continue;
            };
            let (Some(key), Some(replayed)) = (&state.key, state.replayed.as_ref().filter(|_| !state.proved.is_empty())) else {
                continue;
            };
            let mut copies = self.copies(key).snapshots;
            correct(&mut copies, replayed.used, &state.proved);
            if let Some(sync) = self.report.syncs.iter_mut().rfind(|sync| sync.key == *key) {
                sync.copies.clone_from(&copies);
            }
            self.set_copies(key, copies);
        }
    }

    /// The path of the log below a context, where it lies in it and is sent with it.
    fn log_in(&self, root: &Path, listing: &Listing) -> Option<String> {
        let root = root.canonicalize().ok()?;
        let below = self.input.log?.strip_prefix(&root).ok()?.to_str()?;
        let listed = listing.entries.iter().any(|entry| entry.path == below && entry.has_content());
        listed.then(|| below.to_owned())
    }

    /// The path of a context from the top of its tree, and what is not as HEAD has it below that.
    fn compared(&mut self, reference: Option<Rc<Reference>>, root: &Path, listing: &Listing) -> (Option<Rc<Reference>>, Vec<u8>, Changes) {
        let Some(reference) = reference else { return Default::default() };
        let prefix = reference.work.prefix(root).unwrap_or_default();
        match reference.work.changes_below(&prefix, listing.iter()) {
            Ok(changes) => (Some(reference), prefix, changes),
            Err(error) => {
                self.note(format!("git: {error}"));
                Default::default()
            }
        }
    }

    /// Keeps for the rules what changed, and which of it the ignore file keeps out. What git does not know is left to `git status`.
    fn note_changes(
        &mut self,
        number: usize,
        changed: &HashSet<String>,
        reference: &Reference,
        prefix: &[u8],
        rules: &IgnoreRules,
        ignore_file: Option<&Path>,
    ) {
        let mut paths: Vec<&String> = changed.iter().collect();
        paths.sort();
        for path in paths {
            let full = [prefix, path.as_bytes()].concat();
            let name = String::from_utf8_lossy(&full).into_owned();
            if !self.report.changed.contains(&name) {
                self.report.changed.push(name);
            }
            let Some(ignore_file) = ignore_file.filter(|_| reference.tracks(&full) && rules.leaves_out(path)) else {
                continue;
            };
            let shown = ignore_file.strip_prefix(self.input.cwd).unwrap_or(ignore_file).to_string_lossy().replace('\\', "/");
            let ignored = (number, path.clone(), shown);
            if !self.report.ignored.contains(&ignored) {
                self.report.ignored.push(ignored);
            }
        }
    }

    /// What the tree is compared with, and which files below the prefix changed since. `recorded` is the run that synced this context
    /// last, which tells more than the project's last run: that may have built something else.
    fn baseline(&mut self, reference: Option<&Reference>, prefix: &[u8], changes: &Changes, recorded: &RunRef) -> Baseline {
        let env = |name: &str| (self.input.env)(name).filter(|value| is_commit(value));
        let known = |run: &&RunRef| match (reference, run.commit.as_deref()) {
            (Some(reference), Some(commit)) => reference.work.repository().resolve(commit).is_ok(),
            _ => run.commit.is_none(),
        };
        let named = |commit: String| RunRef { run: None, commit: Some(commit) };
        let (run, of_context) = if let Some(since) = self.input.since {
            (named(since.to_owned()), true)
        } else if let Some(run) = Some(recorded).filter(|run| run.run.is_some()).filter(known) {
            (run.clone(), true)
        } else if let Some(run) = self.last_run.clone() {
            (run, false)
        } else if let Some(commit) = env("CI_COMMIT_BEFORE_SHA").or_else(|| self.github_before()) {
            (named(commit), true)
        } else {
            return Baseline::default();
        };
        let changed = reference.zip(run.commit.as_deref()).and_then(|(reference, commit)| {
            if let Err(error) = reference.work.repository().resolve(commit) {
                // An unknown --since has been told.
                if self.input.since.is_none() {
                    self.note(format!("git: {error}"));
                }
                return None;
            }
            changed_since(reference.work.repository(), changes, commit, &reference.work.head, prefix)
        });
        Baseline { run: Some(run), changed, of_context }
    }

    /// The commit that stood before, as GitHub tells a job: what a push replaced, or what a pull request is for.
    fn github_before(&self) -> Option<String> {
        const MOST_BYTES: u64 = 16 * 1024 * 1024;
        #[derive(serde::Deserialize)]
        struct Event {
            before: Option<String>,
            pull_request: Option<PullRequest>,
        }
        #[derive(serde::Deserialize)]
        struct PullRequest {
            base: Base,
        }
        #[derive(serde::Deserialize)]
        struct Base {
            sha: String,
        }
        let file = std::fs::File::open((self.input.env)("GITHUB_EVENT_PATH")?).ok()?;
        let event: Event = serde_json::from_reader(std::io::Read::take(file, MOST_BYTES)).ok()?;
        let base = event.pull_request.map(|request| request.base.sha);
        base.or(event.before).filter(|commit| is_commit(commit))
    }

    #[expect(clippy::too_many_arguments, reason = "what is recorded of a sync")]
    pub(super) fn record(
        &mut self,
        key: &str,
        build: usize,
        target: &BuildTarget,
        reference: Option<&Reference>,
        root: &Path,
        listing: &Rc<Listing>,
        replayed: &Replayed,
    ) {
        self.set_copies(key, replayed.after.clone());
        let prefix = reference.and_then(|reference| reference.work.prefix(root)).unwrap_or_default();
        // Of one key the state after the last sync counts. Earlier ones are kept for the images that were made from them.
        self.report
            .syncs
            .retain(|sync| sync.key != key || (!sync.images.is_empty() && (sync.build, &sync.target) != (build, &target.name)));
        for sync in self.report.syncs.iter_mut().filter(|sync| sync.key == key) {
            sync.copies.clear();
        }
        self.report.syncs.push(SyncRecord {
            key: key.to_owned(),
            build,
            target: target.name.clone(),
            prefix: String::from_utf8_lossy(&prefix).into_owned(),
            listing: listing.clone(),
            copies: replayed.after.clone(),
            images: self.images_of(build, target),
        });
    }

    /// The names of the images of a target: those in the log where it is the only one of its build, else its tags.
    fn images_of(&self, build: usize, target: &BuildTarget) -> Vec<String> {
        let command = self.input.commands.get(build).and_then(Option::as_ref);
        let named = self.input.builds.get(build).map(|build| build.image.names.as_slice()).unwrap_or_default();
        let of_target = |name: &&String| match command.filter(|command| command.targets.len() > 1) {
            None => true,
            Some(command) => service_of(command, name).is_some_and(|service| service.name == target.name),
        };
        let mut names: Vec<String> = named.iter().filter(of_target).chain(&target.tags).map(|name| image_name::tagged(name)).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// The files that an old ignore file keeps out although the one on disk lets them in (true), or the other way round (false).
fn misruled(root: &Path, on_disk: &IgnoreRules, include: Option<&[String]>, sent: &[Entry]) -> BTreeMap<String, bool> {
    let files =
        |entries: &[Entry]| -> HashSet<String> { entries.iter().filter(|entry| !entry.is_dir()).map(|entry| entry.path.clone()).collect() };
    let Ok(wanted) = context::list(root, on_disk, include) else {
        return BTreeMap::new();
    };
    let (wanted, sent) = (files(&wanted), files(sent));
    let missing = wanted.difference(&sent).map(|path| (path.clone(), true));
    missing.chain(sent.difference(&wanted).map(|path| (path.clone(), false))).collect()
}

/// The bytes of a file up to the end of a line: what had been written of a log, at the most, when that line was.
fn written_before(path: &Path, line: u64) -> u64 {
    let Ok(file) = std::fs::File::open(path) else {
        return u64::MAX;
    };
    let mut reader = std::io::BufReader::new(file);
    let (mut bytes, mut lines) = (0_u64, 0_u64);
    while lines < line {
        let Ok(buffer) = std::io::BufRead::fill_buf(&mut reader) else {
            return u64::MAX;
        };
        let length = match memchr::memchr(b'\n', buffer) {
            Some(at) => {
                lines += 1;
                at + 1
            }
            None if buffer.is_empty() => break,
            None => buffer.len(),
        };
        bytes = bytes.saturating_add(length as u64);
        std::io::BufRead::consume(&mut reader, length);
    }
    bytes
}

pub(super) fn figure(build: &Build, step: &Step) -> Option<Figure> {
    if step.status != Status::Done || build.interleaved {
        return None;
    }
    let bytes = step.transferred_bytes?;
    Some(if build.format == Format::RawJson { Figure::exact(bytes) } else { Figure::rounded(bytes) })
}

/// Names the content of files that no sign of the file system says have changed since they were recorded.
pub(super) fn known(copies: &Copies) -> impl Fn(&Entry) -> Option<ContentId> {
    /// A change this close to the recording may carry the time of what was recorded.
    const RACY_NS: i64 = 2_000_000_000;
    // Few files are asked for, as a rule none.
    let disk = LazyCell::new(|| -> HashMap<&str, (u64, i64, &ContentId)> {
        copies.disk.iter().map(|(path, inode, ctime, content)| (path.as_str(), (*inode, *ctime, content))).collect()
    });
    move |entry: &Entry| {
        let (inode, ctime, content) = disk.get(entry.path.as_str())?;
        let settled = entry.ctime_ns.saturating_add(RACY_NS) < copies.recorded_ns;
        (*inode != 0 && *inode == entry.inode && *ctime == entry.ctime_ns && settled).then(|| (*content).clone())
    }
}

/// Says whether a text of CI names a commit; it writes zeros for none.
fn is_commit(text: &str) -> bool {
    text.len() >= 7 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) && !text.bytes().all(|byte| byte == b'0')
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
