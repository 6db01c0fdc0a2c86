//! `stale-run`: remote code in a step that the cache answered.

use super::{Confidence, Docs, Draft, Facts, FileFacts, FileRule, Findings, LogRule, Meta, Rule, Severity};
use crate::{
    build::{Status, is_remote},
    evidence::{
        dockerfile::{Command, CommandKind, Stage},
        remote_code::{self, Fetch},
        repository::{FileId, Repository},
    },
};

/// The rule.
#[derive(Debug)]
pub struct StaleRun;

static META: Meta = Meta {
    name: "stale-run",
    severity: Severity::Warning,
    summary: "A cached step fetches remote code that nothing pins: it may be old",
    docs: Docs {
        finds: "\
A RUN that is CACHED and fetches code from elsewhere without saying which: `git clone` without a commit, `curl` or `wget` of a URL without
a version or a checked digest, `pip install git+…`, `go install …@latest`, `npm install github:…`. And an ADD of such a URL without
`--checksum` (a note). In the files of a repository: the same RUN and ADD, unless a build argument whose value a script or file passes
anew stands above it, which makes it run again.

Pinned, and so no finding: a commit id (`git checkout 4f2c…`, `git+https://…@4f2c…`), a digest that is checked (`sha256sum -c`,
`--require-hashes`), a version in the URL or the tag.",
        matters: "\
BuildKit keys a RUN by its text. What the remote holds today is no part of the text, so the layer keeps what was there when it was built,
for as long as the cache lives; also on a new machine, if the cache is imported.",
        example: "\
#6 [2/5] RUN git clone -q https://git.example/lib.git /lib-src
#6 CACHED",
        measured: Some(
            "\
The logs of a fresh and of a stale build are the same here, so this is `possible`, never more. With the image (`--image ARCHIVE`) the finding
says when the layer was made, and at which commit a clone in it is; compare that with `git ls-remote`.
ADD of a URL is another matter: BuildKit asks the server at every build and was stale only where the server repeated its ETag for changed
content (then DONE can be stale too).",
        ),
        fix: "\
Name what is wanted: `ARG LIB_COMMIT`, then `git clone … && git checkout $LIB_COMMIT`, and pass the commit; it then runs when the commit
changes and is cached when it does not. Or `ADD --checksum=sha256:… URL`, or `ADD https://git.example/lib.git#4f2c…`.",
    },
};

impl Rule for StaleRun {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for StaleRun {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in &facts.builds {
            for step in build.commands() {
                if facts.is_raised(&["stale-run"], build.number, Some(step.index)) {
                    continue;
                }
                match step.parts.keyword {
                    Some("RUN") if step.status == Status::Cached => {
                        let fetches = remote_code::fetches(step.instruction());
                        let Some(Fetch { what, .. }) = fetches.iter().find(|fetch| fetch.pin.is_none()) else { continue };
                        let draft = Draft::new(format!("`{what}` was not run: the layer holds what was there when it was built"));
                        let draft = draft
                            .confidence(Confidence::Possible)
                            .step(build, step)
                            .evidence("the step is CACHED, and nothing in it says which version is wanted");
                        out.add(&META, draft.help("pin it: a commit id, a version, or a digest that is checked"));
                    }
                    Some("ADD") if matches!(step.status, Status::Cached | Status::Done) => {
                        let text = step.instruction();
                        let url = step.parts.sources.iter().find(|source| is_remote(source) && remote_code::pin_of_url(source).is_none());
                        let Some(url) = url.filter(|_| !text.contains("--checksum=")) else { continue };
                        let draft = Draft::new(format!("{url} is as new as its server says"));
                        let draft = draft.severity(Severity::Note).confidence(Confidence::Possible).step(build, step);
                        let draft = draft.evidence(
                            "BuildKit asks the server at every build; a server that repeats its ETag for changed content is believed",
                        );
                        out.add(&META, draft.help("ADD --checksum=sha256:… makes sure of the content"));
                    }
                    _ => {}
                }
            }
        }
    }
}

impl FileRule for StaleRun {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        for (id, file, dockerfile) in facts.repository.dockerfiles() {
            for stage in &dockerfile.stages {
                for (at, command) in stage.commands.iter().enumerate() {
                    if renewed(facts.repository, id, stage, at) {
                        break;
                    }
                    let draft = match &command.kind {
                        CommandKind::Run(_) => {
                            let text = text(command);
                            let fetches = remote_code::fetches(&text);
                            let Some(Fetch { what, .. }) = fetches.iter().find(|fetch| fetch.pin.is_none()) else { continue };
                            Draft::new(format!("`{what}` names no version: the cache keeps what it fetched first"))
                                .evidence("a RUN is cached by its text; what the remote holds today is no part of it")
                                .help("pin it: a commit id, a version, or a digest that is checked")
                        }
                        CommandKind::Add(add) if add.checksum.is_none() => {
                            // A git repository is resolved at every build.
                            let moves =
                                |source: &&String| is_remote(source) && !is_git(source) && remote_code::pin_of_url(source).is_none();
                            let Some(url) = add.sources.iter().find(moves) else { continue };
                            Draft::new(format!("{url} is as new as its server says"))
                                .severity(Severity::Note)
                                .evidence(
                                    "BuildKit asks the server at every build; one that repeats its ETag for changed content is believed",
                                )
                                .help("ADD --checksum=sha256:… makes sure of the content")
                        }
                        _ => continue,
                    };
                    out.add(&META, draft.confidence(Confidence::Possible).in_file(file, command.line, command.end_line));
                }
            }
        }
    }
}

/// The text of a RUN with its heredocs.
fn text(command: &Command) -> String {
    let CommandKind::Run(run) = &command.kind else { return String::new() };
    let heredocs = command.heredocs.iter().map(|heredoc| heredoc.content.as_str());
    run.arguments.iter().map(String::as_str).chain(heredocs).collect::<Vec<_>>().join("\n")
}

/// Whether an argument that is declared above a command gets a value that can be another one in each build.
fn renewed(repository: &Repository, id: FileId, stage: &Stage, at: usize) -> bool {
    let declared = |name: &str| {
        stage.commands[..at]
            .iter()
            .any(|command| matches!(&command.kind, CommandKind::Arg(args) if args.iter().any(|(known, _)| known == name)))
    };
    let open = |value: &Option<String>| value.as_deref().is_none_or(|value| value.contains(['$', '`']) || value.contains("{{"));
    repository.images_of(id).flat_map(|image| &image.target.args).any(|arg| open(&arg.value) && declared(&arg.name))
}

/// A git repository, by its URL (BuildKit `dfgitutil.ParseGitRef`).
fn is_git(source: &str) -> bool {
    let bare = source.split(['#', '?']).next().unwrap_or(source);
    bare.ends_with(".git") || ["git://", "ssh://"].iter().any(|scheme| source.starts_with(scheme)) || !source.contains("://")
}

#[cfg(test)]
mod tests {
    use super::super::{
        lint::testing::Tree,
        testing::{Case, log},
    };

    #[test]
    fn in_files() {
        let text = "FROM x\nARG REV\nRUN apk add git && git clone -q https://h/l.git /l\nADD https://h/f.txt /f\nADD https://h/l.git#main /g\nRUN curl -LO https://h/x-1.2.tgz\nRUN <<EOF\nwget https://h/a.sh\nEOF\n";
        let tree = Tree::new(&[("Dockerfile", text)]);
        assert_eq!(tree.places("stale-run"), ["Dockerfile:3", "Dockerfile:4", "Dockerfile:7"]);
        assert!(tree.found("stale-run")[1].contains(": note: "));
        let passed = |script| Tree::new(&[("Dockerfile", text), ("b.sh", script)]).places("stale-run").len();
        assert_eq!(passed("docker build --build-arg REV=$(git rev-parse HEAD) .\n"), 0);
        assert_eq!(passed("docker build --build-arg REV=1 .\n"), 3, "the same value every time");
        assert_eq!(passed("docker build --build-arg OTHER=$X .\n"), 3);
    }

    #[test]
    fn cached_and_unpinned() {
        let case = Case::new(log(&[
            "[1/6] FROM x | DONE 0.0s",
            "[2/6] RUN git clone -q http://127.0.0.1:8099/lib.git /lib | CACHED",
            "[3/6] RUN git clone http://h/l.git /l && git -C /l checkout 0123456789abcdef0123456789abcdef01234567 | CACHED",
            "[4/6] RUN curl -fsSL https://h/install.sh | DONE 1.0s",
            "[5/6] ADD http://h/f.txt /f | CACHED",
            "[6/6] ADD --checksum=sha256:00 http://h/g.txt /g | CACHED",
        ]));
        let indices: Vec<_> = case.findings().iter().map(|f| (f.rule, f.in_log.as_ref().unwrap().index)).collect();
        assert_eq!(indices, [("stale-run", Some(2)), ("stale-run", Some(5))]);
    }
}
