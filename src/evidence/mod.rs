//! What the log cannot say: git, build files, the command that made the log.

pub mod bake;
pub mod build_command;
pub mod build_target;
pub mod compose;
pub mod dotenv;
pub mod git;
pub mod interpolate;
pub mod yaml;
