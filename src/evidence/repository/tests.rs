use std::fs;

use super::*;

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

    fn read(&self) -> Repository {
        Repository::read(Path::new("."), self.0.path()).unwrap()
    }
}

fn paths(repository: &Repository) -> Vec<&str> {
    repository.files.iter().map(|file| file.path.as_str()).collect()
}

/// What builds what: kind, place, Dockerfile.
fn images(repository: &Repository) -> Vec<(String, String)> {
    let place = |image: &Image| format!("{:?} {}:{}", image.by, repository.file(image.file).path, image.line);
    let dockerfile = |image: &Image| image.dockerfile.map_or("-".to_owned(), |id| repository.file(id).path.clone());
    repository.images.iter().map(|image| (place(image), dockerfile(image))).collect()
}

const FROM: &str = "FROM busybox\n";

#[test]
fn what_is_found_and_what_is_not() {
    let tree = Tree::new(&[
        ("Dockerfile", FROM),
        ("Dockerfile.md", "text"),
        ("Dockerfile.dockerignore", "*"),
        ("api/prod.Dockerfile", FROM),
        ("node_modules/x/Dockerfile", FROM),
        ("target/Dockerfile", FROM),
        (".github/workflows/ci.yml", "jobs: {}\n"),
        ("deploy.sh", "echo\n"),
        ("bin/release", "#!/usr/bin/env bash\necho\n"),
        ("bin/tool", "#!/usr/bin/env python3\n"),
        ("README.md", "x"),
    ]);
    let repository = tree.read();
    assert_eq!(paths(&repository), [".github/workflows/ci.yml", "Dockerfile", "api/prod.Dockerfile", "bin/release", "deploy.sh"]);
    assert!(repository.problems.is_empty(), "{:?}", repository.problems);
}

#[test]
fn what_git_ignores_is_left_out_in_a_git_repository_only() {
    let tree = Tree::new(&[(".gitignore", "old/\n"), ("old/Dockerfile", FROM), ("Dockerfile", FROM)]);
    assert_eq!(paths(&tree.read()), ["Dockerfile", "old/Dockerfile"]);
    fs::create_dir(tree.0.path().join(".git")).unwrap();
    assert_eq!(paths(&tree.read()), ["Dockerfile"]);
}

#[test]
fn compose_bake_commands_and_actions() {
    let tree = Tree::new(&[
        (
            "compose.yaml",
            "services:\n  api:\n    build:\n      context: api\n      args:\n        GIT_COMMIT: ${SHA:?set it}\n  db:\n    image: x\n",
        ),
        ("compose.override.yaml", "services:\n  api:\n    build:\n      target: dev\n"),
        ("compose.prod.yaml", "services:\n  web:\n    build: web\n"),
        ("docker-bake.hcl", "target \"web\" {\n  context = \"web\"\n  dockerfile = \"odd.name\"\n}\n"),
        (
            "scripts/deploy.sh",
            "set -e\ncd \"$(dirname \"$0\")/..\"\ndocker build -t api \\\n  api\ndocker build \"$X\"\ndocker compose build api\n",
        ),
        (
            ".github/workflows/ci.yml",
            "jobs:\n  a:\n    steps:\n      - uses: docker/build-push-action@v6\n        with:\n          context: web\n          build-args: |\n            A=1\n            B=2\n          cache-from: type=gha\n      - run: docker build api\n",
        ),
        ("api/Dockerfile", "FROM busybox AS dev\n"),
        ("web/Dockerfile", FROM),
        ("web/odd.name", FROM),
    ]);
    let repository = tree.read();
    assert!(repository.problems.is_empty(), "{:?}", repository.problems);
    let found = images(&repository);
    let expected = [
        ("Compose compose.yaml:2", "api/Dockerfile"),
        ("Compose compose.prod.yaml:2", "web/Dockerfile"),
        ("Bake docker-bake.hcl:1", "web/odd.name"),
        ("Command(Docker) .github/workflows/ci.yml:11", "api/Dockerfile"),
        ("Command(Docker) scripts/deploy.sh:3", "api/Dockerfile"),
        ("Command(Docker) scripts/deploy.sh:5", "-"),
        ("Command(Compose) scripts/deploy.sh:6", "api/Dockerfile"),
        ("Action .github/workflows/ci.yml:4", "web/Dockerfile"),
    ];
    assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let compose = &repository.images[0];
    assert_eq!((compose.target.target.as_deref(), compose.target.arg("GIT_COMMIT")), (Some("dev"), Some("${SHA}")));
    let action = repository.images.last().unwrap();
    let lines: Vec<usize> = action.target.args.iter().map(|arg| arg.place.as_ref().unwrap().line).collect();
    assert_eq!((lines, action.target.cache_from[0].place.as_ref().unwrap().line), (vec![8, 9], 10));
    assert!(!repository.images[5].known);
    let api = repository.at(&tree.0.path().join("api/Dockerfile")).unwrap();
    assert_eq!(repository.images_of(api).count(), 4);
    assert_eq!(repository.contexts_of(api), [tree.0.path().join("api")]);
}

#[test]
fn hostile_files_are_named() {
    let bomb: String = std::iter::once("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned())
        .chain((1..12).map(|level| format!("a{level}: &a{level} [{}]\n", [format!("*a{}", level - 1).as_str(); 10].join(", "))))
        .collect();
    let large = "#".repeat(3 * 1024 * 1024);
    let tree = Tree::new(&[
        ("compose.yaml", &bomb),
        (".gitlab-ci.yml", &bomb),
        ("big/Dockerfile", &large),
        ("empty/Dockerfile", ""),
        ("bad/Dockerfile", "RUN x\n"),
        ("bin.sh", "\0\0"),
    ]);
    fs::write(tree.0.path().join("latin1.sh"), b"echo\n# \xe4\ndocker build .\n").unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("..", tree.0.path().join("bad/loop")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tree.0.path().join("bad/Containerfile")).unwrap();
    }
    let repository = tree.read();
    let problems: Vec<String> = repository.problems.iter().map(|p| format!("{}:{}: {}", p.path, p.line.unwrap_or(0), p.message)).collect();
    let expected = [
        ".gitlab-ci.yml:0: cannot be read: line ",
        "bad/Dockerfile:1: BuildKit refuses",
        "big/Dockerfile:0: not read: 3 MiB",
        "bin.sh:0: not read: it is no text",
        "compose.yaml:0: line ",
        "empty/Dockerfile:",
        "latin1.sh:2: not UTF-8",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(expected) {
        assert!(problem.starts_with(start), "{problem} / {start}");
    }
}

#[test]
fn one_file_by_its_name() {
    let tree = Tree::new(&[("odd", FROM), ("compose.yaml", "services: {}\n")]);
    let repository = Repository::read(Path::new("odd"), tree.0.path()).unwrap();
    assert_eq!((paths(&repository), repository.files[0].kind), (vec!["odd"], FileKind::Dockerfile));
    assert!(Repository::read(Path::new("none"), tree.0.path()).is_err());
}

#[test]
fn loops_functions_and_exports() {
    let script = "#!/bin/bash\nSERVICES=(auth user)\nexport GIT_SHA=$(git rev-parse HEAD)\nbuild() {\n  docker build -f \"services/$1/Dockerfile\" $EXTRA -t \"$1\" .\n}\nfor s in \"${SERVICES[@]}\"; do\n  build \"$s\"\ndone\ndocker compose build\nfor d in services/*/; do docker build -f $d/Dockerfile $d; done\n";
    let tree = Tree::new(&[
        ("services/auth/Dockerfile", FROM),
        ("services/user/Dockerfile", FROM),
        ("compose.yaml", "services:\n  auth:\n    build:\n      context: services/auth\n      args:\n        - GIT_SHA\n"),
        ("scripts/build.sh", script),
    ]);
    let repository = tree.read();
    assert!(repository.problems.is_empty(), "{:?}", repository.problems);
    let expected = [
        ("Compose compose.yaml:2", "services/auth/Dockerfile"),
        ("Command(Docker) scripts/build.sh:5", "services/auth/Dockerfile"),
        ("Command(Docker) scripts/build.sh:5", "services/user/Dockerfile"),
        ("Command(Compose) scripts/build.sh:10", "services/auth/Dockerfile"),
        ("Command(Docker) scripts/build.sh:11", "services/auth/Dockerfile"),
        ("Command(Docker) scripts/build.sh:11", "services/user/Dockerfile"),
    ];
    assert_eq!(images(&repository), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert!(repository.images[1].open && !repository.images[4].open);
    assert_eq!(repository.images[3].target.arg("GIT_SHA"), Some("$(git rev-parse HEAD)"));
}

#[test]
fn inline_dockerfiles_and_bake_actions() {
    let tree = Tree::new(&[
        (
            "compose.yaml",
            "services:\n  a:\n    build:\n      context: .\n      dockerfile_inline: |\n        FROM busybox\n        # bklog: ignore[inline-cache] x\n        COPY . .\n  b:\n    build:\n      context: .\n      dockerfile_inline: \"RUN x\"\n",
        ),
        ("docker-bake.hcl", "target \"web\" {\n  context = \"web\"\n}\n"),
        ("web/Dockerfile", FROM),
        (
            ".github/workflows/ci.yml",
            "jobs:\n  a:\n    steps:\n      - uses: docker/bake-action@v6\n        with:\n          source: .\n          targets: web\n          set: |\n            *.args.A=1\n",
        ),
    ]);
    let repository = tree.read();
    let found = images(&repository);
    assert!(found.contains(&("Compose compose.yaml:2".to_owned(), "compose.yaml".to_owned())), "{found:?}");
    assert!(found.contains(&("Action .github/workflows/ci.yml:4".to_owned(), "web/Dockerfile".to_owned())), "{found:?}");
    assert_eq!(repository.images.last().unwrap().target.arg("A"), Some("1"));
    let (_, file, dockerfile) = repository.dockerfiles().find(|(_, file, _)| file.path == "compose.yaml").unwrap();
    assert_eq!(dockerfile.stages[0].commands[0].line, 8);
    assert_eq!(file.lines(8, 8), ["        COPY . ."]);
    let problems: Vec<_> = repository.problems.iter().map(|problem| (problem.path.as_str(), problem.line)).collect();
    assert_eq!(problems, [("compose.yaml", Some(12))]);
}

#[test]
fn a_matrix_is_many_builds() {
    let workflow = "jobs:\n  a:\n    strategy:\n      matrix:\n        service: [auth, user]\n    steps:\n      - uses: docker/build-push-action@v6\n        with:\n          context: services/${{ matrix.service }}\n      - run: docker build -t ${{ matrix.service }} services/${{ matrix.service }}\n";
    let tree = Tree::new(&[("services/auth/Dockerfile", FROM), ("services/user/Dockerfile", FROM), (".github/workflows/ci.yml", workflow)]);
    let built: Vec<String> = images(&tree.read()).into_iter().map(|(_, dockerfile)| dockerfile).collect();
    let both = ["services/auth/Dockerfile", "services/user/Dockerfile"];
    assert_eq!(built, [both, both].concat());
}
