//! Commands about all keys at a server that has a mark, which is none of them.

use bytes::BytesMut;

use crate::protocol::redis::resp::encode::write_request;
use crate::topology::MARK_PREFIX;

/// Counts keys. It knows of the mark of this pool only.
const COUNT: &str =
    "return redis.call('DBSIZE') - redis.call('EXISTS', KEYS[1], KEYS[1] .. ':notes')";

/// Draws so many keys, the same perhaps several times. If it draws none, there are only marks, but for an improbable series.
const DRAW: &str = "local keys, count = {}, tonumber(ARGV[2]) \
    for _ = 1, 100 + count do \
    local key = redis.call('RANDOMKEY') \
    if not key or #keys == count then break end \
    if string.sub(key, 1, #ARGV[1]) ~= ARGV[1] then keys[#keys + 1] = key end \
    end \
    return keys";

/// Deletes all keys but the mark. Nothing comes between: who reads the mark finds it as it was. The first write is a deletion,
/// so a server at its limit executes the rest, too.
const FLUSH: &str = "if ARGV[1] == 'FLUSHALL' then redis.call('SELECT', '0') end \
    local mark = redis.call('DUMP', KEYS[1]) \
    local reply = redis.pcall(unpack(ARGV)) \
    if mark then redis.call('RESTORE', KEYS[1], '0', mark, 'REPLACE') end \
    return reply";

/// Writes the request in place of `DBSIZE`, in the database of the marks.
pub(crate) fn write_count(mark_key: &str, out: &mut BytesMut) {
    let words: [&[u8]; 4] = [b"EVAL", COUNT.as_bytes(), b"1", mark_key.as_bytes()];
    write_request(&words, out);
}

/// Writes the request for an array of `count` random keys, fewer if there are nearly only marks.
pub(crate) fn write_draw(count: u32, out: &mut BytesMut) {
    let (prefix, count) = (MARK_PREFIX.as_bytes(), count.to_string());
    let words: [&[u8]; 5] = [b"EVAL", DRAW.as_bytes(), b"0", prefix, count.as_bytes()];
    write_request(&words, out);
}

/// Writes the request in place of `FLUSHALL`, or of `FLUSHDB` in the database of the marks; `words` are its own.
pub(crate) fn write_flush(mark_key: &str, words: &[&[u8]], out: &mut BytesMut) {
    let mut all: Vec<&[u8]> = vec![b"EVAL", FLUSH.as_bytes(), b"1", mark_key.as_bytes()];
    all.extend(words);
    write_request(&all, out);
}
