//! The few colours of the text, the same everywhere.

use std::fmt::Display;

use anstyle::{AnsiColor, Color, Style};

/// What matters most.
pub const BOLD: Style = Style::new().bold();
/// What is there to be looked up.
pub const DIM: Style = Style::new().dimmed();
/// What went well.
pub const GOOD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
/// What came from the cache.
pub const CACHED: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Cyan)));
/// What deserves a look.
pub const WARN: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Yellow)));
/// What went wrong.
pub const BAD: Style = Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Red)));
/// The bars.
pub const BAR: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Blue)));

/// A text in a style.
pub fn painted(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}
