//! The colours of charts and pages: those of Okabe and Ito (2008, *Color Universal Design*), which people with any colour vision tell
//! apart, over quiet greys. The page's style sheet gives each of them a counterpart for dark screens, found by its value.

use plotters::style::RGBColor;

/// The ground.
pub const GROUND: RGBColor = RGBColor(0xff, 0xff, 0xff);
/// Text that matters.
pub const INK: RGBColor = RGBColor(0x1b, 0x1f, 0x24);
/// Text that explains.
pub const MUTED: RGBColor = RGBColor(0x6a, 0x73, 0x7d);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(0xe5, 0xe8, 0xec);
/// The line at zero.
pub const AXIS: RGBColor = RGBColor(0xb4, 0xbb, 0xc4);
/// Observations, and a level that nothing is said of.
pub const DATA: RGBColor = RGBColor(0x2f, 0x6f, 0xb0);
/// A level above the one before.
pub const WORSE: RGBColor = RGBColor(0xc8, 0x52, 0x00);
/// A level below the one before.
pub const BETTER: RGBColor = RGBColor(0x00, 0x80, 0x5f);
