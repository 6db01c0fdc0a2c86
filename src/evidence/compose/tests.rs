use proptest::prelude::*;

use super::super::build_target::TypedEntry;
use super::*;

struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn load(&self) -> Result<ComposeProject, ComposeError> {
        self.load_with(&ComposeOptions::default())
    }

    fn load_with(&self, options: &ComposeOptions) -> Result<ComposeProject, ComposeError> {
        load(self.0.path(), options, &env)
    }

    fn build(&self, name: &str) -> BuildTarget {
        self.load().unwrap().service(name).unwrap().build.clone().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn env(name: &str) -> Option<String> {
    match name {
        "FROM_ENV" => Some("env".into()),
        "HOME" => Some("/home/u".into()),
        _ => None,
    }
}

fn args(target: &BuildTarget) -> Vec<(&str, Option<&str>)> {
    target.args.iter().map(|a| (a.name.as_str(), a.value.as_deref())).collect()
}

#[test]
fn everything_of_a_build_with_lines() {
    let files = Files::new(&[(
        "compose.yaml",
        "x-args: &args\n  A: 1.10\n  B:\nservices:\n  api:\n    build:\n      context: ./api\n      args:\n        <<: *args\n        FROM_ENV:\n        C: $FROM_ENV\n      additional_contexts:\n        - libs=../libs\n        - img=docker-image://alpine\n        - other=service:web\n      cache_from:\n        - a:1\n        - type=gha\n      target: prod\n      no_cache: \"${NC:-true}\"\n  web: {build: ~/web}\n",
    )]);
    let api = files.build("api");
    assert_eq!(api.context.local_dir(), Some(files.path("api").as_path()));
    assert_eq!(args(&api), [("FROM_ENV", Some("env")), ("C", Some("env")), ("A", Some("1.1")), ("B", None)]);
    assert_eq!(api.args[1].place.as_ref().unwrap().line, 11);
    assert_eq!(api.args[2].place.as_ref().unwrap().line, 2);
    assert_eq!(api.place.as_ref().unwrap().line, 5);
    assert_eq!(api.cache_from[1].place.as_ref().unwrap().line, 18);
    assert_eq!(api.cache_from[1].kind, "gha");
    assert_eq!(api.contexts["img"], ContextSource::Image("alpine".into()));
    assert_eq!(api.contexts["other"], ContextSource::Target("web".into()));
    assert!(api.no_cache);
    assert_eq!(api.dockerfile_path, Some(files.path("api/Dockerfile")));
    let web = files.build("web");
    assert_eq!(web.context.local_dir(), Some(Path::new("/home/u/web")));
    let names: Vec<_> = files.load().unwrap().build_targets(&["api".into()]).unwrap().into_iter().filter_map(|t| t.name).collect();
    assert_eq!(names, ["web", "api"], "a linked service is built first");
}

#[test]
fn override_files_merge() {
    let files = Files::new(&[
        (
            "docker-compose.yml",
            "services:\n  a:\n    build: ./a\n    depends_on: [b]\n  b:\n    build:\n      context: b\n      cache_from: [x:1]\n      args: {K: base, L: 1}\n      target: t\n      tags: [one]\n",
        ),
        (
            "docker-compose.override.yml",
            "services:\n  a:\n    build: {target: dev}\n  b:\n    build:\n      cache_from: [y:1]\n      args: [K=over]\n      target: !reset null\n      tags: !override [two]\n",
        ),
    ]);
    let a = files.build("a");
    assert_eq!(a.context.local_dir(), Some(files.path("a").as_path()));
    assert_eq!(a.target.as_deref(), Some("dev"));
    let b = files.build("b");
    assert_eq!(args(&b), [("K", Some("over")), ("L", Some("1"))]);
    let place = b.args[0].place.as_ref().unwrap();
    assert_eq!((place.file.file_name().unwrap().to_str(), place.line), (Some("docker-compose.override.yml"), 7));
    assert_eq!(b.cache_from.iter().filter_map(TypedEntry::reference).collect::<Vec<_>>(), ["x:1", "y:1"]);
    assert_eq!(b.target, None);
    assert_eq!(b.tags, ["two"]);
    let project = files.load().unwrap();
    assert_eq!(project.with_dependencies(&["a".into()]).unwrap(), ["a", "b"]);
    // bake takes no override file in.
    let bake = load_for_bake(files.0.path(), &["docker-compose.yml".into()], &env).unwrap();
    assert_eq!(bake.service("b").unwrap().build.as_ref().unwrap().target.as_deref(), Some("t"));
}

#[test]
fn extends_and_include_keep_their_directories() {
    let files = Files::new(&[
        (
            "compose.yaml",
            "include:\n  - sub/compose.yaml\n  - path: [sub2/c.yaml]\n    project_directory: elsewhere\n    env_file: sub2/e.env\nservices:\n  a:\n    extends: {file: common/base.yaml, service: base}\n    build: {args: {X: own}}\n  c:\n    extends: a\n",
        ),
        (
            "common/base.yaml",
            "services:\n  base:\n    extends: root\n    build: {dockerfile: D}\n  root:\n    build: {context: ., args: {X: 1, Y: 2}}\n",
        ),
        ("sub/compose.yaml", "services:\n  inc: {build: ./in, image: \"i:${V}\"}\n"),
        ("sub/.env", "V=sub\n"),
        ("sub2/c.yaml", "services:\n  inc2: {build: \"./${V}\"}\n"),
        ("sub2/e.env", "V=two\n"),
    ]);
    let a = files.build("a");
    assert_eq!(a.context.local_dir(), Some(files.path("common").as_path()));
    assert_eq!(args(&a), [("X", Some("own")), ("Y", Some("2"))]);
    assert_eq!(a.dockerfile.as_deref(), Some("D"));
    assert_eq!(args(&files.build("c")), args(&a));
    let inc = files.build("inc");
    assert_eq!(inc.context.local_dir(), Some(files.path("sub/in").as_path()));
    assert_eq!(inc.tags, ["i:sub"]);
    assert_eq!(files.build("inc2").context.local_dir(), Some(files.path("elsewhere/two").as_path()));
}

#[test]
fn circles_end() {
    for text in [
        "services: {a: {extends: b}, b: {extends: a}}",
        "include: [compose.yaml]\nservices: {}",
        "services: {a: {extends: {file: compose.yaml, service: a}}}",
    ] {
        let files = Files::new(&[("compose.yaml", text)]);
        assert!(matches!(files.load(), Err(ComposeError::Cycle(_))), "{text}");
    }
}

#[test]
fn profiles_and_files_are_chosen() {
    let files = Files::new(&[
        ("docker-compose.yml", "services:\n  a: {build: a, profiles: [debug]}\n  b: {build: b}\n"),
        ("x/y/.keep", ""),
        ("other.yml", "services: {o: {build: .}}"),
        (".env", "COMPOSE_FILE=other.yml"),
        ("p/compose.yaml", "services: {p: {build: .}}"),
    ]);
    let names = |options: &ComposeOptions, cwd: &str| -> Vec<String> {
        let project = load(&files.path(cwd), options, &env).unwrap();
        project.build_targets(&[]).unwrap().into_iter().filter_map(|t| t.name).collect()
    };
    let main = ComposeOptions { files: vec!["docker-compose.yml".into()], ..ComposeOptions::default() };
    assert_eq!(names(&main, "."), ["b"]);
    assert_eq!(names(&ComposeOptions { profiles: vec!["debug".into()], ..main.clone() }, "."), ["a", "b"]);
    assert_eq!(names(&ComposeOptions::default(), "."), ["o"], "COMPOSE_FILE of .env");
    assert_eq!(names(&ComposeOptions::default(), "x/y"), ["b"], "found upwards");
    assert_eq!(names(&ComposeOptions::default(), "p"), ["p"]);
    let project = files.load_with(&main).unwrap();
    assert_eq!(project.build_targets(&["a".into()]).unwrap().len(), 1);
    assert!(matches!(project.build_targets(&["z".into()]), Err(ComposeError::NoService { .. })));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(load(empty.path(), &ComposeOptions::default(), &env), Err(ComposeError::NoFile(_))));
}

#[test]
fn later_env_files_win() {
    let files = Files::new(&[
        ("compose.yaml", "services: {a: {build: {context: ., args: {A: $A, B: $B, E: $FROM_ENV}}}}"),
        ("1.env", "A=1\nB=1\nFROM_ENV=file\n"),
        ("2.env", "B=2$A\n"),
        (".env", "A=unused"),
    ]);
    let options = ComposeOptions { env_files: vec!["1.env".into(), "2.env".into()], ..ComposeOptions::default() };
    let project = files.load_with(&options).unwrap();
    let build = project.service("a").unwrap().build.as_ref().unwrap();
    assert_eq!(args(build), [("A", Some("1")), ("B", Some("21")), ("E", Some("env"))]);
}

#[test]
fn interpolation_is_bounded() {
    let big = "x".repeat(1 << 20);
    let list = "- $A\n".repeat(100);
    let files = Files::new(&[("compose.yaml", &format!("x-list:\n{list}services: {{a: {{build: .}}}}")), (".env", &format!("A={big}"))]);
    assert!(matches!(files.load(), Err(ComposeError::Interpolate { .. })));
}

#[test]
fn mistakes_say_where() {
    for (text, expected) in [
        ("services:\n  a:\n    build: {context: ., argz: {}}\n", "compose.yaml:3: compose knows no services.a.build.argz"),
        ("services:\n  a: {}\n", "compose.yaml:2: service \"a\" has neither an image"),
        ("services:\n  a:\n    build: ${X:?need x}\n", "compose.yaml:3: services.a.build: required variable X is missing a value: need x"),
        ("services:\n  a:\n    build: [1]\n", "compose.yaml:3: services.a.build must be a string or a mapping, not a list"),
        (
            "services:\n  a:\n    build: {context: ., cache_from: [\"ref=x\"]}\n",
            "compose.yaml:3: services.a.build.cache_from: type required",
        ),
        ("services: [a]", "must be a mapping, not a list"),
        ("- a", "must be a mapping"),
        ("services: {a: {build: {dockerfile: D, dockerfile_inline: \"FROM x\"}}}", "both dockerfile and dockerfile_inline"),
        ("services: {a: {extends: {service: b, file: no.yaml}}}", "no.yaml cannot be read"),
        ("services: {\"a b\": {build: .}}", "cannot be a service's name"),
    ] {
        let error = Files::new(&[("compose.yaml", text)]).load().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n{expected}");
    }
}

#[test]
fn a_nearer_env_file_wins() {
    let files = Files::new(&[
        ("compose.yaml", "services: {a: {build: {context: ., args: {A: $A, B: $B}}}}"),
        (".env", "A=top\nB=top\n"),
        ("sub/.env", "A=sub\n"),
    ]);
    let project = load(&files.path("sub"), &ComposeOptions::default(), &env).unwrap();
    let build = project.service("a").unwrap().build.as_ref().unwrap();
    assert_eq!(args(build), [("A", Some("sub")), ("B", Some("top"))]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_text_panics(text in "(services:\n  a:\n    build:)?[ \n:\\-\\[\\]{}&*!$a-cx0-9<,]{0,40}") {
        let _ = Files::new(&[("compose.yaml", &text)]).load();
    }
}
