//! Lists a context. What takes the time is to ask the file system for each name, so several threads ask for a directory each; what they
//! found is put together in the order of the walk.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{ContextError, Entry, Stat};
use crate::evidence::ignore::{IgnoreRules, IgnoreState};

/// Entries that are listed at most: a context of more is not one that anybody means to send.
const MAX_ENTRIES: usize = 5_000_000;
/// Deepest directory that is entered.
const MAX_DEPTH: usize = 1_000;
/// Threads that are worth their start: more wait for each other in the kernel.
const MOST_THREADS: usize = 4;
/// Directories that have to wait before there is more than one thread.
const WORTH_A_THREAD: usize = 8;

/// Lists a context: what the ignore rules leave in and, where `include` is given, its patterns take (see [`super::follow`]).
///
/// # Errors
/// The root is no directory; something in it cannot be read; a pattern is malformed; there is too much.
pub fn list(root: &Path, ignore: &IgnoreRules, include: Option<&[String]>) -> Result<Vec<Entry>, ContextError> {
    let wrong = |cause| ContextError::Ignore { path: root.to_owned(), cause };
    let rules = match include {
        Some(patterns) => Some(IgnoreRules::from_patterns(patterns.iter().map(String::as_str)).map_err(wrong)?),
        None => None,
    };
    let plain = include.is_some_and(|patterns| patterns.iter().all(|pattern| !pattern.contains(['*', '[', ']', '?', '^', '\\', '!'])));
    let walk = Walk {
        root,
        ignore,
        include: rules.as_ref(),
        plain: include.filter(|_| plain),
        shared: Mutex::new(Shared {
            waiting: vec![Directory { place: 0, path: root.to_owned(), prefix: String::new(), states: None }],
            read: vec![None],
            busy: 0,
            idle: 0,
            names: 0,
        }),
        changed: Condvar::new(),
    };
    walk.read_all();
    let mut listing = Listing {
        root,
        read: walk.shared.into_inner().unwrap_or_else(PoisonError::into_inner).read,
        entries: Vec::new(),
        first_names: HashMap::new(),
    };
    listing.directory(0, &mut Vec::new())?;
    Ok(listing.entries)
}

/// A directory that is to be read.
struct Directory {
    /// Where what is found in it goes.
    place: usize,
    path: PathBuf,
    /// The path from the root of the context; empty for the root itself.
    prefix: String,
    /// What the rules say of it.
    states: Option<Arc<States>>,
}

/// What the rules say of one name.
struct States {
    ignored: IgnoreState,
    included: Option<IgnoreState>,
}

/// One name of a directory.
struct Found {
    name: OsString,
    entry: Entry,
    /// It is listed only when something below it is.
    skip: bool,
    /// Device and number of a file that has several names.
    several: Option<(u64, u64)>,
    /// Where what is below it was put.
    below: Option<usize>,
}

/// What was found in a directory; `None` until it was read.
type Read = Option<Result<Vec<Found>, ContextError>>;

/// What the threads share.
struct Shared {
    waiting: Vec<Directory>,
    read: Vec<Read>,
    /// Directories that are being read.
    busy: usize,
    /// Threads that wait for something to do.
    idle: usize,
    /// Names that were found.
    names: usize,
}

/// Directories that are to be entered, each with its place among the names that were found.
type Below = Vec<(usize, Directory)>;

struct Walk<'a> {
    root: &'a Path,
    ignore: &'a IgnoreRules,
    include: Option<&'a IgnoreRules>,
    /// The patterns of `include`, where none has wildcards: what cannot hold one of them is not entered.
    plain: Option<&'a [String]>,
    shared: Mutex<Shared>,
    changed: Condvar,
}

impl Walk<'_> {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the root and all below it.
    fn read_all(&self) {
        if self.read_until(WORTH_A_THREAD) {
            return;
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        std::thread::scope(|scope| {
            for _ in 1..threads {
                // Without another thread this one does all of it.
                let _ = std::thread::Builder::new().spawn_scoped(scope, || self.read_until(usize::MAX));
            }
            self.read_until(usize::MAX);
        });
    }

    /// Reads directories until none is left (`true`) or so many are waiting.
    fn read_until(&self, many: usize) -> bool {
        let mut shared = self.lock();
        loop {
            if shared.waiting.len() >= many {
                return false;
            }
            let Some(directory) = shared.waiting.pop() else {
                if shared.busy == 0 {
                    self.changed.notify_all();
                    return true;
                }
                shared.idle += 1;
                shared = self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
                shared.idle -= 1;
                continue;
            };
            shared.busy += 1;
            drop(shared);
            let place = directory.place;
            let found = self.directory(&directory);
            shared = self.lock();
            shared.busy -= 1;
            let found = found.map(|(mut found, below)| {
                shared.names += found.len();
                for (at, mut directory) in below {
                    directory.place = shared.read.len();
                    if let Some(found) = found.get_mut(at) {
                        found.below = Some(directory.place);
                    }
                    shared.read.push(None);
                    shared.waiting.push(directory);
                }
                found
            });
            if shared.names >= MAX_ENTRIES {
                shared.waiting.clear();
            }
            if let Some(read) = shared.read.get_mut(place) {
                *read = Some(found);
            }
            // Each call wakes through the kernel, whether anybody sleeps or not.
            if shared.idle > 0 {
                self.changed.notify_all();
            }
        }
    }

    /// Reads one directory: what is found in it, and which of that is to be entered.
    fn directory(&self, directory: &Directory) -> Result<(Vec<Found>, Below), ContextError> {
        let Directory { path, prefix, states, .. } = directory;
        let unreadable = |cause| ContextError::Read { path: path.clone(), cause };
        let malformed = |cause| ContextError::Ignore { path: path.clone(), cause };
        let ignored = states.as_ref().map(|states| &states.ignored);
        let included = states.as_ref().and_then(|states| states.included.as_ref());
        if prefix.matches('/').count() > MAX_DEPTH {
            return Err(ContextError::TooLarge(self.root.to_owned()));
        }
        let (mut found, mut below) = (Vec::new(), Vec::new());
        for listed in std::fs::read_dir(path).map_err(unreadable)? {
            let listed = listed.map_err(unreadable)?;
            let name = listed.file_name();
            let shown = name.to_string_lossy();
            let mut relative = String::with_capacity(prefix.len() + 1 + shown.len());
            if !prefix.is_empty() {
                relative.push_str(prefix);
                relative.push('/');
            }
            relative.push_str(&shown);
            let out = self.ignore.enter(&relative, ignored).map_err(malformed)?;
            let taken = match self.include {
                Some(rules) => Some(rules.enter(&relative, included).map_err(malformed)?),
                None => None,
            };
            let skip = out.ignored() || taken.as_ref().is_some_and(|state| !state.ignored());
            if skip && !listed.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            // Asked of the open directory, which spares the way down to it.
            let metadata = match listed.metadata() {
                Ok(metadata) => metadata,
                // It went away while it was looked at.
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => continue,
                Err(_) if skip => continue,
                Err(cause) => return Err(ContextError::Read { path: path.join(&name), cause }),
            };
            let enter = metadata.is_dir()
                && !out.skips_directory()
                && (taken.as_ref().is_none_or(IgnoreState::ignored) || self.can_hold(&relative));
            if skip && !enter {
                continue;
            }
            let Some(stat) = Stat::of(&metadata) else { continue };
            if enter {
                let states = Some(Arc::new(States { ignored: out, included: taken }));
                below.push((name.clone(), Directory { place: 0, path: path.join(&name), prefix: relative.clone(), states }));
            }
            let mut entry = Entry {
                path: relative,
                mode: stat.mode,
                size: if metadata.is_dir() { 0 } else { metadata.len() },
                mtime_ns: stat.mtime_ns,
                link: String::new(),
                inode: stat.inode,
                ctime_ns: stat.ctime_ns,
            };
            if entry.is_symlink() {
                let full = path.join(&name);
                let target = std::fs::read_link(&full).map_err(|cause| ContextError::Read { path: full, cause })?;
                entry.link = target.to_string_lossy().into_owned();
            }
            let several = (stat.names > 1 && !entry.is_dir() && !entry.is_symlink()).then_some((stat.device, stat.inode));
            found.push(Found { name, entry, skip, several, below: None });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let place = |name: &OsString| found.binary_search_by(|found| found.name.cmp(name)).ok();
        let below = below.into_iter().filter_map(|(name, directory)| Some((place(&name)?, directory))).collect();
        Ok((found, below))
    }

    fn can_hold(&self, directory: &str) -> bool {
        self.plain.is_none_or(|patterns| patterns.iter().any(|p| p.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))))
    }
}

/// Puts together what was found.
struct Listing<'a> {
    root: &'a Path,
    read: Vec<Read>,
    entries: Vec<Entry>,
    /// The first name of each file that has several.
    first_names: HashMap<(u64, u64), String>,
}

impl Listing<'_> {
    /// Lists what is in one directory. `pending` holds the directories above that are listed only when something in them is.
    fn directory(&mut self, place: usize, pending: &mut Vec<Entry>) -> Result<(), ContextError> {
        // What was not read any more was too much.
        let read = self.read.get_mut(place).and_then(Option::take);
        for Found { mut entry, skip, several, below, .. } in read.ok_or_else(|| ContextError::TooLarge(self.root.to_owned()))?? {
            if skip {
                pending.push(entry);
                let before = pending.len();
                match below.map_or(Ok(()), |place| self.directory(place, pending)) {
                    // What is left out need not be readable.
                    Err(ContextError::Read { cause, .. }) if cause.kind() == std::io::ErrorKind::PermissionDenied => {}
                    other => other?,
                }
                if pending.len() >= before {
                    pending.truncate(before - 1);
                }
                continue;
            }
            self.entries.append(pending);
            if self.entries.len() >= MAX_ENTRIES {
                return Err(ContextError::TooLarge(self.root.to_owned()));
            }
            if let Some(file) = several {
                match self.first_names.get(&file) {
                    Some(first) => (entry.link, entry.size) = (first.clone(), 0),
                    None => _ = self.first_names.insert(file, entry.path.clone()),
                }
            }
            self.entries.push(entry);
            if let Some(place) = below {
                self.directory(place, pending)?;
            }
        }
        Ok(())
    }
}
