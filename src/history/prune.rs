//! What builders held after runs of long ago goes.
//!
//! A build is judged by what the builder held before it, which the newest record of its context says; a log of yesterday by the newest
//! one before it. A hundred are kept of each context and of each image, and those that the last records of any image name. What is
//! older would only serve the judgement of older logs, whose first build is then judged without a past, as any first build is.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::files;
use super::fold::lock;
use super::{History, HistoryError};

/// So many records of one context or image may lie there before the older ones go.
const MOST: usize = 200;

/// So many are left.
const KEPT: usize = 100;

/// So many of an image's last records keep the contexts that they name: the judged run's own is none of its past.
const KEPT_FOR_IMAGES: usize = 4;

impl History {
    /// Removes what is old under every context and image.
    ///
    /// # Errors
    /// A directory that cannot be written, or a file of a newer program.
    pub(super) fn prune_all(&self) -> Result<(), HistoryError> {
        for table in ["images", "contexts"] {
            for name in files::names(&self.root().join(table)) {
                self.prune(&self.root().join(table).join(name))?;
            }
        }
        Ok(())
    }

    /// Removes the older records of a context or an image where there are many, and the trees that no other record names.
    pub(super) fn prune(&self, directory: &Path) -> Result<(), HistoryError> {
        if files::list(directory).single.len() <= MOST {
            return Ok(());
        }
        // A writer holds the lock from finding its tree there to naming it.
        let Some(_lock) = lock(directory)? else { return Ok(()) };
        let mut records = files::list(directory).single;
        let kept = records.split_off(records.len().saturating_sub(KEPT));
        let images = self.last_of_images();
        let wanted: HashSet<&OsStr> = images.iter().filter_map(|path| path.file_name()).collect();
        let (named, old): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|(path, _)| path.file_name().is_some_and(|name| wanted.contains(name)));
        for (path, _) in &old {
            let _ = fs::remove_file(path);
        }
        let trees = directory.join("trees");
        let Some(named) = self.trees_of(kept.iter().chain(&named).map(|(path, _)| path).chain(&images))? else { return Ok(()) };
        for name in files::names(&trees) {
            if name.strip_suffix(".parquet").is_some_and(|tree| !named.contains(tree)) {
                let _ = fs::remove_file(trees.join(name));
            }
        }
        Ok(())
    }

    /// The last records of every image. Those of the first version have the names of the contexts that they were built from, later ones
    /// name a tree.
    fn last_of_images(&self) -> Vec<PathBuf> {
        let images = self.root().join("images");
        let last = |name: String| files::list(&images.join(name)).single.into_iter().rev().take(KEPT_FOR_IMAGES);
        files::names(&images).into_iter().flat_map(last).map(|(path, _)| path).collect()
    }

    /// The trees that records name; `None` where one of them cannot be read, and so no tree is known to be superfluous.
    fn trees_of<'p>(&self, records: impl Iterator<Item = &'p PathBuf>) -> Result<Option<HashSet<String>>, HistoryError> {
        let mut trees = HashSet::new();
        for path in records {
            match files::read(path, Some(&["tree"])) {
                // Records of the first version hold their tree themselves.
                Ok(Some(frame)) => trees.extend(super::frames::Columns::new(&frame).get("tree").owned(0)),
                Ok(None) => {}
                Err(newer @ HistoryError::Newer { .. }) => return Err(newer),
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(trees))
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::{KEY, record_with, rows, sync};
    use super::*;
    use crate::freshness::past::Past;

    fn count(directory: &Path) -> usize {
        files::list(directory).single.len()
    }

    #[test]
    fn the_newest_are_kept_and_what_images_name() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path(), "a/b.c");
        // An image that was built once, of the same context.
        let mut rare = rows("rare", 0);
        rare.run.images = vec!["docker.io/library/rare:latest".to_owned()];
        record_with(&history, &rare, &[sync("rare")]);
        for number in 1..=i64::try_from(MOST).unwrap() {
            record_with(&history, &rows(&format!("run{number}"), number), &[sync(&format!("tree{}", number / 2))]);
        }
        let context = dir.path().join("contexts").join(format!("key={}", files::digest(KEY)));
        assert_eq!(count(&context), KEPT + 1);
        // Two runs each found one tree.
        assert_eq!(files::names(&context.join("trees")).len(), KEPT / 2 + 2);
        let image = history.image("rare").unwrap();
        assert_eq!(image.files[0].1, crate::evidence::context::content::ContentId::Git("rare".into()));
        assert_eq!(history.copies(KEY).unwrap().from.run, Some(rows("run200", 200).run.run));
        let images: Vec<usize> =
            files::names(&dir.path().join("images")).iter().map(|name| count(&dir.path().join("images").join(name))).collect();
        assert_eq!(images.iter().sum::<usize>(), 1 + MOST);
        record_with(&history, &rows("more", 500), &[sync("more")]);
        history.compact(&super::super::Selection::default()).unwrap();
        let images: Vec<usize> =
            files::names(&dir.path().join("images")).iter().map(|name| count(&dir.path().join("images").join(name))).collect();
        assert_eq!(images.iter().sum::<usize>(), 1 + KEPT);
        assert!(history.image("rare").is_some() && history.image("base").is_some());
        // A log of some time ago is judged by what was there before it.
        let mut earlier = History::open(dir.path(), "a/b.c");
        earlier.judge("run150", Some(rows("run150", 150).run.at));
        assert_eq!(earlier.copies(KEY).unwrap().from.run, Some(rows("run149", 149).run.run));
        assert_eq!((history.problems(), earlier.problems()), (Vec::<String>::new(), Vec::<String>::new()));
        assert_eq!(history.verify().problems, []);
    }

    #[test]
    fn a_record_that_cannot_be_read_keeps_all_trees() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path(), "a/b.c");
        for number in 1..=i64::try_from(MOST).unwrap() {
            record_with(&history, &rows(&format!("run{number}"), number), &[sync(&format!("tree{number}"))]);
        }
        let context = dir.path().join("contexts").join(format!("key={}", files::digest(KEY)));
        let newest = files::list(&context).single.pop().unwrap().0;
        fs::write(newest, "PAR1").unwrap();
        record_with(&history, &rows("more", 500), &[sync("more")]);
        assert_eq!(count(&context), KEPT);
        assert_eq!(files::names(&context.join("trees")).len(), MOST + 1);
        assert_eq!(history.copies(KEY).unwrap().from.run, Some(rows("more", 500).run.run));
    }
}
