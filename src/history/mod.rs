//! The ledger of runs: open Parquet files that any engine reads in place.
//!
//! A run is recorded in a few small files, each under its own name, which never change afterwards. A file is written under a temporary
//! name, brought to disk, and linked to its real name, which succeeds once: writers need no lock, a killed writer leaves nothing that a
//! reader sees, and the same run recorded twice is there once. The runs table comes last: a run that is not in it was not recorded to
//! its end, and readers leave it out. Where a month has many small files they are folded into one.
//!
//! ```text
//! runs/project=P/month=2026-11/STAMP-RUN.parquet        one row: the run
//! builds/project=P/month=2026-11/STAMP-RUN.parquet      one row a build, and one for each of its targets
//! steps/project=P/month=2026-11/STAMP-RUN.parquet       one row a step
//! runs/project=P/month=2026-11/month-….parquet          the rows of many runs (as in the other two)
//! weeks/project=P/month=2026-11/month-….parquet         sums of the folded steps of the same name; they can be made again
//! contexts/key=K/STAMP-RECORDED-RUN.parquet             one row: the tree that a builder's copies of a context held after a run
//! contexts/key=K/trees/DIGEST.parquet                   one row an entry of those copies; runs that leave them as they were share it
//! images/name=N/STAMP-RECORDED-RUN.parquet              one row: a run built this image
//! ```
//!
//! `STAMP` is the time of the run in UTC, so that names sort as runs do. Schemas only grow; every file carries its version.

#[cfg(feature = "history")]
mod export;
#[cfg(feature = "history")]
mod files;
#[cfg(feature = "history")]
mod fold;
#[cfg(feature = "history")]
mod frames;
pub mod identity;
pub mod naming;
#[cfg(feature = "history")]
mod past;
#[cfg(feature = "history")]
mod prune;
#[cfg(feature = "history")]
mod read;
mod record;
#[cfg(feature = "history")]
mod remove;
#[cfg(feature = "history")]
mod rollup;
pub mod rows;
#[cfg(feature = "history")]
mod store;
#[cfg(feature = "history")]
mod tally;
#[cfg(feature = "history")]
mod verify;

#[cfg(feature = "history")]
pub use export::{ExportError, TextFormat};
#[cfg(feature = "history")]
pub use files::Table;
#[cfg(feature = "history")]
pub use fold::Fold;
pub use record::{RunInfo, log_digest, logged_start, run_rows, week};
#[cfg(feature = "history")]
pub use rollup::WeekRow;
pub use rows::{BuildRow, RunRow, RunRows, Selection, StepRow};
#[cfg(feature = "history")]
pub use store::{Clock, History, HistoryError, Recorded, SCHEMA_VERSION};
#[cfg(feature = "history")]
pub use verify::{Problem, Verification};
