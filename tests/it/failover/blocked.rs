//! Clients that are blocked, or watch keys, while their server is no primary.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::{Got, OK, READONLY, fake, one_worker, pipeline, pool};
use crate::support::{FakeServer, Pool, RedisServer, show, words};

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
        let queues = Mutex::new(HashMap::new());
        let server = fake(move |nth, request| {
            log.lock().unwrap().push(format!("{nth} {request}"));
            let mut queues = queues.lock().unwrap();
            let queued: &mut usize = queues.entry(nth).or_default();
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
