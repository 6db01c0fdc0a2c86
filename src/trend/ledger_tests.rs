use jiff::Timestamp;

use super::*;
use crate::build::Kind;

pub(crate) fn run(n: u32, seconds: Option<f64>, outcome: Outcome) -> RunRow {
    RunRow {
        run: format!("run-{n:03}"),
        project: "shop".to_owned(),
        at: Timestamp::from_second(1_772_409_600 + i64::from(n) * 3_000).unwrap(),
        finished_at: None,
        week: String::new(),
        commit: Some(format!("{n:040x}")),
        branch: Some("main".to_owned()),
        job_url: None,
        runner: None,
        builder: Some("default".to_owned()),
        command: None,
        outcome,
        builds: 1,
        seconds,
        duration_source: None,
        duration_bucket: None,
        images: Vec::new(),
        bklog: "0".to_owned(),
    }
}

fn build(n: u32, target: Option<&str>, seconds: f64, executed: u32, cached: u32) -> BuildRow {
    BuildRow {
        run: format!("run-{n:03}"),
        target: target.map(str::to_owned),
        outcome: Some(Outcome::Succeeded),
        seconds: Some(seconds),
        executed,
        cached,
        ..BuildRow::default()
    }
}

pub(crate) fn step(n: u32, name: &str, status: Status, seconds: Option<f64>) -> StepRow {
    let parts = crate::build::StepName::parse(name);
    StepRow {
        run: format!("run-{n:03}"),
        build: 0,
        index: parts.number.unwrap_or(0),
        name: name.to_owned(),
        identity: crate::history::identity::of_name(name),
        kind: parts.kind,
        target: parts.target,
        stage: parts.stage,
        platform: parts.platform,
        number: parts.number,
        keyword: parts.keyword.map(str::to_owned),
        status,
        cache_hit: (status == Status::Cached).then_some(true),
        seconds,
        duration_bucket: None,
        transferred_bytes: None,
        verdict: None,
        error: None,
    }
}

#[test]
fn only_what_succeeded_is_a_point() {
    let runs = vec![
        run(2, Some(12.0), Outcome::Succeeded),
        run(0, Some(10.0), Outcome::Succeeded),
        run(1, Some(1.0), Outcome::Failed),
        run(3, None, Outcome::Succeeded),
        run(4, Some(2.0), Outcome::Truncated),
        run(5, Some(f64::NAN), Outcome::Succeeded),
    ];
    let measured = measure(&recorded(runs, Vec::new()), None, Metric::Duration).unwrap();
    assert_eq!(measured.series.values(), [10.0, 12.0]);
    assert_eq!(measured.left_out, LeftOut { failed: 1, unfinished: 1, unknown: 2 });
    assert_eq!(measured.left_out.total(), 4);
}

#[test]
fn targets_are_series_of_their_own() {
    let builds = vec![
        build(0, None, 10.0, 3, 1),
        build(0, Some("api"), 8.0, 3, 0),
        build(0, Some("web"), 2.0, 0, 1),
        build(1, None, 11.0, 1, 3),
        build(1, Some("api"), 9.0, 1, 2),
        BuildRow { outcome: Some(Outcome::Failed), ..build(1, Some("web"), 1.0, 0, 1) },
    ];
    let runs = recorded(vec![run(0, Some(10.0), Outcome::Succeeded), run(1, Some(11.0), Outcome::Succeeded)], builds);
    assert_eq!(targets(&runs).into_iter().collect::<Vec<_>>(), ["api", "web"]);
    let api = measure(&runs, Some("api"), Metric::Duration).unwrap();
    assert_eq!(api.series.values(), [8.0, 9.0]);
    let web = measure(&runs, Some("web"), Metric::Duration).unwrap();
    assert_eq!((web.series.values(), web.ran.clone(), web.left_out.failed), (vec![2.0], vec![false], 1));
    assert_eq!(measure(&runs, None, Metric::CacheHitRatio).unwrap().series.values(), [0.25, 0.75]);
    assert_eq!(measure(&runs, None, Metric::ContextBytes).unwrap().series.values(), [0.0_f64; 0]);
    assert_eq!(measure(&runs, Some("worker"), Metric::Duration), None);
    assert_eq!(measure(&[], None, Metric::Duration), None);
}

#[test]
fn imports_and_context_are_summed_over_the_builds() {
    let import = |failed: usize| BuildRow {
        cache_imports: vec!["a".to_owned(), "b".to_owned()],
        failed_imports: vec!["a".to_owned(); failed],
        context_bytes: Some(100),
        ..build(0, None, 1.0, 1, 1)
    };
    let runs = recorded(vec![run(0, Some(1.0), Outcome::Succeeded)], vec![import(0), import(1)]);
    assert_eq!(measure(&runs, None, Metric::ImportSuccess).unwrap().series.values(), [0.75]);
    assert_eq!(measure(&runs, None, Metric::ContextBytes).unwrap().series.values(), [200.0]);
}

#[test]
fn a_step_has_points_where_it_ran() {
    let runs =
        recorded((0..4).map(|n| run(n, Some(10.0), if n == 3 { Outcome::Failed } else { Outcome::Succeeded })).collect(), Vec::new());
    let steps = vec![
        step(0, "[2/3] RUN npm ci", Status::Done, Some(5.0)),
        step(1, "[2/4] RUN npm ci", Status::Cached, None),
        step(2, "[3/4] RUN npm ci", Status::Done, Some(6.0)),
        step(3, "[3/4] RUN npm ci", Status::Done, Some(7.0)),
        step(0, "[3/3] RUN npm test", Status::Done, Some(1.0)),
    ];
    let measured = measure_steps(&runs, &steps, None, &|step| step.identity.contains("npm ci"));
    assert_eq!(measured.len(), 1);
    assert_eq!(measured[0].series.values(), [5.0, 6.0]);
    assert_eq!((measured[0].step.as_deref(), measured[0].left_out), (Some("RUN npm ci"), LeftOut { failed: 1, unfinished: 0, unknown: 1 }));
    assert!(steps.iter().all(|step| step.kind == Kind::Instruction));
}

#[test]
fn a_step_that_bake_shares_is_one_series() {
    let both = |n| [build(n, None, 10.0, 3, 1), build(n, Some("api"), 8.0, 3, 0), build(n, Some("web"), 2.0, 0, 1)];
    let runs = recorded((0..4).map(|n| run(n, Some(10.0), Outcome::Succeeded)).collect(), (0..4).flat_map(both).collect());
    let of = |n: u32, target: &str| step(n, &format!("[{target} base 2/3] RUN npm ci"), Status::Done, Some(5.0));
    let named = |steps: &[StepRow], target| -> Vec<(String, Option<String>, usize)> {
        let measured = measure_steps(&runs, steps, target, &|_| true);
        measured.into_iter().map(|of| (of.step.unwrap(), of.target, of.series.points().len())).collect()
    };
    let by_chance = [of(0, "api"), of(1, "web"), of(2, "web"), of(3, "api")];
    let one = [("base RUN npm ci".to_owned(), None, 4)];
    assert_eq!(named(&by_chance, None), one);
    assert_eq!(named(&by_chance, Some("web")), one);
    assert!(named(&by_chance, Some("jobs")).is_empty());
    let api = ("api base RUN npm ci".to_owned(), Some("api".to_owned()));
    let web = ("web base RUN npm ci".to_owned(), Some("web".to_owned()));
    let each = [of(0, "api"), of(0, "web"), of(1, "web"), of(2, "web"), of(3, "api")];
    assert_eq!(named(&each, None), [(api.0.clone(), api.1, 2), (web.0, web.1.clone(), 3)], "both in one run: each has its own");
    assert_eq!(named(&each, Some("web")).len(), 1);
}
