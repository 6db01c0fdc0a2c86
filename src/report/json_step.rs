//! One step in the schema `bklog.show/1`.
//!
//! A log of half a gigabyte has tens of thousands of steps of twenty fields each, and serde spends more time on their constant keys than
//! the reader spends on the log. So the keys are written as they are; every value that a log can influence goes through serde_json.

use std::{collections::HashMap, sync::Arc};

use crate::build::{Instant, Step, StepName};

/// Members of names are kept until there are so many.
const MOST_KNOWN: usize = 1000;

/// Longer names are not kept.
const LONGEST_KNOWN: usize = 1024;

/// Writes steps.
///
/// Steps of the same name share its parts, and what of the object tells of the name is written only once for them.
#[derive(Debug, Default)]
pub(super) struct StepWriter {
    /// By the address of the parts, which are held so that nothing else can come to lie there.
    known: HashMap<usize, Known>,
}

/// The members that a name makes.
#[derive(Debug)]
struct Known {
    name: String,
    json: Vec<u8>,
    _parts: Arc<StepName>,
}

impl StepWriter {
    /// Appends a step as a JSON object.
    pub(super) fn write(&mut self, step: &Step, out: &mut Vec<u8>) {
        Object { out }.number("{\"index\":", u64::from(step.index));
        let key = Arc::as_ptr(&step.parts).addr();
        match self.known.get(&key) {
            Some(known) if known.name == step.name && step.other_names.is_empty() => out.extend_from_slice(&known.json),
            _ => {
                let from = out.len();
                write_name(step, Object { out });
                if step.other_names.is_empty() && step.name.len() <= LONGEST_KNOWN {
                    self.keep(key, step, &out[from..]);
                }
            }
        }
        write_course(step, Object { out });
    }

    fn keep(&mut self, key: usize, step: &Step, json: &[u8]) {
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(key, Known { name: step.name.clone(), json: json.to_vec(), _parts: Arc::clone(&step.parts) });
    }
}

/// Appends what the step is.
fn write_name(step: &Step, mut object: Object<'_>) {
    let parts = &step.parts;
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
}

/// Appends what became of the step, and the end of the object.
fn write_course(step: &Step, mut object: Object<'_>) {
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
    if step.transferred_bytes.is_none() && !step.clipped && step.warnings.is_empty() && step.error.is_none() {
        // So it is with nearly every step.
        object.key(",\"transferred_bytes\":null,\"clipped\":false,\"warnings\":[],\"error\":null");
    } else {
        object.optional_number(",\"transferred_bytes\":", step.transferred_bytes);
        object.flag(",\"clipped\":", step.clipped);
        object.texts(",\"warnings\":", &step.warnings);
        object.optional_text(",\"error\":", step.error.as_deref());
    }
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
        self.string(text);
    }

    fn string(&mut self, text: &str) {
        // Hardly any text has a character that JSON escapes, and a loop without an exit looks at many bytes at once.
        let plain = text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
        if plain {
            self.out.push(b'"');
            self.out.extend_from_slice(text.as_bytes());
            self.out.push(b'"');
        } else {
            self.value(text);
        }
    }

    fn optional_text(&mut self, key: &'static str, text: Option<&str>) {
        match text {
            Some(text) => self.text(key, text),
            None => self.null(key),
        }
    }

    fn texts(&mut self, key: &'static str, texts: &[String]) {
        self.key(key);
        self.out.push(b'[');
        for (n, text) in texts.iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            self.string(text);
        }
        self.out.push(b']');
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
