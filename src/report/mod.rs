//! Output formats, one file each.

pub mod json;

use std::io::{self, Write};

use crate::build::Build;

/// Writes the builds of a log, one after another, in one format.
pub trait BuildWriter {
    /// Writes one build.
    fn build(&mut self, build: &Build, out: &mut dyn Write) -> io::Result<()>;

    /// Writes what follows the last build.
    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()>;
}
