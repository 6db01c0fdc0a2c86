//! What a trend is called and how it is said: the same words in every format.

use jiff::Timestamp;

use super::units;
use crate::evidence::commit;
use crate::policy::trend::BudgetOf;
use crate::trend::{
    analysis::{Told, ToldChange, Trend},
    attribution::StepShare,
    change_point::{CONFIRMING_BUILDS, Direction, LEAST_BUILDS, State},
    gate::Spent,
    ledger::{Measured, Metric},
    levels::Among,
    signs::{SignChange, SignKind},
};

/// Digits of a digest that are shown.
const DIGEST_DIGITS: usize = 12;
/// Builds between two changes that are one event.
const NEAR: usize = 3;

/// A change as people see it: changes of several series at one place are one event.
#[derive(Debug)]
pub struct Event<'t> {
    /// The change that says most.
    pub main: (&'t Told, &'t ToldChange),
    /// The others.
    pub also: Vec<(&'t Told, &'t ToldChange)>,
}

/// The projects of a trend, in the order of their series.
pub fn projects(trend: &Trend) -> Vec<(&str, Vec<&Told>)> {
    let mut projects: Vec<(&str, Vec<&Told>)> = Vec::new();
    for told in &trend.series {
        match projects.iter_mut().find(|(name, _)| *name == told.measured.project) {
            Some((_, series)) => series.push(told),
            None => projects.push((&told.measured.project, vec![told])),
        }
    }
    projects
}

/// The changes of a project's series in the order of time, those of one place together.
pub fn events<'t>(series: &[&'t Told]) -> Vec<Event<'t>> {
    // Places of different series are compared on the times of the longest one.
    let longest = series.iter().max_by_key(|told| told.measured.series.points().len());
    let times: Vec<Timestamp> =
        longest.map(|told| told.measured.series.points().iter().map(|point| point.at).collect()).unwrap_or_default();
    let mut changes: Vec<(usize, usize, (&Told, &ToldChange))> = Vec::new();
    for told in series {
        for change in &told.changes {
            let at = told.measured.series.points().get(change.found.change.index).map(|point| point.at);
            let place = at.map_or(0, |at| times.partition_point(|time| *time < at));
            changes.push((place, weight(&told.measured), (told, change)));
        }
    }
    changes.sort_by_key(|(place, weight, _)| (*weight, *place));
    let mut events: Vec<(usize, Event<'_>)> = Vec::new();
    for (place, _, change) in changes {
        match events.iter_mut().find(|(other, _)| other.abs_diff(place) <= NEAR) {
            Some((_, event)) => event.also.push(change),
            None => events.push((place, Event { main: change, also: Vec::new() })),
        }
    }
    events.sort_by_key(|(place, _)| *place);
    events.into_iter().map(|(_, event)| event).collect()
}

/// What says most stands first: whole runs before targets before steps, durations before the rest.
fn weight(measured: &Measured) -> usize {
    let of = usize::from(measured.target.is_some()) + 2 * usize::from(measured.step.is_some());
    let metric = match measured.metric {
        Metric::Duration => 0,
        Metric::CacheHitRatio => 10,
        Metric::ImportSuccess => 20,
        Metric::ContextBytes => 30,
    };
    of + metric
}

/// What a series is called: `whole run`, `backend`, `cache hits`.
pub fn series_name(measured: &Measured) -> String {
    let of = measured.step.as_deref().or(measured.target.as_deref());
    let metric = match measured.metric {
        Metric::Duration => return of.unwrap_or("whole run").to_owned(),
        Metric::CacheHitRatio => "cache hits",
        Metric::ContextBytes => "context",
        Metric::ImportSuccess => "cache imports",
    };
    of.map_or_else(|| metric.to_owned(), |of| format!("{of} {metric}"))
}

/// A level of a series: `2m 41s`, `96 %`, `2.32 kB`.
pub fn level(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Duration => units::duration(value),
        Metric::CacheHitRatio | Metric::ImportSuccess => percent(value),
        Metric::ContextBytes => units::bytes(value.max(0.0).round() as u64),
    }
}

/// `96 %`
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// The levels of a series one after another: `2.3s → 13.1s → 2.6s`.
pub fn levels(told: &Told) -> String {
    let metric = told.measured.metric;
    match told.changes.first() {
        None => level(metric, crate::trend::change_point::median_of(&told.measured.series.values())),
        Some(first) => {
            let after = told.changes.iter().map(|change| change.found.change.after);
            std::iter::once(first.found.change.before).chain(after).map(|value| level(metric, value)).collect::<Vec<_>>().join(" → ")
        }
    }
}

/// Which way a change goes, in one word that fits its metric.
pub fn direction(measured: &Measured, change: &ToldChange) -> &'static str {
    match (measured.metric, change.found.change.direction) {
        (Metric::Duration, Direction::Slower) => "slower",
        (Metric::Duration, Direction::Faster) => "faster",
        (_, Direction::Slower) => "higher",
        (_, Direction::Faster) => "lower",
    }
}

/// True for a change that nobody wants.
pub fn is_bad(measured: &Measured, change: &ToldChange) -> bool {
    measured.metric.more_is_worse() == (change.found.change.direction == Direction::Slower)
}

/// `×5.8`, `÷5.1`
pub fn ratio(ratio: Option<f64>) -> String {
    let digits = |factor: f64| if factor >= 9.95 { format!("{factor:.0}") } else { format!("{factor:.1}") };
    match ratio {
        None => "from nothing".to_owned(),
        Some(ratio) if ratio >= 1.0 => format!("×{}", digits(ratio)),
        Some(ratio) if ratio > 0.0 => format!("÷{}", digits(1.0 / ratio)),
        Some(_) => "to nothing".to_owned(),
    }
}

/// `21 Nov 2026 02:14 UTC`
pub fn time(at: Timestamp) -> String {
    at.strftime("%-d %b %Y %H:%M UTC").to_string()
}

/// Since when: `since build 26 (commit 592616420acf, 21 Nov 2026 02:14 UTC)`.
pub fn since(measured: &Measured, change: &ToldChange) -> String {
    let index = change.found.change.index;
    let Some(point) = measured.series.points().get(index) else { return String::new() };
    let commit = point.commit.as_deref().map_or_else(String::new, |id| format!("commit {}, ", commit::short(id)));
    format!("since build {} ({commit}{})", index + 1, time(point.at))
}

/// What changed, in one sentence. `name` makes a foreign name recognisable in the format.
pub fn what(measured: &Measured, change: &ToldChange, name: &dyn Fn(&str) -> String) -> String {
    let found = &change.found.change;
    let (before, after) = (level(measured.metric, found.before), level(measured.metric, found.after));
    let of = measured.step.as_deref().or(measured.target.as_deref()).map(name);
    let among = if change.found.among == Among::Executed { " where anything has to be built" } else { "" };
    let what = match (measured.metric, of) {
        (Metric::Duration, None) => format!("builds take {after} instead of {before}{among}"),
        (Metric::Duration, Some(of)) if measured.step.is_none() => format!("{of} builds take {after} instead of {before}{among}"),
        (Metric::Duration, Some(of)) => format!("{of} takes {after} instead of {before}{among}"),
        (Metric::CacheHitRatio, of) => format!("the cache answers {after} of the steps{} instead of {before}", of_what(of)),
        (Metric::ContextBytes, of) => format!("{after} of context{} are transferred instead of {before}", of_what(of)),
        (Metric::ImportSuccess, of) => format!("{after} of the cache imports{} work instead of {before}", of_what(of)),
    };
    let points = measured.series.points().len();
    let sure = match found.state {
        State::Confirmed => "certain".to_owned(),
        State::Suspected => {
            let more = (found.index + CONFIRMING_BUILDS).saturating_sub(points).max(1);
            format!("suspected: {} will tell", units::count(more, "more build"))
        }
    };
    let factor = if measured.metric == Metric::Duration { format!("{}, ", ratio(found.ratio)) } else { String::new() };
    format!("{} {what} ({factor}{sure}).", capital(&since(measured, change)))
}

fn of_what(of: Option<String>) -> String {
    of.map_or_else(String::new, |of| format!(" of {of}"))
}

/// With its first letter in upper case.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Why: the step that made most of it, and what came and went in the logs. Empty where nothing is known.
pub fn why(measured: &Measured, change: &ToldChange, name: &dyn Fn(&str) -> String) -> String {
    let found = &change.found.change;
    let mut parts = Vec::new();
    if let Some(step) = change.attribution.steps.first() {
        let delta = step.delta();
        let level = found.after - found.before;
        let text = match (measured.metric, delta * level > 0.0) {
            (Metric::Duration, true) => {
                let part = units::duration(delta.abs().min(level.abs()));
                Some(format!("{part} of it: {} {}", name(&short(&step.name)), became(step)))
            }
            (Metric::Duration, false) => None,
            _ => Some(format!("{} {}", name(&short(&step.name)), became(step))),
        };
        parts.extend(text);
    }
    parts.extend(signs_text(change, name));
    let mut text = parts.join("; ");
    if !text.is_empty() {
        text.push('.');
    }
    let lost = change.attribution.steps.iter().any(|step| step.lost_hits() > 0.5);
    if found.state == State::Suspected && found.direction == Direction::Slower && lost {
        text.push_str(" A cache that was cleared looks like this for one build or two.");
    }
    text.trim_start().to_owned()
}

/// Signs in clauses of a sentence: what came or went since one build stands in one clause.
///
/// `the cache imports a and b and inline cache are gone since the same build`
fn signs_text(change: &ToldChange, name: &dyn Fn(&str) -> String) -> Vec<String> {
    /// Names of one kind that are listed.
    const MOST: usize = 3;
    /// What came or went since a run: of each kind the values.
    struct Clause<'c> {
        word: &'static str,
        since: &'c Option<String>,
        kinds: Vec<(SignKind, Vec<&'c str>)>,
    }
    let since =
        |run: &Option<String>| run.as_deref().map_or_else(|| "since the same build".to_owned(), |run| format!("since run {}", name(run)));
    let mut clauses: Vec<Clause<'_>> = Vec::new();
    let mut others = Vec::new();
    for (sign, run) in std::iter::zip(&change.attribution.signs, &change.sign_runs) {
        let (word, value) = match (&sign.before, &sign.after) {
            (Some(value), None) => ("gone", value),
            (None, Some(value)) => ("new", value),
            _ => {
                others.push(format!("{} {}", sign_text(sign, name), since(run)));
                continue;
            }
        };
        let at = clauses.iter().position(|clause| clause.word == word && clause.since == run).unwrap_or_else(|| {
            clauses.push(Clause { word, since: run, kinds: Vec::new() });
            clauses.len() - 1
        });
        let kinds = &mut clauses[at].kinds;
        match kinds.iter_mut().find(|(kind, _)| *kind == sign.kind) {
            Some((_, values)) => values.push(value),
            None => kinds.push((sign.kind, vec![value])),
        }
    }
    let of_kind = |(kind, values): &(SignKind, Vec<&str>)| {
        let mut names: Vec<String> = values.iter().filter(|value| !value.is_empty()).take(MOST).map(|value| name(value)).collect();
        if values.len() > MOST {
            names.push(format!("{} more", values.len() - MOST));
        }
        let noun = if values.len() > 1 { sign_nouns(*kind) } else { sign_noun(*kind) };
        if names.is_empty() { noun.to_owned() } else { format!("{noun} {}", and(&names)) }
    };
    let clause = |clause: &Clause<'_>| {
        let all: usize = clause.kinds.iter().map(|(_, values)| values.len()).sum();
        let subject = and(&clause.kinds.iter().map(of_kind).collect::<Vec<_>>());
        format!("{subject} {} {} {}", if all > 1 { "are" } else { "is" }, clause.word, since(clause.since))
    };
    clauses.iter().map(clause).chain(others).collect()
}

/// `a`, `a and b`, `a, b and c`
fn and(texts: &[String]) -> String {
    match texts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A name with the digests in it cut to the digits that tell them apart.
pub fn short_digests(name: &str) -> String {
    const MARK: &str = "sha256:";
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find(MARK) {
        let (before, digest) = rest.split_at(at + MARK.len());
        let digits = digest.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(before);
        out.push_str(&digest[..if digits == 64 { DIGEST_DIGITS } else { digits }]);
        rest = &digest[digits..];
    }
    out + rest
}

/// A name for a sentence: the beginning of a long one, digests cut.
pub fn short(name: &str) -> String {
    const MOST: usize = 60;
    let name = &short_digests(name);
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    let cut: String = name.chars().take(MOST - 1).collect();
    format!("{}…", cut.trim_end())
}

/// True for a series that people are shown: durations, and of the rest what is of whole runs where there are such.
pub fn is_shown(told: &Told, series: &[&Told]) -> bool {
    let whole = series.iter().any(|told| told.measured.target.is_none() && told.measured.step.is_none());
    told.measured.metric == Metric::Duration || (!told.changes.is_empty() && (told.measured.target.is_none() || !whole))
}

/// The steps of a change that are worth a row: what took next to no time only where nothing else is there.
pub fn shown_steps(change: &ToldChange, most: usize) -> Vec<&StepShare> {
    /// Seconds that are printed as more than nothing.
    const LEAST_SECONDS: f64 = 0.05;
    let all = &change.attribution.steps;
    let least = if all.iter().any(|step| step.delta().abs() >= LEAST_SECONDS) { LEAST_SECONDS } else { 0.0 };
    all.iter().filter(|step| step.delta().abs() >= least).take(most).collect()
}

/// What a step became: `was cached in 96 % of runs and is not any more`.
pub fn became(step: &StepShare) -> String {
    match step.hits {
        (None, _) => format!("is new and takes {}", units::duration(step.seconds.1)),
        (_, None) => format!("is gone, which took {}", units::duration(step.seconds.0)),
        (Some(before), Some(after)) if before - after >= 0.25 && after <= 0.05 => {
            format!("was cached in {} of runs and is not any more", percent(before))
        }
        (Some(before), Some(after)) if after - before >= 0.25 && before <= 0.05 => {
            format!("was not cached and is in {} of runs now", percent(after))
        }
        (Some(before), Some(after)) if (before - after).abs() >= 0.25 => {
            format!("was cached in {} of runs and is in {} now", percent(before), percent(after))
        }
        _ => format!("takes {} instead of {}", units::duration(step.seconds.1), units::duration(step.seconds.0)),
    }
}

/// The hits of a step before and after, short: `cached 96 % → 0 %`.
pub fn hits(step: &StepShare) -> String {
    match step.hits {
        (Some(before), Some(after)) if (before - after).abs() >= 0.005 => format!("cached {} → {}", percent(before), percent(after)),
        (Some(_), Some(both)) if both > 0.0 => format!("cached {}", percent(both)),
        (Some(_), Some(_)) => "never cached".to_owned(),
        (None, Some(_)) => "new".to_owned(),
        (Some(_), None) => "gone".to_owned(),
        (None, None) => String::new(),
    }
}

/// What a sign says: `the cache import X is gone`.
pub fn sign_text(sign: &SignChange, name: &dyn Fn(&str) -> String) -> String {
    let what = sign_noun(sign.kind);
    let value = |value: &str| if value.is_empty() { what.to_owned() } else { format!("{what} {}", name(value)) };
    match (&sign.before, &sign.after) {
        (Some(before), Some(after)) => match (before.split_once('@'), after.split_once('@')) {
            (Some((image, old)), Some((same, new))) if image == same => {
                format!("{what} {} was renewed ({} → {})", name(image), digest(old), digest(new))
            }
            _ => format!("{what} is {} instead of {}", name(after), name(before)),
        },
        (Some(before), None) => format!("{} is gone", value(before)),
        (None, Some(after)) => format!("{} is new", value(after)),
        (None, None) => what.to_owned(),
    }
}

fn sign_noun(kind: SignKind) -> &'static str {
    match kind {
        SignKind::CacheImport => "the cache import",
        SignKind::FailedImport => "the failure to import",
        SignKind::CacheExport => "the cache export",
        SignKind::InlineCache => "inline cache",
        SignKind::Base => "the base",
        SignKind::Builder => "the builder",
        SignKind::Version => "the version",
        SignKind::TimeSource => "the source of the times",
    }
}

/// The same of several.
fn sign_nouns(kind: SignKind) -> &'static str {
    match kind {
        SignKind::CacheImport => "the cache imports",
        SignKind::FailedImport => "the failures to import",
        SignKind::CacheExport => "the cache exports",
        SignKind::Base => "the bases",
        SignKind::Version => "the versions",
        SignKind::InlineCache | SignKind::Builder | SignKind::TimeSource => sign_noun(kind),
    }
}

/// A digest, short.
fn digest(text: &str) -> String {
    text.strip_prefix("sha256:").unwrap_or(text).chars().take(DIGEST_DIGITS).collect()
}

/// Why there is no change, of a series of so many builds.
pub fn no_change(builds: usize) -> &'static str {
    match builds {
        0 => "no build succeeded, so there is nothing to compare",
        1..LEAST_BUILDS => "too few builds for a change: it takes seven builds, two of them on the new level",
        _ => "no lasting change of level",
    }
}

/// What a budget is for.
pub fn budget_name(spent: &Spent) -> String {
    match (&spent.budget.of, &spent.name) {
        (BudgetOf::Total, _) | (_, None) => "whole run".to_owned(),
        (_, Some(name)) => name.clone(),
    }
}

/// The series in one line: medians of equal stretches as blocks, on a logarithmic scale from the smallest to the largest.
pub fn chart(values: &[f64], columns: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let width = values.len().min(columns);
    let heights: Vec<f64> = (0..width)
        .map(|column| {
            let stretch = column * values.len() / width..(column + 1) * values.len() / width;
            let mut sorted = values[stretch].to_vec();
            sorted.sort_unstable_by(f64::total_cmp);
            sorted[sorted.len() / 2].max(1e-3).ln()
        })
        .collect();
    let low = heights.iter().copied().fold(f64::INFINITY, f64::min);
    let span = heights.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low;
    heights.iter().map(|height| BLOCKS[(((height - low) / span.max(0.1)) * 7.0).round().clamp(0.0, 7.0) as usize]).collect()
}

/// Runs that are no points, said: `2 failed, 1 cut off`. Empty for none.
pub fn left_out(measured: &Measured) -> String {
    let out = measured.left_out;
    let parts = [(out.failed, "failed"), (out.unfinished, "canceled or cut off"), (out.unknown, "without a time")];
    parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{
        build::{Outcome, Status},
        history::rows::{BuildRow, StepRow},
        policy::trend::{AcceptedLevel, Budget, Trend as TrendPolicy},
        report::{text, trend_json, trend_markdown},
        trend::{
            analysis::{Question, Steps, analyse},
            ledger::{
                recorded,
                tests::{run, step},
            },
        },
    };

    /// The story of a lost inline cache, with names that are up to no good.
    fn story(hostile: bool) -> Trend {
        let evil = if hostile { "\u{1b}[2J|<b>`x`\u{202e}" } else { "" };
        let (mut runs, mut builds, mut steps): (Vec<_>, Vec<_>, Vec<(_, StepRow)>) = Default::default();
        for n in 0..50_u32 {
            let late = n >= 26;
            let pip = (late || n == 9).then_some(1026.0 + f64::from(n % 5));
            let seconds = 150.0 + f64::from(n % 7) + pip.unwrap_or(0.0);
            let mut row = run(n, Some(seconds), if n == 12 { Outcome::Failed } else { Outcome::Succeeded });
            row.project.push_str(evil);
            let imports = if late { vec![] } else { vec![format!("registry.example.org/backend:cache{evil}")] };
            builds.push(BuildRow { run: row.run.clone(), executed: 2, cached: 1, cache_imports: imports, ..BuildRow::default() });
            let status = if pip.is_some() { Status::Done } else { Status::Cached };
            steps.push((row.at, step(n, &format!("[backend 3/5] RUN pip install -r requirements.txt{evil}"), status, pip)));
            runs.push(row);
        }
        let question = Question { target: None, metrics: vec![Metric::Duration], steps: Steps::None, min_ratio: 1.1 };
        let policy = TrendPolicy {
            min_ratio: None,
            budgets: vec![Budget { of: BudgetOf::Total, seconds: 480.0 }],
            accepted: vec![AcceptedLevel { since: format!("run-000{evil}"), target: None, reason: format!("moved{evil}") }],
        };
        let load =
            |from, to| Ok::<_, Infallible>(steps.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, row)| row.clone()).collect());
        analyse(recorded(runs, builds), &question, &policy, load).unwrap()
    }

    fn written(trend: &Trend) -> [(&'static str, String); 3] {
        let mut out = [Vec::new(), Vec::new(), Vec::new()];
        text::trend::write(trend, 100, &mut out[0]).unwrap();
        trend_markdown::write(trend, &mut out[1]).unwrap();
        trend_json::write(trend, &mut out[2]).unwrap();
        let [text, markdown, json] = out.map(|bytes| anstream::adapter::strip_str(std::str::from_utf8(&bytes).unwrap()).to_string());
        [("text", text), ("markdown", markdown), ("json", json)]
    }

    #[test]
    fn the_story_in_one_sentence() {
        let [(_, text), ..] = written(&story(false));
        let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "shop · 49 builds · 2 Mar 2026 to 3 Mar 2026 · left out: 1 failed",
            "builds take 19m 41s instead of 2m 33s (×7.7, certain).",
            "of it: `backend RUN pip install -r requirements.txt` was cached in 96 % of runs and is not any more;",
            "the cache import `registry.example.org/backend:cache` is gone since the same build.",
            "over budget: whole run takes 19m 41s, and may take 8m 00s (median of the last 5 builds)",
            "no change is at \"run-000\": take it out of trend.accept",
        ] {
            assert!(plain.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn nothing_of_the_history_is_written_raw() {
        for (format, text) in written(&story(true)) {
            assert!(format == "json" || !text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{format}: {text}");
            assert!(format != "markdown" || (!text.contains("<b>") && !text.contains("|<")), "{text}");
        }
    }

    #[test]
    fn digests_are_cut() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(
            short_digests(&format!("FROM a@sha256:{digest} AS b sha256:{digest}")),
            "FROM a@sha256:0123456789ab AS b sha256:0123456789ab"
        );
        for text in ["", "sha256:", "sha256:12", "a sha256:0123456789abcdef0é", &format!("sha256:{digest}0")] {
            assert_eq!(short_digests(text), text);
        }
    }

    #[test]
    fn what_went_together_stands_in_one_clause() {
        let sign = |kind, value: &str, gone: bool| {
            let value = Some(value.to_owned());
            SignChange { kind, before: value.clone().filter(|_| gone), after: value.filter(|_| !gone), since: 0 }
        };
        let text = |signs: Vec<(SignChange, Option<&str>)>| {
            let (signs, runs): (Vec<_>, Vec<_>) = signs.into_iter().map(|(sign, run)| (sign, run.map(str::to_owned))).unzip();
            let mut trend = story(true);
            let mut change = trend.series.remove(0).changes.remove(0);
            change.attribution.signs = signs;
            change.sign_runs = runs;
            signs_text(&change, &str::to_owned)
        };
        use SignKind::{CacheImport, InlineCache};
        assert_eq!(
            text(vec![(sign(CacheImport, "a", true), None), (sign(CacheImport, "b", true), None), (sign(InlineCache, "", true), None)]),
            ["the cache imports a and b and inline cache are gone since the same build"]
        );
        assert_eq!(
            text(vec![
                (sign(CacheImport, "a", true), None),
                (sign(CacheImport, "b", false), None),
                (sign(CacheImport, "c", true), Some("r"))
            ]),
            [
                "the cache import a is gone since the same build",
                "the cache import b is new since the same build",
                "the cache import c is gone since run r"
            ]
        );
        let many = ["a", "b", "c", "d", "e"].map(|name| (sign(CacheImport, name, true), None));
        assert_eq!(text(many.to_vec()), ["the cache imports a, b, c and 2 more are gone since the same build"]);
    }

    #[test]
    fn factors_for_people() {
        for (value, text) in [
            (Some(5.75), "×5.8"),
            (Some(12.3), "×12"),
            (Some(0.196), "÷5.1"),
            (Some(1.0), "×1.0"),
            (Some(0.0), "to nothing"),
            (None, "from nothing"),
        ] {
            assert_eq!(ratio(value), text);
        }
    }
}
