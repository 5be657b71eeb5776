//! Requests that a server has refused, since it is no primary or does not serve yet, are sent again in their order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{OK, READONLY, fake, pipeline, pool, refusing};
use crate::support::Proxy;

#[test]
fn refused_writes_and_reads_after_them_keep_their_order() {
    let (server, got) = refusing([OK, OK, READONLY, b"$3\r\nold\r\n", READONLY]);
    let proxy = Proxy::ringroad(&pool(server.address()));
    let mut client = proxy.client();
    assert_eq!(client.ask("SET k 0"), OK);
    client.send(&pipeline(&[
        "SET k a", "SET k b", "GET k", "SET k c", "GET k",
    ]));
    let replies: Vec<_> = (0..5).map(|_| client.reply()).collect();
    assert_eq!(replies, [OK, OK, b"$1\r\nb\r\n", OK, b"$1\r\nc\r\n"]);
    let got = got.lock().unwrap();
    let again = ["1 SET k b", "1 GET k", "1 SET k c", "1 GET k"];
    assert!(got.ends_with(&again.map(str::to_owned)), "{got:?}");
}

#[test]
fn loading_and_masterdown_are_refusals_too() {
    for refusal in [
        &b"-LOADING Redis is loading the dataset in memory\r\n"[..],
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
    ] {
        let (server, _) = refusing([refusal]);
        let proxy = Proxy::ringroad(&pool(server.address()));
        let mut client = proxy.client();
        assert_eq!(client.ask("GET k"), b"$4\r\nnone\r\n");
    }
}

#[test]
fn refusal_lasts_until_the_timeout() {
    let server = fake(|_, _| Some(READONLY.to_vec()));
    let pool = pool(server.address()).with("server_failover_timeout", 200);
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    let reply = String::from_utf8(client.ask("SET k 1")).unwrap();
    assert!(reply.contains("has no primary"), "{reply}");
}

#[test]
fn each_refusal_has_the_whole_timeout() {
    const LIMIT: Duration = Duration::from_millis(500);
    let refuses = Arc::new(AtomicBool::new(false));
    let is_next = Arc::clone(&refuses);
    let server = fake(move |_, _| {
        let reply = if is_next.swap(false, Ordering::SeqCst) {
            READONLY
        } else {
            OK
        };
        Some(reply.to_vec())
    });
    let limit = LIMIT.as_millis();
    let proxy = Proxy::ringroad(&pool(server.address()).with("server_failover_timeout", limit));
    let mut client = proxy.client();
    for _ in 0..2 {
        // It serves for longer than the limit, so the next refusal begins anew.
        let since = Instant::now();
        while since.elapsed() <= LIMIT {
            assert_eq!(client.ask("SET k 1"), OK);
        }
        refuses.store(true, Ordering::SeqCst);
        assert_eq!(client.ask("SET k 2"), OK);
    }
}

#[test]
fn error_of_a_script_is_no_refusal() {
    let server = fake(|_, _| Some(READONLY.to_vec()));
    let proxy = Proxy::ringroad(&pool(server.address()));
    let mut client = proxy.client();
    assert_eq!(client.ask("EVAL script 1 k"), READONLY);
}

#[test]
fn write_that_was_executed_fails_the_refused_ones_before() {
    let (server, got) = refusing([OK, READONLY, b"$3\r\nold\r\n", OK]);
    let proxy = Proxy::ringroad(&pool(server.address()));
    let mut client = proxy.client();
    // From then on the connection is open, and all of them are sent at once.
    assert_eq!(client.ask("SET k 0"), OK);
    client.send(&pipeline(&["SET k a", "GET k", "SET k b"]));
    let replies: Vec<_> = (0..3).map(|_| client.reply()).collect();
    assert_eq!(replies, [READONLY, READONLY, OK]);
    assert_eq!(client.ask("GET k"), b"$4\r\nnone\r\n");
    let writes = |got: &Vec<String>| got.iter().filter(|text| text.contains("SET")).count();
    assert_eq!(writes(&got.lock().unwrap()), 3, "none was sent twice");
}

#[test]
fn request_in_flight_on_a_broken_connection_is_not_sent_again() {
    let (server, got) = {
        let got = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&got);
        let server = fake(move |nth, request| {
            log.lock().unwrap().push(format!("{nth} {request}"));
            (nth > 0).then(|| b":1\r\n".to_vec())
        });
        (server, got)
    };
    let proxy = Proxy::ringroad(&pool(server.address()));
    let mut client = proxy.client();
    let reply = client.ask("INCR k");
    assert!(reply.starts_with(b"-"), "{}", reply.escape_ascii());
    assert_eq!(client.ask("INCR k"), b":1\r\n");
    assert_eq!(*got.lock().unwrap(), ["0 INCR k", "1 INCR k"]);
}
