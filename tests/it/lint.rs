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
    let output = Tree::new(&[("Dockerfile", "FROM x\nCOPY package.json .\nRUN npm ci\nCOPY . .\n")]).lint(&["--fail-on", "warning"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "1 file read · no findings\n".to_owned()));
}
