//! One file a command: its arguments, its help text, its wiring.

pub mod trend;
