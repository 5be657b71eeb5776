//! Many clients, and values as large as Redis allows.

use std::time::{Duration, Instant};

use crate::support::{Client, Pool, Proxy, RedisServer, eventually, show, usual_wait, words};

const OK: &str = "+OK\r\n";

#[test]
fn ten_thousand_idle_and_a_thousand_busy_clients_fit() {
    const IDLE: usize = 10_000;
    const BUSY: usize = 1_000;
    const BYTES_PER_IDLE_CLIENT: u64 = 4096;
    let servers: [RedisServer; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let room = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(
        room > 12_000,
        "only {room} file descriptors; raise the limit (ulimit -n)"
    );
    proxy.client().converse(&[("SET key 1", OK)]);
    let before_bytes = proxy.process().memory_bytes("VmRSS");
    let mut idle: Vec<Client> = (0..IDLE).map(|_| proxy.client()).collect();
    for client in &mut idle {
        client.send(&words("GET key"));
    }
    for client in &mut idle {
        assert_eq!(client.reply(), b"$1\r\n1\r\n");
    }
    let grown_bytes = proxy
        .process()
        .memory_bytes("VmRSS")
        .saturating_sub(before_bytes);
    let each_bytes = grown_bytes / u64::try_from(IDLE).unwrap();
    assert!(
        each_bytes <= BYTES_PER_IDLE_CLIENT,
        "an idle client takes {each_bytes} bytes"
    );
    let mut busy: Vec<Client> = (0..BUSY).map(|_| proxy.client()).collect();
    for round in 0..5 {
        for (nth, client) in busy.iter_mut().enumerate() {
            client.send(
                &[
                    words(&format!("SET key-{nth} {round}")),
                    words(&format!("GET key-{nth}")),
                ]
                .concat(),
            );
        }
        for (nth, client) in busy.iter_mut().enumerate() {
            assert_eq!(show(&client.reply()), show(OK.as_bytes()), "client {nth}");
            assert_eq!(
                show(&client.reply()),
                format!("$1\\r\\n{round}\\r\\n"),
                "client {nth}"
            );
        }
    }
    for client in idle.iter_mut().step_by(100) {
        client.converse(&[("PING", "+PONG\r\n")]);
    }
}

#[test]
fn largest_value_passes_without_blocking_others() {
    const VALUE_BYTES: usize = 512 << 20;
    // A request is buffered whole before it is routed, a reply passes through: one and a quarter of the value.
    const MOST_BYTES: u64 = (VALUE_BYTES as u64) / 4 * 5;
    const MOST_BYTES_AFTERWARDS: u64 = 64 << 20;
    const MOST_WAIT: Duration = Duration::from_secs(1);
    let servers: [RedisServer; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("hash", "murmur"));
    let mut other = proxy.client();
    let (elsewhere, there) = a_key_apart(&servers, &mut other);
    let head = format!(
        "*3\r\n$3\r\nSET\r\n${}\r\n{there}\r\n${VALUE_BYTES}\r\n",
        there.len()
    )
    .into_bytes();
    let value = head.len()..head.len() + VALUE_BYTES;
    let mut request = head;
    request.resize(value.end, b'v');
    for (nth, block) in request[value.clone()].chunks_mut(4096).enumerate() {
        block[..8].copy_from_slice(&nth.to_be_bytes());
    }
    request.extend_from_slice(b"\r\n");
    let address = proxy.address();
    let get = words(&format!("GET {there}"));
    let passing = std::thread::spawn(move || {
        let mut client = Client::connect(address);
        client.send(&request);
        assert_eq!(client.reply(), OK.as_bytes());
        client.send(&get);
        client.expect_bulk(&request[value]);
    });
    let mut waits = Vec::new();
    while !passing.is_finished() {
        let start = Instant::now();
        other.converse(&[(&format!("SET {elsewhere} 1"), OK)]);
        waits.push(start.elapsed());
    }
    passing.join().unwrap();
    let usual = usual_wait(waits);
    assert!(usual < MOST_WAIT, "another client waited {usual:?}");
    let peak_bytes = proxy.process().memory_bytes("VmHWM");
    assert!(peak_bytes < MOST_BYTES, "the proxy took {peak_bytes} bytes");
    eventually("the memory is given back", || {
        let rest_bytes = proxy.process().memory_bytes("VmRSS");
        (rest_bytes < MOST_BYTES_AFTERWARDS).then_some(())
    });
}

/// A key on the first server, and one on the second.
fn a_key_apart(servers: &[RedisServer; 2], client: &mut Client) -> (String, String) {
    for key in (0..100).map(|n| format!("key-{n}")) {
        client.converse(&[(&format!("SET {key} 1"), OK)]);
    }
    let first = |server: &RedisServer| String::from_utf8(server.keys().remove(0)).unwrap();
    (first(&servers[0]), first(&servers[1]))
}
