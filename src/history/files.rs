//! The ledger's directories and files: their names, how one is published, how a partition is listed.

use std::cell::Cell;
use std::fs;
use std::io::{Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use jiff::Timestamp;
use polars::io::mmap::MmapBytesReader;
use polars::prelude::*;
use sha2::{Digest, Sha256};

use super::HistoryError;
use super::rows::Selection;
use super::store::SCHEMA_VERSION;
use crate::evidence::context::content::hex;

/// The tables that have a partition for each project and month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// One row a run.
    Runs,
    /// One row a build or target.
    Builds,
    /// One row a step.
    Steps,
}

impl Table {
    /// In the order in which a run is written: the runs table last, so that a run in it is whole.
    pub const ALL: [Self; 3] = [Self::Steps, Self::Builds, Self::Runs];

    /// The directory's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Builds => "builds",
            Self::Steps => "steps",
        }
    }
}

/// What the names of files begin with that hold many runs.
pub(super) const FOLDED_PREFIX: &str = "month-";

/// What the names of files begin with that name the runs which are being removed.
const REMOVAL_PREFIX: &str = ".removing-";

/// The name of the file that folds lock.
pub(super) const LOCK: &str = ".folding";

/// The name of the file that says which fold was the last one.
const GENERATION: &str = ".generation";

/// One project's month, in any of the tables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// The project.
    pub project: String,
    /// `2026-11`
    pub month: String,
}

impl Partition {
    /// That of a run.
    pub fn of(project: &str, at: Timestamp) -> Self {
        Self { project: project.to_owned(), month: month(at) }
    }

    /// Its directory.
    pub fn directory(&self, root: &Path, table: Table) -> PathBuf {
        root.join(table.name()).join(format!("project={}", encode(&self.project))).join(format!("month={}", self.month))
    }
}

/// The partitions that a selection can find something in, by project and month.
pub fn partitions(root: &Path, table: Table, selection: &Selection) -> Vec<Partition> {
    let (since, until) = (selection.since.map(month), selection.until.map(month));
    let mut found = Vec::new();
    for project in names(&root.join(table.name())) {
        let Some(decoded) = project.strip_prefix("project=").map(decode) else { continue };
        if selection.project.as_ref().is_some_and(|wanted| *wanted != decoded) {
            continue;
        }
        for month in names(&root.join(table.name()).join(&project)) {
            let Some(month) = month.strip_prefix("month=") else { continue };
            let early = since.as_deref().is_some_and(|since| month < since);
            let late = until.as_deref().is_some_and(|until| month > until);
            if !early && !late {
                found.push(Partition { project: decoded.clone(), month: month.to_owned() });
            }
        }
    }
    found.sort();
    found
}

/// The files of a partition.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Those of one run each, in the order of time, with the run's id.
    pub single: Vec<(PathBuf, String)>,
    /// Those that many runs were folded into, the newest first. More than one is there only between two moments of a fold.
    pub folded: Vec<PathBuf>,
}

/// Lists a partition. Files that are being written have other names.
pub fn list(directory: &Path) -> Files {
    let mut files = Files::default();
    for name in names(directory) {
        if name.starts_with('.') {
            continue;
        }
        let Some(stem) = name.strip_suffix(".parquet") else { continue };
        if name.starts_with(FOLDED_PREFIX) {
            files.folded.push(directory.join(&name));
        } else {
            let run = stem.split_once('-').map_or(stem, |(_, run)| run).to_owned();
            files.single.push((directory.join(&name), run));
        }
    }
    files.single.sort();
    files.folded.sort_by(|a, b| b.cmp(a));
    files
}

/// The name of the file of one run.
pub fn single_name(at: Timestamp, run: &str) -> String {
    format!("{}-{run}.parquet", stamp(at))
}

/// Which fold was the last one in a partition; empty where there was none.
///
/// A fold publishes its file, then changes this, then removes what it folded. So a reader that finds the same text before it lists and
/// after it has read has seen every run: whatever was removed meanwhile is in a file that it has listed.
pub(super) fn generation(directory: &Path) -> String {
    fs::read_to_string(directory.join(GENERATION)).unwrap_or_default()
}

/// Says that a fold is published.
pub(super) fn set_generation(directory: &Path, text: &str) -> Result<(), HistoryError> {
    write_text(directory, GENERATION, text)
}

/// Writes a small text beside the tables, whole or not at all; what was there under this name is replaced.
pub(super) fn write_text(directory: &Path, name: &str, text: &str) -> Result<(), HistoryError> {
    let path = directory.join(name);
    let unusable = |cause| HistoryError::Io { path: path.clone(), cause };
    let mut file = temporary(directory).map_err(unusable)?;
    file.write_all(text.as_bytes()).map_err(unusable)?;
    file.as_file().sync_all().map_err(unusable)?;
    file.persist(&path).map_err(|error| unusable(error.error))?;
    sync(directory);
    Ok(())
}

/// A file that no reader looks at.
fn temporary(directory: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(".writing-").suffix(".tmp").tempfile_in(directory)
}

/// The name itself is to outlive a power cut too; where directories cannot be opened this is all there is.
fn sync(directory: &Path) {
    if let Ok(directory) = fs::File::open(directory) {
        let _ = directory.sync_all();
    }
}

/// A new name for a file of folded runs.
pub(super) fn folded_name(now: Timestamp) -> String {
    format!("{FOLDED_PREFIX}{}", unique(now))
}

/// A new name for a file that says which runs are being removed.
pub(super) fn removal_name(now: Timestamp) -> String {
    format!("{REMOVAL_PREFIX}{}", unique(now))
}

/// True for [`removal_name`]s.
pub(super) fn is_removal(name: &str) -> bool {
    name.starts_with(REMOVAL_PREFIX)
}

/// A text that sorts by time and that no other process makes.
fn unique(now: Timestamp) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:020}-{:08x}-{number}", now.as_nanosecond(), std::process::id())
}

/// True for the names of the files beside the tables that folding and removing need.
pub(super) fn is_own_mark(name: &str) -> bool {
    name == GENERATION || name == LOCK || is_removal(name)
}

/// True for the names of files that are being written.
pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with(".writing-")
}

/// Writes a file under a temporary name, brings it to disk and gives it its name. False where there is one of that name already.
pub fn publish(path: &Path, frame: &mut DataFrame) -> Result<bool, HistoryError> {
    publish_large(path, frame, usize::MAX)
}

/// [`publish`], with so many rows in each group that readers can skip.
pub fn publish_large(path: &Path, frame: &mut DataFrame, row_group: usize) -> Result<bool, HistoryError> {
    let unusable = |cause| HistoryError::Io { path: path.to_owned(), cause };
    let directory = path.parent().unwrap_or(path);
    let unwritable = |cause| HistoryError::Io { path: directory.to_owned(), cause };
    fs::create_dir_all(directory).map_err(unwritable)?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .with_row_group_size(Some(row_group))
        .set_parallel(false)
        .finish(frame)
        .map_err(|error| HistoryError::Encode(error.to_string()))?;
    let mut file = temporary(directory).map_err(unwritable)?;
    file.write_all(&bytes).map_err(unusable)?;
    file.as_file().sync_all().map_err(unusable)?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(unusable(error.error)),
    }
    sync(directory);
    Ok(true)
}

/// Reads a file of the ledger, all of it or those of the columns that it has, and its version in any case. `None` where it is gone.
pub fn read(path: &Path, columns: Option<&[&str]>) -> Result<Option<DataFrame>, HistoryError> {
    let Some(file) = Parquet::open(path)? else { return Ok(None) };
    let columns = columns.map(|columns| [columns, &["schema_version"]].concat());
    let frame = file.frame(None, columns.as_deref())?;
    file.check_version(&frame)?;
    Ok(Some(frame))
}

/// Files up to this size are read at once; of larger ones the system maps what is needed.
const READ_AT_ONCE: u64 = 4 * 1024 * 1024;

/// A file of the ledger that is read in parts.
pub(super) struct Parquet<'p> {
    path: &'p Path,
    source: Source,
    metadata: FileMetadataRef,
    names: Vec<String>,
}

enum Source {
    Bytes(Vec<u8>),
    File(fs::File),
}

impl Source {
    fn reader(&self) -> PolarsResult<ParquetReader<Box<dyn MmapBytesReader + '_>>> {
        let bytes: Box<dyn MmapBytesReader + '_> = match self {
            Self::Bytes(bytes) => Box::new(Cursor::new(bytes.as_slice())),
            Self::File(file) => Box::new(file.try_clone()?),
        };
        Ok(ParquetReader::new(bytes).read_parallel(ParallelStrategy::None))
    }
}

impl<'p> Parquet<'p> {
    /// Opens a file; `None` where it is gone.
    pub(super) fn open(path: &'p Path) -> Result<Option<Self>, HistoryError> {
        let unusable = |cause| HistoryError::Io { path: path.to_owned(), cause };
        let mut file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(unusable(cause)),
        };
        let size = file.metadata().map_err(unusable)?.len();
        let source = if size <= READ_AT_ONCE {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            file.read_to_end(&mut bytes).map_err(unusable)?;
            Source::Bytes(bytes)
        } else {
            Source::File(file)
        };
        let (metadata, names) = guarded(path, || {
            let mut reader = source.reader()?;
            let names = reader.schema()?.iter_names().map(ToString::to_string).collect();
            let metadata = reader.get_metadata()?.clone();
            Ok((is_plausible(&metadata, size).then_some(metadata), names))
        })?;
        let implausible = || HistoryError::Damaged { path: path.to_owned(), message: "its description does not fit its size".to_owned() };
        let metadata = metadata.ok_or_else(implausible)?;
        Ok(Some(Self { path, source, metadata, names }))
    }

    /// How many rows each row group has.
    pub(super) fn groups(&self) -> Vec<usize> {
        self.metadata.row_groups.iter().map(|group| group.num_rows()).collect()
    }

    /// The rows of a row group, or all: those of the columns that the file has, or all of them.
    pub(super) fn frame(&self, group: Option<usize>, columns: Option<&[&str]>) -> Result<DataFrame, HistoryError> {
        let mut metadata = self.metadata.clone();
        if let (Some(group), 2..) = (group, metadata.row_groups.len()) {
            let mut part = (*metadata).clone();
            part.row_groups = metadata.row_groups.get(group).cloned().into_iter().collect();
            part.num_rows = part.row_groups.iter().map(|group| group.num_rows()).sum();
            metadata = Arc::new(part);
        }
        let wanted = columns.map(|columns| self.names.iter().filter(|name| columns.contains(&name.as_str())).cloned().collect::<Vec<_>>());
        if wanted.as_ref().is_some_and(Vec::is_empty) {
            return Ok(DataFrame::empty());
        }
        let frame = guarded(self.path, || {
            let mut reader = self.source.reader()?;
            reader.set_metadata(metadata);
            reader.with_columns(wanted).finish()
        })?;
        // Broken pages can give fewer values than the file says that there are.
        if frame.columns().iter().any(|column| column.len() != frame.height()) {
            return Err(HistoryError::Damaged { path: self.path.to_owned(), message: "values are missing in it".to_owned() });
        }
        Ok(frame)
    }

    /// Refuses rows of a newer program, and rows that have no version: they are not of this one.
    pub(super) fn check_version(&self, frame: &DataFrame) -> Result<(), HistoryError> {
        let versions = frame.column("schema_version").and_then(|column| column.i32().map(Int32Chunked::max));
        let foreign = "it is no file of bklog: it has no schema_version".to_owned();
        match versions.map_err(|_| HistoryError::Damaged { path: self.path.to_owned(), message: foreign })? {
            Some(found) if found > SCHEMA_VERSION => Err(HistoryError::Newer { path: self.path.to_owned(), found }),
            _ => Ok(()),
        }
    }
}

/// Most rows of a row group; bklog writes a quarter of a million.
const MOST_ROWS: usize = 1 << 24;

/// Whether what a file says of itself can be: whoever reads it makes room for as many values as it names.
fn is_plausible(metadata: &FileMetadata, size: u64) -> bool {
    metadata.row_groups.iter().all(|group| {
        let rows = group.num_rows();
        let of_every_row = |values: i64| usize::try_from(values).is_ok_and(|values| values == rows);
        rows <= MOST_ROWS
            && group.parquet_columns().iter().all(|column| of_every_row(column.num_values()) && column.byte_range().end <= size)
    })
}

thread_local! {
    /// True while a file is decoded whose panics are told otherwise.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Decodes a file. Polars panics on some files that are no Parquet within: such a file is damaged, and no more than that, so that the
/// message of the panic is not printed either.
fn guarded<T>(path: &Path, decode: impl FnOnce() -> PolarsResult<T>) -> Result<T, HistoryError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                usual(panic);
            }
        }));
    });
    IS_GUARDED.set(true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode));
    IS_GUARDED.set(false);
    let damaged = |message: String| HistoryError::Damaged { path: path.to_owned(), message };
    result.map_err(|_| damaged("its pages are broken".to_owned()))?.map_err(|error| damaged(short(&error.to_string())))
}

/// The first line of what polars says, which can go on for pages.
pub(super) fn short(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// The names in a directory; none where it cannot be read.
pub fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The name of a partition: a digest, because a key or an image's name can hold anything.
pub fn digest(text: &str) -> String {
    let digest = hex(&Sha256::digest(text.as_bytes()));
    digest.get(..32).unwrap_or(&digest).to_owned()
}

/// The longest name of a partition, in bytes: a file's name has room for 255.
const LONGEST_NAME: usize = 200;

/// A value as Hive-style partitions write it: percent signs for what a file system or a reader would misread.
pub fn encode(text: &str) -> String {
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
    if out.len() > LONGEST_NAME {
        // Two long names that begin alike stay two.
        out.truncate(LONGEST_NAME - 33);
        out = format!("{out}-{}", digest(text));
    }
    if out.is_empty() { "__HIVE_DEFAULT_PARTITION__".to_owned() } else { out }
}

/// What [`encode`] was given, unless it was too long for a name.
pub fn decode(name: &str) -> String {
    if name == "__HIVE_DEFAULT_PARTITION__" {
        return String::new();
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped =
            after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `2026-11`, in UTC.
pub fn month(at: Timestamp) -> String {
    at.strftime("%Y-%m").to_string()
}

/// `20261121T081426.123456789Z`
pub fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%S.%9fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_decoder_is_a_damaged_file() {
        let read = guarded(Path::new("here.parquet"), || -> PolarsResult<()> { panic!("not a number of bits") });
        assert_eq!(read.unwrap_err().to_string(), "here.parquet in the history cannot be read and is left out: its pages are broken");
    }

    #[test]
    fn names_of_partitions() {
        assert_eq!(encode("a/b c.d"), "a%2Fb%20c.d");
        assert_eq!(encode(".."), "%2E.");
        assert_eq!(encode(""), "__HIVE_DEFAULT_PARTITION__");
        for name in ["a/b c.d", "..", "", "größe", "100%", "%zz", "x%2"] {
            assert_eq!(decode(&encode(name)), name);
        }
        let long = "ü".repeat(300);
        assert!(encode(&long).len() <= LONGEST_NAME);
        assert_ne!(encode(&long), encode(&format!("{long}x")));
    }
}
