//! Statistics of build-time series: what `bklog trend` says without looking at a log or at the history.
//!
//! [`series`] holds the values, [`change_point`] finds since when they lie on another level.

pub mod change_point;
pub mod series;
