//! What the exit codes mean. They are a contract: scripts decide by them.

/// Nothing at or above the threshold.
pub const SUCCESS: u8 = 0;
/// Findings at or above the threshold, or a regression where that was asked for.
pub const FINDINGS: u8 = 1;
/// Wrong usage or settings.
pub const USAGE: u8 = 2;
/// The input is not a build log, is empty or cannot be read.
pub const NOT_A_LOG: u8 = 3;
/// The build in the log failed or was cut off, and nothing worse was found.
pub const BUILD_FAILED: u8 = 4;
/// A second Ctrl-C: the caller wants out now (128 + SIGINT, as shells count).
pub const INTERRUPTED: u8 = 130;
