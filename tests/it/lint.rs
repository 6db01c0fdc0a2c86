//! `bklog lint` as a user meets it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = tree.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    fn lint(&self, arguments: &[&str]) -> Output {
        lint(self.0.path(), arguments)
    }
}

fn lint(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bklog")).arg("lint").args(arguments).current_dir(dir).env_clear().output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn web_app() -> Tree {
    Tree::new(&[
        ("backend/Dockerfile", "FROM python:3.12\nWORKDIR /app\nCOPY . /app/\nRUN pip install -r requirements.txt\n"),
        ("frontend/Dockerfile", "FROM node:22\nCOPY package*.json ./\nRUN npm ci\nCOPY . .\n"),
        (
            "docker-compose.yml",
            "services:\n  backend:\n    build:\n      context: ./backend\n      args:\n        - BUILDKIT_INLINE_CACHE=1\n  frontend:\n    build: ./frontend\n",
        ),
        ("deploy.sh", "#!/bin/bash\nset -e\nexport DOCKER_BUILDKIT=0\ndocker compose build\n"),
    ])
}

#[test]
fn text_for_people() {
    let output = web_app().lint(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    insta::assert_snapshot!("lint_text", text(&output.stdout));
}

#[test]
fn formats_and_exit_codes() {
    let tree = web_app();
    let json: serde_json::Value = serde_json::from_slice(&tree.lint(&["--format", "json"]).stdout).unwrap();
    assert_eq!((json["schema"].as_str(), json["summary"]["files"].as_u64()), (Some("bklog.lint/1"), Some(4)));
    let mut places: Vec<String> = Vec::new();
    for finding in json["findings"].as_array().unwrap() {
        let place = &finding["location"];
        places.push(format!("{} {}:{}", finding["rule"].as_str().unwrap(), place["path"].as_str().unwrap(), place["line"]));
    }
    let expected = ["copy-before-install backend/Dockerfile:4", "buildkit-disabled deploy.sh:3", "inline-cache docker-compose.yml:6"];
    assert_eq!(places, expected);
    let github = text(&tree.lint(&["--format", "github"]).stdout);
    assert!(github.contains("\n::warning file=deploy.sh,line=3,endLine=3,title=buildkit-disabled (certain)::"), "{github}");
    let gitlab: serde_json::Value = serde_json::from_slice(&tree.lint(&["--format", "gitlab"]).stdout).unwrap();
    assert_eq!(gitlab[1]["location"]["lines"]["begin"], 3);
    let sarif: serde_json::Value = serde_json::from_slice(&tree.lint(&["--format", "sarif"]).stdout).unwrap();
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!((&place["artifactLocation"]["uri"], &place["region"]["startLine"]), (&"backend/Dockerfile".into(), &4.into()));
    assert!(text(&tree.lint(&["--format", "junit"]).stdout).contains("name=\"bklog lint\" tests=\"3\""));
    assert!(text(&tree.lint(&["--format", "markdown"]).stdout).starts_with("### bklog lint: 4 files read · 2 warnings, 1 note\n"));
    assert_eq!(tree.lint(&["--fail-on", "warning"]).status.code(), Some(1));
    assert_eq!(tree.lint(&["frontend", "--fail-on", "warning"]).status.code(), Some(0));
    assert_eq!(tree.lint(&["nowhere"]).status.code(), Some(3));
}

#[test]
fn settings_comments_and_baseline() {
    let tree = web_app();
    fs::write(tree.0.path().join("bklog.toml"), "[forbid]\ninline-cache = true\n").unwrap();
    let output = tree.lint(&["--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    fs::write(tree.0.path().join("known.json"), &output.stdout).unwrap();
    fs::write(tree.0.path().join("bklog.toml"), "baseline = \"known.json\"\n[forbid]\ninline-cache = true\n").unwrap();
    let output = tree.lint(&["--fail-on", "warning"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "4 files read · 3 suppressed\n".to_owned()));
    // The same thing once more in the same file is new.
    fs::write(
        tree.0.path().join("deploy.sh"),
        "export DOCKER_BUILDKIT=0\nDOCKER_BUILDKIT=0 docker build .\n# bklog: ignore[copy-befor-install] x\n",
    )
    .unwrap();
    let output = text(&tree.lint(&[]).stdout);
    assert!(output.contains("deploy.sh:2") && !output.contains("deploy.sh:1"), "{output}");
    assert!(output.contains("no rule is called \"copy-befor-install\": did you mean copy-before-install?"), "{output}");
}

#[test]
fn nothing_to_lint_says_what_was_looked_for() {
    let output = Tree::new(&[("README.md", "x")]).lint(&[]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(3), String::new()));
    let error = text(&output.stderr);
    assert!(error.starts_with("error: nothing to lint in .: no Dockerfile") && error.contains("hint: name the directory"), "{error}");
}

#[test]
fn a_quiet_repository() {
    let output = Tree::new(&[("Dockerfile", "FROM node:22\nCOPY package.json .\nRUN npm ci\nCOPY . .\n")]).lint(&["--fail-on", "warning"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "1 file read · no findings\n".to_owned()));
}

#[test]
fn fixes_show_their_diff_and_change_nothing_else() {
    let tree = Tree::new(&[
        ("Dockerfile", "FROM debian:12\r\nRUN apt-get update\r\nRUN apt-get install -y curl"),
        ("deploy.sh", "#!/bin/sh\n\texport DOCKER_BUILDKIT=0 # old\ndocker build .\n"),
    ]);
    let before = fs::read(tree.0.path().join("Dockerfile")).unwrap();
    let trial = tree.lint(&["--fix", "--dry-run"]);
    assert_eq!(text(&trial.stderr), "would fix 2 findings in 2 files; leave --dry-run out to do it\n");
    assert_eq!(fs::read(tree.0.path().join("Dockerfile")).unwrap(), before);
    insta::assert_snapshot!("lint_fix_diff", text(&trial.stdout).replace('\r', "<CR>"));
    // The diff is one that others can apply.
    fs::write(tree.0.path().join("x.diff"), &trial.stdout).unwrap();
    let git = |arguments: &[&str]| Command::new("git").args(arguments).current_dir(tree.0.path()).output();
    if let Ok(output) = git(&["apply", "--check", "x.diff"]) {
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    fs::remove_file(tree.0.path().join("x.diff")).unwrap();
    let done = tree.lint(&["--fix"]);
    assert_eq!(text(&done.stderr), "fixed 2 findings in 2 files\n");
    assert!(text(&done.stdout).starts_with(&text(&trial.stdout)), "{}", text(&done.stdout));
    assert!(text(&done.stdout).ends_with("2 files read · no findings\n"), "{}", text(&done.stdout));
    assert_eq!(
        fs::read_to_string(tree.0.path().join("Dockerfile")).unwrap(),
        "FROM debian:12\r\nRUN apt-get update && \\\r\n    apt-get install -y curl"
    );
    assert_eq!(
        fs::read_to_string(tree.0.path().join("deploy.sh")).unwrap(),
        "#!/bin/sh\n\texport DOCKER_BUILDKIT=1 # old\ndocker build .\n"
    );
    let again = tree.lint(&["--fix", "--format", "json"]);
    assert_eq!(text(&again.stderr), "nothing to fix: no finding has a safe fix\n");
    assert!(text(&again.stdout).starts_with("{\"schema\":\"bklog.lint/1\""));
    assert_eq!(tree.lint(&["--dry-run"]).status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn hostile_names_stay_in_their_place() {
    // A line end, a workflow command, an escape, a property's end, a table's cell, HTML.
    let name = "a\n::error::x%0A,b|<b>\u{1b}[31m`.Dockerfile";
    let tree = Tree::new(&[(name, "FROM debian:12\nRUN apt-get update\nRUN apt-get install -y x\n")]);
    for format in ["text", "json", "markdown", "github", "gitlab", "sarif", "junit"] {
        let output = tree.lint(&["--format", format]);
        let out = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{format}: {}", text(&output.stderr));
        assert!(out.contains("apt-update-alone"), "{format}: {out}");
        assert!(!out.contains('\u{1b}') && !out.lines().any(|line| line.starts_with("::error")), "{format}: {out}");
        match format {
            "github" => assert!(out.contains("file=a␊%3A%3Aerror%3A%3Ax%250A%2Cb|<b>␛[31m`.Dockerfile,line=2,endLine=2,"), "{out}"),
            "markdown" => assert!(!out.contains("<b>") && out.lines().filter(|line| line.starts_with('|')).count() == 3, "{out}"),
            "junit" => assert!(out.contains("&lt;b&gt;"), "{out}"),
            "sarif" => {
                let sarif: serde_json::Value = serde_json::from_str(&out).unwrap();
                let result = &sarif["runs"][0]["results"][0];
                let uri = "a%0A%3A%3Aerror%3A%3Ax%250A,b%7C%3Cb%3E%1B%5B31m%60.Dockerfile";
                assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], uri);
                let change = &result["fixes"][0]["artifactChanges"][0];
                assert_eq!(change["artifactLocation"]["uri"], uri);
                let region = &change["replacements"][0]["deletedRegion"];
                // From the end of the first line to the install.
                assert_eq!((region["byteOffset"].as_u64(), region["byteLength"].as_u64()), (Some(33), Some(5)), "{change}");
            }
            "gitlab" => {
                let issues: serde_json::Value = serde_json::from_str(&out).unwrap();
                assert_eq!(issues[0]["location"]["lines"]["begin"], 2);
            }
            _ => {}
        }
    }
    let diff = text(&tree.lint(&["--fix", "--dry-run"]).stdout);
    assert!(diff.starts_with("--- \"a/a\\n::error::x%0A,b|<b>\\033[31m`.Dockerfile\"\n"), "{diff}");
}

#[test]
fn programs_get_paths_from_the_top_of_the_repository() {
    let tree = web_app();
    fs::create_dir(tree.0.path().join(".git")).unwrap();
    let below = tree.0.path().join("backend");
    let json: serde_json::Value = serde_json::from_slice(&lint(&below, &["--format", "json"]).stdout).unwrap();
    let place = &json["findings"][0]["location"];
    assert_eq!((place["path"].as_str(), place["repository_path"].as_str()), (Some("Dockerfile"), Some("backend/Dockerfile")));
    assert!(text(&lint(&below, &[]).stdout).contains("--> Dockerfile:4"), "people get paths that they can open");
    for (format, expected) in [
        ("github", "file=backend/Dockerfile,line=4"),
        ("gitlab", "\"path\": \"backend/Dockerfile\""),
        ("junit", "name=\"backend/Dockerfile\""),
        ("junit", "file=\"backend/Dockerfile\""),
        ("markdown", "| backend/Dockerfile:4 |"),
    ] {
        let output = text(&lint(&below, &["--format", format]).stdout);
        assert!(output.contains(expected), "{format}: {output}");
    }
    let sarif: serde_json::Value = serde_json::from_slice(&lint(&below, &["--format", "sarif"]).stdout).unwrap();
    let run = &sarif["runs"][0];
    let artifact = &run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"];
    assert_eq!(*artifact, serde_json::json!({"uri": "backend/Dockerfile", "uriBaseId": "%SRCROOT%"}));
    assert!(run["originalUriBaseIds"]["%SRCROOT%"].is_object());
    // Another repository than the one that it is called in.
    let beside = tempfile::tempdir().unwrap();
    fs::create_dir(beside.path().join(".git")).unwrap();
    let output = text(&lint(beside.path(), &[below.to_str().unwrap(), "--format", "github"]).stdout);
    assert!(output.contains("file=backend/Dockerfile,line=4"), "{output}");
}
