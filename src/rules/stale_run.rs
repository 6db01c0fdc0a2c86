//! `stale-run`: remote code in a step that the cache answered.

use super::{Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};
use crate::{
    build::{Status, is_remote},
    evidence::remote_code::{self, Fetch},
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
`--checksum` (a note).

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
The logs of a fresh and of a stale build are the same here; only the remote or the image can tell, so this is `possible`, never more.
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

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, log};

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
