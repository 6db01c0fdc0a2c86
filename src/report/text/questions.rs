//! The question that a log alone raises and cannot answer: is what the cache had the code of this commit?

use std::io::{self, Write};

use super::style::{DIM, WARN, painted};
use crate::{
    build::{Build, Status, Step},
    report::escape,
};

/// The cached COPY and ADD steps of a build that take files from the build context.
pub fn cached_copies(build: &Build) -> impl Iterator<Item = &Step> {
    build.steps.iter().filter(|step| step.status == Status::Cached && step.copies_from_context())
}

/// Names the cached copies, as a question.
pub fn write(build: &Build, out: &mut dyn Write) -> io::Result<()> {
    let copies: Vec<&Step> = cached_copies(build).collect();
    if copies.is_empty() {
        return Ok(());
    }
    let (verb, it) = if copies.len() == 1 { ("takes", "It was") } else { ("take", "They were") };
    writeln!(
        out,
        "\n{} {} from the build context {verb} nothing new into the image: is that right?",
        painted(WARN, "?"),
        crate::report::units::count(copies.len(), "cached step")
    )?;
    for step in copies {
        writeln!(out, "  {} {}", painted(DIM, format!("#{}", step.index)), escape::terminal(&step.name))?;
    }
    writeln!(
        out,
        "  {}",
        painted(
            DIM,
            format!(
                "{it} cached because BuildKit saw no change in these files since an earlier build. That is right if they did not change."
            )
        )
    )
}
