//! Operators, indexes and the conversions that names and types ask for.

use std::collections::BTreeMap;

use hcl_edit::expr::{BinaryOperator, Expression};

use super::super::build_target::csv_fields;
use super::eval::Result;
use super::value::Val;

/// Keys and values of a collection; `None` where it is not known.
pub(super) fn items(collection: Val) -> Result<Option<Vec<(Val, Val)>>> {
    match collection {
        Val::List(items) => Ok(Some(
            items
                .into_iter()
                .enumerate()
                .map(|(at, item)| {
                    #[expect(clippy::cast_precision_loss, reason = "an index of a list in memory is small")]
                    let at = at as f64;
                    (Val::Num(at), item)
                })
                .collect(),
        )),
        Val::Map(entries) => Ok(Some(entries.into_iter().map(|(k, v)| (Val::Str(k), v)).collect())),
        Val::Unknown => Ok(None),
        other => Err(format!("for cannot go over a {}", other.kind())),
    }
}

/// An element of a list or an object.
pub(super) fn index(value: Val, key: &Val) -> Result<Val> {
    match value {
        Val::Unknown => Ok(Val::Unknown),
        Val::Map(mut entries) => {
            let Some(key) = key.to_text()? else {
                return Ok(Val::Unknown);
            };
            entries.remove(&key).ok_or_else(|| format!("there is no {key:?} in it"))
        }
        Val::List(mut items) => {
            let number = key.to_num()?;
            if number.fract() == 0.0 && number >= 0.0 && number < items.len() as f64 {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
                let at = number as usize;
                Ok(items.swap_remove(at))
            } else {
                Err(format!("there is no element {number} in a list of {}", items.len()))
            }
        }
        other => Err(format!("a {} has no elements", other.kind())),
    }
}

/// What an operator makes of two values.
pub(super) fn binary(operator: BinaryOperator, left: &Val, right: &Val) -> Result<Val> {
    if left.is_unknown() || right.is_unknown() {
        return Ok(Val::Unknown);
    }
    let numbers = || Ok::<_, String>((left.to_num()?, right.to_num()?));
    Ok(match operator {
        BinaryOperator::Eq => Val::Bool(left == right),
        BinaryOperator::NotEq => Val::Bool(left != right),
        BinaryOperator::And => Val::Bool(left.to_bool()? && right.to_bool()?),
        BinaryOperator::Or => Val::Bool(left.to_bool()? || right.to_bool()?),
        BinaryOperator::Less => numbers().map(|(a, b)| Val::Bool(a < b))?,
        BinaryOperator::LessEq => numbers().map(|(a, b)| Val::Bool(a <= b))?,
        BinaryOperator::Greater => numbers().map(|(a, b)| Val::Bool(a > b))?,
        BinaryOperator::GreaterEq => numbers().map(|(a, b)| Val::Bool(a >= b))?,
        BinaryOperator::Plus => numbers().map(|(a, b)| Val::Num(a + b))?,
        BinaryOperator::Minus => numbers().map(|(a, b)| Val::Num(a - b))?,
        BinaryOperator::Mul => numbers().map(|(a, b)| Val::Num(a * b))?,
        BinaryOperator::Div | BinaryOperator::Mod => {
            let (a, b) = numbers()?;
            if b == 0.0 {
                return Err("division by zero".to_owned());
            }
            Val::Num(if operator == BinaryOperator::Div { a / b } else { a % b })
        }
    })
}

/// A name that stands alone, as in a list of parameters; in JSON a string.
pub(super) fn keyword(expr: &Expression) -> Result<String> {
    match expr {
        Expression::Variable(name) => Ok(name.as_str().to_owned()),
        Expression::String(name) => Ok(name.value().clone()),
        _ => Err("each parameter must be a name".to_owned()),
    }
}

/// The outermost name of a type expression: `list(string)` is `list`.
pub(super) fn type_name(expr: &Expression) -> String {
    match expr {
        Expression::Variable(name) => name.as_str().to_owned(),
        Expression::FuncCall(call) => call.name.name.as_str().to_owned(),
        Expression::String(text) => text.value().split('(').next().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

/// A variable's value from the environment, by its type; lists are CSV.
pub(super) fn from_env(name: &str, text: &str, typed: &str) -> Result<Val> {
    match typed {
        "bool" => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Val::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Val::Bool(false)),
            _ => Err(format!("failed to parse {name} as bool")),
        },
        "number" => {
            text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Val::Num).ok_or_else(|| format!("failed to parse {name} as number"))
        }
        "list" | "set" | "tuple" => {
            let fields = csv_fields(text)?;
            Ok(Val::List(fields.into_iter().map(Val::Str).collect()))
        }
        "map" | "object" => {
            let mut map = BTreeMap::new();
            for field in csv_fields(text)? {
                let (key, value) = field.split_once('=').ok_or_else(|| format!("failed to parse {name}: {field:?} is no key=value"))?;
                map.insert(key.to_owned(), Val::str(value));
            }
            Ok(Val::Map(map))
        }
        _ => Ok(Val::str(text)),
    }
}
