//! JSON, CSV, base64 and URLs.

use std::collections::BTreeSet;

use super::super::super::build_target::csv_fields;
use super::super::value::Val;
use super::{Result, text};

/// Calls one of these; `None` where the name is another.
pub(super) fn call(name: &str, args: &[Val]) -> Option<Result> {
    Some(match name {
        "jsonencode" if args.iter().any(Val::has_unknown) => Ok(Val::Unknown),
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
