//! Facts for the tests of rules, made of a log, a Dockerfile and a command.

use std::path::Path;

use super::{BuildFacts, EarlierRun, EarlierRuns, Facts, Finding, GitFacts, NoHistory, SourceFile, judge};
use crate::{
    build::{Build, collect::Collector},
    evidence::build_command::{self, BuildCommand},
    freshness::StepVerdict,
    log::Reader,
    policy::{self, Policy},
};

/// What a rule is to judge.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) log: String,
    /// One for each build: the command and the Dockerfile's text.
    pub(super) commands: Vec<(String, String)>,
    pub(super) policy: String,
    pub(super) git: Option<GitFacts>,
    pub(super) earlier: Vec<EarlierRun>,
    pub(super) verdicts: Vec<StepVerdict>,
}

#[derive(Debug)]
struct Earlier(Vec<EarlierRun>);

impl EarlierRuns for Earlier {
    fn of(&self, _: Option<&str>) -> Vec<EarlierRun> {
        self.0.clone()
    }
}

/// A log whose steps are `name | status`, numbered from 1: `[2/3] RUN x | CACHED`, `… | DONE 0.1s`. A line without `|` stands as it is.
pub(super) fn log(lines: &[&str]) -> String {
    let mut text = String::new();
    let mut index = 0;
    for line in lines {
        match line.rsplit_once(" | ") {
            Some((name, status)) => {
                index += 1;
                text += &format!("#{index} {name}\n#{index} {status}\n\n");
            }
            None => {
                if line.starts_with("=== ") || line.starts_with("Building") {
                    index = 0;
                }
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

impl Case {
    pub(super) fn new(log: String) -> Self {
        Self { log, commands: Vec::new(), policy: String::new(), git: None, earlier: Vec::new(), verdicts: Vec::new() }
    }

    pub(super) fn command(mut self, command: &str, dockerfile: &str) -> Self {
        self.commands.push((command.to_owned(), dockerfile.to_owned()));
        self
    }

    pub(super) fn policy(mut self, policy: &str) -> Self {
        policy.clone_into(&mut self.policy);
        self
    }

    pub(super) fn commit(mut self, commit: &str) -> Self {
        self.git = Some(GitFacts { commit: Some(commit.to_owned()), ..GitFacts::default() });
        self
    }

    pub(super) fn builds(&self) -> (Vec<Build>, Vec<(u64, String)>) {
        let mut builds = Vec::new();
        let mut reader = Reader::new(Collector::new(|build| builds.push(build)));
        reader.feed(self.log.as_bytes());
        let remarks = reader.finish().remarks().to_vec();
        (builds, remarks)
    }

    /// All findings of the case.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let (builds, remarks) = self.builds();
        let policy: Policy = policy::parse(&self.policy, Path::new("bklog.toml"), &crate::rules::names()).unwrap();
        let commands: Vec<BuildCommand> =
            self.commands.iter().map(|(command, _)| build_command::parse(command, Path::new("/w"), &|_| None).unwrap()).collect();
        let sources: Vec<Vec<Option<SourceFile>>> = self
            .commands
            .iter()
            .zip(&commands)
            .map(|((_, text), command)| {
                let path = command.targets[0].dockerfile_path.clone().unwrap();
                vec![Some(SourceFile::new(&path, Path::new("/w"), text.as_bytes()).unwrap())]
            })
            .collect();
        let earlier = Earlier(self.earlier.clone());
        let facts = Facts {
            builds: builds
                .iter()
                .enumerate()
                .map(|(number, build)| match commands.get(number) {
                    Some(command) => BuildFacts::new(number, build, command, &sources[number]),
                    None => BuildFacts::log_only(number, build),
                })
                .collect(),
            remarks: &remarks,
            policy: &policy,
            git: self.git.as_ref(),
            history: if self.earlier.is_empty() { &NoHistory } else { &earlier },
            verdicts: &self.verdicts,
            raised: &[],
        };
        judge(&facts, "2026-11-21", &[])
    }

    /// The messages of the findings of a rule.
    pub(super) fn messages(&self, rule: &str) -> Vec<String> {
        self.findings().into_iter().filter(|finding| finding.rule == rule).map(|finding| finding.message).collect()
    }
}
