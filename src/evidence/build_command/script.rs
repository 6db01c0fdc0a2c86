//! Finds commands in a shell script or a CI step, by its text alone.
//!
//! This is no shell: it knows quotes, continuations, comments, here-documents, redirections and what
//! separates commands, and nothing else. Variables and command substitutions stay as written.

use std::path::PathBuf;

use super::wrappers;

/// A simple command in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptCommand {
    /// The line it starts on, counted from 1.
    pub line: usize,
    /// The line it ends on.
    pub end_line: usize,
    /// Its words, quotes taken off, with the assignments and wrappers in front.
    pub words: Vec<String>,
    /// The directory that the `cd` commands before it lead to; `None` is where the script started.
    pub dir: Option<PathBuf>,
    /// Whether a `cd` before it goes where the text does not say (`cd "$DIR"`).
    pub dir_unknown: bool,
    /// As `dir`, with the variables of such a `cd` as written; `None` where the script started, or where even that does not say.
    pub written_dir: Option<String>,
}

/// Levels of `$( … )` and `sh -c` that are looked into.
const MAX_DEPTH: usize = 8;

/// Finds the build commands of a script in their order.
pub fn find_builds_in_script(text: &str) -> Vec<ScriptCommand> {
    let mut commands = commands_in_script(text, 1);
    commands.retain(ScriptCommand::is_build);
    commands
}

/// Finds all simple commands of a script in their order, those inside `$( … )` and `sh -c` too; assignments alone are commands.
/// `first_line` is the number of the text's first line.
pub fn commands_in_script(text: &str, first_line: usize) -> Vec<ScriptCommand> {
    let mut commands = Vec::new();
    scan(text, first_line, Cwd::default(), 0, &mut commands);
    commands
}

impl ScriptCommand {
    /// Whether it builds images: what [`super::parse_words`] reads.
    pub fn is_build(&self) -> bool {
        wrappers::unwrap(&self.words).is_some()
    }

    /// The program's name without its directory, and its arguments; assignments and wrappers (`sudo`, `env`, `time`, …) are taken
    /// off. `None` for assignments alone.
    pub fn program(&self) -> Option<(&str, &[String])> {
        wrappers::program(&self.words)
    }

    /// The variables that it sets: for itself (`K=V docker build .`, `env K=V …`), or for what follows (`K=V`, `export K=V`).
    pub fn assignments(&self) -> Vec<(String, String)> {
        wrappers::assignments(&self.words)
    }
}

/// Where the script is.
#[derive(Debug, Clone, Default)]
struct Cwd {
    dir: Option<PathBuf>,
    unknown: bool,
    /// The same with variables as written, and what it was before the last change: `cd -`.
    written: Option<String>,
    before: Option<String>,
}

impl Cwd {
    fn change(&mut self, words: &[String]) {
        let mut targets = words[1..].iter().filter(|w| !matches!(w.as_str(), "-L" | "-P" | "--"));
        let to = if words[0] == "popd" { Some("-") } else { targets.next().map(String::as_str) };
        let from = self.written.take();
        self.written = match to {
            Some("-") => self.before.take(),
            // A path that begins with a variable or a substitution is mostly absolute; a relative one is joined all the same where that
            // turns out.
            Some(to) if !to.starts_with('~') && !to.contains('*') => match &from {
                Some(dir) if !to.starts_with(['$', '/', '`']) => Some(format!("{dir}/{to}")),
                _ => Some(to.to_owned()),
            },
            _ => None,
        };
        self.before = from;
        match to {
            Some(to) if !to.contains(['$', '`', '*']) && to != "-" && !to.starts_with('~') => {
                self.dir = Some(match &self.dir {
                    Some(dir) => dir.join(to),
                    None => PathBuf::from(to),
                });
                self.unknown &= !PathBuf::from(to).is_absolute();
            }
            _ => self.unknown = true,
        }
    }
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    word: String,
    in_word: bool,
    raw_words: Vec<String>,
    start_line: usize,
    /// Texts inside `$( … )`, with their lines.
    inner: Vec<(String, usize)>,
    heredocs: Vec<(String, bool)>,
    /// The next word belongs to a redirection.
    skip_word: bool,
    heredoc_next: Option<bool>,
}

fn scan(text: &str, first_line: usize, cwd: Cwd, depth: usize, found: &mut Vec<ScriptCommand>) {
    if depth > MAX_DEPTH {
        return;
    }
    let mut cwds = vec![cwd];
    let mut s = Scanner {
        text,
        at: 0,
        line: first_line,
        word: String::new(),
        in_word: false,
        raw_words: Vec::new(),
        start_line: first_line,
        inner: Vec::new(),
        heredocs: Vec::new(),
        skip_word: false,
        heredoc_next: None,
    };
    loop {
        let separator = s.command();
        let end_line = s.line;
        let words: Vec<String> = s.raw_words.drain(..).map(|raw| unquote(&raw)).collect();
        let inner = std::mem::take(&mut s.inner);
        let cwd = cwds.last().cloned().unwrap_or_default();
        for (text, line) in inner {
            scan(&text, line, cwd.clone(), depth + 1, found);
        }
        command(words, (s.start_line, end_line), &mut cwds, depth, found);
        match separator {
            None => return,
            Some('(') => {
                let cwd = cwds.last().cloned().unwrap_or_default();
                if cwds.len() < 1000 {
                    cwds.push(cwd);
                }
            }
            Some(')') if cwds.len() > 1 => {
                cwds.pop();
            }
            Some('\n') => s.newline(),
            Some(_) => {}
        }
    }
}

fn command(words: Vec<String>, (line, end_line): (usize, usize), cwds: &mut [Cwd], depth: usize, found: &mut Vec<ScriptCommand>) {
    let Some(cwd) = cwds.last_mut().filter(|_| !words.is_empty()) else {
        return;
    };
    let start = words.iter().position(|w| !matches!(w.as_str(), "do" | "then" | "else" | "{" | "!" | "if")).unwrap_or(words.len());
    let before = cwd.clone();
    if words.get(start).is_some_and(|w| w == "cd" || w == "pushd" || w == "popd") {
        cwd.change(&words[start..]);
    }
    let inner = if wrappers::unwrap(&words).is_none() { wrappers::shell_text(&words).map(str::to_owned) } else { None };
    found.push(ScriptCommand {
        line,
        end_line,
        words,
        dir: before.dir.clone(),
        dir_unknown: before.unknown,
        written_dir: before.written.clone(),
    });
    if let Some(text) = inner {
        scan(&text, line, before, depth + 1, found);
    }
}

/// Takes the quotes off a word; a substitution in it stays as written.
fn unquote(raw: &str) -> String {
    match shlex::split(raw) {
        Some(words) => words.join(" "),
        None => raw.to_owned(),
    }
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    /// Reads up to the end of a command and gives what ended it; `None` at the end of the text.
    fn command(&mut self) -> Option<char> {
        self.start_line = 0;
        loop {
            let before = self.line;
            let Some(c) = self.bump() else {
                self.end_word();
                self.fix_start(before);
                return None;
            };
            match c {
                '\\' => match self.rest().chars().next() {
                    Some('\n') => {
                        self.bump();
                    }
                    Some('\r') if self.rest().starts_with("\r\n") => {
                        self.bump();
                        self.bump();
                    }
                    Some(next) => {
                        self.begin(before);
                        self.bump();
                        self.word.push('\\');
                        self.word.push(next);
                    }
                    None => {}
                },
                '\'' | '"' => {
                    self.begin(before);
                    self.quoted(c);
                }
                '$' if self.rest().starts_with('(') => {
                    self.begin(before);
                    self.bump();
                    self.substitution(true);
                }
                '$' if self.rest().starts_with('{') => {
                    self.begin(before);
                    self.word.push('$');
                    self.braces();
                }
                '`' => {
                    self.begin(before);
                    self.backticks();
                }
                '#' if !self.in_word => {
                    let end = self.rest().find('\n').unwrap_or(self.rest().len());
                    self.at += end;
                }
                ' ' | '\t' | '\r' => self.end_word(),
                '<' | '>' => self.redirection(c),
                '(' if self.in_word && self.word.ends_with('=') => self.array(),
                '(' if self.is_function_header() => {
                    self.begin(before);
                    self.word.push_str("()");
                    self.end_word();
                    return Some(';');
                }
                '\n' | ';' | '|' | '(' | ')' => {
                    self.end_word();
                    self.fix_start(before);
                    if c == '\n' {
                        // The line count is that of the command.
                        self.line -= 1;
                        self.at -= 1;
                    }
                    return Some(c);
                }
                '&' => {
                    if self.rest().starts_with('>') {
                        self.end_word();
                        self.bump();
                        self.redirection('>');
                    } else {
                        self.end_word();
                        self.fix_start(before);
                        return Some(c);
                    }
                }
                other => {
                    self.begin(before);
                    self.word.push(other);
                }
            }
        }
    }

    /// Whether `NAME (` begins a function: then the rest up to the closing parenthesis is stepped over.
    fn is_function_header(&mut self) -> bool {
        let named = match (self.in_word, self.raw_words.as_slice()) {
            (true, []) => true,
            (true, [first]) | (false, [first]) => first == "function" || !self.in_word,
            (false, [first, _]) => first == "function",
            _ => false,
        };
        let rest = self.rest();
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if !named || !rest[blank..].starts_with(')') {
            return false;
        }
        if !self.in_word {
            self.word = self.raw_words.pop().unwrap_or_default();
        }
        self.at += blank + 1;
        true
    }

    /// The words of `NAME=( … )`, kept in one word with blanks between them.
    fn array(&mut self) {
        self.word.push('(');
        let (mut quote, mut blank) = (None, true);
        while let Some(c) = self.bump() {
            match (quote, c) {
                (None, ')') => break,
                (None, '#') if blank => {
                    let end = self.rest().find('\n').unwrap_or(self.rest().len());
                    self.at += end;
                    continue;
                }
                (None, '\n' | '\t' | '\r') => {
                    self.word.push(' ');
                    blank = true;
                    continue;
                }
                (None, '\\') if self.rest().starts_with('\n') => {
                    self.bump();
                    continue;
                }
                (None, '\'' | '"') => quote = Some(c),
                (None, '$') if self.rest().starts_with('(') => {
                    self.bump();
                    self.substitution(true);
                    blank = false;
                    continue;
                }
                (Some(open), c) if c == open => quote = None,
                _ => {}
            }
            blank = quote.is_none() && c == ' ';
            self.word.push(c);
        }
        if let Some(open) = quote {
            self.word.push(open);
        }
        self.word.push(')');
    }

    fn fix_start(&mut self, line: usize) {
        if self.start_line == 0 {
            self.start_line = line;
        }
    }

    fn begin(&mut self, line: usize) {
        self.in_word = true;
        self.fix_start(line);
    }

    fn end_word(&mut self) {
        if !self.in_word {
            return;
        }
        self.in_word = false;
        let word = std::mem::take(&mut self.word);
        if let Some(strip_tabs) = self.heredoc_next.take() {
            self.heredocs.push((unquote(&word), strip_tabs));
        } else if self.skip_word {
            self.skip_word = false;
        } else {
            self.raw_words.push(word);
        }
    }

    /// `>`, `>>`, `2>&1`, `<`, `<<EOF`, `<<<word`; `<( … )` is a word.
    fn redirection(&mut self, c: char) {
        if self.rest().starts_with('(') {
            self.begin(self.line);
            self.bump();
            self.substitution(false);
            return;
        }
        // A number in front is the descriptor.
        if self.in_word && self.word.chars().all(|c| c.is_ascii_digit()) {
            self.word.clear();
            self.in_word = false;
        }
        self.end_word();
        if c == '<' && self.rest().starts_with("<<") {
            self.at += 2;
        } else if c == '<' && self.rest().starts_with('<') {
            self.at += 1;
            let strip_tabs = self.rest().starts_with('-');
            self.at += usize::from(strip_tabs);
            self.heredoc_next = Some(strip_tabs);
            return;
        } else if self.rest().starts_with(['>', '|']) {
            self.at += 1;
        }
        if self.rest().starts_with('&') {
            self.at += 1;
        }
        self.skip_word = true;
    }

    fn quoted(&mut self, quote: char) {
        self.word.push(quote);
        while let Some(c) = self.bump() {
            if c == '\\' && quote == '"' {
                match self.bump() {
                    Some('\n') => {}
                    Some(next) => {
                        self.word.push('\\');
                        self.word.push(next);
                    }
                    None => break,
                }
                continue;
            }
            if quote == '"' && c == '$' && self.rest().starts_with('(') {
                self.bump();
                self.substitution(true);
                continue;
            }
            self.word.push(c);
            if c == quote {
                return;
            }
        }
        // A quote that does not end: closed here, so that what was read can be looked at.
        self.word.push(quote);
    }

    /// The text of `$( … )`, kept whole in the word and looked into later.
    fn substitution(&mut self, dollar: bool) {
        let start = self.at;
        let line = self.line;
        let mut open = 1;
        let mut quote: Option<char> = None;
        while let Some(c) = self.bump() {
            match (quote, c) {
                (Some('\''), '\'') => quote = None,
                (Some('\''), _) => {}
                (_, '\\') => {
                    self.bump();
                }
                (Some(q), c) if c == q => quote = None,
                (Some(_), '(') | (None, '(') => open += 1,
                (Some(_), ')') | (None, ')') => {
                    open -= 1;
                    if open == 0 {
                        break;
                    }
                }
                (None, '\'' | '"') => quote = Some(c),
                _ => {}
            }
        }
        let end = if open == 0 { self.at - 1 } else { self.at };
        let text = self.text[start..end].to_owned();
        // Its quotes must not end those around it when the word is unquoted.
        let shown: String = text.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
        self.word.push_str(if dollar { "$(" } else { "<(" });
        self.word.push_str(&shown);
        self.word.push(')');
        self.inner.push((text, line));
    }

    fn backticks(&mut self) {
        let start = self.at;
        let line = self.line;
        let mut end = None;
        while let Some(c) = self.bump() {
            if c == '\\' {
                self.bump();
            } else if c == '`' {
                end = Some(self.at - 1);
                break;
            }
        }
        let text = self.text[start..end.unwrap_or(self.at)].to_owned();
        let shown: String = text.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
        self.word.push('`');
        self.word.push_str(&shown);
        self.word.push('`');
        self.inner.push((text, line));
    }

    /// `${ … }`, which may hold blanks and quotes.
    fn braces(&mut self) {
        let mut open = 0;
        while let Some(c) = self.bump() {
            match c {
                '{' => open += 1,
                '}' => open -= 1,
                '\\' | '\'' | '"' => continue,
                '\n' if open > 0 && self.word.len() > 10_000 => return,
                _ => {}
            }
            self.word.push(c);
            if open == 0 {
                return;
            }
        }
    }

    /// Steps over the end of a line and over the here-documents that begin behind it.
    fn newline(&mut self) {
        self.bump();
        for (delimiter, strip_tabs) in std::mem::take(&mut self.heredocs) {
            loop {
                if self.rest().is_empty() {
                    return;
                }
                let line = self.rest().split('\n').next().unwrap_or_default().to_owned();
                self.at = (self.at + line.len() + 1).min(self.text.len());
                self.line += 1;
                let line = line.strip_suffix('\r').unwrap_or(&line);
                let line = if strip_tabs { line.trim_start_matches('\t') } else { line };
                if line == delimiter {
                    break;
                }
            }
        }
    }
}
