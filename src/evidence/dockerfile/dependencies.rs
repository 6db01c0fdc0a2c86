//! Which stages, contexts and images a stage takes from, and which stages a target needs.

use std::collections::BTreeSet;

use super::environment::{Base, Environment};
use super::{Command, CommandKind, MountSpec};

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The main build context.
    Context,
    /// A named context (`--build-context`).
    NamedContext(String),
    /// A stage, by its index.
    Stage(usize),
    /// An image.
    Image(String),
}

/// How a stage takes from an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// FROM.
    From,
    /// COPY or ADD.
    Copy,
    /// RUN --mount.
    Mount,
}

/// One dependency of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Where the files come from.
    pub origin: Origin,
    /// How they are taken.
    pub via: Via,
    /// First line of the instruction.
    pub line: usize,
}

/// There is no stage of the name asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target stage {0:?} could not be found")]
pub struct UnknownTarget(pub String);

impl Environment<'_> {
    /// Finds what `--from` or `from=` means: a stage by number or name, else a named context, else an image.
    pub fn origin(&self, from: &str) -> Origin {
        if let Ok(index) = from.parse::<usize>()
            && index < self.file().stages.len()
        {
            return Origin::Stage(index);
        }
        self.named_origin(from)
    }

    /// As [`Environment::origin`], without numbers, which a mount does not know.
    fn named_origin(&self, from: &str) -> Origin {
        match self.stage_named(from) {
            Some(index) => match self.base(index) {
                Some(Base::Replaced(name)) => Origin::NamedContext(name.clone()),
                _ => Origin::Stage(index),
            },
            None if self.options().has_context(from) => Origin::NamedContext(from.to_owned()),
            None => Origin::Image(from.to_owned()),
        }
    }

    /// Says where a COPY or ADD takes its files from; `None` for other commands, and where every source is a heredoc or
    /// remote.
    pub fn copy_origin(&self, command: &Command) -> Option<Origin> {
        let (CommandKind::Copy(copy) | CommandKind::Add(copy)) = &command.kind else {
            return None;
        };
        match &copy.from {
            Some(from) => Some(self.origin(from)),
            None if command.keyword == "ADD" => copy.local_sources().next().map(|_| Origin::Context),
            None => copy.sources.first().map(|_| Origin::Context),
        }
    }

    /// Says where a mount takes its files from; `None` for those that show none (cache without `from`, tmpfs, secret, ssh).
    pub fn mount_origin(&self, mount: &MountSpec) -> Option<Origin> {
        match (mount.kind.as_str(), mount.from.as_deref()) {
            ("bind", None) => Some(Origin::Context),
            ("bind" | "cache", Some("scratch")) => None,
            ("bind" | "cache", Some(from)) => Some(self.named_origin(from)),
            _ => None,
        }
    }

    /// Everything that a stage takes from elsewhere, in order.
    pub fn dependencies(&self, stage: usize) -> Vec<Dependency> {
        let mut found = Vec::new();
        let Some(here) = self.file().stages.get(stage) else {
            return found;
        };
        let base = match self.base(stage) {
            Some(Base::Stage(index)) => Some(Origin::Stage(*index)),
            Some(Base::Context(name) | Base::Replaced(name)) => Some(Origin::NamedContext(name.clone())),
            Some(Base::Image(name)) => Some(Origin::Image(name.clone())),
            Some(Base::Scratch) | None => None,
        };
        found.extend(base.map(|origin| Dependency { origin, via: Via::From, line: here.line }));
        self.walk(stage, |running, scope| {
            let command = running.command;
            let line = command.line;
            if let Some(origin) = self.copy_origin(command) {
                found.push(Dependency { origin, via: Via::Copy, line });
            }
            if let CommandKind::Run(run) = &command.kind {
                for mount in &run.mounts {
                    let spec = mount.expand(self.lexer(), &scope.variables);
                    let origin = spec.ok().and_then(|spec| self.mount_origin(&spec));
                    found.extend(origin.map(|origin| Dependency { origin, via: Via::Mount, line }));
                }
            }
        });
        found
    }

    /// Finds the stage that is built: that of `--target`, else the last. `None` if the file has no stage.
    ///
    /// # Errors
    /// No stage has the target's name.
    pub fn target(&self) -> Result<Option<usize>, UnknownTarget> {
        let Some(target) = self.options().target.as_deref().filter(|t| !t.is_empty()) else {
            return Ok(self.file().stages.len().checked_sub(1));
        };
        self.stage_named(target).map(Some).ok_or_else(|| UnknownTarget(target.to_owned()))
    }

    /// The stages that a build of the target needs, by index, in the order of the file.
    ///
    /// # Errors
    /// No stage has the target's name.
    pub fn needed_stages(&self) -> Result<BTreeSet<usize>, UnknownTarget> {
        let mut needed = BTreeSet::new();
        let mut waiting: Vec<usize> = self.target()?.into_iter().collect();
        while let Some(stage) = waiting.pop() {
            if !needed.insert(stage) {
                continue;
            }
            for dependency in self.dependencies(stage) {
                if let Origin::Stage(index) = dependency.origin {
                    waiting.push(index);
                }
            }
        }
        Ok(needed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Dockerfile;
    use super::super::environment::BuildOptions;
    use super::*;

    const FILE: &str = "FROM a AS base\nFROM base AS build\nCOPY . .\nRUN --mount=from=tools,target=/t --mount=type=cache,target=/c --mount=target=/src x\nFROM b AS tools\nADD https://x/y /y\nFROM c AS other\nFROM scratch\nCOPY --from=1 /x /x\nCOPY --from=busybox /x /x\nCOPY --from=assets /x /x\nCOPY <<A /x\nA\n";

    fn needed(target: Option<&str>) -> Result<Vec<usize>, UnknownTarget> {
        let file = Dockerfile::parse(FILE.as_bytes()).unwrap();
        let options = BuildOptions { target: target.map(str::to_owned), ..BuildOptions::default() };
        let environment = Environment::new(&file, &options);
        environment.needed_stages().map(|n| n.into_iter().collect())
    }

    #[test]
    fn a_target_needs_what_it_takes_from() {
        assert_eq!(needed(None), Ok(vec![0, 1, 2, 4]));
        assert_eq!(needed(Some("TOOLS")), Ok(vec![2]));
        assert_eq!(needed(Some("base")), Ok(vec![0]));
        assert_eq!(needed(Some("nope")), Err(UnknownTarget("nope".to_owned())));
    }

    #[test]
    fn origins() {
        let file = Dockerfile::parse(FILE.as_bytes()).unwrap();
        let mut options = BuildOptions::default();
        options.contexts.insert("assets".to_owned());
        let environment = Environment::new(&file, &options);
        let build: Vec<_> = environment.dependencies(1);
        let origins: Vec<_> = build.iter().map(|d| (&d.origin, d.via, d.line)).collect();
        assert_eq!(
            origins,
            [
                (&Origin::Stage(0), Via::From, 2),
                (&Origin::Context, Via::Copy, 3),
                (&Origin::Stage(2), Via::Mount, 4),
                (&Origin::Context, Via::Mount, 4),
            ]
        );
        let last = environment.dependencies(4);
        let origins: Vec<_> = last.iter().map(|d| d.origin.clone()).collect();
        assert_eq!(origins, [Origin::Stage(1), Origin::Image("busybox".to_owned()), Origin::NamedContext("assets".to_owned()),]);
        assert_eq!(environment.dependencies(2).len(), 1);
    }
}
