//! What TLS must not change: every byte arrives, in order, however it is cut.

use std::io::Write;
use std::net::Shutdown;

use crate::support::{command, eventually, show, words};

use super::{NAME, Setup, connect, plain_server};

#[test]
fn requests_of_single_bytes_are_answered() {
    let (ca, _server, proxy) = plain_server();
    let mut client = connect(&proxy, &ca);
    for byte in [&words("SET key value")[..], b"GET key\r\n"].concat() {
        client.send(&[byte]);
    }
    assert_eq!(show(&client.reply()), "+OK\\r\\n");
    assert_eq!(show(&client.reply()), "$5\\r\\nvalue\\r\\n");
}

#[test]
fn pieces_of_records_are_put_together() {
    let (ca, _server, proxy) = plain_server();
    let mut client = connect(&proxy, &ca);
    client
        .session
        .writer()
        .write_all(b"PING\r\nPING\r\n")
        .unwrap();
    let mut record = Vec::new();
    client.session.write_tls(&mut record).unwrap();
    for byte in record {
        client.tcp.write_all(&[byte]).unwrap();
    }
    assert_eq!(show(&client.reply()), "+PONG\\r\\n");
    assert_eq!(show(&client.reply()), "+PONG\\r\\n");
}

#[test]
fn large_pipelines_are_answered_in_order() {
    const REQUESTS: usize = 20_000;
    let (ca, _server, proxy) = plain_server();
    let mut client = connect(&proxy, &ca);
    let value = "v".repeat(100);
    let requests = |range: std::ops::Range<usize>| -> Vec<u8> {
        let request = |n: usize| {
            let key = format!("k{}", n / 2);
            match n % 2 {
                0 => words(&format!("SET {key} {value}{n}")),
                _ => words(&format!("GET {key}")),
            }
        };
        range.flat_map(request).collect()
    };
    for start in (0..REQUESTS).step_by(1000) {
        client.send(&requests(start..start + 1000));
        for n in start..start + 1000 {
            let expected = if n % 2 == 0 {
                "+OK\r\n".to_owned()
            } else {
                let value = format!("{value}{}", n - 1);
                format!("${}\r\n{value}\r\n", value.len())
            };
            assert_eq!(show(&client.reply()), show(expected.as_bytes()), "{n}");
        }
    }
}

#[test]
fn large_values_pass_both_ways() {
    let (ca, _server, proxy) = plain_server();
    let mut client = connect(&proxy, &ca);
    for len in [16_383, 16_384, 16_385, 131_072, 5_000_000] {
        let value: Vec<u8> = (0..=250).cycle().take(len).collect();
        client.send(&command(&[&b"SET"[..], b"key", &value]));
        assert_eq!(show(&client.reply()), "+OK\\r\\n");
        client.send(&command(&[b"GET", b"key"]));
        let reply = client.reply();
        let head = format!("${len}\r\n");
        assert!(reply.starts_with(head.as_bytes()));
        assert!(reply[head.len()..reply.len() - 2] == value, "{len}");
    }
}

#[test]
fn client_that_does_not_read_gets_all_replies_later() {
    const REPLIES: usize = 60;
    let (ca, _server, proxy) = plain_server();
    let mut client = connect(&proxy, &ca);
    client.send(&command(&[&b"SET"[..], b"key", &vec![b'v'; 1 << 20]]));
    client.reply();
    let request = command(&[b"GET", b"key"]);
    for _ in 0..REPLIES {
        client.send(&request);
    }
    // Other clients are served meanwhile.
    let mut other = connect(&proxy, &ca);
    assert_eq!(show(&other.ask("PING")), "+PONG\\r\\n");
    for nth in 0..REPLIES {
        assert_eq!(client.reply().len(), (1 << 20) + 12, "{nth}");
    }
}

#[test]
fn half_closed_client_gets_its_replies_and_the_end() {
    let (ca, _server, proxy) = plain_server();
    let mut client = connect(&proxy, &ca);
    client.send(b"SET a 1\r\nGET a\r\n");
    client.half_close();
    // `read_to_close` fails if the proxy does not say that it ends.
    assert_eq!(show(&client.read_to_close()), "+OK\\r\\n$1\\r\\n1\\r\\n");
}

#[test]
fn quitting_client_gets_a_clean_end() {
    let (ca, _server, proxy) = plain_server();
    let mut client = connect(&proxy, &ca);
    client.send(b"PING\r\nQUIT\r\n");
    assert_eq!(show(&client.read_to_close()), "+PONG\\r\\n+OK\\r\\n");
}

#[test]
fn connection_that_is_cut_off_is_a_normal_end() {
    let (ca, _server, proxy) = plain_server();
    let before = proxy.stat(&["client_eof"]);
    let mut client = connect(&proxy, &ca);
    client.ask("PING");
    client.tcp.shutdown(Shutdown::Both).unwrap();
    eventually("it is counted", || {
        (proxy.stat(&["client_eof"]) > before).then_some(())
    });
    assert_eq!(proxy.stat(&["client_err"]), 0);
}

#[test]
fn sessions_are_resumed() {
    let (ca, _server, proxy) = plain_server();
    let setup = Setup::new(&ca.file(), None);
    let mut first = setup.connect(proxy.tls_address(), NAME);
    // The tickets arrive with the reply at the latest.
    first.ask("PING");
    assert!(!first.is_resumed());
    let mut second = setup.connect(proxy.tls_address(), NAME);
    assert_eq!(show(&second.ask("PING")), "+PONG\\r\\n");
    assert!(second.is_resumed());
}
