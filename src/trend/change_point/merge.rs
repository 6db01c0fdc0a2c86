//! Cuts that are not worth their price are taken back, the others moved to where they fit best.

use super::segment::{Fitter, Segment};

/// Joins neighbours, worst cuts first, until every cut that is left is worth `penalty`, and every stretch between two cuts is
/// worth both.
///
/// The second condition matters for chance runs of slow builds: each end of such a run looks like a change as long as the other
/// end is taken for granted.
pub(super) fn merge(mut segments: Vec<Segment>, fitter: &Fitter<'_>, penalty: f64) -> Vec<Segment> {
    let join = |parts: &[Segment]| -> (f64, Option<Segment>) {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return (f64::INFINITY, None) };
        let whole = fitter.fit(first.start, last.end);
        let gain = whole.cost - parts.iter().map(|part| part.cost).sum::<f64>();
        (gain - (parts.len() - 1) as f64 * penalty, Some(whole))
    };
    let mut pairs: Joints = segments.windows(2).map(join).unzip();
    let mut triples: Joints = segments.windows(3).map(join).unzip();
    loop {
        let (at, width) = match (least_worth(&pairs.0), least_worth(&triples.0)) {
            (Some((pair, a)), Some((_, b))) if a <= b => (pair, 2),
            (_, Some((triple, _))) => (triple, 3),
            (Some((pair, _)), None) => (pair, 2),
            (None, None) => return segments,
        };
        let list = if width == 2 { &mut pairs } else { &mut triples };
        let Some(whole) = list.1[at].take() else {
            return segments;
        };
        segments.splice(at..at + width, [whole]);
        renew(&mut pairs, &segments, 2, at, width - 1, join);
        renew(&mut triples, &segments, 3, at, width - 1, join);
    }
}

/// Joins under consideration: what the cuts of each are worth beyond their price, and the segment that it would make. The worths are
/// looked through again and again, so they stand together.
type Joints = (Vec<f64>, Vec<Option<Segment>>);

/// The first joint whose cuts are worth least, if that is less than their price.
fn least_worth(worths: &[f64]) -> Option<(usize, f64)> {
    let mut least = (0, 0.0);
    for (at, worth) in worths.iter().enumerate() {
        if *worth < least.1 {
            least = (at, *worth);
        }
    }
    (least.1 < 0.0).then_some(least)
}

/// Brings the list of joints up to date after `gone` segments disappeared into the one at `at`.
fn renew(
    joints: &mut Joints,
    segments: &[Segment],
    width: usize,
    at: usize,
    gone: usize,
    join: impl Fn(&[Segment]) -> (f64, Option<Segment>),
) {
    let from = at.saturating_sub(width - 1);
    // Every joint that held one of the joined segments is stale.
    let stale = (at + gone + 1).min(joints.0.len());
    let fresh = segments.len().saturating_sub(width - 1).min(at + 1);
    let (worths, wholes): Joints = (from..fresh).map(|first| join(&segments[first..first + width])).unzip();
    joints.0.splice(from.min(stale)..stale, worths);
    joints.1.splice(from.min(stale)..stale, wholes);
}

/// Moves every cut to where the fits of its two sides explain the builds best, and fits the sides anew.
pub(super) fn refine(segments: &mut [Segment], fitter: &Fitter<'_>) {
    for right in 1..segments.len() {
        let (a, b) = (&segments[right - 1], &segments[right]);
        let cut = best_cut(a, b, fitter).index;
        if cut != b.start {
            let (start, end) = (a.start, b.end);
            segments[right - 1] = fitter.fit(start, cut);
            segments[right] = fitter.fit(cut, end);
        }
    }
}

/// Where a cut may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// The likeliest first build of the new level.
    pub(super) index: usize,
    /// The earliest place that is not much less likely.
    pub(super) earliest: usize,
    /// The latest one.
    pub(super) latest: usize,
}

/// How much less likely, in log likelihood, a place may be and still be suspected: e^-2 against the likeliest.
const PLAUSIBLE: f64 = 2.0;

/// The profile likelihood of the cut between two fitted neighbours.
pub(super) fn best_cut(a: &Segment, b: &Segment, fitter: &Fitter<'_>) -> Cut {
    let mut best = (f64::INFINITY, b.start);
    let mut sum = 0.0;
    let mut profile = Vec::with_capacity(b.end - a.start);
    for cut in a.start + 1..b.end {
        let i = cut - 1;
        sum += fitter.cost(i, a.at(i)) - fitter.cost(i, b.at(i));
        profile.push((cut, sum));
        if sum < best.0 {
            best = (sum, cut);
        }
    }
    let plausible = |&&(_, cost): &&(usize, f64)| cost <= best.0 + PLAUSIBLE;
    Cut {
        index: best.1,
        earliest: profile.iter().find(plausible).map_or(best.1, |p| p.0),
        latest: profile.iter().rev().find(plausible).map_or(best.1, |p| p.0),
    }
}

/// Gives segments of fewer than `least` builds, the last one apart, to the neighbour that fits them better.
///
/// A handful of slow builds with ordinary ones after them is a spell, not a level.
pub(super) fn without_short(mut segments: Vec<Segment>, fitter: &Fitter<'_>, least: usize) -> Vec<Segment> {
    while segments.len() > 1 {
        let Some(short) = segments[..segments.len() - 1].iter().position(|s| s.len() < least) else {
            break;
        };
        let join = |left: usize| {
            let (a, b) = (&segments[left], &segments[left + 1]);
            let whole = fitter.fit(a.start, b.end);
            (whole.cost - a.cost - b.cost, left, whole)
        };
        let right = join(short);
        let (_, left, whole) = match short.checked_sub(1).map(join) {
            Some(joined) if joined.0 < right.0 => joined,
            _ => right,
        };
        segments.splice(left..left + 2, [whole]);
    }
    segments
}
