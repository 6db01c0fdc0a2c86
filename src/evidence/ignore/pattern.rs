//! One pattern of an ignore file (moby/patternmatcher's `Pattern`).

use std::sync::OnceLock;

use regex::Regex;

use super::IgnoreError;
use crate::evidence::go_match::filepath_match;
use crate::evidence::go_regex;

/// How a pattern is matched: most need no regular expression.
#[derive(Debug)]
enum Matcher {
    /// The path is the pattern.
    Exact,
    /// `text**`: the path begins with the text.
    Prefix(String),
    /// `**text`: the path ends in the text, or is the text without its leading `/`.
    Suffix(String),
    /// Everything else. Compiled at first use, `None` if Go refuses the expression.
    Expression { go: String, compiled: OnceLock<Option<Regex>> },
}

#[derive(Debug)]
pub(super) struct Pattern {
    /// The cleaned pattern without `!`.
    text: String,
    exception: bool,
    matcher: Matcher,
}

impl Pattern {
    /// Takes a trimmed and cleaned pattern that is not empty.
    pub(super) fn new(cleaned: &str) -> Result<Self, IgnoreError> {
        let (text, exception) = match cleaned.strip_prefix('!') {
            Some("") => return Err(IgnoreError::IllegalExclusion),
            Some(rest) => (rest, true),
            None => (cleaned, false),
        };
        if filepath_match(text.as_bytes(), b".").is_err() {
            return Err(bad(text));
        }
        Ok(Self { text: text.to_owned(), exception, matcher: matcher(text) })
    }

    pub(super) fn is_exception(&self) -> bool {
        self.exception
    }

    pub(super) fn is_complex(&self) -> bool {
        matches!(self.matcher, Matcher::Expression { .. })
    }

    /// Says whether the pattern matches this very path.
    pub(super) fn matches(&self, path: &str) -> Result<bool, IgnoreError> {
        match &self.matcher {
            Matcher::Exact => Ok(path == self.text),
            Matcher::Prefix(text) => Ok(path.starts_with(text.as_str())),
            Matcher::Suffix(text) => Ok(path.ends_with(text.as_str()) || text.strip_prefix('/') == Some(path)),
            Matcher::Expression { go, compiled } => match compiled.get_or_init(|| Regex::new(&go_regex::translate(go)?).ok()) {
                Some(regex) => Ok(regex.is_match(path)),
                None => Err(bad(&self.text)),
            },
        }
    }

    fn without_trailing_glob(&self) -> &str {
        let text = self.text.strip_suffix("/**").unwrap_or(&self.text);
        text.strip_suffix("/*").unwrap_or(text)
    }

    /// Whether the pattern is plain text but for a trailing `/*` or `/**` (fsutil's `patternChars`).
    pub(super) fn is_plain_prefix(&self) -> bool {
        !self.without_trailing_glob().contains(['*', '[', ']', '?', '^'])
    }

    /// Whether a plain pattern names the directory or something in it.
    pub(super) fn reaches_below(&self, directory: &str) -> bool {
        let text = self.without_trailing_glob();
        text.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

fn bad(pattern: &str) -> IgnoreError {
    IgnoreError::BadPattern { pattern: pattern.to_owned() }
}

/// Chooses the matcher, and writes the expression that moby would compile.
fn matcher(pattern: &str) -> Matcher {
    #[derive(PartialEq)]
    enum Kind {
        Exact,
        Prefix,
        Suffix,
        Expression,
    }
    // Go's text/scanner drops a BOM at the beginning; only the expression is affected.
    let mut input = pattern.strip_prefix('\u{FEFF}').unwrap_or(pattern).chars().peekable();
    let mut go = String::from("^");
    let mut kind = Kind::Exact;
    let mut first = true;
    while let Some(c) = input.next() {
        match c {
            '*' if input.peek() == Some(&'*') => {
                input.next();
                if input.peek() == Some(&'/') {
                    input.next();
                }
                if input.peek().is_some() {
                    go.push_str("(.*/)?");
                    kind = Kind::Expression;
                } else if kind == Kind::Exact {
                    kind = Kind::Prefix;
                } else {
                    go.push_str(".*");
                    kind = Kind::Expression;
                }
                if first {
                    kind = Kind::Suffix;
                }
            }
            '*' => {
                go.push_str("[^/]*");
                kind = Kind::Expression;
            }
            '?' => {
                go.push_str("[^/]");
                kind = Kind::Expression;
            }
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => {
                go.push('\\');
                go.push(c);
            }
            '\\' => {
                go.push('\\');
                if let Some(next) = input.next() {
                    go.push(next);
                    kind = Kind::Expression;
                }
            }
            '[' | ']' => {
                go.push(c);
                kind = Kind::Expression;
            }
            _ => go.push(c),
        }
        first = false;
    }
    match kind {
        Kind::Exact => Matcher::Exact,
        Kind::Prefix => Matcher::Prefix(cut(pattern, 0, 2)),
        Kind::Suffix => Matcher::Suffix(cut(pattern, 2, 0)),
        Kind::Expression => {
            go.push('$');
            Matcher::Expression { go, compiled: OnceLock::new() }
        }
    }
}

/// The pattern without the two bytes of `**` at its beginning or end.
fn cut(pattern: &str, front: usize, back: usize) -> String {
    pattern.len().checked_sub(back).and_then(|end| pattern.get(front..end)).unwrap_or_default().to_owned()
}
