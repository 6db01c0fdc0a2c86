//! The headline numbers as they are shown: each against the window before, and whether that is good.

use super::{Numbers, Weekly};
use crate::report::units;

/// How a number moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// For the better.
    Better,
    /// For the worse.
    Worse,
    /// Hardly, or there is no saying whether that is good.
    Neither,
}

impl Move {
    /// The word for it; none where it did not move.
    pub fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Neither => "",
        }
    }
}

/// One headline number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// What it is.
    pub label: &'static str,
    /// Its value; `–` where there is none.
    pub value: String,
    /// The same in the window before.
    pub before: String,
    /// How it moved, in words: `+12 %`, `−3 points`; empty where it did not.
    pub change: String,
    /// Whether that is good.
    pub moved: Move,
}

/// Changes below this share are noise of a week.
const NOTABLE: f64 = 0.05;

/// The numbers in the order in which they are shown.
pub fn tiles(report: &Weekly) -> Vec<Tile> {
    let (now, before) = (&report.numbers, &report.before);
    let there = before.runs > 0;
    let time = |label, of: fn(&Numbers) -> Option<f64>, worse_if_more: bool| {
        let (now, before) = (of(now), of(before).filter(|_| there));
        let text = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), units::duration);
        let (change, moved) = relative(now, before);
        Tile { label, value: text(now), before: text(before), change, moved: if worse_if_more { moved } else { Move::Neither } }
    };
    let count = |label, now: usize, before: usize, worse_if_more: bool| {
        let change = match now as i64 - before as i64 {
            _ if !there => String::new(),
            0 => "same".to_owned(),
            more if more > 0 => format!("+{more}"),
            less => format!("−{}", -less),
        };
        let moved = match now.cmp(&before) {
            _ if !worse_if_more || !there => Move::Neither,
            std::cmp::Ordering::Greater => Move::Worse,
            std::cmp::Ordering::Less => Move::Better,
            std::cmp::Ordering::Equal => Move::Neither,
        };
        Tile { label, value: now.to_string(), before: if there { before.to_string() } else { "–".to_owned() }, change, moved }
    };
    vec![
        count("Builds", now.builds, before.builds, false),
        count("Failed", now.failed, before.failed, true),
        time("Median", |numbers| numbers.p50, true),
        time("p95", |numbers| numbers.p95, true),
        cache(now.cache_ratio(), before.cache_ratio()),
        time("Time spent", |numbers| Some(numbers.spent), false),
        time("Lost to misses", |numbers| Some(numbers.lost), true),
    ]
}

fn relative(now: Option<f64>, before: Option<f64>) -> (String, Move) {
    let (Some(now), Some(before)) = (now, before) else {
        return (String::new(), Move::Neither);
    };
    if before <= 0.0 {
        // No ratio to nothing: the value says it all.
        return (String::new(), if now > 0.0 { Move::Worse } else { Move::Neither });
    }
    let share = now / before - 1.0;
    let text = if share.abs() < 0.005 {
        "same".to_owned()
    } else if share >= 1.0 {
        format!("×{:.1}", now / before)
    } else {
        format!("{}{:.0} %", if share < 0.0 { "−" } else { "+" }, 100.0 * share.abs())
    };
    let moved = if share > NOTABLE {
        Move::Worse
    } else if share < -NOTABLE {
        Move::Better
    } else {
        Move::Neither
    };
    (text, moved)
}

fn cache(now: Option<f64>, before: Option<f64>) -> Tile {
    let text = |ratio: Option<f64>| ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.0} %", 100.0 * ratio));
    let (change, moved) = match (now, before) {
        (Some(now), Some(before)) => {
            let points = 100.0 * (now - before);
            let text = if points.abs() < 0.5 {
                "same".to_owned()
            } else {
                format!("{}{:.0} points", if points < 0.0 { "−" } else { "+" }, points.abs())
            };
            let moved = if points > 100.0 * NOTABLE {
                Move::Better
            } else if points < -100.0 * NOTABLE {
                Move::Worse
            } else {
                Move::Neither
            };
            (text, moved)
        }
        _ => (String::new(), Move::Neither),
    };
    Tile { label: "Cached", value: text(now), before: text(before), change, moved }
}
