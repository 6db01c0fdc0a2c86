//! What the log cannot say: git, build files and the command that made the log, the ignore file, the Dockerfile and the files that its
//! COPY commands take.

pub mod bake;
pub mod build_command;
pub mod build_target;
pub mod compose;
pub mod dockerfile;
pub mod dotenv;
pub mod git;
pub mod glob;
mod go_match;
mod go_regex;
pub mod ignore;
pub mod interpolate;
pub mod yaml;
