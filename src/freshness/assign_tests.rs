use std::fs;
use std::path::Path;

use super::*;
use crate::build::collect::Collector;
use crate::evidence::build_command;
use crate::log::Reader;

/// Services with a Dockerfile each; the one of `x` and that of `y` are the same.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (service, text) in [
        ("a", "FROM s\nCOPY a /a\nRUN make a\n"),
        ("b", "FROM s\nCOPY b /b\nRUN make b\n"),
        ("x", "FROM s\nCOPY src /src\n"),
        ("y", "FROM s\nCOPY src /src\n"),
    ] {
        fs::create_dir(dir.path().join(service)).unwrap();
        fs::write(dir.path().join(service).join("Dockerfile"), text).unwrap();
    }
    dir
}

/// The log of one build of each service.
fn log(services: &[&str], named: bool) -> String {
    let build = |service: &&str| {
        let source = if matches!(*service, "x" | "y") { "src" } else { service };
        let mut text = format!(
            "#1 [internal] load build definition from Dockerfile\n#1 transferring dockerfile: 31B done\n#1 DONE 0.0s\n\n\
             #2 [internal] load metadata for docker.io/library/s:latest\n#2 DONE 0.0s\n\n\
             #3 [1/3] FROM docker.io/library/s:latest\n#3 CACHED\n\n#4 [2/3] COPY {source} /{source}\n#4 DONE 0.0s\n\n"
        );
        if source != "src" {
            text += &format!("#5 [3/3] RUN make {service}\n#5 DONE 0.1s\n\n");
        }
        text = if source == "src" { text.replace("/3]", "/2]") } else { text };
        let name = if named { format!("#6 naming to docker.io/library/{service} done\n") } else { String::new() };
        format!("{text}#6 exporting to image\n#6 exporting layers done\n{name}#6 DONE 0.0s\n")
    };
    services.iter().map(build).collect()
}

fn builds(log: &str) -> Vec<Build> {
    let mut builds = Vec::new();
    let mut reader = Reader::new(Collector::new(|build| builds.push(build)));
    reader.feed(log.as_bytes());
    drop(reader.finish());
    builds
}

fn assigned(dir: &Path, log: &str, commands: &[&str]) -> (Vec<Option<String>>, Vec<String>) {
    let commands: Vec<_> = commands.iter().map(|text| build_command::parse(text, dir, &|_| None).unwrap()).collect();
    let builds = builds(log);
    let found = assign(&builds, &commands, &Sources::default());
    let context = |command: &Option<BuildCommand>| {
        let path = command.as_ref()?.targets.first()?.context.local_dir()?;
        Some(path.file_name()?.to_string_lossy().into_owned())
    };
    (found.commands.iter().map(context).collect(), found.notes)
}

fn some(services: &[&str]) -> Vec<Option<String>> {
    services.iter().map(|service| Some((*service).to_owned())).collect()
}

#[test]
fn a_command_for_each_build_in_their_order() {
    let dir = tree();
    let commands = ["docker build a", "docker build b"];
    assert_eq!(assigned(dir.path(), &log(&["a", "b"], false), &commands), (some(&["a", "b"]), vec![]));
    // Given in another order, the Dockerfiles tell.
    assert_eq!(assigned(dir.path(), &log(&["b", "a"], false), &commands), (some(&["b", "a"]), vec![]));
    // What no Dockerfile says any more, the order says.
    fs::write(dir.path().join("a/Dockerfile"), "FROM s\nCOPY z /z\n").unwrap();
    fs::write(dir.path().join("b/Dockerfile"), "FROM s\nCOPY z /z\n").unwrap();
    assert_eq!(assigned(dir.path(), &log(&["a", "b"], false), &commands), (some(&["a", "b"]), vec![]));
}

#[test]
fn fewer_commands_than_builds() {
    let dir = tree();
    let (found, notes) = assigned(dir.path(), &log(&["a", "b", "a"], false), &["docker build a"]);
    assert_eq!(found, [Some("a".to_owned()), None, Some("a".to_owned())]);
    assert!(notes[0].starts_with("build 2 of the log has no command: the one command that is known does not make"), "{notes:?}");
    let (found, notes) = assigned(dir.path(), &log(&["x", "a", "b"], false), &["docker build b", "docker build x"]);
    assert_eq!(found, [Some("x".to_owned()), None, Some("b".to_owned())]);
    assert!(notes[0].contains("none of the 2 commands"), "{notes:?}");
}

#[test]
fn builds_that_did_not_come_about_take_no_command() {
    let dir = tree();
    let commands = ["docker build a", "docker build b", "docker build x"];
    assert_eq!(assigned(dir.path(), &log(&["a", "x"], false), &commands), (some(&["a", "x"]), vec![]));
}

#[test]
fn the_image_s_name_tells_equals_apart() {
    let dir = tree();
    let commands = ["docker build -t x x", "docker build -t y y", "docker build -t a a"];
    assert_eq!(assigned(dir.path(), &log(&["y", "x"], true), &commands).0, some(&["y", "x"]));
    // Without names equals go in their order.
    let commands = ["docker build x", "docker build y", "docker build a"];
    assert_eq!(assigned(dir.path(), &log(&["x", "y"], false), &commands).0, some(&["x", "y"]));
}

#[test]
fn the_name_of_the_dockerfile_speaks_against_a_command() {
    let dir = tree();
    fs::copy(dir.path().join("a/Dockerfile"), dir.path().join("a/Other")).unwrap();
    let (found, notes) = assigned(dir.path(), &log(&["a", "b"], false), &["docker build -f a/Other a"]);
    assert_eq!((found, notes.len()), (vec![None, None], 1));
}

#[test]
fn a_compose_file_that_docker_s_own_client_builds() {
    let dir = tree();
    let services = "services:\n  a: {build: a}\n  b: {build: b}\n  x: {build: x}\n  y: {build: y}\n";
    fs::write(dir.path().join("compose.yaml"), services).unwrap();
    let (found, notes) = assigned(dir.path(), &log(&["b", "a", "y", "x"], true), &["docker compose build"]);
    assert_eq!((found, notes), (some(&["b", "a", "y", "x"]), vec![]));
}

#[test]
fn without_commands_there_is_nothing_to_say() {
    assert_eq!(assigned(Path::new("/none"), &log(&["a"], false), &[]), (vec![None], vec![]));
}
