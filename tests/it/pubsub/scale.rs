//! Many subscribers share the server connections while some of them disconnect and servers die.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{before, message, nothing_is_left, server_of, subscribed, subscriber_connections};
use crate::support::{Client, PATIENCE, Proxy, RedisServer, array_items, eventually, show, words};

const SUBSCRIBERS: usize = 2000;

/// The number of messages that are published to each name.
const MESSAGES: usize = 200;

const NAMES: [&str; 6] = ["c0", "c1", "c2", "c3", "c4", "c5"];

/// The requests of subscribers, the number of confirmations of each, and of copies of each message.
const KINDS: [(&str, usize, usize); 4] = [
    ("SUBSCRIBE c0 c1 c2 c3 c4 c5", 6, 1),
    ("PSUBSCRIBE c?", 1, 1),
    ("PSUBSCRIBE c* ?[0-9]", 2, 2),
    ("SSUBSCRIBE c0 c1 c2 c3 c4 c5", 6, 1),
];

#[test]
fn subscribers_share_one_connection_per_worker_and_server() {
    let (servers, proxy) = before(4);
    let mut all: Vec<Client> = (0..SUBSCRIBERS)
        .map(|_| subscribed(&proxy, "SUBSCRIBE a"))
        .collect();
    assert_eq!(subscriber_connections(server_of(&servers, "a")), 2);
    assert_eq!(servers.iter().map(subscriber_connections).sum::<usize>(), 2);
    for (nth, subscriber) in all.iter_mut().enumerate() {
        if nth % 4 < 2 {
            assert!(subscriber.ask("PSUBSCRIBE ?").starts_with(b"*3"));
        }
    }
    for server in &servers {
        assert_eq!(subscriber_connections(server), 2);
    }
    let mut publisher = proxy.client();
    let receivers = SUBSCRIBERS + SUBSCRIBERS / 2;
    super::publish(&mut publisher, "a", "x", receivers);
    publisher.converse(&[("PUBSUB NUMSUB a", "*2\r\n$1\r\na\r\n:2000\r\n")]);
    for (nth, subscriber) in all.iter_mut().enumerate() {
        let mut frames = vec![subscriber.reply()];
        if nth % 4 < 2 {
            frames.push(subscriber.reply());
            frames.sort();
        }
        assert_eq!(show(&frames[0]), show(&message("a", "x")));
    }
    drop(all);
    nothing_is_left(&servers, &proxy);
}

/// The texts received for each name, until so many were the last one.
fn received_texts(client: &mut Client, lasts: usize) -> BTreeMap<Vec<u8>, Vec<usize>> {
    let mut texts: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    let mut missing = lasts;
    while missing > 0 {
        let mut frame = client.try_reply().unwrap_or_else(|ended| {
            let came = texts.iter().map(|(name, texts)| {
                let (name, count) = (show(name), texts.len());
                format!("{count} under {name}, the last is {:?}", texts.last())
            });
            let came: Vec<_> = came.collect();
            panic!("{ended:?}, and {missing} last ones are missing: {came:#?}")
        });
        frame[0] = b'*';
        let mut items = array_items(&frame);
        let text = String::from_utf8(items.pop().unwrap()).unwrap();
        let number = text.trim_matches('x').parse().unwrap();
        texts.entry(items.pop().unwrap()).or_default().push(number);
        missing -= usize::from(number == usize::MAX);
    }
    texts
}

/// Publishes all messages to every name, to both kinds of channels. Lost messages do not matter.
fn publish_all(proxy: SocketAddr, from: usize) {
    let mut publisher = Client::connect(proxy);
    for number in from..from + MESSAGES {
        // One in ten is large enough to be shared.
        let fill = "x".repeat(if number % 10 == 0 { 5000 } else { 0 });
        for name in NAMES {
            publisher.send(&words(&format!("PUBLISH {name} {number}{fill}")));
            publisher.send(&words(&format!("SPUBLISH {name} {number}{fill}")));
        }
    }
    for _ in 0..2 * MESSAGES * NAMES.len() {
        publisher.reply();
    }
}

/// Publishes the last message, once all servers are back.
fn publish_last(publisher: &mut Client, receivers: usize) {
    for name in NAMES {
        for verb in ["PUBLISH", "SPUBLISH"] {
            let request = format!("{verb} {name} {}", usize::MAX);
            let reply = publisher.ask(&request);
            let counted = String::from_utf8(reply).unwrap();
            assert!(counted.starts_with(':'), "{request}: {counted}");
            let counted: usize = counted[1..].trim().parse().unwrap();
            assert!(counted >= receivers, "{request}: {counted}");
        }
    }
}

/// Subscribers of each kind, `of_each` of them, in both versions of RESP.
fn crowd(proxy: &Proxy, of_each: usize) -> Vec<(Client, usize)> {
    let mut all = Vec::new();
    for (nth, (request, confirmations, times)) in KINDS.iter().cycle().enumerate() {
        if nth == of_each * KINDS.len() {
            return all;
        }
        let mut client = proxy.client();
        if (nth / KINDS.len()).is_multiple_of(2) {
            client.ask("HELLO 3");
        }
        client.send(&words(request));
        for _ in 0..*confirmations {
            client.reply();
        }
        all.push((client, *times));
    }
    all
}

/// The numbers of channels, patterns and shard channels of each connection to a server.
fn subscriptions(server: &RedisServer) -> Vec<String> {
    let list = String::from_utf8(server.ask("CLIENT LIST TYPE pubsub")).unwrap();
    let counts = ["sub=", "psub=", "ssub="];
    let is_count = |word: &&str| counts.iter().any(|count| word.starts_with(count));
    let of_line = |line: &str| {
        line.split(' ')
            .filter(is_count)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut all: Vec<_> = list
        .lines()
        .filter(|line| line.contains(" sub="))
        .map(of_line)
        .collect();
    all.sort();
    all
}

/// Sets the flag when it is dropped, even if the test fails.
struct Over<'f>(&'f AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Clients that subscribe and disconnect at any time, until the flag is set.
fn come_and_vanish(proxy: SocketAddr, is_over: &AtomicBool, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    while !is_over.load(Ordering::Relaxed) {
        let mut client = Client::connect(proxy);
        client.set_patience(Duration::from_millis(10));
        let (request, ..) = KINDS[random.usize(..KINDS.len())];
        client.send(&words(request));
        client.send(&words("UNSUBSCRIBE c1 c2"));
        for _ in 0..random.usize(..20) {
            drop(client.try_reply());
        }
    }
}

#[test]
fn subscribers_get_each_message_once_amid_disconnects() {
    let (servers, proxy) = before(4);
    let mut all = crowd(&proxy, 20);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 0..2 {
            let (address, is_over) = (proxy.address(), &is_over);
            scope.spawn(move || come_and_vanish(address, is_over, seed));
        }
        let _over = Over(&is_over);
        // They read at once: the test is about the proxy, not about socket buffers.
        for (client, times) in &mut all {
            scope.spawn(|| {
                for (name, texts) in received_texts(client, NAMES.len() * *times) {
                    let expected = (0..MESSAGES).chain([usize::MAX]);
                    let expected: Vec<usize> =
                        expected.flat_map(|text| vec![text; *times]).collect();
                    assert_eq!(texts, expected, "{}", show(&name));
                }
            });
        }
        publish_all(proxy.address(), 0);
        publish_last(&mut proxy.client(), 20);
    });
    drop(all);
    nothing_is_left(&servers, &proxy);
}

#[test]
fn server_deaths_cause_no_duplicate_or_late_messages() {
    let (mut servers, proxy) = before(4);
    let mut all = crowd(&proxy, 10);
    let before: Vec<_> = servers.iter().map(subscriptions).collect();
    let (address, is_over) = (proxy.address(), AtomicBool::new(false));
    thread::scope(|scope| {
        for (client, times) in &mut all {
            // Each server may die and come back between two messages.
            client.set_patience(PATIENCE * 3);
            scope.spawn(|| {
                for (name, texts) in received_texts(client, NAMES.len() * *times) {
                    assert!(texts.is_sorted(), "{}: {texts:?}", show(&name));
                    let mut copies = texts.chunk_by(|one, other| one == other);
                    assert!(copies.all(|copies| copies.len() <= *times), "{texts:?}");
                    let lasts = texts.iter().filter(|text| **text == usize::MAX);
                    assert_eq!(lasts.count(), *times);
                }
            });
        }
        let publishing = scope.spawn(|| {
            let rounds = (0..).take_while(|_| !is_over.load(Ordering::Relaxed));
            rounds.for_each(|round| publish_all(address, round * MESSAGES));
        });
        {
            let _over = Over(&is_over);
            for server in &mut servers {
                server.kill();
                server.restart();
            }
        }
        publishing.join().unwrap();
        eventually("each worker has subscribed to everything again", || {
            let again: Vec<_> = servers.iter().map(subscriptions).collect();
            (again == before).then_some(())
        });
        // Each worker has its own connections and its own backoff.
        let mut publisher = proxy.client();
        eventually("the publisher's worker reaches all servers", || {
            publisher.ask("DBSIZE").starts_with(b":").then_some(())
        });
        publish_last(&mut publisher, 10);
    });
    drop(all);
    nothing_is_left(&servers, &proxy);
}
