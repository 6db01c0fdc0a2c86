//! The files of the ledger: written once, read in place.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use polars::prelude::*;
use sha2::{Digest, Sha256};

use super::record::{RunRow, StepRow};
use crate::evidence::context::Entry;
use crate::evidence::context::content::{ContentId, hex};
use crate::freshness::SyncRecord;
use crate::freshness::past::{BuiltImage, Copies, Past};
use crate::freshness::sync::{Held, HeldEntry, Snapshot};
use crate::freshness::verdict::RunRef;

/// The version of the schema that this program writes. Later versions only add columns.
pub const SCHEMA_VERSION: i32 = 1;

/// Files of one partition that are tried at most before something is held for not recorded.
const MAX_TRIED: usize = 64;

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The directory or a file in it cannot be read or written.
    #[error("the history {path} cannot be used: {cause}")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file is not what the ledger holds.
    #[error("{path} in the history cannot be read and is left out: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What polars says.
        message: String,
    },
    /// A newer program wrote it.
    #[error("{path} was written by a newer bklog (schema {found}, this one knows {SCHEMA_VERSION}): update bklog; nothing was changed")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
    },
    /// The rows cannot be made into a file.
    #[error("the run cannot be recorded: {0}")]
    Encode(String),
}

/// A ledger in a directory.
#[derive(Debug)]
pub struct History {
    root: PathBuf,
    project: String,
    /// What could not be read, for the user.
    problems: std::cell::RefCell<Vec<String>>,
}

impl History {
    /// Opens the ledger in a directory, which need not be there yet, for one project.
    pub fn open(root: &Path, project: &str) -> Self {
        Self { root: root.to_owned(), project: project.to_owned(), problems: std::cell::RefCell::default() }
    }

    /// What could not be read so far.
    pub fn problems(&self) -> Vec<String> {
        self.problems.borrow().clone()
    }

    /// Records a run. A run that is recorded already stays as it is; gives whether it is new.
    ///
    /// # Errors
    /// The directory cannot be written; another, newer program owns the ledger.
    pub fn record(&self, run: &RunRow, steps: &[StepRow], syncs: &[SyncRecord]) -> Result<bool, HistoryError> {
        self.refuse_newer()?;
        let month = month(run.at_ns);
        let file = format!("{}-{}.parquet", stamp(run.at_ns), run.run);
        let partition =
            |table: &str| self.root.join(table).join(format!("project={}", encode(&self.project))).join(format!("month={month}"));
        let place = partition("runs").join(&file);
        if place.exists() {
            return Ok(false);
        }
        let recorded_ns = now_ns();
        // Builds of one script can begin at one moment: of their contexts the one that was recorded last counts.
        let ordered = format!("{}-{recorded_ns:020}-{}.parquet", stamp(run.at_ns), run.run);
        let mut written = std::collections::BTreeSet::new();
        for sync in syncs.iter().rev() {
            // Targets of one key share its copies; the last sync says what they hold.
            if written.insert(&sync.key) {
                let target = self.root.join("contexts").join(format!("key={}", digest(&sync.key))).join(&ordered);
                publish(&target, &mut context_frame(run, sync, recorded_ns)?)?;
            }
        }
        for (name, sync) in images(run, syncs) {
            let target = self.root.join("images").join(format!("name={}", digest(&familiar(&name)))).join(&ordered);
            publish(&target, &mut image_frame(run, &name, sync)?)?;
        }
        publish(&partition("steps").join(&file), &mut steps_frame(run, steps)?)?;
        publish(&place, &mut run_frame(run, recorded_ns)?)
    }

    /// A program must not write beside one that knows more: looks at the newest run.
    fn refuse_newer(&self) -> Result<(), HistoryError> {
        let Some(path) = self.newest_runs().into_iter().next() else {
            return Ok(());
        };
        match read(&path, Some(&["schema_version"])) {
            Err(newer @ HistoryError::Newer { .. }) => Err(newer),
            _ => Ok(()),
        }
    }

    /// The files of this project's runs, the newest first.
    fn newest_runs(&self) -> Vec<PathBuf> {
        let project = self.root.join("runs").join(format!("project={}", encode(&self.project)));
        let mut months = names(&project);
        months.sort_by(|a, b| b.cmp(a));
        let mut files = Vec::new();
        for month in months {
            files.extend(newest(&project.join(month)));
            if files.len() >= MAX_TRIED {
                break;
            }
        }
        files
    }

    /// The first of these files that can be read.
    fn first_readable(&self, files: Vec<PathBuf>) -> Option<(DataFrame, PathBuf)> {
        for path in files.into_iter().take(MAX_TRIED) {
            match read(&path, None) {
                Ok(frame) => return Some((frame, path)),
                Err(error) => {
                    let text = error.to_string();
                    let mut problems = self.problems.borrow_mut();
                    if !problems.contains(&text) {
                        problems.push(text);
                    }
                }
            }
        }
        None
    }

    fn copies_in(&self, frame: &DataFrame) -> Option<Copies> {
        let strings = |name: &str| frame.column(name).ok()?.str().ok().cloned();
        let numbers = |name: &str| frame.column(name).ok()?.i64().ok().cloned();
        let (run, commit, path, link) = (strings("run")?, strings("commit")?, strings("path")?, strings("link")?);
        let (disk, held) = (strings("content")?, strings("held")?);
        let (copy, mode, size, mtime) = (numbers("copy")?, numbers("mode")?, numbers("size")?, numbers("mtime_ns")?);
        let (inode, ctime, recorded) = (numbers("inode")?, numbers("ctime_ns")?, numbers("recorded_ns")?);
        let mut copies = Copies {
            from: RunRef { run: run.get(0).map(str::to_owned), commit: commit.get(0).map(str::to_owned) },
            recorded_ns: recorded.get(0).unwrap_or_default(),
            ..Copies::default()
        };
        let mut snapshots: std::collections::BTreeMap<i64, Snapshot> = std::collections::BTreeMap::new();
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
                copies.disk.push((entry.path.clone(), entry.inode, entry.ctime_ns, content));
            }
            let content = decode_held(held.get(row).unwrap_or_default());
            snapshot.insert(entry.path.clone(), HeldEntry { entry, content });
        }
        copies.snapshots = snapshots.into_values().collect();
        Some(copies)
    }
}

impl Past for History {
    fn copies(&self, key: &str) -> Option<Copies> {
        let partition = self.root.join("contexts").join(format!("key={}", digest(key)));
        let (frame, _) = self.first_readable(newest(&partition))?;
        self.copies_in(&frame)
    }

    fn last_run(&self) -> Option<RunRef> {
        let (frame, _) = self.first_readable(self.newest_runs())?;
        let text = |name: &str| frame.column(name).ok()?.str().ok()?.get(0).map(str::to_owned);
        Some(RunRef { run: text("run"), commit: text("commit") })
    }

    fn image(&self, name: &str) -> Option<BuiltImage> {
        let partition = self.root.join("images").join(format!("name={}", digest(&familiar(name))));
        let (frame, path) = self.first_readable(newest(&partition))?;
        let text = |name: &str| frame.column(name).ok()?.str().ok()?.get(0).map(str::to_owned);
        let key = text("key")?;
        let context = self.root.join("contexts").join(format!("key={}", digest(&key))).join(path.file_name()?);
        let (context, _) = self.first_readable(vec![context])?;
        let copies = self.copies_in(&context)?;
        let files = copies.disk.into_iter().map(|(path, _, _, content)| (path, content)).collect();
        Some(BuiltImage { from: RunRef { run: text("run"), commit: text("commit") }, prefix: text("prefix").unwrap_or_default(), files })
    }
}

/// The names of the images of a run with the sync of their context. With several targets the first context stands for all.
fn images<'a>(run: &RunRow, syncs: &'a [SyncRecord]) -> Vec<(String, &'a SyncRecord)> {
    let main = |sync: &&SyncRecord| sync.key.split('|').nth(3) == Some("context");
    let Some(sync) = syncs.iter().find(main) else {
        return Vec::new();
    };
    run.images.lines().map(|name| (name.to_owned(), sync)).collect()
}

/// An image's name with everything that docker leaves out for people.
fn familiar(name: &str) -> String {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if tagged { name.to_owned() } else { format!("{name}:latest") }
}

/// The files of a partition, the newest first; files that are being written have other names.
fn newest(partition: &Path) -> Vec<PathBuf> {
    let mut files: Vec<String> = names(partition).into_iter().filter(|name| name.ends_with(".parquet") && !name.starts_with('.')).collect();
    files.sort_by(|a, b| b.cmp(a));
    files.into_iter().map(|name| partition.join(name)).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Reads a file of the ledger, all of it or some columns.
fn read(path: &Path, columns: Option<&[&str]>) -> Result<DataFrame, HistoryError> {
    let file = fs::File::open(path).map_err(|cause| HistoryError::Io { path: path.to_owned(), cause })?;
    let damaged = |error: PolarsError| HistoryError::Damaged { path: path.to_owned(), message: error.to_string() };
    let columns = columns.map(|columns| columns.iter().map(|column| (*column).to_owned()).collect());
    let frame = ParquetReader::new(file).with_columns(columns).read_parallel(ParallelStrategy::None).finish().map_err(damaged)?;
    let version = frame.column("schema_version").map_err(damaged)?.i32().map_err(damaged)?.max().unwrap_or(SCHEMA_VERSION);
    if version > SCHEMA_VERSION {
        return Err(HistoryError::Newer { path: path.to_owned(), found: version });
    }
    Ok(frame)
}

/// Writes a file under a temporary name, brings it to disk and gives it its name. False where there is one of that name already.
fn publish(path: &Path, frame: &mut DataFrame) -> Result<bool, HistoryError> {
    let unusable = |cause| HistoryError::Io { path: path.to_owned(), cause };
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory).map_err(unusable)?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .set_parallel(false)
        .finish(frame)
        .map_err(|error| HistoryError::Encode(error.to_string()))?;
    let mut file = tempfile::Builder::new().prefix(".writing-").suffix(".tmp").tempfile_in(directory).map_err(unusable)?;
    file.write_all(&bytes).map_err(unusable)?;
    file.as_file().sync_all().map_err(unusable)?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(unusable(error.error)),
    }
    // The name itself is to outlive a power cut too; where directories cannot be opened this is all there is.
    if let Ok(directory) = fs::File::open(directory) {
        let _ = directory.sync_all();
    }
    Ok(true)
}

fn frame(columns: Vec<Column>) -> Result<DataFrame, HistoryError> {
    DataFrame::new_infer_height(columns).map_err(|error| HistoryError::Encode(error.to_string()))
}

fn run_frame(run: &RunRow, recorded_ns: i64) -> Result<DataFrame, HistoryError> {
    frame(vec![
        Column::new("schema_version".into(), [SCHEMA_VERSION]),
        Column::new("run".into(), [run.run.as_str()]),
        Column::new("at_ns".into(), [run.at_ns]),
        Column::new("recorded_ns".into(), [recorded_ns]),
        Column::new("week".into(), [run.week.as_str()]),
        Column::new("commit".into(), [run.commit.as_deref()]),
        Column::new("branch".into(), [run.branch.as_deref()]),
        Column::new("builder".into(), [run.builder.as_deref()]),
        Column::new("command".into(), [run.command.as_deref()]),
        Column::new("outcome".into(), [run.outcome]),
        Column::new("builds".into(), [run.builds]),
        Column::new("seconds".into(), [run.seconds]),
        Column::new("duration_source".into(), [run.duration_source]),
        Column::new("duration_bucket".into(), [run.duration_bucket]),
        Column::new("images".into(), [run.images.as_str()]),
        Column::new("bklog".into(), [run.bklog]),
    ])
}

fn steps_frame(run: &RunRow, steps: &[StepRow]) -> Result<DataFrame, HistoryError> {
    fn column<T, S: NamedFrom<Vec<T>, U>, U: ?Sized>(name: &str, steps: &[StepRow], get: impl Fn(&StepRow) -> T) -> S {
        S::new(name.into(), steps.iter().map(get).collect::<Vec<T>>())
    }
    let text = |name: &str, get: &dyn Fn(&StepRow) -> Option<String>| -> Column {
        let series: Series = column(name, steps, |step| get(step));
        series.into()
    };
    let number = |name: &str, get: &dyn Fn(&StepRow) -> Option<i64>| -> Column {
        let series: Series = column(name, steps, |step| get(step));
        series.into()
    };
    let count = steps.len();
    frame(vec![
        Column::new("schema_version".into(), vec![SCHEMA_VERSION; count]),
        Column::new("run".into(), vec![run.run.as_str(); count]),
        Column::new("at_ns".into(), vec![run.at_ns; count]),
        Column::new("week".into(), vec![run.week.as_str(); count]),
        Column::new("commit".into(), vec![run.commit.as_deref(); count]),
        number("build", &|step| Some(i64::from(step.build))),
        number("index", &|step| Some(step.index)),
        text("name", &|step| Some(step.name.clone())),
        text("identity", &|step| Some(step.identity.clone())),
        text("target", &|step| step.target.clone()),
        text("stage", &|step| step.stage.clone()),
        text("platform", &|step| step.platform.clone()),
        number("number", &|step| step.number),
        text("keyword", &|step| step.keyword.map(str::to_owned)),
        text("status", &|step| Some(step.status.to_owned())),
        Column::new("cache_hit".into(), steps.iter().map(|step| step.cache_hit).collect::<Vec<_>>()),
        Column::new("seconds".into(), steps.iter().map(|step| step.seconds).collect::<Vec<_>>()),
        Column::new("duration_bucket".into(), steps.iter().map(|step| step.duration_bucket).collect::<Vec<_>>()),
        number("transferred_bytes", &|step| step.transferred_bytes),
        text("verdict", &|step| step.verdict.map(str::to_owned)),
        text("outcome", &|step| Some(step.outcome.to_owned())),
    ])
}

fn image_frame(run: &RunRow, name: &str, sync: &SyncRecord) -> Result<DataFrame, HistoryError> {
    frame(vec![
        Column::new("schema_version".into(), [SCHEMA_VERSION]),
        Column::new("run".into(), [run.run.as_str()]),
        Column::new("at_ns".into(), [run.at_ns]),
        Column::new("commit".into(), [run.commit.as_deref()]),
        Column::new("image".into(), [name]),
        Column::new("key".into(), [sync.key.as_str()]),
        Column::new("prefix".into(), [sync.prefix.as_str()]),
    ])
}

/// One row an entry of each copy; a copy without entries has one row with an empty path.
fn context_frame(run: &RunRow, sync: &SyncRecord, recorded_ns: i64) -> Result<DataFrame, HistoryError> {
    let nothing = HeldEntry {
        entry: Entry { path: String::new(), mode: 0, size: 0, mtime_ns: 0, link: String::new(), inode: 0, ctime_ns: 0 },
        content: Held::Unknown,
    };
    let mut rows: Vec<(i64, &HeldEntry)> = Vec::new();
    for (number, copy) in (0_i64..).zip(&sync.copies) {
        match copy.is_empty() {
            true => rows.push((number, &nothing)),
            false => rows.extend(copy.values().map(|held| (number, held))),
        }
    }
    let count = rows.len();
    // What was on disk goes with the copy of this sync, which is the first.
    let disk =
        |row: &(i64, &HeldEntry)| if row.0 == 0 { sync.listing.contents.get(&row.1.entry.path).map(ToString::to_string) } else { None };
    let number = |get: &dyn Fn(&Entry) -> i64| rows.iter().map(|(_, held)| get(&held.entry)).collect::<Vec<_>>();
    frame(vec![
        Column::new("schema_version".into(), vec![SCHEMA_VERSION; count]),
        Column::new("run".into(), vec![run.run.as_str(); count]),
        Column::new("at_ns".into(), vec![run.at_ns; count]),
        Column::new("recorded_ns".into(), vec![recorded_ns; count]),
        Column::new("commit".into(), vec![run.commit.as_deref(); count]),
        Column::new("sync_key".into(), vec![sync.key.as_str(); count]),
        Column::new("target".into(), vec![sync.target.as_deref(); count]),
        Column::new("prefix".into(), vec![sync.prefix.as_str(); count]),
        Column::new("copy".into(), rows.iter().map(|(copy, _)| *copy).collect::<Vec<_>>()),
        Column::new("path".into(), rows.iter().map(|(_, held)| held.entry.path.as_str()).collect::<Vec<_>>()),
        Column::new("mode".into(), number(&|entry| i64::from(entry.mode))),
        Column::new("size".into(), number(&|entry| i64::try_from(entry.size).unwrap_or(i64::MAX))),
        Column::new("mtime_ns".into(), number(&|entry| entry.mtime_ns)),
        Column::new("link".into(), rows.iter().map(|(_, held)| held.entry.link.as_str()).collect::<Vec<_>>()),
        Column::new("inode".into(), number(&|entry| entry.inode.cast_signed())),
        Column::new("ctime_ns".into(), number(&|entry| entry.ctime_ns)),
        Column::new("content".into(), rows.iter().map(disk).collect::<Vec<_>>()),
        Column::new("held".into(), rows.iter().map(|(_, held)| encode_held(&held.content)).collect::<Vec<_>>()),
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

/// The name of a partition: a digest, because a key or an image's name can hold anything.
fn digest(text: &str) -> String {
    let digest = hex(&Sha256::digest(text.as_bytes()));
    digest.get(..32).unwrap_or(&digest).to_owned()
}

/// A value as Hive-style partitions write it: percent signs for what a file system or a reader would misread.
fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            b'.' if !out.is_empty() => out.push('.'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out.truncate(200);
    if out.is_empty() { "__HIVE_DEFAULT_PARTITION__".to_owned() } else { out }
}

fn timestamp(at_ns: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(at_ns)).unwrap_or_default()
}

fn month(at_ns: i64) -> String {
    timestamp(at_ns).strftime("%Y-%m").to_string()
}

/// `20261121T081426.123456789Z`
fn stamp(at_ns: i64) -> String {
    timestamp(at_ns).strftime("%Y%m%dT%H%M%S.%9fZ").to_string()
}

fn now_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
