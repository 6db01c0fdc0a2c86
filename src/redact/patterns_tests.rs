//! Secrets that go, and texts that look alike and stay.

use proptest::prelude::*;

use super::*;

fn redacted(text: &str) -> String {
    redact(text, &[]).into_owned()
}

#[test]
fn the_patterns_compile() {
    assert!(WORDS.is_some());
    assert!(PATTERNS.iter().all(|pattern| Regex::new(pattern.expression).is_ok()));
}

#[test]
fn secrets_go() {
    let token = "a1B2".repeat(10);
    for (text, clean) in [
        ("RUN NPM_TOKEN=abc123 npm ci", "RUN NPM_TOKEN=**** npm ci"),
        ("ARG DB_PASSWORD='two words' x", "ARG DB_PASSWORD='****' x"),
        ("RUN export API_KEY=\"k-1\" && ./x", "RUN export API_KEY=\"****\" && ./x"),
        ("--build-arg GITHUB_TOKEN=hunter2 .", "--build-arg GITHUB_TOKEN=**** ."),
        ("|3 SECRET_KEY=a B=2 AUTH_TOKEN=c /bin/sh", "|3 SECRET_KEY=**** B=2 AUTH_TOKEN=**** /bin/sh"),
        ("git clone https://me:s3cr3t@example.org/a.git", "git clone https://****@example.org/a.git"),
        ("git clone https://tok3n@example.org/a.git", "git clone https://****@example.org/a.git"),
        ("pip install git+https://u:p@h/x.git@v1", "pip install git+https://****@h/x.git@v1"),
        ("postgres://app:pw@db:5432/x", "postgres://****@db:5432/x"),
        ("curl -u me:pw1 https://h/x", "curl -u me:**** https://h/x"),
        ("curl -fsSL --user 'me:pw1' https://h/x", "curl -fsSL --user 'me:****' https://h/x"),
        ("curl -H \"Authorization: Bearer abcdefgh\" https://h", "curl -H \"Authorization: Bearer ****\" https://h"),
        ("curl -H 'PRIVATE-TOKEN: abcd1234' https://h", "curl -H 'PRIVATE-TOKEN: ****' https://h"),
        ("bearer 0123456789abcdef", "bearer ****"),
        ("https://b.s3.amazonaws.com/x?X-Amz-Signature=abc&y=1", "https://b.s3.amazonaws.com/x?X-Amz-Signature=****&y=1"),
        ("https://h/x?access_token=abc&y=1", "https://h/x?access_token=****&y=1"),
        ("docker login -u me -p hunter2 registry", "docker login -u me -p **** registry"),
        ("RUN docker login --username me --password hunter2", "RUN docker login --username me --password ****"),
        ("sshpass -p hunter2 ssh h", "sshpass -p **** ssh h"),
        ("mysql -u root -phunter2 db", "mysql -u root -p**** db"),
        ("redis-cli -h r -a hunter2 ping", "redis-cli -h r -a **** ping"),
        ("npm config set //r.example/:_authToken abc-def", "npm config set //r.example/:_authToken ****"),
        ("echo \"//r.example/:_authToken=abc\" > .npmrc", "echo \"//r.example/:_authToken=****\" > .npmrc"),
        ("{\"password\": \"x y\", \"user\": \"u\"}", "{\"password\": \"****\", \"user\": \"u\"}"),
        ("A=TOKEN=y1", "A=TOKEN=****"),
        ("--access-token abc --other x", "--access-token **** --other x"),
    ] {
        assert_eq!(redacted(text), clean);
    }
    for secret in [
        format!("ghp_{token}"),
        format!("github_pat_{token}"),
        format!("glpat-{}", &token[..20]),
        "AKIAIOSFODNN7EXAMPLE".to_owned(),
        format!("npm_{}", &token[..36]),
        "xoxb-123456789012-abcdefABCDEF".to_owned(),
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N".to_owned(),
        format!("dckr_pat_{}", &token[..27]),
        format!("sk-ant-{token}"),
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----".to_owned(),
        "-----BEGIN PRIVATE KEY-----\nMIIE".to_owned(),
    ] {
        assert_eq!(redacted(&format!("RUN echo {secret}")), "RUN echo ****", "{secret}");
    }
}

#[test]
fn look_alikes_stay() {
    for text in [
        "[1/7] FROM docker.io/library/alpine:3.20@sha256:6325e9607431b210135efea9703fb50272f50214809df481192de0d56920aea1",
        "Building from commit: 491088b6eb3a5c94ff6418e7e3d13caf6c0e9b70",
        "RUN echo \"Cache bust: 1795227406\"",
        "[auth] library/busybox:pull token for registry-1.docker.io",
        "ERROR: failed to fetch anonymous token: unexpected status: 401 Unauthorized",
        "RUN --mount=type=secret,id=npm_token,target=/run/secrets/npm npm ci",
        "RUN --mount=type=secret,id=token,env=NPM_TOKEN npm ci",
        "docker login -u me --password-stdin",
        "mkdir -p /a/b && cp -p x y",
        "docker run -p 8080:80 app",
        "ssh git@github.com && git clone git@github.com:a/b.git",
        "git clone ssh://git@github.com/a/b.git",
        "NPM_TOKEN=$NPM_TOKEN npm ci && T=${GITHUB_TOKEN}",
        "ENV TOKENIZERS_PARALLELISM=false KEYBOARD=us AUTHOR=Jane",
        "openssl rsa -in server.key --key file.pem",
        "apt-key add - && gpg --keyserver hkps://keys.openpgp.org --recv-keys 0xABCDEF",
        "RUN go test -run TestAuth=x ./auth/...",
        "CACHE_KEY=deps-v1 PUBLIC_KEY=abc",
        "bearer token required",
        "WWW-Authenticate: Bearer realm=x",
        "http://127.0.0.1:5000/v2/ https://h/a@b",
        "PASSWORD= DB_PASSWORD_FILE=/run/secrets/db",
        "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
    ] {
        assert!(matches!(redact(text, &[]), Cow::Borrowed(_)), "{} -> {}", text, redacted(text));
    }
}

/// What comes out where every pattern is tried, whatever the words say.
fn tried_all(text: &str, given: &[String]) -> String {
    static ALL: LazyLock<Vec<Regex>> = LazyLock::new(|| PATTERNS.iter().map(|pattern| Regex::new(pattern.expression).unwrap()).collect());
    let mut redacted = text.to_owned();
    for (expression, pattern) in ALL.iter().zip(&PATTERNS).filter(|(expression, _)| expression.is_match(text)) {
        redacted = replace(&redacted, expression, pattern.secret, given).into_owned();
    }
    redacted
}

/// Texts that a pattern matches.
fn matching(pattern: &Pattern) -> impl Strategy<Value = String> + use<> {
    let expression = pattern.expression.replace(r"(?-u:\b)", "").replace(r"(?-u:\B)", "").replace(r"|\z", "");
    proptest::string::string_regex(&expression).unwrap()
}

#[test]
fn the_words_lose_nothing_of_real_logs() {
    let mut looked_at = 0;
    let mut directories = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata"))];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
                for line in text.lines().take(500).filter(|line| line.len() < 2_000) {
                    assert_eq!(redacted(line), tried_all(line, &[]));
                    looked_at += 1;
                }
            }
        }
    }
    assert!(looked_at > 1_000, "{looked_at}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_words_lose_nothing_that_a_pattern_matches(
        texts in PATTERNS.iter().map(matching).collect::<Vec<_>>(), before in "[ ='\"]|RUN ", after in "[ ='\"@]| x",
    ) {
        let mut masked = 0;
        for text in &texts {
            let text = format!("{before}{text}{after}");
            let clean = redacted(&text);
            prop_assert_eq!(&clean, &tried_all(&text, &[]));
            prop_assert!(clean == text || !is_harmless(&text, &[]));
            masked += usize::from(clean != text);
        }
        prop_assert!(masked > 5, "{:?}", texts);
    }

    #[test]
    fn the_words_lose_nothing_of_names(
        name in "(my|X|--)?[_.-]?(token|Key|KEYS|apiKey|Auth|pass|Pwd|PAT|secret|accesskeyId|license|path|Signature)[_.X]{0,2}(Id|Ab|9)?",
        between in "=|\": |': '| |: ", value in "[a-z0-9'\"]{1,8}", settings in any::<bool>(),
    ) {
        let given = if settings { vec!["*LICENSE*".to_owned()] } else { Vec::new() };
        let text = format!("x {name}{between}{value}\" y");
        prop_assert_eq!(redact(&text, &given), tried_all(&text, &given));
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_a_second_pass_changes_nothing(text in "\\PC{0,80}|(TOKEN|=|:|'|\"|https://|@| |a|b1|--password|é){0,24}") {
        let once = redacted(&text);
        prop_assert_eq!(redacted(&once), once.clone());
    }

    #[test]
    fn an_assigned_secret_never_survives(name in "[A-Z]{1,6}_(TOKEN|PASSWORD|SECRET|API_KEY)", value in "[A-Za-z0-9+/_-]{8,40}", around in "[a-z ]{0,10}") {
        let text = format!("{around} {name}={value} {around}");
        prop_assume!(!around.contains(&value));
        if !names::is_harmless_value(&name, &value) && !value.starts_with('-') {
            prop_assert!(!redacted(&text).contains(&value));
        }
    }
}
