//! Secrets out of every text that leaves the program.
//!
//! A log carries what a build prints and what its instructions expand to: passwords in build arguments, tokens in URLs and headers. No
//! report and no record may repeat them. What a secret looks like is told by the name in front of it ([`names`]), by where it stands
//! (a URL, a header, a flag), or by its own shape (`patterns`); besides, the values that the caller knows to be secret are taken out
//! wherever they stand. Taken out means replaced by [`MASK`].
//!
//! [`Redacted`] is the gate: the writers of reports take nothing but what went through it.

pub mod names;
mod patterns;
mod record;

use std::borrow::Cow;

pub use record::Redacted;

/// Stands where a secret stood.
pub const MASK: &str = "****";

/// Values shorter than this are not looked for by themselves: they would match by chance.
const SHORTEST_VALUE: usize = 6;

/// Takes the secrets out of a text, as far as the text by itself shows them.
pub fn text(text: &str) -> Cow<'_, str> {
    patterns::redact(text, &[])
}

/// What is known to be secret beyond what a text shows by itself.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    /// Further names whose values are secret, in upper case; `*` stands for anything.
    names: Vec<String>,
    /// Values that are secret wherever they stand, the longest first.
    values: Vec<String>,
}

impl Redactor {
    /// Makes one that knows further names: those of the settings file, in which `*` stands for any characters.
    pub fn new(names: &[String]) -> Self {
        Self { names: names.iter().map(|name| name.to_ascii_uppercase()).collect(), values: Vec::new() }
    }

    /// Learns from a build argument: if its name says that it is secret, its value is taken out wherever it stands.
    pub fn learn(&mut self, name: &str, value: &str) {
        if value.len() >= SHORTEST_VALUE && !self.values.iter().any(|known| known == value) && self.is_secret(name, value) {
            self.values.push(value.to_owned());
            // A secret may hold another one.
            self.values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        }
    }

    /// True where the name of a variable says that its value is secret.
    pub fn is_secret(&self, name: &str, value: &str) -> bool {
        names::given(name, &self.names) || (names::is_secret(name) && !names::is_harmless_value(name, value))
    }

    /// True where a look at the text suffices to say that neither it nor any part of it holds a secret.
    pub(crate) fn is_harmless(&self, text: &str) -> bool {
        patterns::is_harmless(text, &self.names) && !self.values.iter().any(|value| text.contains(value.as_str()))
    }

    /// Takes the secrets out of a text.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut redacted = patterns::redact(text, &self.names);
        for value in &self.values {
            if redacted.contains(value.as_str()) {
                redacted = Cow::Owned(redacted.replace(value.as_str(), MASK));
            }
        }
        redacted
    }

    /// Takes the secrets out of a text in place.
    pub fn clean(&self, text: &mut String) {
        if let Cow::Owned(redacted) = self.text(text) {
            *text = redacted;
        }
    }

    /// Takes the secrets out of lines that follow one another: a private key goes over many.
    pub fn clean_lines(&self, lines: &mut [String]) {
        let mut in_key = false;
        for line in lines {
            let begins = patterns::begins_private_key(line);
            let ends = patterns::ends_private_key(line);
            if in_key {
                MASK.clone_into(line);
            } else {
                self.clean(line);
            }
            in_key = (in_key || begins) && !ends;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_settings_name_is_secret() {
        let redactor = Redactor::new(&["license_*".to_owned()]);
        assert_eq!(redactor.text("RUN LICENSE_CODE=abc-1 ./install"), "RUN LICENSE_CODE=**** ./install");
        assert_eq!(text("RUN LICENSE_CODE=abc-1 ./install"), "RUN LICENSE_CODE=abc-1 ./install");
    }

    #[test]
    fn a_known_value_is_secret_everywhere() {
        let mut redactor = Redactor::default();
        redactor.learn("NPM_TOKEN", "tr0ub4dor&3");
        redactor.learn("VERSION", "3.21.0");
        redactor.learn("DB_PASSWORD", "abc");
        assert_eq!(redactor.text("RUN echo tr0ub4dor&3 > /x 3.21.0 abc"), "RUN echo **** > /x 3.21.0 abc");
    }

    #[test]
    fn a_key_over_many_lines() {
        let mut lines = ["-----BEGIN OPENSSH PRIVATE KEY-----", "b3BlbnNzaC1rZXktdjEAAAAA", "-----END OPENSSH PRIVATE KEY-----", "done"]
            .map(str::to_owned);
        Redactor::default().clean_lines(&mut lines);
        assert_eq!(lines, [MASK, MASK, MASK, "done"]);
    }
}
