//! Docker 20.10 syncs the Dockerfile as it syncs the context, and can so build with an old one.

use std::path::Path;
use std::rc::Rc;

use crate::build::{Build, Kind, Step};
use crate::evidence::build_target::BuildTarget;
use crate::evidence::context;
use crate::evidence::context::content::{ContentId, identify};
use crate::evidence::context::transfer::Figure;
use crate::evidence::ignore::IgnoreRules;
use crate::finding::{Confidence, InLog, Severity};

use super::contexts::{figure, known};
use super::judge::{Judge, Raised, Said, first_line};
use super::key::{KeyMaker, Sharing};
use super::plan::{self, Source, View};
use super::sync::{Agreement, Held, Listing, replay};
use super::verdict::Verdict;

impl Judge<'_> {
    /// Replays the sync of the Dockerfile. Gives the bytes of the old one where the builder used an old one (`Some(None)` where they
    /// cannot be had).
    pub(super) fn dockerfile_sync(
        &mut self,
        number: usize,
        build: &Build,
        target: &BuildTarget,
        source: &Source,
        keys: &KeyMaker,
        only: bool,
    ) -> Option<Option<Vec<u8>>> {
        let Source::Read(_, Some(path)) = source else {
            return None;
        };
        let key = keys.key("dockerfile", &target.context)?;
        let (dir, name) = (path.parent()?, path.file_name()?.to_str()?);
        let step = build.steps.iter().find(|step| {
            step.parts.kind == Kind::Internal && step.name.contains("load build definition from") && plan::belongs(step, target, only)
        });
        let figure = step.and_then(|step| figure(build, step));
        self.file_sync(number, target, &key, dir, &[name.to_owned(), format!("{name}.dockerignore")], figure)
    }

    /// The rules of the ignore file that the builder used, where that is an old one.
    ///
    /// Docker 20.10 loads it by a sync of its own (`frontend/dockerfile/builder`: the key hint `context-.dockerignore`).
    #[expect(clippy::too_many_arguments, reason = "the place of a context in its build")]
    pub(super) fn old_ignore_rules(
        &mut self,
        number: usize,
        build: &Build,
        target: &BuildTarget,
        context: Option<&str>,
        root: &Path,
        ignore_file: Option<&Path>,
        keys: &KeyMaker,
        only: bool,
    ) -> Option<IgnoreRules> {
        let is_main = context.is_none() && ignore_file.is_some_and(|file| file.file_name().is_some_and(|name| name == ".dockerignore"));
        if keys.sharing() != Sharing::TypedPath || !is_main {
            return None;
        }
        let key = keys.key("context-.dockerignore", &target.context)?;
        let step = build.steps.iter().find(|step| {
            step.parts.kind == Kind::Internal && step.name.contains("load .dockerignore") && plan::belongs(step, target, only)
        });
        let figure = step.and_then(|step| figure(build, step));
        let old = self.file_sync(number, target, &key, root, &[".dockerignore".to_owned()], figure)?;
        let in_log =
            InLog { build: number, index: step.map(|step| step.index), line: step.map(|step| step.lines.0), step: None, status: None };
        let raised = Raised {
            rule: "stale-dockerfile",
            severity: Severity::Error,
            confidence: Confidence::Certain,
            message: "the builder used an old .dockerignore".to_owned(),
            evidence: vec!["docker 20.10 compares it with its copy by size and time alone, and both were the same".to_owned()],
            files: ignore_file.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            help: "touch .dockerignore, or docker builder prune -f, then build again; stop setting times before the build".to_owned(),
            location: None,
        };
        self.raise_at(in_log, raised);
        IgnoreRules::parse(&old?).ok()
    }

    /// Replays the sync of a file that is loaded by itself, the first of `names`. Gives the bytes of the old one where the builder used
    /// an old one (`Some(None)` where they cannot be had).
    fn file_sync(
        &mut self,
        number: usize,
        target: &BuildTarget,
        key: &str,
        dir: &Path,
        names: &[String],
        figure: Option<Figure>,
    ) -> Option<Option<Vec<u8>>> {
        let entries = context::list(dir, &IgnoreRules::default(), Some(names)).ok()?;
        let copies = self.copies(key);
        let reference = self.tree(dir);
        let contents = identify(dir, &entries, reference.as_ref().map(|reference| &reference.work), &known(&copies));
        let listing = Rc::new(Listing::new(entries, contents));
        let replayed = replay(&copies.snapshots, &listing, figure, false);
        self.record(key, number, target, reference.as_deref(), dir, &listing, &replayed);
        let name = names.first()?;
        let (held, disk) = (&replayed.held.get(name)?.content, listing.content(name)?);
        if held.holds(disk) != Some(false) || replayed.agreement == Agreement::Unchecked {
            return None;
        }
        let id = match held {
            Held::Known(ContentId::Git(id)) => id,
            _ => return Some(None),
        };
        Some(reference.and_then(|reference| reference.work.repository().blobs().ok()?.read(id).ok()))
    }

    /// A step whose text the Dockerfile does not hold comes from another Dockerfile.
    pub(super) fn old_dockerfile_step(
        &mut self,
        number: usize,
        step: &Step,
        target: &BuildTarget,
        disk: &View<'_>,
        old: bool,
        sharing: Sharing,
    ) {
        if !old || sharing != Sharing::TypedPath || !step.is_command() || disk.has_step(step.instruction()) {
            return;
        }
        let because = "the builder used an old Dockerfile: the one on disk has no such step, and its listing equals that of the old one";
        self.verdict(number, step, Said::new(Verdict::Stale, because));
        let raised = Raised {
            rule: "stale-dockerfile",
            severity: Severity::Error,
            confidence: Confidence::Certain,
            message: format!("this step is not in the Dockerfile: {}", first_line(step.instruction())),
            evidence: vec!["docker 20.10 compares the Dockerfile with its copy by size and time alone, and both were the same".to_owned()],
            files: target.dockerfile_path.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            help: "touch the Dockerfile, or docker builder prune -f, then build again; stop setting times before the build".to_owned(),
            location: None,
        };
        self.raise(number, step, raised);
    }
}
