//! The integration tests, in one binary because each one links the whole library again.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic in a test is the failure that the test is for")]

mod build_plans;
mod cli;
mod format;
mod limits;
mod lint;
mod lint_limits;
mod printer;
mod printer_model;
mod records;
mod regressions;
mod robustness;
mod typed_fields;
