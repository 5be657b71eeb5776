//! The handshake on a new server connection, before the first request may use it.

use std::sync::{Arc, Mutex};

use crate::support::{FakeServer, Pool, Proxy, RedisServer, command, show};

const OK: &str = "+OK\r\n";

#[test]
fn handshake_sends_auth_then_select_then_the_request() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let server = FakeServer::start(move |_, mut peer| {
        while let Some(request) = peer.request() {
            log.lock().unwrap().extend_from_slice(&request);
            peer.send(b"+OK\r\n");
        }
    });
    let pool = Pool::at([server.address()])
        .with("redis_auth", "secret")
        .with("redis_db", 3);
    Proxy::ringroad(&pool)
        .client()
        .converse(&[("AUTH secret", OK), ("SET a 1", OK)]);
    let expected = [
        command(&["AUTH", "secret"]),
        command(&["SELECT", "3"]),
        command(&["SET", "a", "1"]),
    ]
    .concat();
    assert_eq!(show(&seen.lock().unwrap()), show(&expected));
}

#[test]
fn request_waits_for_a_successful_handshake() {
    for refused in ["AUTH", "SELECT"] {
        let leaked = Arc::new(Mutex::new(None));
        let leak = Arc::clone(&leaked);
        let server = FakeServer::start(move |_, mut peer| {
            while let Some(request) = peer.request() {
                let is = |name: &str| {
                    request
                        .windows(name.len())
                        .any(|part| part == name.as_bytes())
                };
                if is("GET") {
                    *leak.lock().unwrap() = Some(request.clone());
                }
                peer.send(if is(refused) {
                    b"-ERR not you\r\n"
                } else {
                    b"+OK\r\n"
                });
            }
        });
        let pool = Pool::at([server.address()])
            .with("redis_auth", "secret")
            .with("redis_db", 3);
        let proxy = Proxy::ringroad(&pool);
        let mut client = proxy.client();
        client.converse(&[("AUTH secret", OK)]);
        let reply = client.ask("GET a");
        assert!(
            reply.starts_with(b"-"),
            "{refused} refused, yet {}",
            show(&reply)
        );
        client.converse(&[("PING", "+PONG\r\n")]);
        assert_eq!(*leaked.lock().unwrap(), None, "{refused} refused");
    }
}

#[test]
fn data_is_written_to_the_pool_database() {
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    let pool = Pool::of([&server])
        .with("redis_auth", "secret")
        .with("redis_db", 3);
    let proxy = Proxy::ringroad(&pool);
    proxy
        .client()
        .converse(&[("AUTH secret", OK), ("SET a 1", OK)]);
    let mut direct = server.client();
    direct.converse(&[
        ("AUTH secret", OK),
        ("EXISTS a", ":0\r\n"),
        ("SELECT 3", OK),
        ("EXISTS a", ":1\r\n"),
    ]);
}

#[test]
fn refused_server_password_is_an_error_without_a_write() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("redis_auth", "wrong"));
    let mut client = proxy.client();
    client.converse(&[("AUTH wrong", OK)]);
    for _ in 0..3 {
        let reply = client.ask("SET a 1");
        assert!(reply.starts_with(b"-"), "{}", show(&reply));
    }
    client.converse(&[("PING", "+PONG\r\n")]);
    server
        .client()
        .converse(&[("AUTH right", OK), ("DBSIZE", ":0\r\n")]);
}

#[test]
fn unauthenticated_client_sends_little() {
    const VALUE: usize = (16 << 10) + 1;
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("redis_auth", "secret"));
    for begin in ["*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16385\r\n", "*11\r\n"] {
        let [there, here] = [server.client(), proxy.client()].map(|mut client| {
            client.send(begin.as_bytes());
            let reply = client.reply();
            client.expect_close();
            reply
        });
        assert_eq!(show(&here), show(&there), "{begin:?}");
    }
    let mut client = proxy.client();
    client.converse(&[("AUTH secret", OK)]);
    client.send(&command(&[b"SET".as_slice(), b"k", &vec![b'x'; VALUE]]));
    client.expect("a long value", OK.as_bytes());
    client.converse(&[
        (
            "MGET k1 k2 k3 k4 k5 k6 k7 k8 k9 k10 k11",
            &format!("*11\r\n{}", "$-1\r\n".repeat(11)),
        ),
        ("RESET", "+RESET\r\n"),
    ]);
    client.send(b"*11\r\n");
    client.expect(
        "an error",
        b"-ERR Protocol error: unauthenticated multibulk length\r\n",
    );
    client.expect_close();
}

#[test]
fn client_must_authenticate_first() {
    const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("redis_auth", "secret"));
    proxy.client().converse(&[
        ("GET a", "-NOAUTH Authentication required.\r\n"),
        ("PING", "-NOAUTH Authentication required.\r\n"),
        ("MGET a b", "-NOAUTH Authentication required.\r\n"),
        ("AUTH nonsense", WRONGPASS),
        ("AUTH secret", OK),
        ("PING", "+PONG\r\n"),
        ("SET a 1", OK),
        ("AUTH nonsense", WRONGPASS),
        ("GET a", "$1\r\n1\r\n"),
    ]);
}
