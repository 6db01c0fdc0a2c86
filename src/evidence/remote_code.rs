//! Remote code in a RUN or an ADD, and whether something pins it.
//!
//! BuildKit keys a RUN by its text: what `git clone` would fetch today is no part of it. A commit id, a checked digest or a version in
//! the text makes the text say what is fetched; without one the cached layer holds what was there when it was built.

use std::{cell::LazyCell, sync::OnceLock};

use regex::{Captures, Match, Regex};

/// One fetch of remote code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The command, as written: `git clone https://…`.
    pub what: String,
    /// What pins it; `None` where nothing does.
    pub pin: Option<Pin>,
}

/// What says which code is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// A commit id.
    Commit,
    /// A digest that is checked.
    Checksum,
    /// A version or tag: by convention it does not move.
    Version,
}

/// An expression that is made when a command first needs it: most commands fetch nothing.
struct Expression {
    text: &'static str,
    made: OnceLock<Option<Regex>>,
}

impl Expression {
    const fn new(text: &'static str) -> Self {
        Self { text, made: OnceLock::new() }
    }

    fn get(&self) -> Option<&Regex> {
        self.made.get_or_init(|| Regex::new(self.text).ok()).as_ref()
    }

    fn is_match(&self, text: &str) -> bool {
        self.get().is_some_and(|expression| expression.is_match(text))
    }

    fn find<'t>(&self, text: &'t str) -> Option<Match<'t>> {
        self.get()?.find(text)
    }
}

/// A command of git that fetches.
static GIT: Expression = Expression::new(r"\bgit\s+(?:-[Cc]\s+\S+\s+|-\S+\s+)*(?:clone|pull|fetch|submodule\s+update|ls-remote)\b");
/// A tag that git is asked for.
static GIT_REF: Expression = Expression::new(r"(?:--branch[ =]|-b\s*)v?[0-9]+\.[0-9]");
/// A download, with its URL.
static DOWNLOAD: Expression = Expression::new(r#"\b(?:curl|wget|aria2c|http|Invoke-WebRequest|iwr)\b.*?\b((?:https?|ftp)://[^\s"'|>)]+)"#);
/// An installation of what is fetched by URL or moves.
static INSTALL: Expression = Expression::new(
    r#"(?x)\b(?:
            (?:pip[0-9.]*|pipx|uv\s+pip|uv\s+tool|poetry|pdm)\s+(?:install|add)\b.*?\b(?:git\+|https?://)
            | (?:npm|pnpm|yarn|bun)\s+(?:i|install|add|global\s+add)\b.*?(?:\bgit\+|\bgithub:|\bgitlab:|\bgit@|https?://|@latest\b|@next\b)
            | npx\s.*?@latest\b
            | go\s+(?:install|get|run)\s.*?@(?:latest|main|master|HEAD|upgrade)\b
            | cargo\s+install\s.*?--git\b
            | gem\s+(?:install|specific_install)\s.*?(?:https?://|git@)
            | (?:svn)\s+(?:co|checkout|export|update)\b
            | (?:composer)\s+(?:create-project|require)\s.*?dev-(?:main|master)\b
            )"#,
);
/// A commit id where one pins.
static COMMIT: Expression = Expression::new(
    r"\b[0-9a-f]{40}\b|\b[0-9a-f]{64}\b|@[0-9a-f]{7,40}\b|#[0-9a-f]{7,40}\b|checkout\s+(?:-\S+\s+)*[0-9a-f]{7,40}\b|reset\s+--hard\s+[0-9a-f]{7,40}\b|--rev[ =][0-9a-f]{7,40}\b",
);
/// A check of what was fetched.
static CHECKSUM: Expression = Expression::new(
    r"\b(?:sha(?:1|224|256|384|512)sum|md5sum|shasum|b2sum)\b[^;&|]*\s(?:-[a-z]*c\b|--check\b)|--hash=sha|--require-hashes|\bgpg[0-9]?\b[^;&|]*--verify|--checksum=sha256|\bcosign\s+verify",
);
/// A version or tag.
static VERSION: Expression =
    Expression::new(r"(?:^|[^0-9A-Za-z])v?[0-9]+\.[0-9]+(?:\.[0-9]+)?|@v[0-9]+|/tags?/|/releases/download/|\$\{?\w*VERSION");

/// Finds the fetches of a RUN's text.
pub fn fetches(command: &str) -> Vec<Fetch> {
    // Quickly over what fetches nothing; most commands do not.
    const HINTS: [&str; 15] =
        ["git", "curl", "wget", "aria2c", "http", "pip", "npm", "yarn", "npx", "go ", "cargo", "gem ", "svn", "iwr", "composer"];
    if !HINTS.iter().any(|hint| command.contains(hint)) {
        return Vec::new();
    }
    // A commit id or a checked digest anywhere speaks for the whole command: the check stands behind the download.
    let whole = LazyCell::new(|| CHECKSUM.is_match(command).then_some(Pin::Checksum));
    let commit = LazyCell::new(|| COMMIT.is_match(command).then_some(Pin::Commit));
    let mut found = Vec::new();
    for segment in segments(command) {
        let git = if segment.contains("git") { GIT.find(segment) } else { None };
        let (start, pin) = if let Some(git) = git {
            (git.start(), commit.or_else(|| GIT_REF.is_match(segment).then_some(Pin::Version)))
        } else if let Some(install) = INSTALL.find(segment) {
            let rest = &segment[install.start()..];
            let moving = rest.contains("@latest") || rest.contains("@next") || rest.contains("@main") || rest.contains("@master");
            (install.start(), commit.or_else(|| (!moving && VERSION.is_match(rest)).then_some(Pin::Version)))
        } else if let Some(download) = download(segment) {
            let url = download.get(1).map_or("", |url| url.as_str());
            (download.get(0).map_or(0, |all| all.start()), pin_of_url(url).or(*commit))
        } else {
            continue;
        };
        let what = segment[start..].trim().chars().take(160).collect();
        found.push(Fetch { what, pin: whole.or(pin) });
    }
    found
}

/// The commands that a text of the shell holds, one after another.
fn segments(command: &str) -> impl Iterator<Item = &str> {
    command.split("&&").flat_map(|text| text.split("||")).flat_map(|text| text.split([';', '\n']))
}

fn download(segment: &str) -> Option<Captures<'_>> {
    if segment.contains("://") { DOWNLOAD.get()?.captures(segment) } else { None }
}

/// What pins the URL of an ADD or a download: a commit id or a version in its path.
pub fn pin_of_url(url: &str) -> Option<Pin> {
    // The host may hold an address, which is no version.
    let path = url.split_once("://").map_or(url, |(_, rest)| rest).split_once('/').map_or("", |(_, path)| path);
    let path = format!("/{path}");
    if COMMIT.is_match(&path) {
        return Some(Pin::Commit);
    }
    let moving = path.contains("/latest") || path.contains("/main/") || path.contains("/master/") || path.contains("/HEAD/");
    (!moving && VERSION.is_match(&path)).then_some(Pin::Version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(command: &str) -> Vec<Option<Pin>> {
        fetches(command).into_iter().map(|fetch| fetch.pin).collect()
    }

    #[test]
    fn the_expressions_can_be_made() {
        assert!([&GIT, &GIT_REF, &DOWNLOAD, &INSTALL, &COMMIT, &CHECKSUM, &VERSION].iter().all(|expression| expression.get().is_some()));
    }

    #[test]
    fn unpinned() {
        for command in [
            "RUN git clone -q http://127.0.0.1:8099/git/lib.git /lib-src",
            "RUN git -C /src pull --ff-only",
            "RUN wget -q -O /lib.txt http://127.0.0.1:8099/lib.txt",
            "RUN curl -fsSL https://sh.example.org/install.sh | sh",
            "RUN pip install git+https://example.org/x.git@main",
            "RUN pip install --upgrade https://example.org/x/archive/master.zip",
            "RUN go install example.org/cmd/x@latest",
            "RUN npm install -g typescript@latest",
            "RUN npm i github:user/repo",
            "RUN cargo install --git https://example.org/x",
            "RUN curl -LO https://example.org/releases/latest/download/x-1.2.tgz",
        ] {
            assert_eq!(pins(command), [None], "{command}");
        }
    }

    #[test]
    fn pinned() {
        for (command, pin) in [
            ("RUN git clone https://x/y /y && git -C /y checkout 0123456789abcdef0123456789abcdef01234567", Pin::Commit),
            ("RUN git clone --branch v1.2.3 --depth 1 https://x/y", Pin::Version),
            ("RUN curl -fsSLO https://example.org/x-1.24.tar.gz", Pin::Version),
            ("RUN curl -fsSLo x https://example.org/x && echo \"$SUM  x\" | sha256sum -c -", Pin::Checksum),
            ("RUN pip install git+https://example.org/x.git@0123abc", Pin::Commit),
            ("RUN pip install git+https://example.org/x.git@v1.4.0", Pin::Version),
            ("RUN cargo install --git https://example.org/x --rev 0123abcd", Pin::Commit),
            ("RUN wget https://example.org/releases/download/v3/x.tgz", Pin::Version),
        ] {
            assert_eq!(pins(command), [Some(pin)], "{command}");
        }
    }

    #[test]
    fn nothing_is_fetched() {
        for command in [
            "RUN apt-get install -y git curl wget",
            "RUN pip install -r requirements.txt",
            "RUN npm ci",
            "RUN go build ./...",
            "RUN git config --global user.name x",
            "RUN echo https://example.org",
            "RUN go install example.org/x@v1.2.3",
            "",
        ] {
            assert!(fetches(command).is_empty(), "{command}");
        }
    }

    #[test]
    fn urls() {
        assert_eq!(pin_of_url("http://127.0.0.1:8099/add.txt"), None);
        assert_eq!(pin_of_url("https://example.org/x-2.1.0.tgz"), Some(Pin::Version));
        assert_eq!(pin_of_url("https://example.org/latest/x-2.1.tgz"), None);
    }
}
