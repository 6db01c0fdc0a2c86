//! `apt-update-alone`: package lists are fetched in one step and used in another.

use std::sync::LazyLock;

use regex::Regex;

use super::{FileFacts, FileRule, copies::first_line, edits};
use crate::{
    evidence::{
        dockerfile::{Command, CommandKind, Dockerfile},
        repository::File,
    },
    rules::{Confidence, Docs, Draft, Findings, Fix, Meta, Rule, Severity},
};

/// The rule.
#[derive(Debug)]
pub struct AptUpdateAlone;

static META: Meta = Meta {
    name: "apt-update-alone",
    severity: Severity::Warning,
    summary: "`apt-get update` stands in a RUN of its own: later installs use the lists that the cache holds",
    docs: Docs {
        finds: "\
`apt-get update` (or `apt update`, `apk update`) in a RUN that installs nothing, with an install in a later RUN of the same stage or of one that
is made from it. Without a later install it is a note.",
        matters: "\
BuildKit keys a RUN by its text. The update is CACHED for as long as its layer lives, while a changed install line runs anew: it takes old
versions from the old lists, or fails with 404, because the mirror has them no more. That failure comes months later, on the day on which
somebody adds a package.",
        example: "\
RUN apt-get update
RUN apt-get install -y curl",
        measured: None,
        fix: "\
Put both in one RUN: `RUN apt-get update && apt-get install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists/*`. `bklog lint --fix` joins
the two where the install is the next instruction and nothing stands between them. With apk: `apk add --no-cache`.",
    },
};

impl Rule for AptUpdateAlone {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

static UPDATE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\b(apt(?:-get)?|apk)\s+(?:-\S+\s+)*update\b").ok());
static USES_LISTS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\b(?:apt(?:-get)?\s+(?:-\S+\s+)*(?:install|upgrade|dist-upgrade|full-upgrade|build-dep|download|source|satisfy)|apk\s+(?:-\S+\s+)*(?:add|upgrade))\b").ok()
});

impl FileRule for AptUpdateAlone {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        for (_, file, dockerfile) in facts.repository.dockerfiles() {
            for (stage, at, program) in alone(dockerfile) {
                let commands = &dockerfile.stages[stage].commands;
                let update = &commands[at];
                let install = later_install(dockerfile, stage, at, &program);
                let mut draft = Draft::new(format!("`{program} update` stands alone: its lists are cached and grow old"))
                    .confidence(Confidence::Certain)
                    .in_file(file, update.line, update.end_line);
                draft = match install {
                    Some(install) => draft.evidence(format!("line {} installs from them: {}", install.line, first_line(&install.text))),
                    None => draft.severity(Severity::Note).evidence("no later step of this file installs anything"),
                };
                if let Some(fix) = commands.get(at + 1).and_then(|next| joined(file, dockerfile.escape, update, next)) {
                    draft = draft.fix(fix);
                }
                out.add(&META, draft.help(format!("put `{program} update` and the install in one RUN, joined with &&")));
            }
        }
    }
}

/// The shell text of a RUN, heredocs included; `None` for other commands.
fn text(command: &Command) -> Option<String> {
    let CommandKind::Run(run) = &command.kind else { return None };
    let mut text = run.arguments.join(" ");
    command.heredocs.iter().for_each(|heredoc| text += &format!("\n{}", heredoc.content));
    Some(text)
}

fn uses_lists(text: &str) -> bool {
    USES_LISTS.as_ref().is_some_and(|regex| regex.is_match(text))
}

/// The RUNs that update and install nothing: stage, place among its commands, program.
fn alone(dockerfile: &Dockerfile) -> Vec<(usize, usize, String)> {
    let mut found = Vec::new();
    for (stage, commands) in dockerfile.stages.iter().map(|stage| &stage.commands).enumerate() {
        for (at, command) in commands.iter().enumerate() {
            let Some(text) = text(command).filter(|text| !uses_lists(text)) else { continue };
            let program = UPDATE.as_ref().and_then(|regex| regex.captures(&text)).and_then(|found| Some(found.get(1)?.as_str().to_owned()));
            found.extend(program.map(|program| (stage, at, program)));
        }
    }
    found
}

/// The first install below, in the stage or in those made from it, that brings no update of its own.
fn later_install<'d>(dockerfile: &'d Dockerfile, stage: usize, at: usize, program: &str) -> Option<&'d Command> {
    let family = &program[..3];
    let fits = |command: &&Command| {
        text(command).is_some_and(|text| {
            let updates = UPDATE.as_ref().is_some_and(|regex| regex.is_match(&text));
            text.contains(family) && uses_lists(&text) && !updates && !(family == "apk" && text.contains("--no-cache"))
        })
    };
    let own = dockerfile.stages.get(stage)?;
    if let Some(found) = own.commands.iter().skip(at + 1).find(fits) {
        return Some(found);
    }
    let name = own.name.as_deref()?;
    let children = dockerfile.stages.iter().skip(stage + 1).filter(|child| child.base.eq_ignore_ascii_case(name));
    children.flat_map(|child| &child.commands).find(fits)
}

/// Joins two RUNs with `&&`, where that cannot change what either does: plain text without flags, joined by `&&` only, with nothing
/// between them.
fn joined(file: &File, escape: char, first: &Command, second: &Command) -> Option<Fix> {
    let source = |command: &Command| file.text.get(command.span.clone());
    let plain = |command: &Command| {
        let CommandKind::Run(run) = &command.kind else { return false };
        let flags = !run.mounts.is_empty() || run.network.is_some() || run.security.is_some();
        let text = source(command).unwrap_or_default();
        !flags && !command.json && command.heredocs.is_empty() && !text.replace("&&", "").contains(['#', ';', '|', '&', '<'])
    };
    if !plain(first) || !plain(second) || !uses_lists(&text(second)?) || first.span.end > second.span.start {
        return None;
    }
    let between = file.text.get(first.span.end..second.span.start)?;
    let start = first.span.start + source(first)?.trim_end().len();
    let below = source(second)?;
    let keyword = below.trim_start();
    // Between RUN and its command nothing but blanks: a continuation there would be cut in half.
    let rest = keyword.get(3..).filter(|rest| rest.starts_with([' ', '\t']))?;
    let command = rest.trim_start_matches([' ', '\t']);
    if !between.trim().is_empty() || command.starts_with([escape, '-']) {
        return None;
    }
    let end = second.span.start + (below.len() - command.len());
    edits::fix(file, "join apt-get update with the install", start..end, &format!(" && {escape}{}    ", edits::line_end(&file.text, start)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;

    fn found(dockerfile: &str) -> Vec<String> {
        Tree::new(&[("Dockerfile", dockerfile)]).found("apt-update-alone")
    }

    fn fixed(dockerfile: &str) -> Option<String> {
        Tree::new(&[("Dockerfile", dockerfile)]).fixed().pop().map(|(_, text)| text)
    }

    #[test]
    fn update_here_install_there() {
        for (text, place) in [
            ("FROM x\nRUN apt-get update\nRUN apt-get install -y curl\n", "Dockerfile:2: warning: `apt-get update`"),
            ("FROM x AS b\nRUN apt-get -qq update && apt-get clean\nFROM b\nRUN apt-get install -y curl\n", "Dockerfile:2: warning"),
            ("FROM x\nRUN <<EOF\nset -e\napt update\nEOF\nCOPY a b\nRUN apt install -y curl\n", "Dockerfile:2: warning: `apt update`"),
            ("FROM x\nRUN apk update\nRUN apk add curl\n", "Dockerfile:2: warning: `apk update`"),
            ("FROM x\nRUN apt-get update\n", "Dockerfile:2: note"),
            ("FROM x\nRUN apk update\nRUN apk add --no-cache curl\n", "Dockerfile:2: note"),
        ] {
            let found = found(text);
            assert!(found.len() == 1 && found[0].starts_with(place), "{text}: {found:?}");
        }
    }

    #[test]
    fn together() {
        for text in [
            "FROM x\nRUN apt-get update && apt-get install -y curl\n",
            "FROM x\nRUN apt-get update -y; apt-get upgrade -y\n",
            "FROM x\nRUN apk --no-cache add curl\nRUN npm update\n",
            "FROM x\nRUN update-ca-certificates\nRUN apt-get install -y curl\n",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn fixes_join_the_two() {
        assert_eq!(
            fixed("FROM x\r\nRUN apt-get update\r\n\r\nRUN\tapt-get install -y \\\r\n\tcurl").as_deref(),
            Some("FROM x\r\nRUN apt-get update && \\\r\n    apt-get install -y \\\r\n\tcurl")
        );
        assert_eq!(
            fixed("# escape=`\nFROM x\nRUN apt-get update\nRUN apt-get install -y curl\n").as_deref(),
            Some("# escape=`\nFROM x\nRUN apt-get update && `\n    apt-get install -y curl\n")
        );
        for text in [
            "FROM x\nRUN apt-get update\n# why\nRUN apt-get install -y curl\n",
            "FROM x\nRUN apt-get update || true\nRUN apt-get install -y curl\n",
            "FROM x\nRUN apt-get update\nRUN apt-get install -y curl; rm -rf /x\n",
            "FROM x\nRUN apt-get update\nCOPY a b\nRUN apt-get install -y curl\n",
            "FROM x\nRUN --mount=type=cache,target=/c apt-get update\nRUN apt-get install -y curl\n",
            "FROM x\nRUN apt-get update\nRUN [\"apt-get\", \"install\", \"curl\"]\n",
            "FROM x\nRUN apt-get update # now\nRUN apt-get install -y curl\n",
            "FROM x\nRUN apt-get update\nRUN \\\n  apt-get install -y curl\n",
        ] {
            assert_eq!(fixed(text), None, "{text}");
        }
    }
}
