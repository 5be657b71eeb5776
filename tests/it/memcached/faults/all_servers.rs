//! Commands for every server, while some are down: the merged reply reports the failures.

use crate::memcached::fleet::{Fleet, pool};
use crate::support::{FakeServer, Memcached, Pool, Proxy, eventually, show};

#[test]
fn flush_all_empties_every_server() {
    let fleet = Fleet::of(4);
    let mut client = fleet.client();
    for n in 0..100 {
        client.chat(&[(&format!("set key-{n} 0 0 1\r\n1\r\n"), "STORED\r\n")]);
    }
    let names: Vec<String> = (0..100).map(|n| format!("key-{n}")).collect();
    let all = format!("get {}\r\n", names.join(" "));
    for server in &fleet.servers {
        let held = server.ask(all.trim_end());
        assert!(held.starts_with(b"VALUE "), "a server got no keys");
    }
    client.chat(&[("flush_all\r\n", "OK\r\n"), (&all, "END\r\n")]);
    for server in &fleet.servers {
        assert_eq!(server.ask(all.trim_end()), b"END\r\n");
    }
    assert_eq!(show(&client.say("verbosity 0")), "OK\\r\\n");
    client.chat(&[("cache_memlimit 128\r\n", "OK\r\n")]);
    for server in &fleet.servers {
        assert_eq!(server.figure("limit_maxbytes"), 128 << 20);
    }
}

#[test]
fn flush_all_reports_a_dead_server_and_flushes_the_rest() {
    let fleet = Fleet::of(4);
    let mut client = fleet.client();
    for n in 0..100 {
        client.chat(&[(&format!("set key-{n} 0 0 1\r\n1\r\n"), "STORED\r\n")]);
    }
    fleet.servers[1].kill();
    for request in [
        "flush_all",
        "flush_all 0",
        "verbosity 0",
        "cache_memlimit 64",
    ] {
        let answer = show(&client.say(request));
        assert!(answer.starts_with("SERVER_ERROR "), "{request}: {answer}");
        let has_counts = answer.contains('1') && answer.contains('4');
        assert!(has_counts, "{request} does not say one of four: {answer}");
    }
    let names: Vec<String> = (0..100).map(|n| format!("key-{n}")).collect();
    for server in fleet.servers.iter().filter(|server| server.is_running()) {
        assert_eq!(server.ask(&format!("get {}", names.join(" "))), b"END\r\n");
    }
    client.chat(&[("flush_all noreply\r\nmn\r\n", "MN\r\n")]);
}

#[test]
fn version_is_answered_while_any_server_is_up() {
    let fleet = Fleet::of(3);
    let mut client = fleet.client();
    let version = show(&fleet.servers[0].ask("version")).replace("\\r\\n", "\r\n");
    client.chat(&[("version\r\n", &version)]);
    for down in &fleet.servers[..2] {
        down.kill();
        client.chat(&[("version\r\n", &version)]);
    }
    fleet.servers[2].kill();
    let answer = show(&client.say("version"));
    assert!(answer.starts_with("SERVER_ERROR "), "{answer}");
    client.chat(&[("mn\r\n", "MN\r\n")]);
}

#[test]
fn version_lists_all_different_versions() {
    let at = |version: &'static str| {
        FakeServer::start(move |_, mut peer| peer.answer_all_text(version.as_bytes()))
    };
    let servers = [
        at("VERSION 1.6.22\r\n"),
        at("VERSION 1.6.18\r\n"),
        at("VERSION 1.6.22\r\n"),
    ];
    let addresses = servers.iter().map(FakeServer::address);
    let proxy = Proxy::ringroad(&Pool::at(addresses).speaking_memcached());
    proxy
        .client()
        .chat(&[("version\r\n", "VERSION 1.6.18 1.6.22\r\n")]);
}

#[test]
fn server_refusal_is_quoted() {
    let unwilling = FakeServer::start(|_, mut peer| {
        peer.answer_all_text(b"CLIENT_ERROR flush_all not allowed\r\n");
    });
    let willing = Memcached::start();
    let addresses = [willing.address(), unwilling.address()];
    let proxy = Proxy::ringroad(&Pool::at(addresses).speaking_memcached());
    let mut client = proxy.client();
    let answer = show(&client.say("flush_all"));
    let is_quoted = answer.starts_with("SERVER_ERROR ") && answer.contains("flush_all not allowed");
    assert!(is_quoted, "{answer}");
    client.chat(&[("mn\r\n", "MN\r\n")]);
}

#[test]
fn multi_get_with_a_dead_server_gives_one_error() {
    let servers: [Memcached; 4] = Memcached::several();
    let proxy = Proxy::ringroad(&pool(&servers));
    let mut client = proxy.client();
    for n in 0..100 {
        client.chat(&[(&format!("set key-{n} 0 0 1\r\n1\r\n"), "STORED\r\n")]);
    }
    servers[3].kill();
    let gone = (0..100)
        .map(|n| format!("key-{n}"))
        .find(|key| !client.say(&format!("get {key}")).starts_with(b"VALUE"))
        .unwrap();
    let names: Vec<String> = (0..100).map(|n| format!("key-{n}")).collect();
    let names = names.join(" ");
    let refused = "SERVER_ERROR Connection refused\r\n";
    eventually("the connection is seen to be gone", || {
        (client.say(&format!("get {gone}")) == refused.as_bytes()).then_some(())
    });
    for command in ["get", "gets", "gat 0", "gats 0"] {
        client.chat(&[
            (&format!("{command} {names}\r\n"), refused),
            (&format!("{command} {gone}\r\n"), refused),
            ("mn\r\n", "MN\r\n"),
        ]);
    }
}

#[test]
fn multi_get_returns_the_error_of_one_server() {
    let full = || {
        FakeServer::start(|_, mut peer| {
            peer.answer_all_text(b"SERVER_ERROR out of memory writing get response\r\n");
        })
    };
    let servers = [full(), full()];
    let willing = Memcached::start();
    let addresses = servers.iter().map(FakeServer::address);
    let pool = Pool::at(addresses.chain([willing.address()]))
        .speaking_memcached()
        .with("distribution", "modula")
        .with("hash", "crc32a");
    let proxy = Proxy::ringroad(&pool);
    proxy.client().chat(&[
        (
            "get a b c d e f g h\r\n",
            "SERVER_ERROR out of memory writing get response\r\n",
        ),
        ("mn\r\n", "MN\r\n"),
    ]);
}
