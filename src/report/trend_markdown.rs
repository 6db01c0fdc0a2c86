//! `trend --format markdown`: for job summaries, issues and chats.

use std::io::{self, Write};

use super::{escape::markdown, trend_words as words, units};
use crate::evidence::commit::short;
use crate::trend::analysis::{Told, ToldChange, Trend};

/// Steps of a change that get a row.
const MOST_STEPS: usize = 10;

/// Writes a trend as Markdown.
///
/// # Errors
/// Where the output cannot be written.
pub fn write(trend: &Trend, out: &mut dyn Write) -> io::Result<()> {
    for (project, series) in words::projects(trend) {
        writeln!(out, "## Build times of {}\n", markdown(project))?;
        writeln!(out, "| | builds | level | |\n|---|--:|---|---|")?;
        for told in series.iter().filter(|told| words::is_shown(told, &series)) {
            let points = told.measured.series.points();
            if points.is_empty() {
                continue;
            }
            writeln!(
                out,
                "| {} | {} | {} | {} |",
                markdown(&words::series_name(&told.measured)),
                points.len(),
                words::levels(told),
                words::chart(&told.measured.series.values(), 40)
            )?;
        }
        let left_out = series.first().map(|told| words::left_out(&told.measured)).unwrap_or_default();
        if !left_out.is_empty() {
            writeln!(out, "\nLeft out: {left_out}.")?;
        }
        let events = words::events(&series);
        for event in &events {
            change(event.main.0, event.main.1, out)?;
        }
        if events.is_empty() {
            let most = series.iter().map(|told| told.measured.series.points().len()).max().unwrap_or(0);
            writeln!(out, "\n{}.", words::no_change(most))?;
        }
        writeln!(out)?;
    }
    for spent in trend.budgets.iter().filter(|spent| spent.is_over()) {
        let (name, now, may) =
            (markdown(&words::budget_name(spent)), units::duration(spent.seconds), units::duration(spent.budget.seconds));
        writeln!(out, "- **Over budget**: {name} takes {now}, and may take {may}.")?;
    }
    Ok(())
}

fn change(told: &Told, change: &ToldChange, out: &mut dyn Write) -> io::Result<()> {
    let measured = &told.measured;
    // A name is escaped for itself, so that the sentence around it may hold markup.
    let name = |name: &str| format!("**{}**", markdown(name));
    let mark = if change.accepted.is_some() {
        "◌"
    } else if words::is_bad(measured, change) {
        "✗"
    } else {
        "✓"
    };
    write!(out, "\n### {mark} {}\n\n", words::direction(measured, change))?;
    writeln!(out, "{} {}", words::what(measured, change, &name), words::why(measured, change, &name))?;
    if let Some(reason) = &change.accepted {
        writeln!(out, "\nAccepted: {}.", markdown(reason))?;
    }
    let steps = words::shown_steps(change, MOST_STEPS);
    if !steps.is_empty() {
        writeln!(out, "\n| step | a build | |\n|---|--:|---|")?;
        for step in steps {
            writeln!(out, "| {} | {} | {} |", markdown(&words::short_digests(&step.name)), units::signed(step.delta()), words::hits(step))?;
        }
    }
    if let Some((good, bad)) = change.found.change.suspects(&measured.series).as_deref().and_then(|range| range.split_once("..")) {
        writeln!(out, "\nSuspects: `git log {}..{}`", hex(good), hex(bad))?;
    }
    Ok(())
}

/// A commit for a code span: nothing but what a commit is made of.
fn hex(commit: &str) -> String {
    short(commit).chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')).collect()
}
