//! Requests as operators see them: their keys and arguments.

use std::time::Duration;

use crate::observe::RequestText;
use crate::protocol::memcached::command::Policy;
use crate::protocol::memcached::command::{Command, Meta};
use crate::protocol::memcached::request::tokens::Words;
use crate::protocol::memcached::request::{Form, Request, RequestScanner};
use crate::protocol::{Limits, Scan};

/// The duration from which requests are logged, as by default in a Redis pool.
pub const SLOW_FROM: Duration = Duration::from_millis(10);

/// The maximum number of logged requests, as by default in a Redis pool.
pub(crate) const SLOW_ENTRIES: usize = 128;

/// Calls `visit` with each key, as the line has it.
pub(crate) fn visit_keys(request: &Request, frame: &[u8], visit: &mut dyn FnMut(&[u8])) {
    if matches!(request.form, Form::Refused(_)) || request.key.is_empty() {
        return;
    }
    if !request.has_more_keys {
        return visit(request.key.of(frame));
    }
    let end = frame.len().saturating_sub(2);
    let rest = frame.get(request.key.start..end).unwrap_or_default();
    Words::new(rest).for_each(|key| visit(key.of(rest)));
}

/// As [`visit_keys`], for a request of which this is the start.
pub(crate) fn visit_keys_of_head(head: &[u8], visit: &mut dyn FnMut(&[u8])) {
    if let Ok(Scan::Complete { found, .. }) =
        RequestScanner::default().scan(head, &Limits::default())
    {
        return visit_keys(&found, head, visit);
    }
    let line = line(head).0;
    if let Some(key) = Words::new(line).nth(1) {
        visit(key.of(line));
    }
}

/// The words of the line of a request of which this is the start, and its data.
pub(crate) fn text(head: &[u8]) -> RequestText {
    let (line, data) = line(head);
    let words: Vec<_> = Words::new(line).map(|word| word.of(line)).collect();
    let data_bytes = data.and_then(|data| {
        let name = words.first()?;
        let len_at = match Command::lookup(name)?.policy {
            Policy::Store | Policy::Cas => 4,
            Policy::Meta(Meta::Set) => 2,
            _ => return None,
        };
        let len: usize = str::from_utf8(words.get(len_at)?).ok()?.parse().ok()?;
        Some((data.get(..len).unwrap_or(data), len))
    });
    let is_cut = data.is_none();
    let more = usize::from(data_bytes.is_some() || is_cut);
    let mut text = RequestText::of(words.len() + more);
    for word in &words {
        text.push(word, word.len());
    }
    if let Some((data, len)) = data_bytes {
        text.push(data, len);
    }
    text
}

/// The line at the start of a request, and what follows it; a line that is cut has whole words only.
fn line(head: &[u8]) -> (&[u8], Option<&[u8]>) {
    if let Some(end) = memchr::memmem::find(head, b"\r\n") {
        let (line, rest) = head.split_at(end);
        return (line, rest.get(2..));
    }
    let whole = memchr::memrchr(b' ', head).unwrap_or(0);
    (head.get(..whole).unwrap_or_default(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_and_data_are_arguments() {
        for (head, expected) in [
            ("get a b\r\n", "get a b"),
            ("set k 0 0 5\r\nhello\r\n", "set k 0 0 5 hello"),
            ("set k 0 0 5\r\nhe", "set k 0 0 5 he... (3 more bytes)"),
            ("ms k 2 T0\r\nhi\r\n", "ms k 2 T0 hi"),
            ("version\r\n", "version"),
            ("get a bc", "get a ... (1 more arguments)"),
            ("", "... (1 more arguments)"),
        ] {
            let shown = text(head.as_bytes()).escaped().join(" ");
            assert_eq!(shown, expected, "{head}");
        }
    }

    #[test]
    fn keys_are_those_of_the_line() {
        for (head, expected) in [
            ("get a b\r\n", "a b"),
            ("gat 10 a b\r\n", "a b"),
            ("set k 0 0 5\r\nhello\r\n", "k"),
            ("set k 0 0 5\r\nhe", "k"),
            ("mg k v\r\n", "k"),
            ("version\r\n", ""),
        ] {
            let mut keys = Vec::new();
            visit_keys_of_head(head.as_bytes(), &mut |key| {
                keys.push(String::from_utf8_lossy(key).into_owned());
            });
            assert_eq!(keys.join(" "), expected, "{head}");
        }
    }
}
