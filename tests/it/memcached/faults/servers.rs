//! Servers that refuse, die, stall or lie.

use crate::memcached::fleet::pool;
use crate::support::{FakeServer, Gate, Memcached, Peer, Pool, Proxy, eventually, fresh_ip, show};

const TIMED_OUT: &str = "SERVER_ERROR Connection timed out\r\n";
const REFUSED: &str = "SERVER_ERROR Connection refused\r\n";
const HIT: &str = "VALUE a 0 5\r\nfresh\r\nEND\r\n";

/// One server that runs `script`, and a proxy in front of it.
fn before(script: impl Fn(usize, Peer) + Send + Sync + 'static) -> (FakeServer, Proxy) {
    let server = FakeServer::start(script);
    let proxy = Proxy::ringroad(&Pool::at([server.address()]).speaking_memcached());
    (server, proxy)
}

#[test]
fn connection_refused_fails_every_waiting_request() {
    let nobody = (fresh_ip(&[17211]), 17211).into();
    let proxy = Proxy::ringroad(&Pool::at([nobody]).speaking_memcached());
    proxy.client().chat(&[
        ("get a\r\n", REFUSED),
        ("get a b c\r\n", REFUSED),
        ("set a 0 0 1\r\n1\r\n", REFUSED),
        ("incr a 1\r\ndelete a\r\ntouch a 0\r\n", &REFUSED.repeat(3)),
        ("gat 0 a b\r\n", REFUSED),
        (
            "mg a v\r\nms a 1\r\n1\r\nmd a\r\nma a\r\nme a\r\n",
            &REFUSED.repeat(5),
        ),
        ("mn\r\n", "MN\r\n"),
    ]);
}

#[test]
fn replies_keep_order_around_a_dead_server() {
    let [here, gone] = Memcached::several();
    let proxy = Proxy::ringroad(&Pool::memcached([&here, &gone]).with("hash", "md5"));
    let mut client = proxy.client();
    let keys: Vec<String> = (0..64).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        let set = format!("set {key} 0 0 {}\r\n{key}\r\n", key.len());
        client.chat(&[(&set, "STORED\r\n")]);
    }
    let at_home = here.keys();
    assert!((1..64).contains(&at_home.len()));
    gone.kill();
    let batch: Vec<String> = keys.iter().map(|key| format!("get {key}\r\n")).collect();
    client.send(batch.concat().as_bytes());
    for key in &keys {
        let reply = show(&client.answer());
        if at_home.contains(&key.as_bytes().to_vec()) {
            assert!(reply.starts_with(&format!("VALUE {key} 0 ")), "{reply}");
        } else {
            assert!(reply.starts_with("SERVER_ERROR "), "{key}: {reply}");
        }
    }
    client.chat(&[("mn\r\n", "MN\r\n")]);
}

#[test]
fn server_close_fails_only_unanswered_requests() {
    let (_server, proxy) = before(|nth, mut peer| {
        if nth == 0 {
            peer.text_request();
            peer.text_request();
            peer.send(HIT.as_bytes());
        } else {
            peer.answer_all_text(HIT.as_bytes());
        }
    });
    proxy.client().chat(&[
        (
            "get a\r\nget a\r\n",
            &format!("{HIT}SERVER_ERROR unknown\r\n"),
        ),
        ("get a\r\n", HIT),
    ]);
}

#[test]
fn reset_during_a_reply_is_reported() {
    let (_server, proxy) = before(|nth, mut peer| {
        peer.text_request();
        if nth == 0 {
            peer.send(b"VALUE a 0 50\r\nhalf");
            peer.reset();
        } else {
            peer.send(HIT.as_bytes());
            peer.ignore();
        }
    });
    proxy.client().chat(&[
        ("get a\r\n", "SERVER_ERROR Connection reset by peer\r\n"),
        ("get a\r\n", HIT),
    ]);
}

#[test]
fn large_partial_value_is_never_taken_as_whole() {
    const LEN: usize = 8 << 20;
    for head in [format!("VALUE a 0 {LEN}\r\n"), format!("VA {LEN}\r\n")] {
        let request = if head.starts_with("VA ") {
            "mg a v\r\n"
        } else {
            "get a\r\n"
        };
        let (_server, proxy) = before(move |nth, mut peer| {
            if nth == 0 {
                peer.text_request();
                peer.send(head.as_bytes());
                peer.send(&vec![b'x'; LEN / 2]);
            } else {
                peer.answer_all_text(HIT.as_bytes());
            }
        });
        let mut client = proxy.client();
        client.send(request.as_bytes());
        let seen = client.read_to_close_or_answer();
        let is_cut = seen.starts_with(b"VA") && seen.len() < LEN;
        assert!(
            is_cut || seen.starts_with(b"SERVER_ERROR "),
            "{}",
            show(&seen)
        );
        proxy.client().chat(&[("get a\r\n", HIT)]);
    }
}

#[test]
fn server_killed_during_a_large_value_is_noticed() {
    const LEN: usize = 1_000_000;
    let mut server = Memcached::start();
    let proxy = Proxy::ringroad(&pool(std::slice::from_ref(&server)));
    let value = "x".repeat(LEN);
    let mut client = proxy.client();
    client.chat(&[(&format!("set a 0 0 {LEN}\r\n{value}\r\n"), "STORED\r\n")]);
    client.send("get a\r\n".repeat(64).as_bytes());
    server.kill();
    let seen = client.read_to_close_or_answer();
    let whole = format!("VALUE a 0 {LEN}\r\n{value}\r\nEND\r\n");
    let is_cut = whole.as_bytes().starts_with(&seen);
    assert!(
        is_cut || seen.starts_with(b"SERVER_ERROR "),
        "{}",
        show(&seen)
    );
    server.restart();
    eventually("the server is reached again", || {
        (proxy.client().say("get a") == b"END\r\n").then_some(())
    });
}

#[test]
fn invalid_reply_closes_the_server_connection() {
    let cases: &[(&str, &str)] = &[
        ("get a\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
        ("get a\r\n", "+OK\r\n"),
        ("get a\r\n", "\r\n"),
        ("get a\r\n", "STORED\r\n"),
        ("get a\r\n", "HD\r\n"),
        ("get a\r\n", "5\r\n"),
        ("get a\r\n", "VALUE a 0 x\r\nfresh\r\nEND\r\n"),
        ("get a\r\n", "VALUE a 0 5\r\nfresher\r\nEND\r\n"),
        ("get a\r\n", "VALUE a 0 99999999999999999999\r\n"),
        ("set a 0 0 1\r\n1\r\n", "DELETED\r\n"),
        ("set a 0 0 1\r\n1\r\n", "VALUE a 0 5\r\nfresh\r\nEND\r\n"),
        ("set a 0 0 1\r\n1\r\n", "OK\r\n"),
        ("delete a\r\n", "STORED\r\n"),
        ("touch a 0\r\n", "DELETED\r\n"),
        ("incr a 1\r\n", "STORED\r\n"),
        ("incr a 1\r\n", "5x\r\n"),
        ("mg a v\r\n", "STORED\r\n"),
        ("mg a v\r\n", "VA 5x\r\nfresh\r\n"),
        ("ms a 1\r\n1\r\n", "VA 5\r\nfresh\r\n"),
        ("md a\r\n", "MN\r\n"),
        ("me a\r\n", "HD\r\n"),
    ];
    for (request, garbage) in cases {
        let (_server, proxy) = before(move |nth, mut peer| {
            peer.text_request();
            peer.send(if nth == 0 { garbage } else { HIT }.as_bytes());
            peer.ignore();
        });
        let mut client = proxy.client();
        client.send(request.as_bytes());
        client.expect(
            &format!("{request}{garbage}"),
            b"SERVER_ERROR Invalid argument\r\n",
        );
        client.chat(&[("get a\r\n", HIT)]);
    }
}

#[test]
fn unsolicited_reply_reaches_no_client() {
    let (_server, proxy) = before(|nth, mut peer| {
        if nth == 0 {
            peer.text_request();
            peer.send(format!("{HIT}SERVER_ERROR unasked\r\n").as_bytes());
        }
        peer.answer_all_text(HIT.as_bytes());
    });
    proxy.client().chat(&[("get a\r\n", HIT)]);
    for _ in 0..20 {
        let reply = proxy.client().say("get a");
        assert_ne!(show(&reply), show(b"SERVER_ERROR unasked\r\n"));
    }
    proxy.client().chat(&[("get a\r\n", HIT)]);
}

#[test]
fn reply_sent_byte_by_byte_arrives_whole() {
    let reply = "VALUE a 0 5\r\n\r\nEND\r\nVALUE b 1 0\r\n\r\nEND\r\n";
    let (_server, proxy) = before(move |_, mut peer| {
        while peer.text_request().is_some() {
            peer.trickle(reply.as_bytes());
        }
    });
    proxy
        .client()
        .chat(&[("get a b\r\n", reply), ("get a b\r\n", reply)]);
}

#[test]
fn server_errors_pass_through_and_keep_the_connection() {
    let errors = [
        "ERROR\r\n",
        "CLIENT_ERROR bad command line format\r\n",
        "SERVER_ERROR out of memory storing object\r\n",
        "SERVER_ERROR object too large for cache\r\n",
    ];
    for error in errors {
        let (server, proxy) = before(|_, mut peer| peer.answer_all_text(error.as_bytes()));
        // An `ERROR` to a `set` is no valid reply: see below.
        let set = if error == "ERROR\r\n" {
            "touch a 0\r\n"
        } else {
            "set a 0 0 1\r\n1\r\n"
        };
        proxy.client().chat(&[
            (set, error),
            ("get a\r\n", error),
            ("incr a 1\r\n", error),
            ("mg a v q\r\n", error),
            ("mn\r\n", "MN\r\n"),
        ]);
        assert_eq!(server.connections(), 1, "after {error}");
    }
}

/// Its next replies answer no request.
#[test]
fn replies_to_data_taken_as_commands_reach_no_client() {
    for store in [
        "append a 0 0 8",
        "cas a 0 0 8 1",
        "set a 0 0 8 noreply",
        "ms a 8",
    ] {
        let (_server, proxy) = before(|_, mut peer| {
            peer.text_request();
            peer.send(b"ERROR\r\n");
            peer.send(b"VALUE evil 0 1\r\n1\r\nEND\r\n");
            peer.ignore();
        });
        let mut client = proxy.client();
        client.send(format!("{store}\r\nget evil\r\nmg a\r\nmn\r\n").as_bytes());
        let answer = show(&client.read_until(b"MN\r\n"));
        assert!(!answer.contains("evil"), "{store}: {answer}");
        assert!(
            answer.ends_with("SERVER_ERROR Invalid argument\\r\\nMN\\r\\n"),
            "{store}: {answer}"
        );
    }
}

#[test]
fn reply_after_the_timeout_reaches_no_client() {
    let gate = Gate::new();
    let wait = gate.waiter();
    let server = FakeServer::start(move |nth, mut peer| {
        if nth == 0 {
            peer.text_request();
            wait();
            peer.send(b"VALUE a 0 4\r\nlate\r\nEND\r\n");
            peer.ignore();
        } else {
            peer.answer_all_text(HIT.as_bytes());
        }
    });
    let pool = Pool::at([server.address()]).speaking_memcached();
    let proxy = Proxy::ringroad(&pool.with("timeout", 1000));
    let mut client = proxy.client();
    client.chat(&[("get a\r\n", TIMED_OUT)]);
    gate.open();
    client.chat(&[("get a\r\n", HIT), ("get a\r\n", HIT)]);
    assert_eq!(proxy.stat(&["s0", "server_timedout"]), 1);
}

#[test]
fn stalled_server_times_out_and_recovers() {
    let [stalled, lively] = Memcached::several();
    let pool = Pool::memcached([&stalled, &lively]).with("timeout", 1000);
    let proxy = Proxy::ringroad(&pool.with("hash", "md5"));
    let mut client = proxy.client();
    for n in 0..20 {
        client.chat(&[(&format!("set key-{n} 0 0 1\r\n1\r\n"), "STORED\r\n")]);
    }
    let slow = String::from_utf8(stalled.keys()[0].clone()).unwrap();
    let fast = String::from_utf8(lively.keys()[0].clone()).unwrap();
    stalled.stop();
    client.send(format!("get {slow}\r\nget {fast}\r\n").as_bytes());
    // Another client's keys are on other servers: it is served at once.
    let hit = format!("VALUE {fast} 0 1\r\n1\r\nEND\r\n");
    proxy.client().chat(&[(&format!("get {fast}\r\n"), &hit)]);
    client.expect(
        "a stalled and a lively server",
        format!("{TIMED_OUT}{hit}").as_bytes(),
    );
    client.chat(&[
        (
            &format!("set {slow} 0 0 1 noreply\r\n2\r\nmn\r\n"),
            "MN\r\n",
        ),
        (&format!("get {fast} {slow}\r\n"), TIMED_OUT),
    ]);
    stalled.cont();
    eventually("the server is reached again", || {
        client.send(format!("set {slow} 0 0 1\r\n2\r\n").as_bytes());
        (client.answer() == b"STORED\r\n").then_some(())
    });
}

#[test]
fn restarted_server_is_reached_again() {
    let mut server = Memcached::start();
    let proxy = Proxy::ringroad(&pool(std::slice::from_ref(&server)));
    let mut client = proxy.client();
    client.chat(&[("set a 0 0 1\r\n1\r\n", "STORED\r\n")]);
    server.kill();
    eventually("the connection is seen to be gone", || {
        (client.say("get a") == REFUSED.as_bytes()).then_some(())
    });
    server.restart();
    eventually("the server is reached again", || {
        (client.say("get a") == b"END\r\n").then_some(())
    });
}

#[test]
fn full_server_gives_an_error_and_recovers() {
    let server = Memcached::start_with(&["-c", "24", "-o", "maxconns_fast"]);
    let mut crowd = Vec::new();
    eventually("the server is full", || {
        let mut client = server.client();
        let is_full =
            client.try_send(b"mn\r\n").is_err() || client.try_answer() != Ok(b"MN\r\n".to_vec());
        crowd.push(client);
        is_full.then_some(())
    });
    let proxy = Proxy::ringroad(&pool(std::slice::from_ref(&server)));
    let mut client = proxy.client();
    let answer = show(&client.say("get a"));
    assert!(answer.contains("ERROR"), "{answer}");
    drop(crowd);
    eventually("there is room again", || {
        (client.say("get a") == b"END\r\n").then_some(())
    });
}
