//! Times as CI systems print them in front of a line.

use jiff::{civil::DateTime, tz::TimeZone};

/// A point in time, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant {
    /// Nanoseconds since the Unix epoch, or since an unknown origin.
    pub nanoseconds: i128,
    /// True where the prefix named the time zone, so that the instant is known and not only the distance to others.
    pub absolute: bool,
}

impl Instant {
    /// Seconds from `earlier` to `self`; negative where the clock went back.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.nanoseconds - earlier.nanoseconds) as f64 / 1e9
    }
}

/// The forms of time that CI systems print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `2026-11-21T02:16:05.6709979Z`, with `Z` or an offset.
    Rfc3339,
    /// `2026-11-21 02:16:05`, `2026/11/21 02:16:05.123`: no zone.
    DateTime,
    /// `02:16:05`, `02:16:05.123`: no date.
    TimeOfDay,
    /// `Nov 21 02:16:05`: no year.
    Syslog,
    /// Thirteen digits: milliseconds since the epoch.
    EpochMilliseconds,
    /// `1700000000.123456` since the epoch, or `0.486623` since the start.
    Seconds,
}

impl Form {
    /// The length of a time of this form at the start of `text`, if there is one.
    pub fn length(self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Rfc3339 => {
                let clock = date(text, b"-")?;
                if text.get(clock) != Some(&b'T') {
                    return None;
                }
                let end = fraction(text, clock + 1 + time_of_day(text.get(clock + 1..)?)?);
                match text.get(end)? {
                    b'Z' => Some(end + 1),
                    b'+' | b'-' => matches(text.get(end + 1..)?, b"00:00").map(|n| end + 1 + n),
                    _ => None,
                }
            }
            Self::DateTime => {
                let clock = date(text, b"-").or_else(|| date(text, b"/"))?;
                if !matches!(text.get(clock), Some(b' ' | b'T')) {
                    return None;
                }
                Some(fraction(text, clock + 1 + time_of_day(text.get(clock + 1..)?)?))
            }
            Self::TimeOfDay => Some(fraction(text, time_of_day(text)?)),
            Self::Syslog => {
                month(text)?;
                let day = text.get(4..6)?;
                if text[3] != b' ' || !(day[0] == b' ' || day[0].is_ascii_digit()) || !day[1].is_ascii_digit() || text.get(6) != Some(&b' ')
                {
                    return None;
                }
                Some(fraction(text, 7 + time_of_day(&text[7..])?))
            }
            Self::EpochMilliseconds => {
                let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
                (digits == 13).then_some(13)
            }
            Self::Seconds => {
                let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
                let decimals = text.get(digits + 1..)?.iter().take_while(|b| b.is_ascii_digit()).count();
                // Six decimals and more: BuildKit's own times never have them, so the two cannot be confused.
                (digits > 0 && digits <= 10 && text[digits] == b'.' && decimals >= 6).then_some(digits + 1 + decimals)
            }
        }
    }

    /// Reads a time of this form; `text` is what [`Form::length`] measured.
    pub fn read(self, text: &[u8]) -> Option<Instant> {
        let text = std::str::from_utf8(text).ok()?;
        let relative = |civil: DateTime| {
            let instant = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
            Some(Instant { nanoseconds: instant.as_nanosecond(), absolute: false })
        };
        match self {
            Self::Rfc3339 => {
                let instant = match utc(text.as_bytes()) {
                    Some(instant) => instant,
                    None => text.parse().ok()?,
                };
                Some(Instant { nanoseconds: instant.as_nanosecond(), absolute: true })
            }
            Self::DateTime => relative(text.replace('/', "-").parse().ok()?),
            Self::TimeOfDay => relative(jiff::civil::date(1970, 1, 1).to_datetime(text.parse().ok()?)),
            Self::Syslog => {
                let month = i8::try_from(month(text.as_bytes())?).ok()?;
                let day = text.get(4..6)?.trim().parse().ok()?;
                // A leap year, so that 29 February is a date; only distances are used.
                let date = jiff::civil::Date::new(1972, month, day).ok()?;
                relative(date.to_datetime(text.get(7..)?.parse().ok()?))
            }
            Self::EpochMilliseconds => Some(Instant { nanoseconds: text.parse::<i128>().ok()? * 1_000_000, absolute: true }),
            Self::Seconds => {
                let (whole, decimals) = text.split_once('.')?;
                let nanoseconds: i128 = format!("{decimals:0<9}").get(..9)?.parse().ok()?;
                let absolute = whole.len() == 10;
                Some(Instant { nanoseconds: whole.parse::<i128>().ok()? * 1_000_000_000 + nanoseconds, absolute })
            }
        }
    }
}

/// Reads the form that nearly all CI systems print, `2026-11-21T02:16:05.6709979Z`, in a tenth of the time that a parser of everything
/// that RFC 3339 allows takes.
fn utc(text: &[u8]) -> Option<jiff::Timestamp> {
    let (clock, fraction) = text.strip_suffix(b"Z")?.split_first_chunk::<19>()?;
    matches(clock, b"0000-00-00T00:00:00")?;
    let number = |from: usize, to: usize| clock[from..to].iter().fold(0, |number, digit| number * 10 + i16::from(digit - b'0'));
    let pair = |from: usize| number(from, from + 2) as i8;
    let nanoseconds = match fraction {
        [] => 0,
        [b'.', digits @ ..] if matches!(digits.len(), 1..=9) && digits.iter().all(u8::is_ascii_digit) => {
            let value = digits.iter().fold(0, |number, digit| number * 10 + i32::from(digit - b'0'));
            value * 10_i32.pow(9 - digits.len() as u32)
        }
        _ => return None,
    };
    let time = DateTime::new(number(0, 4), pair(5), pair(8), pair(11), pair(14), pair(17), nanoseconds).ok()?;
    jiff::tz::Offset::UTC.to_timestamp(time).ok()
}

/// All forms, the longest and most certain first.
pub const FORMS: [Form; 6] = [Form::Rfc3339, Form::DateTime, Form::Syslog, Form::TimeOfDay, Form::EpochMilliseconds, Form::Seconds];

/// Matches `text` against a template where `0` stands for any digit; returns the template's length.
fn matches(text: &[u8], template: &[u8]) -> Option<usize> {
    let head = text.get(..template.len())?;
    let fits = head.iter().zip(template).all(|(b, t)| if *t == b'0' { b.is_ascii_digit() } else { b == t });
    fits.then_some(template.len())
}

fn date(text: &[u8], separator: &[u8; 1]) -> Option<usize> {
    let mut template = *b"0000-00-00";
    (template[4], template[7]) = (separator[0], separator[0]);
    matches(text, &template)
}

fn time_of_day(text: &[u8]) -> Option<usize> {
    matches(text, b"00:00:00")
}

/// The end of an optional fraction (`.123`, `,123`) that starts at `at`.
fn fraction(text: &[u8], at: usize) -> usize {
    if !matches!(text.get(at), Some(b'.' | b',')) {
        return at;
    }
    match text[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count() {
        0 => at,
        digits => at + 1 + digits,
    }
}

fn month(text: &[u8]) -> Option<usize> {
    const MONTHS: [&[u8]; 12] = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let name = text.get(..3)?;
    MONTHS.iter().position(|m| *m == name).map(|n| n + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Form, usize, Instant)> {
        FORMS.iter().find_map(|form| {
            let length = form.length(text.as_bytes())?;
            Some((*form, length, form.read(&text.as_bytes()[..length])?))
        })
    }

    #[test]
    fn every_form_is_told_apart() {
        for (text, form, length) in [
            ("2026-11-21T02:16:05.6709979Z #0", Form::Rfc3339, 28),
            ("2026-11-21T02:16:05+01:00 x", Form::Rfc3339, 25),
            ("2026-11-21 02:16:08 #0", Form::DateTime, 19),
            ("2026/01/02 03:04:05.123456 Running", Form::DateTime, 26),
            ("02:16:08  #1", Form::TimeOfDay, 8),
            ("Nov  1 02:16:08 host", Form::Syslog, 15),
            ("1795227366446\x07", Form::EpochMilliseconds, 13),
            ("0.486623 #0", Form::Seconds, 8),
            ("1700000000.123456 #0", Form::Seconds, 17),
        ] {
            let (found, n, _) = read(text).unwrap();
            assert_eq!((found, n), (form, length), "{text}");
        }
        assert_eq!(read("0.123 #0"), None, "three decimals are BuildKit's own");
        assert_eq!(read("12:34 x"), None);
    }

    #[test]
    fn the_short_way_reads_what_the_long_way_reads() {
        for text in ["2026-11-21T02:16:05Z", "2026-02-28T23:59:59.6709979Z", "1969-12-31T23:59:59.123456789Z", "2024-02-29T00:00:00.0Z"] {
            assert_eq!(utc(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in
            ["2026-02-30T00:00:00Z", "2026-11-21T24:00:00Z", "2026-11-21T02:16:05.Z", "2026-11-21T02:16:05+01:00", "2026-11-21T02:16:05.1x"]
        {
            assert_eq!(utc(text.as_bytes()), None, "{text}");
        }
        assert!(read("2016-12-31T23:59:60Z").is_some(), "a leap second is left to the long way");
    }

    #[test]
    fn distances_are_exact() {
        let seconds = |a: &str, b: &str| read(b).unwrap().2.seconds_since(read(a).unwrap().2);
        assert_eq!(seconds("2026-11-21T02:16:05.5Z", "2026-11-21T03:16:07.75+01:00"), 2.25);
        assert_eq!(seconds("0.069787", "1.569787"), 1.5);
        assert_eq!(seconds("Nov 30 23:59:59", "Dec  1 00:00:01"), 2.0);
        assert!(read("1700000000.000001").unwrap().2.absolute);
        assert!(!read("5.000001").unwrap().2.absolute);
    }
}
