//! The arguments of a request, bounded as in Redis's slow log: at most 32 arguments of 128 bytes.

use crate::observe::key_text::escaped;

/// The maximum number of arguments, the note about further ones included.
pub const ARGUMENTS: usize = 32;

/// The maximum number of bytes of an argument.
pub const ARGUMENT_BYTES: usize = 128;

/// What stands in place of a secret, in Redis's words.
const REDACTED: &[u8] = b"(redacted)";

/// The arguments of a request, its name first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestText {
    args: Vec<ArgText>,
    /// The number of all arguments.
    count: usize,
}

/// An argument, or its start.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ArgText {
    start: Vec<u8>,
    more_bytes: usize,
}

impl RequestText {
    /// The text of a request of so many arguments, which are yet to be pushed. Those that are not are known by number only.
    #[must_use]
    pub fn of(count: usize) -> Self {
        Self {
            args: Vec::new(),
            count,
        }
    }

    /// Returns true if no further argument is shown.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let shown = if self.count > ARGUMENTS {
            ARGUMENTS - 1
        } else {
            self.count
        };
        self.args.len() >= shown
    }

    /// Appends an argument of `whole` bytes, of which `known` are the first.
    pub fn push(&mut self, known: &[u8], whole: usize) {
        if !self.is_full() {
            let start = known.get(..ARGUMENT_BYTES).unwrap_or(known);
            self.args.push(ArgText {
                start: start.to_vec(),
                more_bytes: whole.saturating_sub(start.len()),
            });
        }
    }

    /// Replaces the argument of this number, that of the name being 0: it is secret.
    pub fn redact(&mut self, number: usize) {
        if let Some(arg) = self.args.get_mut(number) {
            *arg = ArgText {
                start: REDACTED.to_vec(),
                more_bytes: 0,
            };
        }
    }

    /// The bytes of an argument, or of its start.
    #[must_use]
    pub fn argument(&self, number: usize) -> Option<&[u8]> {
        self.args.get(number).map(|arg| &arg.start[..])
    }

    /// The arguments as Redis shows them, with notes about what is left out.
    #[must_use]
    pub fn shown(&self) -> Vec<Vec<u8>> {
        let more = self.count.saturating_sub(self.args.len());
        let note = (more > 0).then(|| format!("... ({more} more arguments)").into_bytes());
        let args = self.args.iter().map(|arg| {
            let mut text = arg.start.clone();
            if arg.more_bytes > 0 {
                let note = format!("... ({} more bytes)", arg.more_bytes);
                text.extend_from_slice(note.as_bytes());
            }
            text
        });
        args.chain(note).collect()
    }

    /// The same for people and for JSON, unprintable bytes escaped.
    #[must_use]
    pub fn escaped(&self) -> Vec<String> {
        self.shown().iter().map(|arg| escaped(arg)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lens: &[usize]) -> Vec<String> {
        let mut text = RequestText::of(lens.len());
        for len in lens {
            text.push(&vec![b'x'; *len], *len);
        }
        text.escaped()
    }

    #[test]
    fn arguments_are_bounded_as_in_redis() {
        assert_eq!(shown(&[1; 32]), vec!["x"; 32]);
        let many = shown(&[1; 33]);
        assert_eq!(many.len(), 32);
        assert_eq!(many[31], "... (2 more arguments)");
        assert_eq!(shown(&[128]), ["x".repeat(128)]);
        let long = format!("{}... (2 more bytes)", "x".repeat(128));
        assert_eq!(shown(&[130]), [long]);
    }

    #[test]
    fn arguments_that_are_not_known_are_counted() {
        let mut text = RequestText::of(4);
        text.push(b"SET", 3);
        text.push(b"ke", 9);
        assert_eq!(
            text.escaped(),
            ["SET", "ke... (7 more bytes)", "... (2 more arguments)"]
        );
    }

    #[test]
    fn secret_is_redacted() {
        let mut text = RequestText::of(2);
        text.push(b"AUTH", 4);
        text.push(b"secret", 6);
        text.redact(1);
        text.redact(7);
        assert_eq!(text.escaped(), ["AUTH", "(redacted)"]);
    }
}
