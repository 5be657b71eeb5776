//! The proxy's own limits and its shutdown.

use std::sync::mpsc::channel;
use std::time::Duration;

use crate::memcached::fleet::pool;
use crate::support::{
    Client, Ended, FakeServer, Gate, Memcached, PATIENCE, Pool, Proxy, eventually,
};

#[test]
fn requests_in_flight_finish_before_exit() {
    let gate = Gate::new();
    let wait = gate.waiter();
    let (arrived, arrival) = channel();
    let server = FakeServer::start(move |_, mut peer| {
        while peer.text_request().is_some() {
            arrived.send(()).unwrap();
            wait();
            peer.send(b"VALUE a 0 4\r\ndone\r\nEND\r\n");
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]).speaking_memcached());
    let mut client = proxy.client();
    client.send(b"get a\r\n");
    arrival.recv_timeout(PATIENCE).unwrap();
    proxy.terminate();
    eventually("no new client is let in", || {
        Client::try_connect(proxy.address()).is_err().then_some(())
    });
    assert!(
        proxy.process().exit_within(Duration::ZERO).is_none(),
        "left with a request in flight"
    );
    gate.open();
    client.expect("what was in flight", b"VALUE a 0 4\r\ndone\r\nEND\r\n");
    client.expect_close();
    assert_eq!(proxy.process().exit().code(), Some(0));
}

#[test]
fn client_over_the_limit_gets_an_error_and_retry_works() {
    let servers: [Memcached; 1] = Memcached::several();
    let proxy = Proxy::ringroad(&pool(&servers).with("client_connections", 3));
    // The connection that probed the proxy was a client, too.
    eventually("nobody is inside", || {
        let left = proxy.stat(&["client_eof"]) > 0;
        (left && proxy.stat(&["client_connections"]) == 0).then_some(())
    });
    let mut inside: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut inside {
        client.chat(&[("mn\r\n", "MN\r\n")]);
    }
    let mut refused = proxy.client();
    refused.expect("a fourth client", b"ERROR Too many open connections\r\n");
    refused.expect_close();
    inside.pop();
    eventually("there is room again", || {
        let mut client = proxy.client();
        let sent = client.try_send(b"mn\r\n");
        (sent.is_ok() && client.try_answer() == Ok(b"MN\r\n".to_vec())).then_some(())
    });
}

#[test]
fn half_closed_client_gets_all_replies() {
    let servers: [Memcached; 4] = Memcached::several();
    let proxy = Proxy::ringroad(&pool(&servers));
    let mut client = proxy.client();
    client.send(b"set a 0 0 1\r\n1\r\nget a b c d e f\r\nset half 0 0 100\r\nhalf");
    client.half_close();
    client.expect("before the end", b"STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n");
    client.set_patience(PATIENCE);
    assert_eq!(client.try_answer(), Err(Ended::Closed));
}
