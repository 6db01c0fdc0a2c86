//! The builds that the files of a repository ask for, each with its Dockerfile: what rules about build arguments look at.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::{
    evidence::{
        build_command::ClientKind,
        build_target::{BuildTarget, ContextSource},
        repository::{File, FileId, Image, NamedBy, Repository},
    },
    rules::{Draft, FileFacts, Findings, Meta, SourceFile, TargetFacts},
};

/// One build, or a Dockerfile that nothing in the repository builds.
pub(in crate::rules) struct FileBuild<'r, 's> {
    /// What builds it; `None` where nothing here does: a hosted platform may.
    pub image: Option<&'r Image>,
    /// The Dockerfile's file.
    pub file: &'r File,
    /// The request and the Dockerfile.
    pub target: TargetFacts<'s>,
}

impl FileBuild<'_, '_> {
    /// Whether an argument is passed, or can be: nothing here builds the file, or a variable of the command may hold anything.
    pub fn may_pass(&self, name: &str) -> bool {
        self.image.is_none_or(|image| image.open || image.target.args.iter().any(|arg| arg.name == name))
    }

    /// What people call it: the service, or its Dockerfile.
    pub fn name(&self) -> String {
        self.target.name().map_or_else(|| self.file.path.clone(), str::to_owned)
    }
}

/// The images that something builds: a service or target that a command builds too is there by its commands alone.
pub(in crate::rules) fn effective(repository: &Repository) -> Vec<&Image> {
    let by_call = |image: &Image| matches!(image.by, NamedBy::Action | NamedBy::Command(ClientKind::Compose | ClientKind::Bake));
    let called: HashSet<_> =
        repository.images.iter().filter(|image| by_call(image)).filter_map(|image| image.target.place.as_ref()).collect();
    let defined = |image: &Image| matches!(image.by, NamedBy::Compose | NamedBy::Bake);
    let hidden = |image: &Image| defined(image) && image.target.place.as_ref().is_some_and(|place| called.contains(place));
    repository.images.iter().filter(|image| !hidden(image)).collect()
}

/// Looks at every build whose Dockerfile is known, then at the Dockerfiles that nothing builds.
pub(in crate::rules) fn each<'r>(facts: &FileFacts<'r>, mut look: impl FnMut(&FileBuild<'r, '_>)) {
    let repository = facts.repository;
    let mut sources: BTreeMap<FileId, SourceFile> = BTreeMap::new();
    for (id, file, dockerfile) in repository.dockerfiles() {
        let source = SourceFile { path: file.path.clone(), text: file.text.clone(), dockerfile: dockerfile.clone() };
        sources.insert(id, source);
    }
    let mut built: BTreeSet<FileId> = BTreeSet::new();
    for image in effective(repository) {
        let Some((id, source)) = image.dockerfile.and_then(|id| Some((id, sources.get(&id)?))) else { continue };
        built.insert(id);
        let file = repository.file(id);
        look(&FileBuild { image: Some(image), file, target: TargetFacts::new(&image.target, Some(source)) });
    }
    for (id, source) in sources.iter().filter(|(id, _)| !built.contains(id)) {
        let file = repository.file(*id);
        let dir = file.absolute.parent().unwrap_or(&repository.root);
        let target = BuildTarget::new(ContextSource::dir(".", dir));
        look(&FileBuild { image: None, file, target: TargetFacts::new(&target, Some(source)) });
    }
}

/// The place and the value of an argument that a build passes as a constant.
pub(in crate::rules) fn constant<'a>(facts: &FileFacts<'a>, image: &Image, name: &str) -> Option<(&'a File, usize, String)> {
    let arg = image.target.args.iter().find(|arg| arg.name == name)?;
    let value = arg.value.as_deref().filter(|value| !value.is_empty() && !value.contains(['$', '`']))?;
    let (file, line) = place(facts, image, name);
    // The value of a variable as the text has it: another one can be given.
    let written = file.text.lines().nth(line.saturating_sub(1))?;
    let after = &written[written.find(name)? + name.len()..];
    (!after.contains(['$', '`']) && after.contains(value)).then(|| (file, line, value.to_owned()))
}

/// Where an argument of a build is written.
pub(in crate::rules) fn place<'a>(facts: &FileFacts<'a>, image: &Image, name: &str) -> (&'a File, usize) {
    let repository = facts.repository;
    let arg = image.target.args.iter().find(|arg| arg.name == name);
    let written = arg.and_then(|arg| arg.place.as_ref()).and_then(|place| Some((repository.at(&place.file)?, place.line)));
    match written {
        Some((file, line)) => (repository.file(file), line),
        None => {
            let file = repository.file(image.file);
            (file, file.line_with(image.line, image.end_line, name))
        }
    }
}

/// Adds each finding once: one Dockerfile can be built by many commands.
#[derive(Debug, Default)]
pub(in crate::rules) struct Once(HashSet<String>);

impl Once {
    /// Adds a finding unless the same was said of the same place.
    pub fn add(&mut self, meta: &'static Meta, draft: Draft, out: &mut Findings<'_>) {
        if self.0.insert(draft.key()) {
            out.add(meta, draft);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    const DOCKERFILE: &str = "FROM x\nARG CACHEBUST=1\nRUN echo $CACHEBUST\nCOPY . .\n";

    fn found(rule: &str, dockerfile: &str, script: &str) -> Vec<String> {
        Tree::new(&[("Dockerfile", dockerfile), ("b.sh", script)]).found(rule)
    }

    #[test]
    fn a_bust_that_is_not_passed() {
        let missing = |script: &str| found("bust-missing", DOCKERFILE, script);
        assert_eq!(missing("docker build .\n"), ["b.sh:1: warning: CACHEBUST is not passed to the build of Dockerfile"]);
        for script in
            ["docker build --build-arg CACHEBUST=$(date +%s) .", "docker build --build-arg CACHEBUST .", "docker build $ARGS .", "echo"]
        {
            assert!(missing(script).is_empty(), "{script}");
        }
        let tree = Tree::new(&[("Dockerfile", "FROM x\n"), ("b.sh", "docker build .\n")]).policy("[bust]\nrequired = [\"GIT_SHA\"]");
        assert_eq!(tree.found("bust-missing"), ["b.sh:1: error: GIT_SHA is not passed to the build of Dockerfile"]);
    }

    #[test]
    fn a_service_counts_by_the_commands_that_build_it() {
        let compose = "services:\n  a:\n    build: .\n";
        let tree =
            |script: &str| Tree::new(&[("Dockerfile", DOCKERFILE), ("compose.yaml", compose), ("b.sh", script)]).places("bust-missing");
        assert_eq!(tree("echo\n"), ["compose.yaml:2"]);
        assert_eq!(tree("docker compose up --build\n"), ["b.sh:1"]);
        assert!(tree("docker compose build --build-arg CACHEBUST=$(date +%s)\n").is_empty());
    }

    #[test]
    fn a_constant_bust() {
        let constant = |script: &str| found("bust-ineffective", DOCKERFILE, script);
        assert_eq!(
            constant("docker build \\\n  --build-arg CACHEBUST=7 .\n"),
            ["b.sh:2: warning: CACHEBUST=7 is the same at every build: it busts once"]
        );
        for script in ["V=$(date +%s)\ndocker build --build-arg CACHEBUST=$V .", "V=${1:-1}\ndocker build --build-arg CACHEBUST=$V ."] {
            assert!(constant(script).is_empty(), "{script}");
        }
    }

    #[test]
    fn where_it_stands() {
        let bust = "docker build --build-arg CACHEBUST=$(date +%s) .\n";
        for (rule, dockerfile, line) in [
            ("bust-misplaced", "FROM x\nCOPY . .\nARG CACHEBUST=1\nRUN echo $CACHEBUST\n", 3),
            ("bust-ineffective", "ARG CACHEBUST=1\nFROM x\nRUN echo $CACHEBUST\nCOPY . .\n", 1),
            ("bust-ineffective", "FROM x\nARG CACHEBUST=1\nCOPY . .\n", 2),
            ("bust-ineffective", "FROM x\nARG CACHEBUST=1\nENV CACHEBUST=2\nRUN echo $CACHEBUST\nCOPY . .\n", 3),
        ] {
            let places = Tree::new(&[("Dockerfile", dockerfile), ("b.sh", bust)]).places(rule);
            assert_eq!(places, [format!("Dockerfile:{line}")], "{rule}: {dockerfile}");
            // Nothing here builds it: a hosted platform may pass it.
            assert_eq!(Tree::new(&[("Dockerfile", dockerfile)]).places(rule), [format!("Dockerfile:{line}")], "{rule}: {dockerfile}");
        }
        for rule in ["bust-misplaced", "bust-ineffective", "bust-missing"] {
            assert!(found(rule, DOCKERFILE, bust).is_empty(), "{rule}");
            assert!(found(rule, "FROM x\nCOPY . .\nARG CACHEBUST\nRUN git clone https://h/r\n", bust).is_empty(), "{rule}");
        }
    }
}
