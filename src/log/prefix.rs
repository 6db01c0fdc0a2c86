//! What CI systems put in front of every line: learnt from the first line of a build, then taken off every line.
//!
//! No list of CI systems could ever be whole. The bytes before the first anchor ([`super::anchor`]) are turned into a pattern
//! instead: times, counters and colours may vary, the words may not. Where the words differ and a new build begins, another job,
//! service or branch writes into the same log, and its lines are kept apart as another stream.

use super::timestamp::{FORMS, Form, Instant};

/// One piece of a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// These bytes.
    Literal(Vec<u8>),
    /// A number that may change from line to line, with blanks in front where it is padded (`cat -n`).
    Number,
    /// A time.
    Time(Form),
    /// Any number of ANSI colour sequences.
    Colour,
    /// One byte that may vary: the severity of TeamCity (`[12:00:00]W:`).
    Any,
}

/// The pattern of one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    /// Set where the prefix is a time in RFC 3339 and a blank: its length in the last line that fitted. GitHub, Azure and kubectl
    /// write this, and logs of hundreds of megabytes deserve the short way.
    timestamp_length: Option<usize>,
}

/// A line without its prefix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stripped<'a> {
    /// What the build wrote.
    pub core: &'a [u8],
    /// The time that the prefix holds, unread.
    pub time: Option<(Form, &'a [u8])>,
}

impl Stripped<'_> {
    /// Reads the prefix's time.
    pub fn instant(&self) -> Option<Instant> {
        self.time.and_then(|(form, text)| form.read(text))
    }
}

impl Pattern {
    /// Makes the pattern of the bytes in front of an anchor.
    pub fn learn(prefix: &[u8]) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        let mut at = 0;
        while at < prefix.len() {
            let rest = &prefix[at..];
            let (part, length) = next_part(&parts, prefix, at, rest);
            at += length;
            match (parts.last_mut(), part) {
                (Some(Part::Literal(before)), Part::Literal(more)) => before.extend(more),
                (Some(Part::Colour), Part::Colour) => {}
                (_, part) => parts.push(part),
            }
        }
        let only_timestamp = matches!(parts.as_slice(), [Part::Time(Form::Rfc3339), Part::Literal(blank)] if blank == b" ");
        Self { parts, timestamp_length: only_timestamp.then_some(prefix.len()) }
    }

    /// The length of the prefix in the last line, where it is a time in RFC 3339 and a blank.
    pub fn timestamp_length(&self) -> Option<usize> {
        self.timestamp_length
    }

    /// True where there is no prefix at all.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Takes the prefix off. A line that ends within the prefix's trailing blanks is an empty line of the build, because many
    /// tools strip blanks at the end of lines.
    #[inline]
    pub fn strip<'a>(&mut self, line: &'a [u8]) -> Option<Stripped<'a>> {
        if self.parts.is_empty() {
            return Some(Stripped { core: line, time: None });
        }
        if let Some(length) = self.timestamp_length
            && line.len() >= length
            && line[length - 2..length] == *b"Z "
            && line[4] == b'-'
            && line[10] == b'T'
            && line[13] == b':'
        {
            return Some(Stripped { core: &line[length..], time: Some((Form::Rfc3339, &line[..length - 1])) });
        }
        self.strip_parts(line)
    }

    fn strip_parts<'a>(&mut self, line: &'a [u8]) -> Option<Stripped<'a>> {
        let (mut rest, mut time) = (line, None);
        for (n, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(bytes) => match rest.strip_prefix(bytes.as_slice()) {
                    Some(after) => rest = after,
                    None => {
                        let last = n + 1 == self.parts.len() || self.parts[n + 1..].iter().all(|p| *p == Part::Colour);
                        let missing = bytes.strip_prefix(rest)?;
                        if last && !missing.is_empty() && missing.iter().all(u8::is_ascii_whitespace) {
                            return Some(Stripped { core: b"", time });
                        }
                        return None;
                    }
                },
                Part::Number => {
                    let blanks = rest.iter().take_while(|b| **b == b' ').count();
                    let digits = rest[blanks..].iter().take_while(|b| b.is_ascii_digit()).count();
                    if digits == 0 {
                        return None;
                    }
                    rest = &rest[blanks + digits..];
                }
                Part::Time(form) => {
                    let length = form.length(rest)?;
                    time = time.or(Some((*form, &rest[..length])));
                    rest = &rest[length..];
                }
                Part::Colour => rest = skip_colours(rest),
                Part::Any => rest = rest.get(1..)?,
            }
        }
        if self.timestamp_length.is_some() {
            self.timestamp_length = Some(line.len() - rest.len());
        }
        if self.parts.contains(&Part::Colour) {
            rest = strip_trailing_colours(rest);
        }
        Some(Stripped { core: rest, time })
    }

    /// True where only digits within words differ: the same stream, with a counter that this pattern took for a word.
    pub fn differs_only_in_digits(&self, other: &Self) -> bool {
        fn shape(pattern: &Pattern) -> Vec<u8> {
            let mut shape = Vec::new();
            for part in &pattern.parts {
                match part {
                    Part::Literal(bytes) => shape.extend(bytes.iter().map(|b| if b.is_ascii_digit() { b'0' } else { *b })),
                    Part::Number => shape.push(b'0'),
                    Part::Time(_) => shape.push(1),
                    Part::Colour => {}
                    Part::Any => shape.push(2),
                }
            }
            shape.dedup_by(|a, b| *a == b'0' && *b == b'0');
            shape
        }
        shape(self) == shape(other)
    }

    /// Lets every number of the pattern vary.
    pub fn generalise(&mut self) {
        let mut parts = Vec::new();
        for part in self.parts.drain(..) {
            let Part::Literal(bytes) = part else {
                parts.push(part);
                continue;
            };
            for run in bytes.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
                parts.push(if run[0].is_ascii_digit() { Part::Number } else { Part::Literal(run.to_vec()) });
            }
        }
        self.parts = parts;
    }

    /// True where the two begin with the same kind of piece, as the lines of two jobs of one CI system do.
    pub fn resembles(&self, other: &Self) -> bool {
        match (self.parts.first(), other.parts.first()) {
            (Some(Part::Literal(a)), Some(Part::Literal(b))) => {
                a.first().map(|c| c.is_ascii_alphanumeric()) == b.first().map(|c| c.is_ascii_alphanumeric())
            }
            (Some(a), Some(b)) => a == b,
            _ => false,
        }
    }
}

fn next_part(before: &[Part], prefix: &[u8], at: usize, rest: &[u8]) -> (Part, usize) {
    let colour = colour_length(rest);
    if colour > 0 {
        return (Part::Colour, colour);
    }
    let in_word = at > 0 && prefix[at - 1].is_ascii_alphanumeric();
    if !in_word && let Some((form, length)) = FORMS.iter().find_map(|form| Some((*form, form.length(rest)?))) {
        return (Part::Time(form), length);
    }
    let blanks = rest.iter().take_while(|b| **b == b' ').count();
    let digits = rest[blanks..].iter().take_while(|b| b.is_ascii_digit()).count();
    if digits > 0 && (blanks == 0 || at == 0) {
        let end = blanks + digits;
        let joins_word = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        // `backend-1`, `7d9f` name something; `[4242]`, `12` count something. The line numbers of Drone (`:L12:3s]`) do both.
        let drone = at > 1 && prefix[..at].ends_with(b":L") || rest[end..].starts_with(b"s]");
        let named = blanks == 0 && (joins_word(at.checked_sub(1).and_then(|i| prefix.get(i))) || joins_word(rest.get(end))) && !drone;
        return if named { (Part::Literal(rest[..end].to_vec()), end) } else { (Part::Number, end) };
    }
    let after_time = before.iter().any(|part| matches!(part, Part::Time(_)));
    if after_time && at > 0 && prefix[at - 1] == b']' && rest.get(1) == Some(&b':') && (rest[0] == b' ' || rest[0].is_ascii_alphabetic()) {
        return (Part::Any, 1);
    }
    (Part::Literal(vec![rest[0]]), 1)
}

/// The length of the ANSI sequences `ESC [ … letter` at the start.
fn colour_length(text: &[u8]) -> usize {
    text.len() - skip_colours(text).len()
}

fn skip_colours(mut text: &[u8]) -> &[u8] {
    while let Some(after) = text.strip_prefix(b"\x1b[") {
        let parameters = after.iter().take_while(|b| b.is_ascii_digit() || **b == b';').count();
        match after.get(parameters) {
            Some(b'm' | b'K') => text = &after[parameters + 1..],
            _ => break,
        }
    }
    text
}

fn strip_trailing_colours(mut text: &[u8]) -> &[u8] {
    while let Some(escape) = memchr::memrchr(0x1b, text) {
        if !skip_colours(&text[escape..]).is_empty() {
            break;
        }
        text = &text[..escape];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The prefix of `first`, learnt, must come off `then` and leave `core`.
    fn check(first: &str, then: &str, core: Option<&str>) {
        let mut pattern = Pattern::learn(first.as_bytes());
        let stripped = pattern.strip(then.as_bytes()).map(|s| String::from_utf8_lossy(s.core).into_owned());
        assert_eq!(stripped.as_deref(), core, "{pattern:?}");
    }

    #[test]
    fn times_counters_and_colours_vary() {
        check("2026-11-21T02:16:08.0214744Z ", "2026-11-21T02:16:09.0000001Z #1 x", Some("#1 x"));
        check("2026-11-21T02:16:08.022092944Z ", "2026-11-21T02:16:08.02Z #1 x", Some("#1 x"));
        check("build\tBuild and push\t2026-11-21T02:16:08.0215960Z ", "build\tBuild and push\t2026-11-21T02:16:09.0215960Z #1", Some("#1"));
        check("[build:L1:2s] ", "[build:L1000:130s] #1", Some("#1"));
        check("Nov 21 02:16:08 runner-1 docker[4242]: ", "Nov  1 02:16:08 runner-1 docker[17]: #1", Some("#1"));
        check("     1\t", "  1234\t#1", Some("#1"));
        check("[02:16:08] :\t [Step 1/2] ", "[02:16:08]W:\t [Step 1/2] #1", Some("#1"));
        check("\x1b[0m", "\x1b[36m#1 DONE 0.1s\x1b[0m", Some("#1 DONE 0.1s"));
        check("\x1b_bk;t=1795227366446\x07", "\x1b_bk;t=1795227399999\x07#1", Some("#1"));
        check("9.999999 ", "10.000001 #1", Some("#1"));
    }

    #[test]
    fn words_do_not_vary() {
        check("backend-1  | ", "frontend-1  | #1", None);
        check("backend-1  | ", "backend-2  | #1", None);
        check("> ", "#1", None);
    }

    #[test]
    fn stripped_blanks_at_the_end_are_an_empty_line() {
        check("2026-11-21T02:16:08.0214744Z ", "2026-11-21T02:16:08.0214744Z", Some(""));
        check("[build backend] ", "[build backend]", Some(""));
        check("    ", "", Some(""));
        check("[build backend] ", "[build", None);
    }

    #[test]
    fn counters_within_words_can_be_learnt_later() {
        let mut one = Pattern::learn(b"[job-1-line-1] ");
        let two = Pattern::learn(b"[job-1-line-22] ");
        assert!(one.differs_only_in_digits(&two));
        assert!(one.strip(b"[job-1-line-22] #1").is_none());
        one.generalise();
        assert_eq!(one.strip(b"[job-1-line-22] #1").unwrap().core, b"#1");
        assert!(!one.differs_only_in_digits(&Pattern::learn(b"[work-1-line-22] ")));
    }

    #[test]
    fn the_time_of_the_prefix_is_kept() {
        let mut pattern = Pattern::learn(b"build\tpush\t2026-11-21T02:16:08.5Z ");
        let stripped = pattern.strip(b"build\tpush\t2026-11-21T02:16:10.25Z #1").unwrap();
        let instant = stripped.instant().unwrap();
        assert!(instant.absolute);
        assert_eq!(instant.nanoseconds % 1_000_000_000, 250_000_000);
    }
}
