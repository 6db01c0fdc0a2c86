//! With the image at hand its bytes decide.

use sha2::{Digest, Sha256};

use crate::build::Step;
use crate::evidence::build_target::BuildTarget;
use crate::evidence::context::content::{hex, sha256_file};
use crate::evidence::dockerfile::environment::Base;
use crate::evidence::glob::SourcePattern;
use crate::evidence::image::Image;
use crate::finding::{Confidence, Severity};

use super::judge::{Judge, Raised, Said, first_line};
use super::local::{ContextState, count, select};
use super::plan::{Located, Use, View};
use super::tree::Difference;
use super::verdict::Verdict;

impl Judge<'_> {
    /// Compares the layers that COPY and ADD made with what they should have taken. Only steps of the image itself have a layer in it.
    pub(super) fn by_image<'c>(
        &mut self,
        number: usize,
        target: &BuildTarget,
        image: &Image,
        view: &View<'_>,
        located: &[(&Step, Option<Located>)],
        context: &dyn Fn(&Use) -> Option<&'c ContextState>,
    ) {
        // The target's stage and those that it is made from.
        let mut stages: Vec<usize> = view.environment.target().ok().flatten().into_iter().collect();
        while let Some(Base::Stage(base)) = stages.last().and_then(|stage| view.environment.base(*stage))
            && !stages.contains(base)
        {
            stages.push(*base);
        }
        let mut used = Vec::new();
        let steps = located.iter().filter_map(|(step, place)| Some((*step, (*place)?)));
        let mut steps: Vec<_> = steps.filter(|(_, place)| stages.contains(&place.stage)).collect();
        steps.sort_by_key(|(_, place)| place.line);
        // From the end, as the base image can have layers of the same text below.
        for (step, place) in steps.into_iter().rev() {
            let text = made_by(step);
            let found =
                image.layers.iter().enumerate().rev().find(|(at, layer)| !used.contains(at) && without_flags(&layer.created_by) == text);
            let Some((at, _)) = found else {
                continue;
            };
            used.push(at);
            for taken in view.uses(place.stage, place.line) {
                let workdir = view.workdir(place.stage, place.line).unwrap_or_else(|| image.workdir.clone());
                let Some(state) = context(taken).filter(|_| !taken.mount && !step.instruction().contains("--parents")) else {
                    continue;
                };
                let old = old_files(step, taken, state, image, at, &workdir);
                let location = self.location(target, place.line);
                self.by_layer(number, step, &old, location);
            }
        }
    }

    fn by_layer(&mut self, number: usize, step: &Step, old: &[String], location: Option<crate::finding::Location>) {
        self.withdraw(number, step.index);
        if old.is_empty() {
            self.verdict(number, step, Said::new(Verdict::Fresh, "the image holds these very files"));
            return;
        }
        let mut said = Said::new(Verdict::Stale, "");
        said.because = format!("the image does not hold {} as the commit has it", count(old));
        said.changed_files = old.to_vec();
        self.verdict(number, step, said);
        let raised = Raised {
            rule: "stale-copy",
            severity: Severity::Error,
            confidence: Confidence::Certain,
            message: format!("the image holds old code: {}", first_line(step.instruction())),
            evidence: old.iter().take(10).map(|path| format!("{path}: the image has other bytes")).collect(),
            files: old.to_vec(),
            help: "docker builder prune -f, then build again".to_owned(),
            location,
        };
        self.raise(number, step, raised);
    }
}

/// The files whose bytes in the layer are not those of the tree, or of the commit where the tree is not at it.
fn old_files(step: &Step, taken: &Use, state: &ContextState, image: &Image, layer: usize, workdir: &str) -> Vec<String> {
    let mut blobs = state.reference.as_ref().and_then(|reference| reference.work.repository().blobs().ok());
    let prefix = state.reference.as_ref().and_then(|reference| reference.work.prefix(&state.root)).unwrap_or_default();
    let files = state.listing.entries.iter().filter(|entry| entry.has_content()).map(|entry| entry.path.as_str());
    let mut old = Vec::new();
    for path in select(taken, &None, files) {
        let held: Vec<&str> = destinations(step, taken, &path, workdir).iter().filter_map(|place| image.file(layer, place)).collect();
        let other = matches!(state.differences.get(&path), Some(Difference::OtherCommit | Difference::Old));
        let full = [prefix.as_slice(), path.as_bytes()].concat();
        let blob = state.reference.as_ref().and_then(|reference| reference.expected().get(&full));
        let mut committed = || {
            let bytes = blobs.as_mut()?.read(&blob?.id).ok()?;
            Some(hex(&Sha256::digest(&bytes)))
        };
        let on_disk = if other { None } else { sha256_file(&state.root.join(&path)).ok() };
        let same = on_disk.is_some_and(|digest| held.contains(&digest.as_str()))
            || committed().is_some_and(|digest| held.contains(&digest.as_str()));
        if !same {
            old.push(path);
        }
    }
    old
}

/// Where a file can be in the image: a destination that is a directory is not always written as one.
fn destinations(step: &Step, taken: &Use, path: &str, workdir: &str) -> Vec<String> {
    let Some(destination) = step.parts.destination.as_deref() else {
        return Vec::new();
    };
    let join = |parts: &[&str]| crate::evidence::go_match::below_root(&parts.join("/"));
    let base = if destination.starts_with('/') { join(&[destination]) } else { join(&[workdir, destination]) };
    let mut found = Vec::new();
    for source in &taken.sources {
        match SourcePattern::new(source).below(path) {
            Some("") => {
                let name = path.rsplit('/').next().unwrap_or(path);
                found.extend([join(&[&base, name]), base.clone()]);
            }
            Some(below) => found.push(join(&[&base, below])),
            None => {}
        }
    }
    found
}

/// A step as the image's history has it: without flags.
fn made_by(step: &Step) -> String {
    let parts = &step.parts;
    let words = parts.keyword.into_iter().chain(parts.sources.iter().map(String::as_str)).chain(parts.destination.as_deref());
    words.collect::<Vec<_>>().join(" ")
}

fn without_flags(text: &str) -> String {
    text.split_whitespace().filter(|word| !word.starts_with("--")).collect::<Vec<_>>().join(" ")
}
