//! `log-clipped`: BuildKit cut the output of a step.

use super::{Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};

/// The rule.
#[derive(Debug)]
pub struct LogClipped;

static META: Meta = Meta {
    name: "log-clipped",
    severity: Severity::Note,
    summary: "BuildKit cut the output of a step: it may hold what explains a finding",
    docs: Docs {
        finds: "\
A step behind whose output stands `[output clipped, log limit … reached]`.",
        matters: "\
BuildKit stops passing on a step's output at 2 MiB or 200 kB/s. What a command printed behind that is nowhere: neither an error nor the
version that was installed. How the step ended is known all the same.",
        example: "\
#7 12.41 [output clipped, log limit 2MiB reached]
#7 DONE 34.0s",
        measured: None,
        fix: "\
Make the command say less, or raise the limits of the builder: BUILDKIT_STEP_LOG_MAX_SIZE and BUILDKIT_STEP_LOG_MAX_SPEED (-1 is no limit)
in the environment of buildkitd.",
    },
};

impl Rule for LogClipped {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for LogClipped {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in &facts.builds {
            for step in build.build.steps.iter().filter(|step| step.clipped) {
                let draft = Draft::new("BuildKit cut the output of this step").confidence(Confidence::Certain).step(build, step);
                out.add(&META, draft.help("raise BUILDKIT_STEP_LOG_MAX_SIZE and BUILDKIT_STEP_LOG_MAX_SPEED of the builder"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, log};

    #[test]
    fn a_clipped_step() {
        let text = log(&["#1 [2/2] RUN x", "#1 0.1 [output clipped, log limit 2MiB reached]", "#1 DONE 0.2s"]);
        assert_eq!(Case::new(text).messages("log-clipped").len(), 1);
        assert!(Case::new(log(&["[2/2] RUN x | DONE 0.1s"])).messages("log-clipped").is_empty());
    }
}
