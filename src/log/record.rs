//! The content of one line, whatever its format.

use std::fmt;

use serde_json::Number;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// The maximum length; longer lines are cut. A pipe that is ready takes this many bytes at once (`PIPE_BUF`), so a
/// write never blocks.
pub(super) const LINE_MAX_BYTES: usize = 4096;

/// The content of a line.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) level: Level,
    pub(super) target: &'static str,
    pub(super) message: String,
    pub(super) fields: Vec<(&'static str, Value)>,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(Number),
    Bool(bool),
}

impl Record {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let meta = event.metadata();
        let mut record = Self {
            level: *meta.level(),
            target: meta.target(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut record);
        record
    }

    /// The text of that field, if it has one.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(field, _)| *field == name)?;
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Bool(bool) => bool.fmt(f),
        }
    }
}

/// The message is found whatever its position among the fields.
impl Visit for Record {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), Value::Bool(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields
            .push((field.name(), Value::Number(value.into())));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields
            .push((field.name(), Value::Number(value.into())));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match Number::from_f64(value) {
            Some(number) => self.fields.push((field.name(), Value::Number(number))),
            // JSON has neither infinity nor NaN.
            None => self.record_debug(field, &value),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded(String::new());
        // A value that is too long, or whose own `Debug` fails, is cut there.
        let _ = fmt::write(&mut text, format_args!("{value:?}"));
        match field.name() {
            "message" => self.message = text.0,
            name => self.fields.push((name, Value::Text(text.0))),
        }
    }
}

/// A text that ends at the length of a line; the rest is not even formatted.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LINE_MAX_BYTES.saturating_sub(self.0.len());
        let fitting = head(text, room);
        self.0.push_str(fitting);
        if fitting.len() < text.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// As many whole characters of a text as have at most that length together.
pub(super) fn head(text: &str, most_bytes: usize) -> &str {
    let most_bytes = most_bytes.min(text.len());
    let mut ends = (0..=most_bytes).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}
