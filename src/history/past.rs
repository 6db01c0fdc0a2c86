//! What earlier runs left for the judge: the builder's copies of contexts, the last run, the images that runs built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use polars::prelude::*;
use sha2::{Digest, Sha256};

use super::files::{self, Table, digest, publish};
use super::fold::shared_lock;
use super::frames::{Columns, frame, times};
use super::rows::{RunRow, Selection};
use super::store::{MAX_TRIED, SCHEMA_VERSION, log_of};
use super::{History, HistoryError};
use crate::evidence::context::Entry;
use crate::evidence::context::content::{ContentId, hex};
use crate::evidence::image_name;
use crate::freshness::SyncRecord;
use crate::freshness::past::{BuiltImage, Copies, Past};
use crate::freshness::sync::{Held, HeldEntry, Snapshot};
use crate::freshness::verdict::RunRef;

/// The run that is judged: what was recorded of it, or after it, is no past of it.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// The log's digest.
    log: String,
    /// When it began, where that is known.
    at: Option<Timestamp>,
}

impl Judged {
    /// Whether a recorded run came before this one, by its file's stamp and its id.
    fn follows(&self, other_stamp: &str, other_run: &str) -> bool {
        let same_log = log_of(other_run) == Some(&self.log);
        match self.at.map(files::stamp) {
            Some(stamp) => other_stamp < stamp.as_str() || (other_stamp == stamp && !same_log),
            None => !same_log,
        }
    }
}

impl History {
    /// Says which run is going to be judged, so that it is not compared with itself when it is recorded already, nor with later ones.
    /// `log` is its [`super::log_digest`], `at` its beginning where that is known.
    pub fn judge(&mut self, log: &str, at: Option<Timestamp>) {
        // Stored times have microseconds.
        let at = at.map(|at| Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at));
        self.judged = Some(Judged { log: log.to_owned(), at });
    }

    /// Whether a recorded run came before the one that is judged.
    pub(super) fn came_before(&self, stamp: &str, run: &str) -> bool {
        self.judged.as_ref().is_none_or(|judged| judged.follows(stamp, run))
    }

    /// The files of a partition of contexts or images, the newest first, without those of the judged run and of later ones.
    fn newest(&self, partition: &Path) -> Vec<PathBuf> {
        let mut files = files::list(partition).single;
        files.retain(|(path, run)| {
            let stamp = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('-').next());
            self.came_before(stamp.unwrap_or_default(), run)
        });
        files.into_iter().rev().map(|(path, _)| path).collect()
    }

    /// The last run of the project with its time.
    ///
    /// # Errors
    /// A newer program recorded it.
    pub(super) fn newest_run(&self) -> Result<Option<(Timestamp, RunRef)>, HistoryError> {
        let selection = Selection { project: Some(self.project().to_owned()), ..Selection::default() };
        for partition in files::partitions(self.root(), Table::Runs, &selection).iter().rev() {
            let mut listed = files::list(&partition.directory(self.root(), Table::Runs));
            let mut newest: Option<(Timestamp, RunRef)> = None;
            // Single files are tried from the newest on; of folded ones all rows count.
            listed.single.reverse();
            let single = listed.single.iter().map(|(path, _)| path).take(MAX_TRIED);
            for (path, folded) in single.map(|path| (path, false)).chain(listed.folded.iter().map(|path| (path, true))) {
                if newest.is_some() && !folded {
                    continue;
                }
                let Some(frame) = self.readable(path, Some(&["run", "at", "commit"]))? else { continue };
                let columns = Columns::new(&frame);
                let (run, at, commit) = (columns.get("run"), columns.get("at"), columns.get("commit"));
                for row in 0..frame.height() {
                    let (Some(id), Some(time)) = (run.text(row), at.time(row)) else { continue };
                    if self.came_before(&files::stamp(time), id) && newest.as_ref().is_none_or(|(newest, _)| *newest <= time) {
                        newest = Some((time, RunRef { run: Some(id.to_owned()), commit: commit.owned(row) }));
                    }
                }
            }
            if newest.is_some() {
                return Ok(newest);
            }
        }
        Ok(None)
    }

    /// Writes the builder's copies of the contexts of a run.
    pub(super) fn record_contexts(&self, run: &RunRow, syncs: &[SyncRecord], recorded_at: Timestamp) -> Result<(), HistoryError> {
        let recorded_ns = i64::try_from(recorded_at.as_nanosecond()).unwrap_or(i64::MAX);
        // Builds of one script can begin at one moment: of their contexts the one that was recorded last counts.
        let name = format!("{}-{recorded_ns:020}-{}.parquet", files::stamp(run.at), run.run);
        let mut written = BTreeSet::new();
        for sync in syncs.iter().rev() {
            // Targets of one key share its copies; the last sync says what they hold.
            if written.insert(&sync.key) {
                let directory = self.root().join("contexts").join(format!("key={}", digest(&sync.key)));
                let lock = shared_lock(&directory)?;
                let tree = write_tree(&directory, sync)?;
                publish(&directory.join(&name), &mut context_frame(run, sync, recorded_ns, &tree)?)?;
                drop(lock);
                self.prune(&directory)?;
            }
        }
        for (image, sync) in images(run, syncs) {
            let images = self.root().join("images").join(format!("name={}", digest(&image_name::tagged(&image))));
            // The context of an earlier build of the run is not what its key holds at the end.
            let directory = self.root().join("contexts").join(format!("key={}", digest(&sync.key)));
            let lock = shared_lock(&directory)?;
            let tree = match sync.copies.is_empty() {
                true => write_tree(&directory, &SyncRecord { copies: vec![sync.listing.fresh()], ..sync.clone() })?,
                false => write_tree(&directory, sync)?,
            };
            publish(&images.join(&name), &mut image_frame(run, &image, sync, &tree)?)?;
            drop(lock);
            self.prune(&images)?;
        }
        Ok(())
    }

    /// Reads a file; what is wrong with it is noted.
    fn noted(&self, path: &Path) -> Option<DataFrame> {
        match files::read(path, None) {
            Ok(frame) => frame,
            Err(error) => {
                self.note(&error);
                None
            }
        }
    }

    /// The first of these files that can be read.
    fn first_readable(&self, files: Vec<PathBuf>) -> Option<(DataFrame, PathBuf)> {
        files.into_iter().take(MAX_TRIED).find_map(|path| Some((self.noted(&path)?, path)))
    }

    /// The copies that a file of a context names, or that it holds itself, as those of the first version do.
    fn context(&self, path: &Path) -> Option<Copies> {
        let frame = self.noted(path)?;
        let columns = Columns::new(&frame);
        let (run, commit, recorded) = (columns.get("run"), columns.get("commit"), columns.get("recorded_ns"));
        let copies = Copies {
            from: RunRef { run: run.owned(0), commit: commit.owned(0) },
            recorded_ns: recorded.integer(0).unwrap_or_default(),
            ..Copies::default()
        };
        match columns.get("tree").owned(0).filter(|tree| is_tree_name(tree)) {
            Some(tree) => Self::copies_in(&self.noted(&tree_path(path.parent()?, &tree))?, copies),
            None => Self::copies_in(&frame, copies),
        }
    }

    fn copies_in(frame: &DataFrame, mut copies: Copies) -> Option<Copies> {
        let strings = |name: &str| frame.column(name).ok()?.str().ok().cloned();
        let numbers = |name: &str| frame.column(name).ok()?.i64().ok().cloned();
        let (path, link, disk, held) = (strings("path")?, strings("link")?, strings("content")?, strings("held")?);
        let (copy, mode, size, mtime) = (numbers("copy")?, numbers("mode")?, numbers("size")?, numbers("mtime_ns")?);
        let (inode, ctime) = (numbers("inode")?, numbers("ctime_ns")?);
        let mut snapshots: BTreeMap<i64, Vec<HeldEntry>> = BTreeMap::new();
        let mut on_disk = Vec::new();
        for row in 0..frame.height() {
            let snapshot = snapshots.entry(copy.get(row)?).or_default();
            let name = path.get(row)?;
            if name.is_empty() {
                continue;
            }
            let entry = Entry {
                path: name.to_owned(),
                mode: u32::try_from(mode.get(row)?).ok()?,
                size: u64::try_from(size.get(row)?).ok()?,
                mtime_ns: mtime.get(row)?,
                link: link.get(row).unwrap_or_default().to_owned(),
                inode: inode.get(row).unwrap_or_default().cast_unsigned(),
                ctime_ns: ctime.get(row).unwrap_or_default(),
            };
            if let Some(content) = disk.get(row).and_then(ContentId::parse) {
                on_disk.push((entry.path.clone(), entry.inode, entry.ctime_ns, content));
            }
            let content = decode_held(held.get(row).unwrap_or_default());
            snapshot.push(HeldEntry { entry: entry.into(), content });
        }
        copies.disk = on_disk.into();
        copies.snapshots = snapshots.into_values().map(Snapshot::from_iter).collect();
        Some(copies)
    }
}

impl Past for History {
    fn copies(&self, key: &str) -> Option<Copies> {
        let partition = self.root().join("contexts").join(format!("key={}", digest(key)));
        self.newest(&partition).iter().take(MAX_TRIED).find_map(|path| self.context(path))
    }

    fn last_run(&self) -> Option<RunRef> {
        match self.newest_run() {
            Ok(run) => run.map(|(_, run)| run),
            Err(error) => {
                self.note(&error);
                None
            }
        }
    }

    fn image(&self, name: &str) -> Option<BuiltImage> {
        let partition = self.root().join("images").join(format!("name={}", digest(&image_name::tagged(name))));
        let (frame, path) = self.first_readable(self.newest(&partition))?;
        let text = |name: &str| frame.column(name).ok()?.str().ok()?.get(0).map(str::to_owned);
        let key = text("key")?;
        let directory = self.root().join("contexts").join(format!("key={}", digest(&key)));
        let tree = frame.column("tree").ok().and_then(|_| text("tree")).filter(|tree| is_tree_name(tree));
        let copies = match tree {
            Some(tree) => Self::copies_in(&self.noted(&tree_path(&directory, &tree))?, Copies::default())?,
            // Images of the first version are those of the key's context.
            None => self.context(&directory.join(path.file_name()?))?,
        };
        let files = copies.disk.iter().map(|(path, _, _, content)| (path.clone(), content.clone())).collect();
        Some(BuiltImage { from: RunRef { run: text("run"), commit: text("commit") }, prefix: text("prefix").unwrap_or_default(), files })
    }
}

/// The names of the images of a run with the sync of the context that each was made from.
fn images<'a>(run: &RunRow, syncs: &'a [SyncRecord]) -> Vec<(String, &'a SyncRecord)> {
    let mains: Vec<&SyncRecord> = syncs.iter().filter(|sync| sync.key.split('|').nth(3) == Some("context")).collect();
    let of = |name: &String| {
        let tagged = image_name::tagged(name);
        let named = mains.iter().rfind(|sync| sync.images.contains(&tagged));
        // With one context there is no other that it can be of.
        let sync = named.or_else(|| mains.first().filter(|_| mains.len() == 1))?;
        Some((name.clone(), *sync))
    };
    run.images.iter().filter_map(of).collect()
}

fn image_frame(run: &RunRow, name: &str, sync: &SyncRecord, tree: &str) -> Result<DataFrame, HistoryError> {
    frame(vec![
        Column::new("schema_version".into(), [SCHEMA_VERSION]),
        Column::new("run".into(), [run.run.as_str()]),
        times("at", std::iter::once(Some(run.at)))?,
        Column::new("commit".into(), [run.commit.as_deref()]),
        Column::new("image".into(), [name]),
        Column::new("key".into(), [sync.key.as_str()]),
        Column::new("prefix".into(), [sync.prefix.as_str()]),
        Column::new("tree".into(), [tree]),
    ])
}

/// What a run found under a key: one row, which names the tree.
fn context_frame(run: &RunRow, sync: &SyncRecord, recorded_ns: i64, tree: &str) -> Result<DataFrame, HistoryError> {
    frame(vec![
        Column::new("schema_version".into(), [SCHEMA_VERSION]),
        Column::new("run".into(), [run.run.as_str()]),
        times("at", std::iter::once(Some(run.at)))?,
        Column::new("recorded_ns".into(), [recorded_ns]),
        Column::new("commit".into(), [run.commit.as_deref()]),
        Column::new("sync_key".into(), [sync.key.as_str()]),
        Column::new("target".into(), [sync.target.as_deref()]),
        Column::new("prefix".into(), [sync.prefix.as_str()]),
        Column::new("tree".into(), [tree]),
    ])
}

/// Writes what a builder held and what was on disk, and gives the tree's name. Most builds find their context as the last one left it: such
/// a tree is written once, and runs name it.
fn write_tree(directory: &Path, sync: &SyncRecord) -> Result<String, HistoryError> {
    let rows = rows(sync);
    let tree = tree_name(sync, &rows);
    let place = tree_path(directory, &tree);
    if !place.exists() {
        publish(&place, &mut tree_frame(sync, &rows)?)?;
    }
    Ok(tree)
}

fn tree_path(directory: &Path, tree: &str) -> PathBuf {
    directory.join("trees").join(format!("{tree}.parquet"))
}

/// True for what [`tree_name`] gives; anything else must not become a path.
fn is_tree_name(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// One row of a tree: the copy, the entry in it, and what was on disk there.
struct TreeRow<'s> {
    copy: i64,
    path: &'s str,
    held: Option<&'s HeldEntry>,
    disk: Option<String>,
}

/// One row an entry of each copy; a copy without entries has one row with an empty path.
fn rows(sync: &SyncRecord) -> Vec<TreeRow<'_>> {
    let mut rows = Vec::new();
    for (copy, entries) in (0_i64..).zip(&sync.copies) {
        if entries.is_empty() {
            rows.push(TreeRow { copy, path: "", held: None, disk: None });
        }
        let mut next = 0;
        rows.extend(entries.iter().map(|held| {
            let path = held.entry.path.as_str();
            // What was on disk goes with the copy of this sync, which is the first.
            let disk = if copy == 0 { sync.listing.content_near(path, &mut next).map(ToString::to_string) } else { None };
            TreeRow { copy, path, held: Some(held), disk }
        }));
    }
    rows
}

/// The name of a tree: a digest of all that its rows hold.
fn tree_name(sync: &SyncRecord, rows: &[TreeRow<'_>]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(sync.key.as_bytes());
    for row in rows {
        // Lengths in front keep neighbouring texts apart.
        let mut text = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        text(row.path);
        text(row.disk.as_deref().unwrap_or_default());
        if let Some(HeldEntry { entry, content }) = row.held {
            text(&entry.link);
            text(&encode_held(content));
            for number in
                [row.copy, i64::from(entry.mode), entry.size.cast_signed(), entry.mtime_ns, entry.inode.cast_signed(), entry.ctime_ns]
            {
                hasher.update(number.to_le_bytes());
            }
        }
    }
    hex(&hasher.finalize())
}

fn tree_frame(sync: &SyncRecord, rows: &[TreeRow<'_>]) -> Result<DataFrame, HistoryError> {
    let entry = |row: &TreeRow<'_>, get: &dyn Fn(&Entry) -> i64| row.held.map_or(0, |held| get(&held.entry));
    let number = |get: &dyn Fn(&Entry) -> i64| rows.iter().map(|row| entry(row, get)).collect::<Vec<_>>();
    frame(vec![
        Column::new("schema_version".into(), vec![SCHEMA_VERSION; rows.len()]),
        Column::new("sync_key".into(), vec![sync.key.as_str(); rows.len()]),
        Column::new("copy".into(), rows.iter().map(|row| row.copy).collect::<Vec<_>>()),
        Column::new("path".into(), rows.iter().map(|row| row.path).collect::<Vec<_>>()),
        Column::new("mode".into(), number(&|entry| i64::from(entry.mode))),
        Column::new("size".into(), number(&|entry| i64::try_from(entry.size).unwrap_or(i64::MAX))),
        Column::new("mtime_ns".into(), number(&|entry| entry.mtime_ns)),
        Column::new("link".into(), rows.iter().map(|row| row.held.map_or("", |held| held.entry.link.as_str())).collect::<Vec<_>>()),
        Column::new("inode".into(), number(&|entry| entry.inode.cast_signed())),
        Column::new("ctime_ns".into(), number(&|entry| entry.ctime_ns)),
        Column::new("content".into(), rows.iter().map(|row| row.disk.as_deref()).collect::<Vec<_>>()),
        Column::new(
            "held".into(),
            rows.iter().map(|row| row.held.map_or_else(String::new, |held| encode_held(&held.content))).collect::<Vec<_>>(),
        ),
    ])
}

fn encode_held(held: &Held) -> String {
    match held {
        Held::Known(id) => id.to_string(),
        Held::OneOf(ids) => ids.iter().map(ToString::to_string).collect::<Vec<_>>().join("|"),
        Held::Unknown => String::new(),
    }
}

fn decode_held(text: &str) -> Held {
    let ids: Option<Vec<ContentId>> = text.split('|').map(ContentId::parse).collect();
    match ids {
        Some(mut ids) if ids.len() == 1 => ids.pop().map_or(Held::Unknown, Held::Known),
        Some(ids) => Held::OneOf(ids),
        None => Held::Unknown,
    }
}
