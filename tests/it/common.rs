//! A small repository with a build in it, and the command in a scrubbed environment.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::git::git;

/// A directory with a git repository `app` in it; everything that is written stays below.
pub struct Place {
    directory: tempfile::TempDir,
}

/// A log of a build of [`DOCKERFILE`] whose steps end with `status`.
pub fn log(status: &str) -> String {
    log_of("COPY src /app", "RUN make", status)
}

/// A log of a build of `FROM scratch`, a copy, and a command.
pub fn log_of(copy: &str, run: &str, status: &str) -> String {
    format!(
        "#1 [internal] load build definition from Dockerfile\n#1 transferring dockerfile: 80B done\n#1 DONE 0.0s\n\n\
         #2 [internal] load .dockerignore\n#2 transferring context: 2B done\n#2 DONE 0.0s\n\n\
         #5 [internal] load build context\n#5 transferring context: 2B done\n#5 DONE 0.0s\n\n\
         #6 [1/2] {copy}\n#6 {status}\n\n#7 [2/2] {run}\n#7 {status}\n\n\
         #8 exporting to image\n#8 exporting layers done\n#8 naming to docker.io/library/app done\n#8 DONE 0.0s\n"
    )
}

pub const DOCKERFILE: &str = "FROM scratch\nCOPY src /app\nRUN make\n";

impl Place {
    /// A repository with one commit of a Dockerfile and a source file.
    pub fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(place.app()).unwrap();
        place.git(&["init", "-q"]);
        place.write("app/Dockerfile", DOCKERFILE);
        place.write("app/.dockerignore", ".git\n");
        place.write("app/src/main.py", "print(1)\n");
        place.commit("first");
        place
    }

    /// Where all of it is.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// The repository.
    pub fn app(&self) -> PathBuf {
        self.root().join("app")
    }

    /// Writes a file below the root and gives its path.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes a shell script.
    pub fn program(&self, path: &str, text: &str) -> String {
        let path = self.write(path, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Runs git in the repository.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.app(), arguments)
    }

    /// Commits everything.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// `bklog` in the repository, with `bin` below the root at the front of the path.
    pub fn bklog(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bklog"));
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.root().join("bin").display());
        command.args(arguments).current_dir(self.app()).env_clear().env("PATH", path).env("HOME", self.root().join("home"));
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::null());
        command
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.bklog(arguments).output().unwrap()
    }

    /// What it said on both streams, without what differs from run to run.
    pub fn said(&self, output: &Output) -> String {
        let both = text(&output.stdout) + &text(&output.stderr);
        both.replace(self.root().to_str().unwrap(), "ROOT")
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)))
}
