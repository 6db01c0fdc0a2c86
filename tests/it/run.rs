//! `bklog run` around commands that stand for builds.

use std::{fs, process::Output};

use crate::common::{DOCKERFILE, Place, code, log, text};

/// A `docker` that builds nothing and prints what a build prints; it fails where a Dockerfile is called `Failing`.
fn docker(place: &Place) {
    let log = place.write("build.log", log("DONE 0.1s"));
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *Failing*) cat '{log}' | head -20 >&2; exit 17 ;; *build*) cat '{log}' >&2 ;; *) echo other ;; esac\n"
    );
    place.program("bin/docker", &script);
}

fn services(place: &Place) {
    for service in ["a", "b", "c"] {
        place.write(&format!("app/services/{service}/Dockerfile"), DOCKERFILE);
    }
    place.commit("services");
}

fn report(output: &Output) -> serde_json::Value {
    let errors = text(&output.stderr);
    let line = errors.lines().rev().find(|line| line.starts_with("{\"schema\"")).unwrap_or_else(|| panic!("{errors}"));
    serde_json::from_str(line).unwrap()
}

fn copies(report: &serde_json::Value) -> Vec<(u64, String)> {
    let steps = report["steps"].as_array().unwrap().iter().filter(|step| step["name"].as_str().unwrap().contains("COPY"));
    steps.map(|step| (step["build"].as_u64().unwrap(), step["verdict"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn what_a_script_calls_is_seen() {
    let place = Place::new();
    docker(&place);
    services(&place);
    place.program(
        "app/deploy.sh",
        "#!/bin/sh\nset -e\ndocker version\nfor s in a b c; do docker build -f services/$s/Dockerfile -t $s --build-arg TOKEN=tops3cret .; done\n",
    );
    let output = place.run(&["run", "--no-record", "--format", "json", "--", "./deploy.sh"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "other\n", "what does not build passes through");
    let said = report(&output);
    assert_eq!(said["notes"], serde_json::json!([]), "every build has its command");
    let fresh = |build| (build, "fresh".to_owned());
    assert_eq!(copies(&said), [fresh(0), fresh(1), fresh(2)]);
    assert!(!text(&output.stderr).contains("tops3cret"));
    assert!(said["recorded_as"].is_null());
    assert!(!place.root().join("home").exists(), "--no-record leaves nothing behind");
    // The same through make, and through a script that a script calls.
    place.program("app/images", "#!/bin/sh\nexec ./deploy.sh\n");
    let nested = place.run(&["run", "--no-record", "--format", "json", "--", "sh", "-c", "./images"]);
    assert_eq!(copies(&report(&nested)), copies(&said));
}

#[test]
fn a_script_that_goes_past_the_path_is_read() {
    let place = Place::new();
    docker(&place);
    let docker = place.root().join("bin/docker");
    let line = format!("{} build .", docker.display());
    place.program("app/deploy.sh", &format!("#!/bin/sh\n{line}\nfor s in a; do {line} -f $s/Dockerfile; done\n"));
    let output = place.run(&["run", "--no-record", "--format", "json", "--", "./deploy.sh"]);
    let said = report(&output);
    assert!(said["notes"][0].as_str().unwrap().starts_with("1 of the builds in the script cannot be followed"), "{said}");
    assert_eq!(copies(&said).len(), 2);
}

#[cfg(feature = "history")]
#[test]
fn a_run_is_recorded_and_the_next_one_knows_it() {
    let place = Place::new();
    docker(&place);
    let run = |arguments: &[&str]| place.run(&[&["run", "--format", "json"], arguments, &["--", "docker", "build", "."]].concat());
    let first = report(&run(&[]));
    let id = first["recorded_as"].as_str().unwrap().to_owned();
    let note = first["notes"][0].as_str().unwrap();
    assert!(note.starts_with("the history begins in ") && note.contains("/home/.local/share/bklog;"), "{note}");
    place.write("build.log", log("CACHED"));
    let second = report(&run(&[]));
    assert_eq!(second["notes"], serde_json::json!([]));
    let copy = second["steps"].as_array().unwrap().iter().find(|step| step["name"].as_str().unwrap().contains("COPY")).unwrap();
    assert_eq!(copy["verdict"], "fresh", "{second}");
    assert_eq!(copy["baseline"]["run"], id.as_str());
    let plain = place.run(&["run", "--", "docker", "build", "."]);
    let last = text(&plain.stderr).lines().last().unwrap().to_owned();
    assert!(last.contains("1 fresh") && last.contains("recorded as run "), "{last}");
    // A place that cannot be written is no reason to fail.
    let blocked = place.write("blocked", "a file");
    let output = run(&["--history", &format!("{blocked}/x")]);
    assert_eq!(code(&output), 0);
    assert!(report(&output)["notes"].to_string().contains("not recorded"), "{}", text(&output.stderr));
}

#[test]
fn the_build_s_own_failure_is_the_exit_code() {
    let place = Place::new();
    docker(&place);
    place.program("app/deploy.sh", "#!/bin/sh\nset -e\ndocker build -f Failing .\n");
    for command in [&["docker", "build", "-f", "Failing", "."][..], &["./deploy.sh"]] {
        let output = place.run(&[&["run", "--no-record", "--"], command].concat());
        assert_eq!(code(&output), 17, "{}", text(&output.stderr));
    }
    let killed = place.run(&["run", "--no-record", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(code(&killed), 137, "as shells count a command that a signal ended");
    // Wrong settings must not keep a build from running, nor hide that it failed.
    place.write("app/bklog.toml", "strikt = true\n");
    assert_eq!(code(&place.run(&["run", "--no-record", "--", "docker", "build", "."])), 2);
    let failing = place.run(&["run", "--no-record", "--", "docker", "build", "-f", "Failing", "."]);
    assert_eq!(code(&failing), 17);
    assert!(text(&failing.stderr).contains("did you mean \"strict\""), "{}", text(&failing.stderr));
}

#[test]
fn a_signal_that_asks_to_end_goes_to_the_build() {
    use std::io::Read as _;
    let place = Place::new();
    let began = std::time::Instant::now();
    let command = ["run", "--no-record", "--", "sh", "-c", "trap 'kill $!; echo told; exit 5' TERM; echo up; sleep 60 & wait $!"];
    let mut child = place.bklog(&command).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut said = [0; 3];
    out.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"up\n");
    let sent = std::process::Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let mut rest = [0; 5];
    out.read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"told\n");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert!(began.elapsed().as_secs() < 50);
}

#[test]
fn nothing_that_was_noted_stays_behind() {
    let place = Place::new();
    docker(&place);
    let tmp = place.root().join("tmp");
    fs::create_dir(&tmp).unwrap();
    place.program("app/deploy.sh", "#!/bin/sh\nls \"$TMPDIR\"/*/calls >/dev/null && docker build .\n");
    let output = place.bklog(&["run", "--no-record", "--format", "json", "--", "./deploy.sh"]).env("TMPDIR", &tmp).output().unwrap();
    assert_eq!(copies(&report(&output)), [(0, "fresh".to_owned())]);
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
}

/// A real log of `docker buildx bake -f docker-compose.yml`, and the files that it was made of. Today's `docker compose build` has bake build.
#[test]
fn bake_and_compose_find_each_target() {
    let place = Place::new();
    let log = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/format/049-bake-compose/plain.log");
    place.program("bin/docker", &format!("#!/bin/sh\ncat '{log}' >&2\n"));
    let services = "services:\n  backend:\n    build: ./backend\n    image: app/backend\n  frontend:\n    build:\n      context: ./frontend\n      args: {V: \"1\"}\n    image: app/frontend\n  db:\n    image: postgres\n";
    place.write("app/docker-compose.yml", services);
    place.write("app/backend/Dockerfile", "FROM alpine:3.20\nWORKDIR /b\nCOPY b.txt .\nRUN echo backend; sleep 1; echo end\n");
    place.write("app/backend/b.txt", "b");
    let frontend = "FROM golang:1.22-alpine AS build\nARG V\nCOPY f.txt .\nRUN echo frontend $V; sleep 1; echo end\nFROM alpine:3.20\nCOPY --from=build /f.txt /\n";
    place.write("app/frontend/Dockerfile", frontend);
    place.write("app/frontend/f.txt", "f");
    place.commit("two services");
    place.program("app/deploy.sh", "#!/bin/sh\nset -e\ndocker compose build\n");
    for command in [
        &["docker", "buildx", "bake", "-f", "docker-compose.yml"][..],
        &["docker", "compose", "build"],
        &["docker", "compose", "-f", "docker-compose.yml", "up", "--build"],
        &["./deploy.sh"],
    ] {
        let output = place.run(&[&["run", "--no-record", "--format", "json", "--"], command].concat());
        let said = report(&output);
        assert_eq!(said["notes"], serde_json::json!([]), "{command:?}");
        let steps = said["steps"].as_array().unwrap().iter().filter(|step| step["name"].as_str().unwrap().contains("COPY"));
        let steps: Vec<_> = steps.map(|step| (step["name"].as_str().unwrap(), step["verdict"].as_str().unwrap())).collect();
        assert_eq!(steps, [("[frontend build 2/3] COPY f.txt .", "fresh"), ("[backend 3/4] COPY b.txt .", "fresh")], "{command:?}");
    }
}

#[test]
fn the_flags_of_check_and_run_are_one() {
    let place = Place::new();
    let help = |command: &str| {
        let help = text(&place.run(&[command, "--help"]).stdout);
        let flags = help.lines().filter_map(|line| line.trim_start().split(' ').find(|word| word.starts_with("--"))).map(str::to_owned);
        flags.collect::<Vec<_>>()
    };
    assert!(help("check").len() > 15);
    assert_eq!(help("check"), help("run"));
}
