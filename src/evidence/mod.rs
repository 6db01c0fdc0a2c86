//! What the log cannot say: git, build files and the command that made the log, the ignore file, the Dockerfile, the files that its
//! COPY commands take, and what the context held.

pub mod bake;
pub mod build_command;
pub mod build_target;
pub mod checkout;
pub mod ci;
pub mod commit;
pub mod compose;
pub mod context;
pub mod dockerfile;
pub mod dotenv;
pub mod git;
pub mod glob;
pub(crate) mod go_match;
mod go_regex;
pub mod ignore;
pub mod image;
pub mod image_name;
pub mod interpolate;
pub mod local_dependencies;
pub mod mtimes;
pub mod remote_code;
pub mod repository;
pub mod yaml;
