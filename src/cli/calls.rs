//! Which build commands a script calls.
//!
//! `bklog run -- ./deploy.sh` (or `make images`) has to know context, Dockerfile and arguments of every build in the log. A script's text
//! tells them only where it has no loops and no variables, so the calls themselves are looked at: in front of the `PATH` stands a directory
//! with a `docker`, a `buildctl` and so on of our own, shell scripts of a few lines that write down their words and then become the real
//! program, with the same descriptors, signals and exit code. A script that calls `/usr/bin/docker` by its path goes past them; then its
//! text is read.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::commands::Call;
use crate::evidence::build_command::{self, find_builds_in_script};

/// The programs that build.
const PROGRAMS: [&str; 5] = ["docker", "docker-buildx", "docker-compose", "buildx", "buildctl"];

/// Variables that change what a call means; a script may set them.
const VARIABLES: [&str; 14] = [
    "BUILDKIT_PROGRESS",
    "BUILDX_BAKE_FILE",
    "BUILDX_BAKE_FILE_SEPARATOR",
    "BUILDX_BUILDER",
    "BUILDX_CONFIG",
    "COMPOSE_ENV_FILES",
    "COMPOSE_FILE",
    "COMPOSE_PATH_SEPARATOR",
    "COMPOSE_PROFILES",
    "COMPOSE_PROJECT_NAME",
    "DOCKER_BUILDKIT",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "HOME",
];

/// So many calls are kept; a script that builds more is read no further.
const MOST: usize = 2_000;

/// The largest note of a call that is read, and the largest script, in bytes.
const LARGEST: u64 = 4 << 20;

/// Stands in front of the programs that build and writes down how they are called.
#[derive(Debug)]
pub(super) struct Watch {
    /// Gone with the watch, with all that was written down: arguments hold secrets.
    dir: tempfile::TempDir,
    path: OsString,
}

impl Watch {
    /// Makes one, if there is anything to stand in front of. Where that cannot be done the command runs all the same, unwatched.
    #[cfg(unix)]
    pub(super) fn new() -> Option<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let search = std::env::var_os("PATH")?;
        let dir = tempfile::Builder::new().prefix("bklog-run-").tempdir().ok()?;
        let (programs, calls) = (dir.path().join("bin"), dir.path().join("calls"));
        std::fs::create_dir(&programs).ok()?;
        std::fs::create_dir(&calls).ok()?;
        let mut any = false;
        for name in PROGRAMS {
            let Some(real) = std::env::split_paths(&search).map(|dir| dir.join(name)).find(|path| is_program(path)) else { continue };
            let text = stand_in(&std::path::absolute(real).ok()?, &calls)?;
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o700).open(programs.join(name));
            std::io::Write::write_all(&mut file.ok()?, text.as_bytes()).ok()?;
            any = true;
        }
        let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&search))).ok()?;
        any.then_some(Self { dir, path })
    }

    /// There is no shell to write it for.
    #[cfg(not(unix))]
    pub(super) fn new() -> Option<Self> {
        None
    }

    /// The `PATH` for the command.
    pub(super) fn path(&self) -> &OsString {
        &self.path
    }

    /// The calls so far, in order; those that build nothing too.
    fn calls(&self) -> Vec<Call> {
        let Ok(entries) = std::fs::read_dir(self.dir.path().join("calls")) else { return Vec::new() };
        let mut notes: Vec<(std::time::SystemTime, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                (metadata.len() <= LARGEST).then_some((metadata.modified().ok()?, entry.path()))
            })
            .collect();
        notes.sort();
        notes.into_iter().filter_map(|(_, path)| read_note(&std::fs::read(path).ok()?)).collect()
    }
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The script that writes down its words and becomes the real program. `None` for a path that no script can hold.
#[cfg(unix)]
fn stand_in(real: &Path, calls: &Path) -> Option<String> {
    let quoted = |path: &Path| shlex::try_quote(path.to_str()?).ok().map(|text| text.into_owned());
    let name = shlex::try_quote(real.file_name()?.to_str()?).ok()?.into_owned();
    let variables: String = VARIABLES.iter().map(|name| format!(" \"${{{name}+{name}=${name}}}\"")).collect();
    Some(format!(
        "#!/bin/sh\n\
         # Written by `bklog run`, to see which builds a script makes; it is gone when that ends.\n\
         umask 077\n\
         printf '%s\\0' \"$PWD\"{variables} '' {name} \"$@\" 2>/dev/null >{calls}/$$\n\
         exec {real} \"$@\"\n",
        calls = quoted(calls)?,
        real = quoted(real)?,
    ))
}

/// Reads what a stand-in wrote: the directory, assignments, an empty word, the words of the call; each ends with a zero byte.
fn read_note(bytes: &[u8]) -> Option<Call> {
    let text = String::from_utf8_lossy(bytes.strip_suffix(b"\0")?);
    let mut fields = text.split('\0').map(str::to_owned);
    let dir = PathBuf::from(fields.next()?);
    let (mut env, mut words) = (Vec::new(), Vec::new());
    for (_, field) in (0..VARIABLES.len()).zip(fields.by_ref()) {
        env.extend(field.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    // The empty word that parts the two.
    fields.next().filter(String::is_empty)?;
    words.extend(fields);
    (!words.is_empty()).then_some(Call { words, dir, env })
}

/// The builds that a command made: its own if it is a build, else those that were seen, else those in the text of its script. What could
/// not be followed is said in `notes`.
pub(super) fn builds(words: &[String], cwd: &Path, watch: Option<&Watch>, notes: &mut Vec<String>) -> Vec<Call> {
    let env = |name: &str| std::env::var(name).ok();
    let own = Call { words: words.to_vec(), dir: cwd.to_owned(), env: Vec::new() };
    if build_command::is_build(words) {
        return vec![own];
    }
    let seen: Vec<Call> = watch.map(Watch::calls).unwrap_or_default();
    let seen: Vec<Call> = seen.into_iter().filter(|call| build_command::is_build(&call.words)).take(MOST).collect();
    if !seen.is_empty() {
        return seen;
    }
    let Some((text, base)) = script_of(words, cwd) else { return Vec::new() };
    let mut calls = Vec::new();
    let mut unclear = 0;
    for build in find_builds_in_script(&text).into_iter().take(MOST) {
        let dir = build.dir.as_ref().map_or_else(|| base.clone(), |dir| base.join(dir));
        let call = Call { words: build.words, dir, env: Vec::new() };
        // What a variable held when the script ran, its text does not say.
        let clear = !build.dir_unknown
            && build_command::parse_words(&call.words, &call.dir, &env).is_ok_and(|command| {
                let has_variable = |text: &str| text.contains(['$', '`']);
                let mut paths = command.targets.iter().flat_map(|target| {
                    let context = target.context.local_dir().map(|path| path.to_string_lossy().into_owned());
                    let file = target.dockerfile_path.as_ref().map(|path| path.to_string_lossy().into_owned());
                    context.into_iter().chain(file)
                });
                !paths.any(|path| has_variable(&path))
            });
        if clear { calls.push(call) } else { unclear += 1 }
    }
    if unclear > 0 {
        notes.push(format!(
            "{unclear} of the builds in the script cannot be followed by its text: give their commands with --build, in the order of the log"
        ));
    }
    calls
}

/// The text of the script that a command runs, and the directory that it starts in.
fn script_of(words: &[String], cwd: &Path) -> Option<(String, PathBuf)> {
    if let Some(text) = build_command::shell_text(words) {
        return Some((text.to_owned(), cwd.to_owned()));
    }
    let path = cwd.join(build_command::script_path(words)?);
    if std::fs::metadata(&path).ok()?.len() > LARGEST {
        return None;
    }
    let bytes = std::fs::read(&path).ok()?;
    // A program and no script.
    if bytes.iter().take(4096).any(|byte| *byte == 0) {
        return None;
    }
    Some((String::from_utf8_lossy(&bytes).into_owned(), cwd.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        shlex::split(text).unwrap()
    }

    #[cfg(unix)]
    #[test]
    fn a_note_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let text = stand_in(Path::new("/bin/true"), dir.path()).unwrap();
        let script = dir.path().join("it's a docker");
        std::fs::write(&script, text).unwrap();
        let status = std::process::Command::new("/bin/sh")
            .arg(&script)
            .args(["build", "--build-arg", "A=x y\n'z", "", "."])
            .current_dir("/")
            .env_clear()
            .env("DOCKER_BUILDKIT", "0")
            .env("HOME", "")
            .status()
            .unwrap();
        assert!(status.success());
        let note = std::fs::read_dir(dir.path()).unwrap().flatten().find(|entry| entry.path() != script).unwrap();
        let call = read_note(&std::fs::read(note.path()).unwrap()).unwrap();
        assert_eq!(call.words, ["true", "build", "--build-arg", "A=x y\n'z", "", "."]);
        assert_eq!(call.dir, Path::new("/"));
        assert_eq!(call.env, [("DOCKER_BUILDKIT".to_owned(), "0".to_owned()), ("HOME".to_owned(), String::new())]);
        for cut in [&b""[..], b"/\0", b"/\0\0\0", b"/", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
            assert!(read_note(cut).is_none(), "{cut:?}");
        }
    }

    #[test]
    fn the_text_of_a_script_tells_what_it_can() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("deploy.sh"),
            "#!/bin/sh\ncd app\ndocker build -t a .\nfor s in x y; do docker build -f $s/Dockerfile .; done\n",
        )
        .unwrap();
        let mut notes = Vec::new();
        let calls = builds(&words("sh ./deploy.sh"), dir.path(), None, &mut notes);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].dir, dir.path().join("app"));
        assert_eq!(calls[0].words, words("docker build -t a ."));
        assert!(notes[0].starts_with("1 of the builds"), "{notes:?}");
        notes.clear();
        assert_eq!(builds(&words("docker build ."), dir.path(), None, &mut notes).len(), 1);
        assert_eq!(builds(&words("bash -c 'docker build x && docker build y'"), dir.path(), None, &mut notes).len(), 2);
        assert!(builds(&words("make images"), dir.path(), None, &mut notes).is_empty());
        assert!(builds(&words("./missing.sh"), dir.path(), None, &mut notes).is_empty());
        assert_eq!(notes, [""; 0]);
    }
}
