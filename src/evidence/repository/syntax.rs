//! Asks bash whether it can read the scripts.
//!
//! `bash -n` reads and runs nothing. The script comes through standard input, the environment is empty but for `PATH`, and neither time
//! nor output is without bounds.

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{File, FileId, FileKind, Problem, Repository, SyntaxError};

/// Scripts that are asked about.
const MOST_SCRIPTS: usize = 500;
/// What one script, and all together, may take.
const LONGEST: Duration = Duration::from_secs(5);
const LONGEST_IN_ALL: Duration = Duration::from_secs(20);
/// Bytes of the shell's messages that are kept.
const MOST_OUTPUT: u64 = 16 * 1024;

enum Answer {
    Fine,
    Wrong(usize, String),
    TooLong,
    NoShell,
}

pub(super) fn check(repository: &mut Repository) {
    repository.syntax.clear();
    let begun = Instant::now();
    let scripts: Vec<FileId> = repository.with_ids().filter(|(_, file)| is_for_bash(file)).map(|(id, _)| id).collect();
    let root = repository.root.display().to_string();
    let left = |count: usize, why: &str| Problem {
        path: root.clone(),
        line: None,
        message: format!("the syntax of {count} {} was not checked: {why}", if count == 1 { "script" } else { "scripts" }),
    };
    for (at, id) in scripts.iter().enumerate() {
        if at >= MOST_SCRIPTS || begun.elapsed() > LONGEST_IN_ALL {
            repository.problems.push(left(scripts.len() - at, "there are too many"));
            return;
        }
        let file = repository.file(*id);
        match ask(&file.absolute) {
            Answer::Fine => {}
            Answer::Wrong(line, message) => repository.syntax.push(SyntaxError { file: *id, line, message }),
            Answer::TooLong => {
                let message = "its syntax was not checked: bash took too long".to_owned();
                let path = file.path.clone();
                repository.problems.push(Problem { path, line: None, message });
            }
            Answer::NoShell => {
                repository.problems.push(left(scripts.len() - at, "bash cannot be started"));
                return;
            }
        }
    }
}

/// Whether a script is one that bash reads: zsh and ksh have words of their own.
fn is_for_bash(file: &File) -> bool {
    let first = file.text.lines().next().unwrap_or_default();
    if file.kind != FileKind::Script {
        return false;
    }
    match first.strip_prefix("#!") {
        Some(line) => line
            .split_whitespace()
            .map(|word| word.rsplit('/').next().unwrap_or(word))
            .any(|word| matches!(word, "bash" | "sh" | "dash" | "ash")),
        None => file.absolute.extension().is_some_and(|extension| extension == "sh" || extension == "bash"),
    }
}

fn ask(script: &Path) -> Answer {
    let Ok(input) = std::fs::File::open(script) else { return Answer::Fine };
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-n"]).env_clear().env("LC_ALL", "C");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.stdin(input).stdout(Stdio::null()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else { return Answer::NoShell };
    let reader = child.stderr.take().map(|stderr| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            // What is not read any more ends the shell: its pipe breaks.
            let _ = stderr.take(MOST_OUTPUT).read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let success = wait(&mut child);
    let output = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    match success {
        None => Answer::TooLong,
        Some(true) => Answer::Fine,
        Some(false) => wrong(&output).map_or(Answer::Fine, |(line, message)| Answer::Wrong(line, message)),
    }
}

/// Whether the shell ended well; `None` where it had to be ended.
fn wait(child: &mut Child) -> Option<bool> {
    let begun = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) if begun.elapsed() < LONGEST => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

/// The first error: `bash: line 3: syntax error near unexpected token `done'`.
fn wrong(output: &str) -> Option<(usize, String)> {
    output.lines().find_map(|text| {
        let (number, message) = text.split_once("line ")?.1.split_once(": ")?;
        (!message.starts_with("warning")).then_some(())?;
        Some((number.parse().ok()?, message.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_read() {
        let output = "bash: line 9: warning: here-document at line 2 delimited by end-of-file (wanted `EOF')\nbash: line 3: syntax error near unexpected token `done'\nbash: line 3: `done'\n";
        assert_eq!(wrong(output), Some((3, "syntax error near unexpected token `done'".to_owned())));
        assert_eq!(wrong("bash: no"), None);
    }
}
