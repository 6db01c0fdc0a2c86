//! Where the labels of an axis of durations stand, and in which unit.

/// An axis from zero to `top`.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueAxis {
    /// The end of the axis, in seconds.
    pub top: f64,
    /// Seconds in the unit of the labels.
    pub unit_seconds: f64,
    /// The unit.
    pub unit: &'static str,
    /// The labels: seconds, and the text without the unit.
    pub ticks: Vec<(f64, String)>,
}

/// An axis that holds values up to `largest` seconds, with about `wanted` labels.
pub fn axis(largest: f64, wanted: usize) -> ValueAxis {
    let largest = if largest.is_finite() && largest > 0.0 { largest.min(1e12) } else { 1.0 };
    let (unit_seconds, unit) = if largest >= 7200.0 {
        (3600.0, "h")
    } else if largest >= 90.0 {
        (60.0, "min")
    } else {
        (1.0, "s")
    };
    let rough = largest / unit_seconds / wanted.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough).unwrap_or(10.0 * power);
    let count = (largest / unit_seconds / step).floor().clamp(1.0, 20.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 12")]
    let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 20")]
    let ticks = (0..=count as usize).map(|n| (n as f64 * step * unit_seconds, format!("{:.decimals$}", n as f64 * step))).collect();
    ValueAxis { top: (1.04 * largest).max(count * step * unit_seconds), unit_seconds, unit, ticks }
}

impl ValueAxis {
    /// A value with the unit: `20.4 min`.
    pub fn text(&self, seconds: f64) -> String {
        let value = seconds / self.unit_seconds;
        let decimals = if value >= 100.0 { 0 } else { 1 };
        format!("{value:.decimals$} {}", self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_steps_in_a_unit_that_fits() {
        let labels = |largest: f64| {
            let axis = axis(largest, 4);
            (axis.unit, axis.ticks.into_iter().map(|tick| tick.1).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(labels(0.35), ("s", "0.0 0.1 0.2 0.3".to_owned()));
        assert_eq!(labels(14.0), ("s", "0 5 10".to_owned()));
        assert_eq!(labels(1240.0), ("min", "0 10 20".to_owned()));
        assert_eq!(labels(20_000.0), ("h", "0 2 4".to_owned()));
        assert_eq!(labels(0.0), labels(1.0));
        assert_eq!(labels(f64::NAN), labels(1.0));
        assert_eq!(axis(1240.0, 4).text(1224.0), "20.4 min");
    }
}
