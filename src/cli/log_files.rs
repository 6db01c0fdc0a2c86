//! The logs that a command is given: files, directories, patterns, standard input.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use super::error::CliError;
use crate::log::source::SourceError;

/// A log that is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogFile {
    /// Its path, or `-`.
    pub(super) name: String,
    /// True where nobody named it: it lies in a directory that was named, and may be something else.
    pub(super) from_directory: bool,
}

/// Directories that lie deeper than this are not looked into.
const DEEPEST: usize = 32;

/// The logs that are meant, in order, each once, and those that cannot be found. Files of the history itself are none.
pub(super) fn find(given: &[String], history: &Path) -> (Vec<LogFile>, Vec<(String, CliError)>) {
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    let history = history.canonicalize().ok();
    for name in given {
        let path = Path::new(name);
        if name == "-" || path.is_file() {
            files.push(LogFile { name: name.clone(), from_directory: false });
        } else if path.is_dir() {
            walk(path, history.as_deref(), 0, &mut files);
        } else if let Some(found) = expand(name) {
            for path in found {
                if path.is_dir() {
                    walk(&path, history.as_deref(), 0, &mut files);
                } else {
                    files.push(LogFile { name: path.to_string_lossy().into_owned(), from_directory: false });
                }
            }
        } else {
            // Pipes and devices are read, and what is not there says why.
            match fs::metadata(path) {
                Ok(_) => files.push(LogFile { name: name.clone(), from_directory: false }),
                Err(cause) => errors.push((name.clone(), SourceError::Open { path: path.to_owned(), cause }.into())),
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(file.name.clone()));
    (files, errors)
}

/// The files that a pattern names, which the shell did not expand; `None` where it is no pattern or nothing matches.
fn expand(pattern: &str) -> Option<Vec<PathBuf>> {
    if !pattern.contains(['*', '?', '[']) {
        return None;
    }
    let found: Vec<PathBuf> = glob::glob(pattern).ok()?.flatten().collect();
    (!found.is_empty()).then_some(found)
}

/// The files below a directory by name; hidden ones are left out, and so is what is plainly no text.
fn walk(directory: &Path, history: Option<&Path>, depth: usize, files: &mut Vec<LogFile>) {
    if depth > DEEPEST || (history.is_some() && directory.canonicalize().ok().as_deref() == history) {
        return;
    }
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut entries: Vec<fs::DirEntry> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Links are not followed: they can lead around in a circle.
        let Ok(kind) = entry.file_type() else { continue };
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            walk(&path, history, depth + 1, files);
        } else if kind.is_file() && may_be_text(&path) {
            files.push(LogFile { name: path.to_string_lossy().into_owned(), from_directory: true });
        }
    }
}

/// False for what no log begins with: images and archives can be large, and reading them to the end is of no use.
fn may_be_text(path: &Path) -> bool {
    let mut start = [0; 512];
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut start));
    let start = start.get(..read.unwrap_or_default()).unwrap_or_default();
    let packed = start.starts_with(&[0x1f, 0x8b]) || start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let wide = start.starts_with(&[0xff, 0xfe])
        || start.starts_with(&[0xfe, 0xff])
        || matches!(start, [a, 0, b, 0, ..] | [0, a, 0, b, ..] if *a != 0 && *b != 0);
    packed || wide || !start.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_patterns_and_names() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        for directory in ["logs/old", "logs/.hidden", "logs/history"] {
            fs::create_dir_all(place(directory)).unwrap();
        }
        for file in ["logs/b.log", "logs/a.log", "logs/old/c.txt", "logs/.hidden/x.log", "logs/history/run.parquet"] {
            fs::write(place(file), "#1 x").unwrap();
        }
        fs::write(place("logs/image.tar"), [b'x', 0, 0, 0, 0]).unwrap();
        let found = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|name| place(name).to_string_lossy().into_owned()).collect();
            let (files, errors) = find(&given, &place("logs/history"));
            let name = |file: LogFile| Path::new(&file.name).strip_prefix(dir.path()).unwrap().to_string_lossy().into_owned();
            (files.into_iter().map(name).collect::<Vec<_>>(), errors.len())
        };
        assert_eq!(found(&["logs"]), (vec!["logs/a.log".to_owned(), "logs/b.log".to_owned(), "logs/old/c.txt".to_owned()], 0));
        assert_eq!(found(&["logs/*.log", "logs/a.log"]), (vec!["logs/a.log".to_owned(), "logs/b.log".to_owned()], 0));
        assert_eq!(found(&["logs/**/*.txt"]), (vec!["logs/old/c.txt".to_owned()], 0));
        assert_eq!(found(&["logs/nothing*", "gone.log"]), (vec![], 2));
    }
}
