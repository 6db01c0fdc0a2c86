//! How long the ledger takes: the weekly roll-up of a large one and its memory, a ledger that nobody folded by hand, recording one run.
//!
//! `cargo bench --bench history` measures all three with a million builds of 40 steps (of 20 projects in two years, some 250 MB below
//! `target/bench-history`, made once). Smaller: `BKLOG_BENCH_BUILDS=20000 BKLOG_BENCH_RUNS=1000`. `-- rollup DIR` rolls one ledger up and
//! prints one line of JSON; `scripts/bench_duckdb.py` compares that with DuckDB.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and a panic ends it")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use bklog::{
    build::{DurationSource, Kind, Outcome, Status},
    history::{BuildRow, Clock, History, RunRow, RunRows, Selection, StepRow, rows::duration_bucket, week},
};
use jiff::Timestamp;

const ALL: Selection = Selection { project: None, since: None, until: None, branch: None };
const PROJECTS: usize = 20;
const MONTHS: i64 = 24;
const STEPS: usize = 40;
/// 2024-01-01T00:00:00Z
const BEGIN: i64 = 1_704_067_200;
const MONTH: i64 = 2_629_746;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["rollup", dir] => roll_up(Path::new(dir)),
        ["make", dir] => make(Path::new(dir), number("BKLOG_BENCH_BUILDS", 1_000_000)),
        _ => all(),
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn all() {
    let place = PathBuf::from(std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned())).join("bench-history");
    let builds = number("BKLOG_BENCH_BUILDS", 1_000_000);
    let large = place.join(format!("builds-{builds}"));
    if !large.join("made").exists() {
        let _ = fs::remove_dir_all(&large);
        let begun = Instant::now();
        make(&large, builds);
        fs::write(large.join("made"), "").unwrap();
        println!("made {builds} builds of {STEPS} steps in {:.1} s", begun.elapsed().as_secs_f64());
    }
    println!("weekly roll-up of {builds} builds x {STEPS} steps (count, p50, p95, cache ratio by project, step and week):");
    for _ in 0..3 {
        println!("  {}", rolled(&large).trim());
    }
    unfolded(&place, number("BKLOG_BENCH_RUNS", 10_000));
}

/// Rolls up in a process of its own, whose memory is that of the roll-up alone.
fn rolled(dir: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap()).arg("rollup").arg(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn roll_up(dir: &Path) {
    let begun = Instant::now();
    let history = History::open(dir, "");
    let weeks = history.rollup(&ALL).unwrap();
    let (mut median, mut late, mut ratio) = (0.0, 0.0, 0.0);
    for week in &weeks {
        median += week.percentile(0.5).unwrap_or_default();
        late += week.percentile(0.95).unwrap_or_default();
        ratio += week.cache_ratio().unwrap_or_default();
    }
    let seconds = begun.elapsed().as_secs_f64();
    assert!(history.problems().is_empty(), "{:?}", history.problems());
    let rows: u64 = weeks.iter().map(|week| week.count).sum();
    let count = weeks.len() as f64;
    let peak = peak_memory().map_or_else(|| "null".to_owned(), |mib| format!("{mib:.0}"));
    println!(
        "{{\"seconds\": {seconds:.3}, \"peak_mib\": {peak}, \"rows\": {rows}, \"weeks\": {}, \"mean_p50\": {:.3}, \"mean_p95\": {:.3}, \
         \"mean_cache_ratio\": {:.3}}}",
        weeks.len(),
        median / count,
        late / count,
        ratio / count
    );
}

/// The most memory that this process had, in MiB, where the system says it.
fn peak_memory() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// Runs that were recorded one by one, of which nobody folded any by hand, against the same runs folded.
fn unfolded(place: &Path, runs: usize) {
    let dir = place.join(format!("runs-{runs}"));
    let _ = fs::remove_dir_all(&dir);
    let mut numbers = Numbers(3);
    let mut times = Vec::with_capacity(runs);
    let history = History::open(&dir, "project-0");
    for run in 0..runs {
        // A year up to now, as a team's history is.
        let at = Timestamp::now().as_second() - 31_556_952 + 31_556_952 * run as i64 / runs as i64;
        let rows = one_run(0, at, run, &mut numbers);
        let begun = Instant::now();
        history.record(&rows, &[], Clock::Known).unwrap();
        history.tidy();
        times.push(begun.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| 1000.0 * times[((times.len() - 1) as f64 * share) as usize];
    println!("recording {runs} runs, folding included: median {:.1} ms, 95 % {:.1} ms, longest {:.1} ms", at(0.5), at(0.95), at(1.0));
    let seconds = |text: String| -> f64 { text.split("\"seconds\": ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap() };
    let best = || (0..5).map(|_| seconds(rolled(&dir))).fold(f64::INFINITY, f64::min);
    let before = best();
    history.compact(&ALL).unwrap();
    let after = best();
    println!("roll-up of {runs} runs that nobody folded: {before:.3} s; folded: {after:.3} s; ratio {:.1}", before / after);
}

/// Makes a ledger of so many builds, spread over all projects and months.
fn make(dir: &Path, builds: usize) {
    let each = builds.div_ceil(PROJECTS * MONTHS as usize);
    let mut numbers = Numbers(1);
    for project in 0..PROJECTS {
        let history = History::open(dir, "");
        for month in 0..MONTHS {
            let runs: Vec<RunRows> = (0..each)
                .map(|run| {
                    let at = BEGIN + MONTH * month + MONTH * run as i64 / each as i64;
                    one_run(project, at, run, &mut numbers)
                })
                .collect();
            history.seed(&runs).unwrap();
        }
    }
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    /// Between 0 and 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn one_run(project: usize, at: i64, number: usize, numbers: &mut Numbers) -> RunRows {
    let at = Timestamp::from_second(at).unwrap();
    let commit = format!("{:040x}", (numbers.next() * 1e18) as u128);
    let id = format!("{}-{}-{:012x}", at.strftime("%Y%m%dT%H%M%S%.3f"), &commit[30..37], project * 1_000_000_000 + number);
    let warm = numbers.next() < 0.8;
    let mut steps = Vec::with_capacity(STEPS);
    let mut total = 0.0;
    for index in 0..STEPS {
        let cached = index < 30 && (warm || numbers.next() < 0.2);
        // Skewed, as times are: some spread around the step's own, now and then much longer.
        let usual = 0.2 * 1.15_f64.powi(index as i32);
        let seconds =
            (!cached).then(|| (10.0 * usual * (1.0 + 0.3 * (numbers.next() - 0.5)) / (1.02 - numbers.next()).sqrt()).round() / 10.0);
        total += seconds.unwrap_or_default();
        steps.push(StepRow {
            run: id.clone(),
            build: 0,
            index: index as u32 + 1,
            name: format!("[app stage-{} {}/10] RUN make part-{index}", index / 10, index % 10 + 1),
            identity: format!("app RUN make part-{index}"),
            kind: Kind::Instruction,
            target: Some("app".to_owned()),
            stage: Some(format!("stage-{}", index / 10)),
            platform: None,
            number: Some(index as u32 % 10 + 1),
            keyword: Some("RUN".to_owned()),
            status: if cached { Status::Cached } else { Status::Done },
            cache_hit: cached.then_some(true),
            seconds,
            duration_bucket: seconds.map(duration_bucket),
            transferred_bytes: None,
            verdict: None,
            error: None,
        });
    }
    let executed = steps.iter().filter(|step| step.status == Status::Done).count() as u32;
    let build = BuildRow {
        run: id.clone(),
        outcome: Some(Outcome::Succeeded),
        seconds: Some(total),
        duration_source: Some(DurationSource::Estimate),
        duration_bucket: Some(duration_bucket(total)),
        executed,
        cached: STEPS as u32 - executed,
        executed_seconds: total,
        ..BuildRow::default()
    };
    let run = RunRow {
        run: id,
        project: format!("project-{project}"),
        at,
        finished_at: None,
        week: week(at),
        commit: Some(commit),
        branch: Some("main".to_owned()),
        job_url: None,
        runner: None,
        builder: Some("default".to_owned()),
        command: None,
        outcome: Outcome::Succeeded,
        builds: 1,
        seconds: Some(total),
        duration_source: Some(DurationSource::Estimate),
        duration_bucket: Some(duration_bucket(total)),
        images: Vec::new(),
        bklog: env!("CARGO_PKG_VERSION").to_owned(),
    };
    RunRows { run, builds: vec![build], steps }
}
