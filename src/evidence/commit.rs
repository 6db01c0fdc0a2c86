//! Commits as people see them.

/// Digits of a commit in sentences and tables; no repository has two commits that share them.
const SHORT: usize = 12;
/// Digits where there is little room, as git shows them.
const BRIEF: usize = 7;

/// The first 12 characters of a commit.
pub fn short(commit: &str) -> &str {
    first(commit, SHORT)
}

/// The first 7 characters of a commit.
pub fn brief(commit: &str) -> &str {
    first(commit, BRIEF)
}

fn first(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_characters() {
        assert_eq!((short("0123456789abcdef"), brief("0123456789abcdef")), ("0123456789ab", "0123456"));
        assert_eq!((short("main"), brief("ääääääää"), short("")), ("main", "äääääää", ""));
    }
}
