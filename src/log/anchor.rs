//! Lines that only a build writes: by the first of them the reader knows the format and what stands in front of it.

use super::{grammar, name};

/// The formats a build log can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// BuildKit's `--progress=plain`.
    Plain,
    /// BuildKit's `--progress=rawjson`.
    RawJson,
    /// The builder from before BuildKit (`Step 1/5 : FROM …`).
    Legacy,
    /// A capture of BuildKit's redrawn terminal output.
    Tty,
}

/// A place where a build's own text begins in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// Bytes before it: what a CI system put in front.
    pub offset: usize,
    /// What was recognised.
    pub format: Format,
}

/// No CI system puts more than this in front of a line.
const LONGEST_PREFIX: usize = 512;

/// How many `#` of one line are looked at.
const MOST_CANDIDATES: usize = 16;

/// Finds the leftmost anchor of a line.
///
/// Leftmost, because the output of a command may look like anything, but it always stands behind `#N SECONDS `, which is an anchor
/// itself.
pub fn find(line: &[u8]) -> Option<Anchor> {
    let head = &line[..line.len().min(LONGEST_PREFIX)];
    let plain = memchr::memchr_iter(b'#', head).take(MOST_CANDIDATES).find(|at| is_plain(&line[*at..]));
    let other = memchr::memchr_iter(b'{', head)
        .take(MOST_CANDIDATES)
        .find(|at| is_rawjson(&line[*at..]))
        .map(|offset| Anchor { offset, format: Format::RawJson })
        .or_else(|| {
            let step = memchr::memmem::find(head, b"Step ").filter(|at| is_legacy(&line[*at..]));
            let context =
                || memchr::memmem::find(head, super::legacy::CONTEXT).filter(|at| super::legacy::context_sent(&line[*at..]).is_some());
            step.or_else(context).map(|offset| Anchor { offset, format: Format::Legacy })
        })
        .or_else(|| memchr::memmem::find(head, b"[+] Building ").map(|offset| Anchor { offset, format: Format::Tty }));
    match (plain, other) {
        (Some(offset), Some(other)) if offset > other.offset => Some(other),
        (Some(offset), _) => Some(Anchor { offset, format: Format::Plain }),
        (None, other) => other,
    }
}

/// True for a line of plain progress that hardly anything else would write.
pub fn is_plain(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let Some((index, rest)) = grammar::indexed(text) else {
        return false;
    };
    // `ansi`-wrapped lines end in a reset, which is no part of what is looked at.
    let rest = rest.strip_suffix(b"\x1b[0m").unwrap_or(rest);
    if index == 0 {
        return grammar::building_with(rest).is_some();
    }
    match grammar::body(rest) {
        grammar::Body::Text(text) => name::is_certain(text),
        grammar::Body::Switch
        | grammar::Body::Done(_)
        | grammar::Body::Cached
        | grammar::Body::Canceled
        | grammar::Body::Error(_)
        | grammar::Body::Warning(_)
        | grammar::Body::Log { .. }
        | grammar::Body::VertexDigest => true,
    }
}

/// True for a line of `--progress=rawjson`: an object whose first key is one of BuildKit's `SolveStatus`.
pub fn is_rawjson(text: &[u8]) -> bool {
    [&b"{\"vertexes\":["[..], b"{\"statuses\":[", b"{\"logs\":[", b"{\"warnings\":["].iter().any(|key| text.starts_with(key))
}

/// True for `Step 1/5 : …`.
pub fn is_legacy(text: &[u8]) -> bool {
    super::legacy::step(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(line: &str) -> Option<usize> {
        find(line.as_bytes()).map(|anchor| anchor.offset)
    }

    #[test]
    fn the_leftmost_anchor_counts() {
        assert_eq!(offset("#0 building with \"c\" instance using remote driver"), Some(0));
        assert_eq!(offset("#8 0.052 #0 building with \"default\" instance using docker driver"), Some(0));
        assert_eq!(offset("2026-01-02T03:04:05.1Z #1 [internal] load .dockerignore"), Some(23));
        assert_eq!(offset("Step #0 - \"build\": #1 DONE 0.0s"), Some(19));
        assert_eq!(offset("Step #0: #1 [internal] load .dockerignore"), Some(9));
        assert_eq!(offset("backend-1  | #5 CACHED"), Some(13));
    }

    #[test]
    fn ordinary_text_is_no_anchor() {
        for line in
            ["Merge pull request #12 from x/y", "Closes #12 [skip ci]", "# Title", "see #3 ...and more", "Already have image: x", ""]
        {
            assert_eq!(find(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn the_other_formats() {
        let format = |line: &str| find(line.as_bytes()).map(|a| (a.offset, a.format));
        assert_eq!(format("{\"vertexes\":[{}]}"), Some((0, Format::RawJson)));
        assert_eq!(format("12:00:00 Step 2/5 : RUN echo '#1 CACHED'"), Some((9, Format::Legacy)));
        assert_eq!(format("x: Sending build context to Docker daemon  3.072kB\r\r"), Some((3, Format::Legacy)));
        assert_eq!(format("[+] Building 0.2s (4/8)"), Some((0, Format::Tty)));
    }
}
