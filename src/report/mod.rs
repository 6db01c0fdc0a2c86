//! Output formats, one file each, and what they share.

pub mod escape;
pub mod json;
mod json_step;
pub mod markdown;
pub mod savings;
pub mod text;
pub mod trend_json;
pub mod units;

use std::io::{self, Write};

use crate::build::Build;

/// Writes the builds of one or more logs, one after another, in one format.
pub trait BuildWriter {
    /// Says that the builds that follow are those of the log `name`.
    fn log(&mut self, name: &str, out: &mut dyn Write) -> io::Result<()>;

    /// Writes one build.
    fn build(&mut self, build: &Build, out: &mut dyn Write) -> io::Result<()>;

    /// Writes what follows the last build.
    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()>;
}
