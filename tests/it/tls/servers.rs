//! Connections to servers over TLS, of all kinds.

use crate::support::{Memcached, Pool, Proxy, eventually, show, words};

use super::certificates::Ca;
use super::fleet::Fleet;
use super::{SERVER_NAME, tls_server, with_server_tls};

#[test]
fn late_requests_over_tls_do_not_overwrite_newer_ones() {
    const LATE: usize = 30;
    let ca = Ca::new();
    let own = ca.issue("server", &[SERVER_NAME]);
    let server = tls_server(&ca, &own, &["--tls-auth-clients", "no"]);
    let pool = with_server_tls(Pool::of([&server]), &ca).with("timeout", 500);
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    client.converse(&[("SET key first", "+OK\r\n")]);
    server.stop();
    // More than the sockets take: the last ones are encrypted in part.
    let late = words(&format!("SET key {}", "v".repeat(200_000)));
    client.send(&late.repeat(LATE));
    for _ in 0..LATE {
        let reply = client.reply();
        assert!(reply.starts_with(b"-ERR"), "{}", show(&reply));
    }
    server.cont();
    eventually("the server is written to again", || {
        (client.ask("SET key newer") == b"+OK\r\n").then_some(())
    });
    for _ in 0..200 {
        client.converse(&[("GET key", "$5\r\nnewer\r\n")]);
    }
}

#[test]
fn connections_of_all_kinds_to_servers_are_encrypted() {
    let fleet = Fleet::new();
    let servers = [(); 2].map(|()| fleet.server());
    let pool = fleet
        .pool(Pool::of(&servers).with("hash", "murmur"))
        .with("server_probe_interval", 100)
        .with("auto_eject_hosts", true);
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    // Another version of the protocol, and a transaction on one of its own.
    client.ask("HELLO 3");
    client.converse(&[
        ("MULTI", "+OK\r\n"),
        ("INCR n", "+QUEUED\r\n"),
        ("EXEC", "*1\r\n:1\r\n"),
        ("EVAL return(KEYS[1]) 1 key", "$3\r\nkey\r\n"),
    ]);
    let mut blocked = proxy.client();
    blocked.send(b"BLPOP list 0\r\n");
    let mut subscribed = proxy.client();
    subscribed.ask("SUBSCRIBE channel");
    eventually("it waits", || {
        let blocked = |server| {
            let info = String::from_utf8(fleet.ask(server, "INFO clients")).unwrap();
            info.contains("blocked_clients:1")
        };
        servers.iter().any(blocked).then_some(())
    });
    client.converse(&[
        ("RPUSH list value", ":1\r\n"),
        ("PUBLISH channel hello", ":1\r\n"),
    ]);
    assert_eq!(
        show(&blocked.reply()),
        "*2\\r\\n$4\\r\\nlist\\r\\n$5\\r\\nvalue\\r\\n"
    );
    assert!(show(&subscribed.reply()).contains("hello"));
    // Probes, too.
    eventually("servers are probed", || {
        let pings = |server| {
            let stats = String::from_utf8(fleet.ask(server, "INFO commandstats")).unwrap();
            stats.contains("cmdstat_ping:calls=")
        };
        servers.iter().all(pings).then_some(())
    });
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
}

#[test]
fn memcached_servers_are_reached_over_tls() {
    let ca = Ca::new();
    let own = ca.issue("server", &[SERVER_NAME]);
    let [cert, key] = [&own.cert, &own.key].map(|file| file.display());
    let files = format!("ssl_chain_cert={cert},ssl_key={key}");
    let servers = [(); 2].map(|()| Memcached::start_with(&["-Z", "-o", &files]));
    let proxy = Proxy::ringroad(&with_server_tls(Pool::memcached(&servers), &ca));
    let mut client = proxy.client();
    for n in 0..20 {
        let request = format!("set key{n} 0 0 5\r\nvalue\r\nget key{n}\r\n");
        client.send(request.as_bytes());
        let expected = format!("STORED\r\nVALUE key{n} 0 5\r\nvalue\r\nEND\r\n");
        client.expect("set, get", expected.as_bytes());
    }
}
