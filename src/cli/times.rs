//! Times of builds on the command line.

use super::error::CliError;
use crate::times;

/// A time at which a build ran, as [`times::instant`] reads it. `flag` names it in the message.
///
/// # Errors
/// The text is no time, or one at which nobody built: before 2013 there was no docker, and tomorrow has not been yet.
pub(super) fn time(flag: &str, text: Option<&str>) -> Result<Option<jiff::Timestamp>, CliError> {
    let Some(text) = text else { return Ok(None) };
    let Some(at) = times::instant(text) else {
        return Err(CliError::Usage {
            what: format!("{flag} {text:?} is no time"),
            hint: "for example 2026-11-21T08:14:26Z or 2026-11-21",
        });
    };
    if is_plausible(at, jiff::Timestamp::now()) {
        return Ok(Some(at));
    }
    let hint = "give the time at which the build ran, for example 2026-11-21T08:14:26Z; it must lie between 2013 and tomorrow";
    Err(CliError::Usage { what: format!("{flag} {text:?} is {at}, when no build can have run"), hint })
}

/// A point in time that a flag names: so long ago, a day (its beginning in UTC), or a time.
///
/// # Errors
/// The text is none of these.
pub(super) fn ago_or_time(flag: &str, text: &str, now: jiff::Timestamp) -> Result<jiff::Timestamp, CliError> {
    times::ago(text, now).or_else(|| times::instant(text)).ok_or_else(|| CliError::Usage {
        what: format!("{flag} {text:?} is no time"),
        hint: "for example 7d, 12h, 2026-11-01 or 2026-11-01T08:00:00Z",
    })
}

/// Whether a build can have run at a time: docker came in March 2013, and a clock may be a day ahead.
pub(super) fn is_plausible(at: jiff::Timestamp, now: jiff::Timestamp) -> bool {
    const FIRST_SECOND: i64 = 1_356_998_400;
    const A_DAY: i64 = 86_400;
    at.as_second() >= FIRST_SECOND && at.as_second() <= now.as_second().saturating_add(A_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_builds() {
        let read = |text: &str| time("--started-at", Some(text));
        assert_eq!(read("2026-03-29T02:30:00+02:00").unwrap().unwrap().to_string(), "2026-03-29T00:30:00Z");
        assert_eq!(read("1700000000").unwrap().unwrap().to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(read("2026-03-29").unwrap().unwrap().to_string(), "2026-03-29T00:00:00Z");
        for wrong in ["0001-01-01T00:00:00Z", "9998-01-01T00:00:00Z", "yesterday", "-5", "1e300", "", "nan"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        assert_eq!(ago_or_time("--since", "7d", now).unwrap().to_string(), "2026-11-14T12:00:00Z");
        assert_eq!(ago_or_time("--since", "2026-11-01", now).unwrap().to_string(), "2026-11-01T00:00:00Z");
        assert!(ago_or_time("--since", "7", now).is_err());
    }
}
