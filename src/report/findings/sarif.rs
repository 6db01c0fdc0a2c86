//! SARIF 2.1.0 (OASIS): for GitHub code scanning and other readers of static analysis results.

use std::io::{self, Write};

use serde::Serialize;

use super::{CheckReport, FindingsWriter, code_quality::log_path, lines};
use crate::{
    report::escape,
    rules::{self, Finding, Fix, Severity},
};

/// Writes a SARIF log with one run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sarif;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool,
    original_uri_base_ids: BaseIds,
    results: Vec<SarifResult<'a>>,
    column_kind: &'static str,
}

/// What relative paths start from (§3.14.14). Where it lies on the machine that ran is left out: it is of no use elsewhere.
#[derive(Serialize)]
struct BaseIds {
    #[serde(rename = "%SRCROOT%")]
    source_root: Base,
}

#[derive(Serialize)]
struct Base {
    description: Message<&'static str>,
}

/// The name that GitHub code scanning and others have for the top of the repository.
const SOURCE_ROOT: &str = "%SRCROOT%";

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    semantic_version: &'static str,
    rules: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: &'static str,
    short_description: Message<&'static str>,
    full_description: Message<&'static str>,
    help: Help,
    default_configuration: Configuration,
}

#[derive(Serialize)]
struct Message<T> {
    text: T,
}

#[derive(Serialize)]
struct Help {
    text: &'static str,
    markdown: String,
}

#[derive(Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult<'a> {
    rule_id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_index: Option<usize>,
    level: &'static str,
    message: Message<String>,
    locations: Vec<Location>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_locations: Vec<Location>,
    partial_fingerprints: Fingerprints,
    suppressions: Vec<Suppression>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fixes: Vec<SarifFix<'a>>,
    properties: Properties<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifFix<'a> {
    description: Message<String>,
    artifact_changes: [ArtifactChange<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactChange<'a> {
    artifact_location: ArtifactLocation,
    replacements: Vec<Replacement<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Replacement<'a> {
    deleted_region: ByteRegion,
    inserted_content: Message<&'a str>,
}

/// A region by bytes (§3.30.11): line ends and the file's encoding cannot move it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ByteRegion {
    byte_offset: usize,
    byte_length: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactLocation {
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri_base_id: Option<&'static str>,
}

impl ArtifactLocation {
    /// A file by its path from the top of its repository, else by what is known.
    fn new(in_repository: Option<&str>, otherwise: &str) -> Self {
        Self { uri: uri(in_repository.unwrap_or(otherwise)), uri_base_id: in_repository.map(|_| SOURCE_ROOT) }
    }

    fn of(location: &rules::Location) -> Self {
        Self::new(location.in_repository.as_deref(), &location.path)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u64,
    end_line: u64,
}

#[derive(Serialize)]
struct Fingerprints {
    #[serde(rename = "bklog/v1")]
    fingerprint: String,
}

#[derive(Serialize)]
struct Suppression {
    kind: &'static str,
    justification: String,
}

#[derive(Serialize)]
struct Properties<'a> {
    confidence: &'static str,
    files: &'a [String],
}

impl FindingsWriter for Sarif {
    fn write(&self, report: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
        let results = report.findings().iter().zip(report.fingerprints());
        let log = Log {
            schema: "https://json.schemastore.org/sarif-2.1.0.json",
            version: "2.1.0",
            runs: [Run {
                tool: Tool { driver: Driver { name: "bklog", semantic_version: env!("CARGO_PKG_VERSION"), rules: descriptors() } },
                original_uri_base_ids: BaseIds { source_root: Base { description: Message { text: "the top of the repository" } } },
                results: results.map(|(finding, fingerprint)| result(report, finding, fingerprint)).collect(),
                column_kind: "unicodeCodePoints",
            }],
        };
        serde_json::to_writer_pretty(&mut *out, &log)?;
        writeln!(out)
    }
}

fn descriptors() -> Vec<Descriptor> {
    let descriptor = |meta: &'static rules::Meta| Descriptor {
        id: meta.name,
        short_description: Message { text: meta.summary },
        full_description: Message { text: meta.docs.finds },
        help: Help { text: meta.docs.fix, markdown: meta.markdown(1) },
        default_configuration: Configuration { level: level(meta.severity) },
    };
    rules::all().into_iter().map(descriptor).collect()
}

fn level(severity: Severity) -> &'static str {
    severity.name()
}

fn result<'a>(report: &CheckReport, finding: &'a Finding, fingerprint: String) -> SarifResult<'a> {
    let in_file = finding
        .location
        .as_ref()
        .map(|location| place(ArtifactLocation::of(location), location.line.into(), location.end_line.into(), None));
    let in_log = finding.in_log.as_ref().and_then(|at| at.line).map(|line| {
        let what = Message { text: "in the log".to_owned() };
        place(ArtifactLocation::new(report.log_in_repository.as_deref(), &log_path(report)), line, line, in_file.is_some().then_some(what))
    });
    let (locations, related_locations) = match (in_file, in_log) {
        (Some(file), log) => (vec![file], log.into_iter().collect()),
        (None, log) => (log.into_iter().collect(), Vec::new()),
    };
    // `[text](target)` would be a link (§3.11.6).
    let text: Vec<String> = lines(finding).iter().map(|line| escape::terminal(line).replace("](", "] (")).collect();
    let suppressions = finding.suppressed.iter().map(|reason| Suppression {
        kind: if reason.starts_with("accepted: ") || reason.starts_with("in the baseline") { "external" } else { "inSource" },
        justification: escape::terminal(reason).into_owned(),
    });
    SarifResult {
        rule_id: finding.rule,
        rule_index: rules::all().iter().position(|meta| meta.name == finding.rule),
        level: level(finding.severity),
        message: Message { text: text.join("\n") },
        locations,
        related_locations,
        partial_fingerprints: Fingerprints { fingerprint },
        suppressions: suppressions.collect(),
        fixes: finding.fix.iter().zip(&finding.location).map(|(fix, location)| sarif_fix(fix, location)).collect(),
        properties: Properties { confidence: finding.confidence.name(), files: &finding.files },
    }
}

fn sarif_fix<'a>(fix: &'a Fix, location: &rules::Location) -> SarifFix<'a> {
    let replacement = |edit: &'a rules::Edit| Replacement {
        deleted_region: ByteRegion { byte_offset: edit.span.start, byte_length: edit.span.len() },
        inserted_content: Message { text: edit.replacement.as_str() },
    };
    let replacements = fix.edits.iter().map(replacement).collect();
    SarifFix {
        description: Message { text: escape::terminal(&fix.title).into_owned() },
        artifact_changes: [ArtifactChange { artifact_location: ArtifactLocation::of(location), replacements }],
    }
}

fn place(artifact_location: ArtifactLocation, line: u64, end_line: u64, message: Option<Message<String>>) -> Location {
    let region = Region { start_line: line.max(1), end_line: end_line.max(line).max(1) };
    Location { physical_location: PhysicalLocation { artifact_location, region }, message }
}

/// A path as a URI: relative ones stay relative, and what a path segment may not hold is percent-encoded (RFC 3986).
fn uri(path: &str) -> String {
    let mut uri = String::new();
    if path.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'@' | b'+' | b',' | b'=' => {
                uri.push(char::from(byte))
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
