//! `dependency-outside-context`: a project names a directory that its build cannot see.

use std::path::{Path, PathBuf};

use super::{
    FileFacts, FileRule,
    copies::{ContextCopy, context_copies},
};
use crate::{
    evidence::{
        build_target::normalize,
        dockerfile::{CommandKind, Dockerfile},
        local_dependencies::local_dependencies,
        repository::{File, FileId, FileKind, Repository},
    },
    rules::{Confidence, Docs, Draft, Findings, Meta, Rule, Severity},
};

/// The rule.
#[derive(Debug)]
pub struct DependencyOutsideContext;

static META: Meta = Meta {
    name: "dependency-outside-context",
    severity: Severity::Error,
    summary: "A dependency is a directory that the build context does not hold or the Dockerfile does not copy",
    docs: Docs {
        finds: "\
A dependency on a directory outside of its project (`-e ../shared-libs` in a requirements file, `file:../x` and `link:../x` in package.json, `path =
\"../x\"` in pyproject.toml and Cargo.toml, `replace … => ../x` in go.mod), in a manifest that a Dockerfile copies, where the directory is outside of
the build context, or in it and no COPY takes it (a warning). Named contexts (`additional_contexts`, `--build-context`) and copies from other
stages or images that mention the directory's name count as taking it.",
        matters: "\
A build sees its context and nothing else: `COPY ../shared-libs` is refused, and the install fails with \"not a valid editable requirement\" or \"No
such file or directory\". On the machine where the manifest was written it works, because the directory is there.",
        example: "\
# services/auth/requirements.txt
-e ../shared-libs
# compose.yaml
build: ./services/auth",
        measured: Some(
            "\
Moving the context up is enough for COPY to notice a change of the shared directory: BuildKit compares its contents. No cache-bust argument is
needed for that; the COPY of the shared directory ran again in every replayed build that changed it, but for the context sync's own blind spot
(`sync-blind-spot`).",
        ),
        fix: "\
Build from the directory above both (`context: .`, `dockerfile: services/auth/Dockerfile`), copy the shared directory to where the manifest looks for
it, and write a `.dockerignore` that leaves the other services out. Or give it as a named context: `additional_contexts: {shared: ./shared-libs}`
and `COPY --from=shared . /shared-libs`.",
    },
};

impl Rule for DependencyOutsideContext {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

/// A manifest with the directories that it names: as written, line, resolved.
type Manifest<'a> = (&'a File, Vec<(String, usize, PathBuf)>);

/// What is wrong with one dependency of one image.
enum Lack {
    Outside,
    NotCopied,
}

impl FileRule for DependencyOutsideContext {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        let repository = facts.repository;
        let manifests: Vec<Manifest<'_>> = repository
            .files
            .iter()
            .filter(|file| file.kind == FileKind::Manifest)
            .filter_map(|file| {
                let dir = file.absolute.parent()?;
                let name = file.absolute.file_name()?.to_str()?;
                let found = local_dependencies(name, &file.text).into_iter();
                let found: Vec<_> = found.map(|it| (it.path.clone(), it.line, normalize(&dir.join(&it.path)))).collect();
                (!found.is_empty()).then_some((file, found))
            })
            .collect();
        if manifests.is_empty() {
            return;
        }
        let mut wrong: Vec<(&File, usize, &str, Lack, &File, String)> = Vec::new();
        for (id, file, dockerfile) in repository.dockerfiles() {
            let copies = context_copies(dockerfile);
            for context in repository.contexts_of(id) {
                for (manifest, dependencies) in &manifests {
                    let Some(relative) = relative(&manifest.absolute, &context) else { continue };
                    if !copies.iter().any(|copy| copy.takes(&relative)) {
                        continue;
                    }
                    for (path, line, target) in dependencies {
                        let lack = lacks(repository, id, dockerfile, &copies, &context, target);
                        if let Some(lack) = lack
                            && !wrong.iter().any(|(known, at, ..)| known.absolute == manifest.absolute && at == line)
                        {
                            let shown = context.strip_prefix(&repository.root).unwrap_or(&context).display().to_string();
                            wrong.push((manifest, *line, path, lack, file, if shown.is_empty() { ".".to_owned() } else { shown }));
                        }
                    }
                }
            }
        }
        for (manifest, line, path, lack, dockerfile, context) in wrong {
            let known = repository
                .images
                .iter()
                .any(|image| image.dockerfile.is_some_and(|id| repository.file(id).absolute == dockerfile.absolute));
            let draft = match lack {
                Lack::Outside => Draft::new(format!("{path} is outside of the build context {context}: the build cannot see it")).help(
                    "build from the directory above both (context and dockerfile), or give it as a named context (additional_contexts)",
                ),
                Lack::NotCopied => {
                    Draft::new(format!("{path} is in the build context {context}, but no COPY of {} takes it", dockerfile.path))
                        .severity(Severity::Warning)
                        .help("copy the directory to where this file looks for it, before the install")
                }
            };
            let draft = draft.in_file(manifest, line, line).evidence(format!("{} copies this file", dockerfile.path));
            out.add(&META, draft.confidence(if known { Confidence::Likely } else { Confidence::Possible }));
        }
    }
}

/// A path below a directory, with slashes; `None` where it is elsewhere.
fn relative(path: &Path, dir: &Path) -> Option<String> {
    path.strip_prefix(dir).ok().map(|path| path.to_string_lossy().replace('\\', "/"))
}

fn lacks(
    repository: &Repository,
    id: FileId,
    dockerfile: &Dockerfile,
    copies: &[ContextCopy<'_>],
    context: &Path,
    target: &Path,
) -> Option<Lack> {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Another context, stage or image can bring it; where the text mentions its name, nobody is told that it does not.
    let named = repository.images_of(id).flat_map(|image| image.target.contexts.values()).filter_map(|source| source.local_dir());
    if named.into_iter().any(|dir| target.starts_with(dir) || dir.starts_with(target)) || brought(dockerfile, &name) {
        return None;
    }
    match relative(target, context) {
        None => Some(Lack::Outside),
        // The context itself is what is named.
        Some(inside) if inside.is_empty() => None,
        Some(inside) => (!copies.iter().any(|copy| copy.takes_of(&inside))).then_some(Lack::NotCopied),
    }
}

/// Whether a copy from elsewhere, a mount or a command speaks of a name.
fn brought(dockerfile: &Dockerfile, name: &str) -> bool {
    !name.is_empty()
        && dockerfile.stages.iter().flat_map(|stage| &stage.commands).any(|command| match &command.kind {
            CommandKind::Copy(copy) => copy.from.is_some() && command.text.contains(name),
            CommandKind::Run(_) => command.text.contains(name) || command.heredocs.iter().any(|heredoc| heredoc.content.contains(name)),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    const AUTH: &str = "FROM python:3.12\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY . .\n";

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        Tree::new(files).found("dependency-outside-context")
    }

    #[test]
    fn the_shared_library_of_ten_services() {
        let files = [
            ("compose.yaml", "services:\n  auth:\n    build: ./services/auth\n"),
            ("services/auth/Dockerfile", AUTH),
            ("services/auth/requirements.txt", "requests\n-e ../shared-libs\n"),
            ("services/shared-libs/setup.py", ""),
        ];
        assert_eq!(
            found(&files),
            [
                "services/auth/requirements.txt:2: error: ../shared-libs is outside of the build context services/auth: the build cannot see it"
            ]
        );
        let package = [
            ("web/Dockerfile", "FROM node\nCOPY package.json .\nRUN npm i\n"),
            ("web/package.json", "{\n \"dependencies\": {\n  \"ui\": \"file:../ui\" } }\n"),
        ];
        assert_eq!(found(&package), ["web/package.json:3: error: ../ui is outside of the build context web: the build cannot see it"]);
    }

    #[test]
    fn in_the_context_and_not_copied() {
        let compose = "services:\n  auth:\n    build:\n      context: ./services\n      dockerfile: auth/Dockerfile\n";
        let copy = "FROM python\nCOPY auth/requirements.txt ./\nRUN pip install -r requirements.txt\n";
        let files = |dockerfile: &'static str| {
            [
                ("compose.yaml", compose),
                ("services/auth/Dockerfile", dockerfile),
                ("services/auth/requirements.txt", "-e ../shared-libs\n"),
                ("services/shared-libs/setup.py", ""),
            ]
        };
        let message = "../shared-libs is in the build context services, but no COPY of services/auth/Dockerfile takes it";
        assert_eq!(found(&files(copy)), [format!("services/auth/requirements.txt:1: warning: {message}")]);
        for good in [
            "FROM python\nCOPY shared-libs /shared-libs\nCOPY auth/requirements.txt ./\nRUN pip install -r requirements.txt\n",
            "FROM python\nCOPY shared-libs/setup.py /shared-libs/\nCOPY auth/requirements.txt ./\n",
            "FROM python\nCOPY . .\n",
            "FROM python\nRUN git clone https://example.org/shared-libs /shared-libs\nCOPY auth/requirements.txt ./\n",
            "FROM python\nCOPY auth/src ./\n",
        ] {
            assert!(found(&files(good)).is_empty(), "{good}");
        }
    }

    #[test]
    fn a_named_context_brings_it() {
        let compose = "services:\n  auth:\n    build:\n      context: ./auth\n      additional_contexts:\n        shared: ./shared-libs\n";
        let files = [
            ("compose.yaml", compose),
            ("auth/Dockerfile", "FROM x\nCOPY --from=shared . /libs\nCOPY . .\n"),
            ("auth/requirements.txt", "-e ../shared-libs\n"),
        ];
        assert!(found(&files).is_empty());
        assert!(found(&[("auth/requirements.txt", "-e ../shared-libs\n"), ("Dockerfile", "FROM x\n")]).is_empty());
    }
}
