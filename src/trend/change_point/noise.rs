//! The distribution of a build's log time around the level of its segment, learned from the series itself.

use std::f64::consts::PI;

/// Narrowest scale of the core, in log units: differences below 1 % between two builds are never taken for signal.
///
/// It also keeps constant and integer-rounded series from having a scale of 0.
const MIN_SIGMA: f64 = 0.01;
/// Widest scale of the core: a factor of e either way, wider than any series in which a level means something.
const MAX_SIGMA: f64 = 1.0;
/// Share of the observations that may lie anywhere: a failed clock, a build on a suspended machine.
const ANYWHERE: f64 = 0.004;
/// Density of that share: uniform over a factor of e^4 either way.
const ANYWHERE_DENSITY: f64 = 0.125;
/// Prior of the four weights (core, slow tail, fast tail, hump), as numbers of imagined observations.
const PRIOR: [f64; 4] = [9.0, 1.0, 0.5, 0.5];
/// Prior of the tails' mean excess, in log units (a factor of about 1.6), and its weight in observations.
const PRIOR_TAIL: (f64, f64) = (0.5, 3.0);
/// Prior of the second hump's place and scale, and its weight in observations.
const HUMP: (f64, f64, f64) = (0.5, 0.3, 3.0);
/// Residuals from which the mixture is learned; its nine numbers do not get much sharper with more.
const ENOUGH_RESIDUALS: usize = 2_000;
/// Rounds of expectation-maximisation; the likelihood has settled long before.
const ROUNDS: usize = 12;

/// A mixture: a Gaussian core, a Gaussian second hump (cold builds), an exponential tail on the slow side (partly cold builds,
/// busy machines), one on the fast side (builds with nothing to do), and a thin uniform floor.
///
/// Its negative log density is a robust, asymmetric loss: quadratic near 0, linear in the tails, bounded far out. Where the
/// series has two humps, builds of the lesser one cost little, so a chance run of them is not a level.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Noise {
    /// Standard deviation of the core, in log units.
    pub(super) sigma: f64,
    core: f64,
    slow: f64,
    slow_scale: f64,
    fast: f64,
    fast_scale: f64,
    /// Weight of the second hump, on whichever side the residuals put it.
    hump: f64,
    hump_at: f64,
    hump_sigma: f64,
}

impl Noise {
    /// The prior with the given scale of the core.
    pub(super) fn with_sigma(sigma: f64) -> Self {
        Self {
            sigma: sigma.clamp(MIN_SIGMA, MAX_SIGMA),
            core: 0.85,
            slow: 0.10,
            slow_scale: 0.5,
            fast: 0.05,
            fast_scale: 0.5,
            hump: 0.02,
            hump_at: HUMP.0,
            hump_sigma: HUMP.1,
        }
    }

    /// A first guess from the lower quartile of the steps between neighbours, which level changes and outliers barely touch.
    ///
    /// For Gaussian noise that quartile is 0.4506 σ (0.3186 √2).
    pub(super) fn first_guess(values: &[f64]) -> Self {
        let mut steps: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
        if steps.is_empty() {
            return Self::with_sigma(MIN_SIGMA);
        }
        let quarter = steps.len() / 4;
        let (_, quartile, _) = steps.select_nth_unstable_by(quarter, f64::total_cmp);
        Self::with_sigma(*quartile / 0.4506)
    }

    /// Fits the mixture to residuals by expectation-maximisation with the priors above.
    ///
    /// Of very many residuals an even selection is enough.
    pub(super) fn fit(&self, residuals: &[f64]) -> Self {
        let every = residuals.len() / ENOUGH_RESIDUALS + 1;
        let residuals: Vec<f64> = residuals.iter().copied().step_by(every).collect();
        let mut noise = self.clone();
        let n = residuals.len() as f64;
        // The scale is held near its first guess by a handful of imagined observations; short series need it.
        let prior_sigma = (self.sigma, 4.0);
        for _ in 0..ROUNDS {
            let (mut core, mut squares) = (0.0, 0.0);
            let (mut slow, mut slow_sum, mut fast, mut fast_sum) = (0.0, 0.0, 0.0, 0.0);
            let (mut hump, mut hump_sum, mut hump_squares) = (0.0, 0.0, 0.0);
            for &r in &residuals {
                let parts = noise.parts(r);
                let total = parts.0 + parts.1 + parts.2 + parts.3 + ANYWHERE * ANYWHERE_DENSITY;
                let h = parts.3 / total;
                hump += h;
                hump_sum += h * r;
                hump_squares += h * r * r;
                let (c, s, f) = (parts.0 / total, parts.1 / total, parts.2 / total);
                core += c;
                squares += c * r * r;
                slow += s;
                slow_sum += s * r;
                fast += f;
                fast_sum -= f * r;
            }
            let all = n + PRIOR.iter().sum::<f64>();
            noise.sigma =
                ((squares + prior_sigma.1 * prior_sigma.0 * prior_sigma.0) / (core + prior_sigma.1)).sqrt().clamp(MIN_SIGMA, MAX_SIGMA);
            noise.core = (core + PRIOR[0]) / all;
            noise.slow = (slow + PRIOR[1]) / all;
            noise.fast = (fast + PRIOR[2]) / all;
            noise.hump = (hump + PRIOR[3]) / all;
            let place = (hump_sum + HUMP.2 * HUMP.0) / (hump + HUMP.2);
            let spread = hump_squares - 2.0 * place * hump_sum + hump * place * place;
            noise.hump_at = place;
            noise.hump_sigma = ((spread.max(0.0) + HUMP.2 * HUMP.1 * HUMP.1) / (hump + HUMP.2)).sqrt().max(noise.sigma);
            let scale = |sum: f64, weight: f64| {
                let (mean, strength) = PRIOR_TAIL;
                ((sum + strength * mean) / (weight + strength)).clamp(2.0 * noise.sigma, 2.0)
            };
            noise.slow_scale = scale(slow_sum, slow);
            noise.fast_scale = scale(fast_sum, fast);
        }
        noise
    }

    fn parts(&self, r: f64) -> (f64, f64, f64, f64) {
        let z = r / self.sigma;
        let hz = (r - self.hump_at) / self.hump_sigma;
        let hump = self.hump * (-0.5 * hz * hz).exp() / (self.hump_sigma * (2.0 * PI).sqrt());
        let core = self.core * (-0.5 * z * z).exp() / (self.sigma * (2.0 * PI).sqrt());
        if r >= 0.0 {
            (core, self.slow * (-r / self.slow_scale).exp() / self.slow_scale, 0.0, hump)
        } else {
            (core, 0.0, self.fast * (r / self.fast_scale).exp() / self.fast_scale, hump)
        }
    }

    /// Posterior probability that a residual belongs to the core.
    fn core_weight(&self, r: f64) -> f64 {
        let (core, slow, fast, hump) = self.parts(r);
        core / (core + slow + fast + hump + ANYWHERE * ANYWHERE_DENSITY)
    }

    /// Negative log density, less that of the core's peak: 0 where a build is as expected, larger the odder it is.
    pub(super) fn cost(&self, r: f64) -> f64 {
        let (core, slow, fast, hump) = self.parts(r);
        let peak = self.core / (self.sigma * (2.0 * PI).sqrt());
        (peak / (core + slow + fast + hump + ANYWHERE * ANYWHERE_DENSITY)).ln()
    }
}

/// The costs of a [`Noise`] by residual, tabulated: the searches ask for it millions of times.
#[derive(Debug, Clone)]
pub(super) struct CostTable {
    /// Places of the table to one log unit.
    per_unit: f64,
    /// The place of 0, and a half for rounding.
    origin: f64,
    half: usize,
    costs: Vec<f64>,
    weights: Vec<f64>,
}

impl CostTable {
    /// Tabulates residuals from `-span` to `span` in steps of at most `step`; farther ones cost as much as the ends.
    pub(super) fn new(noise: &Noise, step: f64, span: f64) -> Self {
        let half = (span / step).ceil() as usize;
        let residual = |i: usize| (i as f64 - half as f64) * step;
        let costs = (0..=2 * half).map(|i| noise.cost(residual(i))).collect();
        let weights = (0..=2 * half).map(|i| noise.core_weight(residual(i))).collect();
        Self { per_unit: 1.0 / step, origin: half as f64 + 0.5, half, costs, weights }
    }

    fn index(&self, r: f64) -> usize {
        // A cast of a float saturates; a residual before the table's start counts as the start. Through a signed number it is shorter.
        ((r * self.per_unit + self.origin) as i64).max(0) as usize
    }

    /// The cost of one residual, to the nearest step.
    pub(super) fn cost(&self, r: f64) -> f64 {
        let place = self.index(r).min(self.costs.len() - 1);
        self.costs[place]
    }

    /// Posterior probability that a residual belongs to the core, to the nearest step.
    pub(super) fn weight(&self, r: f64) -> f64 {
        let place = self.index(r).min(self.weights.len() - 1);
        self.weights[place]
    }

    /// The costs of the residuals `first`, `first - 1`, … steps, `count` of them; `None` where the table does not reach.
    pub(super) fn costs_around(&self, first: isize, count: usize) -> Option<&[f64]> {
        let low = usize::try_from(self.half as isize + first).ok()?;
        self.costs.get(low..low.checked_add(count)?)
    }
}
