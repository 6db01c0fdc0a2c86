//! Functions on lists and objects.

use std::collections::BTreeMap;

use super::super::value::Val;
use super::{Result, count, list, map, text, texts, whole};

fn unique(items: impl IntoIterator<Item = Val>) -> Vec<Val> {
    let mut out: Vec<Val> = Vec::new();
    for item in items {
        if !out.contains(&item) {
            out.push(item);
        }
    }
    out
}

/// A set, in cty's order: sorted.
pub(super) fn set(items: Vec<Val>) -> Val {
    let mut out = unique(items);
    out.sort_by(|a, b| match (a, b) {
        (Val::Str(a), Val::Str(b)) => a.cmp(b),
        (Val::Num(a), Val::Num(b)) => a.total_cmp(b),
        _ => std::cmp::Ordering::Equal,
    });
    Val::List(out)
}

/// Calls one of these; `None` where the name is another.
pub(super) fn call(name: &str, args: &[Val]) -> Option<Result> {
    Some(match name {
        "length" => match args.first() {
            Some(Val::List(items)) => Ok(count(items.len())),
            Some(Val::Map(entries)) => Ok(count(entries.len())),
            Some(Val::Unknown) => Ok(Val::Unknown),
            _ => Err("a collection is needed".to_owned()),
        },
        "keys" => map(args, 0).map(|m| Val::List(m.into_keys().map(Val::Str).collect())),
        "values" => map(args, 0).map(|m| Val::List(m.into_values().collect())),
        "lookup" => (|| {
            let entries = map(args, 0)?;
            match (entries.get(&text(args, 1)?), args.get(2)) {
                (Some(value), _) => Ok(value.clone()),
                (None, Some(default)) => Ok(default.clone()),
                (None, None) => Err("there is no such key".to_owned()),
            }
        })(),
        "merge" => (|| {
            let mut out = BTreeMap::new();
            for at in 0..args.len() {
                match &args[at] {
                    Val::Null => {}
                    Val::Unknown => return Ok(Val::Unknown),
                    _ => out.extend(map(args, at)?),
                }
            }
            Ok(Val::Map(out))
        })(),
        "zipmap" => (|| {
            let keys = texts(&list(args, 0)?)?;
            let values = list(args, 1)?;
            if keys.len() != values.len() {
                return Err("keys and values differ in number".to_owned());
            }
            Ok(Val::Map(keys.into_iter().zip(values).collect()))
        })(),
        "concat" => (|| {
            let mut out = Vec::new();
            for at in 0..args.len() {
                out.extend(list(args, at)?);
            }
            Ok(Val::List(out))
        })(),
        "flatten" => list(args, 0).map(|items| {
            let mut out = Vec::new();
            flatten(items, &mut out);
            Val::List(out)
        }),
        "distinct" => list(args, 0).map(|items| Val::List(unique(items))),
        "compact" => {
            list(args, 0).map(|items| Val::List(items.into_iter().filter(|i| !matches!(i, Val::Null) && *i != Val::str("")).collect()))
        }
        "coalesce" => args.iter().find(|a| !matches!(a, Val::Null)).cloned().ok_or_else(|| "all arguments are null".to_owned()),
        "coalescelist" => args
            .iter()
            .find(|a| matches!(a, Val::List(items) if !items.is_empty()))
            .cloned()
            .ok_or_else(|| "all lists are empty".to_owned()),
        "contains" | "sethaselement" => (|| Ok(Val::Bool(list(args, 0)?.contains(args.get(1).ok_or("too few arguments")?))))(),
        "index" => match (args.first(), args.get(1)) {
            (Some(collection), Some(key)) => super::super::ops::index(collection.clone(), key),
            _ => Err("two arguments are needed".to_owned()),
        },
        "hasindex" => match (args.first(), args.get(1)) {
            (Some(collection), Some(key)) => Ok(Val::Bool(super::super::ops::index(collection.clone(), key).is_ok())),
            _ => Err("two arguments are needed".to_owned()),
        },
        "indexof" => (|| {
            let wanted = args.get(1).ok_or("too few arguments")?;
            list(args, 0)?.iter().position(|i| i == wanted).map(count).ok_or_else(|| "item not found".to_owned())
        })(),
        "element" => (|| {
            let items = list(args, 0)?;
            let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
            if length == 0 {
                return Err("the list is empty".to_owned());
            }
            let at = usize::try_from(whole(args, 1)?.rem_euclid(length)).unwrap_or(0);
            Ok(items.get(at).cloned().unwrap_or(Val::Null))
        })(),
        "slice" => (|| {
            let items = list(args, 0)?;
            let from = usize::try_from(whole(args, 1)?).map_err(|_| "the start must not be negative")?;
            let to = usize::try_from(whole(args, 2)?).map_err(|_| "the end must not be negative")?;
            items.get(from..to).map(|s| Val::List(s.to_vec())).ok_or_else(|| "out of the list".to_owned())
        })(),
        "chunklist" => (|| {
            let items = list(args, 0)?;
            let size = usize::try_from(whole(args, 1)?).map_err(|_| "the size must not be negative")?;
            let size = if size == 0 { items.len().max(1) } else { size };
            Ok(Val::List(items.chunks(size).map(|c| Val::List(c.to_vec())).collect()))
        })(),
        "reverselist" => list(args, 0).map(|mut items| {
            items.reverse();
            Val::List(items)
        }),
        "sort" => (|| {
            let mut items = texts(&list(args, 0)?)?;
            items.sort();
            Ok(Val::List(items.into_iter().map(Val::Str).collect()))
        })(),
        "setunion" | "setintersection" | "setsubtract" | "setsymmetricdifference" => (|| {
            let mut acc = list(args, 0)?;
            for at in 1..args.len() {
                let other = list(args, at)?;
                acc = match name {
                    "setunion" => acc.into_iter().chain(other).collect(),
                    "setintersection" => acc.into_iter().filter(|i| other.contains(i)).collect(),
                    "setsubtract" => acc.into_iter().filter(|i| !other.contains(i)).collect(),
                    _ => {
                        let extra: Vec<Val> = other.iter().filter(|i| !acc.contains(i)).cloned().collect();
                        acc.into_iter().filter(|i| !other.contains(i)).chain(extra).collect()
                    }
                };
            }
            Ok(set(acc))
        })(),
        "setproduct" => (|| {
            let mut rows: Vec<Vec<Val>> = vec![Vec::new()];
            for at in 0..args.len() {
                let items = list(args, at)?;
                if rows.len().saturating_mul(items.len()) > 10_000 {
                    return Err("too many combinations".to_owned());
                }
                rows = rows
                    .iter()
                    .flat_map(|row| items.iter().map(move |item| [row.as_slice(), std::slice::from_ref(item)].concat()))
                    .collect();
            }
            Ok(Val::List(rows.into_iter().map(Val::List).collect()))
        })(),
        _ => return None,
    })
}

fn flatten(items: Vec<Val>, out: &mut Vec<Val>) {
    for item in items {
        match item {
            Val::List(inner) => flatten(inner, out),
            other => out.push(other),
        }
    }
}
