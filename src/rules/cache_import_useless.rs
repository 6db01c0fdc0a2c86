//! `cache-import-useless`: a cache was imported, and nothing came from it.

use std::collections::HashSet;

use super::{
    Confidence, Docs, Draft, Facts, FileFacts, FileRule, Findings, LogRule, Meta, Rule, Severity,
    lint::builds::{self, Once},
};
use crate::{
    build::{Kind, Outcome, Status},
    evidence::repository::Image,
};

/// The rule.
#[derive(Debug)]
pub struct CacheImportUseless;

static META: Meta = Meta {
    name: "cache-import-useless",
    severity: Severity::Note,
    summary: "A cache is imported that holds nothing: not one step came from it, or nothing in the repository writes it",
    docs: Docs {
        finds: "\
In a log: a build in which `importing cache manifest from …` is DONE and every step ran all the same. In the files of a repository: a
`cache_from` that names an image which is built here without cache metadata (no `type=inline`, no `BUILDKIT_INLINE_CACHE`), a warning; or a
registry or GitHub cache that no `cache_to` of the repository writes, a note, since another one may.",
        matters: "\
`cache_from: [app:latest]` reads as if an image were a cache. An image without cache metadata is imported without a word, and does nothing.",
        example: "\
#4 importing cache manifest from registry.example/app:latest
#4 DONE 0.0s
…
#8 [2/4] RUN npm ci
#8 DONE 94.2s",
        measured: Some(
            "\
On an empty builder an image pushed without inline cache gave no cached step at all, pulled before or not, with current BuildKit and with
docker 20.10. The same image built with `BUILDKIT_INLINE_CACHE=1`, and a registry cache with `mode=max`, gave all of them.",
        ),
        fix: "\
Export what is to be imported: `--cache-to type=registry,ref=registry.example/app:buildcache,mode=max`, and import that reference; or
`--cache-to type=inline`, which keeps the final stage only. If the first step's files changed since the export, this is no fault.",
    },
};

impl Rule for CacheImportUseless {
    fn meta(&self) -> &'static Meta {
        &META
    }
}

/// A reference as it is compared: without the registry and the path that docker adds by itself.
fn plain(reference: &str) -> String {
    let name = reference.strip_prefix("docker.io/").unwrap_or(reference);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}

/// Whether a build writes cache metadata into its image.
fn writes_inline(image: &Image) -> bool {
    let on = |value: &str| matches!(value, "1" | "t" | "T" | "true" | "True" | "TRUE") || value.contains('$');
    image.target.arg("BUILDKIT_INLINE_CACHE").is_some_and(on) || image.target.cache_to.iter().any(|entry| entry.kind == "inline")
}

impl FileRule for CacheImportUseless {
    fn check_files(&self, facts: &FileFacts<'_>, out: &mut Findings<'_>) {
        let images = builds::effective(facts.repository);
        let mut exported: HashSet<String> = HashSet::new();
        let mut tagged: HashSet<String> = HashSet::new();
        let mut github = false;
        for image in &facts.repository.images {
            let caches = image.target.cache_to.iter();
            github |= caches.clone().any(|entry| entry.kind == "gha");
            exported.extend(caches.filter(|entry| entry.kind == "registry").filter_map(|entry| entry.reference()).map(plain));
            tagged.extend(image.target.tags.iter().map(|tag| plain(tag)));
            if writes_inline(image) {
                exported.extend(image.target.tags.iter().map(|tag| plain(tag)));
            }
        }
        let mut once = Once::default();
        for image in images {
            for entry in &image.target.cache_from {
                let reference = entry.reference().unwrap_or_default();
                let name = match entry.kind.as_str() {
                    "registry" if !reference.is_empty() && !exported.contains(&plain(reference)) => reference,
                    "gha" if !github => "type=gha",
                    _ => continue,
                };
                let place = entry.place.as_ref().and_then(|place| Some((facts.repository.at(&place.file)?, place.line)));
                let (file, line) = place.map_or_else(
                    || {
                        let file = facts.repository.file(image.file);
                        (file, file.line_with(image.line, image.end_line, &entry.raw))
                    },
                    |(id, line)| (facts.repository.file(id), line),
                );
                let own = tagged.contains(&plain(reference));
                let draft = if own {
                    Draft::new(format!("{name} is an image without cache metadata: importing it does nothing"))
                        .severity(Severity::Warning)
                        .confidence(Confidence::Likely)
                        .evidence("no build of this image writes inline cache (type=inline or BUILDKIT_INLINE_CACHE=1)")
                } else if name.contains('$') {
                    continue;
                } else {
                    Draft::new(format!("nothing in this repository writes the cache {name}")).confidence(Confidence::Possible)
                };
                let help = "export it: cache_to: type=registry,ref=…,mode=max (or type=inline), and import that reference";
                once.add(&META, draft.in_file(file, line, line).help(help), out);
            }
        }
    }
}

impl LogRule for CacheImportUseless {
    fn check(&self, facts: &Facts<'_>, out: &mut Findings<'_>) {
        for build in &facts.builds {
            let no_cache = build.targets.iter().any(|target| target.target.no_cache);
            let ran = build.commands().filter(|step| step.status == Status::Done).count();
            let cached = build.commands().any(|step| step.status == Status::Cached);
            let import = build.of_kind(Kind::CacheImport).find(|step| step.status == Status::Done);
            let (Some(import), false, false) = (import, no_cache, cached) else { continue };
            if build.build.outcome != Outcome::Succeeded || ran < 2 {
                continue;
            }
            let reference = import.instruction().strip_prefix("importing cache manifest from ").unwrap_or("?");
            let draft = Draft::new(format!("{reference} was imported as a cache, and all {ran} steps ran"));
            let draft = draft.confidence(Confidence::Possible).step(build, import);
            let draft = draft.evidence("an image without cache metadata imports well and does nothing");
            out.add(&META, draft.help("export a cache (--cache-to type=registry,ref=…,mode=max, or type=inline) and import that"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        lint::testing::Tree,
        testing::{Case, log},
    };

    #[test]
    fn caches_that_nothing_writes() {
        let compose = |more: &str| {
            format!("services:\n  a:\n    image: r/a:latest\n    build:\n      context: .\n      cache_from:\n        - r/a\n{more}")
        };
        let found = |more: &str| Tree::new(&[("Dockerfile", "FROM x\n"), ("compose.yaml", &compose(more))]).found("cache-import-useless");
        assert_eq!(found(""), ["compose.yaml:7: warning: r/a is an image without cache metadata: importing it does nothing"]);
        assert!(found("      cache_to: [type=inline]\n").is_empty());
        assert!(found("      args:\n        BUILDKIT_INLINE_CACHE: 1\n").is_empty());
        let script = |text: &str| Tree::new(&[("Dockerfile", "FROM x\n"), ("b.sh", text)]).found("cache-import-useless");
        let note = script("docker buildx build \\\n  --cache-from type=registry,ref=r/b:buildcache .\n");
        assert_eq!(note, ["b.sh:2: note: nothing in this repository writes the cache r/b:buildcache"]);
        assert!(
            script("docker buildx build --cache-from type=registry,ref=r/b:c --cache-to type=registry,ref=r/b:c,mode=max .\n").is_empty()
        );
        assert!(script("docker buildx build --cache-from type=registry,ref=$R/b:c .\n").is_empty());
        assert!(script("docker buildx build --cache-from type=local,src=c .\n").is_empty());
    }

    fn count(status: &str) -> usize {
        let first = format!("[2/3] RUN x | {status}");
        let steps = ["importing cache manifest from r/a:b | DONE 0.1s", "[1/3] FROM x | DONE 0.0s", &first, "[3/3] RUN y | DONE 0.1s"];
        Case::new(log(&steps)).messages("cache-import-useless").len()
    }

    #[test]
    fn nothing_came_from_it() {
        assert_eq!(count("DONE 0.1s"), 1);
        assert_eq!(count("CACHED"), 0);
    }
}
