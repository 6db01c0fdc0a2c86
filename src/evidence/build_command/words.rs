//! Words of a script with their variables replaced.

use std::collections::BTreeMap;

use super::unroll::Value;

/// What the variables are at one place of a script.
pub(super) struct Words<'v> {
    pub variables: &'v BTreeMap<String, Value>,
    /// The arguments of the function; `None` in the script itself, whose arguments the text does not say.
    pub arguments: Option<&'v [String]>,
}

/// Substitutions within substitutions that are looked into.
const MAX_DEPTH: usize = 6;

impl Words<'_> {
    /// One text. What is not known stays as written.
    pub fn text(&self, text: &str) -> String {
        self.expand(text, 0)
    }

    /// The words of a command. A word that is a variable and nothing else can be several words, or none.
    pub fn command(&self, words: &[String]) -> Vec<String> {
        let mut out = Vec::new();
        for word in words {
            if let Some(list) = self.whole_list(word) {
                out.extend(list);
                continue;
            }
            let text = self.text(word);
            if is_variable(word) && text != *word {
                // Unquoted, it is split; quotes are not known here, and an option with blanks in it is hardly meant.
                match text.as_str() {
                    "" => {}
                    options if options.starts_with('-') => {
                        out.extend(shlex::split(options).unwrap_or_else(|| vec![options.to_owned()]));
                    }
                    _ => out.push(text),
                }
            } else {
                out.push(text);
            }
        }
        out
    }

    /// The words of a loop or an array: variables are split, braces and patterns stand for many.
    pub fn list<'w>(&self, words: impl Iterator<Item = &'w str>, glob: &dyn Fn(&str) -> Vec<String>) -> Vec<String> {
        let mut out = Vec::new();
        for word in words {
            if let Some(list) = self.whole_list(word) {
                out.extend(list);
                continue;
            }
            if let Some(list) = word.strip_prefix('{').and_then(|word| word.strip_suffix('}')).filter(|list| list.contains(',')) {
                out.extend(list.split(',').map(|word| self.text(word)));
                continue;
            }
            let text = self.text(word.trim_matches(['"', '\'']));
            let pieces: Vec<&str> = if is_variable(word) { text.split_whitespace().collect() } else { vec![text.as_str()] };
            for piece in pieces {
                let found = if piece.contains('*') && !piece.contains('$') { glob(piece) } else { Vec::new() };
                if found.is_empty() {
                    out.push(piece.to_owned());
                } else {
                    out.extend(found);
                }
            }
        }
        out
    }

    /// `${X[@]}`, `$@`: all of a list.
    fn whole_list(&self, word: &str) -> Option<Vec<String>> {
        let word = word.trim_matches('"');
        if matches!(word, "$@" | "$*" | "${@}" | "${*}") {
            return self.arguments.map(<[String]>::to_vec);
        }
        let name = word.strip_prefix("${")?.strip_suffix("[@]}").or_else(|| word.strip_prefix("${")?.strip_suffix("[*]}"))?;
        match self.variables.get(name)? {
            Value::List(list) => Some(list.clone()),
            Value::Text(text) => Some(vec![text.clone()]),
            Value::Unknown => None,
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        if let Ok(number) = name.parse::<usize>() {
            return match number {
                0 => None,
                _ => self.arguments.map(|arguments| arguments.get(number - 1).cloned().unwrap_or_default()),
            };
        }
        match self.variables.get(name) {
            Some(Value::Text(text)) => Some(text.clone()),
            Some(Value::List(list)) => list.first().cloned(),
            Some(Value::Unknown) => None,
            None => matches!(name, "PWD" | "GITHUB_WORKSPACE" | "CI_PROJECT_DIR" | "WORKSPACE").then(|| ".".to_owned()),
        }
    }

    fn is_unset(&self, name: &str) -> bool {
        !self.variables.contains_key(name) && (self.arguments.is_none() || name.parse::<usize>().is_err())
    }

    fn expand(&self, text: &str, depth: usize) -> String {
        const LONGEST: usize = 40_000;
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let reference = &rest[at..];
            let length = reference_length(reference);
            let (whole, after) = reference.split_at(length);
            match self.reference(whole, depth) {
                Some(value) if out.len() + value.len() < LONGEST => out.push_str(&value),
                _ => out.push_str(whole),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// The value of `$X`, `${X…}` or `$( … )`; `None` where it is not known.
    fn reference(&self, whole: &str, depth: usize) -> Option<String> {
        if let Some(inner) = whole.strip_prefix("$(").and_then(|text| text.strip_suffix(')')) {
            return self.directory(inner.trim(), depth);
        }
        let Some(inner) = whole.strip_prefix("${").and_then(|text| text.strip_suffix('}')) else {
            return self.value(whole.strip_prefix('$')?);
        };
        let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
        let (name, operator) = inner.split_at(end);
        if (name == "BASH_SOURCE" || name == "0") && (operator.ends_with("%/*") || operator.ends_with("%/*}")) {
            return Some(".".to_owned());
        }
        if name.is_empty() || depth > MAX_DEPTH {
            return None;
        }
        let value = self.value(name);
        let filled = value.as_deref().is_some_and(|value| !value.is_empty());
        let word = |sign: &str| operator.strip_prefix(sign).map(|word| self.expand(word, depth + 1));
        if operator.is_empty() {
            return value;
        }
        if let Some(default) = word(":-").or_else(|| word(":=")) {
            return if filled { value } else { (self.is_unset(name) || value.is_some()).then_some(default) };
        }
        if let Some(other) = word(":+") {
            return if filled { Some(other) } else { (self.is_unset(name) || value.is_some()).then(String::new) };
        }
        if let Some(default) = word("-").or_else(|| word("=")) {
            return value.or_else(|| self.is_unset(name).then_some(default));
        }
        if operator.starts_with(":?") || operator.starts_with('?') {
            return value;
        }
        let literal = |pattern: &str| !pattern.is_empty() && !pattern.contains(['*', '?', '[', '$']);
        let value = value?;
        match operator {
            "##*/" => value.rsplit('/').next().map(str::to_owned),
            "%/*" => value.rsplit_once('/').map(|(dir, _)| dir.to_owned()),
            _ => {
                if let Some(suffix) = operator.strip_prefix('%').filter(|suffix| literal(suffix)) {
                    Some(value.strip_suffix(suffix).unwrap_or(&value).to_owned())
                } else {
                    let prefix = operator.strip_prefix('#').filter(|prefix| literal(prefix))?;
                    Some(value.strip_prefix(prefix).unwrap_or(&value).to_owned())
                }
            }
        }
    }

    /// The directory that a substitution gives, from where the script's files are: `$(dirname "$0")`, `$(cd X && pwd)`, `$(pwd)`.
    fn directory(&self, command: &str, depth: usize) -> Option<String> {
        if depth > MAX_DEPTH {
            return None;
        }
        if command.starts_with("git rev-parse --show-toplevel") || matches!(command, "pwd" | "pwd -P" | "pwd -L") {
            return Some(".".to_owned());
        }
        let about_script = ["$0", "${0}", "BASH_SOURCE", "%x"].iter().any(|name| command.contains(name));
        if command.starts_with("dirname ") && about_script {
            let ups = command.matches("dirname").count() - 1;
            return Some(std::iter::once(".").chain(std::iter::repeat_n("..", ups)).collect::<Vec<_>>().join("/"));
        }
        let to = command.strip_prefix("cd ").filter(|rest| rest.contains("pwd"))?;
        let to = to.split("&&").next()?.split(';').next()?.split('>').next()?.trim();
        let to = to.trim_start_matches("-P").trim_start_matches("--").trim();
        let expanded = self.expand(to, depth + 1);
        (!expanded.contains(['$', '`', ' '])).then_some(expanded)
    }
}

/// Whether a word is one variable and nothing else.
pub(super) fn is_variable(word: &str) -> bool {
    word.starts_with('$') && !word.starts_with("$(") && reference_length(word) == word.len()
}

/// The bytes of the reference that a text begins with, the dollar sign alone where there is none.
fn reference_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.get(1) {
        Some(b'{' | b'(') => {
            let mut open = 0_usize;
            for (at, byte) in bytes.iter().enumerate().skip(1) {
                match byte {
                    b'{' | b'(' => open += 1,
                    b'}' | b')' => {
                        open = open.saturating_sub(1);
                        if open == 0 {
                            return at + 1;
                        }
                    }
                    _ => {}
                }
            }
            text.len()
        }
        Some(b'@' | b'*' | b'#' | b'?' | b'$' | b'!' | b'-') => 2,
        Some(byte) if byte.is_ascii_digit() => 2,
        _ => 1 + text[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len() - 1),
    }
}
