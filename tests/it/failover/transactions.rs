//! Transactions that a server has refused are sent again as a whole, in their place among other requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Got, MASTER, OK, READONLY, bulk, got_later, pipeline, pool, refusing, sha1};
use crate::support::{Client, FakeServer, Gate, Proxy, array_items, show};

const QUEUED: &[u8] = b"+QUEUED\r\n";
const ABORT: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";
const ABORT_OF_EXEC: &[u8] = b"-EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.\r\n";
const OLD: &[u8] = b"$3\r\nold\r\n";

/// A proxy whose client has made a transaction over the first connection to its server. Later replies there are these.
fn after_a_transaction(replies: &[&'static [u8]]) -> (FakeServer, Got, Proxy, Client) {
    // The first one is preceded by a question for the support of transactions.
    let probe: [&[u8]; 3] = [OK, b"*0\r\n", b"-ERR DISCARD without MULTI\r\n"];
    let first: [&[u8]; 3] = [OK, QUEUED, b"*1\r\n+OK\r\n"];
    let replies = [&probe[..], &first, replies].concat();
    let (server, got) = refusing(replies);
    let proxy = Proxy::ringroad(&pool(server.address()));
    let mut client = proxy.client();
    client.send(&pipeline(&["MULTI", "SET k 0", "EXEC"]));
    assert_eq!(replies_of(&mut client, 3), [first[0], QUEUED, first[2]]);
    (server, got, proxy, client)
}

fn replies_of(client: &mut Client, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| client.reply()).collect()
}

#[test]
fn refused_transaction_is_sent_again_in_its_place() {
    for refusal in [[READONLY, ABORT], [QUEUED, ABORT_OF_EXEC]] {
        let [of_set, of_exec] = refusal;
        let on_first = [READONLY, OK, of_set, of_exec, OLD, READONLY];
        let (_server, got, _proxy, mut client) = after_a_transaction(&on_first);
        client.send(&pipeline(&[
            "SET k a", "MULTI", "SET k b", "EXEC", "GET k", "SET k c",
        ]));
        let replies = replies_of(&mut client, 6);
        let executed = b"*1\r\n+OK\r\n";
        assert_eq!(replies, [OK, OK, QUEUED, executed, &bulk("b"), OK]);
        let again = "SET k a; MULTI; SET k b; EXEC; GET k; SET k c";
        assert_eq!(got_later(&got), again);
    }
}

#[test]
fn transaction_that_the_server_does_not_refuse_is_not_repeated() {
    let wrong: &[u8] = b"-ERR unknown command 'NOPE'\r\n";
    for (replies, expected) in [
        (
            [OK, wrong, ABORT],
            "EXECABORT Transaction discarded because of: unknown command",
        ),
        (
            [
                OK,
                QUEUED,
                b"*1\r\n-READONLY You can't write against a read only replica.\r\n",
            ],
            "*1\r\n-READONLY",
        ),
    ] {
        let (_server, got, _proxy, mut client) = after_a_transaction(&replies);
        client.send(&pipeline(&["MULTI", "SET k a", "EXEC"]));
        let replies = replies_of(&mut client, 3);
        assert!(
            String::from_utf8_lossy(&replies[2]).contains(expected),
            "{}",
            show(&replies[2])
        );
        assert_eq!(got_later(&got), "");
    }
}

#[test]
fn end_of_a_value_is_no_refusal_of_its_transaction() {
    let begin = "x".repeat(64 << 10);
    let length = begin.len() + ABORT_OF_EXEC.len() - 2;
    let head = format!("*1\r\n${length}\r\n{begin}");
    let (gate, executed) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let (waiter, count) = (gate.waiter(), Arc::clone(&executed));
    let server = FakeServer::start(move |_, mut peer| {
        let mut has_queued = false;
        while let Some(request) = peer.request() {
            let words = array_items(&request);
            match &*words[0] {
                b"ROLE" => peer.send(MASTER),
                b"MULTI" => peer.send(OK),
                b"GET" => {
                    has_queued = true;
                    peer.send(QUEUED);
                }
                b"EXEC" if has_queued => {
                    count.fetch_add(1, Ordering::SeqCst);
                    peer.send(head.as_bytes());
                    waiter();
                    peer.send(ABORT_OF_EXEC);
                }
                b"EXEC" => peer.send(b"*0\r\n"),
                _ => peer.send(b"-ERR not here\r\n"),
            }
        }
    });
    let proxy = Proxy::ringroad(&pool(server.address()));
    let mut client = proxy.client();
    client.send(&pipeline(&["MULTI", "GET k", "EXEC"]));
    // The server sends the rest once the proxy has passed on the beginning.
    client.read_until(begin.as_bytes());
    gate.open();
    assert_eq!(client.read_until(b"replica.\r\n"), ABORT_OF_EXEC);
    assert_eq!(executed.load(Ordering::SeqCst), 1);
}

#[test]
fn refused_requests_before_an_executed_transaction_fail() {
    let executed: &[u8] = b"*1\r\n+OK\r\n";
    let on_first = [READONLY, OK, READONLY, ABORT, OK, QUEUED, executed];
    let (_server, got, _proxy, mut client) = after_a_transaction(&on_first);
    client.send(&pipeline(&[
        "SET k a", "MULTI", "SET k b", "EXEC", "MULTI", "SET k c", "EXEC",
    ]));
    let replies = replies_of(&mut client, 7);
    // Not in another order than that of the client.
    assert_eq!(
        replies,
        [READONLY, OK, QUEUED, ABORT_OF_EXEC, OK, QUEUED, executed]
    );
    assert_eq!(got_later(&got), "");
}

#[test]
fn scripts_of_a_transaction_are_loaded_where_it_is_sent_again() {
    let (server, got) = {
        let probe: [&[u8]; 3] = [OK, b"*0\r\n", b"-ERR DISCARD without MULTI\r\n"];
        let loaded: &[u8] = b"$3\r\nsha\r\n";
        let first: [&[u8]; 1] = [b"$6\r\nscript\r\n"];
        let then = [loaded, OK, QUEUED, READONLY, ABORT];
        refusing([&first[..], &probe, &then].concat())
    };
    let proxy = Proxy::ringroad(&pool(server.address()));
    let mut client = proxy.client();
    assert_eq!(client.ask("EVAL text 1 k v"), bulk("script"));
    let sha = sha1("text");
    let evalsha = format!("EVALSHA {sha} 1 k w");
    client.send(&pipeline(&["MULTI", &evalsha, "SET k x", "EXEC"]));
    let replies = replies_of(&mut client, 4);
    assert_eq!(replies[3], [&b"*2\r\n"[..], &bulk("script"), OK].concat());
    let again = format!("SCRIPT LOAD text; MULTI; {evalsha}; SET k x; EXEC");
    assert_eq!(got_later(&got), again);
}
