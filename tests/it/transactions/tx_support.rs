//! The probe for transaction support of a server, and its effects on waiting clients and on others.

use std::thread;
use std::time::{Duration, Instant};

use super::{OK, QUEUED};
use crate::support::{
    Client, FakeServer, Gate, Kind, Launch, Pool, Proxy, RedisServer, command, eventually, show,
    words,
};

/// Longer than a refusal is cached.
const A_WHILE: Duration = Duration::from_millis(1200);

/// Requests of one probe for transaction support.
const PROBE_REQUESTS: i64 = 3;

/// A proxy whose clients all share one connection.
fn one_worker(pool: &Pool) -> Proxy {
    let launch = Launch {
        args: vec!["--workers".to_owned(), "1".to_owned()],
        ..Launch::default()
    };
    Proxy::start(Kind::Ringroad, pool, &launch)
}

fn block() -> Vec<u8> {
    ["MULTI", "SET k 1", "EXEC"].map(words).concat()
}

/// The reply to `EXEC`.
fn exec_reply(client: &mut Client) -> String {
    for expected in [OK, QUEUED] {
        client.expect("MULTI", expected.as_bytes());
    }
    String::from_utf8(client.reply()).unwrap()
}

/// Starts a transaction while requests of another client are in flight behind the probe. Returns the replies to both.
fn ask_among_others(server: &RedisServer, proxy: &Proxy) -> (String, Vec<Vec<u8>>) {
    let (mut client, mut other) = (proxy.client(), proxy.client());
    for client in [&mut client, &mut other] {
        client.converse(&[("GET none", "$-1\r\n")]);
    }
    server.stop();
    let before = proxy.stat(&["s0", "requests"]);
    let await_sent = |count| {
        eventually("the requests are on their way", || {
            (proxy.stat(&["s0", "requests"]) >= before + count).then_some(())
        });
    };
    client.send(&block());
    await_sent(PROBE_REQUESTS);
    other.send(&words("INCR n").repeat(20));
    await_sent(PROBE_REQUESTS + 20);
    server.cont();
    let reply = exec_reply(&mut client);
    (reply, (0..20).map(|_| other.reply()).collect())
}

#[test]
fn refused_exec_ends_the_transaction_and_harms_no_others() {
    let server = RedisServer::start();
    server.ask("ACL SETUSER default -exec");
    let proxy = one_worker(&Pool::of([&server]));
    let denied = "-EXECABORT Transaction discarded because of: NOPERM this user has no permissions to run the 'exec' command\r\n";
    let (reply, replies) = ask_among_others(&server, &proxy);
    assert_eq!(reply, denied);
    for (n, reply) in (1..).zip(replies) {
        assert_eq!(show(&reply), show(format!(":{n}\r\n").as_bytes()));
    }
    // The change is detected.
    server.ask("ACL SETUSER default +exec");
    thread::sleep(A_WHILE);
    let mut client = proxy.client();
    client.send(&block());
    assert_eq!(exec_reply(&mut client), "*1\r\n+OK\r\n");
}

#[test]
fn busy_redis_refuses_transactions_until_free() {
    let server = RedisServer::start_with(&["--busy-reply-threshold", "100"]);
    let proxy = one_worker(&Pool::of([&server]));
    let mut busy = server.client();
    busy.send(&command(&["EVAL", "while true do end", "1", "k"]));
    eventually("the server is busy", || {
        server.ask("PING").starts_with(b"-BUSY").then_some(())
    });
    let mut client = proxy.client();
    client.send(&block());
    let reply = exec_reply(&mut client);
    let busy = "-EXECABORT Transaction discarded because of: BUSY ";
    assert!(reply.starts_with(busy), "{reply}");
    server.client().converse(&[("SCRIPT KILL", OK)]);
    thread::sleep(A_WHILE);
    client.send(&block());
    assert_eq!(exec_reply(&mut client), "*1\r\n+OK\r\n");
}

/// Such a server treats everything that follows as part of a transaction that it cannot be made to leave.
#[test]
fn desynced_probe_costs_others_only_their_connection() {
    let server = RedisServer::start_with(&[
        "--rename-command",
        "EXEC",
        "",
        "--rename-command",
        "DISCARD",
        "",
    ]);
    let pool = Pool::of([&server])
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 1);
    let proxy = one_worker(&pool);
    let (reply, replies) = ask_among_others(&server, &proxy);
    let unknown = "unknown command 'EXEC', with args beginning with:";
    assert!(
        reply.starts_with("-EXECABORT ") && reply.contains(unknown),
        "{reply}"
    );
    for reply in replies {
        let reply = show(&reply);
        assert!(reply.contains("-ERR") && !reply.contains("EXEC"), "{reply}");
    }
    let mut client = proxy.client();
    client.converse(&[("SET n 5", OK), ("INCR n", ":6\r\n")]);
    for _ in 0..2 {
        client.send(&block());
        let reply = exec_reply(&mut client);
        assert!(reply.contains(unknown), "{reply}");
        client.converse(&[("GET n", "$1\r\n6\r\n")]);
        thread::sleep(A_WHILE);
    }
}

#[test]
fn lost_probe_fails_all_waiting_transactions() {
    const CLIENTS: usize = 5;
    let gate = Gate::new();
    let wait = gate.waiter();
    let server = FakeServer::start(move |_, mut peer| {
        peer.request();
        wait();
    });
    // If failures count towards ejection, there is no other delay between attempts.
    let pool = Pool::at([server.address()])
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 100_000)
        .with("server_probe_interval", 0);
    let proxy = one_worker(&pool);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(&block());
        for expected in [OK, QUEUED] {
            client.expect("MULTI", expected.as_bytes());
        }
    }
    for _ in 0..CLIENTS {
        gate.open();
    }
    for client in &mut clients {
        let reply = client.reply();
        assert!(reply.starts_with(b"-ERR "), "{}", show(&reply));
    }
    let connections = server.connections();
    assert!(connections <= CLIENTS, "{connections}");
}

#[test]
fn probe_timeout_fails_the_transaction_once() {
    const TIMEOUT_MS: u64 = 3000;
    let server = FakeServer::start(|_, mut peer| peer.ignore());
    let pool = Pool::at([server.address()])
        .with("timeout", TIMEOUT_MS)
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 100_000)
        .with("server_probe_interval", 0);
    let proxy = one_worker(&pool);
    let mut client = proxy.client();
    let begun = Instant::now();
    client.send(&block());
    let reply = exec_reply(&mut client);
    assert!(reply.starts_with("-ERR "), "{reply}");
    assert!(begun.elapsed() < 2 * Duration::from_millis(TIMEOUT_MS));
    assert_eq!(server.connections(), 1);
}
