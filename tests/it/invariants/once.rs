//! No request is sent to a server again once a byte of it may have arrived there; one that certainly has not arrived is
//! not lost with an idle connection.

use std::collections::HashMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;

use crate::support::{FakeServer, Gate, Pool, Proxy, command, eventually, show, words};

const OK: &[u8] = b"+OK\r\n";

/// The number of times that each request has arrived, over all connections.
type Arrivals = Arc<Mutex<HashMap<Vec<u8>, usize>>>;

#[test]
fn request_is_never_sent_twice_after_a_disconnect() {
    const BATCHES: usize = 150;
    const BATCH: usize = 20;
    let arrivals = Arrivals::default();
    let seen = Arc::clone(&arrivals);
    let server = FakeServer::start(move |nth, mut peer| {
        let mut random = fastrand::Rng::with_seed(nth.try_into().unwrap());
        loop {
            // All requests that the proxy has sent are counted before the connection ends.
            let mut batch = Vec::new();
            while batch
                .last()
                .is_none_or(|last: &Vec<u8>| !last.ends_with(b"last\r\n"))
            {
                let Some(request) = peer.request() else {
                    return;
                };
                *seen.lock().unwrap().entry(request.clone()).or_default() += 1;
                batch.push(request);
            }
            let answered = if random.u8(..4) == 0 {
                random.usize(..batch.len())
            } else {
                batch.len()
            };
            peer.send(&OK.repeat(answered));
            if answered < batch.len() {
                if random.bool() {
                    peer.reset();
                }
                return;
            }
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    let (mut answered, mut failed) = (0, 0);
    let mut client = proxy.client();
    // Before its first reply, a client has only a few requests in flight.
    client.ask("SET first last");
    for nth in 0..BATCHES {
        let batch: Vec<_> = (1..=BATCH)
            .map(|n| {
                let place = if n == BATCH { "last" } else { "within" };
                words(&format!("SET batch-{nth}-request-{n} {place}"))
            })
            .collect();
        client.send(&batch.concat());
        for request in batch {
            let reply = client.reply();
            let times = arrivals.lock().unwrap().get(&request).copied();
            if reply == OK {
                assert_eq!(times, Some(1), "answered: {}", show(&request));
                answered += 1;
            } else {
                assert!(reply.starts_with(b"-ERR "), "{}", show(&reply));
                failed += 1;
            }
        }
        // The proxy delays its next attempt to reach a failed server; those requests arrive nowhere.
        eventually("the server is reached again", || {
            (client.ask("SET again last") == OK).then_some(())
        });
        arrivals.lock().unwrap().remove(&words("SET again last"));
    }
    assert!(
        answered > 0 && failed > 0,
        "{answered} answered, {failed} failed"
    );
    let twice: Vec<_> = arrivals
        .lock()
        .unwrap()
        .iter()
        .filter(|(_, times)| **times > 1)
        .map(|(request, times)| format!("{times} times: {}", show(request)))
        .collect();
    assert!(twice.is_empty(), "{}", twice.join("\n"));
}

#[test]
fn partly_sent_request_is_not_resent() {
    // More than the kernel takes without a reader, so that the proxy has written only a part.
    const VALUE_BYTES: usize = 64 << 20;
    let arrivals = Arrivals::default();
    let seen = Arc::clone(&arrivals);
    let server = FakeServer::start(move |nth, mut peer| {
        if nth == 0 {
            peer.swallow(1 << 20);
            return;
        }
        while let Some(request) = peer.request() {
            *seen.lock().unwrap().entry(request).or_default() += 1;
            peer.send(OK);
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    let mut client = proxy.client();
    client.send(&command(&[
        b"SET".as_slice(),
        b"big",
        &vec![b'v'; VALUE_BYTES],
    ]));
    let reply = client.reply();
    assert!(reply.starts_with(b"-ERR "), "{}", show(&reply));
    eventually("the server is reached again", || {
        (client.ask("SET small v") == OK).then_some(())
    });
    let arrivals = arrivals.lock().unwrap();
    let requests: Vec<_> = arrivals.keys().map(|request| show(request)).collect();
    assert_eq!(requests, [show(&words("SET small v"))]);
}

#[test]
fn unsent_request_goes_over_the_next_connection() {
    const ROUNDS: usize = 20;
    let arrivals = Arrivals::default();
    let seen = Arc::clone(&arrivals);
    let gate = Gate::new();
    let wait = gate.waiter();
    let (sender, closed) = channel();
    let sender = Mutex::new(sender);
    let server = FakeServer::start(move |_, mut peer| {
        let Some(request) = peer.request() else {
            return;
        };
        *seen.lock().unwrap().entry(request).or_default() += 1;
        peer.send(OK);
        wait();
        drop(peer);
        // The test may have ended.
        let _ = sender.lock().unwrap().send(());
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    let mut client = proxy.client();
    client.converse(&[("SET first 1", "+OK\r\n")]);
    for round in 0..ROUNDS {
        // The proxy detects in one turn that the server has closed and that a request has arrived, in either order.
        let request = words(&format!("SET round-{round} 1"));
        proxy.process().freeze();
        if round % 2 == 0 {
            client.send(&request);
        }
        gate.open();
        closed.recv().unwrap();
        if round % 2 == 1 {
            client.send(&request);
        }
        proxy.process().signal(Signal::CONT);
        assert_eq!(show(&client.reply()), show(OK), "round {round}");
        assert_eq!(
            arrivals.lock().unwrap().get(&request),
            Some(&1),
            "round {round}"
        );
    }
    assert_eq!(server.connections(), ROUNDS + 1);
}
