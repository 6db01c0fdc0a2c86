//! `${VAR}` in compose files and environment files.
//!
//! The rules are those of compose-go `template/template.go`: `$VAR`, `${VAR}`, `${VAR:-default}`,
//! `${VAR-default}`, `${VAR:?error}`, `${VAR?error}`, `${VAR:+other}`, `${VAR+other}`, `$$` for a
//! dollar sign; defaults may nest. Anything else behind a dollar sign is an error.

use super::build_target::Env;

/// Levels that defaults may nest.
const MAX_DEPTH: usize = 40;
/// Bytes that a text may grow to.
const MAX_BYTES: usize = 4 << 20;

/// Why a text could not be interpolated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterpolateError {
    /// A dollar sign with something behind it that is no variable.
    #[error("invalid interpolation in {0:?}: write $$ for a dollar sign")]
    Invalid(String),
    /// `${VAR:?message}` without a value.
    #[error("required variable {name} is missing a value: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message that the file gives.
        message: String,
    },
    /// Nested too deep, or the result is too long.
    #[error("the text is nested too deep or grows too long")]
    TooLarge,
}

/// Replaces the variables of `text`. An unset variable without a default becomes the empty string.
///
/// # Errors
/// See [`InterpolateError`].
pub fn interpolate(text: &str, env: &Env<'_>) -> Result<String, InterpolateError> {
    if !text.contains('$') {
        return Ok(text.to_owned());
    }
    expand(text, env, 0)
}

fn expand(text: &str, env: &Env<'_>, depth: usize) -> Result<String, InterpolateError> {
    if depth > MAX_DEPTH {
        return Err(InterpolateError::TooLarge);
    }
    let invalid = || InterpolateError::Invalid(text.chars().take(200).collect());
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing_brace(inner).ok_or_else(invalid)?;
            out.push_str(&braced(&inner[..end], env, depth).map_err(|error| match error {
                InterpolateError::Invalid(_) => invalid(),
                other => other,
            })?);
            rest = &inner[end + 1..];
        } else {
            let (name, after) = name(rest);
            if name.is_empty() {
                return Err(invalid());
            }
            out.push_str(&env(name).unwrap_or_default());
            rest = after;
        }
        if out.len() > MAX_BYTES {
            return Err(InterpolateError::TooLarge);
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// What stands between the braces.
fn braced(inner: &str, env: &Env<'_>, depth: usize) -> Result<String, InterpolateError> {
    let (name, rest) = name(inner);
    if name.is_empty() {
        return Err(InterpolateError::Invalid(String::new()));
    }
    let value = env(name);
    if rest.is_empty() {
        return Ok(value.unwrap_or_default());
    }
    // With a colon the empty value counts as none.
    let (strict, rest) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let present = value.filter(|value| !strict || !value.is_empty());
    let mut chars = rest.chars();
    let operator = chars.next();
    let word = chars.as_str();
    match (operator, present) {
        (Some('-' | '?'), Some(value)) => Ok(value),
        (Some('-'), None) | (Some('+'), Some(_)) => expand(word, env, depth + 1),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => Err(InterpolateError::Required { name: name.to_owned(), message: expand(word, env, depth + 1)? }),
        _ => Err(InterpolateError::Invalid(String::new())),
    }
}

/// Splits a variable's name off.
fn name(text: &str) -> (&str, &str) {
    let end = text
        .bytes()
        .enumerate()
        .find(|&(at, b)| !(b == b'_' || b.is_ascii_alphabetic() || (at > 0 && b.is_ascii_digit())))
        .map_or(text.len(), |(at, _)| at);
    text.split_at(end)
}

/// Where the brace closes that was opened in front of `text`; `${` inside opens another.
fn closing_brace(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = 1;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            b'$' if bytes.get(at + 1) == Some(&b'{') => {
                open += 1;
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn every_form() {
        for (text, expected) in [
            ("x", "x"),
            ("$A-$A", "a-a"),
            ("${A}${NO}", "a"),
            ("$$A $${A}", "$A ${A}"),
            ("${EMPTY:-d}/${EMPTY-d}/${NO-d}/${NO:-d}", "d//d/d"),
            ("${NO:-${A:-x}y}z", "ayz"),
            ("${NO:-${NO:-x}}", "x"),
            ("${A:+yes}${EMPTY:+no}${EMPTY+set}${NO+no}", "yesset"),
            ("${A:?m}${EMPTY?m}", "a"),
            ("${NO:-http://h:80/p?q=1-2}", "http://h:80/p?q=1-2"),
        ] {
            assert_eq!(interpolate(text, &env).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for text in ["$", "a$1", "${", "${}", "${A", "${A!}", "${1A}", "${A:x}", "$ {A}"] {
            assert!(matches!(interpolate(text, &env), Err(InterpolateError::Invalid(_))), "{text}");
        }
        assert_eq!(interpolate("${NO:?set ${A}}", &env).unwrap_err().to_string(), "required variable NO is missing a value: set a");
        let deep = "${N:-".repeat(3000) + &"}".repeat(3000);
        assert_eq!(interpolate(&deep, &env), Err(InterpolateError::TooLarge));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[A${}:?+a \\-ü]{0,40}") {
            let _ = interpolate(&text, &env);
        }
    }
}
