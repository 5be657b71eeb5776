//! The formats of lines. A line has at most [`LINE_MAX_BYTES`] with its newline, and only that one newline.

use std::fmt::Write;

use chrono::{DateTime, Local};

use crate::log::record::{LINE_MAX_BYTES, Record, Value, head};
use crate::text::is_unseen;

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `[YYYY-MM-DD HH:MM:SS.mmm] LEVEL target: message key=value`, in local time.
    #[default]
    Text,
    /// One JSON object per line; the time is RFC 3339 with its offset.
    Json,
}

impl LogFormat {
    /// The formats, by the names that the command line has for them.
    pub const ALL: [(&'static str, Self); 2] = [("text", Self::Text), ("json", Self::Json)];

    /// Returns the line, with its newline.
    pub(super) fn line(self, record: &Record, time: DateTime<Local>) -> String {
        match self {
            Self::Text => text(record, time),
            Self::Json => json(record, time),
        }
    }
}

fn text(record: &Record, time: DateTime<Local>) -> String {
    let time = time.format("%Y-%m-%d %H:%M:%S%.3f");
    let mut line = format!("[{time}] {} {}:", record.level, record.target);
    if !record.message.is_empty() {
        line.push(' ');
        escape(&record.message, &mut line);
    }
    for (name, value) in &record.fields {
        // Writing to a `String` cannot fail.
        let _ = write!(line, " {name}=");
        match value {
            Value::Text(text) => escape(text, &mut line),
            value => _ = write!(line, "{value}"),
        }
    }
    line.truncate(head(&line, LINE_MAX_BYTES - 1).len());
    line.push('\n');
    line
}

/// Escapes characters that are not seen, so that bytes of a peer can neither start a new line nor control a terminal.
fn escape(text: &str, line: &mut String) {
    for c in text.chars() {
        if is_unseen(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

/// The end of the longest line: of its fields, of the mark of a cut line, of the object.
const ENDING: &str = "},\"truncated\":true}\n";

/// The maximum length of the name of a module.
const TARGET_MAX_BYTES: usize = 256;

fn json(record: &Record, time: DateTime<Local>) -> String {
    let time = time.format("%Y-%m-%dT%H:%M:%S%.3f%:z");
    let mut line = JsonLine {
        text: format!("{{\"time\":\"{time}\",\"level\":\"{}\"", record.level),
        is_cut: false,
    };
    line.put_string(",\"target\":", record.target, TARGET_MAX_BYTES);
    line.put_string(",\"message\":", &record.message, LINE_MAX_BYTES);
    let mut opening = ",\"fields\":{";
    for (name, value) in &record.fields {
        let start = format!("{opening}{}:", quoted(name, LINE_MAX_BYTES).text);
        let is_put = match value {
            Value::Text(text) => line.put_string(&start, text, LINE_MAX_BYTES),
            value => line.put(&start, &value.to_string()),
        };
        if is_put {
            opening = ",";
        }
    }
    if opening == "," {
        line.text.push('}');
    }
    if line.is_cut {
        line.text.push_str(",\"truncated\":true");
    }
    line.text.push_str("}\n");
    line.text
}

/// A JSON object that is written as far as there is room, and is valid wherever that ends.
struct JsonLine {
    text: String,
    /// Something was left out.
    is_cut: bool,
}

impl JsonLine {
    /// Puts a value, if there is room for all of it.
    fn put(&mut self, start: &str, value: &str) -> bool {
        let has_room = start.len() + value.len() <= self.room();
        if has_room {
            self.text.push_str(start);
            self.text.push_str(value);
        }
        self.is_cut |= !has_room;
        has_room
    }

    /// Puts a string, as much of it as there is room for; nothing if there is none for its quotes.
    fn put_string(&mut self, start: &str, text: &str, most_bytes: usize) -> bool {
        let room = self.room().saturating_sub(start.len()).min(most_bytes);
        let string = quoted(text, room);
        self.is_cut |= string.is_cut;
        self.put(start, &string.text)
    }

    /// The bytes that are left before the ending.
    fn room(&self) -> usize {
        (LINE_MAX_BYTES - ENDING.len()).saturating_sub(self.text.len())
    }
}

/// A JSON string of at most that length with its quotes, which themselves are always there.
fn quoted(text: &str, most_bytes: usize) -> JsonLine {
    let mut string = JsonLine {
        text: "\"".to_owned(),
        is_cut: false,
    };
    for c in text.chars() {
        let before = string.text.len();
        match c {
            '"' => string.text.push_str("\\\""),
            '\\' => string.text.push_str("\\\\"),
            '\n' => string.text.push_str("\\n"),
            '\r' => string.text.push_str("\\r"),
            '\t' => string.text.push_str("\\t"),
            // JSON requires no escape of those above U+007F, but they control terminals.
            c if is_unseen(c) => _ = write!(string.text, "\\u{:04x}", u32::from(c)),
            c => string.text.push(c),
        }
        if string.text.len() >= most_bytes {
            string.text.truncate(before);
            string.is_cut = true;
            break;
        }
    }
    string.text.push('"');
    string
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use tracing::Level;

    use super::*;

    fn record(message: &str, fields: &[(&'static str, Value)]) -> Record {
        Record {
            level: Level::WARN,
            target: "ringroad::proxy",
            message: message.to_owned(),
            fields: fields.to_vec(),
        }
    }

    fn text_of(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    fn parsed(line: &str) -> serde_json::Value {
        assert!(line.ends_with("}\n") && line.len() <= LINE_MAX_BYTES);
        assert!(!line.trim_end_matches('\n').contains(char::is_control));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    #[test]
    fn text_line_has_all_parts_and_no_control_characters() {
        let fields = [
            ("server", text_of("a\nb")),
            ("n", Value::Number(3.into())),
            ("up", Value::Bool(false)),
        ];
        let line = text(
            &record("gone\r\n[x] \u{1b}[31mforged", &fields),
            Local::now(),
        );
        let (time, rest) = line.split_at(26);
        let digits = time.replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(digits, "[0000-00-00 00:00:00.000] ");
        assert_eq!(
            rest,
            "WARN ringroad::proxy: gone\\r\\n[x] \\u{1b}[31mforged server=a\\nb n=3 up=false\n"
        );
    }

    #[test]
    fn json_line_keeps_every_value_and_its_type() {
        let fields = [
            ("server", text_of("a\"b\\c\n\u{1}\u{9b}é")),
            ("n", Value::Number(3.into())),
            ("up", Value::Bool(false)),
            ("level", text_of("no second level")),
        ];
        let mut line = parsed(&json(&record("it \"said\"", &fields), Local::now()));
        let time = line["time"].take();
        let time = DateTime::parse_from_rfc3339(time.as_str().unwrap());
        assert!(time.is_ok(), "{time:?}");
        let expected = json!({
            "time": null,
            "level": "WARN",
            "target": "ringroad::proxy",
            "message": "it \"said\"",
            "fields": {
                "server": "a\"b\\c\n\u{1}\u{9b}é",
                "n": 3,
                "up": false,
                "level": "no second level",
            },
        });
        assert_eq!(line, expected);
        let plain = json(&record("", &[]), Local::now());
        assert!(plain.ends_with("\"message\":\"\"}\n"), "{plain}");
    }

    #[test]
    fn long_text_line_is_cut_between_characters() {
        for lead in 0..4 {
            let message = "x".repeat(lead) + &"é".repeat(LINE_MAX_BYTES);
            let line = text(&record(&message, &[]), Local::now());
            assert!(line.ends_with("é\n"));
            assert!((LINE_MAX_BYTES - 1..=LINE_MAX_BYTES).contains(&line.len()));
        }
    }

    #[test]
    fn long_json_line_says_that_it_is_cut() {
        let long = "\u{1}".repeat(LINE_MAX_BYTES);
        let cut = parsed(&json(&record(&long, &[]), Local::now()));
        assert_eq!(cut["truncated"], true);
        let fields = [
            ("reply", text_of(&long)),
            ("n", Value::Number(3.into())),
            ("last", text_of("")),
        ];
        let cut = parsed(&json(&record("kept", &fields), Local::now()));
        assert_eq!(cut["message"], "kept");
        assert_eq!(cut["truncated"], true);
        assert!(cut["fields"]["reply"].as_str().unwrap().len() > 600);
    }

    proptest! {
        #[test]
        fn json_line_is_valid_whatever_it_says(
            message in ".{0,4200}|\\PC{0,40}",
            values in proptest::collection::vec("[\\x00-\u{a0}\"\\\\é💍]{0,1500}", 0..6),
            number in any::<u64>(),
        ) {
            let mut fields: Vec<_> = ["a", "b", "c", "d", "e", "f"].into_iter().zip(values.iter().map(|value| text_of(value))).collect();
            fields.push(("n", Value::Number(number.into())));
            let line = parsed(&json(&record(&message, &fields), Local::now()));
            let is_whole = line.get("truncated").is_none();
            let said = line["message"].as_str().unwrap();
            prop_assert!(message.starts_with(said));
            for (name, value) in &fields {
                match (line["fields"].get(name), value) {
                    (Some(serde_json::Value::String(found)), Value::Text(value)) => {
                        prop_assert!(value.starts_with(found.as_str()));
                        prop_assert!(!is_whole || value == found);
                    }
                    (Some(found), value) => prop_assert_eq!(found.to_string(), value.to_string()),
                    (None, _) => prop_assert!(!is_whole),
                }
            }
        }
    }
}
