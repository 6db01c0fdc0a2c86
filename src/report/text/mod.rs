//! Text for people: the table of `show` and the summary of the live pipe.
//!
//! Colour is always written; the stream behind takes it out where it is not wanted. Everything that came out of a log goes through
//! [`super::escape::ci`].

pub mod diff;
pub mod style;
mod table;
pub mod totals;
pub mod trend;

use std::{
    collections::HashMap,
    io::{self, Write},
};

use super::{BuildWriter, escape, findings::CheckReport, savings::Savings, units};
use crate::{
    build::{Build, DurationSource, Outcome, Step},
    evidence::commit::brief,
    freshness::Verdict,
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
    /// What stands in front of the headline of the next build.
    head: Vec<String>,
    /// The verdicts that the table marks, by build and step.
    verdicts: HashMap<(usize, u32), Verdict>,
    /// Builds written so far.
    builds: usize,
}

impl ShowText {
    /// Makes a writer.
    pub fn new(layout: Layout) -> Self {
        let (savings, head, verdicts) = (Savings::default(), Vec::new(), HashMap::new());
        Self { layout, savings, written: false, head, verdicts, builds: 0 }
    }

    /// Says first of which run the builds are, and marks the steps that hold old code.
    pub fn of_run(mut self, report: &CheckReport) -> Self {
        let run = report.run();
        self.head.extend(run.project.as_ref().map(|project| painted(BOLD, escape::ci(project))));
        let commit = run.commit.as_ref().map(|commit| format!("commit {}", escape::ci(brief(commit))));
        let branch = run.branch.as_ref().map(|branch| format!("on {}", escape::ci(branch)));
        self.head.extend(commit.map(|commit| commit + &branch.map_or(String::new(), |branch| format!(" {branch}"))));
        self.verdicts = report.verdicts().iter().map(|verdict| ((verdict.build, verdict.index), verdict.verdict)).collect();
        self
    }

    /// Writes what stands above several builds.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn several(&mut self, builds: usize, out: &mut dyn Write) -> io::Result<()> {
        let mut parts = std::mem::take(&mut self.head);
        parts.push(units::count(builds, "build"));
        self.written = true;
        writeln!(out, "{}", parts.join(&painted(DIM, " · ")))
    }
}

impl BuildWriter for ShowText {
    fn log(&mut self, name: &str, out: &mut dyn Write) -> io::Result<()> {
        self.separate(out)?;
        writeln!(out, "{}", painted(BOLD, escape::ci(name)))
    }

    fn build(&mut self, build: &Redacted<Build>, out: &mut dyn Write) -> io::Result<()> {
        self.separate(out)?;
        let mut head = std::mem::take(&mut self.head);
        head.push(headline(build));
        writeln!(out, "{}", head.join(&painted(DIM, " · ")))?;
        writeln!(out)?;
        let number = self.builds;
        self.builds += 1;
        let verdict = |step: &Step| self.verdicts.get(&(number, step.index)).copied();
        table::write(build, self.layout, &self.savings, &verdict, out)?;
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
        parts.push(escape::ci(name).into_owned());
    }
    if let (Some(builder), Some(driver)) = (&build.builder, &build.driver) {
        parts.push(painted(DIM, format!("builder {} ({})", escape::ci(builder), escape::ci(driver))));
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
