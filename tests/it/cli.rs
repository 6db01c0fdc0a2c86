//! The command as a user meets it: output, exit codes, pipes, bad input. The environment is scrubbed, so that no setting of the machine
//! shows through.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

fn log(case: &str, file: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/format").join(case);
    [file.to_owned(), format!("{file}.gz")].map(|file| directory.join(file)).into_iter().find(|path| path.exists()).expect(case)
}

fn bklog(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bklog"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    bklog(arguments).output().unwrap()
}

fn show(case: &str, arguments: &[&str]) -> String {
    let path = log(case, "plain.log");
    let output = run(&[&["show", path.to_str().unwrap()], arguments].concat());
    String::from_utf8(output.stdout).unwrap()
}

/// Pipes `input` into the command.
fn pipe(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = bklog(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // The command may end before it has read everything.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn tables_of_a_success_a_failure_bake_and_platforms() {
    insta::assert_snapshot!("multi_stage", show("006-no-cache-filter", &["--width", "100"]));
    insta::assert_snapshot!("failure", show("017-failing-run", &["--width", "100"]));
    insta::assert_snapshot!("bake", show("049-bake-compose", &["--width", "100"]));
    insta::assert_snapshot!("platforms", show("046-multi-platform", &["--width", "100", "--sort", "slowest"]));
    insta::assert_snapshot!("narrow", show("006-no-cache-filter", &["--width", "48"]));
    insta::assert_snapshot!("markdown", show("017-failing-run", &["--format", "markdown"]));
    insta::assert_snapshot!("json", show("042-cache-import-missing", &["--format", "json"]));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in [40, 60, 80, 120] {
        let table = show("005-multi-stage-padded", &["--width", &width.to_string()]);
        for line in table.lines().skip(2) {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn colour_is_written_only_where_it_is_wanted() {
    let coloured = |arguments: &[&str], variables: &[(&str, &str)]| {
        let path = log("005-multi-stage-padded", "plain.log");
        let output = bklog(&[&["show", path.to_str().unwrap()], arguments].concat()).envs(variables.iter().copied()).output().unwrap();
        output.stdout.contains(&0x1b)
    };
    assert!(!coloured(&[], &[]), "a pipe is no terminal");
    assert!(coloured(&["--color", "always"], &[]));
    assert!(coloured(&[], &[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[], &[("NO_COLOR", "1"), ("TERM", "xterm")]));
}

#[test]
fn nothing_of_a_log_reaches_the_terminal_raw() {
    for case in ["014-long-unicode-names", "169-ansi-in-names", "060-output-odd", "168-cr-only-long"] {
        for arguments in [["--color", "never"], ["--format", "markdown"], ["--sort", "slowest"]] {
            let out = show(case, &arguments);
            let raw: Vec<char> = out.chars().filter(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{202a}'..='\u{202e}')).collect();
            assert!(raw.is_empty(), "{case} {arguments:?}: {raw:?}");
        }
    }
}

#[test]
fn exit_codes_are_those_of_the_contract() {
    let show = |case: &str| code(&run(&["show", log(case, "plain.log").to_str().unwrap(), "--format", "json"]));
    assert_eq!(show("001-single-stage"), 0);
    assert_eq!(show("042-cache-import-missing"), 0, "a failing import is no failing build");
    assert_eq!(show("017-failing-run"), 4);
    assert_eq!(show("068-sigterm"), 4);
    assert_eq!(show("193-cut-mid-logline"), 4);
    assert_eq!(show("122-fail-then-retry"), 4, "the second build has other commands, so it does not make the first one good");
    assert_eq!(show("165-no-context"), 4, "it failed before its first step");
    assert_eq!(code(&run(&["show", "--no-such-flag"])), 2);
    assert_eq!(code(&run(&["no-such-command", "x"])), 2);
    assert_eq!(code(&run(&["--help"])), 0);
    assert_eq!(code(&run(&["--version"])), 0);
}

#[test]
fn bad_input_is_one_line_with_a_hint() {
    let directory = tempdir();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let junk: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut gzip = std::fs::read(log("118-name-110KB-continuations", "plain.log")).unwrap();
    gzip.truncate(gzip.len() * 2 / 3);
    let cases = [
        (file("empty.log", b""), "is empty", "2>&1"),
        (file("prose.log", b"hello\nworld\n"), "no build found", "--progress=plain"),
        (file("junk.log", &junk), "no build found", "--progress=plain"),
        (directory.join("missing.log").to_str().unwrap().to_owned(), "cannot open", ""),
        (directory.to_str().unwrap().to_owned(), "is a directory", ""),
        (file("broken.gz", &gzip), "cannot read", "what could be read"),
    ];
    for (path, message, hint) in cases {
        for command in ["show", "check"] {
            let output = run(&[command, &path]);
            let error = text(&output.stderr);
            assert_eq!(code(&output), 3, "{command} {path}: {error}");
            assert!(error.contains(message) && error.contains(hint), "{command} {path}: {error}");
            assert!(error.lines().count() <= 2, "{error}");
        }
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn one_bad_log_does_not_hide_the_others() {
    let good = log("001-single-stage", "plain.log");
    let output = run(&["show", "/nonexistent.log", good.to_str().unwrap(), "--format", "json"]);
    assert_eq!(code(&output), 3);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["builds"].as_array().unwrap().len(), 1);
    assert_eq!(document["builds"][0]["log"], good.to_str().unwrap());
}

#[test]
fn the_pipe_passes_every_byte_through() {
    for (case, file) in [
        ("060-output-odd", "plain.log"),
        ("168-cr-only-long", "plain.log"),
        ("242-ci-utf16le", "prefixed.log"),
        ("201-ci-gha-raw", "prefixed.log"),
    ] {
        let bytes = std::fs::read(log(case, file)).unwrap();
        for arguments in [&[][..], &["check"], &["check", "-"]] {
            let output = pipe(arguments, &bytes);
            assert_eq!(code(&output), 0, "{case}: {}", text(&output.stderr));
            assert!(output.stdout == bytes, "{case}");
            assert!(text(&output.stderr).contains("succeeded"), "{case}: {}", text(&output.stderr));
        }
        assert!(pipe(&["--quiet"], &bytes).stdout.is_empty());
    }
}

#[test]
fn the_pipe_takes_over_the_build_s_failure() {
    let output = pipe(&[], &std::fs::read(log("017-failing-run", "plain.log")).unwrap());
    assert_eq!(code(&output), 4);
    assert!(text(&output.stderr).contains("did not complete successfully"));
    assert_eq!(code(&pipe(&[], b"")), 3);
    assert_eq!(code(&pipe(&[], b"no build at all\n")), 3);
    let early = pipe(&[], &std::fs::read(log("165-no-context", "plain.log")).unwrap());
    assert_eq!(code(&early), 4);
    assert!(text(&early.stderr).contains("before its first step"));
}

#[test]
fn the_pipe_names_cached_copies_and_does_not_judge_without_evidence() {
    let said = |case: &str| {
        let output = pipe(&[], &std::fs::read(log(case, "plain.log")).unwrap());
        assert_eq!(code(&output), 0, "{case}: a doubt is no failure");
        text(&output.stderr)
    };
    let cached = said("002-single-stage-cached");
    assert!(cached.contains("COPY a.txt /a.txt is cached, and nothing tells whether it is fresh"), "{cached}");
    assert!(!said("001-single-stage").contains("stale-copy"));
}

#[test]
fn a_reader_that_goes_away_is_a_clean_end() {
    let bytes = std::fs::read(log("070-interleaving", "plain.log")).unwrap().repeat(200);
    for arguments in [&["check", "-"][..], &["show", "-"], &["show", "--format", "json", "-"]] {
        let mut child = bklog(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stdin = child.stdin.take().unwrap();
        let input = bytes.clone();
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert_eq!((code(&output), text(&output.stderr)), (0, String::new()), "{arguments:?}");
    }
}

/// A directory of its own for a test.
fn tempdir() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("bklog-test-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn run_keeps_streams_and_exit_codes_apart() {
    let path = log("017-failing-run", "plain.log");
    let script = format!("echo image-id; cat '{}' >&2; exit 7", path.display());
    let output = run(&["run", "--", "/bin/sh", "-c", &format!("PATH=/usr/bin:/bin; {script}")]);
    assert_eq!(code(&output), 7, "the command's own exit code");
    assert_eq!(text(&output.stdout), "image-id\n");
    let errors = text(&output.stderr);
    assert!(errors.contains(&text(&std::fs::read(&path).unwrap())), "the output is passed on unchanged");
    assert!(errors.contains("error: #6 [3/4] RUN"), "{errors}");
    let swallowed = run(&["run", "--quiet", "--", "/bin/sh", "-c", &format!("PATH=/usr/bin:/bin; cat '{}'", path.display())]);
    assert_eq!(code(&swallowed), 4, "the command succeeded, the build did not");
    let plain = run(&["run", "--", "/bin/sh", "-c", "echo $BUILDKIT_PROGRESS"]);
    assert_eq!((code(&plain), text(&plain.stdout).as_str()), (0, "plain\n"));
    assert_eq!(code(&run(&["run", "--", "/no/such/command"])), 2);
}
