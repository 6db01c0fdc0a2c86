//! Lines that BuildKit and its clients write between and after the steps, and names that they give.

use super::name;

/// True for a name that BuildKit gives, and false for the progress lines that are as certain.
pub(super) fn is_header(text: &[u8]) -> bool {
    const PROGRESS: [&[u8]; 10] = [
        b"transferring ",
        b"sha256:",
        b"extracting ",
        b"resolve docker.io/",
        b"exporting layers",
        b"exporting manifest",
        b"exporting config",
        b"exporting attestation",
        b"writing image ",
        b"naming to ",
    ];
    name::is_certain(text) && !PROGRESS.iter().any(|start| text.starts_with(start))
}

/// `[output clipped, log limit 2MiB reached]`: a line that BuildKit's solver writes into the output itself.
pub(super) fn is_clip_notice(text: &[u8]) -> bool {
    text.starts_with(b"[output clipped, log limit ") && text.ends_with(b" reached]")
}

/// Lines of buildx and BuildKit that end a block which was cut before its own end.
pub(super) fn is_own_line(line: &[u8]) -> bool {
    line.starts_with(b"WARNING: No output specified") || build_error(line) == Some(true) || line.starts_with(b"View build details: ")
}

pub(super) fn is_dashes(line: &[u8]) -> bool {
    line.len() == 20 && line.iter().all(|b| *b == b'-')
}

/// `Dockerfile:3`: a path, a colon, a line number.
pub(super) fn is_excerpt_head(line: &[u8]) -> bool {
    let Some(colon) = memchr::memrchr(b':', line) else {
        return false;
    };
    let (path, number) = (&line[..colon], &line[colon + 1..]);
    !path.is_empty() && (1..=7).contains(&number.len()) && number.iter().all(u8::is_ascii_digit) && !path.starts_with(b" ")
}

/// Tells whether a line is an error of the build itself: `Some(true)` by the words of BuildKit, buildx or compose, `Some(false)`
/// where only the form fits.
pub fn build_error(line: &[u8]) -> Option<bool> {
    const CERTAIN: [&[u8]; 10] = [
        b"failed to compute cache key: ",
        b"failed to build: ",
        b"failed to solve: ",
        b"failed to solve with frontend ",
        b"failed to receive status: ",
        b"process \"/bin/sh -c ",
        b"executor failed running ",
        b"Canceled: context canceled",
        b"context canceled",
        b"unable to prepare context: ",
    ];
    let shouted = line.strip_prefix(b"ERROR: ");
    let text = shouted.or_else(|| line.strip_prefix(b"error: ")).unwrap_or(line);
    // `target backend: failed to solve: …` of bake and compose, with a name in front.
    let after_target = text.strip_prefix(b"target ").and_then(|t| memchr::memmem::find(t, b": ").map(|at| &t[at + 2..])).unwrap_or(text);
    if CERTAIN.iter().any(|start| after_target.starts_with(start)) {
        return Some(true);
    }
    let checks = line.starts_with(b"Check complete, ") && line.ends_with(b" been found!");
    if checks {
        return Some(true);
    }
    shouted.map(|_| false)
}
