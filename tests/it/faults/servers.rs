//! Servers that refuse, die, stall, lie or come back.

use std::time::{Duration, Instant};

use crate::support::{
    FakeServer, Gate, PATIENCE, Peer, Pool, Proxy, RedisServer, command, eventually, fresh_ip, show,
};

const OK: &str = "+OK\r\n";
const PONG: &str = "+PONG\r\n";
const TIMED_OUT: &str = "-ERR Connection timed out\r\n";
const REFUSED: &str = "-ERR Connection refused\r\n";

/// One server that runs `script`, and a proxy in front of it.
fn before(script: impl Fn(usize, Peer) + Send + Sync + 'static) -> (FakeServer, Proxy) {
    let server = FakeServer::start(script);
    let proxy = Proxy::ringroad(&Pool::at([server.address()]));
    (server, proxy)
}

#[test]
fn connection_refused_fails_every_waiting_request() {
    let nobody = (fresh_ip(&[16379]), 16379).into();
    let proxy = Proxy::ringroad(&Pool::at([nobody]));
    let mut client = proxy.client();
    client.converse(&[
        ("GET a", REFUSED),
        ("PING", PONG),
        ("MGET a b", REFUSED),
        ("PING", PONG),
    ]);
}

#[test]
fn replies_keep_order_around_a_dead_server() {
    let [here, gone] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of([&here, &gone]).with("hash", "md5"));
    let keys: Vec<String> = (0..64).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        assert_eq!(proxy.ask(&format!("SET {key} {key}")), OK.as_bytes());
    }
    let at_home = here.keys();
    gone.kill();
    let mut client = proxy.client();
    let mut batch = Vec::new();
    for key in &keys {
        batch.extend(command(&["GET", key]));
    }
    client.send(&batch);
    for key in &keys {
        let reply = client.reply();
        if at_home.contains(&key.as_bytes().to_vec()) {
            assert_eq!(
                show(&reply),
                show(format!("${}\r\n{key}\r\n", key.len()).as_bytes())
            );
        } else {
            assert!(reply.starts_with(b"-ERR "), "{key}: {}", show(&reply));
        }
    }
    client.converse(&[("PING", PONG)]);
}

#[test]
fn server_close_fails_only_unanswered_requests() {
    let (_server, proxy) = before(|nth, mut peer| {
        if nth == 0 {
            peer.request();
            peer.request();
            peer.send(b"$5\r\nfirst\r\n");
        } else {
            peer.answer_all(b"$5\r\nagain\r\n");
        }
    });
    let mut client = proxy.client();
    client.send(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n");
    assert_eq!(show(&client.reply()), show(b"$5\r\nfirst\r\n"));
    assert_eq!(show(&client.reply()), show(b"-ERR unknown\r\n"));
    client.converse(&[("GET c", "$5\r\nagain\r\n")]);
}

#[test]
fn partial_reply_is_an_error_and_not_mixed_into_the_next() {
    let (_server, proxy) = before(|nth, mut peer| {
        if nth == 0 {
            peer.request();
            peer.send(b"$10\r\nhalf");
        } else {
            peer.answer_all(b"$5\r\nwhole\r\n");
        }
    });
    proxy
        .client()
        .converse(&[("GET a", "-ERR unknown\r\n"), ("GET a", "$5\r\nwhole\r\n")]);
}

#[test]
fn large_partial_reply_is_never_taken_as_whole() {
    const LEN: usize = 8 << 20;
    let (_server, proxy) = before(|nth, mut peer| {
        if nth == 0 {
            peer.request();
            peer.send(format!("${LEN}\r\n").as_bytes());
            peer.send(&vec![b'x'; LEN / 2]);
        } else {
            peer.answer_all(b"+whole\r\n");
        }
    });
    let mut client = proxy.client();
    client.send(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
    let seen = client.read_to_close_or_reply();
    let is_error = seen.starts_with(b"-ERR ");
    let is_cut = seen.starts_with(b"$") && seen.len() < LEN;
    assert!(is_error || is_cut, "{}", show(&seen));
    proxy.client().converse(&[("GET a", "+whole\r\n")]);
}

#[test]
fn reset_during_a_reply_is_reported() {
    let (_server, proxy) = before(|nth, mut peer| {
        peer.request();
        if nth == 0 {
            peer.send(b"$10\r\nhalf");
            peer.reset();
        } else {
            peer.send(b"+whole\r\n");
            peer.ignore();
        }
    });
    proxy.client().converse(&[
        ("GET a", "-ERR Connection reset by peer\r\n"),
        ("GET a", "+whole\r\n"),
    ]);
}

#[test]
fn invalid_reply_closes_the_server_connection() {
    let garbage: [&[u8]; 6] = [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b":1x\r\n",
        b"$x\r\n",
        b"$3\r\nabcd\r\n",
        b"\r\n",
        b"*9999999999999999999\r\n",
    ];
    for bytes in garbage {
        let (_server, proxy) = before(move |nth, mut peer| {
            peer.request();
            peer.send(if nth == 0 { bytes } else { b"+sane\r\n" });
            peer.ignore();
        });
        let mut client = proxy.client();
        assert_eq!(
            show(&client.ask("GET a")),
            show(b"-ERR Invalid argument\r\n"),
            "after {}",
            show(bytes)
        );
        client.converse(&[("GET a", "+sane\r\n")]);
    }
}

#[test]
fn unsolicited_reply_reaches_no_client() {
    let (_server, proxy) = before(|nth, mut peer| {
        if nth == 0 {
            peer.request();
            peer.send(b"+asked\r\n+unasked\r\n");
            peer.answer_all(b"+asked\r\n");
        } else {
            peer.answer_all(b"+asked\r\n");
        }
    });
    proxy.client().converse(&[("GET a", "+asked\r\n")]);
    for _ in 0..20 {
        let reply = proxy.ask("GET b");
        assert_ne!(show(&reply), show(b"+unasked\r\n"));
    }
    proxy.client().converse(&[("GET a", "+asked\r\n")]);
}

#[test]
fn reply_sent_byte_by_byte_arrives_whole() {
    let reply = "*3\r\n$1\r\na\r\n$-1\r\n*2\r\n:1\r\n$6\r\nb\r\n\r\nc\r\n";
    let (_server, proxy) = before(|_, mut peer| {
        while peer.request().is_some() {
            peer.trickle(reply.as_bytes());
        }
    });
    proxy
        .client()
        .converse(&[("LRANGE a 0 -1", reply), ("LRANGE b 0 -1", reply)]);
}

#[test]
fn reply_after_the_timeout_reaches_no_client() {
    let gate = Gate::new();
    let wait = gate.waiter();
    let server = FakeServer::start(move |nth, mut peer| {
        if nth == 0 {
            peer.request();
            wait();
            peer.send(b"$4\r\nlate\r\n");
            peer.ignore();
        } else {
            peer.answer_all(b"$5\r\nfresh\r\n");
        }
    });
    let proxy = Proxy::ringroad(&Pool::at([server.address()]).with("timeout", 1000));
    let mut client = proxy.client();
    client.converse(&[("GET a", TIMED_OUT)]);
    gate.open();
    client.converse(&[("GET b", "$5\r\nfresh\r\n"), ("GET c", "$5\r\nfresh\r\n")]);
    assert_eq!(proxy.stat(&["s0", "server_timedout"]), 1);
}

#[test]
fn stalled_server_times_out_and_recovers() {
    let [stalled, lively] = RedisServer::several();
    let pool = Pool::of([&stalled, &lively])
        .with("timeout", 1000)
        .with("hash", "md5");
    let proxy = Proxy::ringroad(&pool);
    let (slow, fast) = a_key_on_each(&proxy, &stalled);
    stalled.stop();
    let mut client = proxy.client();
    let asked = Instant::now();
    client.converse(&[(&format!("GET {slow}"), TIMED_OUT)]);
    let took = asked.elapsed();
    assert!(
        took >= Duration::from_millis(990) && took < PATIENCE / 2,
        "timed out after {took:?}"
    );
    proxy.client().converse(&[(&format!("SET {fast} 1"), OK)]);
    stalled.cont();
    eventually("the server is reached again", || {
        (client.ask(&format!("SET {slow} 2")) == OK.as_bytes()).then_some(())
    });
    client.converse(&[(&format!("GET {slow}"), "$1\r\n2\r\n")]);
}

#[test]
fn stalled_server_blocks_no_other_client() {
    let [stalled, lively] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of([&stalled, &lively]).with("hash", "md5"));
    let (slow, fast) = a_key_on_each(&proxy, &stalled);
    stalled.stop();
    let mut waiting = proxy.client();
    waiting.send(&crate::support::words(&format!("GET {slow}")));
    let mut other = proxy.client();
    for _ in 0..100 {
        other.converse(&[(&format!("SET {fast} 1"), OK)]);
    }
    stalled.cont();
    assert_eq!(
        show(&waiting.reply()),
        show(format!("${}\r\n{slow}\r\n", slow.len()).as_bytes())
    );
}

#[test]
fn restarted_server_is_reached_again() {
    let mut server = RedisServer::start();
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let mut client = proxy.client();
    client.converse(&[("SET a 1", OK)]);
    server.kill();
    let reply = eventually("the connection is seen to be gone", || {
        let reply = client.ask("GET a");
        (reply == REFUSED.as_bytes()).then_some(reply)
    });
    assert_eq!(show(&reply), show(REFUSED.as_bytes()));
    server.restart();
    let back = Instant::now();
    eventually("the server is reached again", || {
        (client.ask("SET a 2") == OK.as_bytes()).then_some(())
    });
    assert!(
        back.elapsed() < PATIENCE / 2,
        "healed only after {:?}",
        back.elapsed()
    );
    client.converse(&[("GET a", "$1\r\n2\r\n")]);
}

#[test]
fn server_closing_an_idle_connection_is_no_failure() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&ejecting(&server, 1));
    let mut client = proxy.client();
    client.converse(&[("SET a 1", OK)]);
    assert_eq!(server.ask("CLIENT KILL TYPE normal SKIPME yes"), b":1\r\n");
    eventually("the close is counted", || {
        (proxy.stat(&["s0", "server_eof"]) == 1).then_some(())
    });
    client.converse(&[("GET a", "$1\r\n1\r\n")]);
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
}

#[test]
fn server_errors_pass_through_and_keep_the_connection() {
    let errors = [
        "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-BUSY Redis is busy running a module command.\r\n",
        "-READONLY You can't write against a read only replica.\r\n",
        "-MOVED 3999 127.0.0.1:6381\r\n",
        "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    ];
    for error in errors {
        let (server, proxy) = before(|_, mut peer| peer.answer_all(error.as_bytes()));
        proxy
            .client()
            .converse(&[("SET a 1", error), ("GET a", error), ("PING", PONG)]);
        assert_eq!(server.connections(), 1, "after {error}");
    }
}

#[test]
fn oom_error_passes_through_and_reads_continue() {
    let server = RedisServer::start_with(&["--maxmemory", "1"]);
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    proxy
        .client()
        .converse(&[("SET a 1", oom), ("GET a", "$-1\r\n"), ("SET b 1", oom)]);
    assert_eq!(proxy.stat(&["s0", "server_connections"]), 1);
}

#[test]
fn error_texts_of_scripts_eject_no_server() {
    let server = RedisServer::start();
    let proxy = Proxy::ringroad(&ejecting(&server, 1));
    let mut client = proxy.client();
    client.converse(&[("SET a 1", OK)]);
    let lines = [
        "BUSY the lock is taken",
        "BUSY Redis is busy running a module command.",
        "LOADING Redis is loading the dataset in memory",
        "OOM command not allowed when used memory > 'maxmemory'.",
    ];
    let body = "return redis.error_reply(ARGV[1])";
    let library =
        format!("#!lua name=l\nredis.register_function('f', function(KEYS, ARGV) {body} end)");
    client.send(&command(&["FUNCTION", "LOAD", &library]));
    assert_eq!(show(&client.reply()), show(b"$1\r\nl\r\n"));
    client.send(&command(&["SCRIPT", "LOAD", body]));
    let sha = client.reply();
    let sha = str::from_utf8(&sha[5..45]).unwrap();
    for line in lines {
        let error = format!("-{line}\r\n");
        for script in [["EVAL", body], ["EVALSHA", sha], ["FCALL", "f"]] {
            let request = command(&[script[0], script[1], "1", "a", line]);
            client.send(&request);
            assert_eq!(show(&client.reply()), show(error.as_bytes()), "{script:?}");
            client.converse(&[("MULTI", OK)]);
            client.send(&request);
            assert_eq!(show(&client.reply()), show(b"+QUEUED\r\n"));
            client.converse(&[("EXEC", &format!("*1\r\n{error}"))]);
        }
        client.converse(&[("GET a", "$1\r\n1\r\n")]);
    }
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
}

#[test]
fn own_errors_of_a_server_eject_it() {
    let server = RedisServer::start_with(&["--maxmemory", "1"]);
    let proxy = Proxy::ringroad(&ejecting(&server, 2));
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    let mut client = proxy.client();
    client.converse(&[("SET a 1", oom), ("SET a 1", oom), ("SET a 1", REFUSED)]);
    assert_eq!(proxy.stat(&["server_ejects"]), 1);
}

/// A pool that ejects its server after so many failures, for longer than a test runs.
fn ejecting(server: &RedisServer, failures: u32) -> Pool {
    Pool::of([server])
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", failures)
        .with("server_retry_timeout", 60_000)
        .with("server_probe_interval", 0)
}

#[test]
fn failed_fragment_gives_one_error_and_keeps_the_connection() {
    let [here, gone] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of([&here, &gone]).with("hash", "md5"));
    let (there, at_home) = a_key_on_each(&proxy, &gone);
    gone.kill();
    let mut client = proxy.client();
    let both = format!("{at_home} {there}");
    eventually("the connection is seen to be gone", || {
        (client.ask(&format!("GET {there}")) == REFUSED.as_bytes()).then_some(())
    });
    client.converse(&[
        (&format!("MGET {both}"), REFUSED),
        (&format!("MSET {at_home} 1 {there} 2"), REFUSED),
        (&format!("TOUCH {both}"), REFUSED),
        (&format!("UNLINK {both}"), REFUSED),
        (&format!("DEL {both}"), REFUSED),
        ("PING", PONG),
    ]);
}

#[test]
fn fragment_error_reply_is_invalid_argument() {
    let full = || FakeServer::start(|_, mut peer| peer.answer_all(b"-OOM no\r\n"));
    let servers = [full(), full()];
    let addresses = servers.iter().map(FakeServer::address);
    let proxy = Proxy::ringroad(
        &Pool::at(addresses)
            .with("distribution", "modula")
            .with("hash", "crc32a"),
    );
    let mut client = proxy.client();
    client.converse(&[
        ("MSET a 1 b 2 c 3 d 4 e 5", "-ERR Invalid argument\r\n"),
        ("PING", PONG),
    ]);
    assert!(
        servers.iter().all(|server| server.connections() == 1),
        "the request was not split"
    );
}

/// A key on `server` and one on another; the value of each is its name.
fn a_key_on_each(proxy: &Proxy, server: &RedisServer) -> (String, String) {
    let mut client = proxy.client();
    let (mut there, mut elsewhere) = (None, None);
    for key in (0..200).map(|n| format!("key-{n}")) {
        client.converse(&[(&format!("SET {key} {key}"), OK)]);
        let found = server.ask(&format!("EXISTS {key}")) == b":1\r\n";
        *(if found { &mut there } else { &mut elsewhere }) = Some(key);
        if let (Some(there), Some(elsewhere)) = (&there, &elsewhere) {
            return (there.clone(), elsewhere.clone());
        }
    }
    panic!("200 keys are all on one side");
}

#[test]
fn server_that_loads_its_data_is_told_as_such() {
    let server = FakeServer::start(|_, mut peer| {
        peer.answer_all(b"-LOADING Redis is loading the dataset in memory\r\n");
    });
    // So that a connection begins with SELECT.
    let proxy = Proxy::ringroad(&Pool::at([server.address()]).with("redis_db", 1));
    let mut client = proxy.client();
    for _ in 0..5 {
        let reply = client.ask("GET k");
        assert!(reply.starts_with(b"-LOADING "), "{}", show(&reply));
    }
}
