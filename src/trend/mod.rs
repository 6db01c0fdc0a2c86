//! Since when builds take another time, and why.
//!
//! [`series`] holds values, [`change_point`] finds since when they lie on another level: both know nothing of logs. [`ledger`] makes
//! series of recorded runs, [`levels`] finds their changes, [`matching`] says which step of one build is which of another.

pub mod change_point;
pub mod ledger;
pub mod levels;
pub mod matching;
pub mod series;
