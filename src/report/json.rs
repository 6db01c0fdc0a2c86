//! `show --format json`: the schema `bklog.show/1`. Fields may be added, never renamed or dropped.

use std::io::{self, Write};

use serde::Serialize;

use super::{BuildWriter, json_step};
use crate::{
    build::{Build, CacheTransfer, Format, Instant, timing},
    redact::Redacted,
};

/// The name of the schema.
pub const SCHEMA: &str = "bklog.show/1";

/// Builds are written when there are so many bytes of them: a writer with a buffer of this size passes them on without a copy.
const TOGETHER_BYTES: usize = 64 * 1024;

/// Writes builds one by one, so that a log of any length needs the memory of one build.
#[derive(Debug, Default)]
pub struct ShowJson {
    written: u64,
    text: Vec<u8>,
    steps: json_step::StepWriter,
    /// The log of the next builds, where there are several.
    log: Option<String>,
}

impl BuildWriter for ShowJson {
    fn log(&mut self, name: &str, _out: &mut dyn Write) -> io::Result<()> {
        self.log = Some(name.to_owned());
        Ok(())
    }

    fn build(&mut self, build: &Redacted<Build>, out: &mut dyn Write) -> io::Result<()> {
        if self.written == 0 {
            write!(self.text, "{{\"schema\":\"{SCHEMA}\",\"builds\":[")?;
        } else {
            self.text.push(b',');
        }
        self.written += 1;
        self.text.push(b'\n');
        serde_json::to_writer(&mut self.text, &BuildView::new(build, self.log.as_deref()))?;
        // The steps are the last member of the object.
        self.text.pop();
        self.text.extend_from_slice(b",\"steps\":[");
        for (n, step) in build.steps.iter().enumerate() {
            if n > 0 {
                self.text.push(b',');
            }
            self.steps.write(step, &mut self.text);
        }
        self.text.extend_from_slice(b"]}");
        if self.text.len() >= TOGETHER_BYTES { self.pass_on(out) } else { Ok(()) }
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.written == 0 {
            write!(out, "{{\"schema\":\"{SCHEMA}\",\"builds\":[")?;
        }
        self.pass_on(out)?;
        writeln!(out, "]}}")
    }
}

impl ShowJson {
    fn pass_on(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }
}

#[derive(Serialize)]
struct BuildView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<&'a str>,
    engine: &'static str,
    format: &'static str,
    outcome: &'static str,
    builder: &'a Option<String>,
    driver: &'a Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    duration: Option<DurationView>,
    cache: CacheView<'a>,
    image: ImageView<'a>,
    critical_path: Option<Vec<u32>>,
    errors: &'a [String],
    error_at: &'a [String],
    warnings: &'a [String],
    interleaved: bool,
    foreign_lines: ForeignView<'a>,
    first_line: u64,
    last_line: u64,
}

#[derive(Serialize)]
struct DurationView {
    seconds: f64,
    source: &'static str,
}

#[derive(Serialize)]
struct CacheView<'a> {
    imports: Vec<TransferView<'a>>,
    exports: Vec<TransferView<'a>>,
    inline: bool,
}

#[derive(Serialize)]
struct TransferView<'a> {
    #[serde(rename = "ref")]
    reference: &'a str,
    ok: bool,
}

#[derive(Serialize)]
struct ImageView<'a> {
    digest: &'a Option<String>,
    names: &'a [String],
}

#[derive(Serialize)]
struct ForeignView<'a> {
    count: u64,
    first: Vec<ForeignLine<'a>>,
}

#[derive(Serialize)]
struct ForeignLine<'a> {
    line: u64,
    text: &'a str,
}

impl<'a> BuildView<'a> {
    fn new(build: &'a Build, log: Option<&'a str>) -> Self {
        let critical_path = timing::critical_path(build);
        Self {
            log,
            engine: if build.format == Format::Legacy { "legacy" } else { "buildkit" },
            format: build.format.name(),
            outcome: build.outcome.name(),
            builder: &build.builder,
            driver: &build.driver,
            started_at: build.started.and_then(rfc3339),
            finished_at: build.finished.and_then(rfc3339),
            duration: build.duration.map(|d| DurationView { seconds: microseconds(d.seconds), source: d.source.name() }),
            cache: CacheView {
                imports: transfers(&build.cache.imports),
                exports: transfers(&build.cache.exports),
                inline: build.cache.inline,
            },
            image: ImageView { digest: &build.image.digest, names: &build.image.names },
            critical_path: critical_path.map(|path| path.into_iter().map(|position| build.steps[position].index).collect()),
            errors: &build.errors,
            error_at: &build.error_at,
            warnings: &build.warnings,
            interleaved: build.interleaved,
            foreign_lines: ForeignView {
                count: build.foreign.count,
                first: build.foreign.first.iter().map(|(line, text)| ForeignLine { line: *line, text }).collect(),
            },
            first_line: build.lines.0,
            last_line: build.lines.1,
        }
    }
}

fn transfers(transfers: &[CacheTransfer]) -> Vec<TransferView<'_>> {
    transfers.iter().map(|transfer| TransferView { reference: &transfer.reference, ok: transfer.ok }).collect()
}

/// Seconds to the microsecond; nothing that is read is more exact, but sums of binary fractions look as if they were.
pub(super) fn microseconds(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// An instant whose time zone is known, as RFC 3339 in UTC.
pub(in crate::report) fn rfc3339(instant: Instant) -> Option<String> {
    if !instant.absolute {
        return None;
    }
    jiff::Timestamp::from_nanosecond(instant.nanoseconds).ok().map(|timestamp| timestamp.to_string())
}
