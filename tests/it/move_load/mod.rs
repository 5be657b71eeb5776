//! Keys move back and forth between servers while clients of every kind work at two proxies: nothing is lost, nothing is
//! done twice, and no client sees an error.
//!
//! `MOVES=100 cargo test --test it -- move_load` moves longer.

mod clients;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use self::clients::{Books, CLIENTS, Work, write_still_keys};
use crate::support::{Client, Kind, Launch, Pool, Proxy, RedisServer};

/// Moves without `MOVES`.
const MOVES: usize = 3;

/// The files of a pool of some of these servers.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn write(&self, name: &str, pool: &Pool) -> PathBuf {
        let path = self.dir.path().join(name);
        let listen = "127.0.0.1:22121".parse().unwrap();
        std::fs::write(&path, pool.yaml(listen)).unwrap();
        path
    }
}

/// A pool of these servers with these weights; 0 leaves one out.
fn pool(servers: &[RedisServer], weights: &[u32], distribution: &str) -> Pool {
    let entries = servers.iter().zip(weights).enumerate();
    let entries = entries.filter(|(_, (_, weight))| **weight > 0);
    let entry = |(nth, (server, weight)): (usize, (&RedisServer, &u32))| {
        format!("{}:{weight} s{nth}", server.address())
    };
    with_options(Pool::named(entries.map(entry)), distribution)
}

fn with_options(pool: Pool, distribution: &str) -> Pool {
    pool.with("hash", "murmur")
        .with("hash_tag", "\"{}\"")
        .with("distribution", distribution)
        .with("placement_guard", true)
}

/// Moves the keys of the pool from one file to the other. Returns the longest hold of each source.
fn reshard(now: &Path, to: &Path, options: &[&str]) -> Vec<Duration> {
    let output = Command::new(env!("CARGO_BIN_EXE_ringroad"))
        // A proxy that gets no CPU for so long is a fault, of which clients may learn.
        .args([
            "reshard", "start", "--pool", "p", "--yes", "--hold", "900", "-c",
        ])
        .arg(now)
        .arg("--to")
        .arg(to)
        .args(options)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{now:?}: {said}");
    let status = Command::new(env!("CARGO_BIN_EXE_ringroad"))
        .args(["reshard", "status", "--json", "-c"])
        .arg(now)
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["state"], "done", "{status}");
    let sources = status["sources"].as_array().unwrap().iter();
    let longest = sources.filter_map(|source| source["coordinator"]["holds"]["max_us"].as_u64());
    longest.map(Duration::from_micros).collect()
}

#[test]
fn keys_move_under_load_and_none_is_lost() {
    let moves = std::env::var("MOVES").map_or(MOVES, |text| text.parse().unwrap());
    let servers: [_; 4] = RedisServer::several();
    let shapes: [(&[u32], &str); 4] = [
        (&[1, 1, 1, 0], "ketama"),
        (&[1, 1, 1, 1], "ketama"),
        (&[3, 1, 0, 1], "ketama"),
        (&[1, 1, 1, 0], "modula"),
    ];
    let files = Files::new();
    let paths: Vec<_> = shapes
        .iter()
        .enumerate()
        .map(|(nth, (weights, distribution))| {
            let pool = pool(&servers, weights, distribution);
            files.write(&format!("{nth}.yml"), &pool)
        })
        .collect();
    let first = pool(&servers, shapes[0].0, shapes[0].1);
    let mut holds = Vec::new();
    under_load(&first, |books| {
        for nth in 0..moves {
            books.wait_for_rounds(200);
            let [now, to] = [nth, nth + 1].map(|nth| &paths[nth % paths.len()]);
            holds.extend(reshard(now, to, &[]));
        }
    });
    holds.sort();
    let at = |percent: usize| holds[(holds.len() - 1) * percent / 100];
    eprintln!(
        "{moves} moves; the longest hold of each and source: p50 {:?}, p99 {:?}, max {:?}",
        at(50),
        at(99),
        at(100)
    );
    verify(&paths[moves % paths.len()]);
}

#[test]
fn servers_take_the_places_of_others_under_load() {
    let moves = std::env::var("MOVES").map_or(2, |text| text.parse().unwrap());
    let servers: [_; 3] = RedisServer::several();
    let files = Files::new();
    // The second name has one server and the other in turn.
    let pools = [1, 2].map(|second| {
        let pair = [&servers[0], &servers[second]].into_iter().enumerate();
        let entries = pair.map(|(nth, server)| format!("{}:1 s{nth}", server.address()));
        with_options(Pool::named(entries), "ketama")
    });
    let paths = [0, 1].map(|nth| files.write(&format!("{nth}.yml"), &pools[nth]));
    for server in &servers {
        // It waits for further replicas, before it copies.
        server.ask("CONFIG SET repl-diskless-sync-delay 0");
    }
    under_load(&pools[0], |books| {
        for nth in 0..moves {
            books.wait_for_rounds(200);
            servers[2 - nth % 2].ask("FLUSHALL");
            let [now, to] = [nth, nth + 1].map(|nth| &paths[nth % 2]);
            reshard(now, to, &["--by", "replication"]);
        }
        books.wait_for_rounds(200);
    });
    verify(&paths[moves % 2]);
}

/// Has clients of every kind work at two proxies meanwhile, and compares their books with what is there then.
fn under_load(first: &Pool, work: impl FnOnce(&Books)) {
    let launch = Launch {
        args: vec!["--workers".to_owned(), "2".to_owned()],
        ..Launch::default()
    };
    let proxies = [(); 2].map(|()| Proxy::start(Kind::Ringroad, first, &launch));
    write_still_keys(&mut proxies[0].client());
    let books = Arc::new(Books::default());
    let clients = proxies.iter().flat_map(|proxy| {
        CLIENTS.iter().map(|work| {
            let (work, books, address): (Work, _, _) = (*work, Arc::clone(&books), proxy.address());
            thread::spawn(move || {
                let mut client = Client::connect(address);
                while !books.is_over() {
                    work(&mut client, &books);
                    books.count();
                }
            })
        })
    });
    let clients: Vec<_> = clients.collect();
    work(&books);
    books.end();
    for client in clients {
        client.join().unwrap();
    }
    books.check(&mut proxies[0].client());
}

fn verify(file: &Path) {
    let verified = Command::new(env!("CARGO_BIN_EXE_ringroad"))
        .args(["verify", "-c"])
        .arg(file)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
}
