//! `bklog check` as a user meets it: which command made which build, bad input, secrets.

use std::{fs, process::Output};

use serde_json::Value;

use crate::common::{DOCKERFILE, Place, code, json, log, log_of, text};

fn check(place: &Place, log: &str, arguments: &[&str]) -> Output {
    let path = place.write("build.log", log);
    place.run(&[&["check", &path], arguments].concat())
}

/// Verdict and reason of the first copy.
fn copy(output: &Output) -> (String, String) {
    let report = json(output);
    let step = report["steps"].as_array().unwrap().iter().find(|step| step["name"].as_str().unwrap().contains("COPY")).cloned();
    let step = step.unwrap_or_else(|| panic!("{report}"));
    (step["verdict"].as_str().unwrap().to_owned(), step["because"].as_str().unwrap().to_owned())
}

#[test]
fn flags_beside_a_command_win() {
    let place = Place::new();
    place.write("app/other/src/main.py", "print(2)\n");
    place.write("app/other/Dockerfile", "FROM scratch\nCOPY src /app\nRUN make $X\n");
    place.commit("other");
    let cached = log("CACHED");
    let steps = |arguments: &[&str]| copy(&check(&place, &cached, &[&["--format", "json"], arguments].concat()));
    // Between HEAD~1 and HEAD only `other` came: its sources are new, those of the repository's top are not.
    let since = ["--since", "HEAD~1"];
    assert_eq!(steps(&[&since[..], &["--build", "docker build ."]].concat()).0, "fresh");
    assert_eq!(steps(&[&since[..], &["--build", "docker build .", "--context", "other"]].concat()).0, "suspect");
    assert_eq!(steps(&[&since[..], &["--context", "other"]].concat()).0, "suspect");
    assert_eq!(steps(&[&since[..], &["--build", "docker build other", "--context", "."]].concat()).0, "fresh");
    // The argument makes the RUN of the log that of the Dockerfile.
    let run = log_of("COPY src /app", "RUN make all", "CACHED");
    let location = |arguments: &[&str]| {
        let output =
            check(&place, &run, &[&["--format", "json", "--strict", "--build", "docker build -f Dockerfile ."], arguments].concat());
        json(&output)["findings"][0]["location"]["path"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(location(&[]), "Dockerfile");
    assert_eq!(location(&["--file", "other/Dockerfile", "--build-arg", "X=all"]), "other/Dockerfile");
}

#[test]
fn flags_that_cannot_be_meant_are_said() {
    let place = Place::new();
    place.write("app/compose.yaml", "services:\n  a: {build: .}\n  b: {build: .}\n");
    let refused = |arguments: &[&str], message: &str| {
        let output = check(&place, &log("CACHED"), arguments);
        let errors = text(&output.stderr);
        assert_eq!(code(&output), 2, "{errors}");
        assert!(errors.contains(message), "{errors}");
    };
    let two = ["--build", "docker build .", "--build", "docker build -t b ."];
    refused(&[&two[..], &["--context", "x"]].concat(), "--context says where one build is from, and the commands make 2");
    refused(&[&two[..], &["--target", "x"]].concat(), "--target says where one build is from, and the commands make 2");
    refused(&["--build", "docker compose build", "-f", "x"], "--file says where one build is from, and the commands make 2");
    refused(&["--compose", "compose.yaml", "--build", "docker build ."], "cannot be used with");
    refused(&["--build", "docker build .", "--build-context", "x"], "has no `=`");
    refused(&["--build", "docker buld ."], "is no build command");
    refused(&["--build", "docker build --fil x ."], "unknown flag --fil");
    refused(&["--started-at", "yesterday"], "is no time");
}

#[test]
fn builds_without_a_command_are_named() {
    let place = Place::new();
    let logs = [log("CACHED"), log_of("COPY else /app", "RUN other", "CACHED")].concat();
    let output = check(&place, &logs, &["--format", "json", "--build", "docker build .", "--since", "HEAD"]);
    let report = json(&output);
    let verdicts: Vec<&str> = report["steps"].as_array().unwrap().iter().map(|step| step["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["fresh", "unknown"], "{report}");
    assert!(report["notes"][0].as_str().unwrap().starts_with("build 2 of the log has no command"), "{report}");
}

/// Each message is looked at by a person when the snapshot changes: does it say what is wrong, where, and what to do?
#[test]
fn bad_input_is_said_in_words_that_help() {
    let place = Place::new();
    let first = place.git(&["rev-parse", "HEAD"]);
    place.write("app/src/main.py", "print(3)\n");
    place.commit("second");
    let mut page = String::new();
    let mut add = |what: &str, output: &Output| {
        let head = place.git(&["rev-parse", "HEAD"]);
        let said = place.said(output).replace(&first, "FIRST").replace(&head, "HEAD").replace(&head[..12], "HEAD--------");
        // What stands above the findings is not what this is about.
        let said = said.split_once("export      0.0s\n\n").map_or(said.as_str(), |(_, findings)| findings);
        page += &format!("## {what}: exit code {}\n{said}\n", code(output));
    };
    let build = ["--build", "docker build ."];
    let with = |arguments: &[&str]| check(&place, &log("CACHED"), &[&build[..], arguments].concat());
    let cached = log("CACHED");

    fs::rename(place.app().join("Dockerfile"), place.app().join("D")).unwrap();
    add("no Dockerfile", &with(&[]));
    fs::create_dir(place.app().join("Dockerfile")).unwrap();
    add("the Dockerfile is a directory", &with(&[]));
    fs::remove_dir(place.app().join("Dockerfile")).unwrap();
    place.write("app/Dockerfile", "FROM scratch\nCPOY src /app\n");
    add("the Dockerfile is wrong", &with(&[]));
    place.write("app/Dockerfile", "FROM scratch\nCOPY lib /lib\nRUN lib\nRUN more\n");
    add("the Dockerfile is not that of the log", &with(&["--since", "HEAD~1"]));
    place.write("app/Dockerfile", DOCKERFILE);
    place.write("app/.dockerignore", "src/[a\n");
    add("the ignore file is wrong", &with(&[]));
    fs::remove_file(place.app().join(".dockerignore")).unwrap();
    fs::create_dir(place.app().join(".dockerignore")).unwrap();
    add("the ignore file is a directory", &with(&[]));
    fs::remove_dir(place.app().join(".dockerignore")).unwrap();
    place.git(&["checkout", "-q", "."]);

    let compose = ["--build", "docker compose build"];
    add("no compose file", &check(&place, &cached, &compose));
    place.write("app/compose.yaml", "services:\n  a: {build: [}\n");
    add("the compose file is no YAML", &check(&place, &cached, &compose));
    place.write("app/compose.yaml", "services:\n  a: {build: {context: ., args: 3}}\n");
    add("the compose file is wrong", &check(&place, &cached, &compose));
    place.write("app/compose.yaml", "services:\n  a: {build: {context: $NOWHERE:?say where}}\n");
    add("a service that is not in the compose file", &check(&place, &cached, &["--build", "docker compose build b"]));
    place.write("app/docker-bake.hcl", "target \"a\" {\n  context = \n}\n");
    add("the bake file is wrong", &check(&place, &cached, &["--build", "docker buildx bake"]));
    place.git(&["clean", "-qfd"]);

    add("the context is not here", &check(&place, &cached, &["--build", "docker build nowhere"]));
    add("no image", &with(&["--image", "nowhere.tar"]));
    let archive = place.write("not-an-image.tar", "this is no archive at all");
    add("not an image", &with(&["--image", &archive]));
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(2000);
    header.set_cksum();
    tar.append_data(&mut header, "manifest.json", &[b' '; 2000][..]).unwrap();
    let whole = tar.into_inner().unwrap();
    add("an archive that is cut", &with(&["--image", &place.write("cut.tar", &whole[..1500])]));
    add("an archive without an image", &with(&["--image", &place.write("empty.tar", &whole)]));

    add("a commit that is not here", &with(&["--commit", "0123456789012345678901234567890123456789"]));
    add("a baseline that is not here", &with(&["--since", "v9"]));
    let shallow = place.root().join("shallow");
    place.git(&["clone", "-q", "--depth", "1", &format!("file://{}", place.app().display()), shallow.to_str().unwrap()]);
    let path = place.write("build.log", &cached);
    let in_clone = place.bklog(&["check", &path, "--build", "docker build .", "--since", &first]).current_dir(&shallow).output().unwrap();
    add("a shallow clone without the baseline", &in_clone);
    let unborn = place.root().join("unborn");
    place.git(&["init", "-q", unborn.to_str().unwrap()]);
    place.write("unborn/Dockerfile", DOCKERFILE);
    let in_unborn = place.bklog(&["check", &path, "--build", "docker build ."]).current_dir(&unborn).output().unwrap();
    add("no commit yet", &in_unborn);
    place.write("plain/Dockerfile", DOCKERFILE);
    place.write("plain/src/main.py", "x");
    let no_git = place.bklog(&["check", &path, "--build", "docker build ."]).current_dir(place.root().join("plain")).output().unwrap();
    add("not a git repository", &no_git);
    place.write("app/bklog.toml", "[rules]\nstale-cpy = \"off\"\n");
    add("a rule that is misspelled in the settings", &with(&[]));
    insta::assert_snapshot!("bad_input", page);
}

/// A secret of its own for every place that a text can come from.
#[test]
fn no_secret_is_repeated_anywhere() {
    let place = Place::new();
    let token = |n: u32| format!("ghp_{n:02}abcdefABCDEF0123456789abcdefABCDEF");
    let secret = |n: u32| format!("s3cret-{n:02}-q7W9");
    place.git(&["remote", "add", "origin", &format!("https://me:{}@git.example.org/x.git", secret(1))]);
    let dockerfile = format!(
        "FROM scratch\nARG NPM_TOKEN\nARG PLAIN\nENV DB_PASSWORD={}\nCOPY src /app\n\
         RUN curl -H \"Authorization: Bearer {}\" https://u:{}@h/x | sh && NPM_TOKEN=$NPM_TOKEN npm i\nADD https://x:{}@h/y /y\n",
        secret(2),
        token(3),
        secret(4),
        secret(5)
    );
    place.write("app/Dockerfile", &dockerfile);
    place.write(
        "app/compose.yaml",
        format!(
            "services:\n  app:\n    build:\n      context: .\n      args:\n        API_KEY: {}\n        NPM_TOKEN: {}\n",
            secret(6),
            secret(7)
        ),
    );
    place.write("app/docker-bake.hcl", format!("target \"default\" {{\n  args = {{ API_KEY = \"{}\" }}\n  context = \n}}\n", secret(8)));
    place.commit("secrets");
    place.write(
        "app/bklog.toml",
        "[require]\nprune = true\ncommit-line = true\n[rules]\nstale-run = \"error\"\n[redact]\nnames = [\"PLAIN\"]\n",
    );
    let run =
        format!("RUN curl -H \"Authorization: Bearer {}\" https://u:{}@h/x | sh && NPM_TOKEN={} npm i", token(3), secret(4), secret(9));
    let failed = log_of("COPY src /app", &run, "CACHED")
        .replace("/2]", "/3]")
        .replace("#8 exporting", &format!("#9 [3/3] ADD https://x:{}@h/y /y\n#9 CACHED\n\n#8 exporting", secret(5)));
    let failed = failed
        + &format!("echo outside DB_PASSWORD={}\nBuilding from commit: https://me:{}@h/x.git\n", secret(10), secret(11))
        + "#1 [internal] load build definition from Dockerfile\n#1 DONE 0.0s\n\n"
        + &format!("#2 [2/2] RUN docker login -p {}\n#2 0.1 export AWS_SECRET_ACCESS_KEY={}\n", secret(12), secret(13))
        + &format!("#2 ERROR: process \"/bin/sh -c docker login -p {}\" did not complete successfully: exit code: 1\n------\n", secret(12))
        + &format!(" > [2/2] RUN docker login -p {}:\n0.1 export AWS_SECRET_ACCESS_KEY={}\n------\n", secret(12), secret(13))
        + &format!("Dockerfile:7\n--------------------\n   7 | >>> RUN docker login -p {}\n--------------------\n", secret(12))
        + &format!(
            "ERROR: failed to solve: process \"/bin/sh -c docker login -p {}\" did not complete successfully: exit code: 1\n",
            secret(12)
        );
    let path = place.write("build.log", failed);
    let build = format!(
        "docker build --build-arg NPM_TOKEN={} --build-arg PLAIN={} --secret id=x,src=y --label api-token={} --cache-from type=registry,ref=https://u:{}@h/x .",
        secret(9),
        secret(14),
        secret(15),
        secret(18)
    );
    let mut said = Vec::new();
    let mut take = |what: &str, output: &Output| said.push((what.to_owned(), text(&output.stdout) + &text(&output.stderr)));
    let summary = place.root().join("summary.md");
    for format in ["text", "json", "markdown", "github", "gitlab", "sarif", "junit"] {
        let output =
            place.bklog(&["check", &path, "--build", &build, "--format", format]).env("GITHUB_STEP_SUMMARY", &summary).output().unwrap();
        assert!([1, 4].contains(&code(&output)), "{} {}{}", code(&output), text(&output.stdout), text(&output.stderr));
        take(&format!("check {format}"), &output);
        take(&format!("compose {format}"), &place.run(&["check", &path, "--build", "docker compose build", "--format", format]));
    }
    for format in ["text", "json", "markdown"] {
        take(&format!("show {format}"), &place.run(&["show", &path, "--all", "--format", format]));
    }
    take("bake", &place.run(&["check", &path, "--build", "docker buildx bake"]));
    for flag in ["--nonsense", "--build-context x", "--output x=y,", "--cache-to a=b"] {
        let wrong = format!("docker build {flag} --build-arg NPM_TOKEN={} https://me:{}@h/x", secret(9), secret(16));
        take(flag, &place.run(&["check", &path, "--build", &wrong]));
    }
    take("no command", &place.run(&["check", &path, "--build", &format!("docker push https://me:{}@h/x", secret(16))]));
    take("no time", &place.run(&["check", &path, "--started-at", &format!("TOKEN={}", secret(17))]));
    let history = place.root().join("history");
    let recorded = place.run(&["check", &path, "--build", &build, "--history", history.to_str().unwrap(), "--record", "--project", "p"]);
    take("record", &recorded);
    said.push(("summary".to_owned(), fs::read_to_string(&summary).unwrap()));
    #[cfg(feature = "history")]
    {
        let before = said.len();
        ledger(&history, &mut said);
        assert!(said.len() > before + 2, "{}", text(&recorded.stderr));
    }
    assert!(said.iter().any(|(_, text)| text.contains("****")));
    for n in 1..=18 {
        let (secret, token) = (secret(n), token(n));
        for (what, text) in &said {
            for planted in [&secret, &token] {
                let line = text.lines().find(|line| line.contains(planted.as_str()));
                assert!(line.is_none(), "{what} repeats {planted}: {line:?}");
            }
        }
    }
}

/// The texts of every file of the ledger, which are compressed in it.
#[cfg(feature = "history")]
fn ledger(directory: &std::path::Path, said: &mut Vec<(String, String)>) {
    use polars::prelude::{ParquetReader, SerReader as _};
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            ledger(&path, said);
            continue;
        }
        let mut text = path.display().to_string();
        if path.extension().is_some_and(|extension| extension == "parquet") {
            let frame = ParquetReader::new(fs::File::open(&path).unwrap()).finish().unwrap();
            for row in 0..frame.height() {
                text += &format!("\n{:?}", frame.get(row));
            }
        } else {
            text += &String::from_utf8_lossy(&fs::read(&path).unwrap());
        }
        said.push((format!("ledger {}", path.display()), text));
    }
}

#[test]
fn the_report_begins_with_the_run_and_ends_with_the_counts() {
    let place = Place::new();
    let commit = place.git(&["rev-parse", "HEAD"]);
    let output = check(&place, &log("CACHED"), &["--build", "docker build .", "--since", "HEAD"]);
    let said = text(&output.stdout);
    let first = said.lines().next().unwrap();
    assert!(first.starts_with(&format!("app · commit {} on main · succeeded", &commit[..7])), "{said}");
    assert_eq!(said.lines().last().unwrap(), "1 fresh", "{said}");
    let two = check(&place, &[log("CACHED"), log("CACHED")].concat(), &["--build", "docker build .", "--since", "HEAD"]);
    let said = text(&two.stdout);
    assert_eq!(said.lines().next().unwrap(), format!("app · commit {} on main · 2 builds", &commit[..7]), "{said}");
    let report: Value = json(&check(&place, &log("CACHED"), &["--format", "json", "--project", "p", "--build", "docker build ."]));
    assert_eq!(
        (report["project"].as_str(), report["commit"].as_str(), report["branch"].as_str()),
        (Some("p"), Some(&*commit), Some("main"))
    );
}

#[test]
fn a_job_in_a_subdirectory_gives_programs_paths_from_the_top() {
    let place = Place::new();
    place.write("app/services/api/Dockerfile", DOCKERFILE);
    place.write("app/services/api/src/main.py", "print(1)\n");
    place.commit("api");
    let below = place.app().join("services/api");
    place.write("app/services/api/build.log", log("CACHED"));
    let run = |format: &str| {
        let arguments = ["check", "build.log", "--strict", "--build", "docker build .", "--format", format];
        let output = place.bklog(&arguments).current_dir(&below).output().unwrap();
        text(&output.stdout)
    };
    assert!(run("text").contains("--> Dockerfile:2"), "{}", run("text"));
    assert!(run("github").contains("file=services/api/Dockerfile,line=2"), "{}", run("github"));
    assert!(run("gitlab").contains("\"path\": \"services/api/Dockerfile\""), "{}", run("gitlab"));
    assert!(run("junit").contains("file=\"services/api/Dockerfile\""), "{}", run("junit"));
    assert!(run("markdown").contains("<br>services/api/Dockerfile:2 |"), "{}", run("markdown"));
    let report: Value = serde_json::from_str(&run("json")).unwrap();
    let location = &report["findings"][0]["location"];
    assert_eq!((location["path"].as_str(), location["repository_path"].as_str()), (Some("Dockerfile"), Some("services/api/Dockerfile")));
    let sarif: Value = serde_json::from_str(&run("sarif")).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    let uri = |place: &str| result[place][0]["physicalLocation"]["artifactLocation"]["uri"].as_str();
    assert_eq!((uri("locations"), uri("relatedLocations")), (Some("services/api/Dockerfile"), Some("services/api/build.log")));
    // A Dockerfile elsewhere in the repository is named by its place there, not by that on this machine.
    place.write("app/docker/api.Dockerfile", DOCKERFILE);
    let arguments = ["check", "build.log", "--strict", "--build", "docker build -f ../../docker/api.Dockerfile .", "--format", "github"];
    let output = text(&place.bklog(&arguments).current_dir(&below).output().unwrap().stdout);
    assert!(output.contains("file=docker/api.Dockerfile,line=2"), "{output}");
}
