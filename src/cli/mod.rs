//! The command line: one file a command, what they share, and what their ends mean to the caller.

mod calls;
mod check;
mod checking;
mod commands;
mod diff;
#[cfg(feature = "history")]
mod earlier;
mod error;
pub mod exit_code;
mod explain;
mod fixing;
#[cfg(feature = "history")]
mod history;
mod judging;
#[cfg(feature = "history")]
mod ledger;
mod lint;
mod live;
#[cfg(feature = "history")]
mod log_files;
#[cfg(any(feature = "history", feature = "charts"))]
mod output_file;
mod overall;
mod project;
mod reading;
#[cfg(feature = "history")]
mod record;
#[cfg(feature = "history")]
mod report;
mod reporting;
mod run;
mod show;
mod times;
mod trend;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use error::CliError;

/// Reads what BuildKit prints: is the code in the image the commit's code, why is the build slow, does the cache work?
///
/// Without a command it is `bklog check -`: pipe a build into it.
#[derive(Debug, Parser)]
#[command(name = "bklog", version, max_term_width = 100, args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    check: check::CheckArgs,

    #[command(flatten)]
    global: Global,
}

/// What every command takes.
#[derive(Debug, Clone, Copy, Args)]
struct Global {
    /// When to use colour; `auto` heeds NO_COLOR and CLICOLOR_FORCE.
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto")]
    color: When,
}

/// When to do something that not every reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    /// Where the output is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::ShowArgs),
    Check(Box<check::CheckArgs>),
    Run(Box<run::RunArgs>),
    Trend(trend::TrendArgs),
    Lint(lint::LintArgs),
    Diff(diff::DiffArgs),
    #[cfg(feature = "history")]
    Record(Box<record::RecordArgs>),
    #[cfg(feature = "history")]
    History(Box<history::HistoryArgs>),
    #[cfg(feature = "history")]
    Report(Box<report::ReportArgs>),
    Explain(explain::ExplainArgs),
}

const EXIT_CODES: &str = "\
Exit codes: 0 all is well; 1 findings; 2 wrong usage; 3 the input is no build log, is empty or
cannot be read; 4 the build in the log failed or was cut off.

Examples:
  docker build --progress=plain . 2>&1 | bklog     pass a build through, then sum it up
  bklog show build.log                             the steps of a build
  bklog show --sort slowest build.log.gz           the slowest first
  bklog show --format json build.log               everything, for programs";

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A reader of the help that goes away is no failure either.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit_code::USAGE } else { exit_code::SUCCESS });
        }
    };
    let color = cli.global.color.choice();
    let result = match cli.command {
        None => check::run(&cli.check, color),
        Some(Command::Check(args)) => check::run(&args, color),
        Some(Command::Lint(args)) => lint::run(&args, color),
        Some(Command::Explain(args)) => explain::run(&args, color),
        Some(Command::Show(args)) => show::run(&args, color),
        Some(Command::Run(args)) => run::run(&args, color),
        Some(Command::Trend(args)) => trend::run(&args, color),
        Some(Command::Diff(args)) => diff::run(&args, color),
        #[cfg(feature = "history")]
        Some(Command::Record(args)) => record::run(&args, color),
        #[cfg(feature = "history")]
        Some(Command::History(args)) => history::run(&args, color),
        #[cfg(feature = "history")]
        Some(Command::Report(args)) => report::run(&args, color),
    };
    let code = match result {
        Ok(code) => code,
        Err(CliError::ReaderGone) => exit_code::SUCCESS,
        Err(error) => {
            error.print(color);
            error.exit_code()
        }
    };
    ExitCode::from(code)
}

/// Columns for text where the output is no terminal.
const DEFAULT_COLUMNS: usize = 100;

/// The columns of a terminal. Wider lines than this are hard to read.
fn terminal_width(terminal: &console::Term) -> usize {
    const WIDEST: usize = 160;
    terminal.size_checked().map_or(DEFAULT_COLUMNS, |(_, columns)| usize::from(columns).clamp(20, WIDEST))
}

impl When {
    fn choice(self) -> anstream::ColorChoice {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
    }
}
