//! The connections of a server, as its CLIENT LIST tells, and who they belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::text::Printable;

/// A connection to a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Client {
    /// The server's id of it.
    pub(super) id: String,
    /// The peer's address.
    pub(super) address: String,
    /// The name that it has given itself.
    pub(super) name: String,
    /// The user.
    pub(super) user: String,
    /// The last command, in small letters.
    pub(super) command: String,
    /// Seconds since it was opened.
    pub(super) age: u64,
    /// Seconds since its last command.
    pub(super) idle: u64,
    flags: String,
}

/// What a name says of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    /// A guarded proxy, with the hold that it knew when it opened the connection.
    Proxy { id: &'a str, hold: u64 },
    /// A coordinator of this pool, with its term.
    Coordinator { term: u64 },
    /// Another part of Ringroad, or a guarded proxy of another pool: it sends no requests for keys of this pool.
    Ringroad,
    /// A replica, the primary, or a monitor: it sends no requests for keys.
    Server,
    /// Anybody else.
    Other,
}

/// The seconds within which a connection of a busy proxy names itself.
const GREETS_WITHIN: u64 = 5;
/// Commands after which a connection may still name itself.
const GREETINGS: [&str; 8] = [
    "NULL", "auth", "client", "command", "discard", "hello", "ping", "select",
];

impl Client {
    /// Reads the reply, one connection in each line.
    pub(super) fn read_all(text: &str) -> Vec<Self> {
        text.lines()
            .map(Self::read)
            .filter(|client| !client.id.is_empty())
            .collect()
    }

    fn read(line: &str) -> Self {
        let mut client = Self::default();
        for (field, value) in line
            .split(' ')
            .filter_map(|field| field.trim().split_once('='))
        {
            let place = match field {
                "id" => &mut client.id,
                "addr" => &mut client.address,
                "name" => &mut client.name,
                "user" => &mut client.user,
                "cmd" => &mut client.command,
                "flags" => &mut client.flags,
                "age" => {
                    client.age = value.parse().unwrap_or(u64::MAX);
                    continue;
                }
                "idle" => {
                    client.idle = value.parse().unwrap_or_default();
                    continue;
                }
                _ => continue,
            };
            value.clone_into(place);
        }
        client
    }

    /// Whose it is; `pool` is the pool as names have it (`Mark::pool_in_names`).
    pub(super) fn owner(&self, pool: &str) -> Owner<'_> {
        // S: a replica; M: the primary; O: MONITOR.
        if self.flags.contains(['S', 'M', 'O']) {
            return Owner::Server;
        }
        let mut parts = self.name.split('/');
        match [parts.next(), parts.next(), parts.next(), parts.next()] {
            [Some("rr"), Some(of), Some(id), Some(hold)] if of == pool => match hold.parse() {
                Ok(hold) => Owner::Proxy { id, hold },
                Err(_) => Owner::Other,
            },
            [Some("rr-move"), Some(of), Some(term), None] if of == pool => match term.parse() {
                Ok(term) => Owner::Coordinator { term },
                Err(_) => Owner::Other,
            },
            [Some("rr"), Some(_), Some(_), Some(_)] => Owner::Ringroad,
            [Some(kind), Some(_), ..] if kind.starts_with("rr-") => Owner::Ringroad,
            _ => Owner::Other,
        }
    }

    /// The proxy of this pool that asks over it for the mark or whether the server works, and sends no requests for keys.
    pub(super) fn watcher(&self, pool: &str) -> Option<&str> {
        let (of, id) = self.name.strip_prefix("rr-other/")?.split_once('/')?;
        (of == pool).then_some(id)
    }

    /// The other pool, and the database that it uses by default, whose guarded proxy has opened it.
    pub(super) fn other_pool(&self, pool: &str) -> Option<(&str, u32)> {
        let mut parts = self.name.split('/');
        let kind = parts
            .next()
            .filter(|kind| ["rr", "rr-other"].contains(kind));
        let of = kind.and_then(|_| parts.next()).filter(|of| *of != pool)?;
        let (name, database) = of.rsplit_once(':')?;
        Some((name, database.parse().ok()?))
    }

    /// Returns true if it was opened just now, and has not yet done anything but introduce itself.
    fn is_greeting(&self) -> bool {
        let command = self.command.split('|').next().unwrap_or_default();
        self.age < GREETS_WITHIN && self.name.is_empty() && GREETINGS.contains(&command)
    }

    /// Returns true if an allowed address, with or without a port, is that of the peer.
    pub(super) fn is_allowed(&self, allowed: &[String]) -> bool {
        let host = self.address.rsplit_once(':').map(|(host, _)| host);
        let host = host.map(|host| host.trim_matches(['[', ']']));
        allowed
            .iter()
            .any(|allowed| *allowed == self.address || Some(allowed.as_str()) == host)
    }
}

/// The connection in an error or a report.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connection {} from {} (name '{}', user '{}', last command '{}', {} s old)",
            self.id,
            self.address,
            Printable(&self.name),
            Printable(&self.user),
            self.command,
            self.age
        )
    }
}

/// What is known in a hold of the connections of its source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Fence<'a> {
    /// The pool, as names have it.
    pub(super) pool: &'a str,
    /// The number of the hold.
    pub(super) hold: u64,
    /// The ids for which each proxy has vouched, by its id.
    pub(super) vouched: BTreeMap<String, BTreeSet<String>>,
    /// Addresses whose connections do not matter.
    pub(super) allowed: &'a [String],
}

/// What is to be done about the connections before the keys of a hold may be given away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Verdict {
    /// Ids of connections that their proxies have given up: all of a proxy's workers have vouched, but not for these.
    pub(super) given_up: Vec<String>,
    /// The proxies that have not vouched yet, each with the ids of its connections.
    pub(super) silent: BTreeMap<String, Vec<String>>,
    /// The number of connections that have not introduced themselves yet.
    pub(super) greeting: usize,
    /// The first one of nobody that is known.
    pub(super) stranger: Option<Client>,
}

impl Fence<'_> {
    /// Judges all connections of a source.
    pub(super) fn judge(&self, clients: &[Client]) -> Verdict {
        let mut verdict = Verdict::default();
        for client in clients {
            match client.owner(self.pool) {
                Owner::Proxy { hold, .. } if hold == self.hold => {}
                Owner::Proxy { id, .. } => match self.vouched.get(id) {
                    Some(ids) if ids.contains(&client.id) => {}
                    Some(_) => verdict.given_up.push(client.id.clone()),
                    None => {
                        let ids = verdict.silent.entry(id.to_owned()).or_default();
                        ids.push(client.id.clone());
                    }
                },
                Owner::Coordinator { .. } | Owner::Ringroad | Owner::Server => {}
                Owner::Other if client.is_allowed(self.allowed) => {}
                Owner::Other if client.is_greeting() => verdict.greeting += 1,
                Owner::Other => {
                    verdict.stranger.get_or_insert_with(|| client.clone());
                }
            }
        }
        verdict
    }
}

impl Verdict {
    /// Returns true if no connection can carry a request for a held key.
    pub(super) fn is_clear(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
id=3 addr=10.0.0.1:501 laddr=10.0.0.9:6379 fd=8 name=rr/p:0/one/7 age=90 idle=0 flags=N db=0 cmd=get user=default resp=2
id=4 addr=10.0.0.1:502 laddr=10.0.0.9:6379 fd=9 name=rr/p:0/two/9 age=1 idle=0 flags=N db=0 cmd=info user=default resp=2
id=5 addr=10.0.0.2:503 laddr=10.0.0.9:6379 fd=9 name=rr-move/p:0/4 age=1 idle=0 flags=P db=0 cmd=ping user=default resp=3
id=6 addr=10.0.0.3:504 laddr=10.0.0.9:6379 fd=9 name= age=100 idle=0 flags=S db=0 cmd=psync user=default resp=2
id=7 addr=[::1]:505 laddr=[::1]:6379 fd=9 name= age=5 idle=0 flags=N db=0 cmd=set user=app resp=2
id=8 addr=10.0.0.5:506 laddr=10.0.0.9:6379 fd=9 name= age=0 idle=0 flags=N db=0 cmd=client|setname user=default resp=2
id=9 addr=10.0.0.6:507 laddr=10.0.0.9:6379 fd=9 name=rr/q:0/one/1 age=0 idle=0 flags=N db=0 cmd=set user=default resp=2
id=10 addr=10.0.0.6:508 laddr=10.0.0.9:6379 fd=9 name=rr-other/p:0/one age=9 idle=0 flags=N db=0 cmd=blpop user=default resp=2
";

    fn vouched(words: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect();
        let of = |(proxy, list): &(&str, &[&str])| ((*proxy).to_owned(), ids(list));
        words.iter().map(of).collect()
    }

    #[test]
    fn other_pools_are_known_by_their_names() {
        let clients = Client::read_all(LIST);
        let others = |pool: &str| -> Vec<_> {
            let others = clients.iter().filter_map(|client| client.other_pool(pool));
            others
                .map(|(name, database)| format!("{name} {database}"))
                .collect()
        };
        assert_eq!(others("p:0"), ["q 0"]);
        assert_eq!(others("q:0"), ["p 0", "p 0", "p 0"]);
    }

    #[test]
    fn names_tell_whose_a_connection_is() {
        let clients = Client::read_all(LIST);
        let owners: Vec<_> = clients.iter().map(|client| client.owner("p:0")).collect();
        assert_eq!(
            owners,
            [
                Owner::Proxy { id: "one", hold: 7 },
                Owner::Proxy { id: "two", hold: 9 },
                Owner::Coordinator { term: 4 },
                Owner::Server,
                Owner::Other,
                Owner::Other,
                Owner::Ringroad,
                Owner::Ringroad,
            ]
        );
    }

    #[test]
    fn connection_needs_a_word_for_it_or_to_know_the_hold() {
        let clients = Client::read_all(LIST);
        let allowed = ["::1".to_owned()];
        let mut fence = Fence {
            pool: "p:0",
            hold: 9,
            allowed: &allowed,
            ..Fence::default()
        };
        let verdict = fence.judge(&clients);
        assert_eq!(
            verdict.silent,
            BTreeMap::from([("one".to_owned(), vec!["3".to_owned()])])
        );
        assert_eq!((verdict.greeting, &verdict.stranger), (1, &None));
        fence.vouched = vouched(&[("one", &["3", "77"])]);
        let verdict = fence.judge(&clients[..5]);
        assert!(verdict.is_clear(), "{verdict:?}");
        fence.vouched = vouched(&[("one", &["77"]), ("two", &[])]);
        fence.hold = 10;
        assert_eq!(fence.judge(&clients).given_up, ["3", "4"]);
    }

    #[test]
    fn stranger_is_told_unless_its_address_is_allowed() {
        let clients = Client::read_all(LIST);
        for (allowed, is_stranger) in [
            (vec![], true),
            (vec!["[::1]:505".to_owned()], false),
            (vec!["::1".to_owned()], false),
            (vec!["10.0.0.1".to_owned()], true),
        ] {
            let fence = Fence {
                pool: "p:0",
                allowed: &allowed,
                ..Fence::default()
            };
            let stranger = fence.judge(&clients).stranger;
            assert_eq!(stranger.is_some(), is_stranger, "{allowed:?}");
        }
        assert_eq!(
            clients[4].to_string(),
            "connection 7 from [::1]:505 (name '', user 'app', last command 'set', 5 s old)"
        );
    }

    #[test]
    fn new_connection_without_a_name_is_given_a_moment() {
        let mut client = Client::read_all(LIST).swap_remove(5);
        assert!(client.is_greeting());
        client.command = "get".to_owned();
        assert!(!client.is_greeting());
        // By that a proxy finds out whether the server knows transactions.
        client.command = "discard".to_owned();
        assert!(client.is_greeting());
        client.age = GREETS_WITHIN;
        assert!(!client.is_greeting());
    }
}
