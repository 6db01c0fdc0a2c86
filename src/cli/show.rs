//! `bklog show`.

use std::io::{self, BufWriter, Write};

use clap::{Args, ValueEnum};

#[cfg(feature = "charts")]
use super::output_file::OutputFile;
use super::{
    error::CliError,
    exit_code,
    overall::Overall,
    reading::{self, StepOutput, display_name},
};
use crate::{
    log::source::SourceError,
    redact::{self, Redacted, Redactor},
    report::{
        BuildWriter,
        json::ShowJson,
        markdown::ShowMarkdown,
        text::{Layout, Order, ShowText},
    },
};

/// Show the steps of the builds in a log: what ran, what was cached, how long it took
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Logs to read; `-` is standard input. Plain and rawjson progress, the legacy builder, behind any CI prefix, gzip and zstd
    #[arg(value_name = "LOG", default_value = "-")]
    logs: Vec<String>,

    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: ShowFormat,

    /// Write a page with the timeline of each build instead; `-` is standard output
    #[cfg(feature = "charts")]
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    html: Option<std::path::PathBuf>,

    /// In which order the steps stand (text)
    #[arg(long, value_name = "ORDER", default_value = "log")]
    sort: SortOrder,

    /// Show also BuildKit's own steps that took no time (text)
    #[arg(long)]
    all: bool,

    /// Columns to fit the text into [default: those of the terminal, else 100]
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(20..))]
    width: Option<u16>,
}

/// The formats of `show`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShowFormat {
    /// A table and totals for people
    Text,
    /// Everything, for programs (schema bklog.show/1)
    Json,
    /// Tables for job summaries and chats
    Markdown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SortOrder {
    /// As the log names them
    Log,
    /// The slowest first
    Slowest,
}

/// Shows logs. One that cannot be read does not keep the others from being shown.
pub(super) fn run(args: &ShowArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let stdout = io::stdout();
    #[cfg(feature = "charts")]
    if let Some(path) = &args.html {
        let first = args.logs.first().map_or("", |name| display_name(name));
        let page = Box::new(crate::report::html::timeline::ShowHtml::new(first));
        if path.as_os_str() == "-" {
            return Ok(show(args, color, &mut BufWriter::new(stdout), page)?.code);
        }
        let mut file = OutputFile::create(path)?;
        let shown = show(args, color, &mut file, page)?;
        if shown.something {
            file.finish()?;
        }
        return Ok(shown.code);
    }
    let mut out: Box<dyn Write + Send> = if args.format == ShowFormat::Text {
        Box::new(BufWriter::new(anstream::AutoStream::new(stdout, color)))
    } else {
        Box::new(BufWriter::with_capacity(64 * 1024, stdout))
    };
    let writer: Box<dyn BuildWriter + Send> = match args.format {
        ShowFormat::Text => Box::new(ShowText::new(layout(args))),
        ShowFormat::Json => Box::new(ShowJson::default()),
        ShowFormat::Markdown => Box::new(ShowMarkdown),
    };
    Ok(show(args, color, &mut out, writer)?.code)
}

/// What came of showing logs.
struct Shown {
    code: u8,
    /// False where no log could be read.
    #[cfg_attr(not(feature = "charts"), expect(dead_code, reason = "only a page is left away"))]
    something: bool,
}

fn show(
    args: &ShowArgs,
    color: anstream::ColorChoice,
    out: &mut (dyn Write + Send),
    mut writer: Box<dyn BuildWriter + Send>,
) -> Result<Shown, CliError> {
    let mut overall = Overall::default();
    let redactor = Redactor::default();
    let mut worst = exit_code::SUCCESS;
    let mut errors = Vec::new();
    for name in &args.logs {
        if args.logs.len() > 1 {
            writer.log(display_name(name), out)?;
        }
        let read = reading::read(name, StepOutput::Counted, |build| {
            overall.add(&build);
            writer.build(&Redacted::build(build, &redactor), out).map_err(CliError::from)
        });
        match read {
            Ok(end) if end.builds == 0 && !end.early_errors.is_empty() => {
                worst = worst.max(exit_code::BUILD_FAILED);
                errors.push(CliError::FailedEarly(redact::text(&end.early_errors[0]).into_owned()));
            }
            Ok(end) if end.builds == 0 => errors.push(CliError::NoBuild { name: display_name(name).to_owned(), lines: end.lines }),
            Ok(_) => {}
            Err(error @ (CliError::ReaderGone | CliError::Output(_) | CliError::TerminalInput)) => {
                return Err(error);
            }
            Err(error) => errors.push(error),
        }
    }
    let read_something = overall.builds() > 0 || worst > exit_code::SUCCESS;
    if read_something || errors.iter().any(|error| matches!(error, CliError::Source(SourceError::Read { .. }))) {
        writer.finish(out)?;
    }
    out.flush()?;
    let unreadable = errors.iter().map(CliError::exit_code).filter(|code| *code == exit_code::NOT_A_LOG).max();
    for error in &errors {
        error.print(color);
    }
    Ok(Shown { code: unreadable.unwrap_or_else(|| worst.max(overall.exit_code())), something: read_something })
}

fn layout(args: &ShowArgs) -> Layout {
    let order = match args.sort {
        SortOrder::Log => Order::Log,
        SortOrder::Slowest => Order::Slowest,
    };
    let width = args.width.map_or_else(|| super::terminal_width(&console::Term::stdout()), usize::from);
    Layout { width, order, all: args.all }
}
