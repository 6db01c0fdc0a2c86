//! Go's path functions, where their exact behaviour decides which files a build sees.
//!
//! Facts from Go's `path/filepath` (`Match`, `Clean`) on Unix. They work on bytes, and so does this.

/// The pattern is malformed (Go's `filepath.ErrBadPattern`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPattern;

/// Decodes one character as Go does: an invalid byte is U+FFFD of width 1, and no byte is width 0.
fn decode(bytes: &[u8]) -> (u32, usize) {
    const REPLACEMENT: u32 = 0xFFFD;
    let Some(first) = bytes.first() else {
        return (REPLACEMENT, 0);
    };
    let width = match first {
        0x00..=0x7F => return (u32::from(*first), 1),
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return (REPLACEMENT, 1),
    };
    match bytes.get(..width).map(std::str::from_utf8) {
        Some(Ok(text)) => (text.chars().next().map_or(REPLACEMENT, u32::from), width),
        _ => (REPLACEMENT, 1),
    }
}

/// One part of a pattern: what stands up to the next `*` outside a class.
struct Chunk<'p> {
    star: bool,
    text: &'p [u8],
    rest: &'p [u8],
}

fn scan_chunk(pattern: &[u8]) -> Chunk<'_> {
    let stars = pattern.iter().take_while(|b| **b == b'*').count();
    let pattern = pattern.get(stars..).unwrap_or_default();
    let mut in_class = false;
    let mut end = 0;
    while let Some(byte) = pattern.get(end) {
        match byte {
            // A backslash at the very end is left for the matcher to refuse.
            b'\\' if end + 1 < pattern.len() => end += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'*' if !in_class => break,
            _ => {}
        }
        end += 1;
    }
    let (text, rest) = pattern.split_at(end.min(pattern.len()));
    Chunk { star: stars > 0, text, rest }
}

/// Reads one character of a class, which may be escaped.
fn class_char(chunk: &[u8]) -> Result<(u32, &[u8]), BadPattern> {
    let chunk = match chunk.first() {
        None | Some(b'-' | b']') => return Err(BadPattern),
        Some(b'\\') => chunk.get(1..).unwrap_or_default(),
        Some(_) => chunk,
    };
    if chunk.is_empty() {
        return Err(BadPattern);
    }
    let (value, width) = decode(chunk);
    let rest = chunk.get(width..).unwrap_or_default();
    if (value == 0xFFFD && width == 1) || rest.is_empty() {
        return Err(BadPattern);
    }
    Ok((value, rest))
}

/// Matches a star-free chunk at the beginning of `name`: what is left of `name`, or `None`.
///
/// A mismatch does not end the reading of the chunk, so that its syntax is checked to its end.
fn match_chunk<'n>(mut chunk: &[u8], mut name: &'n [u8]) -> Result<Option<&'n [u8]>, BadPattern> {
    let mut failed = false;
    while let Some(first) = chunk.first() {
        if !failed && name.is_empty() {
            failed = true;
        }
        match first {
            b'[' => {
                let mut wanted = 0;
                if !failed {
                    let (value, width) = decode(name);
                    wanted = value;
                    name = name.get(width..).unwrap_or_default();
                }
                chunk = chunk.get(1..).unwrap_or_default();
                let negated = chunk.first() == Some(&b'^');
                if negated {
                    chunk = chunk.get(1..).unwrap_or_default();
                }
                let mut found = false;
                let mut ranges = 0_usize;
                loop {
                    if ranges > 0 && chunk.first() == Some(&b']') {
                        chunk = chunk.get(1..).unwrap_or_default();
                        break;
                    }
                    let (low, rest) = class_char(chunk)?;
                    chunk = rest;
                    let mut high = low;
                    if chunk.first() == Some(&b'-') {
                        let (value, rest) = class_char(chunk.get(1..).unwrap_or_default())?;
                        high = value;
                        chunk = rest;
                    }
                    found |= (low..=high).contains(&wanted);
                    ranges += 1;
                }
                failed |= found == negated;
            }
            b'?' => {
                if !failed {
                    failed = name.first() == Some(&b'/');
                    let (_, width) = decode(name);
                    name = name.get(width..).unwrap_or_default();
                }
                chunk = chunk.get(1..).unwrap_or_default();
            }
            _ => {
                if *first == b'\\' {
                    chunk = chunk.get(1..).unwrap_or_default();
                }
                let Some(literal) = chunk.first() else {
                    return Err(BadPattern);
                };
                if !failed {
                    failed = name.first() != Some(literal);
                    name = name.get(1..).unwrap_or_default();
                }
                chunk = chunk.get(1..).unwrap_or_default();
            }
        }
    }
    Ok((!failed).then_some(name))
}

/// Says whether `pattern` matches the whole of `name`, as Go's `filepath.Match` does on Unix.
///
/// `*` and `?` do not match `/`. A malformed part is an error only when the matching gets as far as that part:
/// `[` is one for every name, `a*b[` only for names in which `a` has been found.
pub(crate) fn filepath_match(pattern: &[u8], name: &[u8]) -> Result<bool, BadPattern> {
    let mut pattern = pattern;
    let mut name = name;
    'pattern: while !pattern.is_empty() {
        let Chunk { star, text, rest } = scan_chunk(pattern);
        pattern = rest;
        if star && text.is_empty() {
            return Ok(!name.contains(&b'/'));
        }
        if let Some(left) = match_chunk(text, name)?
            && (left.is_empty() || !pattern.is_empty())
        {
            name = left;
            continue;
        }
        if star {
            let reach = name.iter().take_while(|b| **b != b'/').count();
            for skipped in 1..=reach {
                let Some(left) = match_chunk(text, name.get(skipped..).unwrap_or_default())? else {
                    continue;
                };
                if pattern.is_empty() && !left.is_empty() {
                    continue;
                }
                name = left;
                continue 'pattern;
            }
        }
        return Ok(false);
    }
    Ok(name.is_empty())
}

/// Gives the shortest equal path, as Go's `path.Clean`: no `//`, `.` and inner `..`; `.` for the empty path.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// Gives `path` below the context root, without the leading `/`; empty for the root itself.
///
/// `..` cannot leave the root: BuildKit joins every source with `/` first (`system.NormalizePath`).
pub(crate) fn below_root(path: &str) -> String {
    clean(&format!("/{path}")).trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
        filepath_match(pattern.as_bytes(), name.as_bytes())
    }

    #[test]
    fn stars_and_marks_stay_within_a_segment() {
        assert_eq!(matches("*.py", "a.py"), Ok(true));
        assert_eq!(matches("*.py", "d/a.py"), Ok(false));
        assert_eq!(matches("a*/b", "ab/b"), Ok(true));
        assert_eq!(matches("a?b", "a/b"), Ok(false));
        assert_eq!(matches("a*b?c*x", "abxbbxdbxebxczzx"), Ok(true));
        assert_eq!(matches("?", "é"), Ok(true));
    }

    #[test]
    fn classes() {
        assert_eq!(matches("[a-c]x", "bx"), Ok(true));
        assert_eq!(matches("[^a-c]x", "bx"), Ok(false));
        assert_eq!(matches("[^a]", "/"), Ok(true));
        assert_eq!(matches("[\\-x]", "-"), Ok(true));
        assert_eq!(matches("[-x]", "-"), Err(BadPattern));
        assert_eq!(matches("[]a]", "]"), Err(BadPattern));
        assert_eq!(matches("a[", "zzz"), Err(BadPattern));
        assert_eq!(matches("a\\", "a"), Err(BadPattern));
    }

    #[test]
    fn errors_behind_a_star_are_seen_only_when_reached() {
        assert_eq!(matches("a*b*[", "zzz"), Ok(false));
        assert_eq!(matches("a*b*[", "ab"), Err(BadPattern));
    }

    #[test]
    fn clean_as_go() {
        for (path, expected) in
            [("", "."), ("./a//b/", "a/b"), ("/../a", "/a"), ("../../a", "../../a"), ("a/../..", ".."), ("/", "/"), ("a/..", ".")]
        {
            assert_eq!(clean(path), expected, "{path}");
        }
        assert_eq!(below_root("../x/./y/"), "x/y");
        assert_eq!(below_root("/"), "");
    }
}
