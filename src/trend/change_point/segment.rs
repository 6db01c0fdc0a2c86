//! Stretches of one level, each fitted by a constant or a slow drift, and what joining two of them would cost.

use std::{borrow::Cow, cell::RefCell, collections::HashMap};

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
        let some = Selection::of(self.values, start, end);
        let mut values = some.values.to_vec();
        let last = (values.len() - 1) as f64;
        let mut from = 0;
        [0.15, 0.35, 0.5, 0.7]
            .map(|share: f64| {
                // What is left of one quantile is smaller than all that follow.
                let place = (last * share).round() as usize;
                let (_, value, _) = values[from..].select_nth_unstable_by(place - from, f64::total_cmp);
                from = place;
                *value
            })
            .into_iter()
            .map(|level| self.improve(&some, Line { level, slope: 0.0, sloped: false }, TRIAL_ROUNDS))
            .reduce(|a, b| if b.cost < a.cost { b } else { a })
            .map(|best| self.settle(&some, Line { level: best.level, slope: 0.0, sloped: false }))
            .unwrap_or(Segment { start, end, level: 0.0, slope: 0.0, cost: 0.0 })
    }

    /// A line from the medians of the outer thirds (Tukey's resistant line), improved.
    fn drift(&self, start: usize, end: usize, flat: &Segment) -> Option<Segment> {
        let n = end - start;
        if n < MIN_DRIFT_LENGTH {
            return None;
        }
        let some = Selection::of(self.values, start, end);
        let middle = |from: usize, to: usize| median(&self.values[from..to].iter().copied().step_by(some.every).collect::<Vec<_>>());
        let third = n / 3;
        let slope = (middle(end - third, end) - middle(start, start + third)) / (n - third) as f64;
        let starts = [(middle(start, end), slope), (flat.level, slope / 2.0)];
        let best = starts
            .into_iter()
            .map(|(level, slope)| self.improve(&some, Line { level, slope, sloped: true }, ROUNDS))
            .reduce(|a, b| if b.cost < a.cost { b } else { a })?;
        let mut line = if some.every == 1 {
            best
        } else {
            self.improve(&some.all(self.values), Line { level: best.level, slope: best.slope, sloped: true }, LAST_ROUNDS)
        };
        line.cost += self.drift_price;
        Some(line)
    }

    /// Improves a line until it stands still: first with a selection of the values, then with all of them.
    fn settle(&self, some: &Selection<'_>, line: Line) -> Segment {
        let near = self.improve(some, line, ROUNDS);
        if some.every == 1 {
            return near;
        }
        self.improve(&some.all(self.values), Line { level: near.level, slope: near.slope, ..line }, LAST_ROUNDS)
    }

    /// Iteratively reweighted least squares: each build weighs as much as it is likely to be of the core.
    fn improve(&self, some: &Selection<'_>, line: Line, rounds: usize) -> Segment {
        let Selection { start, end, .. } = *some;
        let mut fit = Segment { start, end, level: line.level, slope: line.slope.clamp(-MAX_SLOPE, MAX_SLOPE), cost: 0.0 };
        for _ in 0..rounds {
            let Sums { w, wx, wxx, wr, wxr } = if line.sloped { self.sloped_sums(some, &fit) } else { self.level_sums(some, &fit) };
            if w < 1e-9 {
                break;
            }
            let before = (fit.level, fit.slope);
            let determinant = w * wxx - wx * wx;
            if line.sloped && determinant > 1e-9 {
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
        fit.cost = if line.sloped {
            (start..end).step_by(some.every).zip(&*some.values).map(|(i, value)| self.table.cost(value - fit.at(i))).sum()
        } else {
            some.values.iter().map(|value| self.table.cost(value - fit.level)).sum()
        };
        fit
    }

    /// The sums over residuals from a constant level. Several values are taken at a time: a sum need not wait for the one before at each
    /// of them.
    fn level_sums(&self, some: &Selection<'_>, fit: &Segment) -> Sums {
        let mut sums = Sums::default();
        let (fours, rest) = some.values.as_chunks::<4>();
        for four in fours {
            let r = four.map(|value| value - fit.level);
            let weight = r.map(|r| self.table.weight(r));
            sums.w += (weight[0] + weight[1]) + (weight[2] + weight[3]);
            sums.wr += (weight[0] * r[0] + weight[1] * r[1]) + (weight[2] * r[2] + weight[3] * r[3]);
        }
        for value in rest {
            let r = value - fit.level;
            let weight = self.table.weight(r);
            sums.w += weight;
            sums.wr += weight * r;
        }
        sums
    }

    /// The sums over residuals from a line.
    fn sloped_sums(&self, some: &Selection<'_>, fit: &Segment) -> Sums {
        let mut sums = Sums::default();
        let middle = (some.start + some.end - 1) as f64 / 2.0;
        let (first, every) = (some.start as f64 - middle, some.every as f64);
        let (fours, rest) = some.values.as_chunks::<4>();
        let mut number = 0.0;
        for four in fours {
            let x = [0.0, 1.0, 2.0, 3.0].map(|lane: f64| first + (number + lane) * every);
            let r: [f64; 4] = std::array::from_fn(|lane| four[lane] - fit.level - fit.slope * x[lane]);
            let w = r.map(|r| self.table.weight(r));
            sums.w += sum_of_four(|i| w[i]);
            sums.wr += sum_of_four(|i| w[i] * r[i]);
            sums.wx += sum_of_four(|i| w[i] * x[i]);
            sums.wxx += sum_of_four(|i| w[i] * x[i] * x[i]);
            sums.wxr += sum_of_four(|i| w[i] * x[i] * r[i]);
            number += 4.0;
        }
        for value in rest {
            let x = first + number * every;
            let r = value - fit.level - fit.slope * x;
            let w = self.table.weight(r);
            sums.w += w;
            sums.wr += w * r;
            sums.wx += w * x;
            sums.wxx += w * x * x;
            sums.wxr += w * x * r;
            number += 1.0;
        }
        sums
    }
}

/// What least squares need: sums of the weights, and of these with places and residuals.
#[derive(Debug, Default)]
struct Sums {
    w: f64,
    wx: f64,
    wxx: f64,
    wr: f64,
    wxr: f64,
}

fn sum_of_four(of: impl Fn(usize) -> f64) -> f64 {
    (of(0) + of(1)) + (of(2) + of(3))
}

/// Values of the builds `start..end`, one of `every`.
struct Selection<'v> {
    start: usize,
    end: usize,
    every: usize,
    values: Cow<'v, [f64]>,
}

impl<'v> Selection<'v> {
    /// As many as are enough to begin with.
    fn of(values: &'v [f64], start: usize, end: usize) -> Self {
        let every = (end - start) / ENOUGH_VALUES + 1;
        let all = &values[start..end];
        let values = if every == 1 { Cow::Borrowed(all) } else { Cow::Owned(all.iter().copied().step_by(every).collect()) };
        Self { start, end, every, values }
    }

    fn all<'a>(&self, values: &'a [f64]) -> Selection<'a> {
        Selection { start: self.start, end: self.end, every: 1, values: Cow::Borrowed(&values[self.start..self.end]) }
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
