//! `CLIENT` on the client itself: `REPLY`, `SETNAME`, `GETNAME` and `SETINFO`.

use crate::protocol::redis::local::outcome::Outcome;
use crate::protocol::redis::local::reply_writer::Reply;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::state::client::{Client, ReplyMode};

/// The maximum length of a name, which limits the memory that a client can use.
const NAME_BYTES: usize = 1024;

/// `CLIENT REPLY ON | OFF | SKIP`. Only `ON` has a reply.
pub(crate) fn set_reply_mode(
    client: &Client,
    mut args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let word = args.nth(2).unwrap_or_default();
    if word.eq_ignore_ascii_case(b"ON") {
        client.set_reply_mode(ReplyMode::None);
        reply.simple("OK");
        return Outcome::Stay;
    }
    if word.eq_ignore_ascii_case(b"OFF") {
        client.set_reply_mode(ReplyMode::All);
    } else if !word.eq_ignore_ascii_case(b"SKIP") {
        reply.error("syntax error");
        return Outcome::Stay;
    } else if client.reply_mode() == ReplyMode::None {
        client.set_reply_mode(ReplyMode::Next);
    }
    Outcome::Silent
}

/// `CLIENT SETNAME name`.
pub(crate) fn set_name(client: &Client, mut args: Args<'_>, reply: &mut Reply<'_>) {
    if rename(client, args.nth(2).unwrap_or_default(), reply) {
        reply.simple("OK");
    }
}

/// Sets the name or writes the error; an empty one unsets it.
pub(crate) fn rename(client: &Client, name: &[u8], reply: &mut Reply<'_>) -> bool {
    let ok = is_word(name);
    if ok {
        client.entry().details().name = name.into();
    } else {
        reply.error("Client names cannot contain spaces, newlines or special characters.");
    }
    ok
}

/// `CLIENT SETINFO LIB-NAME | LIB-VER value`.
pub(crate) fn set_info(client: &Client, mut args: Args<'_>, reply: &mut Reply<'_>) {
    let attribute = args.nth(2).unwrap_or_default();
    let value = args.next().unwrap_or_default();
    let is_library = attribute.eq_ignore_ascii_case(b"LIB-NAME");
    if !is_library && !attribute.eq_ignore_ascii_case(b"LIB-VER") {
        return reply.error_line(&[b"ERR Unrecognized option '", attribute, b"'"]);
    }
    if !is_word(value) {
        let attribute = attribute.to_ascii_lowercase();
        let rest = b" cannot contain spaces, newlines or special characters.";
        return reply.error_line(&[b"ERR ", &attribute, rest]);
    }
    let mut details = client.entry().details();
    if is_library {
        details.library = value.into();
    } else {
        details.version = value.into();
    }
    reply.simple("OK");
}

/// `CLIENT GETNAME`.
pub(crate) fn get_name(client: &Client, reply: &mut Reply<'_>) {
    let details = client.entry().details();
    if details.name.is_empty() {
        reply.null();
    } else {
        reply.bulk(&details.name);
    }
}

/// Returns true if Redis accepts it as a name: printable ASCII without spaces.
fn is_word(name: &[u8]) -> bool {
    name.len() <= NAME_BYTES && name.iter().all(u8::is_ascii_graphic)
}
