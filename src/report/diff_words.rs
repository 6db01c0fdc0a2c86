//! How a difference of two builds is said: the same words in every format.

use super::{trend_words::sign_text, units};
use crate::{
    build::{Status, StepName},
    evidence::commit::short,
    history::{identity, rows::StepRow},
    trend::diff::{Became, Both, Cause, Diff, Side, StepDiff},
};

/// Place and text of a step, with its number: `backend deps 2/2 RUN npm ci`.
pub fn step_name(row: &StepRow) -> String {
    let parts = StepName::parse(&row.name);
    let text = row.name.get(parts.bracket_bytes..).unwrap_or(&row.name);
    match (parts.number, parts.total) {
        (Some(number), Some(total)) => {
            let place = identity::place_of(row.target.as_deref(), &parts);
            let blank = if place.is_empty() { "" } else { " " };
            format!("{place}{blank}{number}/{total} {text}")
        }
        _ if parts.target.is_none() => match &row.target {
            Some(target) => format!("{target} {}", row.name),
            None => row.name.clone(),
        },
        _ => row.name.clone(),
    }
}

/// How a step ended: its time, or `cached`.
pub fn status(row: Option<&StepRow>) -> String {
    let Some(row) = row else { return "–".to_owned() };
    match row.status {
        Status::Done => row.seconds.map_or_else(|| "ran".to_owned(), units::duration),
        Status::Cached if row.cache_hit == Some(true) => "cached".to_owned(),
        Status::Cached => "cached?".to_owned(),
        Status::Error => "ERROR".to_owned(),
        Status::Canceled => "canceled".to_owned(),
        Status::Unfinished => "unfinished".to_owned(),
    }
}

/// What became of a step.
pub fn became(step: &StepDiff) -> &'static str {
    match step.became {
        Became::LostCache => "lost the cache",
        Became::WonCache => "won the cache",
        Became::Added => "new",
        Became::Removed => "gone",
        Became::Broken => "broken",
        Became::Slower => "slower",
        Became::Faster => "faster",
        Became::Same if step.edited => "edited",
        Became::Same => "",
    }
}

/// True for a step that is worth a row.
pub fn is_worth_a_row(step: &StepDiff) -> bool {
    let took_time = step.delta().abs() >= 0.05;
    match step.became {
        Became::Same => step.edited,
        Became::Added | Became::Removed => took_time || step.row().is_some_and(|row| row.number.is_some()),
        _ => true,
    }
}

/// A side: `A  run…  commit 5e6305ed8c26 · 21 Nov 2026 02:14 UTC`.
pub fn side(side: &Side) -> String {
    let run = &side.rows.run;
    let mut parts = vec![side.name.clone()];
    parts.extend(run.commit.as_deref().map(|commit| format!("commit {}", short(commit))));
    parts.extend(side.recorded.then(|| super::trend_words::time(run.at)));
    if run.outcome != crate::build::Outcome::Succeeded {
        parts.push(run.outcome.name().to_owned());
    }
    parts.join(" · ")
}

/// Why a step ran. `name` makes a foreign text recognisable in the format.
pub fn cause(cause: &Cause, name: &dyn Fn(&str) -> String) -> String {
    let list = |words: &[String]| words.iter().map(|word| name(word)).collect::<Vec<_>>().join(" ");
    match cause {
        Cause::Text { gone, new } if gone.is_empty() => format!("its text has {} more", list(new)),
        Cause::Text { gone, new } if new.is_empty() => format!("its text has lost {}", list(gone)),
        Cause::Text { gone, new } => format!("its text has {} instead of {}", list(new), list(gone)),
        Cause::Files { files, count } => {
            let named = files.iter().map(|file| name(file)).collect::<Vec<_>>().join(", ");
            let more = count - files.len().min(*count);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{} that it copies changed: {named}{more}", units::count(*count, "file"))
        }
        Cause::NoFiles => "nothing that it copies changed between the commits: the cache did not have it any more".to_owned(),
        Cause::Base(sign) | Cause::Sign(sign) => sign_text(sign, name),
        Cause::NothingCached => "no step at all came from the cache: the builder's cache was cleared, or it is another builder".to_owned(),
        Cause::Context(before, after) => format!("{} of context were sent instead of {}", units::bytes(*after), units::bytes(*before)),
    }
}

/// Tenths of a second: what is printed is added up, so that the printed columns add up.
pub fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

/// Steps, overlap and total as they are printed: steps and overlap add up to the total.
pub fn totals(diff: &Diff) -> (Both, Option<(Both, Both)>) {
    let sum = |of: &dyn Fn(&StepDiff) -> f64| tenths(diff.steps.iter().map(|step| tenths(of(step))).sum());
    let steps = Both { a: sum(&|step| step.seconds().0), b: sum(&|step| step.seconds().1) };
    let rest = diff.total.map(|total| {
        let total = Both { a: tenths(total.a), b: tenths(total.b) };
        (Both { a: total.a - steps.a, b: total.b - steps.b }, total)
    });
    (steps, rest)
}

#[cfg(test)]
mod tests {
    use crate::{
        build::{Build, collect::Collector},
        history::{RunInfo, run_rows},
        log::Reader,
        redact::Redactor,
        report::{diff_json, diff_markdown, text},
        trend::diff::{ChangedFiles, Diff, Side, compare},
    };

    fn side(log: &str) -> Side {
        let mut builds: Vec<Build> = Vec::new();
        let mut reader = Reader::new(Collector::new(|build| builds.push(build)));
        reader.feed(log.as_bytes());
        reader.finish();
        let info = RunInfo { redactor: Redactor::default(), ..RunInfo::default() };
        Side { name: "a\u{1b}[31m|log".to_owned(), rows: run_rows(&builds, &[], &info), recorded: false }
    }

    fn hostile() -> Diff {
        let log = |status: &str, more: &str| {
            format!(
                "#1 [internal] load build definition from Dockerfile\n#1 DONE 0.0s\n\n\
                 #2 [2/3] COPY \u{202e}<b>|`x`\u{1b}[2J ./\n#2 {status}\n\n\
                 #3 [3/3] RUN NPM_TOKEN=s3cret-one npm ci{more}\n#3 {status}\n"
            )
        };
        compare(
            side(&log("CACHED", "")),
            side(&log("DONE 1.5s", " --s3cret \u{7}|")),
            Some(&ChangedFiles { files: vec!["\u{1b}[2J|<b>".to_owned()], ..ChangedFiles::default() }),
        )
    }

    #[test]
    fn nothing_of_a_log_is_written_raw_and_no_secret_at_all() {
        let diff = hostile();
        assert!(diff.roots().len() == 1, "{diff:?}");
        let mut written: Vec<(&str, Vec<u8>)> = vec![("text", Vec::new()), ("markdown", Vec::new()), ("json", Vec::new())];
        text::diff::write(&diff, 80, true, &mut written[0].1).unwrap();
        diff_markdown::write(&diff, &mut written[1].1).unwrap();
        diff_json::write(&diff, &mut written[2].1).unwrap();
        for (format, bytes) in written {
            let text = anstream::adapter::strip_str(std::str::from_utf8(&bytes).unwrap()).to_string();
            assert!(!text.contains("s3cret-one"), "{format}: {text}");
            assert!(format == "json" || !text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{format}: {text}");
            assert!(format != "markdown" || (!text.contains("<b>") && !text.contains("|`x`")), "{text}");
        }
    }
}
