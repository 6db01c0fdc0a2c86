//! Counting rows by target, identity, week and duration bucket, column by column.
//!
//! Texts become small numbers first. A Parquet file holds every text of a row group once, in a dictionary, and the rows of a frame point
//! at it: a row costs a look at its pointer, not at its text, and a group is an index into a table. That is some ten times as fast as a
//! general group-by over texts.

use polars::prelude::*;

use super::HistoryError;
use super::files::Table;
use super::frames::{Columns, Values, frame};
use super::rollup::WeekRow;
use super::rows::Selection;
use super::store::SCHEMA_VERSION;

/// Stands for a row without a duration.
const NO_BUCKET: i32 = -1;

/// Stands for a row that is not counted.
const NO_GROUP: u32 = u32::MAX;

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
    pub(super) fn columns(self, selects: bool) -> Vec<&'static str> {
        let mut columns = match self {
            Self::Rows(Table::Builds) => vec!["target", "week", "duration_bucket", "seconds", "executed", "cached"],
            Self::Rows(_) => vec!["target", "identity", "week", "duration_bucket", "seconds", "status", "cache_hit"],
            Self::Sums => vec!["target", "identity", "week", "duration_bucket", "seconds", "executed", "cached", "count"],
        };
        if selects {
            columns.extend(["at", "branch"]);
        }
        columns
    }
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
    /// Adds the rows of a frame that the selection wants.
    pub(super) fn add(&mut self, frame: &DataFrame, counted: Counted, selection: &Selection) {
        let columns = Columns::new(frame);
        let rows = columns.height();
        let groups = self.groups_of(&columns, selection);
        let buckets = integers(&columns.get("duration_bucket"), rows, i64::from(NO_BUCKET));
        let seconds = doubles(&columns.get("seconds"), rows);
        let counts = if counted == Counted::Sums { integers(&columns.get("count"), rows, 0) } else { vec![1; rows] };
        let (executed, cached) = match counted {
            Counted::Rows(Table::Builds) | Counted::Sums => {
                (integers(&columns.get("executed"), rows, 0), integers(&columns.get("cached"), rows, 0))
            }
            Counted::Rows(_) => {
                (by_text(&columns.get("status"), rows, |text| i64::from(text == Some("done"))), truths(&columns.get("cache_hit"), rows))
            }
        };
        let natural = |number: i64| u64::try_from(number).unwrap_or_default();
        let numbers = counts.iter().zip(&executed).zip(&cached).zip(&seconds);
        for ((group, bucket), (((count, executed), cached), seconds)) in groups.iter().zip(&buckets).zip(numbers) {
            // Rows that are not wanted have a number that no group has.
            let Some(group) = self.groups.get_mut(*group as usize) else { continue };
            let bucket = i32::try_from(*bucket).unwrap_or(LAST_BUCKET);
            let cell = Cell { count: natural(*count), executed: natural(*executed), cached: natural(*cached), seconds: *seconds };
            group.cell(bucket).add(cell);
        }
    }

    /// The group of each row; [`NO_GROUP`] for rows that are not wanted.
    fn groups_of(&mut self, columns: &Columns<'_>, selection: &Selection) -> Vec<u32> {
        let rows = columns.height();
        let targets = by_text(&columns.get("target"), rows, |text| self.targets.number(text));
        let identities = by_text(&columns.get("identity"), rows, |text| self.identities.number(Some(text.unwrap_or_default())));
        let weeks = by_text(&columns.get("week"), rows, |text| self.weeks.number(Some(text.unwrap_or_default())));
        let wanted = wanted(columns, selection);
        let mut groups = Vec::with_capacity(rows);
        // The rows of a run are of one week, and those of a target stand together: most rows need one look into one table.
        let mut open: Option<((u32, u32), Vec<u32>)> = None;
        for row in 0..rows {
            if wanted.as_ref().is_some_and(|wanted| !wanted[row]) {
                groups.push(NO_GROUP);
                continue;
            }
            let key = (targets[row], weeks[row]);
            let places = match &mut open {
                Some((of, places)) if *of == key => places,
                _ => {
                    if let Some((of, places)) = open.take() {
                        self.places.insert(of, places);
                    }
                    &mut open.insert((key, self.places.remove(&key).unwrap_or_default())).1
                }
            };
            let identity = identities[row] as usize;
            if identity >= places.len() {
                places.resize(identity + 1, NO_GROUP);
            }
            if places[identity] == NO_GROUP {
                places[identity] = u32::try_from(self.groups.len()).unwrap_or(NO_GROUP);
                let (timeless, cells) = (Cell::default(), Vec::new());
                self.groups.push(Group { target: key.0, identity: identities[row], week: key.1, timeless, first: 0, cells });
            }
            groups.push(places[identity]);
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

/// Which rows a selection wants; `None` for all.
fn wanted(columns: &Columns<'_>, selection: &Selection) -> Option<Vec<bool>> {
    let Selection { since, until, branch, .. } = selection;
    if since.is_none() && until.is_none() && branch.is_none() {
        return None;
    }
    let rows = columns.height();
    let mut wanted = match branch {
        Some(branch) => by_text(&columns.get("branch"), rows, |text| text == Some(branch)),
        None => vec![true; rows],
    };
    if since.is_some() || until.is_some() {
        let since = since.map_or(i64::MIN + 1, jiff::Timestamp::as_microsecond);
        let until = until.map_or(i64::MAX, jiff::Timestamp::as_microsecond);
        // A row without a time is never in a span of time.
        let times = integers(&columns.get("at"), rows, i64::MIN);
        for (wanted, at) in wanted.iter_mut().zip(times) {
            *wanted &= (since..until).contains(&at);
        }
    }
    Some(wanted)
}

/// A value for each row that depends on its text alone, asked once for each text of a dictionary.
fn by_text<T: Copy>(values: &Values<'_>, rows: usize, mut value: impl FnMut(Option<&str>) -> T) -> Vec<T> {
    let Values::Text(column) = values else { return vec![value(None); rows] };
    let mut out = Vec::with_capacity(rows);
    for (chunk, validity) in column.downcast_iter().zip(column.iter_validities()) {
        // Pointers that are equal point at equal texts, within a chunk.
        let mut known: PlHashMap<u128, T> = PlHashMap::new();
        let mut last: Option<(u128, T)> = None;
        let mut none: Option<T> = None;
        let validity = validity.filter(|validity| validity.unset_bits() > 0);
        for (row, view) in chunk.views().iter().enumerate() {
            if validity.is_some_and(|validity| !validity.get_bit(row)) {
                out.push(*none.get_or_insert_with(|| value(None)));
                continue;
            }
            let pointer = view.as_u128();
            let found = match last {
                Some((same, found)) if same == pointer => found,
                _ => *known.entry(pointer).or_insert_with(|| value(Some(chunk.value(row)))),
            };
            last = Some((pointer, found));
            out.push(found);
        }
    }
    out
}

fn integers(values: &Values<'_>, rows: usize, missing: i64) -> Vec<i64> {
    match values {
        Values::Small(column) => column.iter().map(|number| number.map_or(missing, i64::from)).collect(),
        Values::Large(column) | Values::Time(column) => column.iter().map(|number| number.unwrap_or(missing)).collect(),
        _ => vec![missing; rows],
    }
}

fn doubles(values: &Values<'_>, rows: usize) -> Vec<f64> {
    match values {
        Values::Double(column) => column.iter().map(Option::unwrap_or_default).collect(),
        _ => vec![0.0; rows],
    }
}

fn truths(values: &Values<'_>, rows: usize) -> Vec<i64> {
    match values {
        Values::Truth(column) => column.iter().map(|truth| i64::from(truth == Some(true))).collect(),
        _ => vec![0; rows],
    }
}
