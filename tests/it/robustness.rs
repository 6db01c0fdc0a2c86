//! Any bytes, and real logs cut and mixed in any way, are read without a panic and the same in pieces of any size.

use std::{io::Read as _, path::PathBuf, sync::LazyLock};

use bklog::{build::Build, log::source};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::records::{read, read_pieces};

/// A log of `testdata/`, decoded: packed logs are unpacked and UTF-16 is UTF-8.
pub struct RealLog {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// All logs of `testdata/format` and `testdata/docker-20.10`.
pub static REAL_LOGS: LazyLock<Vec<RealLog>> = LazyLock::new(|| {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut paths = Vec::new();
    for directory in [root.join("format"), root.join("docker-20.10")] {
        let mut folders = vec![directory];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("testdata is there") {
                let path = entry.expect("testdata can be read").path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if name.ends_with(".log") || name.ends_with(".log.gz") {
                    paths.push(path);
                }
            }
        }
    }
    paths.sort();
    let read = |path: PathBuf| {
        let mut bytes = Vec::new();
        source::open(&path).expect("a log opens").read_to_end(&mut bytes).expect("a log can be read");
        RealLog { path, bytes }
    };
    paths.into_iter().map(read).collect()
});

/// What every record must be, whatever the log was.
fn check(builds: &[Build], log: &[u8]) -> Result<(), TestCaseError> {
    let lines = log.split(|b| *b == b'\n').count() as u64;
    let mut last_begin = 0;
    for build in builds {
        prop_assert!(build.lines.0 >= last_begin, "builds are told in the order in which they begin");
        last_begin = build.lines.0;
        prop_assert!(build.lines.0 <= build.lines.1 && build.lines.1 <= lines, "{:?} of {lines}", build.lines);
        prop_assert!(build.duration.is_none_or(|duration| duration.seconds >= 0.0), "{:?} in {}", build.duration, log.escape_ascii());
        let mut indexes: Vec<u32> = build.steps.iter().map(|step| step.index).collect();
        indexes.sort_unstable();
        indexes.dedup();
        prop_assert_eq!(indexes.len(), build.steps.len(), "an index is one step");
        for step in &build.steps {
            prop_assert!(step.lines.0 <= step.lines.1 && step.lines.1 <= lines);
            prop_assert!(step.log_lines <= log.len() as u64);
            prop_assert!(step.seconds.is_none_or(|seconds| seconds >= 0.0));
        }
    }
    Ok(())
}

#[test]
fn real_logs_in_pieces() {
    assert!(REAL_LOGS.len() > 400, "{} logs", REAL_LOGS.len());
    for log in REAL_LOGS.iter() {
        let whole = read(&log.bytes);
        // Pieces of a byte take long in the largest logs, and tell no more there than in the others.
        let sizes: &[usize] = if log.bytes.len() < 300_000 { &[1, 7, 64, 4096] } else { &[4096, 65_537] };
        for size in sizes {
            assert_eq!(read_pieces(log.bytes.chunks(*size)), whole, "{} in pieces of {size}", log.path.display());
        }
    }
}

/// One change of a log.
#[derive(Debug, Clone)]
enum Change {
    /// Leaves a piece out.
    Cut(Index, usize),
    /// Leaves the rest out.
    Truncate(Index),
    /// Puts a piece of another log in.
    Splice(Index, Index, Index, usize),
    /// Puts bytes in.
    Insert(Index, Vec<u8>),
    /// Changes a byte.
    Flip(Index, u8),
    /// Repeats a piece.
    Repeat(Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 1..400usize).prop_map(|(a, n)| Change::Cut(a, n)),
        at().prop_map(Change::Truncate),
        (at(), at(), at(), 1..2000usize).prop_map(|(a, log, from, n)| Change::Splice(a, log, from, n)),
        (at(), token()).prop_map(|(a, bytes)| Change::Insert(a, bytes)),
        (at(), any::<u8>()).prop_map(|(a, byte)| Change::Flip(a, byte)),
        (at(), 1..1000usize).prop_map(|(a, n)| Change::Repeat(a, n)),
    ]
}

/// Bytes of which logs are made.
fn token() -> impl Strategy<Value = Vec<u8>> {
    const TOKENS: &[&str] = &[
        "\n",
        "\r\n",
        "\r",
        "#",
        "#0 ",
        "#1 ",
        "#2 ",
        "#9999999 ",
        "#4294967295 ",
        " ",
        "...",
        "DONE",
        "DONE 0.1s",
        "CACHED",
        "CANCELED",
        "ERROR: ",
        "WARN: ",
        "0.123 ",
        "99999999999999999999.9 ",
        "[1/2] ",
        "[a b/c 4294967296/1] ",
        "[internal] load build context",
        "RUN echo \"x",
        "'",
        "\"",
        "\\",
        "sha256:",
        "transferring context: 1.5GB 0.1s done",
        "------\n",
        " > x:\n",
        "Dockerfile:3\n",
        "--------------------\n",
        "#0 building with \"c\" instance using remote driver\n",
        "[+] Building 0.2s (4/8)\n",
        " => x 0.1s\n",
        "Step 1/5 : FROM x\n",
        " ---> Using cache\n",
        "{\"vertexes\":[",
        "{\"logs\":[{\"vertex\":\"a\",\"data\":\"YQo=\"}]}\n",
        "2026-11-21T02:16:05.6709979Z ",
        "1700000000000",
        "Nov 21 02:16:08 ",
        "0.123456 ",
        "\u{1b}[0m",
        "\u{1b}_bk;t=1\u{7}",
        "docker : ",
        "\u{feff}",
        "\0",
        "[output clipped, log limit 2MiB reached]",
        "ERROR: failed to build: failed to solve: x\n",
        "exporting to image",
        "importing cache manifest from x",
        "1 warning found:\n",
        " - x\n",
        "\u{2028}",
        "ü",
    ];
    prop_oneof![3 => proptest::sample::select(TOKENS).prop_map(|text| text.as_bytes().to_vec()), 1 => vec(any::<u8>(), 1..6)]
}

fn apply(log: &mut Vec<u8>, change: &Change) {
    if log.is_empty() {
        return;
    }
    let length = log.len();
    match change {
        Change::Cut(at, n) => _ = log.drain(at.index(length)..(at.index(length) + n).min(length)),
        Change::Truncate(at) => log.truncate(at.index(length)),
        Change::Splice(at, other, from, n) => {
            let other = &small_log(other).bytes;
            let from = from.index(other.len().max(1));
            let piece = other[from..(from + n).min(other.len())].to_vec();
            let at = at.index(length);
            _ = log.splice(at..at, piece);
        }
        Change::Insert(at, bytes) => {
            let at = at.index(length);
            _ = log.splice(at..at, bytes.iter().copied());
        }
        Change::Flip(at, byte) => log[at.index(length)] = *byte,
        Change::Repeat(at, n) => {
            let from = at.index(length);
            let piece = log[from..(from + n).min(length)].to_vec();
            _ = log.splice(from..from, piece);
        }
    }
}

/// One of the logs that are small enough to be read thousands of times.
fn small_log(which: &Index) -> &'static RealLog {
    static SMALL: LazyLock<Vec<&RealLog>> =
        LazyLock::new(|| REAL_LOGS.iter().filter(|log| (1..20_000).contains(&log.bytes.len())).collect());
    SMALL[which.index(SMALL.len())]
}

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 300 };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn bytes_of_any_kind(bytes in vec(any::<u8>(), 0..2000), size in 1..100usize) {
        let builds = read(&bytes);
        check(&builds, &bytes)?;
        prop_assert_eq!(read_pieces(bytes.chunks(size)), builds);
    }

    #[test]
    fn pieces_of_logs_in_any_order(tokens in vec(token(), 0..200), size in 1..100usize) {
        let bytes = tokens.concat();
        let builds = read(&bytes);
        check(&builds, &bytes)?;
        prop_assert_eq!(read_pieces(bytes.chunks(size)), builds);
    }

    #[test]
    fn real_logs_changed(which in any::<Index>(), changes in vec(change(), 1..12), size in 1..5000usize) {
        let mut log = small_log(&which).bytes.clone();
        for change in &changes {
            apply(&mut log, change);
        }
        let builds = read(&log);
        check(&builds, &log)?;
        prop_assert_eq!(read_pieces(log.chunks(size)), builds);
    }
}
