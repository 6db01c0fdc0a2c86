//! RUN commands that fetch code from elsewhere, whose result the cache keeps whatever happens there.

use std::sync::LazyLock;

use regex::Regex;

/// Commands that fetch code which nothing in the Dockerfile pins.
static FETCHES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?x)
        \bgit\s+(?:-\S+\s+(?:\S+=\S+\s+)?)*(?:clone|fetch|pull|submodule\s+update)\b
        | \bgo\s+(?:install|get)\s[^;&|]*@(?:latest|main|master|HEAD)\b
        | \b(?:pip3?|uv\s+pip|pipx)\s+install\s[^;&|]*git\+
        | \b(?:npm|yarn|pnpm)\s+(?:i|install|add)\s[^;&|]*(?:git\+|github:|@latest\b)
        | \bcargo\s+install\s[^;&|]*--git\b
        | \bsvn\s+(?:checkout|co|export)\b",
    )
    .ok()
});
static DOWNLOADS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b(?:curl|wget|aria2c)\b[^;&|]*?(?:https?|ftp)://([^\s;&|]+)").ok());
/// A commit id, or a digest that is checked.
static PINS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b[0-9a-f]{40}\b|\b[0-9a-f]{64}\b|\bsha(?:256|512|1)sum\b[^;&|]*\s(?:-c|--check)\b").ok());
/// A version in a URL's path: what stands under such a name is not expected to change.
static VERSION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?:^|[^0-9])v?[0-9]+\.[0-9]+").ok());

/// The part of a RUN that fetches unpinned remote code; `None` where there is none.
pub fn unpinned_fetch(command: &str) -> Option<&str> {
    if PINS.as_ref().is_some_and(|pins| pins.is_match(command)) {
        return None;
    }
    if let Some(found) = FETCHES.as_ref().and_then(|fetches| fetches.find(command)) {
        return Some(found.as_str());
    }
    let download = DOWNLOADS.as_ref()?.captures(command)?;
    let path = download.get(1)?.as_str().split_once('/').map_or("", |(_, path)| path);
    let versioned = VERSION.as_ref().is_some_and(|version| version.is_match(path));
    (!versioned).then(|| download.get(0).map(|found| found.as_str())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_and_what_is_pinned() {
        for command in [
            "RUN git clone -q http://127.0.0.1:8/lib.git /lib",
            "RUN wget -q -O /lib.txt http://127.0.0.1:8001/lib.txt",
            "RUN curl -fsSL https://sh.example.org/install.sh | sh",
            "RUN pip install git+https://example.org/x.git",
            "RUN go install example.org/x@latest",
        ] {
            assert!(unpinned_fetch(command).is_some(), "{command}");
        }
        for command in [
            "RUN apt-get install -y git curl",
            "RUN git clone https://x/y && cd y && git checkout 0123456789012345678901234567890123456789",
            "RUN curl -fsSLO https://example.org/x-1.24.tar.gz",
            "RUN curl -fsSLo x https://example.org/x && echo '…  x' | sha256sum -c -",
            "RUN pip install -r requirements.txt",
        ] {
            assert_eq!(unpinned_fetch(command), None, "{command}");
        }
    }
}
