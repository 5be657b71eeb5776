//! Merges sets that are stored on several servers, if the pool allows it.
//!
//! ```text
//! SDIFF a b c    server of a and c: SDIFF a c    server of b: SUNION b    the first reply without the others
//! ```
//!
//! Each server computes its part, so that no more elements are transferred than necessary. A key that is not a set is
//! an error of its server, and of the whole request, as in Redis.

use std::collections::HashSet;

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::UpstreamError;
use crate::protocol::redis::command::SetJoin;
use crate::protocol::redis::resp::encode::{write_header, write_integer};
use crate::protocol::redis::resp::inspect::{Header, elements, is_error};

/// Merges the replies to the fragments.
pub(crate) fn merge(
    join: SetJoin,
    owners: &[u16],
    replies: &[Bytes],
    out: &mut WriteBuf,
) -> Result<(), UpstreamError> {
    if let Some(error) = replies.iter().find(|reply| is_error(reply)) {
        out.share(error.clone());
        return Ok(());
    }
    let whole = |reply| {
        let count = Header::read(reply)?.count;
        let all: Vec<&[u8]> = elements(reply)?.collect();
        (all.len() == count).then_some(all)
    };
    let sets: Option<Vec<Vec<&[u8]>>> = replies.iter().map(|reply| whole(reply)).collect();
    let mut sets = sets.ok_or(UpstreamError::Fragment)?;
    if join == SetJoin::Difference {
        let first = owners.first().copied().unwrap_or(0).into();
        sets.get_mut(..=first)
            .ok_or(UpstreamError::Fragment)?
            .rotate_right(1);
    }
    let kind = replies.first().and_then(|reply| reply.first().copied());
    let combined = combined(join, sets);
    if let SetJoin::Cardinality(limit) = join {
        let count = combined.len() as u64;
        let count = if limit > 0 { count.min(limit) } else { count };
        write_integer(count, out.tail());
        return Ok(());
    }
    write_header(kind.unwrap_or(b'*'), combined.len(), out.tail());
    for element in combined {
        out.copy(element);
    }
    Ok(())
}

/// Elements are compared by their encoding: servers write members as bulk strings only.
fn combined(join: SetJoin, mut sets: Vec<Vec<&[u8]>>) -> Vec<&[u8]> {
    match join {
        SetJoin::Union => {
            let mut seen = HashSet::new();
            let mut all = sets.concat();
            all.retain(|element| seen.insert(*element));
            all
        }
        SetJoin::Intersection | SetJoin::Cardinality(_) => {
            sets.sort_by_key(Vec::len);
            let mut sets = sets.into_iter();
            let mut common = sets.next().unwrap_or_default();
            for set in sets {
                let set: HashSet<&[u8]> = set.into_iter().collect();
                common.retain(|element| set.contains(element));
            }
            common
        }
        SetJoin::Difference => {
            let mut sets = sets.into_iter();
            let mut left = sets.next().unwrap_or_default();
            let others: HashSet<&[u8]> = sets.flatten().collect();
            left.retain(|element| !others.contains(element));
            left
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(
        join: SetJoin,
        owners: &[u16],
        replies: &[&'static str],
    ) -> Result<String, UpstreamError> {
        let replies: Vec<Bytes> = replies
            .iter()
            .map(|reply| Bytes::from_static(reply.as_bytes()))
            .collect();
        let mut out = WriteBuf::new();
        merge(join, owners, &replies, &mut out)?;
        Ok(String::from_utf8_lossy(out.tail()).into_owned())
    }

    const ABC: &str = "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n";
    const BD: &str = "*2\r\n$1\r\nb\r\n$1\r\nd\r\n";
    const NONE: &str = "*0\r\n";

    #[test]
    fn set_operations_merge_as_on_one_server() {
        let b = "*1\r\n$1\r\nb\r\n";
        for (join, owners, replies, expected) in [
            (SetJoin::Intersection, [0, 1], [ABC, BD], b),
            (SetJoin::Intersection, [0, 1], [ABC, NONE], NONE),
            (SetJoin::Cardinality(0), [0, 1], [ABC, ABC], ":3\r\n"),
            (SetJoin::Cardinality(2), [0, 1], [ABC, ABC], ":2\r\n"),
            (SetJoin::Cardinality(5), [0, 1], [ABC, BD], ":1\r\n"),
            (SetJoin::Difference, [1, 0], [ABC, BD], "*1\r\n$1\r\nd\r\n"),
            (SetJoin::Difference, [0, 1], [BD, ABC], "*1\r\n$1\r\nd\r\n"),
            (SetJoin::Difference, [1, 0], [ABC, NONE], NONE),
            (SetJoin::Union, [0, 1], [NONE, BD], BD),
            (SetJoin::Union, [0, 1], [b, BD], BD),
            (
                SetJoin::Union,
                [0, 1],
                ["~0\r\n", "~1\r\n$1\r\nx\r\n"],
                "~1\r\n$1\r\nx\r\n",
            ),
        ] {
            assert_eq!(
                merged(join, &owners, &replies),
                Ok(expected.to_owned()),
                "{join:?} {replies:?}"
            );
        }
    }

    #[test]
    fn error_instead_of_a_set_is_the_whole_reply() {
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
        assert_eq!(
            merged(SetJoin::Union, &[0, 1], &[ABC, wrong]),
            Ok(wrong.to_owned())
        );
        assert_eq!(
            merged(SetJoin::Union, &[0, 1], &[ABC, "+OK\r\n"]),
            Err(UpstreamError::Fragment)
        );
    }
}
