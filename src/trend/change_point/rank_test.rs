//! The Mann–Whitney U test: do the values on one side of a cut tend to be larger?

/// Two-sided p-value that `a` and `b` are drawn from one distribution (Mann and Whitney 1947).
///
/// Normal approximation with corrections for ties and continuity; 1 when either is empty or all values are equal.
/// `inflation` widens the variance where neighbouring values resemble each other; 1 for independent ones. The approximation is
/// slightly conservative below about 8 values a side, which suits a test that is asked after the cut was chosen.
pub(super) fn mann_whitney(a: &[f64], b: &[f64], inflation: f64) -> f64 {
    let mut all: Vec<(f64, bool)> = a.iter().map(|&v| (v, true)).chain(b.iter().map(|&v| (v, false))).collect();
    all.sort_unstable_by(|x, y| x.0.total_cmp(&y.0));
    let (na, nb, n) = (a.len() as f64, b.len() as f64, all.len() as f64);
    let (mut rank_sum, mut ties) = (0.0, 0.0);
    let mut rank = 0.0;
    for group in all.chunk_by(|x, y| x.0 == y.0) {
        let size = group.len() as f64;
        let mean_rank = rank + (size + 1.0) / 2.0;
        rank_sum += mean_rank * group.iter().filter(|v| v.1).count() as f64;
        ties += size * size * size - size;
        rank += size;
    }
    let u = rank_sum - na * (na + 1.0) / 2.0;
    let variance = na * nb / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
    // Fewer than two values leave no number.
    if variance.is_nan() || variance <= 0.0 {
        return 1.0;
    }
    if ties == 0.0 && na * nb <= MOST_EXACT {
        // The tail of a Gaussian falls as exp(-z²/2): dividing z² by the inflation divides the log of the tail by it.
        return exact(u, a.len(), b.len()).powf(1.0 / inflation);
    }
    let z = ((u - na * nb / 2.0).abs() - 0.5).max(0.0) / (variance * inflation).sqrt();
    two_sided(z)
}

/// Largest product of the two sizes for which the exact distribution is counted out; beyond it the approximation is good.
const MOST_EXACT: f64 = 400.0;

/// Two-sided p-value of a U without ties: the share of all orders whose U is as far from the middle (Mann and Whitney 1947).
fn exact(u: f64, na: usize, nb: usize) -> f64 {
    let most = na * nb;
    // orders[u] with i values of a, grown by one value of b at a time, is the Gaussian binomial coefficient (na+nb over na):
    // the product of (1 - q^(nb+i)) / (1 - q^i) for i up to na, whose coefficient of q^u counts the orders with that U.
    let mut orders = vec![0.0_f64; most + 1];
    orders[0] = 1.0;
    for i in 1..=na {
        for u in (nb + i..=most).rev() {
            orders[u] -= orders[u - nb - i];
        }
        for u in i..=most {
            orders[u] += orders[u - i];
        }
    }
    let low = u.min(most as f64 - u).floor() as usize;
    let all: f64 = orders.iter().sum();
    (2.0 * orders[..=low].iter().sum::<f64>() / all).clamp(0.0, 1.0)
}

/// Probability that a standard normal value is at least `z` away from 0.
///
/// The complementary error function by the rational Chebyshev fit of Numerical Recipes (relative error below 1.2e-7 everywhere).
fn two_sided(z: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let polynomial = COEFFICIENTS.iter().rev().fold(0.0, |sum, c| sum * t + c);
    (t * (-x * x + polynomial).exp()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64, relative: f64) -> bool {
        (value / expected - 1.0).abs() < relative
    }

    #[test]
    fn tail_of_the_normal_distribution() {
        // Two-sided quantiles from Abramowitz and Stegun, table 26.1 and 26.2.
        for (z, p) in [(0.0, 1.0), (1.0, 0.317_310_51), (1.959_963_985, 0.05), (3.0, 0.002_699_796), (6.0, 1.973_175e-9)] {
            assert!(close(two_sided(z), p, 1e-5), "{z}: {}", two_sided(z));
        }
    }

    #[test]
    fn complete_separation_of_small_samples_is_exact() {
        // 2 of the C(10,5) = 252 orders are as extreme.
        let p = mann_whitney(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0], 1.0);
        assert!(close(p, 2.0 / 252.0, 1e-12), "{p}");
        // 1 of 3 orders of one against two puts the one first, 1 last.
        let p = mann_whitney(&[1.0], &[2.0, 3.0], 1.0);
        assert!(close(p, 2.0 / 3.0, 1e-12), "{p}");
    }

    #[test]
    fn exact_distribution_agrees_with_counting_all_orders() {
        // All ways to choose the ranks of 3 values among 7.
        let (na, nb) = (3_usize, 4_usize);
        let mut counts = vec![0.0; na * nb + 1];
        for mask in 0_u32..1 << (na + nb) {
            if mask.count_ones() as usize == na {
                let ranks: usize = (0..na + nb).filter(|bit| mask >> bit & 1 == 1).map(|bit| bit + 1).sum();
                counts[ranks - na * (na + 1) / 2] += 1.0;
            }
        }
        let all: f64 = counts.iter().sum();
        for u in 0..=na * nb {
            let low = u.min(na * nb - u);
            let expected = (2.0 * counts[..=low].iter().sum::<f64>() / all).min(1.0);
            assert!((exact(u as f64, na, nb) - expected).abs() < 1e-12, "{u}");
        }
    }

    #[test]
    fn ties_and_large_samples_use_the_corrected_approximation() {
        // Ranks 3,3,3,3,3,3,8.5,8.5,8.5,8.5 after ties: U = 3, mean 12.5, variance 25/12 (11 - 270/90) = 16.67, z = 9/4.0825.
        let a = [1.0, 1.0, 1.0, 1.0, 1.0];
        let b = [1.0, 2.0, 2.0, 2.0, 2.0];
        let ties = (216.0 - 6.0) + (64.0 - 4.0);
        let variance: f64 = 25.0 / 12.0 * (11.0 - ties / 90.0);
        let expected = two_sided((12.5 - 2.5 - 0.5) / variance.sqrt());
        assert!(close(mann_whitney(&a, &b, 1.0), expected, 1e-12));
    }

    #[test]
    fn degenerate_samples_prove_nothing() {
        assert_eq!(mann_whitney(&[], &[1.0, 2.0], 1.0), 1.0);
        assert_eq!(mann_whitney(&[], &[], 1.0), 1.0);
        assert_eq!(mann_whitney(&[1.0], &[], 1.0), 1.0);
        assert_eq!(mann_whitney(&[3.0; 9], &[3.0; 9], 1.0), 1.0);
    }

    #[test]
    fn likeness_of_neighbours_weakens_the_evidence() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]);
        assert!(mann_whitney(&a, &b, 2.0) > mann_whitney(&a, &b, 1.0));
    }
}
