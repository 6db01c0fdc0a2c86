use proptest::prelude::*;

use super::*;
use crate::{
    build::Outcome,
    history::rows::BuildRow,
    trend::{
        ledger::tests::{run, step},
        signs::SignKind,
    },
};

/// A build with the steps `(name, seconds)`; without seconds the cache answered it.
fn side(total: Option<f64>, steps: &[(&str, Option<f64>)], imports: &[&str]) -> Side {
    let status = |seconds: Option<f64>| if seconds.is_some() { Status::Done } else { Status::Cached };
    let build =
        BuildRow { run: "run-000".to_owned(), cache_imports: imports.iter().map(|i| (*i).to_owned()).collect(), ..BuildRow::default() };
    let steps = (0..).zip(steps).map(|(index, (name, seconds))| StepRow { index, ..step(0, name, status(*seconds), *seconds) }).collect();
    let rows = RunRows { run: run(0, total, Outcome::Succeeded), builds: vec![build], steps };
    Side { name: "log".to_owned(), rows, recorded: false }
}

fn changed(files: &[&str], directories: &[&str]) -> ChangedFiles {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    ChangedFiles { files: owned(files), directories: owned(directories).into_iter().collect() }
}

fn became_of(diff: &Diff) -> Vec<(&str, Became)> {
    diff.steps.iter().map(|step| (step.row().unwrap().name.as_str(), step.became)).collect()
}

const WARM: [(&str, Option<f64>); 5] = [
    ("[1/5] FROM node:22", Some(0.0)),
    ("[2/5] COPY package.json ./", None),
    ("[3/5] RUN npm ci", None),
    ("[4/5] COPY . .", Some(0.1)),
    ("[5/5] RUN npm run build", Some(20.0)),
];

#[test]
fn the_first_miss_and_what_followed() {
    let cold = WARM.map(|(name, seconds)| (name, Some(seconds.unwrap_or(if name.contains("npm ci") { 90.0 } else { 0.1 }))));
    let diff = compare(side(Some(21.0), &WARM, &[]), side(Some(111.0), &cold, &[]), Some(&changed(&["package.json", "src/main.js"], &[])));
    assert_eq!(diff.roots().into_iter().collect::<Vec<_>>(), [(1, vec![2])]);
    assert!(
        diff.steps[1].causes.contains(&Cause::Files { files: vec!["package.json".to_owned()], count: 1 }),
        "{:?}",
        diff.steps[1].causes
    );
    assert_eq!(diff.steps[3].became, Became::Same, "it ran before, too");
    let untouched = compare(side(None, &WARM, &[]), side(None, &cold, &[]), Some(&changed(&["src/main.js"], &[])));
    assert!(untouched.steps[1].causes.contains(&Cause::NoFiles));
    assert!(untouched.steps[1].causes.contains(&Cause::NothingCached));
    assert_eq!(untouched.total, None);
}

#[test]
fn files_are_looked_for_below_the_directory_of_the_target() {
    let steps = |seconds| [("[api build 1/2] FROM a", Some(0.0)), ("[api build 2/2] COPY src ./", seconds)];
    let cause = |files: &[&str], directories: &[&str]| {
        let changed = changed(files, directories);
        compare(side(None, &steps(None), &[]), side(None, &steps(Some(1.0)), &[]), Some(&changed)).steps[1].causes[0].clone()
    };
    let of = |names: &[&str]| Cause::Files { files: changed(names, &[]).files, count: names.len() };
    assert_eq!(cause(&["web/src/a.js", "api/src/b.py", "api/README"], &["web", "api"]), of(&["api/src/b.py"]));
    assert_eq!(cause(&["web/src/a.js", "src/b.py"], &["web", "api"]), Cause::NoFiles);
    assert_eq!(cause(&["src/c.py", "docs/d"], &["src"]), of(&["src/c.py"]));
    assert_eq!(cause(&["services/x/src/c.py"], &["services"]), of(&["services/x/src/c.py"]), "any directory can be the context");
    assert_eq!(cause(&["docs/d", "x/srcs/e"], &[]), Cause::NoFiles);
}

#[test]
fn a_copy_of_another_stage_follows_that_stage() {
    let steps = |cached: bool| {
        let seconds = |seconds: f64| (!cached).then_some(seconds);
        [
            ("[app build 1/3] FROM rust:1", Some(0.0)),
            ("[app build 2/3] COPY . .", seconds(0.1)),
            ("[app build 3/3] RUN cargo build", seconds(100.0)),
            ("[app test 1/1] RUN cargo test", seconds(10.0)),
            ("[app final 1/3] FROM debian:12", Some(0.0)),
            ("[app final 2/3] RUN apt-get update", None),
            ("[app final 3/3] COPY --from=build /app /app", seconds(0.1)),
        ]
    };
    let diff = compare(side(None, &steps(true), &[]), side(None, &steps(false), &[]), None);
    let root_of = |text: &str| {
        let step = diff.steps.iter().find(|step| step.row().unwrap().name.contains(text)).unwrap();
        step.root.map(|root| diff.steps[root].row().unwrap().name.clone())
    };
    for text in ["COPY . .", "cargo build", "COPY --from=build"] {
        assert_eq!(root_of(text).as_deref(), Some("[app build 2/3] COPY . ."), "{text}");
    }
    // Two stages have a base, so it is not known on which of them `test` is built: it stands for itself.
    assert_eq!(root_of("cargo test").as_deref(), Some("[app test 1/1] RUN cargo test"));
    assert_eq!(root_of("apt-get"), None);
}

#[test]
fn an_edit_is_the_cause_and_its_words_are_named() {
    let edited = WARM.map(|(name, seconds)| match name {
        "[3/5] RUN npm ci" => ("[3/5] RUN npm ci --omit=dev", Some(80.0)),
        _ => (name, seconds),
    });
    let diff = compare(side(None, &WARM, &[]), side(None, &edited, &[]), None);
    let step = &diff.steps[2];
    assert_eq!((step.became, step.edited, step.root), (Became::LostCache, true, Some(2)));
    assert_eq!(step.causes[0], Cause::Text { gone: vec![], new: vec!["--omit=dev".to_owned()] });
}

#[test]
fn an_argument_that_is_expanded_is_the_cause() {
    let of = |value: &'static str, seconds| [("[1/3] FROM a", Some(0.0)), (value, seconds), ("[3/3] RUN npm ci", seconds)];
    let a = of("[2/3] RUN echo \"Cache bust: 1700000000\"", None);
    let b = of("[2/3] RUN echo \"Cache bust: 1700000001\"", Some(0.1));
    let diff = compare(side(None, &a, &[]), side(None, &b, &[]), None);
    let step = &diff.steps[1];
    assert_eq!((step.edited, step.became), (false, Became::LostCache));
    assert_eq!(step.causes[0], Cause::Text { gone: vec!["1700000000\"".to_owned()], new: vec!["1700000001\"".to_owned()] });
}

#[test]
fn a_base_that_was_renewed_and_an_import_that_is_gone() {
    let base = |digest: &str| format!("[1/2] FROM node:22@sha256:{}", digest.repeat(64));
    let (old, new) = (base("a"), base("b"));
    let with_base = |mut side: Side| {
        let bases = side.rows.steps.iter().filter_map(|row| StepName::parse(&row.name).base).collect();
        side.rows.builds[0].bases = bases;
        side
    };
    let a = with_base(side(None, &[(&old, Some(0.0)), ("[2/2] RUN npm ci", None)], &["r.example.org/app:cache"]));
    let b = with_base(side(None, &[(&new, Some(9.0)), ("[2/2] RUN npm ci", Some(60.0))], &[]));
    let diff = compare(a, b, None);
    assert_eq!(became_of(&diff)[0].1, Became::Slower, "FROM is the same step, and pulling took time");
    let kinds: Vec<_> = diff.steps[1]
        .causes
        .iter()
        .map(|cause| match cause {
            Cause::Base(sign) | Cause::Sign(sign) => sign.kind,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [SignKind::Base, SignKind::CacheImport]);
}

#[test]
fn added_removed_slower_faster_broken() {
    let a = [("[1/5] RUN a x", Some(10.0)), ("[2/5] RUN b", Some(10.0)), ("[3/5] RUN c", Some(1.0)), ("[4/5] COPY old ./", Some(1.0))];
    let b =
        [("[1/5] RUN a x", Some(20.0)), ("[2/5] RUN b", Some(5.0)), ("[3/5] RUN c", Some(1.1)), ("[4/5] RUN apt-get update", Some(3.0))];
    let diff = compare(side(None, &a, &[]), side(None, &b, &[]), None);
    let verdicts: Vec<Became> = became_of(&diff).into_iter().map(|step| step.1).collect();
    assert_eq!(verdicts, [Became::Slower, Became::Faster, Became::Same, Became::Added, Became::Removed]);
    let mut failed = side(None, &b, &[]);
    failed.rows.steps[3].status = Status::Error;
    let diff = compare(side(None, &b, &[]), failed, None);
    assert_eq!(became_of(&diff)[3].1, Became::Broken);
}

#[test]
fn cached_in_a_failed_build_proves_nothing() {
    let a = side(None, &[("[1/2] RUN a", None)], &[]);
    let mut doubtful = a.clone();
    doubtful.rows.steps[0].cache_hit = None;
    let ran = side(None, &[("[1/2] RUN a", Some(5.0))], &[]);
    assert_eq!(compare(a, ran.clone(), None).steps[0].became, Became::LostCache);
    assert_eq!(compare(doubtful, ran, None).steps[0].became, Became::Same);
}

#[test]
fn builds_of_one_log_are_told_apart() {
    let service = |name: &str, build: u32| {
        let steps = [format!("[2/4] COPY services/{name} /app"), "[3/4] RUN pip install -r requirements.txt".to_owned()];
        steps.map(|name| StepRow { build, ..step(0, &name, Status::Done, Some(f64::from(build + 1))) })
    };
    let log = |services: &[&str]| {
        let mut of = side(None, &[], &[]);
        of.rows.steps = (0..).zip(services).flat_map(|(build, name)| service(name, build)).collect();
        of
    };
    // The second of three services is not built any more.
    let diff = compare(log(&["auth", "jobs", "user"]), log(&["auth", "user"]), None);
    let pairs: Vec<_> =
        diff.steps.iter().map(|step| (step.a.as_ref().map(|row| row.build), step.b.as_ref().map(|row| row.build))).collect();
    assert_eq!(pairs, [(Some(0), Some(0)), (Some(0), Some(0)), (Some(2), Some(1)), (Some(2), Some(1)), (Some(1), None), (Some(1), None)]);
}

fn any_side() -> impl Strategy<Value = Side> {
    let name = (
        prop::sample::select(vec!["", "a ", "b ", "x build "]),
        1..6_u32,
        prop::sample::select(vec!["RUN", "COPY", "COPY --from=build"]),
        "[a-c]( [a-c]){0,2}",
    )
        .prop_map(|(stage, number, keyword, text)| format!("[{stage}{number}/9] {keyword} {text}"));
    let name = prop_oneof![5 => name, 1 => Just("[internal] load build context".to_owned()), 1 => Just("exporting to image".to_owned()), 1 => ".{0,12}"];
    let step = (name, prop::option::of(0.0..1000.0_f64));
    (prop::option::of(0.0..5000.0_f64), prop::collection::vec(step, 0..15)).prop_map(|(total, steps)| {
        let steps: Vec<(&str, Option<f64>)> = steps.iter().map(|(name, seconds)| (name.as_str(), *seconds)).collect();
        side(total, &steps, &[])
    })
}

proptest! {
    #[test]
    fn totals_add_up_and_no_step_is_lost(a in any_side(), b in any_side()) {
        let (in_a, in_b) = (a.rows.steps.len(), b.rows.steps.len());
        let executed = |side: &Side| side.rows.steps.iter().filter_map(|row| row.seconds).sum::<f64>();
        let (sum_a, sum_b) = (executed(&a), executed(&b));
        let diff = compare(a, b, Some(&changed(&["a"], &[])));
        prop_assert_eq!(diff.steps.iter().filter(|step| step.a.is_some()).count(), in_a);
        prop_assert_eq!(diff.steps.iter().filter(|step| step.b.is_some()).count(), in_b);
        let delta: f64 = diff.steps.iter().map(StepDiff::delta).sum();
        prop_assert!((delta - diff.in_steps.delta()).abs() < 1e-6);
        prop_assert!((diff.in_steps.a - sum_a).abs() < 1e-6 && (diff.in_steps.b - sum_b).abs() < 1e-6);
        if let (Some(total), Some(overlap)) = (diff.total, diff.overlap()) {
            prop_assert!((diff.in_steps.delta() - overlap.delta() - total.delta()).abs() < 1e-6);
        }
        for (at, step) in diff.steps.iter().enumerate() {
            prop_assert_eq!(step.root.is_some(), step.became == Became::LostCache && step.b.as_ref().is_some_and(|row| row.kind == Kind::Instruction && row.number.is_some()), "{}", at);
            if let Some(root) = step.root {
                prop_assert!(diff.steps[root].b.is_some(), "a root ran");
            }
        }
    }

    #[test]
    fn a_build_does_not_differ_from_itself(a in any_side()) {
        let diff = compare(a.clone(), a, None);
        prop_assert!(diff.steps.iter().all(|step| step.became == Became::Same && !step.edited));
        prop_assert!(diff.in_steps.delta().abs() < 1e-9 && diff.signs.is_empty());
    }
}
