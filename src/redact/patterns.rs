//! Secrets by where they stand and by their shape.

use std::{
    borrow::Cow,
    sync::{LazyLock, OnceLock},
};

use regex::{Captures, Regex, RegexSet};

use super::{MASK, names};

/// A pattern and how it is replaced.
struct Pattern {
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
    /// The group `s`, if the group `name` is the name of a secret.
    Named,
    /// The group `s`, if it looks made by a machine: it holds a digit, or is long.
    Random,
}

use Secret::{All, Group, Named, Random};

const fn pattern(expression: &'static str, secret: Secret) -> Pattern {
    Pattern { expression, secret }
}

/// A value up to its end: in quotes, or up to a blank or what ends a word of the shell or of a URL's query.
macro_rules! value {
    () => {
        r#"(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\\"[^"\\\n]*\\"|[^\s"'&;|<>)]+)"#
    };
}

static PATTERNS: [Pattern; 23] = [
    // Private keys; where the end is missing, up to the end of the text.
    pattern(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)", All),
    pattern(r"AGE-SECRET-KEY-1[0-9A-Z]{40,}", All),
    // Credentials in URLs: name and password, or a token alone. A bare name is one only for ssh.
    pattern(r"(?i)[a-z][a-z0-9+.-]{1,20}://(?P<s>[^\s/@:?#'\x22]*:[^\s/@?#'\x22]+)@", Group),
    pattern(r"(?i)https?://(?P<s>[^\s/@:?#'\x22]+)@", Group),
    // GitHub, GitLab, AWS, npm, Slack, JSON web tokens.
    pattern(r"(?-u:\b)(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})", All),
    pattern(r"(?-u:\b)(?:gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[A-Za-z0-9_.-]{20,}|GR1348941[A-Za-z0-9_-]{20})", All),
    pattern(r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?-u:\b)", All),
    pattern(r"(?-u:\b)npm_[A-Za-z0-9]{36}", All),
    pattern(r"(?-u:\b)(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}", All),
    pattern(r"hooks\.slack\.com/services/(?P<s>[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]+)", Group),
    pattern(r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}", All),
    // Docker Hub, PyPI, Google, Stripe, DigitalOcean, Hugging Face, SendGrid, Vault, and the sk- keys of several services.
    pattern(
        r"(?-u:\b)(?:dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}|pypi-AgE[A-Za-z0-9_-]{40,}|AIza[0-9A-Za-z_-]{35}|[rs]k_live_[0-9A-Za-z]{20,})",
        All,
    ),
    pattern(
        r"(?-u:\b)(?:do[oprt]_v1_[a-f0-9]{60,}|hf_[A-Za-z]{30,}|SG\.[\w-]{20,24}\.[\w-]{40,45}|hv[bs]\.[\w-]{24,}|sk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,})",
        All,
    ),
    // Headers, as curl and wget get them and as servers print them.
    pattern(
        r#"(?i)(?-u:\b)(?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|token|digest|aws4-hmac-sha256)\s+)?(?P<s>[^\s"'\\]{4,})"#,
        Group,
    ),
    pattern(
        r#"(?i)(?-u:\b)(?:(?:private|job|deploy|x-vault|x-auth|x-gitlab|x-jfrog-art)-(?:token|api)|x-api-key|api-key|(?:set-)?cookie)["']?:\s*(?P<s>[^\s"'\\]{4,})"#,
        Group,
    ),
    pattern(r"(?i)(?-u:\b)bearer\s+(?P<s>[A-Za-z0-9._~+/-]{12,}=*)", Random),
    // Passwords of commands that take them in their own way.
    pattern(
        concat!(
            r"(?i)(?-u:\b)(?:docker|podman|buildah|nerdctl|skopeo|crane|regctl|helm|oras|az|oc)\s(?:[^|;&\n]*\s)?login\s(?:[^|;&\n]*\s)?-p(?:=|\s*)(?P<s>",
            value!(),
            ")"
        ),
        Group,
    ),
    pattern(
        concat!(
            r"(?-u:\b)(?:sshpass\s+-p|(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump)\s(?:[^|;&\n]*\s)?-p)\s*(?P<s>",
            value!(),
            ")"
        ),
        Group,
    ),
    pattern(
        concat!(
            r"(?-u:\b)(?:(?:mongo|mongosh|mongodump|mongorestore)\s(?:[^|;&\n]*\s)?-p|redis-cli\s(?:[^|;&\n]*\s)?-a|(?:unzip|zip)\s(?:[^|;&\n]*\s)?-P)\s+(?P<s>",
            value!(),
            ")"
        ),
        Group,
    ),
    pattern(r#"(?-u:\b)curl\s(?:[^|;&\n]*\s)?(?:-u\s*|--user[= ])["']?[^\s:"']+:(?P<s>[^\s"']+)"#, Group),
    // Whatever has a name: NAME=value, --name value, "name": "value", _authToken value.
    pattern(concat!(r#"(?P<name>[A-Za-z_-][A-Za-z0-9_.-]{0,80})\\?["']?=(?P<s>"#, value!(), ")"), Named),
    pattern(r#"(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,80})\\?["']\s{0,3}:\s{0,3}(?P<s>"(?:[^"\\\n]|\\.)*"|\\"[^"\\\n]*\\"|'[^'\n]*')"#, Named),
    pattern(concat!(r#"(?-u:\B)(?P<name>--[A-Za-z][A-Za-z0-9-]{3,60}|[:\s]_(?:authToken|auth|password))\s+(?P<s>"#, value!(), ")"), Named),
];

/// The patterns as one set, which says in one pass which of them a text needs.
static SET: LazyLock<Option<RegexSet>> = LazyLock::new(|| RegexSet::new(PATTERNS.iter().map(|pattern| pattern.expression)).ok());

/// The patterns one by one, each made when a text first needs it: most logs need a few of them.
static EACH: [OnceLock<Option<Regex>>; PATTERNS.len()] = [const { OnceLock::new() }; PATTERNS.len()];

/// Without any of these no pattern matches; most texts hold none and are done with here.
static HINT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    const HINTS: &str = r"(?i)[:=]|--|_auth|_password|-u|-p|-a |bearer|eyJ|gh[pousr]_|github_pat|gl[a-z]{2,5}-|gr1348941|A[KSBC]IA|ACCA|npm_|xox|xapp|hooks\.|dckr_|pypi-|aiza|k_live_|_v1_|hf_|sg\.|hv[bs]\.|sk-|PRIVATE KEY|AGE-SECRET";
    Regex::new(HINTS).ok()
});

/// True where a text and every part of it is free of secrets at first sight.
pub(super) fn is_harmless(text: &str) -> bool {
    HINT.as_ref().is_none_or(|hint| !hint.is_match(text))
}

/// Takes the secrets out of a text. `given` are further names of secrets, in upper case, with `*`.
pub(super) fn redact<'t>(text: &'t str, given: &[String]) -> Cow<'t, str> {
    if text.is_empty() || is_harmless(text) {
        return Cow::Borrowed(text);
    }
    let Some(set) = &*SET else {
        return Cow::Borrowed(text);
    };
    let mut redacted = Cow::Borrowed(text);
    for at in set.matches(text) {
        let expression = EACH[at].get_or_init(|| Regex::new(PATTERNS[at].expression).ok());
        let Some(expression) = expression else { continue };
        if let Cow::Owned(changed) = replace(&redacted, expression, PATTERNS[at].secret, given) {
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
