//! `report --format html`.

use std::io;

use askama::Template;

use super::{Shell, percent, web_link, write};
use crate::evidence::commit;
use crate::report::{
    chart::{ChartError, durations},
    trend_words::capital,
    units,
    weekly::{
        OldCode, StepCost, TrendSeries, Urgency, Weekly,
        changes::StepShare,
        markdown::{empty, none_found, signed, state},
        tiles::{Tile, tiles},
    },
};

/// Rows of the table of steps.
const STEPS: usize = 40;
/// Steps named under a change.
const SHARES: usize = 6;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    shell: &'a Shell,
    title: String,
    report: &'a Weekly,
    period: String,
    deck: String,
    noun_before: String,
    empty: Option<String>,
    tiles: Vec<Tile>,
    figures: Vec<Figure<'a>>,
    steps: Vec<StepLine<'a>>,
    more_steps: usize,
    days: Vec<String>,
    heat: Vec<HeatLine<'a>>,
    none_found: String,
    old_code: Vec<OldLine<'a>>,
    made: String,
}

struct Figure<'a> {
    headline: &'a str,
    about: String,
    wide: String,
    narrow: String,
    shifts: Vec<ShiftLine<'a>>,
}

struct ShiftLine<'a> {
    title: String,
    about: String,
    range: Option<&'a str>,
    why: &'a str,
    steps: Vec<ShareLine<'a>>,
}

struct ShareLine<'a> {
    name: &'a str,
    delta: String,
    class: &'static str,
    before: String,
    after: String,
}

/// A text and the number that its column sorts by.
type Cell = (String, f64);

struct StepLine<'a> {
    instruction: &'a str,
    place: String,
    total: Cell,
    share: String,
    before: Cell,
    p50: Cell,
    p95: Cell,
    executed: u64,
    cached: Cell,
    failed: u64,
    lost: Cell,
}

struct HeatLine<'a> {
    instruction: &'a str,
    place: String,
    cells: Vec<HeatField>,
}

struct HeatField {
    class: &'static str,
    text: String,
    title: String,
}

struct OldLine<'a> {
    stale: bool,
    instruction: &'a str,
    place: String,
    runs: u64,
    iso: String,
    last: String,
    commit: Option<&'a str>,
    fresh_since: bool,
    url: Option<&'a str>,
}

/// Writes the report as one page.
///
/// # Errors
/// Where the output cannot be written, or a chart cannot be drawn.
pub fn page(report: &Weekly, out: &mut dyn io::Write) -> io::Result<()> {
    let noun = report.window.noun();
    let is_empty = report.numbers.runs == 0;
    let figures = report.series.iter().filter(|_| !is_empty).map(|series| figure(report, series)).collect::<Result<_, _>>();
    let page = Page {
        shell: Shell::get(),
        title: format!("{}: {}", report.project, report.headline),
        report,
        period: format!("{} UTC", report.window.dates()),
        deck: deck(report),
        noun_before: if noun == "week" { "Week before".to_owned() } else { "Before".to_owned() },
        empty: is_empty.then(|| empty(report)),
        tiles: tiles(report),
        figures: figures.map_err(io::Error::other)?,
        steps: step_lines(&report.steps, report.before.runs > 0),
        more_steps: report.steps.len().saturating_sub(STEPS),
        days: report.heat.days.iter().map(|day| day.strftime("%a %-d").to_string()).collect(),
        heat: heat_lines(report),
        none_found: none_found(report),
        old_code: old_lines(report),
        made: report.now.strftime("%-d %B %Y at %H:%M UTC").to_string(),
    };
    write(&page, out)?;
    writeln!(out)
}

fn deck(report: &Weekly) -> String {
    let numbers = &report.numbers;
    if numbers.runs == 0 {
        return String::new();
    }
    let runs = if numbers.runs == numbers.builds { String::new() } else { format!(" in {}", units::count(numbers.runs, "run")) };
    let noun = report.window.noun();
    let before = if report.before.runs == 0 {
        format!("no builds were recorded in the {noun} before")
    } else {
        format!("compared with the {} of the {noun} before", report.before.builds)
    };
    format!("{}{runs}, {before}", units::count(numbers.builds, "build"))
}

fn figure<'a>(report: &Weekly, series: &'a TrendSeries) -> Result<Figure<'a>, ChartError> {
    let look = |width, height| durations::Look { width, height, titled: false };
    let what = series.target.as_deref().map_or_else(|| "whole runs".to_owned(), |target| format!("target {target}"));
    let points = series.series.points().len();
    let shown = series.shifts.iter().rev().filter(|shift| shift.is_of_note());
    // What the change of the whole runs says already is not said again of the target that it comes from.
    let told = |shift: &crate::report::weekly::Shift| {
        let first = report.series.first().filter(|first| first.target != series.target);
        first.is_some_and(|first| first.shifts.iter().any(|other| other.explanation.why == shift.explanation.why))
    };
    Ok(Figure {
        headline: &series.headline,
        about: format!("Time of {what} that succeeded, {}; lines are the median of each level", units::count(points, "build")),
        wide: durations::svg(&report.project, series, look(1096, 300))?,
        narrow: durations::svg(&report.project, series, look(380, 240))?,
        shifts: shown
            .map(|shift| ShiftLine {
                // The figure's own title is not said twice.
                title: if shift.headline == series.headline { String::new() } else { format!("{}:", shift.headline) },
                about: capital(&state(shift)),
                range: shift.suspects.as_deref(),
                why: if told(shift) { "" } else { &shift.explanation.why },
                steps: if told(shift) { Vec::new() } else { shift.explanation.steps.iter().take(SHARES).map(share).collect() },
            })
            .collect(),
    })
}

fn share(step: &StepShare) -> ShareLine<'_> {
    ShareLine {
        name: &step.name,
        delta: signed(step.delta_seconds),
        class: if step.delta_seconds > 0.0 { "worse" } else { "better" },
        before: ratio(step.cache_hit_before).0,
        after: ratio(step.cache_hit_after).0,
    }
}

fn ratio(ratio: Option<f64>) -> Cell {
    ratio.map_or(("–".to_owned(), -1.0), |ratio| (format!("{:.0} %", 100.0 * ratio), ratio))
}

fn time(seconds: Option<f64>) -> Cell {
    seconds.map_or(("–".to_owned(), -1.0), |seconds| (units::duration(seconds), seconds))
}

/// `there`: whether the window before had builds; without any it took no time, but not 0 seconds.
fn step_lines(steps: &[StepCost], there: bool) -> Vec<StepLine<'_>> {
    let most = steps.first().map_or(0.0, |step| step.seconds).max(f64::MIN_POSITIVE);
    steps
        .iter()
        .take(STEPS)
        .map(|step| StepLine {
            instruction: &step.instruction,
            place: step.place(),
            total: time(Some(step.seconds)),
            share: percent(step.seconds / most),
            before: time(there.then_some(step.seconds_before)),
            p50: time(step.p50),
            p95: time(step.p95),
            executed: step.executed,
            cached: ratio(step.cache_ratio()),
            failed: step.failed,
            lost: time(Some(step.lost)),
        })
        .collect()
}

fn heat_lines(report: &Weekly) -> Vec<HeatLine<'_>> {
    let heat = &report.heat;
    heat.rows
        .iter()
        .map(|row| HeatLine {
            instruction: &row.instruction,
            place: [&row.target, &row.stage].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" · "),
            cells: heat
                .days
                .iter()
                .zip(&row.cells)
                .map(|(day, cell)| {
                    let Some(ratio) = cell.cache_ratio() else {
                        return HeatField { class: "", text: String::new(), title: format!("{day}: not used") };
                    };
                    let class = match ratio {
                        // What normally runs is no loss, and must not draw the eye.
                        _ if row.normally_runs => "h2",
                        r if r >= 0.9 => "h4",
                        r if r >= 0.7 => "h3",
                        r if r >= 0.4 => "h2",
                        r if r >= 0.1 => "h1",
                        _ => "h0",
                    };
                    let title = format!("{day}: {} cached, {} ran", cell.cached, cell.executed);
                    HeatField { class, text: format!("{:.0} %", 100.0 * ratio), title }
                })
                .collect(),
        })
        .collect()
}

fn old_lines<'a>(report: &'a Weekly) -> Vec<OldLine<'a>> {
    let line = |old: &'a OldCode| OldLine {
        stale: old.verdict == "stale",
        instruction: &old.instruction,
        place: [&old.target, &old.stage].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" · "),
        runs: old.runs,
        iso: old.last_at.to_string(),
        last: old.last_at.strftime("%-d %b %H:%M UTC").to_string(),
        commit: old.commit.as_deref().map(commit::short),
        fresh_since: old.fresh_since,
        url: old.job_url.as_deref().and_then(web_link),
    };
    report.old_code.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        html::tests::write_for_the_browser,
        weekly::tests::{Ledger, hostile, regression, year},
    };

    fn html(report: &Weekly) -> String {
        let mut out = Vec::new();
        page(report, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_page_holds_charts_tables_and_nothing_from_elsewhere() {
        let page = html(&regression().report());
        assert_eq!(page.matches("<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\"").count(), 4, "two series at two widths");
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page.matches("<style").count(), 1);
        assert!(page.contains("backend builds take 17."));
        for other in [" src=", "@import", " style=", " onclick", "url(http"] {
            assert!(!page.contains(other), "{other}");
        }
        assert!(!page.contains("{{") && !page.contains("{%"));
        write_for_the_browser("regression", &page);
    }

    #[test]
    fn hostile_text_stays_text() {
        let page = html(&hostile().report());
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page.matches("</script").count(), 1);
        assert!(!page.contains("<img") && !page.contains("javascript:"));
        assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}'));
        write_for_the_browser("hostile", &page);
    }

    #[test]
    fn a_year_becomes_a_band() {
        let page = html(&year().report());
        assert!(page.contains("<polygon"), "more builds than pixels are drawn as medians with a band");
        assert!(page.len() < 600_000, "{}", page.len());
        write_for_the_browser("year", &page);
    }

    #[test]
    fn empty_weeks_say_so() {
        let page = html(&Ledger::default().report());
        assert!(page.contains("id=\"empty\"") && page.contains("No builds were recorded in this week"));
        write_for_the_browser("empty", &page);
    }
}
