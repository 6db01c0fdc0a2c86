//! `diff` for people.

use std::io::{self, Write};

use console::{Alignment, measure_text_width, pad_str, truncate_str};

use super::{
    style::{BAD, BOLD, DIM, GOOD, WARN, painted},
    trend::wrapped,
};
use crate::{
    report::{
        diff_words as words, escape,
        trend_words::{short, short_digests, sign_text},
        units,
    },
    trend::diff::{Became, Both, Cause, Diff, StepDiff},
};

/// Names of steps are not cut below this.
const LEAST_NAME: usize = 24;

/// Writes the difference: the steps that differ, where the lost cache began and why, and the totals. `all` shows the other steps, too.
///
/// # Errors
/// Where the output cannot be written.
pub fn write(diff: &Diff, width: usize, all: bool, out: &mut dyn Write) -> io::Result<()> {
    for (letter, side) in [("A", &diff.a), ("B", &diff.b)] {
        let text = truncate_str(&escape::terminal(&words::side(side)), width.saturating_sub(3), "…").into_owned();
        writeln!(out, "{}  {text}", painted(BOLD, letter))?;
    }
    writeln!(out)?;
    table(diff, width, all, out)?;
    roots(diff, width, out)?;
    signs(diff, width, out)
}

struct Row {
    cells: [String; 5],
}

fn row(step: &StepDiff, is_root: bool) -> Option<Row> {
    let name = escape::terminal(&short_digests(&words::step_name(step.row()?))).into_owned();
    let (a, b) = step.seconds();
    let delta = words::tenths(b) - words::tenths(a);
    let style = match step.became {
        Became::LostCache | Became::Slower | Became::Broken => BAD,
        Became::WonCache | Became::Faster => GOOD,
        Became::Added | Became::Removed => WARN,
        Became::Same => DIM,
    };
    let became = words::became(step);
    let edited = if step.edited && step.became != Became::Same { ", edited" } else { "" };
    let first = if is_root { ", first" } else { "" };
    let note = if became.is_empty() { String::new() } else { painted(style, format!("{became}{first}{edited}")) };
    let change = if delta.abs() < 0.05 { String::new() } else { units::signed(delta) };
    Some(Row { cells: [name, words::status(step.a.as_ref()), words::status(step.b.as_ref()), change, note] })
}

fn table(diff: &Diff, width: usize, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut rows: Vec<Row> =
        vec![Row { cells: [painted(DIM, "step"), painted(DIM, "A"), painted(DIM, "B"), String::new(), String::new()] }];
    let (mut rest, mut others) = (Both::default(), 0);
    for (at, step) in diff.steps.iter().enumerate() {
        if all || words::is_worth_a_row(step) {
            rows.extend(row(step, step.root == Some(at)));
        } else {
            let (a, b) = step.seconds();
            rest = Both { a: rest.a + words::tenths(a), b: rest.b + words::tenths(b) };
            others += 1;
        }
    }
    let same = rows.len() == 1;
    if others > 0 {
        let name = if same { units::count(others, "step") } else { units::count(others, "other step") };
        rows.push(total_row(&name, rest, String::new()));
    }
    let (steps, rest) = words::totals(diff);
    let steps_at = rows.len();
    rows.push(total_row("all steps", steps, String::new()));
    if let Some((overlap, total)) = rest {
        let estimate = [&diff.a, &diff.b].iter().any(|side| side.rows.run.duration_source == Some(crate::build::DurationSource::Estimate));
        rows.push(total_row("side by side (−), waiting (+)", overlap, String::new()));
        rows.push(total_row("total", total, if estimate { painted(DIM, "estimated from the steps") } else { String::new() }));
    } else {
        rows.push(total_row("total", Both { a: f64::NAN, b: f64::NAN }, painted(DIM, "a log does not say how long it took")));
    }
    let column = |at: usize| rows.iter().map(|row| measure_text_width(&row.cells[at])).max().unwrap_or(0);
    let (a, b, delta, note) = (column(1), column(2), column(3), column(4));
    let name = column(0).min(width.saturating_sub(a + b + delta + note + 8)).max(LEAST_NAME);
    for (at, Row { cells: [step, before, after, change, what] }) in rows.iter().enumerate() {
        if at == steps_at {
            writeln!(out, "{}", painted(DIM, "─".repeat((name + a + b + delta + 6).min(width))))?;
        }
        let line = format!(
            "{}  {}  {}  {}  {what}",
            pad_str(&truncate_str(step, name, "…"), name, Alignment::Left, None),
            pad_str(before, a, Alignment::Right, None),
            pad_str(after, b, Alignment::Right, None),
            pad_str(change, delta, Alignment::Right, None),
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn total_row(name: &str, both: Both, note: String) -> Row {
    let seconds = |value: f64| if value < 0.0 { units::signed(value) } else { units::duration(value) };
    let delta = if both.delta().is_nan() { String::new() } else { units::signed(both.delta()) };
    Row { cells: [name.to_owned(), seconds(both.a), seconds(both.b), delta, note] }
}

/// Where the lost cache began, what followed, and why; then the causes of edited steps that began nothing.
fn roots(diff: &Diff, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let quoted = |text: &str| format!("`{text}`");
    let roots = diff.roots();
    // A cause that all roots share is said once.
    let everywhere = |cause: &Cause| roots.len() > 1 && roots.keys().all(|root| diff.steps[*root].causes.contains(cause));
    for (root, behind) in &roots {
        let step = &diff.steps[*root];
        let Some(row) = step.row() else { continue };
        let seconds: f64 = behind.iter().chain([root]).map(|at| diff.steps[*at].delta()).sum();
        let followed = match behind.len() {
            0 => String::new(),
            n => format!("; {} behind it followed", units::count(n, "step")),
        };
        writeln!(out)?;
        let name = short(&words::step_name(row));
        let text = format!("first miss: `{name}`{followed} ({})", units::signed(seconds));
        for line in wrapped(&escape::terminal(&text), width) {
            writeln!(out, "{}", painted(BOLD, line))?;
        }
        let own: Vec<&Cause> = step.causes.iter().filter(|cause| !everywhere(cause)).collect();
        for cause in own {
            because(&words::cause(cause, &quoted), width, out)?;
        }
        if step.causes.is_empty() {
            because("nothing in the logs says why; the cache may have been cleared, or a build argument is another one", width, out)?;
        }
    }
    let shared: Vec<&Cause> =
        roots.keys().next().map(|root| diff.steps[*root].causes.iter().filter(|cause| everywhere(cause)).collect()).unwrap_or_default();
    if !shared.is_empty() {
        writeln!(out, "\n{}", painted(BOLD, "each of them:"))?;
        for cause in shared {
            because(&words::cause(cause, &quoted), width, out)?;
        }
    }
    for (at, step) in diff.steps.iter().enumerate().filter(|(at, step)| step.edited && !roots.contains_key(at)) {
        let Some(row) = step.row() else { continue };
        let texts: Vec<&Cause> = diff.steps[at].causes.iter().filter(|cause| matches!(cause, Cause::Text { .. })).collect();
        for cause in texts {
            let name = short(&words::step_name(row));
            writeln!(out, "\n{}", painted(BOLD, format!("edited: `{}`", escape::terminal(&name))))?;
            because(&words::cause(cause, &quoted), width, out)?;
        }
    }
    Ok(())
}

fn because(text: &str, width: usize, out: &mut dyn Write) -> io::Result<()> {
    for (at, line) in wrapped(&escape::terminal(text), width.saturating_sub(4)).iter().enumerate() {
        writeln!(out, "  {} {line}", if at == 0 { "-" } else { " " })?;
    }
    Ok(())
}

/// What came and went and is no cause of a lost cache.
fn signs(diff: &Diff, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let quoted = |text: &str| format!("`{text}`");
    let said = |sign: &&crate::trend::signs::SignChange| {
        diff.steps
            .iter()
            .flat_map(|step| &step.causes)
            .any(|cause| matches!(cause, Cause::Sign(other) | Cause::Base(other) if other == *sign))
    };
    let left: Vec<_> = diff.signs.iter().filter(|sign| !said(sign)).collect();
    if !left.is_empty() {
        writeln!(out, "\n{}", painted(BOLD, "also:"))?;
    }
    for sign in left {
        because(&sign_text(sign, &quoted), width, out)?;
    }
    Ok(())
}
