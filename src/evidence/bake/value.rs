//! The values of HCL expressions and their conversions (cty's `convert` package).

use std::collections::BTreeMap;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Val {
    Null,
    Bool(bool),
    Num(f64),
    Str(String),
    List(Vec<Val>),
    Map(BTreeMap<String, Val>),
    /// Known only to the build itself: `timestamp()`, `uuidv4()`, digests.
    Unknown,
}

impl Val {
    pub fn str(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Num(_) => "number",
            Self::Str(_) => "string",
            Self::List(_) => "list",
            Self::Map(_) => "object",
            Self::Unknown => "unknown",
        }
    }

    /// As a string; `Ok(None)` where it is null or not known.
    pub fn to_text(&self) -> Result<Option<String>, String> {
        match self {
            Self::Null | Self::Unknown => Ok(None),
            Self::Bool(value) => Ok(Some(value.to_string())),
            Self::Num(value) => Ok(Some(number_text(*value))),
            Self::Str(text) => Ok(Some(text.clone())),
            other => Err(format!("a string is needed, not a {}", other.kind())),
        }
    }

    pub fn to_num(&self) -> Result<f64, String> {
        match self {
            Self::Num(value) => Ok(*value),
            Self::Str(text) => text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(|| "a number is needed".to_owned()),
            other => Err(format!("a number is needed, not a {}", other.kind())),
        }
    }

    pub fn to_bool(&self) -> Result<bool, String> {
        match self {
            Self::Bool(value) => Ok(*value),
            Self::Str(text) if text == "true" || text == "1" => Ok(true),
            Self::Str(text) if text == "false" || text == "0" => Ok(false),
            other => Err(format!("true or false is needed, not a {}", other.kind())),
        }
    }

    pub fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }

    /// Says whether anything in it is not known.
    pub fn has_unknown(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::List(items) => items.iter().any(Self::has_unknown),
            Self::Map(entries) => entries.values().any(Self::has_unknown),
            _ => false,
        }
    }

    /// About how many bytes it takes; `None` where it nests deeper than `levels`.
    pub fn size(&self, levels: usize) -> Option<usize> {
        let levels = levels.checked_sub(1)?;
        let inner = match self {
            Self::Str(text) => text.len(),
            Self::List(items) => items.iter().map(|i| i.size(levels)).sum::<Option<usize>>()?,
            Self::Map(entries) => entries.iter().map(|(k, v)| Some(k.len() + v.size(levels)?)).sum::<Option<usize>>()?,
            _ => 0,
        };
        Some(16 + inner)
    }

    /// From JSON.
    pub fn from_json(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Num(number.as_f64().unwrap_or(0.0)),
            serde_json::Value::String(text) => Self::Str(text),
            serde_json::Value::Array(items) => Self::List(items.into_iter().map(Self::from_json).collect()),
            serde_json::Value::Object(entries) => Self::Map(entries.into_iter().map(|(k, v)| (k, Self::from_json(v))).collect()),
        }
    }

    /// As JSON text, keys sorted, as cty prints it.
    pub fn to_json(&self) -> String {
        match self {
            Self::Null | Self::Unknown => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Num(value) => number_text(*value),
            Self::Str(text) => serde_json::Value::from(text.as_str()).to_string(),
            Self::List(items) => {
                format!("[{}]", items.iter().map(Self::to_json).collect::<Vec<_>>().join(","))
            }
            Self::Map(entries) => {
                let fields: Vec<String> =
                    entries.iter().map(|(k, v)| format!("{}:{}", serde_json::Value::from(k.as_str()), v.to_json())).collect();
                format!("{{{}}}", fields.join(","))
            }
        }
    }
}

/// Prints a number as cty does: decimal, no exponent.
pub(super) fn number_text(value: f64) -> String {
    // Minus zero prints as zero.
    format!("{}", value + 0.0)
}
