//! `bklog explain`.

use std::io::{self, BufWriter, Write};

use clap::Args;

use super::{error::CliError, exit_code};
use crate::{
    nearest::nearest,
    report::text::style::{BOLD, DIM, painted},
    rules,
};

/// Explain a rule: what it finds, why it matters, what to do; without a name, list all rules
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The rule, as findings name it
    #[arg(value_name = "RULE")]
    rule: Option<String>,

    /// All rules as one Markdown page
    #[arg(long, conflicts_with = "rule")]
    all: bool,
}

/// Explains a rule.
pub(super) fn run(args: &ExplainArgs, color: anstream::ColorChoice) -> Result<u8, CliError> {
    let mut out = BufWriter::new(anstream::AutoStream::new(io::stdout().lock(), color));
    if args.all {
        out.write_all(rules::page().as_bytes())?;
    } else if let Some(name) = &args.rule {
        let wanted = name.to_ascii_lowercase();
        let Some(meta) = rules::named(&wanted) else {
            let near = nearest(&wanted, rules::all().iter().map(|meta| meta.name));
            return Err(CliError::UnknownRule { name: name.clone(), near });
        };
        let mut example = false;
        for line in meta.markdown(1).lines() {
            if line.starts_with("```") {
                example = !example;
            } else if example {
                writeln!(out, "    {line}")?;
            } else if line.starts_with('#') {
                writeln!(out, "{}", painted(BOLD, line.trim_start_matches('#').trim_start()))?;
            } else {
                writeln!(out, "{line}")?;
            }
        }
    } else {
        let width = rules::all().iter().map(|meta| meta.name.len()).max().unwrap_or(0);
        for meta in rules::all() {
            let name = painted(BOLD, format!("{:width$}", meta.name));
            writeln!(out, "{name}  {}  {}", painted(DIM, format!("{:7}", meta.severity.name())), meta.summary)?;
        }
        writeln!(out, "\n{}", painted(DIM, "bklog explain RULE shows one of them"))?;
    }
    out.flush()?;
    Ok(exit_code::SUCCESS)
}
