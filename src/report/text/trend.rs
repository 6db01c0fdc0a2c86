//! `trend` for people.

use std::io::{self, Write};

use super::style::{BAD, BOLD, GOOD, painted};
use crate::{
    report::{escape, units},
    trend::{
        change_point::{Change, Direction, State},
        series::Series,
    },
};

/// Width of the chart line, in characters.
const CHART_WIDTH: usize = 72;

/// Writes a series as a chart of one line and its changes as sentences. `name` names the series.
///
/// # Errors
/// Where the output cannot be written.
pub fn write(name: &str, series: &Series, changes: &[Change], out: &mut dyn Write) -> io::Result<()> {
    let points = series.points();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Ok(());
    };
    let day = |at: jiff::Timestamp| at.strftime("%-d %b %Y").to_string();
    writeln!(out, "{} · {} builds · {} to {}", painted(BOLD, escape::terminal(name)), points.len(), day(first.at), day(last.at))?;
    writeln!(out)?;
    writeln!(out, "  {}", chart(&series.values()))?;
    writeln!(out)?;
    for change in changes {
        let Some(point) = points.get(change.index) else {
            continue;
        };
        let word = match change.direction {
            Direction::Slower => painted(BAD, "slower"),
            Direction::Faster => painted(GOOD, "faster"),
        };
        let state = match change.state {
            State::Suspected => "suspected",
            State::Confirmed => "confirmed",
        };
        let ratio = change.ratio.map_or_else(|| "from 0".to_owned(), |ratio| format!("×{ratio:.2}"));
        let commit = point.commit.as_deref().map_or_else(String::new, |commit| format!(", commit {}", short(commit)));
        writeln!(
            out,
            "{word} {ratio:<7} {:>8} → {:<8} since build {} ({}{commit})  {state}",
            units::duration(change.before),
            units::duration(change.after),
            change.index + 1,
            point.at.strftime("%-d %b %Y %H:%M UTC"),
        )?;
        if let Some((good, bad)) = change.suspects(series).as_deref().and_then(|range| range.split_once("..")) {
            writeln!(out, "               suspects: git log {}..{}", short(good), short(bad))?;
        }
    }
    if changes.is_empty() {
        writeln!(out, "no lasting change of level")?;
    }
    Ok(())
}

fn short(commit: &str) -> String {
    let short: String = commit.chars().take(12).collect();
    escape::terminal(&short).into_owned()
}

/// The series in one line: medians of equal stretches as blocks, on a logarithmic scale from the smallest to the largest.
fn chart(values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let width = values.len().min(CHART_WIDTH);
    let heights: Vec<f64> = (0..width)
        .map(|column| {
            let stretch = column * values.len() / width..(column + 1) * values.len() / width;
            let mut sorted = values[stretch].to_vec();
            sorted.sort_unstable_by(f64::total_cmp);
            sorted[sorted.len() / 2].max(1e-3).ln()
        })
        .collect();
    let low = heights.iter().copied().fold(f64::INFINITY, f64::min);
    let span = heights.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low;
    heights.iter().map(|height| BLOCKS[(((height - low) / span.max(0.1)) * 7.0).round().clamp(0.0, 7.0) as usize]).collect()
}
