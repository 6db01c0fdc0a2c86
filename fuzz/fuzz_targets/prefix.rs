//! What stands before a line of a build is learnt as a pattern. The pattern must take the prefix off the line that it was learnt from,
//! whatever it is, and off no line more than the line has.
#![no_main]

use bklog::log::{anchor, prefix::Pattern};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    // The reader looks for the first line of a build in so many bytes of a line only.
    let (first, second) = (&input.0[..input.0.len().min(512)], &input.1[..input.1.len().min(512)]);
    for prefix in [first, anchor::find(first).map_or(first, |anchor| &first[..anchor.offset])] {
        let mut pattern = Pattern::learn(prefix);
        for text in [&b"#1 [1/2] RUN x"[..], b"", second] {
            let line = [prefix, text].concat();
            if let Some(stripped) = pattern.strip(&line) {
                assert!(line.ends_with(stripped.core) || line.contains(&0x1b), "the rest of a line is its end");
                _ = stripped.instant();
            }
        }
        let of_its_own = [prefix, b"#1 [1/2] RUN x"].concat();
        assert!(Pattern::learn(prefix).strip(&of_its_own).is_some(), "a pattern fits the line that it was learnt from");
        let mut other = Pattern::learn(second);
        _ = pattern.resembles(&other) | pattern.differs_only_in_digits(&other);
        other.generalise();
        _ = other.strip(second);
        _ = other.strip(first);
    }
});
