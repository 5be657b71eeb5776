//! Publish and subscribe, with one server and with four.

mod conversations;
mod faults;
mod limits;
mod scale;

use crate::support::{
    Client, Kind, Launch, Pool, Proxy, RedisServer, array_items, eventually, show, words,
};

/// A proxy with two workers and `count` servers.
fn before(count: usize) -> (Vec<RedisServer>, Proxy) {
    let servers: Vec<RedisServer> = (0..count).map(|_| RedisServer::start()).collect();
    let proxy = start(&Pool::of(&servers));
    (servers, proxy)
}

fn start(pool: &Pool) -> Proxy {
    let launch = Launch {
        args: vec!["--workers=2".to_owned()],
        ..Launch::default()
    };
    Proxy::start(
        Kind::Ringroad,
        &pool.clone().with("hash", "murmur"),
        &launch,
    )
}

/// A subscribed client.
fn subscribed(proxy: &Proxy, request: &str) -> Client {
    let mut client = proxy.client();
    let reply = client.ask(request);
    assert!(reply.starts_with(b"*3"), "{request}: {}", show(&reply));
    client
}

fn message(channel: &str, text: &str) -> Vec<u8> {
    crate::support::command(&["message", channel, text])
}

/// Publishes a message, which that many clients must receive.
fn publish(publisher: &mut Client, channel: &str, text: &str, receivers: usize) {
    let reply = publisher.ask(&format!("PUBLISH {channel} {text}"));
    assert_eq!(
        show(&reply),
        format!(":{receivers}\\r\\n"),
        "{channel} {text}"
    );
}

/// Waits until no server has a subscription, nor a connection that could have one.
fn nothing_is_left(servers: &[RedisServer], proxy: &Proxy) {
    for server in servers {
        eventually("no subscription is left at a server", || {
            let is_empty = server.ask("PUBSUB CHANNELS") == b"*0\r\n"
                && server.ask("PUBSUB SHARDCHANNELS") == b"*0\r\n"
                && server.ask("PUBSUB NUMPAT") == b":0\r\n"
                && subscriber_connections(server) == 0;
            is_empty.then_some(())
        });
    }
    eventually("the statistics agree", || {
        (metric(proxy, "ringroad_pool_subscriptions{") == 0).then_some(())
    });
}

/// The number on the line of `/metrics` that begins so.
fn metric(proxy: &Proxy, line: &str) -> u64 {
    proxy.metric(line)
}

/// Connections that are subscribed to something.
fn subscriber_connections(server: &RedisServer) -> usize {
    let list = server.ask("CLIENT LIST TYPE pubsub");
    list.windows(4).filter(|bytes| bytes == b"sub=").count() / 3
}

/// Channels, some on every server.
fn channels(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("c{n}")).collect()
}

/// The server on which a channel is subscribed.
fn server_of<'s>(servers: &'s [RedisServer], channel: &str) -> &'s RedisServer {
    let has_it = |server: &&RedisServer| {
        let channels = array_items(&server.ask("PUBSUB CHANNELS"));
        channels.iter().any(|name| name == channel.as_bytes())
    };
    let mut holders = servers.iter().filter(has_it);
    let holder = holders.next().expect("some server has the channel");
    assert!(holders.next().is_none(), "two servers have {channel}");
    holder
}

#[test]
fn channels_and_patterns_deliver_once_and_in_order() {
    for count in [1, 4] {
        let (servers, proxy) = before(count);
        let channels = channels(40);
        let mut by_name = proxy.client();
        by_name.send(&words(&format!("SUBSCRIBE {}", channels.join(" "))));
        let mut by_both = proxy.client();
        by_both.send(&words(&format!("SUBSCRIBE {}", channels.join(" "))));
        for client in [&mut by_name, &mut by_both] {
            for _ in &channels {
                assert!(client.reply().starts_with(b"*3\r\n$9\r\nsubscribe"));
            }
        }
        assert!(by_both.ask("PSUBSCRIBE c* ?1").starts_with(b"*3"));
        assert!(by_both.reply().starts_with(b"*3"));

        let mut publisher = proxy.client();
        for round in 0..5 {
            for channel in &channels {
                let receivers = if channel == "c1" { 4 } else { 3 };
                publish(&mut publisher, channel, &round.to_string(), receivers);
            }
        }
        for (client, copies) in [(&mut by_name, 1), (&mut by_both, 2)] {
            let mut received = vec![0; channels.len()];
            for _ in 0..5 * (channels.len() * copies + copies - 1) {
                let frame = client.reply();
                let items = array_items(&frame);
                let [.., channel, text] = items.as_slice() else {
                    panic!("{}", show(&frame))
                };
                let nth = channels
                    .iter()
                    .position(|name| name.as_bytes() == channel)
                    .unwrap();
                let per_round = if nth == 1 { 2 * copies - 1 } else { copies };
                let round = received[nth] / per_round;
                assert_eq!(text, round.to_string().as_bytes(), "{}", show(&frame));
                received[nth] += 1;
            }
            assert_eq!(client.ask("PING x"), b"*2\r\n$4\r\npong\r\n$1\r\nx\r\n");
        }
        let known: Vec<usize> = servers
            .iter()
            .map(|server| array_items(&server.ask("PUBSUB CHANNELS")).len())
            .collect();
        assert_eq!(known.iter().sum::<usize>(), channels.len(), "{known:?}");
        assert!(known.iter().all(|count| *count > 0), "{known:?}");
        drop((by_name, by_both));
        nothing_is_left(&servers, &proxy);
    }
}

#[test]
fn messages_arrive_only_while_subscribed() {
    let (servers, proxy) = before(4);
    let (mut subscriber, mut publisher) = (proxy.client(), proxy.client());
    let mut other = subscribed(&proxy, "SUBSCRIBE c3");
    for round in 0..50 {
        for channel in ["c1", "c2", "c3"] {
            let others = usize::from(channel == "c3");
            let confirmed = subscriber.ask(&format!("SUBSCRIBE {channel}"));
            assert!(confirmed.starts_with(b"*3\r\n$9\r\nsubscribe"));
            let text = round.to_string();
            publish(&mut publisher, channel, &text, 1 + others);
            // Messages published before the unsubscription arrive before its confirmation.
            subscriber.send(&words(&format!("UNSUBSCRIBE {channel}")));
            assert_eq!(show(&subscriber.reply()), show(&message(channel, &text)));
            assert!(subscriber.reply().starts_with(b"*3\r\n$11\r\nunsubscribe"));
            publish(&mut publisher, channel, "lost", others);
        }
        for text in [round.to_string().as_str(), "lost"] {
            assert_eq!(show(&other.reply()), show(&message("c3", text)));
        }
    }
    drop(other);
    nothing_is_left(&servers, &proxy);
}

#[test]
fn subscriber_disconnect_or_reset_leaks_nothing() {
    let (servers, proxy) = before(4);
    let names = channels(20).join(" ");
    for round in 0..40 {
        if round % 4 == 3 {
            // Later messages must not be counted for subscribers that have disconnected.
            nothing_is_left(&servers, &proxy);
        }
        let mut client = proxy.client();
        client.send(&words(&format!("SUBSCRIBE {names}")));
        if round % 4 > 0 {
            client.reply();
        }
        if round % 4 > 1 {
            client.send(&words("PSUBSCRIBE a* b*"));
            client.send(&words("SSUBSCRIBE x y"));
        }
        if round % 4 > 2 {
            client.send(&words("UNSUBSCRIBE c1 c2"));
            client.send(&words("RESET"));
            assert!(client.read_until(b"+RESET\r\n").starts_with(b"*3"));
            client.converse(&[("PING", "+PONG\r\n"), ("PUBLISH c3 x", ":0\r\n")]);
        }
    }
    nothing_is_left(&servers, &proxy);
}

#[test]
fn keyspace_notifications_come_from_the_key_servers() {
    let options = ["--notify-keyspace-events", "KEA"];
    let servers: Vec<_> = (0..4).map(|_| RedisServer::start_with(&options)).collect();
    let proxy = start(&Pool::of(&servers));
    let mut of_keys = proxy.client();
    let mut of_events = subscribed(&proxy, "SUBSCRIBE __keyevent@0__:set");
    let mut of_all = subscribed(&proxy, "PSUBSCRIBE __key*__:*");
    let mut writer = proxy.client();
    for n in 0..20 {
        let (key, space) = (format!("k{n}"), format!("__keyspace@0__:k{n}"));
        assert!(
            of_keys
                .ask(&format!("SUBSCRIBE {space}"))
                .starts_with(b"*3")
        );
        writer.converse(&[(format!("SET {key} 1").as_str(), "+OK\r\n")]);
        assert_eq!(show(&of_keys.reply()), show(&message(&space, "set")));
        let event = message("__keyevent@0__:set", &key);
        assert_eq!(show(&of_events.reply()), show(&event));
        for _ in 0..2 {
            assert!(of_all.reply().starts_with(b"*4\r\n$8\r\npmessage"));
        }
    }
    publish(&mut writer, "__keyspace@0__:k7", "by-hand", 2);
    publish(&mut writer, "__keyevent@0__:set", "by-hand", 2);
    let numbers = writer.ask("PUBSUB NUMSUB __keyevent@0__:set __keyspace@0__:k7");
    let shown =
        "*4\\r\\n$18\\r\\n__keyevent@0__:set\\r\\n:1\\r\\n$17\\r\\n__keyspace@0__:k7\\r\\n:1\\r\\n";
    assert_eq!(show(&numbers), shown);
}

#[test]
fn pubsub_everywhere_receives_messages_from_scripts() {
    let servers: [RedisServer; 4] = RedisServer::several();
    let proxy = start(&Pool::of(&servers).with("pubsub_everywhere", true));
    let mut subscriber = subscribed(&proxy, "SUBSCRIBE news");
    let mut publisher = proxy.client();
    let script = "return redis.call('publish', 'news', KEYS[1])";
    for n in 0..20 {
        let key = format!("k{n}");
        publisher.send(&crate::support::command(&["EVAL", script, "1", &key]));
        assert_eq!(publisher.reply(), b":1\r\n");
        assert_eq!(show(&subscriber.reply()), show(&message("news", &key)));
    }
    publish(&mut publisher, "news", "last", 1);
    assert_eq!(show(&subscriber.reply()), show(&message("news", "last")));
    drop(subscriber);
    nothing_is_left(&servers, &proxy);
}
