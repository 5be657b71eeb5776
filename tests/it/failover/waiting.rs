//! Requests wait for a server that is down, and learn if it takes too long.

use std::time::{Duration, Instant};

use super::{MASTER, OK, SLAVE, pipeline, pool};
use crate::support::{FakeServer, Proxy, RedisServer, eventually, show};

#[test]
fn requests_wait_for_a_server_that_restarts() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes"]);
    let proxy = Proxy::ringroad(&pool(server.address()));
    let mut client = proxy.client();
    assert_eq!(client.ask("SET k 1"), b"+OK\r\n");
    server.kill();
    let mut clients: Vec<_> = (0..5).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(&pipeline(&["INCR k", "GET k"]));
    }
    eventually("the proxy has noticed", || {
        proxy
            .process()
            .output()
            .contains("server connection failed")
            .then_some(())
    });
    server.restart();
    let mut last = 1;
    for client in &mut clients {
        let replies = [client.reply(), client.reply()];
        let number: i64 = String::from_utf8_lossy(&replies[0][1..])
            .trim()
            .parse()
            .unwrap();
        last = last.max(number);
    }
    assert_eq!(last, 6, "each was executed once");
    assert_eq!(client.ask("GET k"), b"$1\r\n6\r\n");
}

#[test]
fn error_after_the_timeout_names_the_server() {
    let server = RedisServer::start();
    let pool = pool(server.address()).with("server_failover_timeout", 300);
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    assert_eq!(client.ask("SET k 1"), b"+OK\r\n");
    server.kill();
    let begun = Instant::now();
    let expected = "-ERR server 's0' has no primary, and has had none for server_failover_timeout; nothing was done\r\n";
    // The first may be in flight when the connection ends.
    let replies = [(); 2].map(|()| String::from_utf8(client.ask("GET k")).unwrap());
    assert!(begun.elapsed() >= Duration::from_millis(290));
    assert!(
        replies
            .iter()
            .any(|reply| reply == expected || reply.contains("has no primary")),
        "{replies:?}"
    );
    let mut blocked = proxy.client();
    let reply = String::from_utf8(blocked.ask("BLPOP l 1")).unwrap();
    assert!(reply.contains("has no primary"), "{reply}");
}

#[test]
fn server_that_is_a_replica_gets_no_request() {
    let server = FakeServer::start(|_, mut peer| {
        while let Some(request) = peer.request() {
            assert!(request.ends_with(b"ROLE\r\n"), "{}", request.escape_ascii());
            peer.send(SLAVE);
        }
    });
    let pool = pool(server.address()).with("server_failover_timeout", 200);
    let proxy = Proxy::ringroad(&pool);
    let reply = proxy.client().ask("SET k 1");
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.contains("has no primary"), "{reply}");
    assert!(server.connections() > 1, "it is tried again");
}

#[test]
fn reason_of_the_server_itself_is_told_at_once() {
    let server = RedisServer::start_with(&["--databases", "2"]);
    let proxy = Proxy::ringroad(&pool(server.address()).with("databases", 16));
    // Other connections work all the time.
    let mut other = proxy.client();
    let mut client = proxy.client();
    assert_eq!(client.ask("SELECT 9"), b"+OK\r\n");
    client.send(&pipeline(&["GET k"]));
    let reply = eventually("it is answered", || {
        assert_eq!(other.ask("SET k 1"), b"+OK\r\n");
        client.set_patience(Duration::from_millis(50));
        client.try_reply().ok()
    });
    let reply = String::from_utf8(reply).unwrap();
    // In the server's words, or in those of the proxy for who has waited.
    let texts = ["DB index is out of range", "rejected AUTH, HELLO or SELECT"];
    assert!(texts.iter().any(|text| reply.contains(text)), "{reply}");
}

#[test]
fn server_without_room_for_clients_is_told_at_once() {
    let server = FakeServer::start(|nth, mut peer| {
        while let Some(request) = peer.request() {
            match (nth, request.ends_with(b"ROLE\r\n")) {
                (0, true) => peer.send(MASTER),
                // The connection ends: from now on the pool waits for a primary.
                (0, false) => return,
                _ => return peer.send(b"-ERR max number of clients reached\r\n"),
            }
        }
    });
    // Nobody here has the patience to wait for that.
    let pool = pool(server.address()).with("server_failover_timeout", 600_000);
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    let reply = client.ask("GET k");
    assert!(reply.starts_with(b"-"), "{}", show(&reply));
    for request in ["GET k", "SET k 1", "BLPOP l 0"] {
        let reply = show(&proxy.ask(request));
        assert!(
            reply.contains("client limit (maxclients)"),
            "{request}: {reply}"
        );
    }
}

#[test]
fn every_error_without_a_primary_names_the_server() {
    let server = RedisServer::start();
    let pool = pool(server.address()).with("server_failover_timeout", 200);
    let proxy = Proxy::ringroad(&pool);
    let mut client = proxy.client();
    assert_eq!(client.ask("EVAL return(1) 1 k"), b":1\r\n");
    let sha = super::sha1("return(1)");
    client.send(&pipeline(&["MULTI", "SET k 1", "EXEC"]));
    let _ = (0..3).map(|_| client.reply()).next_back();
    server.kill();
    eventually("the proxy has noticed", || {
        let output = proxy.process().output();
        proxy.ask("GET k");
        output.contains("server connection failed").then_some(())
    });
    // Those that have waited, and those that come while it is known.
    for _ in 0..3 {
        for requests in [
            &["GET k"][..],
            &["MGET k l"],
            &["DBSIZE"],
            &[&format!("EVALSHA {sha} 1 k")],
            &["BLPOP l 0"],
            &["SUBSCRIBE news"],
            &["MULTI", "SET k 1", "EXEC"],
        ] {
            let mut client = proxy.client();
            client.send(&pipeline(requests));
            let replies = requests.iter().map(|_| client.reply());
            let last = String::from_utf8(replies.last().unwrap()).unwrap();
            assert!(
                last.contains("server 's0' has no primary"),
                "{requests:?}: {last}"
            );
        }
    }
}

#[test]
fn subscriptions_wait_for_a_server_that_restarts() {
    let mut server = RedisServer::start();
    let proxy = Proxy::ringroad(&pool(server.address()));
    assert_eq!(proxy.ask("SET k 1"), OK);
    let mut before = proxy.client();
    assert!(show(&before.ask("SUBSCRIBE old")).contains("subscribe"));
    server.kill();
    let mut clients = [(); 2].map(|()| proxy.client());
    for client in &mut clients {
        client.send(&pipeline(&["SUBSCRIBE news", "PSUBSCRIBE n*"]));
    }
    eventually("the proxy has noticed", || {
        let output = proxy.process().output();
        output
            .contains("subscription connection lost")
            .then_some(())
    });
    server.restart();
    for client in &mut clients {
        for expected in ["subscribe", "psubscribe"] {
            let reply = show(&client.reply());
            assert!(reply.contains(expected), "{reply}");
        }
    }
    for (channel, receivers) in [("news", b":4\r\n"), ("old", b":1\r\n")] {
        eventually("the message reaches all subscribers", || {
            let reply = proxy.ask(&format!("PUBLISH {channel} hello"));
            (reply == receivers).then_some(())
        });
    }
    assert!(show(&before.reply()).contains("hello"));
}
