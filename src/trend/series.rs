//! A series of values over time: what a search for change points starts from.

use std::io::Read;

use jiff::Timestamp;
use thiserror::Error;

use crate::times;

/// Rows that an error names one by one; it counts the others.
const NAMED_ROWS: usize = 10;

/// One observation: a build and what was measured of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// When the build started.
    pub at: Timestamp,
    /// The recorded run, where there is one.
    pub run: Option<String>,
    /// The commit that was built, where it is known.
    pub commit: Option<String>,
    /// The measured value, finite and not negative; seconds for durations.
    pub value: f64,
}

/// Observations in the order of their times, every value finite and not negative.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    points: Vec<Point>,
}

/// A series that cannot be built.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum SeriesError {
    /// A value has no place on a scale of sizes.
    #[error("point {index}: {value} is not a value of a series: it must be finite and not negative")]
    Value {
        /// Position of the point in the input, from 0.
        index: usize,
        /// The value.
        value: f64,
    },
}

/// A CSV file that cannot be read as a series.
#[derive(Debug, Error)]
pub enum CsvError {
    /// The file is no CSV, or reading it failed.
    #[error("cannot read the rows: {0}")]
    Unreadable(#[from] csv::Error),
    /// A column is not there.
    #[error("no column `{missing}` in the first line (found: {found}); the columns `time`, `commit` and `seconds` are needed")]
    Column {
        /// The name looked for.
        missing: &'static str,
        /// The names found, joined by commas.
        found: String,
    },
    /// Rows that are not observations.
    #[error("{} of the rows cannot be used:{}", .total, list(.rows, *.total))]
    Rows {
        /// The first bad rows.
        rows: Vec<BadRow>,
        /// How many there are in all.
        total: usize,
    },
    /// There is a first line and nothing else.
    #[error("no rows: the file holds no builds")]
    Empty,
}

/// A row that is not an observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// Line of the file on which the row starts, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: String,
}

fn list(rows: &[BadRow], total: usize) -> String {
    let mut text: String = rows.iter().map(|row| format!("\n  line {}: {}", row.line, row.problem)).collect();
    if total > rows.len() {
        text.push_str(&format!("\n  and {} more", total - rows.len()));
    }
    text
}

impl Series {
    /// Sorts points by time; points of the same time keep their order.
    ///
    /// # Errors
    /// Names the first value that is negative, infinite or not a number.
    pub fn new(mut points: Vec<Point>) -> Result<Self, SeriesError> {
        let bad = |point: &Point| !(point.value.is_finite() && point.value >= 0.0);
        if let Some(index) = points.iter().position(bad) {
            return Err(SeriesError::Value { index, value: points[index].value });
        }
        points.sort_by_key(|point| point.at);
        Ok(Self { points })
    }

    /// Reads CSV with a header line that names the columns `time`, `commit` and `seconds`, in any order and case, others ignored.
    ///
    /// `time` is RFC 3339, the same without a zone or a date alone (both taken for UTC), or seconds since 1970. `commit` may be
    /// empty. `seconds` is a number that is finite and not negative.
    ///
    /// # Errors
    /// See [`CsvError`]; bad rows are named with their lines, and one bad row refuses the file: a series with holes that nobody
    /// knows of answers wrongly.
    pub fn from_csv(input: impl Read) -> Result<Self, CsvError> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(input);
        let headers: Vec<String> = reader
            .byte_headers()?
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_ascii_lowercase())
            .collect();
        let column = |missing: &'static str| {
            let at = headers.iter().position(|name| name == missing);
            at.ok_or_else(|| CsvError::Column { missing, found: headers.join(", ") })
        };
        let (time, commit, seconds) = (column("time")?, column("commit")?, column("seconds")?);
        let (mut points, mut rows, mut total) = (Vec::new(), Vec::new(), 0);
        for row in reader.byte_records() {
            let point = match row {
                Ok(row) => {
                    let line = row.position().map_or(0, csv::Position::line);
                    let field = |at: usize| String::from_utf8_lossy(&row[at]).into_owned();
                    point(&field(time), field(commit), &field(seconds)).map_err(|problem| BadRow { line, problem })
                }
                Err(error) => match error.kind() {
                    csv::ErrorKind::UnequalLengths { pos, expected_len, len } => Err(BadRow {
                        line: pos.as_ref().map_or(0, csv::Position::line),
                        problem: format!("{len} fields, not {expected_len}"),
                    }),
                    _ => return Err(error.into()),
                },
            };
            match point {
                Ok(point) => points.push(point),
                Err(row) => {
                    total += 1;
                    if rows.len() < NAMED_ROWS {
                        rows.push(row);
                    }
                }
            }
        }
        if total > 0 {
            return Err(CsvError::Rows { rows, total });
        }
        if points.is_empty() {
            return Err(CsvError::Empty);
        }
        points.sort_by_key(|point| point.at);
        Ok(Self { points })
    }

    /// The points, in the order of their times.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The values alone.
    pub fn values(&self) -> Vec<f64> {
        self.points.iter().map(|point| point.value).collect()
    }

    /// The first `length` points, or all if there are fewer: the series as it was known then.
    pub fn prefix(&self, length: usize) -> Self {
        Self { points: self.points.iter().take(length).cloned().collect() }
    }
}

fn point(time: &str, commit: String, seconds: &str) -> Result<Point, String> {
    let at = times::instant(time)
        .or_else(|| times::since_1970(time))
        .ok_or_else(|| format!("`{time}` is not a time (write 2026-01-05T08:30:00Z)"))?;
    let value: f64 = seconds.parse().map_err(|_| format!("`{seconds}` is not a number of seconds"))?;
    if !value.is_finite() || value < 0.0 {
        return Err(format!("`{seconds}` seconds: a duration is finite and not negative"));
    }
    Ok(Point { at, run: None, commit: Some(commit).filter(|commit| !commit.is_empty()), value })
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
