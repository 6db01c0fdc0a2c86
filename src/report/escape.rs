//! Text from a log, made harmless for where it goes. A log carries whatever a build prints.

use std::borrow::Cow;

/// Makes a text safe for one line of a terminal: no byte of it can move the cursor, change colours or reverse the direction of
/// reading. Control characters become their visible pictures (`␛`, `␊`), the invisible ones of Unicode their code (`<202E>`).
pub fn terminal(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => safe.push(' '),
            '\u{7f}' => safe.push('\u{2421}'),
            c if u32::from(c) < 0x20 => safe.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}')),
            c if is_unsafe(c) => safe.push_str(&format!("<{:04X}>", u32::from(c))),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// As [`terminal`], and harmless for the logs of CI systems too: `##[…]`, `##vso[…]` and `##teamcity[…]` are commands to some of them
/// wherever they stand in a line. (`::error::` is one only at the beginning of a line, and no line of a report begins with foreign text.)
pub fn ci(text: &str) -> Cow<'_, str> {
    let safe = terminal(text);
    if !safe.contains("##") {
        return safe;
    }
    let mut apart = String::with_capacity(safe.len() + 8);
    for c in safe.chars() {
        if c == '#' && apart.ends_with('#') {
            apart.push(' ');
        }
        apart.push(c);
    }
    Cow::Owned(apart)
}

/// Controls (C0, DEL, C1), line separators, and the characters that change the direction of what follows.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Makes a text safe for a cell of a Markdown table or a line of Markdown prose: no markup, no HTML, no new line.
pub fn markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for c in terminal(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '!' | '|' | '~' | '@' => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        assert_eq!(terminal("RUN echo ok"), "RUN echo ok");
        assert_eq!(terminal("a\x1b[31mb\r\nc\x07\x7f\u{9b}d"), "a␛[31mb␍␊c␇␡<009B>d");
        assert_eq!(terminal("x\u{202e}y\u{2028}z"), "x<202E>y<2028>z");
        assert_eq!(terminal("日本語 ü"), "日本語 ü");
    }

    #[test]
    fn no_command_for_a_ci_system() {
        assert_eq!(ci("a ##[error]b ###vso[x] # #1"), "a # #[error]b # # #vso[x] # #1");
        assert_eq!(ci("#7 [2/3] RUN x"), "#7 [2/3] RUN x");
    }

    #[test]
    fn markdown_stays_text() {
        assert_eq!(markdown("a|b <b>`x`</b>\n[l](u)"), "a\\|b &lt;b&gt;\\`x\\`&lt;/b&gt;␊\\[l\\]\\(u\\)");
    }
}
