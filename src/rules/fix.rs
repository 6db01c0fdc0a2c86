//! Carries out what findings know to mend: edits of bytes, file by file, and the diff that shows them.
//!
//! Only the bytes that an edit names change. A file is written under another name beside the old one and takes its place whole; its
//! permissions stay, a link to it stays a link. A file that is not what the rules have read is left alone.

use std::{
    fs,
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use similar::TextDiff;

use super::{Edit, Finding};
use crate::evidence::repository::Repository;

/// What fixes would do, before anything is done.
#[derive(Debug, Default)]
pub struct Plan {
    /// The files that change, by path.
    pub files: Vec<FileChange>,
    /// Fixes that are left out, and why.
    pub skipped: Vec<Skipped>,
}

/// One file, before and after.
#[derive(Debug)]
pub struct FileChange {
    /// The path as reports show it.
    pub path: String,
    /// The path, absolute.
    pub file: PathBuf,
    /// The text that the rules have read.
    pub before: String,
    /// The text with all edits.
    pub after: String,
    /// What the edits do: one entry for each finding that they mend.
    pub titles: Vec<String>,
}

/// A fix that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The path as reports show it.
    pub path: String,
    /// The line of the finding, from 1.
    pub line: u32,
    /// Its rule.
    pub rule: &'static str,
    /// Why.
    pub why: &'static str,
}

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum FixError {
    /// It is not what it was when it was read.
    #[error("it changed while it was looked at: run again")]
    Changed,
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a fix is left out whose bytes another one changes.
const OVERLAP: &str = "another fix changes the same place: run again";
/// Why a fix is left out whose places cannot be trusted.
const NOT_EXACT: &str = "the file is not UTF-8";
/// Why a fix is left out that does not fit its file: a mistake of a rule, which must not damage a file.
const OUT_OF_PLACE: &str = "the fix does not fit the file: please report this";

/// Puts the fixes of all findings together that nothing suppresses. Where two want the same bytes, the first one wins.
pub fn plan(repository: &Repository, findings: &[Finding]) -> Plan {
    let mut plan = Plan::default();
    let mut wanted: Vec<(usize, Vec<(&Finding, &super::Fix)>)> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.suppressed.is_none()) {
        let Some(fix) = &finding.fix else { continue };
        let Some(at) = repository.files.iter().position(|file| file.absolute == fix.file) else { continue };
        match wanted.iter_mut().find(|(known, _)| *known == at) {
            Some((_, fixes)) => fixes.push((finding, fix)),
            None => wanted.push((at, vec![(finding, fix)])),
        }
    }
    wanted.sort_by_key(|(at, _)| *at);
    for (at, fixes) in wanted {
        let file = &repository.files[at];
        let mut taken: Vec<&Edit> = Vec::new();
        let mut titles = Vec::new();
        for (finding, fix) in fixes {
            let line = finding.location.as_ref().map_or(1, |location| location.line);
            let mut skip = |why| plan.skipped.push(Skipped { path: file.path.clone(), line, rule: finding.rule, why });
            if !file.exact {
                skip(NOT_EXACT);
            } else if !fix.edits.iter().all(|edit| fits(&file.text, &edit.span)) || overlap_themselves(&fix.edits) {
                skip(OUT_OF_PLACE);
            } else if fix.edits.iter().any(|edit| taken.iter().any(|other| *other != edit && overlaps(&other.span, &edit.span))) {
                skip(OVERLAP);
            } else {
                // Two findings can ask for the very same edit.
                taken.extend(fix.edits.iter().filter(|edit| !taken.contains(edit)).collect::<Vec<_>>());
                titles.push(fix.title.clone());
            }
        }
        let after = edited(&file.text, taken);
        if after != file.text {
            let (path, file, before) = (file.path.clone(), file.absolute.clone(), file.text.clone());
            plan.files.push(FileChange { path, file, before, after, titles });
        }
    }
    plan
}

fn fits(text: &str, span: &Range<usize>) -> bool {
    span.start <= span.end && text.is_char_boundary(span.start) && text.is_char_boundary(span.end)
}

/// Insertions at one place overlap too: which comes first is nobody's to guess.
fn overlaps(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end || a.start == b.start
}

fn overlap_themselves(edits: &[Edit]) -> bool {
    edits.iter().enumerate().any(|(at, edit)| edits[..at].iter().any(|other| overlaps(&other.span, &edit.span)))
}

fn edited(text: &str, mut edits: Vec<&Edit>) -> String {
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        out.push_str(&text[at..edit.span.start]);
        out.push_str(&edit.replacement);
        at = edit.span.end;
    }
    out.push_str(&text[at..]);
    out
}

impl FileChange {
    /// The unified diff, as `git apply` and `patch -p1` take it. The text of the file stands in it as it is.
    pub fn diff(&self) -> String {
        let (old, new) = (diff_path("a/", &self.path), diff_path("b/", &self.path));
        TextDiff::from_lines(&self.before, &self.after).unified_diff().context_radius(3).header(&old, &new).to_string()
    }

    /// Writes the file, unless it is not what it was.
    ///
    /// # Errors
    /// The file changed since it was read; it cannot be read or written.
    pub fn apply(&self) -> Result<(), FixError> {
        // A link to a file stays a link: what it leads to is written.
        let file = fs::canonicalize(&self.file)?;
        let metadata = fs::metadata(&file)?;
        let dir = file.parent().unwrap_or(Path::new("."));
        // A rename would get past the permissions of a file that may not be written.
        fs::OpenOptions::new().write(true).open(&file)?;
        let mut new = tempfile::Builder::new().prefix(".bklog-").tempfile_in(dir)?;
        new.write_all(self.after.as_bytes())?;
        keep_owner(new.path(), &metadata);
        new.as_file().set_permissions(metadata.permissions())?;
        new.as_file().sync_all()?;
        if fs::read(&file)? != self.before.as_bytes() {
            return Err(FixError::Changed);
        }
        new.persist(&file).map_err(|error| error.error)?;
        Ok(())
    }
}

/// The owner stays where the system allows it; where not, the content counts more.
#[cfg(unix)]
fn keep_owner(new: &Path, metadata: &fs::Metadata) {
    use std::os::unix::fs::MetadataExt;
    let _ = std::os::unix::fs::chown(new, Some(metadata.uid()), Some(metadata.gid()));
}

#[cfg(not(unix))]
fn keep_owner(_: &Path, _: &fs::Metadata) {}

/// A path in the head of a diff; one with unusual characters in quotes, as git writes it.
fn diff_path(prefix: &str, path: &str) -> String {
    // An absolute path would become `a//tmp/…`.
    let path = format!("{prefix}{}", path.trim_start_matches('/'));
    if !path.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
        return path;
    }
    let mut quoted = String::from("\"");
    for byte in path.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b'\n' => quoted.push_str("\\n"),
            b'\t' => quoted.push_str("\\t"),
            b' '..=b'~' => quoted.push(char::from(byte)),
            byte => quoted.push_str(&format!("\\{byte:03o}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Confidence, Fix, Location, Severity};

    fn repository(dir: &Path, text: &[u8]) -> Repository {
        fs::write(dir.join("a.sh"), text).unwrap();
        Repository::read(Path::new("."), dir).unwrap()
    }

    fn finding(repository: &Repository, edits: &[(Range<usize>, &str)]) -> Finding {
        let edits = edits.iter().map(|(span, replacement)| Edit { span: span.clone(), replacement: (*replacement).to_owned() }).collect();
        Finding {
            rule: "inline-cache",
            severity: Severity::Note,
            confidence: Confidence::Certain,
            in_log: None,
            location: Some(Location { path: "a.sh".to_owned(), in_repository: None, line: 1, end_line: 1, text: Vec::new() }),
            message: String::new(),
            evidence: Vec::new(),
            files: Vec::new(),
            help: String::new(),
            fix: Some(Fix { file: repository.files[0].absolute.clone(), title: "mend".to_owned(), edits }),
            suppressed: None,
        }
    }

    #[test]
    fn only_the_bytes_that_are_named_change() {
        for text in ["one\r\ntwo\r\n\tthree", "one\ntwo\n\tthree", "\u{feff}one\ntwo  \n\n\n"] {
            let dir = tempfile::tempdir().unwrap();
            let repository = repository(dir.path(), text.as_bytes());
            let at = text.find("two").unwrap();
            let plan = plan(&repository, &[finding(&repository, &[(at..at + 3, "2")])]);
            plan.files[0].apply().unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("a.sh")).unwrap(), text.replace("two", "2"));
            assert!(plan.files[0].diff().contains("\n-two") && plan.files[0].diff().contains("\n+2"), "{}", plan.files[0].diff());
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no file is left behind");
        }
    }

    #[test]
    fn the_first_of_two_wins_and_the_same_twice_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let repository = repository(dir.path(), b"abcdef");
        let first = finding(&repository, &[(0..2, "X"), (4..5, "Y")]);
        let over = finding(&repository, &[(1..3, "Z")]);
        let beside = finding(&repository, &[(2..4, "")]);
        let plan = plan(&repository, &[first.clone(), over, first, beside]);
        assert_eq!((plan.files[0].after.as_str(), plan.files[0].titles.len()), ("XYf", 3));
        assert_eq!(plan.skipped, [Skipped { path: "a.sh".to_owned(), line: 1, rule: "inline-cache", why: OVERLAP }]);
    }

    #[test]
    fn what_is_silenced_does_not_fit_or_is_not_exact_stays() {
        let dir = tempfile::tempdir().unwrap();
        let ours = repository(dir.path(), "aé".as_bytes());
        let silenced = Finding { suppressed: Some("why".to_owned()), ..finding(&ours, &[(0..1, "b")]) };
        assert!(plan(&ours, &[silenced]).files.is_empty());
        #[expect(clippy::reversed_empty_ranges, reason = "a rule can be wrong like this too")]
        for span in [2..3, 0..9, 3..1] {
            assert_eq!(plan(&ours, &[finding(&ours, &[(span, "")])]).skipped[0].why, OUT_OF_PLACE);
        }
        let latin = repository(dir.path(), b"a\xe9 b");
        assert_eq!(plan(&latin, &[finding(&latin, &[(0..1, "b")])]).skipped[0].why, NOT_EXACT);
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let repository = repository(dir.path(), b"abc");
        let plan = plan(&repository, &[finding(&repository, &[(0..1, "X")])]);
        fs::write(dir.path().join("a.sh"), "abd").unwrap();
        assert!(matches!(plan.files[0].apply(), Err(FixError::Changed)));
        assert_eq!(fs::read_to_string(dir.path().join("a.sh")).unwrap(), "abd");
    }

    #[cfg(unix)]
    #[test]
    fn permissions_and_links_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        repository(dir.path(), b"abc");
        fs::set_permissions(dir.path().join("a.sh"), fs::Permissions::from_mode(0o751)).unwrap();
        symlink("a.sh", dir.path().join("link.sh")).unwrap();
        let repository = Repository::read(Path::new("link.sh"), dir.path()).unwrap();
        plan(&repository, &[finding(&repository, &[(0..1, "X")])]).files[0].apply().unwrap();
        assert!(fs::symlink_metadata(dir.path().join("link.sh")).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(dir.path().join("a.sh")).unwrap(), "Xbc");
        assert_eq!(fs::metadata(dir.path().join("a.sh")).unwrap().permissions().mode() & 0o777, 0o751);
    }

    #[test]
    fn diffs_that_other_tools_read() {
        let change = |before: &str, after: &str, path: &str| FileChange {
            path: path.to_owned(),
            file: PathBuf::new(),
            before: before.to_owned(),
            after: after.to_owned(),
            titles: Vec::new(),
        };
        assert_eq!(
            change("a\nb", "a\nc", "x/y.sh").diff(),
            "--- a/x/y.sh\n+++ b/x/y.sh\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n"
        );
        assert!(change("a\n", "b\n", "x\ny\"é").diff().starts_with("--- \"a/x\\ny\\\"\\303\\251\"\n"));
    }
}
