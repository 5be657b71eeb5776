//! What is kept to be sent again counts towards `memory_limit`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{MASTER, OK, READONLY, one_worker, pool};
use crate::support::{FakeServer, Gate, array_items, command, eventually};

const REQUESTS: usize = 40;
const VALUE_BYTES: usize = 64 << 10;

#[test]
fn requests_that_may_be_sent_again_are_booked() {
    let (gate, received) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let (wait, count) = (gate.waiter(), Arc::clone(&received));
    // The first connection answers one request, then none, then refuses all but the last, and then that.
    let server = FakeServer::start(move |_, mut peer| {
        let is_first = count.load(Ordering::SeqCst) == 0;
        while let Some(request) = peer.request() {
            match &array_items(&request)[0][..] {
                b"ROLE" => peer.send(MASTER),
                b"SET" if is_first => {
                    let nth = count.fetch_add(1, Ordering::SeqCst);
                    if nth == 0 {
                        peer.send(OK);
                    } else if nth == REQUESTS {
                        wait();
                        peer.send(&READONLY.repeat(REQUESTS - 1));
                        wait();
                        return peer.send(READONLY);
                    }
                }
                b"SET" => peer.send(OK),
                _ => peer.send(b"-ERR not here\r\n"),
            }
        }
    });
    let proxy = one_worker(&pool(server.address()));
    let mut client = proxy.client();
    let value = vec![b'x'; VALUE_BYTES];
    assert_eq!(client.ask("SET k 1"), OK);
    for _ in 0..REQUESTS {
        client.send(&command(&[&b"SET"[..], b"k", &value]));
    }
    eventually("all are sent", || {
        (received.load(Ordering::SeqCst) == REQUESTS + 1).then_some(())
    });
    let is_booked = |step: &str| {
        eventually(step, || {
            let booked = proxy.metric("ringroad_pool_buffered_bytes");
            (booked >= ((REQUESTS - 4) * VALUE_BYTES) as u64).then_some(())
        });
    };
    is_booked("requests in flight are booked");
    gate.open();
    client.set_patience(Duration::from_millis(300));
    assert!(client.try_reply().is_err(), "none is answered yet");
    is_booked("refused requests are booked");
    client.set_patience(Duration::from_secs(20));
    gate.open();
    for _ in 0..REQUESTS {
        assert_eq!(client.reply(), OK);
    }
    // Nor is the last one, although no other has come since.
    eventually("none is held", || {
        let booked = proxy.metric("ringroad_pool_buffered_bytes");
        (booked < VALUE_BYTES as u64).then_some(())
    });
}
