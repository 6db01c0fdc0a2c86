//! Earlier runs out of the history, as the rules ask for them.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{
    build::{Status, StepName},
    evidence::build_command,
    history::{History, RunRow, StepRow},
    rules::{EarlierRun, EarlierRuns},
};

/// So many runs are read.
const READ: usize = 10;

/// The runs before the one that is judged; they are read when a rule asks for the first time.
#[derive(Debug)]
pub(super) struct Ledger<'h> {
    history: &'h History,
    cwd: PathBuf,
    runs: OnceCell<Vec<(RunRow, Vec<StepRow>)>>,
}

impl<'h> Ledger<'h> {
    /// `cwd` is the directory that recorded commands are read in.
    pub(super) fn new(history: &'h History, cwd: PathBuf) -> Self {
        Self { history, cwd, runs: OnceCell::new() }
    }

    /// The build arguments of a recorded run. What is secret was not recorded.
    fn arguments(&self, run: &RunRow, target: Option<&str>) -> BTreeMap<String, String> {
        // The values of variables were those of the run's environment, which nobody knows any more.
        let env = |_: &str| None;
        let commands = run.command.iter().flat_map(|text| text.lines()).filter_map(|text| build_command::parse(text, &self.cwd, &env).ok());
        let targets = commands.flat_map(|command| command.targets);
        let wanted = targets.filter(|built| target.is_none() || built.name.as_deref() == target);
        wanted.flat_map(|built| built.args).filter_map(|arg| Some((arg.name, arg.value?))).collect()
    }
}

impl EarlierRuns for Ledger<'_> {
    fn of(&self, target: Option<&str>) -> Vec<EarlierRun> {
        // A history that cannot be read has been named already; here it holds nothing.
        let runs = self.runs.get_or_init(|| self.history.earlier_steps(READ).unwrap_or_default());
        // Not the recorded target: that can be a name that the ledger gave to a build, which is not how its command calls it.
        let of_target = |parts: &StepName| target.is_none() || parts.target.is_none() || parts.target.as_deref() == target;
        let earlier = runs.iter().map(|(run, steps)| {
            let mut earlier = EarlierRun {
                run: run.run.clone(),
                commit: run.commit.clone(),
                at: Some(run.at.to_string()),
                args: self.arguments(run, target),
                ..EarlierRun::default()
            };
            for (step, parts) in steps.iter().map(|step| (step, StepName::parse(&step.name))).filter(|(_, parts)| of_target(parts)) {
                let text = step.name.get(parts.bracket_bytes..).unwrap_or(&step.name).to_owned();
                match step.keyword.as_deref() {
                    Some("FROM") => earlier.bases.push(text),
                    Some(_) => earlier.steps.push((text, step.status == Status::Cached && step.cache_hit != Some(false))),
                    None => {}
                }
            }
            earlier
        });
        earlier.filter(|run| !run.steps.is_empty()).collect()
    }
}
