//! What a build was asked to do: its targets, their Dockerfiles, and which files each command takes from where.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::build::{Build, Format, Step};
use crate::evidence::build_target::{BuildTarget, ContextSource};
use crate::evidence::context::follow;
use crate::evidence::dockerfile::dependencies::Origin;
use crate::evidence::dockerfile::environment::{BuildOptions, Environment};
use crate::evidence::dockerfile::steps::{Agreement, StepIndex, find_legacy_line};
use crate::evidence::dockerfile::{CommandKind, Dockerfile};
use crate::evidence::glob::CopySelection;

/// The most bytes of a Dockerfile that are read: those of a gRPC message.
const MAX_DOCKERFILE: u64 = 16 * 1024 * 1024;

/// A Dockerfile as it is on disk, or why there is none to read.
#[derive(Debug)]
pub enum Source {
    /// Its bytes, and its path where it has one.
    Read(Vec<u8>, Option<PathBuf>),
    /// Why it cannot be read.
    Missing(String),
}

impl Source {
    fn read(target: &BuildTarget) -> Self {
        if let Some(inline) = &target.dockerfile_inline {
            return Self::Read(inline.clone().into_bytes(), None);
        }
        let Some(path) = &target.dockerfile_path else {
            return Self::Missing("the Dockerfile is not on this machine".to_owned());
        };
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.len() > MAX_DOCKERFILE => Self::Missing(format!("{} is too large", path.display())),
            _ => match std::fs::read(path) {
                Ok(bytes) => Self::Read(bytes, Some(path.clone())),
                Err(cause) => {
                    let shown = path.display();
                    Self::Missing(format!(
                        "the Dockerfile {shown} cannot be read: {cause}; name the one that was built with --file, or in --build"
                    ))
                }
            },
        }
    }
}

/// Dockerfiles, each read once: they are needed to find the command of a build, to judge it, and to show its lines.
#[derive(Debug, Default)]
pub struct Sources {
    read: RefCell<HashMap<PathBuf, Rc<Source>>>,
}

impl Sources {
    /// The Dockerfile of a target.
    pub fn of(&self, target: &BuildTarget) -> Rc<Source> {
        let Some(path) = target.dockerfile_path.as_ref().filter(|_| target.dockerfile_inline.is_none()) else {
            return Rc::new(Source::read(target));
        };
        self.read.borrow_mut().entry(path.clone()).or_insert_with(|| Rc::new(Source::read(target))).clone()
    }

    /// The Dockerfile of a target, where it is one that BuildKit would take.
    pub fn dockerfile(&self, target: &BuildTarget) -> Option<Dockerfile> {
        match &*self.of(target) {
            Source::Read(bytes, _) => Dockerfile::parse(bytes).ok(),
            Source::Missing(_) => None,
        }
    }
}

/// What one command takes.
#[derive(Debug)]
pub struct Use {
    /// Where from.
    pub origin: Origin,
    /// The sources with their variables expanded.
    pub sources: Vec<String>,
    /// Which files of the origin those are.
    pub selection: CopySelection,
    /// Whether it is a bind mount of a RUN.
    pub mount: bool,
    /// Where they go, as written with variables expanded; empty for a mount.
    pub destination: String,
    /// Whether the directories of the sources are made again (`--parents`).
    pub parents: bool,
    /// Whether local archives are unpacked (ADD).
    pub unpacks: bool,
}

impl Use {
    fn new(origin: Origin, sources: Vec<String>, excludes: &[String], parents: bool, mount: bool) -> Option<Self> {
        let selection = CopySelection::new(sources.iter().map(String::as_str), excludes.iter().map(String::as_str), parents).ok()?;
        Some(Self { origin, sources, selection, mount, destination: String::new(), parents, unpacks: false })
    }

    /// What a step takes as its name in the log tells it.
    pub fn by_log(origin: Origin, step: &Step) -> Option<Self> {
        let sources: Vec<String> = step.parts.sources.iter().filter(|source| !crate::build::is_remote(source)).cloned().collect();
        let flags: Vec<&str> = step.instruction().split_whitespace().skip(1).take_while(|word| word.starts_with("--")).collect();
        let mut found = Self::new(origin, sources, &[], flags.contains(&"--parents"), false)?;
        found.destination = step.parts.destination.clone().unwrap_or_default();
        found.unpacks = step.parts.keyword == Some("ADD") && !flags.contains(&"--unpack=false");
        Some(found)
    }

    /// Takes in what symbolic links in the sources' paths lead to.
    pub fn through_links(&self, root: &Path) -> Option<CopySelection> {
        let plain: Vec<String> = self.sources.clone();
        let resolved = follow::resolve(root, &plain)?;
        let more = resolved.iter().filter(|path| !self.sources.iter().any(|source| source == *path));
        let mut more = more.peekable();
        more.peek()?;
        CopySelection::new(more.map(String::as_str), [], false).ok()
    }
}

/// A target with its Dockerfile understood.
#[derive(Debug)]
pub struct View<'d> {
    /// The stages and values.
    pub environment: Environment<'d>,
    index: StepIndex<'d>,
    /// What each command takes, by stage and first line.
    uses: BTreeMap<(usize, usize), Vec<Use>>,
    /// The working directory of each command, where a WORKDIR made it absolute.
    workdirs: BTreeMap<(usize, usize), String>,
    /// The stages that the target needs.
    pub needed: std::collections::BTreeSet<usize>,
}

/// The command of a step.
#[derive(Debug, Clone, Copy)]
pub struct Located {
    /// The stage.
    pub stage: usize,
    /// Its first line in the Dockerfile.
    pub line: usize,
    /// How sure it is.
    pub agreement: Agreement,
}

/// The options that change the meaning of a target's Dockerfile.
pub fn options(target: &BuildTarget) -> BuildOptions {
    BuildOptions {
        args: target.args.iter().filter_map(|arg| Some((arg.name.clone(), arg.value.clone()?))).collect(),
        target: target.target.clone(),
        contexts: target.contexts.keys().cloned().collect(),
        platform: match target.platforms.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        },
        build_platform: None,
    }
}

impl<'d> View<'d> {
    /// Understands a Dockerfile as it is built with these options.
    pub fn new(file: &'d Dockerfile, options: &BuildOptions) -> Self {
        let environment = Environment::new(file, options);
        let index = StepIndex::new(&environment);
        let needed = environment.needed_stages().unwrap_or_else(|_| (0..file.stages.len()).collect());
        let mut uses: BTreeMap<(usize, usize), Vec<Use>> = BTreeMap::new();
        let mut workdirs = BTreeMap::new();
        for stage in 0..file.stages.len() {
            environment.walk(stage, |running, scope| {
                let expand = |word: &str| environment.lexer().word(word, &scope.variables).unwrap_or_else(|_| word.to_owned());
                let mut found = Vec::new();
                match &running.command.kind {
                    CommandKind::Copy(copy) | CommandKind::Add(copy) => {
                        if let Some(origin) = environment.copy_origin(running.command) {
                            let is_add = running.command.keyword == "ADD";
                            let sources = copy.sources.iter().map(|source| expand(source));
                            let sources: Vec<_> = sources.filter(|s| !is_add || !crate::build::is_remote(s)).collect();
                            let excludes: Vec<_> = copy.excludes.iter().map(|pattern| expand(pattern)).collect();
                            if let Some(mut taken) = Use::new(origin, sources, &excludes, copy.parents, false) {
                                taken.destination = expand(&copy.destination);
                                taken.unpacks = is_add && copy.unpack != Some(false);
                                found.push(taken);
                            }
                        }
                    }
                    CommandKind::Run(run) => {
                        for mount in &run.mounts {
                            let spec = mount.expand(environment.lexer(), &scope.variables).ok();
                            let origin = spec.as_ref().and_then(|spec| environment.mount_origin(spec));
                            if let (Some(spec), Some(origin)) = (spec, origin) {
                                found.extend(Use::new(origin, vec![spec.source], &[], false, true));
                            }
                        }
                    }
                    _ => {}
                }
                workdirs.extend(scope.workdir.clone().map(|workdir| ((stage, running.command.line), workdir)));
                uses.entry((stage, running.command.line)).or_default().extend(found);
            });
        }
        Self { environment, index, uses, workdirs, needed }
    }

    /// Finds the command of a step. `names` are the names of all targets of the build.
    pub fn locate(&self, build: &Build, step: &Step, names: &[&str]) -> Option<Located> {
        let parts = &step.parts;
        let number = parts.number?;
        if build.format == Format::Legacy {
            let line = find_legacy_line(self.environment.file(), number)?;
            let stage = self.environment.file().stages.iter().rposition(|stage| stage.line <= line)?;
            return Some(Located { stage, line, agreement: Agreement::Number });
        }
        // With one word before the number, that word is a bake target where the Dockerfile has no such stage.
        let word = parts.stage.as_deref();
        let is_stage = |word: &str| self.environment.stage_named(word).is_some() || word.starts_with("stage-");
        let stage = word.filter(|word| is_stage(word) || !names.contains(word));
        let text = step.instruction();
        let found = self.index.find(stage, number, parts.total?, text)?;
        Some(Located { stage: found.stage, line: found.line, agreement: found.agreement })
    }

    /// The stage of a step by the word in its bracket, where that word names one.
    pub fn stage_of(&self, step: &Step) -> Option<usize> {
        let stages = self.environment.file().stages.len();
        match step.parts.stage.as_deref() {
            None => (stages == 1).then_some(0),
            Some(word) => {
                self.environment.stage_named(word).or_else(|| word.strip_prefix("stage-")?.parse().ok().filter(|index| *index < stages))
            }
        }
    }

    /// What the history of an image can say of the RUN at a place: its command without flags, its script, or both.
    pub fn run_texts(&self, stage: usize, line: usize) -> Vec<String> {
        let commands = self.environment.file().stages.get(stage).map(|stage| stage.commands.as_slice()).unwrap_or_default();
        let Some(command) = commands.iter().find(|command| command.line == line) else {
            return Vec::new();
        };
        let CommandKind::Run(run) = &command.kind else {
            return Vec::new();
        };
        let text = run.arguments.join(" ");
        let scripts = command.heredocs.iter().map(|heredoc| format!("{}{}", heredoc.content, heredoc.name));
        let whole = std::iter::once(text.clone()).chain(scripts).collect::<Vec<_>>().join("\n");
        let mut texts = vec![text, whole];
        texts.extend(command.heredocs.iter().filter(|_| command.heredocs.len() == 1).map(|heredoc| heredoc.content.clone()));
        texts
    }

    /// Says whether this Dockerfile can have given the steps of a build: more of them are in it than are not.
    pub fn agrees(&self, build: &Build, steps: &[&Step], names: &[&str]) -> bool {
        if build.format == Format::Legacy {
            return true;
        }
        let (mut here, mut elsewhere) = (0_usize, 0_usize);
        // Docker 20.10 numbers the ONBUILD steps of a base image and leaves them out of the total: these are in no line of the file.
        let beyond = |step: &&Step| Some(step.parts.number?.saturating_sub(step.parts.total?));
        let triggered = steps.iter().copied().filter_map(|step| beyond(&step)).max().unwrap_or_default();
        for step in steps.iter().filter(|step| step.is_command()) {
            match self.locate(build, step, names).map(|found| found.agreement) {
                Some(Agreement::Exact | Agreement::Template | Agreement::Text) => here += 1,
                // A RUN whose build argument is not known here.
                Some(Agreement::Number) if step.parts.keyword == Some("RUN") => {}
                _ => elsewhere += 1,
            }
        }
        here >= elsewhere.saturating_sub(triggered as usize)
    }

    /// What the command at a place takes.
    pub fn uses(&self, stage: usize, line: usize) -> &[Use] {
        self.uses.get(&(stage, line)).map_or(&[], Vec::as_slice)
    }

    /// The working directory of a command; `None` where only the base image knows it.
    pub fn workdir(&self, stage: usize, line: usize) -> Option<String> {
        self.workdirs.get(&(stage, line)).cloned()
    }

    /// The paths that the build follows in an origin, with `more` that the Dockerfile does not name; `None` is all of it.
    pub fn followed(&self, origin: &Origin, more: &[&str]) -> Option<Vec<String>> {
        let here = self.uses.iter().filter(|((stage, _), _)| self.needed.contains(stage)).flat_map(|(_, uses)| uses);
        let sources: Vec<&str> =
            here.filter(|u| u.origin == *origin).flat_map(|u| u.sources.iter().map(String::as_str)).chain(more.iter().copied()).collect();
        follow::followed_paths(sources)
    }

    /// Says whether some step of the Dockerfile bears this name.
    pub fn has_step(&self, text: &str) -> bool {
        (0..self.environment.file().stages.len()).any(|stage| self.index.steps(stage).iter().any(|step| step.name == text))
    }
}

/// The name of a named context in `[context NAME] load from client`; `None` for another step.
pub fn context_name(step: &Step) -> Option<&str> {
    let bracket = step.name.strip_prefix('[')?.split_once(']')?.0;
    let (before, name) = bracket.rsplit_once("context ")?;
    (before.is_empty() || before.ends_with(' ')).then_some(name)
}

/// Says whether a step belongs to the target: it bears its name, or the build has only one.
pub fn belongs(step: &Step, target: &BuildTarget, only: bool) -> bool {
    let Some(name) = target.name.as_deref().filter(|_| !only) else {
        return true;
    };
    let named = |parts: &crate::build::StepName| {
        parts.target.as_deref() == Some(name) || (parts.target.is_none() && parts.stage.as_deref() == Some(name))
    };
    named(&step.parts) || step.other_names.iter().any(|other| named(&crate::build::StepName::parse(other)))
}

/// The context of a name: the main one for `None`.
pub fn context<'t>(target: &'t BuildTarget, name: Option<&str>) -> Option<&'t ContextSource> {
    match name {
        None => Some(&target.context),
        Some(name) => target.contexts.get(name),
    }
}
