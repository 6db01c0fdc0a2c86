//! Reads what BuildKit prints and says what it means.
//!
//! Data flows one way, left to right, and no module imports one to its right:
//! `log` (bytes to events) → `build` (typed records) → `evidence` → `freshness` → `policy` → `rules` → `history` → `trend` → `report` → `cli`.
//! Beside them stand what several use: `finding` (what is reported), `nearest` (what a misspelled name meant), `redact` (secrets), `times` (as people write them), `units` (durations, sizes and counts for
//! people).

pub mod build;
pub mod cli;
pub mod evidence;
pub mod finding;
pub mod freshness;
pub mod history;
pub mod log;
pub mod nearest;
pub mod policy;
pub mod redact;
pub mod report;
pub mod rules;
pub mod times;
pub mod trend;
pub mod units;
mod workers;
