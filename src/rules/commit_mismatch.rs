//! `commit-mismatch`: the log says that another commit is built.

use std::sync::LazyLock;

use regex::Regex;

use crate::evidence::commit::short;

use super::{Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};

/// The rule.
#[derive(Debug)]
pub struct CommitMismatch;

static META: Meta = Meta {
    name: "commit-mismatch",
    severity: Severity::Error,
    summary: "The log, a build argument or the work tree names another commit than the one that is to be built",
    docs: Docs {
        finds: "\
- a line such as `Building from commit: abc1234` in front of the builds that is not the commit given with `--commit` (or HEAD);
- a build argument that carries a commit (GIT_COMMIT_HASH, GIT_SHA, …) with another value;
- a work tree whose HEAD is not the commit that was to be built;
- with `[require] commit-line = true`: a log without such a line.",
        matters: "\
`git fetch` without a checkout, a deploy from the wrong clone, a variable that was read before the pull: the image is then right for a commit,
only not for this one. No cache is to blame and no prune helps.",
        example: "\
Building from commit: 491088b
#0 building with \"default\" instance using docker driver",
        measured: Some(
            "\
The commit in a log is what the script printed. Where only the line was right and the tree was not, the transferred size gave it away: it
did not fit the commit's files. `bklog check` looks at the tree itself where it can.",
        ),
        fix: "\
Check out the commit that is to be built (`git checkout --detach SHA`), take the hash after that (`git rev-parse HEAD`), and pass the same
value to the build.",
    },
};

impl Rule for CommitMismatch {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

/// A line by which a script says what it builds.
static CLAIM: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:\b(?:build|built|building|deploy|deployed|deploying|release|releasing|using|current|source|git|image)\b[^:=]{0,40})?\bcommit(?:[ _-](?:hash|sha|id))?\s*(?:[:=]|is)\s*['\x22]?([0-9a-f]{7,64})\b|\b(?:build|building|deploy|deploying|release|releasing)\s+(?:from\s+)?(?:git\s+)?commit\s+([0-9a-f]{7,64})\b").ok()
});

/// The commit that a line claims to be built.
fn claim(line: &str) -> Option<&str> {
    // The expression takes a millisecond to be made, and most logs hold no such line.
    let names_one = memchr::memchr2_iter(b'c', b'C', line.as_bytes())
        .any(|at| line.as_bytes().get(at..at + "commit".len()).is_some_and(|word| word.eq_ignore_ascii_case(b"commit")));
    if !names_one {
        return None;
    }
    let found = CLAIM.as_ref()?.captures(line)?;
    found.get(1).or_else(|| found.get(2)).map(|commit| commit.as_str())
}

/// True where one is the other or its beginning; case does not count.
fn same(a: &str, b: &str) -> bool {
    let length = a.len().min(b.len());
    length >= 7 && a.as_bytes()[..length].eq_ignore_ascii_case(&b.as_bytes()[..length])
}

/// True for the name of an argument that carries the commit.
fn carries_commit(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let names = [
        "COMMIT",
        "COMMIT_HASH",
        "COMMIT_SHA",
        "GIT_COMMIT",
        "GIT_COMMIT_HASH",
        "GIT_COMMIT_SHA",
        "GIT_HASH",
        "GIT_SHA",
        "GIT_REV",
        "GIT_REVISION",
        "VCS_REF",
        "SOURCE_COMMIT",
        "BUILD_COMMIT",
        "REVISION",
        "GITHUB_SHA",
        "CI_COMMIT_SHA",
        "CI_COMMIT_SHORT_SHA",
    ];
    names.contains(&name.as_str())
}

fn is_commit_id(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl LogRule for CommitMismatch {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        let Some(first) = facts.builds.first() else { return };
        let claims: Vec<(u64, &str, &str)> =
            facts.remarks.iter().filter_map(|(line, text)| Some((*line, claim(text)?, text.as_str()))).collect();
        if facts.policy.demands.commit_line && claims.is_empty() {
            let draft =
                Draft::new("no line of the log says which commit is built, which bklog.toml asks for").confidence(Confidence::Certain);
            out.add(&META, draft.build(first).help("print it before the builds: echo \"Building from commit: $(git rev-parse HEAD)\""));
        }
        let Some(commit) = facts.commit() else { return };
        // A log can hold several deploys; what stands last in front of a build is what that build claims.
        for build in &facts.builds {
            let last = claims.iter().rfind(|(line, ..)| *line < build.build.lines.0);
            let before = facts.builds.iter().filter(|other| other.number < build.number).map(|other| other.build.lines.1).max();
            if let Some((line, claimed, text)) =
                last.filter(|(line, claimed, _)| before.is_none_or(|end| *line > end) && !same(claimed, commit))
            {
                let draft =
                    Draft::new(format!("the log says that {claimed} is built, not {}", short(commit))).confidence(Confidence::Certain);
                let draft = draft.log_line(build.number, *line).evidence(format!("log line {line}: {text}"));
                out.add(&META, draft.help("check out the commit that is to be built before the hash is taken and before the build"));
            }
            for arg in build.targets.iter().flat_map(|target| &target.target.args).filter(|arg| carries_commit(&arg.name)) {
                let Some(value) = arg.value.as_deref().filter(|value| is_commit_id(value) && !same(value, commit)) else { continue };
                let draft =
                    Draft::new(format!("the build is given {}={value}, not {}", arg.name, short(commit))).confidence(Confidence::Certain);
                out.add(&META, draft.build(build).help("pass the commit that is built: --build-arg NAME=$(git rev-parse HEAD)"));
            }
        }
        if let Some(git) = facts.git
            && let (Some(wanted), Some(head)) = (&git.commit, &git.head)
            && !same(wanted, head)
            && !facts.raised.iter().any(|finding| finding.rule == META.name)
        {
            let draft =
                Draft::new(format!("the work tree is at {}, not at {}", short(head), short(wanted))).confidence(Confidence::Certain);
            out.add(&META, draft.build(first).help("check out the commit before the build: git checkout --detach SHA"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, log};
    use super::claim;

    const COMMIT: &str = "491088b6eb3a5c94ff6418e7e3d13caf6c0e9b70";

    #[test]
    fn claims() {
        for (line, commit) in [
            ("Building from commit: abc1234...", Some("abc1234")),
            ("=== Deploying commit 491088b6 ===", Some("491088b6")),
            ("Git commit hash: 491088b6eb3a5c94ff6418e7e3d13caf6c0e9b70", Some(COMMIT)),
            ("GIT_COMMIT=491088b6e", None),
            ("commit: \"491088b6e\"", Some("491088b6e")),
            ("Author committed: yesterday", None),
            ("commit: deadline", None),
        ] {
            assert_eq!(claim(line), commit, "{line}");
        }
    }

    #[test]
    fn the_line_before_the_build_counts() {
        let text =
            |claimed: &str| log(&[&format!("Building from commit: {claimed}..."), "[1/2] FROM x | DONE 0.0s", "[2/2] RUN x | DONE 0.1s"]);
        assert!(Case::new(text("491088b")).commit(COMMIT).findings().is_empty());
        assert_eq!(
            Case::new(text("83532e7")).commit(COMMIT).messages("commit-mismatch"),
            ["the log says that 83532e7 is built, not 491088b6eb3a"]
        );
        assert!(Case::new(text("83532e7")).findings().is_empty(), "nothing to compare with");
        let none = log(&["[1/2] FROM x | DONE 0.0s", "[2/2] RUN x | DONE 0.1s"]);
        assert_eq!(Case::new(none).policy("[require]\ncommit-line = true").messages("commit-mismatch").len(), 1);
    }

    #[test]
    fn arguments_carry_it_too() {
        let text = log(&["[1/2] FROM x | DONE 0.0s", "[2/2] RUN x | DONE 0.1s"]);
        let case = |value: &str| {
            let command = format!("docker build --build-arg GIT_COMMIT_HASH={value} .");
            Case::new(text.clone())
                .command(&command, "FROM x\nARG GIT_COMMIT_HASH\nRUN x\n")
                .commit(COMMIT)
                .messages("commit-mismatch")
                .len()
        };
        assert_eq!(case("491088b"), 0);
        assert_eq!(case("83532e7"), 1);
        assert_eq!(case("unknown"), 0);
    }
}
