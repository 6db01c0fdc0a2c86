//! What rules judge from.

use std::{cell::OnceCell, collections::BTreeMap, path::Path};

use super::Finding;
use crate::{
    build::{Build, Format, Kind, Step},
    evidence::{
        build_command::{BuildCommand, ClientKind},
        build_target::BuildTarget,
        dockerfile::{
            Dockerfile,
            environment::{BuildOptions, Environment},
            steps::{CommandRef, StepIndex, find_legacy_line},
        },
    },
    freshness::StepVerdict,
    policy::Policy,
    redact::Redactor,
};

/// Everything that is known of a log and of what made it. Whatever is not known is empty or `None`, and rules stay silent about it.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The builds of the log in order.
    pub builds: Vec<BuildFacts<'a>>,
    /// Lines outside of builds that say something: which commit is built, that the cache was pruned.
    pub remarks: &'a [(u64, String)],
    /// What is to hold.
    pub policy: &'a Policy,
    /// What git says.
    pub git: Option<&'a GitFacts>,
    /// Earlier runs of the same project.
    pub history: &'a dyn EarlierRuns,
    /// The verdicts of the steps.
    pub verdicts: &'a [StepVerdict],
    /// Findings that came with the verdicts. They are put under the settings as all others are, and rules do not repeat them.
    pub raised: &'a [Finding],
}

/// What git and the caller say of the commit.
#[derive(Debug, Clone, Default)]
pub struct GitFacts {
    /// The commit that the log claims to build, in full where it is known (`--commit`, or HEAD).
    pub commit: Option<String>,
    /// HEAD, in full.
    pub head: Option<String>,
    /// Changed files, from the top of the repository, since the baseline.
    pub changed: Vec<String>,
    /// Changed files that an ignore file keeps out of the context: the build, the file from the context's root, the ignore file's path.
    pub ignored: Vec<(usize, String, String)>,
}

/// An earlier run.
#[derive(Debug, Clone, Default)]
pub struct EarlierRun {
    /// Its id.
    pub run: String,
    /// Its commit.
    pub commit: Option<String>,
    /// When it was, for people.
    pub at: Option<String>,
    /// Its build arguments that are no secrets.
    pub args: BTreeMap<String, String>,
    /// Its commands as the log shows them, without the bracket, and whether each was cached.
    pub steps: Vec<(String, bool)>,
    /// Its FROM lines, likewise.
    pub bases: Vec<String>,
}

/// Where earlier runs come from.
pub trait EarlierRuns: std::fmt::Debug {
    /// The runs of the same project and target before this one, the last one first; a few are enough.
    fn of(&self, target: Option<&str>) -> Vec<EarlierRun>;
}

/// No history.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHistory;

impl EarlierRuns for NoHistory {
    fn of(&self, _: Option<&str>) -> Vec<EarlierRun> {
        Vec::new()
    }
}

/// One build of the log, and what it was asked to do.
#[derive(Debug)]
pub struct BuildFacts<'a> {
    /// Its place in the log, from 0.
    pub number: usize,
    /// The record.
    pub build: &'a Build,
    /// The program that built, where the command is known.
    pub client: Option<ClientKind>,
    /// What was built: one target for `docker build`, several for bake and compose; none where the command is not known.
    pub targets: Vec<TargetFacts<'a>>,
}

/// One target and its Dockerfile.
#[derive(Debug)]
pub struct TargetFacts<'a> {
    /// The request.
    pub target: &'a BuildTarget,
    /// The Dockerfile, where it could be read.
    pub source: Option<&'a SourceFile>,
    environment: Option<Environment<'a>>,
    steps: OnceCell<Option<StepIndex<'a>>>,
}

/// A Dockerfile with the name that people know it by.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The path, relative to the working directory where it is below it, with slashes.
    pub path: String,
    /// The text.
    pub text: String,
    /// The text, read.
    pub dockerfile: Dockerfile,
}

impl SourceFile {
    /// Reads a Dockerfile's text; `None` where BuildKit would refuse it.
    pub fn new(path: &Path, below: &Path, bytes: &[u8]) -> Option<Self> {
        let shown = path.strip_prefix(below).unwrap_or(path);
        let path = shown.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("/");
        let path = if shown.is_absolute() { shown.display().to_string() } else { path };
        Some(Self { path, text: String::from_utf8_lossy(bytes).into_owned(), dockerfile: Dockerfile::parse(bytes).ok()? })
    }

    /// The lines from `line` to `end_line`, a few at most.
    pub fn lines(&self, line: usize, end_line: usize) -> Vec<String> {
        const MOST: usize = 6;
        let count = end_line.saturating_sub(line).saturating_add(1).min(MOST);
        self.text.lines().skip(line.saturating_sub(1)).take(count).map(|text| text.trim_end().to_owned()).collect()
    }
}

impl<'a> BuildFacts<'a> {
    /// A build of which nothing but the log is known.
    pub fn log_only(number: usize, build: &'a Build) -> Self {
        Self { number, build, client: None, targets: Vec::new() }
    }

    /// A build whose command is known. `sources` holds the Dockerfile of each target, in order.
    pub fn new(number: usize, build: &'a Build, command: &'a BuildCommand, sources: &'a [Option<SourceFile>]) -> Self {
        let targets = command.targets.iter().enumerate();
        let targets = targets.map(|(at, target)| TargetFacts::new(target, sources.get(at).and_then(Option::as_ref))).collect();
        Self { number, build, client: Some(command.client), targets }
    }

    /// What people call it: the target, or the last part of the image's name.
    pub fn service(&self) -> Option<&str> {
        match self.targets.as_slice() {
            [only] => only.name().or_else(|| self.image_name()),
            _ => self.image_name(),
        }
    }

    fn image_name(&self) -> Option<&str> {
        let name = self.build.image.names.first()?;
        let name = name.split_once('@').map_or(name.as_str(), |(name, _)| name);
        let last = name.rsplit('/').next()?;
        Some(last.split_once(':').map_or(last, |(name, _)| name))
    }

    /// The target that a step belongs to.
    pub fn target_of(&self, step: &Step) -> Option<&TargetFacts<'a>> {
        match (self.targets.as_slice(), step.parts.target.as_deref()) {
            ([only], _) => Some(only),
            (many, Some(name)) => many.iter().find(|target| target.target.name.as_deref() == Some(name)),
            (_, None) => None,
        }
    }

    /// The command of a step and the target that it belongs to.
    pub fn command_of(&self, step: &Step) -> Option<(&TargetFacts<'a>, CommandRef<'a>)> {
        let target = self.target_of(step)?;
        if self.build.format == Format::Legacy {
            return None;
        }
        let found = target.steps()?.find(step.parts.stage.as_deref(), step.parts.number?, step.parts.total?, step.instruction())?;
        Some((target, found))
    }

    /// The place of a step in its Dockerfile.
    pub fn line_of(&self, step: &Step) -> Option<(&SourceFile, usize, usize)> {
        if self.build.format == Format::Legacy {
            let source = self.target_of(step)?.source?;
            let line = find_legacy_line(&source.dockerfile, step.parts.number?)?;
            return Some((source, line, line));
        }
        let (target, command) = self.command_of(step)?;
        Some((target.source?, command.line, command.end_line))
    }

    /// The commands of the log: steps of Dockerfiles other than FROM.
    pub fn commands(&self) -> impl Iterator<Item = &'a Step> {
        self.build.steps.iter().filter(|step| step.is_command())
    }

    /// The steps of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &'a Step> {
        self.build.steps.iter().filter(move |step| step.parts.kind == kind)
    }
}

impl<'a> TargetFacts<'a> {
    /// A target and its Dockerfile.
    pub fn new(target: &'a BuildTarget, source: Option<&'a SourceFile>) -> Self {
        let environment = source.map(|source| Environment::new(&source.dockerfile, &options(target)));
        Self { target, source, environment, steps: OnceCell::new() }
    }

    /// The name of the bake or compose target.
    pub fn name(&self) -> Option<&'a str> {
        self.target.name.as_deref()
    }

    /// The Dockerfile with bases and variables resolved.
    pub fn environment(&self) -> Option<&Environment<'a>> {
        self.environment.as_ref()
    }

    /// The steps that the Dockerfile gives.
    pub fn steps(&self) -> Option<&StepIndex<'a>> {
        self.steps.get_or_init(|| self.environment.as_ref().map(StepIndex::new)).as_ref()
    }
}

/// The options of a build that change the meaning of its Dockerfile.
pub fn options(target: &BuildTarget) -> BuildOptions {
    BuildOptions {
        args: target.args.iter().filter_map(|arg| Some((arg.name.clone(), arg.value.clone()?))).collect(),
        target: target.target.clone(),
        contexts: target.contexts.keys().cloned().collect(),
        platform: target.platforms.first().cloned(),
        build_platform: None,
    }
}

impl Facts<'_> {
    /// What must not be repeated: the values of arguments whose names say that they are secret.
    pub fn redactor(&self) -> Redactor {
        let mut redactor = Redactor::new(&self.policy.secret_names);
        for arg in self.builds.iter().flat_map(|build| &build.targets).flat_map(|target| &target.target.args) {
            if let Some(value) = &arg.value {
                redactor.learn(&arg.name, value);
            }
        }
        redactor
    }

    /// The verdict of a step.
    pub fn verdict(&self, build: usize, index: u32) -> Option<&StepVerdict> {
        self.verdicts.iter().find(|verdict| verdict.build == build && verdict.index == index)
    }

    /// True where a finding of one of these rules came with the verdicts for the step; for the build as a whole where `index` is `None`.
    pub fn is_raised(&self, rules: &[&str], build: usize, index: Option<u32>) -> bool {
        let same = |finding: &Finding| finding.in_log.as_ref().is_some_and(|place| place.build == build && place.index == index);
        self.raised.iter().any(|finding| rules.contains(&finding.rule) && same(finding))
    }

    /// The commit that the log is to be of.
    pub fn commit(&self) -> Option<&str> {
        let git = self.git?;
        git.commit.as_deref().or(git.head.as_deref())
    }
}
