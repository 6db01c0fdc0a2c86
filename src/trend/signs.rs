//! What logs say of the circumstances of a build: cache imports and exports, base images, builder, versions. What of it came and went.

use std::collections::BTreeMap;

use super::ledger::Recorded;
use crate::{
    build::{Build, Kind},
    history::{identity::normal, rows::BuildRow},
};

/// What a sign is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignKind {
    /// A cache import.
    CacheImport,
    /// A cache import that failed.
    FailedImport,
    /// A cache export.
    CacheExport,
    /// Inline cache metadata in the image.
    InlineCache,
    /// A base image, with its digest.
    Base,
    /// The builder.
    Builder,
    /// The version of the Dockerfile frontend, of BuildKit or of the client.
    Version,
    /// Where the duration comes from: an estimate is less than the time that the clock says.
    TimeSource,
}

impl SignKind {
    /// The name in the JSON contracts.
    pub fn name(self) -> &'static str {
        match self {
            Self::CacheImport => "cache-import",
            Self::FailedImport => "failed-import",
            Self::CacheExport => "cache-export",
            Self::InlineCache => "inline-cache",
            Self::Base => "base",
            Self::Builder => "builder",
            Self::Version => "version",
            Self::TimeSource => "duration-source",
        }
    }

    /// True for what a build has one of, so that another value takes the place of the first.
    fn is_single(self) -> bool {
        matches!(self, Self::Base | Self::Builder | Self::Version | Self::TimeSource)
    }
}

/// One sign of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sign {
    /// What it is of.
    pub kind: SignKind,
    /// What it says something of: the image of a base, the product of a version, a reference without what differs from run to run.
    pub key: String,
    /// What it says.
    pub value: String,
}

impl Sign {
    fn new(kind: SignKind, value: &str) -> Self {
        let key = match kind {
            SignKind::Base => value.split('@').next().unwrap_or(value).to_owned(),
            SignKind::Version => value.trim_end_matches(|c: char| !c.is_whitespace() && !matches!(c, ':' | '/')).to_owned(),
            SignKind::Builder | SignKind::TimeSource | SignKind::InlineCache => String::new(),
            SignKind::CacheImport | SignKind::FailedImport | SignKind::CacheExport => normal(value),
        };
        // A reference with the run's number in it is the same place each time.
        let value = if kind.is_single() || key.is_empty() { value.to_owned() } else { key.clone() };
        Self { kind, key, value }
    }
}

/// A sign that came, went, or became another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignChange {
    /// What it is of.
    pub kind: SignKind,
    /// What it said; `None` for one that came.
    pub before: Option<String>,
    /// What it says; `None` for one that went.
    pub after: Option<String>,
    /// The first run with the new state, counted from the first run that was looked at.
    pub since: usize,
}

/// The signs of a recorded run, each once; for a target those of the builds that made it.
pub fn of_run(recorded: &Recorded, target: Option<&str>) -> Vec<Sign> {
    let made = |row: &BuildRow| {
        target.is_none() || recorded.builds.iter().any(|other| other.build == row.build && other.target.as_deref() == target)
    };
    let mut signs: Vec<Sign> = recorded.builds.iter().filter(|row| made(row)).flat_map(of_row).collect();
    signs.extend(recorded.run.builder.as_deref().map(|builder| Sign::new(SignKind::Builder, builder)));
    signs.extend(recorded.run.duration_source.map(|source| Sign::new(SignKind::TimeSource, source.name())));
    unique(signs)
}

fn of_row(row: &BuildRow) -> Vec<Sign> {
    let lists = [
        (SignKind::CacheImport, &row.cache_imports),
        (SignKind::FailedImport, &row.failed_imports),
        (SignKind::CacheExport, &row.cache_exports),
        (SignKind::Base, &row.bases),
        (SignKind::Version, &row.versions),
    ];
    let mut signs: Vec<Sign> =
        lists.into_iter().flat_map(|(kind, values)| values.iter().map(move |value| Sign::new(kind, value))).collect();
    signs.extend(row.inline_cache.then(|| Sign::new(SignKind::InlineCache, "")));
    signs
}

/// The signs of the builds of a log, each once.
pub fn of_builds<'b>(builds: impl IntoIterator<Item = &'b Build>) -> Vec<Sign> {
    let mut signs = Vec::new();
    for build in builds {
        for import in &build.cache.imports {
            signs.push(Sign::new(SignKind::CacheImport, &import.reference));
            signs.extend((!import.ok).then(|| Sign::new(SignKind::FailedImport, &import.reference)));
        }
        signs.extend(
            build.cache.exports.iter().filter(|export| export.ok).map(|export| Sign::new(SignKind::CacheExport, &export.reference)),
        );
        signs.extend(build.cache.inline.then(|| Sign::new(SignKind::InlineCache, "")));
        let bases = build.steps.iter().filter(|step| step.parts.kind == Kind::Instruction).filter_map(|step| step.parts.base.as_deref());
        signs.extend(bases.map(|base| Sign::new(SignKind::Base, base)));
        signs.extend(build.builder.as_deref().map(|builder| Sign::new(SignKind::Builder, builder)));
        signs.extend(build.duration.map(|duration| Sign::new(SignKind::TimeSource, duration.source.name())));
    }
    unique(signs)
}

fn unique(mut signs: Vec<Sign>) -> Vec<Sign> {
    signs.sort();
    signs.dedup();
    signs
}

/// Share of the runs from which on a sign counts as always there, and up to which as never.
const MOSTLY: f64 = 0.8;
const HARDLY: f64 = 0.2;
/// Runs next to the change that say what a sign was and is: bases are renewed now and then, and only the last one matters.
const NEXT: usize = 5;

/// What came and went between the runs `before` and `after`, both in the order of their times.
pub fn changes(before: &[Vec<Sign>], after: &[Vec<Sign>]) -> Vec<SignChange> {
    let mut keys: BTreeMap<(SignKind, &str), ()> = BTreeMap::new();
    for sign in before.iter().chain(after).flatten() {
        keys.insert((sign.kind, &sign.key), ());
    }
    let mut found = Vec::new();
    for (kind, key) in keys.into_keys() {
        let value = |run: &'_ Vec<Sign>| run.iter().find(|sign| sign.kind == kind && sign.key == key).map(|sign| sign.value.clone());
        let old: Vec<Option<String>> = before.iter().map(value).collect();
        let new: Vec<Option<String>> = after.iter().map(value).collect();
        let (was, is) = if kind.is_single() {
            (most(&old[old.len().saturating_sub(NEXT)..]), most(&new[..new.len().min(NEXT)]))
        } else {
            (most(&old), most(&new))
        };
        let share = |runs: &[Option<String>], value: &Option<String>| {
            runs.iter().filter(|other| *other == value).count() as f64 / runs.len().max(1) as f64
        };
        // A renewed base has others before it, so only the new one must be new.
        let steady = kind.is_single() || (share(&old, &was) >= MOSTLY && share(&new, &is) >= MOSTLY);
        if was == is || !steady || share(&old, &is) > HARDLY || share(&new, &was) > HARDLY {
            continue;
        }
        let since = turn(&old, &new, &is);
        found.push(SignChange { kind, before: was, after: is, since });
    }
    // A base that is another image has another key: two changes, of which one is what the other became.
    pair_up(&mut found);
    found
}

/// The value of most runs.
fn most(values: &[Option<String>]) -> Option<String> {
    let mut counts: BTreeMap<&Option<String>, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).and_then(|(value, _)| value.clone())
}

/// The run from which on the new value holds, with the fewest exceptions.
fn turn(old: &[Option<String>], new: &[Option<String>], is: &Option<String>) -> usize {
    let has: Vec<bool> = old.iter().chain(new).map(|value| value == is).collect();
    let mut wrong = has.iter().filter(|has| !**has).count();
    let mut best = (wrong, 0);
    for (at, has) in has.iter().enumerate() {
        wrong = if *has { wrong + 1 } else { wrong - 1 };
        if wrong < best.0 {
            best = (wrong, at + 1);
        }
    }
    best.1
}

fn pair_up(found: &mut Vec<SignChange>) {
    for kind in [SignKind::Base, SignKind::Version] {
        let of = |found: &[SignChange], came: bool| -> Vec<usize> {
            let fits = |change: &SignChange| change.kind == kind && change.before.is_none() == came && change.after.is_none() != came;
            found.iter().enumerate().filter(|(_, change)| fits(change)).map(|(at, _)| at).collect()
        };
        if let ([came], [went]) = (of(found, true).as_slice(), of(found, false).as_slice()) {
            found[*came].before = found[*went].before.take();
            found.remove(*went);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(signs: &[(usize, &[(SignKind, &str)])]) -> Vec<Vec<Sign>> {
        let run = |signs: &[(SignKind, &str)]| unique(signs.iter().map(|(kind, value)| Sign::new(*kind, value)).collect());
        signs.iter().flat_map(|(count, signs)| vec![run(signs); *count]).collect()
    }

    const CACHE: (SignKind, &str) = (SignKind::CacheImport, "registry.example.org/app:cache");

    #[test]
    fn an_import_that_is_gone_since_the_change_or_a_little_before() {
        let with = runs(&[(20, &[CACHE])]);
        let gone = changes(&with, &runs(&[(10, &[])]));
        assert_eq!(gone, [SignChange { kind: CACHE.0, before: Some(CACHE.1.to_owned()), after: None, since: 20 }]);
        assert_eq!(changes(&runs(&[(18, &[CACHE]), (2, &[])]), &runs(&[(10, &[])]))[0].since, 18);
        assert_eq!(changes(&runs(&[(20, &[])]), &with)[0].after.as_deref(), Some(CACHE.1));
        assert_eq!(changes(&with, &with), []);
        assert_eq!(changes(&runs(&[(10, &[CACHE]), (10, &[])]), &runs(&[(10, &[])])), [], "it was not always there");
        assert_eq!(changes(&[], &[]), []);
    }

    #[test]
    fn a_run_number_in_a_reference_is_no_change() {
        let of = |number: u32| unique(vec![Sign::new(SignKind::CacheImport, &format!("r.example.org/app:{}", 1_700_000_000 + number))]);
        let before: Vec<_> = (0..10).map(of).collect();
        let after: Vec<_> = (10..20).map(of).collect();
        assert_eq!(changes(&before, &after), []);
    }

    #[test]
    fn a_base_that_was_renewed_with_the_change() {
        let base = |digest: &str| format!("node:22@sha256:{}", digest.repeat(64));
        let [a, b, c] = ["a", "b", "c"].map(base);
        let before = runs(&[(10, &[(SignKind::Base, a.as_str())]), (10, &[(SignKind::Base, b.as_str())])]);
        let found = changes(&before, &runs(&[(10, &[(SignKind::Base, c.as_str())])]));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].before.as_deref(), found[0].after.as_deref(), found[0].since), (Some(b.as_str()), Some(c.as_str()), 20));
        assert_eq!(changes(&before, &runs(&[(10, &[(SignKind::Base, b.as_str())])])), []);
    }

    #[test]
    fn another_builder_another_image_another_version() {
        let before = runs(&[(9, &[(SignKind::Builder, "a"), (SignKind::Base, "node:20"), (SignKind::Version, "buildkit v0.31.0")])]);
        let after = runs(&[(9, &[(SignKind::Builder, "b"), (SignKind::Base, "node:22"), (SignKind::Version, "buildkit v0.32.0")])]);
        let found = changes(&before, &after);
        let text: Vec<_> = found.iter().map(|c| (c.kind, c.before.as_deref().unwrap(), c.after.as_deref().unwrap())).collect();
        assert_eq!(
            text,
            [
                (SignKind::Base, "node:20", "node:22"),
                (SignKind::Builder, "a", "b"),
                (SignKind::Version, "buildkit v0.31.0", "buildkit v0.32.0")
            ]
        );
    }
}
