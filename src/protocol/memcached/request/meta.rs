//! The flags of meta commands: one letter each, with an optional argument attached.

use crate::protocol::memcached::command::Meta;
use crate::protocol::memcached::expect::Noreply;
use crate::protocol::memcached::request::line::Reader;
use crate::protocol::memcached::request::{META_FLAGS, OPAQUE_BYTES, Refusal};

/// Reads the flags. Unknown ones pass: the server's answer to them is one reply.
pub(crate) fn read_flags(reader: &mut Reader<'_>, which: Meta) {
    reader.request.shows_key = which == Meta::Debug;
    let mut seen = 0_u64;
    let mut count = 0;
    while let Some(word) = reader.words.next() {
        count += 1;
        let token = word.of(reader.words.line());
        let Some(&flag) = token.first().filter(|flag| flag.is_ascii_alphabetic()) else {
            reader.note(Refusal::MetaFlag);
            continue;
        };
        let bit = 1 << (flag - b'A');
        if seen & bit != 0 {
            reader.note(Refusal::MetaDuplicate);
        }
        seen |= bit;
        match flag {
            b'q' => {
                reader.request.hush = Noreply::Quiet;
                reader.leave_out(word);
            }
            b'b' => reader.request.is_encoded = true,
            b'k' => reader.request.shows_key = true,
            b'O' if token.len() > OPAQUE_BYTES => reader.note(Refusal::MetaOpaque),
            // Early versions read the length of the data there.
            b'S' if which == Meta::Set => reader.note(Refusal::MetaFlag),
            _ => {}
        }
    }
    if count > META_FLAGS {
        reader.note(Refusal::MetaMany);
    }
}
