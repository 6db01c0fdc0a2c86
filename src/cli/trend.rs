//! `bklog trend`.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap::{Args, ValueEnum};

use super::{error::CliError, exit_code};
use crate::{
    report::{text, trend_json},
    trend::{
        change_point::{Direction, Settings, State, detect},
        series::Series,
    },
};

/// Find since when builds take another time, in a series of build times
#[derive(Debug, Args)]
pub(super) struct TrendArgs {
    /// Build times kept elsewhere: a CSV file with the columns time,commit,seconds; `-` is standard input
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,

    /// How to write the answer
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: TrendFormat,

    /// Exit with 1 when builds have become slower and still are
    #[arg(long)]
    fail_on_regression: bool,

    /// Smallest factor between two levels that counts as a change, 1 or more
    #[arg(long, value_name = "FACTOR", default_value_t = Settings::default().min_ratio, value_parser = factor)]
    min_ratio: f64,
}

/// The formats of `trend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TrendFormat {
    /// A chart of one line and sentences
    Text,
    /// For programs (schema bklog.trend/1)
    Json,
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (1.0..1000.0).contains(&factor) => Ok(factor),
        _ => Err("a number from 1 on is needed, such as 1.2".to_owned()),
    }
}

/// Runs the command.
pub(super) fn run(args: &TrendArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let name = args.csv.to_string_lossy().into_owned();
    let unreadable = |cause: &dyn std::fmt::Display| CliError::Series { name: name.clone(), cause: cause.to_string() };
    let series = if name == "-" {
        Series::from_csv(io::stdin().lock())
    } else {
        Series::from_csv(File::open(&args.csv).map_err(|cause| unreadable(&cause))?)
    };
    let series = series.map_err(|cause| unreadable(&cause))?;
    let changes = detect(&series, &Settings { min_ratio: args.min_ratio, ..Settings::default() });
    match args.format {
        TrendFormat::Text => {
            let mut out = BufWriter::new(anstream::AutoStream::new(io::stdout().lock(), color));
            text::trend::write(&name, &series, &changes, &mut out)?;
            out.flush()?;
        }
        TrendFormat::Json => {
            let project = args.csv.file_stem().map_or_else(|| name.clone(), |stem| stem.to_string_lossy().into_owned());
            let mut out = BufWriter::new(io::stdout().lock());
            trend_json::write(&project, &series, &changes, &mut out)?;
            out.flush()?;
        }
    }
    let regressed = changes.last().is_some_and(|change| change.direction == Direction::Slower && change.state == State::Confirmed);
    Ok(if regressed && args.fail_on_regression { exit_code::FINDINGS } else { exit_code::SUCCESS })
}
