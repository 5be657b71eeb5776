//! At a limit the proxy refuses clients with an error, and recovers when there is room again.

use crate::support::{Kind, Launch, Pool, Proxy, RedisServer, eventually, show, words};

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
