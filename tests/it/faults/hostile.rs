//! Clients that send garbage, send slowly, or declare more than they send.

use crate::support::{Ended, Pool, Proxy, RedisServer, command, show, words};

const PONG: &str = "+PONG\r\n";

fn proxy() -> (RedisServer, Proxy) {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    (server, proxy)
}

#[test]
fn framing_error_closes_only_its_connection() {
    let (_server, proxy) = proxy();
    let mut bystander = proxy.client();
    let lost: [&[u8]; 14] = [
        b"*1\r\n:1\r\n",
        b"*1\r\n$abc\r\n",
        b"*1\r\n$-1\r\n",
        b"*x\r\n",
        b"*-5x\r\n",
        b"*2147483648\r\n",
        b"*99999999999999999999\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*2\r\n$3\r\nGET\r\n$4294967297\r\na\r\n",
        b"*2\r\n$3\r\nGET\r\n$18446744073709551617\r\na\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870913\r\n",
        b"*2\r\n$3\r\nGET\r\n$1\r\nab\r\n",
        b"*2\r\n$3\r\nGET\r\n$+1\r\na\r\n",
        b"*1\r\n$4\r\nPING__",
    ];
    for bytes in lost {
        let mut client = proxy.client();
        client.send(&command(&["PING"]));
        client.send(bytes);
        assert_eq!(
            show(&client.reply()),
            show(PONG.as_bytes()),
            "before {}",
            show(bytes)
        );
        let reply = client.reply();
        assert!(
            reply.starts_with(b"-ERR "),
            "after {}: {}",
            show(bytes),
            show(&reply)
        );
        client.expect_close();
        bystander.converse(&[("SET a 1", "+OK\r\n"), ("GET a", "$1\r\n1\r\n")]);
    }
}

#[test]
fn unknown_command_keeps_the_connection() {
    let (_server, proxy) = proxy();
    let mut client = proxy.client();
    for (request, name) in [
        ("NOSUCHCOMMAND a b", "nosuchcommand"),
        ("KEYS", "keys"),
        ("SYNC", "sync"),
        ("SHUTDOWN", "shutdown"),
        ("GET", "get"),
        ("GET a b", "get"),
        ("MSET a 1 b", "mset"),
        ("MGET", "mget"),
        ("HELLO 4", "noproto"),
    ] {
        let reply = client.ask(request);
        assert_eq!(reply.first(), Some(&b'-'), "{request}: {}", show(&reply));
        let text = String::from_utf8_lossy(&reply).to_lowercase();
        assert!(text.contains(name), "{request}: {text}");
        client.converse(&[("PING", PONG)]);
    }
}

#[test]
fn requests_may_come_byte_by_byte() {
    let (_server, proxy) = proxy();
    let mut client = proxy.client();
    let requests = [
        "SET a 1",
        "APPEND a 2",
        "MGET a b a",
        "MSET c 3 d 4",
        "DEL a c d",
        "PING",
    ];
    let replies = [
        "+OK\r\n",
        ":2\r\n",
        "*3\r\n$2\r\n12\r\n$-1\r\n$2\r\n12\r\n",
        "+OK\r\n",
        ":3\r\n",
        PONG,
    ];
    let bytes: Vec<u8> = requests.iter().flat_map(|request| words(request)).collect();
    client.send_in_pieces(&bytes, 1, &mut fastrand::Rng::with_seed(1));
    for (request, expected) in requests.iter().zip(replies) {
        assert_eq!(
            show(&client.reply()),
            show(expected.as_bytes()),
            "reply to {request}"
        );
    }
}

#[test]
fn inline_requests_work_as_at_a_redis_prompt() {
    let (_server, proxy) = proxy();
    let mut client = proxy.client();
    client.send(b"PING\r\nset k 'a b'\r\n\r\nget k\nGET \"\\x6b\"\r\n");
    for expected in [PONG, "+OK\r\n", "$3\r\na b\r\n", "$3\r\na b\r\n"] {
        assert_eq!(show(&client.reply()), show(expected.as_bytes()));
    }
}

#[test]
fn partial_request_is_dropped_with_its_client() {
    let (server, proxy) = proxy();
    let whole = command(&["SET", "half", "value"]);
    for cut in 1..whole.len() {
        let mut client = proxy.client();
        client.send(&whole[..cut]);
        if cut % 2 == 0 {
            client.half_close();
            client.expect_close();
        }
    }
    assert_eq!(server.ask("DBSIZE"), b":0\r\n");
    proxy.client().converse(&[("SET a 1", "+OK\r\n")]);
}

#[test]
fn declared_length_reserves_no_memory() {
    let (_server, proxy) = proxy();
    let before_bytes = proxy.process().memory_bytes("VmRSS");
    let mut waiting: Vec<_> = (0..64).map(|_| proxy.client()).collect();
    for client in &mut waiting {
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\nsome of it");
    }
    let mut wide: Vec<_> = (0..64).map(|_| proxy.client()).collect();
    for client in &mut wide {
        client.send(b"*1000000\r\n$4\r\nMGET\r\n");
    }
    proxy.client().converse(&[("PING", PONG)]);
    let grown_bytes = proxy
        .process()
        .memory_bytes("VmRSS")
        .saturating_sub(before_bytes);
    assert!(
        grown_bytes < 64 << 20,
        "128 declared lengths took {grown_bytes} bytes"
    );
}

#[test]
fn random_bytes_never_hang_or_kill_the_proxy() {
    let (_server, proxy) = proxy();
    let mut random = fastrand::Rng::with_seed(7);
    let parts: [&[u8]; 10] = [
        b"*",
        b"$",
        b"\r\n",
        b"3",
        b"-1",
        b"GET",
        b"\r",
        b"\0",
        b"$3\r\nGET\r\n",
        b"*2\r\n",
    ];
    for round in 0..300 {
        let mut client = proxy.client();
        let bytes: Vec<u8> = (0..random.usize(1..20))
            .flat_map(|_| parts[random.usize(..parts.len())].to_vec())
            .collect();
        if client.try_send(&bytes).is_ok() {
            client.half_close_quietly();
        }
        let all = client.read_to_close();
        assert!(
            all.len() < 4096,
            "round {round}: {} got {}",
            show(&bytes),
            show(&all)
        );
    }
    let mut client = proxy.client();
    client.converse(&[("PING", PONG)]);
    client.set_patience(std::time::Duration::from_millis(50));
    assert_eq!(
        client.try_reply(),
        Err(Ended::Silent),
        "nobody asked for more"
    );
}
