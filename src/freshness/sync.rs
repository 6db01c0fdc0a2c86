//! The context sync, replayed.
//!
//! For each sync key the builder keeps a copy of the context. At a build the client sends a listing; the builder asks for the
//! content of every file whose listing is not that of its copy, keeps the content of the others, and throws out what is not listed
//! (fsutil `diff.go`, `receive.go`; BuildKit `source/local`). A file that changed under an unchanged listing so stays old in the copy,
//! and in every image that is made of it. What the copy holds can be computed from the recorded builds, and the bytes of each
//! transfer say whether the computation still agrees with the builder.

use std::collections::{BTreeMap, HashMap};

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
    pub entry: Entry,
    /// Its content; [`Held::Unknown`] for what has none.
    pub content: Held,
}

/// One copy of a context in the builder, by path. Two builds at one time make two copies under one key.
pub type Snapshot = BTreeMap<String, HeldEntry>;

/// A context as it is on disk.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The entries in the order of the walk.
    pub entries: Vec<Entry>,
    /// What the files hold; a file that could not be read is missing.
    pub contents: HashMap<String, ContentId>,
    /// The sizes of its transfer.
    pub sizes: TransferSizes,
}

impl Listing {
    /// Puts a listing together.
    pub fn new(entries: Vec<Entry>, contents: HashMap<String, ContentId>) -> Self {
        let sizes = TransferSizes::of(&entries);
        Self { entries, contents, sizes }
    }

    /// Counts a file as empty, because its size at the time of the sync is not known. Gives its place in the walk.
    pub fn forget_size(&mut self, path: &str) -> Option<usize> {
        let at = self.entries.iter().position(|entry| entry.path == path && entry.has_content())?;
        let mut entries = self.entries.clone();
        entries.get_mut(at)?.size = 0;
        self.sizes = TransferSizes::of(&entries);
        Some(at)
    }

    /// What is on disk at a path, as the builder would hold it after reading it.
    fn read(&self, entry: &Entry) -> Held {
        self.contents.get(&entry.path).map_or(Held::Unknown, |id| Held::Known(id.clone()))
    }

    /// The copy that a builder has after it read everything.
    pub fn fresh(&self) -> Snapshot {
        self.entries.iter().map(|entry| (entry.path.clone(), HeldEntry { entry: entry.clone(), content: self.read(entry) })).collect()
    }

    /// Bytes of the transfer to a builder with this copy.
    pub fn predicted(&self, snapshot: &Snapshot) -> u64 {
        let read = self.entries.iter().zip(&self.sizes.contents).filter(|(entry, _)| !is_kept(snapshot, entry));
        read.fold(self.sizes.listing, |sum, (_, size)| sum.saturating_add(*size))
    }

    /// The copy after the sync: what was listed the same is kept, the rest is read, what is not listed is gone.
    pub fn advance(&self, snapshot: &Snapshot) -> Snapshot {
        let held = |entry: &Entry| match snapshot.get(&entry.path) {
            Some(held) if held.entry.same_stat(entry) => held.content.clone(),
            _ => self.read(entry),
        };
        self.entries.iter().map(|entry| (entry.path.clone(), HeldEntry { entry: entry.clone(), content: held(entry) })).collect()
    }
}

fn is_kept(snapshot: &Snapshot, entry: &Entry) -> bool {
    snapshot.get(&entry.path).is_some_and(|held| held.entry.same_stat(entry))
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
    pub held: BTreeMap<String, Held>,
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
    let mut held: BTreeMap<String, Held> = BTreeMap::new();
    for copy in &used {
        for (path, entry) in copy.iter().filter(|(_, held)| held.entry.has_content()) {
            let seen = match held.remove(path) {
                Some(before) => before.or(entry.content.clone()),
                None => entry.content.clone(),
            };
            held.insert(path.clone(), seen);
        }
    }
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
        for (path, id) in proved {
            if let Some(held) = copy.get_mut(path).filter(|held| held.entry.has_content()) {
                held.content = Held::Known(id.clone());
            }
        }
    }
    for other in others {
        if !copies.contains(&other) {
            copies.push(other);
        }
    }
    copies.dedup();
}

/// The copy after builds that are not recorded: a file that is listed as it was recorded may have been read again or not.
fn after_unrecorded(copies: &[Snapshot], listing: &Listing, figure: Option<Figure>) -> Snapshot {
    let most_read = figure.map_or(u64::MAX, |figure| figure.most.saturating_sub(listing.sizes.listing));
    let mut copy = Snapshot::new();
    for (entry, size) in listing.entries.iter().zip(&listing.sizes.contents) {
        let now = listing.read(entry);
        let recorded = copies.iter().filter(|copy| is_kept(copy, entry)).filter_map(|copy| copy.get(&entry.path));
        let recorded = recorded.map(|held| held.content.clone()).reduce(Held::or);
        let content = match recorded {
            Some(recorded) => recorded.or(now),
            None if *size <= most_read && !copies.is_empty() => now,
            // Listed before by a build that we do not know. With a time to the nanosecond it was this very file.
            None if entry.has_ordinary_mtime() && !copies.is_empty() => now,
            None => Held::Unknown,
        };
        copy.insert(entry.path.clone(), HeldEntry { entry: entry.clone(), content });
    }
    copy
}

fn unknown(listing: &Listing) -> Snapshot {
    let held = |entry: &Entry| HeldEntry { entry: entry.clone(), content: Held::Unknown };
    listing.entries.iter().map(|entry| (entry.path.clone(), held(entry))).collect()
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
