//! Text for people: the table of `show` and the summary of the live pipe.
//!
//! Colour is always written; the stream behind takes it out where it is not wanted. Everything that came out of a log goes through
//! [`super::escape::terminal`].

pub mod diff;
pub mod style;
mod table;
pub mod totals;
pub mod trend;

use std::io::{self, Write};

use super::{BuildWriter, escape, savings::Savings, units};
use crate::{
    build::{Build, DurationSource, Outcome},
    redact::Redacted,
};
use style::{BOLD, DIM, painted};

/// In which order the table shows the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As the log names them.
    #[default]
    Log,
    /// The slowest first.
    Slowest,
}

/// How the text is to look.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Columns of the terminal.
    pub width: usize,
    /// The order of the steps.
    pub order: Order,
    /// True to show also BuildKit's own steps that took no time.
    pub all: bool,
}

/// Writes builds as tables with totals.
#[derive(Debug)]
pub struct ShowText {
    layout: Layout,
    savings: Savings,
    written: bool,
}

impl ShowText {
    /// Makes a writer.
    pub fn new(layout: Layout) -> Self {
        Self { layout, savings: Savings::default(), written: false }
    }
}

impl BuildWriter for ShowText {
    fn log(&mut self, name: &str, out: &mut dyn Write) -> io::Result<()> {
        self.separate(out)?;
        writeln!(out, "{}", painted(BOLD, escape::terminal(name)))
    }

    fn build(&mut self, build: &Redacted<Build>, out: &mut dyn Write) -> io::Result<()> {
        self.separate(out)?;
        writeln!(out, "{}", headline(build))?;
        writeln!(out)?;
        table::write(build, self.layout, &self.savings, out)?;
        totals::write(build, &self.savings, self.layout.width, out)?;
        self.savings.learn(build);
        Ok(())
    }

    fn finish(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

impl ShowText {
    fn separate(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.written, true) { writeln!(out) } else { Ok(()) }
    }
}

/// One line that says which build this is, how it ended and how long it took.
pub fn headline(build: &Build) -> String {
    let mut parts = vec![outcome(build.outcome)];
    if let Some(duration) = build.duration {
        let source = match duration.source {
            DurationSource::RawJson => "exact",
            DurationSource::Live => "live",
            DurationSource::Timestamps => "from the log's timestamps",
            DurationSource::Estimate => "at least: the log has no times",
        };
        parts.push(format!("{} {}", units::duration(duration.seconds), painted(DIM, format!("({source})"))));
    }
    if let Some(name) = build.image.names.first() {
        parts.push(escape::terminal(name).into_owned());
    }
    if let (Some(builder), Some(driver)) = (&build.builder, &build.driver) {
        parts.push(painted(DIM, format!("builder {} ({})", escape::terminal(builder), escape::terminal(driver))));
    }
    parts.join(&painted(DIM, " · "))
}

fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Succeeded => painted(style::GOOD, "succeeded"),
        Outcome::Failed => painted(style::BAD, "failed"),
        Outcome::Canceled => painted(style::WARN, "canceled"),
        Outcome::Truncated => painted(style::WARN, "cut off: the log ends before the build does"),
    }
}
