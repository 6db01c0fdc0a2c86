//! Rules: one file each, with its documentation.

pub mod finding;

pub use finding::{Confidence, Finding, InLog, Location, Severity};
