//! `dirty-tree`: the context holds changes that are in no commit.

use super::{Docs, Facts, Findings, LogRule, Meta, Rule, Severity};

/// The rule. Its findings come with the verdicts, which read the work tree.
#[derive(Debug)]
pub struct DirtyTree;

static META: Meta = Meta {
    name: "dirty-tree",
    severity: Severity::Warning,
    summary: "The build context holds changes that are in no commit",
    docs: Docs {
        finds: "\
Files that a COPY takes and that differ from HEAD, or that git does not know: edits that were not committed, generated files, a submodule
that was not updated.",
        matters: "\
The image then holds what no commit holds: it cannot be built again, and nobody can say what runs. It is not a stale layer, and a prune
does not change it. A submodule that was not updated is the exception that is both: the tree holds older code than the commit.",
        example: "\
$ git status --short
 M src/main.py
 M vendor/lib
#8 [4/5] COPY . .
#8 DONE 0.1s",
        measured: Some(
            "\
buildx records `vcs:revision` without `-dirty` unless BUILDX_GIT_CHECK_DIRTY=1 is set: the provenance of an image built from a dirty tree
names the clean commit. Line ends (`core.autocrlf`) and LFS files make the bytes differ from git's while `git status` is clean; that is no
finding.",
        ),
        fix: "\
Build from a clean checkout (`git status --porcelain` is empty), or name generated files in the ignore file. For submodules:
`git submodule update --init --recursive` before the build.",
    },
};

impl Rule for DirtyTree {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for DirtyTree {
    fn check(&self, _: &Facts<'_>, _: &mut Findings<'_>) {}
}
