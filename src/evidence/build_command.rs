//! The command that made a log: what it builds, from where, and with which client.
//!
//! Reads `docker build` and its synonyms, `docker buildx build` and `bake`, `docker compose build`
//! and `up --build`, and `buildctl build`, behind `sudo`, `env`, `time` and assignments. The client
//! matters to the context sync: buildx keys the builder's copy of a context by the base name of the
//! directory, docker 20.10 by the path as typed, buildctl by nothing. Nothing is executed.

use std::path::{Path, PathBuf};

use super::bake::{self, BakeError, BakeOptions};
use super::build_target::{BuildTarget, ContextSource, Env, TypedEntry, is_remote, normalize};
use super::compose::{self, ComposeError, ComposeOptions};

mod flags;
mod script;
#[cfg(test)]
mod tests;
mod unroll;
mod words;
mod wrappers;

use flags::{Parsed, Spec};
pub use script::{ScriptCommand, commands_in_script, find_builds_in_script};
pub use unroll::{UnrolledBuild, unroll};

/// Which program talks to BuildKit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientKind {
    /// `docker build`, `docker builder build`, `docker image build`: buildx from docker 23 on, docker's
    /// own client before; the command does not say which.
    Docker,
    /// `docker build` with `DOCKER_BUILDKIT=0`: the builder that was before BuildKit.
    Legacy,
    /// `docker buildx build`.
    Buildx,
    /// `docker buildx bake`.
    Bake,
    /// `docker compose build` or `up --build`.
    Compose,
    /// `buildctl build`.
    Buildctl,
}

/// Why a command could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no build in it.
    #[error("{0:?} is no build command: expected docker build, docker buildx build or bake, docker compose build, or buildctl build")]
    NotABuild(String),
    /// A quote does not end, or the text holds several builds where one was asked for.
    #[error("{0:?} cannot be split into words: check its quotes")]
    Words(String),
    /// A flag that the program does not have.
    #[error("unknown flag {flag} of {program}: check its spelling")]
    UnknownFlag {
        /// The flag.
        flag: String,
        /// The program and its subcommand.
        program: &'static str,
    },
    /// A flag at the end whose value is missing.
    #[error("flag {flag} of {program} needs a value")]
    MissingValue {
        /// The flag.
        flag: String,
        /// The program and its subcommand.
        program: &'static str,
    },
    /// No context, or more than one.
    #[error("{program} takes one context, not {count}: name the directory, for example a dot")]
    Context {
        /// The program and its subcommand.
        program: &'static str,
        /// How many there are.
        count: usize,
    },
    /// A flag's value cannot be read.
    #[error("--{flag} {value:?}: {message}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        message: String,
    },
    /// The bake files cannot be read.
    #[error(transparent)]
    Bake(#[from] BakeError),
    /// The compose files cannot be read.
    #[error(transparent)]
    Compose(#[from] ComposeError),
}

/// A build command, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildCommand {
    /// Which program builds.
    pub client: ClientKind,
    /// The builder that the command or `BUILDX_BUILDER` names.
    pub builder: Option<String>,
    /// The directory that the command ran in, after a `cd` in front of it.
    pub dir: PathBuf,
    /// The assignments in front of the command.
    pub env: Vec<(String, String)>,
    /// `--progress`, or `BUILDKIT_PROGRESS`.
    pub progress: Option<String>,
    /// Compose and bake files that were read.
    pub files: Vec<PathBuf>,
    /// What is built, in order.
    pub targets: Vec<BuildTarget>,
}

/// Reads a command as a shell would be given it. A `cd DIR &&` in front is followed.
///
/// `cwd` is the working directory, absolute; `env` the environment that the command had.
///
/// # Errors
/// See [`CommandError`]; the first build in the text counts.
pub fn parse(text: &str, cwd: &Path, env: &Env<'_>) -> Result<BuildCommand, CommandError> {
    let short = || text.chars().take(200).collect::<String>();
    let builds = find_builds_in_script(text);
    match builds.first() {
        Some(build) => {
            let dir = build.dir.as_ref().map_or_else(|| cwd.to_owned(), |dir| normalize(&cwd.join(dir)));
            parse_words(&build.words, &dir, env)
        }
        None if shlex::split(text).is_none() => Err(CommandError::Words(short())),
        None => Err(CommandError::NotABuild(short())),
    }
}

/// Reads a command that is words already, as `bklog run --` gets it.
///
/// # Errors
/// See [`CommandError`].
pub fn parse_words(words: &[String], cwd: &Path, env: &Env<'_>) -> Result<BuildCommand, CommandError> {
    let Some(call) = wrappers::unwrap(words) else {
        // `sh -c "docker build ."`
        if let Some(text) = wrappers::shell_text(words)
            && let Some(build) = find_builds_in_script(text).into_iter().next()
            && build.words != words
        {
            let dir = build.dir.as_ref().map_or_else(|| cwd.to_owned(), |d| normalize(&cwd.join(d)));
            return parse_words(&build.words, &dir, env);
        }
        let text = words.join(" ").chars().take(200).collect();
        return Err(CommandError::NotABuild(text));
    };
    let assigned = call.env;
    let lookup = |name: &str| assigned.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone()).or_else(|| env(name));
    let dir = call.dir.map_or_else(|| cwd.to_owned(), |dir| normalize(&cwd.join(dir)));
    let mut command = match call.program {
        wrappers::Program::Docker => docker_build(call.args, ClientKind::Docker, &dir, &lookup)?,
        wrappers::Program::Buildx => docker_build(call.args, ClientKind::Buildx, &dir, &lookup)?,
        wrappers::Program::Bake => bake_command(call.args, &dir, &lookup)?,
        wrappers::Program::Compose => compose_command(call.args, &call.globals, &dir, &lookup)?,
        wrappers::Program::Buildctl => buildctl(call.args, &dir, &lookup)?,
    };
    if command.client == ClientKind::Docker
        && matches!(lookup("DOCKER_BUILDKIT").as_deref(), Some("0" | "false" | "f" | "F" | "False" | "FALSE"))
    {
        command.client = ClientKind::Legacy;
    }
    command.builder = command
        .builder
        .or(call.builder)
        .or_else(|| lookup("BUILDX_BUILDER").filter(|b| !b.is_empty() && command.client != ClientKind::Buildctl));
    command.progress = command.progress.or_else(|| lookup("BUILDKIT_PROGRESS"));
    command.env = assigned;
    Ok(command)
}

/// Says whether words are a call that builds, whatever stands in front of it.
pub fn is_build(words: &[String]) -> bool {
    wrappers::unwrap(words).is_some()
}

/// Whether a word of a script is one variable and nothing else: it can be several words, or none.
pub fn is_variable(word: &str) -> bool {
    words::is_variable(word)
}

/// The text that words give a shell to run: `bash -c TEXT`.
pub fn shell_text(words: &[String]) -> Option<&str> {
    wrappers::shell_text(words)
}

/// The script that a command runs (`bash build.sh`, `./deploy.sh`), for the caller to read and hand to
/// [`find_builds_in_script`]; `None` where the command is a build itself or runs no file by its path.
pub fn script_path(words: &[String]) -> Option<&str> {
    if wrappers::unwrap(words).is_some() {
        return None;
    }
    wrappers::script_path(words)
}

impl BuildCommand {
    fn new(client: ClientKind, dir: &Path, parsed: &Parsed) -> Self {
        Self {
            client,
            builder: parsed.last("builder").map(str::to_owned),
            dir: dir.to_owned(),
            env: Vec::new(),
            progress: parsed.last("progress").map(str::to_owned),
            files: Vec::new(),
            targets: Vec::new(),
        }
    }
}

/// Comma-separated values of all uses of a flag.
fn comma_list(parsed: &Parsed, flag: &str) -> Vec<String> {
    parsed.all(flag).flat_map(|value| value.split(',')).map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

fn caches(parsed: &Parsed, flag: &'static str) -> Result<Vec<TypedEntry>, CommandError> {
    let mut out = Vec::new();
    for value in parsed.all(flag) {
        out.extend(TypedEntry::parse_cache(value, None).map_err(|message| CommandError::Value {
            flag,
            value: value.to_owned(),
            message,
        })?);
    }
    Ok(out)
}

/// `K=V`, or `K` whose value the environment has.
fn set_arg(target: &mut BuildTarget, arg: &str, env: &Env<'_>) {
    match arg.split_once('=') {
        Some((name, value)) => target.set_arg(name, Some(value.to_owned()), None),
        None => target.set_arg(arg, env(arg), None),
    }
}

fn docker_build(args: &[String], client: ClientKind, cwd: &Path, env: &Env<'_>) -> Result<BuildCommand, CommandError> {
    let program = if client == ClientKind::Buildx { "docker buildx build" } else { "docker build" };
    let parsed = flags::parse(args, &Spec::BUILD, program)?;
    let [context] = parsed.positional.as_slice() else {
        return Err(CommandError::Context { program, count: parsed.positional.len() });
    };
    let mut target = BuildTarget::new(ContextSource::plain(context, cwd));
    target.dockerfile = parsed.last("file").filter(|f| !f.is_empty()).map(str::to_owned);
    target.resolve_dockerfile(Some(cwd));
    if target.context.local_dir().is_none() {
        // The name counts inside what the builder fetches.
        target.dockerfile_path = None;
    }
    target.target = parsed.last("target").filter(|t| !t.is_empty()).map(str::to_owned);
    for arg in parsed.all("build-arg") {
        set_arg(&mut target, arg, env);
    }
    for value in parsed.all("build-context") {
        let (name, source) = value.split_once('=').ok_or_else(|| CommandError::Value {
            flag: "build-context",
            value: value.to_owned(),
            message: "expected NAME=VALUE".to_owned(),
        })?;
        target.contexts.insert(name.to_owned(), ContextSource::parse(source, cwd));
    }
    target.cache_from = caches(&parsed, "cache-from")?;
    target.cache_to = caches(&parsed, "cache-to")?;
    target.no_cache = parsed.is_on("no-cache");
    target.no_cache_filter = comma_list(&parsed, "no-cache-filter");
    target.pull = parsed.is_on("pull");
    target.platforms = comma_list(&parsed, "platform");
    target.tags = parsed.all("tag").map(str::to_owned).collect();
    for value in parsed.all("output") {
        let entry = TypedEntry::parse_output(value, None).map_err(|message| CommandError::Value {
            flag: "output",
            value: value.to_owned(),
            message,
        })?;
        target.outputs.push(entry);
    }
    for (flag, kind) in [("push", "registry"), ("load", "docker")] {
        if parsed.is_on(flag) {
            target.outputs.extend(TypedEntry::parse_output(&format!("type={kind}"), None));
        }
    }
    let mut command = BuildCommand::new(client, cwd, &parsed);
    command.targets.push(target);
    Ok(command)
}

fn bake_command(args: &[String], cwd: &Path, env: &Env<'_>) -> Result<BuildCommand, CommandError> {
    let parsed = flags::parse(args, &Spec::BAKE, "docker buildx bake")?;
    let mut targets = parsed.positional.clone();
    if let Some(first) = targets.first().filter(|first| is_remote(first)) {
        return Err(BakeError::Remote(first.clone()).into());
    }
    // A local definition may be named `cwd://`.
    targets.retain(|target| !target.starts_with("cwd://"));
    let mut files: Vec<PathBuf> = parsed.all("file").map(PathBuf::from).collect();
    if files.is_empty()
        && let Some(list) = env("BUILDX_BAKE_FILE").filter(|list| !list.is_empty())
    {
        let separator = env("BUILDX_BAKE_FILE_SEPARATOR").filter(|s| !s.is_empty());
        let separator = separator.unwrap_or_else(|| if cfg!(windows) { ";" } else { ":" }.to_owned());
        files = list.split(separator.as_str()).filter(|f| !f.is_empty()).map(PathBuf::from).collect();
    }
    let mut set: Vec<String> = parsed.all("set").map(str::to_owned).collect();
    for flag in ["no-cache", "pull"] {
        if let Some(value) = parsed.last(flag) {
            set.push(format!("*.{flag}={value}"));
        }
    }
    let vars = parsed
        .all("var")
        .map(|var| match var.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (var.to_owned(), env(var).unwrap_or_default()),
        })
        .collect();
    let plan = bake::load(cwd, &BakeOptions { files, targets, set, vars }, env)?;
    let mut command = BuildCommand::new(ClientKind::Bake, cwd, &parsed);
    command.files = plan.files;
    command.targets = plan.targets;
    Ok(command)
}

fn compose_command(args: &[String], globals: &Parsed, cwd: &Path, env: &Env<'_>) -> Result<BuildCommand, CommandError> {
    let (verb, rest) = args.split_first().ok_or_else(|| CommandError::NotABuild("docker compose".to_owned()))?;
    let spec = match verb.as_str() {
        "build" => &Spec::COMPOSE_BUILD,
        "run" => &Spec::COMPOSE_RUN,
        _ => &Spec::COMPOSE_UP,
    };
    let parsed = flags::parse(rest, spec, "docker compose")?;
    if verb != "build" && !parsed.is_on("build") {
        return Err(CommandError::NotABuild(format!("docker compose {verb} without --build")));
    }
    let project_dir = globals.last("project-directory").or_else(|| globals.last("workdir"));
    let options = ComposeOptions {
        files: globals.all("file").map(PathBuf::from).collect(),
        project_dir: project_dir.map(PathBuf::from),
        env_files: globals.all("env-file").map(PathBuf::from).collect(),
        profiles: globals.all("profile").map(str::to_owned).collect(),
    };
    let project = compose::load(cwd, &options, env)?;
    let mut services = parsed.positional.clone();
    if verb == "run" {
        // What follows the service is the command that runs in it.
        services.extend(rest.get(parsed.consumed).cloned());
    }
    let with_dependencies = if verb == "build" { parsed.is_on("with-dependencies") } else { !parsed.is_on("no-deps") };
    if with_dependencies && !services.is_empty() {
        services = project.with_dependencies(&services)?;
    }
    let mut command = BuildCommand::new(ClientKind::Compose, cwd, &parsed);
    command.progress = command.progress.or_else(|| globals.last("progress").map(str::to_owned));
    command.targets = project.build_targets(&services)?;
    for target in &mut command.targets {
        for arg in parsed.all("build-arg") {
            set_arg(target, arg, env);
        }
        target.no_cache |= parsed.is_on("no-cache");
        target.pull |= verb == "build" && parsed.is_on("pull");
    }
    command.files = project.files;
    Ok(command)
}

fn buildctl(args: &[String], cwd: &Path, env: &Env<'_>) -> Result<BuildCommand, CommandError> {
    let parsed = flags::parse(args, &Spec::BUILDCTL, "buildctl build")?;
    let pairs = |flag: &'static str| -> Result<Vec<(&str, &str)>, CommandError> {
        parsed
            .all(flag)
            .map(|value| {
                value.split_once('=').ok_or_else(|| CommandError::Value {
                    flag,
                    value: value.to_owned(),
                    message: "expected KEY=VALUE".to_owned(),
                })
            })
            .collect()
    };
    let locals = pairs("local")?;
    let mut opts = pairs("opt")?;
    opts.extend(pairs("frontend-opt")?);
    let local = |name: &str| locals.iter().rev().find(|(n, _)| *n == name).map(|(_, dir)| *dir);
    let opt = |name: &str| opts.iter().rev().find(|(n, _)| *n == name).map(|(_, value)| *value);
    let context = match (opt("context"), local("context")) {
        (Some(url), _) => ContextSource::parse(url, cwd),
        (None, Some(dir)) => ContextSource::dir(dir, cwd),
        (None, None) => {
            return Err(CommandError::Context { program: "buildctl build", count: 0 });
        }
    };
    let mut target = BuildTarget::new(context);
    target.dockerfile = opt("filename").filter(|f| !f.is_empty()).map(str::to_owned);
    target.resolve_dockerfile(None);
    if let Some(dir) = local("dockerfile") {
        // The Dockerfile has a directory of its own, and its name counts there.
        let dir = normalize(&cwd.join(dir));
        let name = target.dockerfile.as_deref().unwrap_or("Dockerfile");
        target.dockerfile_path = Some(normalize(&dir.join(name)));
    }
    target.target = opt("target").filter(|t| !t.is_empty()).map(str::to_owned);
    for (name, value) in &opts {
        if let Some(arg) = name.strip_prefix("build-arg:") {
            target.set_arg(arg, Some((*value).to_owned()), None);
        } else if let Some(named) = name.strip_prefix("context:") {
            let source = match value.strip_prefix("local:") {
                Some(key) => match local(key) {
                    Some(dir) => ContextSource::dir(dir, cwd),
                    None => {
                        return Err(CommandError::Value {
                            flag: "opt",
                            value: format!("{name}={value}"),
                            message: format!("there is no --local {key}=DIR"),
                        });
                    }
                },
                None => ContextSource::parse(value, cwd),
            };
            target.contexts.insert(named.to_owned(), source);
        }
    }
    for arg in parsed.all("build-arg") {
        set_arg(&mut target, arg, env);
    }
    let split = |value: &str| -> Vec<String> { value.split(',').filter(|v| !v.is_empty()).map(str::to_owned).collect() };
    target.platforms = opt("platform").map(split).unwrap_or_default();
    if let Some(stages) = opt("no-cache") {
        target.no_cache_filter = split(stages);
        target.no_cache = target.no_cache_filter.is_empty();
    }
    target.no_cache |= parsed.is_on("no-cache");
    target.cache_from = caches(&parsed, "import-cache")?;
    target.cache_to = caches(&parsed, "export-cache")?;
    for value in parsed.all("output") {
        let entry = TypedEntry::parse_output(value, None).map_err(|message| CommandError::Value {
            flag: "output",
            value: value.to_owned(),
            message,
        })?;
        target.tags.extend(entry.attrs.get("name").cloned());
        target.outputs.push(entry);
    }
    let mut command = BuildCommand::new(ClientKind::Buildctl, cwd, &parsed);
    command.targets.push(target);
    Ok(command)
}
