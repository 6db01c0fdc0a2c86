//! One service: what it builds, read from the merged tree.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::super::build_target::{BuildTarget, ContextSource, Env, Place, TypedEntry, normalize};
use super::super::yaml::{Node, Value};
use super::{ComposeError, Reader, Service, load};

/// What the keys of a `build` section may be; compose refuses others.
const BUILD_KEYS: [&str; 24] = [
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "args",
    "ssh",
    "labels",
    "cache_from",
    "cache_to",
    "no_cache",
    "no_cache_filter",
    "additional_contexts",
    "network",
    "provenance",
    "sbom",
    "pull",
    "target",
    "shm_size",
    "extra_hosts",
    "isolation",
    "privileged",
    "secrets",
    "tags",
    "ulimits",
];

/// A key, its value where it has one, and the node that says it.
type KeyValue<'n> = (String, Option<String>, &'n Node);

/// Finds the file of a node, and says what is wrong with it.
pub(super) struct Places<'s> {
    pub sources: &'s [load::Source],
}

impl Places<'_> {
    fn file(&self, node: &Node) -> PathBuf {
        self.sources.get(node.file).map(|s| s.file.clone()).unwrap_or_default()
    }

    fn base(&self, node: &Node) -> &Path {
        self.sources.get(node.file).map_or(Path::new("."), |s| s.base.as_path())
    }

    fn place(&self, node: &Node) -> Place {
        Place { file: self.file(node), line: node.line }
    }

    pub fn wrong(&self, node: &Node, path: &str, expected: &'static str) -> ComposeError {
        ComposeError::Shape { file: self.file(node), line: node.line, path: path.to_owned(), expected, found: node.kind_name() }
    }

    /// A scalar's text; `None` for null.
    fn text(&self, node: Option<&Node>, path: &str) -> Result<Option<String>, ComposeError> {
        match node {
            None => Ok(None),
            Some(node) if node.is_null() => Ok(None),
            Some(node) => match node.as_text() {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(self.wrong(node, path, "a string")),
            },
        }
    }

    /// A boolean, or a string that means one (compose-go casts after the interpolation).
    fn boolean(&self, node: Option<&Node>, path: &str) -> Result<bool, ComposeError> {
        let Some(node) = node.filter(|node| !node.is_null()) else {
            return Ok(false);
        };
        match node.as_text().map(str::to_lowercase).as_deref() {
            Some("true" | "1" | "t" | "yes" | "y" | "on") => Ok(true),
            Some("false" | "0" | "f" | "no" | "n" | "off" | "") => Ok(false),
            _ => Err(self.wrong(node, path, "true or false")),
        }
    }

    /// A list of strings.
    fn list<'n>(&self, node: Option<&'n Node>, path: &str) -> Result<Vec<&'n Node>, ComposeError> {
        let Some(node) = node.filter(|node| !node.is_null()) else {
            return Ok(Vec::new());
        };
        let items = node.as_seq().ok_or_else(|| self.wrong(node, path, "a list"))?;
        for item in items {
            if item.as_text().is_none() {
                return Err(self.wrong(item, path, "a list of strings"));
            }
        }
        Ok(items.iter().collect())
    }

    fn strings(&self, node: Option<&Node>, path: &str) -> Result<Vec<String>, ComposeError> {
        Ok(self.list(node, path)?.into_iter().filter_map(|item| item.as_text().map(str::to_owned)).collect())
    }

    /// `K=V` items or a mapping, as key, value and the node that says it. Later ones win.
    fn key_values<'n>(&self, node: Option<&'n Node>, path: &str) -> Result<Vec<KeyValue<'n>>, ComposeError> {
        let mut out: Vec<KeyValue<'n>> = Vec::new();
        let Some(node) = node.filter(|node| !node.is_null()) else {
            return Ok(out);
        };
        let mut put = |key: String, value: Option<String>, at: &'n Node| match out.iter_mut().find(|(known, ..)| *known == key) {
            Some(known) => *known = (key, value, at),
            None => out.push((key, value, at)),
        };
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    let value = self.text(Some(&entry.node), path)?;
                    put(entry.key.clone(), value, &entry.node);
                }
            }
            Value::Seq(_) => {
                for item in self.list(Some(node), path)? {
                    let text = item.as_text().unwrap_or_default();
                    match text.split_once('=') {
                        Some((key, value)) => put(key.to_owned(), Some(value.to_owned()), item),
                        None => put(text.to_owned(), None, item),
                    }
                }
            }
            _ => return Err(self.wrong(node, path, "a mapping or a list")),
        }
        Ok(out)
    }
}

/// Reads a service.
pub(super) fn service(
    places: &Places<'_>,
    name: &str,
    line: usize,
    node: &Node,
    env: &Env<'_>,
    reader: Reader,
) -> Result<Service, ComposeError> {
    let at = |field: &str| format!("services.{name}.{field}");
    if !node.is_null() && node.as_map().is_none() {
        return Err(places.wrong(node, &format!("services.{name}"), "a mapping"));
    }
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
        return Err(ComposeError::ServiceName { file: places.file(node), line, name: name.to_owned() });
    }
    let image = places.text(node.get("image"), &at("image"))?;
    let mut build = None;
    if let Some(section) = node.get("build").filter(|section| !section.is_null()) {
        let environment = if reader == Reader::Bake { environment(places, node, &at("environment"), env)? } else { HashMap::new() };
        let lookup = |key: &str| environment.get(key).cloned().or_else(|| env(key));
        let mut target = build_section(places, name, section, &lookup)?;
        target.place = Some(Place { file: places.file(node), line });
        if target.tags.is_empty() {
            target.tags.extend(image.clone());
        }
        build = Some(target);
    }
    if build.is_none() && image.is_none() && node.get("provider").is_none() {
        return Err(ComposeError::NeitherImageNorBuild { file: places.file(node), line, name: name.to_owned() });
    }
    let depends_on = match node.get("depends_on") {
        Some(deps) if deps.as_map().is_some() => deps.as_map().unwrap_or_default().iter().map(|e| e.key.clone()).collect(),
        deps => places.strings(deps, &at("depends_on"))?,
    };
    Ok(Service {
        name: name.to_owned(),
        place: Place { file: places.file(node), line },
        image,
        build,
        depends_on,
        profiles: places.strings(node.get("profiles"), &at("profiles"))?,
    })
}

/// The `env_file` and `environment` of a service, values alone; bake takes arguments without a value
/// from them.
fn environment(places: &Places<'_>, node: &Node, path: &str, env: &Env<'_>) -> Result<HashMap<String, String>, ComposeError> {
    let mut out = HashMap::new();
    if let Some(files) = node.get("env_file").filter(|files| !files.is_null()) {
        let items = files.as_seq().unwrap_or(std::slice::from_ref(files));
        for item in items {
            let name = item.as_text().or_else(|| item.get("path").and_then(Node::as_text));
            let name = name.ok_or_else(|| places.wrong(item, "env_file", "a path"))?;
            let file = normalize(&places.base(item).join(name));
            let required = item.get("required").and_then(Node::as_text) != Some("false");
            if required || file.is_file() {
                out.extend(load::env_files(places.base(item), &[file], env)?);
            }
        }
    }
    for (key, value, _) in places.key_values(node.get("environment"), path)? {
        match value.or_else(|| env(&key)) {
            Some(value) => out.insert(key, value),
            None => out.remove(&key),
        };
    }
    Ok(out)
}

fn build_section(places: &Places<'_>, service: &str, node: &Node, env: &Env<'_>) -> Result<BuildTarget, ComposeError> {
    let at = |field: &str| format!("services.{service}.build.{field}");
    let base = places.base(node).to_owned();
    if let Some(context) = node.as_text() {
        let mut target = BuildTarget::new(context_of(context, &base, env));
        target.name = Some(service.to_owned());
        return Ok(target);
    }
    let entries = node.as_map().ok_or_else(|| places.wrong(node, &format!("services.{service}.build"), "a string or a mapping"))?;
    for entry in entries {
        let known = BUILD_KEYS.contains(&entry.key.as_str()) || entry.key == "platforms" || entry.key.starts_with("x-");
        if !known {
            return Err(ComposeError::UnknownKey { file: places.file(&entry.node), line: entry.line, path: at(&entry.key) });
        }
    }
    let context = places.text(node.get("context"), &at("context"))?;
    let context_base = node.get("context").map_or(base.as_path(), |c| places.base(c));
    let mut target = BuildTarget::new(match context.filter(|c| !c.is_empty()) {
        Some(context) => context_of(&context, context_base, env),
        None => ContextSource::dir(".", &base),
    });
    target.name = Some(service.to_owned());
    target.dockerfile = places.text(node.get("dockerfile"), &at("dockerfile"))?.filter(|name| !name.is_empty());
    target.dockerfile_inline = places.text(node.get("dockerfile_inline"), &at("dockerfile_inline"))?.filter(|text| !text.is_empty());
    if target.dockerfile.is_some() && target.dockerfile_inline.is_some() {
        return Err(ComposeError::BothDockerfiles { file: places.file(node), line: node.line, name: service.to_owned() });
    }
    target.target = places.text(node.get("target"), &at("target"))?.filter(|t| !t.is_empty());
    for (key, value, from) in places.key_values(node.get("args"), &at("args"))? {
        let value = value.or_else(|| env(&key));
        target.set_arg(&key, value, Some(places.place(from)));
    }
    for (key, value, from) in places.key_values(node.get("additional_contexts"), &at("additional_contexts"))? {
        let value = value.unwrap_or_default();
        let source = match value.strip_prefix("service:") {
            Some(service) => ContextSource::Target(service.to_owned()),
            None => ContextSource::parse(&value, places.base(from)),
        };
        target.contexts.insert(key, source);
    }
    target.cache_from = cache(places, node.get("cache_from"), &at("cache_from"))?;
    target.cache_to = cache(places, node.get("cache_to"), &at("cache_to"))?;
    target.no_cache = places.boolean(node.get("no_cache"), &at("no_cache"))?;
    target.no_cache_filter = match node.get("no_cache_filter") {
        Some(one) if one.as_text().is_some() => places.text(Some(one), &at("no_cache_filter"))?.into_iter().collect(),
        list => places.strings(list, &at("no_cache_filter"))?,
    };
    target.pull = places.boolean(node.get("pull"), &at("pull"))?;
    target.platforms = places.strings(node.get("platforms"), &at("platforms"))?;
    target.tags = places.strings(node.get("tags"), &at("tags"))?;
    if let Some(extension) = node.get("x-bake").filter(|x| !x.is_null()) {
        bake_extension(places, extension, &mut target)?;
    }
    target.resolve_dockerfile(None);
    Ok(target)
}

/// A context path: `~` is the home directory, as in compose-go `paths/home.go`.
fn context_of(typed: &str, base: &Path, env: &Env<'_>) -> ContextSource {
    if let Some(rest) = typed.strip_prefix('~')
        && (rest.is_empty() || rest.starts_with('/'))
        && let Some(home) = env("HOME")
    {
        return ContextSource::dir(&format!("{home}{rest}"), base);
    }
    match ContextSource::parse(typed, base) {
        // compose knows no standard input: `-` is a directory of that name.
        ContextSource::Stdin => ContextSource::dir(typed, base),
        source => source,
    }
}

fn cache(places: &Places<'_>, node: Option<&Node>, path: &str) -> Result<Vec<TypedEntry>, ComposeError> {
    let mut out = Vec::new();
    for item in places.list(node, path)? {
        let place = places.place(item);
        let raw = item.as_text().unwrap_or_default();
        let entries = TypedEntry::parse_cache(raw, Some(&place)).map_err(|message| ComposeError::Value {
            file: place.file.clone(),
            line: place.line,
            path: path.to_owned(),
            message,
        })?;
        out.extend(entries);
    }
    Ok(out)
}

/// The extension that gives bake what compose has no key for (buildx `bake/compose.go`, `xbake`).
fn bake_extension(places: &Places<'_>, node: &Node, target: &mut BuildTarget) -> Result<(), ComposeError> {
    // A string stands for its words.
    let strings = |key: &str| -> Result<Vec<(String, &Node)>, ComposeError> {
        match node.get(key) {
            Some(one) if one.as_text().is_some() => {
                Ok(one.as_text().unwrap_or_default().split_whitespace().map(|word| (word.to_owned(), one)).collect())
            }
            list => Ok(places
                .list(list, &format!("x-bake.{key}"))?
                .into_iter()
                .map(|item| (item.as_text().unwrap_or_default().to_owned(), item))
                .collect()),
        }
    };
    let add = |into: &mut Vec<String>, more: Vec<(String, &Node)>| {
        for (text, _) in more {
            if !into.contains(&text) {
                into.push(text);
            }
        }
    };
    add(&mut target.tags, strings("tags")?);
    add(&mut target.platforms, strings("platforms")?);
    add(&mut target.no_cache_filter, strings("no-cache-filter")?);
    for (key, into) in [("cache-from", &mut target.cache_from), ("cache-to", &mut target.cache_to)] {
        for (raw, item) in strings(key)? {
            let place = places.place(item);
            let entries = TypedEntry::parse_cache(&raw, Some(&place)).map_err(|message| ComposeError::Value {
                file: place.file.clone(),
                line: place.line,
                path: format!("x-bake.{key}"),
                message,
            })?;
            for entry in entries {
                if !into.iter().any(|known| known.same(&entry)) {
                    into.push(entry);
                }
            }
        }
    }
    for (raw, item) in strings("output")? {
        let place = places.place(item);
        let entry = TypedEntry::parse_output(&raw, Some(&place)).map_err(|message| ComposeError::Value {
            file: place.file.clone(),
            line: place.line,
            path: "x-bake.output".to_owned(),
            message,
        })?;
        target.outputs.push(entry);
    }
    if let Some(pull) = node.get("pull") {
        target.pull = places.boolean(Some(pull), "x-bake.pull")?;
    }
    if let Some(no_cache) = node.get("no-cache") {
        target.no_cache = places.boolean(Some(no_cache), "x-bake.no-cache")?;
    }
    let contexts: BTreeMap<_, _> = places
        .key_values(node.get("contexts"), "x-bake.contexts")?
        .into_iter()
        .map(|(key, value, from)| {
            let value = value.unwrap_or_default();
            (key, ContextSource::parse(&value, places.base(from)))
        })
        .collect();
    for (key, source) in contexts {
        target.contexts.entry(key).or_insert(source);
    }
    Ok(())
}
