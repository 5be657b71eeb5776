//! Databases: each client uses one, and reads there what one Redis would have there.

use crate::support::{
    Client, FakeServer, Gate, Kind, Launch, Pool, Proxy, RedisServer, command, eventually, show,
    words,
};

const OK: &str = "+OK\r\n";

/// Requests that are sent one after another to a Redis, and to the proxy in front of it.
const REQUESTS: &[&str] = &[
    "SET k 0",
    "SELECT 1",
    "GET k",
    "SET k 1",
    "SELECT 15",
    "SET k 15",
    "SELECT 16",
    "GET k",
    "SELECT -1",
    "SELECT x",
    "SELECT 01",
    "SELECT +1",
    "SELECT 2147483648",
    "SELECT 99999999999999999999",
    "SELECT",
    "SELECT 1 2",
    "GET k",
    "SELECT 0",
    "GET k",
    "MOVE k 1",
    "MOVE k 7",
    "MOVE k 7",
    "MOVE k 16",
    "MOVE k x",
    "MOVE k 0",
    "EXISTS k",
    "SELECT 7",
    "GET k",
    "COPY k k DB 7",
    "COPY k k DB 8",
    "COPY k other DB 16",
    "COPY k other DB x",
    "COPY k other",
    "SELECT 8",
    "GET k",
    "HELLO 3",
    "GET k",
    "GET none",
    "SELECT 1",
    "GET none",
    "RESET",
    "GET k",
    "GET none",
    "SELECT 8",
    "GET k",
];

#[test]
fn select_behaves_as_in_redis() {
    let (original, server) = (RedisServer::start(), RedisServer::start());
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let (mut there, mut here) = (original.client(), proxy.client());
    for request in REQUESTS {
        let (expected, reply) = (there.ask(request), here.ask(request));
        assert_same(request, &expected, &reply);
    }
    // Once more in one pipeline.
    let batch: Vec<u8> = REQUESTS.iter().flat_map(|request| words(request)).collect();
    let (mut there, mut here) = (original.client(), proxy.client());
    there.send(&batch);
    here.send(&batch);
    for request in REQUESTS {
        let (expected, reply) = (there.reply(), here.reply());
        assert_same(request, &expected, &reply);
    }
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
fn clients_see_only_their_own_database() {
    let servers: [_; 3] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let mut clients: Vec<(usize, Client)> = (0..16).map(|db| (db, proxy.client())).collect();
    for (db, client) in &mut clients {
        client.converse(&[(&format!("SELECT {db}"), OK)]);
        for key in 0..20 {
            client.send(&words(&format!("SET key-{key} {db}-{key}")));
        }
    }
    for (_, client) in &mut clients {
        for _ in 0..20 {
            client.expect("SET", OK.as_bytes());
        }
    }
    for (db, client) in &mut clients {
        let keys: Vec<String> = (0..20).map(|key| format!("key-{key}")).collect();
        let mut get = vec!["MGET"];
        get.extend(keys.iter().map(String::as_str));
        let values: Vec<String> = (0..20).map(|key| format!("{db}-{key}")).collect();
        client.send(&command(&get));
        let expected = command(&values);
        assert_eq!(show(&client.reply()), show(&expected));
    }
}

#[test]
fn database_connection_opens_on_first_use() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.converse(&[
        ("SET k v", OK),
        ("SELECT 3", OK),
        ("SELECT 4", OK),
        ("SELECT 0", OK),
    ]);
    client.converse(&[("GET k", "$1\r\nv\r\n")]);
    assert_eq!(proxy.stat(&["s0", "server_connections"]), 1);
    client.converse(&[("SELECT 4", OK), ("GET k", "$-1\r\n")]);
    eventually("a connection in the other database", || {
        (proxy.stat(&["s0", "server_connections"]) == 2).then_some(())
    });
}

#[test]
fn database_connections_close_when_unused() {
    let servers: [_; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers));
    let connections = || -> Vec<usize> {
        let lists = servers.iter().map(|server| server.ask("CLIENT LIST"));
        lists
            .map(|list| String::from_utf8(list).unwrap())
            // Without the connection of this test.
            .map(|list| list.matches("laddr=").count() - 1)
            .collect()
    };
    let mut client = proxy.client();
    client.converse(&[("DBSIZE", ":0\r\n")]);
    assert_eq!(connections(), [1, 1]);
    for version in [2, 3] {
        client.ask(&format!("HELLO {version}"));
        for db in 0..16 {
            client.converse(&[(&format!("SELECT {db}"), OK), ("DBSIZE", ":0\r\n")]);
        }
    }
    assert_eq!(connections(), [32, 32]);
    // One is in use, and unused ones are closed; the worker's own connection stays.
    eventually("the unused connections are closed", || {
        client.converse(&[("DBSIZE", ":0\r\n")]);
        (connections() == [2, 2]).then_some(())
    });
    eventually("all but the first is closed", || {
        (connections() == [1, 1]).then_some(())
    });
    client.converse(&[("DBSIZE", ":0\r\n"), ("SELECT 0", OK), ("SET k v", OK)]);
    for server in ["s0", "s1"] {
        for counter in ["server_eof", "server_err", "server_timedout"] {
            assert_eq!(proxy.stat(&[server, counter]), 0, "{server} {counter}");
        }
    }
}

#[test]
fn missing_database_fails_only_its_own_requests() {
    let server = RedisServer::start_with(&["--databases", "4"]);
    let pool = Pool::of([&server])
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 1);
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    let lacks = "-ERR DB index is out of range\r\n";
    client.converse(&[
        ("SET k v", OK),
        ("SELECT 7", OK),
        ("GET k", lacks),
        ("GET k", lacks),
        ("SELECT 3", OK),
        ("GET k", "$-1\r\n"),
        ("RESET", "+RESET\r\n"),
        ("GET k", "$1\r\nv\r\n"),
    ]);
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
}

#[test]
fn client_starts_in_the_pool_database_and_selects_in_range() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with("redis_db", 9).with("databases", 2);
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    client.converse(&[
        ("SET k nine", OK),
        ("SELECT 0", OK),
        ("EXISTS k", ":0\r\n"),
        ("SELECT 1", OK),
        ("SET k one", OK),
        ("SELECT 2", "-ERR DB index is out of range\r\n"),
        ("SELECT 9", OK),
        ("GET k", "$4\r\nnine\r\n"),
        ("SELECT 1", OK),
        ("RESET", "+RESET\r\n"),
        ("GET k", "$4\r\nnine\r\n"),
        (
            "SWAPDB 0 1",
            "-ERR unsupported command 'SWAPDB': it cannot be applied to all servers atomically\r\n",
        ),
    ]);
    server.client().converse(&[
        ("SELECT 9", OK),
        ("GET k", "$4\r\nnine\r\n"),
        ("SELECT 1", OK),
        ("GET k", "$3\r\none\r\n"),
    ]);
}

/// A server that answers a first write at once, and the `others` on the same connection when the gate opens.
fn server_that_answers_together(others: &'static [&str], gate: &Gate) -> FakeServer {
    let wait = gate.waiter();
    FakeServer::start(move |nth, mut peer| {
        if nth == 0 {
            assert_eq!(peer.request(), Some(words("SET a 0")));
            peer.send(OK.as_bytes());
            for request in others {
                assert_eq!(peer.request(), Some(words(request)));
            }
            wait();
            for _ in others {
                peer.send(OK.as_bytes());
            }
        }
        peer.answer_all(OK.as_bytes());
    })
}

/// Sends these requests at once, after one whose reply is read: then a client may have many in flight.
fn pipeline(client: &mut Client, requests: &[&str]) {
    client.converse(&[("SET a 0", OK)]);
    let batch: Vec<u8> = requests.iter().flat_map(|request| words(request)).collect();
    client.send(&batch);
}

#[test]
fn select_delays_nothing_in_the_same_database() {
    let gate = Gate::new();
    gate.open();
    // It answers the first write when it has the second.
    let server = server_that_answers_together(&["SET a 1", "SET a 2"], &gate);
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    let mut client = proxy.client();
    let requests = ["SET a 1", "SELECT 1", "SELECT 2", "SELECT 0", "SET a 2"];
    pipeline(&mut client, &requests);
    for request in requests {
        client.expect(request, OK.as_bytes());
    }
}

#[test]
fn request_in_another_database_follows_those_in_flight() {
    let gate = Gate::new();
    let server = server_that_answers_together(&["SET a 1"], &gate);
    let launch = Launch {
        args: vec!["--workers=1".to_owned()],
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &Pool::at([server.address()]), &launch);
    let (mut client, mut other) = (proxy.client(), proxy.client());
    let requests = ["SET a 1", "SELECT 1", "SET a 2"];
    pipeline(&mut client, &requests);
    eventually("the first request is in flight", || {
        (proxy.stat(&["s0", "out_queue"]) == 1).then_some(())
    });
    other.converse(&[("SELECT 1", OK), ("SET b 1", OK)]);
    // The connection is open, and only the other client's request went over it.
    assert_eq!(proxy.stat(&["s0", "requests"]), 3);
    gate.open();
    for request in requests {
        client.expect(request, OK.as_bytes());
    }
    assert_eq!(proxy.stat(&["s0", "requests"]), 4);
}
