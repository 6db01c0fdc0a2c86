//! The grammar of one line of BuildKit's plain progress, after any CI prefix was taken off.
//!
//! Source of every form: `printVtx` in BuildKit's `util/progress/progressui/printer.go`. What a line means also depends on the
//! lines before it (see [`super::plain`]); this module only says what it looks like.

use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, take_while_m_n, take_while1},
    character::complete::{char, digit1},
    combinator::{all_consuming, map, map_opt, opt, recognize, rest, value},
    sequence::{delimited, preceded, terminated},
};

/// What stands behind `#N ` in a line of a step that was announced before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Body<'a> {
    /// `...`: the printer leaves this step for another one.
    Switch,
    /// `DONE 0.1s`, or `DONE` alone for a step without an interval; seconds as printed.
    Done(Option<f64>),
    /// `CACHED`
    Cached,
    /// `CANCELED`
    Canceled,
    /// `ERROR: text`
    Error(&'a [u8]),
    /// `WARN: text`
    Warning(&'a [u8]),
    /// `0.123 text`: a line of the command's own output, with its time since the start of the step as printed.
    Log {
        /// The seconds as printed (`0.123`, `12.06`, `102.1`).
        time: &'a [u8],
        /// The output, without the blank that parts it from the time.
        text: &'a [u8],
    },
    /// `sha256:…` alone: docker 20.10 prints the vertex digest below every header.
    VertexDigest,
    /// Anything else: a progress line, or a name where a name is due.
    Text(&'a [u8]),
}

/// Splits `#12 rest` into the index and the rest. A line that is only `#12` has an empty rest (viewers strip trailing blanks).
pub fn indexed(line: &[u8]) -> Option<(u32, &[u8])> {
    let mut parser = preceded(char('#'), (index, alt((preceded(char(' '), rest), map(nom::combinator::eof, |e| e)))));
    parser.parse(line).ok().map(|(_, found): (&[u8], (u32, &[u8]))| found)
}

fn index(input: &[u8]) -> IResult<&[u8], u32> {
    let decimal = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    map(take_while_m_n(1, 7, |b: u8| b.is_ascii_digit()), decimal).parse(input)
}

/// Reads what follows `#N `.
pub fn body(text: &[u8]) -> Body<'_> {
    let found = match text.first() {
        Some(b'.') => value(Body::Switch, all_consuming(tag("..."))).parse(text),
        Some(b'C') => {
            alt((value(Body::Cached, all_consuming(tag("CACHED"))), value(Body::Canceled, all_consuming(tag("CANCELED"))))).parse(text)
        }
        Some(b'D') => map(all_consuming(preceded(tag("DONE"), opt(delimited(char(' '), seconds, char('s'))))), Body::Done).parse(text),
        Some(b'E') => map(preceded(tag("ERROR: "), rest), Body::Error).parse(text),
        Some(b'W') => map(preceded(tag("WARN: "), rest), Body::Warning).parse(text),
        Some(b'0'..=b'9') => log_line(text),
        Some(b's') => value(Body::VertexDigest, all_consuming(digest)).parse(text),
        _ => return Body::Text(text),
    };
    found.map_or(Body::Text(text), |(_, found): (&[u8], Body<'_>)| found)
}

/// `12.3`; the dot is always there in what the printer writes.
fn seconds_text(input: &[u8]) -> IResult<&[u8], &[u8]> {
    recognize((digit1, char('.'), digit1)).parse(input)
}

fn seconds(input: &[u8]) -> IResult<&[u8], f64> {
    map_opt(seconds_text, |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok().filter(|seconds: &f64| seconds.is_finite()))
        .parse(input)
}

fn log_line(input: &[u8]) -> IResult<&[u8], Body<'_>> {
    let blank_or_end = alt((preceded(char(' '), rest), nom::combinator::eof));
    map((seconds_text, blank_or_end), |(time, text)| Body::Log { time, text }).parse(input)
}

fn digest(input: &[u8]) -> IResult<&[u8], &[u8]> {
    recognize(preceded(tag("sha256:"), take_while_m_n(64, 64, |b: u8| b.is_ascii_hexdigit()))).parse(input)
}

/// A progress line (`printer.go` writes `ID SIZE[ / SIZE][ SECONDS][ done]`), taken apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress<'a> {
    /// What is going on: `transferring context:`, `exporting layers`, `sha256:…`.
    pub id: &'a [u8],
    /// Bytes so far; sizes are decimal and rounded as BuildKit prints them.
    pub current: Option<u64>,
    /// True once the line says `done`.
    pub done: bool,
}

/// Takes a progress line apart from its end, because the id may hold anything.
pub fn progress(text: &[u8]) -> Progress<'_> {
    let (mut id, mut done, mut current) = (text, false, None);
    if let Some(before) = id.strip_suffix(b" done") {
        (id, done) = (before, true);
    }
    if let Some((before, last)) = split_last_word(id)
        && all_consuming(terminated(seconds_text, char('s'))).parse(last).is_ok()
    {
        id = before;
    }
    if let Some((before, last)) = split_last_word(id)
        && let Some(bytes) = size(last)
    {
        (id, current) = (before, Some(bytes));
        if let Some((before, b"/")) = split_last_word(before)
            && let Some((before, first)) = split_last_word(before)
            && let Some(bytes) = size(first)
        {
            (id, current) = (before, Some(bytes));
        }
    }
    Progress { id, current, done }
}

fn split_last_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = memchr::memrchr(b' ', text)?;
    Some((&text[..blank], &text[blank + 1..]))
}

/// Reads a size as BuildKit prints it (units of `tonistiigi/units`: decimal, two decimals at most): `32B`, `2.32kB`, `1.07MB`.
/// Returns bytes.
pub fn size(text: &[u8]) -> Option<u64> {
    let number = recognize((digit1, opt((char('.'), digit1))));
    let unit = alt((
        value(1.0, tag("B")),
        value(1e3, tag("kB")),
        value(1e6, tag("MB")),
        value(1e9, tag("GB")),
        value(1e12, tag("TB")),
        value(1e15, tag("PB")),
    ));
    let parsed: IResult<&[u8], (&[u8], f64)> = all_consuming((number, unit)).parse(text);
    let (_, (number, unit)) = parsed.ok()?;
    let number: f64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    // The product of two decimals is not exact (2.32 * 1000 = 2319.9999…), hence the rounding. `as` saturates.
    Some((number * unit).round() as u64)
}

/// Reads `building with "NAME" instance using DRIVER driver`, the rest of the `#0` line.
pub fn building_with(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let name = delimited(tag("building with \""), nom::bytes::complete::take_until("\" instance using "), tag("\" instance using "));
    let driver = terminated(take_while1(|b: u8| b != b' '), tag(" driver"));
    let parsed: IResult<&[u8], (&[u8], &[u8])> = all_consuming((name, driver)).parse(text);
    parsed.ok().map(|(_, found)| found)
}

#[cfg(test)]
mod tests {
    use super::{super::output_line::OutputLine, *};

    #[test]
    fn indexes_are_split_from_what_follows() {
        assert_eq!(indexed(b"#12 [2/3] RUN x"), Some((12, &b"[2/3] RUN x"[..])));
        assert_eq!(indexed(b"#7"), Some((7, &b""[..])));
        assert_eq!(indexed(b"#x y"), None);
        assert_eq!(indexed(b"#123456789 too many digits"), None);
        assert_eq!(indexed(b"# 1"), None);
    }

    #[test]
    fn terminal_lines_are_exact() {
        assert_eq!(body(b"DONE 0.1s"), Body::Done(Some(0.1)));
        assert_eq!(body(b"DONE"), Body::Done(None));
        assert_eq!(body(b"DONE 0.1"), Body::Text(b"DONE 0.1"));
        assert_eq!(body(b"DONE 0.0s\" | wc -l"), Body::Text(b"DONE 0.0s\" | wc -l"));
        assert_eq!(body(b"CACHED"), Body::Cached);
        assert_eq!(body(b"CACHED x"), Body::Text(b"CACHED x"));
        assert_eq!(body(b"ERROR: x: y"), Body::Error(b"x: y"));
        assert_eq!(body(b"..."), Body::Switch);
    }

    #[test]
    fn log_lines_of_every_precision() {
        for time in ["0.123", "9.999", "12.06", "102.1", "1000.5"] {
            for text in ["", " ", " hello", "  indented", " 0.5 nested and more"] {
                let line = format!("{time}{text}");
                let expected = text.strip_prefix(' ').unwrap_or(text).as_bytes();
                assert_eq!(body(line.as_bytes()), Body::Log { time: time.as_bytes(), text: expected }, "{line:?}");
                let padded = format!("#12 {line}                ");
                let short = time.len() < 7;
                assert_eq!(OutputLine::of_step(12).unwrap().begins(padded.as_bytes()), short, "{line:?}");
            }
        }
        let mut step = OutputLine::of_step(3).unwrap();
        for line in ["12 sha256:x", "1.2.3 x", "1..34 x", ".1234 x", "1.23x y", "0.123x", "extracting x 0.1s", "1.\u{80}23 x"] {
            assert!(!matches!(body(line.as_bytes()), Body::Log { .. }), "{line:?}");
            assert!(!step.begins(format!("#3 {line}                ").as_bytes()), "{line:?}");
        }
        assert!(!step.begins(b"#3 0.123 [output clipped, log limit 2MiB reached]"));
        assert!(step.begins(b"#3 0.123 [INFO] building"));
        assert!(!step.begins(b"#4 0.123 another step"));
    }

    #[test]
    fn the_short_way_and_the_grammar_agree() {
        let mut step = OutputLine::of_step(3).unwrap();
        // Every byte at every place of a time.
        for byte in 0..=255_u8 {
            for place in 3..12 {
                let mut line = *b"#3 12.345 some text";
                line[place] = byte;
                let (_, text) = indexed(&line).unwrap_or((0, b""));
                let log = matches!(body(text), Body::Log { .. });
                assert!(!step.begins(&line) || log, "{:?}", String::from_utf8_lossy(&line));
            }
        }
    }

    #[test]
    fn progress_is_read_from_its_end() {
        let read = |text: &'static str| progress(text.as_bytes());
        assert_eq!(
            read("transferring context: 2.32kB 0.1s done"),
            Progress { id: b"transferring context:", current: Some(2320), done: true }
        );
        assert_eq!(read("transferring context:"), Progress { id: b"transferring context:", current: None, done: false });
        assert_eq!(read("transferring context: 548.05MB 5.0s").current, Some(548_050_000));
        assert_eq!(read("sha256:77 1.05MB / 6.00MB 1.1s"), Progress { id: b"sha256:77", current: Some(1_050_000), done: false });
        assert_eq!(read("exporting layers 0.1s done"), Progress { id: b"exporting layers", current: None, done: true });
        assert_eq!(read("naming to docker.io/library/y:1 done").id, b"naming to docker.io/library/y:1");
    }

    #[test]
    fn sizes_are_decimal() {
        assert_eq!(size(b"32B"), Some(32));
        assert_eq!(size(b"2.32kB"), Some(2320));
        assert_eq!(size(b"1.07GB"), Some(1_070_000_000));
        assert_eq!(size(b"0B"), Some(0));
        assert_eq!(size(b"1.07 GB"), None);
        assert_eq!(size(b"kB"), None);
    }

    #[test]
    fn builder_and_driver() {
        assert_eq!(building_with(b"building with \"c\" instance using remote driver"), Some((&b"c"[..], &b"remote"[..])));
        assert_eq!(building_with(b"building with x"), None);
    }
}
