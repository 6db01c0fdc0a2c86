//! Lasting changes of the build time, as a reader of the report meets them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::window::{Window, date};
use crate::{
    build::Outcome,
    history::rows::{BuildRow, RunRow},
    trend::{
        change_point::{Change, Direction, State},
        series::{Point, Series},
    },
};

/// Targets whose own series are shown beside that of the whole runs.
const MOST_TARGETS: usize = 6;

/// A series with its changes, as they were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The bake or compose target; `None` for whole runs.
    pub target: Option<String>,
    /// Seconds over time.
    pub series: Series,
    /// Its changes, and what explains each.
    pub changes: Vec<(Change, Explanation)>,
}

/// What explains a change.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Explanation {
    /// The steps that make it up, the largest first.
    pub steps: Vec<StepShare>,
    /// What else changed with it, a sentence each.
    pub reasons: Vec<String>,
}

/// What one step has in a change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepShare {
    /// The step.
    pub name: String,
    /// Seconds by which it got slower (negative: faster).
    pub delta_seconds: f64,
    /// Share of its uses that the cache answered before.
    pub cache_hit_before: Option<f64>,
    /// The same after.
    pub cache_hit_after: Option<f64>,
}

/// A series of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct TrendSeries {
    /// The bake or compose target; `None` for whole runs.
    pub target: Option<String>,
    /// What a chart of it says.
    pub headline: String,
    /// Seconds over time.
    pub series: Series,
    /// Its changes.
    pub shifts: Vec<Shift>,
}

/// A lasting change.
#[derive(Debug, Clone, PartialEq)]
pub struct Shift {
    /// As it was found.
    pub change: Change,
    /// The time of the first run of the new level.
    pub at: Timestamp,
    /// That run.
    pub run: Option<String>,
    /// Its commit.
    pub commit: Option<String>,
    /// The commits that may have made it, as a range for `git log`.
    pub suspects: Option<String>,
    /// The finding: `backend builds take 20.4 min instead of 2.6 since 3 March`.
    pub headline: String,
    /// True where it began in the window.
    pub new: bool,
    /// True where no later change ended it.
    pub in_effect: bool,
    /// What explains it.
    pub explanation: Explanation,
}

impl Shift {
    /// True where builds got slower by it, certainly, and still are.
    pub fn is_lasting_regression(&self) -> bool {
        self.in_effect && self.change.direction == Direction::Slower
    }
}

/// The durations of runs and of their targets over time: of those that succeeded, for one that failed ends early.
pub fn durations(runs: &[RunRow], builds: &[BuildRow]) -> Vec<(Option<String>, Series)> {
    let mut points: BTreeMap<Option<&str>, Vec<Point>> = BTreeMap::new();
    let mut add = |target, run: &RunRow, seconds: f64| {
        if seconds.is_finite() && seconds >= 0.0 {
            points.entry(target).or_default().push(Point { at: run.at, run: Some(run.run.clone()), commit: run.commit.clone(), value: seconds });
        }
    };
    let succeeded = runs.iter().filter(|run| run.outcome == Outcome::Succeeded);
    let by_run: std::collections::HashMap<&str, &RunRow> = succeeded.map(|run| (run.run.as_str(), run)).collect();
    for run in by_run.values() {
        if let Some(seconds) = run.seconds {
            add(None, run, seconds);
        }
    }
    for build in builds {
        if let (Some(target), Some(run), Some(seconds)) = (build.target.as_deref(), by_run.get(build.run.as_str()), build.seconds) {
            add(Some(target), run, seconds);
        }
    }
    let series = |(target, mut points): (Option<&str>, Vec<Point>)| {
        points.sort_by(|a, b| (a.at, &a.run).cmp(&(b.at, &b.run)));
        Some((target.map(str::to_owned), Series::new(points).ok()?))
    };
    points.into_iter().filter_map(series).collect()
}

/// Turns what was found into what is shown: the whole runs, and the targets with a change that is new or in effect.
pub fn series(window: &Window, measured: Vec<Measured>) -> Vec<TrendSeries> {
    let mut all: Vec<TrendSeries> = measured.into_iter().map(|measured| shown(window, measured)).collect();
    // A build with one target tells the same story twice.
    let targets = all.iter().filter(|series| series.target.is_some()).count();
    all.retain(|series| match &series.target {
        None => true,
        Some(_) => targets > 1 && series.shifts.iter().any(|shift| shift.new || shift.is_lasting_regression()),
    });
    all.sort_by(|a, b| a.target.is_some().cmp(&b.target.is_some()).then_with(|| size(b).total_cmp(&size(a))));
    all.truncate(MOST_TARGETS + 1);
    all
}

fn size(series: &TrendSeries) -> f64 {
    series.shifts.iter().filter(|shift| shift.new || shift.in_effect).map(|shift| (shift.change.after - shift.change.before).abs()).sum()
}

fn shown(window: &Window, measured: Measured) -> TrendSeries {
    let Measured { target, series, changes } = measured;
    let points = series.points();
    let count = changes.len();
    let short = points.first().zip(points.last()).is_some_and(|(first, last)| last.at.as_second() - first.at.as_second() < 3 * 86_400);
    let shifts: Vec<Shift> = changes
        .into_iter()
        .enumerate()
        .filter_map(|(n, (change, explanation))| {
            let point = points.get(change.index)?;
            Some(Shift {
                change,
                at: point.at,
                run: point.run.clone(),
                commit: point.commit.clone(),
                suspects: change.suspects(&series),
                headline: finding(target.as_deref(), &change, &since(point.at, window, short)),
                new: window.contains(point.at),
                in_effect: n + 1 == count,
                explanation,
            })
        })
        .collect();
    let who = target.as_deref().map_or_else(|| "Builds".to_owned(), |target| format!("{target} builds"));
    let headline = match shifts.iter().rev().find(|shift| shift.in_effect) {
        Some(shift) => shift.headline.clone(),
        None => match points.first() {
            Some(first) => format!("{who} take as long as they did {}", since(first.at, window, short).replacen("since", "on", 1)),
            None => format!("No times of {}", who.to_lowercase()),
        },
    };
    TrendSeries { target, headline, series, shifts }
}

/// `since 3 March`, with the year where it is another one, and with the hour where days do not tell builds apart.
fn since(at: Timestamp, window: &Window, short: bool) -> String {
    let form = match (short, date(at).year() == date(window.to).year()) {
        (true, _) => "since %-d %B %H:%M UTC",
        (false, true) => "since %-d %B",
        (false, false) => "since %-d %B %Y",
    };
    at.strftime(form).to_string()
}

fn finding(target: Option<&str>, change: &Change, since: &str) -> String {
    let who = target.map_or_else(|| "Builds".to_owned(), |target| format!("{target} builds"));
    let may = if change.state == State::Suspected { " seem to take" } else { " take" };
    format!("{who}{may} {} {since}", instead(change.after, change.before))
}

/// Two durations in one unit: `20.4 min instead of 2.6`.
pub fn instead(now: f64, then: f64) -> String {
    let larger = now.max(then);
    let (by, unit) = if larger >= 7200.0 {
        (3600.0, "h")
    } else if larger >= 90.0 {
        (60.0, "min")
    } else {
        (1.0, "s")
    };
    format!("{:.1} {unit} instead of {:.1}", now / by, then / by)
}

/// The change that a report opens with: a lasting regression, else one that began in the window; of the whole runs before targets.
pub fn of_note(series: &[TrendSeries]) -> Option<&Shift> {
    let all = || series.iter().flat_map(|series| &series.shifts);
    all().find(|shift| shift.is_lasting_regression()).or_else(|| all().find(|shift| shift.new && shift.in_effect))
}
