//! Clients whose requests go over one connection: what one of them does changes nothing for the refused requests of another.

use super::{Got, OK, READONLY, bulk, got_later, one_worker, pipeline, pool, refusing};
use crate::support::{Client, FakeServer, Proxy, eventually, show};

const QUEUED: &[u8] = b"+QUEUED\r\n";
const OLD: &[u8] = b"$3\r\nold\r\n";
const ONE: &[u8] = b":1\r\n";

/// The server refuses a write, but not before it has got what comes next over the same connection.
fn then_refusing(next: &'static [u8]) -> [&'static [u8]; 2] {
    [b"", [READONLY, next].concat().leak()]
}

/// A proxy with two clients, whose connection to the server is open, and known to support transactions. Later replies there are
/// these.
fn two_clients(replies: &[&'static [u8]]) -> (FakeServer, Got, Proxy, [Client; 2]) {
    let probe: [&[u8]; 3] = [OK, b"*0\r\n", b"-ERR DISCARD without MULTI\r\n"];
    let first: [&[u8]; 3] = [OK, QUEUED, b"*1\r\n+OK\r\n"];
    let (server, got) = refusing([&probe[..], &first, replies].concat());
    let proxy = one_worker(&pool(server.address()));
    let mut clients = [proxy.client(), proxy.client()];
    clients[0].send(&pipeline(&["MULTI", "SET k 0", "EXEC"]));
    let replies = [(); 3].map(|()| clients[0].reply());
    assert_eq!(replies, first);
    (server, got, proxy, clients)
}

/// Sends a request that the first connection gets before others.
fn send_first(client: &mut Client, request: &str, got: &Got) {
    client.send(&pipeline(&[request]));
    eventually("the server has got it", || {
        let got = got.lock().unwrap();
        got.contains(&format!("0 {request}")).then_some(())
    });
}

#[test]
fn refused_write_outlives_a_script_of_another_client() {
    for (script, reply) in [("EVAL text 1 k", ONE), ("EVAL text 1 k", READONLY)] {
        let (_server, got, _proxy, [mut one, mut other]) = two_clients(&then_refusing(reply));
        send_first(&mut one, "SET k a", &got);
        other.send(&pipeline(&[script]));
        assert_eq!(other.reply(), reply);
        assert_eq!(one.reply(), OK);
        assert_eq!(got_later(&got), "SET k a");
    }
}

#[test]
fn refused_write_outlives_a_transaction_of_another_client() {
    for (request, executed) in [
        ("GET k", [b"*1\r\n", OLD].concat()),
        ("SET l 1", [b"*1\r\n", OK].concat()),
    ] {
        let [none, begun] = then_refusing(OK);
        let on_first = [none, begun, QUEUED, executed.clone().leak()];
        let (_server, got, _proxy, [mut one, mut other]) = two_clients(&on_first);
        send_first(&mut one, "SET k a", &got);
        other.send(&pipeline(&["MULTI", request, "EXEC"]));
        let replies = [(); 3].map(|()| other.reply());
        assert_eq!(replies, [OK, QUEUED, &executed]);
        assert_eq!(one.reply(), OK);
        assert_eq!(got_later(&got), "SET k a");
    }
}

#[test]
fn script_fails_the_refused_writes_of_its_client_only() {
    let [none, begun] = then_refusing(READONLY);
    let (_server, got, _proxy, [mut one, mut other]) = two_clients(&[none, begun, ONE]);
    send_first(&mut one, "SET k a", &got);
    other.send(&pipeline(&["SET k b", "EVAL text 1 k x"]));
    assert_eq!([other.reply(), other.reply()], [READONLY, ONE]);
    assert_eq!(one.reply(), OK);
    assert_eq!(got_later(&got), "SET k a");
}

/// What another client has read depends on nothing that was refused.
#[test]
fn read_of_another_client_is_answered_at_once() {
    let (_server, got, _proxy, [mut one, mut other]) = two_clients(&then_refusing(OLD));
    send_first(&mut one, "SET k a", &got);
    assert_eq!(other.ask("GET k"), OLD);
    assert_eq!(one.reply(), OK);
    assert_eq!(got_later(&got), "SET k a");
}

#[test]
fn long_read_of_another_client_arrives_whole() {
    let value = bulk(&"x".repeat(300 << 10));
    let replies = then_refusing(value.clone().leak());
    let (_server, got, _proxy, [mut one, mut other]) = two_clients(&replies);
    send_first(&mut one, "SET k a", &got);
    let reply = other.ask("GET k");
    assert!(reply == value, "{} bytes", reply.len());
    assert_eq!(one.reply(), OK);
}

#[test]
fn reads_by_script_and_transaction_keep_their_place() {
    let executed: &[u8] = b"*1\r\n$3\r\nold\r\n";
    let on_first = [READONLY, OLD, OK, QUEUED, executed, READONLY];
    let (_server, got, _proxy, [mut one, _other]) = two_clients(&on_first);
    one.send(&pipeline(&[
        "SET k a",
        "EVAL_RO text 1 k",
        "MULTI",
        "GET k",
        "EXEC",
        "SET k b",
    ]));
    let replies = [(); 6].map(|()| one.reply());
    let read = [b"*1\r\n", &bulk("a")[..]].concat();
    let expected = [OK, &bulk("a"), OK, QUEUED, &read, OK];
    let texts = replies.each_ref().map(|reply| show(reply));
    assert_eq!(replies, expected, "{texts:?}");
    let again = "SET k a; EVAL_RO text 1 k; MULTI; GET k; EXEC; SET k b";
    assert_eq!(got_later(&got), again);
}
