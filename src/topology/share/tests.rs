#![expect(clippy::float_cmp, reason = "small shares are exact")]

use std::collections::BTreeMap;

use super::*;
use crate::config::Distribution;
use crate::hash::{HashKind, name_order};
use crate::topology::{Continuum, Member};

const KEYS: u32 = 100_000;

fn router(hash: HashKind, distribution: Distribution, servers: &[(&str, u32)]) -> Router {
    Router::new(hash, None, distribution, &members(servers))
}

fn members(servers: &[(&str, u32)]) -> Vec<Member> {
    let mut members: Vec<_> = servers
        .iter()
        .map(|&(name, weight)| Member {
            name: name.to_owned(),
            weight,
        })
        .collect();
    members.sort_by(|a, b| name_order(&a.name, &b.name));
    members
}

fn tagged(
    hash: HashKind,
    tag: [u8; 2],
    distribution: Distribution,
    servers: &[(&str, u32)],
) -> Router {
    let [open, close] = tag;
    Router::new(
        hash,
        Some(HashTag { open, close }),
        distribution,
        &members(servers),
    )
}

fn moved(old: (Distribution, &[(&str, u32)]), new: (Distribution, &[(&str, u32)])) -> MovedKeys {
    let of = |(distribution, servers)| router(HashKind::Murmur, distribution, servers);
    MovedKeys::between(&of(old), &of(new))
}

fn assert_rows(moved: &MovedKeys, expected: &[(&str, &str, f64)]) {
    let rows: Vec<_> = moved
        .rows
        .iter()
        .map(|row| (row.from.as_str(), row.to.as_str(), row.share))
        .collect();
    assert_eq!(rows, expected);
    assert_eq!(moved.basis, Basis::AllHashes);
}

const SIXTH: f64 = 1.0 / 6.0;

#[test]
fn modula_moves_follow_from_the_remainders() {
    use Distribution::Modula;
    let two = (Modula, &[("a", 1), ("b", 1)][..]);
    let three = (Modula, &[("a", 1), ("b", 1), ("c", 1)][..]);
    // 0 to 5: a b a b a b, then a b c a b c.
    let grown = moved(two, three);
    let rows = [
        ("a", "b", SIXTH),
        ("a", "c", SIXTH),
        ("b", "a", SIXTH),
        ("b", "c", SIXTH),
    ];
    assert_rows(&grown, &rows);
    assert_eq!(grown.share, 4.0 / 6.0);

    let reweighted = moved(
        (Modula, &[("a", 2), ("b", 1)]),
        (Modula, &[("a", 1), ("b", 2)]),
    );
    assert_rows(&reweighted, &[("a", "b", 1.0 / 3.0)]);

    let renamed = moved(two, (Modula, &[("a", 1), ("z", 1)]));
    assert_rows(&renamed, &[("b", "z", 0.5)]);
}

#[test]
fn ketama_moves_follow_from_the_points() {
    let quarter = 1 << 30;
    let values: Vec<u32> = (1..=4_u64)
        .map(|end| u32::try_from(end * quarter - 1).unwrap())
        .collect();
    let ring = |owners: [u16; 4]| {
        let owners = owners.map(ServerIndex::new).to_vec();
        Ring::Ketama(Continuum::of(values.clone(), owners))
    };
    let counts = by_range(&ring([0, 1, 0, 1]), &ring([0, 0, 2, 2]), 1 << 32).unwrap();
    let pairs: Vec<_> = counts
        .pairs
        .iter()
        .map(|((from, to), keys)| (from.index(), to.index(), *keys))
        .collect();
    let expected = [
        (0, 0, quarter),
        (0, 2, quarter),
        (1, 0, quarter),
        (1, 2, quarter),
    ];
    assert_eq!(pairs, expected);
    assert_eq!(counts.total, 1 << 32);
}

#[test]
fn equal_placement_moves_nothing() {
    use Distribution::Ketama;
    let servers = [("a", 1), ("b", 3), ("c", 1)];
    let doubled = servers.map(|(name, weight)| (name, 2 * weight));
    for distribution in Distribution::ALL {
        let same = moved((distribution, &servers), (distribution, &servers));
        assert_rows(&same, &[]);
        assert!(same.is_empty());
    }
    assert_rows(&moved((Ketama, &servers), (Ketama, &doubled)), &[]);
}

#[test]
fn one_server_has_all_keys() {
    use Distribution::{Ketama, Modula};
    for distribution in [Ketama, Modula] {
        let one = |name| router(HashKind::Md5, distribution, &[(name, 7)]);
        let rehashed = tagged(HashKind::Crc16, *b"{}", distribution, &[("a", 7)]);
        assert_rows(
            &MovedKeys::between(&one("a"), &one("z")),
            &[("a", "z", 1.0)],
        );
        assert_rows(&MovedKeys::between(&one("a"), &rehashed), &[]);
    }
    let grown = moved((Modula, &[("a", 5)]), (Modula, &[("a", 3), ("b", 1)]));
    assert_rows(&grown, &[("a", "b", 0.25)]);
    let shrunk = moved((Modula, &[("a", 3), ("b", 1)]), (Modula, &[("b", 5)]));
    assert_rows(&shrunk, &[("a", "b", 0.75)]);
}

#[test]
fn random_keys_move_only_from_servers_that_leave() {
    use Distribution::{Modula, Random};
    let two = &[("a", 1), ("b", 9)][..];
    let three = &[("a", 1), ("b", 9), ("c", 1)][..];
    assert_rows(&moved((Random, two), (Random, three)), &[]);
    let shrunk = moved((Random, three), (Random, two));
    assert_rows(&shrunk, &[("c", "a", SIXTH), ("c", "b", SIXTH)]);
    let to_one = moved((Random, two), (Random, &[("a", 1)]));
    assert_rows(&to_one, &[("b", "a", 0.5)]);
    let even = &[("a", 1), ("b", 1)][..];
    for (old, new) in [(Random, Modula), (Modula, Random)] {
        let rows = [("a", "b", 0.25), ("b", "a", 0.25)];
        assert_rows(&moved((old, even), (new, even)), &rows);
    }
}

#[test]
fn pool_without_live_servers_has_no_keys() {
    let all = router(HashKind::Md5, Distribution::Ketama, &[("a", 1), ("b", 1)]);
    let none = all.with_live(&[false, false]);
    assert_eq!(MovedKeys::between(&all, &none).share, 0.0);
    assert_eq!(MovedKeys::between(&none, &all).rows, []);
}

#[test]
fn another_hash_or_tag_is_sampled() {
    let servers = [("a", 1), ("b", 1)];
    let old = router(HashKind::Murmur, Distribution::Modula, &servers);
    let other_hash = router(HashKind::Md5, Distribution::Modula, &servers);
    let other_tag = tagged(HashKind::Murmur, *b"$$", Distribution::Modula, &servers);
    for (new, basis) in [
        (other_hash, Basis::SampleKeys),
        (other_tag, Basis::TaggedKeys),
    ] {
        let moved = MovedKeys::between(&old, &new);
        assert!((moved.share - 0.5).abs() < 0.002, "{moved:?}");
        assert_eq!((moved.rows.len(), moved.basis), (2, basis));
    }
}

#[test]
fn huge_weights_are_compared_hash_by_hash() {
    use Distribution::Modula;
    let half = i32::MAX.cast_unsigned() / 2;
    let servers = [("a", half), ("b", half)];
    let fewer = [("a", half - 1), ("b", half)];
    let barely = moved((Modula, &servers), (Modula, &fewer));
    assert_eq!(barely.basis, Basis::AllHashes);
    assert!(barely.share > 0.0 && barely.share < 1e-8, "{barely:?}");
    let sampled = moved((Modula, &servers), (Modula, &[("a", 1), ("b", 1)]));
    assert_eq!(sampled.basis, Basis::SampleKeys);
}

#[test]
fn share_equals_that_of_a_hundred_thousand_keys() {
    let mut random = fastrand::Rng::with_seed(13);
    for distribution in [Distribution::Ketama, Distribution::Modula] {
        for hash in [HashKind::Murmur, HashKind::Jenkins]
            .into_iter()
            .cycle()
            .take(20)
        {
            let old = random_servers(&mut random);
            let new = random_change(&old, &mut random);
            let router = |members: &[Member]| Router::new(hash, None, distribution, members);
            let (old, new) = (router(&old), router(&new));
            assert_measured(&old, &new, |n| format!("user:{n}").into_bytes());
        }
    }
}

#[test]
fn share_holds_for_every_hash() {
    let old = [("a", 1), ("b", 2), ("c", 1)];
    let new = [("a", 1), ("b", 1), ("c", 1), ("d", 1)];
    for distribution in [Distribution::Ketama, Distribution::Modula] {
        for hash in HashKind::ALL {
            let (old, new) = (
                router(hash, distribution, &old),
                router(hash, distribution, &new),
            );
            let mut random = fastrand::Rng::with_seed(1);
            let mut key = || random.u128(..).to_string().into_bytes();
            assert_measured(&old, &new, |_| key());
        }
    }
}

/// Compares every row with the keys that really move. Five standard deviations are allowed.
fn assert_measured(old: &Router, new: &Router, mut key: impl FnMut(u32) -> Vec<u8>) {
    let mut pairs: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for n in 0..KEYS {
        let key = key(n);
        let from = name(old, old.route(&key).unwrap()).unwrap();
        let to = name(new, new.route(&key).unwrap()).unwrap();
        if from != to {
            *pairs.entry((from, to)).or_default() += 1;
        }
    }
    let moved = MovedKeys::between(old, new);
    let close = |measured: u32, share: f64| {
        let measured = f64::from(measured) / f64::from(KEYS);
        let deviation = (share * (1.0 - share) / f64::from(KEYS)).sqrt();
        (measured - share).abs() <= 5.0 * deviation + 1e-4
    };
    let total: u32 = pairs.values().sum();
    assert!(close(total, moved.share), "{total}: {moved:?} {old:?}");
    for row in &moved.rows {
        let measured = pairs.remove(&(&*row.from, &*row.to)).unwrap_or(0);
        assert!(close(measured, row.share), "{measured}: {row:?}");
    }
    assert!(pairs.is_empty(), "rows are missing: {pairs:?}");
}

fn random_servers(random: &mut fastrand::Rng) -> Vec<Member> {
    let mut members: Vec<_> = (0..random.u32(1..10))
        .map(|n| Member {
            name: format!("server-{n}"),
            weight: random.u32(1..6),
        })
        .collect();
    members.sort_by(|a, b| name_order(&a.name, &b.name));
    members
}

/// Adds, removes, renames or weighs some of the servers anew.
fn random_change(old: &[Member], random: &mut fastrand::Rng) -> Vec<Member> {
    let mut new = old.to_vec();
    for n in 0..random.u32(1..4) {
        let at = random.usize(..new.len());
        match random.u8(..4) {
            0 => new.push(Member {
                name: format!("added-{n}"),
                weight: random.u32(1..6),
            }),
            1 if new.len() > 1 => drop(new.remove(at)),
            2 => new[at].name = format!("renamed-{n}"),
            _ => new[at].weight = random.u32(1..6),
        }
    }
    new.sort_by(|a, b| name_order(&a.name, &b.name));
    new
}

#[test]
fn percent_never_rounds_some_to_none_or_all() {
    for (share, shown) in [
        (0.0, "0.0%"),
        (1e-9, "<0.1%"),
        (0.001, "0.1%"),
        (0.248_4, "24.8%"),
        (0.999_999, ">99.9%"),
        (1.0, "100.0%"),
    ] {
        assert_eq!(Percent(share).to_string(), shown);
    }
    assert_eq!(format!("{:>7}", Percent(0.5)), "  50.0%");
}
