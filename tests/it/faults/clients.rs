//! Clients that disconnect early, read late or never.

use crate::support::{Pool, Proxy, RedisServer, command, eventually, show, words};

const OK: &str = "+OK\r\n";

#[test]
fn half_closed_client_gets_all_replies_then_close() {
    let [one, two] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of([&one, &two]).with("hash", "md5"));
    let mut client = proxy.client();
    let mut requests = Vec::new();
    let mut expected = String::new();
    for n in 0..500 {
        requests.extend(words(&format!("SET key-{n} {n}")));
        requests.extend(words(&format!("GET key-{n}")));
        expected.extend(["+OK\r\n", &bulk(n)].map(str::to_owned));
    }
    client.send(&requests);
    client.half_close();
    assert_eq!(show(&client.read_to_close()), show(expected.as_bytes()));
}

#[test]
fn quit_is_answered_after_earlier_requests() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.send(
        &[
            words("SET a 1"),
            words("GET a"),
            words("QUIT"),
            words("SET a 2"),
        ]
        .concat(),
    );
    assert_eq!(
        show(&client.read_to_close()),
        show(b"+OK\r\n$1\r\n1\r\n+OK\r\n")
    );
    assert_eq!(server.ask("GET a"), b"$1\r\n1\r\n");
}

#[test]
fn disconnect_with_requests_in_flight_harms_no_others() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut stays = proxy.client();
    for n in 0..200 {
        let mut leaves = proxy.client();
        leaves.send(&words(&format!("SET theirs {n}")).repeat(20));
        stays.converse(&[(&format!("SET mine {n}"), OK), ("GET mine", &bulk(n))]);
    }
    eventually("everyone else is gone", || {
        (proxy.stat(&["client_connections"]) == 1).then_some(())
    });
}

#[test]
fn client_that_never_reads_is_bounded_and_blocks_no_others() {
    const VALUE_BYTES: usize = 256 << 10;
    const REQUESTS: usize = 2000;
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.send(&command(&[
        b"SET".as_slice(),
        b"big",
        &vec![b'x'; VALUE_BYTES],
    ]));
    assert_eq!(client.reply(), OK.as_bytes());
    let mut non_reader = proxy.client();
    non_reader.set_write_patience(std::time::Duration::from_millis(300));
    // Half a gigabyte of replies; the proxy may stop reading, so the sender may block.
    drop(non_reader.try_send(&words("GET big").repeat(REQUESTS)));
    for n in 0..200 {
        client.converse(&[(&format!("SET a {n}"), OK)]);
    }
    let peak_bytes = proxy.process().memory_bytes("VmHWM");
    assert!(
        peak_bytes < 100 << 20,
        "one client that never reads took {peak_bytes} bytes"
    );
}

#[test]
fn slow_reader_gets_all_replies() {
    const VALUE_BYTES: usize = 1 << 20;
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    let value: Vec<u8> = (0..VALUE_BYTES)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect();
    client.send(&command(&[b"SET".as_slice(), b"big", &value]));
    assert_eq!(client.reply(), OK.as_bytes());
    let expected = [format!("${VALUE_BYTES}\r\n").as_bytes(), &value, b"\r\n"].concat();
    client.send(&words("GET big").repeat(50));
    // Requests of another client pass between two reads of this one.
    let mut other = proxy.client();
    for n in 0..50 {
        other.converse(&[("PING", "+PONG\r\n"), ("STRLEN big", ":1048576\r\n")]);
        assert!(client.reply() == expected, "reply {n} differs");
    }
}

/// The reply that holds a number as text.
fn bulk(number: u32) -> String {
    let text = number.to_string();
    format!("${}\r\n{text}\r\n", text.len())
}
