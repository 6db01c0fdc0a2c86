//! A bake target while it is being put together: read, merged, overridden.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::super::build_target::{BuildArg, BuildTarget, ContextSource, Env, Place, TypedEntry, normalize};
use super::eval::{Evaluator, Locals};
use super::syntax::{Attr, Block};
use super::value::Val;
use super::{BakeError, context};

/// The attributes of a target; bake refuses others.
const KEYS: [&str; 30] = [
    "annotations",
    "args",
    "attest",
    "cache-from",
    "cache-to",
    "call",
    "context",
    "contexts",
    "description",
    "dockerfile",
    "dockerfile-inline",
    "entitlements",
    "extra-hosts",
    "inherits",
    "labels",
    "matrix",
    "name",
    "network",
    "no-cache",
    "no-cache-filter",
    "output",
    "platforms",
    "policy",
    "pull",
    "secret",
    "shm-size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

/// `--set`, by target: the text as given and what it sets.
pub(super) type Overrides = HashMap<String, Vec<(String, Override)>>;

/// One key of `--set` with all its values.
#[derive(Debug, Clone)]
pub(super) struct Override {
    key: String,
    /// The name behind `args.` or `contexts.`.
    name: Option<String>,
    values: Vec<String>,
    append: bool,
}

/// A target; `None` is what it does not say.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Target {
    pub name: String,
    pub place: Option<Place>,
    pub inherits: Vec<String>,
    context: Option<ContextSource>,
    /// `None` is a context that an empty string takes away.
    contexts: BTreeMap<String, Option<ContextSource>>,
    dockerfile: Option<String>,
    dockerfile_inline: Option<String>,
    args: Vec<BuildArg>,
    tags: Option<Vec<String>>,
    cache_from: Option<Vec<TypedEntry>>,
    cache_to: Option<Vec<TypedEntry>>,
    target: Option<String>,
    platforms: Option<Vec<String>>,
    outputs: Option<Vec<TypedEntry>>,
    pull: Option<bool>,
    no_cache: Option<bool>,
    no_cache_filter: Vec<String>,
}

/// The targets that a group names.
pub(super) fn group_targets(evaluator: &Evaluator<'_>, block: &Block, file: &Path) -> Result<Vec<String>, BakeError> {
    let fail = |line: usize, message: String| BakeError::Eval { file: file.to_owned(), line, message };
    if let Some(wrong) = block.attrs.iter().find(|a| !["targets", "description"].contains(&a.name.as_str())) {
        return Err(fail(wrong.line, format!("unsupported argument {:?} in a group", wrong.name)));
    }
    let attr = block
        .attrs
        .iter()
        .find(|a| a.name == "targets")
        .ok_or_else(|| fail(block.line, "a group needs the argument \"targets\"".to_owned()))?;
    let value = evaluator.eval(&attr.expr, &Vec::new()).map_err(|m| fail(attr.line, m))?;
    let mut names = strings(value).map_err(|m| fail(attr.line, m))?;
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

/// A list of strings; what is not known is left out.
fn strings(value: Val) -> Result<Vec<String>, String> {
    match value {
        Val::Null | Val::Unknown => Ok(Vec::new()),
        Val::List(items) => {
            let texts: Result<Vec<Option<String>>, String> = items.iter().map(Val::to_text).collect();
            Ok(texts?.into_iter().flatten().collect())
        }
        other => Err(format!("a list of strings is needed, not a {}", other.kind())),
    }
}

/// Entries of `cache-from`, `cache-to` or `output`: strings, or objects with a `type`.
fn entries(value: Val, attr: &Attr, file: &Path, output: bool) -> Result<Vec<TypedEntry>, String> {
    let items = match value {
        Val::Null | Val::Unknown => return Ok(Vec::new()),
        Val::List(items) => items,
        other => return Err(format!("a list is needed, not a {}", other.kind())),
    };
    let mut out = Vec::new();
    for (at, item) in items.into_iter().enumerate() {
        let place = &Place { file: file.to_owned(), line: attr.item_line(at) };
        match item {
            Val::Map(map) => {
                let mut attrs = BTreeMap::new();
                for (key, value) in &map {
                    if let Some(text) = value.to_text()? {
                        attrs.insert(key.clone(), text);
                    }
                }
                let kind = attrs.remove("type").filter(|kind| !kind.is_empty());
                out.push(TypedEntry {
                    kind: kind.ok_or_else(|| format!("type required for {}", Val::Map(map.clone()).to_json()))?,
                    attrs,
                    raw: Val::Map(map).to_json(),
                    place: Some(place.clone()),
                });
            }
            other => match other.to_text()? {
                None => {}
                Some(text) if text.is_empty() => {}
                Some(text) if output => out.push(TypedEntry::parse_output(&text, Some(place))?),
                Some(text) => out.extend(TypedEntry::parse_cache(&text, Some(place))?),
            },
        }
    }
    Ok(out)
}

impl Target {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// From a service of a compose file.
    pub fn from_compose(name: String, build: &BuildTarget) -> Self {
        let some = |list: &[TypedEntry]| (!list.is_empty()).then(|| list.to_vec());
        let contexts = build
            .contexts
            .iter()
            .map(|(key, source)| {
                let source = match source {
                    ContextSource::Target(service) => ContextSource::Target(service.replace('.', "_")),
                    other => other.clone(),
                };
                (key.clone(), Some(source))
            })
            .collect();
        Self {
            name,
            place: build.place.clone(),
            context: Some(build.context.clone()),
            contexts,
            dockerfile: build.dockerfile.clone(),
            dockerfile_inline: build.dockerfile_inline.clone(),
            args: build.args.iter().filter(|arg| arg.value.is_some()).cloned().collect(),
            tags: (!build.tags.is_empty()).then(|| build.tags.clone()),
            cache_from: some(&build.cache_from),
            cache_to: some(&build.cache_to),
            target: build.target.clone(),
            platforms: (!build.platforms.is_empty()).then(|| build.platforms.clone()),
            outputs: some(&build.outputs),
            pull: build.pull.then_some(true),
            no_cache: build.no_cache.then_some(true),
            no_cache_filter: build.no_cache_filter.clone(),
            inherits: Vec::new(),
        }
    }

    /// From a block of a bake file.
    pub fn from_block(
        evaluator: &Evaluator<'_>,
        name: String,
        block: &Block,
        locals: &Locals,
        place: &Place,
        cwd: &Path,
    ) -> Result<Self, BakeError> {
        let mut target = Self { name, place: Some(place.clone()), ..Self::default() };
        for attr in &block.attrs {
            target.read_attr(evaluator, attr, locals, &place.file, cwd).map_err(|message| BakeError::Eval {
                file: place.file.clone(),
                line: attr.line,
                message: format!("{}: {message}", attr.name),
            })?;
        }
        Ok(target)
    }

    fn read_attr(&mut self, evaluator: &Evaluator<'_>, attr: &Attr, locals: &Locals, file: &Path, cwd: &Path) -> Result<(), String> {
        let key = attr.name.as_str();
        if !KEYS.contains(&key) {
            return Err("an argument of this name is not expected here".to_owned());
        }
        if key == "matrix" || key == "name" {
            return Ok(());
        }
        let value = evaluator.eval(&attr.expr, locals)?;
        let boolean = |value: &Val| match value {
            Val::Null | Val::Unknown => Ok(None),
            other => other.to_bool().map(Some),
        };
        let list = |value: Val| match value {
            Val::Null => Ok(None),
            other => strings(other).map(Some),
        };
        match key {
            "inherits" => self.inherits = strings(value)?,
            "context" => self.context = value.to_text()?.map(|text| context(&text, cwd)),
            "dockerfile" => self.dockerfile = value.to_text()?,
            "dockerfile-inline" => self.dockerfile_inline = value.to_text()?,
            "target" => self.target = value.to_text()?,
            "pull" => self.pull = boolean(&value)?,
            "no-cache" => self.no_cache = boolean(&value)?,
            "tags" => self.tags = list(value)?,
            "platforms" => self.platforms = list(value)?,
            "no-cache-filter" => self.no_cache_filter = strings(value)?,
            "cache-from" => self.cache_from = given(value, |v| entries(v, attr, file, false))?,
            "cache-to" => self.cache_to = given(value, |v| entries(v, attr, file, false))?,
            "output" => self.outputs = given(value, |v| entries(v, attr, file, true))?,
            "args" => self.args = args(value, attr, file)?,
            "contexts" => {
                for (key, value) in object(value)? {
                    let text = value.to_text()?.unwrap_or_default();
                    let source = (!text.is_empty()).then(|| context(&text, cwd));
                    self.contexts.insert(key, source);
                }
            }
            "labels" | "extra-hosts" => {
                for value in object(value)?.values() {
                    value.to_text()?;
                }
            }
            // The rest has nothing to do with what a build copies or caches.
            _ => {}
        }
        Ok(())
    }

    /// Lays another target over this one (buildx `Target.Merge`).
    pub fn merge(&mut self, over: &Self) {
        fn lay<T: Clone>(into: &mut Option<T>, over: &Option<T>) {
            if over.is_some() {
                into.clone_from(over);
            }
        }
        lay(&mut self.place, &over.place);
        lay(&mut self.context, &over.context);
        lay(&mut self.dockerfile, &over.dockerfile);
        lay(&mut self.dockerfile_inline, &over.dockerfile_inline);
        lay(&mut self.target, &over.target);
        lay(&mut self.tags, &over.tags);
        lay(&mut self.platforms, &over.platforms);
        lay(&mut self.cache_to, &over.cache_to);
        lay(&mut self.outputs, &over.outputs);
        lay(&mut self.pull, &over.pull);
        lay(&mut self.no_cache, &over.no_cache);
        for arg in &over.args {
            self.set_arg(arg.clone());
        }
        for (key, source) in &over.contexts {
            self.contexts.insert(key.clone(), source.clone());
        }
        if let Some(more) = &over.cache_from {
            let caches = self.cache_from.get_or_insert_with(Vec::new);
            caches.extend(more.iter().cloned());
            dedup_entries(caches);
        }
        self.no_cache_filter.extend(over.no_cache_filter.iter().cloned());
        self.inherits.extend(over.inherits.iter().cloned());
    }

    fn set_arg(&mut self, arg: BuildArg) {
        match self.args.iter_mut().find(|known| known.name == arg.name) {
            Some(known) => *known = arg,
            None => self.args.push(arg),
        }
    }

    /// Takes out doubles and empty values (buildx `Target.normalize`).
    pub fn normalize(&mut self) {
        for list in [&mut self.tags, &mut self.platforms].into_iter().flatten() {
            dedup(list);
        }
        dedup(&mut self.no_cache_filter);
        for list in [&mut self.cache_from, &mut self.cache_to, &mut self.outputs].into_iter().flatten() {
            dedup_entries(list);
        }
        self.contexts.retain(|_, source| source.is_some());
    }

    /// The targets whose result this one takes as a named context.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        self.contexts.values().filter_map(|source| match source {
            Some(ContextSource::Target(name)) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Applies one `--set`.
    pub fn apply(&mut self, set: &Override) -> Result<(), String> {
        let last = || set.values.last().cloned().unwrap_or_default();
        let boolean = || match last().as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            other => Err(format!("invalid value {other} for boolean key {}", set.key)),
        };
        let texts = |list: &mut Option<Vec<String>>| {
            let base = if set.append { list.take().unwrap_or_default() } else { Vec::new() };
            *list = Some(base.into_iter().chain(set.values.iter().cloned()).collect());
        };
        let typed = |list: &mut Option<Vec<TypedEntry>>, output: bool| {
            let mut base = if set.append { list.take().unwrap_or_default() } else { Vec::new() };
            for value in set.values.iter().filter(|value| !value.is_empty()) {
                if output {
                    base.push(TypedEntry::parse_output(value, None)?);
                } else {
                    base.extend(TypedEntry::parse_cache(value, None)?);
                }
            }
            *list = Some(base);
            Ok::<(), String>(())
        };
        match set.key.as_str() {
            // The working directory is not known here; `into_build_target` resolves it.
            "context" => self.context = Some(context(&last(), Path::new(""))),
            "dockerfile" => self.dockerfile = Some(last()),
            "target" => self.target = Some(last()),
            "args" => self.set_arg(BuildArg { name: set.name.clone().unwrap_or_default(), value: set.values.last().cloned(), place: None }),
            "contexts" => {
                let text = last();
                let source = (!text.is_empty()).then(|| context(&text, Path::new("")));
                self.contexts.insert(set.name.clone().unwrap_or_default(), source);
            }
            "tags" => texts(&mut self.tags),
            "platform" => texts(&mut self.platforms),
            "cache-from" => typed(&mut self.cache_from, false)?,
            "cache-to" => typed(&mut self.cache_to, false)?,
            "output" => typed(&mut self.outputs, true)?,
            "no-cache" => self.no_cache = Some(boolean()?),
            "pull" => self.pull = Some(boolean()?),
            "no-cache-filter" => {
                if !set.append {
                    self.no_cache_filter.clear();
                }
                self.no_cache_filter.extend(set.values.iter().cloned());
            }
            "push" | "load" => {
                boolean()?;
            }
            "labels" | "annotations" | "attest" | "call" | "entitlements" | "extra-hosts" | "network" | "policy" | "secrets"
            | "shm-size" | "ssh" | "ulimits" => {}
            other => return Err(format!("unknown key: {other}")),
        }
        Ok(())
    }

    /// The target as the common record; relative contexts start from `cwd`.
    pub fn into_build_target(self, cwd: &Path) -> Result<BuildTarget, String> {
        let at_cwd = |source: ContextSource| match source {
            // One that `--set` gave has only its text.
            ContextSource::Dir { typed, path } if path.is_relative() => ContextSource::dir(&typed, cwd),
            other => other,
        };
        let context = at_cwd(self.context.unwrap_or_else(|| ContextSource::dir(".", cwd)));
        if context == ContextSource::Stdin {
            return Err("context from stdin not allowed in bake".to_owned());
        }
        if self.dockerfile.as_deref() == Some("-") {
            return Err("dockerfile from stdin not allowed in bake".to_owned());
        }
        let mut out = BuildTarget::new(context);
        out.name = Some(self.name);
        out.place = self.place;
        out.dockerfile = self.dockerfile.filter(|name| !name.is_empty());
        out.dockerfile_inline = self.dockerfile_inline.filter(|text| !text.is_empty());
        out.target = self.target.filter(|stage| !stage.is_empty());
        out.args = self.args;
        out.contexts = self.contexts.into_iter().filter_map(|(key, source)| Some((key, at_cwd(source?)))).collect();
        out.cache_from = self.cache_from.unwrap_or_default();
        out.cache_to = self.cache_to.unwrap_or_default();
        out.no_cache = self.no_cache.unwrap_or(false);
        out.no_cache_filter = self.no_cache_filter;
        out.pull = self.pull.unwrap_or(false);
        out.platforms = self.platforms.unwrap_or_default();
        out.tags = self.tags.unwrap_or_default();
        out.outputs = self.outputs.unwrap_or_default();
        out.resolve_dockerfile(None);
        if out.dockerfile_inline.is_none()
            && let Some(local) = out.dockerfile.as_deref().and_then(|name| name.strip_prefix("cwd://"))
        {
            let path: PathBuf = cwd.join(local);
            out.dockerfile_path = Some(normalize(&path));
        }
        Ok(out)
    }
}

fn given<T>(value: Val, read: impl FnOnce(Val) -> Result<T, String>) -> Result<Option<T>, String> {
    if value == Val::Null { Ok(None) } else { read(value).map(Some) }
}

fn object(value: Val) -> Result<BTreeMap<String, Val>, String> {
    match value {
        Val::Null | Val::Unknown => Ok(BTreeMap::new()),
        Val::Map(entries) => Ok(entries),
        other => Err(format!("an object is needed, not a {}", other.kind())),
    }
}

/// The arguments of a target; null ones say nothing.
fn args(value: Val, attr: &Attr, file: &Path) -> Result<Vec<BuildArg>, String> {
    let mut out = Vec::new();
    for (name, value) in object(value)? {
        if value == Val::Null {
            continue;
        }
        let line = attr.entry_line(&name);
        out.push(BuildArg { name, value: value.to_text()?, place: Some(Place { file: file.to_owned(), line }) });
    }
    Ok(out)
}

fn dedup(list: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|item| !item.is_empty() && seen.insert(item.clone()));
}

fn dedup_entries(list: &mut Vec<TypedEntry>) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|entry| seen.insert((entry.kind.clone(), entry.attrs.clone())));
}

/// Go's `path.Match` on names without a slash: `*`, `?`, `[a-z]`, `[^a]`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut regex = String::from("^(?s:");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => {
                regex.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    regex.push('^');
                }
                for c in chars.by_ref() {
                    match c {
                        ']' => break,
                        '-' => regex.push('-'),
                        c => regex.push_str(&regex::escape(&c.to_string())),
                    }
                }
                regex.push(']');
            }
            c => regex.push_str(&regex::escape(&c.to_string())),
        }
    }
    regex.push_str(")$");
    regex::Regex::new(&regex).is_ok_and(|regex| regex.is_match(name))
}

/// Reads `--set` into what each target gets (buildx `newOverrides`).
pub(super) fn parse_overrides(targets: &[Target], sets: &[String], env: &Env<'_>) -> Result<Overrides, (String, String)> {
    let mut out: Overrides = HashMap::new();
    for set in sets {
        let fail = |message: String| (set.clone(), message);
        let (left, value) = match set.split_once('=') {
            Some((left, value)) => (left, Some(value.to_owned())),
            None => (set.as_str(), None),
        };
        let (left, append) = match left.strip_suffix('+') {
            Some(left) => (left, true),
            None => (left, false),
        };
        let mut keys = left.splitn(3, '.');
        let (Some(pattern), Some(key), name) = (keys.next(), keys.next(), keys.next()) else {
            return Err(fail("expected TARGET.KEY=VALUE".to_owned()));
        };
        if value.is_none() && key != "args" {
            return Err(fail("expected TARGET.KEY=VALUE".to_owned()));
        }
        if (key == "args" || key == "contexts") && name.is_none() {
            return Err(fail(format!("{key} requires a name")));
        }
        let exact = targets.iter().any(|t| t.name == pattern);
        let names: Vec<&str> =
            targets.iter().map(|t| t.name.as_str()).filter(|name| if exact { *name == pattern } else { matches(pattern, name) }).collect();
        if names.is_empty() {
            return Err(fail(format!("could not find any target matching '{pattern}'")));
        }
        let value = match value {
            Some(value) => value,
            None => match name.and_then(env) {
                Some(value) => value,
                // An argument without a value that the environment lacks is not set.
                None => continue,
            },
        };
        let is_list = matches!(
            key,
            "output"
                | "cache-to"
                | "cache-from"
                | "tags"
                | "platform"
                | "secrets"
                | "ssh"
                | "attest"
                | "entitlements"
                | "network"
                | "annotations"
                | "policy"
        );
        for target in names {
            let list = out.entry(target.to_owned()).or_default();
            let known = list.iter_mut().find(|(_, o)| o.key == key && o.name.as_deref() == name);
            match known {
                Some((_, known)) if is_list => {
                    known.values.push(value.clone());
                    known.append = append;
                }
                Some((_, known)) => known.values = vec![value.clone()],
                None => list.push((
                    set.clone(),
                    Override { key: key.to_owned(), name: name.map(str::to_owned), values: vec![value.clone()], append },
                )),
            }
        }
    }
    Ok(out)
}
