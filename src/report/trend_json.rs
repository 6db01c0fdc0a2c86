//! `trend --format json`: the schema `bklog.trend/1`. Fields may be added, never renamed or dropped.

use std::io::{self, Write};

use serde::Serialize;

use crate::trend::{
    change_point::{Change, Direction, State},
    series::Series,
};

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    series: [SeriesRecord<'a>; 1],
}

#[derive(Serialize)]
struct SeriesRecord<'a> {
    project: &'a str,
    target: Option<&'a str>,
    metric: &'static str,
    points: Vec<PointRecord<'a>>,
    changes: Vec<ChangeRecord<'a>>,
}

#[derive(Serialize)]
struct PointRecord<'a> {
    run: Option<&'a str>,
    at: String,
    commit: Option<&'a str>,
    value: f64,
}

#[derive(Serialize)]
struct ChangeRecord<'a> {
    index: usize,
    run: Option<&'a str>,
    commit: Option<&'a str>,
    commits: Vec<String>,
    before: f64,
    after: f64,
    ratio: Option<f64>,
    p_value: f64,
    direction: Direction,
    state: State,
    steps: [(); 0],
}

/// Writes the document. `project` names the series.
///
/// # Errors
/// Where the output cannot be written.
pub fn write(project: &str, series: &Series, changes: &[Change], out: &mut dyn Write) -> io::Result<()> {
    let points = series.points();
    let record = |change: &Change| {
        let point = points.get(change.index);
        ChangeRecord {
            index: change.index,
            run: point.and_then(|p| p.run.as_deref()),
            commit: point.and_then(|p| p.commit.as_deref()),
            commits: change.suspects(series).into_iter().collect(),
            before: change.before,
            after: change.after,
            ratio: change.ratio,
            p_value: change.p_value,
            direction: change.direction,
            state: change.state,
            steps: [],
        }
    };
    let document = Document {
        schema: "bklog.trend/1",
        series: [SeriesRecord {
            project,
            target: None,
            metric: "duration_seconds",
            points: points
                .iter()
                .map(|p| PointRecord { run: p.run.as_deref(), at: p.at.to_string(), commit: p.commit.as_deref(), value: p.value })
                .collect(),
            changes: changes.iter().map(record).collect(),
        }],
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}
