//! The names of steps taken apart, each once.

use std::{collections::HashMap, sync::Arc};

use super::StepName;

/// Longer names are not kept: no two builds share them.
const LONGEST: usize = 1024;

/// All is forgotten when so many names are kept.
const MOST: usize = 1000;

/// The parts of the names that were met before.
///
/// A log of many builds says the same names over and over: BuildKit's own steps in every build, and all of them where one project is
/// built again and again.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<String, Arc<StepName>>,
}

impl Names {
    /// The parts of a name, as [`StepName::parse`] finds them.
    pub(super) fn parts(&mut self, name: &str) -> Arc<StepName> {
        if let Some(known) = self.known.get(name) {
            return Arc::clone(known);
        }
        let parts = Arc::new(StepName::parse(name));
        if name.len() <= LONGEST {
            if self.known.len() >= MOST {
                self.known.clear();
            }
            self.known.insert(name.to_owned(), Arc::clone(&parts));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_once_and_the_memory_is_bounded() {
        let mut names = Names::default();
        let first = names.parts("[2/3] COPY . /app");
        assert_eq!(*first, StepName::parse("[2/3] COPY . /app"));
        assert!(Arc::ptr_eq(&first, &names.parts("[2/3] COPY . /app")));
        for n in 0..3 * MOST {
            assert_eq!(names.parts(&format!("[{n}/9999] RUN x")).number, u32::try_from(n).ok());
            names.parts(&format!("[1/2] RUN {n} {}", "x".repeat(LONGEST)));
        }
        assert!(names.known.len() <= MOST && names.known.keys().all(|name| name.len() <= LONGEST));
    }
}
