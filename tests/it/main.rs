//! The integration tests, in one binary because each one links the whole library again.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic in a test is the failure that the test is for")]

mod build_plans;
#[cfg(unix)]
mod check;
#[cfg(all(unix, feature = "history"))]
mod ci;
mod cli;
#[cfg(unix)]
mod common;
mod degradation;
mod format;
mod git;
#[cfg(feature = "history")]
mod history;
#[cfg(all(unix, feature = "history"))]
mod import_logs;
mod limits;
mod lint;
mod lint_fixtures;
mod lint_limits;
#[cfg(feature = "charts")]
mod pages;
mod printer;
mod printer_model;
mod records;
mod regressions;
mod robustness;
#[cfg(unix)]
mod run;
#[cfg(all(unix, feature = "history"))]
mod several_builds;
#[cfg(feature = "history")]
mod trend;
mod typed_fields;
mod verdicts;
