//! The answers of git, as records. Every reader takes `-z` output and gives `None` for what is not in its form.

/// What happened to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// Its content or mode is another.
    Modified,
    /// It became another kind: file, link, submodule.
    TypeChanged,
    /// It was called something else.
    Renamed {
        /// The old path.
        from: Vec<u8>,
        /// How alike they are, in percent.
        similarity: u8,
    },
    /// It is a copy of another.
    Copied {
        /// The path of the original.
        from: Vec<u8>,
        /// How alike they are, in percent.
        similarity: u8,
    },
}

/// A path that differs between two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// What happened.
    pub kind: ChangeKind,
    /// The path (the new one), from the top of the repository.
    pub path: Vec<u8>,
    /// The mode before; 0 where it was not there.
    pub old_mode: u32,
    /// The mode after; 0 where it is gone.
    pub new_mode: u32,
    /// The object before; all zeros where it was not there.
    pub old_id: String,
    /// The object after; all zeros where it is gone.
    pub new_id: String,
}

impl FileChange {
    /// Says whether the content differs, and not the mode or name alone.
    pub fn content_changed(&self) -> bool {
        self.old_id != self.new_id
    }
}

/// A file at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its mode as git has it: 0o100644, 0o100755, 0o120000 (link) or 0o160000 (submodule).
    pub mode: u32,
    /// The object.
    pub id: String,
    /// The size in bytes; `None` for a submodule.
    pub size: Option<u64>,
    /// The path from the top of the repository.
    pub path: Vec<u8>,
}

impl TreeEntry {
    /// Says whether it is a file or a link, and not a submodule.
    pub fn is_blob(&self) -> bool {
        self.mode != 0o160_000
    }

    /// Says whether it is a symbolic link; its content is the target.
    pub fn is_link(&self) -> bool {
        self.mode == 0o120_000
    }
}

/// How a path of the work tree stands to HEAD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusKind {
    /// It differs from HEAD, in the index or in the work tree.
    Changed {
        /// The letter of the index (`.` unchanged, `M`, `A`, `D`, `T`, …).
        index: char,
        /// The letter of the work tree.
        worktree: char,
    },
    /// It has another name than at HEAD.
    Renamed {
        /// The old path.
        from: Vec<u8>,
    },
    /// It is a submodule that is not at the recorded commit or is dirty itself.
    Submodule {
        /// Another commit is checked out.
        commit_changed: bool,
        /// It has changed or untracked files.
        dirty: bool,
    },
    /// A merge left it unfinished.
    Unmerged,
    /// git does not know it.
    Untracked,
    /// git is told to ignore it.
    Ignored,
}

/// A path of the work tree that is not as HEAD has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEntry {
    /// How.
    pub kind: StatusKind,
    /// The path from the top of the repository; an ignored directory ends in `/`.
    pub path: Vec<u8>,
}

/// Says whether the bytes are a full object id (SHA-1 or SHA-256).
pub(super) fn is_object_id(id: &[u8]) -> bool {
    matches!(id.len(), 40 | 64) && id.iter().all(u8::is_ascii_hexdigit)
}

fn ascii(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn mode(bytes: &[u8]) -> Option<u32> {
    u32::from_str_radix(ascii(bytes)?, 8).ok()
}

/// The fields that NUL ends.
fn fields(out: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    if out.is_empty() {
        return Some(None.into_iter().flatten());
    }
    let body = out.strip_suffix(b"\0")?;
    Some(Some(body.split(|&b| b == 0)).into_iter().flatten())
}

/// Reads `diff-tree --raw -z`.
pub(super) fn raw_diff(out: &[u8]) -> Option<Vec<FileChange>> {
    let mut fields = fields(out)?;
    let mut changes = Vec::new();
    while let Some(meta) = fields.next() {
        let words: Vec<&[u8]> = meta.strip_prefix(b":")?.split(|&b| b == b' ').collect();
        let [old_mode, new_mode, old_id, new_id, letter] = words.as_slice() else {
            return None;
        };
        let (letter, score) = letter.split_first()?;
        let mut path = fields.next()?.to_vec();
        let similarity = || ascii(score).and_then(|score| score.parse().ok());
        let kind = match letter {
            b'A' => ChangeKind::Added,
            b'D' => ChangeKind::Deleted,
            b'M' | b'X' | b'U' => ChangeKind::Modified,
            b'T' => ChangeKind::TypeChanged,
            b'R' | b'C' => {
                let similarity = similarity()?;
                let from = std::mem::replace(&mut path, fields.next()?.to_vec());
                if *letter == b'R' { ChangeKind::Renamed { from, similarity } } else { ChangeKind::Copied { from, similarity } }
            }
            _ => return None,
        };
        changes.push(FileChange {
            kind,
            path,
            old_mode: mode(old_mode)?,
            new_mode: mode(new_mode)?,
            old_id: ascii(old_id)?.to_owned(),
            new_id: ascii(new_id)?.to_owned(),
        });
    }
    Some(changes)
}

/// Reads `ls-tree -r -z`, with `-l` or without.
pub(super) fn tree(out: &[u8]) -> Option<Vec<TreeEntry>> {
    fields(out)?
        .map(|field| {
            let tab = field.iter().position(|&b| b == b'\t')?;
            let meta = ascii(&field[..tab])?;
            let mut words = meta.split_ascii_whitespace();
            let mode = u32::from_str_radix(words.next()?, 8).ok()?;
            let _kind = words.next()?;
            let id = words.next()?.to_owned();
            let size = words.next().and_then(|size| size.parse().ok());
            Some(TreeEntry { mode, id, size, path: field[tab + 1..].to_vec() })
        })
        .collect()
}

/// Reads `ls-files -z --stage` and gives the submodules: path and recorded commit.
pub(super) fn gitlinks(out: &[u8]) -> Option<Vec<(Vec<u8>, String)>> {
    let mut links = Vec::new();
    for field in fields(out)? {
        let tab = field.iter().position(|&b| b == b'\t')?;
        let mut words = ascii(&field[..tab])?.split(' ');
        if words.next()? == "160000" {
            links.push((field[tab + 1..].to_vec(), words.next()?.to_owned()));
        }
    }
    Some(links)
}

/// Reads `status --porcelain=v2 -z`.
pub(super) fn status(out: &[u8]) -> Option<Vec<StatusEntry>> {
    let mut fields = fields(out)?;
    let mut entries = Vec::new();
    while let Some(field) = fields.next() {
        let rest = field.get(2..)?;
        let entry = match field.first()? {
            b'#' => continue,
            b'?' => StatusEntry { kind: StatusKind::Untracked, path: rest.to_vec() },
            b'!' => StatusEntry { kind: StatusKind::Ignored, path: rest.to_vec() },
            b'1' => {
                let words: Vec<&[u8]> = rest.splitn(7, |&b| b == b' ').collect();
                let [letters, submodule, _, _, _, _, tail] = words.as_slice() else {
                    return None;
                };
                let (_, path) = split_once(tail, b' ')?;
                StatusEntry { kind: changed(letters, submodule)?, path: path.to_vec() }
            }
            b'2' => {
                let words: Vec<&[u8]> = rest.splitn(9, |&b| b == b' ').collect();
                let path = words.get(8)?;
                StatusEntry { kind: StatusKind::Renamed { from: fields.next()?.to_vec() }, path: path.to_vec() }
            }
            b'u' => {
                let words: Vec<&[u8]> = rest.splitn(10, |&b| b == b' ').collect();
                StatusEntry { kind: StatusKind::Unmerged, path: words.get(9)?.to_vec() }
            }
            _ => return None,
        };
        entries.push(entry);
    }
    Some(entries)
}

fn changed(letters: &[u8], submodule: &[u8]) -> Option<StatusKind> {
    let &[index, worktree] = letters else {
        return None;
    };
    if let &[b'S', commit, modified, untracked] = submodule {
        return Some(StatusKind::Submodule {
            commit_changed: commit == b'C' || index != b'.',
            dirty: modified == b'M' || untracked == b'U',
        });
    }
    Some(StatusKind::Changed { index: char::from(index), worktree: char::from(worktree) })
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|&b| b == at)?;
    Some((&bytes[..position], &bytes[position + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(b' '), Just(b':'), Just(b'\t'), Just(b'1'), Just(b'2'), Just(b'u'), Just(b'R'), any::<u8>()], 0..80)) {
            let _ = raw_diff(&bytes);
            let _ = tree(&bytes);
            let _ = status(&bytes);
            let _ = gitlinks(&bytes);
        }
    }
}
