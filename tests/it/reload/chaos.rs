//! Random reloads while clients of every kind work: none is disconnected, none gets an error that the change does not
//! explain, and replies stay in order.
//!
//! `RELOADS=500 cargo test --test it -- reload::chaos` runs longer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::chaos_clients::{CLIENTS, Load, MEMCACHED_CLIENTS};
use crate::support::{Client, Memcached, Pool, Proxy, RedisServer, eventually};

/// Reloads without `RELOADS`.
const RELOADS: u32 = 40;

/// A file with the pool `p`, a pool of memcached, and perhaps a third one.
struct Files<'s> {
    redis: &'s [RedisServer],
    memcached: &'s [Memcached],
    main: SocketAddr,
}

impl Files<'_> {
    fn port(&self, offset: u16) -> SocketAddr {
        let mut address = self.main;
        address.set_port(address.port() + offset);
        address
    }

    /// The file with which the test begins and ends.
    fn base(&self) -> String {
        let p = swap(Pool::of(self.redis)).yaml(self.main);
        p + &renamed("m", &swap(Pool::memcached(self.memcached)), self.port(1))
    }

    fn random(&self) -> String {
        let p = Self::options(Self::servers(self.redis.iter().map(RedisServer::address)));
        let m = Self::servers(self.memcached.iter().map(Memcached::address));
        let m = swap(Pool::named(m).speaking_memcached());
        let mut file = p.yaml(self.main) + &renamed("m", &m, self.port(1));
        if fastrand::bool() {
            let third = swap(Pool::of(self.redis));
            file += &renamed("third", &third, self.port(2 + fastrand::u16(..2)));
        }
        file
    }

    /// Some of the servers, under old or new names, with random weights.
    fn servers(addresses: impl Iterator<Item = SocketAddr>) -> Vec<String> {
        let mut addresses: Vec<_> = addresses.enumerate().collect();
        fastrand::shuffle(&mut addresses);
        addresses.truncate(1 + fastrand::usize(..addresses.len()));
        let server = |(nth, address)| {
            let name = if fastrand::u8(..4) == 0 {
                "renamed"
            } else {
                "s"
            };
            format!("{address}:{} {name}{nth}", 1 + fastrand::u8(..3))
        };
        addresses.into_iter().map(server).collect()
    }

    fn options(servers: Vec<String>) -> Pool {
        let mut pool = swap(Pool::named(servers));
        let options: [(&str, &[&str]); 8] = [
            ("timeout", &["20000", "30000"]),
            ("server_connections", &["1", "2", "3"]),
            ("server_leases", &["64", "256"]),
            ("databases", &["16", "4"]),
            ("tcpkeepalive", &["true", "false"]),
            ("disabled_commands", &["[flushall]", "[keys]"]),
            ("client_connections", &["500", "1000"]),
            ("preconnect", &["true", "false"]),
        ];
        for (option, values) in options {
            if fastrand::bool() {
                pool = pool.with(option, fastrand::choice(values).unwrap());
            }
        }
        pool
    }
}

fn swap(pool: Pool) -> Pool {
    pool.with("hash", "murmur")
        .with("on_placement_change", "swap")
}

fn renamed(name: &str, pool: &Pool, listen: SocketAddr) -> String {
    pool.yaml(listen).replacen("p:", &format!("{name}:"), 1)
}

#[test]
fn random_reloads_disturb_no_client() {
    let reloads = std::env::var("RELOADS").map_or(RELOADS, |text| text.parse().unwrap());
    let redis: [_; 4] = RedisServer::several();
    let memcached: [_; 3] = Memcached::several();
    for (nth, server) in redis.iter().enumerate() {
        for key in 0..20 {
            server.ask(&format!("SET where-{key} {nth}"));
        }
    }
    let proxy = Proxy::ringroad(&swap(Pool::of(&redis)));
    let files = Files {
        redis: &redis,
        memcached: &memcached,
        main: proxy.address(),
    };
    assert_is_used(&proxy.reload_text(&files.base()));
    let load = Arc::new(Load {
        changes: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let run = |(work, address): (&super::chaos_clients::Work, SocketAddr)| {
        let (work, load) = (*work, Arc::clone(&load));
        thread::spawn(move || {
            let mut client = Client::connect(address);
            while !load.is_over.load(Ordering::Relaxed) {
                work(&mut client, &load);
            }
        })
    };
    let clients = CLIENTS.iter().map(|work| (work, files.main));
    let memcached_clients = MEMCACHED_CLIENTS.iter().map(|work| (work, files.port(1)));
    let clients: Vec<_> = clients.chain(memcached_clients).map(run).collect();
    let before = (descriptors(&proxy), proxy.process().memory_bytes("VmRSS"));
    for _ in 0..reloads {
        if fastrand::u8(..8) == 0 {
            let faulty = files.random().replacen("hash:", "hassh:", 1);
            let outcome = proxy.reload_text(&faulty);
            assert!(outcome.contains("did you mean 'hash'?"), "{outcome}");
            continue;
        }
        load.changes.fetch_add(1, Ordering::SeqCst);
        assert_is_used(&proxy.reload_text(&files.random()));
        load.changes.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(fastrand::u64(..20)));
    }
    load.is_over.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.join().is_ok(), "{}", proxy.process().output());
    }
    assert_is_used(&proxy.reload_text(&files.base()));
    eventually("no connection is left over", || {
        // Each worker keeps one to each server.
        (descriptors(&proxy) <= before.0 + 16).then_some(())
    });
    let memory = proxy.process().memory_bytes("VmRSS");
    assert!(
        memory < before.1 + (48 << 20),
        "{memory} bytes, before {}",
        before.1
    );
}

fn assert_is_used(outcome: &str) {
    assert!(outcome.contains("the configuration is in use"), "{outcome}");
}

fn descriptors(proxy: &Proxy) -> usize {
    let dir = format!("/proc/{}/fd", proxy.process().pid());
    std::fs::read_dir(dir).unwrap().count()
}
