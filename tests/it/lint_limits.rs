//! What nobody means to be read: `bklog lint` names it, and neither memory nor time grows with it.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Far more than any of these takes, even on a slow machine with a debug build; what grows without bounds takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn lint(dir: &Path) -> (Output, Duration) {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_bklog"))
        .args(["lint", "--format", "json", "--fail-on", "never"])
        .current_dir(dir)
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    let output = child.wait_with_output().unwrap();
    let taken = started.elapsed();
    assert!(taken < PATIENCE, "{taken:?}");
    (Output { stdout, ..output }, taken)
}

fn notes(dir: &Path) -> String {
    let (output, _) = lint(dir);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    json["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap().to_owned() + "\n").collect()
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("Dockerfile"), "FROM node:22\nCOPY package.json .\nRUN npm ci\n").unwrap();
    dir
}

#[cfg(unix)]
#[test]
fn a_loop_of_links() {
    let dir = tree();
    fs::create_dir(dir.path().join("a")).unwrap();
    std::os::unix::fs::symlink("..", dir.path().join("a/up")).unwrap();
    std::os::unix::fs::symlink("b", dir.path().join("a/b")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("api.Dockerfile")).unwrap();
    std::os::unix::fs::symlink("missing", dir.path().join("compose.yaml")).unwrap();
    fs::write(dir.path().join("b.Dockerfile"), "FROM node:22\nCOPY . .\n").unwrap();
    assert_eq!(notes(dir.path()), "");
}

#[test]
fn a_large_file() {
    let dir = tree();
    for name in ["compose.yaml", "big.Dockerfile", "build.sh", "requirements.txt", "docker-bake.hcl", ".dockerignore"] {
        let mut file = fs::File::create(dir.path().join(name)).unwrap();
        file.write_all(b"# x\n").unwrap();
        file.set_len(100 << 20).unwrap();
    }
    let notes = notes(dir.path());
    for name in ["compose.yaml", "big.Dockerfile", "build.sh", "requirements.txt", "docker-bake.hcl"] {
        assert!(notes.contains(&format!("{name}: not read: 100 MiB, and at most 1 MiB is read\n")), "{notes}");
    }
}

/// Root may read everything: then another user reads, where the system has the means.
#[cfg(unix)]
#[test]
fn a_file_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tree();
    fs::write(dir.path().join("b.Dockerfile"), "FROM x\n").unwrap();
    fs::create_dir(dir.path().join("closed")).unwrap();
    for name in ["b.Dockerfile", "closed"] {
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bklog"));
    if fs::read(dir.path().join("b.Dockerfile")).is_ok() {
        // The program may lie where another user cannot go.
        let program = dir.path().join("bklog-copy");
        fs::copy(env!("CARGO_BIN_EXE_bklog"), &program).unwrap();
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    }
    let output = command.args(["lint", "--fail-on", "never"]).current_dir(dir.path()).output();
    fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
    let output = match output {
        Ok(output) => output,
        #[expect(clippy::print_stderr, reason = "a test that is left out must say so")]
        Err(error) => {
            eprintln!("SKIPPED a_file_without_permission: this is root, and there is no setpriv: {error}");
            return;
        }
    };
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("b.Dockerfile: cannot be read: Permission denied"), "{out}{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("closed: cannot be read: Permission denied"), "{out}");
    assert!(out.contains("1 file read"), "{out}");
}

#[test]
fn bytes_that_are_no_text() {
    let dir = tree();
    fs::write(dir.path().join("b.Dockerfile"), b"FROM node:22\nRUN echo \xff\xfe\n").unwrap();
    fs::write(dir.path().join("c.Dockerfile"), b"FROM x\n\0\0\0").unwrap();
    fs::write(dir.path().join("deploy.sh"), b"export DOCKER_BUILDKIT=0 # \xe9\ndocker build .\n").unwrap();
    let notes = notes(dir.path());
    assert!(notes.contains("b.Dockerfile:2: not UTF-8") && notes.contains("c.Dockerfile: not read: it is no text"), "{notes}");
    // Its places do not hold: nothing is changed.
    let output = Command::new(env!("CARGO_BIN_EXE_bklog")).args(["lint", "--fix"]).current_dir(dir.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing to fix"));
    assert!(fs::read(dir.path().join("deploy.sh")).unwrap().contains(&0xe9));
}

#[test]
fn yaml_that_multiplies_nests_or_is_cut_off() {
    let dir = tree();
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in ('b'..='z').zip('a'..) {
        bomb += &format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(", "));
    }
    let merge =
        format!("x: &x {{k: v}}\nservices:\n{}", (0..20_000).map(|at| format!("  s{at}: {{<<: *x, image: a}}\n")).collect::<String>());
    for (name, text) in [
        ("compose.yaml", bomb.clone()),
        ("compose.deep.yaml", "[".repeat(200_000)),
        ("compose.maps.yaml", "{a: ".repeat(100_000)),
        ("compose.merge.yaml", merge),
        (".gitlab-ci.yml", bomb),
        ("compose.loop.yaml", "services: &s\n  a: *s\n".to_owned()),
        ("docker-bake.json", "[".repeat(200_000)),
        ("docker-bake.hcl", format!("target \"a\" {{ x = {} }}", "(".repeat(100_000))),
        ("deep.sh", "$(".repeat(100_000)),
        ("nest.sh", "sh -c '".repeat(10_000)),
        ("many.sh", "DOCKER_BUILDKIT=0 docker build .\n".repeat(30_000)),
        ("times.sh", "touch -d @$X a$Y\nX=1\n".repeat(20_000) + &"docker build .\n".repeat(20_000)),
        ("moves.sh", "mv a.$X.py a.py\n".repeat(30_000) + "docker build .\n"),
        ("wide.Dockerfile", format!("FROM x\nRUN {}\n", "apt-get ".repeat(100_000))),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let notes = notes(dir.path());
    for name in ["compose.yaml", "compose.deep.yaml", "compose.maps.yaml", ".gitlab-ci.yml", "docker-bake.json"] {
        assert!(notes.contains(&format!("{name}:")), "{name} is not named:\n{notes}");
    }
}

#[test]
fn more_than_anyone_reads_is_counted() {
    let dir = tree();
    fs::write(dir.path().join("a.sh"), "DOCKER_BUILDKIT=0 docker build .\n".repeat(700)).unwrap();
    let (output, _) = lint(dir.path());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = json["findings"].as_array().unwrap();
    assert_eq!(findings.iter().filter(|finding| finding["rule"] == "buildkit-disabled").count(), 501);
    assert!(findings.iter().any(|finding| finding["evidence"][0] == "700 in all, 200 not listed"));
}
