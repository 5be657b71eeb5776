//! Leases whose connection is lost, or whose server hangs: every waiting client is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{leases, send};
use crate::support::{FakeServer, Gate, Pool, Proxy, RedisServer, eventually, show, words};

#[test]
fn client_is_answered_wherever_the_first_try_is_cut() {
    const WHOLE: &[u8] = b"+OK\r\n+QUEUED\r\n*1\r\n*-1\r\n";
    let cut = Arc::new(AtomicUsize::new(0));
    let most_bytes = Arc::clone(&cut);
    let server = FakeServer::start(move |_, mut peer| {
        while let Some(request) = peer.request() {
            if request == words("CLIENT ID") {
                peer.send(b":7\r\n");
            } else if request == words("EXEC") {
                peer.send(&WHOLE[..most_bytes.load(Ordering::SeqCst)]);
                return;
            }
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    for bytes in 0..=WHOLE.len() {
        cut.store(bytes, Ordering::SeqCst);
        let reply = show(&proxy.client().ask("BLPOP k 1"));
        assert!(reply.starts_with("-ERR "), "{bytes}: {reply}");
    }
    eventually("all leases are back", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
}

#[test]
fn lost_connection_tries_no_other_offset_marker() {
    let server = FakeServer::start(|_, mut peer| {
        assert_eq!(peer.request(), Some(words("CLIENT ID")));
        peer.send(b":7\r\n");
        peer.request();
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    for _ in 0..3 {
        let reply = show(&proxy.client().ask("WAIT 1 0"));
        assert!(reply.contains(" lost: "), "{reply}");
    }
}

#[test]
fn failed_handshake_fails_blocking_commands() {
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    for request in ["WAIT 0 0", "WAIT 1 0", "BLPOP l 1"] {
        let reply = show(&proxy.client().ask(request));
        assert!(reply.contains("NOAUTH"), "{request}: {reply}");
    }
}

#[test]
fn client_unblock_gives_up_after_retries() {
    let server = FakeServer::start(|_, mut peer| {
        while let Some(request) = peer.request() {
            match () {
                () if request == words("CLIENT ID") => peer.send(b":7\r\n"),
                () if request == words("MULTI") => peer.send(b"-ERR no\r\n"),
                () if request.starts_with(b"*3\r\n$6\r\nCLIENT\r\n") => peer.send(b":0\r\n"),
                () if request.starts_with(b"*4\r\n$6\r\nCLIENT\r\n") => peer.send(b":0\r\n"),
                () => {}
            }
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    let (mut waiter, mut asker) = (proxy.client(), proxy.client());
    let id = show(&waiter.ask("CLIENT ID"));
    let id = id.trim_start_matches(':').trim_end_matches("\\r\\n");
    send(&mut waiter, &["BLPOP k 0"]);
    eventually("the client waits", || {
        let info = asker.ask("INFO clients");
        String::from_utf8_lossy(&info)
            .contains("blocked_clients:1\r\n")
            .then_some(())
    });
    let begun = Instant::now();
    asker.converse(&[(&format!("CLIENT UNBLOCK {id}"), ":0\r\n")]);
    assert!(begun.elapsed() > Duration::from_millis(500), "paused");
}

#[test]
fn disconnect_frees_the_lease_on_a_hung_server() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    proxy.client().converse(&[("BLPOP l 0.01", "*-1\r\n")]);
    server.stop();
    let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut clients {
        send(client, &["BLPOP l 0"]);
    }
    eventually("they have leases", || {
        (leases(&proxy, 0) == 4).then_some(())
    });
    drop(clients);
    eventually("all leases are back", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
    server.cont();
    proxy.client().converse(&[("PING", "+PONG\r\n")]);
}

/// Elements that the server pops when it continues, before its connection is closed, are restored.
#[test]
fn element_from_a_hung_server_is_restored() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    proxy
        .client()
        .converse(&[("RPUSH l a b", ":2\r\n"), ("BLPOP none 0.01", "*-1\r\n")]);
    server.stop();
    let mut client = proxy.client();
    let begun = Instant::now();
    send(&mut client, &["BLPOP l 0"]);
    eventually("it has a lease", || (leases(&proxy, 0) == 1).then_some(()));
    drop(client);
    // The disconnect is detected two seconds after the request, and then the server has two more.
    sleep(Duration::from_secs(3).saturating_sub(begun.elapsed()));
    server.cont();
    eventually("all leases are back", || {
        (leases(&proxy, 0) == 0).then_some(())
    });
    let expected = "*2\\r\\n$1\\r\\na\\r\\n$1\\r\\nb\\r\\n";
    assert_eq!(show(&server.ask("LRANGE l 0 -1")), expected);
}

/// A client is shown as blocked only once all later writes reach it.
#[test]
fn client_counts_as_blocked_once_the_server_is_asked() {
    let gate = Gate::new();
    let pass = gate.waiter();
    let server = FakeServer::start(move |_, mut peer| {
        while let Some(request) = peer.request() {
            match () {
                () if request == words("CLIENT ID") => peer.send(b":7\r\n"),
                () if request == words("EXEC") => {
                    pass();
                    peer.send(b"+OK\r\n+QUEUED\r\n*1\r\n*-1\r\n");
                    assert!(peer.request().is_some(), "the request itself");
                }
                () => {}
            }
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    let (mut waiter, mut asker) = (proxy.client(), proxy.client());
    let mut blocked = || {
        let info = asker.ask("INFO clients");
        String::from_utf8_lossy(&info).contains("blocked_clients:1\r\n")
    };
    send(&mut waiter, &["BLPOP k 0"]);
    eventually("it is tried", || (leases(&proxy, 0) == 1).then_some(()));
    assert!(!blocked());
    gate.open();
    eventually("it waits", || blocked().then_some(()));
}

/// `$` is the last entry when the server gets the request: with a try before it, entries in between would be missed.
#[test]
fn xread_from_the_latest_id_is_not_tried_first() {
    let server = FakeServer::start(|_, mut peer| {
        assert_eq!(peer.request(), Some(words("CLIENT ID")));
        peer.send(b":7\r\n");
        while let Some(request) = peer.request() {
            let is_it = request == words("XREAD BLOCK 0 STREAMS s $");
            peer.send(if is_it { b"*-1\r\n" } else { b"-ERR no\r\n" });
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    proxy
        .client()
        .converse(&[("XREAD BLOCK 0 STREAMS s $", "*-1\r\n")]);
}
