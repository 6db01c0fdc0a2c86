//! The ledger of runs: open Parquet files that any engine reads in place.
//!
//! One run of `check --record` writes a few small files, each under its own name, which never change afterwards. A file is written
//! under a temporary name, brought to disk, and linked to its real name, which succeeds once: writers need no lock, a killed writer
//! leaves nothing that a reader sees, and the same run recorded twice is there once. The runs table comes last: a run that is not in
//! it was not recorded to its end.
//!
//! ```text
//! runs/project=P/month=2026-11/STAMP-RUN.parquet        one row: the run
//! steps/project=P/month=2026-11/STAMP-RUN.parquet       one row a step
//! contexts/key=K/STAMP-RECORDED-RUN.parquet             one row an entry of a builder's copy of a context
//! images/name=N/STAMP-RECORDED-RUN.parquet              one row: a run built this image
//! ```
//!
//! `STAMP` is the time of the run in UTC, so that names sort as runs do. Schemas only grow; every file carries its version.

pub mod identity;
#[cfg(feature = "history")]
mod record;
pub mod rows;
#[cfg(feature = "history")]
mod store;

#[cfg(feature = "history")]
pub use record::{RunInfo, RunRow, StepRow, run_rows};
pub use rows::Selection;
#[cfg(feature = "history")]
pub use store::{History, HistoryError, SCHEMA_VERSION};
