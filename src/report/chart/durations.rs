//! The chart of a series of durations: every build a dot, every level a line with its value, every change a rule with its commit.

use plotters::{
    coord::{Shift as CoordShift, types::RangedCoordf64},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    ChartError, FONT, FONT_SCALE, Hint, SCALE, finished,
    palette::{AXIS, BETTER, DATA, GRID, GROUND, INK, MUTED, WORSE},
    text_width, time_axis,
    value_axis::{self, ValueAxis},
};
use crate::{
    evidence::commit,
    report::{escape, trend_words, units, weekly::TrendSeries},
    trend::{change_point::Direction, series::Point},
};

/// More builds than one for so many pixels become a line of medians with a band.
const PIXELS_PER_DOT: f64 = 1.6;
/// A bucket of such a line, in pixels.
const BUCKET_PIXELS: f64 = 5.0;
/// Values above so many times the highest level are drawn at the upper edge: one build that hung must not flatten all others.
const HEADROOM: f64 = 1.5;

/// How a chart is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Whether the finding stands above the chart, within the drawing: for pictures that travel alone.
    pub titled: bool,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, CoordShift>;
type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Distances of the plot from the edges, in pixels.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// A stretch of builds on one level.
struct Level {
    from: usize,
    to: usize,
    value: f64,
    color: RGBColor,
}

/// Draws the chart as SVG. `project` stands in the line under the title.
///
/// # Errors
/// Where plotters refuses, which only a size of nothing makes it do.
pub fn svg(project: &str, series: &TrendSeries, look: Look) -> Result<String, ChartError> {
    let size = (look.width.clamp(200, 4000), look.height.clamp(120, 2000));
    let mut drawing = String::new();
    let hints = draw(project, series, Look { width: size.0, height: size.1, ..look }, &mut drawing)
        .map_err(|error| ChartError::Draw(error.to_string()))?;
    Ok(finished(&drawing, size, &series.headline, &hints))
}

type DrawError = DrawingAreaErrorKind<std::io::Error>;

fn draw(project: &str, series: &TrendSeries, look: Look, drawing: &mut String) -> Result<Vec<Hint>, DrawError> {
    let scale = SCALE.unsigned_abs();
    let root = SVGBackend::with_string(drawing, (look.width * scale, look.height * scale)).into_drawing_area();
    root.fill(&GROUND)?;
    let points = series.series.points();
    let levels = levels(series);
    let highest = levels.iter().map(|level| level.value).fold(0.0, f64::max);
    let largest = points.iter().map(|point| point.value).fold(0.0, f64::max);
    let axis = value_axis::axis(largest.min(highest * HEADROOM).max(highest * 1.05), if look.height < 220 { 3 } else { 4 });
    let narrow = look.width < 600;
    let last_label = levels.last().map_or(0.0, |level| text_width(&axis.text(level.value), 12.0));
    let widest = axis.ticks.iter().map(|tick| text_width(&tick.1, 11.0)).fold(0.0, f64::max);
    let frame = Frame {
        left: widest.max(16.0) + 12.0,
        right: last_label + 14.0,
        top: if look.titled { 88.0 } else { 30.0 } + if series.shifts.len() > 1 && narrow { 14.0 } else { 0.0 },
        bottom: 26.0,
    };
    if look.titled {
        title(project, series, &root)?;
    }
    let (from, to) = span(points);
    let pixels = |distance: f64| (distance * f64::from(SCALE)).round() as i32;
    let (width, height) = (f64::from(look.width), f64::from(look.height));
    let plot_area = root.clone().shrink(
        (pixels(frame.left), pixels(frame.top)),
        (pixels(width - frame.left - frame.right), pixels(height - frame.top - frame.bottom)),
    );
    let mut plot = ChartBuilder::on(&plot_area).build_cartesian_2d(from..to, 0.0..axis.top)?;
    let place = |plot: &Plot<'_, '_>, at: f64, value: f64| {
        let (x, y) = plot.backend_coord(&(at, value));
        (f64::from(x) / f64::from(SCALE), f64::from(y) / f64::from(SCALE))
    };
    grid(&root, &plot, &axis, &frame, (from, to), (width, height), &place)?;
    let plot_width = width - frame.left - frame.right;
    if points.len() as f64 * PIXELS_PER_DOT > plot_width {
        band(&mut plot, points, (from, to), (plot_width / BUCKET_PIXELS) as usize, axis.top)?;
    } else {
        dots(&mut plot, points, axis.top)?;
    }
    rules(&root, &plot, series, &frame, (width, height), &place)?;
    draw_levels(&root, &mut plot, points, &levels, &axis, to, &place)?;
    let hints = hints(points, |at| place(&plot, at, 0.0).0, frame.left, width - frame.right);
    root.present()?;
    Ok(hints)
}

fn seconds(point: &Point) -> f64 {
    point.at.as_millisecond() as f64 / 1000.0
}

/// The times at the ends of the axis. A single build stands in the middle of a day.
fn span(points: &[Point]) -> (f64, f64) {
    let (from, to) = points.first().zip(points.last()).map_or((0.0, 0.0), |(first, last)| (seconds(first), seconds(last)));
    if to - from < 1.0 { (from - 43_200.0, to + 43_200.0) } else { (from - 0.005 * (to - from), to + 0.005 * (to - from)) }
}

fn levels(series: &TrendSeries) -> Vec<Level> {
    let count = series.series.points().len();
    if count == 0 {
        return Vec::new();
    }
    let mut levels = Vec::new();
    let first = match series.shifts.first() {
        Some(shift) => shift.change.before,
        None => {
            let mut sorted = series.series.values();
            sorted.sort_unstable_by(f64::total_cmp);
            crate::report::weekly::numbers::quantile(&sorted, 0.5).unwrap_or(0.0)
        }
    };
    levels.push(Level { from: 0, to: count, value: first, color: DATA });
    for shift in &series.shifts {
        if let Some(last) = levels.last_mut() {
            last.to = shift.change.index;
        }
        let color = color(shift.change.direction);
        levels.push(Level { from: shift.change.index, to: count, value: shift.change.after, color });
    }
    levels.retain(|level| level.from < level.to && level.to <= count);
    levels
}

fn color(direction: Direction) -> RGBColor {
    match direction {
        Direction::Slower => WORSE,
        Direction::Faster => BETTER,
    }
}

/// A text at a place in pixels.
fn text(root: &Area<'_>, text: &str, (x, y): (f64, f64), size: f64, bold: bool, color: RGBColor, at: Pos) -> Result<(), DrawError> {
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    let font = FontDesc::new(FontFamily::Name(FONT), size * f64::from(SCALE) * FONT_SCALE, style);
    let place = ((x * f64::from(SCALE)).round() as i32, (y * f64::from(SCALE)).round() as i32);
    let style = TextStyle::from(font).color(&color).pos(at);
    root.draw(&Text::new(escape::terminal(text).into_owned(), place, style))
}

/// A straight line between places in pixels.
fn line(root: &Area<'_>, from: (f64, f64), to: (f64, f64), width: f64, color: RGBAColor) -> Result<(), DrawError> {
    let place = |(x, y): (f64, f64)| ((x * f64::from(SCALE)).round() as i32, (y * f64::from(SCALE)).round() as i32);
    let stroke = (width * f64::from(SCALE)).round() as u32;
    root.draw(&PathElement::new(vec![place(from), place(to)], color.stroke_width(stroke)))
}

fn title(project: &str, series: &TrendSeries, root: &Area<'_>) -> Result<(), DrawError> {
    let left = Pos::new(HPos::Left, VPos::Top);
    text(root, &series.headline, (12.0, 12.0), 17.0, true, INK, left)?;
    let points = series.series.points();
    let day = |point: Option<&Point>| point.map_or_else(String::new, |point| point.at.strftime("%-d %b %Y").to_string());
    let of = series.target.as_deref().unwrap_or("whole runs");
    let under = format!(
        "{project} · {of} · {} from {} to {} · lines are the median of each level",
        units::count(points.len(), "build"),
        day(points.first()),
        day(points.last())
    );
    text(root, &under, (12.0, 36.0), 12.0, false, MUTED, left)
}

fn grid(
    root: &Area<'_>,
    plot: &Plot<'_, '_>,
    axis: &ValueAxis,
    frame: &Frame,
    (from, to): (f64, f64),
    (width, height): (f64, f64),
    place: &dyn Fn(&Plot<'_, '_>, f64, f64) -> (f64, f64),
) -> Result<(), DrawError> {
    for (n, (value, label)) in axis.ticks.iter().enumerate() {
        let y = place(plot, from, *value).1;
        line(root, (frame.left, y), (width - frame.right, y), 1.0, if n == 0 { AXIS.into() } else { GRID.into() })?;
        text(root, label, (frame.left - 8.0, y), 11.0, false, MUTED, Pos::new(HPos::Right, VPos::Center))?;
    }
    // The unit stands above the labels of the axis, once.
    let top = axis.ticks.last().map_or(0.0, |tick| place(plot, from, tick.0).1);
    text(root, axis.unit, (frame.left - 8.0, top - 15.0), 11.0, false, MUTED, Pos::new(HPos::Right, VPos::Center))?;
    let plot_width = width - frame.left - frame.right;
    let bottom = height - frame.bottom;
    let mut taken = f64::NEG_INFINITY;
    for tick in time_axis::ticks(from, to, (plot_width / 90.0) as usize) {
        let x = place(plot, tick.at, 0.0).0;
        let half = text_width(&tick.label, 11.0) / 2.0;
        if x - half < taken + 8.0 {
            continue;
        }
        line(root, (x, bottom), (x, bottom + 4.0), 1.0, AXIS.into())?;
        let (at, shown) = if x - half < 2.0 { (HPos::Left, 2.0) } else { (HPos::Center, x) };
        text(root, &tick.label, (shown, bottom + 8.0), 11.0, false, MUTED, Pos::new(at, VPos::Top))?;
        taken = x + half;
    }
    if taken + 40.0 < width {
        text(root, "UTC", (width - 4.0, bottom + 8.0), 11.0, false, MUTED, Pos::new(HPos::Right, VPos::Top))?;
    }
    Ok(())
}

fn dots(plot: &mut Plot<'_, '_>, points: &[Point], top: f64) -> Result<(), DrawError> {
    let radius = if points.len() > 150 { 8 } else { 10 };
    let (inside, above): (Vec<&Point>, Vec<&Point>) = points.iter().partition(|point| point.value <= top);
    plot.draw_series(inside.iter().map(|point| Circle::new((seconds(point), point.value), radius, DATA.mix(0.5).filled())))?;
    plot.draw_series(above.iter().map(|point| TriangleMarker::new((seconds(point), top), 14, DATA.mix(0.5).filled())))?;
    Ok(())
}

/// Medians of equal stretches of time, with a band from the 10th to the 90th percentile.
fn band(plot: &mut Plot<'_, '_>, points: &[Point], (from, to): (f64, f64), buckets: usize, top: f64) -> Result<(), DrawError> {
    let buckets = buckets.max(2);
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); buckets];
    for point in points {
        let at = (seconds(point) - from) / (to - from) * buckets as f64;
        values[(at as usize).min(buckets - 1)].push(point.value);
    }
    let mut lines: [Vec<(f64, f64)>; 3] = Default::default();
    for (n, mut bucket) in values.into_iter().enumerate() {
        bucket.sort_unstable_by(f64::total_cmp);
        let at = from + (n as f64 + 0.5) / buckets as f64 * (to - from);
        for (line, q) in lines.iter_mut().zip([0.1, 0.5, 0.9]) {
            line.extend(crate::report::weekly::numbers::quantile(&bucket, q).map(|value| (at, value.min(top))));
        }
    }
    let [low, middle, high] = lines;
    let outline: Vec<(f64, f64)> = low.into_iter().chain(high.into_iter().rev()).collect();
    plot.draw_series(std::iter::once(Polygon::new(outline, DATA.mix(0.16).filled())))?;
    plot.draw_series(LineSeries::new(middle, DATA.mix(0.75).stroke_width(5)))?;
    Ok(())
}

fn draw_levels(
    root: &Area<'_>,
    plot: &mut Plot<'_, '_>,
    points: &[Point],
    levels: &[Level],
    axis: &ValueAxis,
    end: f64,
    place: &dyn Fn(&Plot<'_, '_>, f64, f64) -> (f64, f64),
) -> Result<(), DrawError> {
    for (n, level) in levels.iter().enumerate() {
        let last = n + 1 == levels.len();
        let from = seconds(&points[level.from]);
        let to = if last { end } else { seconds(&points[level.to.min(points.len() - 1)]) };
        plot.draw_series(LineSeries::new([(from, level.value), (to, level.value)], level.color.stroke_width(9)))?;
        let label = axis.text(level.value);
        let (x, y) = place(plot, from, level.value);
        let (x_end, _) = place(plot, to, level.value);
        if last {
            text(root, &label, (x_end + 6.0, y), 12.0, true, level.color, Pos::new(HPos::Left, VPos::Center))?;
        } else if x_end - x > text_width(&label, 12.0) {
            // Above the dots of its level where there is room, so that the value can be read.
            text(root, &label, (x_end - 6.0, y - 9.0), 12.0, true, level.color, Pos::new(HPos::Right, VPos::Bottom))?;
        }
    }
    Ok(())
}

/// A dashed rule at each change, with its date, commit and factor above; two rows where they would touch.
fn rules(
    root: &Area<'_>,
    plot: &Plot<'_, '_>,
    series: &TrendSeries,
    frame: &Frame,
    (width, height): (f64, f64),
    place: &dyn Fn(&Plot<'_, '_>, f64, f64) -> (f64, f64),
) -> Result<(), DrawError> {
    let points = series.series.points();
    let mut taken = [f64::NEG_INFINITY; 2];
    // Where builds are minutes apart the day says nothing.
    let close = points.first().zip(points.last()).is_some_and(|(first, last)| seconds(last) - seconds(first) < 2.0 * 86_400.0);
    for shift in &series.shifts {
        let Some(point) = points.get(shift.change.index) else {
            continue;
        };
        let x = place(plot, seconds(point), 0.0).0 - 0.5;
        let color = color(shift.change.direction);
        let (top, bottom) = (frame.top - 6.0, height - frame.bottom);
        let mut y = top;
        while y < bottom {
            line(root, (x, y), (x, (y + 4.0).min(bottom)), 1.0, color.mix(0.8))?;
            y += 7.0;
        }
        let ratio = trend_words::ratio(shift.change.ratio);
        let commit = shift.commit.as_deref().map_or_else(String::new, |commit| format!(" · {}", commit::brief(commit)));
        let day = if close { String::new() } else { format!("{} · ", shift.at.strftime("%-d %b")) };
        let label = format!("{day}{ratio}{commit}");
        let room = text_width(&label, 11.0);
        let (at, left) = if x + room > width - 4.0 { (HPos::Right, x - room) } else { (HPos::Left, x) };
        let Some(row) = taken.iter().position(|end| left >= end + 8.0) else {
            continue;
        };
        taken[row] = left + room;
        text(root, &label, (x, top - 10.0 - 14.0 * row as f64), 11.0, true, color, Pos::new(at, VPos::Center))?;
    }
    Ok(())
}

/// What is told of the builds under the pointer: strips that reach half way to the neighbours; builds of one place share one.
fn hints(points: &[Point], x: impl Fn(f64) -> f64, left: f64, right: f64) -> Vec<Hint> {
    const NARROWEST: f64 = 3.0;
    let mut groups: Vec<(f64, Vec<&Point>)> = Vec::new();
    for point in points {
        let at = x(seconds(point));
        match groups.last_mut() {
            Some((first, group)) if at - *first < NARROWEST => group.push(point),
            _ => groups.push((at, vec![point])),
        }
    }
    let middle = |a: f64, b: f64| (a + b) / 2.0;
    (0..groups.len())
        .map(|n| {
            let (at, group) = &groups[n];
            Hint {
                left: n.checked_sub(1).map_or(left, |before| middle(groups[before].0, *at)),
                right: groups.get(n + 1).map_or(right, |next| middle(*at, next.0)),
                text: hint(group),
            }
        })
        .collect()
}

fn hint(group: &[&Point]) -> String {
    let when = |point: &Point| point.at.strftime("%-d %b %Y %H:%M UTC").to_string();
    match group {
        [point] => {
            let commit = point.commit.as_deref().map_or_else(String::new, |commit| format!(" · {}", commit::short(commit)));
            format!("{} · {}{commit}", units::duration(point.value), when(point))
        }
        [first, .., last] => {
            let mut values: Vec<f64> = group.iter().map(|point| point.value).collect();
            values.sort_unstable_by(f64::total_cmp);
            let median = crate::report::weekly::numbers::quantile(&values, 0.5).unwrap_or(0.0);
            format!(
                "{} builds, median {} ({} to {}) · {} to {}",
                group.len(),
                units::duration(median),
                units::duration(values[0]),
                units::duration(values[values.len() - 1]),
                when(first),
                when(last)
            )
        }
        [] => String::new(),
    }
}
