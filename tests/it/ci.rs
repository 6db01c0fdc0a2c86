//! The ready CI steps of `scripts/ci`, run as their systems run them, with a `docker` that builds nothing.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::common::{DOCKERFILE, Place, code, json, log, text};

fn script(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/ci").join(name)).unwrap()
}

/// A place with `bklog` and a `docker` on the path; a file `fail` in the root makes the build fail with 3.
fn place() -> Place {
    let place = Place::new();
    let root = place.root().display().to_string();
    place.program(
        "bin/docker",
        &format!(
            "#!/bin/sh\ncat '{root}/docker.log' >&2\nif [ -e '{root}/fail' ]; then echo 'ERROR: failed to solve: no' >&2; exit 3; fi\n"
        ),
    );
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_bklog"), place.root().join("bin/bklog")).unwrap();
    place.write("docker.log", log("DONE 0.1s"));
    place
}

/// Runs a text in a shell, with what the system sets.
fn shell(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let (program, arguments) = arguments.split_first().unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", place.root().join("bin").display());
    Command::new(program)
        .args(arguments)
        .current_dir(place.app())
        .env_clear()
        .env("PATH", path)
        .env("HOME", place.root().join("home"))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// The blocks behind a line that ends with `head`, in order, without their indentation.
fn blocks(text: &str, head: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let heads = lines.iter().enumerate().filter(|(_, line)| line.trim_end().ends_with(head));
    let block = |(at, line): (usize, &&str)| {
        let inside = lines[at + 1..].iter().take_while(|next| next.trim().is_empty() || indent(next) > indent(line));
        inside.map(|line| line.trim()).collect::<Vec<_>>().join("\n")
    };
    heads.map(block).collect()
}

/// Files that the check leaves must be what their readers read.
fn is_json(place: &Place, file: &str) {
    let bytes = fs::read(place.app().join(file)).unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok(), "{file}: {}", text(&bytes));
}

fn recorded(place: &Place, history: &Path) -> usize {
    let history = history.to_str().unwrap();
    let path = place.write("again.log", log("CACHED"));
    let report = json(&place.run(&["check", &path, "--build", "docker build .", "--history", history, "--format", "json"]));
    report["steps"].as_array().unwrap().iter().filter(|step| step["verdict"] == "fresh" && !step["baseline"].is_null()).count()
}

#[test]
fn github_actions() {
    let place = place();
    let steps = blocks(&script("github-actions.yml"), "run: |");
    assert_eq!(steps.len(), 3);
    let sha = place.git(&["rev-parse", "HEAD"]);
    let summary = place.root().join("summary.md");
    let variables = [("GITHUB_SHA", sha.as_str()), ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())];
    let run = |step: usize| shell(&place, &["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", &steps[step]], &variables);
    for step in 0..3 {
        let output = run(step);
        assert_eq!(code(&output), 0, "{}{}", text(&output.stdout), text(&output.stderr));
    }
    is_json(&place, "bklog.sarif");
    assert!(fs::read_to_string(&summary).unwrap().contains("bklog check: 1 fresh"));
    assert_eq!(recorded(&place, &place.app().join(".bklog/history")), 1);
    place.write("fail", "");
    let codes: Vec<i32> = (0..3).map(|step| code(&run(step))).collect();
    assert_eq!(codes, [3, 4, 4], "the step that builds fails with the build's code");
}

#[test]
fn gitlab_ci() {
    let place = place();
    let text_of = script("gitlab-ci.yml");
    let sha = place.git(&["rev-parse", "HEAD"]);
    let expand = |text: &str| text.replace("$CI_COMMIT_SHA", &sha).replace("$CI_REGISTRY_IMAGE", "registry.example.org/app");
    let build = text_of.lines().find_map(|line| line.trim().strip_prefix("BUILD: ")).map(expand).unwrap();
    let lines: Vec<String> = blocks(&text_of, "script:")[0]
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let item = line.strip_prefix("- ").unwrap();
            match item.strip_prefix('\'').and_then(|quoted| quoted.strip_suffix('\'')) {
                Some(quoted) => quoted.replace("''", "'"),
                None => {
                    assert!(!item.contains(": ") && !item.contains(" #"), "YAML reads this otherwise: {item}");
                    item.to_owned()
                }
            }
        })
        .collect();
    let job = lines.join("\n");
    let variables = [("CI_COMMIT_SHA", sha.as_str()), ("BUILD", build.as_str()), ("BKLOG_HISTORY", ".bklog/history")];
    let run = || shell(&place, &["sh", "-e", "-c", &job], &variables);
    let output = run();
    assert_eq!(code(&output), 0, "{}{}", text(&output.stdout), text(&output.stderr));
    is_json(&place, "gl-code-quality-report.json");
    assert!(fs::read_to_string(place.app().join("bklog-junit.xml")).unwrap().starts_with("<?xml"));
    assert_eq!(recorded(&place, &place.app().join(".bklog/history")), 1);
    place.write("fail", "");
    fs::remove_file(place.app().join("bklog-junit.xml")).unwrap();
    let output = run();
    assert_eq!(code(&output), 3, "the job ends with the build's code: {}{}", text(&output.stdout), text(&output.stderr));
    assert!(place.app().join("bklog-junit.xml").exists(), "a build that fails is reported too");
}

#[test]
fn jenkins() {
    let place = place();
    let file = script("Jenkinsfile");
    let scripts: Vec<&str> = file.split("sh '''").skip(1).filter_map(|rest| rest.split_once("'''")).map(|(script, _)| script).collect();
    assert_eq!(scripts.len(), 2);
    let sha = place.git(&["rev-parse", "HEAD"]);
    let history = place.root().join("jenkins/bklog-history");
    let variables = [("GIT_COMMIT", sha.as_str()), ("BKLOG_HISTORY", history.to_str().unwrap())];
    // Jenkins writes the text to a file and runs that, so its first line counts.
    let run = |at: usize| {
        let path = place.program("script.sh", scripts[at]);
        shell(&place, &[&path], &variables)
    };
    for at in 0..2 {
        let output = run(at);
        assert_eq!(code(&output), 0, "{}{}", text(&output.stdout), text(&output.stderr));
    }
    assert!(fs::read_to_string(place.app().join("bklog-junit.xml")).unwrap().contains("<testcase"));
    assert_eq!(recorded(&place, &history), 1);
    place.write("fail", "");
    assert_eq!((code(&run(0)), code(&run(1))), (3, 0), "the stage that builds has said that it failed");
}

#[test]
fn a_deploy_script() {
    let place = place();
    for service in ["a", "b"] {
        place.write(&format!("app/services/{service}/Dockerfile"), DOCKERFILE);
    }
    place.program("app/scripts/deploy.sh", &script("deploy.sh"));
    place.commit("services");
    let run = || shell(&place, &["./scripts/deploy.sh"], &[("DEPLOY", "echo deployed")]);
    let output = run();
    let said = text(&output.stdout);
    assert_eq!(code(&output), 0, "{said}{}", text(&output.stderr));
    assert_eq!(said.matches("deployed ").count(), 2, "{said}");
    assert!(said.contains("2 fresh"), "{said}");
    // A tree that was not brought up to date: nothing is deployed.
    place.write("app/src/main.py", "print(7)\n");
    place.commit("changed");
    place.write("app/src/main.py", "print(1)\n");
    place.write("docker.log", log("CACHED"));
    let output = run();
    assert_eq!(code(&output), 1, "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(!text(&output.stdout).contains("deployed "));
    place.write("fail", "");
    assert_ne!(code(&run()), 0);
}
