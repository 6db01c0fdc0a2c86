//! What explains that a step ran: its text, the files that it copies, the base, the cache imports, the builder.

use std::{collections::BTreeSet, path::Path};

use super::{Became, Diff};
use crate::{
    build::{Kind, Status, StepName},
    evidence::{
        git::{GitError, Repository},
        glob::SourcePattern,
    },
    trend::signs::{SignChange, SignKind},
};

/// Files that are named.
const MOST_FILES: usize = 5;
/// Words that are named.
const MOST_WORDS: usize = 12;

/// What explains a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// Its text is another: the words that went and that came.
    Text {
        /// Words that are not there any more.
        gone: Vec<String>,
        /// Words that are new.
        new: Vec<String>,
    },
    /// Files that it copies changed between the commits.
    Files {
        /// The first of them.
        files: Vec<String>,
        /// How many.
        count: usize,
    },
    /// Nothing that it copies changed between the commits.
    NoFiles,
    /// The base image is another.
    Base(SignChange),
    /// No step of the second build came from the cache: the builder had none.
    NothingCached,
    /// Something else in the logs: a cache import that is gone or failed, another builder.
    Sign(SignChange),
    /// More of the build context was sent: bytes before and after.
    Context(u64, u64),
}

/// What git says of two commits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangedFiles {
    /// The files that differ, from the top of the repository.
    pub files: Vec<String>,
    /// The directories at the top of the repository.
    pub directories: BTreeSet<String>,
}

/// What differs between two commits.
///
/// # Errors
/// There is no repository, or it does not know the commits.
pub fn files_between(repository: &Path, from: &str, to: &str) -> Result<ChangedFiles, GitError> {
    let repository = Repository::open(repository)?;
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let changes = repository.changes(from, to)?;
    let changed = changes.iter().filter(|change| change.content_changed() || change.old_mode != change.new_mode);
    let files = changed.map(|change| text(&change.path)).collect();
    let tree = repository.tree_without_sizes(to)?;
    let directories =
        tree.iter().filter_map(|entry| entry.path.iter().position(|byte| *byte == b'/').map(|slash| text(&entry.path[..slash]))).collect();
    Ok(ChangedFiles { files, directories })
}

/// Finds the causes of the roots and of edited steps.
pub(super) fn explain(diff: &mut Diff, changed: Option<&ChangedFiles>) {
    let roots: BTreeSet<usize> = diff.roots().into_keys().collect();
    let commands = || {
        diff.steps
            .iter()
            .filter_map(|step| step.b.as_ref())
            .filter(|row| row.kind == Kind::Instruction && row.keyword.as_deref() != Some("FROM"))
    };
    let hits = commands().filter(|row| row.status == Status::Cached).count();
    let nothing_cached = hits == 0 && commands().count() > 1;
    for at in 0..diff.steps.len() {
        let step = &diff.steps[at];
        let is_root = roots.contains(&at);
        let text_matters = step.edited || (is_root && step.a.is_some());
        let mut causes = Vec::new();
        if text_matters {
            causes.extend(text(diff, at));
        }
        if is_root {
            causes.extend(files(diff, at, changed));
            causes.extend(base(diff, at));
            if nothing_cached {
                causes.push(Cause::NothingCached);
            }
            let about_cache = |sign: &&SignChange| match sign.kind {
                SignKind::CacheImport | SignKind::InlineCache => sign.after.is_none(),
                SignKind::FailedImport => sign.before.is_none(),
                SignKind::Builder => true,
                _ => false,
            };
            causes.extend(diff.signs.iter().filter(about_cache).cloned().map(Cause::Sign));
            causes.extend(context(diff, at));
        }
        diff.steps[at].causes = causes;
    }
}

/// The words in which the names of a step differ, where they do.
fn text(diff: &Diff, at: usize) -> Option<Cause> {
    let (a, b) = (diff.steps[at].a.as_ref()?, diff.steps[at].b.as_ref()?);
    let words = |name: &str| -> Vec<String> {
        let parts = StepName::parse(name);
        // The digest of a base is a cause of its own.
        name.get(parts.bracket_bytes..)
            .unwrap_or(name)
            .split_whitespace()
            .map(|word| word.split("@sha256:").next().unwrap_or(word).to_owned())
            .collect()
    };
    let (old, new) = (words(&a.name), words(&b.name));
    let only = |these: &[String], others: &[String]| -> Vec<String> {
        let mut left: Vec<&String> = others.iter().collect();
        let mut only = Vec::new();
        for word in these {
            match left.iter().position(|other| *other == word) {
                Some(at) => {
                    left.swap_remove(at);
                }
                None => only.push(word.clone()),
            }
        }
        only.truncate(MOST_WORDS);
        only
    };
    let (gone, came) = (only(&old, &new), only(&new, &old));
    (!gone.is_empty() || !came.is_empty()).then_some(Cause::Text { gone, new: came })
}

/// The changed files that a COPY or ADD from the context takes.
///
/// Where the context is in the repository is not in the log. A directory at its top that is called as the target is it, most probably; else
/// any directory can be.
fn files(diff: &Diff, at: usize, changed: Option<&ChangedFiles>) -> Option<Cause> {
    let row = diff.steps[at].b.as_ref()?;
    let parts = StepName::parse(&row.name);
    let copies = matches!(parts.keyword, Some("COPY" | "ADD")) && parts.from.is_none();
    let changed = changed.filter(|_| copies)?;
    let sources: Vec<SourcePattern> = parts.sources.iter().map(|source| SourcePattern::new(source)).collect();
    let takes = |path: &str| sources.iter().any(|source| source.is_root() || source.selects(path));
    let context = row.target.as_deref().filter(|target| changed.directories.contains(*target));
    let taken = |file: &&String| match context {
        Some(context) => file.strip_prefix(context).and_then(|rest| rest.strip_prefix('/')).is_some_and(takes),
        None => takes(file) || file.match_indices('/').any(|(slash, _)| takes(&file[slash + 1..])),
    };
    let mut files: Vec<String> = changed.files.iter().filter(taken).cloned().collect();
    if files.is_empty() {
        return Some(Cause::NoFiles);
    }
    let count = files.len();
    files.truncate(MOST_FILES);
    Some(Cause::Files { files, count })
}

/// The base of the step's build that was renewed, if one was.
fn base(diff: &Diff, at: usize) -> Option<Cause> {
    let row = diff.steps[at].b.as_ref()?;
    let of_build: Vec<String> = diff
        .steps
        .iter()
        .filter_map(|step| step.b.as_ref())
        .filter(|other| other.build == row.build && other.keyword.as_deref() == Some("FROM"))
        .filter_map(|other| StepName::parse(&other.name).base)
        .collect();
    let renewed = |sign: &&SignChange| {
        sign.kind == SignKind::Base && sign.before.is_some() && sign.after.as_ref().is_some_and(|after| of_build.contains(after))
    };
    diff.signs.iter().find(renewed).cloned().map(Cause::Base)
}

/// The transfer of the context, where a copy from it is the root and more was sent.
fn context(diff: &Diff, at: usize) -> Option<Cause> {
    let row = diff.steps[at].b.as_ref().filter(|row| matches!(row.keyword.as_deref(), Some("COPY" | "ADD")))?;
    if diff.steps[at].became != Became::LostCache {
        return None;
    }
    let transfer = |step: &&super::StepDiff| {
        step.b.as_ref().is_some_and(|other| other.kind == Kind::Context && other.build == row.build && other.target == row.target)
    };
    let step = diff.steps.iter().find(transfer)?;
    let (before, after) = (step.a.as_ref()?.transferred_bytes?, step.b.as_ref()?.transferred_bytes?);
    (after > before).then_some(Cause::Context(before, after))
}
