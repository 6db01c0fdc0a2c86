//! How much a build's time tells about the next one's, apart from the level.

use super::segment::median;

/// Largest correlation that is corrected for; beyond it a series has no level to speak of.
const MAX_CORRELATION: f64 = 0.8;

/// The factor by which neighbouring builds' likeness inflates the evidence for a change, 1 for independent builds.
///
/// For noise that follows a first-order autoregression with coefficient ρ the variance of a mean grows by (1+ρ)/(1-ρ). ρ comes
/// from the differences of neighbours and of second neighbours, Var(Δ₂)/Var(Δ₁) = 1+ρ, which changes of level leave alone
/// (Tecuapetla-Gómez and Munk 2017), winsorised against outliers, less one-sided 95 % of its sampling error.
pub(super) fn inflation(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 20 {
        return 1.0;
    }
    let differences = |lag: usize| values.iter().zip(&values[lag..]).map(|(a, b)| b - a).collect::<Vec<f64>>();
    let (first, second) = (differences(1), differences(2));
    let sizes: Vec<f64> = first.iter().map(|d| d.abs()).collect();
    // 1.4826 turns the median absolute deviation of Gaussian noise into its standard deviation.
    let limit = 3.0 * 1.4826 * median(&sizes);
    let mean_square = |d: &[f64]| d.iter().map(|d| d.clamp(-limit, limit).powi(2)).sum::<f64>() / d.len() as f64;
    let (one, two) = (mean_square(&first), mean_square(&second));
    if one <= 0.0 {
        return 1.0;
    }
    let error = 1.64 * 1.3 / (n as f64).sqrt();
    let rho = (two / one - 1.0 - error).clamp(0.0, MAX_CORRELATION);
    (1.0 + rho) / (1.0 - rho)
}
