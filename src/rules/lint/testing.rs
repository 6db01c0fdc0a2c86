//! Repositories for the tests of rules about files.

use std::{fs, path::Path};

use super::{super::findings::judge_files, FileFacts};
use crate::{evidence::repository::Repository, policy, rules::Finding};

/// A small repository on disk.
#[derive(Debug)]
pub(in crate::rules) struct Tree {
    dir: tempfile::TempDir,
    policy: String,
}

impl Tree {
    /// Writes the files: path and text each.
    pub(in crate::rules) fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self { dir: tempfile::tempdir().unwrap(), policy: String::new() };
        for (path, text) in files {
            let path = tree.dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    /// Settings, as `bklog.toml` has them.
    pub(in crate::rules) fn policy(mut self, text: &str) -> Self {
        text.clone_into(&mut self.policy);
        self
    }

    /// All findings, suppressed ones too.
    pub(in crate::rules) fn findings(&self) -> Vec<Finding> {
        let mut repository = Repository::read(Path::new("."), self.dir.path()).unwrap();
        repository.check_scripts();
        let policy = policy::parse(&self.policy, Path::new("bklog.toml"), &crate::rules::names()).unwrap();
        judge_files(&FileFacts { repository: &repository, policy: &policy }, "2026-11-21", &[])
    }

    /// The findings of a rule that nothing suppresses, as `path:line: severity: message`, in the order of files and lines.
    pub(in crate::rules) fn found(&self, rule: &str) -> Vec<String> {
        let mut found: Vec<(String, u32, String)> = Vec::new();
        for finding in self.findings().into_iter().filter(|finding| finding.rule == rule && finding.suppressed.is_none()) {
            let (path, line) = finding.location.map_or((".".to_owned(), 0), |location| (location.path, location.line));
            let text = format!("{path}:{line}: {}: {}", finding.severity.name(), finding.message);
            found.push((path, line, text));
        }
        found.sort();
        found.into_iter().map(|(.., text)| text).collect()
    }

    /// What the fixes of all findings make of the files that they change: path and text each, by path.
    pub(in crate::rules) fn fixed(&self) -> Vec<(String, String)> {
        let repository = Repository::read(Path::new("."), self.dir.path()).unwrap();
        let plan = super::super::fix::plan(&repository, &self.findings());
        plan.files.into_iter().map(|change| (change.path, change.after)).collect()
    }

    /// As [`Tree::found`], the places alone: `path:line`.
    pub(in crate::rules) fn places(&self, rule: &str) -> Vec<String> {
        self.found(rule).iter().map(|text| text.split(": ").next().unwrap_or_default().to_owned()).collect()
    }
}
