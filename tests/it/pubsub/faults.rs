//! Servers that die while clients are subscribed.

use super::{before, channels, message, metric, nothing_is_left, publish, start, subscribed};
use crate::support::{
    Client, FakeServer, Pool, Proxy, RedisServer, array_items, eventually, show, words,
};

#[test]
fn restarted_server_is_resubscribed() {
    let (mut servers, proxy) = before(4);
    let channels = channels(40);
    let mut subscriber = proxy.client();
    subscriber.send(&words(&format!("SUBSCRIBE {}", channels.join(" "))));
    for _ in &channels {
        subscriber.reply();
    }
    assert!(subscriber.ask("PSUBSCRIBE p*").starts_with(b"*3"));
    let lost = array_items(&servers[0].ask("PUBSUB CHANNELS"));
    assert!(
        !lost.is_empty() && lost.len() < channels.len(),
        "{}",
        lost.len()
    );
    servers[0].restart();
    proxy
        .process()
        .await_output("subscription connection lost; messages are missed until it reconnects");
    eventually("everything is subscribed to again", || {
        let again = array_items(&servers[0].ask("PUBSUB CHANNELS"));
        let patterns = servers[0].ask("PUBSUB NUMPAT");
        (again.len() == lost.len() && patterns == b":1\r\n").then_some(())
    });
    let mut publisher = proxy.client();
    eventually("the publisher's worker reaches all servers", || {
        publisher.ask("DBSIZE").starts_with(b":").then_some(())
    });
    for channel in channels.iter().map(String::as_str).chain(["pattern"]) {
        publish(&mut publisher, channel, "back", 1);
        let received = subscriber.reply();
        assert!(
            received.ends_with(&message(channel, "back")[15..]),
            "{}",
            show(&received)
        );
    }
    let counter = "ringroad_server_resubscriptions_total{pool=\"p\",server=\"s0\"}";
    // A server that dies may still accept a connection, and close it again.
    let (again, each) = (metric(&proxy, counter), lost.len() as u64 + 1);
    assert!(again > 0 && again % each == 0, "{again}, {each} each time");
    drop(subscriber);
    nothing_is_left(&servers, &proxy);
}

/// A channel of the first of two servers, and one of the second.
fn apart(servers: &[RedisServer], proxy: &Proxy) -> [String; 2] {
    let mut client = proxy.client();
    client.send(&words(&format!("SUBSCRIBE {}", channels(20).join(" "))));
    for _ in 0..20 {
        client.reply();
    }
    let homes =
        [0, 1].map(|nth: usize| array_items(&servers[nth].ask("PUBSUB CHANNELS")).remove(0));
    drop(client);
    nothing_is_left(servers, proxy);
    homes.map(|name| String::from_utf8(name).unwrap())
}

#[test]
fn early_messages_follow_the_confirmation() {
    let (servers, proxy) = before(2);
    let [here, there] = apart(&servers, &proxy);
    let mut publisher = proxy.client();
    let large = "x".repeat(10_000);
    for hello in ["HELLO 2", "HELLO 3"] {
        for kind in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
            servers[1].stop();
            let mut client = proxy.client();
            client.ask(hello);
            client.send(&words(&format!("{kind} {here} {there}")));
            let (publish, counted) = match kind {
                "SUBSCRIBE" => ("PUBLISH", format!("PUBSUB NUMSUB {here}")),
                "PSUBSCRIBE" => ("PUBLISH", "PUBSUB NUMPAT".to_owned()),
                _ => ("SPUBLISH", format!("PUBSUB SHARDNUMSUB {here}")),
            };
            let confirmed = if kind == "PSUBSCRIBE" {
                ":2\r\n"
            } else {
                ":1\r\n"
            };
            eventually("the first server has confirmed", || {
                let reply = servers[0].ask(&counted);
                reply.ends_with(confirmed.as_bytes()).then_some(())
            });
            let texts = ["one", "two", &large, "three"];
            for text in texts {
                publisher.converse(&[(&format!("{publish} {here} {text}"), ":1\r\n")]);
            }
            servers[1].cont();
            for name in [&here, &there] {
                let confirmation = client.reply();
                let starts = format!("3\r\n${}\r\n{}\r\n", kind.len(), kind.to_lowercase());
                let matches = confirmation[1..].starts_with(starts.as_bytes());
                assert!(matches, "{kind} {name}: {}", show(&confirmation));
            }
            publisher.converse(&[(&format!("{publish} {here} last"), ":1\r\n")]);
            for text in texts.iter().chain([&"last"]) {
                let received = client.reply();
                let end = format!("${}\r\n{text}\r\n", text.len());
                assert!(
                    received.ends_with(end.as_bytes()),
                    "{kind}: {}",
                    show(&received)
                );
                assert_eq!(
                    received.first(),
                    Some(if hello == "HELLO 3" { &b'>' } else { &b'*' })
                );
            }
            drop(client);
            nothing_is_left(&servers, &proxy);
        }
    }
}

#[test]
fn subscription_does_not_wait_for_the_one_before() {
    let (servers, proxy) = before(2);
    let [here, there] = apart(&servers, &proxy);
    let subscribers = |count: usize| {
        eventually("the second request is confirmed", || {
            let reply = servers[0].ask(&format!("PUBSUB NUMSUB {here}"));
            reply
                .ends_with(format!(":{count}\r\n").as_bytes())
                .then_some(())
        });
    };
    let mut publisher = proxy.client();
    let mut client = proxy.client();
    servers[1].stop();
    client.send(&words(&format!("SUBSCRIBE {there}")));
    client.send(&words(&format!("SUBSCRIBE {here}")));
    client.send(&words("PING"));
    subscribers(1);
    publish(&mut publisher, &here, "early", 1);
    servers[1].cont();
    for (name, count) in [(&there, 1), (&here, 2)] {
        let confirmation = format!(
            "*3\r\n$9\r\nsubscribe\r\n${}\r\n{name}\r\n:{count}\r\n",
            name.len()
        );
        assert_eq!(show(&client.reply()), show(confirmation.as_bytes()));
    }
    let early = show(&message(&here, "early"));
    let mut behind = [show(&client.reply()), show(&client.reply())];
    behind.sort_unstable();
    assert_eq!(
        behind,
        ["*2\\r\\n$4\\r\\npong\\r\\n$0\\r\\n\\r\\n".to_owned(), early]
    );
    servers[1].stop();
    client.send(&words(&format!("UNSUBSCRIBE {there}")));
    client.send(&words(&format!("UNSUBSCRIBE {here}")));
    subscribers(0);
    servers[1].cont();
    for (name, count) in [(&there, 1), (&here, 0)] {
        let confirmation = format!(
            "*3\r\n$11\r\nunsubscribe\r\n${}\r\n{name}\r\n:{count}\r\n",
            name.len()
        );
        assert_eq!(show(&client.reply()), show(confirmation.as_bytes()));
    }
    client.converse(&[("PING", "+PONG\r\n")]);
    nothing_is_left(&servers, &proxy);
}

/// The subscriber connection is opened for it, while those of the publishers are open already.
#[test]
fn message_waits_for_subscriptions_requested_before() {
    let servers = [RedisServer::start()];
    let [server] = &servers;
    let proxy = start(&Pool::of(&servers));
    for (subscribe, name) in [
        ("SUBSCRIBE", "news"),
        ("PSUBSCRIBE", "n*"),
        ("SSUBSCRIBE", "news"),
    ] {
        let publish = if subscribe == "SSUBSCRIBE" {
            "SPUBLISH"
        } else {
            "PUBLISH"
        };
        let mut publishers: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
        for publisher in &mut publishers {
            publisher.converse(&[(&format!("{publish} news none"), ":0\r\n")]);
        }
        server.stop();
        let mut client = proxy.client();
        client.send(&words(&format!("{subscribe} {name}")));
        eventually("the subscription is requested", || {
            (metric(&proxy, "ringroad_server_subscriptions{") == 1).then_some(())
        });
        for publisher in &mut publishers {
            publisher.send(&words(&format!("{publish} news text")));
            publisher.send(&words("PING"));
        }
        server.cont();
        for publisher in &mut publishers {
            assert_eq!(show(&publisher.reply()), ":1\\r\\n", "{subscribe}");
            assert_eq!(show(&publisher.reply()), "+PONG\\r\\n");
        }
        assert!(client.reply().starts_with(b"*3"), "{subscribe}");
        for _ in &publishers {
            let received = client.reply();
            assert!(received.ends_with(b"$4\r\ntext\r\n"), "{}", show(&received));
        }
        drop(client);
        nothing_is_left(&servers, &proxy);
        eventually("the statistics agree", || {
            (metric(&proxy, "ringroad_server_subscriptions{") == 0).then_some(())
        });
    }
}

#[test]
fn early_messages_are_bounded_and_dropped_on_refusal() {
    let servers: [RedisServer; 2] = RedisServer::several();
    let pool = Pool::of(&servers).with("pubsub_buffer_limit", "1mb 0 0");
    let proxy = start(&pool);
    let [here, there] = apart(&servers, &proxy);
    let mut publisher = proxy.client();
    let begin = |proxy: &Proxy| {
        servers[1].stop();
        let mut client = proxy.client();
        client.send(&words(&format!("SUBSCRIBE {here} {there}")));
        eventually("the first server has confirmed", || {
            let reply = servers[0].ask(&format!("PUBSUB NUMSUB {here}"));
            reply.ends_with(b":1\r\n").then_some(())
        });
        client
    };
    for size in [1000, 100_000] {
        let mut held = begin(&proxy);
        let text = "x".repeat(size);
        for _ in 0..=(1 << 20) / size {
            publisher.ask(&format!("PUBLISH {here} {text}"));
        }
        held.expect_close();
        servers[1].cont();
        nothing_is_left(&servers, &proxy);
    }
    servers[1].ask("ACL SETUSER default resetchannels");
    let mut refused = begin(&proxy);
    publish(&mut publisher, &here, "x", 1);
    servers[1].cont();
    assert!(refused.reply().starts_with(b"-NOPERM"));
    refused.converse(&[("PING", "+PONG\r\n")]);
    nothing_is_left(&servers, &proxy);
}

#[test]
fn lost_server_does_not_stop_messages_of_others() {
    let (servers, proxy) = before(4);
    let channels = channels(40);
    let mut subscriber = proxy.client();
    subscriber.send(&words(&format!("SUBSCRIBE {}", channels.join(" "))));
    for _ in &channels {
        subscriber.reply();
    }
    let lost = array_items(&servers[0].ask("PUBSUB CHANNELS"));
    servers[0].kill();
    let mut client = proxy.client();
    for channel in &channels {
        let is_lost = lost.iter().any(|name| name == channel.as_bytes());
        let reply = client.ask(&format!("PUBLISH {channel} x"));
        if is_lost {
            assert_eq!(reply.first(), Some(&b'-'), "{channel}: {}", show(&reply));
        } else {
            assert_eq!(reply, b":1\r\n", "{channel}");
            assert_eq!(show(&subscriber.reply()), show(&message(channel, "x")));
        }
        // Subscribing works if the server is up, and is all or nothing.
        let mut late = proxy.client();
        let reply = late.ask(&format!("SUBSCRIBE {channel}"));
        assert_eq!(
            reply.starts_with(b"-"),
            is_lost,
            "{channel}: {}",
            show(&reply)
        );
    }
    assert!(client.ask("PSUBSCRIBE p*").starts_with(b"-ERR"));
    let all = channels.join(" ");
    assert!(client.ask(&format!("SUBSCRIBE {all}")).starts_with(b"-ERR"));
    client.converse(&[("PING", "+PONG\r\n")]);
    drop((client, subscriber));
    nothing_is_left(&servers[1..], &proxy);
}

#[test]
fn channel_moves_on_ejection_and_back_on_return() {
    let mut servers: Vec<_> = (0..2).map(|_| RedisServer::start()).collect();
    let pool = Pool::of(&servers)
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 1)
        .with("server_retry_timeout", 300);
    let proxy = start(&pool);
    let channels = channels(20);
    let mut subscriber = proxy.client();
    subscriber.send(&words(&format!("SUBSCRIBE {}", channels.join(" "))));
    for _ in &channels {
        subscriber.reply();
    }
    let held = |server: &RedisServer| array_items(&server.ask("PUBSUB CHANNELS")).len();
    let before = [held(&servers[0]), held(&servers[1])];
    assert!(before[0] > 0 && before[1] > 0, "{before:?}");
    servers[0].kill();
    eventually("all channels are at the other server", || {
        (held(&servers[1]) == channels.len()).then_some(())
    });
    servers[0].restart();
    eventually("each is where it was", || {
        ([held(&servers[0]), held(&servers[1])] == before).then_some(())
    });
    let mut publisher = proxy.client();
    for channel in &channels {
        publish(&mut publisher, channel, "x", 1);
        assert_eq!(show(&subscriber.reply()), show(&message(channel, "x")));
    }
}

#[test]
fn server_refusal_is_quoted() {
    let server = RedisServer::start();
    server.ask("ACL SETUSER default resetchannels &open*");
    let proxy = start(&Pool::of([&server]));
    let mut client = proxy.client();
    let denied = client.ask("SUBSCRIBE secret");
    assert_eq!(show(&denied), show(&server.ask("SUBSCRIBE secret")));
    assert!(denied.starts_with(b"-NOPERM"), "{}", show(&denied));
    client.send(&words("SUBSCRIBE open1 secret open2"));
    assert!(client.reply().starts_with(b"-NOPERM"));
    client.converse(&[
        ("PING", "+PONG\r\n"),
        (
            "SUBSCRIBE open1",
            "*3\r\n$9\r\nsubscribe\r\n$5\r\nopen1\r\n:1\r\n",
        ),
    ]);
    // Without the close, messages of channels that cannot be resubscribed would be missed silently.
    server.ask("ACL SETUSER default resetchannels");
    server.ask("CLIENT KILL TYPE pubsub SKIPME no");
    client.expect_close();
}

#[test]
fn unexpected_pubsub_reply_closes_the_connection() {
    let server = FakeServer::start(|nth, mut peer| {
        while let Some(request) = peer.request() {
            let sent: &[u8] = match (nth, request.ends_with(b"$1\r\na\r\n")) {
                (0, true) => b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n$3\r\nwhy\r\n",
                (_, true) => {
                    b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"
                }
                _ => b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n",
            };
            peer.send(sent);
        }
    });
    let proxy = start(&Pool::at([server.address()]));
    let mut subscriber = subscribed(&proxy, "SUBSCRIBE a");
    assert_eq!(show(&subscriber.reply()), show(&message("a", "x")));
    assert_eq!(server.connections(), 2);
}

#[test]
fn missing_confirmation_times_out() {
    let server = RedisServer::start();
    let proxy = start(&Pool::of([&server]).with("timeout", 1000));
    let mut subscriber = subscribed(&proxy, "SUBSCRIBE a");
    server.stop();
    let mut client = proxy.client();
    assert_eq!(
        show(&client.ask("SUBSCRIBE b")),
        "-ERR Connection timed out\\r\\n"
    );
    client.converse(&[("PING", "+PONG\r\n")]);
    server.cont();
    let mut publisher = proxy.client();
    eventually("the server answers", || {
        (publisher.ask("PUBLISH a x") == b":1\r\n").then_some(())
    });
    assert_eq!(show(&subscriber.reply()), show(&message("a", "x")));
    client.converse(&[("SUBSCRIBE b", "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:1\r\n")]);
}
