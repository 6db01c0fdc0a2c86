//! What the log cannot say: the ignore file, the Dockerfile and the files that its COPY commands take.
//!
//! Everything here is a pure function of bytes and strings; reading files is the caller's part.

pub mod dockerfile;
pub mod glob;
mod go_match;
mod go_regex;
pub mod ignore;
