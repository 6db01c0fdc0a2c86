//! The first cut: optimal partition of the values into stretches of constant level.

use super::noise::{CostTable, Noise};

/// Most levels that the search tells apart; with more the grid gets coarser instead.
const MAX_LEVELS: usize = 600;

/// Cuts `values` into stretches of constant level, at the least sum of costs plus `penalty` for each cut.
///
/// The dynamic programme runs over a grid of levels instead of over positions: the best cost of everything up to build t that
/// ends on level k is `min(best[k], min(best) + penalty) + cost(t, k)`. That is the functional form of optimal partitioning
/// (Rigaill 2015; Fearnhead and Rigaill 2019 for bounded losses, which PELT cannot prune), exact but for the grid, and linear in
/// the number of builds whatever they look like. Returns the first index of every stretch, 0 first.
pub(super) fn partition(values: &[f64], noise: &Noise, penalty: f64) -> Vec<usize> {
    let (low, high) = range_of_levels(values);
    let step = (noise.sigma / 3.0).max((high - low) / (MAX_LEVELS - 1) as f64);
    let levels = ((high - low) / step).ceil() as usize + 1;
    let span = levels as f64 * step;
    // A value outside the grid of levels is moved to at most one whole span away from it.
    let table = CostTable::new(noise, step, 2.0 * span + step);

    let mut best = vec![0.0_f64; levels];
    let mut start = vec![0_usize; levels];
    let mut start_at = Vec::with_capacity(values.len());
    let mut least = 0.0_f64;
    for (t, &value) in values.iter().enumerate() {
        // Costs by level run against the table's direction, so the arrays hold the highest level first.
        let top = (value - high).clamp(-2.0 * span, span) / step;
        let first = (top.round() as isize).max(-2 * levels as isize);
        let Some(costs) = table.costs_around(first, levels) else {
            start_at.push(0);
            continue;
        };
        least = advance(&mut best, &mut start, costs, least + penalty, t);
        let ends = best.iter().position(|&b| b <= least).unwrap_or(0);
        start_at.push(start[ends]);
    }
    let mut cuts = Vec::new();
    let mut end = values.len();
    while end > 0 {
        end = start_at[end - 1].min(end - 1);
        cuts.push(end);
    }
    cuts.reverse();
    cuts
}

/// Levels that are looked at side by side.
const LANES: usize = 8;

/// One build further: every level goes on, or begins anew at build `t` where that costs less (`jump`). Gives the least cost.
///
/// A running minimum waits for the one before at every level; several of them side by side do not.
fn advance(best: &mut [f64], start: &mut [usize], costs: &[f64], jump: f64, t: usize) -> f64 {
    let step = |best: &mut f64, start: &mut usize, cost: f64, least: &mut f64| {
        let anew = *best > jump;
        *best = if anew { jump } else { *best } + cost;
        *start = if anew { t } else { *start };
        *least = if *best < *least { *best } else { *least };
    };
    let mut least = [f64::INFINITY; LANES];
    let (best, best_rest) = best.as_chunks_mut::<LANES>();
    let (start, start_rest) = start.as_chunks_mut::<LANES>();
    let (costs, costs_rest) = costs.as_chunks::<LANES>();
    for ((best, start), costs) in best.iter_mut().zip(start).zip(costs) {
        for lane in 0..LANES {
            step(&mut best[lane], &mut start[lane], costs[lane], &mut least[lane]);
        }
    }
    for ((best, start), cost) in best_rest.iter_mut().zip(start_rest).zip(costs_rest) {
        step(best, start, *cost, &mut least[0]);
    }
    least.into_iter().fold(f64::INFINITY, f64::min)
}

/// The lowest and highest level worth trying: of medians of three neighbours, so that a lone outlier does not widen the grid.
fn range_of_levels(values: &[f64]) -> (f64, f64) {
    let fold = |(low, high): (f64, f64), v: f64| (low.min(v), high.max(v));
    let none = (f64::INFINITY, f64::NEG_INFINITY);
    if values.len() < 3 {
        return values.iter().copied().fold(none, fold);
    }
    values.windows(3).map(|w| w[0].max(w[1]).min(w[0].min(w[1]).max(w[2]))).fold(none, fold)
}
