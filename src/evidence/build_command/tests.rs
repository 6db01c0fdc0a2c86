use proptest::prelude::*;

use super::*;

fn env(name: &str) -> Option<String> {
    match name {
        "FROM_ENV" => Some("env".into()),
        _ => None,
    }
}

fn cwd() -> &'static Path {
    Path::new("/w/app")
}

fn one(text: &str) -> (BuildCommand, BuildTarget) {
    let command = parse(text, cwd(), &env).unwrap_or_else(|error| panic!("{text}: {error}"));
    let target = command.targets[0].clone();
    (command, target)
}

fn dir(typed: &str, path: &str) -> ContextSource {
    ContextSource::Dir { typed: typed.into(), path: path.into() }
}

#[test]
fn real_commands() {
    use ClientKind::{Buildctl, Buildx, Docker, Legacy};
    let text = include_str!("../../../testdata/commands/real.txt");
    let here = || dir(".", "/w/app");
    let expected: [(ClientKind, ContextSource); 16] = [
        (Buildx, here()),
        (Docker, here()),
        (Buildx, here()),
        (Buildx, here()),
        (Buildx, ContextSource::Remote("http://127.0.0.1:8057/repo.git#v1.0:sub".into())),
        (Buildx, ContextSource::Stdin),
        (Buildx, here()),
        (Buildx, here()),
        (Buildx, here()),
        (Buildx, here()),
        (Buildx, here()),
        (Buildctl, dir("$W/two/proj2", "/w/app/$W/two/proj2")),
        (Docker, here()),
        (Legacy, here()),
        (Docker, ContextSource::Stdin),
        (Buildx, here()),
    ];
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), expected.len());
    let read: Vec<_> = lines.iter().map(|line| one(line)).collect();
    for ((line, (command, target)), (client, context)) in lines.iter().zip(&read).zip(expected) {
        assert_eq!((command.client, &target.context), (client, &context), "{line}");
    }
    let target = |at: usize| &read[at].1;
    assert_eq!(target(1).arg("BUILDKIT_INLINE_CACHE"), Some("1"));
    assert_eq!(target(1).cache_from[0].reference(), Some("nope:1"));
    assert_eq!(target(1).tags, ["y:1"]);
    assert_eq!(target(2).dockerfile_path.as_deref(), Some(Path::new("/w/app/sub/my.Dockerfile")));
    assert_eq!(target(3).contexts["alpine:3.20"], ContextSource::Image("busybox:latest".into()));
    assert_eq!(target(6).arg("NAME"), Some("we ird"));
    assert_eq!(target(8).arg("I"), Some("$i"));
    assert_eq!(target(11).dockerfile_path.as_deref(), Some(Path::new("/w/app/$W/two/proj2/Dockerfile")));
    assert_eq!(target(12).tags.len(), 2);
    assert_eq!(target(15).platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!(target(15).outputs[0].kind, "registry");
    assert_eq!(read[0].0.progress.as_deref(), Some("plain"));
}

#[test]
fn every_form_of_flag() {
    for text in [
        "docker build -f ./d/X -t a:1 --build-arg A=1 ctx",
        "docker image build -fd/X ctx -ta:1 --build-arg=A=1",
        "docker builder build --file=d/X --tag a:1 -m 1g --ulimit nofile=1 --build-arg A=1 -- ctx",
        "sudo -u root env X=1 docker -H tcp://h --context c build -q -f=d/X -t=a:1 --add-host a:1 --build-arg A=1 ctx",
        "time -p docker buildx --builder b build -qf d/X -ta:1 --secret id=x,src=y --ssh default --label l=1 --build-arg A=1 ctx",
        "/usr/bin/docker-buildx b --no-cache=false --pull=false --iidfile i --attest type=sbom -f d/X --build-arg 'A=1' -t \"a:1\" ctx",
        "docker build \\\n  -f d/X \\\n  -t a:1 \\\n  --build-arg A=1 \\\n  ctx",
        "cd /w && cd app && docker build -f d/X -t a:1 --build-arg A=1 ctx",
        "bash -ec 'docker build -f d/X -t a:1 --build-arg A=1 ctx'",
        "IID=$(docker build -q -f d/X -t a:1 --build-arg A=1 ctx)",
        "if ! docker build -f d/X -t a:1 --build-arg A=1 ctx >/dev/null 2>&1; then exit 1; fi",
    ] {
        let (_, target) = one(text);
        assert_eq!(target.context, dir("ctx", "/w/app/ctx"), "{text}");
        assert_eq!(target.dockerfile_path.as_deref(), Some(Path::new("/w/app/d/X")), "{text}");
        assert_eq!(target.tags, ["a:1"], "{text}");
        assert_eq!(target.arg("A"), Some("1"), "{text}");
        assert!(!target.no_cache && !target.pull, "{text}");
    }
    let (command, target) = one(
        "A=x BUILDX_BUILDER=bb BUILDKIT_PROGRESS=plain docker buildx build --build-arg A --build-arg FROM_ENV --build-arg GONE --no-cache --pull --no-cache-filter a,b --target t --build-context libs=../libs --cache-to type=inline -o out --build-arg W=$(date +%s) --build-arg V=${V:-a b} .",
    );
    assert_eq!(command.builder.as_deref(), Some("bb"));
    assert_eq!(command.progress.as_deref(), Some("plain"));
    assert_eq!(command.env[0], ("A".to_owned(), "x".to_owned()));
    let args: Vec<_> = target.args.iter().map(|a| (a.name.as_str(), a.value.as_deref())).collect();
    assert_eq!(args, [("A", Some("x")), ("FROM_ENV", Some("env")), ("GONE", None), ("W", Some("$(date +%s)")), ("V", Some("${V:-a b}"))]);
    assert!(target.no_cache && target.pull);
    assert_eq!(target.no_cache_filter, ["a", "b"]);
    assert_eq!(target.contexts["libs"], dir("../libs", "/w/libs"));
    assert_eq!(target.outputs[0].kind, "local");
}

#[test]
fn words_need_no_quotes() {
    let words = ["docker", "build", "--build-arg", "A=x y;z", "dir with blank"].map(str::to_owned);
    let command = parse_words(&words, cwd(), &env).unwrap();
    assert_eq!(command.targets[0].arg("A"), Some("x y;z"));
    assert_eq!(command.targets[0].context, dir("dir with blank", "/w/app/dir with blank"));
    let shell = ["bash", "-c", "cd sub; docker build ."].map(str::to_owned);
    assert_eq!(parse_words(&shell, cwd(), &env).unwrap().targets[0].context, dir(".", "/w/app/sub"));
}

#[test]
fn buildctl_has_its_own_words() {
    let (command, target) = one(
        "buildctl b -frontend dockerfile.v0 --local context=src --local dockerfile=docker --opt filename=X --opt target=t --opt build-arg:A=1 --local libs=../libs --opt context:l=local:libs --opt context:i=docker-image://alpine --opt platform=linux/amd64,linux/arm64 --opt no-cache= --import-cache type=local,src=c --output type=image,name=n",
    );
    assert_eq!(command.client, ClientKind::Buildctl);
    assert_eq!(target.context, dir("src", "/w/app/src"));
    assert_eq!(target.dockerfile_path.as_deref(), Some(Path::new("/w/app/docker/X")));
    assert_eq!((target.target.as_deref(), target.arg("A")), (Some("t"), Some("1")));
    assert_eq!(target.contexts["l"], dir("../libs", "/w/libs"));
    assert_eq!(target.contexts["i"], ContextSource::Image("alpine".into()));
    assert_eq!(target.platforms.len(), 2);
    assert!(target.no_cache);
    assert_eq!(target.cache_from[0].kind, "local");
    let (_, remote) = one("buildctl build --frontend=dockerfile.v0 --opt context=https://h/r.git");
    assert_eq!(remote.context, ContextSource::Remote("https://h/r.git".into()));
}

#[test]
fn compose_and_bake_read_their_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("compose.yaml"),
        "services:\n  a: {build: a, depends_on: [b]}\n  b: {build: {context: b, args: {X: 1}}}\n  c: {image: c}\n",
    )
    .unwrap();
    std::fs::write(dir.path().join("x.hcl"), "target \"t\" { context = \"t\" }\n").unwrap();
    let names = |text: &str| -> Vec<String> {
        let command = parse(text, dir.path(), &env).unwrap_or_else(|error| panic!("{text}: {error}"));
        command.targets.into_iter().filter_map(|t| t.name).collect()
    };
    assert_eq!(names("docker compose build"), ["a", "b"]);
    assert_eq!(names("docker-compose -f compose.yaml --env-file /dev/null build --no-cache a"), ["a"]);
    assert_eq!(names("docker compose -p x build --with-dependencies a"), ["a", "b"]);
    assert_eq!(names("docker compose up -d --build a"), ["a", "b"]);
    assert_eq!(names("docker compose run --build --rm b sh -c 'x --y'"), ["b"]);
    assert_eq!(names("docker buildx bake"), ["a", "b"]);
    assert_eq!(names("docker buildx bake -f x.hcl t --set t.context=z"), ["t"]);
    let text = "docker compose build --build-arg X=2 --build-arg FROM_ENV --no-cache b";
    let command = parse(text, dir.path(), &env).unwrap();
    assert_eq!(command.client, ClientKind::Compose);
    assert_eq!((command.targets[0].arg("X"), command.targets[0].arg("FROM_ENV")), (Some("2"), Some("env")));
    assert!(command.targets[0].no_cache);
    let command = parse("docker buildx bake --no-cache --pull=false", dir.path(), &env).unwrap();
    assert_eq!(command.client, ClientKind::Bake);
    assert!(command.targets.iter().all(|t| t.no_cache && !t.pull));
    assert!(matches!(parse("docker compose build zz", dir.path(), &env), Err(CommandError::Compose(_))));
    assert!(matches!(parse("docker buildx bake https://h/r.git", dir.path(), &env), Err(CommandError::Bake(_))));
}

#[test]
fn mistakes_are_one_line() {
    for (text, expected) in [
        ("docker run x", "is no build command"),
        ("make", "is no build command"),
        ("docker compose up", "is no build command"),
        ("docker build", "takes one context, not 0"),
        ("docker build a b", "takes one context, not 2"),
        ("docker build --nope .", "unknown flag --nope"),
        ("docker build -z .", "unknown flag -z"),
        ("docker build . -f", "flag -f of docker build needs a value"),
        ("docker build --cache-from ref=x .", "--cache-from"),
        ("docker build --build-context x .", "expected NAME=VALUE"),
        ("make 'x", "check its quotes"),
        ("buildctl build", "takes one context"),
        ("buildctl build --local context=. --opt context:a=local:b", "no --local b=DIR"),
    ] {
        let error = parse(text, cwd(), &env).err().unwrap_or_else(|| panic!("{text}")).to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains('\n'));
    }
}

#[test]
fn builds_of_a_script() {
    let text = r#"#!/usr/bin/env bash
set -euo pipefail
# docker build commented out
cat <<'EOF' > help.txt
docker build in a here-document
EOF
echo "docker build in quotes"
cd services
for svc in auth user; do
  docker build \
    --build-arg "SHARED_LIBS_CACHE_BUST=$(date +%s)" \
    -t "acme/$svc:latest" "$svc" || exit 1
done
(cd ../web && docker buildx build -t web .) && docker compose build api
cd "$ROOT"; DOCKER_BUILDKIT=0 docker build . > log 2>&1
docker builder prune -f
ssh host 'docker build .'
"#;
    let builds = find_builds_in_script(text);
    let lines: Vec<_> = builds.iter().map(|b| (b.line, b.end_line)).collect();
    assert_eq!(lines, [(10, 12), (14, 14), (14, 14), (15, 15)]);
    assert_eq!(
        builds[0].words,
        ["do", "docker", "build", "--build-arg", "SHARED_LIBS_CACHE_BUST=$(date +%s)", "-t", "acme/$svc:latest", "$svc"][1..]
    );
    assert_eq!(builds[0].dir.as_deref(), Some(Path::new("services")));
    assert_eq!(builds[1].dir.as_deref(), Some(Path::new("services/../web")));
    assert_eq!(builds[2].dir.as_deref(), Some(Path::new("services")));
    assert!(builds[3].dir_unknown && !builds[2].dir_unknown);
    assert_eq!(builds[3].words.last().map(String::as_str), Some("."));
}

#[test]
fn scripts_are_named() {
    for (text, path) in [
        ("REG=x TAG=a bash rebuild.sh", Some("rebuild.sh")),
        ("bash -euo pipefail ./a.sh b", Some("./a.sh")),
        ("sh -e -o pipefail a.sh", Some("a.sh")),
        ("sudo ./deploy.sh --all", Some("./deploy.sh")),
        ("bash -c 'x'", None),
        ("make all", None),
        ("/usr/bin/docker build .", None),
    ] {
        let words = shlex::split(text).unwrap();
        assert_eq!(script_path(&words), path, "{text}");
    }
}

proptest! {
    #[test]
    fn no_script_panics(text in "(docker (build|compose build) )?[ \n;&|(){}$`'\"\\\\<>#a-c=.ü-]{0,60}") {
        let _ = find_builds_in_script(&text);
        let _ = parse(&text, Path::new("/nonexistent"), &env);
    }

    #[test]
    fn no_unicode_panics(text in "\\PC*") {
        let _ = find_builds_in_script(&text);
    }

    #[test]
    fn no_words_panic(words in proptest::collection::vec("(docker|build|buildx|buildctl|-[a-z=ü]{0,3}|--[a-z=-]{0,6}|\\PC{0,4})", 0..8)) {
        let _ = parse_words(&words, Path::new("/nonexistent"), &env);
    }
}
