//! The files that a COPY put into an image, against those that it should have.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use crate::build::Instant;
use crate::evidence::context::{Entry, content::ContentId};
use crate::evidence::glob::SourcePattern;
use crate::evidence::go_match::below_root;
use crate::evidence::image::{FileId, Found, Image, ImageError};

use super::local::ContextState;
use super::plan::Use;
use super::tree::{Difference, HISTORY_DEPTH};
use super::unpack;

/// A file of which the image has another content than the commit.
#[derive(Debug, Clone)]
pub(super) struct Wrong {
    /// From the root of the context.
    pub(super) path: String,
    /// What is wrong, for people.
    pub(super) why: String,
    /// True where the image has what an earlier commit had there.
    pub(super) older: bool,
    /// True where the image has the file, with other bytes.
    pub(super) held: bool,
}

/// What an image shows of a step. The files are named from the root of the context.
#[derive(Debug, Clone, Default)]
pub(super) struct Compared {
    /// Files that it has as they should be.
    pub(super) same: Vec<String>,
    /// Files that it does not have so.
    pub(super) wrong: Vec<Wrong>,
    /// Files of which it tells nothing: they changed on disk after the build, or a later command may have changed them in the image.
    pub(super) open: Vec<String>,
    /// Where in the image those that are as they should be are.
    pub(super) places: HashSet<String>,
    /// What the image proves that the builder's copy of the context held, by file.
    pub(super) held: HashMap<String, ContentId>,
    /// True where the layer of the step itself was looked at, and not what later commands left of it.
    pub(super) own: bool,
}

impl Compared {
    /// Takes in what another image of the same step shows.
    pub(super) fn add(&mut self, other: Self) {
        self.same.extend(other.same);
        self.wrong.extend(other.wrong);
        self.open.extend(other.open);
        self.places.extend(other.places);
        self.held.extend(other.held);
        self.own |= other.own;
    }

    /// Leaves out what is wrong but no older version.
    pub(super) fn forget_wrong_but_older(&mut self) {
        for wrong in self.wrong.iter().filter(|wrong| !wrong.older) {
            self.held.remove(&wrong.path);
        }
        self.wrong.retain(|wrong| wrong.older);
    }

    /// True where nothing was compared.
    pub(super) fn is_empty(&self) -> bool {
        self.same.is_empty() && self.wrong.is_empty() && self.open.is_empty()
    }
}

/// What should be at a place of the image.
enum Expected {
    /// What is on disk, or in the commit.
    Content,
    /// What a second name of a file means.
    SameAs(String),
    /// A link to this.
    Link(String),
    /// This very content.
    Exactly(FileId),
}

/// One file and where it can be.
struct Taken {
    path: String,
    expected: Expected,
    places: Vec<String>,
}

/// Where a step stands in an image.
pub(super) struct Place<'a> {
    pub(super) image: &'a Image,
    /// The last layer that counts.
    pub(super) up_to: usize,
    /// True where that is the layer of the step itself.
    pub(super) own: bool,
    /// The working directory of the step.
    pub(super) workdir: &'a str,
    /// A later copy from the stage of the step, with its working directory, through which the image has the files.
    pub(super) outer: Option<(&'a Use, &'a str)>,
    /// When the build began, where the log has times.
    pub(super) started: Option<Instant>,
}

/// A file of which the image has something else, or nothing.
struct Differing<'f> {
    path: &'f str,
    is_there: bool,
    held: Option<FileId>,
}

/// What is at one place of an image.
enum Seen {
    Nothing,
    Other(Option<FileId>),
    /// What it should be; with its content where that is one of the context's.
    Same(Option<FileId>),
}

impl Place<'_> {
    /// Compares what a step took from a context with what the image has.
    ///
    /// # Errors
    /// A layer cannot be read.
    pub(super) fn compare(&self, taken: &Use, state: &ContextState) -> Result<Compared, ImageError> {
        let mut files = taken_files(taken, state, self.workdir);
        if let Some((outer, workdir)) = self.outer {
            for file in &mut files {
                file.places = file.places.iter().flat_map(|place| places(&outer.sources, outer, workdir, place)).collect();
            }
            files.retain(|file| !file.places.is_empty());
        }
        // Of two files that go to one place the later one is there.
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (at, file) in files.iter().enumerate() {
            last.extend(file.places.iter().map(|place| (place.as_str(), at)));
        }
        let judge = FileJudge { state, prefix: prefix(state) };
        let mut compared = Compared { own: self.own, ..Compared::default() };
        let mut differ = Vec::new();
        for (at, file) in files.iter().enumerate() {
            let places: Vec<&String> = file.places.iter().filter(|place| last.get(place.as_str()) == Some(&at)).collect();
            if !places.is_empty()
                && let Some(differing) = self.compare_one(file, &places, &judge, &mut compared)?
            {
                differ.push(differing);
            }
        }
        self.sort_out(&differ, &judge, &mut compared);
        if self.outer.is_none() {
            self.not_on_disk(taken, &judge, &mut compared)?;
        }
        if self.outer.is_none() && self.own {
            for (path, wanted) in state.misruled.iter().filter(|(path, _)| taken.selection.selects(path)) {
                let mut is_there = false;
                for place in places(&taken.sources, taken, self.workdir, path) {
                    is_there |= self.image.entry(self.up_to, &place)?.is_some();
                }
                let why = match (wanted, is_there) {
                    (true, false) => "the image does not have it: an old .dockerignore kept it out",
                    (false, true) => "the image has it: an old .dockerignore let it in",
                    _ => continue,
                };
                compared.same.retain(|same| same != path);
                compared.wrong.push(Wrong { path: path.clone(), why: why.to_owned(), older: false, held: false });
            }
        }
        Ok(compared)
    }

    /// Looks for a file at its places. Gives what is there instead where none holds it.
    fn compare_one<'f>(
        &self,
        file: &'f Taken,
        places: &[&String],
        judge: &FileJudge<'_>,
        compared: &mut Compared,
    ) -> Result<Option<Differing<'f>>, ImageError> {
        let mut differing = Differing { path: &file.path, is_there: false, held: None };
        for place in places {
            match self.look(file, place, judge)? {
                Seen::Same(found) => {
                    compared.same.push(file.path.clone());
                    compared.places.insert((*place).clone());
                    compared.held.extend(found.map(|found| (file.path.clone(), judge.name_of(&file.path, &found))));
                    return Ok(None);
                }
                Seen::Other(found) => {
                    differing.is_there = true;
                    differing.held = differing.held.or(found);
                }
                Seen::Nothing => {}
            }
        }
        Ok(Some(differing))
    }

    /// Says of files that differ what that means.
    fn sort_out(&self, differ: &[Differing<'_>], judge: &FileJudge<'_>, compared: &mut Compared) {
        let older = judge.older(differ);
        for file in differ {
            let older = older.contains(file.path);
            let changed_since = !judge.is_tracked(file.path) && judge.changed_after(file.path, self.started);
            if !older && (!self.own || changed_since) {
                compared.open.push(file.path.to_owned());
                continue;
            }
            let why = match (file.is_there, older) {
                (_, true) => "the image has what an earlier commit had there",
                (true, false) => "the image has other bytes",
                (false, false) => "the image does not have it",
            };
            compared.wrong.push(Wrong { path: file.path.to_owned(), why: why.to_owned(), older, held: file.is_there });
            if let Some(held) = file.held {
                let on_disk = judge.state.listing.content(file.path);
                compared.held.insert(file.path.to_owned(), held.named_as(on_disk));
            }
        }
    }

    fn look(&self, file: &Taken, place: &str, judge: &FileJudge<'_>) -> Result<Seen, ImageError> {
        if let Expected::Link(target) = &file.expected {
            return Ok(match self.image.entry(self.up_to, place)? {
                None => Seen::Nothing,
                Some(Found::Link(held)) if held == *target => Seen::Same(None),
                Some(_) => Seen::Other(None),
            });
        }
        let Some(id) = self.image.file(self.up_to, place)? else {
            return Ok(Seen::Nothing);
        };
        let same = match &file.expected {
            Expected::Content => judge.agrees(&file.path, &file.path, &id),
            Expected::SameAs(first) => judge.agrees(&file.path, first, &id),
            Expected::Exactly(content) => *content == id,
            Expected::Link(_) => false,
        };
        let of_context = (!matches!(file.expected, Expected::Exactly(_))).then_some(id);
        Ok(if same { Seen::Same(of_context) } else { Seen::Other(of_context) })
    }

    /// What the commit has and the tree has not: the image must hold it all the same. A submodule at another commit is wrong as a whole.
    fn not_on_disk(&self, taken: &Use, judge: &FileJudge<'_>, compared: &mut Compared) -> Result<(), ImageError> {
        let state = judge.state;
        for (path, difference) in &state.differences {
            if !taken.selection.selects(path) || state.rules.leaves_out(path) {
                continue;
            }
            let wrong = |why: &str| Wrong { path: path.clone(), why: why.to_owned(), older: false, held: false };
            if *difference == Difference::Submodule {
                compared.wrong.push(wrong("the submodule is not at the commit that is recorded for it"));
                continue;
            }
            let is_dirty = *difference == Difference::Dirty;
            if !(is_dirty || *difference == Difference::OtherCommit) || state.listing.content(path).is_some() {
                continue;
            }
            let expected = state.reference.as_ref().and_then(|reference| reference.expected(&judge.full(path)));
            let Some(expected) = expected.filter(|entry| entry.is_blob() && !entry.is_link()) else {
                continue;
            };
            let mut same = false;
            for place in places(&taken.sources, taken, self.workdir, path) {
                same |= self.image.file(self.up_to, &place)?.is_some_and(|id| id.is_blob(&expected.id) != Some(false));
            }
            // A file that was deleted and not committed may have been there at the build, or not.
            if is_dirty && !same {
                continue;
            }
            match (same, self.own) {
                (true, _) => compared.same.push(path.clone()),
                (false, true) => compared.wrong.push(wrong("the image does not have it")),
                (false, false) => compared.open.push(path.clone()),
            }
        }
        Ok(())
    }
}

/// The content of an empty file, by git's name and by SHA-256: it says nothing of where it comes from.
const EMPTY: [&str; 2] = ["e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"];

/// True below a directory of packages: a version of the context's own code that was published, and came back as a dependency, says nothing of
/// what the builder took from the context.
fn is_vendored(path: &str) -> bool {
    const PACKAGES: [&str; 9] =
        ["node_modules", "site-packages", "dist-packages", "vendor", "bower_components", "gems", "Pods", ".m2", ".cargo"];
    path.split('/').any(|part| PACKAGES.contains(&part))
}

/// Looks for files of a context among those of a layer, wherever a command put them and whatever it called them. A content that several
/// files have is no proof for any of them. What an earlier commit had counts under its own name alone, and only where no file has it now.
///
/// # Errors
/// The layer cannot be read.
pub(super) fn anywhere(image: &Image, layer: usize, paths: &[&str], state: &ContextState) -> Result<Compared, ImageError> {
    let judge = FileJudge { state, prefix: prefix(state) };
    let mut compared = Compared::default();
    let mut count: HashMap<&ContentId, usize> = HashMap::new();
    for id in state.listing.iter().filter_map(|(_, id)| id) {
        *count.entry(id).or_default() += 1;
    }
    let names = image.file_names(layer)?;
    let mut missing: HashMap<Vec<u8>, &str> = HashMap::new();
    for path in paths.iter().copied() {
        let mut found = None;
        for id in judge.expected(path).into_iter().filter(|id| count.get(id).is_none_or(|count| *count < 2)) {
            let place = image.with_content(layer, &id)?.into_iter().find(|place| !is_vendored(place));
            found = found.or(place.map(|place| (place.to_owned(), id)));
        }
        match found {
            Some((_, ContentId::Git(id) | ContentId::Sha256(id))) if EMPTY.contains(&&*id) => {}
            Some((place, id)) => {
                compared.same.push(path.to_owned());
                compared.places.insert(place);
                compared.held.insert(path.to_owned(), id);
            }
            None if names.contains(path.rsplit('/').next().unwrap_or(path)) => {
                missing.insert(judge.full(path), path);
            }
            None => {}
        }
    }
    let asked: Vec<Vec<u8>> = missing.keys().cloned().collect();
    let now: HashSet<String> = match asked.is_empty() {
        true => HashSet::new(),
        false => {
            let committed = state.reference.iter().flat_map(|reference| reference.blobs());
            let on_disk = count.keys().filter_map(|id| if let ContentId::Git(id) = id { Some(id.to_string()) } else { None });
            committed.chain(on_disk).collect()
        }
    };
    for (full, id) in judge.past(&asked) {
        let Some(path) = missing.get(&full).copied().filter(|_| !EMPTY.contains(&id.as_str()) && !now.contains(&id)) else {
            continue;
        };
        let (id, name) = (ContentId::Git(id.into()), path.rsplit('/').next());
        let is_named_so = |place: &&str| place.rsplit('/').next() == name && !is_vendored(place);
        if let Some(place) = image.with_content(layer, &id)?.into_iter().find(is_named_so)
            && compared.held.insert(path.to_owned(), id).is_none()
        {
            let why = format!("the image has what an earlier commit had there, as /{place}");
            compared.wrong.push(Wrong { path: path.to_owned(), why, older: true, held: true });
        }
    }
    Ok(compared)
}

/// The path of a context from the top of its repository.
fn prefix(state: &ContextState) -> Vec<u8> {
    state.reference.as_ref().and_then(|reference| reference.work.prefix(&state.root)).unwrap_or_default()
}

/// The files on disk that a step takes, in the order in which it puts them down.
fn taken_files(taken: &Use, state: &ContextState, workdir: &str) -> Vec<Taken> {
    let mut found = Vec::new();
    for source in &taken.sources {
        let one = std::slice::from_ref(source);
        for entry in state.listing.entries.iter().filter(|entry| !entry.is_dir() && taken.selection.selects(&entry.path)) {
            // Git's own files change with every command that is run in the tree.
            let places = places(one, taken, workdir, &entry.path);
            if places.is_empty() || entry.path.split('/').any(|part| part == ".git") {
                continue;
            }
            let itself = SourcePattern::new(source).below(&entry.path) == Some("");
            let path = entry.path.clone();
            if taken.unpacks
                && itself
                && let Some(unpacked) = unpack::contents(&state.root.join(&path))
            {
                let base = base(&taken.destination, workdir);
                found.extend(unpacked.into_iter().map(|(name, id)| Taken {
                    path: path.clone(),
                    expected: Expected::Exactly(id),
                    places: vec![below_root(&format!("{base}/{name}"))],
                }));
                continue;
            }
            if let Some(expected) = expected(entry, itself, &state.root) {
                found.push(Taken { path, expected, places });
            }
        }
    }
    found
}

fn expected(entry: &Entry, itself: bool, root: &Path) -> Option<Expected> {
    if entry.has_content() {
        return Some(Expected::Content);
    }
    if !entry.is_symlink() {
        return (!entry.link.is_empty()).then(|| Expected::SameAs(entry.link.clone()));
    }
    if !itself {
        return Some(Expected::Link(entry.link.clone()));
    }
    // A source that is a link itself is followed.
    let path = root.join(&entry.path);
    let metadata = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
    FileId::of(File::open(&path).ok()?, metadata.len()).ok().map(Expected::Exactly)
}

/// Where a file can be in the image: a destination that is a directory is not always written as one.
fn places(sources: &[String], to: &Use, workdir: &str, path: &str) -> Vec<String> {
    let base = base(&to.destination, workdir);
    let join = |name: &str| below_root(&format!("{base}/{name}"));
    let mut found = Vec::new();
    for source in sources {
        if to.parents {
            // What stands before `/./` is not made again at the destination.
            let pivot = source.split_once("/./").map_or("", |(pivot, _)| pivot);
            let pattern = source.split_once("/./").map_or(source.as_str(), |(_, pattern)| pattern);
            let below = SourcePattern::new(pivot).below(path).filter(|below| SourcePattern::new(pattern).selects(below));
            found.extend(below.map(join));
            continue;
        }
        match SourcePattern::new(source).below(path) {
            Some("") => {
                let name = path.rsplit('/').next().unwrap_or(path);
                found.extend([join(name), base.clone()]);
            }
            Some(below) => found.push(join(below)),
            None => {}
        }
    }
    found
}

fn base(destination: &str, workdir: &str) -> String {
    if destination.starts_with('/') { below_root(destination) } else { below_root(&format!("{workdir}/{destination}")) }
}

struct FileJudge<'s> {
    state: &'s ContextState,
    prefix: Vec<u8>,
}

impl FileJudge<'_> {
    fn full(&self, path: &str) -> Vec<u8> {
        [self.prefix.as_slice(), path.as_bytes()].concat()
    }

    /// Says whether a content is that of the file on disk, or of the commit. `content` is the path whose content counts.
    fn agrees(&self, path: &str, content: &str, held: &FileId) -> bool {
        let state = self.state;
        let not_the_commit = matches!(state.differences.get(path), Some(Difference::OtherCommit | Difference::Old));
        let on_disk = state.listing.content(content).filter(|_| !not_the_commit);
        if on_disk.and_then(|id| held.is(id)) == Some(true) {
            return true;
        }
        let blob = state.reference.as_ref().and_then(|reference| reference.expected(&self.full(content)));
        if blob.is_some_and(|entry| held.is_blob(&entry.id) == Some(true)) {
            return true;
        }
        // Line ends and LFS pointers that the checkout changed have another name in git than in the image: the bytes decide.
        let bytes = || {
            let path = state.root.join(content);
            let size = std::fs::metadata(&path).ok()?.len();
            FileId::of(File::open(&path).ok()?, size).ok()
        };
        !not_the_commit && matches!(on_disk, Some(ContentId::Git(_))) && bytes().is_some_and(|id| id == *held)
    }

    /// What the file is to hold: what is on disk, what the commit has.
    fn expected(&self, path: &str) -> Vec<ContentId> {
        let not_the_commit = matches!(self.state.differences.get(path), Some(Difference::OtherCommit | Difference::Old));
        let on_disk = self.state.listing.content(path).filter(|_| !not_the_commit).cloned();
        let blob = self.state.reference.as_ref().and_then(|reference| reference.expected(&self.full(path)));
        let mut ids: Vec<ContentId> = on_disk.into_iter().chain(blob.map(|entry| ContentId::Git(entry.id.into()))).collect();
        ids.dedup();
        ids
    }

    /// The name of a content of the image that is as it should be.
    fn name_of(&self, path: &str, held: &FileId) -> ContentId {
        let on_disk = self.state.listing.content(path);
        let blob = self.state.reference.as_ref().and_then(|reference| reference.expected(&self.full(path)));
        match on_disk {
            Some(id) if held.is(id) == Some(true) => id.clone(),
            Some(id) if blob.as_ref().is_none_or(|blob| held.is_blob(&blob.id) != Some(true)) => id.clone(),
            _ => held.named_as(on_disk),
        }
    }

    /// Contents that these paths had in the past of the commit, and those that they have.
    fn past(&self, paths: &[Vec<u8>]) -> Vec<(Vec<u8>, String)> {
        let Some(reference) = self.state.reference.as_ref().filter(|_| !paths.is_empty()) else {
            return Vec::new();
        };
        let commit = if reference.known { &reference.commit } else { &reference.work.head };
        reference.work.repository().past_blobs(commit, paths, HISTORY_DEPTH).unwrap_or_default()
    }

    /// Which of these files are what an earlier commit had there. One question to git, however many they are.
    fn older<'f>(&self, differ: &[Differing<'f>]) -> HashSet<&'f str> {
        let held: HashMap<Vec<u8>, (&str, FileId)> =
            differ.iter().filter_map(|file| Some((self.full(file.path), (file.path, file.held?)))).collect();
        let paths: Vec<Vec<u8>> = held.keys().cloned().collect();
        let past = self.past(&paths);
        let same =
            |(path, id): &(Vec<u8>, String)| held.get(path).filter(|(_, held)| held.is_blob(id) == Some(true)).map(|(name, _)| *name);
        past.iter().filter_map(same).collect()
    }

    fn is_tracked(&self, path: &str) -> bool {
        self.state.reference.as_ref().is_some_and(|reference| reference.tracks(&self.full(path)))
    }

    /// Says whether a file may have changed since the build read it, the log of the build itself perhaps.
    fn changed_after(&self, path: &str, started: Option<Instant>) -> bool {
        let entry = self.state.listing.entries.iter().find(|entry| entry.path == path);
        match (entry, started.filter(|started| started.absolute)) {
            (Some(entry), Some(started)) => i128::from(entry.ctime_ns.max(entry.mtime_ns)) > started.nanoseconds,
            _ => true,
        }
    }
}
