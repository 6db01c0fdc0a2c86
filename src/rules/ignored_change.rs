//! `ignored-change`: a changed file that the ignore file keeps out of the image.

use std::collections::BTreeMap;

use super::{Confidence, Docs, Draft, Facts, Findings, LogRule, Meta, Rule, Severity};

/// The rule.
#[derive(Debug)]
pub struct IgnoredChange;

static META: Meta = Meta {
    name: "ignored-change",
    severity: Severity::Note,
    summary: "A file changed since the last build, and the ignore file keeps it out of the context",
    docs: Docs {
        finds: "\
Files below the build context that changed since the baseline and that `.dockerignore` (or `NAME.dockerignore` beside the Dockerfile) keeps
out of it.",
        matters: "\
Mostly it is as it should be: documentation and tests have no place in an image, and it explains why everything is CACHED although the
commit is another. Sometimes it is the answer to \"why is my change not there\": a pattern that takes more than was meant.",
        example: "\
$ git diff --name-only A B
docs/guide.md
#4 [internal] load build context
#4 transferring context: 176B done
#8 [4/5] COPY . .
#8 CACHED",
        measured: None,
        fix: "\
Nothing, if the file does not belong into the image. Otherwise add an exception to the ignore file (`!docs/schema.json`); the last pattern
that matches decides.",
    },
};

impl Rule for IgnoredChange {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for IgnoredChange {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        let Some(git) = facts.git else { return };
        let mut by_file: BTreeMap<(usize, &str), Vec<String>> = BTreeMap::new();
        for (build, file, ignore) in &git.ignored {
            by_file.entry((*build, ignore)).or_default().push(file.clone());
        }
        for ((number, ignore), files) in by_file {
            let Some(build) = facts.builds.iter().find(|build| build.number == number) else { continue };
            let count = if files.len() == 1 { "A changed file is".to_owned() } else { format!("{} changed files are", files.len()) };
            let draft = Draft::new(format!("{count} kept out of the context by {ignore}")).confidence(Confidence::Certain).build(build);
            out.add(
                &META,
                draft.files(&files).help("nothing, if these files do not belong into the image; else add an exception (`!path`)"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::GitFacts;
    use super::super::testing::{Case, log};

    #[test]
    fn one_finding_for_each_ignore_file() {
        let mut case = Case::new(log(&["[1/2] FROM x | DONE 0.0s", "[2/2] COPY . . | CACHED"]));
        let ignored = |file: &str| (0, file.to_owned(), ".dockerignore".to_owned());
        case.git = Some(GitFacts { ignored: vec![ignored("docs/a.md"), ignored("docs/b.md")], ..GitFacts::default() });
        assert_eq!(case.messages("ignored-change"), ["2 changed files are kept out of the context by .dockerignore"]);
        case.git = Some(GitFacts::default());
        assert!(case.findings().is_empty());
    }
}
