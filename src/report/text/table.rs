//! The table of steps.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use console::{Alignment, measure_text_width, pad_str, truncate_str};

use super::{
    Layout, Order,
    style::{BAD, BAR, CACHED, DIM, WARN, painted},
};
use crate::{
    build::{Build, Kind, Status, Step},
    freshness::Verdict,
    report::{escape, savings::Savings, units},
};

/// The widest that a bar gets.
const BAR_COLUMNS: usize = 20;
/// The instruction is not cut below this; a narrower terminal loses the bars first.
const LEAST_INSTRUCTION: usize = 24;
/// A step as long as this has a full bar where none is slower.
const LEAST_FULL_BAR_SECONDS: f64 = 2.0;
/// Two blanks part the columns.
const GAP: &str = "  ";

struct Row {
    index: String,
    place: String,
    instruction: String,
    status: String,
    note: String,
    seconds: f64,
}

/// Writes the table. `verdict` says what is known of a step's content.
pub fn write(
    build: &Build,
    layout: Layout,
    savings: &Savings,
    verdict: &dyn Fn(&Step) -> Option<Verdict>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let shown = |step: &&Step| layout.all || is_worth_a_row(step);
    let mut steps: Vec<&Step> = build.steps.iter().filter(shown).collect();
    if layout.order == Order::Slowest {
        steps.sort_by(|a, b| b.seconds.unwrap_or(-1.0).total_cmp(&a.seconds.unwrap_or(-1.0)));
    }
    let rows = rows(&steps, layout.order, savings, verdict);
    let width = |cells: &dyn Fn(&Row) -> &str| rows.iter().map(|row| measure_text_width(cells(row))).max().unwrap_or(0);
    let (index, place, status, note) = (width(&|r| &r.index), width(&|r| &r.place), width(&|r| &r.status), width(&|r| &r.note));
    // Bars of steps that all took next to nothing would only be noise.
    let slowest = rows.iter().map(|row| row.seconds).fold(LEAST_FULL_BAR_SECONDS, f64::max);
    let fixed = index + place + status + GAP.len() * (if place > 0 { 3 } else { 2 });
    let wanted = rows.iter().map(|row| measure_text_width(&row.instruction)).max().unwrap_or(0);
    let room = layout.width.saturating_sub(fixed + GAP.len());
    // Bars and notes share the last column; a row has one or the other.
    let last = if room < LEAST_INSTRUCTION + 8 { 0 } else { (room - LEAST_INSTRUCTION).min(BAR_COLUMNS.max(note)) };
    let instruction = wanted.min(layout.width.saturating_sub(fixed + if last > 0 { GAP.len() + last } else { 0 })).max(8);
    for row in &rows {
        let mut line = pad_str(&row.index, index, Alignment::Left, None).into_owned();
        if place > 0 {
            line += GAP;
            line += &pad_str(&row.place, place, Alignment::Left, None);
        }
        line += GAP;
        line += &pad_str(&truncate_str(&row.instruction, instruction, "…"), instruction, Alignment::Left, None);
        line += GAP;
        line += &pad_str(&row.status, status, Alignment::Right, None);
        if last > 0 {
            let end = if row.note.is_empty() {
                bar(row.seconds, slowest, last.min(BAR_COLUMNS))
            } else {
                truncate_str(&row.note, last, "…").into_owned()
            };
            if !end.is_empty() {
                line += GAP;
                line += &end;
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    if !rows.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

/// BuildKit's own steps are worth a row only where they cost something or went wrong.
fn is_worth_a_row(step: &Step) -> bool {
    let own = !matches!(step.parts.kind, Kind::Instruction | Kind::Export | Kind::CacheExport | Kind::CacheImport);
    !own || step.seconds.is_some_and(|seconds| seconds >= 1.0) || !matches!(step.status, Status::Done | Status::Cached)
}

fn rows(steps: &[&Step], order: Order, savings: &Savings, verdict: &dyn Fn(&Step) -> Option<Verdict>) -> Vec<Row> {
    let total_width = steps.iter().filter_map(|step| step.parts.total).max().unwrap_or(0).to_string().len();
    let mut before: Option<[&Option<String>; 3]> = None;
    let mut rows = Vec::with_capacity(steps.len());
    let widths: Vec<usize> =
        (0..3).map(|n| steps.iter().map(|step| words(step)[n].as_deref().map_or(0, measure_text_width)).max().unwrap_or(0)).collect();
    for step in steps {
        let these = words(step);
        // Within a stage its name stands once; sorted by time every row needs it.
        let repeated = order == Order::Log && before == Some(these) && step.parts.number.is_some();
        before = Some(these);
        let mut place = String::new();
        for (word, width) in these.iter().zip(&widths).filter(|(_, width)| **width > 0) {
            let word = if repeated { Cow::Borrowed("") } else { escape::ci(word.as_deref().unwrap_or_default()) };
            place += &pad_str(&word, *width, Alignment::Left, None);
            place.push(' ');
        }
        if let (Some(number), Some(total)) = (step.parts.number, step.parts.total) {
            place += &pad_str(&format!("{number}/{total}"), total_width * 2 + 1, Alignment::Right, None);
        }
        rows.push(Row {
            index: painted(DIM, format!("#{}", step.index)),
            place: place.trim_end().to_owned(),
            instruction: instruction(step),
            status: status(step),
            note: note(step, savings, verdict(step)),
            seconds: step.seconds.unwrap_or(0.0),
        });
    }
    rows
}

fn words(step: &Step) -> [&Option<String>; 3] {
    [&step.parts.target, &step.parts.platform, &step.parts.stage]
}

/// The instruction without what no one reads: a digest is cut to the length that git shows.
fn instruction(step: &Step) -> String {
    if step.name.is_empty() {
        return painted(DIM, "(its name is not in the log)");
    }
    let text = if step.parts.number.is_some() { step.instruction() } else { step.name.as_str() };
    let text = escape::ci(text);
    match text.split_once("@sha256:") {
        Some((name, digest)) if digest.len() >= 64 => {
            format!("{name}@{}{}", &digest.get(..7).unwrap_or(digest), digest.get(64..).unwrap_or_default())
        }
        _ => text.into_owned(),
    }
}

fn status(step: &Step) -> String {
    match step.status {
        Status::Done => step.seconds.map_or_else(|| "done".to_owned(), units::duration),
        Status::Cached if step.cache_hit == Some(true) => painted(CACHED, "cached"),
        Status::Cached => painted(WARN, "cached?"),
        Status::Error => painted(BAD, "ERROR"),
        Status::Canceled => painted(WARN, "canceled"),
        Status::Unfinished => painted(WARN, "unfinished"),
    }
}

fn note(step: &Step, savings: &Savings, verdict: Option<Verdict>) -> String {
    match verdict {
        Some(Verdict::Stale) => return painted(BAD, "✗ old code"),
        Some(Verdict::Suspect) => return painted(WARN, "? perhaps old code"),
        _ => {}
    }
    if step.clipped {
        return painted(WARN, "output clipped");
    }
    match savings.of(step) {
        Some(seconds) if seconds >= 0.1 => painted(DIM, format!("saves ~{}", units::duration(seconds))),
        _ if step.status == Status::Cached && step.cache_hit.is_none() => painted(DIM, "perhaps it never ran"),
        _ => String::new(),
    }
}

/// A bar in eighths of a column, in proportion to the slowest step.
fn bar(seconds: f64, slowest: f64, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if slowest <= 0.0 || seconds <= 0.0 {
        return String::new();
    }
    let eighths = ((seconds / slowest) * columns as f64 * 8.0).round() as usize;
    if eighths == 0 {
        return String::new();
    }
    painted(BAR, format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8]))
}
