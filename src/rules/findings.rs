//! Findings as rules make them, and what the settings and comments say of them.

use std::collections::{BTreeMap, HashMap};

use super::{BuildFacts, Confidence, Facts, FileFacts, Finding, Fix, InLog, Location, Meta, Severity, SourceFile};
use crate::{build::Step, evidence::repository::File, policy::Policy, redact::names::wildcard};

/// More findings of one rule than this are counted, not kept: nobody reads them, and memory must stay bounded.
const MOST_OF_A_RULE: usize = 500;

/// A finding in the making.
#[derive(Debug, Clone)]
pub struct Draft {
    severity: Option<Severity>,
    confidence: Confidence,
    in_log: Option<InLog>,
    location: Option<Location>,
    message: String,
    evidence: Vec<String>,
    files: Vec<String>,
    help: String,
    fix: Option<Fix>,
}

impl Draft {
    /// Begins with what is wrong, in one sentence without a full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            severity: None,
            confidence: Confidence::Likely,
            in_log: None,
            location: None,
            message: message.into(),
            evidence: Vec::new(),
            files: Vec::new(),
            help: String::new(),
            fix: None,
        }
    }

    /// Another severity than the rule's.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// How sure it is; `likely` otherwise.
    pub fn confidence(mut self, confidence: Confidence) -> Self {
        self.confidence = confidence;
        self
    }

    /// It is about a step: where it stands in the log and, if the Dockerfile is known, there.
    pub fn step(mut self, build: &BuildFacts<'_>, step: &Step) -> Self {
        self.in_log = Some(InLog {
            build: build.number,
            index: Some(step.index),
            line: Some(step.lines.0),
            step: Some(step.name.clone()),
            status: Some(step.status),
        });
        if self.location.is_none()
            && let Some((source, line, end_line)) = build.line_of(step)
        {
            self = self.at(source, line, end_line);
        }
        self
    }

    /// It is about a build as a whole.
    pub fn build(mut self, build: &BuildFacts<'_>) -> Self {
        self.in_log = Some(InLog { build: build.number, index: None, line: Some(build.build.lines.0), step: None, status: None });
        self
    }

    /// It is about a line of the log.
    pub fn log_line(mut self, build: usize, line: u64) -> Self {
        self.in_log = Some(InLog { build, index: None, line: Some(line), step: None, status: None });
        self
    }

    /// It is about lines of a Dockerfile, from 1.
    pub fn at(mut self, source: &SourceFile, line: usize, end_line: usize) -> Self {
        self.location = Some(location(source, line, end_line));
        self
    }

    /// It is about lines of a file of a repository, from 1.
    pub fn in_file(mut self, file: &File, line: usize, end_line: usize) -> Self {
        let number = |line: usize| u32::try_from(line).unwrap_or(u32::MAX);
        let end_line = end_line.max(line);
        let text = file.lines(line, end_line);
        self.location =
            Some(Location { path: file.path.clone(), in_repository: None, line: number(line), end_line: number(end_line), text });
        self
    }

    /// Edits that mend it. They must be safe: what the file does otherwise stays as it is.
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }

    /// What tells it from other findings of its rule: place and message.
    pub(super) fn key(&self) -> String {
        let place = self.location.as_ref().map(|location| format!("{}:{}", location.path, location.line));
        format!("{} {}", place.unwrap_or_default(), self.message)
    }

    /// One more line of evidence.
    pub fn evidence(mut self, line: impl Into<String>) -> Self {
        self.evidence.push(line.into());
        self
    }

    /// The files concerned.
    pub fn files(mut self, files: &[String]) -> Self {
        self.files.extend_from_slice(files);
        self
    }

    /// What to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// Takes the findings of all rules.
#[derive(Debug)]
pub struct Findings<'a> {
    policy: &'a Policy,
    found: Vec<Finding>,
    /// By rule: how many there are, and how bad the worst is of those that are not kept.
    counts: BTreeMap<&'static str, (usize, Severity)>,
}

impl<'a> Findings<'a> {
    /// Makes an empty list under these settings.
    pub fn new(policy: &'a Policy) -> Self {
        Self { policy, found: Vec::new(), counts: BTreeMap::new() }
    }

    /// Adds a finding, unless the settings turn its rule off.
    pub fn add(&mut self, rule: &'static Meta, draft: Draft) {
        let severity = match self.policy.severity(rule.name) {
            Some(None) => return,
            Some(Some(severity)) => severity,
            None => draft.severity.unwrap_or(rule.severity),
        };
        let (count, worst) = self.counts.entry(rule.name).or_insert((0, Severity::Note));
        *count += 1;
        if *count > MOST_OF_A_RULE {
            *worst = severity.max(*worst);
            return;
        }
        self.found.push(Finding {
            rule: rule.name,
            severity,
            confidence: draft.confidence,
            in_log: draft.in_log,
            location: draft.location,
            message: draft.message,
            evidence: draft.evidence,
            files: draft.files,
            help: draft.help,
            fix: draft.fix,
            suppressed: None,
        });
    }

    /// Takes a finding that was made elsewhere.
    pub fn take(&mut self, finding: &Finding) {
        match self.policy.severity(finding.rule) {
            Some(None) => {}
            Some(Some(severity)) => self.found.push(Finding { severity, ..finding.clone() }),
            None => self.found.push(finding.clone()),
        }
    }

    /// The findings, the worst first, with what suppresses them. `today` is `YYYY-MM-DD`; `known` are the fingerprints of the baseline
    /// file; `comment` gives the comment that silences a finding.
    pub fn finish(self, today: &str, known: &[String], comment: impl Fn(&Finding) -> Option<String>) -> Vec<Finding> {
        let Self { policy, mut found, counts } = self;
        found.extend(
            counts.into_iter().filter(|(_, (count, _))| *count > MOST_OF_A_RULE).map(|(rule, (count, worst))| more(rule, count, worst)),
        );
        for finding in &mut found {
            finding.suppressed = comment(finding)
                .or_else(|| accepted(finding, policy, today))
                .or_else(|| known.contains(&finding.fingerprint()).then(|| "in the baseline file".to_owned()));
        }
        let place = |finding: &Finding| finding.in_log.as_ref().map(|place| (place.build, place.index, place.line));
        fn in_file(finding: &Finding) -> Option<(&str, u32)> {
            finding.location.as_ref().map(|location| (location.path.as_str(), location.line)).filter(|_| finding.in_log.is_none())
        }
        found.sort_by(|a, b| {
            let by_place = || place(a).cmp(&place(b)).then_with(|| in_file(a).cmp(&in_file(b)));
            (b.severity, b.confidence).cmp(&(a.severity, a.confidence)).then_with(by_place)
        });
        found
    }
}

/// Says how many findings of a rule are not listed. It is as bad as the worst of them, so that the exit code is the same.
fn more(rule: &'static str, count: usize, worst: Severity) -> Finding {
    Finding {
        rule,
        severity: worst,
        confidence: Confidence::Certain,
        in_log: None,
        location: None,
        message: format!("there are more than {MOST_OF_A_RULE} findings of this rule: the others are not listed"),
        evidence: vec![format!("{count} in all, {} not listed", count - MOST_OF_A_RULE)],
        files: Vec::new(),
        help: "mend or silence these, or turn the rule off with [rules] in bklog.toml".to_owned(),
        fix: None,
        suppressed: None,
    }
}

/// The reason of a `# bklog: ignore[rule]` comment for the instruction that the finding is about.
fn comment<'s>(finding: &Finding, mut sources: impl Iterator<Item = &'s SourceFile>) -> Option<String> {
    let location = finding.location.as_ref()?;
    let source = sources.find(|source| source.path == location.path)?;
    let line = usize::try_from(location.line).ok()?;
    let named = |rules: &[String]| rules.iter().any(|rule| rule == finding.rule);
    let found = source.dockerfile.suppressions.iter().find(|comment| comment.applies_to == Some(line) && named(&comment.rules))?;
    let reason = if found.reason.is_empty() { "no reason given" } else { &found.reason };
    Some(format!("{}:{}: {reason}", source.path, found.line))
}

fn accepted(finding: &Finding, policy: &Policy, today: &str) -> Option<String> {
    let fits = |pattern: &Option<String>, text: &str| pattern.as_ref().is_none_or(|pattern| wildcard(pattern.as_bytes(), text.as_bytes()));
    let step = finding.in_log.as_ref().and_then(|place| place.step.as_deref()).unwrap_or_default();
    let entry = policy.accepted.iter().find(|entry| {
        entry.rule == finding.rule
            && entry.until.as_deref().is_none_or(|until| today <= until)
            && fits(&entry.step, step)
            && (finding.files.is_empty() && fits(&entry.file, "")
                || finding.files.iter().any(|file| fits(&entry.file, file))
                || finding.in_log.is_none() && finding.location.as_ref().is_some_and(|location| fits(&entry.file, &location.path)))
    })?;
    Some(format!("accepted: {}", entry.reason))
}

/// A finding that was made elsewhere, with the lines of the Dockerfile that it is about.
fn completed(facts: &Facts<'_>, finding: &Finding) -> Finding {
    let mut finding = finding.clone();
    let Some(place) = &finding.in_log else { return finding };
    let Some(build) = facts.builds.iter().find(|build| build.number == place.build) else { return finding };
    let step = build.build.steps.iter().find(|step| Some(step.index) == place.index);
    if let (None, Some((source, line, end_line))) = (&finding.location, step.and_then(|step| build.line_of(step))) {
        finding.location = Some(location(source, line, end_line));
    } else if let Some(known) = &mut finding.location
        && known.text.is_empty()
        && let Some(source) = build.targets.iter().filter_map(|target| target.source).find(|source| source.path == known.path)
    {
        let number = |line: u32| usize::try_from(line).unwrap_or(usize::MAX);
        known.text = source.lines(number(known.line), number(known.end_line));
    }
    finding
}

fn location(source: &SourceFile, line: usize, end_line: usize) -> Location {
    let number = |line: usize| u32::try_from(line).unwrap_or(u32::MAX);
    Location {
        path: source.path.clone(),
        in_repository: None,
        line: number(line),
        end_line: number(end_line),
        text: source.lines(line, end_line),
    }
}

/// Runs every rule about logs. See [`Findings::finish`] for `today` and `known`.
pub fn judge(facts: &Facts<'_>, today: &str, known: &[String]) -> Vec<Finding> {
    let mut findings = Findings::new(facts.policy);
    for finding in facts.raised {
        findings.take(&completed(facts, finding));
    }
    for rule in super::LOG_RULES {
        rule.check(facts, &mut findings);
    }
    let sources = facts.builds.iter().flat_map(|build| &build.targets).filter_map(|target| target.source);
    findings.finish(today, known, |finding| comment(finding, sources.clone()))
}

/// Runs every rule about files. See [`Findings::finish`] for `today` and `known`.
pub fn judge_files(facts: &FileFacts<'_>, today: &str, known: &[String]) -> Vec<Finding> {
    let mut findings = Findings::new(facts.policy);
    for rule in super::FILE_RULES {
        rule.check_files(facts, &mut findings);
    }
    // A file that says nothing to bklog need not be looked at for every finding.
    let speaking = facts.repository.files.iter().filter(|file| !file.suppressions.is_empty());
    let files: HashMap<&str, &File> = speaking.map(|file| (file.path.as_str(), file)).collect();
    findings.finish(today, known, |finding| comment_in_file(finding, &files))
}

/// The reason of a `bklog: ignore[rule]` comment for the lines that a finding is about.
fn comment_in_file(finding: &Finding, files: &HashMap<&str, &File>) -> Option<String> {
    let location = finding.location.as_ref()?;
    let file = files.get(location.path.as_str())?;
    let within = |line: usize| (location.line..=location.end_line).contains(&u32::try_from(line).unwrap_or(u32::MAX));
    let found = file
        .suppressions
        .iter()
        .find(|comment| comment.applies_to.is_some_and(within) && comment.rules.iter().any(|rule| rule == finding.rule))?;
    let reason = if found.reason.is_empty() { "no reason given" } else { &found.reason };
    Some(format!("{}:{}: {reason}", file.path, found.line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_counted_and_still_fails() {
        let meta = super::super::named("stale-copy").unwrap();
        let policy = Policy::default();
        let mut findings = Findings::new(&policy);
        for at in 0..MOST_OF_A_RULE + 7 {
            let severity = if at == MOST_OF_A_RULE + 3 { Severity::Error } else { Severity::Note };
            findings.add(meta, Draft::new("x").severity(severity));
        }
        let found = findings.finish("2026-11-21", &[], |_| None);
        assert_eq!(found.len(), MOST_OF_A_RULE + 1);
        assert_eq!((found[0].severity, found[0].evidence.as_slice()), (Severity::Error, &["507 in all, 7 not listed".to_owned()][..]));
        let mut findings = Findings::new(&policy);
        (0..MOST_OF_A_RULE).for_each(|_| findings.add(meta, Draft::new("x")));
        assert_eq!(findings.finish("2026-11-21", &[], |_| None).len(), MOST_OF_A_RULE);
    }
}
