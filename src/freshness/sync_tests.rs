use proptest::prelude::*;

use super::*;

fn entry(path: &str, size: u64, mtime_ns: i64) -> Entry {
    Entry { path: path.into(), mode: 0o644, size, mtime_ns, link: String::new(), inode: 0, ctime_ns: 0 }
}

fn id(text: &str) -> ContentId {
    ContentId::Sha256(text.into())
}

fn listing(files: &[(&str, u64, i64, &str)]) -> Listing {
    let entries = files.iter().map(|(path, size, mtime, _)| entry(path, *size, *mtime)).collect();
    Listing::new(entries, files.iter().map(|(_, _, _, content)| Some(id(content))).collect())
}

fn held(replayed: &Replayed, path: &str) -> Held {
    replayed.held.get(path).unwrap().content.clone()
}

fn bytes(figure: u64) -> Option<Figure> {
    Some(Figure::exact(figure))
}

#[test]
fn a_file_listed_the_same_stays_old_until_it_is_touched() {
    let before = listing(&[("a", 5, 1, "old"), ("b", 9, 1, "b")]).fresh();
    let same = listing(&[("a", 5, 1, "new"), ("b", 9, 1, "b")]);
    let replayed = replay(std::slice::from_ref(&before), &same, bytes(same.sizes.listing), false);
    assert_eq!(replayed.agreement, Agreement::Fits);
    assert!(replayed.nothing_read);
    assert_eq!(held(&replayed, "a").holds(&id("new")), Some(false));
    assert_eq!(held(&replayed, "b").holds(&id("b")), Some(true));
    let touched = listing(&[("a", 5, 2, "new"), ("b", 9, 1, "b")]);
    let again = replay(&replayed.after, &touched, bytes(touched.predicted(&before)), false);
    assert_eq!(held(&again, "a"), Held::Known(id("new")));
}

#[test]
fn a_full_transfer_is_a_new_copy() {
    let before = listing(&[("a", 5, 1, "old")]).fresh();
    let now = listing(&[("a", 5, 1, "new")]);
    let replayed = replay(std::slice::from_ref(&before), &now, bytes(now.sizes.full()), false);
    assert_eq!((replayed.agreement, held(&replayed, "a")), (Agreement::Full, Held::Known(id("new"))));
    assert_eq!(replayed.after, [now.fresh()]);
    assert_eq!(replay(&[before], &now, bytes(now.sizes.full()), true).after.len(), 2);
}

#[test]
fn two_copies_leave_it_open_which_was_taken() {
    let copies = [listing(&[("a", 5, 1, "x")]).fresh(), listing(&[("a", 5, 1, "y")]).fresh()];
    let now = listing(&[("a", 5, 1, "x")]);
    let replayed = replay(&copies, &now, bytes(now.sizes.listing), false);
    assert_eq!(held(&replayed, "a").holds(&id("x")), None);
    assert_eq!(held(&replayed, "a").holds(&id("z")), Some(false));
    assert_eq!(replayed.after.len(), 2);
}

#[test]
fn bytes_that_fit_nothing_mean_a_build_that_is_not_recorded() {
    let copies = [listing(&[("a", 5, 1, "old"), ("b", 9, 1, "b"), ("c", 7, 1, "c")]).fresh()];
    let now = listing(&[("a", 5, 1, "new"), ("b", 9, 1, "b"), ("c", 7, 1_000_000_001, "c2")]);
    let replayed = replay(&copies, &now, bytes(now.sizes.listing), false);
    assert_eq!(replayed.agreement, Agreement::Unrecorded);
    assert_eq!(held(&replayed, "a").holds(&id("new")), None);
    assert_eq!(held(&replayed, "b").holds(&id("b")), Some(true));
    assert_eq!(held(&replayed, "c").holds(&id("c2")), Some(true));
}

#[test]
fn without_a_record_only_a_full_transfer_says_something() {
    let now = listing(&[("a", 5, 1, "x")]);
    assert_eq!(held(&replay(&[], &now, bytes(now.sizes.full()), false), "a"), Held::Known(id("x")));
    assert_eq!(held(&replay(&[], &now, bytes(now.sizes.listing), false), "a"), Held::Unknown);
    assert_eq!(held(&replay(&[], &now, None, false), "a"), Held::Unknown);
    // A tree whose listing is larger than what was sent is not the one that was built.
    assert_eq!(replay(&[], &now, bytes(3), false).agreement, Agreement::Unchecked);
}

/// A builder that keeps contents by listing, written without any of the code above.
#[derive(Default)]
struct Builder {
    copy: Vec<(String, u64, i64, String)>,
}

impl Builder {
    /// Takes a tree in and gives the bytes that it read, as a multiset of paths.
    fn sync(&mut self, tree: &[(String, u64, i64, String)]) -> Vec<String> {
        let mut read = Vec::new();
        let mut next = Vec::new();
        for file in tree {
            match self.copy.iter().find(|held| (&held.0, held.1, held.2) == (&file.0, file.1, file.2)) {
                Some(held) => next.push(held.clone()),
                None => {
                    read.push(file.0.clone());
                    next.push(file.clone());
                }
            }
        }
        self.copy = next;
        read
    }
}

/// A number as plain logs print it: three digits.
fn round(bytes: u64) -> u64 {
    let mut unit = 1;
    while bytes / unit >= 1000 {
        unit *= 10;
    }
    (bytes + unit / 2) / unit * unit
}

type File = (String, u64, i64, String);

fn trees() -> impl Strategy<Value = Vec<Vec<File>>> {
    let file = (0..3_u64, 0..2_i64, "[xyz]");
    let tree = proptest::collection::btree_map("[a-d]", file, 0..4);
    let tree = tree.prop_map(|files| files.into_iter().map(|(path, (size, mtime, content))| (path, size + 1, mtime, content)).collect());
    proptest::collection::vec(tree, 1..8)
}

proptest! {
    #[test]
    fn agrees_with_a_builder_when_every_build_is_recorded(trees in trees()) {
        let mut builder = Builder::default();
        let mut copies = Vec::new();
        for tree in trees {
            let read = builder.sync(&tree);
            let files: Vec<_> = tree.iter().map(|(p, s, m, c)| (p.as_str(), *s, *m, c.as_str())).collect();
            let now = listing(&files);
            let sent: u64 = now.entries.iter().zip(&now.sizes.contents).filter(|(e, _)| read.contains(&e.path)).map(|(_, size)| size).sum();
            let replayed = replay(&copies, &now, bytes(now.sizes.listing + sent), false);
            for (path, _, _, content) in &builder.copy {
                prop_assert_eq!(held(&replayed, path).holds(&id(content)), Some(true), "{}", path);
            }
            copies = replayed.after;
        }
    }

    #[test]
    fn never_sure_of_something_wrong_after_a_prune_by_rounded_figures(
        trees in trees(),
        pruned in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let mut builder = Builder::default();
        let mut copies = Vec::new();
        for (number, tree) in trees.into_iter().enumerate() {
            // Sizes that plain logs round, and small ones that rounding hides.
            let tree: Vec<File> = tree.into_iter().map(|(p, s, m, c)| (p, if s == 2 { 2 } else { s * 40_000 }, m, c)).collect();
            if pruned[number] {
                builder.copy.clear();
            }
            let read = builder.sync(&tree);
            let files: Vec<_> = tree.iter().map(|(p, s, m, c)| (p.as_str(), *s, *m, c.as_str())).collect();
            let now = listing(&files);
            let sent: u64 = now.entries.iter().zip(&now.sizes.contents).filter(|(e, _)| read.contains(&e.path)).map(|(_, size)| size).sum();
            let replayed = replay(&copies, &now, Some(Figure::rounded(round(now.sizes.listing + sent))), false);
            for (path, _, _, content) in &builder.copy {
                prop_assert_ne!(held(&replayed, path).holds(&id(content)), Some(false), "{}", path);
            }
            copies = replayed.after;
        }
    }

    #[test]
    fn never_sure_of_something_wrong_when_builds_are_missing(trees in trees(), recorded in proptest::collection::vec(any::<bool>(), 8)) {
        let mut builder = Builder::default();
        let mut copies = Vec::new();
        for (number, tree) in trees.into_iter().enumerate() {
            // With ordinary times a listing names one content, which is what the replay of unrecorded builds relies on.
            let tree: Vec<File> = tree.into_iter().map(|(p, s, m, c)| (p, s, m * 1000 + 1 + i64::from(c.as_bytes()[0]), c)).collect();
            let read = builder.sync(&tree);
            if !recorded[number] {
                continue;
            }
            let files: Vec<_> = tree.iter().map(|(p, s, m, c)| (p.as_str(), *s, *m, c.as_str())).collect();
            let now = listing(&files);
            let sent: u64 = now.entries.iter().zip(&now.sizes.contents).filter(|(e, _)| read.contains(&e.path)).map(|(_, size)| size).sum();
            let replayed = replay(&copies, &now, bytes(now.sizes.listing + sent), false);
            for (path, _, _, content) in &builder.copy {
                prop_assert_ne!(held(&replayed, path).holds(&id(content)), Some(false), "{}", path);
            }
            copies = replayed.after;
        }
    }
}
