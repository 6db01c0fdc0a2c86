//! Variable expansion and word splitting, as BuildKit's `frontend/dockerfile/shell/lex.go` does them.
//!
//! Knows `$X`, `${X}`, `${X:-d}`, `${X-d}`, `${X:+a}`, `${X+a}`, `${X:?e}`, `${X?e}`, `${X#p}`, `${X##p}`, `${X%p}`,
//! `${X%%p}`, `${X/p/r}`, `${X//p/r}`, both kinds of quotes and the escape character.

use std::collections::BTreeMap;

use regex::Regex;

/// The variables in force at some place: ARG and ENV values by name.
pub type Variables = BTreeMap<String, String>;

/// Why a word cannot be expanded. The texts are BuildKit's, without its `failed to process "…": `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote or a `${…}` is not closed.
    #[error("unexpected end of statement while looking for matching {0}")]
    Unclosed(String),
    /// `${` without `}`.
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    /// `${X/p` without the second `/`.
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    /// `${}`, `${{`, `${:`.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// A modifier that BuildKit does not know.
    #[error("unsupported modifier ({0}) in substitution")]
    UnsupportedModifier(String),
    /// `${X?message}` and X is not set.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The text of the Dockerfile, or BuildKit's own.
        message: String,
    },
    /// A pattern of `#`, `%` or `/` that is malformed.
    #[error("invalid pattern ({0}) in substitution")]
    InvalidPattern(String),
    /// `${…}` nested more than 100 deep, or a result over 1 MiB (no process can be given such a variable): bklog's own
    /// limits.
    #[error("the expansion is too deep or too long")]
    TooLarge,
}

const MAX_DEPTH: usize = 100;
const MAX_RESULT: usize = 1024 * 1024;

/// How to expand. `Lexer::new(escape)` is what BuildKit uses for the words of COPY, FROM, ENV and ARG.
#[derive(Debug, Clone, Copy)]
pub struct Lexer {
    /// The escape character: `\`, or `` ` `` by the `escape` directive.
    pub escape: char,
    /// Quotes stay in the result.
    pub raw_quotes: bool,
    /// Escape characters stay in the result.
    pub raw_escapes: bool,
    /// Quotes have no meaning.
    pub skip_quotes: bool,
    /// A variable that is not set stays as it is written.
    pub skip_unset: bool,
}

/// What an expansion gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The whole text.
    pub text: String,
    /// The text split at unquoted white space.
    pub words: Vec<String>,
    /// Variables that were looked up and are not set, in order.
    pub unset: Vec<String>,
    /// Variables that were looked up and are set, in order.
    pub used: Vec<String>,
}

impl Lexer {
    /// Expansion with quotes and escapes taken away and unset variables empty.
    pub fn new(escape: char) -> Self {
        Self { escape, raw_quotes: false, raw_escapes: false, skip_quotes: false, skip_unset: false }
    }

    /// Expands `text` with the variables given.
    ///
    /// # Errors
    /// See [`ExpandError`].
    pub fn expand(&self, text: &str, variables: &Variables) -> Result<Expanded, ExpandError> {
        let mut word = Word {
            lexer: *self,
            // Go's text/scanner drops a BOM at the beginning.
            rest: text.strip_prefix('\u{FEFF}').unwrap_or(text),
            variables,
            raw_escapes: self.raw_escapes,
            depth: 0,
            used: Vec::new(),
            unset: Vec::new(),
        };
        let (text, words) = word.until(None, self.raw_escapes)?;
        Ok(Expanded { text, words, unset: word.unset, used: word.used })
    }

    /// Expands `text` and gives it whole.
    ///
    /// # Errors
    /// See [`ExpandError`].
    pub fn word(&self, text: &str, variables: &Variables) -> Result<String, ExpandError> {
        self.expand(text, variables).map(|e| e.text)
    }
}

#[derive(Default)]
struct Words {
    word: String,
    words: Vec<String>,
    in_word: bool,
}

impl Words {
    fn push(&mut self, c: char) {
        if !c.is_whitespace() {
            self.push_raw(c);
        } else if self.in_word && !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
            self.in_word = false;
        }
    }

    fn push_raw(&mut self, c: char) {
        self.word.push(c);
        self.in_word = true;
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

struct Word<'t> {
    lexer: Lexer,
    rest: &'t str,
    variables: &'t Variables,
    raw_escapes: bool,
    depth: usize,
    used: Vec<String>,
    unset: Vec<String>,
}

impl Word<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        Some(c)
    }

    /// Reads up to `stop` (which is eaten) or, without one, to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), ExpandError> {
        let before = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        self.depth += 1;
        let result = match self.depth > MAX_DEPTH {
            true => Err(ExpandError::TooLarge),
            false => self.until_inner(stop),
        };
        self.depth -= 1;
        self.raw_escapes = before;
        result
    }

    fn until_inner(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), ExpandError> {
        let mut result = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.next();
                return Ok((result, words.finish()));
            }
            if result.len() > MAX_RESULT {
                return Err(ExpandError::TooLarge);
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| words.push(c));
                    result.push_str(&value);
                }
                '\'' | '"' if !self.lexer.skip_quotes => {
                    let value = match c {
                        '\'' => self.single_quoted()?,
                        _ => self.double_quoted()?,
                    };
                    words.word.push_str(&value);
                    words.in_word = true;
                    result.push_str(&value);
                }
                _ => {
                    self.next();
                    if c != self.lexer.escape {
                        words.push(c);
                        result.push(c);
                        continue;
                    }
                    if self.raw_escapes {
                        words.push_raw(c);
                        result.push(c);
                    }
                    let Some(escaped) = self.next() else {
                        break;
                    };
                    words.push_raw(escaped);
                    result.push(escaped);
                }
            }
        }
        match stop {
            Some(stop) => Err(ExpandError::Unclosed(stop.to_string())),
            None => Ok((result, words.finish())),
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let mut result = String::new();
        let quote = self.next();
        if self.lexer.raw_quotes {
            result.extend(quote);
        }
        while let Some(c) = self.next() {
            if c == '\'' {
                if self.lexer.raw_quotes {
                    result.push(c);
                }
                return Ok(result);
            }
            result.push(c);
        }
        Err(ExpandError::Unclosed("single-quote".to_owned()))
    }

    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        let mut result = String::new();
        let quote = self.next();
        if self.lexer.raw_quotes {
            result.extend(quote);
        }
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    self.next();
                    if self.lexer.raw_quotes {
                        result.push(c);
                    }
                    return Ok(result);
                }
                '$' => result.push_str(&self.dollar()?),
                _ => {
                    self.next();
                    if c != self.lexer.escape {
                        result.push(c);
                        continue;
                    }
                    if self.raw_escapes {
                        result.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == self.lexer.escape => {
                            self.next();
                            result.push(next);
                        }
                        Some(_) => result.push(c),
                    }
                }
            }
        }
        Err(ExpandError::Unclosed("double-quote".to_owned()))
    }

    fn lookup(&mut self, name: &str) -> Option<String> {
        let value = self.variables.get(name).cloned();
        match value {
            Some(_) => self.used.push(name.to_owned()),
            None => self.unset.push(name.to_owned()),
        }
        value
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.lookup(&name) {
                Some(value) => value,
                None if self.lexer.skip_unset => format!("${name}"),
                None => String::new(),
            });
        }
        self.next();
        match self.peek() {
            None => return Err(ExpandError::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let Some(operator) = self.next() else {
            // Go's scanner gives its EOF here, which is no modifier.
            return Err(ExpandError::UnsupportedModifier(String::new()));
        };
        match operator {
            '}' => Ok(match self.lookup(&name) {
                Some(value) => value,
                None if self.lexer.skip_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            ':' => {
                let Some(second) = self.next() else {
                    return Err(ExpandError::MissingBrace);
                };
                self.modifier(&name, second, true)
            }
            '+' | '-' | '?' | '#' | '%' => self.modifier(&name, operator, false),
            '/' => self.replace(&name),
            _ => Err(ExpandError::UnsupportedModifier(operator.to_string())),
        }
    }

    /// At the end of the text the missing character is the error, whatever else was.
    fn closing(&self, error: ExpandError, missing: ExpandError) -> ExpandError {
        match self.rest.is_empty() {
            true => missing,
            false => error,
        }
    }

    fn modifier(&mut self, name: &str, operator: char, null_is_unset: bool) -> Result<String, ExpandError> {
        let raw = matches!(operator, '#' | '%');
        let (word, _) = self.until(Some('}'), raw).map_err(|e| self.closing(e, ExpandError::MissingBrace))?;
        let value = self.lookup(name);
        let colon = if null_is_unset { ":" } else { "" };
        if self.lexer.skip_unset && value.is_none() {
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let counts = value.as_ref().is_some_and(|v| !(null_is_unset && v.is_empty()));
        match operator {
            '-' if counts => Ok(value.unwrap_or_default()),
            '-' => Ok(word),
            '+' if counts => Ok(word),
            '+' => Ok(String::new()),
            '?' if counts => Ok(value.unwrap_or_default()),
            '?' => {
                let what = if value.is_none() { "unset" } else { "empty" };
                Err(ExpandError::Required {
                    name: name.to_owned(),
                    message: match word.is_empty() {
                        true => format!("is not allowed to be {what}"),
                        false => word,
                    },
                })
            }
            '#' | '%' => {
                let (pattern, greedy) = match word.strip_prefix(operator) {
                    Some(rest) => (rest, true),
                    None => (word.as_str(), false),
                };
                let value = value.unwrap_or_default();
                match operator {
                    '#' => trim_prefix(pattern, &value, greedy),
                    _ => trim_suffix(pattern, &value, greedy),
                }
            }
            _ => Err(ExpandError::UnsupportedModifier(format!("{colon}{operator}"))),
        }
    }

    fn replace(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let (pattern, _) = self.until(Some('/'), true).map_err(|e| self.closing(e, ExpandError::MissingSlash))?;
        let (replacement, _) = self.until(Some('}'), true).map_err(|e| self.closing(e, ExpandError::MissingBrace))?;
        let value = match self.lookup(name) {
            Some(value) => value,
            None if self.lexer.skip_unset => {
                return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
            }
            None => String::new(),
        };
        let regex = shell_pattern(&pattern, true, false)?;
        Ok(match all {
            // Go expands `$1` and the like in the replacement; a pattern has no groups, so they are empty there too.
            true => regex.replace_all(&value, replacement.as_str()).into_owned(),
            false => regex.replacen(&value, 1, regex::NoExpand(&replacement)).into_owned(),
        })
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if name.is_empty() && is_digit(c) {
                while let Some(digit) = self.peek().filter(|c| is_digit(*c)) {
                    name.push(digit);
                    self.next();
                }
                return name;
            }
            if name.is_empty() && matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
                self.next();
                return c.to_string();
            }
            if !(c.is_alphanumeric() || c == '_') {
                break;
            }
            name.push(c);
            self.next();
        }
        name
    }
}

fn is_digit(c: char) -> bool {
    c.is_numeric() && c.is_ascii_digit()
}

/// Makes an expression of a shell pattern: `*`, `?` and escapes, no classes.
fn shell_pattern(pattern: &str, greedy: bool, anchored: bool) -> Result<Regex, ExpandError> {
    let invalid = || ExpandError::InvalidPattern(pattern.to_owned());
    let mut out = String::from(if anchored { "^" } else { "" });
    let mut input = pattern.chars().peekable();
    while let Some(c) = input.next() {
        match c {
            '*' => out.push_str(if greedy { ".*" } else { ".*?" }),
            '?' => out.push('.'),
            '\\' => match input.next() {
                Some(next @ ('}' | '/' | '*' | '?' | '\\')) => {
                    out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
                }
                _ => return Err(invalid()),
            },
            _ => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&out).map_err(|_| invalid())
}

fn trim_prefix(pattern: &str, value: &str, greedy: bool) -> Result<String, ExpandError> {
    let regex = shell_pattern(pattern, greedy, true)?;
    let end = regex.find(value).map_or(0, |found| found.end());
    Ok(value.get(end..).unwrap_or_default().to_owned())
}

/// Trims at the end by turning both round: an expression finds the leftmost match, not the shortest at the right.
fn trim_suffix(pattern: &str, value: &str, greedy: bool) -> Result<String, ExpandError> {
    let mut units: Vec<String> = Vec::new();
    let mut input = pattern.chars();
    while let Some(c) = input.next() {
        let mut unit = c.to_string();
        if c == '\\' {
            unit.extend(input.next());
        }
        units.push(unit);
    }
    let pattern: String = units.iter().rev().map(String::as_str).collect();
    let value: String = value.chars().rev().collect();
    Ok(trim_prefix(&pattern, &value, greedy)?.chars().rev().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> Variables {
        [("A", "one"), ("E", ""), ("P", "a/b/c.tar.gz"), ("S", "x y")].into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    fn word(text: &str) -> Result<String, String> {
        Lexer::new('\\').word(text, &variables()).map_err(|e| e.to_string())
    }

    #[test]
    fn values_and_defaults() {
        for (text, expected) in [
            ("$A", "one"),
            ("${A}x$U", "onex"),
            ("${U:-d}${U-d}${E:-d}${E-d}", "ddd"),
            ("${A:+a}${E:+a}${E+a}${U+a}", "aa"),
            ("${U:-${A}}", "one"),
            ("'$A'\"$A\"\\$A", "$Aone$A"),
            ("\"a\\nb\\\"\"", "a\\nb\""),
            ("$", "$"),
            ("a\\", "a"),
            ("$A.$A-", "one.one-"),
        ] {
            assert_eq!(word(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn patterns() {
        for (text, expected) in [
            ("${P#*/}", "b/c.tar.gz"),
            ("${P##*/}", "c.tar.gz"),
            ("${P%.*}", "a/b/c.tar"),
            ("${P%%.*}", "a/b/c"),
            ("${P/\\//-}", "a-b/c.tar.gz"),
            ("${P//\\//-}", "a-b-c.tar.gz"),
            ("${P/?.tar/X}", "a/b/X.gz"),
            ("${U#x}", ""),
        ] {
            assert_eq!(word(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn errors() {
        for (text, expected) in [
            ("${", "syntax error: missing '}'"),
            ("${}", "syntax error: bad substitution"),
            ("${A", "unsupported modifier () in substitution"),
            ("${A:-x", "syntax error: missing '}'"),
            ("${A/x", "syntax error: missing '/' in ${}"),
            ("${A:=x}", "unsupported modifier (:=) in substitution"),
            ("${U?}", "U: is not allowed to be unset"),
            ("${E:?no}", "E: no"),
            ("'x", "unexpected end of statement while looking for matching single-quote"),
        ] {
            assert_eq!(word(text), Err(expected.to_owned()), "{text}");
        }
        let deep = "${U:-".repeat(10_000);
        assert_eq!(word(&deep), Err("the expansion is too deep or too long".to_owned()));
    }

    #[test]
    fn the_lexer_of_step_names_keeps_quotes_and_unset_variables() {
        let lexer = Lexer { raw_quotes: true, skip_unset: true, ..Lexer::new('\\') };
        let expand = |text| lexer.word(text, &variables()).unwrap();
        assert_eq!(expand("RUN echo \"$A $U ${U:-x}\" '$A'"), "RUN echo \"one $U ${U:-x}\" '$A'");
    }

    #[test]
    fn words_split_after_expansion_unless_quoted() {
        let expanded = Lexer::new('\\').expand("a $S \"$S\" b\\ c $U", &variables()).unwrap();
        assert_eq!(expanded.words, ["a", "x", "y", "x y", "b c"]);
        assert_eq!(expanded.unset, ["U"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[$A{}:+?#%/'\"\\\\ *éU-]{0,40}", raw: bool) {
            let lexer = Lexer { raw_quotes: raw, skip_unset: raw, ..Lexer::new('\\') };
            let _ = lexer.expand(&text, &variables());
        }
    }
}
