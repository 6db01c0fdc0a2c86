//! Go's regular expressions, as far as moby's ignore patterns reach them.
//!
//! moby turns an ignore pattern into a Go regular expression without escaping everything, so the text of a pattern can
//! have meaning there that no documentation names: `\b` is a word boundary, `\d` a digit, `[a*b]` a repeated class
//! followed by `b]`. This translates such an expression into one that the `regex` crate reads alike
//! (facts: Go's `regexp/syntax`, flags `Perl`).

use std::fmt::Write as _;
use std::str::Chars;

type Input<'t> = Chars<'t>;

fn peek(input: &Input<'_>) -> Option<char> {
    input.clone().next()
}

/// Translates a Go expression; `None` where Go refuses it.
pub(crate) fn translate(go: &str) -> Option<String> {
    let mut input = go.chars();
    let mut out = String::with_capacity(go.len() + 16);
    while let Some(c) = input.next() {
        match c {
            '[' => class(&mut input, &mut out)?,
            '\\' => escape_outside(&mut input, &mut out)?,
            '^' | '$' | '.' | '*' | '?' | '(' | ')' => out.push(c),
            _ => literal(c, &mut out),
        }
    }
    Some(out)
}

fn literal(c: char, out: &mut String) {
    // Written by number, a character needs no escaping, inside a class or out of it. Writing to a String cannot fail.
    let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
}

fn escape_outside(input: &mut Input<'_>, out: &mut String) -> Option<()> {
    match peek(input)? {
        'A' => out.push_str(r"\A"),
        'z' => out.push_str(r"\z"),
        'b' => out.push_str(r"(?-u:\b)"),
        'B' => out.push_str(r"(?-u:\B)"),
        'Q' => {
            input.next();
            quoted(input, out);
            return Some(());
        }
        _ => {
            let mut inner = String::new();
            match shared_escape(input, &mut inner)? {
                Some(c) => literal(c, out),
                None => {
                    let _ = write!(out, "[{inner}]");
                }
            }
            return Some(());
        }
    }
    input.next();
    Some(())
}

/// `\Q…\E`: everything is literal up to `\E` or the end.
fn quoted(input: &mut Input<'_>, out: &mut String) {
    while let Some(c) = input.next() {
        if c == '\\' && peek(input) == Some('E') {
            input.next();
            return;
        }
        literal(c, out);
    }
}

/// An escape that means the same in a class and out of it: a character, or a set that is written to `set`.
fn shared_escape(input: &mut Input<'_>, set: &mut String) -> Option<Option<char>> {
    let c = input.next()?;
    let named = match c {
        'd' => Some("0-9"),
        'D' => Some("[^0-9]"),
        's' => Some(r"\t\n\x0C\r\x20"),
        'S' => Some(r"[^\t\n\x0C\r\x20]"),
        'w' => Some("0-9A-Za-z_"),
        'W' => Some("[^0-9A-Za-z_]"),
        _ => None,
    };
    if let Some(named) = named {
        set.push_str(named);
        return Some(None);
    }
    match c {
        'p' | 'P' => {
            let name = input.next()?;
            if !"CLMNPSZ".contains(name) {
                return None;
            }
            let _ = write!(set, "\\{c}{{{name}}}");
            Some(None)
        }
        '0'..='7' => {
            // One digit other than 0 would be a backreference, which Go does not have.
            if c != '0' && !matches!(peek(input), Some('0'..='7')) {
                return None;
            }
            let mut value = c.to_digit(8)?;
            for _ in 0..2 {
                let Some(digit) = peek(input).and_then(|d| d.to_digit(8)) else {
                    break;
                };
                value = value * 8 + digit;
                input.next();
            }
            char::from_u32(value).map(Some)
        }
        'x' => {
            let high = input.next()?.to_digit(16)?;
            let low = input.next()?.to_digit(16)?;
            char::from_u32(high * 16 + low).map(Some)
        }
        'a' => Some(Some('\x07')),
        'f' => Some(Some('\x0C')),
        'n' => Some(Some('\n')),
        'r' => Some(Some('\r')),
        't' => Some(Some('\t')),
        'v' => Some(Some('\x0B')),
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(Some(c)),
        _ => None,
    }
}

fn class(input: &mut Input<'_>, out: &mut String) -> Option<()> {
    out.push('[');
    if peek(input) == Some('^') {
        input.next();
        out.push('^');
    }
    let mut first = true;
    loop {
        let c = peek(input)?;
        if c == ']' && !first {
            input.next();
            break;
        }
        first = false;
        if c == '[' && posix_class(input, out)? {
            continue;
        }
        let low = match class_item(input, out)? {
            Some(low) => low,
            None => continue,
        };
        let mut ahead = input.clone();
        if ahead.next() == Some('-') && peek(&ahead).is_some_and(|next| next != ']') {
            input.next();
            let mut set = String::new();
            // The end of a range is a character: a set there is refused.
            let high = class_item(input, &mut set)??;
            if high < low {
                return None;
            }
            literal(low, out);
            out.push('-');
            literal(high, out);
        } else {
            literal(low, out);
        }
    }
    out.push(']');
    Some(())
}

/// One character of a class, or a set that is written to `out` (then `Some(None)`).
fn class_item(input: &mut Input<'_>, out: &mut String) -> Option<Option<char>> {
    match input.next()? {
        '\\' => shared_escape(input, out),
        c => Some(Some(c)),
    }
}

/// `[:alpha:]` and its kin inside a class: true if there was one, `None` if its name is unknown.
fn posix_class(input: &mut Input<'_>, out: &mut String) -> Option<bool> {
    let rest = input.as_str();
    if !rest.starts_with("[:") {
        return Some(false);
    }
    let Some(end) = rest.get(2..)?.find(":]") else {
        return Some(false);
    };
    let name = rest.get(2..2 + end)?;
    const NAMES: [&str; 14] =
        ["alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit"];
    if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return None;
    }
    let _ = write!(out, "[:{name}:]");
    *input = rest.get(end + 4..)?.chars();
    Some(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_translated_compiles(
            go in r"\^([ab\[\]^:\-x01é&~]|\\[dDwWsSpPLbBAQEx01é&~\[\]^.*\-]|\[\^/\]\*|\(\.\*/\)\?|\[:alpha:\]){0,20}\$"
        ) {
            if let Some(rust) = translate(&go) {
                prop_assert!(regex::Regex::new(&rust).is_ok(), "{} from {}", rust, go);
            }
        }
    }

    fn matches(go: &str, text: &str) -> Option<bool> {
        let rust = translate(go)?;
        Some(regex::Regex::new(&rust).expect(&rust).is_match(text))
    }

    #[test]
    fn the_odd_corners_of_ignore_patterns() {
        // `a\b` as an ignore pattern: a word boundary.
        assert_eq!(matches(r"^a\b$", "a"), Some(true));
        assert_eq!(matches(r"^a\b$", "ab"), Some(false));
        // `[a*b]`: moby writes the star out within the class.
        assert_eq!(matches(r"^[a[^/]*b]$", "a[^/b]"), Some(true));
        assert_eq!(matches(r"^[[:alpha:]]$", "x"), Some(true));
        assert_eq!(matches(r"^[[:nope:]]$", "x"), None);
        assert_eq!(matches(r"^\d\x41\060$", "7A0"), Some(true));
        assert_eq!(matches(r"^\Qa.*\E$", "a.*"), Some(true));
        assert_eq!(matches(r"^\pL$", "é"), Some(true));
        assert_eq!(matches(r"^\1$", "1"), None);
        assert_eq!(matches(r"^\y$", "y"), None);
        assert_eq!(matches(r"^[\w&&--~~]$", "~"), Some(true));
        assert_eq!(matches(r"^a\B$", "a"), Some(false));
        assert_eq!(matches(r"^[", "a"), None);
    }
}
