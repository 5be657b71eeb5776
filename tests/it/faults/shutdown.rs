//! SIGTERM: requests in flight finish, nothing new begins, and the process exits in bounded time.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::support::{Client, FakeServer, Gate, Pool, Proxy, RedisServer, eventually, show, words};

/// Less than the time limit of a drain (10 s).
const BEFORE_THE_CUT: Duration = Duration::from_secs(9);

/// A proxy with a server that answers nothing until the gate opens; one request is in flight.
fn in_flight() -> (FakeServer, Gate, Proxy, Client) {
    let gate = Gate::new();
    let wait = gate.waiter();
    let (arrived, arrival) = channel();
    let server = FakeServer::start(move |_, mut peer| {
        while peer.request().is_some() {
            arrived.send(()).unwrap();
            wait();
            peer.send(b"+done\r\n");
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    let mut client = proxy.client();
    client.send(&words("GET a"));
    arrival.recv_timeout(crate::support::PATIENCE).unwrap();
    (server, gate, proxy, client)
}

#[test]
fn requests_in_flight_finish_before_exit() {
    let (_server, gate, proxy, mut client) = in_flight();
    proxy.terminate();
    eventually("no new client is let in", || {
        Client::try_connect(proxy.address()).is_err().then_some(())
    });
    assert!(
        proxy.process().exit_within(Duration::ZERO).is_none(),
        "left with a request in flight"
    );
    gate.open();
    assert_eq!(show(&client.reply()), show(b"+done\r\n"));
    client.expect_close();
    assert_eq!(proxy.process().exit().code(), Some(0));
}

#[test]
fn idle_clients_do_not_delay_exit() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut idle: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut idle {
        client.converse(&[("SET a 1", "+OK\r\n")]);
    }
    let start = Instant::now();
    proxy.terminate();
    assert_eq!(proxy.process().exit().code(), Some(0));
    assert!(
        start.elapsed() < BEFORE_THE_CUT,
        "left only after {:?}",
        start.elapsed()
    );
}

#[test]
fn second_sigterm_exits_immediately() {
    let (_server, _gate, proxy, mut client) = in_flight();
    proxy.terminate();
    eventually("no new client is let in", || {
        Client::try_connect(proxy.address()).is_err().then_some(())
    });
    let start = Instant::now();
    proxy.terminate();
    proxy.process().exit();
    assert!(
        start.elapsed() < BEFORE_THE_CUT,
        "left only after {:?}",
        start.elapsed()
    );
    client.read_to_close();
}

#[test]
fn unresponsive_server_does_not_prevent_exit() {
    let (_server, _gate, proxy, _client) = in_flight();
    proxy.terminate();
    assert!(
        proxy
            .process()
            .exit_within(Duration::from_secs(60))
            .is_some(),
        "it waits without a bound"
    );
}

#[test]
fn statistics_stay_fresh_during_a_drain() {
    let (_server, gate, proxy, mut client) = in_flight();
    let mut idle: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    for client in &mut idle {
        client.converse(&[("PING", "+PONG\r\n")]);
    }
    proxy.terminate();
    for client in &mut idle {
        client.expect_close();
    }
    eventually(
        "only the client with a request in flight is counted",
        || (proxy.stat(&["client_connections"]) == 1).then_some(()),
    );
    gate.open();
    assert_eq!(show(&client.reply()), show(b"+done\r\n"));
    assert_eq!(proxy.process().exit().code(), Some(0));
}
