//! Logs that were once read wrongly, each as small as it can be. The model of the printer (`printer.rs`) found most of them.

use bklog::build::{Build, Outcome, Status};

use crate::records::read;

/// Index, name, status and output lines of every step.
fn steps(build: &Build) -> Vec<(u32, &str, Status, u64)> {
    build.steps.iter().map(|step| (step.index, step.name.as_str(), step.status, step.log_lines)).collect()
}

fn one(log: &str) -> Build {
    let mut builds = read(log.as_bytes());
    assert_eq!(builds.len(), 1, "{builds:#?}");
    builds.remove(0)
}

#[test]
fn a_name_of_several_lines_is_announced_twice() {
    let build = one("#1 [1/2] RUN echo \"x\ny\"\n#1 ...\n\n#2 [2/2] RUN z\n#2 CACHED\n\n#1 [1/2] RUN echo \"x\ny\"\n#1 DONE 0.1s\n");
    assert_eq!(steps(&build)[0], (1, "[1/2] RUN echo \"x\ny\"", Status::Done, 0));
}

#[test]
fn a_line_of_a_name_looks_like_powershell() {
    let build = one("#1 [1/1] RUN echo \"x\ndocker : #1 CACHED\n\"\n#1 DONE 0.1s\n");
    assert_eq!(build.steps[0].name, "[1/1] RUN echo \"x\ndocker : #1 CACHED\n\"");
}

#[test]
fn the_first_lines_are_open_when_the_printer_leaves() {
    let log =
        "#1 [1/2] RUN x\n#1 0.100 bust 17\n#1 ...\n\n#2 [2/2] RUN y\n#2 CACHED\n\n#1 [1/2] RUN x\n#1 0.100 bust 1700000\n#1 DONE 0.2s\n";
    for prefix in ["", "backend-1  | ", "2026-11-21T02:16:05.6709979Z "] {
        let prefixed: String = log.split_inclusive('\n').flat_map(|line| [prefix, line]).collect();
        let build = one(&prefixed);
        assert_eq!(build.steps[0].log_lines, 1, "{prefix:?}");
        assert_eq!(build.steps[0].log_head, ["bust 1700000"], "the whole line and not its beginning");
    }
}

#[test]
fn a_switch_behind_an_open_line_whose_end_has_just_arrived() {
    let build = one(
        "#0 building with \"c\" instance using remote driver\n\n#1 [1/2] RUN x\n#1 0.100 part#1 ...\n\n#2 [2/2] RUN y\n#2 CACHED\n\n#1 [1/2] RUN x\n#1 0.100 part end\n#1 0.200 b\n#1 DONE 0.2s\n",
    );
    assert_eq!(build.steps[0].log_lines, 2);
    // Output that only looks like a switch is output.
    let build = one(
        "#0 building with \"c\" instance using remote driver\n\n#1 [1/1] RUN x\n#1 0.100 part#1 ...\n#1 0.100 part#1 ... end\n#1 DONE 0.2s\n",
    );
    assert_eq!(build.steps[0].log_lines, 2);
}

#[test]
fn a_failure_repeats_a_name_that_looks_like_steps() {
    let build = one(
        "#1 [1/2] FROM x\n#1 DONE 0.5s\n\n#2 [2/2] RUN echo \"x\n#1 DONE 0.0s\nStep 1/5 : FROM y\n\"; false\n#2 ERROR: process\n------\n > [2/2] RUN echo \"x\n#1 DONE 0.0s\nStep 1/5 : FROM y\n\"; false:\n------\nERROR: failed to solve: process\n",
    );
    assert_eq!(build.steps[0].seconds, Some(0.5));
    assert_eq!(steps(&build).len(), 2);
    assert_eq!(build.outcome, Outcome::Failed);
}

#[test]
fn a_quoted_line_begins_like_a_build() {
    let build = one("#1 [1/1] RUN echo 'x\n#0 building with \"a\" instance using docker driver' && y\n#1 DONE 0.1s\n");
    assert_eq!(build.steps[0].name, "[1/1] RUN echo 'x\n#0 building with \"a\" instance using docker driver' && y");
}

#[test]
fn an_apostrophe_is_no_quotation() {
    let build = one(
        "#1 [1/2] RUN <<EOF (echo it's)\n\n#1 ...\n\n#2 [2/2] RUN y\n#2 CACHED\n\n#1 [1/2] RUN <<EOF (echo it's)\n+ foreign\n#1 DONE 0.1s\n",
    );
    assert_eq!(build.steps[0].name, "[1/2] RUN <<EOF (echo it's)");
    assert_eq!(build.foreign.count, 1);
}

#[test]
fn a_build_was_killed_and_the_next_one_returns_to_a_step() {
    let killed = "#0 building with \"c\" instance using remote driver\n\n#1 [internal] load build definition from Dockerfile\n";
    let next = "#0 building with \"c\" instance using remote driver\n\n#1 [internal] load build definition from Dockerfile\n#1 DONE 0.0s\n\n#2 [1/2] FROM x\n#2 ...\n\n#3 exporting cache to registry\n#3 ...\n\n#2 [1/2] FROM x\n#2 DONE 0.1s\n\n#4 [2/2] RUN y\n#4 DONE 0.1s\n\n#3 exporting cache to registry\n#3 exporting layers\n#3 DONE 0.1s\n";
    let builds = read(format!("{killed}{next}").as_bytes());
    assert_eq!(
        builds.iter().map(|build| (build.outcome, build.steps.len())).collect::<Vec<_>>(),
        [(Outcome::Truncated, 1), (Outcome::Succeeded, 4)]
    );
}

#[test]
fn the_error_is_that_of_the_build_that_runs() {
    let killed = "#0 building with \"c\" instance using remote driver\n\n#1 importing cache manifest from a/b:c\n#1 ERROR: not found\n\n#2 [1/2] FROM x\n";
    let next = "#0 building with \"c\" instance using remote driver\n\n#1 [1/1] FROM x\n#1 DONE 0.1s\nERROR: failed to build: failed to solve: no space left\n";
    let builds = read(format!("{killed}{next}").as_bytes());
    assert_eq!(builds.iter().map(|build| build.outcome).collect::<Vec<_>>(), [Outcome::Truncated, Outcome::Failed]);
}

#[test]
fn a_terminal_line_behind_the_last_line_of_the_log() {
    let build = one("#1 [1/1] RUN x\n#1 0.100 a\n#1 0.100 b\n#1 0.200 part#1 DONE 0.3s\n");
    assert_eq!(steps(&build), [(1, "[1/1] RUN x", Status::Done, 3)]);
}

#[test]
fn docker_20_10_begins_with_its_second_step() {
    let build = |first: u32| {
        let (a, b) = (first, 3 - first);
        format!(
            "#{a} [internal] load .dockerignore\n#{a} DONE 0.0s\n\n#{b} [internal] load build definition from Dockerfile\n#{b} DONE 0.0s\n\n#4 [1/1] FROM x\n#4 DONE 0.0s\n\n"
        )
    };
    let builds = read([build(1), build(2), build(1)].concat().as_bytes());
    assert_eq!(builds.iter().map(|build| build.steps[0].index).collect::<Vec<_>>(), [1, 2, 1]);
}

#[test]
fn jobs_whose_names_differ_in_a_digit() {
    let lines = ["#0 building with \"c\" instance using remote driver", "#1 [1/1] FROM x", "#1 DONE 0.1s"];
    let log: String = lines.iter().flat_map(|line| [1, 2, 3].map(|job| format!("job-{job} | {line}\n"))).collect();
    let builds = read(log.as_bytes());
    assert_eq!(builds.len(), 3);
    assert!(builds.iter().all(|build| steps(build) == [(1, "[1/1] FROM x", Status::Done, 0)]));
}

#[test]
fn the_end_of_a_build_is_the_time_of_its_last_output_line() {
    let mut log =
        String::from("2026-11-21T02:00:00.5Z #0 building with \"c\" instance using remote driver\n2026-11-21T02:00:00.5Z #1 [1/1] RUN x\n");
    for second in 1..9 {
        log.push_str(&format!("2026-11-21T02:00:0{second}.5Z #1 {second}.000 a line of output\n"));
    }
    log.push_str("2026-11-21T02:00:09.5Z #0 building with \"c\" instance using remote driver\n");
    let builds = read(log.as_bytes());
    assert_eq!(builds[0].duration.unwrap().seconds, 8.0);
    // Another program's line at the end has no time that is the build's.
    let (cut, _) = log.rsplit_once("2026-").unwrap();
    assert_eq!(one(&format!("{cut}Killed\n")).duration.unwrap().seconds, 8.0);
}

#[test]
fn times_that_are_none() {
    let digits = "9".repeat(400);
    for log in [
        format!("#1 [1/1] RUN x\n#1 DONE {digits}.9s\n"),
        "[+] Building nans (1/1)\n => x -5.0s\n".to_owned(),
        "[+] Building infs (1/1)\n".to_owned(),
    ] {
        let build = one(&log);
        assert!(build.duration.is_none(), "{log:?}: {:?}", build.duration);
        assert!(build.steps.iter().all(|step| step.seconds.is_none()), "{log:?}");
    }
}

#[test]
fn the_legacy_builder_tells_the_size_of_its_context_first() {
    for end in ["\n", "\r\n"] {
        let log =
            "Sending build context to Docker daemon  3.072kB\r\r\nStep 1/1 : FROM x\n ---> 0123456789ab\nSuccessfully built 0123456789ab\n"
                .replace('\n', end);
        for prefix in ["", "backend | "] {
            let build = one(&log.split_inclusive('\n').flat_map(|line| [prefix, line]).collect::<String>());
            assert_eq!(build.steps[0].transferred_bytes, Some(3072), "{log:?}");
            assert_eq!(build.steps[1].name, "FROM x");
        }
    }
}

#[test]
fn a_step_that_goes_on_after_its_end_must_end_again() {
    const LOG: &str = "#0 building with \"b\" instance using docker-container driver\n\n\
        #1 [1/1] COPY . /app\n#1 DONE 0.1s\n\n\
        #2 exporting to image\n#2 exporting layers 0.4s done\n#2 DONE 0.4s\n\n\
        #2 exporting to image\n";
    for (rest, outcome) in [
        ("", Outcome::Succeeded),
        ("#2 pushing layers\n", Outcome::Truncated),
        ("#2 pushing layers\n#2 ...\n\n#3 [auth] x:pull,push token for y\n#3 DONE 0.0s\n", Outcome::Truncated),
        ("#2 pushing layers 0.5s done\n#2 DONE 0.9s\n", Outcome::Succeeded),
        ("#2 pushing layers\n#2 ERROR: denied\n", Outcome::Failed),
    ] {
        assert_eq!(one(&[LOG, rest].concat()).outcome, outcome, "{rest:?}");
    }
}
