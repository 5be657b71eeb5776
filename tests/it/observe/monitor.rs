//! `MONITOR`, next to that of a redis-server.

use std::time::{Duration, Instant};

use super::Watched;
use crate::support::{Client, Pool, RedisServer, command, eventually, show};

/// Requests, by their words.
const TABLE: &[&[&[u8]]] = &[
    &[b"PING"],
    &[b"SET", b"a", b"1"],
    &[b"get", b"a"],
    &[b"NOSUCH", b"a"],
    &[b"GET"],
    &[b"LPUSH", b"a", b"1"],
    &[b"SET", b"\x00\xff\"\\\n\r\t\x07\x08\x1b caf\xc3\xa9", b""],
    &[b"HELLO", b"3", b"AUTH", b"default", b"secret"],
    &[b"HELLO", b"2"],
    &[b"CONFIG", b"GET", b"maxmemory"],
    &[b"CLIENT", b"LIST"],
    &[b"CLIENT", b"ID"],
    &[b"CLIENT", b"SETNAME", b"me"],
    &[b"COMMAND", b"COUNT"],
    &[b"INFO", b"server"],
    &[b"SLOWLOG", b"LEN"],
    &[b"MSET", b"{t}a", b"1", b"{t}b", b"2"],
    &[b"MGET", b"{t}a", b"{t}b"],
    &[b"OBJECT", b"ENCODING", b"a"],
    &[b"EVAL", b"return redis.call('GET', KEYS[1])", b"1", b"a"],
    &[b"KEYS", b"*"],
    &[b"SELECT", b"0"],
    &[b"BLPOP", b"none", b"0.01"],
    &[b"PUBLISH", b"channel", b"message"],
    &[b"MULTI"],
    &[b"SET", b"b", b"1"],
    &[b"INCR", b"b"],
    &[b"EXEC"],
    &[b"MULTI"],
    &[b"SET", b"b", b"2"],
    &[b"DISCARD"],
    &[b"MULTI"],
    &[b"SET", b"b", b"3"],
    &[b"NOSUCH"],
    &[b"EXEC"],
    &[b"WATCH", b"b"],
    &[b"UNWATCH"],
    &[b"DEL", b"a", b"b"],
    &[b"DBSIZE"],
    &[b"RESET"],
];

/// The lines until the request `ECHO end`, each with the address of the client, without times.
fn lines(monitor: &mut Client) -> Vec<(String, String)> {
    let mut found = Vec::new();
    loop {
        let line = monitor.reply();
        let text = String::from_utf8(line).unwrap();
        let (time, rest) = text.split_once(" [").unwrap();
        let (seconds, micros) = time.strip_prefix('+').unwrap().split_once('.').unwrap();
        assert!(
            seconds.parse::<u64>().is_ok() && micros.len() == 6,
            "{text}"
        );
        let (client, words) = rest.split_once("] ").unwrap();
        let (database, address) = client.split_once(' ').unwrap();
        let words = words.trim_end();
        if words == "\"ECHO\" \"end\"" {
            return found;
        }
        if address != "lua" {
            found.push((address.to_owned(), format!("{database} {words}")));
        }
    }
}

fn converse(client: &mut Client) {
    for words in TABLE {
        client.send(&command(words));
        client.reply();
    }
    client.ask("ECHO end");
}

fn monitor(mut client: Client) -> Client {
    assert_eq!(client.ask("MONITOR"), b"+OK\r\n");
    client
}

#[test]
fn monitor_shows_what_a_redis_server_shows() {
    let (server, alone) = (RedisServer::start(), RedisServer::start());
    let watched = Watched::start(&Pool::of([&server]));
    let mut found = Vec::new();
    for connect in [&|| watched.client(), &|| alone.client()] as [&dyn Fn() -> Client; 2] {
        let mut monitor = monitor(connect());
        let mut client = connect();
        converse(&mut client);
        let lines = lines(&mut monitor);
        let own = client.local_address().to_string();
        assert!(
            lines.iter().all(|(address, _)| *address == own),
            "{lines:#?}"
        );
        let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
        found.push(lines);
    }
    assert_eq!(found[0], found[1]);
    assert!(found[0].len() > 25);
}

#[test]
fn monitor_sees_the_clients_of_all_workers() {
    let servers = RedisServer::several::<2>();
    let watched = Watched::start(&Pool::of(&servers));
    let mut monitors = [(); 2].map(|()| monitor(watched.client()));
    let mut clients = [(); 8].map(|()| watched.client());
    for round in 0..50 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.ask(&format!("SET k{number} {round}"));
        }
    }
    clients[0].ask("ECHO end");
    for monitor in &mut monitors {
        let mut seen: Vec<_> = lines(monitor).into_iter().map(|(_, line)| line).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 400);
    }
}

#[test]
fn monitoring_client_is_restricted_until_reset() {
    let server = RedisServer::start();
    let watched = Watched::start(&Pool::of([&server]));
    let mut monitor = monitor(watched.client());
    monitor.send(b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(monitor.reply(), b"+PONG\r\n");
    assert!(monitor.reply().ends_with(b"\"PING\"\r\n"));
    for request in ["GET a", "set a b", "EVAL return(1) 0", "PUBLISH c m"] {
        assert_eq!(
            monitor.ask(request),
            b"-ERR Replica can't interact with the keyspace\r\n"
        );
    }
    let list = watched.client().ask("CLIENT LIST");
    assert!(show(&list).contains("flags=O "), "{}", show(&list));
    // As in Redis, there is no reply to a second one.
    monitor.send(b"*1\r\n$7\r\nMONITOR\r\n*1\r\n$5\r\nRESET\r\n");
    assert_eq!(monitor.reply(), b"+RESET\r\n");
    watched.client().ask("PING");
    assert_eq!(monitor.ask("GET a"), b"$-1\r\n");
    assert_eq!(monitor.ask("MULTI"), b"+OK\r\n");
    assert!(monitor.ask("MONITOR").starts_with(b"-ERR "));
    assert_eq!(monitor.ask("DISCARD"), b"+OK\r\n");
    assert_eq!(monitor.ask("MONITOR"), b"+OK\r\n");
    monitor.send(b"*1\r\n$4\r\nQUIT\r\n");
    assert!(monitor.read_to_close().starts_with(b"+OK\r\n"));
}

#[test]
fn client_that_does_not_read_its_monitor_is_closed() {
    let server = RedisServer::start();
    let pool = Pool::of([&server]).with("pubsub_buffer_limit", "1mb 0 0");
    let watched = Watched::start(&pool);
    let mut monitor = monitor(watched.client());
    let mut client = watched.client();
    let value = "v".repeat(10_000);
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..2000 {
        let sent = Instant::now();
        client.send(&command(&["SET", "a", &value]));
        assert_eq!(client.reply(), b"+OK\r\n");
        slowest = slowest.max(sent.elapsed());
    }
    assert!(begun.elapsed() < Duration::from_secs(30) && slowest < Duration::from_secs(5));
    // It gets what was sent before, and its end.
    assert!(monitor.read_to_close().len() < 20_000_000);
    eventually("it is counted", || {
        let metric = "ringroad_pool_slow_subscriber_closed_total{";
        (watched.proxy.metric(metric) == 1).then_some(())
    });
}
