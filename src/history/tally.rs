//! Counting rows by target, identity, week and duration bucket, column by column.
//!
//! Texts become small numbers first. A Parquet file holds every text of a row group once, in a dictionary, and the rows of a frame point
//! at it: a row costs a look at its pointer, not at its text, and a group is an index into a table. That is some ten times as fast as a
//! general group-by over texts.

use std::collections::HashSet;
use std::convert::Infallible;
use std::path::Path;

use polars::prelude::*;

use super::HistoryError;
use super::files::{Parquet, Table};
use super::frames::{Columns, Values, frame};
use super::rollup::WeekRow;
use super::rows::Selection;
use super::store::SCHEMA_VERSION;

/// Stands for a row without a duration.
const NO_BUCKET: i32 = -1;

/// Stands for a row that is not counted.
const NO_GROUP: u32 = u32::MAX;

/// Up to so many rows are read with all their columns at once.
const READ_TOGETHER: usize = 8192;

/// Higher buckets than any duration has count as this one: a broken row must not take all memory.
const LAST_BUCKET: i32 = 1023;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// Rows of a table.
    Rows(Table),
    /// Stored sums of steps.
    Sums,
}

impl Counted {
    /// The columns that are read.
    fn columns(self, selects: bool, knows_runs: bool) -> Vec<&'static str> {
        let mut columns = match self {
            Self::Rows(Table::Builds) => vec!["target", "week", "duration_bucket", "seconds", "executed", "cached"],
            Self::Rows(_) => vec!["target", "identity", "week", "duration_bucket", "seconds", "status", "cache_hit"],
            Self::Sums => vec!["target", "identity", "week", "duration_bucket", "seconds", "executed", "cached", "count"],
        };
        columns.push("schema_version");
        if selects {
            columns.extend(["at", "branch"]);
        }
        if knows_runs {
            columns.push("run");
        }
        columns
    }
}

/// What a row belongs to, as numbers, a row after the other.
struct Keys {
    targets: Vec<u32>,
    identities: Vec<u32>,
    weeks: Vec<u32>,
    /// Not 0 for rows that are not wanted; empty where all are.
    unwanted: Vec<u32>,
}

/// Numbers for texts, in the order of their first appearance.
#[derive(Debug, Default)]
struct Names {
    numbers: PlHashMap<Option<String>, u32>,
    texts: Vec<Option<String>>,
}

impl Names {
    fn number(&mut self, text: Option<&str>) -> u32 {
        let text = text.map(str::to_owned);
        let next = u32::try_from(self.texts.len()).unwrap_or(NO_GROUP - 1);
        let texts = &mut self.texts;
        *self.numbers.entry(text).or_insert_with_key(|text| {
            texts.push(text.clone());
            next
        })
    }

    fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(number as usize)?.as_deref()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Cell {
    count: u64,
    executed: u64,
    cached: u64,
    seconds: f64,
}

impl Cell {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.executed += other.executed;
        self.cached += other.cached;
        self.seconds += other.seconds;
    }
}

/// One target, identity and week.
#[derive(Debug)]
struct Group {
    target: u32,
    identity: u32,
    week: u32,
    /// Of rows without a duration.
    timeless: Cell,
    /// The bucket of the first cell.
    first: i32,
    /// A cell a bucket.
    cells: Vec<Cell>,
}

impl Group {
    fn cell(&mut self, bucket: i32) -> &mut Cell {
        if bucket < 0 {
            return &mut self.timeless;
        }
        let bucket = bucket.min(LAST_BUCKET);
        if self.cells.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let missing = self.first.abs_diff(bucket) as usize;
            self.cells.splice(0..0, std::iter::repeat_n(Cell::default(), missing));
            self.first = bucket;
        }
        let place = bucket.abs_diff(self.first) as usize;
        if place >= self.cells.len() {
            self.cells.resize(place + 1, Cell::default());
        }
        &mut self.cells[place]
    }

    /// The cells that something was counted in, with their buckets.
    fn counted(&self) -> impl Iterator<Item = (Option<i32>, &Cell)> {
        let timeless = std::iter::once((None, &self.timeless));
        let timed = (self.first..).map(Some).zip(&self.cells);
        timeless.chain(timed).filter(|(_, cell)| cell.count > 0)
    }
}

/// What was counted so far, of one project.
#[derive(Debug, Default)]
pub(super) struct Tally {
    targets: Names,
    identities: Names,
    weeks: Names,
    /// Groups by identity, for each target and week.
    places: PlHashMap<(u32, u32), Vec<u32>>,
    groups: Vec<Group>,
}

impl Tally {
    /// Adds the rows of a file that the selection wants, but those of the runs `seen`; false where the file is gone. What it cannot read
    /// of a file it does not count any more of.
    ///
    /// # Errors
    /// The file is damaged, or of a newer program.
    pub(super) fn add_file(
        &mut self,
        path: &Path,
        counted: Counted,
        selection: &Selection,
        seen: &HashSet<String>,
    ) -> Result<bool, HistoryError> {
        let Some(file) = Parquet::open(path)? else { return Ok(false) };
        let names = counted.columns(!is_all(selection), !seen.is_empty());
        for (group, rows) in file.groups().into_iter().enumerate() {
            if rows <= READ_TOGETHER {
                let frame = file.frame(Some(group), Some(&names))?;
                file.check_version(&frame)?;
                self.add_frame(&frame, counted, selection, seen);
            } else {
                file.check_version(&file.frame(Some(group), Some(&["schema_version"]))?)?;
                // One column after the other: the memory of one serves the next, and stays near the processor.
                self.add(rows, counted, selection, seen, |name| file.frame(Some(group), Some(&[name])))?;
            }
        }
        Ok(true)
    }

    /// Adds the rows of a frame that the selection wants, but those of the runs `seen`.
    pub(super) fn add_frame(&mut self, frame: &DataFrame, counted: Counted, selection: &Selection, seen: &HashSet<String>) {
        let column = |name: &str| -> Result<DataFrame, Infallible> {
            Ok(frame.column(name).ok().and_then(|column| super::frames::frame(vec![column.clone()]).ok()).unwrap_or_default())
        };
        let Ok(()) = self.add(frame.height(), counted, selection, seen, column);
    }

    /// Adds so many rows, whose columns are given by name in frames of their own.
    fn add<E>(
        &mut self,
        rows: usize,
        counted: Counted,
        selection: &Selection,
        seen: &HashSet<String>,
        column: impl Fn(&str) -> Result<DataFrame, E>,
    ) -> Result<(), E> {
        let texts = |name: &str, value: &mut dyn FnMut(Option<&str>) -> u32| -> Result<Vec<u32>, E> {
            let frame = column(name)?;
            Ok(by_text(&Columns::new(&frame).get(name), rows, value))
        };
        let numbers = |name: &str, missing: i64| -> Result<Vec<i64>, E> {
            let frame = column(name)?;
            Ok(integers(&Columns::new(&frame).get(name), rows, missing))
        };
        let mut keys = Keys {
            targets: texts("target", &mut |text| self.targets.number(text))?,
            identities: texts("identity", &mut |text| self.identities.number(Some(text.unwrap_or_default())))?,
            weeks: texts("week", &mut |text| self.weeks.number(Some(text.unwrap_or_default())))?,
            unwanted: vec![0; if is_all(selection) && seen.is_empty() { 0 } else { rows }],
        };
        if let Some(branch) = &selection.branch {
            keys.unwanted = texts("branch", &mut |text| u32::from(text != Some(branch)))?;
        }
        if selection.since.is_some() || selection.until.is_some() {
            let since = selection.since.map_or(i64::MIN + 1, jiff::Timestamp::as_microsecond);
            let until = selection.until.map_or(i64::MAX, jiff::Timestamp::as_microsecond);
            // A row without a time is never in a span of time.
            for (unwanted, at) in keys.unwanted.iter_mut().zip(numbers("at", i64::MIN)?) {
                *unwanted |= u32::from(!(since..until).contains(&at));
            }
        }
        if !seen.is_empty() {
            let of_seen = texts("run", &mut |text| u32::from(text.is_some_and(|run| seen.contains(run))))?;
            keys.unwanted.iter_mut().zip(of_seen).for_each(|(unwanted, seen)| *unwanted |= seen);
        }
        let groups = self.groups_of(&keys);
        drop(keys);
        let executed_and_cached = match counted {
            Counted::Rows(Table::Builds) | Counted::Sums => (numbers("executed", 0)?, numbers("cached", 0)?),
            Counted::Rows(_) => {
                let ran = texts("status", &mut |text| u32::from(text == Some("done")))?;
                let frame = column("cache_hit")?;
                (ran.into_iter().map(i64::from).collect(), truths(&Columns::new(&frame).get("cache_hit"), rows))
            }
        };
        let buckets = numbers("duration_bucket", i64::from(NO_BUCKET))?;
        let counts = if counted == Counted::Sums { numbers("count", 0)? } else { Vec::new() };
        let seconds = column("seconds")?;
        let seconds = doubles(&Columns::new(&seconds).get("seconds"), rows);
        let natural = |number: i64| u64::try_from(number).unwrap_or_default();
        let (executed, cached) = executed_and_cached;
        let counts = counts.into_iter().chain(std::iter::repeat(1));
        let figures = buckets.iter().zip(counts).zip(&executed).zip(&cached).zip(&seconds);
        for (group, ((((bucket, count), executed), cached), seconds)) in groups.iter().zip(figures) {
            // Rows that are not wanted have a number that no group has.
            let Some(group) = self.groups.get_mut(*group as usize) else { continue };
            let bucket = i32::try_from(*bucket).unwrap_or(LAST_BUCKET);
            let cell = Cell { count: natural(count), executed: natural(*executed), cached: natural(*cached), seconds: *seconds };
            group.cell(bucket).add(cell);
        }
        Ok(())
    }

    /// The group of each row; [`NO_GROUP`] for rows that are not wanted.
    fn groups_of(&mut self, keys: &Keys) -> Vec<u32> {
        let mut groups = Vec::with_capacity(keys.targets.len());
        // The rows of a run are of one week, and those of a target stand together: most rows need one look into one table.
        let mut open: Option<((u32, u32), Vec<u32>)> = None;
        for (row, ((target, week), identity)) in keys.targets.iter().zip(&keys.weeks).zip(&keys.identities).enumerate() {
            if keys.unwanted.get(row).is_some_and(|unwanted| *unwanted != 0) {
                groups.push(NO_GROUP);
                continue;
            }
            let key = (*target, *week);
            let places = match &mut open {
                Some((of, places)) if *of == key => places,
                _ => {
                    if let Some((of, places)) = open.take() {
                        self.places.insert(of, places);
                    }
                    &mut open.insert((key, self.places.remove(&key).unwrap_or_default())).1
                }
            };
            let place = *identity as usize;
            if place >= places.len() {
                places.resize(place + 1, NO_GROUP);
            }
            if places[place] == NO_GROUP {
                places[place] = u32::try_from(self.groups.len()).unwrap_or(NO_GROUP);
                let (timeless, cells) = (Cell::default(), Vec::new());
                self.groups.push(Group { target: key.0, identity: *identity, week: key.1, timeless, first: 0, cells });
            }
            groups.push(places[place]);
        }
        if let Some((of, places)) = open {
            self.places.insert(of, places);
        }
        groups
    }

    /// The weeks that were counted.
    pub(super) fn weeks(&self, project: &str) -> Vec<WeekRow> {
        let week = |group: &Group| {
            let mut row = WeekRow {
                project: project.to_owned(),
                target: self.targets.text(group.target).map(str::to_owned),
                identity: self.identities.text(group.identity).unwrap_or_default().to_owned(),
                week: self.weeks.text(group.week).unwrap_or_default().to_owned(),
                ..WeekRow::default()
            };
            for (bucket, cell) in group.counted() {
                row.count += cell.count;
                row.executed += cell.executed;
                row.cached += cell.cached;
                row.seconds += cell.seconds;
                row.histogram.extend(bucket.map(|bucket| (bucket, cell.count)));
            }
            row
        };
        self.groups.iter().map(week).collect()
    }

    /// What was counted, as rows of stored sums.
    pub(super) fn sums(&self) -> Result<DataFrame, HistoryError> {
        let cells = || self.groups.iter().flat_map(|group| group.counted().map(move |(bucket, cell)| (group, bucket, cell)));
        let number =
            |get: &dyn Fn(&Cell) -> u64| -> Vec<i64> { cells().map(|(_, _, cell)| i64::try_from(get(cell)).unwrap_or(i64::MAX)).collect() };
        let buckets: Vec<Option<i32>> = cells().map(|(_, bucket, _)| bucket).collect();
        frame(vec![
            Column::new("target".into(), cells().map(|(group, ..)| self.targets.text(group.target)).collect::<Vec<_>>()),
            Column::new("identity".into(), cells().map(|(group, ..)| self.identities.text(group.identity)).collect::<Vec<_>>()),
            Column::new("week".into(), cells().map(|(group, ..)| self.weeks.text(group.week)).collect::<Vec<_>>()),
            Column::new("schema_version".into(), vec![SCHEMA_VERSION; buckets.len()]),
            Column::new("duration_bucket".into(), buckets),
            Column::new("executed".into(), number(&|cell| cell.executed)),
            Column::new("cached".into(), number(&|cell| cell.cached)),
            Column::new("count".into(), number(&|cell| cell.count)),
            Column::new("seconds".into(), cells().map(|(_, _, cell)| cell.seconds).collect::<Vec<_>>()),
        ])
    }
}

/// True where a selection wants every row.
fn is_all(selection: &Selection) -> bool {
    selection.since.is_none() && selection.until.is_none() && selection.branch.is_none()
}

/// Values that are remembered beside the table of all; most columns have fewer texts.
const NEAR: usize = 256;

/// A value for each row that depends on its text alone, asked once for each text of a dictionary.
fn by_text<T: Copy>(values: &Values<'_>, rows: usize, value: &mut dyn FnMut(Option<&str>) -> T) -> Vec<T> {
    let Values::Text(column) = values else { return vec![value(None); rows] };
    let mut out = Vec::with_capacity(rows);
    for (chunk, validity) in column.downcast_iter().zip(column.iter_validities()) {
        // Pointers that are equal point at equal texts, within a chunk.
        let mut known: PlHashMap<u128, T> = PlHashMap::new();
        let mut near: Vec<Option<(u128, T)>> = vec![None; NEAR];
        let mut none: Option<T> = None;
        let validity = validity.filter(|validity| validity.unset_bits() > 0);
        for (row, view) in chunk.views().iter().enumerate() {
            if validity.is_some_and(|validity| !validity.get_bit(row)) {
                out.push(*none.get_or_insert_with(|| value(None)));
                continue;
            }
            let pointer = view.as_u128();
            match &mut near[slot(pointer)] {
                Some((same, found)) if *same == pointer => out.push(*found),
                other => {
                    let found = *known.entry(pointer).or_insert_with(|| value(Some(chunk.value(row))));
                    *other = Some((pointer, found));
                    out.push(found);
                }
            }
        }
    }
    out
}

/// A place among [`NEAR`] for a pointer: multiplying by an odd number spreads neighbours, and the upper bits hold the spread.
fn slot(pointer: u128) -> usize {
    let [low, high] = [pointer as u64, (pointer >> 64) as u64];
    ((low ^ high.rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as usize
}

fn integers(values: &Values<'_>, rows: usize, missing: i64) -> Vec<i64> {
    match values {
        Values::Small(column) => plain(column, rows, missing, i64::from),
        Values::Large(column) | Values::Time(column) => plain(column, rows, missing, |number| number),
        _ => vec![missing; rows],
    }
}

fn doubles(values: &Values<'_>, rows: usize) -> Vec<f64> {
    match values {
        Values::Double(column) => plain(column, rows, 0.0, |number| number),
        _ => vec![0.0; rows],
    }
}

/// The values of a column of numbers.
fn plain<N: PolarsNumericType, T: Copy>(column: &ChunkedArray<N>, rows: usize, missing: T, value: impl Fn(N::Native) -> T) -> Vec<T> {
    let mut out = Vec::with_capacity(rows);
    for (chunk, validity) in column.downcast_iter().zip(column.iter_validities()) {
        let numbers = chunk.values().iter().copied();
        match validity.filter(|validity| validity.unset_bits() > 0) {
            None => out.extend(numbers.map(&value)),
            Some(validity) => out.extend(numbers.zip(validity.iter()).map(|(number, is)| if is { value(number) } else { missing })),
        }
    }
    out
}

/// 1 for true, 0 for false and for what is not known.
fn truths(values: &Values<'_>, rows: usize) -> Vec<i64> {
    let Values::Truth(column) = values else { return vec![0; rows] };
    let mut out = Vec::with_capacity(rows);
    for (chunk, validity) in column.downcast_iter().zip(column.iter_validities()) {
        match validity {
            None => out.extend(chunk.values().iter().map(i64::from)),
            Some(validity) => out.extend(chunk.values().iter().zip(validity.iter()).map(|(truth, is)| i64::from(truth && is))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers_of_every_shape() {
        // More texts than are remembered beside the table, short ones and long ones, missing ones, in two chunks.
        let texts: Vec<Option<String>> = (0..2000_usize)
            .map(|row| {
                (row % 7 != 3)
                    .then(|| if row % 2 == 0 { format!("{}", row % 700) } else { format!("a rather long text, number {}", row % 600) })
            })
            .collect();
        let mut column = StringChunked::new("text".into(), &texts[..1200]);
        column.append(&StringChunked::new("text".into(), &texts[1200..])).unwrap();
        let mut asked = 0;
        let found = by_text(&Values::Text(&column), texts.len(), &mut |text| {
            asked += 1;
            text.map_or(0, |text| text.len() * 1000 + text.bytes().map(usize::from).sum::<usize>())
        });
        let expected: Vec<usize> = texts
            .iter()
            .map(|text| text.as_ref().map_or(0, |text| text.len() * 1000 + text.bytes().map(usize::from).sum::<usize>()))
            .collect();
        assert_eq!(found, expected);
        assert!(asked < 2000, "{asked}");
        let numbers = Int32Chunked::new("n".into(), &[Some(3), None, Some(-5)]);
        assert_eq!(integers(&Values::Small(&numbers), 3, 7), [3, 7, -5]);
        let whole = Int64Chunked::new("n".into(), &[Some(3), Some(4)]);
        assert_eq!(integers(&Values::Large(&whole), 2, 7), [3, 4]);
        let seconds = Float64Chunked::new("s".into(), &[None, Some(0.5)]);
        assert_eq!(doubles(&Values::Double(&seconds), 2), [0.0, 0.5]);
        let truth = BooleanChunked::new("t".into(), &[Some(true), None, Some(false)]);
        assert_eq!(truths(&Values::Truth(&truth), 3), [1, 0, 0]);
        assert_eq!(
            (integers(&Values::Missing, 2, 7), doubles(&Values::Missing, 1), truths(&Values::Missing, 1)),
            (vec![7, 7], vec![0.0], vec![0])
        );
    }

    #[test]
    fn buckets_grow_either_way_and_have_an_end() {
        let mut group = Group { target: 0, identity: 0, week: 0, timeless: Cell::default(), first: 0, cells: Vec::new() };
        for bucket in [80, 75, 90, NO_BUCKET, 80, i32::MAX, i32::MIN] {
            group.cell(bucket).count += 1;
        }
        let counted: Vec<(Option<i32>, u64)> = group.counted().map(|(bucket, cell)| (bucket, cell.count)).collect();
        assert_eq!(counted, [(None, 2), (Some(75), 1), (Some(80), 2), (Some(90), 1), (Some(LAST_BUCKET), 1)]);
    }
}
