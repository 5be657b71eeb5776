//! The same requests to a redis-server and to the proxy get the same bytes.

use super::{before, start, subscribed};
use crate::support::{Client, Pool, RedisServer, array_items, show, words};

/// Sent behind each request: its reply has the same end, whatever the client is subscribed to.
const MARK: &str = "PING a-mark";
const MARK_END: &[u8] = b"$6\r\na-mark\r\n";

const CONVERSATION: &[&str] = &[
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "UNSUBSCRIBE x y",
    "SUBSCRIBE",
    "SUBSCRIBE a b a",
    "PSUBSCRIBE p* a* p*",
    "SSUBSCRIBE s1 s1 s2",
    "PING",
    "PING x",
    "PING x y",
    "GET a",
    "GET",
    "NOSUCH",
    "ECHO x",
    "PUBLISH",
    "SPUBLISH a",
    "DISCARD",
    "PUBSUB",
    "PUBSUB NOPE",
    "SUNSUBSCRIBE s1",
    "UNSUBSCRIBE a zz",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE p*",
    "PUNSUBSCRIBE",
    "PING",
    "SUNSUBSCRIBE",
    "PING",
    "GET a",
    "SUBSCRIBE q",
    "PSUBSCRIBE q",
    "SSUBSCRIBE q",
    "RESET",
    "PING",
    "UNSUBSCRIBE",
];

/// Requests that a client in subscriber mode may not send.
const FREE: &[&str] = &[
    "PUBSUB CHANNELS",
    "PUBSUB CHANNELS a b",
    "PUBSUB CHANNELS z*",
    "PUBSUB NUMSUB",
    "PUBSUB NUMSUB a b a",
    "PUBSUB NUMPAT",
    "PUBSUB NUMPAT x",
    "PUBSUB SHARDCHANNELS",
    "PUBSUB SHARDNUMSUB",
    "PUBSUB SHARDNUMSUB s1 s2",
    "PUBLISH nobody x",
    "SPUBLISH nobody x",
    "COMMAND GETKEYS PUBLISH a b",
    "COMMAND GETKEYS SSUBSCRIBE a b",
];

fn exchange(client: &mut Client, request: &str) -> Vec<u8> {
    client.send(&words(request));
    client.send(&words(MARK));
    client.read_until(MARK_END)
}

fn compare(direct: &mut Client, through: &mut Client, request: &str) {
    let (expected, reply) = (exchange(direct, request), exchange(through, request));
    assert_eq!(show(&reply), show(&expected), "{request}");
}

#[test]
fn subscriber_replies_match_redis() {
    for count in [1, 4] {
        for hello in [&[][..], &["HELLO 3"]] {
            let server = RedisServer::start();
            let (_servers, proxy) = before(count);
            let (mut direct, mut through) = (server.client(), proxy.client());
            for request in hello {
                exchange(&mut direct, request);
                exchange(&mut through, request);
            }
            for request in FREE.iter().chain(CONVERSATION) {
                compare(&mut direct, &mut through, request);
            }
        }
    }
}

/// As one client sends them that waits for no reply.
#[test]
fn pipelined_subscriptions_reply_as_redis() {
    const MORE: &[&str] = &[
        "SUBSCRIBE a b c",
        "UNSUBSCRIBE b",
        "SUBSCRIBE b d",
        "PSUBSCRIBE x* y*",
        "UNSUBSCRIBE a a b nope",
        "PING",
        "SUBSCRIBE a",
        "PUNSUBSCRIBE",
        "SSUBSCRIBE a b",
        "UNSUBSCRIBE a",
        "UNSUBSCRIBE c",
        "UNSUBSCRIBE d",
        "SUNSUBSCRIBE a",
        "SUNSUBSCRIBE b",
        "GET a",
        "SUBSCRIBE last",
    ];
    let server = RedisServer::start();
    let (_servers, proxy) = before(4);
    for hello in ["HELLO 2", "HELLO 3"] {
        let requests = [&[hello], CONVERSATION, MORE, &[MARK]].concat();
        let pipeline = requests.iter().flat_map(|request| words(request));
        let pipeline: Vec<u8> = pipeline.collect();
        let replies = [server.client(), proxy.client()].map(|mut client| {
            client.send(&pipeline);
            let first = client.reply();
            assert!(first.starts_with(b"%") || first.starts_with(b"*"));
            show(&client.read_until(MARK_END))
        });
        let [direct, through] = replies;
        assert_eq!(through, direct, "{hello}");
    }
}

#[test]
fn pubsub_introspection_sums_all_servers() {
    let server = RedisServer::start();
    let (_servers, proxy) = before(4);
    let both = [
        (server.client(), server.client(), server.client()),
        (proxy.client(), proxy.client(), proxy.client()),
    ];
    let mut replies_of_all = Vec::new();
    for (mut first, mut second, mut asker) in both {
        for client in [&mut first, &mut second] {
            exchange(client, "SUBSCRIBE a b c d e f");
            exchange(client, "PSUBSCRIBE a* b?");
            exchange(client, "SSUBSCRIBE s t u");
        }
        exchange(&mut second, "SUBSCRIBE g");
        exchange(&mut second, "PSUBSCRIBE [ab]*");
        let mut replies: Vec<Vec<u8>> = [
            "PUBSUB NUMSUB a b c d e f g h",
            "PUBSUB SHARDNUMSUB s t u v",
            "PUBSUB NUMPAT",
            "PUBLISH a x",
            "PUBLISH b x",
            "PUBLISH bb x",
            "PUBLISH g x",
            "PUBLISH h x",
            "SPUBLISH t x",
            "SPUBLISH a x",
        ]
        .iter()
        .map(|request| asker.ask(request))
        .collect();
        for request in [
            "PUBSUB CHANNELS",
            "PUBSUB CHANNELS [a-c]",
            "PUBSUB SHARDCHANNELS",
        ] {
            let mut channels = array_items(&asker.ask(request));
            channels.sort();
            replies.extend(channels);
        }
        replies_of_all.push(replies);
    }
    let shown = |replies: &[Vec<u8>]| replies.iter().map(|reply| show(reply)).collect::<Vec<_>>();
    assert_eq!(shown(&replies_of_all[1]), shown(&replies_of_all[0]));
}

#[test]
fn resp3_subscriber_can_use_all_commands() {
    const ROUNDS: usize = 20;
    let (_servers, proxy) = before(4);
    let mut subscriber = proxy.client();
    assert!(subscriber.ask("HELLO 3").starts_with(b"%"));
    assert!(subscriber.ask("SUBSCRIBE a").starts_with(b">3"));
    let mut publisher = proxy.client();
    publisher.send(&crate::support::command(&[
        b"SET".as_slice(),
        b"large",
        &vec![b'v'; 8 << 20],
    ]));
    assert_eq!(publisher.reply(), b"+OK\r\n");
    // The large reply is sent in parts, and messages between whole replies.
    for _ in 0..ROUNDS {
        subscriber.send(&words("GET large"));
        subscriber.send(&words("INCR counter"));
        for _ in 0..10 {
            publisher.send(&words("PUBLISH a text"));
        }
    }
    let (mut messages, mut values, mut counts) = (0, 0, 0);
    while messages + values + counts < ROUNDS * 12 {
        let reply = subscriber.reply();
        match reply.first() {
            Some(b'>') => {
                assert_eq!(
                    show(&reply),
                    ">3\\r\\n$7\\r\\nmessage\\r\\n$1\\r\\na\\r\\n$4\\r\\ntext\\r\\n"
                );
                messages += 1;
            }
            Some(b'$') => {
                assert_eq!(reply.len(), (8 << 20) + "$8388608\r\n\r\n".len());
                assert_eq!(values, counts, "each count follows its value");
                values += 1;
            }
            _ => {
                counts += 1;
                assert_eq!(show(&reply), format!(":{counts}\\r\\n"));
            }
        }
    }
    assert_eq!((messages, values, counts), (ROUNDS * 10, ROUNDS, ROUNDS));
}

#[test]
fn messages_use_the_client_resp_version() {
    let (_servers, proxy) = before(1);
    let mut subscriber = proxy.client();
    let mut publisher = proxy.client();
    subscriber.ask("HELLO 3");
    subscriber.converse(&[("SUBSCRIBE a", ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")]);
    super::publish(&mut publisher, "a", "x", 1);
    assert!(subscriber.reply().starts_with(b">3\r\n$7\r\nmessage"));
    assert!(subscriber.ask("HELLO 2").starts_with(b"*14"));
    super::publish(&mut publisher, "a", "x", 1);
    assert!(subscriber.reply().starts_with(b"*3\r\n$7\r\nmessage"));
    assert!(
        subscriber
            .ask("GET a")
            .starts_with(b"-ERR Can't execute 'get'")
    );
}

#[test]
fn pool_password_applies_to_subscriptions() {
    let servers: Vec<_> = (0..2)
        .map(|_| RedisServer::start_with(&["--requirepass", "secret"]))
        .collect();
    let proxy = start(&Pool::of(&servers).with("redis_auth", "secret"));
    let mut client = proxy.client();
    assert!(client.ask("SUBSCRIBE a").starts_with(b"-NOAUTH"));
    assert!(client.ask("PUBLISH a x").starts_with(b"-NOAUTH"));
    client.converse(&[
        ("AUTH secret", "+OK\r\n"),
        ("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
    ]);
    let mut publisher = proxy.client();
    publisher.converse(&[("AUTH secret", "+OK\r\n"), ("PUBLISH a x", ":1\r\n")]);
    assert!(client.reply().ends_with(b"x\r\n"));
}

#[test]
fn transaction_can_publish_but_not_subscribe() {
    let (_servers, proxy) = before(4);
    let mut subscriber = subscribed(&proxy, "SUBSCRIBE a");
    let mut client = proxy.client();
    client.converse(&[
        ("MULTI", "+OK\r\n"),
        ("PUBLISH a x", "+QUEUED\r\n"),
        ("SET a 1", "+QUEUED\r\n"),
        ("EXEC", "*2\r\n:1\r\n+OK\r\n"),
        ("MULTI", "+OK\r\n"),
    ]);
    assert!(subscriber.reply().ends_with(b"x\r\n"));
    assert!(client.ask("SUBSCRIBE a").starts_with(b"-ERR unsupported"));
    assert!(client.ask("EXEC").starts_with(b"-EXECABORT"));
    client.converse(&[("PUBSUB NUMSUB a", "*2\r\n$1\r\na\r\n:1\r\n")]);
}
