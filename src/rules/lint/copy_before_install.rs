//! `copy-before-install`: the source is copied before the dependencies are installed.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use regex::Regex;

use super::{
    FileFacts, FileRule,
    copies::{ContextCopy, first_line},
};
use crate::{
    evidence::{
        context::survey::Survey,
        dockerfile::{
            Command, CommandKind, Dockerfile, Stage,
            expand::{Lexer, Variables},
        },
    },
    policy::sources::{is_dependency_file, is_manifest},
    rules::{Confidence, Docs, Draft, Findings, Meta, Rule, Severity},
};

/// The rule.
#[derive(Debug)]
pub struct CopyBeforeInstall;

static META: Meta = Meta {
    name: "copy-before-install",
    severity: Severity::Warning,
    summary: "The source is copied before the dependencies are installed, so that every commit installs them again",
    docs: Docs {
        finds: "\
A RUN that installs dependencies from a manifest or lock file (`npm ci`, `pip install -r`, `bundle install`, `go mod download`, …) or packages
of the system (`apt-get install`, `apk add`), below a COPY or ADD that takes the whole context or a source directory (`.`, `*`, `src`, `app`,
…), in the same stage or in the stage that it is made from. An install of the project itself (`pip install .`, `pip install -e`) needs the
source and is not reported, nor is a copy that the ignore file reduces to manifests. What ONBUILD leaves to the images made from this one counts
like any other instruction.",
        matters: "\
A step is cached only if everything above it is. Below the copy of the source, the install runs again at every commit, although the
dependencies hardly ever change; it is usually the longest step of the build.",
        example: "\
COPY . /app
RUN pip install -r requirements.txt",
        measured: None,
        fix: "\
Copy the manifest and the lock file, install, then copy the rest:

    COPY requirements.txt ./
    RUN pip install -r requirements.txt
    COPY . .

Where the install needs a local package, copy that directory alone before it.",
    },
};

/// Directories that hold a project's own source.
const SOURCE_DIRECTORIES: [&str; 9] = ["src", "app", "lib", "source", "sources", "cmd", "internal", "pkg", "code"];

impl Rule for CopyBeforeInstall {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl FileRule for CopyBeforeInstall {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        for (id, file, dockerfile) in facts.repository.dockerfiles() {
            // Looked at where something stands in the wrong order only: most Dockerfiles are in order.
            if installs_below_copies(dockerfile, &|_| true).is_empty() {
                continue;
            }
            let contexts = facts.repository.contexts_of(id);
            let surveys: Vec<Arc<Survey>> = contexts.iter().filter_map(|context| facts.repository.survey(context, file)).collect();
            for (copy, install, what) in installs_below_copies(dockerfile, &|copy| takes_source(&surveys, copy)) {
                let mut draft = Draft::new(format!("`{what}` runs again at every commit: the source is copied before it"))
                    .in_file(file, install.line, install.end_line)
                    .confidence(Confidence::Certain)
                    .evidence(format!("line {}: {}", copy.command.line, first_line(&copy.command.text)));
                if has_cache_mount(dockerfile, install) {
                    draft = draft.severity(Severity::Note).evidence("its cache mount keeps the downloads");
                }
                let taken = surveys.iter().flat_map(|survey| &survey.files).map(|(path, _)| path.as_str());
                let mut manifests: Vec<&str> = taken.filter(|path| !path.contains('/') && is_manifest(path) && copy.takes(path)).collect();
                manifests.dedup();
                // A system's packages need no file of the context.
                let system = ["apt", "apk", "dnf", "yum", "microdnf"].iter().any(|program| what.starts_with(program));
                let help = match manifests.as_slice() {
                    _ if system => "install the packages before the source is copied".to_owned(),
                    [] => "copy the manifest and the lock file first, install, and copy the source below the install".to_owned(),
                    some => format!(
                        "copy {} first, install, and copy the source below the install",
                        some.iter().take(4).copied().collect::<Vec<_>>().join(" and ")
                    ),
                };
                out.add(&META, draft.help(help));
            }
        }
    }
}

fn has_cache_mount(dockerfile: &Dockerfile, command: &Command) -> bool {
    let CommandKind::Run(run) = &command.kind else { return false };
    let (lexer, none) = (Lexer::new(dockerfile.escape), Variables::new());
    run.mounts.iter().any(|mount| mount.expand(&lexer, &none).is_ok_and(|spec| spec.kind == "cache"))
}

/// What runs in a stage, in order: what the stage that it is made from leaves to it (ONBUILD), then its own; and what it leaves itself.
fn runs<'d>(dockerfile: &'d Dockerfile, stage: &'d Stage) -> [Vec<&'d Command>; 2] {
    let triggers = |stage: &'d Stage| {
        stage.commands.iter().filter_map(|command| match &command.kind {
            CommandKind::Onbuild { trigger, .. } => trigger.as_deref(),
            _ => None,
        })
    };
    let base = dockerfile.stages.iter().find(|other| other.name.as_deref().is_some_and(|name| stage.base.eq_ignore_ascii_case(name)));
    let own = stage.commands.iter().filter(|command| !matches!(command.kind, CommandKind::Onbuild { .. }));
    // A base image that only leaves triggers is judged by them where nothing in the file runs them.
    let used = dockerfile.stages.iter().any(|other| stage.name.as_deref().is_some_and(|name| other.base.eq_ignore_ascii_case(name)));
    [base.into_iter().flat_map(triggers).chain(own).collect(), triggers(stage).filter(|_| !used).collect()]
}

/// The first install of each stage that stands below a copy of the source: the copy, the install, and its command.
fn installs_below_copies<'d>(
    dockerfile: &'d Dockerfile,
    takes_source: &dyn Fn(&ContextCopy<'d>) -> bool,
) -> Vec<(ContextCopy<'d>, &'d Command, String)> {
    let mut found = Vec::new();
    // The copy that each named stage ends with.
    let mut ends: HashMap<&str, Option<ContextCopy<'d>>> = HashMap::new();
    for (number, stage) in dockerfile.stages.iter().enumerate() {
        let start = ends.get(stage.base.to_lowercase().as_str()).copied().flatten();
        for (at, commands) in runs(dockerfile, stage).into_iter().enumerate() {
            let mut copied = start.filter(|_| at == 0);
            let mut said = false;
            for command in commands {
                match &command.kind {
                    CommandKind::Copy(copy) | CommandKind::Add(copy) if copied.is_none() && copy.from.is_none() => {
                        let here = ContextCopy { command, copy, stage: number };
                        if copy.local_sources().any(is_source) && takes_source(&here) {
                            copied = Some(here);
                        }
                    }
                    CommandKind::Run(_) if !said => {
                        if let (Some(copy), Some(what)) = (copied, install(command)) {
                            said = true;
                            found.push((copy, command, what));
                        }
                    }
                    _ => {}
                }
            }
            if let Some(name) = stage.name.as_deref().filter(|_| at == 0) {
                ends.insert(name, copied);
            }
        }
    }
    found
}

/// Whether a copy takes more than manifests, as far as the ignore files leave that open: `*` with `!package.json` leaves nothing else.
fn takes_source(surveys: &[Arc<Survey>], copy: &ContextCopy<'_>) -> bool {
    let only_manifests = |survey: &Arc<Survey>| {
        let mut taken = survey.files.iter().map(|(path, _)| path.as_str()).filter(|path| copy.takes(path)).peekable();
        survey.complete && survey.apart.is_empty() && taken.peek().is_some() && taken.all(is_dependency_file)
    };
    surveys.is_empty() || !surveys.iter().all(only_manifests)
}

/// Whether a source is the whole context or a directory of source.
fn is_source(source: &str) -> bool {
    let source = source.trim_start_matches("./").trim_matches('/');
    source.is_empty() || source == "." || source == "*" || SOURCE_DIRECTORIES.contains(&source)
}

static INSTALL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?x)
        \b(?:
          npm\s+(?:ci|clean-install)\b
        | (?:npm|pnpm|bun)\s+(?:i|install)(?:\s+-\S+)*\s*$
        | yarn(?:\s+install)?(?:\s+-\S+)*\s*$
        | (?:pip[0-9.]*|uv\s+pip)\s+install\b[^&|;]*\s(?:-r|--requirement)[\s=]?\S+
        | (?:poetry|pdm|pipenv|bundle|composer)\s+install\b
        | uv\s+sync\b
        | conda\s+env\s+(?:create|update)\b
        | go\s+mod\s+download\b
        | cargo\s+fetch\b
        | dotnet\s+restore\b
        | mix\s+deps\.get\b
        | (?:mvn|mvnw)\b[^&|;]*\bdependency:\S+
        | (?:gradle|gradlew)\b[^&|;]*\bdependencies\b
        | apt(?:-get)?\s+(?:-\S+\s+)*install\b
        | apk\s+(?:-\S+\s+)*add\b
        | (?:dnf|yum|microdnf)\s+(?:-\S+\s+)*install\b
        )",
    )
    .ok()
});

/// The install in a RUN, as written.
pub(super) fn install(command: &Command) -> Option<String> {
    let CommandKind::Run(run) = &command.kind else { return None };
    let texts = run.arguments.join(" ");
    let heredocs = command.heredocs.iter().flat_map(|heredoc| heredoc.content.lines());
    let pieces = texts.split("&&").flat_map(|piece| piece.split([';', '|', '\n'])).chain(heredocs);
    let regex = INSTALL.as_ref()?;
    for piece in pieces {
        if let Some(found) = regex.find(piece) {
            // The project itself is what is installed.
            let own = piece.split_whitespace().any(|word| matches!(word, "-e" | "--editable" | "." | "./"));
            if !own {
                return Some(found.as_str().trim().chars().take(60).collect());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    fn places(dockerfile: &str) -> Vec<String> {
        Tree::new(&[("Dockerfile", dockerfile)]).places("copy-before-install")
    }

    #[test]
    fn below_a_copy_of_the_source() {
        for (text, line) in [
            ("FROM x\nCOPY . .\nRUN npm ci\n", 3),
            ("FROM x\nADD ./ /app\nRUN cd /app && pip install --no-cache-dir -r requirements.txt\n", 3),
            ("FROM x\nCOPY src /src\nRUN apt-get update && \\\n    apt-get install -y curl\n", 3),
            ("FROM x AS base\nCOPY . .\nFROM base\nRUN yarn install --frozen-lockfile\n", 4),
            ("FROM x\nCOPY . .\nRUN <<EOF\nset -e\ngo mod download\nEOF\n", 3),
        ] {
            assert_eq!(places(text), [format!("Dockerfile:{line}")], "{text}");
        }
    }

    #[test]
    fn above_it_or_none_at_all() {
        for text in [
            "FROM x\nCOPY package*.json ./\nRUN npm ci\nCOPY . .\nRUN npm run build\n",
            "FROM x\nCOPY --from=build /app .\nRUN apk add curl\n",
            "FROM x\nCOPY . .\nRUN pip install -e .\n",
            "FROM x\nCOPY . .\nRUN pip install .\n",
            "FROM x\nCOPY prisma ./prisma\nCOPY package.json .\nRUN npm ci\n",
            "FROM x\nCOPY . .\nRUN npm install -g pm2\n",
            "FROM x AS a\nCOPY . .\nFROM x\nRUN npm ci\n",
            "FROM x\nCOPY . .\n# bklog: ignore[copy-before-install] tiny\nRUN npm ci\n",
        ] {
            assert!(places(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_the_ignore_file_leaves_is_what_is_copied() {
        let files =
            [("Dockerfile", "FROM x\nCOPY . .\nRUN npm ci\n"), ("package.json", "{}"), ("package-lock.json", "{}"), ("src/a.js", "")];
        let tree = Tree::new(&files);
        assert_eq!(tree.places("copy-before-install"), ["Dockerfile:3"]);
        let finding = tree.findings().into_iter().find(|finding| finding.rule == "copy-before-install").unwrap();
        assert_eq!(finding.help, "copy package-lock.json and package.json first, install, and copy the source below the install");
        let ignore = |text| Tree::new(&[files.as_slice(), &[(".dockerignore", text)]].concat()).places("copy-before-install");
        assert!(ignore("*\n!package*.json\n").is_empty());
        assert_eq!(ignore("*\n!package*.json\n!src\n"), ["Dockerfile:3"]);
    }

    #[test]
    fn onbuild() {
        assert_eq!(places("FROM x\nONBUILD COPY . /app\nONBUILD RUN npm ci\n"), ["Dockerfile:3"]);
        assert_eq!(places("FROM x AS b\nONBUILD COPY . /app\nFROM b\nRUN npm ci\n"), ["Dockerfile:4"]);
        assert!(places("FROM x\nONBUILD COPY package.json /app\nONBUILD RUN npm ci\nONBUILD COPY . /app\n").is_empty());
        assert!(places("FROM x\nONBUILD COPY . /app\nRUN npm ci\n").is_empty(), "the trigger runs in another build");
    }

    #[test]
    fn a_cache_mount_makes_it_a_note() {
        let tree = Tree::new(&[("Dockerfile", "FROM x\nCOPY . .\nRUN --mount=type=cache,target=/root/.npm npm ci\n")]);
        assert_eq!(
            tree.found("copy-before-install"),
            ["Dockerfile:3: note: `npm ci` runs again at every commit: the source is copied before it"]
        );
    }
}
