//! The common record of one thing to build.
//!
//! A `docker build` command, a service of a compose file and a target of a bake file all end in the
//! same request to BuildKit: a context, a Dockerfile, a stage and arguments. This module holds that
//! request, so that the checks need not know where it came from. What the user typed is kept beside
//! what it resolves to, because docker 20.10 keys its context sync by the typed path.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// A lookup in the environment: the value of a variable, or `None` where it is unset.
///
/// The logic of this crate never reads the process environment by itself; the caller hands in
/// `&|name| std::env::var(name).ok()`, or a closure over a map.
pub type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Where something stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named or found.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

/// Where the files of a build context or of a named context come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// A local directory.
    Dir {
        /// The path as the user wrote it, variables expanded.
        typed: String,
        /// The path resolved against the directory that it is relative to, without `.` and `..`.
        path: PathBuf,
    },
    /// A git repository or an archive behind a URL, fetched by the builder.
    Remote(String),
    /// The context, or the Dockerfile alone, comes through standard input (`-`).
    Stdin,
    /// The result of another target (`target:NAME`, compose's `service:NAME`).
    Target(String),
    /// An image (`docker-image://REF`); the reference alone.
    Image(String),
    /// An OCI layout on disk (`oci-layout://PATH`); what follows the scheme.
    OciLayout(String),
}

impl ContextSource {
    /// Reads a context as buildx does (`build/opt.go`): `-`, a remote URL, a scheme, else a directory.
    ///
    /// `base` is the directory that a relative path starts from.
    pub fn parse(typed: &str, base: &Path) -> Self {
        if typed == "-" {
            return Self::Stdin;
        }
        if let Some(rest) = typed.strip_prefix("docker-image://") {
            return Self::Image(rest.to_owned());
        }
        if let Some(rest) = typed.strip_prefix("oci-layout://") {
            return Self::OciLayout(rest.to_owned());
        }
        if let Some(rest) = typed.strip_prefix("target:") {
            return Self::Target(rest.to_owned());
        }
        if is_remote(typed) {
            return Self::Remote(typed.to_owned());
        }
        Self::dir(typed, base)
    }

    /// The context of a plain build: standard input, a URL, or a directory whatever it is called.
    pub fn plain(typed: &str, base: &Path) -> Self {
        match typed {
            "-" => Self::Stdin,
            remote if is_remote(remote) => Self::Remote(remote.to_owned()),
            directory => Self::dir(directory, base),
        }
    }

    /// A directory, `typed` being relative to `base`. buildx's `cwd://` prefix is taken off.
    pub fn dir(typed: &str, base: &Path) -> Self {
        let local = typed.strip_prefix("cwd://").unwrap_or(typed);
        Self::Dir { typed: typed.to_owned(), path: normalize(&base.join(local)) }
    }

    /// The local directory, where it is one.
    pub fn local_dir(&self) -> Option<&Path> {
        match self {
            Self::Dir { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// Says whether BuildKit fetches `context` itself: what an `ADD` would fetch, or one of docker's shorthands
/// (moby `builder/remotecontext/urlutil`, buildx).
pub fn is_remote(context: &str) -> bool {
    crate::build::is_remote(context) || ["github.com/", "git@"].iter().any(|start| context.starts_with(start))
}

/// Takes `.` and `..` out of a path by its text alone, as Go's `filepath.Clean` does.
///
/// The empty path becomes `.`. Symbolic links are not followed.
pub fn normalize(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) => {
                    out.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                _ => out.push(".."),
            },
            other => out.push(other.as_os_str()),
        }
    }
    if out.as_os_str().is_empty() {
        out.push(".");
    }
    out
}

/// One build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildArg {
    /// Its name.
    pub name: String,
    /// Its value; `None` where it is to be taken from the environment and was not found there.
    pub value: Option<String>,
    /// Where it is written, when a file says it.
    pub place: Option<Place>,
}

/// An entry of `--cache-from`, `--cache-to` or `--output`: a type and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedEntry {
    /// The type: `registry`, `local`, `gha`, `inline`, `image`, `docker`, …
    pub kind: String,
    /// The other attributes, keys in lower case.
    pub attrs: BTreeMap<String, String>,
    /// The entry as written.
    pub raw: String,
    /// Where it is written, when a file says it.
    pub place: Option<Place>,
}

impl TypedEntry {
    /// Reads `--cache-from`/`--cache-to` syntax: CSV of `key=value` with a `type`, or references alone.
    ///
    /// A value without any `=` is a list of image references, each an entry of type `registry`
    /// (buildx `util/buildflags/cache.go`). The empty string is no entry.
    ///
    /// # Errors
    /// The message of what is wrong: a field without `=`, no type, a quote that does not end.
    pub fn parse_cache(raw: &str, place: Option<&Place>) -> Result<Vec<Self>, String> {
        if raw.is_empty() {
            return Ok(Vec::new());
        }
        let fields = csv_fields(raw)?;
        if !raw.contains('=') {
            return Ok(fields
                .into_iter()
                .map(|reference| Self {
                    kind: "registry".to_owned(),
                    attrs: BTreeMap::from([("ref".to_owned(), reference)]),
                    raw: raw.to_owned(),
                    place: place.cloned(),
                })
                .collect());
        }
        let (kind, attrs) = key_values(&fields)?;
        let kind = kind.ok_or_else(|| format!("type required for {raw:?}"))?;
        Ok(vec![Self { kind, attrs, raw: raw.to_owned(), place: place.cloned() }])
    }

    /// Reads `--output` syntax: CSV with a `type`, or a path alone (a directory; `-` is a tar stream).
    ///
    /// # Errors
    /// As [`TypedEntry::parse_cache`].
    pub fn parse_output(raw: &str, place: Option<&Place>) -> Result<Self, String> {
        let fields = csv_fields(raw)?;
        if let [only] = fields.as_slice()
            && !only.starts_with("type=")
        {
            let kind = if only == "-" { "tar" } else { "local" };
            return Ok(Self {
                kind: kind.to_owned(),
                attrs: BTreeMap::from([("dest".to_owned(), only.clone())]),
                raw: raw.to_owned(),
                place: place.cloned(),
            });
        }
        let (kind, attrs) = key_values(&fields)?;
        Ok(Self {
            kind: kind.ok_or_else(|| format!("type is required for output {raw:?}"))?,
            attrs,
            raw: raw.to_owned(),
            place: place.cloned(),
        })
    }

    /// The `ref` attribute of a registry cache.
    pub fn reference(&self) -> Option<&str> {
        self.attrs.get("ref").map(String::as_str)
    }

    /// Says whether two entries mean the same, wherever they are written.
    pub fn same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.attrs == other.attrs
    }
}

type KeyValues = (Option<String>, BTreeMap<String, String>);

/// Splits `key=value` fields, the type apart.
fn key_values(fields: &[String]) -> Result<KeyValues, String> {
    let mut kind = None;
    let mut attrs = BTreeMap::new();
    for field in fields {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid value {field:?}: expected KEY=VALUE"))?;
        let key = key.trim().to_lowercase();
        if key == "type" {
            kind = Some(value.to_owned());
        } else {
            attrs.insert(key, value.to_owned());
        }
    }
    Ok((kind.filter(|k| !k.is_empty()), attrs))
}

/// Splits one record of CSV, quotes as Go's `encoding/csv` reads them.
///
/// # Errors
/// A quoted field that does not end.
pub fn csv_fields(record: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = record;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, after) = quoted_field(quoted).ok_or_else(|| format!("the quote in {record:?} does not end"))?;
            fields.push(field);
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(fields),
                None => {
                    return Err(format!("a quoted field of {record:?} goes on after its quote"));
                }
            }
        } else {
            match rest.split_once(',') {
                Some((field, next)) => {
                    fields.push(field.to_owned());
                    rest = next;
                }
                None => {
                    fields.push(rest.to_owned());
                    return Ok(fields);
                }
            }
        }
    }
}

/// The text of a quoted field up to its closing quote, and what follows; `""` is one quote.
fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, after)),
        }
    }
}

/// One thing to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildTarget {
    /// The service of a compose file or the target of a bake file; `None` for a plain build command.
    pub name: Option<String>,
    /// Where its files come from.
    pub context: ContextSource,
    /// The Dockerfile as written; `None` where none is named (then `Dockerfile` in the context).
    /// `-` is standard input.
    pub dockerfile: Option<String>,
    /// The Dockerfile resolved; `None` when it is inline, remote, or comes through standard input.
    pub dockerfile_path: Option<PathBuf>,
    /// The text of a Dockerfile that stands in the compose or bake file itself.
    pub dockerfile_inline: Option<String>,
    /// The stage to build; `None` is the last.
    pub target: Option<String>,
    /// Build arguments in the order in which they are given; each name once, the last one's value.
    pub args: Vec<BuildArg>,
    /// Named contexts.
    pub contexts: BTreeMap<String, ContextSource>,
    /// Caches to import.
    pub cache_from: Vec<TypedEntry>,
    /// Caches to export.
    pub cache_to: Vec<TypedEntry>,
    /// Whether no cache is to be used at all.
    pub no_cache: bool,
    /// The stages that are not to use the cache.
    pub no_cache_filter: Vec<String>,
    /// Whether base images are always resolved anew.
    pub pull: bool,
    /// Target platforms; empty is the builder's own.
    pub platforms: Vec<String>,
    /// Image names.
    pub tags: Vec<String>,
    /// Where the result goes.
    pub outputs: Vec<TypedEntry>,
    /// Where the service or target is written.
    pub place: Option<Place>,
}

impl BuildTarget {
    /// A target that builds `context` with all defaults.
    pub fn new(context: ContextSource) -> Self {
        let mut target = Self {
            name: None,
            context,
            dockerfile: None,
            dockerfile_path: None,
            dockerfile_inline: None,
            target: None,
            args: Vec::new(),
            contexts: BTreeMap::new(),
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            no_cache: false,
            no_cache_filter: Vec::new(),
            pull: false,
            platforms: Vec::new(),
            tags: Vec::new(),
            outputs: Vec::new(),
            place: None,
        };
        target.resolve_dockerfile(None);
        target
    }

    /// Sets `dockerfile_path` from `dockerfile`, `dockerfile_inline` and the context.
    ///
    /// `base` is the directory that a relative name starts from: the working directory for
    /// `docker build -f`; `None` is the context itself, as compose and bake have it.
    pub fn resolve_dockerfile(&mut self, base: Option<&Path>) {
        self.dockerfile_path = None;
        if self.dockerfile_inline.is_some() || self.dockerfile.as_deref() == Some("-") {
            return;
        }
        let named = self.dockerfile.as_deref().filter(|name| !name.is_empty());
        let context = self.context.local_dir();
        self.dockerfile_path = match (named, base) {
            (Some(name), _) if is_remote(name) => None,
            (Some(name), Some(base)) => Some(normalize(&base.join(name))),
            (Some(name), None) => {
                let absolute = Path::new(name).is_absolute();
                match context {
                    Some(dir) => Some(normalize(&dir.join(name))),
                    None if absolute => Some(normalize(Path::new(name))),
                    None => None,
                }
            }
            (None, _) => context.map(|dir| normalize(&dir.join("Dockerfile"))),
        };
    }

    /// Sets a build argument; a name that is there already keeps its position.
    pub fn set_arg(&mut self, name: &str, value: Option<String>, place: Option<Place>) {
        if let Some(arg) = self.args.iter_mut().find(|arg| arg.name == name) {
            arg.value = value;
            arg.place = place;
        } else {
            self.args.push(BuildArg { name: name.to_owned(), value, place });
        }
    }

    /// The value of a build argument, where it is given and known.
    pub fn arg(&self, name: &str) -> Option<&str> {
        self.args.iter().find(|arg| arg.name == name).and_then(|arg| arg.value.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn contexts_are_told_apart() {
        let base = Path::new("/w");
        let dir = |typed: &str, path: &str| ContextSource::Dir { typed: typed.to_owned(), path: path.into() };
        for (typed, expected) in [
            (".", dir(".", "/w")),
            ("./api/../src/", dir("./api/../src/", "/w/src")),
            ("/abs", dir("/abs", "/abs")),
            ("cwd://x", dir("cwd://x", "/w/x")),
            ("-", ContextSource::Stdin),
            ("target:base", ContextSource::Target("base".into())),
            ("docker-image://alpine:3", ContextSource::Image("alpine:3".into())),
            ("oci-layout://./o@sha256:1", ContextSource::OciLayout("./o@sha256:1".into())),
            ("https://h/r.git#v1:sub", ContextSource::Remote("https://h/r.git#v1:sub".into())),
            ("git@github.com:a/b.git", ContextSource::Remote("git@github.com:a/b.git".into())),
            ("me@host:r.git", ContextSource::Remote("me@host:r.git".into())),
            ("./a@b:c", dir("./a@b:c", "/w/a@b:c")),
            ("C:x", dir("C:x", "/w/C:x")),
        ] {
            assert_eq!(ContextSource::parse(typed, base), expected, "{typed}");
        }
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, clean) in [("", "."), ("a/..", "."), ("../a/./b/..", "../a"), ("/../a", "/a"), ("../../x", "../../x")] {
            assert_eq!(normalize(Path::new(path)), Path::new(clean), "{path}");
        }
    }

    #[test]
    fn cache_entries() {
        let parsed = TypedEntry::parse_cache("type=registry,\"ref=a,b\",Mode=max", None).unwrap();
        assert_eq!(parsed[0].kind, "registry");
        assert_eq!(parsed[0].attrs["ref"], "a,b");
        assert_eq!(parsed[0].attrs["mode"], "max");
        let refs = TypedEntry::parse_cache("a:1,b:2", None).unwrap();
        assert_eq!(refs.iter().filter_map(TypedEntry::reference).collect::<Vec<_>>(), ["a:1", "b:2"]);
        assert!(TypedEntry::parse_cache("", None).unwrap().is_empty());
        for wrong in ["ref=a", "type=registry,x", "\"a=b"] {
            assert!(TypedEntry::parse_cache(wrong, None).is_err(), "{wrong}");
        }
        assert_eq!(TypedEntry::parse_output("out", None).unwrap().kind, "local");
        assert_eq!(TypedEntry::parse_output("-", None).unwrap().kind, "tar");
        assert_eq!(TypedEntry::parse_output("type=docker,dest=o", None).unwrap().kind, "docker");
    }

    #[test]
    fn the_dockerfile_is_found() {
        let mut target = BuildTarget::new(ContextSource::parse("ctx", Path::new("/w")));
        assert_eq!(target.dockerfile_path.as_deref(), Some(Path::new("/w/ctx/Dockerfile")));
        target.dockerfile = Some("../d/X".into());
        target.resolve_dockerfile(None);
        assert_eq!(target.dockerfile_path.as_deref(), Some(Path::new("/w/d/X")));
        target.resolve_dockerfile(Some(Path::new("/w")));
        assert_eq!(target.dockerfile_path.as_deref(), Some(Path::new("/d/X")));
        target.dockerfile = Some("-".into());
        target.resolve_dockerfile(None);
        assert_eq!(target.dockerfile_path, None);
        let remote = BuildTarget::new(ContextSource::Remote("https://x/y.git".into()));
        assert_eq!(remote.dockerfile_path, None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = TypedEntry::parse_cache(&text, None);
            let _ = TypedEntry::parse_output(&text, None);
            let _ = ContextSource::parse(&text, Path::new("/"));
        }

        #[test]
        fn csv_of_quoted_fields_comes_back(fields in proptest::collection::vec("[a-z\",=]{0,8}", 1..5)) {
            let record = fields.iter().map(|f| format!("\"{}\"", f.replace('"', "\"\""))).collect::<Vec<_>>().join(",");
            prop_assert_eq!(csv_fields(&record).unwrap(), fields);
        }
    }
}
