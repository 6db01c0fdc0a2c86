//! `show --format markdown`: for job summaries, issues and chats.

use std::io::{self, Write};

use super::{BuildWriter, escape, text::totals::Counts, units};
use crate::{
    build::{Build, Kind, Outcome, Status, Step},
    redact::Redacted,
};

/// Writes builds as Markdown tables.
#[derive(Debug, Default)]
pub struct ShowMarkdown;

impl BuildWriter for ShowMarkdown {
    fn log(&mut self, name: &str, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "## {}\n", escape::markdown(name))
    }

    fn build(&mut self, build: &Redacted<Build>, out: &mut dyn Write) -> io::Result<()> {
        let counts = Counts::of(build);
        let outcome = match build.outcome {
            Outcome::Succeeded => "Build succeeded",
            Outcome::Failed => "**Build failed**",
            Outcome::Canceled => "**Build canceled**",
            Outcome::Truncated => "**Build log cut off**",
        };
        let time = build.duration.map_or(String::new(), |duration| format!(" in {}", units::duration(duration.seconds)));
        writeln!(out, "{outcome}{time}: {} ran, {} cached.\n", counts.executed, counts.cached)?;
        writeln!(out, "| # | step | instruction | status |\n|--:|---|---|--:|")?;
        for step in build
            .steps
            .iter()
            .filter(|step| step.parts.kind == Kind::Instruction || step.parts.kind == Kind::Export || step.status == Status::Error)
        {
            writeln!(
                out,
                "| {} | {} | {} | {} |",
                step.index,
                escape::markdown(&place(step)),
                escape::markdown(step.instruction()),
                status(step)
            )?;
        }
        writeln!(out)?;
        for error in &build.errors {
            writeln!(out, "> {}\n", escape::markdown(error))?;
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

fn place(step: &Step) -> String {
    let words = [&step.parts.target, &step.parts.platform, &step.parts.stage].into_iter().flatten().cloned();
    let number = step.parts.number.zip(step.parts.total).map(|(number, total)| format!("{number}/{total}"));
    words.chain(number).collect::<Vec<_>>().join(" ")
}

fn status(step: &Step) -> String {
    match step.status {
        Status::Done => step.seconds.map_or_else(|| "done".to_owned(), units::duration),
        Status::Cached if step.cache_hit == Some(true) => "cached".to_owned(),
        Status::Cached => "cached?".to_owned(),
        Status::Error => "**error**".to_owned(),
        Status::Canceled => "canceled".to_owned(),
        Status::Unfinished => "unfinished".to_owned(),
    }
}
