//! The cost of routing a key to its server: `cargo bench --bench routing`.

use divan::{Bencher, black_box};
use ringroad::config::Distribution;
use ringroad::hash::{HashKind, HashTag, name_order};
use ringroad::topology::{Member, Router};

const KEY: &[u8] = b"session:7f3a90c2:profile";
const TAGGED_KEY: &[u8] = b"session:{7f3a90c2}:profile";

fn main() {
    divan::main();
}

#[divan::bench(args = HashKind::ALL)]
fn hash(bencher: Bencher<'_, '_>, hash: HashKind) {
    bencher.bench(|| black_box(hash).hash(black_box(KEY)));
}

#[divan::bench(args = HashKind::ALL, consts = [4, 100])]
fn ketama<const SERVERS: usize>(bencher: Bencher<'_, '_>, hash: HashKind) {
    let router = Router::new(hash, None, Distribution::Ketama, &members(SERVERS));
    bencher.bench(|| router.route(black_box(KEY)));
}

/// Keys differ from call to call, so the search has a cold branch predictor as in production.
#[divan::bench(consts = [4, 100])]
fn ketama_over_many_keys<const SERVERS: usize>(bencher: Bencher<'_, '_>) {
    let members = members(SERVERS);
    let router = Router::new(HashKind::Fnv1a64, None, Distribution::Ketama, &members);
    let keys: Vec<_> = (0..4096)
        .map(|n| format!("session:{n:08x}:profile"))
        .collect();
    bencher
        .counter(divan::counter::ItemsCount::new(keys.len()))
        .bench(|| {
            for key in &keys {
                black_box(router.route(key.as_bytes()));
            }
        });
}

#[divan::bench(consts = [4, 100])]
fn modula<const SERVERS: usize>(bencher: Bencher<'_, '_>) {
    let members = members(SERVERS);
    let router = Router::new(HashKind::Fnv1a64, None, Distribution::Modula, &members);
    bencher.bench(|| router.route(black_box(KEY)));
}

#[divan::bench]
fn tagged(bencher: Bencher<'_, '_>) {
    let tag = HashTag {
        open: b'{',
        close: b'}',
    };
    let members = members(4);
    let router = Router::new(HashKind::Fnv1a64, Some(tag), Distribution::Ketama, &members);
    bencher.bench(|| router.route(black_box(TAGGED_KEY)));
}

/// The cost of one ejection or return.
#[divan::bench(consts = [4, 100])]
fn rebuild<const SERVERS: usize>(bencher: Bencher<'_, '_>) {
    let members = members(SERVERS);
    let router = Router::new(HashKind::Fnv1a64, None, Distribution::Ketama, &members);
    let live: Vec<_> = (0..SERVERS).map(|server| server != 0).collect();
    bencher.bench(|| router.with_live(black_box(&live)));
}

fn members(servers: usize) -> Vec<Member> {
    let mut members: Vec<_> = (1..=servers)
        .map(|n| Member {
            name: format!("10.0.0.{n}:6379"),
            weight: 1,
        })
        .collect();
    members.sort_by(|a, b| name_order(&a.name, &b.name));
    members
}
