//! `diff --format markdown`: for job summaries, issues and chats.

use std::io::{self, Write};

use super::{
    diff_words as words,
    escape::markdown,
    trend_words::{short_digests, sign_text},
    units,
};
use crate::trend::diff::{Both, Diff};

/// Writes the difference as Markdown.
///
/// # Errors
/// Where the output cannot be written.
pub fn write(diff: &Diff, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "## Builds compared\n\n- A: {}\n- B: {}\n", markdown(&words::side(&diff.a)), markdown(&words::side(&diff.b)))?;
    writeln!(out, "| step | A | B | | |\n|---|--:|--:|--:|---|")?;
    for step in diff.steps.iter().filter(|step| words::is_worth_a_row(step)) {
        let Some(row) = step.row() else { continue };
        writeln!(
            out,
            "| {} | {} | {} | {} | {}{} |",
            markdown(&short_digests(&words::step_name(row))),
            words::status(step.a.as_ref()),
            words::status(step.b.as_ref()),
            units::signed(step.delta()),
            words::became(step),
            if step.edited && !words::became(step).contains("edited") { ", edited" } else { "" }
        )?;
    }
    let mut total = |name: &str, both: Both| {
        let seconds = |value: f64| if value < 0.0 { units::signed(value) } else { units::duration(value) };
        writeln!(out, "| **{name}** | {} | {} | {} | |", seconds(both.a), seconds(both.b), units::signed(both.delta()))
    };
    let (steps, rest) = words::totals(diff);
    total("all steps", steps)?;
    if let Some((overlap, clock)) = rest {
        total("side by side (−), waiting (+)", overlap)?;
        total("total", clock)?;
    }
    let name = |text: &str| format!("**{}**", markdown(text));
    for (root, behind) in diff.roots() {
        let step = &diff.steps[root];
        let Some(row) = step.row() else { continue };
        let followed =
            if behind.is_empty() { String::new() } else { format!("; {} behind it followed", units::count(behind.len(), "step")) };
        writeln!(out, "\nFirst miss: {}{followed}\n", name(&short_digests(&words::step_name(row))))?;
        for cause in &step.causes {
            writeln!(out, "- {}", words::cause(cause, &name))?;
        }
    }
    if !diff.signs.is_empty() {
        writeln!(out, "\nIn the logs:\n")?;
        for sign in &diff.signs {
            writeln!(out, "- {}", sign_text(sign, &name))?;
        }
    }
    Ok(())
}
