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
        .map(|candidate| (distance(&name, &plain(candidate), Swaps::CountOne), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The option that BuildKit would suggest for a misspelled one: at most two edits away, case and all (BuildKit `util/suggest`).
///
/// What it says of a Dockerfile is quoted as it says it, hence its own measure and not that of [`nearest`].
pub fn suggested_by_buildkit<'o>(name: &str, options: impl IntoIterator<Item = &'o str>) -> Option<&'o str> {
    let name: Vec<char> = name.chars().take(LONGEST).collect();
    options
        .into_iter()
        .map(|option| (distance(&name, &option.chars().collect::<Vec<_>>(), Swaps::CountTwo), option))
        .filter(|(distance, _)| (1..3).contains(distance))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, option)| option)
}

/// Longer names are compared by their beginning: the cost grows with the square.
const LONGEST: usize = 100;

fn plain(name: &str) -> Vec<char> {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).take(LONGEST).collect()
}

/// What two neighbours that changed places cost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Swaps {
    /// One edit (optimal string alignment).
    CountOne,
    /// Two edits (Levenshtein).
    CountTwo,
}

fn distance(a: &[char], b: &[char], swaps: Swaps) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if swaps == Swaps::CountOne && i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
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

    #[test]
    fn buildkit_counts_otherwise() {
        let keywords = ["COPY", "CMD", "RUN"];
        assert_eq!(suggested_by_buildkit("CPOY", keywords), Some("COPY"));
        assert_eq!(suggested_by_buildkit("COPY", keywords), None);
        assert_eq!(suggested_by_buildkit("copy", keywords), None);
        assert_eq!(suggested_by_buildkit("WORKDIRECTORY", keywords), None);
        assert_eq!(suggested_by_buildkit(&"x".repeat(100_000), keywords), None);
    }
}
