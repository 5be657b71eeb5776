//! Scripts and functions that run for too long, and are killed through the proxy.

use super::OK;
use crate::support::{
    Client, Kind, Launch, Pool, Proxy, RedisServer, command, eventually, show, words,
};

const SPIN: &str = "while true do end";
const LIBRARY: &str = "#!lua name=lib
redis.register_function('spin', function() while true do end end)";

/// Four servers with a short busy threshold, and a proxy with one worker: all its clients share a connection to each.
fn busy_four(pool: impl Fn(Pool) -> Pool) -> ([RedisServer; 4], Proxy) {
    let servers: [RedisServer; 4] =
        std::array::from_fn(|_| RedisServer::start_with(&["--busy-reply-threshold", "50"]));
    let launch = Launch {
        args: vec!["--workers=1".to_owned()],
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &pool(Pool::of(&servers)), &launch);
    (servers, proxy)
}

/// Sends a request that keeps a server busy, and waits until it is.
fn run(client: &mut Client, request: &[&str], servers: &[RedisServer]) {
    client.send(&command(request));
    eventually("a server is busy", || {
        let is_busy = |server: &RedisServer| server.ask("PING").starts_with(b"-BUSY");
        servers.iter().any(is_busy).then_some(())
    });
}

fn connections(servers: &[RedisServer]) -> usize {
    let lists = servers.iter().map(|server| server.ask("CLIENT LIST"));
    lists
        .map(|list| String::from_utf8(list).unwrap().matches("laddr=").count())
        .sum()
}

#[test]
fn script_kill_frees_requests_queued_behind_the_script() {
    let (servers, proxy) = busy_four(|pool| pool.with("redis_db", 3));
    let (mut runner, mut other, mut admin) = (proxy.client(), proxy.client(), proxy.client());
    admin.send(&command(&["FUNCTION", "LOAD", LIBRARY]));
    assert_eq!(show(&admin.reply()), "$3\\r\\nlib\\r\\n");
    admin.converse(&[("DBSIZE", ":0\r\n")]);
    let before = connections(&servers);
    for version in ["2", "3"] {
        admin.ask(&format!("HELLO {version}"));
        for (request, kill) in [
            (["EVAL", SPIN, "1", "k"], "SCRIPT KILL"),
            (["FCALL", "spin", "1", "k"], "FUNCTION KILL"),
        ] {
            run(&mut runner, &request, &servers);
            other.send(&words("GET k"));
            let stats = String::from_utf8(admin.ask("FUNCTION STATS")).unwrap();
            let expected = if kill == "SCRIPT KILL" {
                "-BUSY "
            } else {
                "spin"
            };
            assert!(stats.contains(expected), "{stats}");
            let wrong = if kill == "SCRIPT KILL" {
                "FUNCTION KILL"
            } else {
                "SCRIPT KILL"
            };
            assert!(
                admin
                    .ask(wrong)
                    .starts_with(b"-BUSY Redis is busy running a script.")
            );
            admin.converse(&[(kill, OK)]);
            let killed = String::from_utf8(runner.reply()).unwrap();
            assert!(killed.contains("killed by user"), "{killed}");
            other.expect("GET k", b"$-1\r\n");
            for nothing in ["SCRIPT KILL", "FUNCTION KILL"] {
                assert_eq!(show(&admin.ask(nothing)), show(&servers[0].ask(nothing)));
            }
        }
    }
    eventually("no connection is left", || {
        (connections(&servers) == before).then_some(())
    });
}

#[test]
fn script_that_wrote_is_unkillable() {
    let (mut servers, proxy) = busy_four(|pool| pool);
    let (mut runner, mut admin) = (proxy.client(), proxy.client());
    let body = format!("redis.call('set', KEYS[1], 'v') {SPIN}");
    run(&mut runner, &["EVAL", &body, "1", "k"], &servers);
    let reply = admin.ask("SCRIPT KILL");
    assert!(reply.starts_with(b"-UNKILLABLE "), "{}", show(&reply));
    for server in &mut servers {
        server.restart();
    }
    assert!(runner.reply().starts_with(b"-ERR"));
}

#[test]
fn script_kill_reaches_an_ejected_busy_server() {
    let (servers, proxy) = busy_four(|pool| {
        pool.with("auto_eject_hosts", true)
            .with("server_failure_limit", 1)
            .with("server_retry_timeout", 600_000)
            .with("timeout", 1500)
    });
    let (mut runner, mut admin) = (proxy.client(), proxy.client());
    run(&mut runner, &["EVAL", SPIN, "1", "k"], &servers);
    assert_eq!(runner.reply(), b"-ERR Connection timed out\r\n");
    eventually("the ejection", || {
        (proxy.stat(&["server_ejects"]) == 1).then_some(())
    });
    admin.converse(&[("SCRIPT KILL", OK)]);
    for server in &servers {
        eventually("it is free", || {
            (server.ask("PING") == b"+PONG\r\n").then_some(())
        });
    }
}

/// A client that blocks on some server, and so holds the one lease that its pool allows there.
fn block_one(servers: &[RedisServer], proxy: &Proxy) -> Client {
    let mut blocked = proxy.client();
    blocked.send(&words("BLPOP k 0"));
    eventually("it is blocked", || {
        let is_blocked = |server: &RedisServer| {
            let info = String::from_utf8(server.ask("INFO clients")).unwrap();
            info.contains("blocked_clients:1")
        };
        servers.iter().any(is_blocked).then_some(())
    });
    blocked
}

#[test]
fn script_kill_works_when_all_leases_are_taken() {
    let (servers, proxy) = busy_four(|pool| pool.with("server_leases", 1));
    let _blocked = block_one(&servers, &proxy);
    let (mut runner, mut admin) = (proxy.client(), proxy.client());
    run(&mut runner, &["EVAL", SPIN, "1", "k"], &servers);
    admin.converse(&[("SCRIPT KILL", OK)]);
    let killed = String::from_utf8(runner.reply()).unwrap();
    assert!(killed.contains("killed by user"), "{killed}");
}

#[test]
fn script_kill_opens_one_connection_to_each_server() {
    let (servers, proxy) = busy_four(|pool| pool.with("server_leases", 1));
    let _blocked = block_one(&servers, &proxy);
    let mut admin = proxy.client();
    admin.converse(&[("DBSIZE", ":0\r\n")]);
    let before = connections(&servers);
    for _ in 0..100 {
        assert!(admin.ask("FUNCTION STATS").starts_with(b"*4"));
        let reply = admin.ask("SCRIPT KILL");
        assert!(reply.starts_with(b"-NOTBUSY"), "{}", show(&reply));
    }
    // One that was closed meanwhile may still be listed next to its successor.
    assert!(connections(&servers) <= before + 2 * servers.len());
    servers[1].kill();
    let reply = String::from_utf8(admin.ask("FUNCTION STATS")).unwrap();
    assert!(reply.starts_with("-ERR FUNCTION STATS needs all servers; server 's"));
}
