//! Change-point search over 10,000 builds: steps in noise with a second hump, noise alone, a slow and a strong drift, many changes.
//!
//! The series are made by a fixed linear congruential generator, so every run measures the same numbers.

use std::hint::black_box;

use bklog::trend::change_point::{Settings, detect};
use bklog::trend::series::{Point, Series};
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;

const BUILDS: u32 = 10_000;

/// Twelve uniform numbers less 6 are close to a standard normal one.
fn normal(state: &mut u64) -> f64 {
    (0..12).map(|_| uniform(state)).sum::<f64>() - 6.0
}

/// Knuth's MMIX generator, its upper bits as a number from 0 to 1.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as f64 / f64::from(1_u32 << 31)
}

fn series(level: impl Fn(u32) -> f64) -> Series {
    let mut state = 7;
    let points = (0..BUILDS)
        .map(|i| {
            let cold = if uniform(&mut state) < 0.15 { 1.8 } else { 1.0 };
            Point {
                at: Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_mins(i64::from(i) * 20),
                run: None,
                commit: None,
                value: level(i) * cold * (0.1 * normal(&mut state)).exp(),
            }
        })
        .collect();
    Series::new(points).unwrap_or_default()
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("change points of 10,000 builds");
    let cases = [
        ("steps", series(|i| if (i / 400).is_multiple_of(2) { 150.0 } else { 240.0 })),
        ("none", series(|_| 150.0)),
        ("drift", series(|i| 150.0 * (f64::from(i) / 5_000.0).exp())),
        ("strong drift", series(|i| 150.0 * (f64::from(i) / 1_500.0).exp())),
        ("drift up and down", series(|i| 150.0 * (f64::from(i) / 600.0).sin().exp())),
        ("many changes", series(|i| 150.0 * [1.0, 1.5, 2.4, 0.7, 1.1, 3.0][(i / 60) as usize % 6])),
    ];
    for (name, series) in &cases {
        group.bench_function(*name, |b| b.iter(|| detect(black_box(series), &Settings::default())));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
