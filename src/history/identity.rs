//! What a step is called in every run: its name without what differs from run to run.
//!
//! BuildKit expands build arguments in the name of a step (`dispatchRun` and `prefixCommand` in
//! `frontend/dockerfile/dockerfile2llb/convert.go`), numbers the steps of a stage, pads the numbers, counts unnamed stages
//! (`stage-1`), and prints the digest of a base. None of that makes a step another one. Target, platform and the name of a stage do:
//! `RUN npm ci` in two stages is two steps.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use regex::Regex;

use crate::build::{Kind, Step, StepName};

/// Stands for a value that differs from run to run.
const ANY: &str = "*";

/// Digits of a time in seconds since 1970, and of everything that is longer.
const SHORTEST_NUMBER: usize = 10;

/// Digits of an abbreviated commit.
const SHORTEST_COMMIT: usize = 7;

/// Digits of the longest hash that is printed.
const LONGEST_HASH: usize = 128;

/// What a step is called in every run: target, platform and named stage, then the instruction with one blank between words and `*` for
/// what changes from run to run (digests, times, commits, values of cache-bust arguments).
///
/// A step that bake shares between targets is announced under any of them, by chance: whoever compares runs has to know. Steps of one build
/// can have the same identity: [`identities`] tells them apart.
pub fn identity(step: &Step) -> String {
    of_parts(&step.parts, &step.name)
}

/// [`identity`] of a step of which only its name is known.
pub fn of_name(name: &str) -> String {
    of_parts(&StepName::parse(name), name)
}

/// The identities of the steps of one build, the second of the same name as `… (2)`, in the order of their places.
pub fn identities(steps: &[Step]) -> Vec<String> {
    let places = steps.iter().map(|step| Place { parts: Cow::Borrowed(&step.parts), index: step.index });
    numbered(steps.iter().map(identity).collect(), &places.collect::<Vec<_>>())
}

/// Where a step stands in its build: what orders steps that are called the same.
#[derive(Debug, Clone)]
pub struct Place<'s> {
    /// Its name taken apart.
    pub parts: Cow<'s, StepName>,
    /// Its number in the log.
    pub index: u32,
}

/// Numbers what is called the same, in the order of stage and place. Names that differ stay.
pub fn numbered(mut names: Vec<String>, places: &[Place<'_>]) -> Vec<String> {
    let mut count: HashMap<&str, usize> = HashMap::new();
    for name in &names {
        *count.entry(name).or_default() += 1;
    }
    if count.values().all(|count| *count == 1) {
        return names;
    }
    let mut order: Vec<usize> = (0..names.len()).filter(|at| count[names[*at].as_str()] > 1).collect();
    order.sort_by_key(|at| places.get(*at).map(|place| (place.parts.stage.as_deref().map(natural), place.parts.number, place.index)));
    let mut seen: HashMap<String, usize> = HashMap::new();
    for at in order {
        let nth = seen.entry(names[at].clone()).or_default();
        *nth += 1;
        if *nth > 1 {
            names[at] = format!("{} ({nth})", names[at]);
        }
    }
    names
}

/// `stage-10` comes behind `stage-9`.
fn natural(stage: &str) -> (&str, u64) {
    let digits = stage.len() - stage.bytes().rev().take_while(u8::is_ascii_digit).count();
    (&stage[..digits], stage[digits..].parse().unwrap_or_default())
}

/// Target, platform and named stage of a step, as one text; empty for a step of a Dockerfile with one stage.
pub fn place(parts: &StepName) -> String {
    let stage = parts.stage.as_deref().filter(|stage| !is_unnamed(stage));
    [parts.target.as_deref(), parts.platform.as_deref(), stage].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// [`place`] of a recorded step, whose target is also the name that its build was given.
pub fn place_of(target: Option<&str>, parts: &StepName) -> String {
    let given = target.filter(|_| parts.target.is_none());
    let place = place(parts);
    [given.unwrap_or_default(), &place].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}

/// True for the name that BuildKit gives to a stage without one: `stage-1`.
pub fn is_unnamed(stage: &str) -> bool {
    stage.strip_prefix("stage-").is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn of_parts(parts: &StepName, name: &str) -> String {
    if parts.kind != Kind::Instruction {
        return normal(name);
    }
    let place = place(parts);
    let text = normal(name.get(parts.bracket_bytes..).unwrap_or(name));
    if place.is_empty() { text } else { format!("{place} {text}") }
}

/// A text of a log without what differs from run to run: see [`identity`].
pub fn normal(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = COMPOSITE.replace_all(&text, |found: &regex::Captures<'_>| if found[0].starts_with('@') { "" } else { ANY });
    // Most names assign nothing, and the expression takes a millisecond to be made.
    let text = if text.contains('=') { BUST_VALUE.replace_all(&text, "${name}*") } else { text };
    let text = words(&text);
    match marker_end(&text) {
        Some(end) => format!("{}{}", marker(&text[..end]), &text[end..]),
        None => text,
    }
}

/// Digests, UUIDs and times, which are more than one word.
static COMPOSITE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"@?\bsha(256:[0-9a-f]{64}|512:[0-9a-f]{128})\b",
        r"|\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b",
        // 2026-11-21, 2026-11-21T08:14:26.5Z, 2026-11-21 08:14:26 +0100
        r"|\b(19|20)[0-9]{2}[-/](0[1-9]|1[0-2])[-/](0[1-9]|[12][0-9]|3[01])",
        r"([T _-][0-9]{2}[:.-]?[0-9]{2}([:.-]?[0-9]{2}([.,][0-9]+)?)?( ?(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?)?\b",
        // 20261121, 20261121T081426Z, 20261121-0814
        r"|\b(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])([T._-]?[0-9]{4}([0-9]{2})?Z?)?\b",
        // 1763712851.55: seconds since 1970 and parts of them
        r"|\b[0-9]{10,}[.][0-9]+\b",
        // Sat Nov 21 10:14:11 UTC 2026; Sat, 21 Nov 2026 10:14:11 +0000; Sat Nov 21 10:14:11 AM CET 2026
        r"|\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun),? ([0-9]{1,2} )?(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)( [0-9]{1,2})?( [0-9]{4})?",
        r" [0-9]{1,2}:[0-9]{2}:[0-9]{2}( [AP]M)?( [A-Z]{2,5}| [+-][0-9]{4})?( [0-9]{4})?\b",
    ))
});

/// The value behind a name that says that it changes: `CACHEBUST=17`, `--build-arg GIT_COMMIT="9f2c1e4"`.
static BUST_VALUE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r#"(?i)(?P<name>\b[a-z0-9_.-]*(cache_?bust|bust_?cache|bust(er)?|cache_?(break|date|version|key)|force_?rebuild|"#,
        r"git_?(commit|sha|hash|rev)[a-z_]*|commit(_?(sha|hash|id|ref))?|revision|vcs_?ref|",
        r#"build_?(id|number|num|date|time|timestamp|stamp|ts)|timestamp|run_?(id|number))[a-z0-9_]*=["']?)[^"'\s;&|]+"#,
    ))
});

#[expect(clippy::expect_used, reason = "a wrong literal is found by the first test")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a literal")
}

/// Numbers and hashes that are one word become `*`.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(from) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let length = rest[from..].find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len() - from);
        let word = &rest[from..from + length];
        out.push_str(&rest[..from]);
        out.push_str(if is_volatile(word) { ANY } else { word });
        rest = &rest[from + length..];
    }
    out.push_str(rest);
    out
}

/// True for a time in seconds or finer, and for an abbreviated or full hash. A hash of digits alone is seen only where it is long.
fn is_volatile(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let hex = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let hash = hex && (SHORTEST_COMMIT..=LONGEST_HASH).contains(&word.len());
    (digits == word.len() && digits >= SHORTEST_NUMBER) || (hash && digits > 0 && digits < word.len())
}

/// Where the marker ends that a RUN begins with: an echo into the log that only says something of the build and exists to make the step
/// differ. `None` for every other text.
fn marker_end(text: &str) -> Option<usize> {
    const ABOUT: [&str; 9] = ["bust", "commit", "sha", "revision", "build", "stamp", "date", "invalidate", "cache"];
    let command = text.strip_prefix("RUN ")?;
    let start = text.len() - command.len();
    let end = start + command.find(['&', ';', '|']).unwrap_or(command.len());
    let marker = &text[start..end];
    let word = marker.split(' ').next().unwrap_or_default();
    let about = || {
        let lower = marker.to_ascii_lowercase();
        ABOUT.iter().any(|word| lower.contains(word))
    };
    // What is written into a file is content, not a marker.
    (matches!(word, "echo" | "printf" | ":" | "true") && !marker.contains('>') && about()).then_some(end)
}

/// A marker without its value: what stands behind the first `:` or `=`, else every word with a digit.
fn marker(text: &str) -> String {
    let from = text.find("RUN : ").map_or(0, |_| "RUN : ".len());
    if let Some(at) = text[from..].find([':', '=']) {
        let close = text.trim_end().ends_with(['"', '\'']).then(|| text.trim_end().chars().next_back()).flatten();
        let end = if text.ends_with(' ') { " " } else { "" };
        return format!("{} {ANY}{}{end}", &text[..from + at + 1], close.map_or(String::new(), |c| c.to_string()));
    }
    let word = |word: &str| if word.bytes().any(|byte| byte.is_ascii_digit()) { ANY.to_owned() } else { word.to_owned() };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(names: &[&str]) {
        let identities: Vec<String> = names.iter().map(|name| of_name(name)).collect();
        assert!(identities.windows(2).all(|pair| pair[0] == pair[1]), "{identities:#?}");
    }

    fn different(names: &[&str]) {
        let mut identities: Vec<String> = names.iter().map(|name| of_name(name)).collect();
        identities.sort();
        identities.dedup();
        assert_eq!(identities.len(), names.len(), "{identities:#?}");
    }

    #[test]
    fn numbers_padding_and_unnamed_stages_do_not_matter() {
        same(&["[stage-1 2/9] RUN npm ci", "[stage-0  2/12] RUN  npm   ci", "[3/4] RUN npm ci"]);
        same(&["[backend stage-1 6/9] COPY . /app/", "[backend stage-2 07/10] COPY . /app/"]);
        assert_eq!(of_name("[backend linux/arm64 builder  2/12] RUN npm ci"), "backend linux/arm64 builder RUN npm ci");
        assert_eq!(of_name("[2/3] RUN npm ci"), "RUN npm ci");
    }

    #[test]
    fn what_changes_from_run_to_run_does_not_matter() {
        for value in [
            ["1700000000", "1763712851"],
            ["1763712851123", "1763712851.55"],
            ["2026-11-21T08:14:26Z", "2026-11-22 09:15:27.123 +0100"],
            ["Sat Nov 21 10:14:11 UTC 2026", "Sun Nov 22 11:15:12 CET 2026"],
            ["Sat, 21 Nov 2026 10:14:11 +0000", "Sun, 22 Nov 2026 11:15:12 +0100"],
            ["20261121", "20261122-0915"],
            ["9f2c1e4", "592616420acfcfccab92266e15efd3f278973c96"],
            ["123e4567-e89b-12d3-a456-426614174000", "00000000-e89b-12d3-a456-426614174abc"],
        ] {
            for template in ["[2/5] RUN echo \"Cache bust: @\"", "[2/5] RUN echo @ && npm ci", "[a b 2/5] RUN ./fetch --rev @ x"] {
                same(&value.map(|value| template.replace('@', value)).each_ref().map(String::as_str));
            }
        }
        same(&["[1/2] FROM node:22@sha256:6325e9607431b210135efea9703fb50272f50214809df481192de0d56920aea1", "[1/4] FROM node:22"]);
        same(&["[4/5] RUN CACHEBUST=17 make", "[4/5] RUN CACHEBUST=v18 make"]);
        same(&["[4/5] RUN make BUILD_NUMBER=17", "[4/5] RUN make BUILD_NUMBER=18"]);
        same(&["[4/5] RUN GIT_COMMIT_HASH=\"1234567\" make", "[4/5] RUN GIT_COMMIT_HASH=\"main\" make"]);
        same(&["[4/5] RUN echo \"Cache bust: 17\"", "[4/5] RUN echo \"Cache bust: feature-x\""]);
        same(&["[4/5] RUN echo bust 17", "[4/5] RUN echo bust 18"]);
        same(&["[4/5] RUN echo \"Build timestamp: 17\" && npm ci", "[4/5] RUN echo \"Build timestamp: 18\" && npm ci"]);
        same(&["[4/5] RUN : bust=17 && npm ci", "[4/5] RUN : bust=18 && npm ci"]);
    }

    #[test]
    fn steps_that_differ_stay_apart() {
        different(&["[deps 2/5] RUN npm ci", "[build 2/5] RUN npm ci", "[a build 2/5] RUN npm ci", "[b build 2/5] RUN npm ci"]);
        different(&["[linux/amd64 2/5] RUN npm ci", "[linux/arm64 2/5] RUN npm ci", "[linux/amd64->arm64 2/5] RUN npm ci"]);
        different(&["[2/5] RUN pip install a==1.2.3", "[2/5] RUN pip install a==1.2.4", "[2/5] RUN pip install b==1.2.3"]);
        different(&["[2/5] RUN echo 1 > /a", "[2/5] RUN echo 2 > /a"]);
        different(&["[2/5] RUN echo \"build: a\" > /a", "[2/5] RUN echo \"build: b\" > /a"]);
        different(&["[2/5] RUN echo \"Cache bust: 1\" && npm ci", "[2/5] RUN echo \"Cache bust: 1\" && npm test"]);
        different(&["[2/5] RUN sleep 5", "[2/5] RUN sleep 50"]);
        different(&["[1/2] FROM node:20", "[1/2] FROM node:22"]);
        different(&["[backend internal] load build context", "[frontend internal] load build context", "[internal] load build context"]);
        different(&["importing cache manifest from a/b:cache", "importing cache manifest from a/c:cache"]);
    }

    #[test]
    fn the_same_step_twice_is_numbered_by_its_place() {
        let names = ["[stage-10 2/3] RUN x", "[stage-9 3/3] RUN x", "[stage-9 2/3] RUN x", "[stage-9 1/3] FROM y"];
        let places: Vec<Place<'_>> = names
            .iter()
            .enumerate()
            .map(|(at, name)| Place { parts: Cow::Owned(StepName::parse(name)), index: u32::try_from(at).unwrap() })
            .collect();
        let identities = numbered(names.iter().map(|name| of_name(name)).collect(), &places);
        assert_eq!(identities, ["RUN x (3)", "RUN x (2)", "RUN x", "FROM y"]);
    }

    #[test]
    fn any_text_is_borne() {
        for text in ["", "[", "[] ", "RUN", "RUN ", "RUN echo", "RUN : ", "RUN echo build:", "RUN echo Ünïcode: büild ☃ 12", "\u{0}\n\t"]
        {
            let _ = of_name(text);
            assert_eq!(normal(&normal(text)), normal(text), "{text:?}");
        }
    }
}
