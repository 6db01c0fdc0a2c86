//! The gate between records and reports.

use std::{ops::Deref, sync::Arc};

use super::Redactor;
use crate::build::Build;

/// A record whose secrets are gone. There is no other way to make one than through a [`Redactor`], and the writers of reports take
/// nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct Redacted<T>(T);

impl<T> Deref for Redacted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Redacted<Build> {
    /// Takes the secrets out of every text of a build.
    pub fn build(mut build: Build, redactor: &Redactor) -> Self {
        let Build { steps, errors, error_output, error_at, warnings, foreign, cache, image, builder, driver, .. } = &mut build;
        for text in [builder, driver].into_iter().flatten() {
            redactor.clean(text);
        }
        for texts in [errors, error_output, error_at, warnings, &mut image.names] {
            redactor.clean_lines(texts);
        }
        for transfer in cache.imports.iter_mut().chain(&mut cache.exports) {
            redactor.clean(&mut transfer.reference);
        }
        for (_, text) in &mut foreign.first {
            redactor.clean(text);
        }
        for step in steps {
            redactor.clean_lines(&mut step.other_names);
            redactor.clean_lines(&mut step.log_head);
            redactor.clean_lines(&mut step.warnings);
            if let Some(error) = &mut step.error {
                redactor.clean(error);
            }
            // The parts are pieces of the name, unless quotes were taken out of them.
            if redactor.is_harmless(&step.name) && !step.name.contains(['"', '\'']) {
                continue;
            }
            let before = step.name.len();
            redactor.clean(&mut step.name);
            let parts = Arc::make_mut(&mut step.parts);
            if step.name.len() != before {
                // The bracket stands in front, so what comes behind it may only have changed behind.
                parts.bracket_bytes = parts.bracket_bytes.min(step.name.len());
            }
            redactor.clean_lines(&mut parts.sources);
            for text in [&mut parts.destination, &mut parts.from, &mut parts.base].into_iter().flatten() {
                redactor.clean(text);
            }
        }
        Self(build)
    }
}
