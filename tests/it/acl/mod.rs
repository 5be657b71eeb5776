//! Users and their rules, beside a real redis-server with the same users.

mod changes;
mod configured;
mod hostile;
mod operator;
mod property;

use crate::support::{Client, Pool, Proxy, RedisServer, show};

/// A redis-server with users, and a proxy with the same ones in front of a server without.
struct Beside {
    real: RedisServer,
    proxy: Proxy,
    _server: RedisServer,
}

impl Beside {
    /// With users as in a configuration file: a name and rules.
    fn with(users: &[&str]) -> Self {
        let (real, server) = (RedisServer::start(), RedisServer::start());
        let mut admin = real.client();
        for user in users {
            let (name, rules) = user.split_once(' ').unwrap();
            let set = format!("ACL SETUSER {name} {NOTHING} {rules}");
            admin.converse(&[(&set, "+OK\r\n")]);
        }
        let proxy = Proxy::ringroad(&Pool::of([&server]).with("users", list(users)));
        Self {
            real,
            proxy,
            _server: server,
        }
    }

    /// A client of each.
    fn clients(&self) -> [Client; 2] {
        [self.real.client(), self.proxy.client()]
    }

    /// Sends the requests to both, and fails unless the replies are the same.
    fn converse(&self, requests: &[&str]) {
        let mut clients = self.clients();
        for request in requests {
            same(&mut clients, request);
        }
    }
}

/// A list of the configuration file.
fn list(users: &[&str]) -> String {
    let quoted: Vec<_> = users.iter().map(|user| format!("'{user}'")).collect();
    format!("[{}]", quoted.join(", "))
}

/// Sends a request to both. Returns the reply, which must be the same.
fn same([real, proxy]: &mut [Client; 2], request: &str) -> Vec<u8> {
    let (mut expected, mut found) = (real.ask(request), proxy.ask(request));
    if request.starts_with("HELLO") && !found.starts_with(b"-") {
        // It has the ID of the client.
        (expected, found) = (expected[..4].to_vec(), found[..4].to_vec());
    }
    assert_eq!(show(&found), show(&expected), "{request}");
    found
}

/// The rules of a user who may do nothing; `reset` is shown by another one.
const NOTHING: &str = "off resetpass resetkeys resetchannels -@all";

const USERS: [&str; 6] = [
    "default on nopass ~* &* +@all -flushall",
    "reader on >read %R~cache:* &news.* +@read +@pubsub +@transaction +@connection -client|list",
    "writer on >write %W~cache:* ~own:* +@all -@dangerous",
    "nobody on >nothing",
    "locked off >locked ~* +@all",
    "few on nopass ~* &* +get +select|1 +config|get +exec +multi +acl|whoami",
];

#[test]
fn requests_are_refused_as_by_redis() {
    let beside = Beside::with(&USERS);
    beside.converse(&[
        "ACL WHOAMI",
        "SET cache:1 v",
        "SET own:1 v",
        "RPUSH cache:list 3 1 2",
        "FLUSHALL",
        "AUTH x",
        "AUTH reader wrong",
        "AUTH nosuch wrong",
        "AUTH locked locked",
        "AUTH a b c",
        "ACL WHOAMI",
        "AUTH reader read",
        "ACL WHOAMI",
        "PING",
        "GET cache:1",
        "GET own:1",
        "SET cache:1 x",
        "MGET cache:1 cache:2",
        "MGET cache:1 own:1",
        "STRLEN cache:1",
        "EXISTS cache:1 other",
        "SORT_RO cache:list",
        "SORT_RO cache:list BY nosort",
        "SORT_RO cache:list BY w_*",
        "SORT_RO cache:list GET #",
        "SORT_RO cache:list LIMIT 0 1 GET x*",
        "OBJECT ENCODING cache:1",
        "CONFIG GET port",
        "CLIENT GETNAME",
        "CLIENT LIST",
        "PUBLISH news.a hello",
        "PUBLISH other hello",
        "SPUBLISH other hello",
        "SUBSCRIBE other",
        "SUBSCRIBE news.a other",
        "PSUBSCRIBE news.a*",
        "SSUBSCRIBE other",
        "NOSUCH x",
        "GET",
        "CONFIG NOSUCH",
        "WATCH cache:1",
        "WATCH own:1",
        "UNWATCH",
        "AUTH writer write",
        "ACL WHOAMI",
        "SET cache:1 x",
        "SET cache:1 x GET",
        "GET cache:1",
        "GETSET own:1 y",
        "COPY own:1 cache:2 REPLACE",
        "COPY cache:2 own:2 REPLACE",
        "MSET cache:1 a own:1 b",
        "MSET cache:1 a other b",
        "MSET cache:1 a other",
        "SORT own:1 STORE other",
        "EVAL return{1} 1 own:1",
        "EVAL return{1} 1 cache:1",
        "EVAL return{1} 0",
        "EVAL return{1} 2 other",
        "ZUNIONSTORE cache:z 2 own:1z own:2z",
        "ZUNIONSTORE cache:z 2 own:1z cache:2z",
        "GEORADIUS own:geo 1 1 1 m STORE other",
        "XREAD STREAMS own:s 0",
        "XREAD STREAMS other 0",
        "BITFIELD cache:1 GET u8 0",
        "BITFIELD cache:1 SET u8 0 1",
        "BLPOP other 0",
        "BLMOVE own:l other LEFT RIGHT 0",
        "KEYS *",
        "FLUSHDB",
        "ACL LIST",
        "SUBSCRIBE anything",
        "MONITOR",
        "AUTH nobody nothing",
        "PING",
        "ACL WHOAMI",
        "GET cache:1",
        "HELLO 2 AUTH few any",
        "GET own:1",
        "SELECT 1",
        "SELECT 0",
        "SELECT",
        "CONFIG RESETSTAT",
        "SLOWLOG LEN",
        "RESET",
        "ACL WHOAMI",
        "HELLO 3 AUTH locked locked",
        "HELLO 2 AUTH reader read SETNAME me",
        "ACL WHOAMI",
    ]);
}

#[test]
fn transactions_are_refused_as_by_redis() {
    let beside = Beside::with(&USERS);
    beside.converse(&[
        "AUTH reader read",
        "MULTI",
        "GET cache:1",
        "EXEC",
        "MULTI",
        "GET cache:1",
        "SET cache:1 x",
        "GET cache:1",
        "EXEC",
        "MULTI",
        "GET own:1",
        "DISCARD",
        "AUTH writer write",
        "MULTI",
        "SET cache:1 a",
        "MSET cache:1 a other",
        "EXEC",
        "AUTH few any",
        "MULTI",
        "GET a",
        "WATCH a",
        "EXEC",
        "MULTI",
        "DISCARD",
        "EXEC",
        "AUTH nobody nothing",
        "MULTI",
        "EXEC",
    ]);
    let mut clients = beside.clients();
    let mut others = beside.clients();
    same(&mut clients, "AUTH few any");
    same(&mut clients, "MULTI");
    same(&mut clients, "GET a");
    same(&mut others, "ACL SETUSER few -exec");
    same(&mut clients, "EXEC");
    same(&mut clients, "GET a");
}

#[test]
fn refusals_are_in_the_log_as_in_redis() {
    let beside = Beside::with(&USERS);
    let mut clients = beside.clients();
    for request in [
        "ACL LOG",
        "AUTH nosuch wrong",
        "auth nosuch wrong",
        "AUTH reader read",
        "GET own:1",
        "GET own:1",
        "SET cache:1 x",
        "PUBLISH other x",
        "MULTI",
        "GET own:1",
        "EXEC",
        "CLIENT LIST",
        "AUTH default x",
        "HELLO 3 AUTH reader wrong",
    ] {
        same(&mut clients, request);
    }
    let entries = |client: &mut Client| {
        let reply = String::from_utf8(client.ask("ACL LOG")).unwrap();
        let mut fields = reply.split("\r\n").collect::<Vec<_>>();
        // Each entry ends with the client, of which a proxy knows less, behind an age.
        fields.retain(|field| {
            !field.starts_with('$') && !field.contains("laddr=") && !field.starts_with("0.")
        });
        fields.retain(|field| *field != "0");
        fields.join(" ")
    };
    let [real, proxy] = &mut clients;
    let (expected, found) = (entries(real), entries(proxy));
    assert_eq!(found, expected);
    assert!(found.contains("count :2"), "{found}");
    for request in [
        "ACL LOG 0",
        "ACL LOG -1",
        "ACL LOG x",
        "ACL LOG reset",
        "ACL LOG",
        "ACL LOG 1 2",
        "CONFIG GET acllog-max-len",
        "CONFIG SET acllog-max-len 2",
        "GET other:1",
    ] {
        same(&mut clients, request);
    }
    let mut few = beside.clients();
    for request in ["AUTH few x", "SET a b", "SET b c", "PING", "DEL a"] {
        same(&mut few, request);
    }
    let [real, proxy] = &mut clients;
    assert_eq!(real.ask("ACL LOG").get(..4), proxy.ask("ACL LOG").get(..4));
}

#[test]
fn dry_run_tells_what_redis_does() {
    let beside = Beside::with(&USERS);
    beside.converse(&[
        "ACL DRYRUN nosuch GET a",
        "ACL DRYRUN reader NOSUCH a",
        "ACL DRYRUN reader GET",
        "ACL DRYRUN reader GET a b",
        "ACL DRYRUN reader GET cache:1",
        "ACL DRYRUN reader GET own:1",
        "ACL DRYRUN reader SET cache:1 x",
        "ACL DRYRUN reader CONFIG GET a",
        "ACL DRYRUN reader CLIENT LIST",
        "ACL DRYRUN reader PUBLISH other x",
        "ACL DRYRUN reader PSUBSCRIBE news.* other",
        "ACL DRYRUN writer MSET own:1 a other b",
        "ACL DRYRUN writer XREADGROUP GROUP g c STREAMS own:1 other 1 2",
        "ACL DRYRUN writer MIGRATE h 1 own:1 0 1",
        "ACL DRYRUN nobody AUTH x",
        "ACL DRYRUN locked SET a b",
        "ACL DRYRUN",
    ]);
}

#[test]
fn users_are_shown_as_in_redis() {
    let beside = Beside::with(&USERS);
    beside.converse(&[
        "ACL USERS",
        "ACL GETUSER reader",
        "ACL GETUSER writer",
        "ACL GETUSER locked",
        "ACL GETUSER default",
        "ACL GETUSER nosuch",
        // Redis lists single commands in no order.
        "ACL DELUSER few",
        "ACL LIST",
        "HELLO 3",
        "ACL GETUSER reader",
        "ACL GETUSER nosuch",
        "ACL DELUSER default",
        "ACL DELUSER a b reader",
        "ACL USERS",
    ]);
}
