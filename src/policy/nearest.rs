//! The name that was probably meant.

/// Finds the candidate that is nearest to a misspelled name; `None` if none is near.
///
/// Near is an edit distance (with swaps of neighbours: optimal string alignment) of at most a third of the name's length, one at least.
/// Case, `_` and `-` do not count.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let name = plain(name);
    let limit = (name.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Longer names are compared by their beginning: the cost grows with the square.
const LONGEST: usize = 100;

fn plain(name: &str) -> Vec<char> {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).take(LONGEST).collect()
}

fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let rules = ["stale-copy", "stale-run", "bust-missing"];
        assert_eq!(nearest("stale-cpoy", rules), Some("stale-copy"));
        assert_eq!(nearest("stalecopy", rules), Some("stale-copy"));
        assert_eq!(nearest("bust-mising", rules), Some("bust-missing"));
        assert_eq!(nearest("CACHE_BUST", ["CACHEBUST", "VERSION"]), Some("CACHEBUST"));
        assert_eq!(nearest("something-else", rules), None);
        assert_eq!(nearest("", rules), None);
        assert_eq!(nearest(&"x".repeat(100_000), ["y"]), None);
    }
}
