//! Connections to servers over TLS that are given up.

use crate::support::{Pool, Proxy, eventually, show, words};

use super::certificates::Ca;
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
