//! From a tree to typed files.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    super::{build_command::commands_in_script, build_target::normalize, dockerfile::Dockerfile, yaml},
    File, FileKind, LARGEST_FILE, Problem, Repository, ci, images, kind, suppressions,
    walk::{self, shown},
};

/// Reads a directory, or one file.
pub(super) fn repository(path: &Path, cwd: &Path) -> io::Result<Repository> {
    let absolute = normalize(&cwd.join(path));
    let metadata = fs::metadata(&absolute)?;
    let mut problems = Vec::new();
    let mut files = Vec::new();
    let root = if metadata.is_dir() {
        for found in walk::walk(&absolute, cwd, &mut problems) {
            files.extend(file(&found.path, Some(found.kind), cwd, &mut problems));
        }
        absolute
    } else {
        if metadata.len() > LARGEST_FILE {
            problems.push(walk::too_large(&absolute, cwd, metadata.len()));
        } else {
            let name = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.extend(file(&absolute, kind::by_name(&name), cwd, &mut problems));
        }
        absolute.parent().map_or(absolute.clone(), Path::to_owned)
    };
    files.sort_by(|a, b| a.absolute.cmp(&b.absolute));
    let mut repository = Repository { root, files, problems, ..Repository::default() };
    images::find(&mut repository, cwd, metadata.is_dir());
    repository.problems.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    repository.problems.dedup();
    Ok(repository)
}

/// Reads one file; `None` where it cannot be read, which is a problem. `kind` is `None` where only its content says what it is.
pub(super) fn file(path: &Path, kind: Option<FileKind>, cwd: &Path, problems: &mut Vec<Problem>) -> Option<File> {
    let mut problem = |line, message: String| problems.push(Problem { path: shown(path, cwd), line, message });
    let bytes = match bytes(path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            problem(None, "not read: more than 1 MiB".to_owned());
            return None;
        }
        Err(error) => {
            problem(None, format!("cannot be read: {error}"));
            return None;
        }
    };
    if bytes.contains(&0) {
        problem(None, "not read: it is no text".to_owned());
        return None;
    }
    let (text, exact) = match String::from_utf8(bytes) {
        Ok(text) => (text, true),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
            problem(Some(line), "not UTF-8: read with the wrong bytes replaced".to_owned());
            (String::from_utf8_lossy(error.as_bytes()).into_owned(), false)
        }
    };
    let kind = kind.unwrap_or_else(|| kind::by_content(path, &text));
    let mut file = File {
        path: shown(path, cwd),
        absolute: path.to_owned(),
        kind,
        text,
        exact,
        dockerfile: None,
        yaml: Vec::new(),
        commands: Vec::new(),
        suppressions: Vec::new(),
        line_spans: std::sync::OnceLock::new(),
    };
    let mut malformed = Vec::new();
    if kind == FileKind::Dockerfile {
        match Dockerfile::parse(file.text.as_bytes()) {
            Ok(dockerfile) => {
                file.suppressions.clone_from(&dockerfile.suppressions);
                malformed.clone_from(&dockerfile.malformed_suppressions);
                file.dockerfile = Some(dockerfile);
            }
            Err(error) => problem(Some(error.line), format!("BuildKit refuses this Dockerfile: {error}")),
        }
    } else {
        (file.suppressions, malformed) = suppressions::read(&file.text, matches!(kind, FileKind::Bake | FileKind::Manifest));
    }
    match kind {
        FileKind::Script | FileKind::Dotenv => file.commands = commands_in_script(&file.text, 1),
        FileKind::Makefile => file.commands = commands_in_script(&ci::makefile(&file.text), 1),
        FileKind::Jenkinsfile => file.commands = commands_in_script(&ci::jenkinsfile(&file.text), 1),
        FileKind::Compose | FileKind::GitHub | FileKind::GitLab | FileKind::Daemon => match yaml::parse(&file.text, 0) {
            Ok(documents) => {
                file.yaml = documents;
                if matches!(kind, FileKind::GitHub | FileKind::GitLab) {
                    file.commands = ci::commands(&file.text, &file.yaml);
                }
            }
            // Compose says it itself, with the files that it merges.
            Err(_) if kind == FileKind::Compose => {}
            Err(error) => problem(None, format!("cannot be read: {error}")),
        },
        FileKind::Dockerfile | FileKind::Bake | FileKind::Manifest => {}
    }
    for line in malformed {
        problem(Some(line), "this comment silences nothing: write # bklog: ignore[RULE] REASON".to_owned());
    }
    Some(file)
}

/// The bytes of a file, `None` where there are too many.
fn bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= LARGEST_FILE).then_some(bytes))
}

/// Adds the Dockerfile that stands in a compose or bake file, under the file's own name: its lines are the file's. `key` tells it from
/// others of the same file. What BuildKit would refuse is a problem.
pub(super) fn add_inline(repository: &mut Repository, path: &Path, key: &Path, line: usize, text: &str, cwd: &Path) {
    let Some(source) = repository.at(path).map(|id| repository.file(id).text.clone()) else { return };
    if repository.at(key).is_some() {
        return;
    }
    let Some(first) = text.lines().map(str::trim).find(|line| !line.is_empty()) else { return };
    let blank = text.lines().take_while(|line| line.trim().is_empty()).count();
    let at = source.lines().skip(line.saturating_sub(1)).position(|candidate| candidate.contains(first));
    let above = at.map_or(0, |at| (line.saturating_sub(1) + at).saturating_sub(blank));
    let padded = "\n".repeat(above) + text;
    match Dockerfile::parse(padded.as_bytes()) {
        Ok(dockerfile) => {
            let file = File {
                line_spans: Default::default(),
                path: shown(path, cwd),
                absolute: key.to_owned(),
                kind: FileKind::Dockerfile,
                text: source,
                exact: false,
                dockerfile: Some(dockerfile),
                yaml: Vec::new(),
                commands: Vec::new(),
                suppressions: Vec::new(),
            };
            let at = repository.files.partition_point(|known| known.absolute < file.absolute);
            repository.files.insert(at, file);
        }
        Err(error) => {
            let message = format!("BuildKit refuses this Dockerfile: {error}");
            repository.problems.push(Problem { path: shown(path, cwd), line: Some(error.line), message });
        }
    }
}

/// Adds files that other files name, unless they are there, outside of the tree, or no ordinary files.
pub(super) fn add(repository: &mut Repository, paths: Vec<PathBuf>, cwd: &Path) {
    for path in paths {
        let inside = path.starts_with(&repository.root);
        let ordinary = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
        if inside && ordinary && repository.at(&path).is_none() {
            let read = file(&path, Some(FileKind::Dockerfile), cwd, &mut repository.problems);
            if let Some(read) = read {
                let at = repository.files.partition_point(|known| known.absolute < read.absolute);
                repository.files.insert(at, read);
            }
        }
    }
}
