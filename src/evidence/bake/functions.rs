//! The functions that bake offers (buildx `bake/hclparser/stdlib.go`; cty's `function/stdlib`).
//!
//! What only the build itself can know (`timestamp`, `uuidv4`) and digests give [`Val::Unknown`].

use std::collections::BTreeMap;

use super::value::Val;

mod collections;
mod encodings;
mod numbers;
mod strings;

type Result = std::result::Result<Val, String>;

/// Items that a list may have which a function takes.
const MAX_ITEMS: usize = 20_000;

/// Functions whose result is not worked out here.
const UNKNOWN: [&str; 16] = [
    "bcrypt",
    "cidrhost",
    "cidrnetmask",
    "cidrsubnet",
    "cidrsubnets",
    "homedir",
    "md5",
    "rsadecrypt",
    "sha1",
    "sha256",
    "sha512",
    "timestamp",
    "timeadd",
    "unixtimestampparse",
    "uuidv4",
    "uuidv5",
];

/// Functions that look into a collection whose elements may be null or unknown.
const TAKES_NULL: [&str; 10] = ["coalesce", "concat", "flatten", "jsonencode", "length", "lookup", "merge", "equal", "notequal", "compact"];

/// Calls a function; `None` where bake has none of this name.
pub(super) fn call(name: &str, args: &[Val]) -> Option<Result> {
    if UNKNOWN.contains(&name) {
        return Some(Ok(Val::Unknown));
    }
    if !TAKES_NULL.contains(&name) && args.iter().any(Val::is_unknown) {
        // Only for names that exist: an unknown function stays an error.
        return dispatch(name, &[]).map(|_| Ok(Val::Unknown));
    }
    dispatch(name, args)
}

fn text(args: &[Val], at: usize) -> std::result::Result<String, String> {
    args.get(at).ok_or("too few arguments")?.to_text()?.ok_or_else(|| "an argument must not be null".to_owned())
}

fn num(args: &[Val], at: usize) -> std::result::Result<f64, String> {
    args.get(at).ok_or("too few arguments")?.to_num()
}

/// A whole number that fits a small range.
fn whole(args: &[Val], at: usize) -> std::result::Result<i64, String> {
    let number = num(args, at)?;
    if number.fract() != 0.0 || number.abs() > 1e9 {
        return Err("a whole number is needed".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    let whole = number as i64;
    Ok(whole)
}

fn list(args: &[Val], at: usize) -> std::result::Result<Vec<Val>, String> {
    match args.get(at) {
        // Some functions compare all items with all others.
        Some(Val::List(items)) if items.len() > MAX_ITEMS => Err("the list is too long".to_owned()),
        Some(Val::List(items)) => Ok(items.clone()),
        Some(other) => Err(format!("a list is needed, not a {}", other.kind())),
        None => Err("too few arguments".to_owned()),
    }
}

fn map(args: &[Val], at: usize) -> std::result::Result<BTreeMap<String, Val>, String> {
    match args.get(at) {
        Some(Val::Map(entries)) => Ok(entries.clone()),
        Some(other) => Err(format!("an object is needed, not a {}", other.kind())),
        None => Err("too few arguments".to_owned()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "lengths of what is in memory are small")]
fn count(n: usize) -> Val {
    Val::Num(n as f64)
}

fn texts(items: &[Val]) -> std::result::Result<Vec<String>, String> {
    items.iter().map(|item| item.to_text()?.ok_or_else(|| "an element must not be null".to_owned())).collect()
}

fn dispatch(name: &str, args: &[Val]) -> Option<Result> {
    let result = strings::call(name, args).or_else(|| numbers::call(name, args)).or_else(|| collections::call(name, args));
    result.or_else(|| encodings::call(name, args))
}

/// `convert(VALUE, TYPE)`.
pub(super) fn convert(value: Val, typed: &str) -> Result {
    if value.is_unknown() || value == Val::Null {
        return Ok(value);
    }
    match typed {
        "string" => Ok(value.to_text()?.map_or(Val::Null, Val::Str)),
        "number" => value.to_num().map(Val::Num),
        "bool" => value.to_bool().map(Val::Bool),
        "set" => match value {
            Val::List(items) => Ok(collections::set(items)),
            other => Err(format!("a {} is no set", other.kind())),
        },
        "list" | "tuple" if matches!(value, Val::List(_)) => Ok(value),
        "map" | "object" if matches!(value, Val::Map(_)) => Ok(value),
        "any" => Ok(value),
        other => Err(format!("cannot convert to {other}")),
    }
}
