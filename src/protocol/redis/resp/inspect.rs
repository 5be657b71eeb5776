//! Parsing of replies whose framing the scanner has already verified.

use std::{iter, mem, vec};

use bytes::Bytes;

use crate::protocol::redis::resp::error_line::{ErrorAuthor, error_code};
use crate::protocol::redis::resp::number;
use crate::protocol::redis::resp::number::Number;
use crate::protocol::redis::resp::reply::ReplyScanner;
use crate::protocol::{Passed, ReplyClass, Span};

/// The first line of a reply with elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    /// Number of elements: for a map, keys and values.
    pub(crate) count: usize,
    /// Length of the line.
    pub(crate) len: usize,
}

impl Header {
    /// `None` if the reply has no elements, or is nil.
    pub(crate) fn read(reply: &[u8]) -> Option<Self> {
        let (kind, rest) = reply.split_first()?;
        let each = match kind {
            b'*' | b'~' => 1,
            b'%' => 2,
            _ => return None,
        };
        let Number::Line(count, used) = number::read(rest) else {
            return None;
        };
        Some(Self {
            count: usize::try_from(count).ok()?.checked_mul(each)?,
            len: 1 + used,
        })
    }
}

/// The elements of an array, a set or a map; `None` for other types.
pub(crate) fn elements(reply: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let header = Header::read(reply)?;
    let mut rest = reply.get(header.len..)?;
    Some((0..header.count).map_while(move |_| {
        let (element, after) = rest.split_at_checked(first_len(rest)?)?;
        rest = after;
        Some(element)
    }))
}

/// The spans of the elements of an array, in order; `None` for other types.
pub(crate) fn element_spans(reply: &[u8]) -> Option<Vec<Span>> {
    let header = Header::read(reply).filter(|_| reply.starts_with(b"*"))?;
    let mut end = header.len;
    let span = |element: &[u8]| {
        let start = end;
        end += element.len();
        Span { start, end }
    };
    Some(elements(reply)?.map(span).collect())
}

/// The length of the first whole reply of these.
fn first_len(replies: &[u8]) -> Option<usize> {
    match ReplyScanner::default().scan(replies, ErrorAuthor::Server) {
        Ok(Passed::Whole { len, .. }) => Some(len),
        _ => None,
    }
}

/// The depth up to which elements are sorted: the lists of servers have four levels at most, and no reply may exhaust
/// the stack.
const DEPTH: usize = 8;

/// A reply with its elements sorted: servers list what they have loaded in an arbitrary order.
pub(crate) fn sorted(reply: &[u8]) -> Vec<u8> {
    sorted_to(reply, DEPTH)
}

fn sorted_to(reply: &[u8], depth: usize) -> Vec<u8> {
    let Some(elements) = elements(reply).filter(|_| depth > 0) else {
        return reply.to_vec();
    };
    let mut parts: Vec<Vec<u8>> = elements
        .map(|element| sorted_to(element, depth - 1))
        .collect();
    parts.sort();
    parts.insert(0, reply.iter().copied().take(1).collect());
    parts.concat()
}

/// The bytes of a bulk string.
pub(crate) fn bulk(reply: &[u8]) -> Option<&[u8]> {
    let (b'$', rest) = reply.split_first()? else {
        return None;
    };
    let Number::Line(len, used) = number::read(rest) else {
        return None;
    };
    rest.get(used..used.checked_add(usize::try_from(len).ok()?)?)
}

/// Classifies a reply, or the start of one.
pub(crate) fn classify(reply: &[u8]) -> ReplyClass {
    match reply.first() {
        Some(b'+') => ReplyClass::Status,
        Some(b'%') => ReplyClass::Map,
        Some(b'-' | b'!') => ReplyClass::Error(error_code(reply)),
        _ => ReplyClass::Value,
    }
}

/// Returns true if a reply is an error.
pub(crate) fn is_error(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'-' | b'!'))
}

/// The number of an integer reply.
pub(crate) fn integer(reply: &[u8]) -> Option<i64> {
    let (b':', digits) = reply.split_first()? else {
        return None;
    };
    match number::read(digits) {
        Number::Line(value, _) => Some(value),
        Number::Partial | Number::Bad => None,
    }
}

/// The numbers of an array of integers.
pub(crate) fn integers(reply: &[u8]) -> Option<Vec<i64>> {
    elements(reply)?.map(integer).collect()
}

/// The pairs of a map or a flat array of bulk strings.
pub(crate) fn pairs(reply: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let words: Option<Vec<&[u8]>> = elements(reply)?.map(bulk).collect();
    let words = words?;
    let (pairs, []) = words.as_chunks::<2>() else {
        return None;
    };
    Some(pairs.iter().map(|[name, value]| (*name, *value)).collect())
}

/// The strings and numbers of a reply, at any depth.
pub(crate) fn strings(reply: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = reply;
    iter::from_fn(move || {
        loop {
            let (kind, line) = rest.split_first()?;
            let lf = memchr::memchr(b'\n', line)?;
            let text = line.get(..lf)?.trim_ascii_end();
            rest = line.get(lf + 1..)?;
            match kind {
                b'*' => {}
                b'$' => {
                    let Number::Line(len, _) = number::read(line) else {
                        return None;
                    };
                    let len = usize::try_from(len).ok()?;
                    let string = rest.get(..len)?;
                    rest = rest.get(len + 2..)?;
                    return Some(string);
                }
                b',' | b':' => return Some(text),
                _ => return None,
            }
        }
    })
}

/// The elements of an array reply, in order, as parts of the reply that can be shared.
#[derive(Debug)]
pub(crate) struct SharedElements<'r> {
    reply: &'r Bytes,
    /// The start of the next one.
    at: usize,
    /// The ends of the remaining ones.
    ends: vec::IntoIter<usize>,
}

impl<'r> SharedElements<'r> {
    /// `None` if the reply is not an array.
    pub(crate) fn read(reply: &'r Bytes) -> Option<Self> {
        let header = Header::read(reply).filter(|_| reply.starts_with(b"*"))?;
        let mut end = header.len;
        // One allocation, however many keys: no element is shorter than the bound assumes.
        let mut ends = Vec::with_capacity(header.count.min(reply.len() / 3));
        for _ in 0..header.count {
            end += first_len(reply.get(end..)?)?;
            ends.push(end);
        }
        Some(Self {
            reply,
            at: header.len,
            ends: ends.into_iter(),
        })
    }

    /// `None` if the reply is not an array of `count` elements.
    pub(crate) fn read_exact(reply: &'r Bytes, count: usize) -> Option<Self> {
        Self::read(reply).filter(|elements| elements.ends.len() == count)
    }
}

impl<'r> Iterator for SharedElements<'r> {
    /// The reply, and the start and the end of the element.
    type Item = (&'r Bytes, usize, usize);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let end = self.ends.next()?;
        let start = mem::replace(&mut self.at, end);
        Some((self.reply, start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_elements_says_nothing_at_any_depth() {
        let one = b"*2\r\n*2\r\n:1\r\n:2\r\n*1\r\n*2\r\n+a\r\n+b\r\n";
        let other = b"*2\r\n*1\r\n*2\r\n+b\r\n+a\r\n*2\r\n:2\r\n:1\r\n";
        assert_eq!(sorted(one), sorted(other));
        assert_ne!(sorted(one), sorted(b"*2\r\n:1\r\n:2\r\n"));
    }

    #[test]
    fn deeply_nested_reply_is_bounded_work() {
        const DEPTH: usize = 200_000;
        let mut deep = b"*1\r\n".repeat(DEPTH);
        deep.extend_from_slice(b":1\r\n");
        assert_eq!(sorted(&deep).len(), deep.len() - super::DEPTH * 3);
    }
}
