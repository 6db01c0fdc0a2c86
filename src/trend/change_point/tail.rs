//! Has a large change just begun? The last few builds, asked before there are enough of them for the partition.

use super::segment::{Fitter, Segment};
use super::{CONFIRMING_BUILDS, Candidate, SHORTEST_LEVEL, State, rank_test};

/// Builds of a new level that a suspicion takes.
pub(super) const SUSPECTING_BUILDS: usize = 2;
/// Most builds that are looked at; a change with more behind it is the partition's to find.
const MOST_BUILDS: usize = 8;
/// Smallest jump asked about, in log units: a factor of 1.5. Smaller ones wait until the partition sees them.
const MIN_JUMP: f64 = 0.405;
/// Log likelihood that the new level must gain to be suspected.
const SUSPICION: f64 = 5.0;
/// The same where the series has seen such a run of builds before, and it did not last.
const SUSPICION_WITH_PRECEDENT: f64 = 7.0;
/// Log likelihood for a confirmation. Below the price of a cut, which pays for choosing among all places, not among a few.
const CONFIRMATION: f64 = 6.5;
/// Largest p-value of a confirmation.
const MAX_P_VALUE: f64 = 0.01;

/// The likeliest change among the last builds of the last segment, if it is likely enough.
pub(super) fn look(logs: &[f64], last: &Segment, fitter: &Fitter<'_>, inflation: f64) -> Option<Candidate> {
    let most = MOST_BUILDS.min(last.len().saturating_sub(SHORTEST_LEVEL));
    let (gain, base, new) = (SUSPECTING_BUILDS..=most)
        .map(|builds| {
            let cut = last.end - builds;
            let base = fitter.fit(last.start, cut);
            let new = fitter.constant(cut, last.end);
            let old: f64 = (cut..last.end).map(|i| fitter.cost(i, base.at(i))).sum();
            (old - new.cost, base, new)
        })
        .filter(|(_, base, new)| (new.level - base.at(new.start)).abs() >= MIN_JUMP)
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    let suspicion = if has_precedent(logs, &base, &new) { SUSPICION_WITH_PRECEDENT } else { SUSPICION };
    if gain < suspicion * inflation {
        return None;
    }
    let p_value = rank_test::mann_whitney(&logs[base.start..base.end], &logs[new.start..new.end], inflation);
    let confirmed = new.len() >= CONFIRMING_BUILDS && gain >= CONFIRMATION * inflation && p_value <= MAX_P_VALUE;
    Some(Candidate {
        index: new.start,
        earliest: new.start,
        latest: new.start,
        jump: new.level - base.at(new.start),
        p_value,
        state: if confirmed { State::Confirmed } else { State::Suspected },
    })
}

/// True when builds of `base` in a row, as many as `new` has, all lay as far from their level as every one of `new` does.
fn has_precedent(logs: &[f64], base: &Segment, new: &Segment) -> bool {
    let side = if new.level >= base.at(new.start) { 1.0 } else { -1.0 };
    let away = |i: usize| side * (logs[i] - base.at(i));
    let least = (new.start..new.end).map(away).fold(f64::INFINITY, f64::min);
    let mut run = 0;
    (base.start..base.end).any(|i| {
        run = if away(i) >= least { run + 1 } else { 0 };
        run >= new.len()
    })
}
