//! Bake files as blocks and attributes, whether they are HCL or JSON.
//!
//! JSON stands for HCL by HCL's own rules (hcl `json/spec.md`): the keys of `target`, `group`,
//! `variable` and `function` are labels, and every string is a template.

use hcl_edit::Span as _;
use hcl_edit::expr::{Array, Expression, Object, ObjectKey, ObjectValue};
use hcl_edit::structure::{Body, Structure};
use hcl_edit::template::StringTemplate;
use hcl_edit::{Decorated, Formatted, Number};

use super::super::yaml::{self, Node, ScalarKind, Value};

/// The block types that have a label.
const BLOCKS: [&str; 4] = ["target", "group", "variable", "function"];

/// An attribute with its line.
#[derive(Debug, Clone)]
pub(super) struct Attr {
    pub name: String,
    pub expr: Expression,
    pub line: usize,
    /// Where the entries of an object or the items of a list stand; items have no name.
    pub inner: Vec<(String, usize)>,
}

impl Attr {
    /// The line of an entry; that of the attribute where it is not known.
    pub fn entry_line(&self, name: &str) -> usize {
        let entry = self.inner.iter().find(|(known, _)| known == name);
        entry.map_or(self.line, |(_, line)| *line)
    }

    /// The line of an item; that of the attribute where it is not known.
    pub fn item_line(&self, at: usize) -> usize {
        self.inner.get(at).map_or(self.line, |(_, line)| *line)
    }
}

/// A block with its label.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub kind: String,
    pub label: String,
    pub line: usize,
    pub attrs: Vec<Attr>,
    pub blocks: Vec<Block>,
}

/// A file: its attributes and blocks.
#[derive(Debug, Clone, Default)]
pub(super) struct File {
    pub attrs: Vec<Attr>,
    pub blocks: Vec<Block>,
}

/// What is wrong with the text, and on which line.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub line: usize,
    pub message: String,
}

/// Where lines start, to turn an offset into a line.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect())
    }

    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|&start| start <= offset)
    }
}

/// Reads HCL's own syntax.
pub(super) fn parse_hcl(text: &str) -> Result<File, SyntaxError> {
    let body = hcl_edit::parser::parse_body(text)
        .map_err(|error| SyntaxError { line: error.location().line(), message: error.message().to_owned() })?;
    let lines = Lines::new(text);
    let (attrs, blocks) = body_parts(&body, &lines, 0)?;
    Ok(File { attrs, blocks })
}

type Parts = (Vec<Attr>, Vec<Block>);

fn body_parts(body: &Body, lines: &Lines, depth: usize) -> Result<Parts, SyntaxError> {
    let mut attrs: Vec<Attr> = Vec::new();
    let mut blocks = Vec::new();
    for structure in body {
        match structure {
            Structure::Attribute(attribute) => {
                let span = attribute.key.span().unwrap_or_default();
                attrs.push(Attr {
                    name: attribute.key.as_str().to_owned(),
                    expr: attribute.value.clone(),
                    line: lines.line(span.start),
                    inner: inner_lines(&attribute.value, lines),
                });
            }
            Structure::Block(block) => {
                let span = block.ident.span().unwrap_or_default();
                let line = lines.line(span.start);
                let kind = block.ident.as_str().to_owned();
                if depth == 0 && BLOCKS.contains(&kind.as_str()) && block.labels.len() != 1 {
                    return Err(SyntaxError { line, message: format!("a {kind} block needs one label, its name") });
                }
                let (inner, nested) = body_parts(&block.body, lines, depth + 1)?;
                blocks.push(Block {
                    kind,
                    label: block.labels.first().map(|l| l.as_str().to_owned()).unwrap_or_default(),
                    line,
                    attrs: inner,
                    blocks: nested,
                });
            }
        }
    }
    Ok((attrs, blocks))
}

/// Where the entries of an object or the items of a list stand.
fn inner_lines(expr: &Expression, lines: &Lines) -> Vec<(String, usize)> {
    let at = |span: Option<std::ops::Range<usize>>| lines.line(span.unwrap_or_default().start);
    match expr {
        Expression::Array(items) => items.iter().map(|i| (String::new(), at(i.span()))).collect(),
        Expression::Object(object) => object
            .iter()
            .filter_map(|(key, _)| match key {
                ObjectKey::Ident(name) => Some((name.as_str().to_owned(), at(name.span()))),
                ObjectKey::Expression(expr) => match expr {
                    Expression::String(text) => Some((text.value().clone(), at(text.span()))),
                    Expression::Variable(name) => Some((name.as_str().to_owned(), at(name.span()))),
                    _ => None,
                },
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The same for JSON.
fn inner_json_lines(node: &Node) -> Vec<(String, usize)> {
    match &node.value {
        Value::Map(entries) => entries.iter().map(|e| (e.key.clone(), e.line)).collect(),
        Value::Seq(items) => items.iter().map(|i| (String::new(), i.line)).collect(),
        Value::Null | Value::Scalar(..) => Vec::new(),
    }
}

/// Reads HCL in JSON.
pub(super) fn parse_json(text: &str) -> Result<File, SyntaxError> {
    // YAML gives the lines and takes more than JSON does: that it is JSON is looked at first.
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| SyntaxError { line: error.line(), message: error.to_string() })?;
    // A tab cannot stand inside a JSON string; YAML would mind it as indentation.
    let spaced = text.replace('\t', " ");
    let documents = yaml::parse(&spaced, 0).map_err(|error| SyntaxError { line: 1, message: error.to_string() })?;
    let mut file = File::default();
    let Some(top) = documents.first().and_then(Node::as_map) else {
        return Err(SyntaxError { line: 1, message: "the top level must be an object".to_owned() });
    };
    for entry in top {
        if entry.key == "//" {
            continue;
        }
        if BLOCKS.contains(&entry.key.as_str()) {
            labelled(&entry.key, &entry.node, &mut file.blocks)?;
        } else {
            file.attrs.push(Attr {
                name: entry.key.clone(),
                expr: expression(&entry.node)?,
                line: entry.line,
                inner: inner_json_lines(&entry.node),
            });
        }
    }
    Ok(file)
}

/// The blocks below a block type: an object of labels, or a list of such objects.
fn labelled(kind: &str, node: &Node, blocks: &mut Vec<Block>) -> Result<(), SyntaxError> {
    if let Some(items) = node.as_seq() {
        return items.iter().try_for_each(|item| labelled(kind, item, blocks));
    }
    let entries = node.as_map().ok_or_else(|| SyntaxError { line: node.line, message: format!("{kind:?} must be an object of names") })?;
    for entry in entries {
        if entry.key == "//" {
            continue;
        }
        let bodies: Vec<&Node> = match entry.node.as_seq() {
            Some(items) => items.iter().collect(),
            None => vec![&entry.node],
        };
        for body in bodies {
            let fields = body
                .as_map()
                .ok_or_else(|| SyntaxError { line: body.line, message: format!("{kind} {:?} must be an object", entry.key) })?;
            let mut attrs = Vec::new();
            for field in fields.iter().filter(|field| field.key != "//") {
                attrs.push(Attr {
                    name: field.key.clone(),
                    expr: expression(&field.node)?,
                    line: field.line,
                    inner: inner_json_lines(&field.node),
                });
            }
            blocks.push(Block { kind: kind.to_owned(), label: entry.key.clone(), line: entry.line, attrs, blocks: Vec::new() });
        }
    }
    Ok(())
}

fn expression(node: &Node) -> Result<Expression, SyntaxError> {
    Ok(match &node.value {
        Value::Null => Expression::null(),
        Value::Scalar(text, ScalarKind::Bool) => Expression::Bool(Decorated::new(text == "true")),
        Value::Scalar(text, ScalarKind::Str) => template(text, node.line)?,
        Value::Scalar(text, ScalarKind::Int | ScalarKind::Float) => {
            let number = text.parse::<i64>().map(Number::from).ok().or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64));
            match number {
                Some(number) => Expression::Number(Formatted::new(number)),
                None => Expression::from(text.as_str()),
            }
        }
        Value::Seq(items) => {
            let items: Result<Array, SyntaxError> = items.iter().map(expression).collect();
            Expression::Array(items?)
        }
        Value::Map(entries) => {
            let mut object = Object::new();
            for entry in entries {
                let key = ObjectKey::Expression(template(&entry.key, entry.line)?);
                object.insert(key, ObjectValue::new(expression(&entry.node)?));
            }
            Expression::Object(object)
        }
    })
}

fn template(text: &str, line: usize) -> Result<Expression, SyntaxError> {
    if !text.contains("${") && !text.contains("%{") {
        return Ok(Expression::from(text));
    }
    let template = hcl_edit::parser::parse_template(text).map_err(|error| SyntaxError { line, message: error.message().to_owned() })?;
    Ok(Expression::StringTemplate(StringTemplate::from(template)))
}
