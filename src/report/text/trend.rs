//! `trend` for people.

use std::io::{self, Write};

use console::{Alignment, measure_text_width, pad_str, truncate_str};

use super::style::{BAD, BOLD, DIM, GOOD, WARN, painted};
use crate::{
    evidence::commit::short,
    report::{escape, trend_words as words, units},
    trend::{
        analysis::{Told, ToldChange, Trend},
        change_point::State,
        ledger::Metric,
    },
};

/// Widest chart, in characters.
const CHART_COLUMNS: usize = 60;
/// Narrowest one that is worth drawing.
const LEAST_CHART: usize = 12;
/// Steps of a change that get a row.
const MOST_STEPS: usize = 5;
/// Names are cut to this.
const NAME_COLUMNS: usize = 40;

/// Writes a trend: charts of one line, and for each change what, since when and why. `width` is the number of columns.
///
/// # Errors
/// Where the output cannot be written.
pub fn write(trend: &Trend, width: usize, out: &mut dyn Write) -> io::Result<()> {
    for (at, (project, series)) in words::projects(trend).into_iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        headline(project, &series, out)?;
        charts(&series, width, out)?;
        let events = words::events(&series);
        for event in &events {
            writeln!(out)?;
            let (told, change) = event.main;
            paragraph(told, change, width, out)?;
            also(&event.also, &series, width, out)?;
        }
        let most = series.iter().map(|told| told.measured.series.points().len()).max().unwrap_or(0);
        if events.is_empty() {
            writeln!(out, "{}{}", if most > 0 { "\n" } else { "" }, words::no_change(most))?;
        }
    }
    budgets(trend, out)?;
    for since in &trend.unused_accepts {
        writeln!(out, "{} no change is at {:?}: take it out of trend.accept", painted(WARN, "note:"), escape::terminal(since))?;
    }
    Ok(())
}

fn headline(project: &str, series: &[&Told], out: &mut dyn Write) -> io::Result<()> {
    let Some(first) = series.first() else { return Ok(()) };
    let points = first.measured.series.points();
    let day = |at: jiff::Timestamp| at.strftime("%-d %b %Y").to_string();
    let mut parts = vec![painted(BOLD, escape::terminal(project)), units::count(points.len(), "build")];
    if let (Some(from), Some(to)) = (points.first(), points.last()) {
        let (from, to) = (day(from.at), day(to.at));
        parts.push(if from == to { from } else { format!("{from} to {to}") });
    }
    let left_out = words::left_out(&first.measured);
    if !left_out.is_empty() {
        parts.push(format!("left out: {left_out}"));
    }
    writeln!(out, "{}\n", parts.join(" · "))
}

/// A line a series: durations always, the rest where it changed.
fn charts(series: &[&Told], width: usize, out: &mut dyn Write) -> io::Result<()> {
    let shown: Vec<(String, String, &Told)> = series
        .iter()
        .filter(|told| !told.measured.series.points().is_empty())
        .filter(|told| words::is_shown(told, series))
        .map(|told| (escape::terminal(&words::series_name(&told.measured)).into_owned(), words::levels(told), *told))
        .collect();
    let column = |text: &dyn Fn(&(String, String, &Told)) -> usize| shown.iter().map(text).max().unwrap_or(0);
    let name = column(&|row| measure_text_width(&row.0)).min(NAME_COLUMNS);
    let level = column(&|row| measure_text_width(&row.1));
    let chart = width.saturating_sub(name + level + 4).min(CHART_COLUMNS);
    for (title, levels, told) in &shown {
        let title = pad_str(&truncate_str(title, name, "…"), name, Alignment::Left, None).into_owned();
        let line = if chart >= LEAST_CHART {
            let drawn = words::chart(&told.measured.series.values(), chart);
            format!("{title}  {}  {levels}", pad_str(&drawn, chart, Alignment::Left, None))
        } else {
            format!("{title}  {levels}")
        };
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn paragraph(told: &Told, change: &ToldChange, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let measured = &told.measured;
    let word = words::direction(measured, change);
    let style = if change.accepted.is_some() {
        DIM
    } else if words::is_bad(measured, change) {
        BAD
    } else {
        GOOD
    };
    let quoted = |name: &str| format!("`{name}`");
    let mut sentence = format!("{} {}", words::what(measured, change, &quoted), words::why(measured, change, &quoted));
    if let Some(reason) = &change.accepted {
        sentence.push_str(&format!(" Accepted: {reason}."));
    }
    let sentence = escape::terminal(sentence.trim_end()).into_owned();
    let indent = measure_text_width(word) + 2;
    for (at, line) in wrapped(&sentence, width.saturating_sub(indent)).iter().enumerate() {
        if at == 0 {
            writeln!(out, "{}  {line}", painted(style, word))?;
        } else {
            writeln!(out, "{}{line}", " ".repeat(indent))?;
        }
    }
    steps(told, change, width, indent, out)?;
    if let Some((good, bad)) = change.found.change.suspects(&measured.series).as_deref().and_then(|range| range.split_once("..")) {
        let range = format!("{}..{}", short(good), short(bad));
        writeln!(out, "{}{} git log {}", " ".repeat(indent), painted(DIM, "suspects:"), escape::terminal(&range))?;
    }
    Ok(())
}

fn steps(told: &Told, change: &ToldChange, width: usize, indent: usize, out: &mut dyn Write) -> io::Result<()> {
    let rows: Vec<[String; 3]> = words::shown_steps(change, MOST_STEPS)
        .into_iter()
        .map(|step| {
            let edited = if step.renamed_from.is_some() { ", edited" } else { "" };
            [
                units::signed(step.delta()),
                escape::terminal(&words::short_digests(&step.name)).into_owned(),
                format!("{}{edited}", words::hits(step)),
            ]
        })
        .collect();
    let column = |at: usize| rows.iter().map(|row| measure_text_width(&row[at])).max().unwrap_or(0);
    let (delta, hits) = (column(0), column(2));
    let name = column(1).min(width.saturating_sub(indent + delta + hits + 4)).max(16);
    for [seconds, step, cached] in &rows {
        let line = format!(
            "{}{}  {}  {cached}",
            " ".repeat(indent),
            pad_str(seconds, delta, Alignment::Right, None),
            pad_str(&truncate_str(step, name, "…"), name, Alignment::Left, None),
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    let found = &change.found.change;
    let level = found.after - found.before;
    let beside = told.measured.metric == Metric::Duration && level.abs() >= 0.1 && change.attribution.steps_delta / level > 1.1;
    if beside && !rows.is_empty() {
        let text = format!("all steps together {}: some run side by side", units::signed(change.attribution.steps_delta));
        writeln!(out, "{}{}", " ".repeat(indent), painted(DIM, text))?;
    }
    Ok(())
}

/// The other series that changed with it.
fn also(changes: &[(&Told, &ToldChange)], series: &[&Told], width: usize, out: &mut dyn Write) -> io::Result<()> {
    let changes: Vec<_> = changes.iter().filter(|(told, _)| words::is_shown(told, series)).collect();
    if changes.is_empty() {
        return Ok(());
    }
    let text = |(told, change): &&(&Told, &ToldChange)| {
        let found = &change.found.change;
        let metric = told.measured.metric;
        let state = if found.state == State::Suspected { " (suspected)" } else { "" };
        format!(
            "{} {} → {}{state}",
            words::series_name(&told.measured),
            words::level(metric, found.before),
            words::level(metric, found.after)
        )
    };
    let all = changes.iter().map(text).collect::<Vec<_>>().join(", ");
    let indent = 8;
    for (at, line) in wrapped(&escape::terminal(&format!("with it: {all}")), width.saturating_sub(indent)).iter().enumerate() {
        let more = if at > 0 { "  " } else { "" };
        writeln!(out, "{}{more}{}", " ".repeat(indent), painted(DIM, line))?;
    }
    Ok(())
}

fn budgets(trend: &Trend, out: &mut dyn Write) -> io::Result<()> {
    if trend.budgets.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    for spent in &trend.budgets {
        let name = escape::terminal(&words::budget_name(spent)).into_owned();
        let (now, may) = (units::duration(spent.seconds), units::duration(spent.budget.seconds));
        let builds = units::count(spent.builds, "build");
        if spent.is_over() {
            writeln!(out, "{} {name} takes {now}, and may take {may} (median of the last {builds})", painted(BAD, "over budget:"))?;
        } else {
            writeln!(out, "{} {name} takes {now} of {may}", painted(GOOD, "in budget:"))?;
        }
    }
    Ok(())
}

/// Lines of at most `columns` columns, broken at blanks. A longer word has a line of its own.
pub(super) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if measure_text_width(line) + 1 + measure_text_width(word) <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
