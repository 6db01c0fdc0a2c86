//! Times of builds: how long, from which source, and which steps everything waited for.

use super::{Build, Instant, Kind, Status, Step};

/// The total time of a build.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Duration {
    /// Seconds.
    pub seconds: f64,
    /// Where they come from.
    pub source: DurationSource,
}

/// Where a duration comes from, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationSource {
    /// The exact times of rawjson.
    RawJson,
    /// Measured while the log was read live.
    Live,
    /// The times that a CI system put before the lines.
    Timestamps,
    /// A lower bound, from the seconds of the steps; or what the terminal showed.
    Estimate,
}

/// Seconds from the first to the last of two times. Times without a date go around at midnight.
pub fn seconds_between(first: Instant, last: Instant) -> f64 {
    const DAY: f64 = 86_400.0;
    let seconds = last.seconds_since(first);
    // A clock that was set back a little is no midnight.
    (if seconds < -DAY / 2.0 && !first.absolute { seconds + DAY } else { seconds }).max(0.0)
}

/// The least time that a build can have taken, from the seconds of its steps.
///
/// Steps of one stage run one after another, stages may run side by side, and exports come after everything. So the longest stage
/// plus the exports is a lower bound: nothing in a plain log says what waited for what.
pub fn estimate(steps: &[Step]) -> Option<f64> {
    type Stage<'a> = [&'a Option<String>; 3];
    let mut stages: Vec<(Stage<'_>, f64)> = Vec::new();
    let (mut single, mut exports, mut any) = (0.0_f64, 0.0, false);
    for step in steps {
        let Some(seconds) = step.seconds else {
            continue;
        };
        any = true;
        match step.parts.kind {
            Kind::Instruction => {
                let key = [&step.parts.target, &step.parts.platform, &step.parts.stage];
                match stages.iter_mut().find(|(stage, _)| *stage == key) {
                    Some((_, sum)) => *sum += seconds,
                    None => stages.push((key, seconds)),
                }
            }
            Kind::Export | Kind::CacheExport => exports += seconds,
            _ => single = single.max(seconds),
        }
    }
    let longest = stages.iter().map(|(_, sum)| *sum).fold(single, f64::max);
    any.then_some(longest + exports)
}

/// The steps that everything waited for, in their order, as positions in [`Build::steps`]. `None` where the log has no times.
///
/// Starting from the step that ended last, it goes back to the step that ended last before that one began, and so on. A log names
/// no dependencies; a step that ended right before another began is what that one most probably waited for.
pub fn critical_path(build: &Build) -> Option<Vec<usize>> {
    /// Times in CI prefixes are those of printing; two lines of one moment can be this far apart.
    const SLACK_SECONDS: f64 = 0.15;
    let mut spans: Vec<(usize, Instant, Instant)> = Vec::new();
    for (position, step) in build.steps.iter().enumerate() {
        if let Some((from, to)) = step.span
            && step.status != Status::Cached
        {
            spans.push((position, from, to));
        }
    }
    let (last, mut begin, _) = *spans.iter().max_by_key(|(_, _, to)| *to)?;
    let mut path = vec![last];
    while let Some((position, from, _)) = spans
        .iter()
        .filter(|(position, from, to)| !path.contains(position) && *from < begin && begin.seconds_since(*to) > -SLACK_SECONDS)
        .max_by_key(|(_, _, to)| *to)
    {
        path.push(*position);
        begin = *from;
    }
    path.reverse();
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i128, absolute: bool) -> Instant {
        Instant { nanoseconds: seconds * 1_000_000_000, absolute }
    }

    #[test]
    fn a_day_without_a_date_goes_around() {
        assert_eq!(seconds_between(at(86_390, false), at(10, false)), 20.0);
        assert_eq!(seconds_between(at(100, false), at(99, false)), 0.0);
        assert_eq!(seconds_between(at(100, true), at(99, true)), 0.0);
        assert_eq!(seconds_between(at(1, true), at(61, true)), 60.0);
        assert_eq!(seconds_between(at(90_000_000, false), at(1, false)), 0.0, "times of two kinds");
    }
}
