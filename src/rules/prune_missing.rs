//! `prune-missing`: the builder was not pruned before the first build.

use super::{
    Confidence, Docs, Draft, Facts, FileFacts, FileRule, Findings, LogRule, Meta, Rule, Severity,
    lint::prune::{self, Kind},
};

/// The rule.
#[derive(Debug)]
pub struct PruneMissing;

static META: Meta = Meta {
    name: "prune-missing",
    severity: Severity::Error,
    summary: "The settings ask for a prune before the builds, and there is none; or a script prunes only behind them",
    docs: Docs {
        finds: "\
A log in which neither `Total reclaimed space: …` nor the prune command itself stands before the first build, where `bklog.toml` says
`[require] prune = true`; without that setting nothing is reported of a log. In the files of a repository: with that setting a script or CI
file that builds and does not prune the builder before its first build; without it, as a note, one that prunes the builder behind its builds
and not before.",
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

impl FileRule for PruneMissing {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        for file in &facts.repository.files {
            let Some(first) = file.commands.iter().find(|command| command.is_build()) else { continue };
            let prunes: Vec<_> = file.commands.iter().filter_map(|command| Some((command, prune::kind(command)?))).collect();
            let heals = |kind: Kind| matches!(kind, Kind::Builder | Kind::Everything);
            if prunes.iter().any(|(command, kind)| heals(*kind) && command.line <= first.line) {
                continue;
            }
            let behind = prunes.iter().find(|(command, kind)| heals(*kind) && command.line > first.line);
            let mut draft = match (facts.policy.demands.prune, behind) {
                (true, _) => Draft::new("no prune of the builder stands before this build").in_file(file, first.line, first.end_line),
                (false, Some((command, _))) => {
                    Draft::new("this prune stands behind the builds: it does nothing for them, and the next ones begin without a cache")
                        .severity(Severity::Note)
                        .in_file(file, command.line, command.end_line)
                }
                (false, None) => continue,
            };
            draft = match behind {
                Some((command, _)) if facts.policy.demands.prune => draft.evidence(format!("line {}: a prune, behind it", command.line)),
                Some(_) => draft.evidence(format!("line {}: the first build", first.line)),
                None => draft,
            };
            if let Some((command, _)) = prunes.iter().find(|(command, kind)| *kind == Kind::Filtered && command.line <= first.line) {
                draft = draft.evidence(format!("line {}: a prune with a filter can leave the copy of the context", command.line));
            }
            let help = match facts.policy.demands.prune {
                true => "run `docker builder prune -f` before the first build",
                false => "move it in front of the builds if it is there against stale code, or take it out: it costs the cache",
            };
            out.add(&META, draft.confidence(Confidence::Likely).help(help));
        }
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
    use super::super::{
        lint::testing::Tree,
        testing::{Case, log},
    };

    #[test]
    fn in_scripts() {
        let found = |script: &str, policy: &str| Tree::new(&[("b.sh", script)]).policy(policy).found("prune-missing");
        let required = "[require]\nprune = true";
        for script in ["docker builder prune -f\ndocker build .\n", "docker system prune -af && docker compose build\n", "echo\n"] {
            assert!(found(script, required).is_empty() && found(script, "").is_empty(), "{script}");
        }
        for script in
            ["docker build .\n", "docker image prune -f; docker build .\n", "docker builder prune -f --filter until=24h; docker build .\n"]
        {
            assert_eq!(found(script, required), ["b.sh:1: error: no prune of the builder stands before this build"], "{script}");
            assert!(found(script, "").is_empty(), "{script}");
        }
        let late = found("docker build .\ndocker buildx prune -f\n", "");
        assert!(late.len() == 1 && late[0].starts_with("b.sh:2: note: this prune stands behind the builds"), "{late:?}");
    }

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
