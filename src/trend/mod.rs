//! Since when builds take another time, and why.
//!
//! [`series`] holds values, [`change_point`] finds since when they lie on another level: both know nothing of logs. [`ledger`] makes
//! series of recorded runs, [`levels`] finds their changes, [`attribution`] says which steps and
//! circumstances ([`signs`]) make them; [`matching`] says which step of one build is which of another, [`gate`] what the settings
//! allow, and [`analysis`] puts the answer together. [`diff`] compares two builds.

pub mod analysis;
pub mod attribution;
pub mod change_point;
pub mod diff;
pub mod gate;
pub mod ledger;
pub mod levels;
pub mod matching;
pub mod series;
pub mod signs;
