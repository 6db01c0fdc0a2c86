//! YAML as a tree that knows its lines.
//!
//! Compose merges files as untyped trees (compose-go `override/merge.go`) and gives meaning to the
//! tags `!reset` and `!override`, so files are read into a tree and not into structs. Scalars are
//! resolved as go-yaml v3 does it, because compose-go prints what that gives: `1.10` becomes `1.1`.
//! Aliases are copied, within a budget: a YAML bomb is an error, not a full memory.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};

/// Bytes of a file that are read at most.
pub const MAX_FILE_BYTES: u64 = 16 << 20;
/// Nodes that a file may hold after its aliases are copied.
const MAX_NODES: usize = 60_000;
/// Bytes of text that a file may hold after its aliases are copied.
const MAX_TEXT_BYTES: usize = 64 << 20;
/// Levels that nodes may be nested; keeps the recursive walks within the stack.
const MAX_DEPTH: usize = 100;

/// What is wrong with a YAML text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// The text is not YAML.
    #[error("line {line}: {message}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key stands twice in one mapping.
    #[error("line {line}: the key {key:?} is there already, on line {first}")]
    DuplicateKey {
        /// The line of the second.
        line: usize,
        /// The key.
        key: String,
        /// The line of the first.
        first: usize,
    },
    /// The text grows beyond all measure: aliases of aliases, or very deep nesting.
    #[error("line {line}: the file is nested too deep or its aliases multiply too far")]
    TooLarge {
        /// The line where the limit was met.
        line: usize,
    },
    /// A merge key (`<<`) whose value is no mapping.
    #[error("line {line}: a merge key needs a mapping or a list of mappings")]
    Merge {
        /// The line of the key's value.
        line: usize,
    },
}

/// The tags that compose gives a meaning of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComposeTag {
    /// `!reset`: what earlier files said is taken away.
    Reset,
    /// `!override`: what earlier files said is replaced, not merged.
    Override,
}

/// The type that go-yaml resolves a scalar to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarKind {
    /// A string.
    Str,
    /// An integer.
    Int,
    /// A float.
    Float,
    /// A boolean.
    Bool,
}

/// One node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The line it starts on, counted from 1.
    pub line: usize,
    /// The file it comes from, as an index that the reader chose.
    pub file: usize,
    /// Compose's own tag, where it has one.
    pub tag: Option<ComposeTag>,
    /// What it holds.
    pub value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A scalar, as Go's `fmt.Sprint` prints what go-yaml makes of it.
    Scalar(String, ScalarKind),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping; keys in the order of the file, with their lines.
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The line of the key.
    pub line: usize,
    /// The value.
    pub node: Node,
}

impl Node {
    /// A string node.
    pub fn string(text: impl Into<String>, line: usize, file: usize) -> Self {
        Self { line, file, tag: None, value: Value::Scalar(text.into(), ScalarKind::Str) }
    }

    /// The value of a key, where this is a mapping that holds it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entry of a key, where this is a mapping that holds it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.as_map()?.iter().find(|entry| entry.key == key)
    }

    /// The entries, where this is a mapping.
    pub fn as_map(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items, where this is a list.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The text, where this is a scalar of any type.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Says whether there is nothing here.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// What it is, in words for messages.
    pub fn kind_name(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar(..) => "a scalar",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// A collection that is still open.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value, in a mapping.
    key: Option<(String, usize, bool)>,
    /// The values of merge keys, to be folded in when the mapping ends.
    merges: Vec<Node>,
    /// The keys that are there, with their lines.
    keys: HashMap<String, usize>,
    nodes: usize,
    text: usize,
}

/// Reads every document of a text. An empty document is a null node.
///
/// `file` is put into every node.
///
/// # Errors
/// See [`YamlError`].
pub fn parse(text: &str, file: usize) -> Result<Vec<Node>, YamlError> {
    let mut reader = Reader { file, documents: Vec::new(), stack: Vec::new(), anchors: HashMap::new(), nodes: 0, text: 0 };
    let mut last_line = 1;
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| YamlError::Syntax { line: error.marker().line(), message: error.to_string() })?;
        last_line = span.start.line().max(1);
        reader.event(event, last_line)?;
    }
    if reader.stack.is_empty() {
        Ok(reader.documents)
    } else {
        Err(YamlError::Syntax { line: last_line, message: "the document does not end".to_owned() })
    }
}

struct Reader {
    file: usize,
    documents: Vec<Node>,
    stack: Vec<Open>,
    anchors: HashMap<usize, (Node, usize, usize)>,
    nodes: usize,
    text: usize,
}

impl Reader {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| tag.suffix().to_owned());
                let plain = style == ScalarStyle::Plain;
                let node = Node { line, file: self.file, tag: compose_tag(tag.as_deref()), value: resolve(&text, plain, tag.as_deref()) };
                self.spend(1, text.len(), line)?;
                if anchor != 0 {
                    self.anchors.insert(anchor, (node.clone(), 1, text.len()));
                }
                self.put(node, 1, text.len(), plain && text == "<<")
            }
            Event::SequenceStart(_, anchor, tag) => {
                let tag = compose_tag(tag.as_ref().map(|tag| tag.suffix()));
                self.open(Value::Seq(Vec::new()), anchor, tag, line)
            }
            Event::MappingStart(_, anchor, tag) => {
                let tag = compose_tag(tag.as_ref().map(|tag| tag.suffix()));
                self.open(Value::Map(Vec::new()), anchor, tag, line)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(line),
            Event::Alias(anchor) => {
                let Some((node, nodes, text)) = self.anchors.get(&anchor).cloned() else {
                    return Err(YamlError::Syntax { line, message: "an alias stands inside the node that it names".to_owned() });
                };
                if depth(&node) + self.stack.len() > MAX_DEPTH {
                    return Err(YamlError::TooLarge { line });
                }
                self.spend(nodes, text, line)?;
                self.put(node, nodes, text, false)
            }
            Event::DocumentStart(..) => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn spend(&mut self, nodes: usize, text: usize, line: usize) -> Result<(), YamlError> {
        self.nodes += nodes;
        self.text += text;
        if self.nodes > MAX_NODES || self.text > MAX_TEXT_BYTES {
            return Err(YamlError::TooLarge { line });
        }
        Ok(())
    }

    fn open(&mut self, value: Value, anchor: usize, tag: Option<ComposeTag>, line: usize) -> Result<(), YamlError> {
        self.spend(1, 0, line)?;
        if self.stack.len() >= MAX_DEPTH {
            return Err(YamlError::TooLarge { line });
        }
        self.stack.push(Open {
            node: Node { line, file: self.file, tag, value },
            anchor,
            key: None,
            merges: Vec::new(),
            keys: HashMap::new(),
            nodes: 1,
            text: 0,
        });
        Ok(())
    }

    fn close(&mut self, line: usize) -> Result<(), YamlError> {
        let Some(mut open) = self.stack.pop() else {
            return Ok(());
        };
        for merge in std::mem::take(&mut open.merges) {
            fold_merge(&mut open.node, merge)?;
        }
        if open.anchor != 0 {
            // The copies that anchors keep are memory too.
            self.spend(open.nodes, open.text, line)?;
            self.anchors.insert(open.anchor, (open.node.clone(), open.nodes, open.text));
        }
        self.put(open.node, open.nodes, open.text, false)
    }

    /// Puts a finished node where it belongs: a key, a value, an item, or a document.
    fn put(&mut self, node: Node, nodes: usize, text: usize, merge_key: bool) -> Result<(), YamlError> {
        let Some(open) = self.stack.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        open.nodes += nodes;
        open.text += text;
        match &mut open.node.value {
            Value::Seq(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                None => {
                    let line = node.line;
                    let key = match node.value {
                        Value::Scalar(text, _) => text,
                        // compose-go's convertToStringKeys prints other keys; none means anything.
                        Value::Null => "null".to_owned(),
                        Value::Seq(_) | Value::Map(_) => {
                            return Err(YamlError::Syntax { line, message: "a key must be a string".to_owned() });
                        }
                    };
                    open.key = Some((key, line, merge_key));
                }
                Some((_, _, true)) => open.merges.push(node),
                Some((key, line, false)) => {
                    if let Some(first) = open.keys.insert(key.clone(), line) {
                        return Err(YamlError::DuplicateKey { line, key, first });
                    }
                    entries.push(Entry { key, line, node });
                }
            },
            Value::Null | Value::Scalar(..) => {}
        }
        Ok(())
    }
}

/// Folds the value of a merge key into a mapping; keys that are there already win.
fn fold_merge(into: &mut Node, merge: Node) -> Result<(), YamlError> {
    let Value::Map(entries) = &mut into.value else {
        return Ok(());
    };
    let line = merge.line;
    let sources = match merge.value {
        Value::Map(entries) => vec![entries],
        Value::Seq(items) => items
            .into_iter()
            .map(|item| match item.value {
                Value::Map(entries) => Ok(entries),
                _ => Err(YamlError::Merge { line: item.line }),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(YamlError::Merge { line }),
    };
    let mut present: std::collections::HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    for entry in sources.into_iter().flatten() {
        if present.insert(entry.key.clone()) {
            entries.push(entry);
        }
    }
    Ok(())
}

fn depth(node: &Node) -> usize {
    1 + match &node.value {
        Value::Null | Value::Scalar(..) => 0,
        Value::Seq(items) => items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => entries.iter().map(|e| depth(&e.node)).max().unwrap_or(0),
    }
}

fn compose_tag(suffix: Option<&str>) -> Option<ComposeTag> {
    match suffix {
        Some("reset") => Some(ComposeTag::Reset),
        Some("override") => Some(ComposeTag::Override),
        _ => None,
    }
}

/// Resolves a scalar as go-yaml v3 does when it decodes into an untyped value (`resolve.go`).
fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Value {
    let string = || Value::Scalar(text.to_owned(), ScalarKind::Str);
    if !plain || tag == Some("str") {
        return string();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Scalar("true".to_owned(), ScalarKind::Bool),
        "false" | "False" | "FALSE" => return Value::Scalar("false".to_owned(), ScalarKind::Bool),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Scalar("+Inf".to_owned(), ScalarKind::Float);
        }
        "-.inf" | "-.Inf" | "-.INF" => {
            return Value::Scalar("-Inf".to_owned(), ScalarKind::Float);
        }
        ".nan" | ".NaN" | ".NAN" => return Value::Scalar("NaN".to_owned(), ScalarKind::Float),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return string();
    }
    let digits = text.replace('_', "");
    if let Some(int) = parse_int(&digits) {
        return Value::Scalar(int.to_string(), ScalarKind::Int);
    }
    if looks_like_float(&digits)
        && let Ok(float) = digits.parse::<f64>()
    {
        return Value::Scalar(go_float(float), ScalarKind::Float);
    }
    string()
}

/// Reads an integer with Go's base prefixes (`0x`, `0o`, `0b`, and a leading `0` for octal).
fn parse_int(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let (radix, number) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if !number.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let value = i128::from_str_radix(number, radix).ok()?;
    // Beyond 64 bits go-yaml goes on and reads a float.
    let value = if negative { -value } else { value };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

/// go-yaml's `yamlStyleFloat`.
fn looks_like_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    mantissa_ok
        && exponent.is_none_or(|e| {
            let e = e.strip_prefix(['+', '-']).unwrap_or(e);
            !e.is_empty() && digits(e)
        })
}

/// Prints a float as Go's `%v` does: shortest digits, an exponent below 1e-4 and from 1e6 on.
pub fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Node {
        parse(text, 0).unwrap().remove(0)
    }

    #[test]
    fn scalars_print_as_go_prints_them() {
        for (text, printed, kind) in [
            ("1.10", "1.1", ScalarKind::Float),
            ("007", "7", ScalarKind::Int),
            ("0x1F", "31", ScalarKind::Int),
            ("1_000", "1000", ScalarKind::Int),
            ("yes", "yes", ScalarKind::Str),
            ("TRUE", "true", ScalarKind::Bool),
            ("'true'", "true", ScalarKind::Str),
            ("1.2.3", "1.2.3", ScalarKind::Str),
            ("089", "89", ScalarKind::Float),
            ("1e3", "1000", ScalarKind::Float),
            ("1000000.5", "1.0000005e+06", ScalarKind::Float),
            ("0.00001", "1e-05", ScalarKind::Float),
            ("!!str 1.10", "1.10", ScalarKind::Str),
            ("12ab", "12ab", ScalarKind::Str),
        ] {
            let node = one(&format!("k: {text}"));
            assert_eq!(node.get("k").unwrap().value, Value::Scalar(printed.to_owned(), kind), "{text}");
        }
        assert!(one("k: ~").get("k").unwrap().is_null());
    }

    #[test]
    fn lines_anchors_and_merges() {
        let node = one("base: &b\n  x: 1\n  y: 2\nuse:\n  <<: *b\n  y: 3\nlist: [*b]\n");
        let used = node.get("use").unwrap();
        assert_eq!(used.get("x").unwrap().as_text(), Some("1"));
        assert_eq!(used.get("y").unwrap().as_text(), Some("3"));
        assert_eq!(used.entry("x").unwrap().line, 2);
        assert_eq!(used.entry("y").unwrap().line, 6);
        assert_eq!(node.get("list").unwrap().as_seq().unwrap()[0].get("y").unwrap().as_text(), Some("2"));
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            let items = [alias.as_str(); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(matches!(parse(&text, 0), Err(YamlError::TooLarge { .. })));
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        assert!(parse(&deep, 0).is_err());
    }

    #[test]
    fn mistakes_have_lines() {
        assert!(matches!(parse("a: 1\nb: 2\na: 3\n", 0), Err(YamlError::DuplicateKey { line: 3, first: 1, .. })));
        assert!(matches!(parse("services:\n  a:\n    build: [1, 2\n", 0), Err(YamlError::Syntax { .. })));
        assert!(parse("a: &a [*a]\n", 0).is_err());
        assert!(matches!(parse("a:\n  <<: 1\n", 0), Err(YamlError::Merge { line: 2 })));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ \\n\\t:\\-\\[\\]{}&*!|>'\"%#?,a-c0-9<.~e_x]{0,60}") {
            let _ = parse(&text, 0);
        }

        #[test]
        fn no_unicode_panics(text in "\\PC*") {
            let _ = parse(&text, 0);
        }
    }
}
