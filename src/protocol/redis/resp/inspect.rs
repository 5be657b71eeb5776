//! Looking into replies whose framing the scanner has already verified.

use crate::protocol::Passed;
use crate::protocol::redis::resp::number;
use crate::protocol::redis::resp::number::Number;
use crate::protocol::redis::resp::reply::ReplyScanner;

/// The first line of a reply with elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    /// Its elements: of a map, keys and values.
    pub(crate) count: usize,
    /// Bytes of the line.
    pub(crate) len: usize,
}

impl Header {
    /// `None` where the reply has no elements to it, or is nil.
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

/// The elements of an array, a set or a map; `None` where it is none.
pub(crate) fn elements(reply: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let header = Header::read(reply)?;
    let mut rest = reply.get(header.len..)?;
    Some((0..header.count).map_while(move |_| {
        let Ok(Passed::Whole { len, .. }) = ReplyScanner::default().scan(rest) else {
            return None;
        };
        let (element, after) = rest.split_at_checked(len)?;
        rest = after;
        Some(element)
    }))
}

/// How deep a reply may be nested for the order of its elements to say nothing: what servers list has four floors at the
/// most, and no reply of theirs may exhaust the stack.
const FLOORS: usize = 8;

/// A reply in a form in which the order of elements says nothing: servers list what they have loaded in an order of their
/// own.
pub(crate) fn sorted(reply: &[u8]) -> Vec<u8> {
    sorted_down(reply, FLOORS)
}

fn sorted_down(reply: &[u8], floors: usize) -> Vec<u8> {
    let Some(elements) = elements(reply).filter(|_| floors > 0) else {
        return reply.to_vec();
    };
    let mut parts: Vec<Vec<u8>> = elements
        .map(|element| sorted_down(element, floors - 1))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_elements_says_nothing_on_any_floor() {
        let one = b"*2\r\n*2\r\n:1\r\n:2\r\n*1\r\n*2\r\n+a\r\n+b\r\n";
        let other = b"*2\r\n*1\r\n*2\r\n+b\r\n+a\r\n*2\r\n:2\r\n:1\r\n";
        assert_eq!(sorted(one), sorted(other));
        assert_ne!(sorted(one), sorted(b"*2\r\n:1\r\n:2\r\n"));
    }

    #[test]
    fn a_reply_that_is_nested_without_end_is_no_endless_work() {
        const FLOORS: usize = 200_000;
        let mut deep = b"*1\r\n".repeat(FLOORS);
        deep.extend_from_slice(b":1\r\n");
        assert_eq!(sorted(&deep).len(), deep.len() - super::FLOORS * 3);
    }
}
