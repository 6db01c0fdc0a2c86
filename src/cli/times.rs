//! Times of builds on the command line.

use super::error::CliError;

/// A time on the command line: RFC 3339, or seconds since 1970. `flag` names it in the message.
///
/// # Errors
/// The text is no time, or one at which nobody built: before 2013 there was no docker, and tomorrow has not been yet.
pub(super) fn time(flag: &str, text: Option<&str>) -> Result<Option<jiff::Timestamp>, CliError> {
    let Some(text) = text else { return Ok(None) };
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.abs() < 1e11);
    #[expect(clippy::cast_possible_truncation, reason = "the filter leaves at most 1e17 microseconds")]
    let seconds = seconds.and_then(|seconds| jiff::Timestamp::from_microsecond((seconds * 1e6) as i64).ok());
    let Some(at) = seconds.or_else(|| text.parse().ok()) else {
        return Err(CliError::Usage { what: format!("{flag} {text:?} is no time"), hint: "for example 2026-11-21T08:14:26Z" });
    };
    if is_plausible(at, jiff::Timestamp::now()) {
        return Ok(Some(at));
    }
    let hint = "give the time at which the build ran, for example 2026-11-21T08:14:26Z; it must lie between 2013 and tomorrow";
    Err(CliError::Usage { what: format!("{flag} {text:?} is {at}, when no build can have run"), hint })
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
        for wrong in ["0001-01-01T00:00:00Z", "9998-01-01T00:00:00Z", "yesterday", "-5", "1e300", "", "nan"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
