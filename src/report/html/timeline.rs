//! `show --html`: the timeline of a build.
//!
//! Where the log has times a bar stands where the step ran, and the steps that everything waited for are marked. A plain log has none: then
//! the steps of a stage stand one behind another, stages side by side, and the exports behind the longest. That is how BuildKit runs them
//! when nothing waits for another stage, and the page says that it is an estimate.

use std::{collections::HashMap, io};

use askama::Template;

use super::{End, Head, Shell, percent, write};
use crate::{
    build::{Build, DurationSource, Kind, Outcome, Status, Step, timing},
    redact::Redacted,
    report::{BuildWriter, text::totals::Counts, units},
};

/// BuildKit's own steps that took less, in seconds, are left out.
const TOO_SHORT: f64 = 0.05;
/// Steps of a build that are drawn; a page of more is no picture any longer.
const MOST_STEPS: usize = 2000;

/// Writes builds as one page of timelines.
#[derive(Debug, Default)]
pub struct ShowHtml {
    log: String,
    begun: bool,
}

impl ShowHtml {
    /// A page about one log, or several; `log` names the first.
    pub fn new(log: &str) -> Self {
        Self { log: log.to_owned(), begun: false }
    }

    fn begin(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        if !self.begun {
            self.begun = true;
            write(&Head { shell: Shell::get(), title: &format!("{}: build timeline", self.log) }, out)?;
        }
        Ok(())
    }
}

impl BuildWriter for ShowHtml {
    fn log(&mut self, name: &str, out: &mut dyn io::Write) -> io::Result<()> {
        name.clone_into(&mut self.log);
        self.begin(out)
    }

    fn build(&mut self, build: &Redacted<Build>, out: &mut dyn io::Write) -> io::Result<()> {
        self.begin(out)?;
        write(&section(&self.log, build), out)
    }

    fn finish(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        self.begin(out)?;
        write(&End { shell: Shell::get() }, out)?;
        writeln!(out)
    }
}

#[derive(Template)]
#[template(path = "build.html")]
struct Section {
    log: String,
    about: String,
    headline: String,
    errors: Vec<String>,
    tiles: Vec<Figure>,
    chart_title: &'static str,
    note: &'static str,
    ticks: Vec<Tick>,
    rows: Vec<Row>,
    key_strong: &'static str,
    has_weak: bool,
    has_bad: bool,
    left_out: usize,
}

struct Figure {
    label: &'static str,
    value: String,
    note: String,
}

struct Tick {
    at: String,
    label: String,
    anchor: &'static str,
}

struct Row {
    stage: Option<String>,
    name: String,
    status: &'static str,
    bad: bool,
    time: String,
    hint: String,
    bar: Option<Bar>,
}

struct Bar {
    from: String,
    width: String,
    class: &'static str,
}

/// Where a step stands on the axis, in seconds from the beginning of the build.
type Span = (f64, f64);

fn section(log: &str, build: &Build) -> Section {
    let critical = timing::critical_path(build);
    let timed = critical.is_some();
    let spans = if timed { measured(build) } else { stacked(&build.steps) };
    let end = spans.iter().flatten().map(|(_, to)| *to).fold(0.0, f64::max);
    let end = build.duration.filter(|_| timed).map_or(end, |duration| duration.seconds.max(end)).max(0.1);
    let shown = |step: &Step| {
        let own = step.parts.kind == Kind::Instruction || matches!(step.status, Status::Error | Status::Canceled | Status::Unfinished);
        own || step.seconds.unwrap_or(0.0) >= TOO_SHORT
    };
    let mut order: Vec<(usize, usize)> = Vec::new();
    let mut groups: Vec<String> = Vec::new();
    let mut group_of: HashMap<String, usize> = HashMap::new();
    for (position, step) in build.steps.iter().enumerate().filter(|(_, step)| shown(step)).take(MOST_STEPS) {
        let name = group(step);
        let next = groups.len();
        let at = *group_of.entry(name.clone()).or_insert(next);
        if at == next {
            groups.push(name);
        }
        order.push((at, position));
    }
    order.sort_by_key(|(group, position)| (*group, build.steps[*position].parts.number, *position));
    let is_critical = |position: usize| critical.as_ref().is_none_or(|path| path.contains(&position));
    let mut last = usize::MAX;
    let rows: Vec<Row> = order
        .iter()
        .map(|(group, position)| {
            let stage = (*group != last && groups.len() > 1).then(|| groups[*group].clone());
            last = *group;
            row(&build.steps[*position], stage, spans[*position], end, is_critical(*position), timed)
        })
        .collect();
    let (chart_title, note, key_strong) = if timed {
        (
            "When each step ran",
            "From the times in the log. Strong bars are the steps that the build waited for: making one of them shorter makes the build shorter.",
            "the build waited for it",
        )
    } else {
        (
            "What each step took",
            "This log has no times, so this is an estimate: the steps of a stage one behind another, stages side by side. Built with --progress=rawjson, by bklog run, or in a CI that stamps its lines, it shows when each step ran.",
            "ran",
        )
    };
    Section {
        log: log.to_owned(),
        about: about(build),
        headline: headline(build),
        errors: build.errors.iter().take(3).cloned().collect(),
        tiles: figures(build),
        chart_title,
        note,
        ticks: ticks(end),
        has_weak: timed && rows.iter().any(|row| row.bar.as_ref().is_some_and(|bar| bar.class == "ran")),
        has_bad: rows.iter().any(|row| row.bad),
        left_out: build.steps.iter().filter(|step| !shown(step)).count(),
        rows,
        key_strong,
    }
}

/// The target, platform and stage of an instruction; BuildKit's own steps together.
fn group(step: &Step) -> String {
    let parts = &step.parts;
    match parts.kind {
        Kind::Instruction => {
            let words = [&parts.target, &parts.platform, &parts.stage].into_iter().flatten().map(String::as_str);
            let name = words.collect::<Vec<_>>().join(" · ");
            if name.is_empty() { "Dockerfile".to_owned() } else { name }
        }
        Kind::Export | Kind::CacheExport => "export".to_owned(),
        _ => "preparation".to_owned(),
    }
}

/// Spans from the times of the log, counted from the first.
fn measured(build: &Build) -> Vec<Option<Span>> {
    let first = build.steps.iter().filter_map(|step| step.span).map(|(from, _)| from).chain(build.started).min();
    let Some(first) = first else {
        return vec![None; build.steps.len()];
    };
    let span = |step: &Step| {
        let (from, to) = step.span?;
        let from = timing::seconds_between(first, from);
        Some((from, timing::seconds_between(first, to).max(from)))
    };
    build.steps.iter().map(span).collect()
}

/// Spans of a log without times: preparation first, the stages side by side, exports last.
fn stacked(steps: &[Step]) -> Vec<Option<Span>> {
    let mut ends: HashMap<String, f64> = HashMap::new();
    let seconds = |step: &Step| step.seconds.unwrap_or(0.0).max(0.0);
    let kind = |step: &Step| match step.parts.kind {
        Kind::Instruction => 1,
        Kind::Export | Kind::CacheExport => 2,
        _ => 0,
    };
    let mut spans = vec![None; steps.len()];
    let mut begin = 0.0;
    for round in 0..3 {
        let mut end: f64 = begin;
        for (step, span) in steps.iter().zip(&mut spans).filter(|(step, _)| kind(step) == round) {
            // What BuildKit prepares it prepares at once; everything else waits for what stands before it.
            let from = if round == 0 { begin } else { *ends.entry(group(step)).or_insert(begin) };
            let to = from + seconds(step);
            if round > 0 {
                ends.insert(group(step), to);
            }
            end = end.max(to);
            *span = Some((from, to));
        }
        begin = end;
    }
    spans
}

fn row(step: &Step, stage: Option<String>, span: Option<Span>, end: f64, critical: bool, timed: bool) -> Row {
    let bad = matches!(step.status, Status::Error | Status::Canceled | Status::Unfinished);
    let time = match (step.status, step.seconds) {
        (Status::Done, Some(seconds)) => units::duration(seconds),
        (Status::Done, None) => String::new(),
        (Status::Cached, _) => "cached".to_owned(),
        (Status::Error, Some(seconds)) => format!("✗ {}", units::duration(seconds)),
        (Status::Error, None) => "✗ failed".to_owned(),
        (Status::Canceled, _) => "canceled".to_owned(),
        (Status::Unfinished, _) => "unfinished".to_owned(),
    };
    let name = step.instruction().to_owned();
    let when = span
        .filter(|_| timed)
        .map_or_else(String::new, |(from, to)| format!(" · from {} to {} of the build", units::duration(from), units::duration(to)));
    let said = match step.status {
        Status::Cached if step.cache_hit != Some(true) => "cached, or never ran".to_owned(),
        _ => time.clone(),
    };
    let waited = if timed && critical && step.status != Status::Cached { " · the build waited for it" } else { "" };
    let hint = format!("{name} · {said}{when}{waited}");
    let class = match (bad, critical) {
        (true, _) => "failed",
        (false, true) => "crit",
        (false, false) => "ran",
    };
    let bar = span.map(|(from, to)| Bar { from: percent(from / end), width: percent((to - from) / end), class });
    Row { stage, name, status: step.status.name(), bad, time, hint, bar }
}

fn headline(build: &Build) -> String {
    let what = match build.outcome {
        Outcome::Succeeded => "Build succeeded",
        Outcome::Failed => "Build failed",
        Outcome::Canceled => "Build canceled",
        Outcome::Truncated => "Build log cut off",
    };
    match build.duration {
        Some(duration) if duration.source == DurationSource::Estimate => {
            format!("{what} in {} or more", units::duration(duration.seconds))
        }
        Some(duration) => format!("{what} in {}", units::duration(duration.seconds)),
        None => what.to_owned(),
    }
}

fn about(build: &Build) -> String {
    let at = build.started.and_then(crate::report::json::rfc3339).and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let at = at.map(|at| at.strftime("%-d %B %Y %H:%M:%S UTC").to_string());
    let builder = build.builder.as_ref().map(|builder| format!("builder {builder}"));
    [at, builder, build.image.names.first().cloned()].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn figures(build: &Build) -> Vec<Figure> {
    let counts = Counts::of(build);
    let figure = |label, value: String, note: String| Figure { label, value, note };
    let source = match build.duration.map(|duration| duration.source) {
        Some(DurationSource::RawJson) => "exact, from rawjson",
        Some(DurationSource::Live) => "measured live",
        Some(DurationSource::Timestamps) => "from the times of the lines",
        Some(DurationSource::Estimate) => "at least: the log has no times",
        None => "the log does not say",
    };
    let mut figures = vec![
        figure("Time", build.duration.map_or_else(|| "–".to_owned(), |duration| units::duration(duration.seconds)), source.to_owned()),
        figure("Ran", counts.executed.to_string(), units::duration(counts.executed_seconds)),
        figure(
            "Cached",
            counts.cached.to_string(),
            counts.cache_ratio().map_or_else(String::new, |ratio| format!("{:.0} % of the commands", 100.0 * ratio)),
        ),
    ];
    if counts.failed > 0 {
        figures.push(figure("Failed", counts.failed.to_string(), String::new()));
    }
    let context: u64 = build.steps.iter().filter(|step| step.parts.kind == Kind::Context).filter_map(|step| step.transferred_bytes).sum();
    if context > 0 {
        figures.push(figure("Context", units::bytes(context), "transferred".to_owned()));
    }
    let exports: f64 = build.steps.iter().filter(|step| step.parts.kind == Kind::Export).filter_map(|step| step.seconds).sum();
    if exports >= TOO_SHORT {
        figures.push(figure("Export", units::duration(exports), String::new()));
    }
    let imports = &build.cache.imports;
    if !imports.is_empty() {
        let ok = imports.iter().filter(|import| import.ok).count();
        figures.push(figure("Cache imports", format!("{ok} of {}", imports.len()), "succeeded".to_owned()));
    }
    figures
}

/// Places of the time axis: round seconds, minutes or hours, five or so.
fn ticks(end: f64) -> Vec<Tick> {
    const STEPS: [f64; 19] =
        [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0];
    let step = STEPS.into_iter().find(|step| end / step <= 6.0).unwrap_or(end / 5.0);
    let label = |seconds: f64| match seconds {
        0.0 => "0".to_owned(),
        s if step >= 3600.0 => format!("{:.0} h", s / 3600.0),
        s if step >= 60.0 => format!("{:.0} min", s / 60.0),
        s if step >= 1.0 => format!("{s:.0} s"),
        s => format!("{s:.1} s"),
    };
    (0..=6)
        .map(|n| f64::from(n) * step)
        .take_while(|at| *at <= end)
        .map(|at| Tick {
            at: percent(at / end),
            label: label(at),
            anchor: if at == 0.0 {
                "start"
            } else if at > 0.96 * end {
                "end"
            } else {
                "middle"
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{build::collect::Collector, log::Reader, redact::Redactor};

    fn page(name: &str, log: &[u8]) -> String {
        let mut builds = Vec::new();
        let mut reader = Reader::new(Collector::new(|build| builds.push(build)));
        reader.feed(log);
        reader.finish();
        let (mut out, mut writer) = (Vec::new(), ShowHtml::new(name));
        for build in builds {
            writer.build(&Redacted::build(build, &Redactor::default()), &mut out).unwrap();
        }
        writer.finish(&mut out).unwrap();
        let page = String::from_utf8(out).unwrap();
        super::super::tests::write_for_the_browser(&format!("timeline-{name}"), &page);
        page
    }

    fn log(case: &str, file: &str) -> Vec<u8> {
        use std::io::Read as _;
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(case).join(file);
        let packed = path.with_file_name(format!("{file}.gz"));
        match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(_) => {
                let mut bytes = Vec::new();
                flate2::read::GzDecoder::new(std::fs::File::open(packed).unwrap()).read_to_end(&mut bytes).unwrap();
                bytes
            }
        }
    }

    #[test]
    fn bars_stand_where_the_steps_ran() {
        let page = page(
            "two",
            b"2026-11-21T02:16:00.0000000Z #1 [a 1/2] RUN one\n2026-11-21T02:16:05.0000000Z #1 DONE 5.0s\n\n\
              2026-11-21T02:16:05.0000000Z #2 [a 2/2] RUN two\n2026-11-21T02:16:10.0000000Z #2 DONE 5.0s\n\n\
              2026-11-21T02:16:00.0000000Z #3 [b 1/1] RUN three\n2026-11-21T02:16:01.0000000Z #3 DONE 1.0s\n",
        );
        assert!(page.contains("When each step ran"));
        assert!(page.contains(r#"<rect class="crit" x="50.00%" y="3" width="50.00%""#), "{page}");
        assert!(page.contains(r#"<rect class="ran" x="0.00%" y="3" width="10.00%""#), "the build did not wait for it");
        assert!(page.contains("RUN three · 1.0s · from 0.0s to 1.0s of the build"));
    }

    #[test]
    fn a_log_without_times_is_an_estimate() {
        let steps = "#1 [a 1/2] RUN one\n#1 DONE 4.0s\n\n#2 [b 1/1] RUN two\n#2 DONE 6.0s\n\n#3 [a 2/2] RUN three\n#3 CACHED\n\n#4 exporting to image\n#4 DONE 2.0s\n";
        let page = page("estimate", steps.as_bytes());
        assert!(page.contains("so this is an estimate") && page.contains("Build succeeded in 8.0s or more"), "{page}");
        assert!(page.contains(r#"x="75.00%" y="3" width="25.00%""#), "the export comes behind the longest stage");
        assert!(page.contains(r#"class="cached" cx="50.00%""#), "a cached step stands behind the one before it");
    }

    #[test]
    fn real_logs_hostile_names_and_nothing_at_all() {
        assert!(page("timed", &log("format/201-ci-gha-raw", "prefixed.log")).contains("class=\"crit\""));
        assert!(page("bake", &log("format/049-bake-compose", "plain.log")).contains("tr class=\"stage\""));
        assert!(page("failed", &log("format/017-failing-run", "plain.log")).contains("class=\"failed\""));
        assert!(page("sixty", &log("trend/sixty-real-builds", "30.log")).contains("RUN echo install"));
        let hostile = page(
            "hostile",
            b"#1 [a 1/1] RUN echo '</script><script>alert(1)</script>' <img src=x onerror=alert(2)> \x1b[31m\n#1 DONE 1.0s\n",
        );
        assert!(hostile.matches("<script").count() == 1 && !hostile.contains("<img") && !hostile.contains('\u{1b}'));
        assert!(page("nothing", b"").ends_with("</html>\n"));
    }
}
