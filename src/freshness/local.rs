//! The verdict on what one step takes from one local context.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use crate::build::{Status, Step};
use crate::evidence::commit::short;
use crate::evidence::context::Entry;
use crate::evidence::context::content::ContentId;
use crate::evidence::context::transfer::Figure;
use crate::evidence::glob::CopySelection;
use crate::evidence::ignore::IgnoreRules;
use crate::finding::Confidence;

use super::layer_files::Compared;
use super::plan::Use;
use super::sync::{Agreement, Held, HeldEntry, Listing, Replayed};
use super::tree::{Difference, Reference};
use super::verdict::{RunRef, Verdict};

/// What the tree is compared with.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    pub(super) run: Option<RunRef>,
    /// Files that changed since; `None` where that cannot be told.
    pub(super) changed: Option<HashSet<String>>,
    /// True where it built this very context, for all that is known.
    pub(super) of_context: bool,
}

/// A local context of a target with everything that is known of it.
pub(super) struct ContextState {
    pub(super) root: PathBuf,
    pub(super) rules: IgnoreRules,
    pub(super) listing: Rc<Listing>,
    /// `None` where nothing is synced: the legacy builder.
    pub(super) replayed: Option<Replayed>,
    pub(super) figure: Option<Figure>,
    pub(super) reference: Option<Rc<Reference>>,
    pub(super) differences: BTreeMap<String, Difference>,
    /// The run whose copy the sync compared with.
    pub(super) from: RunRef,
    pub(super) baseline: Baseline,
    /// True where a script has set the times of its files, now or at the recorded build before.
    pub(super) set_times: bool,
    /// What the image shows of the builder's copy: whether it held a file as it is to be.
    pub(super) shown: HashMap<String, bool>,
    /// What the image proves that this copy held.
    pub(super) proved: HashMap<String, ContentId>,
    /// Files that an old ignore file kept out although the one on disk lets them in (true), or the other way round (false).
    pub(super) misruled: BTreeMap<String, bool>,
    /// True where the log lies in the context, so that the size of the transfer is not known to the byte.
    pub(super) log_inside: bool,
    /// True where there is an image of the target.
    pub(super) has_image: bool,
    /// The key of its sync.
    pub(super) key: Option<String>,
}

impl ContextState {
    /// Takes in what an image shows of the builder's copy.
    pub(super) fn learn(&mut self, compared: &Compared) {
        for path in &compared.same {
            self.shown.entry(path.clone()).or_insert(true);
        }
        self.shown.extend(compared.wrong.iter().filter(|wrong| wrong.held).map(|wrong| (wrong.path.clone(), false)));
        self.proved.extend(compared.held.iter().map(|(path, id)| (path.clone(), id.clone())));
    }
}

/// A verdict with what there is to say of it.
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) because: String,
    pub(super) files: Vec<String>,
    pub(super) rule: Option<&'static str>,
    pub(super) confidence: Confidence,
    pub(super) headline: String,
    pub(super) evidence: Vec<String>,
    pub(super) help: &'static str,
    pub(super) baseline: Option<RunRef>,
}

impl Judged {
    pub(super) fn plain(verdict: Verdict, because: &str) -> Self {
        Self {
            verdict,
            because: because.to_owned(),
            files: Vec::new(),
            rule: None,
            confidence: Confidence::Certain,
            headline: String::new(),
            evidence: Vec::new(),
            help: "",
            baseline: None,
        }
    }

    /// Nothing tells; `help` is what to give.
    pub(super) fn unknown(because: &str, help: &'static str) -> Self {
        Self { help, ..Self::plain(Verdict::Unknown, because) }
    }
}

pub(super) fn judge_local(step: &Step, taken: &Use, state: &ContextState) -> Judged {
    let mut judged = judge_context(step, taken, state);
    if state.has_image {
        judged.because.push_str(&of_which_tree(state));
    }
    judged
}

/// What there is to add to a sentence where the commit is not in the repository, so that the tree takes its place.
pub(super) fn of_which_tree(state: &ContextState) -> String {
    let unknown = state.reference.as_ref().filter(|reference| !reference.known);
    unknown.map_or(String::new(), |reference| {
        let (commit, head) = (short(&reference.commit), short(&reference.work.head));
        format!("; {commit} is not in this repository, so that this is of the tree at {head}")
    })
}

fn judge_context(step: &Step, taken: &Use, state: &ContextState) -> Judged {
    let links = taken_files(taken, &state.root);
    // The tree first: what was there to be read was not the commit's.
    let not_the_commit: Vec<(String, Difference)> = state
        .differences
        .iter()
        .filter(|(path, difference)| **difference != Difference::Dirty && selects(taken, &links, path) && !state.rules.leaves_out(path))
        .map(|(path, difference)| (path.clone(), *difference))
        .collect();
    if let Some(judged) = judge_tree(&not_the_commit, state) {
        return judged;
    }
    // With the image at hand the tree takes the place of the commit; that it is another one is a finding of its own.
    if state.reference.as_ref().is_some_and(|reference| !reference.known) && !state.has_image {
        let commit = state.reference.as_ref().map(|reference| reference.commit.clone()).unwrap_or_default();
        let mut judged = Judged::plain(Verdict::Suspect, "");
        judged.because = format!("the commit {} is not in the repository that was built, so its files cannot be compared", short(&commit));
        judged.help = "fetch that commit (git fetch), or name the one that was built (--commit SHA); with --image the image is compared with the tree";
        return judged;
    }
    if let Some(missing) = missing_source(taken, state) {
        let because = format!("{missing} is not in the context now, so this tree is not the one that was built");
        return Judged::unknown(&because, "check the tree as it was built, right after the build");
    }
    let cached = step.status == Status::Cached;
    let Some(replayed) = &state.replayed else {
        let because = "the builder is sent the whole context at each build and compares contents";
        return Judged::plain(Verdict::Fresh, because);
    };
    let misruled = select(taken, &links, state.misruled.keys().map(String::as_str));
    if !misruled.is_empty() {
        return judge_misruled(misruled, state);
    }
    let held = replayed.held.iter().map(|held| &held.entry.path);
    let by_image: Vec<String> =
        held.filter(|path| state.shown.get(*path) == Some(&false) && selects(taken, &links, path)).cloned().collect();
    if !by_image.is_empty() {
        return judge_shown(by_image, state);
    }
    let (mut blind, mut open, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    let mut next = 0;
    for HeldEntry { entry, content: held } in replayed.held.iter().filter(|held| held.entry.has_content()) {
        let path = &entry.path;
        let Some(disk) = state.listing.content_near(path, &mut next) else {
            continue;
        };
        if !selects(taken, &links, path) {
            continue;
        }
        let holds = state.shown.get(path).copied().or_else(|| held.holds(disk));
        match (holds, held) {
            (Some(true), _) => {}
            (Some(false), _) => blind.push(path.clone()),
            (None, Held::Unknown) => unread.push(path.clone()),
            (None, _) => open.push(path.clone()),
        }
    }
    if !blind.is_empty() {
        return judge_blind(blind, step, state, replayed);
    }
    if !open.is_empty() {
        let mut judged = Judged::plain(Verdict::Suspect, "");
        judged.because = match replayed.agreement {
            Agreement::Unrecorded => format!(
                "a build that is not recorded came between; the builder may hold an old copy of {}, listed as it was then",
                count(&open)
            ),
            _ => format!("the builder may have used either of several copies of this context, and {} differs between them", count(&open)),
        };
        judged.rule = Some("sync-blind-spot");
        "the builder may have put another copy of a file into the image".clone_into(&mut judged.headline);
        judged.evidence = open.iter().take(5).map(|path| format!("{path}: listed the same in both, with other content")).collect();
        judged.files = open;
        judged.help =
            "give contexts of one builder different directory names, stop setting times before the build, or docker builder prune -f first";
        judged.baseline = Some(state.from.clone()).filter(|from| from.run.is_some());
        return judged;
    }
    if !unread.is_empty() {
        return judge_unread(step, taken, state, replayed);
    }
    let changed =
        state.baseline.changed.as_ref().map(|changed| select(taken, &links, changed.iter().map(String::as_str))).unwrap_or_default();
    let because = match (cached, changed.is_empty()) {
        (false, _) => "it ran, and the builder's copy of every file that it takes is the tree's",
        (true, true) => "CACHED by right: the builder's copy of every file that it takes is the tree's, and none changed",
        (true, false) => "CACHED by right: the changed files were read again, and their content was in the cache",
    };
    let mut judged = Judged::plain(Verdict::Fresh, because);
    judged.files = changed;
    if cached && judged.files.is_empty() && is_product_of_another_commit(taken, &links, state) {
        judged.rule = Some("untracked-copy");
        "it takes only files that git does not track, the same as before the commit".clone_into(&mut judged.headline);
        judged.evidence.push("if they are built from the sources, they were not built again".to_owned());
        judged.help = "build them in the Dockerfile, or before each build of the image";
    }
    judged
}

/// A source that is named and not there: a build with it would have failed, so it had another tree.
pub(super) fn missing_source<'u>(taken: &'u Use, state: &ContextState) -> Option<&'u str> {
    taken.sources.iter().map(String::as_str).find(|source| {
        let plain = !source.starts_with("<<") && !source.contains(['*', '?', '[', '\\', '$']);
        let clean = crate::evidence::go_match::below_root(source);
        let clean = clean.trim_matches('/');
        let here = |entry: &Entry| entry.path.strip_prefix(clean).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // What a link on the way leads to is listed under its own name.
        let through_link =
            || state.listing.entries.iter().any(|entry| entry.is_symlink() && clean.starts_with(&format!("{}/", entry.path)));
        plain && !clean.is_empty() && clean != "." && !state.listing.iter().any(|(entry, _)| here(entry)) && !through_link()
    })
}

/// True where all that a step takes is unknown to git, and the commit is not that of the baseline: nobody but their maker knows whether
/// such files are up to date.
fn is_product_of_another_commit(taken: &Use, links: &Option<CopySelection>, state: &ContextState) -> bool {
    let (Some(reference), Some(commit)) = (&state.reference, state.baseline.run.as_ref().and_then(|baseline| baseline.commit.as_ref()))
    else {
        return false;
    };
    let Some(prefix) = reference.work.prefix(&state.root) else {
        return false;
    };
    let tracked = |path: &str| reference.work.tracks(&[prefix.as_slice(), path.as_bytes()].concat());
    let mut files = state.listing.entries.iter().filter(|entry| entry.has_content() && selects(taken, links, &entry.path)).peekable();
    reference.work.head != *commit && files.peek().is_some() && files.all(|entry| !tracked(&entry.path))
}

/// The step took files that are not the commit's.
fn judge_tree(wrong: &[(String, Difference)], state: &ContextState) -> Option<Judged> {
    let worst = wrong.iter().map(|(_, difference)| *difference).max()?;
    let reference = state.reference.as_ref()?;
    let files: Vec<String> = wrong.iter().map(|(path, _)| path.clone()).collect();
    let (head, commit) = (short(&reference.work.head), short(&reference.commit));
    let mut judged = Judged::plain(Verdict::Stale, "");
    judged.rule = Some("stale-copy");
    (judged.because, judged.headline, judged.help) = match worst {
        Difference::OtherCommit => (
            format!("the tree was at {head}, not at {commit}: {} of those that it takes differ", count(&files)),
            "it put the code of another commit into the image".to_owned(),
            "check the commit out in the directory that is built, before the build",
        ),
        Difference::Submodule => (
            format!("{} is not at the commit that {commit} names", files.join(", ")),
            "it put an old submodule into the image".to_owned(),
            "git submodule update --init --recursive, before the build",
        ),
        Difference::Old | Difference::Dirty => (
            format!("{} in the tree hold what an earlier commit had there", count(&files)),
            "the tree was not brought up to date before the build".to_owned(),
            "git checkout -f the commit, or copy the tree without --size-only",
        ),
    };
    judged.evidence = files.iter().take(10).map(|path| format!("{path} is not the file of {commit}")).collect();
    judged.files = files;
    Some(judged)
}

/// The builder used an old ignore file.
fn judge_misruled(files: Vec<String>, state: &ContextState) -> Judged {
    let mut judged = Judged::plain(Verdict::Stale, "");
    judged.because = format!("the builder used an old .dockerignore, which says something else of {}", count(&files));
    judged.rule = Some("stale-copy");
    "an old .dockerignore chose its files".clone_into(&mut judged.headline);
    let say = |path: &String| match state.misruled.get(path) {
        Some(true) => format!("{path}: kept out, although the .dockerignore on disk lets it in"),
        _ => format!("{path}: let in, although the .dockerignore on disk keeps it out"),
    };
    judged.evidence = files.iter().take(10).map(say).collect();
    judged.files = files;
    judged.help = "touch .dockerignore, or docker builder prune -f, then build again; stop setting times before the build";
    judged.baseline = Some(state.from.clone()).filter(|from| from.run.is_some());
    judged
}

/// The image shows that the builder's copy held these files as they are not to be.
fn judge_shown(files: Vec<String>, state: &ContextState) -> Judged {
    let mut judged = Judged::plain(Verdict::Stale, "");
    judged.because = format!("the image shows that the builder's copy of {} is not the commit's", count(&files));
    judged.rule = Some("stale-copy");
    "it put old code into the image".clone_into(&mut judged.headline);
    judged.evidence = files.iter().take(10).map(|path| format!("{path}: the image has other bytes of it")).collect();
    judged.files = files;
    judged.help = "docker builder prune -f, then build again";
    judged.baseline = Some(state.from.clone()).filter(|from| from.run.is_some());
    judged
}

/// The builder kept old content under an unchanged listing.
fn judge_blind(blind: Vec<String>, step: &Step, state: &ContextState, replayed: &Replayed) -> Judged {
    let trusted = replayed.agreement != Agreement::Unchecked;
    let mut judged = Judged::plain(if trusted { Verdict::Stale } else { Verdict::Suspect }, "");
    let ran = if step.status == Status::Cached { "CACHED" } else { "it ran, but" };
    judged.because =
        format!("{ran} the builder did not read {} again: size, time and mode are those of the copy that it had", count(&blind));
    judged.rule = Some(if trusted { "stale-copy" } else { "sync-blind-spot" });
    judged.confidence = if replayed.agreement == Agreement::Fits { Confidence::Certain } else { Confidence::Likely };
    "it put old code into the image".clone_into(&mut judged.headline);
    let sizes = &state.listing.sizes;
    for path in blind.iter().take(10) {
        let entry = state.listing.entries.iter().zip(&sizes.contents).find(|(entry, _)| entry.path == *path);
        if let Some((entry, content)) = entry {
            judged.evidence.push(format!(
                "{path}: same size ({} B) and time ({}) as the copy that the builder had",
                entry.size,
                time(entry)
            ));
            if let Some(figure) = state.figure.filter(|_| replayed.nothing_read && !state.log_inside) {
                judged.evidence.push(format!(
                    "it received {} B, the file list alone; with {path} it would have been {} B",
                    figure.least,
                    sizes.listing.saturating_add(*content)
                ));
            }
        }
    }
    judged.files = blind;
    judged.help = "docker builder prune -f, then build again; stop setting the files' times before the build";
    judged.baseline = Some(state.from.clone()).filter(|from| from.run.is_some());
    judged
}

/// Nothing is known of the builder's copy of these files: git and the bytes must do.
fn judge_unread(step: &Step, taken: &Use, state: &ContextState, replayed: &Replayed) -> Judged {
    let links = taken_files(taken, &state.root);
    let cached = step.status == Status::Cached;
    let Some(changed) = &state.baseline.changed else {
        return match (cached, &state.baseline.run) {
            (false, _) => {
                Judged::plain(Verdict::Fresh, "it ran; nothing is recorded of what the builder's copy of the context held before")
            }
            (true, Some(_)) => {
                let because = "CACHED, and the baseline's commit is not in this repository: fetch more history";
                Judged::unknown(
                    because,
                    "fetch more history (git fetch --unshallow; fetch-depth: 0), or name a commit that is here (--since REV)",
                )
            }
            (true, None) => Judged::unknown(
                "CACHED, and there is nothing to compare with: give --since with the commit built before, or a history",
                "name the commit that was built before (--since REV), or record runs (--history DIR --record)",
            ),
        };
    };
    let mut changed = select(taken, &links, changed.iter().map(String::as_str));
    if changed.is_empty() && cached && !state.baseline.of_context {
        let because = "CACHED, and nothing changed since the last recorded run, but no run is recorded that built this context";
        return Judged::unknown(
            because,
            "record a run of this very build (--record), or name the commit that was built before (--since REV)",
        );
    }
    if changed.is_empty() {
        return Judged::plain(Verdict::Fresh, "nothing that it takes changed since the baseline");
    }
    changed.retain(|path| state.shown.get(path) != Some(&true));
    if changed.is_empty() {
        return Judged::plain(Verdict::Fresh, "the image shows that the builder had the changed files as they are to be");
    }
    let contents = state.listing.entries.iter().zip(&state.listing.sizes.contents).filter(|(_, size)| **size > 0);
    let contents: HashMap<&str, u64> = contents.map(|(entry, size)| (entry.path.as_str(), *size)).collect();
    let size_of = |path: &String| contents.get(path.as_str()).copied();
    let own: Vec<u64> = changed.iter().filter_map(size_of).collect();
    if own.is_empty() {
        let mut judged =
            Judged::plain(Verdict::Fresh, "what changed are names, links and empty files, which the builder sees without reading");
        judged.files = changed;
        return judged;
    }
    // What a transfer of all changed files takes. Only with so much is it certain that those of this step were among them: other files
    // can have been read in their place.
    let all = state.baseline.changed.iter().flatten().filter_map(size_of).fold(state.listing.sizes.listing, u64::saturating_add);
    let sent = state.figure.is_some_and(|figure| figure.fits(all) || figure.least >= all) && !replayed.nothing_read;
    let least = own.iter().copied().fold(state.listing.sizes.listing, u64::saturating_add);
    let too_few = state.figure.is_some_and(|figure| figure.most < least);
    let mut judged = if sent {
        Judged::plain(Verdict::Fresh, "the changed files were transferred, so the builder compared their content")
    } else if !cached && !replayed.nothing_read && !too_few {
        Judged::plain(Verdict::Fresh, "it ran, and files were read again")
    } else {
        let mut judged = Judged::plain(Verdict::Suspect, "");
        judged.because = format!("{} changed since the baseline, and the builder's copy may be older", count(&changed));
        judged.rule = Some("stale-copy");
        "it may have put old code into the image".clone_into(&mut judged.headline);
        if replayed.nothing_read {
            judged.evidence.push("the builder received the file list alone and read no file".to_owned());
        } else if let Some(figure) = state.figure.filter(|_| too_few) {
            let at_most = if figure.least == figure.most { "" } else { "at most " };
            let most = figure.most;
            judged.evidence.push(format!("the builder received {at_most}{most} B; with what changed it would have been {least} B or more"));
        }
        judged.help = "keep a history (--history, --record) so that the builder's copy is known, or give the image with --image";
        judged
    };
    judged.files = changed;
    judged
}

/// What a COPY's sources lead to through symbolic links.
pub(super) fn taken_files(taken: &Use, root: &std::path::Path) -> Option<CopySelection> {
    taken.through_links(root)
}

pub(super) fn selects(taken: &Use, links: &Option<CopySelection>, path: &str) -> bool {
    taken.selection.selects(path) || links.as_ref().is_some_and(|links| links.selects(path))
}

pub(super) fn select<'p>(taken: &Use, links: &Option<CopySelection>, paths: impl Iterator<Item = &'p str>) -> Vec<String> {
    let mut found: Vec<String> = paths.filter(|path| selects(taken, links, path)).map(str::to_owned).collect();
    found.sort();
    found
}

/// `1 file`, `src/main.py`, `3 files`.
pub(super) fn count(files: &[String]) -> String {
    match files {
        [only] => only.clone(),
        more => format!("{} files", more.len()),
    }
}

fn time(entry: &Entry) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(entry.mtime_ns)).map_or_else(|_| entry.mtime_ns.to_string(), |time| time.to_string())
}
