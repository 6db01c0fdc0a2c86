//! What the builds of one log are called where no bake or compose target names their steps.
//!
//! A script that builds ten services one after the other makes one log with ten builds. Their steps are called alike (`[2/4] COPY . .`), and
//! so are ten times for ten things. Such a build gets the name of what it builds, in this order: the service that its command names, the
//! image that it makes, the Dockerfile or the context, its place in the log. The name is that of the target in the ledger, so every
//! question that can be asked of a target can be asked of it.
//!
//! A log with one build needs no name: what is said of the run is said of the build.

use std::{collections::BTreeMap, path::Path};

use super::identity::normal;
use crate::{
    build::Build,
    evidence::{
        build_command::BuildCommand,
        build_target::{BuildTarget, ContextSource},
        image_name,
    },
};

/// What the command of a build says of it beside its log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Called {
    /// The service of a compose file or the target of a bake file.
    service: Option<String>,
    /// The first name of the image.
    image: Option<String>,
    /// The Dockerfile, or the context where that has the usual name.
    place: Option<String>,
}

impl Called {
    /// What a command says. Paths are named as they are below `cwd`.
    pub fn new(command: &BuildCommand, cwd: &Path) -> Self {
        match command.targets.as_slice() {
            [target] => Self { service: target.name.clone(), image: target.tags.first().cloned(), place: place(target, cwd) },
            // Of several targets the log says itself which step is whose.
            _ => Self::default(),
        }
    }
}

/// The name of each build: `None` for the only build of a log, and for one whose steps name their targets. `called` holds what is known of
/// the commands of the builds, in their order; it may be shorter.
pub fn build_names(builds: &[Build], called: &[Option<Called>]) -> Vec<Option<String>> {
    let mut candidates: Vec<Option<Vec<String>>> = vec![None; builds.len()];
    if builds.len() > 1 {
        for (at, build) in builds.iter().enumerate() {
            if build.steps.iter().all(|step| step.parts.target.is_none()) {
                let called = called.get(at).and_then(Option::as_ref);
                candidates[at] = Some(names(build, called, at));
            }
        }
    }
    let mut level = vec![0_usize; builds.len()];
    // Two builds of one short name are told apart by longer ones, as far as there are any; what still has one name then is one thing
    // that was built twice.
    loop {
        let mut users: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, names) in candidates.iter().enumerate() {
            if let Some(name) = names.as_ref().and_then(|names| names.get(level[at])) {
                users.entry(name).or_default().push(at);
            }
        }
        let longer = |at: &usize| candidates[*at].as_ref().is_some_and(|names| level[*at] + 1 < names.len());
        let differ =
            |users: &Vec<usize>| users.len() > 1 && users.iter().any(|at| candidates[*at].as_ref() != candidates[users[0]].as_ref());
        let clash: Vec<usize> = users.values().filter(|users| differ(users)).flatten().copied().filter(|at| longer(at)).collect();
        if clash.is_empty() {
            break;
        }
        clash.into_iter().for_each(|at| level[at] += 1);
    }
    candidates.into_iter().zip(level).map(|(names, level)| names?.into_iter().nth(level)).collect()
}

/// What a build can be called, the shortest first.
fn names(build: &Build, called: Option<&Called>, at: usize) -> Vec<String> {
    if let Some(service) = called.and_then(|called| called.service.clone()) {
        return vec![service];
    }
    let image = called.and_then(|called| called.image.as_deref()).or(build.image.names.first().map(String::as_str));
    if let Some(names) = image.map(image_names).filter(|names| !names.is_empty()) {
        return names;
    }
    if let Some(place) = called.and_then(|called| called.place.clone()) {
        return vec![place];
    }
    if let Some(file) = build.steps.iter().find_map(|step| dockerfile(&step.name)) {
        return vec![file.to_owned()];
    }
    vec![format!("build {}", at + 1)]
}

/// What a build can be called by the image that it makes, the shortest first; empty where nothing of the name is the same in every run.
///
/// `h:5000/team/api:test`: `api`, `team/api`, `h:5000/team/api`, `h:5000/team/api:test`. What differs from run to run is left out.
pub fn image_names(image: &str) -> Vec<String> {
    let name = image_name::short(image);
    let slash = name.rfind('/').map_or(0, |slash| slash + 1);
    let (repository, tag) = match name[slash..].split_once(':') {
        Some((last, tag)) => (&name[..slash + last.len()], Some(tag)),
        None => (name, None),
    };
    let starts = std::iter::once(0).chain(repository.match_indices('/').map(|(slash, _)| slash + 1));
    let mut names: Vec<String> = starts.map(|start| normal(&repository[start..])).filter(|name| !name.is_empty()).collect();
    names.reverse();
    let tag = tag.map(normal).filter(|tag| tag.chars().any(char::is_alphanumeric));
    names.extend(tag.map(|tag| format!("{}:{tag}", normal(repository))));
    names
}

/// `-f services/api/Dockerfile .` is `services/api`, `-f api.Dockerfile .` is `api.Dockerfile`, `services/api` is itself.
fn place(target: &BuildTarget, cwd: &Path) -> Option<String> {
    let below = |path: &Path| {
        let shown = path.strip_prefix(cwd).ok().or_else(|| path.file_name().map(Path::new))?;
        Some(shown.to_string_lossy().replace('\\', "/")).filter(|text| !text.is_empty())
    };
    let file = target.dockerfile_path.as_deref();
    let usual = file.is_none_or(|file| file.file_name().is_some_and(|name| name == "Dockerfile"));
    let of_file = if usual { file.and_then(Path::parent).and_then(below) } else { file.and_then(below) };
    of_file.or_else(|| match &target.context {
        ContextSource::Dir { path, .. } => below(path),
        _ => None,
    })
}

/// The Dockerfile that a build loaded, where it has not the usual name.
fn dockerfile(step: &str) -> Option<&str> {
    let file = step.strip_prefix("[internal] load build definition from ")?;
    (file != "Dockerfile" && !file.is_empty()).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{build::collect::Collector, evidence::build_command, log::Reader};

    /// A log of builds that are called alike, each with the Dockerfile and the image that it names.
    fn builds(of: &[(&str, &str)]) -> Vec<Build> {
        let mut builds = Vec::new();
        let mut reader = Reader::new(Collector::new(|build: Build| builds.push(build)));
        for (file, image) in of {
            let naming = if image.is_empty() { String::new() } else { format!("#4 naming to {image} done\n") };
            let text = format!(
                "#1 [internal] load build definition from {file}\n#1 DONE 0.0s\n\n#2 [1/2] FROM a\n#2 CACHED\n\n#3 [2/2] RUN x\n#3 DONE 0.1s\n\n\
                 #4 exporting to image\n#4 exporting layers done\n{naming}#4 DONE 0.0s\n"
            );
            reader.feed(text.as_bytes());
        }
        drop(reader.finish());
        assert_eq!(builds.len(), of.len());
        builds
    }

    fn named(of: &[(&str, &str)], commands: &[&str]) -> Vec<String> {
        let cwd = Path::new("/repo");
        let called: Vec<Option<Called>> =
            commands.iter().map(|text| Some(Called::new(&build_command::parse(text, cwd, &|_| None).unwrap(), cwd))).collect();
        build_names(&builds(of), &called).into_iter().map(Option::unwrap_or_default).collect()
    }

    const D: &str = "Dockerfile";

    #[test]
    fn the_image_names_the_build() {
        let log = [(D, "docker.io/library/api:latest"), (D, "registry.example.org:5000/team/web:9f2c1e4"), (D, "ghcr.io/team/jobs:v1.2")];
        assert_eq!(named(&log, &[]), ["api", "web", "jobs"]);
        assert_eq!(named(&log[..1], &[]), [""], "one build is the run");
    }

    #[test]
    fn as_much_of_the_name_as_tells_builds_apart() {
        assert_eq!(named(&[(D, "a/app:1"), (D, "b/app:1"), (D, "c/other")], &[]), ["a/app", "b/app", "other"]);
        assert_eq!(named(&[(D, "app:test"), (D, "app:latest")], &[]), ["app:test", "app"]);
        assert_eq!(named(&[(D, "h/app:9f2c1e4"), (D, "h/app:test-9f2c1e4")], &[]), ["h/app", "h/app:test-*"]);
        assert_eq!(named(&[(D, "h/app:9f2c1e4"), (D, "h/app:9f2c1e4")], &[]), ["app", "app"], "the same image, built again");
    }

    #[test]
    fn without_an_image_the_command_or_the_place_names_it() {
        let none = [(D, ""), (D, ""), ("web.Dockerfile", "")];
        assert_eq!(named(&none, &[]), ["build 1", "build 2", "web.Dockerfile"]);
        let commands =
            ["docker build services/api", "docker build -f services/web/Dockerfile .", "docker build -f docker/jobs.Dockerfile ."];
        assert_eq!(named(&none, &commands), ["services/api", "services/web", "docker/jobs.Dockerfile"]);
        let commands = ["docker build .", "cd lib && docker build .", "docker build -t team/jobs:1 jobs"];
        assert_eq!(named(&none, &commands), ["build 1", "lib", "jobs"], "the command says what a failed build would have been called");
    }
}
