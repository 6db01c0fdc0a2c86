//! Stretches of one level, each fitted by a constant or a slow drift, and what joining two of them would cost.

use std::{cell::RefCell, collections::HashMap, ops::Range};

use super::noise::{CostTable, Noise};

/// Fastest drift, in log units a build: a doubling in 58 builds. Whatever moves faster is a change.
const MAX_SLOPE: f64 = 0.012;
/// Fewest builds that can show a drift.
const MIN_DRIFT_LENGTH: usize = 12;
/// Values of a long segment that a fit begins with: an even selection of them puts the line almost where all of them do.
const ENOUGH_VALUES: usize = 300;
/// Rounds after which the best of several starting points is chosen.
const TRIAL_ROUNDS: usize = 1;
/// Rounds of reweighted least squares for each starting point.
const ROUNDS: usize = 6;
/// Rounds with all values after those with a selection.
const LAST_ROUNDS: usize = 2;

/// The builds `start..end` and the line that fits their log values best.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Level in the middle of the segment, in log units.
    pub(super) level: f64,
    /// Drift in log units a build; 0 for a constant level.
    pub(super) slope: f64,
    /// Sum of the costs of the residuals, with the price of the drift.
    pub(super) cost: f64,
}

impl Segment {
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// The fitted level at a build, also outside the segment.
    pub(super) fn at(&self, index: usize) -> f64 {
        let middle = (self.start + self.end - 1) as f64 / 2.0;
        self.level + self.slope * (index as f64 - middle)
    }
}

/// Fits segments of one series under one noise model.
pub(super) struct Fitter<'a> {
    values: &'a [f64],
    /// Fits of before: what three neighbours were joined to, two of them are joined to once the others are one.
    known: RefCell<HashMap<(usize, usize), Segment>>,
    /// Changes of level and line below this are no improvement.
    tolerance: f64,
    table: CostTable,
    drift_price: f64,
}

impl<'a> Fitter<'a> {
    pub(super) fn new(values: &'a [f64], noise: &Noise, drift_price: f64) -> Self {
        let table = CostTable::new(noise, noise.sigma / 8.0, 5.0_f64.max(noise.sigma * 8.0));
        Self { values, known: RefCell::default(), tolerance: noise.sigma / 200.0, table, drift_price }
    }

    /// The price of a drift, in log likelihood.
    pub(super) fn drift_price(&self) -> f64 {
        self.drift_price
    }

    /// How likely a build with this residual is one of the core.
    pub(super) fn weight(&self, residual: f64) -> f64 {
        self.table.weight(residual)
    }

    /// The cost of one build if its level were `level`.
    pub(super) fn cost(&self, index: usize, level: f64) -> f64 {
        self.table.cost(self.values[index] - level)
    }

    /// The cheaper of a constant level and a drift; the drift has its price.
    pub(super) fn fit(&self, start: usize, end: usize) -> Segment {
        if let Some(known) = self.known.borrow().get(&(start, end)) {
            return known.clone();
        }
        let flat = self.constant(start, end);
        let fit = match self.drift(start, end, &flat) {
            Some(drift) if drift.cost < flat.cost => drift,
            _ => flat,
        };
        self.known.borrow_mut().insert((start, end), fit.clone());
        fit
    }

    /// The likeliest constant level.
    pub(super) fn constant(&self, start: usize, end: usize) -> Segment {
        let every = stride(start, end);
        let mut sorted: Vec<f64> = self.values[start..end].iter().copied().step_by(every).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        [0.15, 0.35, 0.5, 0.7]
            .into_iter()
            .map(|share| self.improve(start..end, every, Line { level: at(share), slope: 0.0, sloped: false }, TRIAL_ROUNDS))
            .reduce(|a, b| if b.cost < a.cost { b } else { a })
            .map(|best| self.settle(start..end, every, Line { level: best.level, slope: 0.0, sloped: false }))
            .unwrap_or(Segment { start, end, level: 0.0, slope: 0.0, cost: 0.0 })
    }

    /// A line from the medians of the outer thirds (Tukey's resistant line), improved.
    fn drift(&self, start: usize, end: usize, flat: &Segment) -> Option<Segment> {
        let n = end - start;
        if n < MIN_DRIFT_LENGTH {
            return None;
        }
        let every = stride(start, end);
        let middle = |from: usize, to: usize| median(&self.values[from..to].iter().copied().step_by(every).collect::<Vec<_>>());
        let third = n / 3;
        let slope = (middle(end - third, end) - middle(start, start + third)) / (n - third) as f64;
        let starts = [(middle(start, end), slope), (flat.level, slope / 2.0)];
        let best = starts
            .into_iter()
            .map(|(level, slope)| self.improve(start..end, every, Line { level, slope, sloped: true }, ROUNDS))
            .reduce(|a, b| if b.cost < a.cost { b } else { a })?;
        let mut line = if every == 1 {
            best
        } else {
            self.improve(start..end, 1, Line { level: best.level, slope: best.slope, sloped: true }, LAST_ROUNDS)
        };
        line.cost += self.drift_price;
        Some(line)
    }

    /// Improves a line until it stands still: first with a selection of the values, then with all of them.
    fn settle(&self, range: Range<usize>, every: usize, line: Line) -> Segment {
        let near = self.improve(range.clone(), every, line, ROUNDS);
        if every == 1 {
            return near;
        }
        self.improve(range, 1, Line { level: near.level, slope: near.slope, ..line }, LAST_ROUNDS)
    }

    /// Iteratively reweighted least squares: each build weighs as much as it is likely to be of the core. Takes one value of `every`,
    /// for the cost too.
    fn improve(&self, range: Range<usize>, every: usize, line: Line, rounds: usize) -> Segment {
        let Range { start, end } = range;
        let sloped = line.sloped;
        let middle = (start + end - 1) as f64 / 2.0;
        let mut fit = Segment { start, end, level: line.level, slope: line.slope.clamp(-MAX_SLOPE, MAX_SLOPE), cost: 0.0 };
        for _ in 0..rounds {
            let (mut w, mut wx, mut wxx, mut wr, mut wxr) = (0.0, 0.0, 0.0, 0.0, 0.0);
            let chosen = self.values[start..end].iter().step_by(every);
            if sloped {
                for (i, value) in (start..end).step_by(every).zip(chosen) {
                    let x = i as f64 - middle;
                    let r = value - fit.level - fit.slope * x;
                    let weight = self.table.weight(r);
                    w += weight;
                    wr += weight * r;
                    wx += weight * x;
                    wxx += weight * x * x;
                    wxr += weight * x * r;
                }
            } else {
                for value in chosen {
                    let r = value - fit.level;
                    let weight = self.table.weight(r);
                    w += weight;
                    wr += weight * r;
                }
            }
            if w < 1e-9 {
                break;
            }
            let before = (fit.level, fit.slope);
            let determinant = w * wxx - wx * wx;
            if sloped && determinant > 1e-9 {
                let change = (w * wxr - wx * wr) / determinant;
                let slope = (fit.slope + change).clamp(-MAX_SLOPE, MAX_SLOPE);
                fit.level += (wr - (slope - fit.slope) * wx) / w;
                fit.slope = slope;
            } else {
                fit.level += wr / w;
            }
            let moved = (fit.level - before.0).abs() + (fit.slope - before.1).abs() * (end - start) as f64;
            if moved < self.tolerance {
                break;
            }
        }
        fit.cost = (start..end).step_by(every).map(|i| self.cost(i, fit.at(i))).sum();
        fit
    }
}

/// Where a fit starts from.
#[derive(Debug, Clone, Copy)]
struct Line {
    level: f64,
    slope: f64,
    /// Whether the slope may change.
    sloped: bool,
}

/// One value of how many is enough to begin with.
fn stride(start: usize, end: usize) -> usize {
    (end - start) / ENOUGH_VALUES + 1
}

/// The median; 0 for no values.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    let n = values.len();
    if n == 0 {
        return 0.0;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    match below.iter().copied().max_by(f64::total_cmp) {
        // Halves first: the sum of two huge values would overflow.
        Some(lower) if n.is_multiple_of(2) => lower / 2.0 + upper / 2.0,
        _ => upper,
    }
}
