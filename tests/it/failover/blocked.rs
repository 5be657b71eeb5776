//! Clients that are blocked, or watch keys, while their server is no primary.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Got, MASTER, OK, READONLY, fake, one_worker, pipeline, pool};
use crate::support::{
    Client, FakeServer, Gate, Pool, Proxy, RedisServer, array_items, eventually, show, words,
};

const ABORT: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";
const QUEUED: &[u8] = b"+QUEUED\r\n";
const POPPED: &[u8] = b"*2\r\n$1\r\nl\r\n$1\r\nx\r\n";
const EXECUTED: &[u8] = b"*1\r\n*2\r\n$1\r\nl\r\n$1\r\nx\r\n";
const NIL: &[u8] = b"*-1\r\n";
/// A time that no test has.
const LONG: u32 = 600_000;

/// A server that refuses writes until it is told not to, and then has an element for everybody.
struct Refusing {
    server: FakeServer,
    refuses: Arc<AtomicBool>,
    got: Got,
}

impl Refusing {
    fn start() -> Self {
        let (refuses, got) = (Arc::new(AtomicBool::new(true)), Got::default());
        let (is_replica, log) = (Arc::clone(&refuses), Arc::clone(&got));
        let commands = Mutex::new(HashMap::new());
        let server = fake(move |nth, request| {
            log.lock().unwrap().push(format!("{nth} {request}"));
            let mut commands = commands.lock().unwrap();
            let queued: &mut usize = commands.entry(nth).or_default();
            let name = request.split(' ').next().unwrap();
            *queued = match name {
                "MULTI" => 0,
                _ => *queued + 1,
            };
            let reply = match (name, is_replica.load(Ordering::SeqCst)) {
                ("MULTI" | "DISCARD" | "WATCH" | "UNWATCH", _) => OK,
                ("BLPOP" | "SET", true) => READONLY,
                ("BLPOP", false) => POPPED,
                ("EXEC", _) if *queued == 1 => b"*0\r\n",
                ("EXEC", true) => ABORT,
                ("EXEC", false) => EXECUTED,
                _ => b"-ERR not here\r\n",
            };
            Some(reply.to_vec())
        });
        Self {
            server,
            refuses,
            got,
        }
    }

    fn pool(&self) -> Pool {
        pool(self.server.address()).with("server_failover_timeout", LONG)
    }

    /// How often the request was sent.
    fn count(&self, request: &str) -> usize {
        let got = self.got.lock().unwrap();
        got.iter().filter(|text| text.ends_with(request)).count()
    }

    /// Blocks a client whose request is refused again and again. Returns its ID, too.
    fn blocked(&self, proxy: &Proxy, request: &str) -> (Client, String) {
        let mut client = proxy.client();
        let id = show(&client.ask("CLIENT ID"));
        let id = id.trim_start_matches(':').trim_end_matches("\\r\\n");
        client.send(&words(request));
        eventually("it is refused twice", || {
            let got = self.got.lock().unwrap();
            let requests = got.iter().filter(|text| text.contains(" BLPOP l "));
            // Each time within a transaction first.
            (requests.count() > 2).then_some(())
        });
        (client, id.to_owned())
    }
}

#[test]
fn client_that_is_gone_before_a_primary_pops_nothing() {
    let mut server = RedisServer::start();
    let proxy = one_worker(&pool(server.address()).with("server_failover_timeout", LONG));
    let (mut other, mut gone, mut third) = (proxy.client(), proxy.client(), proxy.client());
    assert_eq!(other.ask("SET k 1"), OK);
    server.kill();
    other.send(&pipeline(&["GET k"]));
    eventually("the proxy has noticed", || {
        let output = proxy.process().output();
        output.contains("server connection failed").then_some(())
    });
    // The worker has read what was sent before the first of two requests of another client.
    let mut pass = || {
        for _ in 0..2 {
            assert_eq!(third.ask("PING"), b"+PONG\r\n");
        }
    };
    gone.send(&words("BLPOP l 0"));
    pass();
    drop(gone);
    pass();
    server.restart();
    assert_eq!(other.reply(), b"$-1\r\n");
    assert_eq!(other.ask("RPUSH l x"), b":1\r\n");
    pass();
    assert_eq!(other.ask("LLEN l"), b":1\r\n");
}

/// A server says nothing to a request for what is new until there is something, so that it has taken one shows only in that it
/// does not refuse it.
#[test]
fn all_wait_for_what_is_new_at_a_server_that_has_loaded() {
    const CLIENTS: usize = 100;
    const LOADING: &[u8] = b"-LOADING Redis is loading the dataset in memory\r\n";
    let (loads, taken) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (is_loading, count) = (Arc::clone(&loads), Arc::clone(&taken));
    let gate = Gate::new();
    let wait = gate.waiter();
    let server = FakeServer::start(move |_, mut peer| {
        while let Some(request) = peer.request() {
            let is_loading = is_loading.load(Ordering::SeqCst);
            peer.send(match &array_items(&request)[0][..] {
                b"ROLE" => MASTER,
                b"XREAD" if is_loading => LOADING,
                b"XREAD" => {
                    count.fetch_add(1, Ordering::SeqCst);
                    wait();
                    NIL
                }
                _ => b"-ERR not here\r\n",
            });
        }
    });
    // One after the other, they would take four times as long.
    let proxy = one_worker(&pool(server.address()).with("server_failover_timeout", 4000));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(&words("XREAD BLOCK 0 STREAMS s $"));
    }
    clients[0].set_patience(Duration::from_millis(500));
    assert!(clients[0].try_reply().is_err(), "it waits");
    loads.store(false, Ordering::SeqCst);
    eventually("all are taken", || {
        (taken.load(Ordering::SeqCst) == CLIENTS).then_some(())
    });
    (0..CLIENTS).for_each(|_| gate.open());
    clients[0].set_patience(Duration::from_secs(20));
    for client in &mut clients {
        assert_eq!(client.reply(), NIL);
    }
}

/// The server closes the connection that it has refused, so the client has to have another one; there may be one only.
#[test]
fn blocked_client_needs_no_second_lease() {
    let server = FakeServer::start(|_, mut peer| {
        let mut popped = 0;
        while let Some(request) = peer.request() {
            peer.send(match &array_items(&request)[0][..] {
                b"ROLE" => MASTER,
                b"MULTI" => OK,
                b"BLPOP" => {
                    popped += 1;
                    READONLY
                }
                b"EXEC" => ABORT,
                _ => b"-ERR not here\r\n",
            });
            if popped == 2 {
                return;
            }
        }
    });
    let pool = pool(server.address())
        .with("server_leases", 1)
        .with("server_failover_timeout", 1000);
    let proxy = one_worker(&pool);
    let reply = show(&proxy.ask("BLPOP l 0"));
    assert!(reply.contains("has no primary"), "{reply}");
    assert!(server.connections() > 3, "it has asked again");
}

#[test]
fn refused_blocked_client_waits_for_a_free_lease() {
    let server = Refusing::start();
    let proxy = one_worker(&server.pool().with("server_leases", 1));
    let (mut blocked, _) = server.blocked(&proxy, "BLPOP l 0");
    let mut watching = proxy.client();
    // It has none while it waits.
    eventually("another client gets the lease", || {
        (watching.ask("WATCH k") == OK).then_some(())
    });
    server.refuses.store(false, Ordering::SeqCst);
    blocked.set_patience(Duration::from_millis(300));
    assert!(blocked.try_reply().is_err(), "it waits for a lease");
    assert_eq!(watching.ask("UNWATCH"), OK);
    blocked.set_patience(Duration::from_secs(20));
    assert_eq!(blocked.reply(), POPPED);
}

#[test]
fn watch_waits_for_a_server_that_restarts() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes"]);
    let proxy = one_worker(&pool(server.address()).with("server_failover_timeout", LONG));
    assert_eq!(proxy.ask("SET k 1"), OK);
    server.kill();
    let mut reader = proxy.client();
    reader.send(&words("GET k"));
    proxy.process().await_output("server connection failed");
    let mut clients = [(); 3].map(|()| proxy.client());
    for client in &mut clients {
        client.send(&pipeline(&["WATCH k", "GET k", "MULTI", "SET k 2", "EXEC"]));
    }
    server.restart();
    for client in &mut clients {
        let replies = [(); 4].map(|()| client.reply());
        assert_eq!(replies[0], OK);
        assert_eq!(replies[3], QUEUED);
        let executed = client.reply();
        assert!(
            [b"*1\r\n+OK\r\n", NIL].contains(&&executed[..]),
            "{}",
            show(&executed)
        );
    }
}

/// The shared connection is open; the server hangs when another is opened.
#[test]
fn blocked_clients_wait_for_a_server_that_hangs() {
    let hangs = Arc::new(AtomicBool::new(false));
    let is_hanging = Arc::clone(&hangs);
    let server = FakeServer::start(move |_, mut peer| {
        if is_hanging.load(Ordering::SeqCst) {
            return peer.ignore();
        }
        while let Some(request) = peer.request() {
            peer.send(match &array_items(&request)[0][..] {
                b"ROLE" => MASTER,
                b"EXEC" => EXECUTED,
                b"BLPOP" => QUEUED,
                _ => OK,
            });
        }
    });
    let pool = pool(server.address()).with("timeout", 100);
    let proxy = one_worker(&pool.with("server_failover_timeout", LONG));
    assert_eq!(proxy.ask("SET k 1"), OK);
    hangs.store(true, Ordering::SeqCst);
    let mut clients = [(); 3].map(|()| proxy.client());
    for client in &mut clients {
        client.send(&words("BLPOP l 0"));
        proxy.process().await_output("server connection failed");
    }
    let before = server.connections();
    eventually("it is tried again", || {
        (server.connections() > before + 3).then_some(())
    });
    hangs.store(false, Ordering::SeqCst);
    for client in &mut clients {
        assert_eq!(client.reply(), POPPED);
    }
}

#[test]
fn lease_on_a_server_that_refuses_is_not_given_to_others() {
    let server = Refusing::start();
    let proxy = one_worker(&server.pool());
    for nth in 1..=3 {
        let mut client = proxy.client();
        client.send(&pipeline(&["WATCH k", "MULTI", "SET k 1", "EXEC"]));
        let replies = [(); 4].map(|()| show(&client.reply()));
        assert!(replies[3].starts_with("-EXECABORT"), "{replies:?}");
        assert_eq!(server.count("WATCH k"), nth);
    }
    let got = server.got.lock().unwrap();
    let mut watches: Vec<_> = got
        .iter()
        .filter(|text| text.ends_with("WATCH k"))
        .collect();
    watches.dedup();
    assert_eq!(watches.len(), 3, "{got:?}");
}

#[test]
fn blocked_client_times_out_without_a_primary() {
    let server = RedisServer::start();
    let proxy = one_worker(&pool(server.address()).with("server_failover_timeout", LONG));
    assert_eq!(proxy.ask("SET k 1"), OK);
    server.kill();
    // This one opens a connection, as nothing is known against the server yet.
    let mut waits = vec![(proxy.client(), "BLPOP l 0.3", NIL)];
    waits[0].0.send(&words("BLPOP l 0.3"));
    proxy.process().await_output("server connection failed");
    for (request, reply) in [
        ("BLPOP l 0.1", NIL),
        ("BLMOVE l m LEFT RIGHT 0.1", NIL),
        ("XREAD BLOCK 100 STREAMS s 0", NIL),
        ("XREAD BLOCK 100 STREAMS s $", NIL),
        ("BZMPOP 0.1 1 z MIN", b"_\r\n"),
    ] {
        let mut client = proxy.client();
        if reply != NIL {
            client.ask("HELLO 3");
        }
        let begun = Instant::now();
        client.send(&words(request));
        assert_eq!(show(&client.reply()), show(reply), "{request}");
        assert!(begun.elapsed() >= Duration::from_millis(90), "{request}");
    }
    for (client, request, reply) in &mut waits {
        assert_eq!(show(&client.reply()), show(reply), "{request}");
    }
}

#[test]
fn refused_blocked_client_times_out() {
    let server = Refusing::start();
    let proxy = one_worker(&server.pool());
    assert_eq!(proxy.ask("BLPOP l 0.3"), NIL);
}

/// The connections of all clients break at once, and the server accepts no other.
#[test]
fn blocked_clients_reconnect_together() {
    const CLIENTS: usize = 100;
    let (is_over, waiting) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (has_ended, count) = (Arc::clone(&is_over), Arc::clone(&waiting));
    let server = FakeServer::start(move |_, mut peer| {
        let mut multi = 0;
        while let Some(request) = peer.request() {
            if has_ended.load(Ordering::SeqCst) {
                return;
            }
            let words = array_items(&request);
            multi += usize::from(words[0] == b"MULTI");
            peer.send(match &words[0][..] {
                b"ROLE" => MASTER,
                b"MULTI" => OK,
                b"BLPOP" if multi == 1 => {
                    multi += 1;
                    QUEUED
                }
                b"EXEC" => b"*1\r\n*-1\r\n",
                b"BLPOP" => {
                    count.fetch_add(1, Ordering::SeqCst);
                    while !has_ended.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    // It is a replica now, and ends its connections.
                    peer.send(b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n");
                    return;
                }
                _ => b"-ERR not here\r\n",
            });
        }
    });
    let pool = pool(server.address()).with("server_failover_timeout", LONG);
    let proxy = one_worker(&pool.with("server_leases", 2 * CLIENTS));
    let begun = Instant::now();
    let mut clients = [(); CLIENTS].map(|()| proxy.client());
    for client in &mut clients {
        client.send(&words("BLPOP l 6"));
    }
    eventually("all are blocked", || {
        (waiting.load(Ordering::SeqCst) == CLIENTS).then_some(())
    });
    let before = server.connections();
    is_over.store(true, Ordering::SeqCst);
    for client in &mut clients {
        assert_eq!(client.reply(), NIL);
    }
    let connects = server.connections() - before;
    // For some seconds, at about 160 ms each.
    let most = 50 + usize::try_from(begun.elapsed().as_millis() / 50).unwrap();
    assert!(connects <= most, "{connects} connects");
    assert!(connects > 5, "{connects} connects");
}

#[test]
fn client_unblock_reaches_who_waits_for_a_primary() {
    for (reason, limit, expected) in [
        ("", "0", NIL),
        (" TIMEOUT", "600", NIL),
        (
            " ERROR",
            "600",
            b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
        ),
    ] {
        let server = Refusing::start();
        let proxy = Proxy::ringroad(&server.pool());
        let (mut blocked, id) = server.blocked(&proxy, &format!("BLPOP l {limit}"));
        // Clients of both workers.
        let mut others = [(); 2].map(|()| proxy.client());
        let unblock = format!("CLIENT UNBLOCK {id}{reason}");
        eventually("it is unblocked", || {
            let mut replies = others.iter_mut().map(|other| other.ask(&unblock));
            replies.any(|reply| reply == b":1\r\n").then_some(())
        });
        assert_eq!(show(&blocked.reply()), show(expected));
    }
}

#[test]
fn drain_ends_the_wait_for_a_primary() {
    for (request, expected) in [
        (
            "BLPOP l 0",
            &b"-UNBLOCKED the proxy is shutting down\r\n"[..],
        ),
        ("BLPOP l 600", NIL),
    ] {
        let server = Refusing::start();
        let proxy = one_worker(&server.pool());
        let (mut blocked, _) = server.blocked(&proxy, request);
        proxy.terminate();
        assert_eq!(show(&blocked.reply()), show(expected));
    }
}

#[test]
fn element_comes_to_who_has_waited_for_a_primary() {
    let server = Refusing::start();
    let proxy = one_worker(&server.pool());
    let (mut blocked, _) = server.blocked(&proxy, "BLPOP l 0");
    server.refuses.store(false, Ordering::SeqCst);
    assert_eq!(blocked.reply(), POPPED);
}
