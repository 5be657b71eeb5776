//! Merging of keys: `KEYS`, `RANDOMKEY`.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::protocol::redis::resp::encode::write_header;
use crate::protocol::redis::resp::inspect::Header;

/// Concatenates the elements of all servers. A key that two servers have is there twice.
pub(crate) fn concat(replies: &[Bytes], out: &mut WriteBuf) -> Option<()> {
    let headers: Option<Vec<Header>> = replies.iter().map(|reply| Header::read(reply)).collect();
    let headers = headers?;
    write_header(
        b'*',
        headers.iter().map(|header| header.count).sum(),
        out.tail(),
    );
    for (reply, header) in replies.iter().zip(headers) {
        out.share_part((reply, header.len, reply.len()));
    }
    Some(())
}

/// Writes a random reply that is not nil, or nil if there is none.
pub(crate) fn any(replies: &[Bytes], out: &mut WriteBuf) -> Option<()> {
    let is_nil = |reply: &&Bytes| matches!(&reply[..], b"$-1\r\n" | b"_\r\n");
    let found: Vec<&Bytes> = replies.iter().filter(|reply| !is_nil(reply)).collect();
    let drawn = match found.len() {
        0 => replies.first()?,
        some => found.get(fastrand::usize(..some))?,
    };
    out.share(drawn.clone());
    Some(())
}
