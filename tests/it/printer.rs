//! Builds printed by the model of BuildKit's printer must be read as what they were.

use std::{cell::Cell, fmt::Write as _};

use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    build_plans::{self, BuildPlan, Client, Ending},
    printer_model,
    records::{self, BuildRecord},
};

fn client() -> impl Strategy<Value = Client> {
    prop_oneof![2 => Just(Client::Buildx), 1 => Just(Client::Buildctl), 1 => Just(Client::Docker20)]
}

fn any_build() -> impl Strategy<Value = BuildPlan> {
    client().prop_flat_map(build_plans::plan)
}

/// Several builds of one log, one after another.
fn builds() -> impl Strategy<Value = Vec<BuildPlan>> {
    client().prop_flat_map(|client| vec(build_plans::plan(client), 1..4)).prop_map(|mut plans| {
        let last = plans.len() - 1;
        for (n, plan) in plans.iter_mut().enumerate() {
            // Without `#0` a build that was stopped and a step that opens again look alike.
            if n < last && plan.client != Client::Buildx && plan.ending != Ending::FailsAfterwards {
                plan.ending = Ending::ByItself;
            }
            // The lines behind a killed build may belong to the name or the error that it printed last.
            if n > 0 {
                plan.before.clear();
            }
        }
        plans
    })
}

fn print_all(plans: &[BuildPlan]) -> (Vec<u8>, Vec<BuildRecord>) {
    let (mut log, mut records) = (Vec::new(), Vec::new());
    for plan in plans {
        if !log.is_empty() && !log.ends_with(b"\n") {
            log.push(b'\n');
        }
        let (text, record) = printer_model::print(plan);
        log.extend(text);
        records.push(record);
    }
    (log, records)
}

fn check(log: &[u8], expected: &[BuildRecord]) -> Result<(), TestCaseError> {
    let found: Vec<BuildRecord> = records::read(log).iter().map(BuildRecord::from).collect();
    if found != expected {
        let mut text = String::new();
        for (n, (found, expected)) in found.iter().zip(expected).enumerate() {
            if (found.outcome, &found.builder) != (expected.outcome, &expected.builder) {
                let _ = writeln!(
                    text,
                    "build {n}: {:?} {:?}, expected {:?} {:?}",
                    found.outcome, found.builder, expected.outcome, expected.builder
                );
            }
            for at in 0..found.steps.len().max(expected.steps.len()) {
                if found.steps.get(at) != expected.steps.get(at) {
                    let _ = writeln!(
                        text,
                        "build {n}, step {at}:\n  found    {:?}\n  expected {:?}",
                        found.steps.get(at),
                        expected.steps.get(at)
                    );
                }
            }
        }
        return Err(TestCaseError::fail(format!(
            "{} builds, expected {}\n{text}--- the log\n{}",
            found.len(),
            expected.len(),
            log.escape_ascii().to_string().replace("\\n", "\n")
        )));
    }
    Ok(())
}

/// How a CI system shows a line: what it puts in front and behind.
#[derive(Debug, Clone, Copy)]
struct Wrapping {
    name: &'static str,
    front: fn(&Line) -> String,
    back: &'static str,
    /// True where blanks at the end of a line are lost.
    trims: bool,
}

/// A line as the CI system sees it.
struct Line<'a> {
    job: &'a str,
    number: u64,
    milliseconds: u64,
}

impl Line<'_> {
    fn clock(&self) -> String {
        let seconds = self.milliseconds / 1000;
        format!("{:02}:{:02}:{:02}", 2 + seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    fn rfc3339(&self, decimals: usize) -> String {
        let fraction = format!("{:03}5678901", self.milliseconds % 1000);
        format!("2026-11-21T{}.{}Z", self.clock(), &fraction[..decimals])
    }
}

const fn wrapping(name: &'static str, front: fn(&Line) -> String) -> Wrapping {
    Wrapping { name, front, back: "", trims: false }
}

const WRAPPINGS: &[Wrapping] = &[
    wrapping("github", |l| format!("{} ", l.rfc3339(7))),
    wrapping("gh run view", |l| format!("{}\tBuild and push\t{} ", l.job, l.rfc3339(7))),
    wrapping("gitlab", |l| format!("{} 01O ", l.rfc3339(6))),
    wrapping("jenkins, time of day", |l| format!("{}  ", l.clock())),
    wrapping("jenkins, branches", |l| format!("[{}] [{}] ", l.rfc3339(3), l.job)),
    wrapping("kubectl --timestamps", |l| format!("{} ", l.rfc3339(9))),
    wrapping("kubectl --prefix", |l| format!("[pod/{}-7d9f-abc12/build] ", l.job)),
    wrapping("journald", |l| format!("Nov 21 {} runner docker[4242]: ", l.clock())),
    wrapping("ts", |l| format!("Nov 21 {} ", l.clock())),
    wrapping("ts -s with fractions", |l| format!("{}.{:06} ", l.milliseconds / 1000, l.milliseconds % 1000 * 1000)),
    wrapping("blank between date and time", |l| format!("2026-11-21 {} ", l.clock())),
    wrapping("cloud build", |l| format!("Step #0 - \"{}\": ", l.job)),
    wrapping("codebuild", |l| format!("[Container] 2026/01/02 {}.123456 ", l.clock())),
    wrapping("compose", |l| format!("{:<12} | ", l.job)),
    wrapping("act", |l| format!("[CI/{}]   | ", l.job)),
    wrapping("tekton", |l| format!("[{} : build] ", l.job)),
    wrapping("drone", |l| format!("[{}:L{}:{}s] ", l.job, l.number, l.milliseconds / 1000)),
    wrapping("teamcity", |l| format!("[{}] :\t [Step 1/2] ", l.clock())),
    wrapping("quoted", |_| "> ".to_owned()),
    wrapping("indented", |_| "    ".to_owned()),
    wrapping("tab", |_| "\t".to_owned()),
    wrapping("cat -n", |l| format!("{:>6}\t", l.number)),
    Wrapping { name: "buildkite", front: |l| format!("\u{1b}_bk;t={}\u{7}", 1_795_227_366_446 + l.milliseconds), back: "\r", trims: false },
    Wrapping { name: "coloured", front: |_| "\u{1b}[36m".to_owned(), back: "\u{1b}[0m", trims: false },
    Wrapping { name: "reset in front", front: |_| "\u{1b}[0m".to_owned(), back: "", trims: false },
    Wrapping { name: "crlf", front: |_| String::new(), back: "\r", trims: false },
    Wrapping { name: "github, trimmed", front: |l| format!("{} ", l.rfc3339(7)), back: "", trims: true },
    Wrapping { name: "compose, trimmed", front: |l| format!("{:<12} | ", l.job), back: "", trims: true },
    Wrapping { name: "quoted, trimmed", front: |_| "> ".to_owned(), back: "", trims: true },
];

/// Wrappings that name the job, so that jobs that run at the same time can be told apart.
fn job_wrappings() -> Vec<Wrapping> {
    let names = ["gh run view", "jenkins, branches", "kubectl --prefix", "cloud build", "compose", "act", "tekton", "compose, trimmed"];
    WRAPPINGS.iter().filter(|w| names.contains(&w.name)).copied().collect()
}

impl Wrapping {
    fn line(&self, line: &Line, text: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        out.extend((self.front)(line).into_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(self.back.as_bytes());
        while self.trims && out.len() > from && matches!(out.last(), Some(b' ' | b'\t')) {
            out.pop();
        }
    }

    fn wrap(&self, log: &[u8], job: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for (n, line) in log.split_inclusive(|b| *b == b'\n').enumerate() {
            let number = n as u64 + 1;
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            self.line(&Line { job, number, milliseconds: number * 137 }, text, &mut out);
            if line.ends_with(b"\n") {
                out.push(b'\n');
            }
        }
        out
    }
}

/// Names of jobs that run side by side.
const JOBS: [&[&str]; 3] = [&["backend", "frontend", "worker"], &["build-amd64", "build-arm64", "lint"], &["job-1", "job-2", "job-3"]];

/// `PROPTEST_CASES` asks for more cases than these few hundred, which take seconds.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 300 };
    ProptestConfig { cases, max_shrink_iters: 4000, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_build_is_read_as_it_was(plan in any_build()) {
        let (log, record) = printer_model::print(&plan);
        check(&log, &[record])?;
    }

    #[test]
    fn builds_one_after_another(plans in builds()) {
        let (log, records) = print_all(&plans);
        check(&log, &records)?;
    }

    #[test]
    fn prefixes_come_off(plans in builds(), wrapping in select(WRAPPINGS)) {
        let (log, records) = print_all(&plans);
        let wrapped = wrapping.wrap(&log, "build");
        check(&wrapped, &records).map_err(|e| TestCaseError::fail(format!("{}: {e}", wrapping.name)))?;
    }

    /// Some viewers drop blank lines.
    #[test]
    fn without_blank_lines(mut plan in any_build()) {
        // The further lines of an error, or of a name, may be blank themselves.
        plan.flatten();
        let (log, record) = printer_model::print(&plan);
        let dense = log.split_inclusive(|b| *b == b'\n').filter(|line| *line != b"\n").collect::<Vec<_>>().concat();
        check(&dense, &[record])?;
    }

    #[test]
    fn jobs_that_run_side_by_side(
        // Without `#0`, `job-1` and `job-2` may be a counter in the prefix as well as two jobs; so all have the same client.
        plans in client().prop_flat_map(|client| vec(build_plans::plan(client), 2..4)),
        wrapping in select(job_wrappings()),
        jobs in select(&JOBS[..]),
        order in vec(any::<u8>(), 1..50),
    ) {
        let printed: Vec<(Vec<u8>, BuildRecord)> = plans.iter().map(printer_model::print).collect();
        let mut queues: Vec<std::collections::VecDeque<&[u8]>> = printed.iter().map(|(log, _)| log.split_inclusive(|b| *b == b'\n').collect()).collect();
        let (mut out, mut turn, number) = (Vec::new(), 0, Cell::new(0));
        let mut begun: Vec<usize> = Vec::new();
        while queues.iter().any(|queue| !queue.is_empty()) {
            let job = usize::from(order[turn % order.len()]) % queues.len();
            let run = 1 + turn % 3;
            turn += 1;
            for _ in 0..run {
                // A round of dice that never names a job would never end.
                let Some(job) = (0..queues.len()).map(|n| (job + n) % queues.len()).find(|n| !queues[*n].is_empty()) else { break };
                let Some(line) = queues[job].pop_front() else { break };
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                number.set(number.get() + 1);
                wrapping.line(&Line { job: jobs[job], number: number.get(), milliseconds: number.get() * 137 }, text, &mut out);
                out.push(b'\n');
                // Builds are told in the order of their first line.
                if !begun.contains(&job) && text.starts_with(b"#") {
                    begun.push(job);
                }
            }
        }
        let expected: Vec<BuildRecord> = begun.iter().map(|job| printed[*job].1.clone()).collect();
        check(&out, &expected).map_err(|e| TestCaseError::fail(format!("{}: {e}", wrapping.name)))?;
    }

    #[test]
    fn pieces_of_any_size(plans in builds(), wrapping in select(WRAPPINGS), cuts in vec(1..200usize, 1..20)) {
        let log = wrapping.wrap(&print_all(&plans).0, "build");
        let whole = records::read(&log);
        let (mut pieces, mut rest, mut n) = (Vec::new(), log.as_slice(), 0);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts[n % cuts.len()].min(rest.len()));
            pieces.push(piece);
            (rest, n) = (after, n + 1);
        }
        prop_assert_eq!(records::read_pieces(pieces), whole);
    }
}
