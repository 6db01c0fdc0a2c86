//! Flags as data, read as docker's and compose's flag library (pflag) reads them.

use super::CommandError;

/// The flags of one program. Names without dashes; a short name stands behind a bar: `file|f`.
pub(super) struct Spec {
    /// Flags that take a value.
    value: &'static [&'static str],
    /// Flags that do not; `=true` and `=false` may follow.
    switch: &'static [&'static str],
    /// Whether flags end at the first word that is none.
    stop_early: bool,
    /// Whether one dash may stand before a long name (urfave/cli, which buildctl uses).
    one_dash: bool,
}

impl Spec {
    /// `docker build` of every version, with what buildx adds.
    pub const BUILD: Spec = Spec {
        value: &[
            "add-host",
            "allow",
            "annotation",
            "attest",
            "build-arg",
            "build-context",
            "builder",
            "cache-from",
            "cache-to",
            "call",
            "cgroup-parent",
            "cpu-period",
            "cpu-quota",
            "cpu-shares|c",
            "cpuset-cpus",
            "cpuset-mems",
            "file|f",
            "iidfile",
            "invoke",
            "isolation",
            "label",
            "memory|m",
            "memory-swap",
            "metadata-file",
            "network",
            "no-cache-filter",
            "on",
            "output|o",
            "platform",
            "policy",
            "print",
            "progress",
            "provenance",
            "root",
            "sbom",
            "secret",
            "security-opt",
            "server-config",
            "shm-size",
            "ssh",
            "tag|t",
            "target",
            "ulimit",
        ],
        switch: &[
            "check",
            "compress",
            "debug|D",
            "detach",
            "disable-content-trust",
            "force-rm",
            "help|h",
            "load",
            "no-cache",
            "pull",
            "push",
            "quiet|q",
            "rm",
            "squash",
            "stream",
        ],
        stop_early: false,
        one_dash: false,
    };
    /// `docker buildx bake`.
    pub const BAKE: Spec = Spec {
        value: &["allow", "builder", "call", "file|f", "list", "metadata-file", "progress", "provenance", "sbom", "set", "var"],
        switch: &["check", "debug|D", "help|h", "list-targets", "list-variables", "load", "no-cache", "print", "pull", "push"],
        stop_early: false,
        one_dash: false,
    };
    /// docker's flags in front of its subcommand.
    pub const DOCKER: Spec = Spec {
        value: &["config", "context|c", "host|H", "log-level|l", "tlscacert", "tlscert", "tlskey"],
        switch: &["debug|D", "help", "tls", "tlsverify", "version|v"],
        stop_early: true,
        one_dash: false,
    };
    /// buildx's flags in front of its subcommand.
    pub const BUILDX: Spec = Spec { value: &["builder"], switch: &["debug|D", "help|h"], stop_early: true, one_dash: false };
    /// compose's flags in front of its subcommand, those of version 1 among them.
    pub const COMPOSE: Spec = Spec {
        value: &[
            "ansi",
            "context|c",
            "env-file",
            "file|f",
            "host|H",
            "log-level",
            "parallel",
            "profile",
            "progress",
            "project-directory",
            "project-name|p",
            "tlscacert",
            "tlscert",
            "tlskey",
            "workdir",
        ],
        switch: &[
            "all-resources",
            "compatibility",
            "debug|D",
            "dry-run",
            "help|h",
            "insecure-registry",
            "no-ansi",
            "skip-hostname-check",
            "tls",
            "tlsverify",
            "verbose",
            "version|v",
        ],
        stop_early: true,
        one_dash: false,
    };
    /// `docker compose build`.
    pub const COMPOSE_BUILD: Spec = Spec {
        value: &["build-arg", "builder", "memory|m", "progress", "provenance", "sbom", "ssh"],
        switch: &[
            "check",
            "compress",
            "force-rm",
            "help|h",
            "no-cache",
            "no-parallel",
            "no-rm",
            "parallel",
            "print",
            "pull",
            "push",
            "quiet|q",
            "with-dependencies",
            "dry-run",
        ],
        stop_early: false,
        one_dash: false,
    };
    /// `docker compose up` and `create`.
    pub const COMPOSE_UP: Spec = Spec {
        value: &[
            "attach",
            "cap-add",
            "cap-drop",
            "entrypoint",
            "env|e",
            "env-from-file",
            "exit-code-from",
            "label|l",
            "name",
            "no-attach",
            "publish|p",
            "pull",
            "scale",
            "timeout|t",
            "user|u",
            "volume|v",
            "wait-timeout",
            "workdir|w",
        ],
        switch: &[
            "abort-on-container-exit",
            "abort-on-container-failure",
            "always-recreate-deps",
            "attach-dependencies",
            "build",
            "detach|d",
            "dry-run",
            "force-recreate",
            "help|h",
            "interactive|i",
            "menu",
            "no-build",
            "no-color",
            "no-deps",
            "no-log-prefix",
            "no-recreate",
            "no-start",
            "no-TTY|T",
            "quiet",
            "quiet-build",
            "quiet-pull",
            "remove-orphans",
            "renew-anon-volumes|V",
            "rm",
            "service-ports",
            "timestamps",
            "use-aliases",
            "wait",
            "watch",
            "yes|y",
        ],
        stop_early: false,
        one_dash: false,
    };
    /// `docker compose run`, whose flags end at the service.
    pub const COMPOSE_RUN: Spec = Spec { stop_early: true, ..Self::COMPOSE_UP };
    /// buildctl's flags in front of its subcommand.
    pub const BUILDCTL_GLOBAL: Spec = Spec {
        value: &["addr", "timeout", "tlscacert", "tlscert", "tlsdir", "tlskey", "tlsservername"],
        switch: &["debug", "help|h", "version|v", "wait"],
        stop_early: true,
        one_dash: true,
    };
    /// `buildctl build`.
    pub const BUILDCTL: Spec = Spec {
        value: &[
            "allow",
            "build-arg",
            "debug-json-cache-metrics",
            "export-cache",
            "exporter",
            "exporter-opt",
            "frontend",
            "frontend-opt",
            "import-cache",
            "local",
            "metadata-file",
            "oci-layout",
            "opt",
            "output|o",
            "progress",
            "ref-file",
            "registry-auth-tlscontext",
            "secret",
            "source-policy-file",
            "ssh",
            "trace",
        ],
        switch: &["help|h", "no-cache"],
        stop_early: false,
        one_dash: true,
    };

    fn find(list: &'static [&'static str], wanted: &str, short: bool) -> Option<&'static str> {
        list.iter().find_map(|flag| {
            let (long, letter) = match flag.split_once('|') {
                Some((long, letter)) => (long, Some(letter)),
                None => (*flag, None),
            };
            let hit = if short { letter == Some(wanted) } else { long == wanted };
            hit.then_some(long)
        })
    }
}

/// Flags and other words of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    flags: Vec<(&'static str, String)>,
    /// The words that are no flags.
    pub positional: Vec<String>,
    /// How many words were read; with `stop_early` the rest is the subcommand's.
    pub consumed: usize,
}

impl Parsed {
    /// The last value of a flag.
    pub fn last(&self, flag: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(name, _)| *name == flag).map(|(_, value)| value.as_str())
    }

    /// All values of a flag.
    pub fn all<'p>(&'p self, flag: &'p str) -> impl Iterator<Item = &'p str> {
        self.flags.iter().filter(move |(name, _)| *name == flag).map(|(_, value)| value.as_str())
    }

    /// Says whether a switch is on.
    pub fn is_on(&self, flag: &str) -> bool {
        self.last(flag).is_some_and(|value| matches!(value, "true" | "TRUE" | "True" | "t" | "T" | "1"))
    }
}

/// Reads flags: `--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, clusters, `--`.
pub(super) fn parse(args: &[String], spec: &Spec, program: &'static str) -> Result<Parsed, CommandError> {
    let mut parsed = Parsed::default();
    let mut at = 0;
    while let Some(word) = args.get(at) {
        if word == "--" {
            at += 1;
            if !spec.stop_early {
                parsed.positional.extend(args[at..].iter().cloned());
                at = args.len();
            }
            break;
        }
        let long = word.strip_prefix("--").or_else(|| {
            // One dash and more than one letter is a long name where the program takes it so.
            word.strip_prefix('-').filter(|rest| spec.one_dash && rest.len() > 1)
        });
        if let Some(long) = long {
            at += 1;
            let (name, given) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            if let Some(flag) = Spec::find(spec.value, name, false) {
                let value = match given {
                    Some(value) => value,
                    None => next(args, &mut at, word, program)?,
                };
                parsed.flags.push((flag, value));
            } else if let Some(flag) = Spec::find(spec.switch, name, false) {
                parsed.flags.push((flag, given.unwrap_or_else(|| "true".to_owned())));
            } else {
                return Err(unknown(word, program));
            }
        } else if word.len() > 1 && word.starts_with('-') {
            at += 1;
            let letters = &word[1..];
            for (offset, letter) in letters.char_indices() {
                let rest = &letters[offset + letter.len_utf8()..];
                let letter = letter.to_string();
                if let Some(flag) = Spec::find(spec.value, &letter, true) {
                    let value = if rest.is_empty() {
                        next(args, &mut at, word, program)?
                    } else {
                        rest.strip_prefix('=').unwrap_or(rest).to_owned()
                    };
                    parsed.flags.push((flag, value));
                    break;
                }
                match Spec::find(spec.switch, &letter, true) {
                    Some(flag) => match rest.strip_prefix('=') {
                        Some(value) => {
                            parsed.flags.push((flag, value.to_owned()));
                            break;
                        }
                        None => parsed.flags.push((flag, "true".to_owned())),
                    },
                    None => return Err(unknown(word, program)),
                }
            }
        } else if spec.stop_early {
            break;
        } else {
            parsed.positional.push(word.clone());
            at += 1;
        }
    }
    parsed.consumed = at;
    Ok(parsed)
}

fn next(args: &[String], at: &mut usize, flag: &str, program: &'static str) -> Result<String, CommandError> {
    let value = args.get(*at).cloned().ok_or_else(|| CommandError::MissingValue { flag: flag.to_owned(), program })?;
    *at += 1;
    Ok(value)
}

fn unknown(flag: &str, program: &'static str) -> CommandError {
    CommandError::UnknownFlag { flag: flag.split('=').next().unwrap_or(flag).to_owned(), program }
}
