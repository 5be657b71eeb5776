//! Memory of clients that send many requests and read nothing.

use std::iter;

use super::one_worker;
use crate::support::{Client, Pool, Proxy, RedisServer, command, eventually, show, words};

const VALUE_BYTES: usize = 20 << 20;

/// The output limit of one client, and as much again for merged values: they are copied once more as they grow.
const MOST_BYTES: u64 = 2 * (576 << 20) + (64 << 20);

#[test]
fn unread_large_replies_stay_bounded() {
    const REPLY_BYTES: usize = 5 << 20;
    const REQUESTS: usize = 60;
    /// Half of all that is requested: the rest waits until the clients read.
    const MOST_BYTES: u64 = 4 * REQUESTS as u64 * REPLY_BYTES as u64 / 2;
    let servers: [RedisServer; 2] = RedisServer::several();
    let pool = Pool::of(&servers).with("hash", "murmur");
    let proxy = one_worker(&pool, &["-i", "50"]);
    let mut other = proxy.client();
    other.send(&command(&[
        b"SET".as_slice(),
        b"big",
        &vec![b'x'; REPLY_BYTES],
    ]));
    assert_eq!(other.reply(), b"+OK\r\n");
    eventually("the value is released", || {
        (proxy.process().memory_bytes("VmRSS") < 50 << 20).then_some(())
    });
    let mut non_readers: Vec<_> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut non_readers {
        client.send(&words("GET big").repeat(REQUESTS));
        other.converse(&[("SET z 1", "+OK\r\n"), ("GET z", "$1\r\n1\r\n")]);
    }
    for client in &mut non_readers {
        for _ in 0..REQUESTS {
            assert!(client.reply().len() > REPLY_BYTES);
            other.converse(&[("GET z", "$1\r\n1\r\n")]);
        }
    }
    let peak_bytes = proxy.process().memory_bytes("VmHWM");
    assert!(peak_bytes < MOST_BYTES, "the proxy took {peak_bytes} bytes");
}

#[test]
fn one_huge_reply_closes_only_its_client() {
    let keys = ["a", "b", "c", "d"].repeat(15);
    send_until_closed(&command(&[vec!["MGET"], keys].concat()), MOST_BYTES);
}

#[test]
fn local_replies_release_their_memory() {
    let server = RedisServer::start();
    let proxy = one_worker(&Pool::of([&server]), &["-i", "50"]);
    let mut client = proxy.client();
    client.send(&command(&[
        b"ECHO".as_slice(),
        &vec![b'x'; 10 * VALUE_BYTES],
    ]));
    assert!(client.reply().len() > 10 * VALUE_BYTES);
    eventually("the memory is given back", || {
        client.converse(&[("PING", "+PONG\r\n")]);
        (proxy.process().memory_bytes("VmRSS") < 100 << 20).then_some(())
    });
}

#[test]
fn echoed_text_is_not_copied() {
    const TEXT_BYTES: usize = 200 << 20;
    let server = RedisServer::start();
    let proxy = one_worker(&Pool::of([&server]), &["-i", "50"]);
    let text = vec![b'x'; TEXT_BYTES];
    let mut client = proxy.client();
    for request in ["ECHO", "PING"] {
        // Behind a reply of a server that is still to come.
        client.send(&words("GET a"));
        client.send(&command(&[request.as_bytes(), &text]));
        assert_eq!(show(&client.reply()), "$-1\\r\\n");
        assert!(client.reply().len() > TEXT_BYTES);
    }
    let peak_bytes = proxy.process().memory_bytes("VmHWM");
    let most_bytes = (TEXT_BYTES * 5 / 4) as u64;
    assert!(peak_bytes < most_bytes, "{peak_bytes} bytes");
}

#[test]
fn many_subscriptions_release_their_memory() {
    const NAMES: usize = 200_000;
    let servers: [RedisServer; 2] = RedisServer::several();
    let proxy = one_worker(&Pool::of(&servers), &["-i", "50"]);
    let mut other = proxy.client();
    other.converse(&[("PING", "+PONG\r\n")]);
    let before_bytes = proxy.process().memory_bytes("VmRSS");
    let mut subscriber = proxy.client();
    for names in (0..NAMES).collect::<Vec<_>>().chunks(1000) {
        let names = names.iter().map(|name| format!("{name:032}"));
        subscriber.send(&command(
            &iter::once("SUBSCRIBE".to_owned())
                .chain(names)
                .collect::<Vec<_>>(),
        ));
        (0..1000).for_each(|_| drop(subscriber.reply()));
    }
    let taken_bytes = proxy.process().memory_bytes("VmRSS") - before_bytes;
    assert!(
        taken_bytes > 20 << 20,
        "{taken_bytes} bytes are not very much"
    );
    drop(subscriber);
    eventually("the memory is given back", || {
        other.converse(&[("PING", "+PONG\r\n")]);
        let left_bytes = proxy
            .process()
            .memory_bytes("VmRSS")
            .saturating_sub(before_bytes);
        (left_bytes < 10 << 20).then_some(())
    });
}

/// A client sends `requests`, and reads nothing, until it is closed.
fn send_until_closed(requests: &[u8], most_bytes: u64) {
    let servers: [RedisServer; 2] = RedisServer::several();
    // The allocator releases freed pages when counts are published.
    let pool = Pool::of(&servers).with("hash", "murmur");
    let proxy = one_worker(&pool, &["-i", "50"]);
    let mut other = proxy.client();
    let value = vec![b'x'; VALUE_BYTES];
    for key in ["big", "a", "b", "c", "d"] {
        other.send(&command(&[b"SET".as_slice(), key.as_bytes(), &value]));
        assert_eq!(other.reply(), b"+OK\r\n");
    }
    let mut non_reader = proxy.client();
    non_reader.send(requests);
    eventually("the client is closed", || {
        other.converse(&[("SET z 1", "+OK\r\n"), ("GET z", "$1\r\n1\r\n")]);
        (slow_clients_closed(&proxy) == 1).then_some(())
    });
    proxy
        .process()
        .await_output("pending output exceeds the limit");
    let peak_bytes = proxy.process().memory_bytes("VmHWM");
    assert!(peak_bytes < most_bytes, "the proxy took {peak_bytes} bytes");
    other.converse(&[("GET z", "$1\r\n1\r\n")]);
    eventually("the memory is given back", || {
        (proxy.process().memory_bytes("VmRSS") < 100 << 20).then_some(())
    });
}

fn slow_clients_closed(proxy: &Proxy) -> u64 {
    let mut port = Client::connect(proxy.stats_address());
    port.send(b"GET /metrics HTTP/1.0\r\n\r\n");
    let text = String::from_utf8(port.read_to_close()).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("ringroad_pool_slow_client_closed"))
        .unwrap_or_else(|| panic!("not counted: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
