//! Which step of one build is which of another, where Dockerfiles were edited in between.
//!
//! First what is called the same ([`crate::history::identity`]), then, among the steps that are left, what resembles each other: by the
//! words that they share in order (a longest common subsequence, Wagner and Fischer 1974, each word weighing as much as it is long),
//! within a stage in order (Needleman and Wunsch 1970), then across stages, where a stage was renamed or bake announced a shared step
//! under another target. Every step is paired at most once.

use std::collections::HashMap;

use crate::build::Kind;

/// A step as the matching sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The build that it is in; steps of different builds are different steps.
    pub build: usize,
    /// Its identity, unique within its build.
    pub identity: String,
    /// Target, platform and named stage.
    pub place: String,
    /// What it is.
    pub kind: Kind,
    /// The instruction.
    pub keyword: Option<String>,
    /// Its place in the stage.
    pub number: Option<u32>,
    /// The text of the instruction, or the whole name of other steps.
    pub text: String,
}

/// Two steps that are one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Position in the first list.
    pub a: usize,
    /// Position in the second list.
    pub b: usize,
    /// How alike they are, from 0 to 1; 1 for the same identity.
    pub likeness: f64,
}

/// Least likeness of two steps of one stage.
const LEAST: f64 = 0.5;
/// Least likeness of two steps of different stages.
const LEAST_ELSEWHERE: f64 = 0.8;
/// Likeness that a step gains when its neighbour in the stage is paired with the other's neighbour, or has the same number.
const NEIGHBOUR: f64 = 0.15;
/// Words of a step that are compared.
const MOST_WORDS: usize = 300;
/// Pairs of steps that are compared; with more, only what is called the same is paired.
const MOST_PAIRS: usize = 250_000;

/// Pairs the steps of two builds, in the order of the first.
pub fn pair(a: &[Named], b: &[Named]) -> Vec<Pair> {
    let mut by_identity: HashMap<(usize, &str), usize> = HashMap::new();
    for (at, step) in b.iter().enumerate() {
        by_identity.entry((step.build, &step.identity)).or_insert(at);
    }
    let mut taken = vec![false; b.len()];
    let mut pairs: Vec<Pair> = Vec::new();
    for (at, step) in a.iter().enumerate() {
        if let Some(&other) = by_identity.get(&(step.build, step.identity.as_str()))
            && !taken[other]
        {
            taken[other] = true;
            pairs.push(Pair { a: at, b: other, likeness: 1.0 });
        }
    }
    let mut found = vec![false; a.len()];
    for pair in &pairs {
        found[pair.a] = true;
    }
    let mut left: Vec<usize> = (0..a.len()).filter(|at| !found[*at]).collect();
    let mut right: Vec<usize> = (0..b.len()).filter(|at| !taken[*at]).collect();
    if left.is_empty() || right.is_empty() || left.len() * right.len() > MOST_PAIRS {
        return pairs;
    }
    let words_a: HashMap<usize, Vec<&str>> = left.iter().map(|&at| (at, words(&a[at].text))).collect();
    let words_b: HashMap<usize, Vec<&str>> = right.iter().map(|&at| (at, words(&b[at].text))).collect();
    let alike = |x: usize, y: usize| {
        if a[x].build != b[y].build || a[x].kind != b[y].kind || a[x].keyword != b[y].keyword {
            return 0.0;
        }
        likeness(&words_a[&x], &words_b[&y])
    };

    let mut stages: Vec<&str> = left.iter().map(|&at| a[at].place.as_str()).collect();
    stages.sort_unstable();
    stages.dedup();
    let known: HashMap<(&str, u32), usize> =
        pairs.iter().filter_map(|pair| Some(((a[pair.a].place.as_str(), a[pair.a].number?), pair.b))).collect();
    for stage in stages {
        let mut from: Vec<usize> = left.iter().copied().filter(|&at| a[at].place == stage).collect();
        let mut to: Vec<usize> = right.iter().copied().filter(|&at| b[at].place == stage).collect();
        from.sort_by_key(|&at| (a[at].number, at));
        to.sort_by_key(|&at| (b[at].number, at));
        let neighbours = |x: usize, y: usize| {
            let (Some(at), Some(other)) = (a[x].number, b[y].number) else { return false };
            let next_to = |step: i64| {
                let place = u32::try_from(i64::from(at) + step).ok().and_then(|number| known.get(&(stage, number)));
                place.is_some_and(|&paired| b[paired].place == stage && b[paired].number.map(i64::from) == Some(i64::from(other) + step))
            };
            next_to(-1) || next_to(1)
        };
        let score = |x: usize, y: usize| {
            let alike = alike(x, y);
            if alike > 0.0 && neighbours(x, y) { (alike + NEIGHBOUR).min(0.999) } else { alike }
        };
        for (x, y, likeness) in in_order(&from, &to, score) {
            pairs.push(Pair { a: x, b: y, likeness });
            left.retain(|&at| at != x);
            right.retain(|&at| at != y);
        }
    }

    let mut elsewhere: Vec<Pair> = Vec::new();
    for &x in &left {
        elsewhere.extend(right.iter().map(|&y| Pair { a: x, b: y, likeness: alike(x, y) }).filter(|pair| pair.likeness >= LEAST_ELSEWHERE));
    }
    let distance = |pair: &Pair| a[pair.a].number.unwrap_or(0).abs_diff(b[pair.b].number.unwrap_or(0));
    elsewhere.sort_by(|p, q| q.likeness.total_cmp(&p.likeness).then(distance(p).cmp(&distance(q))).then((p.a, p.b).cmp(&(q.a, q.b))));
    for pair in elsewhere {
        if left.contains(&pair.a) && right.contains(&pair.b) {
            left.retain(|&at| at != pair.a);
            right.retain(|&at| at != pair.b);
            // The same words in another place are the same step, but not the same name.
            pairs.push(Pair { likeness: pair.likeness.min(0.999), ..pair });
        }
    }
    pairs.sort_by_key(|pair| pair.a);
    pairs
}

/// The pairs of most likeness in all that keep the order of both lists.
fn in_order(from: &[usize], to: &[usize], score: impl Fn(usize, usize) -> f64) -> Vec<(usize, usize, f64)> {
    let scores: Vec<Vec<f64>> = from.iter().map(|&x| to.iter().map(|&y| score(x, y)).collect()).collect();
    let mut best = vec![vec![0.0_f64; to.len() + 1]; from.len() + 1];
    for i in (0..from.len()).rev() {
        for j in (0..to.len()).rev() {
            let worth = scores[i][j] - LEAST;
            let both = if worth >= 0.0 { best[i + 1][j + 1] + worth + 1e-6 } else { 0.0 };
            best[i][j] = both.max(best[i + 1][j]).max(best[i][j + 1]);
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < from.len() && j < to.len() {
        if best[i][j] <= best[i + 1][j] {
            i += 1;
        } else if best[i][j] <= best[i][j + 1] {
            j += 1;
        } else {
            pairs.push((from[i], to[j], scores[i][j]));
            (i, j) = (i + 1, j + 1);
        }
    }
    pairs
}

/// The words of an instruction behind its keyword, cut also where shells and images cut.
pub fn words(text: &str) -> Vec<&str> {
    let behind = text.split_once(' ').map_or(text, |(_, behind)| behind);
    let apart =
        |c: char| c.is_whitespace() || matches!(c, '/' | ':' | '=' | '@' | ',' | ';' | '&' | '|' | '<' | '>' | '(' | ')' | '"' | '\'');
    behind.split(apart).filter(|word| !word.is_empty()).take(MOST_WORDS).collect()
}

/// Twice the weight of the words in common, by the weight of all; 1 for two empty lists.
pub fn likeness(a: &[&str], b: &[&str]) -> f64 {
    let weight = |word: &str| word.chars().count() as f64;
    let all: f64 = a.iter().chain(b).map(|word| weight(word)).sum();
    if all <= 0.0 {
        return 1.0;
    }
    let mut row = vec![0.0_f64; b.len() + 1];
    for x in a {
        let mut diagonal = 0.0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + weight(x) } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    2.0 * row[b.len()] / all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{build::StepName, history::identity};

    fn named(names: &[&str]) -> Vec<Named> {
        let parts: Vec<StepName> = names.iter().map(|name| StepName::parse(name)).collect();
        let places: Vec<identity::Place<'_>> = parts
            .iter()
            .enumerate()
            .map(|(at, parts)| identity::Place { parts: std::borrow::Cow::Borrowed(parts), index: u32::try_from(at).unwrap() })
            .collect();
        let identities = identity::numbered(names.iter().map(|name| identity::of_name(name)).collect(), &places);
        std::iter::zip(names, &parts)
            .zip(identities)
            .map(|((name, parts), identity)| Named {
                build: 0,
                identity,
                place: identity::place(parts),
                kind: parts.kind,
                keyword: parts.keyword.map(str::to_owned),
                number: parts.number,
                text: name[parts.bracket_bytes..].to_owned(),
            })
            .collect()
    }

    fn paired(a: &[&str], b: &[&str]) -> Vec<(usize, usize)> {
        pair(&named(a), &named(b)).iter().map(|pair| (pair.a, pair.b)).collect()
    }

    #[test]
    fn a_small_edit_is_the_same_step() {
        let a = ["[2/4] COPY requirements.txt ./", "[3/4] RUN pip install -r requirements.txt", "[4/4] COPY . ."];
        let b = ["[2/4] COPY requirements.txt ./", "[3/4] RUN pip install --no-cache-dir -r requirements.txt", "[4/4] COPY . ."];
        assert_eq!(paired(&a, &b), [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn a_step_put_in_between_does_not_move_the_others() {
        let a = ["[1/3] FROM node:20", "[2/3] RUN npm ci", "[3/3] RUN npm run build"];
        let b = ["[1/4] FROM node:22", "[2/4] RUN apt-get update", "[3/4] RUN npm ci --omit=dev", "[4/4] RUN npm run build"];
        assert_eq!(paired(&a, &b), [(0, 0), (1, 2), (2, 3)]);
    }

    #[test]
    fn neighbours_help_a_larger_edit() {
        let a = ["[2/4] COPY package.json ./", "[3/4] RUN npm ci", "[4/4] COPY . ."];
        let b = ["[2/4] COPY package.json ./", "[3/4] RUN npm install", "[4/4] COPY . ."];
        assert_eq!(paired(&a, &b), [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn different_steps_are_not_paired() {
        assert_eq!(paired(&["[2/3] COPY package.json ./"], &["[2/3] COPY src ./"]), []);
        assert_eq!(paired(&["[2/3] RUN npm ci"], &["[2/3] RUN apt-get update"]), []);
        assert_eq!(paired(&["[2/3] RUN cp a b"], &["[2/3] COPY a b"]), []);
        // In other stages only what is nearly the same.
        assert_eq!(paired(&["[one 2/3] RUN pip install -r a.txt"], &["[two 2/3] RUN pip install b"]), []);
    }

    #[test]
    fn a_renamed_stage_and_a_shared_step_of_another_target() {
        assert_eq!(paired(&["[stage-1 2/3] RUN npm ci"], &["[final 2/3] RUN npm ci"]), [(0, 0)]);
        let shared = pair(&named(&["[backend base 2/2] WORKDIR /app"]), &named(&["[frontend base 2/2] WORKDIR /app"]));
        assert_eq!(shared.len(), 1);
        assert!(shared[0].likeness < 1.0);
    }

    #[test]
    fn twins_keep_their_order() {
        let a = ["[2/4] RUN make a", "[3/4] RUN make a", "[4/4] RUN make a"];
        let b = ["[2/4] RUN make a", "[3/4] RUN make a", "[4/4] RUN make a"];
        assert_eq!(paired(&a, &b), [(0, 0), (1, 1), (2, 2)]);
    }

    fn any_names() -> impl Strategy<Value = Vec<String>> {
        let name = (prop::sample::select(vec!["", "a ", "b "]), 1..6_u32, prop::sample::select(vec!["RUN", "COPY"]), "[a-c]( [a-c]){0,3}");
        prop::collection::vec(name.prop_map(|(stage, n, keyword, text)| format!("[{stage}{n}/9] {keyword} {text}")), 0..12)
    }

    proptest! {
        #[test]
        fn pairs_are_one_to_one_and_a_list_is_paired_with_itself(a in any_names(), b in any_names()) {
            let (a, b): (Vec<&str>, Vec<&str>) = (a.iter().map(String::as_str).collect(), b.iter().map(String::as_str).collect());
            let pairs = paired(&a, &b);
            let mut left: Vec<usize> = pairs.iter().map(|pair| pair.0).collect();
            let mut right: Vec<usize> = pairs.iter().map(|pair| pair.1).collect();
            left.sort_unstable();
            right.sort_unstable();
            prop_assert!(left.windows(2).all(|w| w[0] < w[1]) && right.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(left.iter().all(|&at| at < a.len()) && right.iter().all(|&at| at < b.len()));
            prop_assert!(paired(&a, &a).iter().all(|pair| pair.0 == pair.1));
            prop_assert_eq!(paired(&a, &a).len(), a.len());
        }

        #[test]
        fn likeness_is_a_share_and_symmetric(a in "[a-d ]{0,20}", b in "[a-d ]{0,20}") {
            let (x, y): (Vec<&str>, Vec<&str>) = (a.split_whitespace().collect(), b.split_whitespace().collect());
            let alike = likeness(&x, &y);
            prop_assert!((0.0..=1.0).contains(&alike));
            prop_assert!((alike - likeness(&y, &x)).abs() < 1e-12);
        }
    }
}
