//! Since when builds take another time: change points of a [`Series`].
//!
//! # Method
//!
//! 1. Values become logarithms, so that a change is a factor and the unit does not matter.
//! 2. What the clock and the calendar explain is taken out: busy hours, weekends (`calendar`).
//! 3. The noise around a level is a mixture learned from the series itself by expectation-maximisation: a Gaussian core, a
//!    Gaussian second hump (builds with a cold cache), an exponential tail on each side and a thin uniform floor (`noise`). Its
//!    negative log density is a bounded, asymmetric loss, so outliers, skew and humps need no rules of their own.
//! 4. Optimal partitioning under that loss cuts the series into levels, by dynamic programming over a grid of levels
//!    (`partition`); segments are then fitted anew by a level or a slow drift, cuts that are not worth their price are taken
//!    back, the others moved to their likeliest place (`segment`, `merge`). 3 and 4 alternate three times.
//! 5. A cut is a change only if its jump reaches the magnitude floor, a gradual passage does not explain it (`ramp`) and a rank
//!    test agrees (`rank_test`). The prices grow where neighbouring builds resemble each other (`correlation`).
//! 6. The last builds are asked separately whether a large change has just begun (`tail`): `suspected` from two builds on,
//!    `confirmed` from four.
//!
//! # Assumptions
//!
//! Around its level the noise is multiplicative, has the same shape along the series, and is independent or first-order
//! correlated; levels last; drift is slow (at most 1.2 % a build). A p-value is that of the rank test at a place chosen by the data:
//! it ranks changes, and is too small to be read as an error rate.
//!
//! # Sources
//!
//! - Jackson et al. 2005, *An algorithm for optimal partitioning of data on an interval*; Killick, Fearnhead and Eckley 2012,
//!   *Optimal detection of changepoints with a linear computational cost* (PELT): the partition as penalised cost.
//! - Rigaill 2015, *A pruned dynamic programming algorithm*, and Fearnhead and Rigaill 2019, *Changepoint detection in the presence
//!   of outliers*: recursion over the level, and why only bounded losses withstand outliers.
//! - Dempster, Laird and Rubin 1977: expectation-maximisation. Schwarz 1978 and Zhang and Siegmund 2007: prices that grow with log n.
//! - Mann and Whitney 1947: the rank test. Tecuapetla-Gómez and Munk 2017: autocovariance from differences.

mod calendar;
mod correlation;
mod merge;
mod noise;
mod partition;
mod ramp;
mod rank_test;
mod segment;
mod tail;

use noise::Noise;
use segment::{Fitter, Segment, median};

use super::series::Series;

/// Builds that a level must have, before a change and after it, for the change to be confirmed.
pub const CONFIRMING_BUILDS: usize = 4;
/// Fewest builds of a series that can show a change: five of the old level and two of the new.
pub const LEAST_BUILDS: usize = SHORTEST_LEVEL + tail::SUSPECTING_BUILDS;
/// Fewest builds of a level that did not last: a shorter spell between two others is taken for noise.
const SHORTEST_LEVEL: usize = 5;
/// Price of a cut in log likelihood: this much and [`CUT_PRICE_PER_LOG`] for each log of the number of builds.
const CUT_PRICE: f64 = 1.5;
/// Half a log n pays for each parameter (Schwarz 1978): the level, the place, and one more for choosing among many places.
const CUT_PRICE_PER_LOG: f64 = 1.5;
/// The first partition cuts at this share of the price; merging with drifts in mind takes the cheap cuts back.
const FIRST_SHARE: f64 = 0.8;
/// Price of a slow drift in place of a level. Below that of a cut: a drift is the duller explanation.
const DRIFT_PRICE: f64 = 4.0;
/// Rounds in which levels and noise are estimated from each other.
const ROUNDS: usize = 3;
/// Largest p-value of a change.
const MAX_P_VALUE: f64 = 0.005;

/// What counts as worth an alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Smallest factor between two levels, either way; 1.1 is 10 %. Below 1 or not a number counts as 1.
    pub min_ratio: f64,
    /// Smallest difference between two levels, in the unit of the series: for steps whose log rounds to 0.1 s.
    pub min_difference: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { min_ratio: 1.1, min_difference: 0.0 }
    }
}

/// The median of values; 0 for none.
pub fn median_of(values: &[f64]) -> f64 {
    median(values)
}

/// Which way a level moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The values got larger.
    Slower,
    /// The values got smaller.
    Faster,
}

/// How sure a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The last builds look like a new level; a few more will tell.
    Suspected,
    /// At least [`CONFIRMING_BUILDS`] builds lie on the new level, and chance does not explain them.
    Confirmed,
}

/// A lasting change of level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The first point of the new level, counted from 0.
    pub index: usize,
    /// The earliest point that may be the first of the new level.
    pub earliest: usize,
    /// The latest one.
    pub latest: usize,
    /// Median of the values since the change before, or since the beginning.
    pub before: f64,
    /// Median of the values up to the next change, or to the end.
    pub after: f64,
    /// `after` by `before`; `None` when `before` is 0.
    pub ratio: Option<f64>,
    /// Two-sided p-value of a Mann–Whitney test between the two levels.
    pub p_value: f64,
    /// Slower or faster.
    pub direction: Direction,
    /// Suspected or confirmed.
    pub state: State,
}

impl Change {
    /// The commits that may have made the change, as a range for `git log`: last good build, two dots, first bad build.
    ///
    /// Where the place of the change is uncertain the range spans all likely places. `None` when a commit is not known.
    pub fn suspects(&self, series: &Series) -> Option<String> {
        let commit = |index: usize| series.points().get(index)?.commit.as_deref();
        let good = commit(self.earliest.checked_sub(1)?)?;
        Some(format!("{good}..{}", commit(self.latest)?))
    }
}

/// A cut that may be a change, before its levels are known.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    index: usize,
    earliest: usize,
    latest: usize,
    /// Difference of the fitted log levels at the cut.
    jump: f64,
    p_value: f64,
    state: State,
}

/// Finds the lasting changes of level in a series, in the order of their indices.
///
/// Takes time linear in the number of points, and gives the same answer for the same points in any unit. Series of fewer than
/// seven points have no change: two builds of a new level need five of the old one beside them.
pub fn detect(series: &Series, settings: &Settings) -> Vec<Change> {
    let values = series.values();
    let Some(mut logs) = logarithms(&values) else {
        return Vec::new();
    };
    if logs.len() < LEAST_BUILDS {
        return Vec::new();
    }
    let times: Vec<_> = series.points().iter().map(|point| point.at).collect();
    calendar::remove_patterns(&mut logs, &times);
    let inflation = correlation::inflation(&logs);
    let prices = Prices::new(logs.len(), inflation);
    let (segments, noise) = segments_of(&logs, &prices);
    let fitter = Fitter::new(&logs, &noise, prices.drift);
    let floor = settings.min_ratio.max(1.0).ln();
    let mut candidates: Vec<Candidate> = segments
        .windows(2)
        .filter(|pair| jump(&pair[0], &pair[1]).abs() >= floor && !ramp::is_gradual(&logs, &pair[0], &pair[1], &fitter))
        .map(|pair| candidate(&logs, &pair[0], &pair[1], &fitter, inflation))
        .filter(|candidate| candidate.p_value <= MAX_P_VALUE || candidate.state == State::Suspected)
        .collect();
    if let Some(last) = segments.last() {
        candidates.extend(tail::look(&logs, last, &fitter, inflation));
    }
    changes(candidates, &values, settings)
}

/// What cuts and drifts cost, in log likelihood.
struct Prices {
    cut: f64,
    drift: f64,
}

impl Prices {
    fn new(n: usize, inflation: f64) -> Self {
        Self { cut: inflation * (CUT_PRICE + CUT_PRICE_PER_LOG * (n as f64).ln()), drift: inflation * DRIFT_PRICE }
    }
}

/// Natural logarithms; zeros count as half the smallest positive value. `None` when nothing is positive.
fn logarithms(values: &[f64]) -> Option<Vec<f64>> {
    let smallest = values.iter().copied().filter(|v| *v > 0.0).min_by(f64::total_cmp)?;
    let zero = smallest.ln() - std::f64::consts::LN_2;
    Some(values.iter().map(|v| if *v > 0.0 { v.ln() } else { zero }).collect())
}

/// Levels, drifts and the noise around them, estimated from each other.
fn segments_of(logs: &[f64], prices: &Prices) -> (Vec<Segment>, Noise) {
    let guess = Noise::first_guess(logs);
    let mut noise = guess.clone();
    let mut segments = Vec::new();
    for _ in 0..ROUNDS {
        let cuts = partition::partition(logs, &noise, FIRST_SHARE * prices.cut);
        let ends = cuts.iter().skip(1).copied().chain([logs.len()]);
        let fitter = Fitter::new(logs, &noise, prices.drift);
        segments = cuts.iter().zip(ends).map(|(&start, end)| fitter.fit(start, end)).collect();
        segments = merge::merge(segments, &fitter, prices.cut);
        let merged = segments.clone();
        // Moving one cut frees its neighbours to move; twice is enough in practice, and once more what is cheap now goes.
        merge::refine(&mut segments, &fitter);
        merge::refine(&mut segments, &fitter);
        segments = merge::without_short(segments, &fitter, SHORTEST_LEVEL);
        if segments != merged {
            segments = merge::merge(segments, &fitter, prices.cut);
        }
        let residuals: Vec<f64> = segments.iter().flat_map(|s| (s.start..s.end).map(|i| logs[i] - s.at(i))).collect();
        noise = guess.fit(&residuals);
    }
    (segments, noise)
}

fn jump(a: &Segment, b: &Segment) -> f64 {
    b.at(b.start) - a.at(b.start)
}

/// The cut between two neighbours, with its plausible places and its rank test.
fn candidate(logs: &[f64], a: &Segment, b: &Segment, fitter: &Fitter<'_>, inflation: f64) -> Candidate {
    let cut = merge::best_cut(a, b, fitter);
    // Drifting sides are compared as they are at the cut.
    let carried = |s: &Segment| -> Vec<f64> { (s.start..s.end).map(|i| logs[i] - s.slope * (i as f64 - b.start as f64)).collect() };
    Candidate {
        index: b.start,
        earliest: cut.earliest.min(b.start),
        latest: cut.latest.max(b.start),
        jump: jump(a, b),
        p_value: rank_test::mann_whitney(&carried(a), &carried(b), inflation),
        state: if b.len() < CONFIRMING_BUILDS { State::Suspected } else { State::Confirmed },
    }
}

/// Turns candidates into changes, dropping those whose levels, as a reader sees them, do not differ enough.
///
/// A level is the median between two changes that stay, so dropping one moves its neighbours' levels: the least one goes first,
/// then all are looked at again.
fn changes(mut candidates: Vec<Candidate>, values: &[f64], settings: &Settings) -> Vec<Change> {
    let floor = settings.min_ratio.max(1.0).ln();
    loop {
        let changes: Vec<Change> = (0..candidates.len()).map(|at| change(&candidates, at, values)).collect();
        let worth = |(at, change): (usize, &Change)| {
            let signed = if candidates[at].jump > 0.0 { 1.0 } else { -1.0 };
            let size = signed * change.ratio.map_or(f64::INFINITY, f64::ln);
            let difference = signed * (change.after - change.before);
            (at, if difference > 0.0 && difference >= settings.min_difference { size } else { f64::NEG_INFINITY })
        };
        let least = changes.iter().enumerate().map(worth).min_by(|a, b| a.1.total_cmp(&b.1));
        match least {
            Some((at, size)) if size < floor => {
                candidates.remove(at);
            }
            _ => return changes,
        }
    }
}

fn change(candidates: &[Candidate], at: usize, values: &[f64]) -> Change {
    let candidate = candidates[at];
    let from = if at == 0 { 0 } else { candidates[at - 1].index };
    let to = candidates.get(at + 1).map_or(values.len(), |next| next.index);
    let before = median(&values[from..candidate.index]);
    let after = median(&values[candidate.index..to]);
    Change {
        index: candidate.index,
        earliest: candidate.earliest,
        latest: candidate.latest,
        before,
        after,
        ratio: (before > 0.0).then(|| after / before),
        p_value: candidate.p_value,
        direction: if candidate.jump > 0.0 { Direction::Slower } else { Direction::Faster },
        state: candidate.state,
    }
}

#[cfg(test)]
mod tests;
