//! Function libraries (`FUNCTION LOAD`) at servers that a move adds: a proxy loads them to all servers that it knows, and these
//! were not among them.
//!
//! They are given before the first key is given away, by one worker, after a hold without buckets: all proxies that are
//! connected to its source know of the move then, and load to the added servers themselves. What they had sent before, the source
//! has done. So: compare, load what is missing, hold nothing once more, compare again, until nothing was missing. At the end
//! once more, for what came from a proxy without a connection to that source.
//!
//! Invariant: nothing is loaded after the last hold without buckets, so no library that a client has just replaced is
//! replaced by its predecessor. Libraries that only an added server has stay.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::redis::resp::inspect;
use crate::redis_client::{ServerError, refused};
use crate::reshard::error::ReshardError;
use crate::reshard::lead::Lead;
use crate::reshard::server::Server;

/// The code of each library, by its name.
pub(super) type Libraries = BTreeMap<String, Vec<u8>>;

/// The libraries of a server; none if it is too old to have any.
pub(super) fn libraries(server: &Server) -> Result<Libraries, ReshardError> {
    let words: &[&[u8]] = &[b"FUNCTION", b"LIST", b"WITHCODE"];
    let listed = server.ask(|connection| {
        connection.queue(words);
        connection.finish()
    })?;
    let reply = listed.into_iter().next().unwrap_or_default();
    if reply.starts_with(b"-ERR unknown command") {
        return Ok(Libraries::new());
    }
    if inspect::is_error(&reply) {
        return Err(server.fault(refused(words, &reply)));
    }
    read(&reply).ok_or_else(|| server.fault(ServerError::BadReply))
}

/// Reads the reply to FUNCTION LIST WITHCODE.
fn read(reply: &[u8]) -> Option<Libraries> {
    let libraries = inspect::elements(reply)?.map(|library| {
        let fields: Vec<_> = inspect::elements(library)?.collect();
        let field = |wanted: &[u8]| {
            let mut fields = fields.as_chunks::<2>().0.iter();
            let found = fields.find(|[name, _]| inspect::bulk(name) == Some(wanted));
            inspect::bulk(found?[1])
        };
        let name = String::from_utf8_lossy(field(b"library_name")?).into_owned();
        Some((name, field(b"library_code")?.to_vec()))
    });
    libraries.collect()
}

/// The servers of the placement after a move that are not in the one before it.
pub(super) fn added_servers(lead: &Lead) -> impl Iterator<Item = &Server> {
    let before = &lead.routes.before;
    let after = lead.routes.after.servers.iter();
    let added = after.filter(|server| before.server(&server.name).is_none());
    added.filter_map(|server| lead.server(&server.name))
}

/// Loads what the added servers lack, or have otherwise than this source. Returns the number of libraries loaded.
pub(super) fn give(lead: &Lead, source: &Server) -> Result<usize, ReshardError> {
    let wanted = libraries(source)?;
    let mut loaded = 0;
    for server in added_servers(lead) {
        let there = libraries(server)?;
        for code in lacking(&wanted, &there) {
            server.ask(|connection| connection.call(&[b"FUNCTION", b"LOAD", b"REPLACE", code]))?;
            loaded += 1;
        }
    }
    Ok(loaded)
}

/// The code of the libraries that are not there, or are others there.
fn lacking<'l>(wanted: &'l Libraries, there: &'l Libraries) -> impl Iterator<Item = &'l [u8]> {
    let lacking = wanted
        .iter()
        .filter(|(name, code)| there.get(*name) != Some(*code));
    lacking.map(|(_, code)| code.as_slice())
}

/// The names of the libraries that are not the same in both.
pub(super) fn differing(one: &Libraries, other: &Libraries) -> Vec<String> {
    let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differing = names
        .into_iter()
        .filter(|name| one.get(*name) != other.get(*name));
    differing.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_with_their_code() {
        let reply = b"*2\r\n*8\r\n$12\r\nlibrary_name\r\n$1\r\na\r\n$6\r\nengine\r\n$3\r\nLUA\r\n\
            $9\r\nfunctions\r\n*1\r\n*2\r\n$4\r\nname\r\n$1\r\nf\r\n$12\r\nlibrary_code\r\n$3\r\nx\ny\r\n\
            *4\r\n$12\r\nlibrary_name\r\n$1\r\nb\r\n$12\r\nlibrary_code\r\n$1\r\nz\r\n";
        let code = |code: &str| code.as_bytes().to_vec();
        let expected =
            Libraries::from([("a".to_owned(), code("x\ny")), ("b".to_owned(), code("z"))]);
        assert_eq!(read(reply), Some(expected.clone()));
        assert_eq!(read(b"*0\r\n"), Some(Libraries::new()));
        assert_eq!(read(b"+OK\r\n"), None);

        let there = Libraries::from([
            ("a".to_owned(), code("old")),
            ("b".to_owned(), code("z")),
            ("c".to_owned(), code("own")),
        ]);
        let lacking: Vec<_> = lacking(&expected, &there).collect();
        assert_eq!(lacking, [b"x\ny"]);
        assert_eq!(differing(&expected, &there), ["a", "c"]);
    }
}
