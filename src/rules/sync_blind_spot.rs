//! `sync-blind-spot`: a changed file that the context sync will not see.

use super::{Docs, Facts, Findings, LogRule, Meta, Rule, Severity};

/// The rule. Its findings come with the verdicts, which replay the sync.
#[derive(Debug)]
pub struct SyncBlindSpot;

pub(super) static META: Meta = Meta {
    name: "sync-blind-spot",
    severity: Severity::Error,
    summary: "A file changed and the context sync did not see it: same size, same time",
    docs: Docs {
        finds: "\
A file whose content differs from the copy that the builder keeps of the build context, and whose path, size, modification time (to the
nanosecond), mode and link target are the same. The client sends a list of exactly these; the builder asks only for files whose entry
differs. Such a file stays old in the image, whether the COPY says CACHED or DONE.

In the files of a repository: commands that set or keep modification times (`touch -d`, `-t` and `-r`, `git restore-mtime` and its action, `git
archive` and `tar --mtime` with what unpacks them, `rsync --times` and `--size-only`, `mv` and `cp -p` of variants of one size) above a build from a
local directory in the same script or job; contexts of one base name in a compose or bake file; `docker build .` in several directories of a
script that sets DOCKER_BUILDKIT=1, as only docker 20.10 needs. A build that reads its context from standard input or from git has no such
sync, nor has the old builder; a prune without a filter or a plain `touch` of all files before the build heals. What a CI cache or an
artifact brings back is not reported: it has the times of the files that were saved, and a file with another content had another time.",
        matters: "\
This is the one way in which BuildKit by itself puts old code into an image built from a local directory. Nothing in the log tells it from
an ordinary rebuild. It comes about where modification times are set: `touch -d @$SOURCE_DATE_EPOCH`, `git restore-mtime`, `git archive`,
`tar --mtime`, `cp -p`, `rsync --times`, a cache of the work tree that is restored in CI; and by `mv` of a variant that git wrote in the same
tick of the clock.",
        example: "\
#4 [internal] load build context
#4 transferring context: 261B done
…
#8 [4/5] COPY . .
#8 CACHED
# src/main.py has the same size and time as before: it was not read again. With it 2.32kB would have been sent.",
        measured: Some(
            "\
A cache-bust argument and `--no-cache` do not help: both run COPY again, from the same old copy of the context (DONE, and stale). One
nanosecond of difference is enough to be seen, so an ordinary `git checkout` of an edited file was never missed. Which copy a build
compares with depends on the client: buildx goes by the base name of the context directory, docker 20.10 by the path as typed (every
`docker build .` of a machine shares one copy), buildctl by nothing. Two services `api/src` and `web/src` can get each other's files.",
        ),
        fix: "\
Now: `docker builder prune -f` (or `docker buildx prune -f`) without a filter, or `touch` the files; then build again. For good: do not
set modification times before a build from a local directory; if the image must be reproducible, pass `SOURCE_DATE_EPOCH` as a build
argument and let BuildKit rewrite the times in the layers.",
    },
};

impl Rule for SyncBlindSpot {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for SyncBlindSpot {
    fn check(&self, _: &Facts<'_>, _: &mut Findings<'_>) {}
}
