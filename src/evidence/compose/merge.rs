//! How compose files are laid over one another (compose-go `override/merge.go`, `override/uncity.go`).
//!
//! Mappings merge key by key, lists are appended, anything else is replaced. Some paths have rules of
//! their own; those that a build can see are here. Duplicates that the appending makes are taken out
//! where the service is read, by key, the last one winning.

use super::super::yaml::{ComposeTag, Entry, Node, ScalarKind, Value};

/// What the keys of the path mean to the merge.
fn special(path: &[&str]) -> Option<Special> {
    match path {
        ["services", _, "build"] => Some(Special::Build),
        ["services", _, "build", "args" | "additional_contexts" | "labels" | "extra_hosts"]
        | ["services", _, "environment" | "labels" | "annotations" | "extra_hosts" | "sysctls"] => Some(Special::KeyValues),
        ["services", _, "depends_on"] => Some(Special::DependsOn),
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => Some(Special::Replace),
        ["services", _, "networks" | "env_file" | "ulimits" | "logging" | "models"]
        | ["services", _, "build", "ulimits" | "ssh" | "secrets"] => Some(Special::Loose),
        _ => None,
    }
}

enum Special {
    /// A string is a mapping with a context.
    Build,
    /// A mapping is a list of `K=V`.
    KeyValues,
    /// A list is a mapping of conditions.
    DependsOn,
    /// The later one alone.
    Replace,
    /// Forms of which a build sees nothing: merged where they are alike, replaced where not.
    Loose,
}

/// Two files say different kinds of things at one path.
pub(super) struct Conflict {
    /// The path, joined with dots.
    pub path: String,
    /// Line and file of the later one.
    pub line: usize,
    /// The later one's file.
    pub file: usize,
}

/// Lays `over` over `base`.
pub(super) fn merge(base: Node, over: Node, path: &mut Vec<String>) -> Result<Node, Conflict> {
    match over.tag {
        Some(ComposeTag::Reset) => {
            return Ok(Node { value: Value::Null, tag: None, ..over });
        }
        Some(ComposeTag::Override) => return Ok(Node { tag: None, ..over }),
        None => {}
    }
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    let (base, over) = match special(&keys) {
        Some(Special::Replace) => return Ok(over),
        Some(Special::Build) => (build_mapping(base), build_mapping(over)),
        Some(Special::KeyValues) => (key_value_list(base), key_value_list(over)),
        Some(Special::DependsOn) => (condition_mapping(base), condition_mapping(over)),
        Some(Special::Loose) => match (&base.value, &over.value) {
            (Value::Map(_), Value::Map(_)) | (Value::Seq(_), Value::Seq(_)) => (base, over),
            _ => return Ok(over),
        },
        None => (base, over),
    };
    let conflict = |over: &Node| Conflict { path: path.join("."), line: over.line, file: over.file };
    match (base.value, over.value) {
        (Value::Null, value) => Ok(Node { value, ..over }),
        (value @ (Value::Map(_) | Value::Seq(_)), Value::Null) => Ok(Node { value, ..base }),
        (Value::Map(entries), Value::Map(others)) => {
            let mut out = Node { value: Value::Null, ..base };
            out.value = Value::Map(merge_entries(entries, others, path)?);
            Ok(out)
        }
        (Value::Seq(mut items), Value::Seq(others)) => {
            items.extend(others);
            Ok(Node { value: Value::Seq(items), ..base })
        }
        (Value::Map(_) | Value::Seq(_), value) => Err(conflict(&Node { value, ..over })),
        (Value::Scalar(..), value) => Ok(Node { value, ..over }),
    }
}

fn merge_entries(mut entries: Vec<Entry>, others: Vec<Entry>, path: &mut Vec<String>) -> Result<Vec<Entry>, Conflict> {
    for other in others {
        let Some(at) = entries.iter().position(|entry| entry.key == other.key) else {
            if other.node.tag != Some(ComposeTag::Reset) {
                entries.push(other);
            }
            continue;
        };
        if other.node.tag == Some(ComposeTag::Reset) {
            entries.remove(at);
            continue;
        }
        if other.key.starts_with("x-") {
            entries[at] = other;
            continue;
        }
        path.push(other.key);
        let base = std::mem::replace(&mut entries[at].node, Node::string("", 0, 0));
        let merged = merge(base, other.node, path);
        path.pop();
        entries[at].node = merged?;
    }
    Ok(entries)
}

fn build_mapping(node: Node) -> Node {
    let Value::Scalar(text, _) = &node.value else {
        return node;
    };
    let entry = Entry { key: "context".to_owned(), line: node.line, node: Node::string(text.clone(), node.line, node.file) };
    Node { value: Value::Map(vec![entry]), ..node }
}

fn key_value_list(node: Node) -> Node {
    let Value::Map(entries) = node.value else {
        return node;
    };
    let items = entries
        .into_iter()
        .map(|entry| {
            let line = entry.node.line;
            let text = match entry.node.value {
                Value::Scalar(value, _) => format!("{}={value}", entry.key),
                _ => entry.key,
            };
            Node::string(text, line, entry.node.file)
        })
        .collect();
    Node { line: node.line, file: node.file, tag: node.tag, value: Value::Seq(items) }
}

fn condition_mapping(node: Node) -> Node {
    let Value::Seq(items) = node.value else {
        return node;
    };
    let mut entries: Vec<Entry> = Vec::new();
    for item in items {
        if let Value::Scalar(key, _) = &item.value
            && !entries.iter().any(|entry| entry.key == *key)
        {
            let condition =
                Entry { key: "condition".to_owned(), line: item.line, node: Node::string("service_started", item.line, item.file) };
            entries.push(Entry {
                key: key.clone(),
                line: item.line,
                node: Node { line: item.line, file: item.file, tag: None, value: Value::Map(vec![condition]) },
            });
        }
    }
    Node { line: node.line, file: node.file, tag: node.tag, value: Value::Map(entries) }
}

/// Takes out what `!reset` leaves in a tree that nothing was laid over.
pub(super) fn drop_resets(node: &mut Node) {
    match &mut node.value {
        Value::Map(entries) => {
            entries.retain(|entry| entry.node.tag != Some(ComposeTag::Reset));
            for entry in entries {
                drop_resets(&mut entry.node);
            }
        }
        Value::Seq(items) => {
            items.retain(|item| item.tag != Some(ComposeTag::Reset));
            items.iter_mut().for_each(drop_resets);
        }
        Value::Null | Value::Scalar(_, ScalarKind::Str | ScalarKind::Int | ScalarKind::Float | ScalarKind::Bool) => {}
    }
}
