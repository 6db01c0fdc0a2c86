//! What a team wants of build times: budgets, and levels that were accepted as the new normal.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Settings of `bklog trend`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trend {
    /// Smallest factor between two levels that counts as a change.
    pub min_ratio: Option<f64>,
    /// How long things may take.
    pub budgets: Vec<Budget>,
    /// Changes that are the new normal.
    pub accepted: Vec<AcceptedLevel>,
}

/// How long something may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// What.
    pub of: BudgetOf,
    /// How long, in seconds.
    pub seconds: f64,
}

/// What a budget is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BudgetOf {
    /// A whole run.
    Total,
    /// A target of bake or compose; `*` stands for anything.
    Target(String),
    /// A step where it runs: its name with `*`, or a part of it.
    Step(String),
}

/// A change that is the new normal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedLevel {
    /// Since when: a run's id, a commit (seven digits at least), or a day (`YYYY-MM-DD`).
    pub since: String,
    /// Of this target alone.
    pub target: Option<String>,
    /// Why.
    pub reason: String,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct FileTrend {
    min_ratio: Option<f64>,
    budget: FileBudget,
    accept: Vec<FileAcceptedLevel>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct FileBudget {
    total: Option<String>,
    targets: BTreeMap<String, String>,
    steps: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct FileAcceptedLevel {
    since: String,
    target: Option<String>,
    reason: String,
}

/// Fewest digits of a commit: fewer fit too many.
const SHORTEST_COMMIT: usize = 7;

impl FileTrend {
    /// Checks the values. The error says which one is wrong.
    pub(super) fn read(self) -> Result<Trend, String> {
        if let Some(ratio) = self.min_ratio
            && !(1.0..1000.0).contains(&ratio)
        {
            return Err(format!("trend.min-ratio: {ratio} is no factor from 1 on, such as 1.2"));
        }
        let mut budgets = Vec::new();
        let mut add = |of: BudgetOf, key: &str, text: &str| {
            let seconds =
                seconds(text).ok_or_else(|| format!("trend.budget.{key}: {text:?} is no duration: write it as \"8m\" or \"90s\""))?;
            budgets.push(Budget { of, seconds });
            Ok::<(), String>(())
        };
        if let Some(text) = &self.budget.total {
            add(BudgetOf::Total, "total", text)?;
        }
        for (name, text) in &self.budget.targets {
            add(BudgetOf::Target(name.clone()), &format!("targets.{name}"), text)?;
        }
        for (name, text) in &self.budget.steps {
            add(BudgetOf::Step(name.clone()), &format!("steps.{name:?}"), text)?;
        }
        for accepted in &self.accept {
            if accepted.since.len() < SHORTEST_COMMIT {
                let since = &accepted.since;
                return Err(format!(
                    "trend.accept.since: {since:?} is too short: give a run's id, a commit (seven digits or more), or a day"
                ));
            }
        }
        let accepted = self.accept.into_iter().map(|a| AcceptedLevel { since: a.since, target: a.target, reason: a.reason }).collect();
        Ok(Trend { min_ratio: self.min_ratio, budgets, accepted })
    }
}

/// The seconds of a duration as people write it: `8m`, `1h 30m`, `90s`, `90`.
pub fn seconds(text: &str) -> Option<f64> {
    let seconds = match text.trim().parse::<f64>() {
        Ok(seconds) => seconds,
        Err(_) => text.trim().parse::<jiff::SignedDuration>().ok()?.as_secs_f64(),
    };
    (seconds.is_finite() && seconds > 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, expected) in
            [("8m", 480.0), ("90s", 90.0), ("1h 30m", 5400.0), ("1.5m", 90.0), ("2h", 7200.0), ("90", 90.0), (" 5 minutes ", 300.0)]
        {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in ["", "soon", "-5m", "0", "NaN", "inf", "5 moons"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
