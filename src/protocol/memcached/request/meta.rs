//! The flags of meta commands: one letter each, with an optional argument attached.

use crate::protocol::Span;
use crate::protocol::memcached::command::Meta;
use crate::protocol::memcached::expect::Noreply;
use crate::protocol::memcached::request::tokens::Words;
use crate::protocol::memcached::request::types::{META_FLAGS, OPAQUE_BYTES, Refusal, Request};

/// Reads the flags. Unknown ones pass: the server's answer to them is one reply. Returns the first error.
pub(crate) fn read_flags(
    words: &mut Words<'_>,
    request: &mut Request,
    which: Meta,
) -> Option<Refusal> {
    request.shows_key = which == Meta::Debug;
    let mut problem = None;
    let mut seen = 0_u64;
    let mut count = 0;
    let mut may_create = false;
    while let Some(word) = words.next() {
        count += 1;
        let token = word.of(words.line());
        let Some(&flag) = token.first().filter(|flag| flag.is_ascii_alphabetic()) else {
            problem.get_or_insert(Refusal::MetaFlag);
            continue;
        };
        let bit = 1 << (flag - b'A');
        if seen & bit != 0 {
            problem.get_or_insert(Refusal::MetaDuplicate);
        }
        seen |= bit;
        match flag {
            b'q' => {
                request.noreply = Noreply::Quiet;
                request.strip(word);
            }
            b'N' => may_create = true,
            b'b' => request.is_encoded = true,
            b'k' => request.shows_key = true,
            b'O' if token.len() > OPAQUE_BYTES => {
                problem.get_or_insert(Refusal::MetaOpaque);
            }
            // Early versions read the length of the data there.
            b'S' if which == Meta::Set => {
                problem.get_or_insert(Refusal::MetaFlag);
            }
            _ => {}
        }
    }
    // memcached hides the success of a sum, and not that of a number which it creates, with the same code.
    if which == Meta::Arithmetic && may_create && request.noreply == Noreply::Quiet {
        request.noreply = Noreply::ByServer;
        request.stripped = Span::default();
    }
    if count > META_FLAGS {
        problem.get_or_insert(Refusal::MetaMany);
    }
    problem
}
