//! What a rule is called and what there is to say about it.

use super::Severity;

/// A rule: its name, how bad its findings are by themselves, and its documentation.
#[derive(Debug, PartialEq, Eq)]
pub struct Meta {
    /// The name in kebab-case; stable.
    pub name: &'static str,
    /// How bad a finding is, unless the rule or the settings say otherwise.
    pub severity: Severity,
    /// What it finds, in one line.
    pub summary: &'static str,
    /// The documentation.
    pub docs: Docs,
}

/// The documentation of a rule: Markdown under fixed headings.
#[derive(Debug, PartialEq, Eq)]
pub struct Docs {
    /// What it finds.
    pub finds: &'static str,
    /// Why that matters.
    pub matters: &'static str,
    /// An excerpt of a real log or file.
    pub example: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// What was measured, where the common belief is another.
    pub measured: Option<&'static str>,
}

impl Meta {
    /// The documentation as Markdown, its heading of the given level.
    pub fn markdown(&self, level: usize) -> String {
        let heading = "#".repeat(level);
        let mut text = format!("{heading} {}\n\n{} ({} by default)\n", self.name, self.summary, self.severity.name());
        let sections = [("What it finds", Some(self.docs.finds)), ("Why it matters", Some(self.docs.matters))];
        let rest = [("What was measured", self.docs.measured), ("What to do", Some(self.docs.fix))];
        for (title, body) in sections {
            text += &section(&heading, title, body);
        }
        text += &format!("\n{heading}# Example\n\n```text\n{}\n```\n", self.docs.example.trim_matches('\n'));
        for (title, body) in rest {
            text += &section(&heading, title, body);
        }
        text
    }
}

fn section(heading: &str, title: &str, body: Option<&str>) -> String {
    body.map_or_else(String::new, |body| format!("\n{heading}# {title}\n\n{}\n", body.trim()))
}
