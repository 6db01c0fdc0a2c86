//! The files of a repository that say how its images are built, read once.
//!
//! [`Repository::read`] walks the tree (`walk.rs`), says by a file's name and beginning what it is (`kind.rs`), reads it (`read.rs`), and
//! puts together what is built from what (`images.rs`). Nothing is executed, no variable of the process is looked at, no link is
//! followed. What cannot be read is a [`Problem`], never an error: one bad file must not hide what the others say.

mod ci;
mod images;
mod kind;
mod matrix;
mod read;
mod suppressions;
mod syntax;
#[cfg(test)]
mod tests;
mod walk;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use super::{
    build_command::{ClientKind, ScriptCommand},
    build_target::BuildTarget,
    context::survey::{Survey, Surveys},
    dockerfile::{Dockerfile, Suppression},
    yaml::Node,
};

/// Bytes of a file that are read at most; larger ones are named and left out.
pub const LARGEST_FILE: u64 = 1024 * 1024;
/// Files that are read at most.
pub const MOST_FILES: usize = 50_000;
/// Files and directories that are looked at at most.
pub const MOST_ENTRIES: usize = 2_000_000;

/// What is looked for, for messages.
pub const LOOKED_FOR: &str =
    "Dockerfile, *.Dockerfile, Containerfile, compose and bake files, shell scripts, Makefiles, Jenkinsfiles and CI files";

/// A repository, read.
#[derive(Debug, Default)]
pub struct Repository {
    /// The directory that was named, absolute.
    pub root: PathBuf,
    /// The files, by path.
    pub files: Vec<File>,
    /// What is built: by compose services, bake targets, commands of scripts, and actions. One image can be here more than once, as a
    /// service and as the command that builds it, for instance.
    pub images: Vec<Image>,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Scripts that their shell would refuse; empty before [`Repository::check_scripts`].
    pub syntax: Vec<SyntaxError>,
    /// What the build contexts hold, each looked at when it is first asked for.
    surveys: Surveys,
}

/// A file of a repository, by its place in [`Repository::files`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(usize);

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A Dockerfile.
    Dockerfile,
    /// A compose file.
    Compose,
    /// A bake file, HCL or JSON.
    Bake,
    /// A shell script.
    Script,
    /// A Makefile: its recipes.
    Makefile,
    /// A Jenkinsfile: its `sh` steps.
    Jenkinsfile,
    /// A workflow or an action of GitHub.
    GitHub,
    /// The CI file of GitLab.
    GitLab,
    /// An environment file that compose reads.
    Dotenv,
    /// The settings of a docker daemon: `daemon.json`.
    Daemon,
    /// A file that names dependencies: `requirements.txt`, `package.json`, `pyproject.toml`, `Cargo.toml`, `go.mod`.
    Manifest,
}

/// A file, read. What its kind does not have is empty.
#[derive(Debug)]
pub struct File {
    /// The path as reports show it, with slashes: relative to the working directory where it is below it.
    pub path: String,
    /// The path, absolute.
    pub absolute: PathBuf,
    /// What it is.
    pub kind: FileKind,
    /// Its text. Invalid UTF-8 has U+FFFD in its place; then [`File::exact`] is false and byte places do not hold.
    pub text: String,
    /// Whether `text` is the file byte by byte.
    pub exact: bool,
    /// A Dockerfile; `None` where BuildKit would refuse it, which is a [`Problem`].
    pub dockerfile: Option<Dockerfile>,
    /// The YAML documents of compose and CI files, variables as written, with lines.
    pub yaml: Vec<Node>,
    /// The commands of scripts and of CI steps in their order, with the lines of this file.
    pub commands: Vec<ScriptCommand>,
    /// `# bklog: ignore[rule] reason` comments.
    pub suppressions: Vec<Suppression>,
    /// Where its lines are, found when one is first asked for.
    pub(crate) line_spans: OnceLock<Vec<std::ops::Range<usize>>>,
}

/// A variable that a file sets: in a script, in `env:`, `environment:` or `variables:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value as written, quotes taken off.
    pub value: String,
    /// The line, from 1.
    pub line: usize,
}

/// What says that an image is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedBy {
    /// A service of a compose file.
    Compose,
    /// A target of a bake file.
    Bake,
    /// A command of a script or CI step.
    Command(ClientKind),
    /// `docker/build-push-action` in a workflow.
    Action,
}

/// One image that is built.
#[derive(Debug, Clone)]
pub struct Image {
    /// What names it.
    pub by: NamedBy,
    /// The file that names it.
    pub file: FileId,
    /// First line of the service, target, command or step, from 1.
    pub line: usize,
    /// Its last line, where it is known; else the first.
    pub end_line: usize,
    /// What is asked of BuildKit: context, Dockerfile, target, arguments, caches, with their places.
    pub target: BuildTarget,
    /// Its Dockerfile, where that is a file of the repository.
    pub dockerfile: Option<FileId>,
    /// Whether context and Dockerfile are known: false where a variable leaves them open.
    pub known: bool,
    /// Whether a variable of the command can hold any options: then what it does not pass is not known.
    pub open: bool,
}

/// A script that its shell would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// The script.
    pub file: FileId,
    /// The line that the shell names, from 1.
    pub line: usize,
    /// What it says.
    pub message: String,
}

/// Something that could not be read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file or directory, as reports show it.
    pub path: String,
    /// The line, where it is about one.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl Repository {
    /// Reads a directory, or one file.
    ///
    /// `path` is what the user named; `cwd`, absolute, is what it is relative to and what shown paths start from.
    ///
    /// # Errors
    /// The path itself cannot be looked at.
    pub fn read(path: &Path, cwd: &Path) -> std::io::Result<Self> {
        read::repository(path, cwd)
    }

    /// Asks bash whether it can read the shell scripts (`bash -n`, which runs nothing), within bounds of time and number.
    ///
    /// Fills [`Repository::syntax`]. Where there is no bash, or too much to do, that is a [`Problem`].
    pub fn check_scripts(&mut self) {
        syntax::check(self);
    }

    /// True where no file says that an image is built: there is nothing to judge.
    pub fn nothing_is_built(&self) -> bool {
        self.files.iter().all(|file| file.kind == FileKind::Manifest)
    }

    /// The file of an id.
    pub fn file(&self, id: FileId) -> &File {
        &self.files[id.0]
    }

    /// All files with their ids.
    pub fn with_ids(&self) -> impl Iterator<Item = (FileId, &File)> {
        self.files.iter().enumerate().map(|(at, file)| (FileId(at), file))
    }

    /// The Dockerfiles that could be read.
    pub fn dockerfiles(&self) -> impl Iterator<Item = (FileId, &File, &Dockerfile)> {
        self.with_ids().filter_map(|(id, file)| Some((id, file, file.dockerfile.as_ref()?)))
    }

    /// The images that a Dockerfile is built into.
    pub fn images_of(&self, dockerfile: FileId) -> impl Iterator<Item = &Image> {
        self.images.iter().filter(move |image| image.dockerfile == Some(dockerfile))
    }

    /// The file at an absolute path.
    pub fn at(&self, path: &Path) -> Option<FileId> {
        self.files.binary_search_by(|file| file.absolute.as_path().cmp(path)).ok().map(FileId)
    }

    /// The build contexts of a Dockerfile that are directories: those of its images; its own directory where no image names it.
    pub fn contexts_of(&self, dockerfile: FileId) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = Vec::new();
        let mut named = false;
        for image in self.images_of(dockerfile) {
            named = true;
            if let Some(dir) = image.target.context.local_dir()
                && !found.iter().any(|known| known == dir)
            {
                found.push(dir.to_owned());
            }
        }
        if !named {
            found.extend(self.file(dockerfile).absolute.parent().map(Path::to_owned));
        }
        found
    }

    /// What a build context holds, as the ignore file leaves it that it has with a Dockerfile. `None` where it is outside of the
    /// repository, no directory, or too much to look at, and where its ignore file cannot be read.
    pub fn survey(&self, context: &Path, dockerfile: &File) -> Option<Arc<Survey>> {
        // What is above may be the whole disk.
        context.starts_with(&self.root).then(|| self.surveys.of(context, Some(&dockerfile.absolute)))?
    }

    /// A path as reports show it.
    pub fn shown(&self, path: &Path, cwd: &Path) -> String {
        walk::shown(path, cwd)
    }
}

impl File {
    /// The bytes of each line in [`File::text`], without its line end.
    fn spans(&self) -> &[std::ops::Range<usize>] {
        self.line_spans.get_or_init(|| {
            let mut start = 0;
            let mut spans = Vec::new();
            for text in self.text.split_inclusive('\n') {
                let bare = text.strip_suffix('\n').unwrap_or(text);
                let bare = bare.strip_suffix('\r').unwrap_or(bare);
                spans.push(start..start + bare.len());
                start += text.len();
            }
            spans
        })
    }

    /// A line, from 1, without its line end; empty where there is none.
    pub fn line(&self, line: usize) -> &str {
        self.text.get(self.span_of_line(line)).unwrap_or_default()
    }

    /// The lines from `line` to `end_line`, a few at most, without blanks at their ends.
    pub fn lines(&self, line: usize, end_line: usize) -> Vec<String> {
        const MOST: usize = 6;
        let last = end_line.min(line.saturating_add(MOST - 1)).min(self.spans().len());
        (line.max(1)..=last).map(|line| self.line(line).trim_end().to_owned()).collect()
    }

    /// The first line of a range that holds a text; the first of the range where none does.
    pub fn line_with(&self, line: usize, end_line: usize, text: &str) -> usize {
        let last = end_line.min(self.spans().len());
        (line..=last).find(|candidate| self.line(*candidate).contains(text)).unwrap_or(line)
    }

    /// The bytes of a line in [`File::text`], without its line end; empty at the end of the text where there is no such line.
    pub fn span_of_line(&self, line: usize) -> std::ops::Range<usize> {
        let end = self.text.len();
        line.checked_sub(1).and_then(|at| self.spans().get(at)).cloned().unwrap_or(end..end)
    }

    /// The variables that the file sets, in scripts and CI steps and in the `env`, `environment` and `variables` of YAML.
    pub fn variables(&self) -> Vec<Variable> {
        let mut found: Vec<Variable> = Vec::new();
        for command in &self.commands {
            let line = command.line;
            found.extend(command.assignments().into_iter().map(|(name, value)| Variable { name, value, line }));
        }
        for document in &self.yaml {
            ci::variables(document, &mut found);
        }
        found
    }
}
