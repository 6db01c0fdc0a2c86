//! Lasting changes of the build time, as a reader of the report meets them.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    advice::is_plain,
    window::{Window, date},
};
use crate::{
    evidence::commit::short,
    report::trend_words,
    trend::{
        analysis::{Told, ToldChange},
        change_point::{Change, Direction, State},
        ledger::Metric,
        series::Series,
    },
};

/// Targets whose own series are shown beside that of the whole runs.
const MOST_TARGETS: usize = 6;

/// Steps that make up less of a change are not listed.
const LEAST_SHARE: f64 = 0.03;

/// What explains a change.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Explanation {
    /// The steps that make it up, the largest first.
    pub steps: Vec<StepShare>,
    /// What else came and went in the logs with it, a clause each.
    pub reasons: Vec<String>,
    /// The main step and the reasons in a sentence; empty where nothing is known.
    pub why: String,
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
    /// The commits that may have made it, as a range for `git log`; not where they are no plain names.
    pub suspects: Option<String>,
    /// The level, in seconds: that of the last change where this one is a regression that holds, else its own.
    pub now: f64,
    /// The finding: `backend builds take 20.4 min instead of 2.6 since 3 March`.
    pub headline: String,
    /// True where it began in the window.
    pub new: bool,
    /// True where no later change ended it.
    pub in_effect: bool,
    /// True where builds got slower by it and still are, for certain, and nobody accepted that.
    pub regression: bool,
    /// Why it is accepted, if it is.
    pub accepted: Option<String>,
    /// What explains it.
    pub explanation: Explanation,
}

impl Shift {
    /// True where a report of the window must speak of it.
    pub fn is_of_note(&self) -> bool {
        self.regression || (self.accepted.is_none() && (self.new || (self.in_effect && self.is_slower() && self.is_suspected())))
    }

    /// True where builds got slower by it.
    pub fn is_slower(&self) -> bool {
        self.change.direction == Direction::Slower
    }

    /// True where a few more builds will tell.
    pub fn is_suspected(&self) -> bool {
        self.change.state == State::Suspected
    }
}

/// Turns what was found into what is shown: the whole runs, and the targets with a change worth telling. `told` are series of durations.
pub fn series(window: &Window, told: &[Told]) -> Vec<TrendSeries> {
    let durations = told.iter().filter(|told| told.measured.metric == Metric::Duration && told.measured.step.is_none());
    let mut all: Vec<TrendSeries> = durations.map(|told| shown(window, told)).collect();
    // A build with one target tells the same story twice.
    let targets = all.iter().filter(|series| series.target.is_some()).count();
    all.retain(|series| match &series.target {
        None => !series.series.points().is_empty(),
        Some(_) => targets > 1 && series.shifts.iter().any(Shift::is_of_note),
    });
    all.sort_by(|a, b| a.target.is_some().cmp(&b.target.is_some()).then_with(|| size(b).total_cmp(&size(a))));
    all.truncate(MOST_TARGETS + 1);
    all
}

fn size(series: &TrendSeries) -> f64 {
    series.shifts.iter().filter(|shift| shift.is_of_note()).map(|shift| (shift.change.after - shift.change.before).abs()).sum()
}

fn shown(window: &Window, told: &Told) -> TrendSeries {
    let (target, series) = (told.measured.target.clone(), told.measured.series.clone());
    let points = series.points();
    let short = points.first().zip(points.last()).is_some_and(|(first, last)| last.at.as_second() - first.at.as_second() < 3 * 86_400);
    let shift = |(n, told_change): (usize, &ToldChange)| {
        let change = told_change.found.change;
        let regression = told.regression == Some(n);
        // A regression that was taken back in part is told by what builds take now.
        let now = told.changes.last().filter(|_| regression).map_or(change.after, |last| last.found.change.after);
        let point = points.get(change.index)?;
        Some(Shift {
            change,
            at: point.at,
            run: point.run.clone(),
            commit: point.commit.clone(),
            suspects: change.suspects(&series).filter(|range| is_plain(range)).map(|range| shortened(&range)),
            now,
            headline: finding(target.as_deref(), &Change { after: now, ..change }, &since(point.at, window, short)),
            new: window.contains(point.at),
            in_effect: n + 1 == told.changes.len(),
            regression,
            accepted: told_change.accepted.clone(),
            explanation: explanation(told, told_change),
        })
    };
    let shifts: Vec<Shift> = told.changes.iter().enumerate().filter_map(shift).collect();
    let who = target.as_deref().map_or_else(|| "Builds".to_owned(), |target| format!("{target} builds"));
    let headline = match shifts.iter().find(|shift| shift.regression).or_else(|| shifts.last()) {
        Some(shift) => shift.headline.clone(),
        None => match points.first() {
            Some(first) => format!("{who} take as long as they did {}", since(first.at, window, short).replacen("since", "on", 1)),
            None => format!("No times of {}", who.to_lowercase()),
        },
    };
    TrendSeries { target, headline, series, shifts }
}

fn explanation(told: &Told, change: &ToldChange) -> Explanation {
    let attribution = &change.attribution;
    let why = trend_words::why(&told.measured, change, &str::to_owned);
    let least = LEAST_SHARE * (change.found.change.after - change.found.change.before).abs();
    let steps = attribution.steps.iter().filter(|step| step.delta().abs() >= least).map(|step| StepShare {
        name: step.name.clone(),
        delta_seconds: step.delta(),
        cache_hit_before: step.hits.0,
        cache_hit_after: step.hits.1,
    });
    Explanation {
        steps: steps.collect(),
        reasons: attribution.signs.iter().map(|sign| trend_words::sign_text(sign, &str::to_owned)).collect(),
        why,
    }
}

/// A range of commits as git shows them.
fn shortened(range: &str) -> String {
    range.split("..").map(short).collect::<Vec<_>>().join("..")
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

/// The change that a report opens with: a regression that holds, else one that began in the window and is not over; of whole runs before targets.
pub fn of_note(series: &[TrendSeries]) -> Option<&Shift> {
    let all = || series.iter().flat_map(|series| &series.shifts).filter(|shift| shift.is_of_note());
    all().find(|shift| shift.regression).or_else(|| all().find(|shift| shift.in_effect))
}
