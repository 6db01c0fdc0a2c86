//! The commands that made a log: those of `--build`, those that `run` saw, and what other flags add to them.

use std::path::{Path, PathBuf};

use clap::Args;

use super::error::CliError;
use crate::evidence::{
    build_command::{self, BuildCommand, CommandError},
    build_target::{ContextSource, Env},
};

/// Flags that say what was built.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct CommandArgs {
    /// The command that made the log, as it was typed; once for each build in the log, in order. `run` sees it by itself
    #[arg(long = "build", value_name = "COMMAND")]
    builds: Vec<String>,

    /// The build context; beside a command it wins over the command's own, as do the flags below
    #[arg(long, value_name = "DIR")]
    context: Option<String>,

    /// The Dockerfile
    #[arg(long, short, value_name = "FILE")]
    file: Option<String>,

    /// The target stage
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,

    /// A build argument
    #[arg(long = "build-arg", value_name = "K=V")]
    build_args: Vec<String>,

    /// A named context
    #[arg(long = "build-context", value_name = "N=DIR")]
    build_contexts: Vec<String>,

    /// A compose file, where the services of it were built
    #[arg(long, value_name = "FILE", conflicts_with_all = ["builds", "context", "file", "target", "build_contexts"])]
    compose: Option<String>,
}

/// A command that was called, seen or read.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Its words.
    pub(super) words: Vec<String>,
    /// The directory that it was called in.
    pub(super) dir: PathBuf,
    /// What its environment had beside, or other than, ours.
    pub(super) env: Vec<(String, String)>,
}

/// What to do where flags do not go together.
const MERGE_HINT: &str = "write it into each --build command instead";

impl CommandArgs {
    /// The commands as they were given, for the record.
    #[cfg(feature = "history")]
    pub(super) fn texts(&self) -> &[String] {
        &self.builds
    }

    /// Reads the commands: those of the flags, else the calls that were seen, else what the other flags describe. Compose and bake files
    /// that cannot be read leave less to judge from; that is said in `notes`.
    ///
    /// # Errors
    /// Flags that cannot be understood or do not go together.
    pub(super) fn read(&self, cwd: &Path, env: &Env<'_>, calls: &[Call], notes: &mut Vec<String>) -> Result<Vec<BuildCommand>, CliError> {
        let mut commands = Vec::new();
        let wrong =
            |error: &CommandError| CliError::Usage { what: error.to_string(), hint: "give --build the command as you would type it" };
        let mut described = false;
        if let Some(file) = &self.compose {
            let words = ["docker", "compose", "-f", file, "build"].map(str::to_owned);
            take(build_command::parse_words(&words, cwd, env), &mut commands, notes).map_err(|error| wrong(&error))?;
        } else if !self.builds.is_empty() {
            for text in &self.builds {
                take(build_command::parse(text, cwd, env), &mut commands, notes).map_err(|error| wrong(&error))?;
            }
        } else if !calls.is_empty() {
            for call in calls {
                let lookup = |name: &str| {
                    let own = call.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
                    own.or_else(|| env(name))
                };
                // What was built is built: a call that cannot be understood is no reason to fail.
                if let Err(error) = take(build_command::parse_words(&call.words, &call.dir, &lookup), &mut commands, notes) {
                    notes.push(error.to_string());
                }
            }
        } else if self.describes() {
            described = true;
            let context = self.context.clone().unwrap_or_else(|| ".".to_owned());
            let words = ["docker", "build"].map(str::to_owned).into_iter().chain([context]).collect::<Vec<_>>();
            take(build_command::parse_words(&words, cwd, env), &mut commands, notes).map_err(|error| wrong(&error))?;
        }
        self.merge(&mut commands, described, cwd, env)?;
        Ok(commands)
    }

    /// True where a flag says what was built, without a command.
    fn describes(&self) -> bool {
        self.context.is_some() || self.one_only().is_some() || !self.build_args.is_empty() || !self.build_contexts.is_empty()
    }

    /// A flag that can only be meant for one build.
    fn one_only(&self) -> Option<&'static str> {
        let flags = [(self.file.is_some(), "--file"), (self.target.is_some(), "--target"), (self.context.is_some(), "--context")];
        flags.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }

    /// Puts the flags over what the commands say.
    fn merge(&self, commands: &mut [BuildCommand], described: bool, cwd: &Path, env: &Env<'_>) -> Result<(), CliError> {
        let targets: usize = commands.iter().map(|command| command.targets.len()).sum();
        if let Some(flag) = self.one_only().filter(|_| targets > 1) {
            let what = format!("{flag} says where one build is from, and the commands make {targets}");
            return Err(CliError::Usage { what, hint: MERGE_HINT });
        }
        for command in commands.iter_mut() {
            for target in &mut command.targets {
                if let Some(context) = self.context.as_deref().filter(|_| !described) {
                    let own_file = target.dockerfile.is_some();
                    target.context = ContextSource::plain(context, cwd);
                    if !own_file {
                        target.resolve_dockerfile(None);
                    }
                }
                if let Some(file) = &self.file {
                    target.dockerfile = Some(file.clone());
                    target.dockerfile_inline = None;
                    // It counts from here, whatever the command makes of its own.
                    target.resolve_dockerfile(Some(cwd));
                }
                if let Some(stage) = &self.target {
                    target.target = Some(stage.clone());
                }
                for arg in &self.build_args {
                    match arg.split_once('=') {
                        Some((name, value)) => target.set_arg(name, Some(value.to_owned()), None),
                        None => target.set_arg(arg, env(arg), None),
                    }
                }
                for context in &self.build_contexts {
                    let Some((name, source)) = context.split_once('=') else {
                        let what = format!("--build-context {context:?} has no `=`");
                        return Err(CliError::Usage { what, hint: "write it as NAME=DIR" });
                    };
                    target.contexts.insert(name.to_owned(), ContextSource::parse(source, cwd));
                }
            }
        }
        Ok(())
    }
}

/// Keeps a command that could be read, or says why its files could not.
fn take(read: Result<BuildCommand, CommandError>, commands: &mut Vec<BuildCommand>, notes: &mut Vec<String>) -> Result<(), CommandError> {
    match read {
        Ok(command) => commands.push(command),
        Err(error @ (CommandError::Bake(_) | CommandError::Compose(_))) => notes.push(error.to_string()),
        Err(error) => return Err(error),
    }
    Ok(())
}
