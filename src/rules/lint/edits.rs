//! Makes the edits of fixes: always by the bytes of the file, with the line ends that it has.

use std::ops::Range;

use crate::{
    evidence::repository::File,
    rules::{Edit, Fix},
};

/// One edit of a file as a fix; `None` where the file was not UTF-8, so that its places do not hold.
pub fn fix(file: &File, title: &str, span: Range<usize>, replacement: &str) -> Option<Fix> {
    let edit = Edit { span, replacement: replacement.to_owned() };
    file.exact.then(|| Fix { file: file.absolute.clone(), title: title.to_owned(), edits: vec![edit] })
}

/// Takes whole lines out, from 1, with their line ends. A file without a line end at its end has none afterwards either.
pub fn remove_lines(file: &File, title: &str, line: usize, end_line: usize) -> Option<Fix> {
    let (mut start, end) = (file.span_of_line(line).start, end_with_newline(&file.text, file.span_of_line(end_line).end));
    if end == file.text.len() && !file.text.ends_with('\n') {
        let before = file.text.get(..start)?;
        let before = before.strip_suffix('\n').unwrap_or(before);
        start = before.strip_suffix('\r').unwrap_or(before).len();
    }
    (start < end).then(|| fix(file, title, start..end, ""))?
}

/// Inserts lines below a line, from 1, with the line end that the file has there. `text` has none at its end.
pub fn insert_below(file: &File, title: &str, line: usize, text: &str) -> Option<Fix> {
    let end = file.span_of_line(line).end;
    let ending = line_end(&file.text, end);
    let text = text.replace('\n', ending);
    let after = end_with_newline(&file.text, end);
    if after == end {
        // The last line, and it has no end.
        return fix(file, title, end..end, &format!("{ending}{text}"));
    }
    fix(file, title, after..after, &format!("{text}{ending}"))
}

/// Replaces a word that stands exactly once in some lines; `None` where it is not there or there twice.
pub fn replace_word(file: &File, title: &str, lines: (usize, usize), from: &str, to: &str) -> Option<Fix> {
    let (start, end) = (file.span_of_line(lines.0).start, file.span_of_line(lines.1).end);
    let text = file.text.get(start..end).filter(|_| !from.is_empty())?;
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut found = text.match_indices(from).map(|(at, _)| at).filter(|at| {
        let (before, after) = (text[..*at].chars().next_back(), text[at + from.len()..].chars().next());
        !part(before) && !part(after)
    });
    let at = found.next().filter(|_| found.next().is_none())?;
    fix(file, title, start + at..start + at + from.len(), to)
}

/// The line end in force at a place: that of its own line, else that of the first line.
pub fn line_end(text: &str, at: usize) -> &'static str {
    let own = text.get(at..).unwrap_or_default();
    let newline = own.find('\n').map(|found| at + found).or_else(|| text.find('\n'));
    match newline {
        Some(found) if text[..found].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

fn end_with_newline(text: &str, end: usize) -> usize {
    let rest = text.get(end..).unwrap_or_default();
    let ending = ["\r\n", "\n"].iter().find(|ending| rest.starts_with(**ending)).map_or(0, |ending| ending.len());
    end + ending
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::evidence::repository::FileKind;

    fn file(text: &str) -> File {
        File {
            path: "a".to_owned(),
            absolute: PathBuf::from("/a"),
            kind: FileKind::Script,
            text: text.to_owned(),
            exact: true,
            dockerfile: None,
            yaml: Vec::new(),
            commands: Vec::new(),
            suppressions: Vec::new(),
            line_spans: std::sync::OnceLock::new(),
        }
    }

    fn done(text: &str, fix: Option<Fix>) -> String {
        let Some(fix) = fix else { return "no fix".to_owned() };
        let mut text = text.to_owned();
        text.replace_range(fix.edits[0].span.clone(), &fix.edits[0].replacement);
        text
    }

    #[test]
    fn lines_go_with_their_ends() {
        for (text, line, end_line, expected) in [
            ("a\nb\nc\n", 2, 2, "a\nc\n"),
            ("a\r\n\tb\r\nc", 2, 2, "a\r\nc"),
            ("a\r\nb\r\nc", 3, 3, "a\r\nb"),
            ("a\nb\nc", 2, 3, "a"),
            ("a", 1, 1, ""),
            ("a\n", 5, 5, "no fix"),
        ] {
            assert_eq!(done(text, remove_lines(&file(text), "t", line, end_line)), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_come_with_the_ends_of_the_file() {
        for (text, line, expected) in
            [("a\nb\n", 1, "a\nX\nY\nb\n"), ("a\r\nb", 1, "a\r\nX\r\nY\r\nb"), ("a\r\nb", 2, "a\r\nb\r\nX\r\nY"), ("a", 1, "a\nX\nY")]
        {
            assert_eq!(done(text, insert_below(&file(text), "t", line, "X\nY")), expected, "{text:?}");
        }
    }

    #[test]
    fn words_once_and_whole() {
        for (text, expected) in [
            ("--build-arg COMIT=1 \\\r\n", "--build-arg COMMIT=1 \\\r\n"),
            ("COMIT COMIT", "no fix"),
            ("COMITTED xCOMIT", "no fix"),
            ("COMIT", "COMMIT"),
        ] {
            assert_eq!(done(text, replace_word(&file(text), "t", (1, 1), "COMIT", "COMMIT")), expected, "{text:?}");
        }
        let inexact = File { exact: false, ..file("COMIT") };
        assert_eq!(replace_word(&inexact, "t", (1, 1), "COMIT", "COMMIT"), None);
    }
}
