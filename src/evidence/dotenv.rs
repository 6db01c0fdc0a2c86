//! Environment files (`.env`, `--env-file`).
//!
//! The rules are those of compose-go `dotenv`: `export` in front, `=` or `:` between, quotes,
//! escapes and variables in double quotes, variables without quotes, `#` comments. A variable of
//! the real environment wins over the file.

use super::build_target::Env;
use super::interpolate::interpolate;

/// Variables that one file may set.
const MAX_VARS: usize = 20_000;
/// Bytes that the values of one file may take.
const MAX_BYTES: usize = 64 << 20;

/// Why an environment file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct DotenvError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads an environment file into names and values, in the order of the file.
///
/// `env` is the real environment: it gives the values of names without `=`, and wins over the file.
/// `earlier` is what files before this one said: a value may use it, but does not yield to it.
///
/// # Errors
/// A name with a character that no name may have, or a quote that does not end.
pub fn parse(text: &str, env: &Env<'_>, earlier: &Env<'_>) -> Result<Vec<(String, String)>, DotenvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut vars: Vec<(String, String)> = Vec::new();
    let mut rest = text;
    let mut bytes = 0;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(vars);
        }
        if rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let start = text.len() - rest.len();
        let fail = |message: String| DotenvError { line: 1 + text[..start].matches('\n').count(), message };
        let statement = match rest.strip_prefix("export") {
            Some(after) if after.starts_with([' ', '\t']) => after.trim_start_matches([' ', '\t']),
            _ => rest,
        };
        let end = statement.find(['=', ':', '\n']).unwrap_or(statement.len());
        let name = statement[..end].trim();
        if let Some(wrong) = name.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']'))) {
            return Err(fail(format!("unexpected character {wrong:?} in a variable name")));
        }
        if name.is_empty() {
            return Err(fail("a value without a name".to_owned()));
        }
        let assigned = statement[end..].starts_with(['=', ':']);
        let after = statement.get(end + 1..).unwrap_or("");
        if !assigned {
            rest = after;
            if let Some(value) = env(name) {
                set(&mut vars, name, value);
            }
            continue;
        }
        let after = after.trim_start_matches([' ', '\t', '\r']);
        let lookup = |key: &str| {
            env(key).or_else(|| vars.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())).or_else(|| earlier(key))
        };
        let (value, next) = value(after, &lookup).map_err(fail)?;
        rest = next;
        let value = env(name).unwrap_or(value);
        bytes += value.len();
        if bytes > MAX_BYTES || vars.len() >= MAX_VARS {
            return Err(fail("the file sets too much".to_owned()));
        }
        set(&mut vars, name, value);
    }
}

fn set(vars: &mut Vec<(String, String)>, name: &str, value: String) {
    match vars.iter_mut().find(|(known, _)| known == name) {
        Some(known) => known.1 = value,
        None => vars.push((name.to_owned(), value)),
    }
}

/// Reads a value and gives what follows it.
fn value<'t>(text: &'t str, env: &Env<'_>) -> Result<(String, &'t str), String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    let Some(quote) = quote else {
        let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
        // A comment needs white space in front, so that a value may hold `#`.
        let line = match comment_start(line) {
            Some(at) => &line[..at],
            None => line,
        };
        let value = interpolate(line.trim_end(), env).map_err(|error| error.to_string())?;
        return Ok((value, rest));
    };
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            let inner = &text[1..at];
            let value =
                if quote == '"' { interpolate(&unescape(inner), env).map_err(|error| error.to_string())? } else { inner.to_owned() };
            let rest = &text[at + 1..];
            let rest = rest.split_once('\n').map_or("", |(_, after)| after);
            return Ok((value, rest));
        }
        escaped = c == '\\' && !escaped;
    }
    Err("a quoted value does not end".to_owned())
}

fn comment_start(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    (0..bytes.len()).find(|&at| bytes[at] == b'#' && (at == 0 || bytes[at - 1].is_ascii_whitespace()))
}

/// Undoes the escapes of a double-quoted value.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            // The interpolation turns the pair into one dollar sign.
            Some('$') => out.push_str("$$"),
            Some(other @ ('"' | '\\')) => out.push(other),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "REAL" => Some("r".into()),
            _ => None,
        }
    }

    #[test]
    fn every_form() {
        let text = "# c\nA=1\nexport B = two # c\nC='$A #x'\nD=\"$A\\n${B}\" # c\nE=$A#b\nF:y\nREAL=file\nREAL2=${REAL}-${NO:-d}\nREAL\nUNSET\nG=\nH=\"a\nb\"\n";
        let vars = parse(text, &env, &|_| None).unwrap();
        let get = |name: &str| vars.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        for (name, value) in [
            ("A", "1"),
            ("B", "two"),
            ("C", "$A #x"),
            ("D", "1\ntwo"),
            ("E", "1#b"),
            ("F", "y"),
            ("REAL", "r"),
            ("REAL2", "r-d"),
            ("G", ""),
            ("H", "a\nb"),
        ] {
            assert_eq!(get(name), Some(value), "{name}");
        }
        assert_eq!(get("UNSET"), None);
    }

    #[test]
    fn mistakes_have_lines() {
        assert_eq!(parse("A=1\nB=\"x\n", &env, &|_| None).unwrap_err().line, 2);
        assert_eq!(parse("\nA B=1\n", &env, &|_| None).unwrap_err().line, 2);
        assert_eq!(parse("=1", &env, &|_| None).unwrap_err().line, 1);
    }

    #[test]
    fn nothing_grows_past_measure() {
        let mut text = "A0=xxxxxxxxxxxxxxxx\n".to_owned();
        for at in 1..40 {
            text.push_str(&format!("A{at}=$A{0}$A{0}\n", at - 1));
        }
        assert!(parse(&text, &env, &|_| None).is_err());
        let many: String = (0..30_000).map(|at| format!("V{at}=\n")).collect();
        assert!(parse(&many, &env, &|_| None).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[A=:'\"# \\n\\\\${}üx]{0,50}") {
            let _ = parse(&text, &env, &|_| None);
        }
    }
}
