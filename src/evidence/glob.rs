//! Which files of a context a COPY or ADD takes, as BuildKit resolves its sources.
//!
//! Facts from BuildKit (`dockerfile2llb/convert_copy.go`) and tonistiigi/fsutil (`copy.ResolveWildcards`, `copy.Copy`):
//! a source is joined with `/`, so that `..`, `./` and a leading or trailing `/` vanish; it is matched with Go's
//! `filepath.Match`, so that `*` does not cross `/` and `**` means `*`; what it matches is taken with everything below.
//! `--exclude` patterns have the language of an ignore file and are relative to the directory that the source matched.
//! A file that a source matches by itself is never excluded, whatever the documentation says (moby/buildkit#5489).
//!
//! Not seen here: symbolic links in a source's path, which BuildKit follows.

use super::go_match::{below_root, filepath_match};
use super::ignore::{IgnoreError, IgnoreRules};

/// One source of a COPY or ADD, with its variables expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePattern {
    /// The pattern relative to the root; empty for the root itself.
    text: String,
}

impl SourcePattern {
    /// Takes a source as it stands in the Dockerfile after expansion.
    pub fn new(source: &str) -> Self {
        Self { text: below_root(source) }
    }

    /// Whether the source is the whole context (`.`, `/`, `./`).
    pub fn is_root(&self) -> bool {
        self.text.is_empty()
    }

    /// Says whether the pattern matches the whole of `path` (relative to the root, separated by `/`).
    ///
    /// A malformed pattern matches nothing, since BuildKit drops the error.
    pub fn matches(&self, path: &str) -> bool {
        if self.text.is_empty() {
            return path.is_empty() || path == ".";
        }
        filepath_match(self.text.as_bytes(), path.as_bytes()).unwrap_or(false)
    }

    /// Says whether the source takes the file at `path`: the pattern matches it or a directory that holds it.
    pub fn selects(&self, path: &str) -> bool {
        self.below(path).is_some()
    }

    /// Gives `path` relative to the outermost thing that the pattern matches; empty for the match itself, `None` if the
    /// source does not take the file.
    pub fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.text.is_empty() {
            return Some(path);
        }
        // A match has as many separators as the pattern, except where a class matches one.
        path.match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()])
            .find(|end| self.matches(path.get(..*end).unwrap_or_default()))
            .map(|end| path.get(end + 1..).unwrap_or_default())
    }
}

/// What one COPY or ADD takes from its context.
#[derive(Debug)]
pub struct CopySelection {
    sources: Vec<Source>,
    excludes: IgnoreRules,
}

#[derive(Debug)]
struct Source {
    base: SourcePattern,
    /// With `--parents`: what is taken below `base`, in the language of an ignore file.
    include: Option<IgnoreRules>,
}

impl CopySelection {
    /// Makes the selection of an instruction from its expanded sources (without URLs, git references and heredocs), its
    /// `--exclude` patterns and whether it has `--parents`.
    ///
    /// # Errors
    /// A malformed `--exclude` or `--parents` pattern.
    pub fn new<'s>(
        sources: impl IntoIterator<Item = &'s str>,
        excludes: impl IntoIterator<Item = &'s str>,
        parents: bool,
    ) -> Result<Self, IgnoreError> {
        let sources = sources.into_iter().map(|source| Source::new(source, parents)).collect::<Result<_, _>>()?;
        Ok(Self { sources, excludes: IgnoreRules::from_patterns(excludes)? })
    }

    /// Says whether the instruction takes the file at `path`, relative to the context root.
    ///
    /// The ignore file of the context is not looked at: a file that it keeps out is not there to be taken.
    pub fn selects(&self, path: &str) -> bool {
        self.sources.iter().any(|source| {
            source.below(path).is_some_and(|below| below.is_empty() || self.excludes.is_empty() || !self.excludes.leaves_out(below))
        })
    }
}

impl Source {
    fn new(source: &str, parents: bool) -> Result<Self, IgnoreError> {
        if !parents {
            return Ok(Self { base: SourcePattern::new(source), include: None });
        }
        // The pivot: what stands before `/./` is not made again at the destination.
        let (base, pattern) = source.split_once("/./").unwrap_or(("/", source));
        let pattern = below_root(pattern);
        let include = match pattern.is_empty() {
            true => None,
            false => Some(IgnoreRules::from_patterns([pattern.as_str()])?),
        };
        Ok(Self { base: SourcePattern::new(base), include })
    }

    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        let below = self.base.below(path)?;
        match &self.include {
            Some(include) => include.leaves_out(below).then_some(below),
            None => Some(below),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        pattern: String,
        #[serde(rename = "match")]
        matches: BTreeMap<String, bool>,
    }

    #[test]
    fn says_what_moby_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/moby/glob.json.gz");
        let mut text = String::new();
        flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
        assert_eq!(cases.len(), 500);
        for case in cases {
            let source = SourcePattern::new(&case.pattern);
            for (path, expected) in case.matches {
                assert_eq!(source.matches(&path), expected, "{:?} {path:?}", case.pattern);
                assert!(!expected || source.selects(&path), "{:?} {path:?}", case.pattern);
            }
        }
    }

    fn selection(sources: &[&str], excludes: &[&str], parents: bool) -> CopySelection {
        CopySelection::new(sources.iter().copied(), excludes.iter().copied(), parents).unwrap()
    }

    #[test]
    fn sources_are_joined_with_the_root() {
        for source in [".", "/", "./", "", "..", "a/.."] {
            assert!(SourcePattern::new(source).selects("x/y"), "{source}");
        }
        for source in ["src", "/src", "./src/", "../src", "x/../src", "sr?"] {
            let source = SourcePattern::new(source);
            assert!(source.selects("src/a/b.py"));
            assert!(source.selects("src"));
            assert!(!source.selects("src2/a"));
            assert!(!source.selects("a/src"));
        }
        assert_eq!(SourcePattern::new("*").below("src/a/b.py"), Some("a/b.py"));
        assert!(!SourcePattern::new("[").selects("["));
    }

    #[test]
    fn excludes_are_relative_to_the_source() {
        let all = selection(&["."], &["*.md", "docs/**", "!docs/keep.md"], false);
        assert!(!all.selects("README.md"));
        assert!(all.selects("src/README.md"));
        assert!(!all.selects("docs/x"));
        assert!(all.selects("docs/keep.md"));
        let dir = selection(&["dir"], &["*.md"], false);
        assert!(!dir.selects("dir/a.md"));
        assert!(dir.selects("dir/sub/a.md"));
        // moby/buildkit#5489: what a source matches by itself stays.
        assert!(selection(&["hom*"], &["*.txt"], false).selects("home.txt"));
    }

    #[test]
    fn parents_take_patterns_of_the_ignore_language() {
        let plain = selection(&["./x/a.txt", "./y/*/b.txt", "z/**/c"], &[], true);
        assert!(plain.selects("x/a.txt"));
        assert!(!plain.selects("x/b.txt"));
        assert!(plain.selects("y/1/b.txt"));
        assert!(plain.selects("z/1/2/c/d"));
        let pivot = selection(&["dir/./sub"], &["sub/no"], true);
        assert!(pivot.selects("dir/sub/f"));
        assert!(!pivot.selects("dir/sub/no/f"));
        assert!(!pivot.selects("sub/f"));
    }

    proptest! {
        #[test]
        fn never_panics(source in "\\PC{0,30}", exclude in "\\PC{0,30}", path in "\\PC{0,30}", parents: bool) {
            let _ = SourcePattern::new(&source).below(&path);
            if let Ok(selection) = CopySelection::new([source.as_str()], [exclude.as_str()], parents) {
                let _ = selection.selects(&path);
            }
        }
    }
}
