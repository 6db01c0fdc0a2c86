//! Under which key a builder keeps its copy of a context.
//!
//! BuildKit builds the key from the name of the local source and the shared key of the client's session (`source/local`). buildx
//! takes the base name of the context directory and the id of its configuration directory (`build/opt.go`), docker 20.10 the path
//! as it was typed and the same id (`cli/command/image/build_session.go`), buildctl nothing at all.

use std::path::{Path, PathBuf};

use crate::build::{Build, Format};
use crate::evidence::build_command::{BuildCommand, ClientKind};
use crate::evidence::build_target::{ContextSource, Env};

/// How a client names its contexts to the builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// By the base name of the main context (buildx, bake, compose, docker from 23 on).
    BaseName,
    /// By the path as typed (docker before 23).
    TypedPath,
    /// By nothing.
    None,
    /// There is no sync: the legacy builder is sent everything each time.
    NoSync,
}

impl Sharing {
    /// Says how the client of a command shares, with the log's help: buildx names the builder in its first line, docker's own
    /// client before 23 does not.
    pub fn of(command: Option<&BuildCommand>, build: &Build) -> Self {
        if build.format == Format::Legacy {
            return Self::NoSync;
        }
        match command.map(|command| command.client) {
            Some(ClientKind::Legacy) => Self::NoSync,
            Some(ClientKind::Buildctl) => Self::None,
            Some(ClientKind::Docker) if build.builder.is_none() && build.format == Format::Plain => Self::TypedPath,
            _ => Self::BaseName,
        }
    }
}

/// What the keys of a client's contexts have in common.
#[derive(Debug, Clone)]
pub struct KeyMaker {
    sharing: Sharing,
    builder: String,
    node: String,
}

impl KeyMaker {
    /// Gathers what is known of the client. `builder` is the builder's name where the caller knows it.
    pub fn new(sharing: Sharing, builder: Option<&str>, command: Option<&BuildCommand>, build: &Build, env: &Env<'_>) -> Self {
        let builder = builder
            .or_else(|| command.and_then(|command| command.builder.as_deref()))
            .or(build.builder.as_deref())
            .unwrap_or("default")
            .to_owned();
        Self { sharing, builder, node: node(sharing, command, env) }
    }

    /// How the client shares.
    pub fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// The key of a local source: `name` is `context`, `dockerfile`, `context-.dockerignore` or that of a named context; `main` is the main context.
    ///
    /// `None` where nothing is synced.
    pub fn key(&self, name: &str, main: &ContextSource) -> Option<String> {
        let shared = match (self.sharing, main) {
            (Sharing::NoSync, _) => return None,
            (Sharing::BaseName, ContextSource::Dir { path, .. }) => {
                path.file_name().map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned())
            }
            (Sharing::TypedPath, ContextSource::Dir { typed, .. }) => typed.clone(),
            // Without a local main context, buildx gives the session no key.
            _ => String::new(),
        };
        let client = match self.sharing {
            Sharing::BaseName => "buildx",
            Sharing::TypedPath => "docker",
            Sharing::None | Sharing::NoSync => "buildctl",
        };
        let node = if shared.is_empty() { "" } else { &self.node };
        Some([client, &self.builder, node, name, &shared].join("|"))
    }
}

/// The id that the client keeps in its configuration directory, or that directory's path where there is none to read.
fn node(sharing: Sharing, command: Option<&BuildCommand>, env: &Env<'_>) -> String {
    let lookup = |name: &str| {
        let assigned = command.and_then(|command| command.env.iter().rev().find(|(known, _)| known == name));
        assigned.map(|(_, value)| value.clone()).or_else(|| env(name)).filter(|value| !value.is_empty())
    };
    let docker = || lookup("DOCKER_CONFIG").map(PathBuf::from).or_else(|| lookup("HOME").map(|home| Path::new(&home).join(".docker")));
    let dir = match sharing {
        Sharing::BaseName => lookup("BUILDX_CONFIG").map(PathBuf::from).or_else(|| docker().map(|dir| dir.join("buildx"))),
        Sharing::TypedPath => docker(),
        Sharing::None | Sharing::NoSync => None,
    };
    let Some(dir) = dir else {
        return String::new();
    };
    let id = [".buildNodeID", "node-id"].iter().find_map(|name| std::fs::read_to_string(dir.join(name)).ok());
    match id.as_deref().map(str::trim) {
        Some(id) if !id.is_empty() && id.len() < 200 => id.replace('|', ""),
        _ => dir.to_string_lossy().replace('|', ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::build_command;

    fn key(text: &str, sharing: Sharing, env: &[(&str, &str)]) -> Option<String> {
        let lookup = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let command = build_command::parse(text, Path::new("/w/app"), &lookup).unwrap();
        let maker = KeyMaker { sharing, builder: "b".into(), node: node(sharing, Some(&command), &lookup) };
        maker.key("context", &command.targets[0].context)
    }

    #[test]
    fn clients_share_by_what_they_name() {
        let home = [("HOME", "/none")];
        let base = Sharing::BaseName;
        assert_eq!(key("docker buildx build .", base, &home), key("docker buildx build /other/app", base, &home));
        assert_ne!(key("docker buildx build .", base, &home), key("docker buildx build /other/web", base, &home));
        let typed = Sharing::TypedPath;
        assert_eq!(key("docker build .", typed, &home), key("cd /else && docker build .", typed, &home));
        assert_ne!(key("docker build .", typed, &home), key("docker build /w/app", typed, &home));
        assert_ne!(key("docker build .", typed, &home), key("docker build .", typed, &[("DOCKER_CONFIG", "/none/x")]));
        assert_ne!(key("docker build .", typed, &home), key("DOCKER_CONFIG=/none/y docker build .", typed, &home));
        let none = Sharing::None;
        assert_eq!(key("docker build a", none, &home), key("docker build b", none, &home));
        assert_eq!(key("docker build .", Sharing::NoSync, &home), None);
    }
}
