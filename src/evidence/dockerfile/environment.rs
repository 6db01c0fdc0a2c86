//! Which ARG and ENV values are in force where (facts: BuildKit `dockerfile2llb/convert.go`).
//!
//! What the base image sets is not known here, but for `PATH`, to which BuildKit gives a default when the image has none.

use std::collections::{BTreeMap, BTreeSet};

use super::expand::{Lexer, Variables};
use super::{Command, CommandKind, Dockerfile};
use crate::evidence::go_match::clean;
use crate::evidence::image_name::without_defaults;

/// BuildKit's `PATH` where the image sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// ARGs that steer the SBOM scanner and are no variables.
const NOT_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What a build was started with, as far as it changes the meaning of a Dockerfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// `--build-arg`.
    pub args: Variables,
    /// `--target`.
    pub target: Option<String>,
    /// Names of `--build-context`.
    pub contexts: BTreeSet<String>,
    /// The platform built for, `os/arch[/variant]`; `linux/amd64` if not known.
    pub platform: Option<String>,
    /// The platform of the builder, likewise.
    pub build_platform: Option<String>,
}

impl BuildOptions {
    /// Whether a stage name or an image is replaced by a named context.
    pub fn has_context(&self, name: &str) -> bool {
        // BuildKit takes neither `scratch` nor `context` from a named context.
        !name.eq_ignore_ascii_case("scratch")
            && !name.eq_ignore_ascii_case("context")
            && (self.contexts.contains(name) || self.contexts.iter().any(|c| without_defaults(c) == without_defaults(name)))
    }
}

/// What a stage is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// An earlier stage, by its index.
    Stage(usize),
    /// `FROM scratch`.
    Scratch,
    /// A named context in the place of an image.
    Context(String),
    /// An image, with variables expanded.
    Image(String),
    /// The stage itself is replaced by the named context of its name: its commands do not run.
    Replaced(String),
}

/// The values in force at one place of a stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// ARG and ENV values together, as expansion sees them.
    pub variables: Variables,
    /// ARGs declared so far in the stage and in the stages it is made from; `None` where no value is known.
    pub args: BTreeMap<String, Option<String>>,
    /// The working directory if a WORKDIR made it absolute.
    pub workdir: Option<String>,
}

/// A command as it runs in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running<'d> {
    /// The command; for ONBUILD, what it triggers.
    pub command: &'d Command,
    /// Whether it comes from an ONBUILD of the base stage.
    pub onbuild: bool,
}

/// A Dockerfile with the options of a build: bases and variables resolved.
#[derive(Debug, Clone)]
pub struct Environment<'d> {
    file: &'d Dockerfile,
    options: BuildOptions,
    lexer: Lexer,
    globals: Variables,
    bases: Vec<Base>,
    /// The last stage of each name.
    names: BTreeMap<&'d str, usize>,
}

/// Longest chain of stages made from stages that is followed for values: bklog's own limit.
const MAX_CHAIN: usize = 1_000;

impl<'d> Environment<'d> {
    /// Resolves global ARGs and bases. A word that BuildKit could not expand (which fails the build) stays as it is.
    pub fn new(file: &'d Dockerfile, options: &BuildOptions) -> Self {
        let lexer = Lexer::new(file.escape);
        let globals = globals(file, options, &lexer);
        let mut bases = Vec::new();
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, stage) in file.stages.iter().enumerate() {
            let base = expand_or_keep(&lexer, &stage.base, &globals);
            bases.push(match (stage.name.as_deref(), names.get(base.as_str())) {
                (Some(name), _) if options.has_context(name) => Base::Replaced(name.to_owned()),
                (_, Some(earlier)) => Base::Stage(*earlier),
                _ if options.has_context(&base) => Base::Context(base),
                _ if base == "scratch" => Base::Scratch,
                _ => Base::Image(base),
            });
            if let Some(name) = &stage.name {
                names.insert(name, index);
            }
        }
        Self { file, options: options.clone(), lexer, globals, bases, names }
    }

    /// The stage of a name, whatever its case; the last if several have it.
    pub fn stage_named(&self, name: &str) -> Option<usize> {
        self.names.get(name.to_lowercase().as_str()).copied()
    }

    /// The Dockerfile.
    pub fn file(&self) -> &'d Dockerfile {
        self.file
    }

    /// The options of the build.
    pub fn options(&self) -> &BuildOptions {
        &self.options
    }

    /// Global ARGs and the predefined ones of platforms, as FROM sees them.
    pub fn globals(&self) -> &Variables {
        &self.globals
    }

    /// What the stage is made from; `None` if there is no such stage.
    pub fn base(&self, stage: usize) -> Option<&Base> {
        self.bases.get(stage)
    }

    /// The expansion that BuildKit uses for the words of this file.
    pub fn lexer(&self) -> &Lexer {
        &self.lexer
    }

    /// The commands that run in a stage: what ONBUILD of its base stage triggers, then its own.
    pub fn commands(&self, stage: usize) -> Vec<Running<'d>> {
        let mut running = Vec::new();
        if let Some(Base::Stage(base)) = self.base(stage)
            && let Some(base) = self.file.stages.get(*base)
        {
            for command in &base.commands {
                if let CommandKind::Onbuild { trigger: Some(trigger), .. } = &command.kind {
                    running.push(Running { command: trigger, onbuild: true });
                }
            }
        }
        if !matches!(self.base(stage), Some(Base::Replaced(_)))
            && let Some(stage) = self.file.stages.get(stage)
        {
            running.extend(stage.commands.iter().map(|command| Running { command, onbuild: false }));
        }
        running
    }

    /// Goes through the commands of a stage in order and shows each with the values in force just before it.
    pub fn walk(&self, stage: usize, mut show: impl FnMut(Running<'d>, &Scope)) {
        let mut scope = self.start(stage);
        for running in self.commands(stage) {
            show(running, &scope);
            self.apply(running.command, &mut scope);
        }
    }

    /// The values at the beginning of a stage: those at the end of the stage that it is made from.
    pub fn start(&self, stage: usize) -> Scope {
        let mut chain = vec![stage];
        // A base always comes earlier in the file.
        while let Some(Base::Stage(base)) = chain.last().and_then(|last| self.base(*last))
            && chain.len() < MAX_CHAIN
        {
            chain.push(*base);
        }
        let mut scope = Scope::default();
        scope.variables.insert("PATH".to_owned(), DEFAULT_PATH.to_owned());
        for stage in chain.iter().skip(1).rev() {
            for running in self.commands(*stage) {
                self.apply(running.command, &mut scope);
            }
        }
        scope
    }

    fn apply(&self, command: &Command, scope: &mut Scope) {
        match &command.kind {
            CommandKind::Arg(pairs) => {
                for (name, default) in pairs {
                    let value = match (self.options.args.get(name), default) {
                        (Some(given), _) => Some(given.clone()),
                        (None, Some(default)) => Some(expand_or_keep(&self.lexer, default, &scope.variables)),
                        (None, None) => self.globals.get(name).cloned(),
                    };
                    if let Some(value) = &value
                        && !NOT_VARIABLES.contains(&name.as_str())
                    {
                        scope.variables.insert(name.clone(), value.clone());
                    }
                    scope.args.insert(name.clone(), value);
                }
            }
            CommandKind::Env(pairs) => {
                // All words are expanded before the first value is set.
                let expand = |word| expand_or_keep(&self.lexer, word, &scope.variables);
                let pairs: Vec<_> = pairs.iter().map(|(k, v)| (expand(k), expand(v))).collect();
                scope.variables.extend(pairs);
            }
            CommandKind::Workdir(path) => {
                let path = expand_or_keep(&self.lexer, path, &scope.variables);
                scope.workdir = match (path.starts_with('/'), &scope.workdir) {
                    (true, _) => Some(clean(&path)),
                    (false, Some(before)) => Some(clean(&format!("{before}/{path}"))),
                    (false, None) => None,
                };
            }
            _ => {}
        }
    }
}

pub(super) fn expand_or_keep(lexer: &Lexer, word: &str, variables: &Variables) -> String {
    lexer.word(word, variables).unwrap_or_else(|_| word.to_owned())
}

/// The predefined ARGs of platforms and target, then those before the first FROM.
fn globals(file: &Dockerfile, options: &BuildOptions, lexer: &Lexer) -> Variables {
    let mut globals = Variables::new();
    let platforms =
        [("BUILD", options.build_platform.as_deref()), ("TARGET", options.platform.as_deref().or(options.build_platform.as_deref()))];
    for (prefix, platform) in platforms {
        let platform = platform.unwrap_or("linux/amd64");
        let mut parts = platform.splitn(3, '/');
        globals.insert(format!("{prefix}PLATFORM"), platform.to_owned());
        for part in ["OS", "ARCH", "VARIANT"] {
            let value = parts.next().unwrap_or_default();
            globals.insert(format!("{prefix}{part}"), value.to_owned());
        }
        globals.insert(format!("{prefix}OSVERSION"), String::new());
    }
    let target = options.target.clone().or_else(|| file.stages.last().and_then(|s| s.name.clone())).filter(|target| !target.is_empty());
    globals.insert("TARGETSTAGE".to_owned(), target.unwrap_or_else(|| "default".to_owned()));
    for (name, value) in &mut globals {
        if let Some(given) = options.args.get(name) {
            value.clone_from(given);
        }
    }
    for command in &file.global_args {
        let CommandKind::Arg(pairs) = &command.kind else {
            continue;
        };
        for (name, default) in pairs {
            let value = match (options.args.get(name), default) {
                (Some(given), _) => given.clone(),
                (None, Some(default)) => expand_or_keep(lexer, default, &globals),
                (None, None) => continue,
            };
            globals.insert(name.clone(), value);
        }
    }
    globals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[(&str, &str)]) -> BuildOptions {
        BuildOptions { args: args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), ..BuildOptions::default() }
    }

    /// The variables before each command of the last stage, as `keyword: NAME=value …` for the names asked.
    fn seen(text: &str, options: &BuildOptions, names: &[&str]) -> Vec<String> {
        let file = Dockerfile::parse(text.as_bytes()).unwrap();
        let environment = Environment::new(&file, options);
        let mut seen = Vec::new();
        environment.walk(file.stages.len() - 1, |running, scope| {
            let values: Vec<_> = names.iter().map(|n| scope.variables.get(*n).map_or("-", |v| v.as_str())).collect();
            seen.push(format!("{} {}", running.command.keyword, values.join(" ")));
        });
        seen
    }

    const SCOPES: &str = "ARG VERSION=1\nARG BUST\nFROM a:$VERSION AS one\nRUN x\nARG BUST=0\nRUN y\nFROM one AS two\nRUN z\nARG VERSION\nENV E=$BUST-$VERSION V=$E\nRUN w\n";

    #[test]
    fn an_arg_is_known_from_its_line_on_and_in_later_stages() {
        assert_eq!(
            seen(SCOPES, &options(&[]), &["BUST", "VERSION", "E", "V"]),
            ["RUN 0 - - -", "ARG 0 - - -", "ENV 0 1 - -", "RUN 0 1 0-1 "]
        );
        assert_eq!(
            seen(SCOPES, &options(&[("BUST", "7"), ("VERSION", "2")]), &["BUST", "VERSION", "E"]),
            ["RUN 7 - -", "ARG 7 - -", "ENV 7 2 -", "RUN 7 2 7-2"]
        );
    }

    #[test]
    fn a_global_arg_without_value_gives_none() {
        let text = "ARG BUST\nFROM a\nARG BUST\nRUN x\n";
        assert_eq!(seen(text, &options(&[]), &["BUST"])[1], "RUN -");
        assert_eq!(seen(text, &options(&[("BUST", "1")]), &["BUST"])[1], "RUN 1");
        let file = Dockerfile::parse(text.as_bytes()).unwrap();
        let options = options(&[]);
        let environment = Environment::new(&file, &options);
        environment.walk(0, |running, scope| {
            if running.command.keyword == "RUN" {
                assert_eq!(scope.args.get("BUST"), Some(&None));
            }
        });
    }

    #[test]
    fn bases_follow_names_and_contexts() {
        let text = "ARG B=one\nFROM x AS one\nFROM $B AS two\nFROM scratch\nFROM alpine:latest\n";
        let file = Dockerfile::parse(text.as_bytes()).unwrap();
        let none = BuildOptions::default();
        let environment = Environment::new(&file, &none);
        assert_eq!(environment.base(0), Some(&Base::Image("x".to_owned())));
        assert_eq!(environment.base(1), Some(&Base::Stage(0)));
        assert_eq!(environment.base(2), Some(&Base::Scratch));
        let mut named = BuildOptions::default();
        named.contexts.extend(["two".to_owned(), "alpine".to_owned()]);
        let environment = Environment::new(&file, &named);
        assert_eq!(environment.base(1), Some(&Base::Replaced("two".to_owned())));
        assert_eq!(environment.base(3), Some(&Base::Context("alpine:latest".to_owned())));
    }

    #[test]
    fn platforms_are_predefined() {
        let cross = BuildOptions { platform: Some("linux/arm/v7".to_owned()), ..BuildOptions::default() };
        let text = "FROM a\nARG TARGETARCH TARGETVARIANT BUILDPLATFORM\nRUN x\n";
        assert_eq!(seen(text, &cross, &["TARGETARCH", "TARGETVARIANT", "BUILDPLATFORM", "TARGETOS"])[1], "RUN arm v7 linux/amd64 -");
    }

    #[test]
    fn onbuild_of_the_base_stage_runs_first() {
        let text = "FROM a AS base\nONBUILD ARG X=1\nONBUILD COPY . /a\nFROM base\nRUN y\n";
        assert_eq!(seen(text, &options(&[]), &["X"]), ["ARG -", "COPY 1", "RUN 1"]);
    }
}
