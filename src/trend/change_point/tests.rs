use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::trend::series::Point;

/// Knuth's MMIX generator with the distributions that the tests need: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

fn every(minutes: i64, values: &[f64]) -> Series {
    let point = |(i, &value): (usize, &f64)| Point {
        // A Monday.
        at: Timestamp::from_second(1_772_409_600).unwrap() + SignedDuration::from_mins(i as i64 * minutes),
        run: None,
        commit: Some(format!("c{i}")),
        value,
    };
    Series::new(values.iter().enumerate().map(point).collect()).unwrap()
}

/// Builds 50 minutes apart, so that no pattern of the day can hide in the index.
fn series(values: &[f64]) -> Series {
    every(50, values)
}

fn found(values: &[f64]) -> Vec<Change> {
    detect(&series(values), &Settings::default())
}

fn indices(values: &[f64]) -> Vec<usize> {
    found(values).iter().map(|change| change.index).collect()
}

/// `(length, level)` one after the other, with multiplicative noise of the given log scale.
fn levels(seed: u64, noise: f64, parts: &[(usize, f64)]) -> Vec<f64> {
    let mut random = Random(seed);
    parts.iter().flat_map(|&(length, level)| vec![level; length]).map(|level| level * (noise * random.normal()).exp()).collect()
}

fn real_builds() -> Series {
    Series::from_csv(&include_bytes!("../../../testdata/trend/sixty-real-builds.csv")[..]).unwrap()
}

#[test]
fn sixty_real_builds_change_when_the_cache_is_lost_and_when_it_is_back() {
    let series = real_builds();
    let changes = detect(&series, &Settings::default());
    let summary: Vec<_> = changes.iter().map(|c| (c.index, c.direction, c.state)).collect();
    assert_eq!(summary, [(25, Direction::Slower, State::Confirmed), (40, Direction::Faster, State::Confirmed)], "{changes:?}");
    let commit = |i: usize| series.points()[i].commit.clone().unwrap();
    assert_eq!(changes[0].suspects(&series).unwrap(), format!("{}..{}", commit(24), commit(25)));
    assert!(changes.iter().all(|c| c.p_value < 1e-4), "{changes:?}");
}

#[test]
fn real_builds_are_suspected_after_two_and_confirmed_after_five() {
    let series = real_builds();
    for true_index in [25, 40] {
        let state_after = |builds: usize| {
            let changes = detect(&series.prefix(true_index + builds), &Settings::default());
            changes.iter().find(|c| c.index == true_index).map(|c| c.state)
        };
        assert!(state_after(2).is_some(), "{true_index}");
        assert_eq!(state_after(5), Some(State::Confirmed), "{true_index}");
    }
}

#[test]
fn growing_prefixes_suspect_a_doubling_after_two_builds_and_confirm_it_after_five() {
    for (seed, factor) in [(1, 2.0), (2, 3.0), (3, 0.5), (4, 8.0), (5, 0.2)] {
        let values = levels(seed, 0.06, &[(30, 200.0), (20, 200.0 * factor)]);
        let series = series(&values);
        let at = |builds: usize| detect(&series.prefix(30 + builds), &Settings::default());
        assert_eq!(at(0), [], "seed {seed}");
        let suspicion = at(2);
        assert_eq!(suspicion.len(), 1, "seed {seed}");
        assert_eq!((suspicion[0].index, suspicion[0].state), (30, State::Suspected), "seed {seed}");
        // One alert, from its confirmation on always the same.
        for builds in 5..=20 {
            let changes = at(builds);
            assert_eq!(changes.len(), 1, "seed {seed}, {builds} builds");
            assert_eq!((changes[0].index, changes[0].state), (30, State::Confirmed), "seed {seed}, {builds} builds");
        }
    }
}

#[test]
fn a_lone_spike_is_no_change_wherever_it_is() {
    for at in [0, 1, 20, 38, 39] {
        let mut values = levels(9, 0.05, &[(40, 100.0)]);
        values[at] *= 20.0;
        assert_eq!(indices(&values), [0_usize; 0], "spike at {at}");
    }
}

#[test]
fn a_spell_of_four_slow_builds_is_no_change_and_ten_are_two() {
    let spell = |length| levels(5, 0.05, &[(40, 100.0), (length, 300.0), (40, 100.0)]);
    assert_eq!(indices(&spell(4)), [0_usize; 0]);
    assert_eq!(indices(&spell(10)), [40, 50]);
}

#[test]
fn noise_alone_is_no_change_whatever_its_shape() {
    type Draw = fn(&mut Random) -> f64;
    let shapes: [(&str, Draw); 5] = [
        ("uniform", |r| 0.8 + 0.4 * r.uniform()),
        ("skewed", |r| 0.7 - 0.3 * r.uniform().max(1e-9).ln()),
        ("two humps", |r| (0.06 * r.normal()).exp() * if r.uniform() < 0.4 { 1.8 } else { 1.0 }),
        ("heavy tails", |r| (0.05 * r.normal() / r.uniform().max(0.02)).exp()),
        ("additive", |r| 1.0 + 0.08 * r.normal()),
    ];
    let mut builds = 0;
    let mut alerts = Vec::new();
    for (name, draw) in shapes {
        for seed in 0..12 {
            let mut random = Random(1000 + seed);
            let values: Vec<f64> = (0..200).map(|_| 120.0 * draw(&mut random)).collect();
            builds += values.len();
            alerts.extend(found(&values).into_iter().filter(|c| c.state == State::Confirmed).map(|c| (name, seed, c)));
        }
    }
    // 0.3 in 1,000 builds is the most that is bearable; 12,000 builds of noise leave room for chance.
    assert!(alerts.len() as f64 <= 0.3e-3 * f64::from(builds as u32), "{alerts:?}");
}

#[test]
fn a_slow_drift_is_no_change() {
    for (seed, n) in [(1, 60), (2, 120), (3, 240), (4, 800)] {
        let mut random = Random(seed);
        let values: Vec<f64> = (0..n).map(|i| 150.0 * 1.5_f64.powf(f64::from(i) / f64::from(n)) * (0.05 * random.normal()).exp()).collect();
        assert_eq!(indices(&values), [0_usize; 0], "{n} builds");
    }
}

#[test]
fn a_step_on_top_of_a_drift_is_found() {
    let mut random = Random(3);
    let values: Vec<f64> =
        (0..200).map(|i| 100.0 * (0.002 * f64::from(i)).exp() * if i < 120 { 1.0 } else { 1.6 } * (0.05 * random.normal()).exp()).collect();
    assert_eq!(indices(&values), [120]);
}

#[test]
fn busy_hours_are_no_change() {
    let mut random = Random(4);
    let values: Vec<f64> =
        (0..240).map(|i| 100.0 * if (9..14).contains(&(i % 24)) { 1.3 } else { 1.0 } * (0.03 * random.normal()).exp()).collect();
    assert_eq!(detect(&every(60, &values), &Settings::default()), []);
}

#[test]
fn quiet_weekends_are_no_change_once_three_weeks_are_known() {
    let mut random = Random(5);
    let values: Vec<f64> = (0..12 * 28).map(|i| 100.0 * if i / 12 % 7 >= 5 { 0.8 } else { 1.0 } * (0.03 * random.normal()).exp()).collect();
    assert_eq!(detect(&every(120, &values), &Settings::default()), []);
}

#[test]
fn small_changes_are_found_in_quiet_series() {
    for (seed, factor) in [(1, 1.15), (2, 1.2), (3, 1.25), (4, 1.0 / 1.2)] {
        let values = levels(seed, 0.05, &[(60, 100.0), (60, 100.0 * factor)]);
        let changes = found(&values);
        assert_eq!(changes.len(), 1, "×{factor}: {changes:?}");
        assert!(changes[0].index.abs_diff(60) <= 3, "×{factor}: {changes:?}");
    }
}

#[test]
fn whole_seconds_do_not_confuse() {
    let values: Vec<f64> = levels(6, 0.08, &[(60, 6.0), (60, 11.0)]).into_iter().map(f64::round).collect();
    assert_eq!(indices(&values), [60]);
    let quiet: Vec<f64> = levels(7, 0.08, &[(120, 6.0)]).into_iter().map(f64::round).collect();
    assert_eq!(indices(&quiet), [0_usize; 0]);
}

#[test]
fn the_magnitude_floor_is_kept() {
    let values = levels(1, 0.02, &[(60, 100.0), (60, 107.0)]);
    assert_eq!(indices(&values), [0_usize; 0]);
    let sharp = Settings { min_ratio: 1.05, ..Settings::default() };
    let changes = detect(&series(&values), &sharp);
    assert_eq!(changes.len(), 1, "{changes:?}");
    let coarse = Settings { min_difference: 8.0, ..sharp };
    assert_eq!(detect(&series(&values), &coarse), []);
    let absurd = Settings { min_ratio: f64::NAN, min_difference: 0.0 };
    assert!(detect(&series(&values), &absurd).len() <= 1);
}

#[test]
fn constant_series_and_steps_between_constants() {
    assert_eq!(indices(&[7.0; 50]), [0_usize; 0]);
    let mut values = vec![7.0; 50];
    values[30..].fill(14.0);
    let changes = found(&values);
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].index, changes[0].before, changes[0].after, changes[0].ratio), (30, 7.0, 14.0, Some(2.0)));
    assert_eq!((changes[0].earliest, changes[0].latest), (30, 30));
}

#[test]
fn zeros_are_values() {
    assert_eq!(indices(&[0.0; 40]), [0_usize; 0]);
    let mut values = vec![0.0; 40];
    values[20..].fill(5.0);
    let changes = found(&values);
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].index, changes[0].before, changes[0].after, changes[0].ratio), (20, 0.0, 5.0, None));
}

#[test]
fn short_series_have_no_change() {
    for n in 0..=6 {
        let values: Vec<f64> = (0..n).map(|i| if i * 2 < n { 10.0 } else { 100.0 }).collect();
        assert_eq!(indices(&values), [0_usize; 0], "{n} builds");
    }
    // Five of the old level and two of the new are the first that can be suspected.
    let changes = found(&[10.0, 11.0, 10.0, 10.5, 10.0, 30.0, 31.0]);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!((changes[0].index, changes[0].state), (5, State::Suspected));
}

#[test]
fn values_of_every_size_are_borne() {
    let huge = [f64::MAX, f64::MAX, f64::MIN_POSITIVE, 1.0, 0.0, f64::MAX, 5e-324, 3.0, 4.0, f64::MAX];
    for change in found(&huge) {
        assert!(change.p_value.is_finite());
    }
}

#[test]
fn suspects_are_none_without_commits() {
    let changes = found(&levels(1, 0.05, &[(30, 10.0), (30, 30.0)]));
    let bare = Series::new(
        series(&levels(1, 0.05, &[(30, 10.0), (30, 30.0)])).points().iter().map(|p| Point { commit: None, ..p.clone() }).collect(),
    )
    .unwrap();
    assert_eq!(changes[0].suspects(&bare), None);
}

/// Levels, lengths and noise of series with anything in them: zeros, ties, spikes.
fn any_values() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        8 => 0.1..1000.0_f64,
        2 => (1..20_u32).prop_map(f64::from),
        1 => Just(0.0),
        1 => 0.0..1e12_f64,
    ];
    let part = (value, 1..40_usize, 0.0..0.3_f64, any::<u64>());
    prop::collection::vec(part, 0..6)
        .prop_map(|parts| parts.into_iter().flat_map(|(level, length, noise, seed)| levels(seed, noise, &[(length, level)])).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn changes_are_in_order_within_range_and_levels_are_medians(values in any_values()) {
        let changes = found(&values);
        let mut bounds: Vec<usize> = changes.iter().map(|c| c.index).collect();
        prop_assert!(bounds.iter().all(|&index| 0 < index && index < values.len()));
        prop_assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        bounds.insert(0, 0);
        bounds.push(values.len());
        for (at, change) in changes.iter().enumerate() {
            prop_assert_eq!(change.before, median(&values[bounds[at]..bounds[at + 1]]));
            prop_assert_eq!(change.after, median(&values[bounds[at + 1]..bounds[at + 2]]));
            prop_assert_eq!(change.direction == Direction::Slower, change.after > change.before);
            prop_assert!(change.ratio.is_none_or(|r| r >= 1.1 - 1e-12 || r <= 1.0 / 1.1 + 1e-12));
            prop_assert!((0.0..=1.0).contains(&change.p_value));
            prop_assert!(change.earliest <= change.index && change.index <= change.latest && change.latest < values.len());
            prop_assert!(change.earliest > 0);
            let last = at + 1 == changes.len();
            prop_assert!(change.state == State::Confirmed || last, "only the last change may be in doubt");
        }
    }

    #[test]
    fn the_same_input_gives_the_same_answer(values in any_values()) {
        prop_assert_eq!(found(&values), found(&values));
    }

    #[test]
    fn the_unit_does_not_matter(seed in any::<u64>(), factor in prop::sample::select(vec![1e-3, 1.0 / 60.0, 1000.0])) {
        let values = levels(seed, 0.08, &[(40, 60.0), (40, 100.0), (30, 45.0)]);
        let scaled: Vec<f64> = values.iter().map(|v| v * factor).collect();
        prop_assert_eq!(indices(&values), indices(&scaled));
    }
}
