//! Evaluates the expressions of a bake file.
//!
//! hcl-rs has an evaluator, but its functions are plain function pointers, and a bake file defines
//! functions of its own; and bake resolves variables when they are asked for (buildx
//! `bake/hclparser/hclparser.go`), which this does too. Work and size are bounded.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};

use hcl_edit::expr::{Conditional, Expression, ForExpr, FuncCall, ObjectKey, Traversal, TraversalOperator, UnaryOperator};
use hcl_edit::template::Strip;

use super::super::build_target::Env;
use super::functions;
use super::ops::{binary, from_env, index, items, keyword, type_name};
use super::syntax::{Attr, Block};
use super::template::{Single, template_of};
use super::value::Val;

/// Expressions that one file may evaluate.
const MAX_STEPS: usize = 500_000;
/// Expressions, calls and references that may nest; keeps the recursion within the stack.
const MAX_DEPTH: usize = 200;
/// Bytes that all values of one file may take together, copies counted: bounds time and memory.
const MAX_TOTAL_BYTES: usize = 256 << 20;
/// Levels that lists and objects may nest.
const MAX_VALUE_DEPTH: usize = 100;
/// Bytes that one value may take.
pub(super) const MAX_VALUE_BYTES: usize = 8 << 20;

pub(super) type Result<T> = std::result::Result<T, String>;

/// The names that a `for` or a function's parameters add.
pub(super) type Locals = Vec<(String, Val)>;

/// What a file defines, and what of it is evaluated.
pub(super) struct Evaluator<'a> {
    pub env: &'a Env<'a>,
    /// Given by bake itself (`BAKE_CMD_CONTEXT`) or `--var`.
    pub builtin: HashMap<String, String>,
    pub attrs: HashMap<String, Attr>,
    pub variables: HashMap<String, Block>,
    pub functions: HashMap<String, Block>,
    /// Targets and groups, for `target.NAME.args.KEY`.
    pub blocks: Vec<Block>,
    values: RefCell<HashMap<String, Val>>,
    progress: RefCell<HashSet<String>>,
    steps: Cell<usize>,
    bytes: Cell<usize>,
    depth: Cell<usize>,
}

impl<'a> Evaluator<'a> {
    pub fn new(env: &'a Env<'a>) -> Self {
        Self {
            env,
            builtin: HashMap::new(),
            attrs: HashMap::new(),
            variables: HashMap::new(),
            functions: HashMap::new(),
            blocks: Vec::new(),
            values: RefCell::new(HashMap::new()),
            progress: RefCell::new(HashSet::new()),
            steps: Cell::new(0),
            bytes: Cell::new(0),
            depth: Cell::new(0),
        }
    }

    /// Runs `work` one level deeper.
    fn deeper<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let depth = self.depth.get();
        if depth >= MAX_DEPTH {
            return Err("the expressions refer to one another too deep".to_owned());
        }
        self.depth.set(depth + 1);
        let result = work();
        self.depth.set(depth);
        result
    }

    // ---- names ---------------------------------------------------------------------------------

    /// The value of a global name.
    pub fn resolve(&self, name: &str) -> Result<Val> {
        if let Some(value) = self.values.borrow().get(name) {
            return Ok(value.clone());
        }
        if !self.progress.borrow_mut().insert(name.to_owned()) {
            return Err(format!("variable cycle not allowed for {name}"));
        }
        let value = self.deeper(|| self.resolve_new(name));
        self.progress.borrow_mut().remove(name);
        let value = value?;
        self.values.borrow_mut().insert(name.to_owned(), value.clone());
        Ok(value)
    }

    fn resolve_new(&self, name: &str) -> Result<Val> {
        if let Some(value) = self.builtin.get(name) {
            return Ok(Val::str(value));
        }
        if let Some(attr) = self.attrs.get(name) {
            return self.eval(&attr.expr, &Vec::new());
        }
        let Some(block) = self.variables.get(name) else {
            return Err(format!("variable {name:?} does not exist"));
        };
        let default = block.attrs.iter().find(|attr| attr.name == "default");
        let typed = block.attrs.iter().find(|attr| attr.name == "type").map(|a| type_name(&a.expr));
        let given = (self.env)(name);
        let Some(default) = default else {
            return match (given, typed) {
                (Some(text), Some(typed)) => from_env(name, &text, &typed),
                (Some(text), None) => Ok(Val::Str(text)),
                (None, Some(_)) => Ok(Val::Null),
                (None, None) => Ok(Val::str("")),
            };
        };
        let value = self.eval(&default.expr, &Vec::new())?;
        let Some(text) = given else {
            return Ok(value);
        };
        if let Some(typed) = typed {
            return from_env(name, &text, &typed);
        }
        match value {
            Val::Bool(_) => from_env(name, &text, "bool"),
            Val::Num(_) => from_env(name, &text, "number"),
            Val::Str(_) | Val::Null | Val::Unknown => Ok(Val::Str(text)),
            other => Err(format!("unsupported type {} for variable {name}", other.kind())),
        }
    }

    /// The value of an attribute of another target or group.
    fn block_attr(&self, kind: &str, name: &str, attr: &str) -> Result<Val> {
        let key = format!("{kind}.{name}.{attr}");
        if let Some(value) = self.values.borrow().get(&key) {
            return Ok(value.clone());
        }
        let mut known = false;
        let mut found = None;
        for block in self.blocks.iter().filter(|b| b.kind == kind) {
            for (expanded, locals) in self.expand(block)? {
                if expanded == name {
                    known = true;
                    if let Some(attr) = block.attrs.iter().find(|a| a.name == attr) {
                        found = Some((attr, locals));
                    }
                }
            }
        }
        if !known {
            return Err(format!("{kind} {name:?} does not exist"));
        }
        let Some((attr, locals)) = found else {
            return Ok(Val::Null);
        };
        if !self.progress.borrow_mut().insert(key.clone()) {
            return Err(format!("reference cycle not allowed for {key}"));
        }
        let value = self.deeper(|| self.eval(&attr.expr, &locals));
        self.progress.borrow_mut().remove(&key);
        let value = value?;
        self.values.borrow_mut().insert(key, value.clone());
        Ok(value)
    }

    /// The targets that a block stands for: itself, or one for each combination of its matrix.
    pub fn expand(&self, block: &Block) -> Result<Vec<(String, Locals)>> {
        let attr = |name: &str| block.attrs.iter().find(|attr| attr.name == name);
        let Some(matrix) = attr("matrix") else {
            if attr("name").is_some() && block.kind == "target" {
                return Err("name requires matrix".to_owned());
            }
            return Ok(vec![(block.label.clone(), Vec::new())]);
        };
        if block.kind != "target" {
            return Err("matrix is not supported for groups".to_owned());
        }
        let Val::Map(matrix) = self.eval(&matrix.expr, &Vec::new())? else {
            return Err("matrix must be a map".to_owned());
        };
        let mut combinations: Vec<Locals> = vec![Vec::new()];
        for (key, values) in matrix {
            let values = match values {
                Val::List(values) => values,
                Val::Map(values) => values.into_values().collect(),
                _ => return Err("matrix values must be a list".to_owned()),
            };
            if combinations.len().saturating_mul(values.len()) > 10_000 {
                return Err("the matrix has too many combinations".to_owned());
            }
            combinations = values
                .iter()
                .flat_map(|value| {
                    let key = &key;
                    combinations.iter().map(move |locals| {
                        let mut locals = locals.clone();
                        locals.push((key.clone(), value.clone()));
                        locals
                    })
                })
                .collect();
        }
        let mut out: Vec<(String, Locals)> = Vec::new();
        let mut names = HashSet::new();
        for locals in combinations {
            let name = match attr("name") {
                None => block.label.clone(),
                Some(name) => self.eval(&name.expr, &locals)?.to_text()?.ok_or("the name of a target is not known")?,
            };
            if !names.insert(name.clone()) {
                return Err(format!("duplicate name {name:?}"));
            }
            out.push((name, locals));
        }
        Ok(out)
    }

    // ---- expressions ---------------------------------------------------------------------------

    /// The value of an expression.
    pub fn eval(&self, expr: &Expression, locals: &Locals) -> Result<Val> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MAX_STEPS {
            return Err("the expressions take too long".to_owned());
        }
        let value = self.deeper(|| self.eval_inner(expr, locals))?;
        match value.size(MAX_VALUE_DEPTH) {
            Some(size) if size <= MAX_VALUE_BYTES => {
                self.bytes.set(self.bytes.get() + size);
                if self.bytes.get() > MAX_TOTAL_BYTES {
                    return Err("the values grow too large".to_owned());
                }
                Ok(value)
            }
            _ => Err("a value grows too large".to_owned()),
        }
    }

    fn eval_inner(&self, expr: &Expression, locals: &Locals) -> Result<Val> {
        Ok(match expr {
            Expression::Null(_) => Val::Null,
            Expression::Bool(value) => Val::Bool(*value.value()),
            Expression::Number(number) => Val::Num(number.value().as_f64().unwrap_or(0.0)),
            Expression::String(text) => Val::str(text.value()),
            Expression::Array(items) => Val::List(items.iter().map(|item| self.eval(item, locals)).collect::<Result<_>>()?),
            Expression::Object(object) => {
                let mut map = BTreeMap::new();
                for (key, value) in object.iter() {
                    let Some(key) = self.object_key(key, locals)? else {
                        return Ok(Val::Unknown);
                    };
                    map.insert(key, self.eval(value.expr(), locals)?);
                }
                Val::Map(map)
            }
            Expression::StringTemplate(template) => match template_of(template) {
                // "${x}" alone is x itself, whatever its type.
                Single::Expr(inner) => self.eval(inner, locals)?,
                Single::No => self.elements(template.iter().collect(), Strip::None, Strip::None, locals)?,
            },
            Expression::HeredocTemplate(heredoc) => self.template(&heredoc.template, locals)?,
            Expression::Parenthesis(inner) => self.eval(inner.inner(), locals)?,
            Expression::Variable(name) => self.name(name.as_str(), locals)?,
            Expression::Conditional(conditional) => self.conditional(conditional, locals)?,
            Expression::FuncCall(call) => self.deeper(|| self.call(call, locals))?,
            Expression::Traversal(traversal) => self.traversal(traversal, locals)?,
            Expression::UnaryOp(op) => {
                let value = self.eval(&op.expr, locals)?;
                if value.is_unknown() {
                    return Ok(Val::Unknown);
                }
                match op.operator.value() {
                    UnaryOperator::Neg => Val::Num(-value.to_num()?),
                    UnaryOperator::Not => Val::Bool(!value.to_bool()?),
                }
            }
            Expression::BinaryOp(op) => {
                let left = self.eval(&op.lhs_expr, locals)?;
                let right = self.eval(&op.rhs_expr, locals)?;
                binary(*op.operator.value(), &left, &right)?
            }
            Expression::ForExpr(for_expr) => self.for_expr(for_expr, locals)?,
        })
    }

    fn name(&self, name: &str, locals: &Locals) -> Result<Val> {
        match locals.iter().rev().find(|(known, _)| known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.resolve(name),
        }
    }

    fn object_key(&self, key: &ObjectKey, locals: &Locals) -> Result<Option<String>> {
        match key {
            ObjectKey::Ident(name) => Ok(Some(name.as_str().to_owned())),
            ObjectKey::Expression(Expression::Variable(name)) => Ok(Some(name.as_str().to_owned())),
            ObjectKey::Expression(expr) => match self.eval(expr, locals)? {
                Val::Null => Err("a key must not be null".to_owned()),
                value => value.to_text(),
            },
        }
    }

    fn conditional(&self, conditional: &Conditional, locals: &Locals) -> Result<Val> {
        let condition = self.eval(&conditional.cond_expr, locals)?;
        if condition.is_unknown() {
            return Ok(Val::Unknown);
        }
        let (taken, other) = if condition.to_bool()? {
            (&conditional.true_expr, &conditional.false_expr)
        } else {
            (&conditional.false_expr, &conditional.true_expr)
        };
        let value = self.eval(taken, locals)?;
        // Both sides get one type: a number beside a string becomes a string.
        if matches!(value, Val::Num(_) | Val::Bool(_)) && matches!(other, Expression::String(_) | Expression::StringTemplate(_)) {
            return Ok(value.to_text()?.map_or(Val::Null, Val::Str));
        }
        Ok(value)
    }

    fn for_expr(&self, expr: &ForExpr, locals: &Locals) -> Result<Val> {
        let collection = self.eval(&expr.intro.collection_expr, locals)?;
        let Some(items) = items(collection)? else {
            return Ok(Val::Unknown);
        };
        let mut list = Vec::new();
        let mut map: BTreeMap<String, Val> = BTreeMap::new();
        let mut inner = locals.clone();
        let base = inner.len();
        for (key, value) in items {
            inner.truncate(base);
            if let Some(name) = &expr.intro.key_var {
                inner.push((name.as_str().to_owned(), key));
            }
            inner.push((expr.intro.value_var.as_str().to_owned(), value));
            if let Some(condition) = &expr.cond {
                let condition = self.eval(&condition.expr, &inner)?;
                if condition.is_unknown() {
                    return Ok(Val::Unknown);
                }
                if !condition.to_bool()? {
                    continue;
                }
            }
            let value = self.eval(&expr.value_expr, &inner)?;
            let Some(key) = &expr.key_expr else {
                list.push(value);
                continue;
            };
            let Some(key) = self.eval(key, &inner)?.to_text()? else {
                return Ok(Val::Unknown);
            };
            if expr.grouping {
                match map.entry(key).or_insert_with(|| Val::List(Vec::new())) {
                    Val::List(group) => group.push(value),
                    _ => return Err("a group is no list".to_owned()),
                }
            } else if map.insert(key.clone(), value).is_some() {
                return Err(format!("the key {key:?} comes twice out of the for"));
            }
        }
        Ok(if expr.key_expr.is_some() { Val::Map(map) } else { Val::List(list) })
    }

    fn traversal(&self, traversal: &Traversal, locals: &Locals) -> Result<Val> {
        let mut operators = traversal.operators.iter().map(|o| o.value()).collect::<Vec<_>>();
        let mut value = None;
        if let Expression::Variable(root) = &traversal.expr {
            let kind = root.as_str();
            let is_local = locals.iter().any(|(name, _)| name == kind);
            if (kind == "target" || kind == "group") && !is_local {
                let (Some(TraversalOperator::GetAttr(name)), Some(TraversalOperator::GetAttr(attr))) =
                    (operators.first(), operators.get(1))
                else {
                    return Err(format!("cannot access {kind} as a variable"));
                };
                value = Some(self.block_attr(kind, name.as_str(), attr.as_str())?);
                operators.drain(..2);
            }
        }
        let value = match value {
            Some(value) => value,
            None => self.eval(&traversal.expr, locals)?,
        };
        self.traverse(value, &operators, locals)
    }

    fn traverse(&self, mut value: Val, operators: &[&TraversalOperator], locals: &Locals) -> Result<Val> {
        for (at, operator) in operators.iter().enumerate() {
            if value.is_unknown() {
                return Ok(Val::Unknown);
            }
            value = match operator {
                TraversalOperator::GetAttr(name) => index(value, &Val::str(name.as_str()))?,
                TraversalOperator::Index(expr) => {
                    let key = self.eval(expr, locals)?;
                    index(value, &key)?
                }
                TraversalOperator::LegacyIndex(number) => {
                    #[expect(clippy::cast_precision_loss, reason = "an index of a list in memory is small")]
                    let number = *number.value() as f64;
                    index(value, &Val::Num(number))?
                }
                TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                    let elements = match value {
                        Val::Null => Vec::new(),
                        Val::List(elements) => elements,
                        one => vec![one],
                    };
                    let rest = &operators[at + 1..];
                    // `.*` takes the attributes behind it along, `[*]` the indexes too.
                    let own = match operator {
                        TraversalOperator::FullSplat(_) => rest.len(),
                        _ => rest.iter().take_while(|o| matches!(o, TraversalOperator::GetAttr(_))).count(),
                    };
                    let list = elements
                        .into_iter()
                        .map(|element| self.deeper(|| self.traverse(element, &rest[..own], locals)))
                        .collect::<Result<_>>()?;
                    return self.deeper(|| self.traverse(Val::List(list), &rest[own..], locals));
                }
            };
        }
        Ok(value)
    }

    // ---- calls ---------------------------------------------------------------------------------

    fn call(&self, call: &FuncCall, locals: &Locals) -> Result<Val> {
        let name = call.name.name.as_str();
        let args: Vec<&Expression> = call.args.iter().collect();
        match name {
            // These two look at failures, so their arguments are not evaluated first.
            "try" => {
                for arg in &args {
                    if let Ok(value) = self.eval(arg, locals) {
                        return Ok(value);
                    }
                }
                return Err("no call to try succeeded".to_owned());
            }
            "can" => {
                let [arg] = args.as_slice() else {
                    return Err("can takes one argument".to_owned());
                };
                return Ok(Val::Bool(self.eval(arg, locals).is_ok()));
            }
            "convert" => {
                let [value, typed] = args.as_slice() else {
                    return Err("convert takes two arguments".to_owned());
                };
                return functions::convert(self.eval(value, locals)?, &type_name(typed));
            }
            _ => {}
        }
        let mut values = args.iter().map(|a| self.eval(a, locals)).collect::<Result<Vec<_>>>()?;
        if call.args.expand_final() {
            match values.pop() {
                Some(Val::List(items)) => values.extend(items),
                _ => return Err(format!("{name}: the last argument must be a list")),
            }
        }
        // A file cannot define again what bake offers (resolveFunction looks there first).
        if let Some(result) = functions::call(name, &values) {
            return result.map_err(|message| format!("{name}: {message}"));
        }
        match self.functions.get(name) {
            Some(function) => self.user_function(function, values),
            None => Err(format!("function {name:?} does not exist")),
        }
    }

    fn user_function(&self, function: &Block, mut values: Vec<Val>) -> Result<Val> {
        let name = &function.label;
        let attr = |key: &str| function.attrs.iter().find(|a| a.name == key);
        let result = attr("result").ok_or_else(|| format!("empty result not allowed for {name}"))?;
        let params = attr("params").ok_or_else(|| format!("empty params not allowed for {name}"))?;
        let Expression::Array(params) = &params.expr else {
            return Err(format!("the params of {name} must be a list"));
        };
        let params: Vec<String> = params.iter().map(keyword).collect::<Result<_>>()?;
        let variadic = attr("variadic_params").map(|a| keyword(&a.expr)).transpose()?;
        let enough = match &variadic {
            Some(_) => values.len() >= params.len(),
            None => values.len() == params.len(),
        };
        if !enough {
            return Err(format!("{name} takes {} arguments, not {}", params.len(), values.len()));
        }
        let rest = values.split_off(params.len());
        let mut locals: Locals = params.into_iter().zip(values).collect();
        if let Some(variadic) = variadic {
            locals.push((variadic, Val::List(rest)));
        }
        // A function sees its parameters and the globals, not the caller's names.
        self.eval(&result.expr, &locals)
    }
}
