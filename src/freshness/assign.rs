//! Which command made which build of a log.
//!
//! As many commands as builds stand in the order of the log. Otherwise each build goes to the command whose Dockerfile gives its steps,
//! whose `-f` bears the name that the log shows, and whose tag is the image's name; a command whose evidence speaks against it is not
//! taken, and a build that no command fits has none: judged by another one's context, a verdict would be worth nothing.
//!
//! A compose file that docker's own client builds makes one build of each service, without the service's name in it; such a command is
//! taken apart and each build gets its service.

use std::borrow::Cow;

use crate::build::{Build, Format, Kind};
use crate::evidence::build_command::{BuildCommand, ClientKind};
use crate::evidence::build_target::{BuildTarget, ContextSource};
use crate::evidence::dockerfile::Dockerfile;
use crate::evidence::dockerfile::environment::Environment;
use crate::evidence::dockerfile::steps::{Agreement, StepIndex};
use crate::evidence::image_name;

use super::plan::{Sources, belongs, options};

/// More pairs of builds and commands than this are not compared; then the order alone counts.
const MOST_PAIRS: usize = 100_000;

/// What came of it.
#[derive(Debug, Default)]
pub struct Assigned {
    /// The command of each build.
    pub commands: Vec<Option<BuildCommand>>,
    /// What is to be said of builds that have none.
    pub notes: Vec<String>,
}

/// Finds the command of each build.
pub fn assign(builds: &[Build], commands: &[BuildCommand], sources: &Sources) -> Assigned {
    if commands.is_empty() {
        return Assigned { commands: vec![None; builds.len()], notes: Vec::new() };
    }
    let targets: usize = commands.iter().map(|command| command.targets.len()).sum();
    if builds.len().saturating_mul(targets.max(1)) > MOST_PAIRS {
        let by_order = (0..builds.len()).map(|number| commands.get(number).cloned());
        let note =
            format!("{} builds and {} commands are too many to compare: they go together in their order", builds.len(), commands.len());
        return Assigned { commands: by_order.collect(), notes: vec![note] };
    }
    let files: Vec<Vec<Option<Dockerfile>>> =
        commands.iter().map(|command| command.targets.iter().map(|target| sources.dockerfile(target)).collect()).collect();
    let known: Vec<Vec<Known<'_>>> = commands
        .iter()
        .zip(&files)
        .map(|(command, files)| command.targets.iter().zip(files).map(|(target, file)| Known::new(target, file.as_ref())).collect())
        .collect();
    let mut assigned = Assigned::default();
    let mut used: Vec<(usize, usize)> = Vec::new();
    let mut lost = Vec::new();
    for (number, build) in builds.iter().enumerate() {
        let mut candidates: Vec<Candidate> = Vec::new();
        for (at, known) in known.iter().enumerate() {
            candidates.extend(candidates_of(build, at, known));
        }
        let positional = builds.len() == commands.len();
        let found = choose(&candidates, &used, positional.then_some(number));
        assigned.commands.push(found.map(|found| {
            used.push(found.place());
            by_docker(build, found.command(&commands[found.at]).into_owned())
        }));
        if found.is_none() {
            lost.push(number + 1);
        }
    }
    if !lost.is_empty() {
        assigned.notes.push(note(&lost, commands.len()));
    }
    assigned
}

/// `docker-compose` of the first generation has each service built by docker's own client (`compose/service.py`, `_CLIBuilder`), which
/// names a context by its whole path. What drives BuildKit itself names the builder in the log, or the service in its steps.
fn by_docker(build: &Build, mut command: BuildCommand) -> BuildCommand {
    let by_docker = build.builder.is_none() && build.format == Format::Plain && build.steps.iter().all(|step| step.parts.target.is_none());
    if command.client == ClientKind::Compose && by_docker {
        command.client = ClientKind::Docker;
        for target in &mut command.targets {
            if let ContextSource::Dir { path, typed } = &mut target.context {
                *typed = path.to_string_lossy().into_owned();
            }
        }
    }
    command
}

fn note(lost: &[usize], commands: usize) -> String {
    const MOST: usize = 10;
    let names: Vec<String> = lost.iter().take(MOST).map(ToString::to_string).collect();
    let more = if lost.len() > MOST { format!(" and {} more", lost.len() - MOST) } else { String::new() };
    let (builds, have) = if lost.len() == 1 { ("build", "has") } else { ("builds", "have") };
    let given = if commands == 1 {
        "the one command that is known does not make".to_owned()
    } else {
        format!("none of the {commands} commands that are known makes")
    };
    format!(
        "{builds} {}{more} of the log {have} no command: {given} their steps; give each build's command with --build, or name the Dockerfile that was built",
        names.join(", ")
    )
}

/// A command, or one target of it, for one build.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// The command.
    at: usize,
    /// The target, where the command is taken apart.
    target: Option<usize>,
    fit: Fit,
}

impl Candidate {
    fn place(&self) -> (usize, usize) {
        (self.at, self.target.unwrap_or(usize::MAX))
    }

    fn command<'c>(&self, command: &'c BuildCommand) -> Cow<'c, BuildCommand> {
        match self.target.and_then(|target| command.targets.get(target)) {
            Some(target) => Cow::Owned(BuildCommand { targets: vec![target.clone()], ..command.clone() }),
            None => Cow::Borrowed(command),
        }
    }
}

/// How well a build and a command go together.
#[derive(Debug, Clone, Copy, Default)]
struct Fit {
    /// Names that the log and the command share: the image's.
    names: usize,
    /// Steps that stand in the Dockerfile word for word.
    steps: usize,
    /// Something speaks against it.
    contradicted: bool,
}

impl Fit {
    /// The better one is the greater.
    fn weight(self) -> (usize, usize) {
        (self.names, self.steps)
    }
}

/// The best candidate: the one in the build's place if there is one and nothing speaks against it, else the best that fits; of equals
/// the next one that no build has yet.
fn choose<'c>(candidates: &'c [Candidate], used: &[(usize, usize)], place: Option<usize>) -> Option<&'c Candidate> {
    let positional = place.and_then(|place| candidates.iter().find(|candidate| candidate.at == place));
    let fitting: Vec<&Candidate> = candidates.iter().filter(|candidate| !candidate.fit.contradicted).collect();
    if let Some(positional) = positional.filter(|positional| !positional.fit.contradicted && positional.target.is_none()) {
        return Some(positional);
    }
    let best = fitting.iter().map(|candidate| candidate.fit.weight()).max();
    let equals: Vec<&&Candidate> = fitting.iter().filter(|candidate| Some(candidate.fit.weight()) == best).collect();
    let unused = equals.iter().find(|candidate| !used.contains(&candidate.place()));
    // A loop or a retry calls the same command again; without any word for it in the log it is only one of several.
    let again = equals.iter().rev().find(|candidate| candidate.fit.weight() > (0, 0) || candidates.len() == 1);
    // With a command for each build the order is the user's word, whatever the Dockerfile says by now.
    unused.or(again).map(|found| **found).or(positional)
}

/// One target with what the log can be compared with.
struct Known<'d> {
    target: &'d BuildTarget,
    index: Option<StepIndex<'d>>,
}

impl<'d> Known<'d> {
    fn new(target: &'d BuildTarget, file: Option<&'d Dockerfile>) -> Self {
        let index = file.map(|file| StepIndex::new(&Environment::new(file, &options(target))));
        Self { target, index }
    }

    /// How a build fits; with `only` all its steps are this target's.
    fn fit(&self, build: &Build, only: bool) -> Fit {
        let mut fit = Fit { names: self.names(build), ..Fit::default() };
        let (mut same, mut other) = (0, 0);
        if build.format != Format::Legacy
            && let Some(index) = &self.index
        {
            for step in build.steps.iter().filter(|step| step.is_command() && belongs(step, self.target, only)) {
                let (Some(number), Some(total)) = (step.parts.number, step.parts.total) else { continue };
                match index.find(step.parts.stage.as_deref(), number, total, step.instruction()).map(|found| found.agreement) {
                    // Where only the text agrees, the base has triggers or a line came in since.
                    Some(Agreement::Exact | Agreement::Template | Agreement::Text) => same += 1,
                    // A build argument that is not known here.
                    Some(Agreement::Number) if step.parts.keyword == Some("RUN") => {}
                    _ => other += 1,
                }
            }
        }
        fit.steps = same;
        fit.contradicted = other > same || self.other_file(build, only);
        fit
    }

    /// The image's names that are among the tags.
    fn names(&self, build: &Build) -> usize {
        let tags: Vec<&str> = self.target.tags.iter().map(|tag| image_name::short(tag)).collect();
        let image = || build.image.names.iter().map(|name| image_name::short(name));
        let tagged = image().filter(|name| tags.contains(name)).count();
        if tagged > 0 || !tags.is_empty() {
            return tagged;
        }
        // compose names an image after its project and the service.
        let service = self.target.name.as_deref().unwrap_or_default();
        let ends = |name: &str| {
            let name = name.strip_suffix(":latest").unwrap_or(name);
            !service.is_empty() && name.strip_suffix(service).is_some_and(|before| before.is_empty() || before.ends_with(['-', '_', '/']))
        };
        image().filter(|name| ends(name)).count()
    }

    /// True where the log shows that another Dockerfile was read: `load build definition from NAME`.
    fn other_file(&self, build: &Build, only: bool) -> bool {
        let Some(own) = self.target.dockerfile_path.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy()) else {
            return false;
        };
        let mut shown = build
            .steps
            .iter()
            .filter(|step| step.parts.kind == Kind::Internal && belongs(step, self.target, only))
            .filter_map(|step| step.name.split_once("load build definition from ").map(|(_, name)| name))
            .peekable();
        shown.peek().is_some() && shown.all(|name| name.rsplit('/').next() != Some(&*own))
    }
}

fn candidates_of(build: &Build, at: usize, known: &[Known<'_>]) -> Vec<Candidate> {
    let labelled = |known: &Known<'_>| build.steps.iter().any(|step| belongs(step, known.target, false));
    if known.len() > 1 && !known.iter().any(labelled) {
        let split = known.iter().enumerate();
        return split.map(|(target, known)| Candidate { at, target: Some(target), fit: known.fit(build, true) }).collect();
    }
    let fits: Vec<Fit> = known.iter().map(|one| one.fit(build, known.len() == 1)).collect();
    let fit = Fit {
        names: fits.iter().map(|fit| fit.names).sum(),
        steps: fits.iter().map(|fit| fit.steps).sum(),
        contradicted: !fits.is_empty() && fits.iter().all(|fit| fit.contradicted),
    };
    vec![Candidate { at, target: None, fit }]
}

#[cfg(test)]
#[path = "assign_tests.rs"]
mod tests;
