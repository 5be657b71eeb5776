//! Writes that time out at a server that hangs, and must not be executed after newer ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{
    Client, FakeServer, Gate, Kind, Launch, Memcached, Peer, Pool, Proxy, eventually, show,
};

const STORED: &str = "STORED\r\n";
const TIMED_OUT: &str = "SERVER_ERROR Connection timed out\r\n";

/// Larger than what a server reads at once, and than its socket holds.
const SIZES: [usize; 3] = [70_000, 300_000, 1_000_000];

fn set(key: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("set {key} 0 0 {}\r\n", value.len());
    [head.as_bytes(), value, b"\r\n"].concat()
}

/// Has a large write of `first` time out at a hanging server, and then `second` write the same key.
fn overwrite(server: &Memcached, first: &mut Client, second: &mut Client, size: usize) {
    server.stop();
    first.send(&set("key", &vec![b'o'; size]));
    assert_eq!(show(&first.answer()), show(TIMED_OUT.as_bytes()));
    second.send(&set("key", b"new"));
    server.cont();
    assert_eq!(show(&second.answer()), show(STORED.as_bytes()), "{size}");
}

#[test]
fn late_write_is_not_executed_after_a_newer_one() {
    for (workers, connections) in [(1, 1), (1, 2), (2, 1)] {
        let server = Memcached::start_with(&["-t", "4", "-I", "2m"]);
        let idle = server.figure("curr_connections");
        let pool = Pool::memcached([&server])
            .with("timeout", 600)
            .with("server_connections", connections);
        let launch = Launch {
            args: vec![format!("--workers={workers}")],
            ..Launch::default()
        };
        let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
        for size in SIZES {
            // Each uses its own connection, which is open by now.
            let mut clients = [proxy.client(), proxy.client()];
            for client in &mut clients {
                client.chat(&[("set other 0 0 1\r\n1\r\n", STORED)]);
            }
            let [first, second] = &mut clients;
            overwrite(&server, first, second, size);
            eventually("the server has read all that was sent", || {
                (server.figure("curr_connections") <= idle + 2).then_some(())
            });
            second.chat(&[("get key\r\n", "VALUE key 0 3\r\nnew\r\nEND\r\n")]);
        }
    }
}

/// The state of a server that answers nothing on its first connection, and nothing at all before it has read that to its
/// end.
#[derive(Debug, Default)]
struct Hanging {
    sets: AtomicUsize,
    has_ended: AtomicBool,
}

impl Hanging {
    fn serve(&self, nth: usize, mut peer: Peer, wait: impl Fn()) {
        while let Some(request) = peer.text_request() {
            self.sets
                .fetch_add(usize::from(request.starts_with(b"set ")), Ordering::SeqCst);
            if nth == 0 {
                wait();
            } else {
                eventually("the first connection has ended", || {
                    self.has_ended.load(Ordering::SeqCst).then_some(())
                });
                let is_ping = request == b"version\r\n";
                peer.send(if is_ping {
                    b"VERSION 1\r\n"
                } else {
                    b"STORED\r\n"
                });
            }
        }
        self.has_ended.fetch_or(nth == 0, Ordering::SeqCst);
    }
}

#[test]
fn newer_write_waits_for_the_end_of_a_late_one() {
    let (gate, hanging) = (Gate::new(), Arc::<Hanging>::default());
    let (wait, state) = (gate.waiter(), Arc::clone(&hanging));
    let server = FakeServer::start(move |nth, peer| state.serve(nth, peer, &wait));
    let pool = Pool::at([server.address()])
        .speaking_memcached()
        .with("timeout", 300);
    let proxy = Proxy::ringroad(&pool);
    let set = "set a 0 0 1\r\n1\r\n";
    for _ in 0..3 {
        proxy.client().chat(&[(set, TIMED_OUT)]);
    }
    assert_eq!(hanging.sets.load(Ordering::SeqCst), 1);
    gate.open();
    eventually("the server goes on", || {
        (proxy.client().say(set.trim_end()) == STORED.as_bytes()).then_some(())
    });
    assert!(hanging.has_ended.load(Ordering::SeqCst));
    assert_eq!(hanging.sets.load(Ordering::SeqCst), 2);
}

#[test]
fn connection_that_never_ends_holds_nothing_for_long() {
    let gate = Gate::new();
    let wait = gate.waiter();
    let server = FakeServer::start(move |nth, mut peer| {
        while let Some(request) = peer.text_request() {
            match (nth, request.as_slice()) {
                (0, _) => wait(),
                (_, b"version\r\n") => peer.send(b"VERSION 1\r\n"),
                _ => peer.send(STORED.as_bytes()),
            }
        }
    });
    let pool = Pool::at([server.address()])
        .speaking_memcached()
        .with("timeout", 300);
    let proxy = Proxy::ringroad(&pool);
    let set = "set a 0 0 1\r\n1\r\n";
    proxy.client().chat(&[(set, TIMED_OUT)]);
    eventually("newer requests are sent", || {
        (proxy.client().say(set.trim_end()) == STORED.as_bytes()).then_some(())
    });
    proxy
        .process()
        .await_output("does not close the connection whose requests timed out");
}
