//! A failing server is reported: no partial result looks like a complete one.

use super::{OK, fill, four};
use crate::support::{FakeServer, Pool, Proxy, RedisServer, eventually, show};

const QUESTIONS: [&str; 10] = [
    "DBSIZE",
    "KEYS *",
    "RANDOMKEY",
    "LASTSAVE",
    "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
    "FUNCTION LIST",
    "FUNCTION DUMP",
    "FUNCTION STATS",
    "FUNCTION LIST WITHCODE",
    "KEYS none",
];

const DEEDS: [&str; 6] = [
    "FLUSHDB",
    "FLUSHALL",
    "SCRIPT FLUSH",
    "SCRIPT LOAD return(1)",
    "FUNCTION FLUSH",
    "MEMORY PURGE",
];

#[test]
fn dead_server_fails_the_request_and_is_named() {
    let (servers, proxy) = four();
    fill(&mut proxy.client(), 100);
    servers[1].kill();
    for request in QUESTIONS {
        let reply = String::from_utf8(proxy.ask(request)).unwrap();
        assert!(
            reply.contains(" needs all servers; server 's1' failed: "),
            "{request}: {reply}"
        );
    }
    for request in DEEDS {
        let reply = String::from_utf8(proxy.ask(request)).unwrap();
        let expected = " succeeded on 3 of 4 servers; server 's1' failed: ";
        assert!(reply.contains(expected), "{request}: {reply}");
    }
    for alive in [0, 2, 3] {
        assert_eq!(servers[alive].ask("DBSIZE"), b":0\r\n");
    }
}

#[test]
fn ejected_server_fails_the_request_and_is_named() {
    let servers: [RedisServer; 2] = RedisServer::several();
    let pool = Pool::of(&servers)
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 1)
        .with("server_retry_timeout", 600_000);
    let proxy = Proxy::ringroad(&pool);
    servers[0].kill();
    let expected = "-ERR DBSIZE needs all servers; server 's0' failed: ejected\r\n";
    eventually("the ejection", || {
        (proxy.ask("DBSIZE") == expected.as_bytes()).then_some(())
    });
    proxy.client().converse(&[
        ("SET k v", OK),
        ("DBSIZE", expected),
        (
            "FLUSHALL",
            "-ERR FLUSHALL succeeded on 1 of 2 servers; server 's0' failed: ejected\r\n",
        ),
    ]);
}

#[test]
fn error_code_of_one_server_is_kept() {
    let loading = FakeServer::start(|_, mut peer| {
        peer.answer_all(b"-LOADING Redis is loading the dataset in memory\r\n");
    });
    let sound = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::at([sound.address(), loading.address()]));
    proxy.client().converse(&[
        (
            "DBSIZE",
            "-LOADING DBSIZE needs all servers; server 's1' failed: Redis is loading the dataset in memory\r\n",
        ),
        (
            "FLUSHALL",
            "-LOADING FLUSHALL succeeded on 1 of 2 servers; server 's1' failed: Redis is loading the dataset in memory\r\n",
        ),
    ]);
}

#[test]
fn unexpected_reply_type_fails_the_request() {
    let odd = FakeServer::start(|_, mut peer| peer.answer_all(b"+odd\r\n"));
    let sound = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::at([sound.address(), odd.address()]));
    let first = proxy.ask("SCAN 0");
    let cursor = String::from_utf8_lossy(&first)
        .lines()
        .nth(2)
        .unwrap()
        .to_owned();
    for request in [
        "DBSIZE",
        "KEYS *",
        &format!("SCAN {cursor}"),
        "LASTSAVE",
        "SCRIPT EXISTS x",
        "FUNCTION STATS",
    ] {
        let reply = proxy.ask(request);
        assert_eq!(
            show(&reply),
            show(b"-ERR Invalid argument\r\n"),
            "{request}"
        );
    }
    let reply = proxy.ask("FLUSHALL");
    let expected = b"-ERR FLUSHALL: servers 's0' and 's1' returned different replies\r\n";
    assert_eq!(show(&reply), show(expected));
}
