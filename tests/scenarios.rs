//! Replays recorded histories of real builds and holds every verdict against what the images held (`testdata/scenarios/README.md`).
//!
//! The script of a scenario does to the work tree what was done then, with a stand-in for `docker` that builds nothing: where the real
//! build ran, it calls `bklog check` on the log that the real build left.
#![cfg(all(unix, feature = "history"))]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const DOCKER: &str = r#"#!/bin/bash
case " $* " in *" build "*) ;; *) exit 0 ;; esac
k=$SCENARIO_BUILD
[ -n "$k" ] || exit 0
exec "$BKLOG" check "$(cat "$STATE/$k.log")" --build "docker $(printf '%q ' "$@")" --commit "$(cat "$STATE/$k.commit")" \
  --started-at "$(cat "$STATE/$k.started")" --history "$STATE/history" --record --project scenario --format json --fail-on never \
  > "$STATE/$k.json" 2> "$STATE/$k.err"
"#;

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn replay(name: &str) {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/scenarios").join(name);
    let truth: Value = serde_json::from_slice(&fs::read(case.join("truth.json")).unwrap()).unwrap();
    let work = tempfile::tempdir().unwrap();
    let state = work.path().join("state");
    let bin = work.path().join("bin");
    fs::create_dir_all(&state).unwrap();
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("docker"), DOCKER).unwrap();
    fs::set_permissions(bin.join("docker"), fs::Permissions::from_mode(0o755)).unwrap();
    let builds = truth["builds"].as_array().unwrap();
    for build in builds {
        let put = |kind: &str, content: &str| fs::write(state.join(format!("{}.{kind}", build["build"])), content).unwrap();
        put("log", case.join(text(&build["dir"])).join("plain.log").to_str().unwrap());
        put("commit", text(&build["commit"]));
        put("started", text(&build["started_at"]));
    }
    let script = fs::read_to_string(case.join("replay.sh")).unwrap();
    let script: Vec<String> = script
        .lines()
        .filter(|line| !line.starts_with("sleep "))
        .map(|line| match line.strip_prefix("# --- build ").and_then(|rest| rest.split_once(':')) {
            Some((number, _)) => format!("export SCENARIO_BUILD={number}"),
            None if line.starts_with("HERE=") => format!("HERE='{}'; mkdir -p $W; cd $W", case.display()),
            None => line.to_owned(),
        })
        .collect();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let out = Command::new("bash")
        .args(["-c", &script.join("\n")])
        .current_dir(work.path())
        .env("PATH", path)
        .env("W", work.path().join("w"))
        .env("STATE", &state)
        .env("BKLOG", env!("CARGO_BIN_EXE_bklog"))
        .env("HOME", work.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("DOCKER_CONFIG")
        .env_remove("BUILDX_CONFIG")
        .env_remove("BKLOG_HISTORY")
        .output()
        .unwrap();
    assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
    let mut judged = 0;
    for build in builds {
        let number = &build["build"];
        let answer = fs::read(state.join(format!("{number}.json"))).unwrap_or_default();
        let errors = fs::read_to_string(state.join(format!("{number}.err"))).unwrap_or_default();
        let report: Value = serde_json::from_slice(&answer).unwrap_or_else(|error| panic!("{name} {number}: {error}: {errors}"));
        let verdicts = report["steps"].as_array().unwrap();
        for step in build["steps"].as_array().unwrap() {
            let Some(verdict) = verdicts.iter().find(|verdict| verdict["index"] == step["index"]) else {
                assert!(!text(&step["step"]).contains("COPY"), "{name} {number}: no verdict on {}", step["step"]);
                continue;
            };
            judged += 1;
            assert_eq!(verdict["verdict"], step["truth"], "{name} {number} {}: {}", step["step"], verdict["because"]);
        }
    }
    assert!(judged >= builds.len());
}

#[test]
fn a_revert_is_fresh() {
    replay("05-revert");
}

#[test]
fn no_cache_does_not_heal_and_a_prune_does() {
    replay("06h-prune-nocache-after-stale");
}

#[test]
fn a_tree_that_was_not_updated_is_stale() {
    replay("07-tree-not-updated");
}

#[test]
fn two_runners_get_each_others_files() {
    replay("24-two-runners-one-builder-dk");
}
