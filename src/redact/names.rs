//! Which names say that what follows them is secret.

/// Words that make a name secret wherever they stand in it, unless its last word says that it is about something else.
const SECRET: [&str; 15] = [
    "TOKEN",
    "TOKENS",
    "AUTHTOKEN",
    "PASSWORD",
    "PASSWORDS",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "SECRETS",
    "CREDENTIAL",
    "CREDENTIALS",
    "APIKEY",
    "APITOKEN",
    "SECRETKEY",
    "ACCESSKEY",
];

/// Words that make a name secret only as its last word.
const SECRET_AT_END: [&str; 5] = ["KEY", "KEYS", "AUTH", "PASS", "SIGNATURE"];

/// Words that make a name secret as its last word when another stands in front: `PWD` alone is a directory.
const SECRET_BEHIND_ANOTHER: [&str; 2] = ["PWD", "PAT"];

/// Last words that say the name is about a secret and not the secret itself.
const ABOUT: [&str; 36] = [
    "FILE",
    "FILES",
    "PATH",
    "DIR",
    "NAME",
    "ID",
    "IDS",
    "TYPE",
    "URL",
    "URI",
    "HOST",
    "PORT",
    "LENGTH",
    "SIZE",
    "TTL",
    "EXPIRY",
    "EXPIRES",
    "VERSION",
    "ENABLED",
    "REQUIRED",
    "STDIN",
    "POLICY",
    "PROVIDER",
    "SERVICE",
    "ALGORITHM",
    "ISSUER",
    "AUDIENCE",
    "COUNT",
    "LIMIT",
    "PARALLELISM",
    "MODE",
    "METHOD",
    "ENDPOINT",
    "SCOPE",
    "LOCATION",
    "SOCK",
];

/// The words of which one is in every name of a secret, and the words of which one ends every other such name.
pub(super) fn anywhere() -> impl Iterator<Item = &'static str> {
    SECRET.into_iter()
}

/// See [`anywhere`].
pub(super) fn at_end() -> impl Iterator<Item = &'static str> {
    SECRET_AT_END.into_iter().chain(SECRET_BEHIND_ANOTHER)
}

/// Words that make a key a harmless one: the key of a cache, of a table, of a public pair.
const HARMLESS_KEY: [&str; 10] = ["CACHE", "BUST", "PUBLIC", "PUB", "PRIMARY", "FOREIGN", "SORT", "PARTITION", "HOST", "KEYBOARD"];

/// True for the name of a variable, an option or a header whose value is secret: `NPM_TOKEN`, `--db-password`, `_authToken`.
///
/// A name is split into words at anything that is no letter or digit and where a capital follows a small letter.
pub fn is_secret(name: &str) -> bool {
    let words = words(name);
    let Some(last) = words.last().map(String::as_str) else {
        return false;
    };
    if ABOUT.contains(&last) {
        return false;
    }
    if words.iter().any(|word| SECRET.contains(&word.as_str())) {
        return true;
    }
    let harmless = words.iter().any(|word| HARMLESS_KEY.contains(&word.as_str()));
    (SECRET_AT_END.contains(&last) && !harmless) || (SECRET_BEHIND_ANOTHER.contains(&last) && words.len() > 1)
}

/// True for a value that is no secret whatever its name: empty, a reference to a variable, a mask, a switch, the name of a file.
pub(super) fn is_harmless_value(name: &str, value: &str) -> bool {
    let value = value.trim_matches(['"', '\'']);
    let path = value.starts_with('/') || value.starts_with("./") || value.starts_with("../") || value.starts_with("~/");
    // `--mount=type=secret,id=…` and `--secret id=…` name a secret.
    let mount =
        name.eq_ignore_ascii_case("secret") && (value.starts_with("id=") || value.starts_with("type=") || value.starts_with("src="));
    let reference = (value.starts_with('$') || value.starts_with("%")) && value.len() > 1
        || (value.starts_with('<') && value.ends_with('>'))
        || (value.starts_with("{{") && value.ends_with("}}"));
    let switch = matches!(value.to_ascii_lowercase().as_str(), "" | "true" | "false" | "none" | "null" | "yes" | "no" | "on" | "off");
    let mask = value.bytes().all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.'));
    path || mount || reference || switch || mask
}

/// True where a name matches one of the patterns, which are in upper case; `*` stands for any characters.
pub(super) fn given(name: &str, patterns: &[String]) -> bool {
    let name = name.trim_start_matches('-').to_ascii_uppercase();
    patterns.iter().any(|pattern| wildcard(pattern.as_bytes(), name.as_bytes()))
}

/// Matches `*` (any characters) and everything else literally.
pub(crate) fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match back {
                Some((star, at)) => {
                    back = Some((star, at + 1));
                    (p, t) = (star + 1, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The words of a name in upper case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() || (small && c.is_ascii_uppercase()) {
            words.push(String::new());
        }
        small = c.is_ascii_lowercase() || c.is_ascii_digit();
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_uppercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "NPM_TOKEN",
            "GITHUB_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "SECRET_KEY_BASE",
            "DB_PASSWORD",
            "password",
            "apiKey",
            "_authToken",
            "REGISTRY_AUTH",
            "DB_PWD",
            "GH_PAT",
            "client-secret",
            "KEY",
            "X-Amz-Signature",
            "MYSQL_ROOT_PASSWORD",
            "Azure_Credentials",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PATH",
            "PWD",
            "AUTHOR",
            "AUTHORS",
            "KEYBOARD",
            "MONKEY",
            "TOKENIZERS_PARALLELISM",
            "KEYCLOAK_VERSION",
            "AUTH_SERVICE_URL",
            "PASSENGER_APP",
            "SSH_KEY_PATH",
            "CACHE_KEY",
            "CACHE_BUST_KEY",
            "PUBLIC_KEY",
            "password-stdin",
            "SSH_AUTH_SOCK",
            "COMMIT",
            "SHARED_LIBS_CACHE_BUST",
            "PASSWORD_FILE",
            "",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn wildcards() {
        for (pattern, text, matches) in [
            ("A*", "ABC", true),
            ("*_KEY", "A_KEY", true),
            ("A*C*E", "ABCDE", true),
            ("A*C", "ABCD", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(wildcard(pattern.as_bytes(), text.as_bytes()), matches, "{pattern} {text}");
        }
    }
}
