//! The grammar of a step's name: `[backend linux/arm64 build  2/12] COPY --from=deps /x /y`.
//!
//! Sources: `prefixCommand` and `dispatch` in BuildKit's `frontend/dockerfile/dockerfile2llb/convert.go` (number, stage, platform),
//! buildx's `build/result.go` and `util/progress` (target in front).

use std::borrow::Cow;

use nom::{
    IResult, Parser,
    bytes::complete::{tag, take_until},
    character::complete::{char, u32},
    combinator::{all_consuming, rest, verify},
    multi::separated_list1,
    sequence::{delimited, separated_pair, terminated},
};

/// A name taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Name<'a> {
    /// The words within the bracket, without `n/m`; empty where there is no bracket.
    pub words: Vec<&'a [u8]>,
    /// `n/m`, the place of the step in its stage.
    pub position: Option<(u32, u32)>,
    /// What follows the bracket, or the whole name.
    pub text: &'a [u8],
}

/// Takes a name apart; never fails, because any text can be a name.
pub fn parse(name: &[u8]) -> Name<'_> {
    match bracket(name) {
        Ok((text, (words, position))) => {
            Name { words: words.split(|b| *b == b' ').filter(|word| !word.is_empty()).collect(), position, text }
        }
        Err(_) => Name { words: Vec::new(), position: None, text: name },
    }
}

/// The instruction behind a bracket that ends in `n/m`, if the name has one.
pub fn instruction_text(name: &[u8]) -> Option<&[u8]> {
    let (text, (_, position)) = bracket(name).ok()?;
    position.map(|_| text)
}

/// The words within a bracket, and `n/m` behind them.
type Bracket<'a> = (&'a [u8], Option<(u32, u32)>);

fn bracket(name: &[u8]) -> IResult<&[u8], Bracket<'_>> {
    let inside = verify(take_until("]"), |inside: &[u8]| !inside.is_empty());
    let (text, inside) = terminated(delimited(char('['), inside, char(']')), char(' ')).parse(name)?;
    // `n/m` stands last; most brackets hold nothing else, or one word.
    let last = memchr::memrchr(b' ', inside).map_or(0, |blank| blank + 1);
    let position = position(&inside[last..]);
    Ok((text, (if position.is_some() { &inside[..last] } else { inside }, position)))
}

fn position(word: &[u8]) -> Option<(u32, u32)> {
    let parsed: IResult<&[u8], (u32, u32)> = all_consuming(separated_pair(u32, char('/'), u32)).parse(word);
    parsed.ok().map(|(_, found)| found)
}

/// True for a platform as BuildKit prints it: `linux/arm64`, `linux/arm/v7`, `linux/amd64->arm64` (build platform to target).
pub fn is_platform(word: &[u8]) -> bool {
    const SYSTEMS: [&[u8]; 12] =
        [b"linux", b"windows", b"darwin", b"freebsd", b"netbsd", b"openbsd", b"wasi", b"wasip1", b"js", b"solaris", b"plan9", b"aix"];
    let Some(slash) = word.iter().position(|b| *b == b'/') else {
        return false;
    };
    let mut parts = word[slash + 1..].split(|b| *b == b'/');
    SYSTEMS.contains(&&word[..slash]) && parts.clone().count() <= 3 && parts.all(|part| !part.is_empty())
}

/// True for a name that BuildKit gives and hardly any other text has; used to find the first line of a build.
pub fn is_certain(text: &[u8]) -> bool {
    const STARTS: [&[u8]; 14] = [
        b"transferring context:",
        b"transferring dockerfile:",
        b"exporting ",
        b"importing cache manifest from ",
        b"importing to docker",
        b"resolve docker.io/",
        b"resolve image config for ",
        b"resolving provenance for ",
        b"docker-image://",
        b"FROM docker.io/",
        b"extracting sha256:",
        b"sha256:",
        b"writing image sha256:",
        b"naming to ",
    ];
    let name = parse(text);
    let known = matches!(name.words.first(), Some(&(b"internal" | b"auth" | b"context"))) || name.words.last() == Some(&&b"internal"[..]);
    name.position.is_some() || known || STARTS.iter().any(|start| text.starts_with(start))
}

/// The words of an instruction, as far as a log shows them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Instruction<'a> {
    /// `COPY`, `RUN`, …; `None` where the text begins with no keyword of a Dockerfile.
    pub keyword: Option<&'static str>,
    /// True behind `ONBUILD`.
    pub onbuild: bool,
    /// The flags of the instruction, with their dashes: `--from=deps`.
    pub flags: Vec<&'a [u8]>,
    /// The words behind the flags of COPY, ADD (without quotes) and FROM; those of other instructions mean something to a shell only.
    pub words: Vec<Cow<'a, [u8]>>,
}

/// The instructions of a Dockerfile.
pub const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Takes the text behind a bracket that ends in `n/m` apart.
pub fn instruction(text: &[u8]) -> Instruction<'_> {
    let mut found = Instruction::default();
    let (mut keyword, mut tail) = keyword(text);
    if keyword == Some("ONBUILD") {
        found.onbuild = true;
        (keyword, tail) = self::keyword(tail);
    }
    found.keyword = keyword;
    while tail.starts_with(b"--") {
        let (flag, after) = split_word(tail);
        found.flags.push(flag);
        tail = after;
    }
    found.words = match keyword {
        Some("COPY" | "ADD") => list(tail).unwrap_or_else(|| unquoted_words(tail)),
        Some("FROM") => split_all(tail),
        _ => Vec::new(),
    };
    found
}

fn keyword(text: &[u8]) -> (Option<&'static str>, &[u8]) {
    let (word, tail) = split_word(text);
    if !word.first().is_some_and(u8::is_ascii_uppercase) {
        return (None, text);
    }
    match KEYWORDS.iter().find(|keyword| keyword.as_bytes() == word) {
        Some(keyword) => (Some(keyword), tail),
        None => (None, text),
    }
}

fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(text.len());
    let (word, tail) = text.split_at(end);
    let blanks = tail.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    (word, &tail[blanks..])
}

fn split_all(text: &[u8]) -> Vec<Cow<'_, [u8]>> {
    text.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty()).map(Cow::Borrowed).collect()
}

/// `[a.txt, sp ace.txt, /json dir/]`: how BuildKit prints the JSON form.
fn list(text: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    let inside = text.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let parsed: IResult<&[u8], Vec<&[u8]>> = separated_list1(tag(", "), nom::branch::alt((take_until(", "), rest))).parse(inside);
    Some(parsed.ok()?.1.into_iter().map(Cow::Borrowed).collect())
}

fn unquoted_words(text: &[u8]) -> Vec<Cow<'_, [u8]>> {
    if memchr::memchr2(b'"', b'\'', text).is_none() {
        return split_all(text);
    }
    let (mut words, mut word, mut quote, mut open) = (Vec::new(), Vec::new(), None, false);
    for &byte in text {
        match (quote, byte) {
            (None, b'"' | b'\'') => (quote, open) = (Some(byte), true),
            (Some(q), b) if q == b => quote = None,
            (None, b' ' | b'\t') => {
                if open || !word.is_empty() {
                    words.push(Cow::Owned(std::mem::take(&mut word)));
                    open = false;
                }
            }
            _ => word.push(byte),
        }
    }
    if open || !word.is_empty() {
        words.push(Cow::Owned(word));
    }
    words
}

/// Whether a text leaves a quotation open, as a shell would see it. A name with an open quotation goes on in the next line: BuildKit
/// prints names with the newlines that a build argument put into them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotation {
    quote: Option<u8>,
    escaped: bool,
}

impl Quotation {
    /// Reads on. Returns true where the text closes a quotation.
    pub fn read(&mut self, text: &[u8]) -> bool {
        let mut closes = false;
        // Without a quotation mark nothing changes: what is escaped at the end of a text is its newline.
        if memchr::memchr2(b'"', b'\'', text).is_none() {
            return closes;
        }
        for &byte in text {
            if std::mem::take(&mut self.escaped) {
                continue;
            }
            match (self.quote, byte) {
                (None | Some(b'"'), b'\\') => self.escaped = true,
                (None, b'"' | b'\'') => self.quote = Some(byte),
                (Some(quote), b) if quote == b => (self.quote, closes) = (None, true),
                _ => {}
            }
        }
        self.escaped = false;
        closes
    }

    /// True where the text so far leaves a quotation open.
    pub fn is_open(self) -> bool {
        self.quote.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str) -> (Vec<String>, Option<(u32, u32)>, String) {
        let name = parse(name.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (name.words.iter().map(|w| text(w)).collect(), name.position, text(name.text))
    }

    #[test]
    fn brackets_of_every_form() {
        for (name, inside, position) in [
            ("[2/3] COPY a b", vec![], Some((2, 3))),
            ("[  9/110] RUN x", vec![], Some((9, 110))),
            ("[builder  2/12] RUN x", vec!["builder"], Some((2, 12))),
            ("[internal] load .dockerignore", vec!["internal"], None),
            ("[internal 2/2] RUN x", vec!["internal"], Some((2, 2))),
            ("[linux/amd64->arm64 builder 3/3] RUN x", vec!["linux/amd64->arm64", "builder"], Some((3, 3))),
            ("[x linux/arm64 one 2/2] RUN x", vec!["x", "linux/arm64", "one"], Some((2, 2))),
            ("[context alpine:3.20] busybox:latest", vec!["context", "alpine:3.20"], None),
            ("exporting to image", vec![], None),
        ] {
            let (found, place, _) = words(name);
            assert_eq!((found, place), (inside.into_iter().map(String::from).collect(), position), "{name}");
        }
        assert_eq!(words("[] x").2, "[] x");
        assert_eq!(words("[unclosed").2, "[unclosed");
    }

    #[test]
    fn instructions_with_flags_lists_and_quotes() {
        let read = |text: &'static str| {
            let i = instruction(text.as_bytes());
            let words: Vec<String> = i.words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect();
            (i.keyword, i.flags.len(), words)
        };
        assert_eq!(read("COPY --link --chown=1:1 a b /c/"), (Some("COPY"), 2, vec!["a".into(), "b".into(), "/c/".into()]));
        assert_eq!(read("COPY [a.txt, sp ace.txt, /json dir/]").2, ["a.txt", "sp ace.txt", "/json dir/"]);
        assert_eq!(read("COPY \"sp ace\" /x").2, ["sp ace", "/x"]);
        assert_eq!(read("ONBUILD COPY a /b").0, Some("COPY"));
        assert_eq!(read("RUN --mount=type=ssh echo \"a b\""), (Some("RUN"), 1, vec![]));
        assert_eq!(read("FROM --platform=linux/amd64 a AS b").2, ["a", "AS", "b"]);
        assert_eq!(read("load metadata for x").0, None);
    }

    #[test]
    fn platforms_are_told_from_stages() {
        for yes in ["linux/amd64", "linux/arm/v7", "linux/amd64->arm64", "linux/amd64->linux/arm/v7"] {
            assert!(is_platform(yes.as_bytes()), "{yes}");
        }
        for no in ["linux", "backend", "my/stage", "linux/"] {
            assert!(!is_platform(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn open_quotations() {
        let open = |text: &str| {
            let mut q = Quotation::default();
            q.read(text.as_bytes());
            q.is_open()
        };
        assert!(open("RUN echo \"x"));
        assert!(open("RUN echo 'a\"b"));
        assert!(!open("RUN echo \"it's\""));
        assert!(!open("RUN echo \\\"x"));
        assert!(open("RUN echo \"a\\\"b"));
    }
}
