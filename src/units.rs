//! Durations and sizes for people.

/// Seconds as people say them: `0.3s`, `12.3s`, `2m 41s`, `1h 02m`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    // Rounded first, so that 59.96 is a minute and not "60.0s".
    let tenths = (seconds * 10.0).round().abs();
    if tenths < 600.0 {
        return format!("{:.1}s", tenths / 10.0);
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        return format!("{}m {:02}s", whole / 60, whole % 60);
    }
    let minutes = (seconds / 60.0).round() as u64;
    format!("{}h {:02}m", minutes / 60, minutes % 60)
}

/// A difference of seconds: `+9.7s`, `−1m 20s`, `±0.0s`.
pub fn signed(seconds: f64) -> String {
    // What is printed as nothing has no sign.
    let sign = match (seconds * 10.0).round() {
        tenths if tenths > 0.0 => "+",
        tenths if tenths < 0.0 => "−",
        _ => "±",
    };
    format!("{sign}{}", duration(seconds.abs()))
}

/// Bytes as BuildKit prints them: decimal units, three digits (`261 B`, `2.32 kB`, `548 MB`).
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A count and its noun: `1 step`, `12 steps`, `12,301 files`.
pub fn count(n: usize, noun: &str) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0.0, "0.0s"),
            (9.96, "10.0s"),
            (59.94, "59.9s"),
            (59.96, "1m 00s"),
            (161.4, "2m 41s"),
            (3599.6, "1h 00m"),
            (3725.0, "1h 02m"),
            (f64::NAN, "?"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn differences() {
        for (seconds, text) in [(9.7, "+9.7s"), (-80.0, "−1m 20s"), (0.04, "±0.0s"), (-0.04, "±0.0s"), (0.06, "+0.1s")] {
            assert_eq!(signed(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn counts() {
        assert_eq!(
            [count(1, "file"), count(0, "file"), count(999, "file"), count(12_301, "file"), count(1_000_000, "file")],
            ["1 file", "0 files", "999 files", "12,301 files", "1,000,000 files"]
        );
    }

    #[test]
    fn sizes() {
        for (size, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (2320, "2.32 kB"),
            (548_050_000, "548 MB"),
            (999_999, "1.00 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(size), text, "{size}");
        }
    }
}
