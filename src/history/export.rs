//! The tables as text, for programs that read no Parquet.

use std::io::{self, Write};

use polars::prelude::DataFrame;
use serde_json::{Map, Value};

use super::files::{self, Table};
use super::frames::{Columns, Values};
use super::read::wanted;
use super::rows::Selection;
use super::{History, HistoryError};

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// Why an export ended.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl History {
    /// Writes a table, month by month, with the project in front of its columns; times are RFC 3339 in UTC. Gives the number of rows.
    ///
    /// # Errors
    /// The ledger cannot be read or the output not written.
    pub fn export(&self, table: Table, selection: &Selection, format: TextFormat, out: &mut dyn Write) -> Result<u64, ExportError> {
        let mut rows = 0;
        let mut header: Vec<String> = Vec::new();
        for partition in files::partitions(self.root(), table, selection) {
            for frame in self.frames(table, &partition, None)? {
                let names: Vec<String> = frame.columns().iter().map(|column| column.name().to_string()).collect();
                if header.is_empty() {
                    header = names.clone();
                    if format == TextFormat::Csv {
                        let mut line = csv::Writer::from_writer(&mut *out);
                        line.write_record(std::iter::once("project").chain(names.iter().map(String::as_str))).map_err(io_error)?;
                        line.flush()?;
                    }
                }
                rows += match format {
                    TextFormat::Csv => write_csv(&frame, &header, &partition.project, selection, out)?,
                    TextFormat::JsonLines => write_json(&frame, &names, &partition.project, selection, out)?,
                };
            }
        }
        Ok(rows)
    }
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn write_csv(frame: &DataFrame, header: &[String], project: &str, selection: &Selection, out: &mut dyn Write) -> io::Result<u64> {
    let columns = Columns::new(frame);
    let values: Vec<Values<'_>> = header.iter().map(|name| columns.get(name)).collect();
    let rows = wanted(frame, selection);
    let mut writer = csv::Writer::from_writer(out);
    for row in &rows {
        let cells = values.iter().map(|values| match values.json(*row) {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        });
        writer.write_record(std::iter::once(project.to_owned()).chain(cells)).map_err(io_error)?;
    }
    writer.flush()?;
    Ok(rows.len() as u64)
}

fn write_json(frame: &DataFrame, names: &[String], project: &str, selection: &Selection, out: &mut dyn Write) -> io::Result<u64> {
    let columns = Columns::new(frame);
    let values: Vec<(&String, Values<'_>)> = names.iter().map(|name| (name, columns.get(name))).collect();
    let rows = wanted(frame, selection);
    for row in &rows {
        let mut object = Map::new();
        object.insert("project".to_owned(), Value::String(project.to_owned()));
        for (name, values) in &values {
            object.insert((*name).clone(), values.json(*row));
        }
        serde_json::to_writer(&mut *out, &object)?;
        out.write_all(b"\n")?;
    }
    Ok(rows.len() as u64)
}

impl Values<'_> {
    /// The value of a row as JSON.
    fn json(&self, row: usize) -> Value {
        match self {
            Self::Text(values) => values.get(row).map_or(Value::Null, Value::from),
            Self::Small(values) => values.get(row).map_or(Value::Null, Value::from),
            Self::Large(values) => values.get(row).map_or(Value::Null, Value::from),
            Self::Double(values) => values.get(row).map_or(Value::Null, Value::from),
            Self::Truth(values) => values.get(row).map_or(Value::Null, Value::from),
            Self::Time(_) => self.time(row).map_or(Value::Null, |at| Value::String(at.to_string())),
            Self::Missing => Value::Null,
        }
    }
}
