//! `prune-missing`: the builder was not pruned before the first build.

use super::{Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};

/// The rule.
#[derive(Debug)]
pub struct PruneMissing;

static META: Meta = Meta {
    name: "prune-missing",
    severity: Severity::Error,
    summary: "The settings ask for a prune before the builds, and the log shows none",
    docs: Docs {
        finds: "\
A log in which neither `Total reclaimed space: …` nor the prune command itself stands before the first build, where `bklog.toml` says
`[require] prune = true`. Without that setting nothing is reported.",
        matters: "\
`docker builder prune -f` drops the builder's copy of the context, and with it the one way in which a local build goes stale inside
BuildKit (`sync-blind-spot`). A team that relies on it wants to know when a script leaves it out.",
        example: "\
Building from commit: 9f2c1e4...
Total reclaimed space: 1.2GB
#0 building with \"default\" instance using docker driver",
        measured: Some(
            "\
Only a prune without a filter helps: `--filter type=regular` keeps the copy of the context, and the build after it ran every step and was
stale. A prune also throws away what makes builds fast; recording runs and checking them costs nothing.",
        ),
        fix: "\
Run `docker builder prune -f` (or `docker buildx prune -f`) before the first build and keep its output in the log.",
    },
};

impl Rule for PruneMissing {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

/// True for a line that shows a prune: its result, or the command in a traced script.
fn is_prune(line: &str) -> bool {
    let result = line.contains("Total reclaimed space:") || line.trim_start().starts_with("Total:\t");
    let command = ["builder prune", "buildx prune", "system prune"].iter().any(|command| line.contains(command));
    result || (command && line.trim_start().starts_with(['+', '$', '>']))
}

impl LogRule for PruneMissing {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        let Some(first) = facts.builds.first().filter(|_| facts.policy.demands.prune) else { return };
        let begins = first.build.lines.0;
        if facts.remarks.iter().any(|(line, text)| *line < begins && is_prune(text)) {
            return;
        }
        let mut draft = Draft::new("no prune is seen before the first build").confidence(Confidence::Likely).build(first);
        if let Some((line, text)) = facts.remarks.iter().find(|(_, text)| is_prune(text)) {
            draft = draft.evidence(format!("log line {line}, behind the beginning of the first build: {text}"));
        }
        out.add(&META, draft.help("run `docker builder prune -f` before the first build, its output in the log"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, log};

    const BUILD: &str = "[1/1] FROM x | DONE 0.0s";

    fn count(lines: &[&str]) -> usize {
        Case::new(log(lines)).policy("[require]\nprune = true").messages("prune-missing").len()
    }

    #[test]
    fn before_the_first_build() {
        assert_eq!(count(&["Total reclaimed space: 1.2GB", BUILD]), 0);
        assert_eq!(count(&["+ docker builder prune -f", BUILD]), 0);
        assert_eq!(count(&["Total:\t1.2GB", BUILD]), 0);
        assert_eq!(count(&[BUILD]), 1);
        assert_eq!(count(&[BUILD, "Total reclaimed space: 1.2GB"]), 1);
        assert_eq!(count(&["we could prune the builder here", BUILD]), 1);
        assert!(Case::new(log(&[BUILD])).messages("prune-missing").is_empty());
    }
}
