//! Reports of made-up weeks, whose numbers can be worked out by hand.

use std::convert::Infallible;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::{
    build::{DurationSource, Kind, Outcome, Status},
    freshness::Verdict,
    history::rows::{BuildRow, StepRow},
    policy::trend::Trend as TrendPolicy,
    trend::{
        analysis::{self, Question},
        ledger::Metric,
    },
};

/// What a project's ledger holds.
#[derive(Default)]
pub(in crate::report) struct Ledger {
    pub(in crate::report) runs: Vec<Recorded>,
    pub(in crate::report) steps: Vec<StepRow>,
}

/// The end of every report here.
pub(in crate::report) fn now() -> Timestamp {
    "2026-03-08T08:00:00Z".parse().unwrap()
}

impl Ledger {
    /// Adds a run with two targets. `steps` are target, name, seconds (`None`: cached).
    pub(in crate::report) fn run(&mut self, at: Timestamp, outcome: Outcome, steps: &[(&str, &str, Option<f64>)]) -> &mut Recorded {
        let number = self.runs.len();
        let run = format!("r{number}");
        let row = |target: Option<&str>| {
            let of: Vec<_> = steps.iter().filter(|step| target.is_none_or(|target| step.0 == target)).collect();
            let seconds: f64 = of.iter().filter_map(|step| step.2).sum();
            BuildRow {
                run: run.clone(),
                target: target.map(str::to_owned),
                outcome: Some(outcome),
                seconds: Some(seconds + 4.0),
                executed: of.iter().filter(|step| step.2.is_some()).count() as u32,
                cached: of.iter().filter(|step| step.2.is_none()).count() as u32,
                ..BuildRow::default()
            }
        };
        let mut targets: Vec<&str> = steps.iter().map(|step| step.0).collect();
        targets.sort_unstable();
        targets.dedup();
        let builds: Vec<BuildRow> = std::iter::once(None).chain(targets.into_iter().map(Some)).map(row).collect();
        for (index, (target, name, seconds)) in steps.iter().enumerate() {
            self.steps.push(StepRow {
                run: run.clone(),
                build: 0,
                index: index as u32,
                name: format!("[{target} stage-1 {}/9] {name}", index + 2),
                identity: format!("{target} {name}"),
                kind: Kind::Instruction,
                target: Some((*target).to_owned()),
                stage: Some("stage-1".to_owned()),
                platform: None,
                number: Some(index as u32 + 2),
                keyword: name.split(' ').next().map(str::to_owned),
                status: if seconds.is_some() { Status::Done } else { Status::Cached },
                cache_hit: seconds.is_none().then_some(true),
                seconds: *seconds,
                duration_bucket: None,
                transferred_bytes: None,
                verdict: name.starts_with("COPY").then_some(Verdict::Fresh),
                error: None,
            });
        }
        let run = RunRow {
            run,
            project: "watchparty".to_owned(),
            at,
            finished_at: None,
            week: String::new(),
            commit: Some(format!("{:08x}cafe", number * 7919)),
            branch: Some("main".to_owned()),
            job_url: None,
            runner: None,
            builder: None,
            command: None,
            outcome,
            builds: 1,
            seconds: builds[0].seconds,
            duration_source: Some(DurationSource::Live),
            duration_bucket: None,
            images: Vec::new(),
            bklog: "0.1.0".to_owned(),
        };
        self.runs.push(Recorded { run, builds });
        self.runs.last_mut().unwrap()
    }

    /// The report of the week before [`now`].
    pub(in crate::report) fn report(&self) -> Weekly {
        self.report_of("7d")
    }

    pub(in crate::report) fn report_of(&self, since: &str) -> Weekly {
        let question = Question { target: None, metrics: vec![Metric::Duration], steps: analysis::Steps::None, min_ratio: 1.1 };
        let load = |from, to| {
            let of = |step: &&StepRow| self.runs.iter().any(|run| run.run.run == step.run && (from..to).contains(&run.run.at));
            Ok::<_, Infallible>(self.steps.iter().filter(of).cloned().collect())
        };
        let Ok(told) = analysis::analyse(self.runs.clone(), &question, &TrendPolicy::default(), load);
        let window = Window::new(since, now()).unwrap();
        let mut seen = Seen::new(window);
        seen.add(&by_id(&self.runs), &self.steps);
        weekly(Input { project: "watchparty", now: now(), window, runs: &self.runs, steps: &seen, usual: &[], told: &told.series })
    }
}

const INSTALL: &str = "RUN pip install -r requirements.txt";

/// Four builds a day for three weeks. From 3 March on the install of the backend is not cached any more.
pub(in crate::report) fn regression() -> Ledger {
    let mut ledger = Ledger::default();
    let first = crate::times::instant("2026-02-15T08:00:00Z").unwrap();
    for n in 0..84_i32 {
        let at = first + SignedDuration::from_hours(i64::from(n) * 6);
        let wobble = f64::from((n * 37) % 11) - 5.0;
        let slow = at >= crate::times::instant("2026-03-03T00:00:00Z").unwrap();
        let steps = [
            ("backend", INSTALL, slow.then_some(1026.0 + 4.0 * wobble)),
            ("backend", "COPY . /app/", Some(0.5)),
            ("backend", "RUN python -m compileall /app", Some(40.0 + wobble)),
            ("frontend", "RUN npm ci", None),
            ("frontend", "RUN npm run build", Some(110.0 + 2.0 * wobble)),
        ];
        let recorded = ledger.run(at, Outcome::Succeeded, &steps);
        if !slow {
            for row in &mut recorded.builds {
                row.cache_imports = vec!["ghcr.io/acme/watchparty:cache".to_owned()];
            }
        }
    }
    ledger
}

/// Eight builds a day for a year: slower in summer, most of it taken back in autumn, an outlier now and then.
pub(in crate::report) fn year() -> Ledger {
    let mut ledger = Ledger::default();
    let first = now() - SignedDuration::from_hours(24 * 365);
    for n in 0..2900_i32 {
        let at = first + SignedDuration::from_hours(i64::from(n) * 3);
        let noise = 1.0 + 0.2 * (f64::from((n * 7919) % 1000) / 1000.0 - 0.5);
        let level = match n {
            0..1000 => 150.0,
            1000..1900 => 420.0,
            _ => 210.0,
        };
        let outlier = if n % 211 == 17 { 6.0 } else { 1.0 };
        let cached = n % 5 != 0;
        let outcome = if n % 23 == 5 { Outcome::Failed } else { Outcome::Succeeded };
        let install = if cached && n < 1000 { None } else { Some(60.0) };
        let steps = [("api", "COPY . /app", Some(0.4)), ("api", INSTALL, install), ("api", "RUN make test", Some(level * noise * outlier))];
        ledger.run(at, outcome, &steps);
    }
    ledger
}

fn markdown_of(report: &Weekly) -> String {
    let mut out = Vec::new();
    markdown::write(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn json_of(report: &Weekly) -> String {
    let mut out = Vec::new();
    json::write(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_story_of_a_lost_cache() {
    let report = regression().report();
    assert_eq!(report.headline, "Builds take 19.7 min instead of 2.6 since 3 March");
    assert_eq!(report.series.iter().map(|series| series.target.as_deref()).collect::<Vec<_>>(), [None, Some("backend")]);
    let shift = &report.series[1].shifts[0];
    assert!(shift.regression && shift.new, "{shift:?}");
    assert!(shift.headline.starts_with("backend builds take 17.") && shift.headline.ends_with("since 3 March"), "{}", shift.headline);
    let step = &shift.explanation.steps[0];
    assert!(step.name.contains(INSTALL), "{step:?}");
    assert_eq!((step.cache_hit_before, step.cache_hit_after), (Some(1.0), Some(0.0)));
    assert_eq!(shift.explanation.reasons, ["the cache import ghcr.io/acme/watchparty:cache is gone"]);
    assert!(shift.explanation.why.contains("was cached in 100 % of runs and is not any more"), "{}", shift.explanation.why);
    assert_eq!(report.first[0].urgency, Urgency::Medium);
    assert!(report.first[0].action.contains("pip install") && report.first.len() == 1, "said once: {:?}", report.first);
    insta::assert_snapshot!("markdown", markdown_of(&report));
    insta::assert_snapshot!("json", json_of(&report));
}

#[test]
fn a_regression_that_was_taken_back_in_part() {
    let report = year().report();
    let headline = &report.headline;
    assert!(headline.starts_with("Builds take 4.") && headline.contains(" instead of 2."), "by what they take now: {headline}");
    assert!(report.series[0].shifts.len() >= 2, "{:?}", report.series[0].shifts);
}

#[test]
fn what_is_over_is_told_and_needs_no_work() {
    let mut ledger = Ledger::default();
    for n in 0..60_i32 {
        let level = if (25..40).contains(&n) { 300.0 } else { 60.0 };
        let seconds = level + f64::from((n * 37) % 11);
        let steps = [("api", "RUN make", Some(seconds)), ("web", "RUN npm ci", Some(seconds / 2.0))];
        ledger.run(now() - SignedDuration::from_hours(i64::from(121 - 2 * n)), Outcome::Succeeded, &steps);
    }
    let report = ledger.report();
    assert_eq!(report.series[0].shifts.len(), 2, "{:?}", report.series[0].shifts);
    assert!(
        report.headline.starts_with("Builds take 1.") && report.headline.contains(" instead of 7."),
        "of whole runs: {}",
        report.headline
    );
    assert!(report.first.iter().all(|advice| !advice.what.contains("more in each")), "{:?}", report.first);
}

#[test]
fn headline_numbers() {
    let mut ledger = Ledger::default();
    let at = |days: i64, minutes: i64| now() - SignedDuration::from_hours(24 * days) + SignedDuration::from_mins(minutes);
    let steps = |seconds: f64| [("api", "RUN make", Some(seconds)), ("api", "COPY . .", None)];
    // On the edges: a run a week ago belongs to the week, one at its very end does not, one two weeks ago belongs to the week before.
    ledger.run(at(14, 0), Outcome::Succeeded, &steps(96.0));
    ledger.run(at(10, 0), Outcome::Failed, &steps(6.0));
    ledger.run(at(7, 0), Outcome::Succeeded, &steps(196.0));
    ledger.run(at(6, 0), Outcome::Succeeded, &steps(296.0));
    ledger.run(at(5, 0), Outcome::Failed, &steps(996.0));
    ledger.run(at(5, 0), Outcome::Canceled, &[]).run.seconds = None;
    ledger.run(at(0, 0), Outcome::Succeeded, &steps(1.0));
    let report = ledger.report();
    let numbers = &report.numbers;
    assert_eq!((numbers.runs, numbers.builds, numbers.failed), (4, 4, 1));
    assert_eq!((numbers.p50, numbers.p95), (Some(250.0), Some(295.0)), "of 200 and 300 seconds; what failed does not count");
    assert_eq!(numbers.spent, 200.0 + 300.0 + 1000.0);
    assert_eq!(numbers.cache_ratio(), Some(0.5));
    assert_eq!((report.before.runs, report.before.failed, report.before.p50), (2, 1, Some(100.0)));
    // The step that is always cached lost nothing, the one that always runs neither.
    assert_eq!(numbers.lost, 0.0);
}

#[test]
fn runs_of_an_older_ledger_have_no_builds() {
    let mut ledger = Ledger::default();
    for outcome in [Outcome::Succeeded, Outcome::Failed] {
        let recorded = ledger.run(now() - SignedDuration::from_hours(30), outcome, &[]);
        recorded.builds.clear();
        recorded.run.builds = 3;
    }
    let report = ledger.report();
    assert_eq!((report.numbers.runs, report.numbers.builds, report.numbers.failed), (2, 6, 1));
}

#[test]
fn what_misses_cost() {
    let mut ledger = Ledger::default();
    let at = |hours: i64| now() - SignedDuration::from_hours(hours);
    // A week of ten runs, nine of them cached; then one of ten uses is expected to run and four do.
    for n in 0..20 {
        let ran = if n < 10 { n == 0 } else { n >= 16 };
        ledger.run(at(326 - n * 16), Outcome::Succeeded, &[("api", "RUN make", ran.then_some(100.0)), ("api", "RUN date", Some(50.0))]);
    }
    let report = ledger.report();
    assert_eq!(report.numbers.runs, 10);
    assert!((report.numbers.lost - 300.0).abs() < 1e-6, "three more than usual, {}", report.numbers.lost);
    assert!(report.before.lost < 1e-9, "{}", report.before.lost);
    let make = report.steps.iter().find(|step| step.instruction == "RUN make").unwrap();
    assert_eq!((make.executed, make.cached, make.usual_cache_ratio), (4, 6, Some(0.9)));
    assert_eq!((make.seconds, make.seconds_before, make.p50), (400.0, 100.0, Some(100.0)));
    assert_eq!(report.steps[0].instruction, "RUN date", "the most expensive comes first");
    let row = report.heat.rows.iter().find(|row| row.instruction == "RUN make").unwrap();
    assert_eq!(row.cells.len(), report.heat.days.len());
    assert_eq!(row.cells.iter().map(|cell| (cell.executed, cell.cached)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)), (4, 6));
}

#[test]
fn weeks_with_little_in_them() {
    let nothing = Ledger::default().report();
    assert_eq!(nothing.headline, "No builds in this week");
    assert!(markdown_of(&nothing).contains("No run of watchparty was ever recorded"), "{}", markdown_of(&nothing));

    let mut ledger = Ledger::default();
    ledger.run(now() - SignedDuration::from_hours(24 * 20), Outcome::Succeeded, &[("api", "RUN make", Some(1.0))]);
    let empty = markdown_of(&ledger.report());
    assert!(empty.contains("The last recorded run of watchparty was on 16 February 2026 at 08:00 UTC"), "{empty}");
    assert_eq!(ledger.report_of("30d").headline, "1 build, median 5.0s");

    let mut ledger = Ledger::default();
    ledger.run(now() - SignedDuration::from_hours(3), Outcome::Failed, &[("api", "RUN make", Some(1.0))]);
    assert_eq!(ledger.report().headline, "The only build of this week failed");
    ledger.run(now() - SignedDuration::from_hours(2), Outcome::Failed, &[("api", "RUN make", Some(1.0))]);
    let all = ledger.report();
    assert_eq!(all.headline, "All 2 builds of this week failed");
    assert!(all.first[0].what.starts_with("2 of 2 builds failed"), "{:?}", all.first);
    assert!(json_of(&all).contains("\"p50\": null"));
}

#[test]
fn old_code_comes_first() {
    let mut ledger = regression();
    let last = ledger.runs.last().unwrap().run.run.clone();
    for step in ledger.steps.iter_mut().filter(|step| step.run == last && step.name.contains("COPY")) {
        step.verdict = Some(Verdict::Stale);
    }
    let report = ledger.report();
    assert_eq!(report.headline, "1 step put old code into an image this week");
    assert_eq!(report.first[0].urgency, Urgency::High);
    assert_eq!(report.first[0].command.as_deref(), Some("docker builder prune -f"));
    assert_eq!((report.old_code.len(), report.old_code[0].runs, report.old_code[0].fresh_since), (1, 1, false));
    // A later run that found it fresh makes it less urgent.
    ledger.run(now() - SignedDuration::from_mins(1), Outcome::Succeeded, &[("backend", "COPY . /app/", Some(0.5))]);
    let report = ledger.report();
    assert!(report.old_code[0].fresh_since);
    assert!(report.first.iter().all(|advice| advice.urgency != Urgency::High));
}

#[test]
fn failing_imports_are_named() {
    let mut ledger = Ledger::default();
    for n in 0..3 {
        let recorded = ledger.run(now() - SignedDuration::from_hours(n + 1), Outcome::Succeeded, &[("api", "RUN make", Some(1.0))]);
        recorded.builds[0].cache_imports = vec!["r/x:cache".to_owned()];
        recorded.builds[0].failed_imports = if n < 2 { vec!["r/x:cache".to_owned()] } else { Vec::new() };
    }
    let report = ledger.report();
    assert_eq!(report.first[0].what, "The cache import r/x:cache failed in 2 of 3 builds");
}

/// Text that tries to get out of where it is put.
pub(in crate::report) const HOSTILE: &str = "RUN echo '</script><script>alert(1)</script>' \"x\" | tee `y` <img src=x onerror=alert(2)> \x1b[31m \u{202e}evil ]]> --> {{7*7}} \u{5e9}\u{5dc}";

/// A ledger whose every text is hostile.
pub(in crate::report) fn hostile() -> Ledger {
    let mut ledger = Ledger::default();
    for n in 0..24 {
        let seconds = if n < 12 { 10.0 } else { 100.0 };
        let at = now() - SignedDuration::from_hours(48 - n);
        let recorded = ledger.run(at, Outcome::Succeeded, &[(HOSTILE, HOSTILE, Some(seconds)), ("other", HOSTILE, Some(1.0))]);
        recorded.run.commit = Some(format!("{HOSTILE}{n}"));
        recorded.run.job_url = Some("javascript:alert(3)".to_owned());
        recorded.builds[0].failed_imports = vec![HOSTILE.to_owned()];
    }
    for step in &mut ledger.steps {
        step.verdict = Some(Verdict::Stale);
        step.stage = Some(HOSTILE.to_owned());
        step.error = Some(HOSTILE.to_owned());
    }
    ledger
}

#[test]
fn hostile_text_stays_text_in_markdown_and_json() {
    let report = hostile().report();
    assert!(!report.series.is_empty() && !report.old_code.is_empty() && !report.first.is_empty());
    let text = markdown_of(&report);
    assert!(!text.contains("<script") && !text.contains("<img") && !text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    let columns = |line: &str| line.replace("\\|", "").matches('|').count();
    for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
        let all: Vec<usize> = table.lines().map(columns).collect();
        assert!(all.iter().all(|count| *count == all[0]), "{table}");
    }
    assert_eq!(
        report.first.iter().filter(|advice| advice.command.as_deref().is_some_and(|command| command.starts_with("git log"))).count(),
        0
    );
    let json: serde_json::Value = serde_json::from_str(&json_of(&report)).unwrap();
    assert_eq!(json["schema"], "bklog.report/1");
}
