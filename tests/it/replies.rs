//! Every request gets exactly one reply, its own, in order: with several workers, servers that answer at random times,
//! connections that die at any time, and requests cut into random pieces.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Client, FakeServer, Kind, Launch, Peer, Pool, Proxy, command, show};

const SERVERS: usize = 3;
const CLIENTS: u64 = 8;
const BATCHES: usize = 25;
const LONGEST_BATCH: usize = 60;

#[test]
fn replies_are_never_mixed_reordered_or_lost() {
    let seed = std::env::var("SEED").map_or(11, |seed| seed.parse().unwrap());
    for server_connections in [1, 3] {
        let servers: Vec<_> = (0..SERVERS)
            .map(|_| FakeServer::start(move |nth, peer| random_server(seed, nth, peer)))
            .collect();
        let pool = Pool::at(servers.iter().map(FakeServer::address))
            .with("hash", "murmur")
            .with("timeout", 3000)
            .with("server_connections", server_connections);
        let launch = Launch {
            args: vec!["--workers".to_owned(), "2".to_owned()],
            descriptors: None,
            ..Launch::default()
        };
        let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
        let address = proxy.address();
        let (answered, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for nth in 0..CLIENTS {
                let (answered, failed) = (&answered, &failed);
                scope.spawn(move || {
                    let random = fastrand::Rng::with_seed(seed ^ (nth << 32));
                    let (ok, wrong) = converse(address, nth, random);
                    answered.fetch_add(ok, Ordering::Relaxed);
                    failed.fetch_add(wrong, Ordering::Relaxed);
                });
            }
        });
        let (answered, failed) = (answered.into_inner(), failed.into_inner());
        assert!(failed > 0, "no connection died: the test tested nothing");
        assert!(
            answered > failed,
            "only {answered} answers and {failed} errors"
        );
    }
}

/// The numbers of answered and of failed requests of one client.
fn converse(address: SocketAddr, nth: u64, mut random: fastrand::Rng) -> (u64, u64) {
    let mut client = Client::connect(address);
    let (mut answered, mut failed) = (0, 0);
    for batch in 0..BATCHES {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for place in 0..random.usize(1..=LONGEST_BATCH) {
            let name = |part: usize| format!("client-{nth}-batch-{batch}-place-{place}-{part}");
            let keys: Vec<String> = (0..[1, 1, 1, 2, 7][random.usize(..5)]).map(name).collect();
            let verb = if keys.len() == 1 { "GET" } else { "MGET" };
            let args: Vec<&str> = [verb]
                .into_iter()
                .chain(keys.iter().map(String::as_str))
                .collect();
            bytes.extend(command(&args));
            expected.push(if keys.len() == 1 {
                bulk(&keys[0])
            } else {
                command(&keys)
            });
        }
        client.send_in_pieces(&bytes, [3, 50, 5000][random.usize(..3)], &mut random);
        for right in expected {
            let reply = client.reply();
            if reply.starts_with(b"-ERR ") {
                failed += 1;
            } else {
                assert_eq!(show(&reply), show(&right), "client {nth}, batch {batch}");
                answered += 1;
            }
        }
    }
    client.half_close();
    client.expect_close();
    (answered, failed)
}

/// A server that has every key as its own value, and behaves randomly.
fn random_server(seed: u64, nth: usize, mut peer: Peer) {
    let mut random = fastrand::Rng::with_seed(seed ^ u64::try_from(nth).unwrap());
    let mut left = random.usize(50..600);
    while let Some(request) = peer.request() {
        left -= 1;
        let keys = request
            .split(|byte| *byte == b'\n')
            .skip(3)
            .collect::<Vec<_>>()
            .join(&b'\n');
        let reply =
            if request.starts_with(b"*2\r\n$3\r\nGET") || request.starts_with(b"*2\r\n$3\r\nget") {
                keys
            } else {
                let count = request.split(|byte| *byte == b'\r').next().unwrap()[1..].to_vec();
                let count: usize = String::from_utf8(count).unwrap().parse().unwrap();
                [format!("*{}\r\n", count - 1).as_bytes(), &keys].concat()
            };
        if left == 0 {
            peer.send(&reply[..random.usize(..reply.len())]);
            if random.bool() {
                peer.reset();
            }
            return;
        }
        match random.u8(..40) {
            0 => thread::park_timeout(Duration::from_micros(random.u64(..3000))),
            1 => {
                peer.trickle(&reply);
                continue;
            }
            _ => {}
        }
        peer.send(&reply);
    }
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}
