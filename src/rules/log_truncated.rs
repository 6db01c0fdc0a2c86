//! `log-truncated`: the log ends before the build does.

use super::{Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};
use crate::build::Outcome;

/// The rule.
#[derive(Debug)]
pub struct LogTruncated;

static META: Meta = Meta {
    name: "log-truncated",
    severity: Severity::Warning,
    summary: "The log ends before the build does: what is said of it is not the whole",
    docs: Docs {
        finds: "\
A build of which steps never end or are missing, without an error that explains it.",
        matters: "\
A CI system cut the log, a job was killed, or the pipe broke. The steps that are missing may be those that matter.",
        example: "\
#8 [3/5] RUN npm ci
#8 12.02 npm warn deprecated rimraf@3.0.2
(end of the log)",
        measured: None,
        fix: "\
Keep the whole log: write it to a file on the machine that builds (`docker build --progress=plain . 2>&1 | bklog | tee build.log`), or raise the log
limit of the CI system.",
    },
};

impl Rule for LogTruncated {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for LogTruncated {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in facts.builds.iter().filter(|build| build.build.outcome == Outcome::Truncated) {
            let draft = Draft::new("the log ends before this build does").confidence(Confidence::Certain);
            let draft = draft.log_line(build.number, build.build.lines.1);
            out.add(&META, draft.help("keep the whole log: standard error too (2>&1), and to the end"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, log};

    #[test]
    fn a_cut_log() {
        assert_eq!(Case::new(log(&["[1/3] FROM x | DONE 0.0s", "#2 [2/3] RUN x"])).messages("log-truncated").len(), 1);
        assert!(Case::new(log(&["[1/2] FROM x | DONE 0.0s", "[2/2] RUN x | DONE 0.1s"])).messages("log-truncated").is_empty());
    }
}
