//! Where the labels of a time axis stand: at whole minutes, hours, days, weeks, months or years in UTC.

use jiff::{Timestamp, Unit, Zoned, civil::Weekday, tz::TimeZone};

/// A label of the axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Seconds since 1970.
    pub at: f64,
    /// Its text.
    pub label: String,
}

/// Distances between labels that people can count in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Seconds(i64),
    Minutes(i64),
    Hours(i64),
    Days(i64),
    Weeks(i64),
    Months(i64),
    Years(i64),
}

const STEPS: [Step; 26] = [
    Step::Seconds(5),
    Step::Seconds(15),
    Step::Seconds(30),
    Step::Minutes(1),
    Step::Minutes(2),
    Step::Minutes(5),
    Step::Minutes(10),
    Step::Minutes(15),
    Step::Minutes(30),
    Step::Hours(1),
    Step::Hours(2),
    Step::Hours(3),
    Step::Hours(6),
    Step::Hours(12),
    Step::Days(1),
    Step::Days(2),
    Step::Weeks(1),
    Step::Weeks(2),
    Step::Months(1),
    Step::Months(2),
    Step::Months(3),
    Step::Months(6),
    Step::Years(1),
    Step::Years(2),
    Step::Years(5),
    Step::Years(25),
];

impl Step {
    fn seconds(self) -> f64 {
        const DAY: f64 = 86_400.0;
        match self {
            Self::Seconds(n) => n as f64,
            Self::Minutes(n) => n as f64 * 60.0,
            Self::Hours(n) => n as f64 * 3600.0,
            Self::Days(n) => n as f64 * DAY,
            Self::Weeks(n) => n as f64 * 7.0 * DAY,
            Self::Months(n) => n as f64 * 30.44 * DAY,
            Self::Years(n) => n as f64 * 365.25 * DAY,
        }
    }

    /// The last place of the step at or before a time.
    fn floor(self, at: &Zoned) -> Option<Zoned> {
        let day = at.start_of_day().ok()?;
        match self {
            Self::Seconds(n) => at.round(jiff::ZonedRound::new().smallest(Unit::Second).increment(n).mode(jiff::RoundMode::Trunc)).ok(),
            Self::Minutes(n) => at.round(jiff::ZonedRound::new().smallest(Unit::Minute).increment(n).mode(jiff::RoundMode::Trunc)).ok(),
            Self::Hours(n) => at.round(jiff::ZonedRound::new().smallest(Unit::Hour).increment(n).mode(jiff::RoundMode::Trunc)).ok(),
            Self::Days(_) => Some(day),
            Self::Weeks(_) => day.checked_sub(jiff::Span::new().days(day.weekday().since(Weekday::Monday))).ok(),
            Self::Months(n) => {
                let month = (i64::from(day.month()) - 1) / n * n + 1;
                day.with().month(i8::try_from(month).ok()?).day(1).build().ok()
            }
            Self::Years(n) => {
                let year = i64::from(day.year()).div_euclid(n) * n;
                day.with().year(i16::try_from(year).ok()?).month(1).day(1).build().ok()
            }
        }
    }

    fn next(self, at: &Zoned) -> Option<Zoned> {
        let span = jiff::Span::new();
        let span = match self {
            Self::Seconds(n) => span.seconds(n),
            Self::Minutes(n) => span.minutes(n),
            Self::Hours(n) => span.hours(n),
            Self::Days(n) => span.days(n),
            Self::Weeks(n) => span.weeks(n),
            Self::Months(n) => span.months(n),
            Self::Years(n) => span.years(n),
        };
        at.checked_add(span).ok()
    }

    /// The label of a place; the first one of an axis says also what all others share.
    fn label(self, at: &Zoned, first: bool) -> String {
        let midnight = at.hour() == 0 && at.minute() == 0 && at.second() == 0;
        let form = match self {
            Self::Seconds(_) if first => "%-d %b %H:%M:%S",
            Self::Seconds(_) => "%H:%M:%S",
            Self::Minutes(_) | Self::Hours(_) if first => "%-d %b %H:%M",
            Self::Minutes(_) | Self::Hours(_) if midnight => "%-d %b",
            Self::Minutes(_) | Self::Hours(_) => "%H:%M",
            Self::Days(_) | Self::Weeks(_) if first => "%-d %b %Y",
            Self::Days(_) | Self::Weeks(_) => "%-d %b",
            Self::Months(_) if first || at.month() == 1 => "%b %Y",
            Self::Months(_) => "%b",
            Self::Years(_) => "%Y",
        };
        at.strftime(form).to_string()
    }
}

/// Labels between two times (seconds since 1970), at most `most` of them.
pub fn ticks(from: f64, to: f64, most: usize) -> Vec<Tick> {
    let most = most.max(1);
    let step = STEPS.into_iter().find(|step| (to - from) / step.seconds() <= most as f64).unwrap_or(Step::Years(25));
    let Some(mut at) = zoned(from).and_then(|from| step.floor(&from)) else {
        return Vec::new();
    };
    let mut ticks = Vec::new();
    while ticks.len() <= most + 1 {
        let seconds = at.timestamp().as_second() as f64;
        if seconds > to {
            break;
        }
        if seconds >= from {
            ticks.push(Tick { at: seconds, label: step.label(&at, ticks.is_empty()) });
        }
        match step.next(&at) {
            Some(next) => at = next,
            None => break,
        }
    }
    ticks
}

fn zoned(seconds: f64) -> Option<Zoned> {
    #[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates, and jiff refuses what it cannot hold")]
    let seconds = seconds.floor() as i64;
    Some(Timestamp::from_second(seconds).ok()?.to_zoned(TimeZone::UTC))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(from: &str, to: &str, most: usize) -> Vec<String> {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_second() as f64;
        ticks(at(from), at(to), most).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn whole_units_of_the_calendar() {
        assert_eq!(labels("2026-11-21T02:13:27Z", "2026-11-21T02:22:00Z", 6), ["21 Nov 02:14", "02:16", "02:18", "02:20", "02:22"]);
        assert_eq!(labels("2026-11-20T20:00:00Z", "2026-11-21T04:00:00Z", 4), ["20 Nov 20:00", "22:00", "21 Nov", "02:00", "04:00"]);
        assert_eq!(labels("2026-11-14T08:00:00Z", "2026-11-21T08:00:00Z", 4), ["16 Nov 2026", "18 Nov", "20 Nov"]);
        assert_eq!(labels("2025-11-21T00:00:00Z", "2026-11-21T00:00:00Z", 6), ["Jan 2026", "Mar", "May", "Jul", "Sep", "Nov"]);
        assert_eq!(labels("2019-05-01T00:00:00Z", "2026-11-21T00:00:00Z", 4), ["2020", "2022", "2024", "2026"]);
    }

    #[test]
    fn ends_whatever_the_times() {
        assert_eq!(ticks(0.0, 0.0, 5).len(), 1);
        assert!(ticks(-1e18, 1e18, 5).is_empty());
        assert!(ticks(f64::NAN, 1.0, 5).len() <= 7);
        assert!(ticks(5.0, -5.0, 0).is_empty());
    }
}
