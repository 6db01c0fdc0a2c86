//! One walk over the tree: which files are worth reading.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use ignore::WalkBuilder;

use super::{FileKind, LARGEST_FILE, MOST_ENTRIES, MOST_FILES, Problem, kind};

/// Directories that hold other people's code, build products, or git's own files.
const SKIPPED: [&str; 9] = [".git", ".hg", ".svn", "node_modules", "target", "vendor", ".venv", "venv", "__pycache__"];

/// A file worth reading.
pub(super) struct Found {
    pub path: PathBuf,
    pub kind: FileKind,
}

/// Walks a directory, in the order of names. Links are not followed: what they lead to inside the tree is found there, and what is
/// outside is not the repository's. What git ignores is left out where there is a git repository.
pub(super) fn walk(root: &Path, cwd: &Path, problems: &mut Vec<Problem>) -> Vec<Found> {
    let mut found = Vec::new();
    let walk = WalkBuilder::new(root)
        .hidden(false)
        .ignore(false)
        .follow_links(false)
        .sort_by_file_name(std::ffi::OsStr::cmp)
        .filter_entry(|entry| {
            let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
            entry.depth() == 0 || !is_dir || !SKIPPED.iter().any(|name| entry.file_name() == *name)
        })
        .build();
    for (seen, entry) in walk.enumerate() {
        if seen >= MOST_ENTRIES || found.len() >= MOST_FILES {
            let message =
                format!("the rest of the tree was not read: it has more than {MOST_ENTRIES} entries or {MOST_FILES} files to read");
            problems.push(Problem { path: shown(root, cwd), line: None, message });
            break;
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                problems.push(problem_of(&error, root, cwd));
                continue;
            }
        };
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        let relative = shown(path, root);
        let kind = match kind::by_name(&relative) {
            Some(kind) => kind,
            None if kind::may_have_shebang(path) && starts_as_script(path) => FileKind::Script,
            None => continue,
        };
        let size = entry.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        if size > LARGEST_FILE {
            problems.push(too_large(path, cwd, size));
            continue;
        }
        found.push(Found { path: path.to_owned(), kind });
    }
    found
}

/// Says that a file is too large to be read.
pub(super) fn too_large(path: &Path, cwd: &Path, size: u64) -> Problem {
    let mebibytes = size.div_ceil(1024 * 1024);
    Problem { path: shown(path, cwd), line: None, message: format!("not read: {mebibytes} MiB, and at most 1 MiB is read") }
}

fn starts_as_script(path: &Path) -> bool {
    let mut start = [0; 64];
    let read = File::open(path).and_then(|mut file| file.read(&mut start));
    // A file that cannot be opened and is not known by its name is nothing to this program.
    read.is_ok_and(|length| kind::has_shell_shebang(&start[..length]))
}

fn problem_of(error: &ignore::Error, root: &Path, cwd: &Path) -> Problem {
    let (mut path, mut cause) = (root, error);
    loop {
        match cause {
            ignore::Error::WithPath { path: at, err } => {
                path = at;
                cause = err;
            }
            ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => cause = err,
            _ => break,
        }
    }
    let message = match cause.io_error() {
        // The walk puts the path before the cause, which is said here already.
        Some(error) => {
            let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
            format!("cannot be read: {cause}")
        }
        None => cause.to_string(),
    };
    Problem { path: shown(path, cwd), line: None, message }
}

/// A path relative to a directory where it is below it, with slashes.
pub(super) fn shown(path: &Path, below: &Path) -> String {
    let Ok(relative) = path.strip_prefix(below) else { return path.display().to_string() };
    let text = relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("/");
    if text.is_empty() { ".".to_owned() } else { text }
}
