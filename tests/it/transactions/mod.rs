//! Transactions: as in one Redis if all keys are on one server, and refused with the reason if not.

mod local;
mod tx_support;

use crate::support::{Client, FakeServer, Pool, Proxy, RedisServer, command, show, words};

const OK: &str = "+OK\r\n";
const QUEUED: &str = "+QUEUED\r\n";
const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

/// Requests that are sent to a Redis, and to the proxy in front of it.
const REQUESTS: &[&str] = &[
    "EXEC",
    "DISCARD",
    "UNWATCH",
    "MULTI",
    "MULTI",
    "WATCH k",
    "EXEC",
    "MULTI",
    "SET k 1",
    "INCR k",
    "GET k",
    "LPUSH k x",
    "PING",
    "PING text",
    "ECHO text",
    "UNWATCH",
    "DEL k none",
    "MGET k none",
    "MSET k 1 none",
    "MSETNX k 1 none",
    "EXEC",
    "EXEC",
    "MULTI",
    "SET k 2",
    "DISCARD",
    "DISCARD",
    "GET k",
    "MULTI",
    "NOSUCH k",
    "SET k 3",
    "EXEC",
    "GET k",
    "MULTI",
    "GET",
    "EXEC",
    "MULTI",
    "SET k 4",
    "EXEC now",
    "EXEC",
    "GET k",
    "MULTI now",
    "DISCARD now",
    "UNWATCH now",
    "MULTI",
    "SET k 5",
    "RESET",
    "EXEC",
    "GET k",
    "SELECT 3",
    "MULTI",
    "HSET h f v",
    "HGETALL h",
    "ZADD z 1.5 m",
    "ZSCORE z m",
    "EXEC",
    "HELLO 3",
    "MULTI",
    "HGETALL h",
    "ZSCORE z m",
    "GET none",
    "EXEC",
    "MULTI",
    "EVAL return{KEYS[1],redis.call('GET',KEYS[1])} 1 none",
    "LMPOP 1 none LEFT",
    "EXEC",
    "SELECT 0",
    "GET h",
    "MULTI",
    "QUIT",
];

#[test]
fn transactions_behave_as_in_redis() {
    let (original, server) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let (mut there, mut here) = (original.client(), proxy.client());
    for request in REQUESTS {
        let (expected, reply) = (there.ask(request), here.ask(request));
        assert_same(request, &expected, &reply);
    }
    here.expect_close();
    // Once more in one pipeline, cut anywhere.
    let batch: Vec<u8> = REQUESTS.iter().flat_map(|request| words(request)).collect();
    let (mut there, mut here) = (original.client(), proxy.client());
    there.send(&batch);
    here.send_in_pieces(&batch, 50, &mut fastrand::Rng::with_seed(5));
    for request in REQUESTS {
        let (expected, reply) = (there.reply(), here.reply());
        assert_same(request, &expected, &reply);
    }
    here.expect_close();
}

/// Compares two replies, except for the client ID.
fn assert_same(request: &str, expected: &[u8], reply: &[u8]) {
    if request.starts_with("HELLO") {
        assert_eq!(expected.first(), reply.first(), "{request}");
    } else {
        assert_eq!(show(expected), show(reply), "{request}");
    }
}

#[test]
fn cross_server_key_is_refused_at_its_command() {
    let servers: [_; 4] = RedisServer::several();
    let pool = Pool::of(&servers)
        .with("hash", "murmur")
        .with("hash_tag", "\"{}\"");
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    let (a, b) = two_keys_apart(&servers, &proxy);
    let apart = format!(
        "-ERR keys '{a}' and '{b}' are stored on different servers; give them a common hash tag, such as '{{{a}}}'\r\n"
    );
    client.converse(&[
        ("MULTI", OK),
        (&format!("SET {a} 1"), QUEUED),
        (&format!("SET {{{a}}}2 2"), QUEUED),
        (&format!("SET {b} 3"), &apart),
        (&format!("SET {a} 4"), QUEUED),
        ("EXEC", ABORTED),
        (&format!("GET {a}"), "$-1\r\n"),
        ("MULTI", OK),
        (&format!("MSET {a} 1 {b} 2"), &apart),
        ("EXEC", ABORTED),
        ("MULTI", OK),
        ("PING", QUEUED),
        (&format!("SET {a} 1"), QUEUED),
        (&format!("MSET {{{a}}}2 2 {{{a}}}3 3"), QUEUED),
        (&format!("DEL {a} {{{a}}}2"), QUEUED),
        ("EXEC", "*4\r\n+PONG\r\n+OK\r\n+OK\r\n:2\r\n"),
        (&format!("GET {{{a}}}3"), "$1\r\n3\r\n"),
        (&format!("GET {b}"), "$-1\r\n"),
    ]);
}

/// Two keys that are stored on different servers.
fn two_keys_apart(servers: &[RedisServer], proxy: &Proxy) -> (String, String) {
    let mut client = proxy.client();
    for key in 0..20 {
        client.ask(&format!("SET key-{key} 1"));
    }
    let mut key_lists = servers
        .iter()
        .map(RedisServer::keys)
        .filter(|keys| !keys.is_empty());
    let mut first = || String::from_utf8(key_lists.next().unwrap().remove(0)).unwrap();
    let keys = (first(), first());
    for key in 0..20 {
        client.ask(&format!("DEL key-{key}"));
    }
    keys
}

#[test]
fn local_commands_cannot_be_queued_with_many_servers() {
    let servers: [_; 2] = RedisServer::several();
    let (one, several) = (
        Proxy::ringroad(&Pool::of(&servers[..1])),
        Proxy::ringroad(&Pool::of(&servers)),
    );
    let elsewhere = "the proxy answers it, and one of several servers executes the transaction";
    let at_once = "it takes effect at once in the proxy";
    let on_all = "it asks all servers of the pool";
    for (proxy, request, name, why) in [
        (&several, "CLIENT ID", "CLIENT ID", elsewhere),
        (&several, "SELECT 1", "SELECT", elsewhere),
        (&several, "INFO", "INFO", elsewhere),
        (&several, "COMMAND COUNT", "COMMAND COUNT", elsewhere),
        (&several, "WAIT 0 0", "WAIT", on_all),
        (&one, "HELLO 3", "HELLO", at_once),
        (&one, "CLIENT REPLY OFF", "CLIENT REPLY", at_once),
        (&one, "CLIENT KILL ID 1", "CLIENT KILL", at_once),
        (&one, "SUBSCRIBE c", "SUBSCRIBE", at_once),
    ] {
        let mut client = proxy.client();
        client.converse(&[("MULTI", OK)]);
        let reply = client.ask(request);
        let expected = format!("-ERR unsupported command '{name}' in a transaction: {why}");
        assert!(reply.starts_with(expected.as_bytes()), "{}", show(&reply));
        client.converse(&[
            ("SET k v", QUEUED),
            ("EXEC", ABORTED),
            ("EXISTS k", ":0\r\n"),
        ]);
    }
}

#[test]
fn all_server_commands_cannot_be_queued() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers));
    let mut client = proxy.client();
    let elsewhere = "-ERR this command runs on several servers and cannot be used inside MULTI\r\n";
    for request in ["SCAN 0", "DBSIZE", "KEYS *", "FLUSHALL", "SCRIPT FLUSH"] {
        client.converse(&[
            ("MULTI", OK),
            (request, elsewhere),
            ("SET k v", QUEUED),
            ("EXEC", ABORTED),
            ("EXISTS k", ":0\r\n"),
        ]);
    }
}

#[test]
fn transaction_reaches_the_server_contiguously() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 200;
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    // Each moves one from one key to the other; a transaction of another client always sees the same sum.
    proxy.client().converse(&[("MSET a 1000000 b 0", OK)]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| proxy.client()).collect();
    let one = [
        "MULTI", "DECR a", "INCR b", "EXEC", "MULTI", "GET a", "GET b", "EXEC",
    ];
    let batch: Vec<u8> = one.iter().flat_map(|request| words(request)).collect();
    for client in &mut clients {
        client.send(&batch.repeat(ROUNDS));
    }
    for client in &mut clients {
        for _ in 0..ROUNDS {
            for expected in [OK, QUEUED, QUEUED] {
                client.expect("MULTI", expected.as_bytes());
            }
            client.reply();
            for expected in [OK, QUEUED, QUEUED] {
                client.expect("MULTI", expected.as_bytes());
            }
            let reply = client.reply();
            let numbers: Vec<u64> = String::from_utf8(reply)
                .unwrap()
                .lines()
                .skip(2)
                .step_by(2)
                .map(|line| line.parse().unwrap())
                .collect();
            assert_eq!(numbers.iter().sum::<u64>(), 1_000_000, "{numbers:?}");
        }
    }
    let total = CLIENTS * ROUNDS;
    proxy.client().converse(&[(
        "GET b",
        &format!("${}\r\n{total}\r\n", total.to_string().len()),
    )]);
}

#[test]
fn disconnect_inside_multi_leaks_nothing() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut other = proxy.client();
    for leave in 0..4 {
        let mut client = proxy.client();
        for request in ["MULTI", "SET k 1", "INCR k"].iter().take(leave) {
            client.ask(request);
        }
        drop(client);
        other.converse(&[("EXISTS k", ":0\r\n"), ("PING", "+PONG\r\n")]);
    }
}

#[test]
fn server_error_aborts_the_whole_transaction() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.converse(&[("SET k v", OK)]);
    server.client().converse(&[("CONFIG SET maxmemory 1", OK)]);
    // The server refuses what it cannot queue. The client reads what it would if the memory ran out after that.
    let oom = "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.\r\n";
    client.converse(&[
        ("MULTI", OK),
        ("GET k", QUEUED),
        ("SET k 1", QUEUED),
        ("EXEC", oom),
        ("GET k", "$1\r\nv\r\n"),
    ]);
}

#[test]
fn server_death_fails_exec_once() {
    let server = FakeServer::start(|nth, mut peer| {
        if nth == 0 {
            // The probe for transaction support comes first.
            for reply in [OK, "*0\r\n", "-ERR DISCARD without MULTI\r\n"] {
                peer.request();
                peer.send(reply.as_bytes());
            }
            for _ in 0..2 {
                peer.request();
            }
            peer.send(b"+OK\r\n+QUEUED\r\n");
        } else {
            peer.answer_all(b"+mine\r\n");
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    let mut client = proxy.client();
    for request in ["MULTI", "SET k 1", "EXEC", "DISCARD"] {
        client.send(&words(request));
    }
    for expected in [OK, QUEUED] {
        client.expect("MULTI", expected.as_bytes());
    }
    let reply = client.reply();
    assert!(reply.starts_with(b"-ERR "), "{}", show(&reply));
    client.expect("DISCARD", b"-ERR DISCARD without MULTI\r\n");
    client.converse(&[("GET k", "+mine\r\n")]);
}

/// It would execute the commands behind `MULTI` one by one, or leave a shared connection within a transaction.
#[test]
fn server_refusing_multi_executes_nothing() {
    let acl = [
        "--user", "default", "on", "nopass", "~*", "&*", "+@all", "-multi",
    ];
    let unknown = |name: &str| format!("unknown command '{name}', with args beginning with:");
    let denied = "NOPERM this user has no permissions to run the 'multi' command";
    for (options, cause) in [
        (&["--rename-command", "MULTI", ""][..], unknown("MULTI")),
        (&["--rename-command", "EXEC", ""], unknown("EXEC")),
        (
            &[
                "--rename-command",
                "EXEC",
                "",
                "--rename-command",
                "DISCARD",
                "",
            ],
            unknown("EXEC"),
        ),
        (&acl, denied.to_owned()),
    ] {
        let server = RedisServer::start_with(options);
        let proxy = Proxy::ringroad(&Pool::of([&server]));
        let aborted = format!("-EXECABORT Transaction discarded because of: {cause}\r\n");
        let mut client = proxy.client();
        for _ in 0..2 {
            let block = ["MULTI", "SET k 1", "EXEC"].map(words).concat();
            client.send(&[block.clone(), words("GET k"), block].concat());
            for expected in [OK, QUEUED, &aborted, "$-1\r\n", OK, QUEUED, &aborted] {
                client.expect("MULTI", expected.as_bytes());
            }
            client.converse(&[("GET k", "$-1\r\n"), ("MULTI", OK), ("EXEC", "*0\r\n")]);
            proxy.client().converse(&[("GET k", "$-1\r\n")]);
        }
    }
    let server = RedisServer::start_with(&acl);
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let (mut client, mut admin) = (proxy.client(), server.client());
    let denied = format!("-EXECABORT Transaction discarded because of: {denied}\r\n");
    let watched = |exec_reply| {
        let set = ("SET k 1", QUEUED);
        [("WATCH k", OK), ("MULTI", OK), set, ("EXEC", exec_reply)]
    };
    client.converse(&watched(&denied));
    admin.converse(&[("ACL SETUSER default +multi", OK)]);
    client.converse(&watched("*1\r\n+OK\r\n"));
}

#[test]
fn server_that_lost_multi_support_executes_nothing() {
    // The first connection accepts transactions, and ends behind the first.
    let server = FakeServer::start(|nth, mut peer| {
        if nth == 0 {
            for reply in [
                OK,
                "*0\r\n",
                "-ERR DISCARD without MULTI\r\n",
                OK,
                QUEUED,
                "*1\r\n+OK\r\n",
            ] {
                peer.request();
                peer.send(reply.as_bytes());
            }
        } else {
            while let Some(request) = peer.request() {
                assert_ne!(request, words("SET k 2"));
                peer.send(b"-ERR no\r\n");
            }
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    let mut client = proxy.client();
    let block = |set| ["MULTI", set, "EXEC"].map(words).concat();
    client.send(&block("SET k 1"));
    for expected in [OK, QUEUED, "*1\r\n+OK\r\n"] {
        client.expect("MULTI", expected.as_bytes());
    }
    for _ in 0..3 {
        client.send(&block("SET k 2"));
        for expected in [OK, QUEUED] {
            client.expect("MULTI", expected.as_bytes());
        }
        let reply = client.reply();
        assert!(reply.starts_with(b"-"), "{}", show(&reply));
    }
}

#[test]
fn transaction_takes_what_single_commands_take() {
    const VALUE_BYTES: usize = 40 << 20;
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    let set = command(&[&b"SET"[..], b"k", &vec![b'x'; VALUE_BYTES]]);
    client.converse(&[("MULTI", OK)]);
    for _ in 0..2 {
        client.send(&set);
        client.expect("SET", QUEUED.as_bytes());
    }
    client.converse(&[
        ("EXEC", "*2\r\n+OK\r\n+OK\r\n"),
        ("STRLEN k", &format!(":{VALUE_BYTES}\r\n")),
    ]);
}

#[test]
fn transaction_size_limit_gives_an_error() {
    const COMMANDS: usize = 256 << 10;
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.converse(&[("MULTI", OK)]);
    let incr = words("INCR k");
    let mut left = COMMANDS;
    while left > 0 {
        let some = left.min(10_000);
        client.send(&incr.repeat(some));
        for _ in 0..some {
            client.expect("INCR", QUEUED.as_bytes());
        }
        left -= some;
    }
    let limit =
        "-ERR transaction too large: at most 1073741824 bytes and 262144 commands are allowed\r\n";
    client.converse(&[
        ("INCR k", limit),
        ("EXEC", ABORTED),
        ("EXISTS k", ":0\r\n"),
        ("MULTI", OK),
        ("INCR k", QUEUED),
        ("EXEC", "*1\r\n:1\r\n"),
    ]);
}
