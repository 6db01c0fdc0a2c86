//! The context sync, replayed.
//!
//! For each sync key the builder keeps a copy of the context. At a build the client sends a listing; the builder asks for the
//! content of every file whose listing is not that of its copy, keeps the content of the others, and throws out what is not listed
//! (fsutil `diff.go`, `receive.go`; BuildKit `source/local`). A file that changed under an unchanged listing so stays old in the copy,
//! and in every image that is made of it. What the copy holds can be computed from the recorded builds, and the bytes of each
//! transfer say whether the computation still agrees with the builder.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::evidence::context::Entry;
use crate::evidence::context::content::ContentId;
use crate::evidence::context::transfer::{Figure, TransferSizes};

/// What the builder's copy holds of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// This content.
    Known(ContentId),
    /// One of these, the evidence leaves it open which.
    OneOf(Vec<ContentId>),
    /// It cannot be said.
    Unknown,
}

impl Held {
    /// Says whether the copy holds this content; `None` where the evidence leaves it open.
    pub fn holds(&self, content: &ContentId) -> Option<bool> {
        match self {
            Self::Known(held) => held.same(content),
            Self::OneOf(held) => {
                let answers: Vec<_> = held.iter().map(|held| held.same(content)).collect();
                match answers.split_first() {
                    Some((first, rest)) if rest.iter().all(|answer| answer == first) => *first,
                    _ => None,
                }
            }
            Self::Unknown => None,
        }
    }

    /// Both possibilities.
    fn or(self, other: Self) -> Self {
        let mut all = match self {
            Self::Known(id) => vec![id],
            Self::OneOf(ids) => ids,
            Self::Unknown => return Self::Unknown,
        };
        match other {
            Self::Known(id) => all.push(id),
            Self::OneOf(ids) => all.extend(ids),
            Self::Unknown => return Self::Unknown,
        }
        all.sort();
        all.dedup();
        match (all.pop(), all.is_empty()) {
            (Some(only), true) => Self::Known(only),
            (Some(last), false) => {
                all.push(last);
                Self::OneOf(all)
            }
            (None, _) => Self::Unknown,
        }
    }
}

/// One entry of the builder's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldEntry {
    /// Its listing.
    pub entry: Arc<Entry>,
    /// Its content; [`Held::Unknown`] for what has none.
    pub content: Held,
}

/// One copy of a context in the builder, in the order of paths. Two builds at one time make two copies under one key.
///
/// Copies are kept, compared and handed on many times, and a context can have many files: a clone shares them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    entries: Arc<Vec<HeldEntry>>,
}

impl Snapshot {
    /// What is held at a path.
    pub fn get(&self, path: &str) -> Option<&HeldEntry> {
        self.near(path, &mut 0)
    }

    /// As [`Snapshot::get`]. `next` is where the last search ended: who asks in the order of paths has the answer at once.
    fn near(&self, path: &str, next: &mut usize) -> Option<&HeldEntry> {
        let held = match self.entries.get(*next) {
            Some(held) if held.entry.path == path => *next,
            _ => match self.entries.binary_search_by(|held| held.entry.path.as_str().cmp(path)) {
                Ok(at) => at,
                Err(at) => {
                    *next = at;
                    return None;
                }
            },
        };
        *next = held + 1;
        self.entries.get(held)
    }

    /// All entries in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = &HeldEntry> {
        self.entries.iter()
    }

    /// The same with the contents that are proved of some paths.
    fn with(&self, proved: &HashMap<String, ContentId>) -> Self {
        let mut corrected = self.clone();
        for held in Arc::make_mut(&mut corrected.entries) {
            if let Some(id) = proved.get(&held.entry.path).filter(|_| held.entry.has_content()) {
                held.content = Held::Known(id.clone());
            }
        }
        corrected
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl FromIterator<HeldEntry> for Snapshot {
    fn from_iter<I: IntoIterator<Item = HeldEntry>>(entries: I) -> Self {
        let mut entries: Vec<HeldEntry> = entries.into_iter().collect();
        entries.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
        // Names that are not UTF-8 can look the same.
        entries.dedup_by(|later, earlier| {
            let same = later.entry.path == earlier.entry.path;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self { entries: Arc::new(entries) }
    }
}

/// A context as it is on disk.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The entries in the order of the walk.
    pub entries: Vec<Arc<Entry>>,
    /// What each of them holds; `None` for what has no content, and for a file that could not be read.
    contents: Vec<Option<ContentId>>,
    /// The places of the entries in the order of their paths.
    by_path: Vec<usize>,
    /// The sizes of its transfer.
    pub sizes: TransferSizes,
}

impl Listing {
    /// Puts a listing together of its entries and what each of them holds.
    pub fn new(entries: Vec<Entry>, contents: Vec<Option<ContentId>>) -> Self {
        let sizes = TransferSizes::of(&entries);
        let entries: Vec<Arc<Entry>> = entries.into_iter().map(Arc::new).collect();
        let mut by_path: Vec<usize> = (0..entries.len()).collect();
        by_path.sort_by(|a, b| entries[*a].path.cmp(&entries[*b].path));
        Self { entries, contents, by_path, sizes }
    }

    /// Counts a file as empty, because its size at the time of the sync is not known. Gives its place in the walk.
    pub fn forget_size(&mut self, path: &str) -> Option<usize> {
        let at = self.entries.iter().position(|entry| entry.path == path && entry.has_content())?;
        let mut entries: Vec<Entry> = self.entries.iter().map(|entry| Entry::clone(entry)).collect();
        entries.get_mut(at)?.size = 0;
        self.sizes = TransferSizes::of(&entries);
        Some(at)
    }

    /// The entries with their contents, in the order of the walk.
    pub fn iter(&self) -> impl Iterator<Item = (&Entry, Option<&ContentId>)> {
        self.entries.iter().map(|entry| &**entry).zip(self.contents.iter().map(Option::as_ref))
    }

    /// What the file at a path holds.
    pub fn content(&self, path: &str) -> Option<&ContentId> {
        self.content_near(path, &mut 0)
    }

    /// As [`Listing::content`]. `next` is where the last search ended: who asks in the order of paths has the answer at once.
    pub fn content_near(&self, path: &str, next: &mut usize) -> Option<&ContentId> {
        let path_at = |at: &usize| self.entries.get(*at).map_or("", |entry| entry.path.as_str());
        let place = match self.by_path.get(*next) {
            Some(at) if path_at(at) == path => *next,
            _ => self.by_path.binary_search_by(|at| path_at(at).cmp(path)).ok()?,
        };
        *next = place + 1;
        self.contents.get(*self.by_path.get(place)?)?.as_ref()
    }

    /// The entries in the order of their paths, with what a builder would hold of each after reading it.
    fn read(&self) -> impl Iterator<Item = (&Arc<Entry>, Held)> {
        self.by_path.iter().filter_map(|at| {
            let held = self.contents.get(*at)?.as_ref().map_or(Held::Unknown, |id| Held::Known(id.clone()));
            Some((self.entries.get(*at)?, held))
        })
    }

    /// The copy that a builder has after it read everything.
    pub fn fresh(&self) -> Snapshot {
        self.read().map(|(entry, content)| HeldEntry { entry: entry.clone(), content }).collect()
    }

    /// Bytes of the transfer to a builder with this copy.
    pub fn predicted(&self, snapshot: &Snapshot) -> u64 {
        let mut next = 0;
        let read = self.entries.iter().zip(&self.sizes.contents).filter(|(entry, _)| !is_kept(snapshot, entry, &mut next));
        read.fold(self.sizes.listing, |sum, (_, size)| sum.saturating_add(*size))
    }

    /// The copy after the sync: what was listed the same is kept, the rest is read, what is not listed is gone.
    pub fn advance(&self, snapshot: &Snapshot) -> Snapshot {
        let mut next = 0;
        let held = self.read().map(|(entry, now)| {
            let content = match snapshot.near(&entry.path, &mut next) {
                Some(held) if held.entry.same_stat(entry) => held.content.clone(),
                _ => now,
            };
            HeldEntry { entry: entry.clone(), content }
        });
        held.collect()
    }
}

fn is_kept(snapshot: &Snapshot, entry: &Entry, next: &mut usize) -> bool {
    snapshot.near(&entry.path, next).is_some_and(|held| held.entry.same_stat(entry))
}

/// How the bytes of a transfer stand to the recorded builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// They are those of a recorded copy.
    Fits,
    /// Everything was read: the copy is new.
    Full,
    /// They fit no recorded copy: a build that is not recorded came between, or there is no record.
    Unrecorded,
    /// The log has no bytes, or bytes that this tree cannot give: the recorded copies are taken on trust.
    Unchecked,
}

/// A sync, replayed.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// How the bytes stand to the record.
    pub agreement: Agreement,
    /// What the build saw of each file.
    pub held: Snapshot,
    /// The copies under the key afterwards.
    pub after: Vec<Snapshot>,
    /// So many of them, from the first on, are what this build may have seen.
    pub used: usize,
    /// True where the bytes are those of the listing: nothing was read.
    pub nothing_read: bool,
}

/// Replays one sync.
///
/// `copies` are those under the key before it, none where nothing is recorded. `figure` is what the log says was transferred.
/// With `beside` another sync of the same key ran at the same time, so that a new copy does not mean that the old ones are gone.
pub fn replay(copies: &[Snapshot], listing: &Listing, figure: Option<Figure>, beside: bool) -> Replayed {
    let sizes = &listing.sizes;
    let possible = figure.filter(|figure| figure.most >= sizes.listing && figure.least <= sizes.full());
    let nothing_read =
        possible.is_some_and(|figure| figure.fits(sizes.listing) && (sizes.full() == sizes.listing || !figure.fits(sizes.full())));
    let fits = |copy: &&Snapshot| possible.is_some_and(|figure| figure.fits(listing.predicted(copy)));
    let taken: Vec<&Snapshot> = match possible {
        Some(_) => copies.iter().filter(fits).collect(),
        None => copies.iter().collect(),
    };
    let is_full = possible.is_some_and(|figure| figure.fits(sizes.full()));
    // Where rounding leaves it open whether the copy was used or everything was read, both may be.
    let either = is_full && !nothing_read && taken.iter().any(|copy| listing.predicted(copy) != sizes.full());
    let (agreement, used): (_, Vec<Snapshot>) = match (taken.is_empty(), possible.is_some()) {
        (false, true) => {
            let read_again = either.then(|| listing.fresh());
            (Agreement::Fits, taken.iter().map(|copy| listing.advance(copy)).chain(read_again).collect())
        }
        (false, false) => (Agreement::Unchecked, taken.iter().map(|copy| listing.advance(copy)).collect()),
        (true, true) if is_full && !nothing_read => (Agreement::Full, vec![listing.fresh()]),
        (true, true) => (Agreement::Unrecorded, vec![after_unrecorded(copies, listing, possible)]),
        (true, false) => (Agreement::Unchecked, vec![unknown(listing)]),
    };
    let held = match used.as_slice() {
        [only] => only.clone(),
        several => merged(several),
    };
    let mut after: Vec<Snapshot> = Vec::new();
    let others = copies.iter().filter(|copy| match agreement {
        Agreement::Fits => !taken.iter().any(|taken| std::ptr::eq(*taken, *copy)),
        Agreement::Full => beside,
        Agreement::Unrecorded | Agreement::Unchecked => false,
    });
    let seen = used.len();
    let mut kept = 0;
    for (at, copy) in used.into_iter().chain(others.cloned()).enumerate() {
        if !after.contains(&copy) && after.len() < MAX_COPIES {
            after.push(copy);
            kept += usize::from(at < seen);
        }
    }
    Replayed { agreement, held, after, used: kept, nothing_read }
}

/// Copies that are kept under one key.
const MAX_COPIES: usize = 8;

impl Replayed {
    /// The transfer did not come to its end: the builder may have kept the copies that it had.
    pub fn cut_off(&mut self, copies: &[Snapshot]) {
        for copy in copies {
            if !self.after.contains(copy) && self.after.len() < MAX_COPIES {
                self.after.push(copy.clone());
            }
        }
    }
}

/// Puts into the copies what is proved of the contents that a build saw. The first `used` of them are those that it may have seen; where
/// some of these cannot be it, they go.
pub fn correct(copies: &mut Vec<Snapshot>, used: usize, proved: &HashMap<String, ContentId>) {
    let others = copies.split_off(used.min(copies.len()));
    let agrees =
        |copy: &Snapshot| !proved.iter().any(|(path, id)| copy.get(path).is_some_and(|held| held.content.holds(id) == Some(false)));
    if copies.iter().any(agrees) {
        copies.retain(agrees);
    }
    for copy in copies.iter_mut() {
        *copy = copy.with(proved);
    }
    for other in others {
        if !copies.contains(&other) {
            copies.push(other);
        }
    }
    copies.dedup();
}

/// What several copies hold: of each path every possibility.
fn merged(copies: &[Snapshot]) -> Snapshot {
    let mut held: BTreeMap<&str, HeldEntry> = BTreeMap::new();
    for entry in copies.iter().flat_map(Snapshot::iter) {
        held.entry(&entry.entry.path)
            .and_modify(|before| before.content = before.content.clone().or(entry.content.clone()))
            .or_insert_with(|| entry.clone());
    }
    held.into_values().collect()
}

/// The copy after builds that are not recorded: a file that is listed as it was recorded may have been read again or not.
fn after_unrecorded(copies: &[Snapshot], listing: &Listing, figure: Option<Figure>) -> Snapshot {
    let most_read = figure.map_or(u64::MAX, |figure| figure.most.saturating_sub(listing.sizes.listing));
    let sizes = listing.by_path.iter().map(|at| listing.sizes.contents.get(*at).copied().unwrap_or_default());
    let held = listing.read().zip(sizes).map(|((entry, now), size)| {
        let recorded = copies.iter().filter_map(|copy| copy.get(&entry.path)).filter(|held| held.entry.same_stat(entry));
        let recorded = recorded.map(|held| held.content.clone()).reduce(Held::or);
        let content = match recorded {
            Some(recorded) => recorded.or(now),
            None if size <= most_read && !copies.is_empty() => now,
            // Listed before by a build that we do not know. With a time to the nanosecond it was this very file.
            None if entry.has_ordinary_mtime() && !copies.is_empty() => now,
            None => Held::Unknown,
        };
        HeldEntry { entry: entry.clone(), content }
    });
    held.collect()
}

fn unknown(listing: &Listing) -> Snapshot {
    listing.read().map(|(entry, _)| HeldEntry { entry: entry.clone(), content: Held::Unknown }).collect()
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
