//! Why BuildKit would refuse a Dockerfile.

/// A Dockerfile that BuildKit refuses. Its text is BuildKit's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct DockerfileError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// First line of the instruction (from 1); the last line read where no instruction is to blame.
    pub line: usize,
    /// Last line of the instruction.
    pub end_line: usize,
}

/// What is wrong with a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// Nothing but comments.
    #[error("file with no instructions")]
    Empty,
    /// `# escape=` or another directive stands twice.
    #[error("only one {0} parser directive can be used")]
    RepeatedDirective(String),
    /// An escape character other than the two allowed.
    #[error("invalid escape token '{0}' does not match ` or \\")]
    BadEscape(String),
    /// Go's scanner takes no longer lines.
    #[error("dockerfile line greater than max allowed size of 65535")]
    LineTooLong,
    /// The file ends within a heredoc.
    #[error("unterminated heredoc")]
    UnterminatedHeredoc,
    /// The word behind `<<` cannot be read.
    #[error(transparent)]
    Heredoc(#[from] super::expand::ExpandError),
    /// An instruction stands before the first FROM.
    #[error("no build stage in current context")]
    NoStage,
    /// A JSON form with something else than strings.
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStrings,
    /// `ENV X`.
    #[error("{0} must have two arguments")]
    TwoArguments(&'static str),
    /// `ENV A=b c`.
    #[error("Syntax error - can't find = in {0:?}. Must be of the form: name=value")]
    NoEquals(String),
    /// ONBUILD within ONBUILD within … more than 20 deep: bklog's own limit (BuildKit allows none).
    #[error("instructions are nested too deep")]
    TooDeep,
    /// More than 10,000 stages or 100,000 instructions, or over 16 MiB (BuildKit's gRPC message limit): bklog's own limits.
    #[error("the Dockerfile is too large")]
    TooLarge,
    /// An instruction is wrong in itself.
    #[error("dockerfile parse error on line {line}: {problem}")]
    Instruction {
        /// The first line of the instruction.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with one instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No such instruction.
    #[error("unknown instruction: {name}{}", did_you_mean(.near))]
    UnknownInstruction {
        /// As written.
        name: String,
        /// The nearest instruction.
        near: Option<String>,
    },
    /// COPY or ADD with fewer than two words.
    #[error("{0} requires at least two arguments, but only one was provided. Destination could not be determined")]
    NoDestination(&'static str),
    /// Nothing behind the keyword.
    #[error("{0} requires at least one argument")]
    AtLeastOne(&'static str),
    /// Not one word behind the keyword.
    #[error("{0} requires exactly one argument")]
    ExactlyOne(&'static str),
    /// `ENV =x`.
    #[error("{0} names can not be blank")]
    BlankNames(&'static str),
    /// SHELL without a JSON list.
    #[error("{0} requires the arguments to be in JSON form")]
    NotJson(&'static str),
    /// A flag that the instruction does not have.
    #[error("unknown flag: --{name}{}", did_you_mean(.near))]
    UnknownFlag {
        /// Without `--`.
        name: String,
        /// The nearest flag.
        near: Option<String>,
    },
    /// A flag stands twice.
    #[error("duplicate flag specified: --{0}")]
    DuplicateFlag(String),
    /// `--chown` without `=value`.
    #[error("missing a value on flag: --{0}")]
    MissingFlagValue(String),
    /// `--link=maybe`.
    #[error("expecting boolean value for flag --{name}, not: {value}")]
    NotBoolean {
        /// Without `--`.
        name: String,
        /// As written.
        value: String,
    },
    /// FROM with two words or more than three.
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    /// A stage name that begins with a digit or holds symbols.
    #[error("invalid name for build stage: {0:?}, name can't start with a number or contain symbols")]
    StageName(String),
    /// ONBUILD ONBUILD.
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChain,
    /// ONBUILD FROM, ONBUILD MAINTAINER.
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    OnbuildTrigger(String),
    /// `COPY a <<EOF`.
    #[error("{0} cannot accept a heredoc as a destination")]
    HeredocDestination(&'static str),
    /// `--mount` is no list of fields.
    #[error("failed to parse csv mounts")]
    MountFields,
    /// `--mount=from=$X`.
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    MountFrom,
    /// HEALTHCHECK with something else than CMD or NONE.
    #[error("Unknown type {0:?} in HEALTHCHECK (try CMD)")]
    Healthcheck(String),
}

fn did_you_mean(near: &Option<String>) -> String {
    near.as_ref().map(|near| format!(" (did you mean {near}?)")).unwrap_or_default()
}
