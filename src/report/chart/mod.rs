//! Charts, drawn by plotters as SVG. Nothing else of the project knows plotters.
//!
//! A chart is drawn four times as large as it is shown, because plotters counts in whole pixels; the view box makes it small again.
//! Its colours are those of [`palette`], so that a page's style sheet can find and replace them for dark screens.

pub mod durations;
pub mod palette;
#[cfg(feature = "pictures")]
pub mod png;
mod time_axis;
mod value_axis;

use std::fmt::Write as _;

use thiserror::Error;

/// How much larger a chart is drawn than shown.
const SCALE: i32 = 4;
/// plotters writes font sizes divided by this.
const FONT_SCALE: f64 = 1.24;
/// The font family.
pub const FONT: &str = "Inter";

/// A chart that cannot be drawn.
#[derive(Debug, Error)]
pub enum ChartError {
    /// plotters refused.
    #[error("cannot draw a chart: {0}")]
    Draw(String),
    /// The picture cannot be made from the drawing.
    #[cfg(feature = "pictures")]
    #[error("cannot make a picture of a chart: {0}")]
    Picture(String),
}

/// What a chart shows when the pointer rests on a part of it: a strip of its width, from top to bottom.
#[derive(Debug, Clone, PartialEq)]
struct Hint {
    left: f64,
    right: f64,
    text: String,
}

/// Text for XML: markup is escaped, what XML cannot hold or what changes the direction of reading becomes visible.
pub fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 8);
    for c in crate::report::escape::terminal(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// Gives a drawing of plotters its shown size, its name for those who do not see it, and its hints.
fn finished(drawing: &str, (width, height): (u32, u32), name: &str, hints: &[Hint]) -> String {
    let body = drawing.find('>').map_or("", |end| &drawing[end + 1..]);
    // Readers without Inter get what their system reads best.
    let body = body
        .trim_end()
        .strip_suffix("</svg>")
        .unwrap_or(body)
        .replace(&format!("font-family=\"{FONT}\""), &format!("font-family=\"{FONT}, system-ui, sans-serif\""));
    let scale = SCALE.unsigned_abs();
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="{width}" height="{height}" viewBox="0 0 {} {}" role="img" aria-label="{}">{body}"#,
        width * scale,
        height * scale,
        xml(name),
    );
    if !hints.is_empty() {
        svg.push_str("<g class=\"hints\" fill=\"none\" pointer-events=\"all\">\n");
        for hint in hints {
            let (left, width) = (hint.left * f64::from(SCALE), (hint.right - hint.left) * f64::from(SCALE));
            // Writing to a String cannot fail.
            let _ = writeln!(
                svg,
                r#"<rect x="{left:.0}" y="0" width="{width:.0}" height="{}"><title>{}</title></rect>"#,
                height * scale,
                xml(&hint.text)
            );
        }
        svg.push_str("</g>");
    }
    svg.push_str("</svg>");
    svg
}

/// About how wide a text in Inter is at a size, both in pixels. Good to a few percent, which is what placing labels needs.
fn text_width(text: &str, size: f64) -> f64 {
    let em: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'l' | 'j' | '.' | ',' | ':' | '\'' | '|' | ' ' | '·' => 0.29,
            'f' | 't' | 'r' | '(' | ')' | '-' => 0.38,
            'm' | 'w' | 'M' | 'W' => 0.88,
            'A'..='Z' => 0.69,
            c if u32::from(c) >= 0x2e80 => 1.0,
            _ => 0.6,
        })
        .sum();
    em * size
}
