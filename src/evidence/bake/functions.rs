//! The functions that bake offers (buildx `bake/hclparser/stdlib.go`; cty's `function/stdlib`).
//!
//! What only the build itself can know (`timestamp`, `uuidv4`) and digests give [`Val::Unknown`].

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::super::build_target::csv_fields;
use super::value::{Val, number_text};

type Result = std::result::Result<Val, String>;

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

fn regex(pattern: &str) -> std::result::Result<Regex, String> {
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|_| format!("{pattern:?} is no regular expression"))
}

fn dispatch(name: &str, args: &[Val]) -> Option<Result> {
    let result = strings(name, args).or_else(|| numbers(name, args)).or_else(|| collections(name, args));
    result.or_else(|| encodings(name, args))
}

fn strings(name: &str, args: &[Val]) -> Option<Result> {
    let one = |f: &dyn Fn(&str) -> String| text(args, 0).map(|t| Val::Str(f(&t)));
    let two = |f: &dyn Fn(&str, &str) -> String| Ok(Val::Str(f(&text(args, 0)?, &text(args, 1)?)));
    Some(match name {
        "upper" => one(&str::to_uppercase),
        "lower" => one(&str::to_lowercase),
        "title" => one(&title),
        "chomp" => one(&|t| t.trim_end_matches(['\r', '\n']).to_owned()),
        "trimspace" => one(&|t| t.trim().to_owned()),
        "reverse" => one(&|t| t.chars().rev().collect()),
        "basename" => one(&base_name),
        "dirname" => one(&dir_name),
        "sanitize" => one(&|t| t.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect()),
        "trim" => two(&|t, cut| t.trim_matches(|c| cut.contains(c)).to_owned()),
        "trimprefix" => two(&|t, p| t.strip_prefix(p).unwrap_or(t).to_owned()),
        "trimsuffix" => two(&|t, s| t.strip_suffix(s).unwrap_or(t).to_owned()),
        "strlen" => text(args, 0).map(|t| count(t.chars().count())),
        "byteslen" => text(args, 0).map(|t| count(t.len())),
        "split" => (|| {
            let (separator, t) = (text(args, 0)?, text(args, 1)?);
            let parts: Vec<Val> =
                if separator.is_empty() { t.chars().map(Val::str).collect() } else { t.split(separator.as_str()).map(Val::str).collect() };
            Ok(Val::List(parts))
        })(),
        "join" => (|| {
            let separator = text(args, 0)?;
            let mut parts = Vec::new();
            for at in 1..args.len() {
                let items = list(args, at)?;
                if items.iter().any(Val::is_unknown) {
                    return Ok(Val::Unknown);
                }
                parts.extend(texts(&items)?);
            }
            Ok(Val::Str(parts.join(&separator)))
        })(),
        "replace" => (|| {
            let (t, old, new) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
            guard(t.len(), new.len())?;
            Ok(Val::Str(t.replace(&old, &new)))
        })(),
        "regex_replace" => (|| {
            let (t, pattern, new) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
            guard(t.len(), new.len())?;
            Ok(Val::Str(regex(&pattern)?.replace_all(&t, new.as_str()).into_owned()))
        })(),
        "regex" => (|| {
            let (pattern, t) = (text(args, 0)?, text(args, 1)?);
            let regex = regex(&pattern)?;
            let captures = regex.captures(&t).ok_or("pattern did not match any part of the given string")?;
            Ok(capture_value(&regex, &captures))
        })(),
        "regexall" => (|| {
            let (pattern, t) = (text(args, 0)?, text(args, 1)?);
            let regex = regex(&pattern)?;
            Ok(Val::List(regex.captures_iter(&t).map(|c| capture_value(&regex, &c)).collect()))
        })(),
        "substr" => (|| {
            let chars: Vec<char> = text(args, 0)?.chars().collect();
            let length = i64::try_from(chars.len()).unwrap_or(i64::MAX);
            let (mut from, wanted) = (whole(args, 1)?, whole(args, 2)?);
            if from < 0 {
                from = (from + length).max(0);
            }
            let from = from.min(length);
            let to = if wanted < 0 { length } else { (from + wanted).min(length) };
            let range = usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
            Ok(Val::Str(chars.get(range).unwrap_or_default().iter().collect()))
        })(),
        "indent" => (|| {
            let spaces = usize::try_from(whole(args, 0)?.clamp(0, 1000)).unwrap_or(0);
            let t = text(args, 1)?;
            guard(t.len(), spaces + 1)?;
            Ok(Val::Str(t.replace('\n', &format!("\n{}", " ".repeat(spaces)))))
        })(),
        "format" => (|| format(&text(args, 0)?, args.get(1..).unwrap_or_default()))(),
        "formatlist" => (|| {
            let pattern = text(args, 0)?;
            let rest = args.get(1..).unwrap_or_default();
            let length = rest.iter().filter_map(|a| if let Val::List(items) = a { Some(items.len()) } else { None }).max().unwrap_or(1);
            (0..length)
                .map(|at| {
                    let row: Vec<Val> = rest
                        .iter()
                        .map(|a| match a {
                            Val::List(items) => items.get(at).cloned().unwrap_or(Val::Null),
                            one => one.clone(),
                        })
                        .collect();
                    format(&pattern, &row)
                })
                .collect::<std::result::Result<Vec<_>, _>>()
                .map(Val::List)
        })(),
        "formatdate" => (|| format_date(&text(args, 0)?, &text(args, 1)?))(),
        _ => return None,
    })
}

/// Refuses a replacement that could multiply a text past all measure.
fn guard(length: usize, by: usize) -> std::result::Result<(), String> {
    if length.saturating_mul(by.max(1)) > 64 << 20 {
        return Err("the result would be too large".to_owned());
    }
    Ok(())
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .flat_map(|c| {
            let upper = start && c.is_alphabetic();
            start = !(c.is_alphanumeric() || c == '_' || c == '\'');
            if upper { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect()
}

/// Go's `path.Base`.
fn base_name(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return "/".to_owned();
    }
    trimmed.rsplit('/').next().unwrap_or(trimmed).to_owned()
}

/// Go's `path.Dir`.
fn dir_name(path: &str) -> String {
    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    if dir.is_empty() && path.starts_with('/') {
        return "/".to_owned();
    }
    super::super::build_target::normalize(std::path::Path::new(dir)).to_string_lossy().into_owned()
}

/// What a match gives: the text, its groups, or its named groups.
fn capture_value(regex: &Regex, captures: &regex::Captures<'_>) -> Val {
    let group = |m: Option<regex::Match<'_>>| m.map_or(Val::Null, |m| Val::str(m.as_str()));
    if regex.capture_names().flatten().next().is_some() {
        return Val::Map(regex.capture_names().flatten().map(|name| (name.to_owned(), group(captures.name(name)))).collect());
    }
    if captures.len() > 1 {
        return Val::List((1..captures.len()).map(|at| group(captures.get(at))).collect());
    }
    group(captures.get(0))
}

/// The verbs of `format`: `%s %d %v %t %q %f %g %x %o %b %%`, with flags, width and precision.
fn format(pattern: &str, args: &[Val]) -> Result {
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    let mut next = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = String::new();
        while let Some(&f) = chars.peek().filter(|f| "+-# 0".contains(**f)) {
            flags.push(f);
            chars.next();
        }
        let mut width = String::new();
        let mut precision: Option<String> = None;
        while let Some(&d) = chars.peek().filter(|d| d.is_ascii_digit() || **d == '.') {
            chars.next();
            match (&mut precision, d) {
                (None, '.') => precision = Some(String::new()),
                (Some(p), d) => p.push(d),
                (None, d) => width.push(d),
            }
        }
        let verb = chars.next().ok_or("the format ends in a %")?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = args.get(next).ok_or("not enough arguments for the format")?;
        next += 1;
        if value.is_unknown() {
            return Ok(Val::Unknown);
        }
        let precision = precision.map(|p| p.parse::<usize>().unwrap_or(0).min(100));
        let body = match verb {
            's' => value.to_text()?.unwrap_or_else(|| "null".to_owned()),
            'v' => match value {
                Val::List(_) | Val::Map(_) => value.to_json(),
                other => other.to_text()?.unwrap_or_else(|| "null".to_owned()),
            },
            'q' => Val::Str(value.to_text()?.unwrap_or_default()).to_json(),
            't' => value.to_bool()?.to_string(),
            'd' => number_text(value.to_num()?.trunc()),
            'f' => format!("{:.*}", precision.unwrap_or(6), value.to_num()?),
            'g' | 'e' => number_text(value.to_num()?),
            'x' | 'X' | 'o' | 'b' => {
                let number = whole(std::slice::from_ref(value), 0)?;
                match verb {
                    'x' => format!("{number:x}"),
                    'X' => format!("{number:X}"),
                    'o' => format!("{number:o}"),
                    _ => format!("{number:b}"),
                }
            }
            other => return Err(format!("unsupported format verb {other:?}")),
        };
        let body = match (verb, precision) {
            ('s' | 'q', Some(p)) => body.chars().take(p).collect(),
            _ => body,
        };
        let width = width.parse::<usize>().unwrap_or(0).min(1000);
        let missing = width.saturating_sub(body.chars().count());
        if flags.contains('-') {
            out.push_str(&body);
            out.push_str(&" ".repeat(missing));
        } else if flags.contains('0') && verb != 's' {
            let (sign, digits) = match body.strip_prefix('-') {
                Some(digits) => ("-", digits),
                None => ("", body.as_str()),
            };
            out.push_str(sign);
            out.push_str(&"0".repeat(missing));
            out.push_str(digits);
        } else {
            out.push_str(&" ".repeat(missing));
            out.push_str(&body);
        }
    }
    if next < args.len() {
        return Err("too many arguments for the format".to_owned());
    }
    Ok(Val::Str(out))
}

/// `formatdate` (cty `stdlib/datetime.go`): runs of one letter, quoted literals.
fn format_date(pattern: &str, stamp: &str) -> Result {
    let time: jiff::Timestamp = stamp.parse().map_err(|_| format!("{stamp:?} is no RFC 3339 time"))?;
    // The offset that is written is the one to print in.
    let offset =
        jiff::fmt::temporal::Pieces::parse(stamp).ok().and_then(|pieces| pieces.to_numeric_offset()).unwrap_or(jiff::tz::Offset::UTC);
    let at = offset.to_datetime(time);
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\'' {
            loop {
                match chars.next() {
                    Some('\'') if chars.peek() == Some(&'\'') => {
                        out.push('\'');
                        chars.next();
                    }
                    Some('\'') => break,
                    Some(other) => out.push(other),
                    None => return Err("a quote in the format does not end".to_owned()),
                }
            }
            continue;
        }
        if !c.is_ascii_alphabetic() {
            out.push(c);
            continue;
        }
        let mut run = 1;
        while chars.next_if_eq(&c).is_some() {
            run += 1;
        }
        let hour12 = match at.hour() % 12 {
            0 => 12,
            hour => hour,
        };
        let seconds = offset.seconds();
        let (sign, magnitude) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
        let (oh, om) = (magnitude / 3600, magnitude / 60 % 60);
        let piece = match (c, run) {
            ('Y', 4) => format!("{:04}", at.year()),
            ('Y', 2) => format!("{:02}", at.year().rem_euclid(100)),
            ('M', 4) => at.strftime("%B").to_string(),
            ('M', 3) => at.strftime("%b").to_string(),
            ('M', 2) => format!("{:02}", at.month()),
            ('M', 1) => at.month().to_string(),
            ('D', 2) => format!("{:02}", at.day()),
            ('D', 1) => at.day().to_string(),
            ('E', 4) => at.strftime("%A").to_string(),
            ('E', 3) => at.strftime("%a").to_string(),
            ('h', 2) => format!("{:02}", at.hour()),
            ('h', 1) => at.hour().to_string(),
            ('H', 2) => format!("{hour12:02}"),
            ('H', 1) => hour12.to_string(),
            ('A', 2) => if at.hour() < 12 { "AM" } else { "PM" }.to_owned(),
            ('a', 2) => if at.hour() < 12 { "am" } else { "pm" }.to_owned(),
            ('m', 2) => format!("{:02}", at.minute()),
            ('m', 1) => at.minute().to_string(),
            ('s', 2) => format!("{:02}", at.second()),
            ('s', 1) => at.second().to_string(),
            ('Z', 1) if seconds == 0 => "Z".to_owned(),
            ('Z', 3) if seconds == 0 => "UTC".to_owned(),
            ('Z', 1 | 5) => format!("{sign}{oh:02}:{om:02}"),
            ('Z', 3 | 4) => format!("{sign}{oh:02}{om:02}"),
            _ => return Err(format!("invalid date format letter {c:?} x{run}")),
        };
        out.push_str(&piece);
    }
    Ok(Val::Str(out))
}

fn numbers(name: &str, args: &[Val]) -> Option<Result> {
    let one = |f: &dyn Fn(f64) -> f64| num(args, 0).map(|a| Val::Num(f(a)));
    let two = |f: &dyn Fn(f64, f64) -> f64| Ok(Val::Num(f(num(args, 0)?, num(args, 1)?)));
    let test = |f: &dyn Fn(f64, f64) -> bool| Ok(Val::Bool(f(num(args, 0)?, num(args, 1)?)));
    let nonzero = |f: &dyn Fn(f64, f64) -> f64| {
        let (a, b) = (num(args, 0)?, num(args, 1)?);
        if b == 0.0 { Err("division by zero".to_owned()) } else { Ok(Val::Num(f(a, b))) }
    };
    let all = |f: &dyn Fn(f64, f64) -> f64| {
        let mut numbers = args.iter().map(Val::to_num);
        let first = numbers.next().ok_or("at least one number is needed")??;
        numbers.try_fold(first, |a, b| Ok(f(a, b?))).map(Val::Num)
    };
    let logic = |f: &dyn Fn(bool, bool) -> bool| {
        let (Some(a), Some(b)) = (args.first(), args.get(1)) else {
            return Err("too few arguments".to_owned());
        };
        Ok(Val::Bool(f(a.to_bool()?, b.to_bool()?)))
    };
    Some(match name {
        "absolute" => one(&f64::abs),
        "ceil" => one(&f64::ceil),
        "floor" => one(&f64::floor),
        "int" => one(&f64::trunc),
        "negate" => one(&|a| -a),
        "signum" => one(&|a| if a == 0.0 { 0.0 } else { a.signum() }),
        "add" => two(&|a, b| a + b),
        "subtract" => two(&|a, b| a - b),
        "multiply" => two(&|a, b| a * b),
        "divide" => nonzero(&|a, b| a / b),
        "modulo" => nonzero(&|a, b| a % b),
        "pow" => two(&f64::powf),
        "log" => two(&f64::log),
        "max" => all(&f64::max),
        "min" => all(&f64::min),
        "greaterthan" => test(&|a, b| a > b),
        "greaterthanorequalto" => test(&|a, b| a >= b),
        "lessthan" => test(&|a, b| a < b),
        "lessthanorequalto" => test(&|a, b| a <= b),
        "and" => logic(&|a, b| a && b),
        "or" => logic(&|a, b| a || b),
        "not" => args.first().ok_or_else(|| "too few arguments".to_owned()).and_then(Val::to_bool).map(|a| Val::Bool(!a)),
        "equal" | "notequal" => match args {
            [a, b] if a.is_unknown() || b.is_unknown() => Ok(Val::Unknown),
            [a, b] => Ok(Val::Bool((a == b) == (name == "equal"))),
            _ => Err("two arguments are needed".to_owned()),
        },
        "parseint" => (|| {
            let base = u32::try_from(whole(args, 1)?).ok().filter(|b| (2..=36).contains(b));
            let base = base.ok_or("base must be a whole number between 2 and 36")?;
            let value = i64::from_str_radix(&text(args, 0)?, base).map_err(|_| "not a number in this base")?;
            #[expect(clippy::cast_precision_loss, reason = "numbers are doubles here")]
            Ok(Val::Num(value as f64))
        })(),
        "range" => (|| {
            let (from, to) = if args.len() > 1 { (num(args, 0)?, num(args, 1)?) } else { (0.0, num(args, 0)?) };
            let step = if args.len() > 2 {
                num(args, 2)?
            } else if to < from {
                -1.0
            } else {
                1.0
            };
            if step == 0.0 || !step.is_finite() || ((to - from) / step).abs() > 1024.0 {
                return Err("more than 1024 values, or no step".to_owned());
            }
            let mut out = Vec::new();
            let mut at = from;
            while out.len() <= 1024 && ((step > 0.0 && at < to) || (step < 0.0 && at > to)) {
                out.push(Val::Num(at));
                at += step;
            }
            Ok(Val::List(out))
        })(),
        _ => return None,
    })
}

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
fn set(items: Vec<Val>) -> Val {
    let mut out = unique(items);
    out.sort_by(|a, b| match (a, b) {
        (Val::Str(a), Val::Str(b)) => a.cmp(b),
        (Val::Num(a), Val::Num(b)) => a.total_cmp(b),
        _ => std::cmp::Ordering::Equal,
    });
    Val::List(out)
}

fn collections(name: &str, args: &[Val]) -> Option<Result> {
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
            (Some(collection), Some(key)) => super::eval::index(collection.clone(), key),
            _ => Err("two arguments are needed".to_owned()),
        },
        "hasindex" => match (args.first(), args.get(1)) {
            (Some(collection), Some(key)) => Ok(Val::Bool(super::eval::index(collection.clone(), key).is_ok())),
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

fn encodings(name: &str, args: &[Val]) -> Option<Result> {
    Some(match name {
        "jsonencode" => args.first().map(|a| Val::Str(a.to_json())).ok_or_else(|| "too few arguments".to_owned()),
        "jsondecode" => (|| {
            let json = serde_json::from_str(&text(args, 0)?).map_err(|e| e.to_string())?;
            Ok(Val::from_json(json))
        })(),
        "csvdecode" => (|| csv_decode(&text(args, 0)?))(),
        "urlencode" => text(args, 0).map(|t| {
            Val::Str(
                t.bytes()
                    .map(|b| match b {
                        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
                        b' ' => "+".to_owned(),
                        other => format!("%{other:02X}"),
                    })
                    .collect(),
            )
        }),
        "base64encode" => text(args, 0).map(|t| Val::Str(base64_encode(t.as_bytes()))),
        "base64decode" => (|| {
            let bytes = base64_decode(&text(args, 0)?).ok_or("not base64")?;
            String::from_utf8(bytes).map(Val::Str).map_err(|_| "not UTF-8".to_owned())
        })(),
        _ => return None,
    })
}

fn csv_decode(text: &str) -> Result {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let header = csv_fields(lines.next().ok_or("missing header line")?)?;
    if header.iter().collect::<BTreeSet<_>>().len() != header.len() {
        return Err("duplicate column name".to_owned());
    }
    let mut rows = Vec::new();
    for line in lines {
        let fields = csv_fields(line)?;
        if fields.len() != header.len() {
            return Err("wrong number of fields".to_owned());
        }
        rows.push(Val::Map(header.iter().cloned().zip(fields.into_iter().map(Val::Str)).collect()));
    }
    Ok(Val::List(rows))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        for at in 0..4 {
            if at <= chunk.len() {
                out.push(char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')).collect();
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let padding = bytes.iter().rev().take_while(|&&b| b == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut out = Vec::new();
    let mut bits = 0_u32;
    for (at, byte) in bytes[..bytes.len() - padding].iter().enumerate() {
        let digit = ALPHABET.iter().position(|a| a == byte)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        match at % 4 {
            0 => {}
            1 => out.push((bits >> 4 & 255) as u8),
            2 => out.push((bits >> 2 & 255) as u8),
            _ => out.push((bits & 255) as u8),
        }
    }
    Some(out)
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
            Val::List(items) => Ok(set(items)),
            other => Err(format!("a {} is no set", other.kind())),
        },
        "list" | "tuple" if matches!(value, Val::List(_)) => Ok(value),
        "map" | "object" if matches!(value, Val::Map(_)) => Ok(value),
        "any" => Ok(value),
        other => Err(format!("cannot convert to {other}")),
    }
}
