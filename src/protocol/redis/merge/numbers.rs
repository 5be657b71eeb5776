//! Joins of numbers: `DBSIZE`, `LASTSAVE`, `SCRIPT EXISTS`.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::redis::merge::{read_integer, write_number};
use crate::protocol::redis::resp::inspect;

pub(crate) fn sum(replies: &[Bytes], out: &mut WriteBuf) -> Option<()> {
    let mut sum = 0_i64;
    for reply in replies {
        sum = sum.saturating_add(read_integer(reply).ok()?);
    }
    write(sum, out);
    Some(())
}

pub(crate) fn least(replies: &[Bytes], out: &mut WriteBuf) -> Option<()> {
    let numbers: Option<Vec<i64>> = replies
        .iter()
        .map(|reply| read_integer(reply).ok())
        .collect();
    write(numbers?.into_iter().min()?, out);
    Some(())
}

/// A script that one server lacks is not there: whoever asks loads it then.
pub(crate) fn least_each(replies: &[Bytes], out: &mut WriteBuf) -> Option<()> {
    let lists: Option<Vec<Vec<i64>>> = replies.iter().map(integers).collect();
    let lists = lists?;
    let (first, others) = lists.split_first()?;
    if others.iter().any(|other| other.len() != first.len()) {
        return None;
    }
    write_number(b'*', first.len(), out.tail());
    for (place, &number) in first.iter().enumerate() {
        let least = others.iter().filter_map(|other| other.get(place)).min();
        write(least.map_or(number, |least| number.min(*least)), out);
    }
    Some(())
}

fn integers(reply: &Bytes) -> Option<Vec<i64>> {
    inspect::elements(reply)?
        .map(|number| read_integer(number).ok())
        .collect()
}

fn write(number: i64, out: &mut WriteBuf) {
    out.copy(format!(":{number}\r\n").as_bytes());
}
