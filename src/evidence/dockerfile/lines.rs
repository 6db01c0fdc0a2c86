//! From bytes to logical lines: directives, continuations, comments, heredocs
//! (facts: BuildKit `frontend/dockerfile/parser/{parser,directives}.go`).

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while};
use nom::character::complete::{satisfy, space0};
use nom::combinator::{all_consuming, recognize, rest, value, verify};
use nom::sequence::{pair, preceded};
use nom::{IResult, Parser};

use super::error::{DockerfileError, ErrorKind};
use super::expand::{ExpandError, Lexer, Variables};
use super::{Directive, Heredoc};

/// Longest line with its end that Go's scanner takes.
const MAX_LINE: usize = 64 * 1024;

/// The lines of a file with their ends, each with its byte offset.
pub(super) struct Lines<'b> {
    bytes: &'b [u8],
    offset: usize,
    /// Number of the last line given, from 1.
    pub(super) number: usize,
    /// Reading stopped at a line that is too long.
    pub(super) too_long: bool,
}

impl<'b> Lines<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, offset: 0, number: 0, too_long: false }
    }

    /// Where the next line begins.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn next(&mut self) -> Option<&'b [u8]> {
        let left = self.bytes.get(self.offset..)?;
        if left.is_empty() || self.too_long {
            return None;
        }
        let window = left.get(..MAX_LINE).unwrap_or(left);
        let line = match memchr::memchr(b'\n', window) {
            Some(end) => window.get(..=end)?,
            None if window.len() == MAX_LINE => {
                self.too_long = true;
                return None;
            }
            None => window,
        };
        self.offset += line.len();
        self.number += 1;
        Some(line)
    }
}

/// Without the line end: any number of CR and LF.
pub(super) fn trim_newline(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |at| at + 1);
    line.get(..end).unwrap_or_default()
}

/// The text of a line without its end; invalid UTF-8 becomes U+FFFD.
pub(super) fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(trim_newline(line)).into_owned()
}

/// Reads `#name=value` at the top of a file.
#[derive(Debug)]
pub(super) struct DirectiveReader {
    done: bool,
    seen: Vec<Directive>,
    pub(super) escape: char,
}

impl DirectiveReader {
    pub(super) fn new() -> Self {
        Self { done: false, seen: Vec::new(), escape: '\\' }
    }

    pub(super) fn directives(self) -> Vec<Directive> {
        self.seen
    }

    /// Looks at a line; the first that is no directive ends the search.
    pub(super) fn look(&mut self, line: &str, number: usize) -> Result<(), DockerfileError> {
        if self.done {
            return Ok(());
        }
        let Ok((_, (name, value))) = directive(line) else {
            self.done = true;
            return Ok(());
        };
        let name = name.to_ascii_lowercase();
        if !matches!(name.as_str(), "syntax" | "escape" | "check") {
            self.done = true;
            return Ok(());
        }
        let error = |kind| DockerfileError { kind, line: number, end_line: number };
        if self.seen.iter().any(|seen| seen.name == name) {
            return Err(error(ErrorKind::RepeatedDirective(name)));
        }
        if name == "escape" {
            self.escape = match value {
                "\\" => '\\',
                "`" => '`',
                _ => return Err(error(ErrorKind::BadEscape(value.to_owned()))),
            };
        }
        self.seen.push(Directive { name, value: value.to_owned(), line: number });
        Ok(())
    }
}

fn blanks(input: &str) -> IResult<&str, &str> {
    take_while(|c: char| c.is_whitespace()).parse(input)
}

/// `#name=value`, with blanks where BuildKit allows them.
fn directive(line: &str) -> IResult<&str, (&str, &str)> {
    let name = recognize(pair(satisfy(|c| c.is_ascii_alphabetic()), take_while(|c: char| c.is_ascii_alphanumeric())));
    let value = verify(rest.map(str::trim), |value: &str| !value.is_empty());
    (preceded((tag("#"), blanks), name), preceded((blanks, tag("="), blanks), value)).parse(line)
}

/// A comment: `#` behind nothing but blanks. Gives the text behind the `#`.
pub(super) fn comment(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix('#')
}

/// Takes the continuation character off: what is left, and whether the line goes on.
///
/// It stands at the end or before blanks, and not behind another escape character, unless it is alone in its line.
pub(super) fn continuation(line: &str, escape: char) -> Option<&str> {
    let body = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!body.ends_with(escape)).then_some(body)
}

/// `# bklog: ignore[rule, other] reason`, given what stands behind the `#`.
///
/// `None` if the comment does not speak to bklog, `Some(None)` if it does and cannot be read.
pub(super) fn suppression(comment: &str) -> Option<Option<(Vec<String>, String)>> {
    let comment = comment.trim();
    let said = preceded::<_, _, nom::error::Error<&str>, _, _>((tag("bklog"), space0, tag(":")), rest).parse(comment).ok()?.1;
    let mut grammar = (preceded((space0, tag("ignore"), space0, tag("[")), take_while(|c: char| c != ']')), preceded(tag("]"), rest));
    let read: IResult<&str, (&str, &str)> = grammar.parse(said);
    let Ok((_, (rules, reason))) = read else {
        return Some(None);
    };
    let rules: Vec<String> = rules.split(',').map(|r| r.trim().to_owned()).collect();
    let named = rules.iter().all(|rule| !rule.is_empty() && rule.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    Some(named.then(|| (rules, reason.trim().to_owned())))
}

/// The parts of a heredoc word: `<<EOF`, `3<<-"EOF"`.
fn heredoc_word(word: &str) -> IResult<&str, (bool, &str)> {
    let descriptor = take_while(|c: char| c.is_ascii_digit());
    let dash = alt((value(true, tag("-")), value(false, tag(""))));
    let name = verify(rest, |name: &str| !name.contains('<'));
    all_consuming((preceded((descriptor, tag("<<")), dash), name)).parse(word)
}

/// Reads a word as the beginning of a heredoc; `None` if it is none.
pub(super) fn parse_heredoc(word: &str) -> Result<Option<Heredoc>, ExpandError> {
    let Ok((_, (chomp, name))) = heredoc_word(word) else {
        return Ok(None);
    };
    if name.is_empty() {
        return Ok(None);
    }
    let none = Variables::new();
    let lexer = Lexer { skip_unset: true, ..Lexer::new('\\') };
    let words = lexer.expand(name, &none)?.words;
    let raw = Lexer { raw_quotes: true, ..lexer };
    let raw_words = raw.expand(name, &none)?.words;
    let ([word], [raw_word]) = (words.as_slice(), raw_words.as_slice()) else {
        return Ok(None);
    };
    let quotes = |word: &str| word.matches(['\'', '"']).count();
    Ok(Some(Heredoc { name: word.clone(), expand: quotes(word) == quotes(raw_word), chomp, content: String::new() }))
}

/// Finds the heredocs that an instruction announces.
pub(super) fn heredocs_of(line: &str) -> Result<Vec<Heredoc>, ExpandError> {
    // Words cannot be split if a quote is open: BuildKit then sees no heredoc.
    let lexer = Lexer { raw_quotes: true, raw_escapes: true, skip_unset: true, ..Lexer::new('\\') };
    if !line.contains("<<") {
        return Ok(Vec::new());
    }
    let Ok(expanded) = lexer.expand(line, &Variables::new()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for word in &expanded.words {
        found.extend(parse_heredoc(word)?);
    }
    Ok(found)
}

/// Takes the tabs off the beginning of each line (`<<-`).
pub(super) fn chomp(content: &str) -> String {
    content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives() {
        assert_eq!(directive("# escape = ` "), Ok(("", ("escape", "`"))));
        assert_eq!(directive("#syntax=a/b:1"), Ok(("", ("syntax", "a/b:1"))));
        assert!(directive("# a comment").is_err());
        assert!(directive("# check=").is_err());
    }

    #[test]
    fn continuations() {
        assert_eq!(continuation("a \\", '\\'), Some("a "));
        assert_eq!(continuation("a \\ \t", '\\'), Some("a "));
        assert_eq!(continuation("\\", '\\'), Some(""));
        assert_eq!(continuation("a \\\\", '\\'), None);
        assert_eq!(continuation("a", '\\'), None);
        assert_eq!(continuation("a `", '`'), Some("a "));
    }

    #[test]
    fn suppressions() {
        let read = |text| suppression(text);
        assert_eq!(
            read(" bklog: ignore[stale-copy, x] the reason "),
            Some(Some((vec!["stale-copy".to_owned(), "x".to_owned()], "the reason".to_owned())))
        );
        assert_eq!(read(" bklog: ignore"), Some(None));
        assert_eq!(read(" bklog: ignore[] x"), Some(None));
        assert_eq!(read(" a comment on bklog: x"), None);
    }

    #[test]
    fn heredoc_words() {
        let parse = |word| parse_heredoc(word).unwrap();
        assert_eq!(parse("<<EOF").map(|h| (h.name, h.expand)), Some(("EOF".to_owned(), true)));
        assert_eq!(parse("<<-'E F'").map(|h| (h.name, h.expand, h.chomp)), Some(("E F".to_owned(), false, true)));
        assert_eq!(parse("3<<\"X\"").map(|h| h.name), Some("X".to_owned()));
        assert_eq!(parse("<<<x"), None);
        assert_eq!(parse("a<<b"), None);
        assert_eq!(parse("<<"), None);
    }

    #[test]
    fn a_long_line_ends_the_reading() {
        let mut bytes = vec![b'a'; MAX_LINE - 1];
        bytes.push(b'\n');
        bytes.extend(vec![b'b'; MAX_LINE]);
        let mut lines = Lines::new(&bytes);
        assert!(lines.next().is_some());
        assert!(lines.next().is_none());
        assert!(lines.too_long);
    }
}
