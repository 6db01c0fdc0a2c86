//! Builds for the model of the printer: stages, steps of all kinds, outputs and names that look like BuildKit's own lines.
//!
//! What the format cannot tell is not generated; each place says why.

use proptest::{collection::vec, prelude::*, sample::select};

/// Which client prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Buildx,
    Buildctl,
    Docker20,
}

/// Something that a running step does.
#[derive(Debug, Clone)]
pub enum Act {
    /// Its command writes these bytes; a line may go on in the next act. The second field is the time that passed, in milliseconds.
    Output(Vec<u8>, u32),
    /// A progress line.
    Progress { id: String, current: u64, total: u64, tenths: u32, done: bool },
    /// A build check.
    Warning(String),
}

/// How a step ends.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// In tenths of a second; `None` for a step without an interval.
    Done(Option<u32>),
    Cached,
    Error(String),
}

/// One step of a build that is to be printed.
#[derive(Debug, Clone)]
pub struct StepPlan {
    pub name: String,
    pub acts: Vec<Act>,
    pub end: End,
    /// After its end it opens again: for downloads, pushes, or because the solver looks at it once more.
    pub again: Option<(Vec<Act>, End)>,
}

/// How the whole build ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As its steps do.
    ByItself,
    /// Every step succeeds and the build fails all the same: an exporter, a progress group.
    FailsAfterwards,
    /// Ctrl-C after so many batches.
    Interrupted(u16),
    /// The client is killed after so many batches.
    Killed(u16),
}

/// What a build says after its steps.
#[derive(Debug, Clone, Default)]
pub struct Epilogue {
    pub no_output_warning: bool,
    pub check_summary: bool,
    pub details_link: bool,
    pub excerpt: bool,
}

/// A build that is to be printed.
#[derive(Clone)]
pub struct BuildPlan {
    pub client: Client,
    /// `PROGRESS_NO_TRUNC=0`
    pub cut_names: bool,
    pub steps: Vec<StepPlan>,
    pub ending: Ending,
    pub epilogue: Epilogue,
    /// Lines of other programs in front of the build.
    pub before: Vec<String>,
    /// Lines of other programs, written while the build runs.
    pub foreign: Vec<String>,
    /// Decides which of the possible things happens next.
    pub dice: Vec<u16>,
}

impl BuildPlan {
    /// Makes every name and error a single line.
    pub fn flatten(&mut self) {
        for step in &mut self.steps {
            step.name = step.name.replace('\n', " ");
            if let End::Error(error) = &mut step.end {
                *error = error.replace('\n', " ");
            }
        }
    }
}

impl std::fmt::Debug for BuildPlan {
    /// Short, because a test that fails shows the printed log, and that says more.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a build of {:?} with {} steps, {:?}", self.client, self.steps.len(), self.ending)
    }
}

/// Texts that look like lines of BuildKit, buildx, docker or a CI system.
const LOOKALIKES: &[&str] = &[
    "#5 DONE 0.1s",
    "#5 CACHED",
    "#5 ...",
    "#1 [internal] load build definition from Dockerfile",
    "#0 building with \"default\" instance using docker driver",
    "#12 [base 2/2] RUN x",
    "#3 0.123 nested",
    "#OTHER DONE 9.9s",
    "#OTHER ERROR: no",
    "#OTHER ...",
    "#OTHER 0.100 out",
    "DONE 0.0s",
    "CACHED",
    "CANCELED",
    "...",
    "0.123 nested time",
    "ERROR: failed to build: failed to solve: no",
    "ERROR: x",
    "error: failed to solve: x",
    "WARNING: No output specified",
    "WARN: x",
    "------",
    " > [2/2] RUN x:",
    "Dockerfile:3",
    "--------------------",
    "Step 1/5 : FROM alpine",
    " ---> Using cache",
    "Successfully built 0123456789ab",
    "[+] Building 0.2s (4/8)",
    "{\"vertexes\":[{}]}",
    "sha256:0123456789012345678901234567890123456789012345678901234567890123",
    "transferring context: 5B done",
    "[output clipped, log limit 2MiB reached]",
    "[output clipped, log limit",
    "2026-11-21T02:16:08.0214744Z #1 DONE 0.1s",
    "backend-1  | #4 CACHED",
    "docker : #1 CACHED",
    "1 warning found (use docker --debug to expand):",
    "executor failed running [x]: exit code: 1",
    "context canceled",
];

fn output_line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[ -~]{0,40}".prop_map(String::into_bytes),
        4 => select(LOOKALIKES).prop_map(|text| text.as_bytes().to_vec()),
        1 => select(LOOKALIKES).prop_map(|text| format!("part {text}").into_bytes()),
        1 => vec(any::<u8>().prop_filter("a newline ends the line", |b| *b != b'\n'), 0..30),
        1 => Just(b"  50%\r 100%\r".to_vec()),
        1 => Just("\u{1b}[31mred\u{1b}[0m \u{2028} \u{85}".as_bytes().to_vec()),
        1 => Just(Vec::new()),
        1 => (b'a'..=b'z').prop_map(|b| vec![b; 5000]),
    ]
}

/// A piece of output: whole lines, and perhaps the beginning of one.
fn output_piece() -> impl Strategy<Value = Vec<u8>> {
    (vec(output_line(), 1..4), any::<bool>()).prop_map(|(lines, open)| {
        let mut bytes = lines.join(&b'\n');
        // BuildKit writes the notice of a clipped output as a whole line.
        if !open || bytes.is_empty() || bytes.ends_with(b" reached]") {
            bytes.push(b'\n');
        }
        bytes
    })
}

fn output() -> impl Strategy<Value = Act> {
    (output_piece(), prop_oneof![3 => 0..40u32, 1 => 900..4000u32, 1 => 20_000..60_000u32])
        .prop_map(|(bytes, time)| Act::Output(bytes, time))
}

fn progress(ids: &'static [&'static str]) -> impl Strategy<Value = Act> {
    let bytes = prop_oneof![Just(0), 1..1000u64, 1000..3_000_000_000u64];
    (select(ids), bytes.clone(), bytes, 0..200u32, any::<bool>()).prop_map(|(id, current, total, tenths, done)| {
        // Only layers have a total; a context's size is not known before its end.
        let total = if id.starts_with("sha256:") { total.max(current) } else { 0 };
        Act::Progress { id: id.to_owned(), current, total, tenths, done }
    })
}

fn warning() -> impl Strategy<Value = Act> {
    select(
        &[
            "JSONArgsRecommended: JSON arguments recommended for CMD (line 3)",
            "UndefinedVar: Usage of undefined variable '$X' (line 9)",
            "#OTHER DONE",
        ][..],
    )
    .prop_map(|text| Act::Warning(text.to_owned()))
}

const LAYERS: &[&str] = &[
    "sha256:d21afd0123456789012345678901234567890123456789012345678901234567",
    "extracting sha256:d21afd0123456789012345678901234567890123456789012345678901234567",
    "resolve docker.io/library/alpine:3.20@sha256:d21afd0123456789012345678901234567890123456789012345678901234567",
];

const EXPORTS: &[&str] =
    &["exporting layers", "writing image sha256:00", "naming to docker.io/library/app:latest", "pushing layers", "merging"];

fn done() -> impl Strategy<Value = End> {
    prop_oneof![8 => (0..2000u32).prop_map(|tenths| End::Done(Some(tenths))), 1 => Just(End::Done(None))]
}

fn ran_or_cached() -> impl Strategy<Value = End> {
    prop_oneof![3 => done(), 2 => Just(End::Cached)]
}

/// A line within a quotation of a name. Not a whole `#0` line: that may as well begin the next build, where one was killed right after a
/// name with an apostrophe (`RUN <<EOF (echo it's…)`).
fn quoted_line() -> impl Strategy<Value = &'static str> {
    select(LOOKALIKES).prop_filter("begins a build", |line| !line.starts_with("#0 "))
}

/// The command of an instruction. Quotations are closed, or opened by an apostrophe in the summary of a heredoc.
fn command() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(RUN|run|COPY|ADD) [a-z0-9 ./=-]{1,30}".prop_map(|name| name.trim_end().to_owned()),
        2 => select(LOOKALIKES).prop_map(|text| format!("RUN echo '{text}'")),
        1 => select(LOOKALIKES).prop_map(|text| format!("RUN true # {}", text.replace(['"', '\''], ""))),
        2 => vec(quoted_line(), 1..4).prop_map(|lines| format!("RUN echo \"x\n{}\n\n y\" | wc -l", lines.join("\n").replace('"', ""))),
        1 => vec(quoted_line(), 1..3).prop_map(|lines| format!("RUN printf 'it\n{}' && echo \"\\\"\"", lines.join("\n").replace('\'', ""))),
        1 => Just("RUN <<EOF (echo it's a heredoc...)".to_owned()),
        1 => Just("RUN <<'SH' sh -e".to_owned()),
        1 => Just("RUN echo \u{fc}ml\u{e4}ut \u{202e} \t\u{1b}[31m tabs   and && more".to_owned()),
        1 => (60..200usize).prop_map(|n| format!("RUN {}", "w\u{f6}rter ".repeat(n / 8 + 1).trim_end())),
        1 => Just("COPY --from=deps /x /y".to_owned()),
        1 => Just("RUN [ -f x ] && echo [3/4] RUN".to_owned()),
    ]
}

fn error_text() -> impl Strategy<Value = String> {
    // Lines of an error that are blank, or look like a line of the printer or of the client, end it for every reader.
    prop_oneof![
        3 => Just("process \"/bin/sh -c false\" did not complete successfully: exit code: 1".to_owned()),
        1 => Just("process \"/bin/sh -c set -e\\necho hi\\nfalse\\n\" did not complete successfully: exit code: 1".to_owned()),
        1 => Just("failed to calculate checksum of ref x::y: \"/nothere\": not found".to_owned()),
        1 => Just("failed to fetch remote http://h/x.git: git stderr:\nfatal: repository 'http://h/x.git/' not found\n: exit status 128".to_owned()),
        1 => Just("failed to receive: #5 DONE 0.0s".to_owned()),
        1 => Just("failed to copy: context canceled".to_owned()),
    ]
}

fn step(name: String, acts: impl Strategy<Value = Vec<Act>>, end: impl Strategy<Value = End>) -> impl Strategy<Value = StepPlan> {
    (acts, end).prop_map(move |(acts, end)| StepPlan {
        name: name.clone(),
        acts: if end == End::Cached { Vec::new() } else { acts },
        end,
        again: None,
    })
}

/// The steps of one stage, without the failing one.
fn stage(label: &'static str) -> impl Strategy<Value = Vec<StepPlan>> {
    let run = (command(), vec(output(), 0..5), ran_or_cached());
    // What was CACHED is fetched in the end because a later step needs it; what is DONE turns out to be in the cache.
    let again = prop_oneof![6 => Just(None), 1 => (vec(progress(LAYERS), 0..3), ran_or_cached()).prop_map(Some)];
    let base = (vec(progress(LAYERS), 0..4), ran_or_cached(), again.clone());
    (base, vec((run, again), 0..4)).prop_map(move |((acts, end, again), runs)| {
        let total = runs.len() + 1;
        let bracket = |n: usize| {
            format!(
                "[{}{n:>width$}/{total}]",
                if label.is_empty() { String::new() } else { format!("{label} ") },
                width = total.to_string().len()
            )
        };
        let from = StepPlan {
            name: format!("{} FROM docker.io/library/alpine:3.20@sha256:f2", bracket(1)),
            acts: if end == End::Cached { Vec::new() } else { acts },
            end,
            again,
        };
        let runs = runs.into_iter().enumerate().map(|(n, ((command, acts, end), again))| StepPlan {
            name: format!("{} {command}", bracket(n + 2)),
            acts: if end == End::Cached { Vec::new() } else { acts },
            end,
            again,
        });
        std::iter::once(from).chain(runs).collect()
    })
}

fn prologue() -> impl Strategy<Value = Vec<StepPlan>> {
    let transfer = |name: &str, id: &'static [&'static str]| step(name.to_owned(), vec(progress(id), 0..3), done());
    let definition = (vec(prop_oneof![2 => progress(&["transferring dockerfile:"]), 1 => warning()], 0..4), done());
    let import = prop_oneof![done(), Just(End::Error("docker.io/x/y:cache: not found".to_owned()))];
    (
        definition,
        step("[internal] load metadata for docker.io/library/alpine:3.20".to_owned(), Just(Vec::new()), done()),
        proptest::option::of(step("[auth] library/alpine:pull token for registry-1.docker.io".to_owned(), Just(Vec::new()), done())),
        transfer("[internal] load .dockerignore", &["transferring context:"]),
        proptest::option::of(transfer("[internal] load build context", &["transferring context:"])),
        proptest::option::of(step("importing cache manifest from docker.io/x/y:cache".to_owned(), Just(Vec::new()), import)),
        proptest::option::of(step(
            "docker-image://docker.io/docker/dockerfile:1@sha256:ab".to_owned(),
            vec(progress(LAYERS), 0..3),
            ran_or_cached(),
        )),
    )
        .prop_map(|((acts, end), metadata, auth, ignore, context, import, frontend)| {
            let definition = StepPlan { name: "[internal] load build definition from Dockerfile".to_owned(), acts, end, again: None };
            let mut steps = vec![definition, ignore, metadata];
            steps.extend([auth, context, import, frontend].into_iter().flatten());
            steps
        })
}

fn exports() -> impl Strategy<Value = Vec<StepPlan>> {
    let again = prop_oneof![2 => Just(None), 1 => (vec(progress(EXPORTS), 1..3), done()).prop_map(Some)];
    let image = (vec(progress(EXPORTS), 0..5), done(), again);
    let image = image.prop_map(|(acts, end, again)| StepPlan { name: "exporting to image".to_owned(), acts, end, again });
    let cache = step("exporting cache to registry".to_owned(), vec(progress(EXPORTS), 0..3), done());
    (proptest::option::of(image), proptest::option::of(cache)).prop_map(|(image, cache)| image.into_iter().chain(cache).collect())
}

/// A line of another program that looks like nothing else in the log.
fn foreign() -> impl Strategy<Value = String> {
    prop_oneof![Just("+ make images".to_owned()), Just("ok 12 tests passed".to_owned()), "[a-z]{1,10} [a-z]{1,20}".prop_map(|text| text)]
}

/// A build of any kind.
pub fn plan(client: Client) -> impl Strategy<Value = BuildPlan> {
    let stages = (stage("builder"), stage(""), stage("linux/amd64 x"), stage("backend final"), 1..5usize);
    let stages = stages.prop_map(|(a, b, c, d, count)| [a, b, c, d].into_iter().take(count).flatten().collect::<Vec<_>>());
    let ending = prop_oneof![
        4 => Just(Ending::ByItself),
        1 => Just(Ending::FailsAfterwards),
        1 => (1..40u16).prop_map(Ending::Interrupted),
        1 => (1..40u16).prop_map(Ending::Killed),
    ];
    let failing = proptest::option::weighted(0.3, (any::<prop::sample::Index>(), error_text()));
    let epilogue = any::<(bool, bool, bool, bool)>().prop_map(|(no_output_warning, check_summary, details_link, excerpt)| Epilogue {
        no_output_warning,
        check_summary,
        details_link,
        excerpt,
    });
    let lines = (vec(foreign(), 0..3), vec(foreign(), 0..6));
    (prologue(), stages, exports(), ending, failing, epilogue, lines, vec(any::<u16>(), 1..60), prop::bool::weighted(0.1)).prop_map(
        move |(mut steps, stages, exports, ending, failing, epilogue, (before, foreign), dice, cut_names)| {
            let first = steps.len();
            steps.extend(stages);
            let last = steps.len();
            // What waits for nothing comes in any order.
            for n in first..last {
                let other = first + usize::from(dice[n % dice.len()]) % (last - first);
                steps.swap(n, other);
            }
            let mut failing_step = None;
            if let Some((which, error)) = failing
                && ending == Ending::ByItself
            {
                let at = first + which.index(last - first);
                (steps[at].end, steps[at].again) = (End::Error(error), None);
                if cut_names {
                    // The block after a failure has the whole name, which the log does not show anywhere else.
                    steps[at].name = steps[at].name.replace('\n', " ");
                }
                failing_step = Some(at);
            }
            // Without an export a log does not say that it is complete, unless buildx warns that nothing is exported.
            let mut epilogue = epilogue;
            epilogue.no_output_warning &= client == Client::Buildx && failing_step.is_none();
            steps.extend(exports);
            BuildPlan { client, cut_names, steps, ending, epilogue, before, foreign, dice }
        },
    )
}
