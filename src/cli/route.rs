//! The report of `ringroad route`: the server of each key.
//!
//! Pure: turns a pool's router into text. The command line selects the pools and keys, and prints.

use std::fmt::Write as _;

use crate::config::Distribution;
use crate::text::{Align, printable_key, table};
use crate::topology::{Router, ServerIndex};

/// The pool of a report.
#[derive(Debug, Clone, Copy)]
pub struct RoutedPool<'a> {
    /// The pool's name.
    pub name: &'a str,
    /// Its placement, all servers live.
    pub router: &'a Router,
    /// The servers' addresses as written in the file, by id.
    pub addresses: &'a [String],
}

/// Reports a line on the pool, a table of `keys`, and advice if the pool spreads keys badly. Every line ends with a
/// line feed; bytes of a key that a terminal would not show are escaped.
pub fn report(pool: &RoutedPool<'_>, keys: &[&[u8]]) -> String {
    let mut out = String::new();
    let router = pool.router;
    let servers = router.members().len();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "pool {}: hash {}, distribution {}, {servers} server{}",
        pool.name,
        router.hash().name(),
        router.distribution().name(),
        if servers == 1 { "" } else { "s" },
    );
    let header = ["KEY", "HASH", "SERVER", "ADDRESS"].map(str::to_owned);
    let rows = keys.iter().map(|key| row(pool, key));
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    out.push_str(&table([Align::Left; 4], &rows));
    if let Some(advice) = router.advice() {
        let _ = writeln!(out, "note: {advice}");
    }
    out
}

/// Key, hash, name of the server, its address; a dash for a missing value.
fn row(pool: &RoutedPool<'_>, key: &[u8]) -> [String; 4] {
    let hash = pool.router.hash_of(key).map(|hash| hash.to_string());
    let (server, address) = if pool.router.distribution() == Distribution::Random {
        (Some("(any server)".to_owned()), None)
    } else {
        let server = pool.router.route(key);
        (
            server.and_then(|id| name(pool.router, id)),
            server.and_then(|id| pool.addresses.get(id.index()).cloned()),
        )
    };
    let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
    [
        printable_key(key),
        or_dash(hash),
        or_dash(server),
        or_dash(address),
    ]
}

fn name(router: &Router, id: ServerIndex) -> Option<String> {
    router.members().get(id.index()).map(|m| m.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashKind;
    use crate::topology::Member;

    fn report_of(
        hash: HashKind,
        distribution: Distribution,
        servers: usize,
        keys: &[&[u8]],
    ) -> String {
        let servers: Vec<_> = ["alpha", "gamma", "omega"]
            .into_iter()
            .take(servers)
            .collect();
        let members: Vec<_> = servers
            .iter()
            .map(|&name| Member {
                name: name.to_owned(),
                weight: 1,
            })
            .collect();
        let addresses: Vec<_> = (1..=servers.len())
            .map(|n| format!("10.0.0.{n}:6379"))
            .collect();
        let router = Router::new(hash, None, distribution, &members);
        let pool = RoutedPool {
            name: "cache",
            router: &router,
            addresses: &addresses,
        };
        report(&pool, keys)
    }

    #[test]
    fn route_line_shows_key_hash_and_server() {
        // 3,303,027,599 and 2,064,434,216 are 2 modulo 3, 1,262,581,116 is 0: the third server twice, then the first.
        assert_eq!(
            report_of(
                HashKind::Murmur,
                Distribution::Modula,
                3,
                &[b"foo", b"abc", b"a"]
            ),
            "pool cache: hash murmur, distribution modula, 3 servers\n\
             KEY  HASH        SERVER  ADDRESS\n\
             foo  3303027599  omega   10.0.0.3:6379\n\
             abc  2064434216  omega   10.0.0.3:6379\n\
             a    1262581116  alpha   10.0.0.1:6379\n"
        );
    }

    #[test]
    fn bad_distribution_is_noted() {
        let text = report_of(HashKind::Crc32, Distribution::Ketama, 3, &[b"a"]);
        assert!(
            text.contains(
                "\nnote: hash crc32 with distribution ketama sends all or nearly all keys"
            ),
            "{text}"
        );
    }

    #[test]
    fn single_server_needs_no_hash_and_no_advice() {
        assert_eq!(
            report_of(HashKind::Crc32, Distribution::Ketama, 1, &[b"a"]),
            "pool cache: hash crc32, distribution ketama, 1 server\n\
             KEY  HASH  SERVER  ADDRESS\n\
             a    -     alpha   10.0.0.1:6379\n"
        );
    }

    #[test]
    fn random_distribution_names_no_server() {
        assert_eq!(
            report_of(HashKind::Md5, Distribution::Random, 3, &[b"a"]),
            "pool cache: hash md5, distribution random, 3 servers\n\
             KEY  HASH  SERVER        ADDRESS\n\
             a    -     (any server)  -\n"
        );
    }
}
