//! Under which name a command stands in the log, and which command a step of the log is.
//!
//! Facts from BuildKit (`dockerfile2llb/convert.go`: `prefixCommand`, `dispatchRun`, `dispatchCopy`, `dispatchWorkdir`).
//! A step is called `[stage number/total] NAME`; a client may put a target and a platform before the stage. NAME is the
//! logical line with its variables expanded and its first word in upper case. In COPY, ADD and WORKDIR quotes and
//! escapes go and unset variables become empty; in RUN quotes and unset variables stay.

use std::collections::BTreeMap;

use super::environment::{Base, BuildOptions, Environment, Running, Scope};
use super::expand::{Expanded, Lexer, Variables};
use super::{Command, CommandKind, Dockerfile, Run, lines};
use crate::evidence::go_match::clean;
use crate::evidence::image_name;

/// Stands for the value of a variable that only the base image knows. No Dockerfile can be expected to hold it.
const UNKNOWN: &str = "\u{10FFFE}";

/// A step that a stage gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'d> {
    /// Index of the stage that runs it.
    pub stage: usize,
    /// The number in the bracket, from 1.
    pub number: u32,
    /// The total in the bracket.
    pub total: u32,
    /// The name behind the bracket, as far as the Dockerfile and the options tell it. `FROM image` lacks the digest.
    pub name: String,
    /// The command, `None` for FROM.
    pub command: Option<Running<'d>>,
    /// The name where parts are unknown, split at them.
    template: Option<Vec<String>>,
}

/// How sure it is that a step of a log is a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Agreement {
    /// Only the text agrees, and no other command of the stage has it. The numbers differ where the base image has ONBUILD
    /// triggers, or where the Dockerfile was edited. For FROM the image agrees: on a busy builder such a step can carry
    /// stage and numbers of another build.
    Text,
    /// Number, total and keyword agree, the text does not: a build argument that is not known here, for instance.
    Number,
    /// Number and total agree, and the text does but for variables that the base image may set.
    Template,
    /// All agree.
    Exact,
}

/// A command found for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandRef<'d> {
    /// Index of the stage that runs it.
    pub stage: usize,
    /// The command; `None` for FROM.
    pub command: Option<&'d Command>,
    /// Whether an ONBUILD of the base stage triggered it.
    pub onbuild: bool,
    /// First line in the Dockerfile.
    pub line: usize,
    /// Last line.
    pub end_line: usize,
    /// How sure it is.
    pub agreement: Agreement,
}

/// Finds the command of one step. For many steps of one build make a [`StepIndex`].
pub fn find_command<'d>(
    file: &'d Dockerfile,
    stage: Option<&str>,
    number: u32,
    total: u32,
    text: &str,
    options: &BuildOptions,
) -> Option<CommandRef<'d>> {
    StepIndex::new(&Environment::new(file, options)).find(stage, number, total, text)
}

/// Finds the line of a step of the legacy builder (`Step 3/7 : …`), which counts all instructions of the file.
pub fn find_legacy_line(file: &Dockerfile, number: u32) -> Option<usize> {
    let globals = file.global_args.iter().map(|c| c.line);
    let stages = file.stages.iter().flat_map(|stage| std::iter::once(stage.line).chain(stage.commands.iter().map(|c| c.line)));
    let before = usize::try_from(number.checked_sub(1)?).ok()?;
    globals.chain(stages).nth(before)
}

/// The steps of every stage of a Dockerfile.
#[derive(Debug)]
pub struct StepIndex<'d> {
    file: &'d Dockerfile,
    /// The stages that a bracket can mean, by the word in it.
    stages: BTreeMap<String, Vec<usize>>,
    steps: Vec<Vec<Step<'d>>>,
}

impl<'d> StepIndex<'d> {
    /// Names the steps of all stages.
    pub fn new(environment: &Environment<'d>) -> Self {
        let file = environment.file();
        let mut stages: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, stage) in file.stages.iter().enumerate() {
            let shown = match &stage.name {
                Some(name) => name.clone(),
                None => format!("stage-{index}"),
            };
            stages.entry(shown).or_default().push(index);
        }
        Self { file, stages, steps: (0..file.stages.len()).map(|index| steps(environment, index)).collect() }
    }

    /// The steps of a stage, by its index.
    pub fn steps(&self, stage: usize) -> &[Step<'d>] {
        self.steps.get(stage).map_or(&[], Vec::as_slice)
    }

    /// Finds the command of a step.
    ///
    /// `stage` is the word before the number (without target and platform), `None` where there is none; `text` is what
    /// follows the bracket.
    pub fn find(&self, stage: Option<&str>, number: u32, total: u32, text: &str) -> Option<CommandRef<'d>> {
        if let Some(image) = text.strip_prefix("FROM ") {
            return self.find_from(stage, number, total, image);
        }
        let stages = self.stages_of(stage)?;
        // The second step of a COPY --link.
        let text = text.strip_prefix("LINK ").unwrap_or(text);
        let (text, onbuild) = match text.strip_prefix("ONBUILD ") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let candidates = || stages.iter().flat_map(|stage| self.steps(*stage));
        let by_number = candidates()
            .filter(|step| step.number == number && step.total == total)
            .filter(|step| step.command.is_some_and(|c| c.onbuild == onbuild))
            .filter_map(|step| Some((step.agreement(text)?, step)))
            .max_by_key(|(agreement, _)| *agreement);
        if let Some((agreement, step)) = by_number {
            return Some(self.reference(step, agreement));
        }
        let mut by_text = candidates().filter(|step| step.name == text);
        match (by_text.next(), by_text.next()) {
            (Some(step), None) => Some(self.reference(step, Agreement::Text)),
            _ => None,
        }
    }

    /// The stages that the word in a bracket can mean.
    ///
    /// A Dockerfile whose only stage takes from nowhere else has no name in its brackets; a word that stands there all the
    /// same is a target of bake or compose.
    fn stages_of(&self, stage: Option<&str>) -> Option<&[usize]> {
        match stage.and_then(|stage| self.stages.get(stage)) {
            Some(stages) => Some(stages),
            None if self.steps.len() == 1 => Some(&[0]),
            None => None,
        }
    }

    fn find_from(&self, stage: Option<&str>, number: u32, total: u32, image: &str) -> Option<CommandRef<'d>> {
        let image = image_name::short(image);
        let agrees = |step: &Step<'d>| {
            let name = step.name.strip_prefix("FROM ").unwrap_or_default();
            step.command.is_none() && image_name::short(name) == image
        };
        let firsts = |stages: &[usize]| -> Vec<&Step<'d>> {
            let steps = stages.iter().filter_map(|stage| self.steps(*stage).first());
            steps.filter(|step| step.command.is_none()).collect()
        };
        let named = firsts(self.stages_of(stage).unwrap_or_default());
        let numbered = |step: &&&Step<'d>| step.number == number && step.total == total;
        if let Some(step) = named.iter().filter(numbered).find(|step| agrees(step)) {
            return Some(self.reference(step, Agreement::Template));
        }
        let all: Vec<usize> = (0..self.steps.len()).collect();
        if let Some(step) = firsts(&all).into_iter().find(|step| agrees(step)) {
            return Some(self.reference(step, Agreement::Text));
        }
        let step = named.iter().find(|step| numbered(step))?;
        Some(self.reference(step, Agreement::Number))
    }

    fn reference(&self, step: &Step<'d>, agreement: Agreement) -> CommandRef<'d> {
        let stage = self.file.stages.get(step.stage);
        let (line, end_line) = match step.command {
            Some(running) => (running.command.line, running.command.end_line),
            None => stage.map_or((0, 0), |stage| (stage.line, stage.end_line)),
        };
        CommandRef {
            stage: step.stage,
            command: step.command.map(|running| running.command),
            onbuild: step.command.is_some_and(|running| running.onbuild),
            line,
            end_line,
            agreement,
        }
    }
}

impl Step<'_> {
    /// Compares the name with that of a step in the log, numbers being equal.
    fn agreement(&self, text: &str) -> Option<Agreement> {
        if self.name == text {
            return Some(Agreement::Exact);
        }
        if self.template.as_ref().is_some_and(|t| fits(t, text)) {
            return Some(Agreement::Template);
        }
        let keyword = |name: &str| name.split_whitespace().next().map(str::to_owned);
        (keyword(&self.name) == keyword(text)).then_some(Agreement::Number)
    }
}

/// Whether the parts occur in the text in order, the first at its beginning and the last at its end.
fn fits(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else {
        return false;
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    for part in middle {
        let Some(at) = rest.find(part.as_str()) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last.as_str())
}

/// Whether a command is counted in the total of its stage.
fn is_counted(command: &Command) -> bool {
    matches!(command.kind, CommandKind::Copy(_) | CommandKind::Add(_) | CommandKind::Run(_) | CommandKind::Workdir(_))
}

fn steps<'d>(environment: &Environment<'d>, stage: usize) -> Vec<Step<'d>> {
    let base = environment.base(stage);
    let from = matches!(base, Some(Base::Image(_) | Base::Context(_)));
    // Every ONBUILD trigger counts, also one that makes no step.
    let counted = environment.commands(stage).iter().filter(|running| running.onbuild || is_counted(running.command)).count();
    let total = u32::try_from(counted + usize::from(from)).unwrap_or(u32::MAX);
    let mut steps = Vec::new();
    if let Some(Base::Image(image)) = base {
        steps.push(Step { stage, number: 1, total, name: format!("FROM {image}"), command: None, template: None });
    }
    // A named context in the place of the image is counted in the total, but takes no number.
    let mut number = u32::from(matches!(base, Some(Base::Image(_))));
    environment.walk(stage, |running, scope| {
        let Some((name, template)) = name(environment, running.command, scope) else {
            return;
        };
        number = number.saturating_add(1);
        steps.push(Step { stage, number, total, name, command: Some(running), template });
    });
    steps
}

/// The name of a command's step; `None` if it makes none. With it the template, if parts of it are unknown.
fn name(environment: &Environment<'_>, command: &Command, scope: &Scope) -> Option<(String, Option<Vec<String>>)> {
    let plain = environment.lexer();
    let mut variables = std::borrow::Cow::Borrowed(&scope.variables);
    let (lexer, text) = match &command.kind {
        CommandKind::Copy(_) | CommandKind::Add(_) => (*plain, command.text.clone()),
        CommandKind::Workdir(path) => {
            let path = plain.word(path, &variables).unwrap_or_default();
            // A WORKDIR that stays at the root makes no step.
            if clean(&path) == "/" {
                return None;
            }
            (*plain, command.text.clone())
        }
        CommandKind::Run(run) => {
            for secret in secret_variables(run, plain, &scope.variables) {
                variables.to_mut().insert(secret, "****".to_owned());
            }
            let lexer = Lexer { raw_quotes: true, skip_unset: true, ..*plain };
            (lexer, run_text(command, run))
        }
        _ => return None,
    };
    let Ok(expanded) = lexer.expand(&text, &variables) else {
        return Some((upper_first(&text), None));
    };
    let template = template(&lexer, &text, &expanded, &variables);
    Some((upper_first(&expanded.text), template))
}

/// The text of a RUN, with the summary of its script if it is a single heredoc.
fn run_text(command: &Command, run: &Run) -> String {
    let script = match (run.arguments.as_slice(), command.heredocs.first()) {
        ([only], Some(heredoc)) if matches!(lines::parse_heredoc(only), Ok(Some(_))) => heredoc,
        _ => return command.text.clone(),
    };
    let body = script.content.trim().replace("\r\n", "\n");
    let summary = match body.split_once('\n') {
        Some((first, _)) => format!("{first}..."),
        None => body,
    };
    format!("{} ({summary})", command.text)
}

/// Variables that a secret mount sets: BuildKit masks them in the name.
fn secret_variables(run: &Run, lexer: &Lexer, variables: &Variables) -> Vec<String> {
    run.mounts
        .iter()
        .filter_map(|mount| mount.expand(lexer, variables).ok())
        .filter(|spec| spec.kind == "secret")
        .filter_map(|spec| spec.env)
        .collect()
}

/// Expands once more with a mark for what the base image may set: unset variables, and `PATH`, whose default it replaces.
fn template(lexer: &Lexer, text: &str, expanded: &Expanded, variables: &Variables) -> Option<Vec<String>> {
    let path = expanded.used.iter().filter(|name| *name == "PATH");
    let unknown: Vec<_> = expanded.unset.iter().chain(path).collect();
    if unknown.is_empty() {
        return None;
    }
    let mut marked = variables.clone();
    for name in unknown {
        marked.insert(name.clone(), UNKNOWN.to_owned());
    }
    let text = lexer.word(text, &marked).ok()?;
    let parts = upper_first(&text).split(UNKNOWN).map(str::to_owned).collect();
    Some(parts)
}

/// Puts what stands before the first space in upper case.
fn upper_first(text: &str) -> String {
    match text.split_once(' ') {
        Some((first, rest)) => format!("{} {rest}", first.to_uppercase()),
        None => text.to_uppercase(),
    }
}
