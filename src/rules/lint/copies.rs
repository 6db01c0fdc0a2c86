//! What the rules about the build context share: which instructions take from it, and what.

use crate::evidence::{
    dockerfile::{Command, CommandKind, Copy, Dockerfile},
    go_match::filepath_match,
    ignore::IgnoreRules,
};

/// A COPY or ADD that takes from the main build context.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContextCopy<'a> {
    /// The instruction; of an ONBUILD the whole of it.
    pub(super) command: &'a Command,
    pub(super) copy: &'a Copy,
    /// The stage that it stands in, from 0.
    pub(super) stage: usize,
}

/// The instructions that take from the main context, those behind ONBUILD too, in the order of the file.
pub(super) fn context_copies(dockerfile: &Dockerfile) -> Vec<ContextCopy<'_>> {
    let mut found = Vec::new();
    for (stage, commands) in dockerfile.stages.iter().map(|stage| &stage.commands).enumerate() {
        for command in commands {
            let kind = match &command.kind {
                CommandKind::Onbuild { trigger: Some(trigger), .. } => &trigger.kind,
                kind => kind,
            };
            if let CommandKind::Copy(copy) | CommandKind::Add(copy) = kind
                && copy.from.is_none()
                && copy.local_sources().next().is_some()
            {
                found.push(ContextCopy { command, copy, stage });
            }
        }
    }
    found
}

impl ContextCopy<'_> {
    /// Whether it takes the whole context: `.`, `/` or `*`.
    pub(super) fn takes_all(&self) -> bool {
        self.copy.local_sources().any(|source| matches!(plain(source), "" | "." | "*" | "**"))
    }

    /// Whether it takes a file of the context, or a directory that is or holds `path`. False where a variable leaves that open.
    pub(super) fn takes(&self, path: &str) -> bool {
        self.copy.local_sources().any(|source| {
            let source = plain(source);
            if matches!(source, "" | "." | "*" | "**") {
                return true;
            }
            // A pattern takes what it matches and, if that is a directory, what is in it.
            let depth = source.split('/').count();
            let head = path.match_indices('/').map(|(at, _)| at).nth(depth - 1).map_or(path, |at| &path[..at]);
            source == head || filepath_match(source.as_bytes(), head.as_bytes()).unwrap_or(false)
        }) && !self.excludes(path)
    }

    /// Whether it takes a directory or something in it.
    pub(super) fn takes_of(&self, directory: &str) -> bool {
        self.takes(directory)
            || self.copy.local_sources().any(|source| plain(source).strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
    }

    /// `--exclude`, whose patterns begin at the source (BuildKit `dockerfile2llb`, `ExcludePatterns`).
    fn excludes(&self, path: &str) -> bool {
        if self.copy.excludes.is_empty() {
            return false;
        }
        let rules = IgnoreRules::from_patterns(self.copy.excludes.iter().map(String::as_str));
        let base = self.copy.local_sources().map(plain).find_map(|source| path.strip_prefix(source)?.strip_prefix('/')).unwrap_or(path);
        rules.is_ok_and(|rules| rules.ignores(base))
    }
}

/// A source without what changes nothing: `./src/` is `src`.
fn plain(source: &str) -> &str {
    let mut source = source.trim_matches('/');
    while let Some(rest) = source.strip_prefix("./") {
        source = rest.trim_start_matches('/');
    }
    source.strip_suffix("/.").unwrap_or(source).trim_end_matches('/')
}

/// The first line of an instruction, not too long.
pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(text: &str) -> Dockerfile {
        Dockerfile::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_a_copy_takes() {
        for (line, path, expected) in [
            ("COPY . .", "a/b", true),
            ("COPY ./src/ /x", "src/a", true),
            ("COPY src /x", "srcs/a", false),
            ("COPY *.json ./", "package.json", true),
            ("COPY *.json ./", "a/package.json", false),
            ("COPY svc/*/src /x", "svc/a/src/main.py", true),
            ("COPY --exclude=.env . .", ".env", false),
            ("COPY --exclude=.env . .", "a", true),
            ("ADD https://example.org/a /", "a", false),
            ("ONBUILD COPY . /app", "a", true),
            ("COPY $DIR /app", "a", false),
        ] {
            let file = copies(&format!("FROM x\n{line}\n"));
            assert_eq!(context_copies(&file).iter().any(|copy| copy.takes(path)), expected, "{line}: {path}");
        }
        let file = copies("FROM x\nCOPY libs/a/setup.py /x\nCOPY --from=y . .\n");
        let all = context_copies(&file);
        assert!(all.len() == 1 && all[0].takes_of("libs") && all[0].takes_of("libs/a") && !all[0].takes_of("lib") && !all[0].takes_all());
    }
}
