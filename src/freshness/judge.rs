//! From evidence to verdicts: goes through the builds of a log in order and replays their syncs.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::build::{Build, Kind, Status, Step};
use crate::evidence::build_command::BuildCommand;
use crate::evidence::build_target::{BuildTarget, Env};
use crate::evidence::git::GitError;
use crate::evidence::image::Image;
use crate::finding::{Confidence, Finding, InLog, Location, Severity};

use super::by_image::LayerOf;
use super::past::{Copies, Past};
use super::plan::Sources;
use super::sync::{Listing, Snapshot};
use super::tree::Reference;
use super::verdict::{RunRef, StepVerdict, Verdict};

/// Everything that a check is given.
pub struct Input<'a> {
    /// The builds of the log, in order.
    pub builds: &'a [Build],
    /// The command of each build, where it is known ([`super::assign`]).
    pub commands: &'a [Option<BuildCommand>],
    /// Their Dockerfiles.
    pub sources: &'a Sources,
    /// The commit that was to be built; HEAD where it is not given.
    pub commit: Option<&'a str>,
    /// The commit to compare with, before the last recorded run.
    pub since: Option<&'a str>,
    /// The builder's name, where the caller knows it better than the log.
    pub builder: Option<&'a str>,
    /// The directory in which bklog runs.
    pub cwd: &'a Path,
    /// The environment.
    pub env: &'a Env<'a>,
    /// The record.
    pub past: &'a dyn Past,
    /// The images that the builds made, as far as they are at hand.
    pub images: &'a [Image],
    /// The file that holds the log, where it is one: it may lie in a context and grow while that is sent.
    pub log: Option<&'a Path>,
}

impl std::fmt::Debug for Input<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Input").field("builds", &self.builds.len()).field("commit", &self.commit).finish_non_exhaustive()
    }
}

/// The builder's copies under one key after the log's builds, for the record.
#[derive(Debug, Clone)]
pub struct SyncRecord {
    /// The key.
    pub key: String,
    /// The build that synced last, from 0.
    pub build: usize,
    /// The target's name, where it has one.
    pub target: Option<String>,
    /// The path of the context from the top of its repository, with a slash at its end; empty at the top or without one.
    pub prefix: String,
    /// What was on disk.
    pub listing: Rc<Listing>,
    /// What the builder holds; of several syncs of one key only the last one has it.
    pub copies: Vec<Snapshot>,
    /// The names of the images that were made from this context, with their tags.
    pub images: Vec<String>,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Verdicts, in the order of the log.
    pub steps: Vec<StepVerdict>,
    /// Findings about freshness.
    pub findings: Vec<Finding>,
    /// The syncs, for the record, in their order: the last one of each key, and those that images were made from.
    pub syncs: Vec<SyncRecord>,
    /// The commit that was to be built, in full where it is known.
    pub commit: Option<String>,
    /// The commit that is checked out.
    pub head: Option<String>,
    /// Files below the contexts that changed since the baseline, from the top of the repository.
    pub changed: Vec<String>,
    /// Those of them that an ignore file keeps out: the build, the file from the context's root, the ignore file.
    pub ignored: Vec<(usize, String, String)>,
    /// The branch that is checked out, where one is.
    pub branch: Option<String>,
    /// What could not be used as evidence, and why.
    pub notes: Vec<String>,
}

/// Judges the builds of a log.
pub fn check(input: &Input<'_>) -> Report {
    let mut judge = Judge::new(input);
    for (number, build) in input.builds.iter().enumerate() {
        let command = input.commands.get(number).and_then(Option::as_ref);
        judge.build(number, build, command);
    }
    judge.finish()
}

/// What is said of one step.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) verdict: Verdict,
    pub(super) because: String,
    pub(super) baseline: Option<RunRef>,
    pub(super) changed_files: Vec<String>,
    pub(super) advice: Option<&'static str>,
}

impl Said {
    pub(super) fn new(verdict: Verdict, because: &str) -> Self {
        Self { verdict, because: because.to_owned(), baseline: None, changed_files: Vec::new(), advice: None }
    }
}

/// A finding on a step before it is put into its final form.
#[derive(Debug)]
pub(super) struct Raised {
    pub(super) rule: &'static str,
    pub(super) severity: Severity,
    pub(super) confidence: Confidence,
    pub(super) message: String,
    pub(super) evidence: Vec<String>,
    pub(super) files: Vec<String>,
    pub(super) help: String,
    pub(super) location: Option<Location>,
}

/// The state of a check.
pub(super) struct Judge<'a> {
    pub(super) input: &'a Input<'a>,
    trees: BTreeMap<PathBuf, Option<Rc<Reference>>>,
    /// Copies under the keys that builds of this log have used.
    copies: HashMap<String, Copies>,
    pub(super) last_run: Option<RunRef>,
    pub(super) verdicts: BTreeMap<(usize, u32), StepVerdict>,
    pub(super) report: Report,
    /// The build and the target of each image.
    pub(super) assigned: Vec<Option<(usize, Option<String>)>>,
    /// What the images say of the layers of commands, by build and step.
    pub(super) layers: BTreeMap<(usize, u32), LayerOf>,
}

impl<'a> Judge<'a> {
    fn new(input: &'a Input<'a>) -> Self {
        let mut report = Report::default();
        let assigned = super::by_image::assign(input, &mut report.notes);
        Self {
            input,
            trees: BTreeMap::new(),
            copies: HashMap::new(),
            last_run: input.past.last_run(),
            verdicts: BTreeMap::new(),
            report,
            assigned,
            layers: BTreeMap::new(),
        }
    }

    fn build(&mut self, number: usize, build: &Build, command: Option<&BuildCommand>) {
        match command {
            Some(command) if !command.targets.is_empty() => {
                let only = command.targets.len() == 1;
                let names: Vec<&str> = command.targets.iter().filter_map(|target| target.name.as_deref()).collect();
                let mut seen = Vec::new();
                for target in &command.targets {
                    self.target(number, build, command, target, only, &names, &mut seen);
                }
            }
            _ => self.by_log_alone(number, build),
        }
        self.remote_code(number, build);
    }

    /// With nothing but the log, a CACHED copy says nothing.
    fn by_log_alone(&mut self, number: usize, build: &Build) {
        for step in build.steps.iter().filter(|step| step.parts.kind == Kind::Instruction && step.copies_from_context()) {
            let (verdict, because, advice) = match step.status {
                Status::Done => (Verdict::Fresh, "it ran; what the builder's copy of the context held cannot be seen in a log", None),
                Status::Cached if self.input.images.is_empty() => (
                    Verdict::Unknown,
                    "CACHED, and there is only the log to judge from: give the build command with --build, and a history with --history",
                    Some("give the command that built it (--build \"docker build …\"), and a history (--history DIR)"),
                ),
                Status::Cached => (
                    Verdict::Unknown,
                    "CACHED, and without the build command it is not known which files the image is to hold: give it with --build",
                    Some("give the command that built it (--build \"docker build …\"), so that the image can be compared with its context"),
                ),
                _ => (Verdict::Unknown, "it did not end", None),
            };
            let mut said = Said::new(verdict, because);
            said.advice = advice;
            self.verdict(number, step, said);
        }
    }

    /// Sets the verdict on a step; of two the worse one stays.
    pub(super) fn verdict(&mut self, build: usize, step: &Step, said: Said) {
        let place = (build, step.index);
        if self.verdicts.get(&place).is_some_and(|before| before.verdict >= said.verdict) {
            return;
        }
        let Said { verdict, because, baseline, changed_files, advice } = said;
        let (name, status, index) = (step.name.clone(), step.status, step.index);
        self.verdicts.insert(place, StepVerdict { build, index, name, status, verdict, because, advice, baseline, changed_files });
    }

    /// Takes back what was said of the content of a step, because there is better evidence.
    pub(super) fn withdraw(&mut self, build: usize, index: u32) {
        self.verdicts.remove(&(build, index));
        let said = |finding: &Finding| {
            matches!(finding.rule, "stale-copy" | "sync-blind-spot")
                && finding.in_log.as_ref().is_some_and(|at| at.build == build && at.index == Some(index))
        };
        self.report.findings.retain(|finding| !said(finding));
    }

    pub(super) fn raise(&mut self, build: usize, step: &Step, raised: Raised) {
        let in_log =
            InLog { build, index: Some(step.index), line: Some(step.lines.0), step: Some(step.name.clone()), status: Some(step.status) };
        self.raise_at(in_log, raised);
    }

    pub(super) fn raise_at(&mut self, in_log: InLog, raised: Raised) {
        self.report.findings.push(Finding {
            rule: raised.rule,
            severity: raised.severity,
            confidence: raised.confidence,
            in_log: Some(in_log),
            location: raised.location,
            message: raised.message,
            evidence: raised.evidence,
            files: raised.files,
            help: raised.help,
            fix: None,
            suppressed: None,
        });
    }

    /// The work tree that holds a directory, compared with the commit; `None` where there is none to compare.
    pub(super) fn tree(&mut self, dir: &Path) -> Option<Rc<Reference>> {
        // One repository holds many contexts: each is opened once.
        for known in self.trees.values().flatten() {
            if known.work.prefix(dir).is_some() && !has_own_repository(dir, known.work.root()) {
                return Some(known.clone());
            }
        }
        if let Some(known) = self.trees.get(dir) {
            return known.clone();
        }
        let opened = match Reference::open(dir, self.input.commit, self.input.since) {
            Ok(reference) => {
                if let Some(asked) = self.input.commit.filter(|_| !reference.known)
                    && let Err(error) = reference.work.repository().resolve(asked)
                {
                    self.note(format!("git: {error}"));
                }
                if let Some(Err(error)) = self.input.since.map(|since| reference.work.repository().resolve(since)) {
                    self.note(format!("--since: {error}"));
                }
                Some(Rc::new(reference))
            }
            // Who names no commit may well build outside of git.
            Err(GitError::NotARepository(_) | GitError::NoDirectory(_)) if self.input.commit.is_none() && self.input.since.is_none() => {
                None
            }
            Err(error) => {
                self.note(format!("git: {error}"));
                None
            }
        };
        self.trees.insert(dir.to_owned(), opened.clone());
        opened
    }

    /// The copies under a key before the next sync.
    pub(super) fn copies(&mut self, key: &str) -> Copies {
        if let Some(copies) = self.copies.get(key) {
            return copies.clone();
        }
        let copies = self.input.past.copies(key).unwrap_or_default();
        self.copies.insert(key.to_owned(), copies.clone());
        copies
    }

    pub(super) fn set_copies(&mut self, key: &str, snapshots: Vec<Snapshot>) {
        let copies = self.copies.entry(key.to_owned()).or_default();
        copies.snapshots = snapshots;
    }

    pub(super) fn note(&mut self, note: String) {
        if !self.report.notes.contains(&note) {
            self.report.notes.push(note);
        }
    }

    /// The files of a target that its step takes, as the finding's location names its Dockerfile.
    pub(super) fn location(&self, target: &BuildTarget, line: usize) -> Option<Location> {
        let path = target.dockerfile_path.as_deref()?;
        let shown = path.strip_prefix(self.input.cwd).unwrap_or(path);
        let line = u32::try_from(line).ok()?;
        Some(Location { path: shown.to_string_lossy().replace('\\', "/"), in_repository: None, line, end_line: line, text: Vec::new() })
    }

    fn finish(mut self) -> Report {
        self.report.steps = self.verdicts.into_values().collect();
        let head = self.trees.values().flatten().next();
        self.report.head = head.map(|reference| reference.work.head.clone());
        self.report.branch = head.filter(|reference| reference.is_head()).and_then(|reference| reference.work.repository().branch());
        self.report.commit = match (self.input.commit, head) {
            (_, Some(reference)) if reference.known => Some(reference.commit.clone()),
            (Some(asked), _) => Some(asked.to_owned()),
            _ => None,
        };
        self.report
    }
}

/// Says whether a directory below `root` belongs to another repository (a submodule, a clone in a clone).
fn has_own_repository(dir: &Path, root: &Path) -> bool {
    let (Ok(dir), Ok(root)) = (dir.canonicalize(), root.canonicalize()) else {
        return false;
    };
    dir.ancestors().take_while(|parent| *parent != root).any(|parent| parent.join(".git").exists())
}

/// The first line of a text that may have several.
pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
