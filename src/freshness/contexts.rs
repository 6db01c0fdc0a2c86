//! The local contexts of a target: listed, compared with the commit, and their syncs replayed.

use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use crate::build::{Build, Format, Kind, Status, Step};
use crate::evidence::build_target::{BuildTarget, ContextSource};
use crate::evidence::context::content::{ContentId, identify};
use crate::evidence::context::transfer::Figure;
use crate::evidence::context::work_tree::Changes;
use crate::evidence::context::{self, Entry, follow};
use crate::evidence::dockerfile::dependencies::Origin;
use crate::evidence::ignore::IgnoreRules;

use super::judge::{Judge, SyncRecord};
use super::key::KeyMaker;
use super::local::{Baseline, ContextState};
use super::past::Copies;
use super::plan::{self, Use, View};
use super::sync::{Listing, Replayed, Snapshot, replay};
use super::target::{Context, SeenKeys};
use super::tree::{Reference, changed_since};
use super::uses::use_by_log;
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
        let (mut rules, ignore_file) = match context::ignore_rules(&root, dockerfile) {
            Ok(read) => read,
            Err(error) => return Context::Unreadable(error.to_string()),
        };
        if let Some(old) = self.old_ignore_rules(number, build, target, name, &root, ignore_file.as_deref(), keys, only) {
            rules = old;
        }
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
        let (reference, prefix, changes) = self.compared(reference, &root, &listing);
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
            if step.is_some_and(|step| step.status != Status::Done) {
                replayed.cut_off(&copies.snapshots);
            }
            if again {
                replayed.after.clone_from(&copies.snapshots);
            }
            replayed
        });
        if let (Some(key), Some(replayed)) = (&key, &replayed) {
            self.record(key, number, target, reference.as_deref(), &root, &listing, replayed);
        }
        let differences = reference.as_ref().map(|reference| reference.differences(&prefix, &changes, |path| listing.content(path)));
        let differences = differences.unwrap_or_default();
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
        }))
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
        self.report.syncs.retain(|sync| sync.key != key || sync.target != target.name);
        self.report.syncs.push(SyncRecord {
            key: key.to_owned(),
            build,
            target: target.name.clone(),
            prefix: String::from_utf8_lossy(&prefix).into_owned(),
            listing: listing.clone(),
            copies: Vec::new(),
        });
        // Of one key the state after the last sync counts, whichever target it was.
        for sync in self.report.syncs.iter_mut().filter(|sync| sync.key == key) {
            sync.copies.clone_from(&replayed.after);
        }
    }
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
