//! Fairness between waiting clients and clients that keep the proxy busy.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::one_worker;
use crate::support::{
    Client, Kind, Launch, PATIENCE, Pool, Proxy, RedisServer, command, eventually, fresh_ip, show,
    words,
};

const OK: &str = "+OK\r\n";

#[test]
fn idle_client_resumes_when_the_queue_has_byte_room() {
    const REQUESTS: usize = 40;
    let server = RedisServer::start();
    let proxy = one_worker(&Pool::of([&server]), &[]);
    let mut flood = proxy.client();
    flood.converse(&[("SET a 1", OK)]);
    server.stop();
    let value = vec![b'x'; 1 << 20];
    let flooding = thread::spawn(move || {
        flood.send(&command(&[b"SET".as_slice(), b"a", &value]).repeat(REQUESTS));
        (0..REQUESTS).all(|_| flood.reply() == OK.as_bytes())
    });
    eventually("the queue is full", || {
        (proxy.stat(&["s0", "in_queue_bytes"]) > 16 << 20).then_some(())
    });
    let mut waiting = waiting(&proxy);
    server.cont();
    assert!(flooding.join().unwrap());
    assert_eq!(show(&waiting.reply()), show(OK.as_bytes()));
}

#[test]
fn idle_client_resumes_when_the_queue_has_request_room() {
    const CLIENTS: usize = 2100;
    /// The in-flight limit of each of several clients; the queue of a connection is full beyond 2048 times as much.
    const REQUESTS: usize = 128;
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let server = RedisServer::start();
    let proxy = one_worker(&Pool::of([&server]), &[]);
    let mut floods: Vec<_> = (0..CLIENTS).map(|_| proxy.client()).collect();
    // A client may have that many in flight only after its first reply.
    for flood in &mut floods {
        flood.converse(&[("SET a 1", OK)]);
    }
    server.stop();
    let requests = words("SET a 1").repeat(REQUESTS);
    for flood in &mut floods {
        flood.send(&requests);
    }
    eventually("the queue is full", || {
        let taken = proxy.stat(&["s0", "requests"]) - i64::try_from(CLIENTS).unwrap();
        (taken > 256 << 10).then_some(())
    });
    let mut waiting = waiting(&proxy);
    server.cont();
    for flood in &mut floods {
        for _ in 0..REQUESTS {
            assert_eq!(flood.reply(), OK.as_bytes());
        }
    }
    assert_eq!(show(&waiting.reply()), show(OK.as_bytes()));
}

/// A client whose first request has arrived at the proxy, and no further.
fn waiting(proxy: &Proxy) -> Client {
    let taken = proxy.stat(&["s0", "requests"]);
    let mut client = proxy.client();
    client.send(&words("SET b 1"));
    // It is read in the turn that accepts the client, and the stats are requested afterwards.
    eventually("the client is accepted", || {
        (proxy.client().ask("PING") == b"+PONG\r\n").then_some(())
    });
    assert_eq!(proxy.stat(&["s0", "requests"]), taken, "it does not wait");
    client
}

#[test]
fn local_reply_pipeline_does_not_starve_others() {
    /// A turn of the busy client answers about 256 KiB; a few turns are allowed, sixty are too many.
    const MOST_AHEAD_BYTES: usize = 8 << 20;
    let server = RedisServer::start();
    let proxy = one_worker(&Pool::of([&server]), &[]);
    let mut other = proxy.client();
    other.converse(&[("SET a 1", OK)]);
    let busy = TcpStream::connect(proxy.address()).unwrap();
    let (mut reader, mut writer) = (busy.try_clone().unwrap(), busy.try_clone().unwrap());
    let batch = words("COMMAND DOCS").repeat(2000);
    let writing = thread::spawn(move || while writer.write_all(&batch).is_ok() {});
    let progress = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&progress);
    let reading = thread::spawn(move || {
        let mut piece = vec![0; 1 << 20];
        while let Ok(len @ 1..) = reader.read(&mut piece) {
            seen.fetch_add(len, Ordering::Relaxed);
        }
    });
    eventually("the busy client is served", || {
        (progress.load(Ordering::Relaxed) > 0).then_some(())
    });
    let mut ahead: Vec<_> = (0..15)
        .map(|_| {
            let before = progress.load(Ordering::Relaxed);
            other.converse(&[("GET a", "$1\r\n1\r\n")]);
            progress.load(Ordering::Relaxed) - before
        })
        .collect();
    busy.shutdown(std::net::Shutdown::Both).unwrap();
    writing.join().unwrap();
    reading.join().unwrap();
    ahead.sort_unstable();
    assert!(
        ahead[7] < MOST_AHEAD_BYTES,
        "another client waited behind {ahead:?} bytes"
    );
}

#[test]
fn endless_pipeline_delays_others_by_its_in_flight_limit() {
    const QUESTIONS: i64 = 20;
    /// The in-flight limit of one client is ahead of the request, and as much again may follow it until its reply.
    /// Twice that, since more is taken as replies are sent.
    const MOST_AHEAD: i64 = 4 * (16 << 10);
    let server = RedisServer::start();
    let proxy = one_worker(&Pool::of([&server]), &[]);
    let mut other = proxy.client();
    other.converse(&[("SET a 1", OK)]);
    let flood = TcpStream::connect(proxy.address()).unwrap();
    let (mut reader, mut writer) = (flood.try_clone().unwrap(), flood.try_clone().unwrap());
    let batch = words("GET a").repeat(10_000);
    let writing = thread::spawn(move || while writer.write_all(&batch).is_ok() {});
    let reading = thread::spawn(move || {
        let mut piece = vec![0; 1 << 20];
        while reader.read(&mut piece).is_ok_and(|len| len > 0) {}
    });
    eventually("the flood is in flight", || {
        (proxy.stat(&["s0", "requests"]) > MOST_AHEAD).then_some(())
    });
    let before = proxy.stat(&["s0", "requests"]);
    for _ in 0..QUESTIONS {
        other.converse(&[("GET a", "$1\r\n1\r\n")]);
    }
    let ahead = (proxy.stat(&["s0", "requests"]) - before) / QUESTIONS;
    flood.shutdown(std::net::Shutdown::Both).unwrap();
    writing.join().unwrap();
    reading.join().unwrap();
    assert!(
        ahead <= MOST_AHEAD,
        "for each question, {ahead} requests of the flood were sent"
    );
}

#[test]
fn random_distribution_never_refuses_multi_key_requests() {
    let servers: [RedisServer; 2] = RedisServer::several();
    let proxy = Proxy::ringroad(&Pool::of(&servers).with("distribution", "random"));
    let mut client = proxy.client();
    for _ in 0..50 {
        client.converse(&[("SUNION a b", "*0\r\n"), ("PFCOUNT a b c", ":0\r\n")]);
    }
}

#[test]
fn lack_of_descriptors_ejects_no_server() {
    const DESCRIPTORS: u32 = 64;
    let server = RedisServer::start();
    let launch = Launch {
        args: vec!["--workers".to_owned(), "1".to_owned()],
        descriptors: Some(DESCRIPTORS),
        ..Launch::default()
    };
    let pool = Pool::of([&server])
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 1)
        .with("server_retry_timeout", 600_000);
    let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
    let mut client = proxy.client();
    client.converse(&[("PING", "+PONG\r\n")]);
    // The stats port is outside of the limit of clients: an incomplete request holds a descriptor. Many clients would
    // not do, since the proxy keeps one descriptor to refuse them with.
    let readers: Vec<_> = (0..60)
        .map(|_| {
            let mut reader = Client::connect(proxy.stats_address());
            reader.send(b"G");
            reader
        })
        .collect();
    let files = format!("/proc/{}/fd", proxy.process().pid());
    let open = || std::fs::read_dir(&files).unwrap().count();
    eventually("no descriptor is left", || {
        (open() >= DESCRIPTORS as usize).then_some(())
    });
    client.converse(&[("GET a", "-ERR Too many open files\r\n")]);
    drop(readers);
    eventually("descriptors are free", || {
        (open() < DESCRIPTORS as usize - 10).then_some(())
    });
    client.converse(&[("SET a 1", OK), ("GET a", "$1\r\n1\r\n")]);
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
}

#[test]
fn dead_server_errors_per_period_match_nutcracker() {
    for limit in [1, 2, 5] {
        let server = RedisServer::start();
        let nobody = (fresh_ip(&[16379]), 16379).into();
        let pool = Pool::at([server.address(), nobody]).with("hash", "murmur");
        let probe = Proxy::ringroad(&pool);
        let dead = (0..100)
            .map(|n| format!("key-{n}"))
            .find(|key| probe.ask(&format!("GET {key}")).starts_with(b"-"))
            .unwrap();
        let pool = pool
            .with("auto_eject_hosts", true)
            .with("server_failure_limit", limit)
            .with("server_retry_timeout", 300);
        let unprobed = pool.clone().with("server_probe_interval", 0);
        for proxy in [Proxy::nutcracker(&pool), Proxy::ringroad(&unprobed)] {
            assert_eq!(errors_of_each_period(&proxy, &dead), [limit; 3]);
        }
    }
}

/// The numbers of consecutive errors, three times, between requests that succeed.
fn errors_of_each_period(proxy: &Proxy, key: &str) -> [usize; 3] {
    let mut client = proxy.client();
    let deadline = Instant::now() + PATIENCE;
    std::array::from_fn(|_| {
        let mut errors = 0;
        loop {
            let failed = client.ask(&format!("GET {key}")).starts_with(b"-");
            errors += usize::from(failed);
            if !failed && errors > 0 {
                return errors;
            }
            assert!(Instant::now() < deadline, "{errors} errors, and no end");
        }
    })
}
