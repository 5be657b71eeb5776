//! Slow subscribers, large messages, and closed clients.

use std::time::Duration;

use super::{before, message, metric, nothing_is_left, publish, start, subscribed};
use crate::support::{
    Kind, Launch, Pool, Proxy, RedisServer, array_items, command, eventually, show, words,
};

#[test]
fn slow_subscriber_is_closed_without_affecting_others() {
    const MESSAGES: usize = 3000;
    let server = RedisServer::start();
    let proxy = start(&Pool::of([&server]).with("pubsub_buffer_limit", "1mb 0 0"));
    let _slow = subscribed(&proxy, "SUBSCRIBE a");
    let mut reader = subscribed(&proxy, "SUBSCRIBE a");
    let text = "x".repeat(10_000);
    let mut publisher = proxy.client();
    for _ in 0..MESSAGES {
        publisher.send(&words(&format!("PUBLISH a {text}")));
        publisher.reply();
        assert_eq!(reader.reply().len(), message("a", &text).len());
    }
    eventually("the slow one is counted", || {
        (metric(&proxy, "ringroad_pool_slow_subscriber_closed_total{") == 1).then_some(())
    });
    proxy
        .process()
        .await_output("pending messages exceed pubsub_buffer_limit");
    publish(&mut publisher, "a", "still", 1);
    assert_eq!(show(&reader.reply()), show(&message("a", "still")));
}

/// A server that lets subscribers lag by any amount.
fn without_pubsub_limit() -> RedisServer {
    let server = RedisServer::start();
    let limit = "pubsub 0 0 0";
    let mut admin = server.client();
    admin.send(&command(&[
        "CONFIG",
        "SET",
        "client-output-buffer-limit",
        limit,
    ]));
    assert_eq!(admin.reply(), b"+OK\r\n");
    server
}

#[test]
fn large_message_is_shared_by_all_subscribers() {
    const BYTES: usize = 40 << 20;
    let server = without_pubsub_limit();
    let proxy = start(&Pool::of([&server]).with("pubsub_buffer_limit", "0 0 0"));
    let mut all: Vec<_> = (0..5).map(|_| subscribed(&proxy, "SUBSCRIBE a")).collect();
    let mut publisher = proxy.client();
    publisher.send(&command(&[b"PUBLISH".as_slice(), b"a", &vec![b'v'; BYTES]]));
    assert_eq!(publisher.reply(), b":5\r\n");
    for subscriber in &mut all {
        let items = array_items(&subscriber.reply());
        assert!(items[2].len() == BYTES && items[2].iter().all(|byte| *byte == b'v'));
    }
}

#[test]
fn late_readers_share_pending_messages() {
    // Few, since each has megabytes in the system's buffers: all connections of a machine share one limit, and beyond
    // it the system drops packets of any of them.
    const SUBSCRIBERS: usize = 70;
    const MESSAGES: usize = 2;
    // Counted once per subscriber, it would be more than twice the limit of a worker.
    let text = "x".repeat(24 << 20);
    let server = without_pubsub_limit();
    let launch = Launch {
        args: vec!["--workers=1".to_owned()],
        ..Launch::default()
    };
    let pool = Pool::of([&server]).with("pubsub_buffer_limit", "0 0 0");
    let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
    let mut all: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| subscribed(&proxy, "SUBSCRIBE a"))
        .collect();
    let mut publisher = proxy.client();
    for _ in 0..MESSAGES {
        publish(&mut publisher, "a", &text, SUBSCRIBERS);
    }
    let peak_bytes = proxy.process().memory_bytes("VmHWM");
    assert!(peak_bytes < 200 << 20, "the proxy took {peak_bytes} bytes");
    // A value of another client is not refused because of the shared messages.
    let mut client = proxy.client();
    client.send(&command(&["SET", "k", &text]));
    client.expect("SET", b"+OK\r\n");
    client.ask("GET k");
    let expected = message("a", &text);
    for subscriber in &mut all {
        for _ in 0..MESSAGES {
            assert!(subscriber.reply() == expected);
        }
    }
    assert_eq!(metric(&proxy, "ringroad_pool_slow_client_closed_total{"), 0);
}

#[test]
fn client_kill_closes_a_subscriber() {
    let (servers, proxy) = before(4);
    let mut subscriber = subscribed(&proxy, "SUBSCRIBE a");
    assert!(subscriber.ask("PSUBSCRIBE b*").starts_with(b"*3"));
    let mut admin = proxy.client();
    let list = String::from_utf8(admin.ask("CLIENT LIST")).unwrap();
    let line = list
        .lines()
        .find(|line| line.contains(" sub=1 psub=1 ssub=0 "))
        .unwrap();
    let id = line
        .split(' ')
        .find_map(|field| field.strip_prefix("id="))
        .unwrap();
    admin.converse(&[(format!("CLIENT KILL ID {id}").as_str(), ":1\r\n")]);
    subscriber.expect_close();
    nothing_is_left(&servers, &proxy);
}

#[test]
fn shutdown_closes_subscribers() {
    let (_servers, proxy) = before(4);
    let mut subscriber = subscribed(&proxy, "SUBSCRIBE a");
    assert!(subscriber.ask("PSUBSCRIBE b*").starts_with(b"*3"));
    proxy.terminate();
    subscriber.expect_close();
    let code = proxy.process().exit_within(Duration::from_secs(9));
    assert_eq!(code.and_then(|status| status.code()), Some(0));
}
