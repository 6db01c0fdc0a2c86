//! Ignore files (`.dockerignore`), read and matched as moby does.
//!
//! Facts from moby/patternmatcher (`ignorefile.ReadAll`, `PatternMatcher`) and, for the walk over a context, from
//! tonistiigi/fsutil's filter. It is not git's language: a pattern is anchored at the context root, the last matching
//! pattern wins, and a pattern that matches a directory also takes everything below it.
//!
//! moby has two ways to ask, and they differ. [`IgnoreRules::ignores`] is `MatchesOrParentMatches`, which a `!` rule for
//! a directory always reaches. [`IgnoreRules::enter`] is `MatchesUsingParentResults`, which BuildKit's context transfer
//! uses: after `a/b` and `!a`, it leaves `a/b` out, since `!a` was not looked at when the walk came to `a`.
//! For the files that a build really gets, walk.

mod pattern;
#[cfg(test)]
mod tests;

use self::pattern::Pattern;
use super::go_match::clean;

/// Longest line that Go's `bufio.Scanner` reads, with its line end.
const MAX_LINE: usize = 64 * 1024;
/// Largest ignore file that is read. BuildKit's own limit is that of a gRPC message, 16 MiB.
pub(super) const MAX_FILE: usize = 16 * 1024 * 1024;
/// Most patterns that need a regular expression: each can take some kilobytes of memory.
const MAX_COMPLEX: usize = 20_000;

/// Why an ignore file cannot be used. The first three texts are moby's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// A pattern is malformed, for instance an open `[`.
    #[error("syntax error in pattern")]
    BadPattern {
        /// The pattern, cleaned, without its `!`.
        pattern: String,
    },
    /// A line holds `!` and nothing else.
    #[error("illegal exclusion pattern: \"!\"")]
    IllegalExclusion,
    /// A line is longer than 65,535 bytes.
    #[error("bufio.Scanner: token too long")]
    LineTooLong {
        /// The line's number, from 1.
        line: usize,
    },
    /// The file is larger than 16 MiB, or has more than 20,000 patterns that need a regular expression.
    #[error("the ignore file is too large")]
    TooLarge,
}

/// The rules of one ignore file.
#[derive(Debug, Default)]
pub struct IgnoreRules {
    patterns: Vec<Pattern>,
    has_exceptions: bool,
    /// Every `!` rule is plain text up to a trailing `/*` or `/**` (fsutil's `onlyPrefixExcludeExceptions`).
    plain_exceptions: bool,
}

/// What the rules say of one directory or file, kept for what lies below it.
#[derive(Debug, Clone)]
pub struct IgnoreState {
    matched: Box<[bool]>,
    ignored: bool,
    skip: bool,
}

impl IgnoreState {
    /// Whether the path is left out of the context.
    pub fn ignored(&self) -> bool {
        self.ignored
    }

    /// Whether, for a directory, BuildKit does not look at anything below it: it is ignored and no `!` rule reaches in.
    pub fn skips_directory(&self) -> bool {
        self.skip
    }
}

impl IgnoreRules {
    /// Reads an ignore file: a BOM, CRLF, comments (`#` in the first column only) and blank lines are dealt with as moby
    /// does. Invalid UTF-8 is read with U+FFFD in its place.
    ///
    /// # Errors
    /// Those of moby, see [`IgnoreError`]. A malformed pattern is found here if Go's `filepath.Match` finds it at once,
    /// else when a path first reaches it, as with moby.
    pub fn parse(bytes: &[u8]) -> Result<Self, IgnoreError> {
        if bytes.len() > MAX_FILE {
            return Err(IgnoreError::TooLarge);
        }
        let mut patterns = Vec::new();
        for (number, raw) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
            let terminated = raw.ends_with(b"\n");
            if raw.len() > MAX_LINE || (raw.len() == MAX_LINE && !terminated) {
                return Err(IgnoreError::LineTooLong { line: number + 1 });
            }
            let line = raw.strip_suffix(b"\n").unwrap_or(raw);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = match number {
                0 => line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line),
                _ => line,
            };
            patterns.extend(read_line(&String::from_utf8_lossy(line)));
        }
        Self::from_patterns(patterns.iter().map(String::as_str))
    }

    /// Makes rules of patterns that come from elsewhere, such as `COPY --exclude`: no comments, no leading `/` removed.
    ///
    /// # Errors
    /// As [`IgnoreRules::parse`].
    pub fn from_patterns<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Self, IgnoreError> {
        let mut rules = Self::default();
        let mut complex = 0;
        for pattern in patterns {
            let pattern = pattern.trim_matches(go_space);
            if pattern.is_empty() {
                continue;
            }
            let pattern = Pattern::new(&clean(pattern))?;
            complex += usize::from(pattern.is_complex());
            if complex > MAX_COMPLEX {
                return Err(IgnoreError::TooLarge);
            }
            rules.has_exceptions |= pattern.is_exception();
            rules.patterns.push(pattern);
        }
        rules.plain_exceptions = rules.patterns.iter().filter(|p| p.is_exception()).all(Pattern::is_plain_prefix);
        Ok(rules)
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether some rule begins with `!`.
    pub fn has_exceptions(&self) -> bool {
        self.has_exceptions
    }

    /// Says whether a path is ignored: moby's `MatchesOrParentMatches`.
    ///
    /// `path` is relative to the context root, separated by `/`, clean (no `./`, no `//`).
    ///
    /// # Errors
    /// A malformed pattern that is reached for this path only.
    pub fn try_ignores(&self, path: &str) -> Result<bool, IgnoreError> {
        let mut ignored = false;
        for pattern in &self.patterns {
            if pattern.is_exception() == ignored && self.matches_or_parent(pattern, path)? {
                ignored = !pattern.is_exception();
            }
        }
        Ok(ignored)
    }

    /// As [`IgnoreRules::try_ignores`]; false where a malformed pattern is reached (BuildKit fails such a build).
    pub fn ignores(&self, path: &str) -> bool {
        self.try_ignores(path).unwrap_or(false)
    }

    fn matches_or_parent(&self, pattern: &Pattern, path: &str) -> Result<bool, IgnoreError> {
        if pattern.matches(path)? {
            return Ok(true);
        }
        for (end, _) in path.match_indices('/') {
            if pattern.matches(path.get(..end).unwrap_or_default())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decides on one path in a walk from the context root downwards, as BuildKit's transfer of a context does.
    ///
    /// `parent` is the state of the directory that holds `path`, `None` for what lies in the root. The parent's results
    /// are used again, so that each pattern is matched against each path at most once.
    ///
    /// # Errors
    /// A malformed pattern that is reached for this path only.
    pub fn enter(&self, path: &str, parent: Option<&IgnoreState>) -> Result<IgnoreState, IgnoreError> {
        let mut ignored = false;
        let mut matched = vec![false; self.patterns.len()].into_boxed_slice();
        for (index, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent.is_some_and(|p| p.matched.get(index) == Some(&true));
            let found = inherited || (pattern.is_exception() == ignored && self.matches_here(pattern, path, parent)?);
            if let Some(slot) = matched.get_mut(index) {
                *slot = found;
            }
            if found {
                ignored = !pattern.is_exception();
            }
        }
        let skip = ignored && self.unreachable_below(path);
        Ok(IgnoreState { matched, ignored, skip })
    }

    fn matches_here(&self, pattern: &Pattern, path: &str, parent: Option<&IgnoreState>) -> Result<bool, IgnoreError> {
        match parent {
            // Without results of the parent moby looks at the parents itself.
            None => self.matches_or_parent(pattern, path),
            Some(_) => pattern.matches(path),
        }
    }

    /// Whether no `!` rule can bring back anything below an ignored directory.
    fn unreachable_below(&self, directory: &str) -> bool {
        if !self.has_exceptions {
            return true;
        }
        self.plain_exceptions && !self.patterns.iter().filter(|p| p.is_exception()).any(|p| p.reaches_below(directory))
    }

    /// Says whether a build's context lacks a path, by walking down to it as [`IgnoreRules::enter`] does.
    ///
    /// For many paths of one tree keep the states instead. A malformed pattern that is reached counts as no match.
    pub fn leaves_out(&self, path: &str) -> bool {
        let mut state: Option<IgnoreState> = None;
        let ends = path.match_indices('/').map(|(end, _)| end);
        for end in ends.chain([path.len()]) {
            match self.enter(path.get(..end).unwrap_or_default(), state.as_ref()) {
                Ok(next) if next.skip => return true,
                Ok(next) => state = Some(next),
                Err(_) => return false,
            }
        }
        state.is_some_and(|s| s.ignored)
    }
}

/// White space in Go's sense (`unicode.IsSpace`), which `strings.TrimSpace` removes.
fn go_space(c: char) -> bool {
    // Rust's White_Space is the same set.
    c.is_whitespace()
}

/// Reads one line of an ignore file into a pattern (`ignorefile.ReadAll`).
fn read_line(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim_matches(go_space);
    if line.is_empty() {
        return None;
    }
    let (mark, pattern) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim_matches(go_space)),
        None => ("", line),
    };
    if pattern.is_empty() {
        return Some(mark.to_owned());
    }
    let pattern = clean(pattern);
    let pattern = match pattern.strip_prefix('/') {
        Some(rest) if !rest.is_empty() => rest,
        _ => &pattern,
    };
    Some(format!("{mark}{pattern}"))
}

/// Names the ignore files that BuildKit looks for, in that order; the first that exists counts alone.
///
/// `dockerfile` is the path of the Dockerfile as given to the build, relative to the Dockerfile's directory root;
/// `docker/api.Dockerfile` gives `docker/api.Dockerfile.dockerignore`, then `.dockerignore` of the context root
/// (BuildKit `frontend/dockerui`, `DockerIgnorePatterns`). The first is looked for beside the Dockerfile, the second in
/// the context.
pub fn candidates(dockerfile: &str) -> [String; 2] {
    [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned()]
}
