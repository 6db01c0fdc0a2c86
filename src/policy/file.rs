//! The settings file, read.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize,
    de::{self, Visitor},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Accepted, Bust, Demands, Policy, Service, Sources,
    nearest::nearest,
    trend::{FileAcceptedLevel, FileBudget, FileTrend},
};
use crate::{
    evidence::ignore::IgnoreRules,
    rules::{self, Severity},
};

/// Why a settings file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read.
    #[error("cannot read {}: {cause}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is larger than settings are.
    #[error("{} has {bytes} bytes: that is no settings file", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is no TOML, or a value is of the wrong kind.
    #[error("{}:{line}: {message}", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    strict: bool,
    history: Option<PathBuf>,
    baseline: Option<PathBuf>,
    sources: FileSources,
    bust: FileBust,
    require: FileRequire,
    forbid: FileForbid,
    services: BTreeMap<String, FileService>,
    rules: BTreeMap<String, Level>,
    redact: FileRedact,
    accept: Vec<FileAccepted>,
    trend: FileTrend,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct FileSources {
    application: Vec<String>,
    dependencies: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct FileBust {
    arguments: Vec<String>,
    required: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct FileRequire {
    prune: bool,
    commit_line: bool,
    cache_import: bool,
    cache_export: bool,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct FileForbid {
    inline_cache: bool,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct FileService {
    bust: Vec<String>,
    cache_import: Option<bool>,
    cache_export: Option<bool>,
    inline_cache: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct FileRedact {
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileAccepted {
    rule: String,
    step: Option<String>,
    file: Option<String>,
    reason: String,
    until: Option<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Level {
    Error,
    Warning,
    Note,
    Off,
}

/// Reads settings. `path` names the file in messages.
///
/// # Errors
/// The text is no TOML, a key is not known, or a value is of the wrong kind.
pub fn parse(text: &str, path: &Path) -> Result<Policy, PolicyError> {
    let wrong = |span: Option<Range<usize>>, message: String| PolicyError::Wrong {
        path: path.to_owned(),
        line: span.map_or(1, |span| 1 + text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count()),
        message,
    };
    let table = DeTable::parse(text).map_err(|error| wrong(error.span(), error.message().to_owned()))?;
    unknown_keys(table.get_ref()).map_err(|(span, message)| wrong(Some(span), message))?;
    let file: File = toml::from_str(text).map_err(|error| wrong(error.span(), error.message().to_owned()))?;
    let place = |key: &str| table.get_ref().get(key).map(Spanned::span);
    let patterns = |key: &str, patterns: &[String]| {
        if patterns.is_empty() {
            return Ok(None);
        }
        let read = IgnoreRules::from_patterns(patterns.iter().map(String::as_str));
        read.map(Some).map_err(|error| wrong(place("sources"), format!("sources.{key}: {error}")))
    };
    for accepted in &file.accept {
        if let Some(until) = &accepted.until
            && until.parse::<jiff::civil::Date>().is_err()
        {
            return Err(wrong(place("accept"), format!("accept.until: {until:?} is no day: write it as 2027-01-31")));
        }
    }
    let trend = file.trend.read().map_err(|message| wrong(place("trend"), message))?;
    Ok(Policy {
        path: None,
        strict: file.strict,
        history: file.history,
        baseline: file.baseline,
        sources: Sources {
            application: patterns("application", &file.sources.application)?,
            dependencies: patterns("dependencies", &file.sources.dependencies)?,
        },
        bust: Bust { arguments: file.bust.arguments, required: file.bust.required },
        demands: Demands {
            prune: file.require.prune,
            commit_line: file.require.commit_line,
            cache_import: file.require.cache_import,
            cache_export: file.require.cache_export,
            no_inline_cache: file.forbid.inline_cache,
        },
        services: file
            .services
            .into_iter()
            .map(|(name, service)| Service {
                name,
                bust: service.bust,
                cache_import: service.cache_import,
                cache_export: service.cache_export,
                no_inline_cache: service.inline_cache.map(|allowed| !allowed),
            })
            .collect(),
        severities: file.rules.into_iter().map(|(name, level)| (name, level.severity())).collect(),
        accepted: file
            .accept
            .into_iter()
            .map(|a| Accepted { rule: a.rule, step: a.step, file: a.file, reason: a.reason, until: a.until })
            .collect(),
        trend,
        secret_names: file.redact.names,
    })
}

impl Level {
    fn severity(self) -> Option<Severity> {
        match self {
            Self::Error => Some(Severity::Error),
            Self::Warning => Some(Severity::Warning),
            Self::Note => Some(Severity::Note),
            Self::Off => None,
        }
    }
}

type Unknown = (Range<usize>, String);

/// Finds the first key that nobody knows, and says which one was probably meant.
fn unknown_keys(file: &DeTable<'_>) -> Result<(), Unknown> {
    known(file, fields_of::<File>(), "")?;
    for (key, fields) in [
        ("sources", fields_of::<FileSources>()),
        ("bust", fields_of::<FileBust>()),
        ("require", fields_of::<FileRequire>()),
        ("forbid", fields_of::<FileForbid>()),
        ("redact", fields_of::<FileRedact>()),
        ("trend", fields_of::<FileTrend>()),
    ] {
        if let Some(DeValue::Table(table)) = file.get(key).map(Spanned::get_ref) {
            known(table, fields, key)?;
        }
    }
    if let Some(DeValue::Table(services)) = file.get("services").map(Spanned::get_ref) {
        for (name, service) in services {
            if let DeValue::Table(table) = service.get_ref() {
                known(table, fields_of::<FileService>(), &format!("services.{}", name.get_ref()))?;
            }
        }
    }
    if let Some(DeValue::Table(trend)) = file.get("trend").map(Spanned::get_ref) {
        if let Some(DeValue::Table(budget)) = trend.get("budget").map(Spanned::get_ref) {
            known(budget, fields_of::<FileBudget>(), "trend.budget")?;
        }
        if let Some(DeValue::Array(accepted)) = trend.get("accept").map(Spanned::get_ref) {
            for entry in accepted {
                let DeValue::Table(table) = entry.get_ref() else { continue };
                known(table, fields_of::<FileAcceptedLevel>(), "trend.accept")?;
            }
        }
    }
    let names: Vec<&str> = rules::all().iter().map(|meta| meta.name).collect();
    if let Some(DeValue::Table(table)) = file.get("rules").map(Spanned::get_ref) {
        known(table, &names, "rules")?;
    }
    if let Some(DeValue::Array(accepted)) = file.get("accept").map(Spanned::get_ref) {
        for entry in accepted {
            let DeValue::Table(table) = entry.get_ref() else { continue };
            known(table, fields_of::<FileAccepted>(), "accept")?;
            if let Some(rule) = table.get("rule")
                && let DeValue::String(name) = rule.get_ref()
                && !names.contains(&name.as_ref())
            {
                return Err((rule.span(), unknown_message("rule", name, &names)));
            }
        }
    }
    Ok(())
}

fn known(table: &DeTable<'_>, fields: &[&str], within: &str) -> Result<(), Unknown> {
    for (key, _) in table {
        let name: &str = key.get_ref();
        if !fields.contains(&name) {
            let what = match within {
                "" => "key".to_owned(),
                "rules" => "rule".to_owned(),
                within => format!("key in [{within}]"),
            };
            return Err((key.span(), unknown_message(&what, name, fields)));
        }
    }
    Ok(())
}

fn unknown_message(what: &str, name: &str, candidates: &[&str]) -> String {
    match nearest(name, candidates.iter().copied()) {
        Some(near) => format!("unknown {what} {name:?}: did you mean {near:?}?"),
        None => format!("unknown {what} {name:?}; there are {}", candidates.join(", ")),
    }
}

/// The names of a struct's fields, as its derived reader asks for them.
fn fields_of<T: for<'d> Deserialize<'d>>() -> &'static [&'static str] {
    struct Asked<'f>(&'f mut &'static [&'static str]);
    impl<'de> de::Deserializer<'de> for Asked<'_> {
        type Error = de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(de::Error::custom("only the fields are asked for"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
            tuple_struct map enum identifier ignored_any
        }
    }
    let mut fields: &'static [&'static str] = &[];
    // The answer is the error; the fields are the question.
    let _ = T::deserialize(Asked(&mut fields));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        parse(text, Path::new("bklog.toml")).unwrap_err().to_string()
    }

    #[test]
    fn the_example_is_right_and_names_every_key() {
        let text = include_str!("../../docs/bklog.example.toml");
        let policy = parse(text, Path::new("bklog.example.toml")).unwrap();
        assert_eq!(policy.services.len(), 2);
        assert!(!policy.accepted.is_empty());
        for fields in [
            fields_of::<File>(),
            fields_of::<FileSources>(),
            fields_of::<FileBust>(),
            fields_of::<FileRequire>(),
            fields_of::<FileForbid>(),
            fields_of::<FileService>(),
            fields_of::<FileRedact>(),
            fields_of::<FileAccepted>(),
            fields_of::<FileTrend>(),
            fields_of::<FileBudget>(),
            fields_of::<FileAcceptedLevel>(),
        ] {
            assert!(!fields.is_empty());
            for field in fields {
                assert!(text.contains(field), "{field} is not in the example");
            }
        }
    }

    #[test]
    fn unknown_names_are_errors_with_the_nearest() {
        assert_eq!(message("strict = true\nstrikt = true\n"), "bklog.toml:2: unknown key \"strikt\": did you mean \"strict\"?");
        assert_eq!(message("\n[bust]\nargument = []\n"), "bklog.toml:3: unknown key in [bust] \"argument\": did you mean \"arguments\"?");
        assert_eq!(message("[rules]\nstale-cpy = \"off\"\n"), "bklog.toml:2: unknown rule \"stale-cpy\": did you mean \"stale-copy\"?");
        assert!(message("[[accept]]\nrule = \"stale-kopy\"\nreason = \"x\"\n").contains("bklog.toml:2: unknown rule"), "");
        assert!(
            message("[services.api]\nbusts = []\n")
                .contains("bklog.toml:2: unknown key in [services.api] \"busts\": did you mean \"bust\"?")
        );
        assert!(message("[trend]\nbudgets = 1\n").contains("bklog.toml:2: unknown key in [trend] \"budgets\": did you mean \"budget\"?"));
        assert!(message("[trend.budget]\ntargts = 1\n").contains("did you mean \"targets\"?"));
        assert!(message("[[trend.accept]]\nsinze = 1\n").contains("did you mean \"since\"?"));
        assert!(message("[require]\nmoon = true\n").contains("there are prune, commit-line"));
    }

    #[test]
    fn wrong_values_name_their_line() {
        assert!(message("\nstrict = 3\n").starts_with("bklog.toml:2: "));
        assert!(message("a = = b").starts_with("bklog.toml:1: "));
        assert!(message("[rules]\nstale-copy = \"loud\"\n").starts_with("bklog.toml:2: "));
        assert!(message("[[accept]]\nrule = \"stale-copy\"\nreason = \"x\"\nuntil = \"soon\"\n").contains("is no day"));
        assert!(message("[trend.budget]\ntotal = \"soon\"\n").contains("trend.budget.total: \"soon\" is no duration"));
        assert!(message("[trend]\nmin-ratio = 0.5\n").contains("is no factor"));
        assert!(message("[[trend.accept]]\nsince = \"abc\"\nreason = \"x\"\n").contains("too short"));
    }

    #[test]
    fn nothing_is_a_policy_too() {
        let policy = parse("", Path::new("x")).unwrap();
        assert!(!policy.strict && policy.severity("stale-copy").is_none());
        let policy = parse("[rules]\nstale-copy = \"off\"\ncold-cache = \"error\"\n", Path::new("x")).unwrap();
        assert_eq!(policy.severity("stale-copy"), Some(None));
        assert_eq!(policy.severity("cold-cache"), Some(Some(Severity::Error)));
    }
}
