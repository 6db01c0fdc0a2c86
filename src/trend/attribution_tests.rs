use std::convert::Infallible;

use super::*;
use crate::{
    build::Outcome,
    history::rows::{BuildRow, RunRow},
    policy::trend::{AcceptedLevel, Budget, BudgetOf, Trend as TrendPolicy},
    trend::{
        analysis::{Question, Steps, Trend, analyse},
        change_point::Direction,
        gate::Spent,
        ledger::{
            recorded,
            tests::{run, step},
        },
        signs::SignKind,
    },
};

/// A run with the steps `(name, seconds)`; without seconds the cache answered it. The run takes as long as they do together.
fn story(n: u32, steps: &[(&str, Option<f64>)], imports: &[&str]) -> (RunRow, BuildRow, Vec<StepRow>) {
    let seconds: f64 = steps.iter().filter_map(|step| step.1).sum::<f64>() + 1.0;
    let row = BuildRow {
        run: format!("run-{n:03}"),
        outcome: Some(Outcome::Succeeded),
        seconds: Some(seconds),
        executed: u32::try_from(steps.iter().filter(|step| step.1.is_some()).count()).unwrap(),
        cached: u32::try_from(steps.iter().filter(|step| step.1.is_none()).count()).unwrap(),
        cache_imports: imports.iter().map(|import| (*import).to_owned()).collect(),
        ..BuildRow::default()
    };
    let status = |seconds: Option<f64>| if seconds.is_some() { Status::Done } else { Status::Cached };
    let rows = steps.iter().map(|(name, seconds)| step(n, name, status(*seconds), *seconds)).collect();
    (run(n, Some(seconds), Outcome::Succeeded), row, rows)
}

fn question() -> Question {
    Question { target: None, metrics: vec![Metric::Duration], steps: Steps::None, min_ratio: 1.1 }
}

fn ask(stories: Vec<(RunRow, BuildRow, Vec<StepRow>)>, question: &Question, policy: &TrendPolicy) -> Trend {
    let (mut runs, mut builds, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for (run, build, rows) in stories {
        steps.extend(rows.into_iter().map(|row| (run.at, row)));
        runs.push(run);
        builds.push(build);
    }
    let load = |from, to| Ok::<_, Infallible>(steps.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, row)| row.clone()).collect());
    analyse(recorded(runs, builds), question, policy, load).unwrap()
}

const PIP: &str = "[backend 3/5] RUN pip install -r requirements.txt";

/// N4: the inline cache was removed, and with it the import; every dependency is downloaded again.
fn lost_cache(n: u32) -> (RunRow, BuildRow, Vec<StepRow>) {
    let wobble = f64::from(n % 5);
    let late = n >= 30;
    // One run in ten installs anew, because the requirements changed.
    let pip = (late || n % 10 == 4).then_some(1026.0 + 10.0 * wobble);
    let steps = [
        ("[backend 2/5] COPY requirements.txt ./", late.then_some(0.1)),
        (PIP, pip),
        ("[backend 4/5] COPY . .", Some(0.2)),
        ("[backend 5/5] RUN python -m compileall .", Some(if late { 180.0 } else { 150.0 } + wobble)),
    ];
    story(n, &steps, if late { &[] } else { &["registry.example.org/backend:cache"] })
}

#[test]
fn the_step_that_lost_the_cache_and_the_import_that_is_gone() {
    let trend = ask((0..60).map(lost_cache).collect(), &question(), &TrendPolicy::default());
    assert_eq!(trend.series.len(), 1);
    let [change] = trend.series[0].changes.as_slice() else { panic!("{:?}", trend.series[0].changes) };
    assert_eq!((change.found.change.index, change.found.change.direction), (30, Direction::Slower));
    let steps = &change.attribution.steps;
    assert_eq!(steps[0].name, "backend RUN pip install -r requirements.txt");
    let (before, after) = (steps[0].hits.0.unwrap(), steps[0].hits.1.unwrap());
    assert!((before - 0.9).abs() < 1e-9 && after == 0.0, "{before} {after}");
    assert!((steps[0].delta() - 0.9 * 1046.0).abs() < 20.0, "{}", steps[0].delta());
    assert_eq!(steps[1].name, "backend RUN python -m compileall .");
    assert!((steps[1].delta() - 30.0).abs() < 1.0 && steps[1].lost_hits() == 0.0);
    assert!(steps.iter().any(|step| step.name.contains("COPY requirements.txt")), "it lost its hits too");
    let signs = &change.attribution.signs;
    assert_eq!(signs.len(), 1);
    assert_eq!((signs[0].kind, signs[0].after.as_deref()), (SignKind::CacheImport, None));
    assert_eq!(change.sign_runs, [None], "since the same run");
    assert!(trend.is_bad() && trend.regressions().count() == 1);
}

#[test]
fn one_cold_build_after_a_clear_is_no_regression() {
    let cold = |n: u32| {
        let steps = [("[2/3] RUN npm ci", (n == 30).then_some(600.0)), ("[3/3] COPY . .", Some(20.0 + f64::from(n % 5)))];
        story(n, &steps, &[])
    };
    for length in [31, 32, 60] {
        let trend = ask((0..length).map(cold).collect(), &question(), &TrendPolicy::default());
        assert_eq!(trend.series[0].changes, [], "{length} builds");
        assert!(!trend.is_bad());
    }
}

#[test]
fn an_edited_step_is_the_same_step() {
    let edited = |n: u32| {
        let name =
            if n < 30 { "[2/2] RUN pip install -r requirements.txt" } else { "[2/2] RUN pip install --no-cache-dir -r requirements.txt" };
        story(n, &[(name, Some(if n < 30 { 20.0 } else { 60.0 } + f64::from(n % 5)))], &[])
    };
    let trend = ask((0..60).map(edited).collect(), &question(), &TrendPolicy::default());
    let steps = &trend.series[0].changes[0].attribution.steps;
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert_eq!(steps[0].renamed_from.as_deref(), Some("RUN pip install -r requirements.txt"));
    assert!((steps[0].delta() - 40.0).abs() < 1.0);
}

#[test]
fn a_new_step_and_one_that_is_gone() {
    let edited = |n: u32| {
        let name = if n < 30 { "[2/2] RUN npm ci" } else { "[2/2] RUN apt-get install chromium" };
        story(n, &[("[1/2] COPY . .", Some(5.0)), (name, Some(if n < 30 { 20.0 } else { 60.0 } + f64::from(n % 5)))], &[])
    };
    let trend = ask((0..60).map(edited).collect(), &question(), &TrendPolicy::default());
    let steps = &trend.series[0].changes[0].attribution.steps;
    let text: Vec<_> = steps.iter().map(|step| (step.name.as_str(), step.hits, step.delta() > 0.0)).collect();
    assert_eq!(text, [("RUN apt-get install chromium", (None, Some(0.0)), true), ("RUN npm ci", (Some(0.0), None), false)]);
}

#[test]
fn a_shared_step_is_one_whatever_target_it_is_announced_under() {
    let shared = |n: u32| {
        let base = if n.is_multiple_of(2) { "[web base 2/2] RUN apt-get install x" } else { "[api base 2/2] RUN apt-get install x" };
        let seconds = if n < 30 { 20.0 } else { 60.0 } + f64::from(n % 5);
        story(n, &[(base, Some(seconds)), ("[web app 1/1] COPY . .", Some(0.1)), ("[api app 1/1] COPY . .", Some(0.1))], &[])
    };
    let trend = ask((0..60).map(shared).collect(), &question(), &TrendPolicy::default());
    let steps = &trend.series[0].changes[0].attribution.steps;
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert_eq!((steps[0].name.as_str(), steps[0].target.as_deref()), ("base RUN apt-get install x", None));
    assert!((steps[0].delta() - 40.0).abs() < 1.0);
    // The two COPY of two targets stay two.
    let copies = |n: u32| {
        let seconds = if n < 30 { 20.0 } else { 60.0 } + f64::from(n % 5);
        story(n, &[("[web app 1/1] RUN make", Some(seconds)), ("[api app 1/1] RUN make", Some(seconds))], &[])
    };
    let trend = ask((0..60).map(copies).collect(), &question(), &TrendPolicy::default());
    assert_eq!(trend.series[0].changes[0].attribution.steps.len(), 2);
}

#[test]
fn accepted_levels_and_budgets() {
    let policy = TrendPolicy {
        min_ratio: None,
        budgets: vec![
            Budget { of: BudgetOf::Total, seconds: 600.0 },
            Budget { of: BudgetOf::Step("pip install".to_owned()), seconds: 2000.0 },
        ],
        accepted: vec![
            AcceptedLevel { since: "run-030".to_owned(), target: None, reason: "more to install".to_owned() },
            AcceptedLevel { since: "run-031".to_owned(), target: None, reason: "a misprint".to_owned() },
        ],
    };
    let stories = || (0..60).map(lost_cache).collect::<Vec<_>>();
    let trend = ask(stories(), &question(), &policy);
    assert_eq!(trend.series[0].changes[0].accepted.as_deref(), Some("more to install"));
    assert_eq!(trend.series[0].regression, None);
    assert_eq!(trend.unused_accepts, ["run-031"]);
    assert_eq!(trend.budgets.iter().map(Spent::is_over).collect::<Vec<_>>(), [true, false]);
    assert!(trend.is_bad(), "the budget is not accepted");
    let relaxed = TrendPolicy { budgets: Vec::new(), ..policy };
    assert!(!ask(stories(), &question(), &relaxed).is_bad());
}

#[test]
fn steps_on_demand() {
    let question = Question { steps: Steps::Named("pip install".to_owned()), ..question() };
    let trend = ask((0..60).map(lost_cache).collect(), &question, &TrendPolicy::default());
    let step = trend.series.last().unwrap();
    assert_eq!(step.measured.step.as_deref(), Some("backend RUN pip install -r requirements.txt"));
    assert_eq!(step.measured.series.points().len(), 3 + 30, "where it ran");
    assert_eq!(step.changes, [], "where it runs it takes as long as before");
    let all = ask((0..60).map(lost_cache).collect(), &Question { steps: Steps::All, ..question }, &TrendPolicy::default());
    assert_eq!(all.series.len(), 1 + 4);
}

#[test]
fn nothing_recorded_is_nothing_to_say() {
    let trend = ask(Vec::new(), &question(), &TrendPolicy::default());
    assert_eq!(trend, Trend::default());
}
