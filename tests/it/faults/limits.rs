//! At a limit the proxy refuses clients with an error, and recovers when there is room again.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use crate::support::{Kind, Launch, Pool, Proxy, RedisServer, command, eventually, show, words};

#[test]
fn client_over_the_limit_gets_an_error_and_retry_works() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("client_connections", 3));
    // The connection that probed the proxy was a client, too.
    eventually("nobody is inside", || {
        let left = proxy.stat(&["client_eof"]) > 0;
        (left && proxy.stat(&["client_connections"]) == 0).then_some(())
    });
    let mut inside: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut inside {
        client.converse(&[("PING", "+PONG\r\n")]);
    }
    let mut refused = proxy.client();
    assert_eq!(
        show(&refused.reply()),
        show(b"-ERR max number of clients reached\r\n")
    );
    refused.expect_close();
    let info = inside[0].ask("INFO stats");
    assert!(
        show(&info).contains("rejected_connections:1\\r"),
        "{}",
        show(&info)
    );
    for client in &mut inside {
        client.converse(&[("SET a 1", "+OK\r\n")]);
    }
    inside.pop();
    eventually("there is room again", || {
        let mut client = proxy.client();
        let sent = client.try_send(&words("PING"));
        (sent.is_ok() && client.try_reply() == Ok(b"+PONG\r\n".to_vec())).then_some(())
    });
}

#[test]
fn running_out_of_descriptors_refuses_some_and_recovers() {
    let server = RedisServer::start();
    let launch = Launch {
        args: Vec::new(),
        descriptors: Some(64),
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &Pool::of([&server]), &launch);
    let mut first = proxy.client();
    first.converse(&[("SET a 1", "+OK\r\n")]);
    let crowd: Vec<_> = (0..200).map(|_| proxy.client()).collect();
    let mut answered = 0;
    for mut client in crowd {
        if client.try_send(&words("GET a")).is_err() {
            continue;
        }
        match client.try_reply() {
            Ok(reply) if reply == b"$1\r\n1\r\n" => answered += 1,
            Ok(reply) => assert!(reply.starts_with(b"-ERR "), "{}", show(&reply)),
            Err(ended) => assert_eq!(
                ended,
                crate::support::Ended::Closed,
                "a client waits in vain"
            ),
        }
        first.converse(&[("GET a", "$1\r\n1\r\n")]);
    }
    assert!(answered > 0, "nobody was served");
    eventually("there is room again", || {
        let mut client = proxy.client();
        let sent = client.try_send(&words("GET a"));
        (sent.is_ok() && client.try_reply() == Ok(b"$1\r\n1\r\n".to_vec())).then_some(())
    });
}

/// One worker with one server has 60 connections left: 100, less 32 in reserve, the worker's own and the shared ones.
#[test]
fn dedicated_connections_count_against_the_client_limit() {
    const PLACES: usize = 60;
    let server = RedisServer::start();
    let launch = Launch {
        args: vec!["--workers".into(), "1".into()],
        descriptors: Some(100),
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &Pool::of([&server]), &launch);
    eventually("nobody is inside", || {
        let left = proxy.stat(&["client_eof"]) > 0;
        (left && proxy.stat(&["client_connections"]) == 0).then_some(())
    });
    let mut waiting: Vec<_> = (0..PLACES / 2 - 1).map(|_| proxy.client()).collect();
    for client in &mut waiting {
        client.send(&words("BLPOP k 0"));
    }
    eventually("they wait", || {
        let info = String::from_utf8(server.ask("INFO clients")).unwrap();
        info.contains(&format!("blocked_clients:{}\r\n", PLACES / 2 - 1))
            .then_some(())
    });
    let mut inside = [proxy.client(), proxy.client()];
    inside[0].converse(&[("PING", "+PONG\r\n")]);
    let why = "-ERR no dedicated connection available: the file descriptor limit allows 60 clients and dedicated connections; \
               raise LimitNOFILE\r\n";
    for request in ["BLPOP k 0", "WATCH k", "WAIT 1 0"] {
        inside[1].converse(&[(request, why), ("SET a 1", "+OK\r\n")]);
    }
    let mut refused = proxy.client();
    assert_eq!(refused.reply(), b"-ERR max number of clients reached\r\n");
    // The reserve suffices: the stats port answers, and servers that come back are reached.
    assert_eq!(proxy.stat(&["forward_error"]), 3);
    waiting.pop();
    eventually("there is room again", || {
        (inside[1].ask("BLPOP k 0.01") == b"*-1\r\n").then_some(())
    });
}

/// Clients that the memory limit turned away.
const REFUSALS: [&str; 2] = [
    "ringroad_pool_memory_refused_total{",
    "ringroad_pool_memory_closed_total{",
];

/// Clients that announce large requests and send a part of each fill the proxy's memory up to `memory_limit`, and no more.
#[test]
fn memory_limit_bounds_requests_being_received() {
    const CLIENTS: usize = 40;
    const SENT_BYTES: usize = 4 << 20;
    /// The limit, what was read before it was noticed, and the program itself.
    const MOST_BYTES: u64 = (64 + 32 + 32) << 20;
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("memory_limit", "64mb"));
    let mut quiet = proxy.client();
    quiet.converse(&[("SET a 1", "+OK\r\n")]);
    let header = b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$536870912\r\n";
    let part = [header.as_slice(), &vec![b'x'; SENT_BYTES]].concat();
    let greedy: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let stream = TcpStream::connect(proxy.address()).unwrap();
            let (mut writer, part) = (stream.try_clone().unwrap(), part.clone());
            (stream, thread::spawn(move || writer.write_all(&part)))
        })
        .collect();
    eventually("clients are refused or closed", || {
        quiet.converse(&[("GET a", "$1\r\n1\r\n")]);
        let refused = REFUSALS.map(|name| proxy.metric(name)).iter().sum::<u64>();
        (refused > 0).then_some(())
    });
    let peak_bytes = proxy.process().memory_bytes("VmHWM");
    assert!(peak_bytes < MOST_BYTES, "the proxy took {peak_bytes} bytes");
    for (stream, writing) in greedy {
        // Those that are still served have their part taken; the others get an error, or a close.
        drop(stream.shutdown(Shutdown::Both));
        drop(writing.join().unwrap());
    }
    quiet.converse(&[("GET a", "$1\r\n1\r\n")]);
    eventually("all is given back", || {
        (proxy.metric("ringroad_pool_buffered_bytes{") == 0).then_some(())
    });
    // There is room again.
    quiet.send(&command(&[
        b"SET".as_slice(),
        b"big",
        &vec![b'x'; SENT_BYTES],
    ]));
    quiet.expect("a large value", b"+OK\r\n");
}

#[test]
fn large_request_is_refused_near_the_memory_limit() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]).with("memory_limit", "16mb"));
    let mut quiet = proxy.client();
    quiet.converse(&[("SET a 1", "+OK\r\n")]);
    let mut greedy = TcpStream::connect(proxy.address()).unwrap();
    greedy
        .write_all(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$15728640\r\n")
        .unwrap();
    greedy.write_all(&vec![b'x'; 15 << 20]).unwrap();
    // Else the others might be accepted, and it refused. The metric may be a quarter of a megabyte behind.
    eventually("nearly all of it is buffered", || {
        (proxy.metric("ringroad_pool_buffered_bytes{") >= 59 << 18).then_some(())
    });
    eventually("the refusal", || {
        let mut other = proxy.client();
        other.send(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$2000000\r\n");
        quiet.converse(&[("GET a", "$1\r\n1\r\n")]);
        let is_refused = proxy.metric(REFUSALS[0]) > 0;
        is_refused.then(|| {
            let reply = other.reply();
            assert!(
                reply.starts_with(b"-OOM request too large now"),
                "{}",
                show(&reply)
            );
            other.expect_close();
        })
    });
    // What was accepted before is executed.
    greedy.write_all(b"\r\n").unwrap();
    let mut reply = [0; 5];
    greedy.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+OK\r\n");
}
