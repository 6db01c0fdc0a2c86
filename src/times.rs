//! Times as people write them in flags, settings and files.

use jiff::{Span, Timestamp, civil, tz::TimeZone};

/// Seconds since 1970 below this are more likely a number that was meant otherwise: it is 1973.
const LEAST_SECONDS: f64 = 1e8;

/// A point in time: RFC 3339, the same without a zone or a date alone (both taken for UTC), or seconds since 1970 (from 1973 on).
pub fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(civil) = text.parse::<civil::DateTime>() {
        return TimeZone::UTC.to_timestamp(civil).ok();
    }
    since_1970(text).filter(|_| text.parse::<f64>().is_ok_and(|seconds| seconds >= LEAST_SECONDS))
}

/// Seconds since 1970, to the nanosecond.
pub fn since_1970(text: &str) -> Option<Timestamp> {
    let seconds: f64 = text.trim().parse().ok().filter(|seconds: &f64| seconds.is_finite())?;
    // Nanoseconds of any time that jiff can hold fit an i128; a float beyond that saturates and is refused.
    Timestamp::from_nanosecond((seconds * 1e9) as i128).ok()
}

/// The time so long before `now`: `90d`, `2w`, `36h`, `30m`, `2 weeks`. `None` where the text is no length, or a negative one.
pub fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let span = text.trim().parse::<Span>().ok().filter(|span| !span.is_negative())?;
    now.to_zoned(TimeZone::UTC).checked_sub(span).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time() {
        for (text, expected) in [
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T08:00", "2026-11-01T08:00:00Z"),
            (" 2026-11-01 08:00:00 ", "2026-11-01T08:00:00Z"),
            ("2026-11-01T08:00:00+01:00", "2026-11-01T07:00:00Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000.5", "2023-11-14T22:13:20.5Z"),
        ] {
            assert_eq!(instant(text).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "7", "soon", "2026-13-01", "nan", "inf", "-5", "1e300"] {
            assert_eq!(instant(text), None, "{text}");
        }
        assert_eq!(since_1970("7").unwrap().to_string(), "1970-01-01T00:00:07Z");
    }

    #[test]
    fn so_long_ago() {
        let now: Timestamp = "2026-11-21T08:14:26Z".parse().unwrap();
        for (text, expected) in [
            ("7d", "2026-11-14T08:14:26Z"),
            ("12h", "2026-11-20T20:14:26Z"),
            ("30m", "2026-11-21T07:44:26Z"),
            ("2w", "2026-11-07T08:14:26Z"),
            ("0d", "2026-11-21T08:14:26Z"),
            ("2 weeks", "2026-11-07T08:14:26Z"),
        ] {
            assert_eq!(ago(text, now).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "d", "-7d", "7", "7ä", "2026-11-01", "99999999y", "99999999999999999999d"] {
            assert_eq!(ago(text, now), None, "{text}");
        }
    }
}
