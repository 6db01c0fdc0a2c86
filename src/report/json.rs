//! `show --format json`: the schema `bklog.show/1`. Fields may be added, never renamed or dropped.

use std::io::{self, Write};

use serde::Serialize;

use super::BuildWriter;
use crate::{
    build::{Build, CacheTransfer, DurationSource, Format, Instant, Kind, Outcome, Status, Step, timing},
    redact::Redacted,
};

/// The name of the schema.
pub const SCHEMA: &str = "bklog.show/1";

/// Writes builds one by one, so that a log of any length needs the memory of one build.
#[derive(Debug, Default)]
pub struct ShowJson {
    written: u64,
    text: Vec<u8>,
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
            write!(out, "{{\"schema\":\"{SCHEMA}\",\"builds\":[")?;
        } else {
            write!(out, ",")?;
        }
        self.written += 1;
        self.text.clear();
        self.text.push(b'\n');
        serde_json::to_writer(&mut self.text, &BuildView::new(build, self.log.as_deref()))?;
        out.write_all(&self.text)
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.written == 0 {
            write!(out, "{{\"schema\":\"{SCHEMA}\",\"builds\":[")?;
        }
        writeln!(out, "]}}")
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
    steps: Vec<StepView<'a>>,
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

#[derive(Serialize)]
struct StepView<'a> {
    index: u32,
    name: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    other_names: &'a [String],
    kind: &'static str,
    target: &'a Option<String>,
    platform: &'a Option<String>,
    stage: &'a Option<String>,
    number: Option<u32>,
    total: Option<u32>,
    keyword: Option<&'static str>,
    #[serde(skip_serializing_if = "is_false")]
    onbuild: bool,
    sources: &'a [String],
    destination: &'a Option<String>,
    from: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: &'a Option<String>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_hit: Option<bool>,
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    log_lines: u64,
    transferred_bytes: Option<u64>,
    clipped: bool,
    warnings: &'a [String],
    error: &'a Option<String>,
    first_line: u64,
    last_line: u64,
}

impl<'a> BuildView<'a> {
    fn new(build: &'a Build, log: Option<&'a str>) -> Self {
        let critical_path = timing::critical_path(build);
        Self {
            log,
            engine: if build.format == Format::Legacy { "legacy" } else { "buildkit" },
            format: format_name(build.format),
            outcome: outcome_name(build.outcome),
            builder: &build.builder,
            driver: &build.driver,
            started_at: build.started.and_then(rfc3339),
            finished_at: build.finished.and_then(rfc3339),
            duration: build.duration.map(|d| DurationView { seconds: microseconds(d.seconds), source: source_name(d.source) }),
            cache: CacheView {
                imports: transfers(&build.cache.imports),
                exports: transfers(&build.cache.exports),
                inline: build.cache.inline,
            },
            image: ImageView { digest: &build.image.digest, names: &build.image.names },
            critical_path: critical_path.map(|path| path.into_iter().map(|position| build.steps[position].index).collect()),
            steps: build.steps.iter().map(StepView::new).collect(),
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

impl<'a> StepView<'a> {
    fn new(step: &'a Step) -> Self {
        let parts = &step.parts;
        Self {
            index: step.index,
            name: &step.name,
            other_names: &step.other_names,
            kind: kind_name(parts.kind),
            target: &parts.target,
            platform: &parts.platform,
            stage: &parts.stage,
            number: parts.number,
            total: parts.total,
            keyword: parts.keyword,
            onbuild: parts.onbuild,
            sources: &parts.sources,
            destination: &parts.destination,
            from: &parts.from,
            base: &parts.base,
            status: status_name(step.status),
            cache_hit: step.cache_hit,
            seconds: step.seconds.map(microseconds),
            started_at: step.span.and_then(|(from, _)| rfc3339(from)),
            finished_at: step.span.and_then(|(_, to)| rfc3339(to)),
            log_lines: step.log_lines,
            transferred_bytes: step.transferred_bytes,
            clipped: step.clipped,
            warnings: &step.warnings,
            error: &step.error,
            first_line: step.lines.0,
            last_line: step.lines.1,
        }
    }
}

fn transfers(transfers: &[CacheTransfer]) -> Vec<TransferView<'_>> {
    transfers.iter().map(|transfer| TransferView { reference: &transfer.reference, ok: transfer.ok }).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Seconds to the microsecond; nothing that is read is more exact, but sums of binary fractions look as if they were.
fn microseconds(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// An instant whose time zone is known, as RFC 3339 in UTC.
fn rfc3339(instant: Instant) -> Option<String> {
    if !instant.absolute {
        return None;
    }
    jiff::Timestamp::from_nanosecond(instant.nanoseconds).ok().map(|timestamp| timestamp.to_string())
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Plain => "plain",
        Format::RawJson => "rawjson",
        Format::Legacy => "legacy",
        Format::Tty => "tty",
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Canceled => "canceled",
        Outcome::Truncated => "truncated",
    }
}

fn source_name(source: DurationSource) -> &'static str {
    match source {
        DurationSource::Live => "live",
        DurationSource::RawJson => "rawjson",
        DurationSource::Timestamps => "timestamps",
        DurationSource::Estimate => "estimate",
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Instruction => "instruction",
        Kind::Internal => "internal",
        Kind::Auth => "auth",
        Kind::Context => "context",
        Kind::CacheImport => "cache-import",
        Kind::CacheExport => "cache-export",
        Kind::Export => "export",
        Kind::Other => "other",
    }
}

/// The name of a status in the contracts.
pub(super) fn status_name(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::Cached => "cached",
        Status::Error => "error",
        Status::Canceled => "canceled",
        Status::Unfinished => "unfinished",
    }
}
