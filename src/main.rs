//! `bklog`, the command: see the library for everything else.

use std::io::{self, Write};
use std::process::ExitCode;

use bklog::cli::trend::{self, TrendArgs, TrendError};
use clap::{Parser, Subcommand};

/// Findings at or above the threshold.
const EXIT_FINDINGS: u8 = 1;
/// The input cannot be read.
const EXIT_INPUT: u8 = 3;

#[derive(Parser)]
#[command(name = "bklog", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Trend(TrendArgs),
}

fn main() -> ExitCode {
    let Command::Trend(args) = Arguments::parse().command;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result =
        trend::run(&args, &mut out).and_then(|regressed| Ok(out.flush().map(|()| regressed)?));
    match result {
        Ok(true) if args.fail_on_regression => EXIT_FINDINGS.into(),
        Ok(_) => ExitCode::SUCCESS,
        Err(TrendError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Nothing is left to do when even the error cannot be written.
            let _ = writeln!(io::stderr(), "error: {error}");
            EXIT_INPUT.into()
        }
    }
}
