//! `report --format markdown`: for job summaries, chats and mail.

use std::io::{self, Write};

use super::{Urgency, Weekly, tiles::tiles};
use crate::{
    evidence::commit::short,
    report::{escape::markdown as safe, trend_words::ratio, units},
};

/// Rows of the table of steps.
const STEPS: usize = 15;
/// Columns of the cache table: more do not fit a chat.
const DAYS: usize = 7;

/// Writes the report.
///
/// # Errors
/// Where the output cannot be written.
pub fn write(report: &Weekly, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# {}: {}\n", safe(&report.project), safe(&report.headline))?;
    let noun = report.window.noun();
    writeln!(out, "{} (UTC), compared with the {noun} before.\n", report.window.dates())?;
    if report.numbers.runs == 0 {
        return writeln!(out, "{}", safe(&empty(report)));
    }
    writeln!(out, "| | {} | the {noun} before | change |\n|---|--:|--:|--:|", report.window.this())?;
    for tile in tiles(report) {
        writeln!(out, "| {} | {} | {} | {} |", tile.label, safe(&tile.value), safe(&tile.before), safe(&tile.change))?;
    }
    writeln!(out)?;
    if !report.first.is_empty() {
        writeln!(out, "## Do first\n")?;
        for (n, advice) in report.first.iter().enumerate() {
            let mark = if advice.urgency == Urgency::High { "**Old code:** " } else { "" };
            write!(out, "{}. {mark}{}. {}", n + 1, safe(&advice.what), safe(&advice.action))?;
            match &advice.command {
                Some(command) => writeln!(out, ": {}", code(command))?,
                None => writeln!(out, ".")?,
            }
        }
        writeln!(out)?;
    }
    changes(report, out)?;
    steps(report, out)?;
    heat(report, out)?;
    old_code(report, out)
}

/// What a report without builds says.
pub fn empty(report: &Weekly) -> String {
    let last = match report.last_run {
        Some(at) => format!("The last recorded run of {} was on {}.", report.project, at.strftime("%-d %B %Y at %H:%M UTC")),
        None => format!("No run of {} was ever recorded.", report.project),
    };
    format!(
        "No builds were recorded in {}. {last} If there were builds, see that CI still runs `bklog record` (or `bklog check --record`) with the same history and project.",
        report.window.this()
    )
}

fn changes(report: &Weekly, out: &mut dyn Write) -> io::Result<()> {
    let shifts: Vec<_> = report.series.iter().flat_map(|series| &series.shifts).filter(|shift| shift.is_of_note()).collect();
    if shifts.is_empty() {
        return writeln!(out, "No lasting change of the build time began in {}.\n", report.window.this());
    }
    writeln!(out, "## Changes\n")?;
    let mut told: Vec<&str> = Vec::new();
    for shift in shifts {
        let factor = shift.change.ratio.map_or_else(String::new, |_| format!(" ({})", ratio(shift.change.ratio)));
        writeln!(out, "- **{}**{factor}, {}", safe(&shift.headline), state(shift))?;
        if let Some(suspects) = &shift.suspects {
            writeln!(out, "  - suspects: {}", code(&format!("git log {suspects}")))?;
        }
        // What the change of the whole runs says already is not said again of the target that it comes from.
        let why = shift.explanation.why.as_str();
        if told.contains(&why) {
            continue;
        }
        told.push(why);
        if !why.is_empty() {
            writeln!(out, "  - {}", safe(why))?;
        }
        for step in shift.explanation.steps.iter().take(5) {
            let cache = match (step.cache_hit_before, step.cache_hit_after) {
                (Some(before), Some(after)) => format!(", cached {:.0} % before and {:.0} % after", 100.0 * before, 100.0 * after),
                _ => String::new(),
            };
            writeln!(out, "  - {}: {}{cache}", safe(&step.name), signed(step.delta_seconds))?;
        }
    }
    writeln!(out)
}

fn steps(report: &Weekly, out: &mut dyn Write) -> io::Result<()> {
    if report.steps.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Steps by cost\n")?;
    writeln!(out, "| step | where | total | before | median | p95 | ran | cached | lost |\n|---|---|--:|--:|--:|--:|--:|--:|--:|")?;
    // Nothing was done in a week that has no builds, which is not the same as no time.
    let there = report.before.runs > 0;
    for step in report.steps.iter().take(STEPS) {
        let time = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), units::duration);
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            safe(&step.instruction),
            safe(&step.place()),
            units::duration(step.seconds),
            time(there.then_some(step.seconds_before)),
            time(step.p50),
            time(step.p95),
            step.executed,
            step.cache_ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{:.0} %", 100.0 * ratio)),
            if step.lost > 0.0 { units::duration(step.lost) } else { "–".to_owned() },
        )?;
    }
    if report.steps.len() > STEPS {
        let rest = &report.steps[STEPS..];
        writeln!(out, "\nand {} more, {} together", rest.len(), units::duration(rest.iter().map(|step| step.seconds).sum()))?;
    }
    writeln!(out)
}

fn heat(report: &Weekly, out: &mut dyn Write) -> io::Result<()> {
    let days = &report.heat.days[report.heat.days.len().saturating_sub(DAYS)..];
    if report.heat.rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Cached, by step and day (UTC)\n")?;
    write!(out, "| step |")?;
    days.iter().try_for_each(|day| write!(out, " {} |", day.strftime("%a %-d")))?;
    write!(out, "\n|---|")?;
    days.iter().try_for_each(|_| write!(out, "--:|"))?;
    writeln!(out)?;
    for row in report.heat.rows.iter().take(STEPS) {
        let place = row.target.as_ref().map_or_else(String::new, |target| format!("{} · ", safe(target)));
        write!(out, "| {place}{} |", safe(&row.instruction))?;
        for cell in &row.cells[row.cells.len().saturating_sub(DAYS)..] {
            match cell.cache_ratio() {
                Some(ratio) => write!(out, " {:.0} % |", 100.0 * ratio)?,
                None => write!(out, " – |")?,
            }
        }
        writeln!(out)?;
    }
    writeln!(out)
}

fn old_code(report: &Weekly, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "## Old code in images\n")?;
    if report.old_code.is_empty() {
        return writeln!(out, "{}", none_found(report));
    }
    writeln!(out, "| verdict | step | runs | last | commit | |\n|---|---|--:|---|---|---|")?;
    for old in &report.old_code {
        let target = old.target.as_ref().map_or_else(String::new, |target| format!("{} · ", safe(target)));
        writeln!(
            out,
            "| {} | {target}{} | {} | {} | {} | {} |",
            old.verdict,
            safe(&old.instruction),
            old.runs,
            old.last_at.strftime("%-d %b %H:%M UTC"),
            old.commit.as_deref().map_or_else(|| "–".to_owned(), |commit| code(short(commit))),
            if old.fresh_since { "fresh since" } else { "" },
        )?;
    }
    Ok(())
}

/// What is said where no step has a bad verdict: none was found, or nobody looked.
pub fn none_found(report: &Weekly) -> String {
    if report.judged == 0 {
        "No step was judged: record with `bklog check --record` or `bklog run`, which compare the steps with the commit.".to_owned()
    } else {
        format!("None: {} judged, all fresh.", units::count(report.judged as usize, "step"))
    }
}

/// The state of a change, and whether it is still there.
pub fn state(shift: &super::Shift) -> String {
    if let Some(reason) = &shift.accepted {
        return format!("accepted: {reason}");
    }
    match (shift.is_suspected(), shift.in_effect) {
        (true, _) => "suspected: a few more builds will tell",
        (false, true) => "confirmed",
        (false, false) => "confirmed, and changed again since",
    }
    .to_owned()
}

/// Seconds with their sign: `+ 17m 06s`.
pub fn signed(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "−" } else { "+" };
    format!("{sign} {}", units::duration(seconds.abs()))
}

/// Code within a line; a text with a backtick cannot close it.
fn code(text: &str) -> String {
    let text = crate::report::escape::terminal(text).replace('`', "'").replace('|', "\\|");
    format!("`{text}`")
}
