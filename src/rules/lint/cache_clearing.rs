//! `cache-clear-incomplete` and `prune-drops-cache`: clearing that clears too little, or too much.

use super::{
    FileFacts, FileRule,
    prune::{self, Kind},
};
use crate::{
    evidence::repository::File,
    rules::{Confidence, Docs, Draft, Findings, Meta, Rule, Severity},
};

/// The rule about clearing that leaves the build cache.
#[derive(Debug)]
pub struct CacheClearIncomplete;

static INCOMPLETE: Meta = Meta {
    name: "cache-clear-incomplete",
    severity: Severity::Warning,
    summary: "A script that sets out to clear the cache removes images only, or a part of the cache",
    docs: Docs {
        finds: "\
A script or CI file that speaks of clearing the cache and, in front of its builds, removes images (`docker rmi`, `docker image prune`,
`docker compose down --rmi`) or prunes with a filter, and never prunes the builder as a whole. Removing images without such words is no
finding: it makes room.",
        matters: "\
BuildKit does not keep its cache in images. With every image gone the next build is CACHED from top to bottom, and the script has said that
it begins anew.",
        example: "\
echo \"Clearing Docker cache...\"
docker image prune -af
docker compose build",
        measured: Some(
            "\
The builder's copy of the context, which is what can be stale, went with `docker builder prune -f`. It stayed with
`docker builder prune --filter type=regular`, with `--no-cache` and with a restart of the daemon. On docker 20.10 a builder prune without `-a`
keeps layers that a tagged image holds: there remove the image too.",
        ),
        fix: "\
`docker builder prune -f`, or `docker builder prune -af` where nothing may be left; both also for a named builder
(`docker buildx prune --builder NAME -f`).",
    },
};

/// The rule about clearing that takes everything.
#[derive(Debug)]
pub struct PruneDropsCache;

static DROPS: Meta = Meta {
    name: "prune-drops-cache",
    severity: Severity::Note,
    summary: "The whole build cache is thrown away before every build: each build is a cold one",
    docs: Docs {
        finds: "\
`docker system prune -a`, `docker builder prune -a` or `docker buildx prune -a` in front of a build of the same script or CI file, outside of
any condition.",
        matters: "\
Every dependency is downloaded and installed again, at every build: minutes become tens of minutes. With `system prune -a` the base images
are pulled again too, and images that a rollback needs are gone.",
        example: "\
docker system prune -af
docker compose build",
        measured: Some(
            "\
Against old code it is more than is needed: the builder's copy of the context goes with `docker builder prune -f` already, and
`bklog check` says whether there was anything to heal.",
        ),
        fix: "\
Take it out, or put it behind a switch (`if [ \"$CLEAR_CACHE\" = true ]`). Keep the cache in a registry (`cache_to`, `cache_from`) where hosts
must be emptied.",
    },
};

impl Rule for CacheClearIncomplete {
    fn meta(&self) -> &'static Meta {
        &INCOMPLETE
    }
}

impl Rule for PruneDropsCache {
    fn meta(&self) -> &'static Meta {
        &DROPS
    }
}

/// The line on which a text speaks of clearing the cache.
fn speaks_of_clearing(file: &File) -> Option<usize> {
    const VERBS: [&str; 10] = ["clear", "clean", "purge", "wipe", "drop", "bust", "remov", "delet", "reset", "flush"];
    let speaks = |line: &str| {
        let line = line.to_ascii_lowercase();
        let line = line.replace("--no-cache-dir", "").replace("apt-get clean", "");
        line.contains("cache") && VERBS.iter().any(|verb| line.contains(verb))
    };
    file.text.lines().position(speaks).map(|at| at + 1)
}

impl FileRule for CacheClearIncomplete {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        for file in &facts.repository.files {
            let Some(last) = file.commands.iter().filter(|command| command.is_build()).map(|command| command.line).max() else { continue };
            let prunes: Vec<_> = file.commands.iter().filter_map(|command| Some((command, prune::kind(command)?))).collect();
            if prunes.iter().any(|(_, kind)| matches!(kind, Kind::Builder | Kind::Everything)) {
                continue;
            }
            let Some((command, kind)) = prunes.iter().find(|(command, _)| command.line <= last) else { continue };
            let Some(says) = speaks_of_clearing(file) else { continue };
            let what = match kind {
                Kind::Images => "images are removed, and the build cache stays: the next build is CACHED as before",
                _ => "this prune leaves a part of the cache, and with it the builder's copy of the context",
            };
            let mut draft = Draft::new(what).confidence(Confidence::Likely).in_file(file, command.line, command.end_line);
            if says != command.line {
                let text = file.lines(says, says).into_iter().next().unwrap_or_default();
                draft = draft.evidence(format!("line {says}: {}", text.trim()));
            }
            out.add(&INCOMPLETE, draft.help("add docker builder prune -f"));
        }
    }
}

impl FileRule for PruneDropsCache {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        for file in &facts.repository.files {
            let Some(last) = file.commands.iter().filter(|command| command.is_build()).map(|command| command.line).max() else { continue };
            let mut conditions = 0_usize;
            for command in &file.commands {
                match command.words.iter().find(|word| !matches!(word.as_str(), "then" | "else" | "do" | "{" | "!")).map(String::as_str) {
                    Some("if" | "case") => conditions += 1,
                    Some("fi" | "esac") => conditions = conditions.saturating_sub(1),
                    Some(function) if function.ends_with("()") && !function.contains('=') => conditions += 1,
                    Some("}") => conditions = conditions.saturating_sub(1),
                    _ => {}
                }
                if conditions > 0 || command.line > last || prune::kind(command) != Some(Kind::Everything) {
                    continue;
                }
                let draft = Draft::new("the whole build cache is thrown away before every build").confidence(Confidence::Certain);
                let draft = draft.in_file(file, command.line, command.end_line);
                let help = "docker builder prune -f is enough against a stale copy of the context; or put this behind a switch";
                out.add(&DROPS, draft.help(help));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    fn places(rule: &str, script: &str) -> Vec<String> {
        Tree::new(&[("b.sh", script)]).places(rule)
    }

    #[test]
    fn images_alone() {
        let rule = "cache-clear-incomplete";
        assert_eq!(places(rule, "echo 'Clearing docker cache'\ndocker image prune -af\ndocker build .\n"), ["b.sh:2"]);
        assert_eq!(places(rule, "clear_cache() {\n  docker rmi api\n}\nclear_cache\ndocker build .\n"), ["b.sh:2"]);
        assert_eq!(places(rule, "# clean the build cache\ndocker builder prune -f --filter type=regular\ndocker build .\n"), ["b.sh:2"]);
        for script in [
            "echo 'Clearing cache'\ndocker image prune -f\ndocker builder prune -f\ndocker build .\n",
            "docker image prune -f\ndocker build .\n",
            "docker build .\ndocker image prune -f # clean the cache\n",
            "echo 'Clearing cache'\ndocker rmi x\n",
        ] {
            assert!(places(rule, script).is_empty(), "{script}");
        }
    }

    #[test]
    fn everything_each_time() {
        let rule = "prune-drops-cache";
        assert_eq!(places(rule, "docker system prune -af\ndocker build .\n"), ["b.sh:1"]);
        for script in [
            "if [ \"$CLEAR\" = 1 ]; then\n  docker system prune -af\nfi\ndocker build .\n",
            "clear() {\n  docker builder prune -af\n}\ndocker build .\n",
            "docker builder prune -f\ndocker build .\n",
            "docker build .\ndocker system prune -af\n",
        ] {
            assert!(places(rule, script).is_empty(), "{script}");
        }
    }
}
