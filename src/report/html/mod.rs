//! Pages: one file each, which loads nothing. What a page may do is written into it (a content security policy with the hashes of its
//! one style sheet and its one script), so that nothing that came out of a log could run even if it got past the escaping.

pub mod report;
pub mod timeline;

use std::{fmt, io, sync::OnceLock};

use askama::Template;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::escape;

const STYLE: &str = include_str!("../../../assets/templates/page.css");
const SCRIPT: &str = include_str!("../../../assets/templates/page.js");
const REGULAR: &[u8] = include_bytes!("../../../assets/fonts/Inter-Regular.woff2");
const SEMI_BOLD: &[u8] = include_bytes!("../../../assets/fonts/Inter-SemiBold.woff2");

/// What every page has.
#[derive(Debug)]
pub struct Shell {
    policy: String,
    style: String,
    script: &'static str,
    version: &'static str,
}

impl Shell {
    fn get() -> &'static Self {
        static SHELL: OnceLock<Shell> = OnceLock::new();
        SHELL.get_or_init(|| {
            let face = |font: &[u8], weight: u32| {
                format!(
                    "@font-face{{font-family:Inter;font-weight:{weight};src:url(data:font/woff2;base64,{}) format(\"woff2\")}}\n",
                    STANDARD.encode(font)
                )
            };
            let style = format!("{}{}{STYLE}", face(REGULAR, 400), face(SEMI_BOLD, 600));
            let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
            let policy = format!(
                "default-src 'none'; style-src {}; script-src {}; font-src data:; base-uri 'none'; form-action 'none'",
                hash(&style),
                hash(SCRIPT)
            );
            Self { policy, style, script: SCRIPT, version: env!("CARGO_PKG_VERSION") }
        })
    }
}

/// How values stand in a page: markup escaped, control characters and those that turn the direction of reading made visible.
#[derive(Debug, Clone, Copy)]
pub struct Visible;

impl askama::filters::Escaper for Visible {
    fn write_escaped_str<W: fmt::Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        for c in escape::terminal(text).chars() {
            match c {
                '&' => dest.write_str("&amp;")?,
                '<' => dest.write_str("&lt;")?,
                '>' => dest.write_str("&gt;")?,
                '"' => dest.write_str("&quot;")?,
                '\'' => dest.write_str("&#39;")?,
                c => dest.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The beginning of a page that is written piece by piece.
#[derive(Template)]
#[template(path = "head.html")]
struct Head<'a> {
    shell: &'a Shell,
    title: &'a str,
}

/// Its end.
#[derive(Template)]
#[template(path = "end.html")]
struct End<'a> {
    shell: &'a Shell,
}

/// Writes a template.
fn write(template: &impl Template, out: &mut dyn io::Write) -> io::Result<()> {
    Template::write_into(template, out)
}

/// A number of percent with a digit after the point, for the places of bars.
fn percent(share: f64) -> String {
    format!("{:.2}", (100.0 * share).clamp(0.0, 100.0))
}

/// A link that a page may have: to the web and nowhere else.
fn web_link(url: &str) -> Option<&str> {
    let plain = url.starts_with("https://") || url.starts_with("http://");
    (plain && !url.chars().any(|c| c.is_control() || c.is_whitespace())).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scripts/pages.sh` opens these pages in a browser.
    pub(super) fn write_for_the_browser(name: &str, page: &str) {
        if let Some(directory) = std::env::var_os("BKLOG_PAGES") {
            std::fs::write(std::path::Path::new(&directory).join(format!("{name}.html")), page).unwrap();
        }
    }

    #[test]
    fn links_lead_to_the_web() {
        assert_eq!(web_link("https://ci.example/1?a=b"), Some("https://ci.example/1?a=b"));
        for url in ["javascript:alert(1)", "data:text/html,x", "//x", "https://x\n.y", "file:///etc/passwd"] {
            assert_eq!(web_link(url), None, "{url}");
        }
    }

    #[test]
    fn the_policy_names_what_the_page_holds() {
        let shell = Shell::get();
        let digest = STANDARD.encode(Sha256::digest(shell.script.as_bytes()));
        assert!(shell.policy.contains(&format!("script-src 'sha256-{digest}'")));
        assert!(!shell.policy.contains("unsafe"));
        assert!(!shell.style.contains("http"), "the page loads nothing");
        assert!(!shell.style.contains("</") && !shell.script.contains("</"), "nothing ends its element early");
    }
}
