//! How a logical line falls into keyword, flags and words
//! (facts: BuildKit `frontend/dockerfile/parser/{split_command,line_parsers}.go`).

use super::error::ErrorKind;

/// The white space at which Go's `reWhitespace` splits.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\x0B' | '\x0C' | '\r' | ' ')
}

/// A logical line in three parts.
#[derive(Debug)]
pub(super) struct Split {
    pub(super) keyword: String,
    pub(super) flags: Vec<String>,
    pub(super) rest: String,
}

/// Splits a logical line. Flags are the words that begin with `--` before the first that does not.
pub(super) fn split_command(line: &str) -> Split {
    let line = line.trim();
    let (keyword, arguments) = match line.find(is_blank) {
        Some(at) => line.split_at(at),
        None => (line, ""),
    };
    let (flags, rest) = flags(arguments.trim_start_matches(is_blank));
    Split { keyword: keyword.to_owned(), flags, rest: rest.trim().to_owned() }
}

/// Reads the flags byte by byte, as BuildKit does: a byte is a character there, so that what is not ASCII comes out
/// garbled in a flag, and the bytes 0x85 and 0xA0 of a longer character are white space.
fn flags(line: &str) -> (Vec<String>, String) {
    let bytes = line.as_bytes();
    let is_space = |byte: u8| char::from(byte).is_whitespace();
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        while bytes.get(at).is_some_and(|b| is_space(*b)) {
            at += 1;
        }
        let left = bytes.get(at..).unwrap_or_default();
        if left.is_empty() {
            return (flags, String::new());
        }
        if !left.starts_with(b"--") {
            return (flags, String::from_utf8_lossy(left).into_owned());
        }
        let mut word = String::new();
        let mut quoted = false;
        let mut quote: Option<u8> = None;
        while let Some(byte) = bytes.get(at).copied() {
            match (quote, byte) {
                (None, _) if is_space(byte) => break,
                (None, b'\'' | b'"') => {
                    quote = Some(byte);
                    quoted = true;
                }
                (Some(open), _) if open == byte => quote = None,
                (_, b'\\') => {
                    // At the very end it is dropped.
                    at += 1;
                    word.extend(bytes.get(at).map(|b| char::from(*b)));
                }
                _ => word.push(char::from(byte)),
            }
            at += 1;
        }
        let ended = at >= bytes.len();
        if word == "--" && !ended {
            let left = bytes.get(at..).unwrap_or_default();
            return (flags, String::from_utf8_lossy(left).into_owned());
        }
        if word != "--" && (quoted || !word.is_empty()) {
            flags.push(word);
        }
    }
}

/// Splits at white space outside quotes; quotes and escapes stay (`parseWords`).
pub(super) fn words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut keep_empty = false;
    let mut in_word = false;
    let mut quote: Option<char> = None;
    let mut input = text.chars();
    while let Some(c) = input.next() {
        if quote.is_none() && c.is_whitespace() {
            if in_word && (keep_empty || !word.is_empty()) {
                words.push(std::mem::take(&mut word));
            }
            word.clear();
            keep_empty = false;
            in_word = false;
            continue;
        }
        in_word = true;
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                keep_empty = true;
            }
            _ => {}
        }
        if c == escape && quote != Some('\'') {
            // At the very end it is dropped.
            let Some(escaped) = input.next() else {
                break;
            };
            word.push(c);
            word.push(escaped);
            continue;
        }
        word.push(c);
    }
    if in_word && (keep_empty || !word.is_empty()) {
        words.push(word);
    }
    words
}

/// Splits at every run of blanks, quotes or not (`parseStringsWhitespaceDelimited`).
pub(super) fn blank_separated(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_blank) {
        let (word, tail) = rest.split_at(at);
        words.push(word.to_owned());
        rest = tail.trim_start_matches(is_blank);
    }
    words.push(rest.to_owned());
    words
}

/// Reads a JSON list of strings; `None` if the text is none. What follows the list is not looked at, as with BuildKit.
pub(super) fn json_list(text: &str) -> Result<Option<Vec<String>>, ErrorKind> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Vec<serde_json::Value>>();
    let Some(Ok(values)) = values.next() else {
        return Ok(None);
    };
    values
        .into_iter()
        .map(|value| match value {
            serde_json::Value::String(text) => Ok(text),
            _ => Err(ErrorKind::NotStrings),
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Reads `name=value …`, or the old `name value` (`parseNameVal`).
pub(super) fn pairs(text: &str, keyword: &'static str, escape: char) -> Result<Vec<(String, String)>, ErrorKind> {
    let words = words(text, escape);
    let Some(first) = words.first() else {
        return Ok(Vec::new());
    };
    if !first.contains('=') {
        let at = text.find(is_blank).ok_or(ErrorKind::TwoArguments(keyword))?;
        let (name, value) = text.split_at(at);
        let value = value.trim_start_matches(is_blank);
        return Ok(vec![(name.to_owned(), value.to_owned())]);
    }
    words
        .iter()
        .map(|word| {
            let (name, value) = word.split_once('=').ok_or_else(|| ErrorKind::NoEquals(word.clone()))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_stand_before_the_words() {
        let split = split_command("  copy --link\t--exclude='a b' -- --x y ");
        assert_eq!(split.keyword, "copy");
        assert_eq!(split.flags, ["--link", "--exclude=a b"]);
        assert_eq!(split.rest, "--x y");
        assert_eq!(split_command("RUN --mount=a\\ b c").flags, ["--mount=a b"]);
        assert_eq!(split_command("RUN").rest, "");
        // Not ASCII: byte by byte.
        assert_eq!(split_command("COPY --exclude=é a").flags, ["--exclude=Ã©"]);
    }

    #[test]
    fn words_keep_their_quotes() {
        assert_eq!(words("A=1 B \"x y\"'z' C=\\  ''", '\\'), ["A=1", "B", "\"x y\"'z'", "C=\\ ", "''"]);
        assert_eq!(words("a \\", '\\'), ["a"]);
        assert_eq!(words("'a\\' b", '\\'), ["'a\\'", "b"]);
        assert_eq!(words("\"a\\\" b\" c", '\\'), ["\"a\\\" b\"", "c"]);
    }

    #[test]
    fn json_lists() {
        assert_eq!(json_list(" [\"a\", \"b\"] x"), Ok(Some(vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!(json_list("[a]"), Ok(None));
        assert_eq!(json_list("[1]"), Err(ErrorKind::NotStrings));
        assert_eq!(json_list(&"[".repeat(10_000)), Ok(None));
    }

    #[test]
    fn old_and_new_pairs() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(pairs("A b  c", "ENV", '\\'), Ok(vec![pair("A", "b  c")]));
        assert_eq!(pairs("A=b C=\"d e\"", "ENV", '\\'), Ok(vec![pair("A", "b"), pair("C", "\"d e\"")]));
        assert_eq!(pairs("A", "ENV", '\\'), Err(ErrorKind::TwoArguments("ENV")));
        assert_eq!(pairs("A=b c", "ENV", '\\'), Err(ErrorKind::NoEquals("c".to_owned())));
    }
}
