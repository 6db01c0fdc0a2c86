//! Abrupt or gradual? A change point must beat every gradual passage between the same two levels.

use super::segment::{Fitter, Segment};

/// Narrowest transition, in builds, that counts as gradual. Below it a ramp and a step cannot be told apart by a reader either.
const MIN_WIDTH: f64 = 12.0;
/// Each ramp tried is wider than the one before by this factor.
const WIDER: f64 = 1.8;
/// Most builds looked at on each side of the cut; keeps the test's time from growing with the series.
const REACH: usize = 250;
/// How much likelier, in log likelihood, a gradual passage must be before the step is given up.
const MARGIN: f64 = 2.5;
/// Rounds of reweighted least squares for each passage.
const ROUNDS: usize = 3;

/// True when a gradual passage explains the builds on both sides of the cut between `a` and `b` better than the cut does.
///
/// Passages are a level that turns into another along a ramp, and two slopes that meet. All are fitted anew: the fits of `a` and
/// `b` have adapted to the cut.
pub(super) fn is_gradual(logs: &[f64], a: &Segment, b: &Segment, fitter: &Fitter<'_>) -> bool {
    let (start, end) = (a.start.max(b.start.saturating_sub(REACH)), b.end.min(b.start + REACH));
    let stepped: Vec<f64> = (start..end).map(|i| if i < b.start { a.at(i) } else { b.at(i) }).collect();
    let drifts = [a, b].iter().filter(|s| s.slope != 0.0).count() as f64;
    let step: f64 = (start..end).zip(&stepped).map(|(i, level)| fitter.cost(i, *level)).sum();
    let bar = step + drifts * fitter.drift_price() - MARGIN;
    let cut = (b.start - start) as f64 - 0.5;
    let passage = Passage { logs: &logs[start..end], stepped: &stepped, fitter };
    let cost = |levels: Vec<f64>| (start..end).zip(levels).map(|(i, level)| fitter.cost(i, level)).sum::<f64>();

    let knots = [-0.5, -0.25, 0.0, 0.25, 0.5].map(|share: f64| {
        let side = if share < 0.0 { b.start - start } else { end - b.start };
        cut + share * side as f64
    });
    // A meeting of two slopes pays for the one more slope that it has.
    let meets = knots.into_iter().any(|knot| cost(passage.fit(|x| x, |x| (x - knot).max(0.0))) + fitter.drift_price() < bar);
    if meets {
        return true;
    }
    let mut width = MIN_WIDTH;
    while width <= (end - start) as f64 {
        for shift in -1..=1 {
            let centre = cut + f64::from(shift) * width / 4.0;
            if cost(passage.fit(|x| ((x - centre) / width + 0.5).clamp(0.0, 1.0), |_| 0.0)) < bar {
                return true;
            }
        }
        width *= WIDER;
    }
    false
}

/// Builds to which a gradual passage is fitted, with the stepped fit to start from.
struct Passage<'a> {
    logs: &'a [f64],
    stepped: &'a [f64],
    fitter: &'a Fitter<'a>,
}

impl Passage<'_> {
    /// Levels `c₀ + c₁ f(x) + c₂ g(x)` by reweighted least squares, x counted from the first build.
    fn fit(&self, f: impl Fn(f64) -> f64, g: impl Fn(f64) -> f64) -> Vec<f64> {
        let basis: Vec<[f64; 3]> = (0..self.logs.len()).map(|x| [1.0, f(x as f64), g(x as f64)]).collect();
        let mut levels = self.stepped.to_vec();
        for _ in 0..ROUNDS {
            let mut normal = [[0.0; 4]; 3];
            for ((terms, value), level) in basis.iter().zip(self.logs).zip(&levels) {
                let weight = self.fitter.weight(value - level);
                for (row, term) in normal.iter_mut().zip(terms) {
                    for (cell, other) in row.iter_mut().zip(terms.iter().chain([value])) {
                        *cell += weight * term * other;
                    }
                }
            }
            let coefficients = solve(normal);
            levels = basis.iter().map(|terms| terms.iter().zip(&coefficients).map(|(t, c)| t * c).sum()).collect();
        }
        levels
    }
}

/// Solves three linear equations by elimination with pivots; a coefficient that they leave open is 0.
fn solve(mut rows: [[f64; 4]; 3]) -> [f64; 3] {
    let mut used = [None; 3];
    for column in 0..3 {
        let free = (0..3).filter(|row| !used.contains(&Some(*row)));
        let Some(pivot) = free.max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs())) else {
            break;
        };
        if rows[pivot][column].abs() < 1e-9 {
            continue;
        }
        used[column] = Some(pivot);
        let line = rows[pivot];
        for (_, cells) in rows.iter_mut().enumerate().filter(|(row, _)| *row != pivot) {
            let factor = cells[column] / line[column];
            for (cell, other) in cells.iter_mut().zip(line) {
                *cell -= factor * other;
            }
        }
    }
    let mut solution = [0.0; 3];
    for (column, row) in used.into_iter().enumerate() {
        if let Some(row) = row {
            solution[column] = rows[row][3] / rows[row][column];
        }
    }
    solution
}
