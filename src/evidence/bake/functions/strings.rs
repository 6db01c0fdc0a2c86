//! Functions on texts, patterns and dates.

use regex::Regex;

use super::super::value::{Val, number_text};
use super::{Result, count, list, text, texts, whole};

fn regex(pattern: &str) -> std::result::Result<Regex, String> {
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|_| format!("{pattern:?} is no regular expression"))
}

/// Calls one of these; `None` where the name is another.
pub(super) fn call(name: &str, args: &[Val]) -> Option<Result> {
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
    super::super::super::build_target::normalize(std::path::Path::new(dir)).to_string_lossy().into_owned()
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
