//! `weak-dockerignore`: the whole context is copied, and too little is left out.

use super::{
    FileFacts, FileRule,
    copies::{context_copies, first_line},
};
use crate::{
    evidence::context::survey::{ApartKind, Survey},
    rules::{Confidence, Docs, Draft, Findings, Meta, Rule, Severity},
    units,
};

/// The rule.
#[derive(Debug)]
pub struct WeakDockerignore;

static META: Meta = Meta {
    name: "weak-dockerignore",
    severity: Severity::Warning,
    summary: "The whole context is copied, with files that nobody means to send",
    docs: Docs {
        finds: "\
A COPY or ADD of the whole context (`.`, `/`, `*`) whose ignore file (`NAME.dockerignore` beside the Dockerfile, else `.dockerignore` in the
context) leaves in git's own files, installed dependencies (`node_modules`, virtual environments) or the caches of tools, or where there is no
ignore file at all. It says how many files and bytes would be sent from the tree as it is now; what is not there now cannot be counted. A
context without an ignore file that holds none of these is a note, a warning from 50 MB or 5,000 files on.",
        matters: "\
Every file that is copied counts for the cache. `.git` changes with every commit, fetch and checkout, a tool's cache with every run: the COPY and
everything below it then runs again although no source changed. `node_modules` of the host replaces what the build has installed. And all of
it is sent to the builder, hashed, and kept in the image, the history of the repository included.",
        example: "\
COPY . /app
# no .dockerignore: .git goes along (4,118 files, 96.0 MB)",
        measured: Some(
            "\
BuildKit leaves out nothing by itself, not even `.git`, `.dockerignore` or the Dockerfile: a changed Dockerfile makes `COPY . .` run again. It
sends only what COPY, ADD and bind mounts name, so a large context costs nothing where only parts are copied. Times and owners of files are not
part of the hash; names, contents and modes are, empty directories too.",
        ),
        fix: "\
Write a `.dockerignore` beside the Dockerfile's context:

    .git
    **/node_modules
    **/__pycache__
    .venv
    .env*

or turn it round: `*` first, then `!src`, `!package.json` and what else the image needs.",
    },
};

/// From here on a context without an ignore file deserves a look.
const LARGE_BYTES: u64 = 50_000_000;
/// The same for the number of files.
const LARGE_FILES: usize = 5_000;

impl Rule for WeakDockerignore {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl FileRule for WeakDockerignore {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        for (id, file, dockerfile) in facts.repository.dockerfiles() {
            let Some(copy) = context_copies(dockerfile).into_iter().find(|copy| copy.takes_all() && copy.copy.excludes.is_empty()) else {
                continue;
            };
            let known = facts.repository.images_of(id).next().is_some();
            for context in facts.repository.contexts_of(id) {
                let Some(survey) = facts.repository.survey(&context, file) else { continue };
                let Some((severity, message)) = judge(&survey, &first_line(&copy.command.text)) else { continue };
                let mut draft = Draft::new(message).severity(severity).in_file(file, copy.command.line, copy.command.end_line);
                draft = draft.confidence(if known { Confidence::Certain } else { Confidence::Likely });
                draft = draft.evidence(match &survey.ignore_file {
                    Some(path) => format!("{} does not leave them out", path.file_name().unwrap_or_default().to_string_lossy()),
                    None => "there is no .dockerignore".to_owned(),
                });
                for apart in survey.apart.iter().take(5) {
                    let why = match apart.kind {
                        ApartKind::Git => "changes with every commit, fetch and checkout, and so the COPY runs again",
                        ApartKind::Dependencies => "was installed for this machine; the build installs its own",
                        ApartKind::Cache => "changes whenever the tool runs, and so the COPY runs again",
                    };
                    let more = if survey.complete { "" } else { "at least " };
                    draft = draft.evidence(format!(
                        "{}: {more}{}, {}: {why}",
                        apart.path,
                        units::count(apart.files, "file"),
                        units::bytes(apart.bytes)
                    ));
                }
                if survey.apart.len() > 5 {
                    draft = draft.evidence(format!("and {} more", survey.apart.len() - 5));
                }
                let names: Vec<&str> = survey.apart.iter().map(|apart| apart.path.rsplit('/').next().unwrap_or_default()).collect();
                let help = match (&survey.ignore_file, names.first()) {
                    (Some(_), Some(name)) => format!("add {name} to it (**/{name} where it is in a subdirectory)"),
                    (None, Some(name)) => format!("write a .dockerignore that names {name}, or copy only what the image needs"),
                    (_, None) => "write a .dockerignore, or copy only what the image needs".to_owned(),
                };
                out.add(&META, draft.help(help));
                break;
            }
        }
    }
}

/// How bad it is, and what to say; `None` where nothing is wrong.
fn judge(survey: &Survey, copy: &str) -> Option<(Severity, String)> {
    let (files, bytes) = survey.totals();
    let more = if survey.complete { "" } else { "more than " };
    let total = format!("{more}{}, {}", units::count(files, "file"), units::bytes(bytes));
    if !survey.apart.is_empty() {
        let mut names: Vec<&str> = survey.apart.iter().map(|apart| apart.path.rsplit('/').next().unwrap_or_default()).collect();
        names.sort_unstable();
        names.dedup();
        let rest = names.len().saturating_sub(3);
        let listed = names.into_iter().take(3).collect::<Vec<_>>().join(", ");
        let others = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        return Some((Severity::Warning, format!("`{copy}` takes {listed}{others} too: {total} in all")));
    }
    let unfiltered = survey.ignore_file.is_none();
    let large = !survey.complete || files >= LARGE_FILES || bytes >= LARGE_BYTES;
    // The Dockerfile itself is always there.
    (unfiltered && files > 1).then(|| {
        let severity = if large { Severity::Warning } else { Severity::Note };
        (severity, format!("`{copy}` takes all that is in the context, and no ignore file leaves anything out: {total}"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    const COPY: &str = "FROM x\nCOPY . /app\n";

    #[test]
    fn says_what_would_be_sent() {
        let tree = Tree::new(&[
            ("api/Dockerfile", COPY),
            ("api/a.py", "1234"),
            ("api/.git/HEAD", "12345"),
            ("api/web/node_modules/x/i.js", "123"),
        ]);
        assert_eq!(
            tree.found("weak-dockerignore"),
            ["api/Dockerfile:2: warning: `COPY . /app` takes .git, node_modules too: 4 files, 31 B in all"]
        );
        let finding = tree.findings().into_iter().find(|finding| finding.rule == "weak-dockerignore").unwrap();
        assert_eq!(finding.evidence[0], "there is no .dockerignore");
        assert!(finding.evidence[1].starts_with(".git: 1 file, 5 B: changes with every commit"), "{:?}", finding.evidence);
        let tree = Tree::new(&[("Dockerfile", COPY), ("a.py", "1234")]);
        let message = "`COPY . /app` takes all that is in the context, and no ignore file leaves anything out: 2 files, 23 B";
        assert_eq!(tree.found("weak-dockerignore"), [format!("Dockerfile:2: note: {message}")]);
    }

    #[test]
    fn the_context_of_the_image_and_its_ignore_file_count() {
        let compose = "services:\n  api:\n    build:\n      context: .\n      dockerfile: docker/Dockerfile\n";
        let files = [("compose.yaml", compose), ("docker/Dockerfile", COPY), (".git/HEAD", "x"), ("src/a", "x")];
        assert_eq!(Tree::new(&files).places("weak-dockerignore"), ["docker/Dockerfile:2"]);
        let with = |path, text| [files.as_slice(), &[(path, text)]].concat();
        assert!(Tree::new(&with(".dockerignore", ".git\n")).found("weak-dockerignore").is_empty());
        assert!(Tree::new(&with("docker/Dockerfile.dockerignore", "*\n!src\n")).found("weak-dockerignore").is_empty());
        assert_eq!(
            Tree::new(&with("docker/.dockerignore", ".git\n")).places("weak-dockerignore"),
            ["docker/Dockerfile:2"],
            "not read there"
        );
    }

    #[test]
    fn nothing_to_say() {
        for files in [
            [("Dockerfile", "FROM x\nCOPY src /app\n"), (".git/HEAD", "x"), ("src/a", "x")].as_slice(),
            &[("Dockerfile", "FROM x\nCOPY --from=y . /app\n"), (".git/HEAD", "x")],
            &[("Dockerfile", COPY)],
            &[("Dockerfile", COPY), ("src/a", "x"), (".dockerignore", "docs\n")],
            &[("Dockerfile", "FROM x\nCOPY --exclude=.git . /app\n"), (".git/HEAD", "x")],
            &[("Dockerfile", "FROM x\nCOPY . /app\n"), ("target/a", "x"), (".dockerignore", "x\n")],
        ] {
            assert!(Tree::new(files).found("weak-dockerignore").is_empty(), "{files:?}");
        }
    }
}
