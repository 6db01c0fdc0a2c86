//! Secrets by where they stand and by their shape.

use std::{
    borrow::Cow,
    sync::{LazyLock, OnceLock},
};

use aho_corasick::AhoCorasick;
use regex::{Captures, Regex};

use super::{MASK, names};

/// A pattern and how it is replaced.
///
/// An expression takes up to a millisecond to be made, all of them together as much as reading a log of thousands of lines; so each is
/// made when a text first holds what no match of it can be without.
struct Pattern {
    /// Any of these must be in the text, in any case. A letter that has relatives outside of ASCII (`k`, `s`) is in none of those of an
    /// expression that takes any case.
    words: &'static [&'static str],
    /// All of these must be in the text.
    marks: &'static [&'static str],
    /// The expression.
    expression: &'static str,
    /// What of it is secret.
    secret: Secret,
}

/// What of a match is secret.
#[derive(Clone, Copy)]
enum Secret {
    /// All of it.
    All,
    /// The group `s`.
    Group,
    /// The group `s`, if the group `name` is the name of a secret. The words of such names are its words.
    Named,
    /// The group `s`, if it looks made by a machine: it holds a digit, or is long.
    Random,
}

use Secret::{All, Group, Named, Random};

const fn pattern(words: &'static [&'static str], marks: &'static [&'static str], expression: &'static str, secret: Secret) -> Pattern {
    Pattern { words, marks, expression, secret }
}

/// A value up to its end: in quotes, or up to a blank or what ends a word of the shell or of a URL's query.
macro_rules! value {
    () => {
        r#"(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\\"[^"\\\n]*\\"|[^\s"'&;|<>)]+)"#
    };
}

static PATTERNS: [Pattern; 23] = [
    // Private keys; where the end is missing, up to the end of the text.
    pattern(
        &["private key"],
        &["-----BEGIN "],
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
        All,
    ),
    pattern(&["age-secret-key-1"], &[], r"AGE-SECRET-KEY-1[0-9A-Z]{40,}", All),
    // Credentials in URLs: name and password, or a token alone. A bare name is one only for ssh.
    pattern(&["://"], &["@"], r"(?i)[a-z][a-z0-9+.-]{1,20}://(?P<s>[^\s/@:?#'\x22]*:[^\s/@?#'\x22]+)@", Group),
    pattern(&["http"], &["://", "@"], r"(?i)https?://(?P<s>[^\s/@:?#'\x22]+)@", Group),
    // GitHub, GitLab, AWS, npm, Slack, JSON web tokens.
    pattern(
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        &[],
        r"(?-u:\b)(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})",
        All,
    ),
    pattern(
        &["glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-", "glffct-", "gr1348941"],
        &[],
        r"(?-u:\b)(?:gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[A-Za-z0-9_.-]{20,}|GR1348941[A-Za-z0-9_-]{20})",
        All,
    ),
    pattern(&["akia", "asia", "abia", "acca"], &[], r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?-u:\b)", All),
    pattern(&["npm_"], &[], r"(?-u:\b)npm_[A-Za-z0-9]{36}", All),
    pattern(&["xox", "xapp-"], &["-"], r"(?-u:\b)(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}", All),
    pattern(&["hooks.slack.com/services/"], &[], r"hooks\.slack\.com/services/(?P<s>[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]+)", Group),
    pattern(&["eyj"], &[".eyJ"], r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}", All),
    // Docker Hub, PyPI, Google, Stripe, DigitalOcean, Hugging Face, SendGrid, Vault, and the sk- keys of several services.
    pattern(
        &["dckr_pat_", "dckr_oat_", "pypi-age", "aiza", "k_live_"],
        &[],
        r"(?-u:\b)(?:dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}|pypi-AgE[A-Za-z0-9_-]{40,}|AIza[0-9A-Za-z_-]{35}|[rs]k_live_[0-9A-Za-z]{20,})",
        All,
    ),
    pattern(
        &["_v1_", "hf_", "sg.", "hvb.", "hvs.", "sk-"],
        &[],
        concat!(
            r"(?-u:\b)(?:do[oprt]_v1_[a-f0-9]{60,}|hf_[A-Za-z]{30,}|SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{40,45}|",
            r"hv[bs]\.[A-Za-z0-9_-]{24,}|sk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,})"
        ),
        All,
    ),
    // Headers, as curl and wget get them and as servers print them.
    pattern(
        &["authorization"],
        &[],
        r#"(?i)(?-u:\b)(?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|token|digest|aws4-hmac-sha256)\s+)?(?P<s>[^\s"'\\]{4,})"#,
        Group,
    ),
    pattern(
        &["-to", "-api", "api-", "coo"],
        &[":"],
        r#"(?i)(?-u:\b)(?:(?:private|job|deploy|x-vault|x-auth|x-gitlab|x-jfrog-art)-(?:token|api)|x-api-key|api-key|(?:set-)?cookie)["']?:\s*(?P<s>[^\s"'\\]{4,})"#,
        Group,
    ),
    pattern(&["bearer"], &[], r"(?i)(?-u:\b)bearer\s+(?P<s>[A-Za-z0-9._~+/-]{12,}=*)", Random),
    // Passwords of commands that take them in their own way.
    pattern(
        &["login"],
        &["-"],
        concat!(
            r"(?i)(?-u:\b)(?:docker|podman|buildah|nerdctl|skopeo|crane|regctl|helm|oras|az|oc)\s(?:[^|;&\n]*\s)?login\s(?:[^|;&\n]*\s)?-p(?:=|\s*)(?P<s>",
            value!(),
            ")"
        ),
        Group,
    ),
    pattern(
        &["sshpass", "mysql", "mariadb"],
        &["-p"],
        concat!(
            r"(?-u:\b)(?:sshpass\s+-p|(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump)\s(?:[^|;&\n]*\s)?-p)\s*(?P<s>",
            value!(),
            ")"
        ),
        Group,
    ),
    pattern(
        &["mongo", "redis-cli", "zip"],
        &["-"],
        concat!(
            r"(?-u:\b)(?:(?:mongo|mongosh|mongodump|mongorestore)\s(?:[^|;&\n]*\s)?-p|redis-cli\s(?:[^|;&\n]*\s)?-a|(?:unzip|zip)\s(?:[^|;&\n]*\s)?-P)\s+(?P<s>",
            value!(),
            ")"
        ),
        Group,
    ),
    pattern(&["curl"], &["-u", ":"], r#"(?-u:\b)curl\s(?:[^|;&\n]*\s)?(?:-u\s*|--user[= ])["']?[^\s:"']+:(?P<s>[^\s"']+)"#, Group),
    // Whatever has a name: NAME=value, --name value, "name": "value", _authToken value.
    pattern(&[], &["="], concat!(r#"(?P<name>[A-Za-z_-][A-Za-z0-9_.-]{0,80})\\?["']?=(?P<s>"#, value!(), ")"), Named),
    pattern(
        &[],
        &[":"],
        r#"(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,80})\\?["']\s{0,3}:\s{0,3}(?P<s>"(?:[^"\\\n]|\\.)*"|\\"[^"\\\n]*\\"|'[^'\n]*')"#,
        Named,
    ),
    pattern(
        &[],
        &[],
        concat!(r#"(?-u:\B)(?P<name>--[A-Za-z][A-Za-z0-9-]{3,60}|[:\s]_(?:authToken|auth|password))\s+(?P<s>"#, value!(), ")"),
        Named,
    ),
];

/// The patterns one by one, each made when a text first needs it: most logs need a few of them.
static EACH: [OnceLock<Option<Regex>>; PATTERNS.len()] = [const { OnceLock::new() }; PATTERNS.len()];

/// A set of patterns: one bit each.
type Set = u32;

/// Every pattern.
const EVERY: Set = (1 << PATTERNS.len()) - 1;

/// The words of all patterns, looked for in one pass.
struct Words {
    automaton: AhoCorasick,
    /// Which patterns each word stands for, and whether it is the end of a name.
    of: Vec<(Set, bool)>,
    /// The patterns that go by a name.
    named: Set,
}

static WORDS: LazyLock<Option<Words>> = LazyLock::new(|| {
    let named = (0..).zip(&PATTERNS).filter(|(_, pattern)| matches!(pattern.secret, Named)).fold(0, |set, (at, _)| set | 1 << at);
    let own = (0..).zip(&PATTERNS).flat_map(|(at, pattern)| pattern.words.iter().map(move |word| (*word, 1 << at, false)));
    let names = names::anywhere().map(|word| (word, named, false)).chain(names::at_end().map(|word| (word, named, true)));
    let (words, of): (Vec<&str>, _) = own.chain(names).map(|(word, set, ends)| (word, (set, ends))).unzip();
    let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(words).ok()?;
    Some(Words { automaton, of, named })
});

/// The patterns that can match in a text or in a part of it, as far as words tell. `given` are further names of secrets.
fn possible(text: &str, given: &[String]) -> Set {
    let Some(words) = &*WORDS else { return EVERY };
    let mut found = if given.is_empty() { 0 } else { words.named };
    for word in words.automaton.find_overlapping_iter(text) {
        let (set, ends) = words.of[word.pattern().as_usize()];
        // A name goes on to the first character that is in none, and a value comes behind it.
        if !ends || text.as_bytes().get(word.end()).is_some_and(|next| !next.is_ascii_alphanumeric()) {
            found |= set;
        }
    }
    if found == 0 {
        return 0;
    }
    (0..)
        .zip(&PATTERNS)
        .filter(|(_, pattern)| !pattern.marks.iter().all(|mark| text.contains(mark)))
        .fold(found, |set, (at, _)| set & !(1 << at))
}

/// True where a text and every part of it is free of secrets at first sight.
pub(super) fn is_harmless(text: &str, given: &[String]) -> bool {
    possible(text, given) == 0
}

/// Takes the secrets out of a text. `given` are further names of secrets, in upper case, with `*`.
pub(super) fn redact<'t>(text: &'t str, given: &[String]) -> Cow<'t, str> {
    let mut redacted = Cow::Borrowed(text);
    let possible = possible(text, given);
    for (at, pattern) in PATTERNS.iter().enumerate().filter(|(at, _)| possible >> at & 1 == 1) {
        let expression = EACH[at].get_or_init(|| Regex::new(pattern.expression).ok());
        let Some(expression) = expression else { continue };
        // What an earlier pattern left is no reason to look for more.
        if matches!(redacted, Cow::Owned(_)) && !expression.is_match(text) {
            continue;
        }
        if let Cow::Owned(changed) = replace(&redacted, expression, pattern.secret, given) {
            redacted = Cow::Owned(changed);
        }
    }
    redacted
}

/// Replaces what is secret in every match.
fn replace<'t>(text: &'t str, expression: &Regex, secret: Secret, given: &[String]) -> Cow<'t, str> {
    let mut changed: Option<String> = None;
    let mut copied = 0;
    let mut from = 0;
    while let Some(found) = expression.captures_at(text, from) {
        let Some(all) = found.get(0) else { break };
        let span = match secret {
            All => Some(all),
            Group | Named | Random => found.name("s"),
        };
        // A match that holds no secret may begin in front of one that does: `A=TOKEN=x`.
        from = if all.end() > all.start() { all.end() } else { all.end() + 1 };
        match span.filter(|span| is_secret(&found, span.as_str(), secret, given)) {
            Some(span) => {
                let bare = unquoted(span.as_str());
                let start = span.start() + bare.0;
                let end = span.start() + bare.1;
                let text_so_far = changed.get_or_insert_with(String::new);
                text_so_far.push_str(&text[copied..start]);
                text_so_far.push_str(MASK);
                copied = end;
            }
            None if matches!(secret, Named) => from = found.name("s").map_or(from, |span| span.start()),
            None => {}
        }
        if from > text.len() || !text.is_char_boundary(from) {
            break;
        }
    }
    match changed {
        Some(mut changed) => {
            changed.push_str(&text[copied..]);
            Cow::Owned(changed)
        }
        None => Cow::Borrowed(text),
    }
}

/// The part of a value that stands within its quotes.
fn unquoted(value: &str) -> (usize, usize) {
    for quote in ["\\\"", "\"", "'"] {
        if value.len() >= 2 * quote.len() && value.starts_with(quote) && value.ends_with(quote) {
            return (quote.len(), value.len() - quote.len());
        }
    }
    (0, value.len())
}

fn is_secret(found: &Captures<'_>, value: &str, secret: Secret, given: &[String]) -> bool {
    let (from, to) = unquoted(value);
    let bare = &value[from..to];
    let mask = bare == MASK || bare.is_empty();
    match secret {
        All => true,
        Group => !mask && !names::is_harmless_value("", bare),
        Named => {
            let name = found.name("name").map_or("", |name| name.as_str());
            // `--recv-keys`, `--key FILE`: flags name keys more often than they hold them.
            let plain_key = matches!(name, "--key" | "--auth" | "--pass" | "key" | "keys" | "auth")
                || (name.starts_with("--") && name.ends_with("keys"));
            !mask
                && !bare.starts_with('-')
                && (names::given(name, given)
                    || (!plain_key && names::is_secret(name) && !names::is_harmless_value(name.trim_start_matches('-'), bare)))
        }
        Random => value.bytes().any(|byte| byte.is_ascii_digit()) || value.len() >= 32,
    }
}

/// True where a line begins a private key.
pub(super) fn begins_private_key(line: &str) -> bool {
    line.contains("-----BEGIN ") && line.contains("PRIVATE KEY")
}

/// True where a line ends a private key.
pub(super) fn ends_private_key(line: &str) -> bool {
    line.contains("-----END ") && line.contains("PRIVATE KEY")
}

#[cfg(test)]
#[path = "patterns_tests.rs"]
mod tests;
