//! What a step is called in every run.

use crate::build::Step;

/// The step's name without its place and without digests, which change with every base.
pub fn identity(step: &Step) -> String {
    let text = step.instruction();
    let text = text.split_once("@sha256:").map_or(text, |(before, _)| before);
    let stage = [step.parts.target.as_deref(), step.parts.platform.as_deref(), step.parts.stage.as_deref()];
    let mut parts: Vec<&str> = stage.into_iter().flatten().collect();
    parts.push(text);
    parts.join(" ")
}
