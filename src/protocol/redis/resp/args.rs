//! Iteration over the arguments of a request whose framing was already verified.

use crate::protocol::{KeySpan, Span};

/// The arguments of one scanned request, its name first.
///
/// Built only over a frame that the request scanner has accepted; over any other it ends early, and never panics.
#[derive(Debug, Clone)]
pub struct Args<'f> {
    frame: &'f [u8],
    at: usize,
}

impl<'f> Args<'f> {
    /// All the arguments of `frame`, the command's name first.
    #[must_use]
    pub fn new(frame: &'f [u8]) -> Self {
        let at = memchr::memchr(b'\n', frame).map_or(frame.len(), |lf| lf + 1);
        Self { frame, at }
    }

    /// The whole request.
    pub(crate) const fn frame(&self) -> &'f [u8] {
        self.frame
    }

    /// The next argument: the span of its bytes, and that of its whole encoding (`$len` and line ends included).
    pub fn next_span(&mut self) -> Option<KeySpan> {
        let start = self.at;
        let rest = self.frame.get(start..)?;
        let lf = memchr::memchr(b'\n', rest)?;
        let mut len = 0_usize;
        for digit in rest.get(1..lf.checked_sub(1)?)? {
            len = len
                .checked_mul(10)?
                .checked_add(usize::from(digit.wrapping_sub(b'0')))?;
        }
        let key = Span {
            start: start + lf + 1,
            end: (start + lf + 1).checked_add(len)?,
        };
        let unit = Span {
            start,
            end: key.end.checked_add(2)?,
        };
        if unit.end > self.frame.len() {
            return None;
        }
        self.at = unit.end;
        Some(KeySpan { key, unit })
    }
}

impl<'f> Iterator for Args<'f> {
    type Item = &'f [u8];

    fn next(&mut self) -> Option<&'f [u8]> {
        let span = self.next_span()?;
        self.frame.get(span.key.start..span.key.end)
    }
}

#[cfg(test)]
mod tests {
    use super::Args;

    #[test]
    fn args_iterate_arguments_and_encodings() {
        let frame = b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\na\r\nb\r\n";
        let all: Vec<&[u8]> = Args::new(frame).collect();
        assert_eq!(all, [b"SET".as_slice(), b"", b"a\r\nb"]);
        let mut args = Args::new(frame);
        args.next();
        let empty = args.next_span().unwrap();
        assert_eq!(empty.unit.of(frame), b"$0\r\n\r\n");
    }
}
