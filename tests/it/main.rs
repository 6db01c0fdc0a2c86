//! The integration tests, in one binary because each one links the whole library again.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic in a test is the failure that the test is for")]

mod build_plans;
mod cli;
mod format;
#[cfg(feature = "history")]
mod history;
#[cfg(all(unix, feature = "history"))]
mod import_logs;
mod limits;
mod pages;
mod printer;
mod printer_model;
mod records;
mod regressions;
mod robustness;
#[cfg(feature = "history")]
mod trend;
mod typed_fields;
