//! How fast logs are read, over pinned real logs of `testdata/format/` (its README says which engine wrote each).
//!
//! | bench | log | what it is |
//! |---|---|---|
//! | plain/interleaved | 070-interleaving | three stages print for half a minute at once |
//! | plain/long-output | 093-sleep-intervals | steps with hundreds of lines of output |
//! | plain/many-stages | 098-many-stages | 41 steps in 12 parallel stages, hardly any output |
//! | prefix/github | 201-ci-gha-raw | the log of a GitHub job, a time before every line |
//! | prefix/teamcity | 213-ci-teamcity | a prefix that is matched piece by piece |
//! | rawjson | 070-interleaving | the same build, as structured events |
//!
//! Only throughput is reported; nothing is asserted.

#![expect(clippy::expect_used, reason = "a bench without its pinned log must say so")]

use std::{hint::black_box, io::Read, path::Path};

use bklog::{build::collect::Collector, log::Reader};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A log is repeated until a run of the bench reads about this much, so that the cost of a build's end is there in proportion.
const BYTES: usize = 4 * 1024 * 1024;

fn log(case: &str, name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/format").join(case);
    let path = [name.to_owned(), format!("{name}.gz")].map(|name| directory.join(name)).into_iter().find(|path| path.exists());
    let mut bytes = Vec::new();
    if let Some(mut source) = path.and_then(|path| bklog::log::source::open(&path).ok()) {
        source.read_to_end(&mut bytes).expect("pinned logs can be read");
    }
    assert!(!bytes.is_empty(), "{case}/{name} is missing");
    bytes.repeat(BYTES.div_ceil(bytes.len()))
}

fn read(bytes: &[u8]) -> usize {
    let mut steps = 0;
    let mut reader = Reader::new(Collector::new(|build| steps += build.steps.len()));
    for piece in bytes.chunks(bklog::log::source::CHUNK_BYTES) {
        reader.feed(piece);
    }
    drop(reader.finish());
    steps
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for (name, case, file) in [
        ("plain/interleaved", "070-interleaving", "plain.log"),
        ("plain/long-output", "093-sleep-intervals", "plain.log"),
        ("plain/many-stages", "098-many-stages", "plain.log"),
        ("prefix/github", "201-ci-gha-raw", "prefixed.log"),
        ("prefix/teamcity", "213-ci-teamcity", "prefixed.log"),
        ("rawjson", "070-interleaving", "rawjson.log"),
    ] {
        let bytes = log(case, file);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| read(black_box(&bytes))));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
