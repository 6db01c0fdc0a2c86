//! Templates: texts with interpolations and directives in them.

use hcl_edit::expr::Expression;
use hcl_edit::template::{Directive, Element, Strip, Template};

use super::eval::{Evaluator, Locals, MAX_VALUE_BYTES, Result};
use super::ops::items;
use super::value::Val;

impl Evaluator<'_> {
    pub(super) fn template(&self, template: &Template, locals: &Locals) -> Result<Val> {
        self.elements(template.iter().collect(), Strip::None, Strip::None, locals)
    }

    /// Joins the parts of a template; `before` and `after` are the `~` of what encloses it.
    pub(super) fn elements(&self, elements: Vec<&Element>, before: Strip, after: Strip, locals: &Locals) -> Result<Val> {
        let mut out = String::new();
        for (at, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(text) => {
                    let mut text = text.value().as_str();
                    let previous = if at == 0 { before } else { outer_end(elements[at - 1]) };
                    let next = elements.get(at + 1).map_or(after, |e| outer_start(e));
                    if previous.strip_end() {
                        text = trim_start(text);
                    }
                    if next.strip_start() {
                        text = trim_end(text);
                    }
                    out.push_str(text);
                }
                Element::Interpolation(interpolation) => match self.eval(&interpolation.expr, locals)? {
                    Val::Null => return Err("null cannot stand in a string".to_owned()),
                    value => match value.to_text()? {
                        Some(text) => out.push_str(&text),
                        None => return Ok(Val::Unknown),
                    },
                },
                Element::Directive(directive) => match self.directive(directive, locals)? {
                    Val::Str(text) => out.push_str(&text),
                    other => return Ok(other),
                },
            }
            if out.len() > MAX_VALUE_BYTES {
                return Err("a value grows too large".to_owned());
            }
        }
        Ok(Val::Str(out))
    }

    fn directive(&self, directive: &Directive, locals: &Locals) -> Result<Val> {
        let body = |template: &Template, before, after, locals: &Locals| self.elements(template.iter().collect(), before, after, locals);
        match directive {
            Directive::If(dir) => {
                let condition = self.eval(&dir.if_expr.cond_expr, locals)?;
                if condition.is_unknown() {
                    return Ok(Val::Unknown);
                }
                let end = dir.endif_expr.strip;
                if condition.to_bool()? {
                    let end = dir.else_expr.as_ref().map_or(end, |e| e.strip);
                    body(&dir.if_expr.template, dir.if_expr.strip, end, locals)
                } else if let Some(otherwise) = &dir.else_expr {
                    body(&otherwise.template, otherwise.strip, end, locals)
                } else {
                    Ok(Val::str(""))
                }
            }
            Directive::For(dir) => {
                let Some(items) = items(self.eval(&dir.for_expr.collection_expr, locals)?)? else {
                    return Ok(Val::Unknown);
                };
                let mut out = String::new();
                let mut inner = locals.clone();
                let base = inner.len();
                for (key, value) in items {
                    inner.truncate(base);
                    if let Some(name) = &dir.for_expr.key_var {
                        inner.push((name.as_str().to_owned(), key));
                    }
                    inner.push((dir.for_expr.value_var.as_str().to_owned(), value));
                    match body(&dir.for_expr.template, dir.for_expr.strip, dir.endfor_expr.strip, &inner)? {
                        Val::Str(text) => out.push_str(&text),
                        other => return Ok(other),
                    }
                    if out.len() > MAX_VALUE_BYTES {
                        return Err("a value grows too large".to_owned());
                    }
                }
                Ok(Val::Str(out))
            }
        }
    }
}

/// What a template that is one interpolation alone stands for.
pub(super) enum Single<'e> {
    Expr(&'e Expression),
    No,
}

/// Looks whether a template is one interpolation and nothing else.
pub(super) fn template_of(template: &hcl_edit::template::StringTemplate) -> Single<'_> {
    let mut elements = template.iter();
    match (elements.next(), elements.next()) {
        (Some(Element::Interpolation(only)), None) => Single::Expr(&only.expr),
        _ => Single::No,
    }
}

/// The `~` of an element towards what follows it.
fn outer_end(element: &Element) -> Strip {
    match element {
        Element::Literal(_) => Strip::None,
        Element::Interpolation(i) => i.strip,
        Element::Directive(d) => match d.as_ref() {
            Directive::If(dir) => dir.endif_expr.strip,
            Directive::For(dir) => dir.endfor_expr.strip,
        },
    }
}

/// The `~` of an element towards what stands before it.
fn outer_start(element: &Element) -> Strip {
    match element {
        Element::Literal(_) => Strip::None,
        Element::Interpolation(i) => i.strip,
        Element::Directive(d) => match d.as_ref() {
            Directive::If(dir) => dir.if_expr.strip,
            Directive::For(dir) => dir.for_expr.strip,
        },
    }
}

fn trim_start(text: &str) -> &str {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() && c != '\n' && c != '\r');
    text.strip_prefix("\r\n").or_else(|| text.strip_prefix('\n')).unwrap_or(text)
}

fn trim_end(text: &str) -> &str {
    let text = text.trim_end_matches(|c: char| c.is_whitespace() && c != '\n' && c != '\r');
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}
