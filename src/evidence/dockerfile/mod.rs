//! Dockerfiles, read as BuildKit 0.32 reads them.
//!
//! [`Dockerfile::parse`] gives stages and commands with their lines; variables are as written. [`environment`] says which
//! ARG and ENV values are in force at each command, [`dependencies`] which stages a target needs, [`steps`] under which
//! name a command stands in the log. What BuildKit refuses is refused with BuildKit's text. Invalid UTF-8 is read with
//! U+FFFD in its place.

pub mod dependencies;
pub mod environment;
mod error;
pub mod expand;
mod instruction;
mod lines;
mod mount;
pub mod steps;
#[cfg(test)]
mod steps_tests;
#[cfg(test)]
mod tests;
mod words;

use std::ops::Range;

pub use self::error::{DockerfileError, ErrorKind, Problem};
pub use self::mount::{Mount, MountSpec};

use self::lines::{DirectiveReader, Lines};
use self::words::split_command;

/// A Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// `# syntax=`, `# escape=`, `# check=`.
    pub directives: Vec<Directive>,
    /// The escape character: `\`, or `` ` `` by directive.
    pub escape: char,
    /// ARG instructions before the first FROM.
    pub global_args: Vec<Command>,
    /// The stages in order; there may be none.
    pub stages: Vec<Stage>,
    /// `# bklog: ignore[rule] reason` comments.
    pub suppressions: Vec<Suppression>,
    /// Lines of comments that begin with `bklog:` and cannot be read.
    pub malformed_suppressions: Vec<usize>,
}

/// A parser directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// In lower case.
    pub name: String,
    /// What stands behind `=`.
    pub value: String,
    /// From 1.
    pub line: usize,
}

/// A comment that silences rules for one instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The comment's line, from 1.
    pub line: usize,
    /// First line of the instruction that it applies to: the next one, or the one within whose lines it stands. `None` at
    /// the end of the file.
    pub applies_to: Option<usize>,
    /// The rules named; at least one.
    pub rules: Vec<String>,
    /// What stands behind the bracket.
    pub reason: String,
}

/// A build stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The name behind AS, in lower case.
    pub name: Option<String>,
    /// What stands behind FROM, as written.
    pub base: String,
    /// `--platform`, as written.
    pub platform: Option<String>,
    /// Lines of the FROM, from 1.
    pub line: usize,
    /// The FROM's last line.
    pub end_line: usize,
    /// The FROM's bytes in the file, with line ends.
    pub span: Range<usize>,
    /// Everything up to the next FROM.
    pub commands: Vec<Command>,
}

/// An instruction other than FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// First line, from 1.
    pub line: usize,
    /// Last line, that of a heredoc's terminator included.
    pub end_line: usize,
    /// Its bytes in the file, with line ends and heredocs.
    pub span: Range<usize>,
    /// In upper case.
    pub keyword: &'static str,
    /// The logical line as written: continuations joined, comments gone, trimmed.
    pub text: String,
    /// Whether the arguments are a JSON list.
    pub json: bool,
    /// Heredocs with their contents.
    pub heredocs: Vec<Heredoc>,
    /// What it does.
    pub kind: CommandKind,
}

/// What an instruction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandKind {
    /// COPY.
    Copy(Copy),
    /// ADD.
    Add(Copy),
    /// RUN.
    Run(Run),
    /// ARG: names with their defaults, as written.
    Arg(Vec<(String, Option<String>)>),
    /// ENV: names and values, as written.
    Env(Vec<(String, String)>),
    /// WORKDIR: the path, as written.
    Workdir(String),
    /// ONBUILD.
    Onbuild {
        /// The instruction to be, with its heredocs.
        expression: String,
        /// The same, read; `None` if it is wrong, which BuildKit says only when it is used.
        trigger: Option<Box<Command>>,
    },
    /// Anything else: its words as BuildKit splits them.
    Other(Vec<String>),
}

/// COPY or ADD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copy {
    /// Sources as written, without heredocs.
    pub sources: Vec<String>,
    /// Names of the sources that are heredocs.
    pub inline: Vec<String>,
    /// Destination, as written.
    pub destination: String,
    /// `--from`: a stage, its number, a named context or an image.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`, each.
    pub excludes: Vec<String>,
    /// `--parents`.
    pub parents: bool,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--keep-git-dir`, if given.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`, if given.
    pub unpack: Option<bool>,
}

/// RUN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// The command: one text for the shell, or the words of the JSON form.
    pub arguments: Vec<String>,
    /// `--mount`, each.
    pub mounts: Vec<Mount>,
    /// `--network`.
    pub network: Option<String>,
    /// `--security`.
    pub security: Option<String>,
}

/// A heredoc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The terminator, without quotes; for COPY also the file's name.
    pub name: String,
    /// Whether variables in it are expanded: no part of the name was quoted.
    pub expand: bool,
    /// `<<-`: tabs at the beginning of lines are dropped.
    pub chomp: bool,
    /// The lines with their ends, tabs still there.
    pub content: String,
}

impl Heredoc {
    /// The text as the build uses it: with `<<-` the tabs at the beginning of each line are gone.
    pub fn text(&self) -> String {
        match self.chomp {
            true => lines::chomp(&self.content),
            false => self.content.clone(),
        }
    }
}

impl Copy {
    /// The sources that are files of a context: all but URLs and git repositories (which only ADD may have).
    pub fn local_sources(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(String::as_str).filter(|source| !crate::build::is_remote(source))
    }
}

/// One instruction as the line parser leaves it.
#[derive(Debug)]
struct Node {
    line: usize,
    end_line: usize,
    span: Range<usize>,
    original: String,
    keyword: String,
    flags: Vec<String>,
    arguments: Arguments,
    heredocs: Vec<Heredoc>,
}

/// The arguments of an instruction, split as its keyword wants it.
#[derive(Debug)]
enum Arguments {
    None,
    Words(Vec<String>),
    Json(Vec<String>),
    Pairs(Vec<(String, String)>),
    Trigger(Box<Node>),
}

impl Dockerfile {
    /// Reads a Dockerfile.
    ///
    /// # Errors
    /// What BuildKit says of the file when it refuses it, with the lines.
    pub fn parse(bytes: &[u8]) -> Result<Self, DockerfileError> {
        let fail = |kind, line, end_line| DockerfileError { kind, line, end_line };
        if bytes.len() > MAX_FILE {
            return Err(fail(ErrorKind::TooLarge, 1, 1));
        }
        let mut reader = Reader::new(bytes);
        let mut nodes = Vec::new();
        while let Some(node) = reader.next_node()? {
            if nodes.len() == MAX_INSTRUCTIONS {
                return Err(fail(ErrorKind::TooLarge, node.line, node.end_line));
            }
            nodes.push(node);
        }
        let last = reader.lines.number;
        if nodes.is_empty() {
            return Err(fail(ErrorKind::Empty, last, last));
        }
        if reader.lines.too_long {
            return Err(fail(ErrorKind::LineTooLong, last + 1, last + 1));
        }
        let escape = reader.directives.escape;
        let mut file = Self {
            directives: reader.directives.directives(),
            escape,
            global_args: Vec::new(),
            stages: Vec::new(),
            suppressions: reader.suppressions,
            malformed_suppressions: reader.malformed_suppressions,
        };
        for node in nodes {
            let (line, end_line) = (node.line, node.end_line);
            let wrong = |problem| fail(ErrorKind::Instruction { line, problem }, line, end_line);
            match instruction::read(node).map_err(wrong)? {
                instruction::Read::Stage(_) if file.stages.len() == MAX_STAGES => {
                    return Err(fail(ErrorKind::TooLarge, line, end_line));
                }
                instruction::Read::Stage(stage) => file.stages.push(stage),
                instruction::Read::Command(command) => match file.stages.last_mut() {
                    Some(stage) => stage.commands.push(command),
                    None if matches!(command.kind, CommandKind::Arg(_)) => {
                        file.global_args.push(command);
                    }
                    None => return Err(fail(ErrorKind::NoStage, line, end_line)),
                },
            }
        }
        Ok(file)
    }

    /// Whether a rule is silenced for the instruction that begins at `line`.
    pub fn is_suppressed(&self, rule: &str, line: usize) -> bool {
        self.suppressions.iter().any(|s| s.applies_to == Some(line) && s.rules.iter().any(|r| r == rule))
    }
}

/// Largest file that is read.
const MAX_FILE: usize = 16 * 1024 * 1024;
/// Most instructions that are read: each takes some hundred bytes.
const MAX_INSTRUCTIONS: usize = 100_000;
/// Most stages that are read.
const MAX_STAGES: usize = 10_000;
/// Deepest nesting of ONBUILD that is read; BuildKit refuses two.
const MAX_NESTING: usize = 20;

struct Reader<'b> {
    lines: Lines<'b>,
    directives: DirectiveReader,
    suppressions: Vec<Suppression>,
    /// Suppressions before this one know their instruction.
    settled: usize,
    malformed_suppressions: Vec<usize>,
}

impl<'b> Reader<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        Self {
            lines: Lines::new(bytes),
            directives: DirectiveReader::new(),
            suppressions: Vec::new(),
            settled: 0,
            malformed_suppressions: Vec::new(),
        }
    }

    /// Reads up to the end of the next instruction.
    fn next_node(&mut self) -> Result<Option<Node>, DockerfileError> {
        loop {
            let start = self.lines.offset();
            let Some(raw) = self.lines.next() else {
                return Ok(None);
            };
            let line = self.lines.number;
            let raw = match line {
                1 => raw.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(raw),
                _ => raw,
            };
            let text = lines::text(raw);
            let text = text.trim_start();
            self.directives.look(text, line)?;
            if let Some(comment) = lines::comment(text) {
                self.hear(comment, line, None);
                continue;
            }
            let (mut logical, mut goes_on) = match lines::continuation(text, self.directives.escape) {
                Some(body) => (body.to_owned(), true),
                None if text.is_empty() => continue,
                None => (text.to_owned(), false),
            };
            while goes_on {
                let Some(raw) = self.lines.next() else {
                    break;
                };
                let text = lines::text(raw);
                self.directives.look(&text, self.lines.number)?;
                if let Some(comment) = lines::comment(&text) {
                    self.hear(comment, self.lines.number, Some(line));
                    continue;
                }
                if text.trim_start().is_empty() {
                    continue;
                }
                match lines::continuation(&text, self.directives.escape) {
                    Some(body) => logical.push_str(body),
                    None => {
                        logical.push_str(&text);
                        goes_on = false;
                    }
                }
            }
            return self.node(logical, line, start).map(Some);
        }
    }

    fn hear(&mut self, comment: &str, line: usize, within: Option<usize>) {
        match lines::suppression(comment) {
            Some(Some((rules, reason))) => self.suppressions.push(Suppression { line, applies_to: within, rules, reason }),
            Some(None) => self.malformed_suppressions.push(line),
            None => {}
        }
    }

    fn node(&mut self, logical: String, line: usize, start: usize) -> Result<Node, DockerfileError> {
        for waiting in self.suppressions.iter_mut().skip(self.settled) {
            waiting.applies_to.get_or_insert(line);
        }
        self.settled = self.suppressions.len();
        let end = self.lines.number;
        let fail = |kind, end_line| DockerfileError { kind, line, end_line };
        let mut node = node_of_line(&logical, self.directives.escape, 0).map_err(|kind| fail(kind, end))?;
        if node.can_have_heredocs() {
            node.heredocs = lines::heredocs_of(&logical).map_err(|e| fail(e.into(), end))?;
            for heredoc in &mut node.heredocs {
                if !self.fill(heredoc) {
                    return Err(fail(ErrorKind::UnterminatedHeredoc, self.lines.number));
                }
            }
        }
        node.line = line;
        node.end_line = self.lines.number;
        node.span = start..self.lines.offset();
        Ok(node)
    }

    /// Reads the lines of a heredoc; false if its terminator is missing.
    fn fill(&mut self, heredoc: &mut Heredoc) -> bool {
        while let Some(raw) = self.lines.next() {
            let mut bare = lines::trim_newline(raw);
            if heredoc.chomp {
                let tabs = bare.iter().take_while(|b| **b == b'\t').count();
                bare = bare.get(tabs..).unwrap_or_default();
            }
            if bare == heredoc.name.as_bytes() {
                return true;
            }
            heredoc.content.push_str(&String::from_utf8_lossy(raw));
        }
        false
    }
}

impl Node {
    fn can_have_heredocs(&self) -> bool {
        let node = match &self.arguments {
            Arguments::Trigger(child) => child,
            _ => self,
        };
        let keyword = node.keyword.to_ascii_uppercase();
        matches!(keyword.as_str(), "ADD" | "COPY" | "RUN") && !matches!(node.arguments, Arguments::Json(_))
    }
}

/// Splits a logical line by the rules of its keyword.
fn node_of_line(logical: &str, escape: char, depth: usize) -> Result<Node, ErrorKind> {
    if depth > MAX_NESTING {
        return Err(ErrorKind::TooDeep);
    }
    let split = split_command(logical);
    let rest = split.rest.as_str();
    let whole = || match rest.is_empty() {
        true => Arguments::None,
        false => Arguments::Words(vec![rest.to_owned()]),
    };
    let arguments = match split.keyword.to_ascii_uppercase().as_str() {
        "ADD" | "COPY" | "VOLUME" => match words::json_list(rest)? {
            Some(list) => Arguments::Json(list),
            None => Arguments::Words(words::blank_separated(rest)),
        },
        "RUN" | "CMD" | "ENTRYPOINT" | "SHELL" => match words::json_list(rest)? {
            Some(list) => Arguments::Json(list),
            None => whole(),
        },
        "HEALTHCHECK" => {
            let (kind, command) = match rest.find(char::is_whitespace) {
                Some(at) => rest.split_at(at),
                None => (rest, ""),
            };
            let mut list = vec![kind.to_owned()];
            match words::json_list(command)? {
                Some(words) => list.extend(words),
                None => list.push(command.trim_start().to_owned()),
            }
            list.retain(|word| !word.is_empty());
            Arguments::Words(list)
        }
        "ARG" => Arguments::Words(words::words(rest, escape)),
        "ENV" => Arguments::Pairs(words::pairs(rest, "ENV", escape)?),
        "LABEL" => Arguments::Pairs(words::pairs(rest, "LABEL", escape)?),
        "EXPOSE" | "FROM" => Arguments::Words(words::blank_separated(rest)),
        "MAINTAINER" | "STOPSIGNAL" | "USER" | "WORKDIR" => whole(),
        "ONBUILD" if !rest.is_empty() => Arguments::Trigger(Box::new(node_of_line(rest, escape, depth + 1)?)),
        _ => Arguments::None,
    };
    Ok(Node {
        line: 0,
        end_line: 0,
        span: 0..0,
        original: logical.trim().to_owned(),
        keyword: split.keyword,
        flags: split.flags,
        arguments,
        heredocs: Vec::new(),
    })
}
