//! `# bklog: ignore[rule] reason` in files other than Dockerfiles, whose own reader knows them.

use super::super::dockerfile::{Suppression, read_suppression};

/// Reads the comments of a text, and the lines of those that speak to bklog and cannot be read.
///
/// A comment behind something holds for its own line, one alone for the next line that is neither blank nor a comment. `//` begins a
/// comment too where `slashes` says so (HCL).
pub(super) fn read(text: &str, slashes: bool) -> (Vec<Suppression>, Vec<usize>) {
    let mut found: Vec<Suppression> = Vec::new();
    let mut malformed = Vec::new();
    if !text.contains("bklog") {
        return (found, malformed);
    }
    let mut settled = 0;
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        let trimmed = line.trim_start();
        let alone = trimmed.starts_with('#') || slashes && trimmed.starts_with("//");
        if !alone && !trimmed.is_empty() {
            for waiting in found.iter_mut().skip(settled) {
                waiting.applies_to.get_or_insert(number);
            }
            settled = found.len();
        }
        // The last sign counts: what stands before it may be a string.
        let comment = line.rfind("bklog").and_then(|at| {
            let before = line[..at].trim_end();
            let sign = before.strip_suffix('#').or_else(|| before.strip_suffix("//").filter(|_| slashes));
            sign.map(|_| &line[at..])
        });
        match comment.and_then(read_suppression) {
            Some(Some((rules, reason))) => {
                found.push(Suppression { line: number, applies_to: (!alone).then_some(number), rules, reason });
                if !alone {
                    settled = found.len();
                }
            }
            Some(None) => malformed.push(number),
            None => {}
        }
    }
    (found, malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_and_behind() {
        let text =
            "a: 1\n# bklog: ignore[inline-cache] wanted\n\n# other\nb: 2\nc: 3 # bklog: ignore[x,y]\n# bklog: ignore\nd: \"#bklog x\"\n";
        let (found, malformed) = read(text, false);
        let short: Vec<_> = found.iter().map(|s| (s.line, s.applies_to, s.rules.len(), s.reason.as_str())).collect();
        assert_eq!(short, [(2, Some(5), 1, "wanted"), (6, Some(6), 2, "")]);
        assert_eq!(malformed, [7]);
        assert_eq!(read("// bklog: ignore[a] r\ntarget \"x\" {}\n", true).0[0].applies_to, Some(2));
        assert!(read("// bklog: ignore[a] r\nx\n", false).0.is_empty());
        assert_eq!(read("# bklog: ignore[a] last\n", false).0[0].applies_to, None);
    }
}
