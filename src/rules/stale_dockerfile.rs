//! `stale-dockerfile`: the build used another Dockerfile than the one on disk.

use super::{Docs, Facts, Findings, LogRule, Meta, Rule, Severity};

/// The rule. Its findings come with the verdicts, which hold the steps against the Dockerfile.
#[derive(Debug)]
pub struct StaleDockerfile;

static META: Meta = Meta {
    name: "stale-dockerfile",
    severity: Severity::Error,
    summary: "The steps of the log are not those of the Dockerfile: an old one, or another service's, was used",
    docs: Docs {
        finds: "\
A build whose steps are not in the Dockerfile that the command names, while the size behind `transferring dockerfile` shows that the file
was not sent.",
        matters: "\
docker 20.10 syncs the Dockerfile and the ignore file as it syncs the context: a file of the same size and time as before is not read
again. In a script that builds ten services one after the other with equalised times, one service was built from the Dockerfile of
another.",
        example: "\
=== Building user-service ===
#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 32B done
…
#9 [6/6] COPY services/auth-service ./",
        measured: Some("The newest BuildKit reads the Dockerfile anew at every build; this is a matter of docker 20.10 and its time."),
        fix: "\
`docker builder prune -f`, then build again; do not set the modification times of Dockerfiles; or update docker.",
    },
};

impl Rule for StaleDockerfile {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

impl LogRule for StaleDockerfile {
    fn check(&self, _: &Facts<'_>, _: &mut Findings<'_>) {}
}
