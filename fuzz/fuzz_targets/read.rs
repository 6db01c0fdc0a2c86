//! Any bytes are read without a panic, and the same in pieces as at once.
#![no_main]

use bklog::{
    build::{Build, collect::Collector},
    log::Reader,
};
use libfuzzer_sys::fuzz_target;

fn read(log: &[u8], size: usize) -> Vec<Build> {
    let mut builds = Vec::new();
    let mut reader = Reader::new(Collector::new(|build| builds.push(build)));
    for piece in log.chunks(size) {
        reader.feed(piece);
    }
    reader.finish();
    builds
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, log) = input;
    let whole = read(log, log.len().max(1));
    assert_eq!(read(log, usize::from(size) + 1), whole);
    for build in &whole {
        assert!(build.lines.0 <= build.lines.1);
        assert!(build.duration.is_none_or(|duration| duration.seconds >= 0.0));
    }
});
