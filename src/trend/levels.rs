//! The changes of a measured series: [`super::change_point`] with builds that did nothing kept apart from those that did something.

use std::convert::Infallible;

use super::{
    change_point::{Change, Direction, State, detect},
    ledger::{Measured, Metric},
    series::Series,
};
use crate::workers;

/// Which builds a change was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Among {
    /// All of them.
    All,
    /// Those in which a command ran. The others are answered by the cache altogether, and how many of them there are is a matter of what
    /// people commit.
    Executed,
}

/// A change of a measured series. Its places count all points, its levels are those of the builds that it was found in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The change.
    pub change: Change,
    /// The builds that it was found in.
    pub among: Among,
}

/// Share of builds without work from which on they are kept apart.
const APART: f64 = 0.2;
/// Share of builds with work, at most on one side and at least on the other, for which the work itself is the change.
const WORK: (f64, f64) = (0.2, 0.8);
/// Places of two changes that are one.
const NEAR: usize = 3;

/// Finds the lasting changes of several series, several at a time.
pub fn find_all(measured: &[Measured], min_ratio: f64) -> Vec<Vec<Found>> {
    let mut found = vec![Vec::new(); measured.len()];
    let Ok(()) = workers::each(
        measured,
        |series| find(series, min_ratio),
        |at, changes| -> Result<(), Infallible> {
            found[at] = changes;
            Ok(())
        },
    );
    found
}

/// Finds the lasting changes.
pub fn find(measured: &Measured, min_ratio: f64) -> Vec<Found> {
    let settings = measured.metric.settings(min_ratio);
    let all = detect(&measured.series, &settings);
    let points = measured.series.points();
    let working: Vec<usize> = (0..points.len()).filter(|at| measured.ran.get(*at).copied().unwrap_or(true)).collect();
    let idle = points.len() - working.len();
    if measured.metric != Metric::Duration || (idle as f64) < APART * points.len() as f64 || idle == 0 {
        return all.into_iter().map(|change| Found { change, among: Among::All }).collect();
    }
    let chosen = working.iter().filter_map(|at| points.get(*at).cloned()).collect();
    let executed = Series::new(chosen).map(|series| detect(&series, &settings)).unwrap_or_default();
    let mut found: Vec<Found> =
        executed.into_iter().map(|change| Found { change: placed(change, &working), among: Among::Executed }).collect();
    for (at, change) in all.iter().enumerate() {
        let from = at.checked_sub(1).map_or(0, |before| all[before].index);
        let to = all.get(at + 1).map_or(points.len(), |next| next.index);
        let share = |range: std::ops::Range<usize>| {
            let size = range.len().max(1) as f64;
            working.iter().filter(|at| range.contains(at)).count() as f64 / size
        };
        let (before, after) = (share(from..change.index), share(change.index..to));
        let moved = before.min(after) <= WORK.0 && before.max(after) >= WORK.1;
        let known = found.iter().any(|other| other.change.index.abs_diff(change.index) <= NEAR);
        if moved && !known {
            found.push(Found { change: *change, among: Among::All });
        }
    }
    found.sort_by_key(|found| found.change.index);
    found
}

/// The places of a change among some of the points, counted among all. What lies between two of them may be the place too.
fn placed(mut change: Change, at: &[usize]) -> Change {
    let place = |index: usize| at.get(index).copied().unwrap_or(index);
    change.earliest = change.earliest.checked_sub(1).map_or(0, |before| place(before) + 1);
    change.latest = place(change.latest);
    change.index = place(change.index);
    change
}

/// Share of a jump, in logarithms, of which at least this much must be left for it to hold: levels that are back where they were never are
/// so to the last second.
const LEFT: f64 = 0.25;

/// The change that makes a series slower than it was and that still holds, if there is one: confirmed, not accepted, and not taken back
/// by later ones but for a quarter. A change that was accepted is the new normal, so what came before it does not count.
pub fn regression<'c>(found: &'c [Found], accepted: &dyn Fn(&Found) -> bool, min_ratio: f64) -> Option<&'c Found> {
    let from = found.iter().rposition(accepted).map_or(0, |at| at + 1);
    let now = found.last()?.change.after;
    found[from..].iter().find(|found| {
        let change = &found.change;
        let left = (now / change.before).ln();
        let still = left >= min_ratio.max(1.0).ln() && change.ratio.is_none_or(|ratio| left >= LEFT * ratio.ln());
        change.direction == Direction::Slower && change.state == State::Confirmed && still
    })
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::trend::{ledger::LeftOut, series::Point};

    fn measured(values: &[(f64, bool)]) -> Measured {
        let points = values.iter().enumerate().map(|(i, (value, _))| Point {
            at: Timestamp::from_second(1_772_409_600).unwrap() + SignedDuration::from_mins(i as i64 * 50),
            run: Some(format!("r{i}")),
            commit: Some(format!("c{i}")),
            value: *value,
        });
        Measured {
            project: "p".to_owned(),
            target: None,
            step: None,
            metric: Metric::Duration,
            series: Series::new(points.collect()).unwrap(),
            ran: values.iter().map(|value| value.1).collect(),
            left_out: LeftOut::default(),
        }
    }

    /// A little unevenness, the same every time.
    fn wobble(i: usize) -> f64 {
        1.0 + 0.02 * ((i * 7) % 5) as f64
    }

    fn mix(n: usize, works: impl Fn(usize) -> bool, level: impl Fn(usize) -> f64) -> Measured {
        let value = |i: usize| if works(i) { (level(i) * wobble(i), true) } else { (0.8 * wobble(i), false) };
        measured(&(0..n).map(value).collect::<Vec<_>>())
    }

    #[test]
    fn what_people_commit_is_no_change() {
        // First every fourth build has something to do, then three of four: nothing became slower.
        let series = mix(80, |i| if i < 40 { i % 4 == 0 } else { i % 4 != 0 }, |_| 120.0);
        assert_eq!(find(&series, 1.1), []);
        assert_ne!(detect(&series.series, &Metric::Duration.settings(1.1)), [], "the split is what makes the difference");
    }

    #[test]
    fn slower_work_is_found_between_builds_that_did_nothing() {
        let series = mix(120, |i| i % 3 == 0, |i| if i < 60 { 120.0 } else { 240.0 });
        let found = find(&series, 1.1);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].change.index, found[0].among), (60, Among::Executed));
        assert!((found[0].change.ratio.unwrap() - 2.0).abs() < 0.1);
        // The builds 58 and 59 did nothing, so their commits are suspects too.
        assert_eq!(found[0].change.suspects(&series.series).unwrap(), "c57..c60");
    }

    #[test]
    fn builds_that_all_begin_to_work_are_a_change() {
        let series = mix(60, |i| i >= 30, |_| 13.0);
        let found = find(&series, 1.1);
        assert_eq!(found.iter().map(|found| (found.change.index, found.among)).collect::<Vec<_>>(), [(30, Among::All)]);
    }

    #[test]
    fn one_cold_build_is_no_change() {
        let series = mix(60, |_| true, |i| if i == 30 { 900.0 } else { 120.0 });
        assert_eq!(find(&series, 1.1), []);
    }

    #[test]
    fn a_regression_holds_until_it_is_taken_back_or_accepted() {
        let never = |_: &Found| false;
        let slower = find(&mix(60, |_| true, |i| if i < 30 { 100.0 } else { 300.0 }), 1.1);
        assert_eq!(regression(&slower, &never, 1.1).map(|found| found.change.index), Some(30));
        assert_eq!(regression(&slower, &|_| true, 1.1), None);
        let back = find(&mix(90, |_| true, |i| if (30..60).contains(&i) { 300.0 } else { 100.0 }), 1.1);
        assert_eq!(back.len(), 2);
        assert_eq!(regression(&back, &never, 1.1), None);
        let partly = find(
            &mix(
                90,
                |_| true,
                |i| {
                    if i < 30 {
                        100.0
                    } else if i < 60 {
                        300.0
                    } else {
                        200.0
                    }
                },
            ),
            1.1,
        );
        assert_eq!(regression(&partly, &never, 1.1).map(|found| found.change.index), Some(30), "still twice as slow");
        assert_eq!(regression(&partly, &|found| found.change.index == 60, 1.1), None);
        let nearly = find(
            &mix(
                90,
                |_| true,
                |i| {
                    if i < 30 {
                        100.0
                    } else if i < 60 {
                        600.0
                    } else {
                        115.0
                    }
                },
            ),
            1.1,
        );
        assert_eq!(regression(&nearly, &never, 1.1), None, "it is back, as far as anybody can tell");
    }
}
