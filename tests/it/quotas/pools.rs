//! Quotas of whole pools.

use super::{OK, over, proxy_with_workers, spend_a_minute};
use crate::support::{Ended, Memcached, Pool, Proxy, RedisServer, eventually, show};

const OVER_BYTES: &str = "pool 'p' is over its quota of 1kb per second (bytes_per_second)";

/// A counter of the pool.
fn refused(proxy: &Proxy, counter: &str) -> u64 {
    proxy.metric(&format!("ringroad_pool_{counter}_total"))
}

#[test]
fn requests_beyond_the_rate_are_refused_in_order() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with("requests_per_second", 3);
    let proxy = proxy_with_workers(&pool, 1);
    let mut client = proxy.client();
    let requests = "SET a 1\r\nPING\r\nGET a\r\nGET a\r\nPING\r\nGET a\r\nNOSUCH\r\n";
    client.send(requests.as_bytes());
    let error = over("pool 'p' is over its quota of 3 requests per second (requests_per_second)");
    let replies = format!("+OK\r\n+PONG\r\n$1\r\n1\r\n{}", error.repeat(4));
    client.expect(requests, replies.as_bytes());
    assert_eq!(refused(&proxy, "quota_requests_refused"), 4);
    assert_eq!(refused(&proxy, "quota_bytes_refused"), 0);
    let line = "ringroad_pool_refusals_total{pool=\"p\",reason=\"over_quota\"}";
    assert_eq!(proxy.metric(line), 4);
    // It does not last.
    eventually("requests pass again", || {
        (client.ask("GET a") == b"$1\r\n1\r\n").then_some(())
    });
}

#[test]
fn bytes_of_requests_and_replies_are_waited_off() {
    let server = RedisServer::start();
    let large = format!("SET large {}", "x".repeat(64 << 10));
    server.client().converse(&[(&large, OK)]);
    for spends in ["GET large", &large] {
        let pool = Pool::of([&server]).with("bytes_per_second", "1kb");
        let proxy = Proxy::ringroad(&pool);
        let mut client = proxy.client();
        assert!(!client.ask(spends).starts_with(b"-"));
        let mut other = proxy.client();
        // A worker knows of the debt that it has made at once, others no later than with its next request.
        client.converse(&[("GET a", &over(OVER_BYTES)), ("PING", &over(OVER_BYTES))]);
        other.converse(&[("GET a", &over(OVER_BYTES)), ("INFO", &over(OVER_BYTES))]);
        assert_eq!(refused(&proxy, "quota_bytes_refused"), 4);
        // Without the limit nothing is refused; with it, what was used is still used.
        proxy.reload(&pool.clone().without("bytes_per_second"));
        client.converse(&[("GET a", "$-1\r\n")]);
        proxy.reload(&pool);
        client.converse(&[("GET a", &over(OVER_BYTES))]);
    }
}

#[test]
fn what_ends_something_is_never_refused() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with("bytes_per_second", "1kb").with(
        "users",
        "['default on nopass +@all ~* &*', 'a on >a +@all']",
    );
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    let (mut queued, mut discarded) = (proxy.client(), proxy.client());
    for client in [&mut queued, &mut discarded] {
        client.converse(&[("MULTI", OK), ("SET k v", "+QUEUED\r\n")]);
    }
    let mut subscriber = proxy.client();
    subscriber.converse(&[(
        "SUBSCRIBE news",
        "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n",
    )]);
    spend_a_minute(&mut client);
    client.converse(&[("GET a", &over(OVER_BYTES))]);
    queued.converse(&[("EXEC", "*1\r\n+OK\r\n"), ("GET k", &over(OVER_BYTES))]);
    discarded.converse(&[
        ("DISCARD", OK),
        ("UNWATCH", OK),
        ("MULTI", &over(OVER_BYTES)),
    ]);
    subscriber.converse(&[
        ("SUBSCRIBE other", &over(OVER_BYTES)),
        (
            "UNSUBSCRIBE news",
            "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n",
        ),
        ("RESET", "+RESET\r\n"),
        ("AUTH a a", OK),
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        ("QUIT", OK),
    ]);
    assert_eq!(subscriber.try_reply(), Err(Ended::Closed));
    // As words of one line.
    client.chat(&[("PING\r\n", &over(OVER_BYTES)), ("quit\r\n", OK)]);
}

#[test]
fn transaction_with_a_refused_request_is_aborted() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with("bytes_per_second", "1kb");
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    client.converse(&[("MULTI", OK), ("SET k v", "+QUEUED\r\n")]);
    spend_a_minute(&mut proxy.client());
    client.converse(&[("SET k w", &over(OVER_BYTES))]);
    let reply = show(&client.ask("EXEC"));
    assert!(reply.starts_with("-EXECABORT"), "{reply}");
    server.client().converse(&[("EXISTS k", ":0\r\n")]);
}

#[test]
fn blocked_client_gets_its_element_beyond_the_quota() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with("bytes_per_second", "1kb");
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    client.send(b"BLPOP list 0\r\nPING\r\n");
    eventually("the client is blocked", || {
        let info = show(&server.ask("INFO clients"));
        info.contains("blocked_clients:1").then_some(())
    });
    spend_a_minute(&mut proxy.client());
    server.client().converse(&[("RPUSH list a", ":1\r\n")]);
    let replies = format!("*2\r\n$4\r\nlist\r\n$1\r\na\r\n{}", over(OVER_BYTES));
    client.expect("BLPOP, PING", replies.as_bytes());
    client.converse(&[("BLPOP list 0", &over(OVER_BYTES))]);
}

#[test]
fn messages_count_as_bytes_of_their_subscribers() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with("bytes_per_second", "1kb");
    let proxy = Proxy::ringroad(&pool);
    let mut subscriber = proxy.client();
    subscriber.ask("SUBSCRIBE news");
    let message = format!("PUBLISH news {}", "x".repeat(64 << 10));
    server.client().converse(&[(&message, ":1\r\n")]);
    assert!(subscriber.reply().len() > 64 << 10);
    subscriber.converse(&[("PING", &over(OVER_BYTES))]);
}

#[test]
fn memcached_requests_beyond_the_rate_are_refused() {
    let server = Memcached::start();
    let pool = Pool::memcached([&server]).with("bytes_per_second", "1kb");
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    let large = "x".repeat(64 << 10);
    client.chat(&[
        ("set a 0 0 1\r\na\r\n", "STORED\r\n"),
        (&format!("set large 0 0 65536\r\n{large}\r\n"), "STORED\r\n"),
    ]);
    let error = format!("SERVER_ERROR {OVER_BYTES}\r\n");
    client.chat(&[
        ("get a\r\n", &error),
        ("get a large\r\n", &error),
        ("set a 0 0 4\r\nquit\r\n", &error),
        ("mg  a v\r\n", &error),
        // Nobody waits for a reply to the first of these.
        ("set a 0 0 4 noreply\r\nquit\r\nmn\r\n", &error),
        // The data of what is malformed are no request.
        ("set a 0 0 4 5 6 7 8\r\nquit\r\nstats\r\n", &error.repeat(2)),
        ("nosuch\r\n", &error),
    ]);
    client.send(b"quit\r\n");
    assert_eq!(client.try_answer(), Err(Ended::Closed));
    proxy.reload(&pool.without("bytes_per_second"));
    let mut client = proxy.client();
    client.chat(&[("get a\r\n", "VALUE a 0 1\r\na\r\nEND\r\n")]);
    assert_eq!(refused(&proxy, "quota_bytes_refused"), 9);
}

#[test]
fn unauthenticated_clients_use_no_quota() {
    let server = RedisServer::start();
    let pool = Pool::of([&server])
        .with("requests_per_second", 1)
        .with("users", "['default off', 'a on >a +@all ~*']");
    let proxy = proxy_with_workers(&pool, 1);
    let mut stranger = proxy.client();
    for _ in 0..100 {
        let reply = stranger.ask("GET a");
        assert!(reply.starts_with(b"-NOAUTH"), "{}", show(&reply));
    }
    let mut client = proxy.client();
    client.converse(&[("AUTH a a", OK), ("GET a", "$-1\r\n")]);
}
