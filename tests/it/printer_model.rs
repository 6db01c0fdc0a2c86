//! A model of BuildKit's plain printer: builds as they run, the text that is printed of them, and the records that it must give.
//!
//! Written after `textMux` (BuildKit's `util/progress/progressui/printer.go`) and the trace that feeds it (`display.go`). The model
//! prints what a build does batch by batch, exactly in the order of the printer's rules, and notes beside it what a reader has to find
//! out. Three printers exist: that of buildx, that of buildctl (no `#0` line) and that of docker 20.10 (the digest below every
//! header, the terminal line behind an output line that is still open, indexes given when a step is discovered).
//!
//! What the format cannot tell is not generated; each place says why.

use std::{collections::VecDeque, fmt::Write as _};

use crate::{
    build_plans::{Act, BuildPlan, Client, End, Ending, StepPlan},
    records::{BuildRecord, StepRecord},
};
use bklog::build::{Outcome, Status};

/// The dice of a plan, thrown again and again.
struct Dice<'a> {
    numbers: &'a [u16],
    thrown: usize,
}

impl Dice<'_> {
    fn throw(&mut self, sides: usize) -> usize {
        let number = self.numbers.get(self.thrown % self.numbers.len().max(1)).copied().unwrap_or_default();
        let round = self.thrown / self.numbers.len().max(1);
        self.thrown += 1;
        (usize::from(number) + round * 7) % sides.max(1)
    }
}

/// One output line in the memory of the client.
struct OutputLine {
    text: Vec<u8>,
    counted: bool,
}

/// A step as the client knows it.
struct Vertex {
    index: u32,
    name: String,
    todo: VecDeque<Act>,
    end: End,
    again: Option<(Vec<Act>, End)>,
    /// Set when the step has ended and that must be printed.
    ended: Option<Printed>,
    logs: Vec<OutputLine>,
    partial: bool,
    offset: usize,
    progress: Vec<String>,
    warnings: Vec<String>,
    digest_due: bool,
    updated: bool,
    clock: u32,
    /// Time and text of the newest output line, and whether it may be mixed up with the next one.
    newest: Option<(String, Vec<u8>)>,
    /// The last lines, for the block after a failure.
    tail: Vec<Vec<u8>>,
    record: Option<StepRecord>,
}

#[derive(Debug, Clone, PartialEq)]
enum Printed {
    End(End),
    Canceled,
}

/// Prints one build, and knows what must be read from it.
struct Printer<'a> {
    plan: &'a BuildPlan,
    out: Vec<u8>,
    vertices: Vec<Vertex>,
    current: Option<usize>,
    not_first: bool,
    next_index: u32,
    /// The records in the order in which the log names the steps first.
    order: Vec<usize>,
    dice: Dice<'a>,
    foreign: VecDeque<String>,
    /// True where a line of another program could not be mistaken for a part of the line before.
    foreign_fits: bool,
}

/// Prints a build. Returns the text and the record that reading it must give.
pub fn print(plan: &BuildPlan) -> (Vec<u8>, BuildRecord) {
    let mut printer = Printer {
        plan,
        out: Vec::new(),
        vertices: Vec::new(),
        current: None,
        not_first: false,
        next_index: 1,
        order: Vec::new(),
        dice: Dice { numbers: &plan.dice, thrown: 0 },
        foreign: plan.foreign.iter().cloned().collect(),
        foreign_fits: false,
    };
    let outcome = printer.run();
    let mut steps = Vec::new();
    for position in &printer.order {
        steps.extend(printer.vertices[*position].record.clone());
    }
    let builder = (plan.client == Client::Buildx).then(|| "c".to_owned());
    (printer.out, BuildRecord { outcome, builder, steps })
}

impl Printer<'_> {
    fn line(&mut self, text: impl AsRef<[u8]>) {
        self.out.extend_from_slice(text.as_ref());
        self.out.push(b'\n');
    }

    fn run(&mut self) -> Outcome {
        for line in &self.plan.before {
            self.line(line);
        }
        if self.plan.client == Client::Buildx {
            self.line("#0 building with \"c\" instance using remote driver");
            self.line("");
        }
        let mut waiting: VecDeque<StepPlan> = self.plan.steps.iter().cloned().collect();
        let mut running: Vec<usize> = Vec::new();
        let mut batches = 0;
        let mut failed = false;
        while !(waiting.is_empty() && running.is_empty()) {
            let stop = match self.plan.ending {
                // BuildKit's client has shown a first step when it can be stopped, and a build that is cut between two steps
                // cannot be told from one that is over, so at least one step must be running.
                Ending::Killed(after) | Ending::Interrupted(after) => batches >= after && running.iter().any(|n| self.is_unfinished(*n)),
                _ => false,
            };
            if stop {
                break;
            }
            batches += 1;
            for _ in 0..=self.dice.throw(3) {
                let start = !waiting.is_empty() && running.len() < 4 && (running.is_empty() || self.dice.throw(3) == 0) && self.may_start();
                if start {
                    let Some(plan) = waiting.pop_front() else { break };
                    let position = self.start(plan);
                    if self.vertices[position].ended.is_none() {
                        running.push(position);
                    } else if let Some((acts, end)) = self.reopened(position) {
                        waiting
                            .insert(self.dice.throw(waiting.len() + 1), StepPlan { name: format!("\0{position}"), acts, end, again: None });
                    }
                } else if !running.is_empty() {
                    let chosen = self.dice.throw(running.len());
                    if self.act(running[chosen]) {
                        let position = running.remove(chosen);
                        if let Some((acts, end)) = self.reopened(position) {
                            waiting.insert(
                                self.dice.throw(waiting.len() + 1),
                                StepPlan { name: format!("\0{position}"), acts, end, again: None },
                            );
                        }
                        let vertex = &self.vertices[position];
                        failed |= matches!(vertex.ended, Some(Printed::End(End::Error(_)))) && !is_harmless(&vertex.name);
                    }
                }
                if failed {
                    break;
                }
            }
            if failed {
                for position in running.drain(..) {
                    self.vertices[position].ended = Some(Printed::Canceled);
                    self.vertices[position].updated = true;
                }
                waiting.clear();
            }
            self.print_batch();
        }
        self.ending(&running, failed)
    }

    /// Nothing starts before Dockerfile and ignore file are being loaded. In 20.10, where a step has its index before it is shown, the
    /// beginning of a build is known by them.
    fn may_start(&self) -> bool {
        self.vertices.len() < 2 || self.order.len() >= 2 || self.plan.client != Client::Docker20
    }

    /// A step starts, or opens again.
    fn start(&mut self, plan: StepPlan) -> usize {
        if let Some(position) = plan.name.strip_prefix('\0').and_then(|n| n.parse::<usize>().ok()) {
            let vertex = &mut self.vertices[position];
            (vertex.todo, vertex.end, vertex.ended, vertex.updated) = (plan.acts.into(), plan.end, None, true);
            return position;
        }
        let cached = plan.end == End::Cached && plan.acts.is_empty();
        // 20.10 numbers the steps when it learns of them, and some of those never show.
        let index = if self.plan.client == Client::Docker20 {
            let gap = u32::from(self.vertices.len() > 1 && self.dice.throw(6) == 0);
            self.next_index += 1 + gap;
            self.next_index - 1
        } else {
            0
        };
        self.vertices.push(Vertex {
            index,
            name: plan.name,
            todo: plan.acts.into(),
            end: plan.end.clone(),
            again: plan.again,
            ended: cached.then_some(Printed::End(plan.end)),
            logs: Vec::new(),
            partial: false,
            offset: 0,
            progress: Vec::new(),
            warnings: Vec::new(),
            digest_due: false,
            updated: true,
            clock: 0,
            newest: None,
            tail: Vec::new(),
            record: None,
        });
        self.vertices.len() - 1
    }

    /// What a step does when it opens again. Not behind an output line that is still open: the progress would be glued to that line, and
    /// the line printed again without it after a switch, which nobody could know for the same one.
    fn reopened(&mut self, position: usize) -> Option<(Vec<Act>, End)> {
        let again = self.vertices[position].again.take();
        again.filter(|_| !self.vertices[position].partial)
    }

    /// True for a step that the log shows and that has never ended.
    fn is_unfinished(&self, position: usize) -> bool {
        self.vertices[position].record.as_ref().is_some_and(|record| record.status == Status::Unfinished)
    }

    /// A running step does its next act. Returns true when it has ended.
    fn act(&mut self, position: usize) -> bool {
        let vertex = &mut self.vertices[position];
        vertex.updated = true;
        match vertex.todo.pop_front() {
            None => {
                vertex.ended = Some(Printed::End(vertex.end.clone()));
                return true;
            }
            Some(Act::Output(bytes, milliseconds)) => vertex.output(&bytes, milliseconds),
            Some(Act::Warning(text)) => vertex.warnings.push(text),
            Some(Act::Progress { id, current, total, tenths, done }) => {
                let mut line = id.clone();
                if total > 0 {
                    let _ = write!(line, " {} / {}", size(current), size(total));
                } else if current > 0 {
                    let _ = write!(line, " {}", size(current));
                }
                if tenths > 0 {
                    let _ = write!(line, " {}.{}s", tenths / 10, tenths % 10);
                }
                line.push_str(if done { " done" } else { "" });
                vertex.progress.push(line);
            }
        }
        false
    }

    /// `textMux.print`: what has ended first, the current step in front; then the current one; then perhaps another.
    fn print_batch(&mut self) {
        let current = self.current;
        let mut ended: Vec<usize> =
            (0..self.vertices.len()).filter(|n| self.vertices[*n].updated && self.vertices[*n].ended.is_some()).collect();
        let mut rest: Vec<usize> =
            (0..self.vertices.len()).filter(|n| self.vertices[*n].updated && self.vertices[*n].ended.is_none()).collect();
        ended.sort_by_key(|n| Some(*n) != current);
        let current_ended = ended.first().copied() == current && current.is_some();
        for position in ended {
            self.print_vertex(position);
        }
        if rest.is_empty() {
            if current.is_some_and(|n| self.vertices[n].ended.is_none()) {
                return;
            }
            let open: Vec<usize> = (0..self.vertices.len()).filter(|n| self.vertices[*n].ended.is_none()).collect();
            if !open.is_empty() {
                let chosen = self.dice.throw(open.len());
                self.print_vertex(open[chosen]);
            }
            return;
        }
        if let Some(current) = current.filter(|n| rest.contains(n)) {
            self.print_vertex(current);
        } else if let Some(current) = current.filter(|n| self.vertices[*n].ended.is_none()) {
            rest.push(current);
        }
        // Which step is the busiest is a matter of time, and so of chance here.
        if current_ended || current.is_none() || self.dice.throw(3) == 0 {
            let chosen = self.dice.throw(rest.len());
            self.print_vertex(rest[chosen]);
        }
    }

    /// `textMux.printVtx`
    fn print_vertex(&mut self, position: usize) {
        self.write_foreign();
        if self.current != Some(position) {
            if let Some(old) = self.current {
                let vertex = &mut self.vertices[old];
                vertex.offset = 0;
                let (partial, index) = (vertex.partial, vertex.index);
                if partial {
                    self.line("");
                }
                self.line(format!("#{index} ..."));
            }
            if self.not_first {
                self.line("");
            }
            self.not_first = true;
            self.header(position);
        }
        let vertex = &mut self.vertices[position];
        let index = vertex.index;
        let mut text: Vec<u8> = Vec::new();
        if std::mem::take(&mut vertex.digest_due) {
            vertex.offset = 0;
            text.extend(format!("#{index} sha256:{:064x}\n", u64::from(index) * 7919).into_bytes());
        }
        let record = vertex.record.as_mut().expect("the header made the record");
        for line in vertex.progress.drain(..) {
            if let Some(printed) = line.strip_prefix("transferring ").and_then(|rest| rest.split(' ').find_map(bytes_of)) {
                record.transferred_bytes = Some(printed);
            }
            text.extend(format!("#{index} {line}\n").into_bytes());
        }
        for warning in vertex.warnings.drain(..) {
            text.extend(format!("#{index} WARN: {warning}\n").into_bytes());
            record.warnings.push(warning);
        }
        let last = vertex.logs.len().saturating_sub(1);
        for (n, line) in vertex.logs.iter_mut().enumerate() {
            let offset = if n == 0 { vertex.offset } else { 0 };
            if offset == 0 {
                text.extend(format!("#{index} ").into_bytes());
            }
            text.extend_from_slice(&line.text[offset..]);
            if n != last || !vertex.partial {
                text.push(b'\n');
            }
            record.log_lines += u64::from(!std::mem::replace(&mut line.counted, true));
            record.clipped |= is_clip(&line.text);
        }
        if vertex.partial {
            vertex.logs.drain(..last);
            vertex.offset = vertex.logs.first().map_or(0, |line| line.text.len());
        } else {
            vertex.logs.clear();
            vertex.offset = 0;
        }
        self.foreign_fits |= !text.is_empty() && !self.vertices[position].partial;
        self.out.extend(text);
        self.current = Some(position);
        self.vertices[position].updated = false;
        if let Some(ended) = self.vertices[position].ended.clone() {
            self.end_vertex(position, &ended);
        }
    }

    fn header(&mut self, position: usize) {
        let vertex = &mut self.vertices[position];
        if vertex.index == 0 {
            vertex.index = self.next_index;
            self.next_index += 1;
        }
        let index = vertex.index;
        if !self.order.contains(&position) {
            self.order.push(position);
            // Names and outputs can quote any line of the build, but not in the midst of a name that has several lines: a line `#N …`
            // of the same step ends such a name. So the quoted index is always another one.
            let other = if index > 1 { index - 1 } else { 9 };
            vertex.name = vertex.name.replace("#OTHER", &format!("#{other}")).replace(&format!("\n#{index} "), &format!("\n#{other} "));
            let name = shown_name(&vertex.name, self.plan.cut_names);
            vertex.record = Some(StepRecord {
                index,
                name: String::from_utf8_lossy(&name).into_owned(),
                status: Status::Unfinished,
                seconds: None,
                log_lines: 0,
                clipped: false,
                warnings: Vec::new(),
                error: None,
                transferred_bytes: None,
            });
        }
        vertex.digest_due = self.plan.client == Client::Docker20;
        let name = shown_name(&vertex.name, self.plan.cut_names);
        self.out.extend(format!("#{index} ").into_bytes());
        self.line(name);
        // An open quotation in a name takes in every line until the next `#`, because a name may hold newlines.
        self.foreign_fits = false;
    }

    fn end_vertex(&mut self, position: usize, ended: &Printed) {
        self.current = None;
        let glued = self.plan.client == Client::Docker20 && !matches!(ended, Printed::Canceled | Printed::End(End::Error(_)));
        let vertex = &mut self.vertices[position];
        if std::mem::take(&mut vertex.partial) && !glued {
            self.out.push(b'\n');
        }
        let vertex = &mut self.vertices[position];
        vertex.logs.clear();
        let record = vertex.record.as_mut().expect("the header made the record");
        let index = vertex.index;
        (record.seconds, record.error) = (None, None);
        let text = match ended {
            Printed::Canceled => {
                record.status = Status::Canceled;
                "CANCELED".to_owned()
            }
            Printed::End(End::Cached) => {
                record.status = Status::Cached;
                "CACHED".to_owned()
            }
            Printed::End(End::Error(error)) if error.ends_with("context canceled") => {
                record.status = Status::Canceled;
                "CANCELED".to_owned()
            }
            Printed::End(End::Error(error)) => {
                record.status = Status::Error;
                record.error = Some(error.clone());
                format!("ERROR: {error}")
            }
            Printed::End(End::Done(tenths)) => {
                record.status = Status::Done;
                record.seconds = tenths.map(|tenths| f64::from(tenths) / 10.0);
                tenths.map_or("DONE".to_owned(), |tenths| format!("DONE {}.{}s", tenths / 10, tenths % 10))
            }
        };
        self.line(format!("#{index} {text}"));
        // The text of an error may go on in lines without `#N`.
        self.foreign_fits = !matches!(ended, Printed::End(End::Error(_)));
    }

    /// Another program writes into the log. Nothing tells its lines from the rest of an open line, of an error or of a name.
    fn write_foreign(&mut self) {
        if std::mem::take(&mut self.foreign_fits)
            && self.out.last() == Some(&b'\n')
            && let Some(line) = self.foreign.pop_front()
        {
            self.line(line);
        }
    }

    fn ending(&mut self, running: &[usize], failed: bool) -> Outcome {
        let shown_running = running.iter().any(|n| self.is_unfinished(*n));
        match self.plan.ending {
            Ending::Killed(_) if shown_running => {
                self.go_on_after_lookalike();
                return Outcome::Truncated;
            }
            Ending::Interrupted(_) if shown_running => {
                for position in running {
                    self.vertices[*position].ended = Some(Printed::Canceled);
                    self.vertices[*position].updated = true;
                }
                self.print_batch();
                self.line(match self.plan.client {
                    Client::Buildx => "ERROR: failed to build: failed to solve: Canceled: context canceled",
                    Client::Buildctl => "error: failed to solve: Canceled: context canceled",
                    Client::Docker20 => "context canceled",
                });
                return Outcome::Canceled;
            }
            _ => {}
        }
        let failures: Vec<usize> = (0..self.vertices.len())
            .filter(|n| self.vertices[*n].record.as_ref().is_some_and(|record| record.status == Status::Error))
            .collect();
        for position in &failures {
            self.failure_block(*position);
        }
        if self.plan.epilogue.no_output_warning {
            self.line("WARNING: No output specified with docker-container driver. Build result will only remain in the build cache.");
        }
        if self.plan.epilogue.check_summary && self.plan.client == Client::Buildx {
            self.line("");
            self.line(" \u{1b}[33m2 warnings found (use docker --debug to expand):");
            self.line("\u{1b}[0m - JSONArgsRecommended: JSON arguments recommended for CMD (line 3)");
            self.line(" - FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)");
        }
        // An error of a solver step that ends like a cancellation is printed as one.
        let canceled_step = self.vertices.iter().any(|v| v.record.as_ref().is_some_and(|record| record.status == Status::Canceled));
        if failed || self.plan.ending == Ending::FailsAfterwards {
            if self.plan.epilogue.excerpt && self.plan.client != Client::Docker20 {
                self.line("Dockerfile:3");
                self.line("--------------------");
                self.line("   1 |     FROM alpine");
                self.line("   3 | >>> RUN echo '#5 DONE 0.0s' && false");
                self.line("   4 |     ");
                self.line("--------------------");
            }
            let error = failures.iter().rev().find_map(|n| match &self.vertices[*n].end {
                End::Error(error) if !is_harmless(&self.vertices[*n].name) => Some(error.clone()),
                _ => None,
            });
            let error = error.unwrap_or_else(|| {
                if canceled_step { "context canceled".to_owned() } else { "lstat /var/x: no such file or directory".to_owned() }
            });
            match self.plan.client {
                Client::Buildx => self.line(format!("ERROR: failed to build: failed to solve: {error}")),
                Client::Buildctl => self.line(format!("error: failed to solve: {error}")),
                Client::Docker20 if failed && !canceled_step => self.line(error),
                Client::Docker20 => self.line(format!("failed to solve: {error}")),
            }
            if self.plan.epilogue.details_link {
                self.line("");
                self.line("View build details: docker-desktop://dashboard/build/c/c0/abcdef");
            }
            let only_canceled = failures.iter().all(|n| is_harmless(&self.vertices[*n].name));
            return if canceled_step && only_canceled { Outcome::Canceled } else { Outcome::Failed };
        }
        if self.plan.epilogue.details_link {
            self.line("");
            self.line("View build details: docker-desktop://dashboard/build/c/c0/abcdef");
        }
        Outcome::Succeeded
    }

    /// Without `#0` the printer may be an old one, which puts the terminal line of a step behind its open output line. When the log ends
    /// with output that looks like that, nobody can say that it is only output. So the output goes on a little.
    fn go_on_after_lookalike(&mut self) {
        let Some(current) = self.current.filter(|_| self.plan.client != Client::Buildx) else { return };
        let index = self.vertices[current].index;
        let last = self.out.strip_suffix(b"\n").unwrap_or(&self.out).rsplit(|b| *b == b'\n').next().unwrap_or_default();
        let tag = format!("#{index} ");
        let looks = last.len() > tag.len() && last[tag.len()..].windows(tag.len()).any(|window| window == tag.as_bytes());
        if looks && self.out.ends_with(b"\n") {
            self.line(format!("#{index} 9999.9 more"));
            if let Some(record) = &mut self.vertices[current].record {
                record.log_lines += 1;
            }
        } else if looks {
            self.out.extend_from_slice(b" more");
        }
    }

    /// `------`, the name, the last lines of the output with their times, `------`.
    fn failure_block(&mut self, position: usize) {
        let vertex = &self.vertices[position];
        let mut lines = vec![b"------".to_vec(), format!(" > {}:", vertex.name).into_bytes()];
        if self.plan.client != Client::Docker20 {
            lines.extend(vertex.tail.iter().rev().take(10).rev().cloned());
        }
        lines.push(b"------".to_vec());
        for line in lines {
            self.line(line);
        }
    }
}

impl Vertex {
    /// `trace.update` for a piece of output.
    fn output(&mut self, bytes: &[u8], milliseconds: u32) {
        self.clock += milliseconds;
        for (n, piece) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            if n == 0
                && self.partial
                && let Some(open) = self.logs.last_mut()
            {
                open.text.extend_from_slice(text);
                if let Some((_, newest)) = &mut self.newest {
                    newest.extend_from_slice(text);
                }
                if let Some(last) = self.tail.last_mut() {
                    last.extend_from_slice(text);
                }
                continue;
            }
            // A line with the time of the line before and a text that begins like it: behind `#N ...` nobody could say whether that is
            // the line before, printed once more because it was still open. Time goes on instead.
            let alike =
                |(time, newest): &(String, Vec<u8>), now: &str| time == now && (text.starts_with(newest) || newest.starts_with(text));
            let mut time = clock_text(self.clock);
            while self.newest.as_ref().is_some_and(|newest| alike(newest, &time)) {
                self.clock += 1;
                time = clock_text(self.clock);
            }
            let line = [time.as_bytes(), b" ", text].concat();
            self.tail.push(line.clone());
            self.newest = Some((time, text.to_vec()));
            self.logs.push(OutputLine { text: line, counted: false });
        }
        self.partial = !bytes.ends_with(b"\n");
    }
}

/// Seconds with a precision that falls.
fn clock_text(milliseconds: u32) -> String {
    let seconds = f64::from(milliseconds) / 1000.0;
    match seconds {
        s if s < 10.0 => format!("{s:.3}"),
        s if s < 100.0 => format!("{s:.2}"),
        s => format!("{s:.1}"),
    }
}

/// `%.2f` of `tonistiigi/units`: decimal units, bytes without decimals.
fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["kB", "MB", "GB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    if unit == "B" { format!("{bytes}B") } else { format!("{value:.2}{unit}") }
}

/// What a reader can know of a printed size.
fn bytes_of(printed: &str) -> Option<u64> {
    let digits = printed.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = printed[..digits].parse().ok()?;
    let factor = [("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9)].into_iter().find(|(unit, _)| *unit == &printed[digits..])?.1;
    Some((number * factor).round() as u64)
}

/// `limitString`: 72 bytes, even within a character.
fn shown_name(name: &str, cut: bool) -> Vec<u8> {
    if cut && name.len() > 72 { [&name.as_bytes()[..72], b"..."].concat() } else { name.as_bytes().to_vec() }
}

fn is_clip(line: &[u8]) -> bool {
    let text = line.splitn(2, |b| *b == b' ').nth(1).unwrap_or_default();
    text.starts_with(b"[output clipped, log limit ") && text.ends_with(b" reached]")
}

/// A failing cache import fails no build.
fn is_harmless(name: &str) -> bool {
    name.starts_with("importing cache manifest from ")
}
