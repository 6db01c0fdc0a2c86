//! `cache-mount-mtime`: a tool in a cache mount decides by modification times what to do again.

use std::sync::LazyLock;

use regex::Regex;

use super::{Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};
use crate::build::Status;

/// The rule.
#[derive(Debug)]
pub struct CacheMountMtime;

static META: Meta = Meta {
    name: "cache-mount-mtime",
    severity: Severity::Note,
    summary: "A RUN keeps its results in a cache mount and decides by modification times what is old",
    docs: Docs {
        finds: "\
A `RUN --mount=type=cache` whose command compares modification times: `make`, `ninja`, `tsc --incremental`, a shell's `-nt` or `-ot`.",
        matters: "\
The cache mount outlives the layers. A source file that is new but carries an old time (equalised times, `git archive`, a revert) looks
done to such a tool, and its old result goes into the image; every step says DONE.",
        example: "\
#8 [4/4] RUN --mount=type=cache,target=/cache if [ src/main.py -nt /cache/out ]; then cp src/main.py /cache/out; echo compiled; else echo up to date; fi
#8 0.104 up to date
#8 DONE 0.1s",
        measured: Some("COPY was right and DONE, RUN was DONE, and the image held the old output. Only the command's own `up to date` showed it."),
        fix: "\
Use tools that compare contents (Go, Bazel, ccache, sccache do; cargo and make go by times), or leave the times of files alone before a build, or put the
sources' hash into the path of the cache.",
    },
};

impl Rule for CacheMountMtime {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

static BY_TIME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\s-(?:nt|ot)\s|(?:^|[\s;&|(])(?:make|gmake|ninja|tup|scons)(?:\s|$)|\btsc\b.*--(?:incremental|build)|\bcmake\s+--build\b|\bfind\b.*-newer").ok()
});

impl LogRule for CacheMountMtime {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        let Some(by_time) = &*BY_TIME else { return };
        for build in &facts.builds {
            for step in build.commands().filter(|step| matches!(step.status, Status::Done | Status::Cached)) {
                let text = step.instruction();
                if step.parts.keyword != Some("RUN") || !text.contains("type=cache") || !by_time.is_match(text) {
                    continue;
                }
                let mut draft = Draft::new("this command decides by modification times what in its cache mount is old")
                    .confidence(Confidence::Possible)
                    .step(build, step);
                if let Some(line) = step
                    .log_head
                    .iter()
                    .find(|line| line.contains("up to date") || line.contains("up-to-date") || line.contains("no work to do"))
                {
                    draft = draft.evidence(format!("it printed: {line}"));
                }
                out.add(&META, draft.help("leave modification times alone before the build, or use a tool that compares contents"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, log};

    fn count(run: &str) -> usize {
        let step = format!("[2/2] {run} | DONE 0.1s");
        Case::new(log(&["[1/2] FROM x | DONE 0.0s", &step])).messages("cache-mount-mtime").len()
    }

    #[test]
    fn tools_that_go_by_times() {
        assert_eq!(count("RUN --mount=type=cache,target=/cache if [ a.py -nt /cache/o ]; then cp a.py /cache/o; fi"), 1);
        assert_eq!(count("RUN --mount=type=cache,target=/o make -C /src all"), 1);
        assert_eq!(count("RUN --mount=type=cache,target=/root/.npm npm ci"), 0);
        assert_eq!(count("RUN make all"), 0);
        assert_eq!(count("RUN --mount=type=cache,target=/o cargo make-thing"), 0);
    }
}
