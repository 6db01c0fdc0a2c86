//! How long the ledger takes: the weekly roll-up of a large one and its memory, runs that nobody folded, recording one run, the report and
//! the trend of a year of a hundred builds a day.
//!
//! `cargo bench --bench history` measures all with a million builds of 40 steps (of 20 projects in two years, some 250 MB below
//! `target/bench-history`, made once, with the sums that folding stores). Smaller: `BKLOG_BENCH_BUILDS=20000 BKLOG_BENCH_RUNS=1000
//! BKLOG_BENCH_YEAR=3650`. `-- rollup DIR` rolls one ledger up and prints one line of JSON; `scripts/bench_duckdb.py` compares that with
//! DuckDB. `-- year DIR` makes the year alone.
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

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["rollup", dir] => roll_up(Path::new(dir)),
        ["make", dir] => make(Path::new(dir), number("BKLOG_BENCH_BUILDS", 1_000_000)),
        ["year", dir] => make_year(Path::new(dir), number("BKLOG_BENCH_YEAR", 36_500)),
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
        println!("  as folding leaves it   {}", rolled(&large).trim());
    }
    without_sums(&large, || {
        for _ in 0..3 {
            println!("  from the rows alone    {}", rolled(&large).trim());
        }
    });
    unfolded(&place, number("BKLOG_BENCH_RUNS", 10_000));
    year(&place, number("BKLOG_BENCH_YEAR", 36_500));
}

/// Does something while the sums that folds stored are out of the way.
fn without_sums<T>(dir: &Path, then: impl FnOnce() -> T) -> T {
    let (sums, aside) = (dir.join("weeks"), dir.with_extension("sums"));
    fs::rename(&sums, &aside).unwrap();
    let result = then();
    fs::rename(&aside, &sums).unwrap();
    result
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

/// Runs that were recorded one by one: as recording leaves them, which folds by itself; as nobody leaves them, a file each; folded.
fn unfolded(place: &Path, runs: usize) {
    let (dir, apart) = (place.join(format!("runs-{runs}")), place.join(format!("runs-{runs}-apart")));
    let mut numbers = Numbers(3);
    let mut times = Vec::with_capacity(runs);
    for dir in [&dir, &apart] {
        let _ = fs::remove_dir_all(dir);
    }
    let (history, never) = (History::open(&dir, "project-0"), History::open(&apart, "project-0"));
    for run in 0..runs {
        // A year up to now, as a team's history is.
        let at = Timestamp::now().as_second() - 31_556_952 + 31_556_952 * run as i64 / runs as i64;
        let rows = one_run("project-0", &["app"], at, run, 1.0, &mut numbers);
        never.record(&rows, &[], Clock::Known).unwrap();
        let begun = Instant::now();
        history.record(&rows, &[], Clock::Known).unwrap();
        history.tidy();
        times.push(begun.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| 1000.0 * times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "recording {runs} runs, folding included: median {:.1} ms, 95 % {:.1} ms, 99 % {:.1} ms, longest {:.1} ms (limit 30 ms; what folds comes after the answer)",
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );
    let seconds = |text: String| -> f64 { text.split("\"seconds\": ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap() };
    let best = |dir: &Path| (0..5).map(|_| seconds(rolled(dir))).fold(f64::INFINITY, f64::min);
    let (left, left_rows, alone) = (best(&dir), without_sums(&dir, || best(&dir)), best(&apart));
    history.compact(&ALL).unwrap();
    let (folded, rows) = (best(&dir), without_sums(&dir, || best(&dir)));
    println!("roll-up of {runs} runs, s (as often as folded):");
    println!("  folded                                        {folded:.4}         from the rows alone {rows:.4}");
    let (ratio, ratio_rows) = (left / folded, left_rows / rows);
    println!(
        "  as recording leaves them                      {left:.4} ({ratio:.1} x)                     {left_rows:.4} ({ratio_rows:.1} x)"
    );
    println!(
        "  a file each, which no recording leaves        {alone:.4} ({:.1} x)                            ({:.1} x)",
        alone / folded,
        alone / rows
    );
}

/// The report and the trend of a year of a hundred builds a day, as recording leaves it and folded.
fn year(place: &Path, builds: usize) {
    let dir = place.join(format!("year-{builds}"));
    let _ = fs::remove_dir_all(&dir);
    make_year(&dir, builds);
    let out = place.join("report");
    for state in ["as recording leaves it", "folded"] {
        if state == "folded" {
            History::open(&dir, "shop").compact(&ALL).unwrap();
        }
        println!("a year of {builds} builds of {STEPS} steps, {state} (limit 2 s each):");
        for command in [
            "report --since 7d --format json",
            "report --since 365d --format html --out report.html",
            "report --since 365d --format markdown",
            "report --since 365d --format json",
            "report --since 365d --out all/ --charts all/charts",
            "trend",
            "trend --target api --step install",
        ] {
            let words = command
                .split(' ')
                .map(|word| if word.contains('/') || word.contains('.') { out.join(word).into_os_string() } else { word.into() });
            let mut bklog = Command::new(env!("CARGO_BIN_EXE_bklog"));
            bklog.args(words).args(["--project", "shop"]).env("BKLOG_HISTORY", &dir);
            let seconds = (0..3).map(|_| {
                let begun = Instant::now();
                let output = bklog.output().unwrap();
                assert!(output.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&output.stderr));
                begun.elapsed().as_secs_f64()
            });
            println!("  {:.3} s  bklog {command}", seconds.fold(f64::INFINITY, f64::min));
        }
    }
}

/// A year up to now of one project with three targets. From the third quarter on one target's installation takes thrice as long.
fn make_year(dir: &Path, builds: usize) {
    let history = History::open(dir, "shop");
    let mut numbers = Numbers(5);
    let now = Timestamp::now().as_second();
    let mut months: Vec<Vec<RunRows>> = Vec::new();
    for run in 0..builds {
        let at = now - 31_536_000 + 31_536_000 * run as i64 / builds as i64;
        let slow = if run > builds * 3 / 4 { 3.0 } else { 1.0 };
        let rows = one_run("shop", &["api", "web", "worker"], at, run, slow, &mut numbers);
        let month = rows.run.at.strftime("%Y-%m").to_string();
        match months.last_mut() {
            Some(last) if last[0].run.at.strftime("%Y-%m").to_string() == month => last.push(rows),
            _ => months.push(vec![rows]),
        }
    }
    let current = months.len() - 1;
    for (number, mut month) in months.into_iter().enumerate() {
        // As many files of single runs as recording leaves at most.
        let apart = month.split_off(month.len().saturating_sub(if number == current { 200 } else { 8 }));
        history.seed(&month).unwrap();
        for rows in apart {
            history.record(&rows, &[], Clock::Known).unwrap();
        }
    }
}

/// Makes a ledger of so many builds, spread over all projects and months.
fn make(dir: &Path, builds: usize) {
    let each = builds.div_ceil(PROJECTS * MONTHS as usize);
    let mut numbers = Numbers(1);
    for project in 0..PROJECTS {
        let history = History::open(dir, "");
        for month in 0..MONTHS {
            // Calendar months, as folding leaves one file of each.
            let first = |month: i64| {
                let (year, month) = (2024 + month / 12, month % 12 + 1);
                format!("{year}-{month:02}-01T00:00:00Z").parse::<Timestamp>().unwrap().as_second()
            };
            let (begin, length) = (first(month), first(month + 1) - first(month));
            let runs: Vec<RunRows> = (0..each)
                .map(|run| {
                    let at = begin + length * run as i64 / each as i64;
                    one_run(&format!("project-{project}"), &["app"], at, project * 1_000_000_000 + run, 1.0, &mut numbers)
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

/// One run. `slow` is what the first target's installation takes, in times of the usual.
fn one_run(project: &str, targets: &[&str], at: i64, number: usize, slow: f64, numbers: &mut Numbers) -> RunRows {
    let at = Timestamp::from_second(at).unwrap();
    let commit = format!("{:040x}", (numbers.next() * 1e18) as u128);
    let id = format!("{}-{}-{number:012x}", at.strftime("%Y%m%dT%H%M%S%.3f"), &commit[30..37]);
    let warm = numbers.next() < 0.8;
    let mut steps: Vec<StepRow> = Vec::with_capacity(STEPS);
    let each = STEPS / targets.len();
    for (place, target) in targets.iter().enumerate() {
        for index in 0..each {
            let cached = index < each * 3 / 4 && (warm || numbers.next() < 0.2);
            // Skewed, as times are: some spread around the step's own, now and then much longer.
            let usual = 0.2 * 1.15_f64.powi(index as i32);
            let is_install = place == 0 && index + 1 == each && targets.len() > 1;
            let usual = if is_install { 30.0 * slow } else { usual };
            let seconds =
                (!cached).then(|| (10.0 * usual * (1.0 + 0.3 * (numbers.next() - 0.5)) / (1.02 - numbers.next()).sqrt()).round() / 10.0);
            let what = if is_install { "install" } else { "make part" };
            steps.push(StepRow {
                run: id.clone(),
                build: 0,
                index: steps.len() as u32 + 1,
                name: format!("[{target} stage-{} {}/10] RUN {what}-{index}", index / 10, index % 10 + 1),
                identity: format!("{target} RUN {what}-{index}"),
                kind: Kind::Instruction,
                target: Some((*target).to_owned()),
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
    }
    let build = |target: Option<&str>| {
        let of = || steps.iter().filter(|step| target.is_none() || step.target.as_deref() == target);
        let total: f64 = of().filter_map(|step| step.seconds).sum();
        let executed = of().filter(|step| step.status == Status::Done).count() as u32;
        BuildRow {
            run: id.clone(),
            target: target.map(str::to_owned),
            outcome: Some(Outcome::Succeeded),
            seconds: Some(total),
            duration_source: Some(DurationSource::Estimate),
            duration_bucket: Some(duration_bucket(total)),
            executed,
            cached: of().count() as u32 - executed,
            executed_seconds: total,
            ..BuildRow::default()
        }
    };
    let mut builds = vec![build(None)];
    builds.extend(targets.iter().map(|target| build(Some(target))));
    if targets.len() == 1 {
        builds.truncate(1);
    }
    let run = RunRow {
        run: id.clone(),
        project: project.to_owned(),
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
        seconds: builds[0].seconds,
        duration_source: Some(DurationSource::Estimate),
        duration_bucket: builds[0].duration_bucket,
        images: Vec::new(),
        bklog: env!("CARGO_PKG_VERSION").to_owned(),
    };
    RunRows { run, builds, steps }
}
