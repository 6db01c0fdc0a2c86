//! From a split line to a typed instruction (facts: BuildKit `instructions/{parse,bflag}.go`).

use crate::log::name::KEYWORDS;

use super::error::Problem;
use super::mount::Mount;
use super::{Arguments, Command, CommandKind, Copy, Dockerfile, Node, Run, Stage, lines};
use crate::nearest::suggested_by_buildkit;

/// What one line of a Dockerfile is.
pub(super) enum Read {
    Stage(Stage),
    Command(Command),
}

fn keyword_of(word: &str) -> Result<&'static str, Problem> {
    let upper = word.to_uppercase();
    if let Some(keyword) = KEYWORDS.iter().find(|k| **k == upper) {
        return Ok(keyword);
    }
    let near = suggested_by_buildkit(&upper, KEYWORDS).map(|near| match word.to_lowercase() == word {
        true => near.to_lowercase(),
        false if upper == word => near.to_owned(),
        false => near.to_lowercase(),
    });
    Err(Problem::UnknownInstruction { name: word.to_owned(), near })
}

/// The flags of one instruction, checked against those that it has.
#[derive(Default)]
struct Flags {
    values: Vec<(String, String)>,
}

#[derive(Clone, Copy, PartialEq)]
enum FlagKind {
    Bool,
    Text,
    Many,
}

impl Flags {
    fn read(flags: &[String], known: &[(&str, FlagKind)]) -> Result<Self, Problem> {
        let mut read = Self::default();
        for flag in flags {
            let flag = flag.strip_prefix("--").unwrap_or(flag);
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            let Some((_, kind)) = known.iter().find(|(known, _)| *known == name) else {
                return Err(Problem::UnknownFlag {
                    name: name.to_owned(),
                    near: suggested_by_buildkit(name, known.iter().map(|(k, _)| *k)).map(str::to_owned),
                });
            };
            if *kind != FlagKind::Many && read.text(name).is_some() {
                return Err(Problem::DuplicateFlag(name.to_owned()));
            }
            let value = match (kind, value) {
                (FlagKind::Bool, None) => "true".to_owned(),
                (FlagKind::Bool, Some("")) | (FlagKind::Text | FlagKind::Many, None) => {
                    return Err(Problem::MissingFlagValue(name.to_owned()));
                }
                (FlagKind::Bool, Some(value)) => {
                    let lower = value.to_lowercase();
                    if lower != "true" && lower != "false" {
                        return Err(Problem::NotBoolean { name: name.to_owned(), value: value.to_owned() });
                    }
                    lower
                }
                (_, Some(value)) => value.to_owned(),
            };
            read.values.push((name.to_owned(), value));
        }
        Ok(read)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.all(name).next().map(str::to_owned)
    }

    /// A flag that is given empty counts as not given.
    fn non_empty(&self, name: &str) -> Option<String> {
        self.text(name).filter(|value| !value.is_empty())
    }

    fn boolean(&self, name: &str) -> Option<bool> {
        self.all(name).next().map(|value| value == "true")
    }
}

/// Gives a split line its meaning.
pub(super) fn read(node: Node) -> Result<Read, Problem> {
    let keyword = keyword_of(&node.keyword)?;
    if keyword == "FROM" {
        return stage(node).map(Read::Stage);
    }
    let json = matches!(node.arguments, Arguments::Json(_));
    let kind = match (keyword, &node.arguments) {
        ("COPY", _) => CommandKind::Copy(copy(&node, "COPY")?),
        ("ADD", _) => CommandKind::Add(copy(&node, "ADD")?),
        ("RUN", _) => CommandKind::Run(run(&node)?),
        ("ARG", _) => CommandKind::Arg(arguments_with_defaults(&node)?),
        ("ENV", Arguments::Pairs(pairs)) => CommandKind::Env(named(&node, pairs, "ENV")?),
        ("LABEL", Arguments::Pairs(pairs)) => {
            let pairs = named(&node, pairs, "LABEL")?;
            CommandKind::Other(pairs.into_iter().flat_map(|(k, v)| [k, v]).collect())
        }
        ("WORKDIR", _) => CommandKind::Workdir(single(&node, "WORKDIR")?),
        ("ONBUILD", _) => onbuild(&node)?,
        _ => CommandKind::Other(other(&node, keyword)?),
    };
    Ok(Read::Command(Command {
        line: node.line,
        end_line: node.end_line,
        span: node.span,
        keyword,
        text: node.original,
        json,
        heredocs: node.heredocs,
        kind,
    }))
}

fn words(node: &Node) -> &[String] {
    match &node.arguments {
        Arguments::Words(words) | Arguments::Json(words) => words,
        _ => &[],
    }
}

fn no_flags(node: &Node) -> Result<(), Problem> {
    Flags::read(&node.flags, &[]).map(|_| ())
}

fn single(node: &Node, keyword: &'static str) -> Result<String, Problem> {
    let [word] = words(node) else {
        return Err(Problem::ExactlyOne(keyword));
    };
    no_flags(node)?;
    Ok(word.clone())
}

fn stage(node: Node) -> Result<Stage, Problem> {
    let (base, name) = match words(&node) {
        [base] => (base.clone(), None),
        [base, word, name] if word.eq_ignore_ascii_case("as") => {
            let lower = name.to_lowercase();
            let valid = lower.starts_with(|c: char| c.is_ascii_lowercase())
                && lower.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
            if !valid {
                return Err(Problem::StageName(name.clone()));
            }
            (base.clone(), Some(lower))
        }
        _ => return Err(Problem::FromArguments),
    };
    let flags = Flags::read(&node.flags, &[("platform", FlagKind::Text)])?;
    Ok(Stage {
        name,
        base,
        platform: flags.non_empty("platform"),
        line: node.line,
        end_line: node.end_line,
        span: node.span,
        commands: Vec::new(),
    })
}

fn copy(node: &Node, keyword: &'static str) -> Result<Copy, Problem> {
    use FlagKind::{Bool, Many, Text};
    let [sources @ .., destination] = words(node) else {
        return Err(Problem::NoDestination(keyword));
    };
    if sources.is_empty() {
        return Err(Problem::NoDestination(keyword));
    }
    let known: &[(&str, FlagKind)] = match keyword {
        "COPY" => &[("chown", Text), ("from", Text), ("chmod", Text), ("link", Bool), ("exclude", Many), ("parents", Bool)],
        _ => &[
            ("chown", Text),
            ("chmod", Text),
            ("link", Bool),
            ("keep-git-dir", Bool),
            ("checksum", Text),
            ("unpack", Bool),
            ("exclude", Many),
        ],
    };
    let flags = Flags::read(&node.flags, known)?;
    let heredoc = |word: &str| lines::parse_heredoc(word).ok().flatten();
    if heredoc(destination).is_some() {
        return Err(Problem::HeredocDestination(keyword));
    }
    let mut copy = Copy {
        destination: destination.clone(),
        from: flags.non_empty("from"),
        chown: flags.non_empty("chown"),
        chmod: flags.non_empty("chmod"),
        link: flags.boolean("link") == Some(true),
        excludes: flags.all("exclude").map(str::to_owned).collect(),
        parents: flags.boolean("parents") == Some(true),
        checksum: flags.non_empty("checksum"),
        keep_git_dir: flags.boolean("keep-git-dir"),
        unpack: flags.boolean("unpack"),
        ..Copy::default()
    };
    for source in sources {
        match heredoc(source) {
            Some(heredoc) => copy.inline.push(heredoc.name),
            None => copy.sources.push(source.clone()),
        }
    }
    Ok(copy)
}

fn run(node: &Node) -> Result<Run, Problem> {
    use FlagKind::{Many, Text};
    let known = [("mount", Many), ("network", Text), ("security", Text), ("device", Many)];
    let flags = Flags::read(&node.flags, &known)?;
    Ok(Run {
        arguments: words(node).to_vec(),
        mounts: flags.all("mount").map(Mount::parse).collect::<Result<_, _>>()?,
        network: flags.non_empty("network"),
        security: flags.non_empty("security"),
    })
}

fn arguments_with_defaults(node: &Node) -> Result<Vec<(String, Option<String>)>, Problem> {
    let words = words(node);
    if words.is_empty() {
        return Err(Problem::AtLeastOne("ARG"));
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(Problem::BlankNames("ARG")),
            Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
            None => Ok((word.clone(), None)),
        })
        .collect()
}

fn named(node: &Node, pairs: &[(String, String)], keyword: &'static str) -> Result<Vec<(String, String)>, Problem> {
    no_flags(node)?;
    if pairs.is_empty() {
        return Err(Problem::AtLeastOne(keyword));
    }
    match pairs.iter().any(|(name, _)| name.is_empty()) {
        true => Err(Problem::BlankNames(keyword)),
        false => Ok(pairs.to_vec()),
    }
}

fn onbuild(node: &Node) -> Result<CommandKind, Problem> {
    let Arguments::Trigger(child) = &node.arguments else {
        return Err(Problem::AtLeastOne("ONBUILD"));
    };
    no_flags(node)?;
    let keyword = child.keyword.to_uppercase();
    match keyword.as_str() {
        "ONBUILD" => return Err(Problem::OnbuildChain),
        "MAINTAINER" | "FROM" => return Err(Problem::OnbuildTrigger(keyword)),
        _ => {}
    }
    // The keyword in front is ASCII, whatever its case.
    let mut expression = node.original.get("ONBUILD".len()..).unwrap_or_default().trim_start().to_owned();
    for heredoc in &node.heredocs {
        expression.push('\n');
        expression.push_str(&heredoc.content);
        expression.push_str(&heredoc.name);
    }
    Ok(CommandKind::Onbuild { trigger: trigger(&expression, node).map(Box::new), expression })
}

/// Reads the instruction of an ONBUILD as BuildKit does when it is used: as a file of its own, hence with `\`.
fn trigger(expression: &str, node: &Node) -> Option<Command> {
    let mut text = String::from("FROM scratch\n");
    text.push_str(expression);
    let file = Dockerfile::parse(text.as_bytes()).ok()?;
    let [stage] = file.stages.as_slice() else {
        return None;
    };
    let [command] = stage.commands.as_slice() else {
        return None;
    };
    let mut command = command.clone();
    command.line = node.line;
    command.end_line = node.end_line;
    command.span = node.span.clone();
    Some(command)
}

fn other(node: &Node, keyword: &'static str) -> Result<Vec<String>, Problem> {
    use FlagKind::Text;
    let words = words(node);
    match keyword {
        "MAINTAINER" | "USER" | "STOPSIGNAL" => return Ok(vec![single(node, keyword)?]),
        "ENV" | "LABEL" | "EXPOSE" | "VOLUME" | "SHELL" | "HEALTHCHECK" if words.is_empty() => {
            return Err(Problem::AtLeastOne(keyword));
        }
        "SHELL" if !matches!(node.arguments, Arguments::Json(_)) => {
            return Err(Problem::NotJson(keyword));
        }
        "HEALTHCHECK" => {
            let kind = words.first().map(|k| k.to_uppercase()).unwrap_or_default();
            if kind != "NONE" && kind != "CMD" {
                return Err(Problem::Healthcheck(kind));
            }
            let known = [("interval", Text), ("timeout", Text), ("start-period", Text), ("start-interval", Text), ("retries", Text)];
            Flags::read(&node.flags, &known)?;
        }
        _ => no_flags(node)?,
    }
    Ok(words.to_vec())
}
