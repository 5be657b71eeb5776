//! Merging of numbers: `DBSIZE`, `LASTSAVE`, `SCRIPT EXISTS`.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::redis::resp::encode::{write_header, write_integer};
use crate::protocol::redis::resp::inspect::{integer, integers};

pub(crate) fn sum(replies: &[Bytes], out: &mut WriteBuf) -> Option<()> {
    let mut sum = 0_i64;
    for reply in replies {
        sum = sum.saturating_add(integer(reply)?);
    }
    write_integer(sum, out.tail());
    Some(())
}

pub(crate) fn agg_min(replies: &[Bytes], out: &mut WriteBuf) -> Option<()> {
    let numbers: Option<Vec<i64>> = replies.iter().map(|reply| integer(reply)).collect();
    write_integer(numbers?.into_iter().min()?, out.tail());
    Some(())
}

/// A script that one server lacks is reported as missing: the client then loads it.
pub(crate) fn agg_min_each(replies: &[Bytes], out: &mut WriteBuf) -> Option<()> {
    let lists: Option<Vec<Vec<i64>>> = replies.iter().map(|reply| integers(reply)).collect();
    let lists = lists?;
    let (first, others) = lists.split_first()?;
    if others.iter().any(|other| other.len() != first.len()) {
        return None;
    }
    write_header(b'*', first.len(), out.tail());
    for (position, &number) in first.iter().enumerate() {
        let least = others.iter().filter_map(|other| other.get(position)).min();
        write_integer(least.map_or(number, |least| number.min(*least)), out.tail());
    }
    Some(())
}
