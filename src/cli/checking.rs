//! What `check` and `run` share: their flags, and what they say once the builds are read.

use std::io::{self, BufWriter, Write};

use clap::Args;

use super::{
    error::CliError,
    judging::{EvidenceArgs, Judged},
    reporting::{CheckFormat, ReportArgs},
};
use crate::{
    build::{Build, Instant},
    policy::Policy,
    redact::{Redacted, Redactor},
    report::{
        BuildWriter,
        findings::CheckReport,
        text::{Layout, Order, ShowText},
    },
};

/// The flags of `check` and `run`.
#[derive(Debug, Args)]
pub(super) struct CheckingArgs {
    /// Do not show what passes through
    #[arg(long, short)]
    pub(super) quiet: bool,

    #[command(flatten)]
    pub(super) evidence: EvidenceArgs,

    #[command(flatten)]
    pub(super) report: ReportArgs,
}

/// Where a report goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output, where nothing else stands.
    Out,
    /// Standard error: what passed through has standard output.
    Error,
}

impl CheckingArgs {
    /// Judges the builds of a log, writes what is to be said of them, and gives the report.
    ///
    /// # Errors
    /// Flags or settings that cannot be understood, a run that cannot be recorded, an output that cannot be written.
    pub(super) fn report(
        &self,
        log: &Judged<'_>,
        policy: &Policy,
        to: Stream,
        lead: &str,
        color: anstream::ColorChoice,
    ) -> Result<CheckReport, CliError> {
        let (report, redactor) = self.evidence.judge(log, policy)?;
        let layout = layout(&match to {
            Stream::Out => console::Term::stdout(),
            Stream::Error => console::Term::stderr(),
        });
        let text = self.report.format == CheckFormat::Text;
        let mut out: Box<dyn Write> = match (to, text) {
            (Stream::Out, true) => Box::new(BufWriter::new(anstream::AutoStream::new(io::stdout().lock(), color))),
            (Stream::Out, false) => Box::new(BufWriter::new(io::stdout().lock())),
            (Stream::Error, true) => Box::new(BufWriter::new(anstream::AutoStream::new(io::stderr().lock(), color))),
            (Stream::Error, false) => Box::new(BufWriter::new(io::stderr().lock())),
        };
        if text {
            out.write_all(lead.as_bytes())?;
            summaries(log.builds, &report, layout, &redactor, &mut out)?;
        }
        self.report.write(&report, layout.width, &mut out)?;
        out.flush()?;
        Ok(report)
    }
}

/// Writes the head of the run and the tables of its builds.
fn summaries(builds: &[Build], report: &CheckReport, layout: Layout, redactor: &Redactor, out: &mut dyn Write) -> Result<(), CliError> {
    let mut writer = ShowText::new(layout).of_run(report);
    if builds.len() > 1 {
        writer.several(builds.len(), out)?;
    }
    for build in builds {
        writer.build(&Redacted::build(build.clone(), redactor), out)?;
    }
    Ok(writeln!(out)?)
}

/// The time at which a piece arrives.
pub(super) fn arrival() -> Instant {
    Instant { nanoseconds: jiff::Timestamp::now().as_nanosecond(), absolute: true }
}

fn layout(terminal: &console::Term) -> Layout {
    Layout { width: super::terminal_width(terminal), order: Order::Log, all: false }
}
