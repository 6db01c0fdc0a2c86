//! Busy hours and quiet weekends: what the clock and the calendar explain is not a change.

use jiff::Timestamp;

use super::segment::median;

/// Fewest periods (days, weeks) that a pattern must be seen in.
const MIN_PERIODS: usize = 3;
/// Share of the periods whose busy builds must really lie on the pattern's side.
const CONSISTENT: f64 = 0.8;
/// Log likelihood that a pattern must gain beyond the price of choosing its window.
const MIN_GAIN: f64 = 6.0;
/// Patterns of the day that are looked for one after the other: a morning and an afternoon rush.
const DAILY_PATTERNS: usize = 2;
/// Seconds of a day.
const DAY: i64 = 86_400;

/// Takes the time-of-day and weekend effects out of log values, in place.
///
/// Each build is compared with the level of its own day (its own week), which a change moves only once. A daily
/// pattern is one window of hours of UTC with a common factor, the likeliest of all; a weekly one is Saturday and Sunday.
/// Nothing is taken out that did not recur on most of at least three days or weeks. `at` holds one time for each value.
pub(super) fn remove_patterns(values: &mut [f64], at: &[Timestamp]) {
    let seconds: Vec<i64> = at.iter().map(|at| at.as_second()).collect();
    // 1970-01-01 was a Thursday: three days later the first Monday-based week is full.
    let week: Vec<i64> = seconds.iter().map(|s| (s + 3 * DAY).div_euclid(7 * DAY)).collect();
    let weekend: Vec<bool> = seconds.iter().map(|s| (s + 3 * DAY).rem_euclid(7 * DAY) >= 5 * DAY).collect();
    if let Some(pattern) = Pattern::of(values, &week, &weekend) {
        pattern.remove(values, &weekend);
    }
    let day: Vec<i64> = seconds.iter().map(|s| s.div_euclid(DAY)).collect();
    let hour: Vec<i64> = seconds.iter().map(|s| s.rem_euclid(DAY) / 3600).collect();
    for _ in 0..DAILY_PATTERNS {
        let Some((from, length)) = likeliest_window(values, &day, &hour) else {
            return;
        };
        let busy: Vec<bool> = hour.iter().map(|h| (h - from).rem_euclid(24) < length).collect();
        match Pattern::of(values, &day, &busy) {
            Some(pattern) => pattern.remove(values, &busy),
            None => return,
        }
    }
}

/// Each value less the level of its time, winsorised at three robust standard deviations, with that standard deviation.
///
/// The level runs in straight lines through the medians of the periods: medians alone would leave a drift's share of each period
/// in the values, and the hours late in the day would look slow on every day.
fn centred(values: &[f64], period: &[i64]) -> Option<(Vec<f64>, f64)> {
    let mut knots: Vec<(f64, f64)> = Vec::new();
    let mut from = 0;
    // Times are sorted, so a period is one run.
    for run in period.chunk_by(|a, b| a == b) {
        let middle = from as f64 + (run.len() - 1) as f64 / 2.0;
        knots.push((middle, median(&values[from..from + run.len()])));
        from += run.len();
    }
    if knots.len() < MIN_PERIODS {
        return None;
    }
    let mut knot = 0;
    let mut centred: Vec<f64> = Vec::with_capacity(values.len());
    for (i, value) in values.iter().enumerate() {
        let x = i as f64;
        while knot + 2 < knots.len() && x > knots[knot + 1].0 {
            knot += 1;
        }
        let ((x0, y0), (x1, y1)) = (knots[knot], knots[knot + 1]);
        centred.push(value - y0 - (y1 - y0) * (x - x0) / (x1 - x0));
    }
    let sizes: Vec<f64> = centred.iter().map(|v| v.abs()).collect();
    let limit = 3.0 * 1.4826 * median(&sizes);
    if limit <= 0.0 {
        return None;
    }
    for v in &mut centred {
        *v = v.clamp(-limit, limit);
    }
    let variance = centred.iter().map(|v| v * v).sum::<f64>() / centred.len() as f64;
    Some((centred, variance.sqrt()))
}

/// Gain in log likelihood when the `n` values of sum `sum` get a mean of their own, among `all` values of sum `total`.
fn gain(n: f64, sum: f64, all: f64, total: f64, deviation: f64) -> f64 {
    let rest = all - n;
    if n < 1.0 || rest < 1.0 {
        return 0.0;
    }
    let difference = sum / n - (total - sum) / rest;
    // The deviation within the two groups: that of all values less what the difference itself makes up.
    let within = (deviation * deviation - n * rest / (all * all) * difference * difference).max(1e-12);
    0.5 * all * (deviation * deviation / within).ln()
}

/// The window of hours, as first hour and length, that explains most of the differences within days.
fn likeliest_window(values: &[f64], day: &[i64], hour: &[i64]) -> Option<(i64, i64)> {
    let (centred, deviation) = centred(values, day)?;
    let mut by_hour = [(0.0_f64, 0.0_f64); 24];
    for (&h, v) in hour.iter().zip(&centred) {
        let cell = by_hour.get_mut(usize::try_from(h).ok()?)?;
        cell.0 += 1.0;
        cell.1 += v;
    }
    let (all, total) = by_hour.iter().fold((0.0, 0.0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1));
    let mut best = (0.0, 0, 0);
    for from in 0..24_usize {
        let (mut n, mut sum) = (0.0, 0.0);
        for length in 1..=12_usize {
            let cell = by_hour[(from + length - 1) % 24];
            n += cell.0;
            sum += cell.1;
            let gain = gain(n, sum, all, total, deviation);
            if gain > best.0 {
                best = (gain, from, length);
            }
        }
    }
    // The price of choosing among 24 first hours and 12 lengths.
    let price = (24.0_f64 * 12.0).ln();
    (best.0 >= MIN_GAIN + price).then_some((best.1 as i64, best.2 as i64))
}

/// A common factor of some of the builds.
struct Pattern {
    effect: f64,
}

impl Pattern {
    /// The effect of `marked` builds within their periods, `None` where it is not proven or does not recur.
    fn of(values: &[f64], period: &[i64], marked: &[bool]) -> Option<Self> {
        let (centred, deviation) = centred(values, period)?;
        let (inside, outside) = (values_where(&centred, marked, true), values_where(&centred, marked, false));
        let sum: f64 = inside.iter().sum();
        let total = sum + outside.iter().sum::<f64>();
        let all = centred.len() as f64;
        if gain(inside.len() as f64, sum, all, total, deviation) < MIN_GAIN {
            return None;
        }
        let mut differences = Vec::new();
        let mut from = 0;
        for run in period.chunk_by(|a, b| a == b) {
            let range = from..from + run.len();
            from = range.end;
            let inside = values_where(&centred[range.clone()], &marked[range.clone()], true);
            let outside = values_where(&centred[range.clone()], &marked[range], false);
            if !inside.is_empty() && !outside.is_empty() {
                differences.push(median(&inside) - median(&outside));
            }
        }
        let effect = median(&differences);
        let agreeing = differences.iter().filter(|d| d.signum() == effect.signum()).count();
        let recurs = differences.len() >= MIN_PERIODS && agreeing as f64 >= CONSISTENT * differences.len() as f64;
        (recurs && effect != 0.0).then_some(Self { effect })
    }

    fn remove(&self, values: &mut [f64], marked: &[bool]) {
        for (value, _) in values.iter_mut().zip(marked).filter(|(_, marked)| **marked) {
            *value -= self.effect;
        }
    }
}

fn values_where(values: &[f64], marked: &[bool], wanted: bool) -> Vec<f64> {
    values.iter().zip(marked).filter(|(_, m)| **m == wanted).map(|(v, _)| *v).collect()
}
