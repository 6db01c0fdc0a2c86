//! The time that a report is about, and the time that it is compared with.

use jiff::{Timestamp, civil, tz::TimeZone};
use serde::Serialize;

use crate::times;

/// Longest time that a report covers, in days: five years. Beyond that a date was mistyped.
const LONGEST_DAYS: i64 = 5 * 366;

/// A half-open stretch of time in UTC: `from` belongs to it, `to` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

impl Window {
    /// The window that ends at `to` and began `since` before it: `7d`, `2w`, `36h`, or a date or time such as `2026-11-14`.
    ///
    /// # Errors
    /// Says what was expected where `since` is none of these, or where nothing lies between it and `to`.
    pub fn new(since: &str, to: Timestamp) -> Result<Self, String> {
        let expected = || format!("`{since}` is no time to look back: write 7d, 2w, 36h, or a date such as 2026-11-14");
        let from = times::ago(since, to).or_else(|| times::instant(since)).ok_or_else(expected)?;
        if from >= to {
            return Err(format!("`{since}` is not before the end of the report, {}", to.strftime("%Y-%m-%d %H:%M UTC")));
        }
        if (to.as_second() - from.as_second()) / 86_400 > LONGEST_DAYS {
            return Err(format!("`{since}` is more than five years before the end of the report"));
        }
        Ok(Self { from, to })
    }

    /// The window of the same length that ends where this one begins.
    pub fn before(&self) -> Self {
        let length = self.to.duration_since(self.from);
        Self { from: self.from.checked_sub(length).unwrap_or(Timestamp::MIN), to: self.from }
    }

    /// True where a time lies within.
    pub fn contains(&self, at: Timestamp) -> bool {
        (self.from..self.to).contains(&at)
    }

    /// What it is called: `week`, `day`, `30 days`.
    pub fn noun(&self) -> String {
        let hours = (self.to.as_second() - self.from.as_second()) / 3600;
        match hours {
            168 => "week".to_owned(),
            24 => "day".to_owned(),
            hours if hours % 24 == 0 => format!("{} days", hours / 24),
            hours if hours < 72 => format!("{hours} hours"),
            hours => format!("{:.1} days", hours as f64 / 24.0),
        }
    }

    /// It among others: `this week`, `these 30 days`.
    pub fn this(&self) -> String {
        let noun = self.noun();
        let many = noun.starts_with(|c: char| c.is_ascii_digit()) && !noun.starts_with("1 ");
        format!("{} {noun}", if many { "these" } else { "this" })
    }

    /// The dates of its ends: `14 – 21 Nov 2026`.
    pub fn dates(&self) -> String {
        let (from, to) = (date(self.from), date(self.to));
        let first = if from.year() != to.year() {
            "%-d %b %Y"
        } else if from.month() != to.month() {
            "%-d %b"
        } else if from.day() != to.day() {
            "%-d"
        } else {
            return self.from.strftime("%-d %b %Y").to_string();
        };
        format!("{} – {}", self.from.strftime(first), self.to.strftime("%-d %b %Y"))
    }
}

/// The day of a time in UTC.
pub fn date(at: Timestamp) -> civil::Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        times::instant(text).unwrap()
    }

    #[test]
    fn looks_back() {
        let to = at("2026-11-21T08:00:00Z");
        assert_eq!(Window::new("7d", to).unwrap().from, at("2026-11-14T08:00:00Z"));
        assert_eq!(Window::new("2w", to).unwrap().from, at("2026-11-07T08:00:00Z"));
        assert_eq!(Window::new("36h", to).unwrap().from, at("2026-11-19T20:00:00Z"));
        assert_eq!(Window::new("2026-11-01", to).unwrap().from, at("2026-11-01"));
        assert_eq!(Window::new("7d", to).unwrap().before().to, at("2026-11-14T08:00:00Z"));
        for wrong in ["", "d", "0d", "-1d", "7", "x", "2026-11-22", "99999999999999999999d", "9223372036854775807w", "1900-01-01", "7ä"] {
            assert!(Window::new(wrong, to).is_err(), "{wrong}");
        }
    }

    #[test]
    fn is_called_as_people_call_it() {
        let window = |since: &str| Window::new(since, at("2026-11-21T08:00:00Z")).unwrap();
        assert_eq!((window("7d").noun(), window("7d").dates()), ("week".to_owned(), "14 – 21 Nov 2026".to_owned()));
        assert_eq!((window("7d").this(), window("30d").this()), ("this week".to_owned(), "these 30 days".to_owned()));
        assert_eq!((window("30d").noun(), window("30d").dates()), ("30 days".to_owned(), "22 Oct – 21 Nov 2026".to_owned()));
        assert_eq!((window("2h").noun(), window("2h").dates()), ("2 hours".to_owned(), "21 Nov 2026".to_owned()));
        assert_eq!(window("60w").dates(), "27 Sep 2025 – 21 Nov 2026");
    }

    #[test]
    fn ends_are_half_open() {
        let window = Window::new("7d", at("2026-11-21")).unwrap();
        assert!(window.contains(window.from) && !window.contains(window.to));
    }
}
