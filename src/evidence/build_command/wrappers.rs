//! What may stand in front of a build command, and which command it is.

use super::flags::{self, Parsed, Spec};

/// The program and subcommand that builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Docker,
    Buildx,
    Bake,
    Compose,
    Buildctl,
}

/// A build command without what stands in front of it.
pub(super) struct Call<'w> {
    pub program: Program,
    /// The words behind the subcommand; for compose from the subcommand on.
    pub args: &'w [String],
    /// compose's own flags.
    pub globals: Parsed,
    /// `docker buildx --builder`.
    pub builder: Option<String>,
    pub env: Vec<(String, String)>,
    /// `env -C DIR`.
    pub dir: Option<String>,
}

/// Words of the shell that a command may follow.
const KEYWORDS: [&str; 10] = ["do", "then", "else", "elif", "if", "while", "until", "!", "{", "&&"];

/// Programs that run another: name, and their flags that take a value.
const RUNNERS: [(&str, &[&str]); 11] = [
    ("sudo", &["-u", "-g", "-h", "-p", "-C", "-r", "-t", "-U", "-D", "-T", "-R", "--user", "--group", "--host", "--prompt", "--chdir"]),
    ("env", &["-u", "--unset", "-C", "--chdir"]),
    ("time", &["-f", "-o", "--format", "--output"]),
    ("exec", &["-a"]),
    ("command", &[]),
    ("nohup", &[]),
    ("nice", &["-n", "--adjustment"]),
    ("ionice", &["-c", "-n", "-p"]),
    ("stdbuf", &["-i", "-o", "-e"]),
    ("timeout", &["-s", "-k", "--signal", "--kill-after"]),
    ("unbuffer", &[]),
];

fn base_name(word: &str) -> &str {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word);
    name.strip_suffix(".exe").unwrap_or(name)
}

fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let mut chars = name.chars();
    let first = chars.next()?;
    ((first.is_ascii_alphabetic() || first == '_') && chars.all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .then(|| (name.to_owned(), value.to_owned()))
}

/// Takes assignments, shell keywords and runners off; gives where the program stands.
fn strip(words: &[String]) -> (usize, Vec<(String, String)>, Option<String>) {
    let mut at = 0;
    let mut env = Vec::new();
    let mut dir = None;
    while let Some(word) = words.get(at) {
        if KEYWORDS.contains(&word.as_str()) {
            at += 1;
            continue;
        }
        if let Some(assigned) = assignment(word) {
            env.push(assigned);
            at += 1;
            continue;
        }
        let name = base_name(word);
        let Some((runner, valued)) = RUNNERS.iter().find(|(runner, _)| *runner == name) else {
            break;
        };
        at += 1;
        while let Some(flag) = words.get(at).filter(|w| w.len() > 1 && w.starts_with('-')) {
            at += 1;
            if valued.contains(&flag.as_str()) {
                if *runner == "env" && (flag == "-C" || flag == "--chdir") {
                    dir = words.get(at).cloned();
                }
                at += 1;
            } else if *runner == "env"
                && let Some(value) = flag.strip_prefix("--chdir=")
            {
                dir = Some(value.to_owned());
            }
            if flag == "--" {
                break;
            }
        }
        if *runner == "timeout" {
            // The duration.
            at += 1;
        }
    }
    (at.min(words.len()), env, dir)
}

/// The program behind assignments and runners, by its base name, and its arguments.
pub(super) fn program(words: &[String]) -> Option<(&str, &[String])> {
    let (at, ..) = strip(words);
    let (program, args) = words.get(at..)?.split_first()?;
    Some((base_name(program), args))
}

/// The variables that a command sets, for itself or for what follows.
pub(super) fn assignments(words: &[String]) -> Vec<(String, String)> {
    let (at, mut set, _) = strip(words);
    let rest = words.get(at..).unwrap_or_default();
    if rest.first().is_some_and(|word| matches!(word.as_str(), "export" | "readonly" | "declare" | "typeset" | "local" | "set" | "setenv"))
    {
        set.extend(rest[1..].iter().filter_map(|word| assignment(word)));
    }
    set
}

/// The text that a shell is told to run: `bash -c TEXT`.
pub(super) fn shell_text(words: &[String]) -> Option<&str> {
    let (at, ..) = strip(words);
    let name = base_name(words.get(at)?);
    if !["sh", "bash", "dash", "zsh", "ash", "ksh", "script"].contains(&name) {
        return None;
    }
    let flag = words[at + 1..].iter().position(|word| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c'))?;
    words.get(at + 2 + flag).map(String::as_str)
}

/// The script file that words run: `bash -e build.sh X`, `sudo ./build.sh`.
pub(super) fn script_path(words: &[String]) -> Option<&str> {
    let (at, ..) = strip(words);
    let program = words.get(at)?;
    if ["sh", "bash", "dash", "zsh", "ash", "ksh"].contains(&base_name(program)) {
        let mut rest = words[at + 1..].iter();
        while let Some(word) = rest.next() {
            match word.as_str() {
                // The options of a shell that take a value.
                "-o" | "+o" | "-O" | "+O" | "--rcfile" | "--init-file" => {
                    rest.next();
                }
                flag if flag.starts_with(['-', '+']) => {
                    if !flag.starts_with("--") && flag.contains('c') {
                        return None;
                    }
                    if !flag.starts_with("--") && flag.ends_with('o') {
                        rest.next();
                    }
                }
                script => return Some(script),
            }
        }
        return None;
    }
    program.contains('/').then_some(program.as_str())
}

/// Finds the build command in words; `None` where they are none.
pub(super) fn unwrap(words: &[String]) -> Option<Call<'_>> {
    let (at, env, dir) = strip(words);
    let mut call = Call { program: Program::Docker, args: &[], globals: Parsed::default(), builder: None, env, dir };
    let (program, rest) = words.get(at..)?.split_first()?;
    match base_name(program) {
        "docker" => docker(rest, call),
        "buildx" | "docker-buildx" => buildx(rest, call),
        "docker-compose" => compose(rest, call),
        "buildctl" => {
            let globals = flags::parse(rest, &Spec::BUILDCTL_GLOBAL, "buildctl").ok()?;
            let (verb, args) = rest.get(globals.consumed..)?.split_first()?;
            call.program = Program::Buildctl;
            call.args = args;
            matches!(verb.as_str(), "build" | "b").then_some(call)
        }
        _ => None,
    }
}

fn docker<'w>(words: &'w [String], mut call: Call<'w>) -> Option<Call<'w>> {
    let globals = flags::parse(words, &Spec::DOCKER, "docker").ok()?;
    let (verb, rest) = words.get(globals.consumed..)?.split_first()?;
    match verb.as_str() {
        "build" => {
            call.args = rest;
            Some(call)
        }
        "builder" | "image" => {
            let (verb, rest) = rest.split_first()?;
            call.args = rest;
            (verb == "build").then_some(call)
        }
        "buildx" => buildx(rest, call),
        "compose" => compose(rest, call),
        _ => None,
    }
}

fn buildx<'w>(words: &'w [String], mut call: Call<'w>) -> Option<Call<'w>> {
    let globals = flags::parse(words, &Spec::BUILDX, "docker buildx").ok()?;
    let (verb, rest) = words.get(globals.consumed..)?.split_first()?;
    call.builder = globals.last("builder").map(str::to_owned);
    call.args = rest;
    call.program = match verb.as_str() {
        "build" | "b" => Program::Buildx,
        "bake" | "f" => Program::Bake,
        _ => return None,
    };
    Some(call)
}

fn compose<'w>(words: &'w [String], mut call: Call<'w>) -> Option<Call<'w>> {
    let globals = flags::parse(words, &Spec::COMPOSE, "docker compose").ok()?;
    let args = words.get(globals.consumed..)?;
    let builds = match args.first()?.as_str() {
        "build" => true,
        "up" | "create" | "run" => args.iter().any(|word| word == "--build" || word == "--build=true"),
        _ => false,
    };
    call.program = Program::Compose;
    call.args = args;
    call.globals = globals;
    builds.then_some(call)
}
