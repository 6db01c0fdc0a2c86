//! What the settings say of a trend: levels that are accepted, budgets that are kept or not.

use jiff::tz::TimeZone;

use super::{
    change_point::median_of,
    ledger::{Measured, Metric},
    levels::Found,
};
use crate::{
    policy::trend::{AcceptedLevel, Budget, BudgetOf},
    redact::names::wildcard,
};

/// Builds whose median is held against a budget: the last ones.
pub const BUDGET_BUILDS: usize = 5;

/// The reason for which a change is accepted, `None` if it is not. `found` is a change of `measured`.
pub fn accepted<'p>(levels: &'p [AcceptedLevel], measured: &Measured, found: &Found) -> Option<&'p str> {
    let points = measured.series.points();
    let change = &found.change;
    let places = points.get(change.earliest..=change.latest.min(points.len().saturating_sub(1))).unwrap_or_default();
    let first = points.get(change.index)?;
    let fits = |level: &&AcceptedLevel| {
        let of_target = level.target.as_deref().is_none_or(|target| Some(target) == measured.target.as_deref());
        let run = places.iter().any(|point| point.run.as_deref() == Some(level.since.as_str()));
        let since = level.since.to_ascii_lowercase();
        let commit =
            places.iter().filter_map(|point| point.commit.as_deref()).any(|commit| commit.to_ascii_lowercase().starts_with(&since));
        let day = |at: jiff::Timestamp| at.to_zoned(TimeZone::UTC).date();
        let on_day = level.since.parse::<jiff::civil::Date>().is_ok_and(|date| {
            day(first.at) == date || places.first().zip(places.last()).is_some_and(|(from, to)| (day(from.at)..=day(to.at)).contains(&date))
        });
        of_target && (run || commit || on_day)
    };
    levels.iter().find(fits).map(|level| level.reason.as_str())
}

/// A budget and what is used of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Spent {
    /// The budget.
    pub budget: Budget,
    /// The project.
    pub project: String,
    /// What was measured: the target or the step; `None` for the whole run.
    pub name: Option<String>,
    /// The median of the last builds, in seconds.
    pub seconds: f64,
    /// The builds that it is of.
    pub builds: usize,
}

impl Spent {
    /// True where it takes longer than it may.
    pub fn is_over(&self) -> bool {
        self.seconds > self.budget.seconds
    }
}

/// Holds series of durations against the budgets.
pub fn spent<'m>(budgets: &[Budget], series: impl IntoIterator<Item = &'m Measured> + Clone) -> Vec<Spent> {
    let mut spent = Vec::new();
    for budget in budgets {
        for measured in series.clone().into_iter().filter(|measured| measured.metric == Metric::Duration) {
            let name = match (&budget.of, &measured.target, &measured.step) {
                (BudgetOf::Total, None, None) => None,
                (BudgetOf::Target(pattern), Some(target), None) if wildcard(pattern.as_bytes(), target.as_bytes()) => Some(target.clone()),
                (BudgetOf::Step(pattern), _, Some(step)) if names_step(pattern, step) => Some(step.clone()),
                _ => continue,
            };
            let values = measured.series.values();
            let last = &values[values.len().saturating_sub(BUDGET_BUILDS)..];
            if last.is_empty() {
                continue;
            }
            let (seconds, builds) = (median_of(last), last.len());
            spent.push(Spent { budget: budget.clone(), project: measured.project.clone(), name, seconds, builds });
        }
    }
    spent
}

/// True where a pattern names a step: with `*` the whole identity, else a part of it, in any case.
pub fn names_step(pattern: &str, identity: &str) -> bool {
    let (pattern, identity) = (pattern.to_lowercase(), identity.to_lowercase());
    if pattern.contains('*') { wildcard(pattern.as_bytes(), identity.as_bytes()) } else { identity.contains(&pattern) }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::trend::{
        ledger::LeftOut,
        levels::find,
        series::{Point, Series},
    };

    fn measured(target: Option<&str>, step: Option<&str>, values: impl IntoIterator<Item = f64>) -> Measured {
        let points: Vec<Point> = values
            .into_iter()
            .enumerate()
            .map(|(i, value)| Point {
                at: "2026-03-01T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(i as i64),
                run: Some(format!("run-{i}")),
                commit: Some(format!("{i:07}abcdef")),
                value,
            })
            .collect();
        Measured {
            project: "shop".to_owned(),
            target: target.map(str::to_owned),
            step: step.map(str::to_owned),
            metric: Metric::Duration,
            ran: vec![true; points.len()],
            series: Series::new(points).unwrap(),
            left_out: LeftOut::default(),
        }
    }

    fn level(since: &str, target: Option<&str>) -> AcceptedLevel {
        AcceptedLevel { since: since.to_owned(), target: target.map(str::to_owned), reason: "because".to_owned() }
    }

    #[test]
    fn a_change_is_accepted_by_run_commit_or_day() {
        let series = measured(Some("api"), None, (0..60).map(|i| if i < 30 { 10.0 } else { 30.0 }));
        let found = find(&series, 1.1)[0];
        assert_eq!(found.change.index, 30);
        for (since, target, expected) in [
            ("run-30", None, true),
            ("run-31", None, false),
            ("0000030", None, true),
            ("0000030ABC", None, true),
            ("0000031", None, false),
            ("2026-03-02", None, true),
            ("2026-03-03", None, false),
            ("run-30", Some("api"), true),
            ("run-30", Some("web"), false),
        ] {
            let levels = [level(since, target)];
            assert_eq!(accepted(&levels, &series, &found), expected.then_some("because"), "{since} {target:?}");
        }
    }

    #[test]
    fn budgets_are_held_against_the_last_builds() {
        let series = [
            measured(None, None, [500.0, 10.0, 10.0, 10.0, 11.0, 12.0]),
            measured(Some("api"), None, [3.0]),
            measured(Some("api"), Some("api RUN npm ci"), [7.0, 8.0, 9.0]),
            measured(Some("web"), None, []),
        ];
        let budget = |of: BudgetOf, seconds: f64| Budget { of, seconds };
        let budgets = [
            budget(BudgetOf::Total, 9.0),
            budget(BudgetOf::Target("*".to_owned()), 5.0),
            budget(BudgetOf::Step("run NPM".to_owned()), 7.5),
            budget(BudgetOf::Step("RUN npm ci".to_owned()), 8.0),
            budget(BudgetOf::Step("web *".to_owned()), 8.0),
        ];
        let spent = spent(&budgets, &series);
        let text: Vec<_> = spent.iter().map(|s| (s.name.as_deref(), s.seconds, s.builds, s.is_over())).collect();
        assert_eq!(
            text,
            [
                (None, 10.0, 5, true),
                (Some("api"), 3.0, 1, false),
                (Some("api RUN npm ci"), 8.0, 3, true),
                (Some("api RUN npm ci"), 8.0, 3, false)
            ]
        );
    }
}
