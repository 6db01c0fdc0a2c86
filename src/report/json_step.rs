//! One step in the schema `bklog.show/1`.
//!
//! A log of half a gigabyte has tens of thousands of steps of twenty fields each, and serde spends more time on their constant keys than
//! the reader spends on the log. So the keys are written as they are; every value that a log can influence goes through serde_json.

use crate::build::{Instant, Step};

/// Appends a step as a JSON object.
pub(super) fn write(step: &Step, out: &mut Vec<u8>) {
    let parts = &step.parts;
    let mut object = Object { out };
    object.number("{\"index\":", u64::from(step.index));
    object.text(",\"name\":", &step.name);
    if !step.other_names.is_empty() {
        object.texts(",\"other_names\":", &step.other_names);
    }
    object.word(",\"kind\":", parts.kind.name());
    object.optional_text(",\"target\":", parts.target.as_deref());
    object.optional_text(",\"platform\":", parts.platform.as_deref());
    object.optional_text(",\"stage\":", parts.stage.as_deref());
    object.optional_number(",\"number\":", parts.number.map(u64::from));
    object.optional_number(",\"total\":", parts.total.map(u64::from));
    match parts.keyword {
        Some(keyword) => object.word(",\"keyword\":", keyword),
        None => object.null(",\"keyword\":"),
    }
    if parts.onbuild {
        object.flag(",\"onbuild\":", true);
    }
    object.texts(",\"sources\":", &parts.sources);
    object.optional_text(",\"destination\":", parts.destination.as_deref());
    object.optional_text(",\"from\":", parts.from.as_deref());
    if let Some(base) = &parts.base {
        object.text(",\"base\":", base);
    }
    object.word(",\"status\":", step.status.name());
    if let Some(hit) = step.cache_hit {
        object.flag(",\"cache_hit\":", hit);
    }
    match step.seconds {
        Some(seconds) => object.decimal(",\"seconds\":", super::json::microseconds(seconds)),
        None => object.null(",\"seconds\":"),
    }
    if let Some((from, to)) = step.span {
        object.instant(",\"started_at\":", from);
        object.instant(",\"finished_at\":", to);
    }
    object.number(",\"log_lines\":", step.log_lines);
    object.optional_number(",\"transferred_bytes\":", step.transferred_bytes);
    object.flag(",\"clipped\":", step.clipped);
    object.texts(",\"warnings\":", &step.warnings);
    object.optional_text(",\"error\":", step.error.as_deref());
    object.number(",\"first_line\":", step.lines.0);
    object.number(",\"last_line\":", step.lines.1);
    object.out.push(b'}');
}

/// Appends members; a key comes with everything that stands before its value.
struct Object<'a> {
    out: &'a mut Vec<u8>,
}

impl Object<'_> {
    fn key(&mut self, key: &'static str) {
        self.out.extend_from_slice(key.as_bytes());
    }

    fn null(&mut self, key: &'static str) {
        self.key(key);
        self.out.extend_from_slice(b"null");
    }

    /// A word of the schema, which needs no escaping.
    fn word(&mut self, key: &'static str, word: &'static str) {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
    }

    fn flag(&mut self, key: &'static str, flag: bool) {
        self.key(key);
        self.out.extend_from_slice(if flag { b"true" } else { b"false" });
    }

    fn number(&mut self, key: &'static str, number: u64) {
        self.key(key);
        self.value(&number);
    }

    fn decimal(&mut self, key: &'static str, number: f64) {
        self.key(key);
        self.value(&number);
    }

    fn optional_number(&mut self, key: &'static str, number: Option<u64>) {
        match number {
            Some(number) => self.number(key, number),
            None => self.null(key),
        }
    }

    fn text(&mut self, key: &'static str, text: &str) {
        self.key(key);
        self.value(text);
    }

    fn optional_text(&mut self, key: &'static str, text: Option<&str>) {
        match text {
            Some(text) => self.text(key, text),
            None => self.null(key),
        }
    }

    fn texts(&mut self, key: &'static str, texts: &[String]) {
        self.key(key);
        if texts.is_empty() { self.out.extend_from_slice(b"[]") } else { self.value(texts) }
    }

    fn instant(&mut self, key: &'static str, instant: Instant) {
        if let Some(text) = super::json::rfc3339(instant) {
            self.text(key, &text);
        }
    }

    fn value<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        let before = self.out.len();
        if serde_json::to_writer(&mut *self.out, value).is_err() {
            // Numbers and texts always can be written; a half-written value must not break the document all the same.
            self.out.truncate(before);
            self.out.extend_from_slice(b"null");
        }
    }
}
