//! The headline numbers of a stretch of time.

use serde::Serialize;

use super::window::Window;
use crate::{build::Outcome, trend::ledger::Recorded};

/// What happened in a window, in numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Numbers {
    /// Recorded logs.
    pub runs: usize,
    /// Builds in them.
    pub builds: usize,
    /// Builds that failed; those that were canceled or whose log is cut off are not among them.
    pub failed: usize,
    /// Median time of the runs that succeeded, in seconds.
    pub p50: Option<f64>,
    /// 95th percentile of the same.
    pub p95: Option<f64>,
    /// Commands that ran.
    pub executed: u64,
    /// Commands that the cache answered for certain.
    pub cached: u64,
    /// Seconds of all runs together, failed ones too.
    pub spent: f64,
    /// Seconds spent on commands that the cache normally answers.
    pub lost: f64,
}

impl Numbers {
    /// Counts the runs of a window and their builds. What was lost to misses is not known from these: `lost` is 0.
    pub fn of(window: &Window, runs: &[Recorded]) -> Self {
        let mut numbers = Self::default();
        let mut seconds = Vec::new();
        for Recorded { run, builds } in runs.iter().filter(|recorded| window.contains(recorded.run.at)) {
            numbers.runs += 1;
            // A run without rows in the builds table was recorded before there was one: the run's own row says less.
            let whole: Vec<_> = builds.iter().filter(|build| build.target.is_none()).collect();
            if whole.is_empty() {
                numbers.builds += run.builds as usize;
                numbers.failed += usize::from(run.outcome == Outcome::Failed);
            }
            for build in whole {
                numbers.builds += 1;
                numbers.failed += usize::from(build.outcome == Some(Outcome::Failed));
                numbers.executed += u64::from(build.executed);
                numbers.cached += u64::from(build.cached);
            }
            if let Some(time) = run.seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0) {
                numbers.spent += time;
                if run.outcome == Outcome::Succeeded {
                    seconds.push(time);
                }
            }
        }
        seconds.sort_unstable_by(f64::total_cmp);
        numbers.p50 = quantile(&seconds, 0.5);
        numbers.p95 = quantile(&seconds, 0.95);
        numbers
    }

    /// The share of commands that the cache answered, among those that ran or were cached.
    pub fn cache_ratio(&self) -> Option<f64> {
        let all = self.executed + self.cached;
        (all > 0).then(|| self.cached as f64 / all as f64)
    }
}

/// The quantile of sorted values, interpolated between neighbours (type 7 of Hyndman and Fan 1996, the default of R and NumPy).
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let place = q * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(low + (high - low) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7.0], 0.95), Some(7.0));
        assert_eq!(quantile(&[1.0, 2.0], 0.5), Some(1.5));
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.95), Some(95.0));
    }
}
