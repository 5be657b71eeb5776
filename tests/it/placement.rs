//! Placement of keys as in Twemproxy 0.5.0: every value here was observed by routing through it.

#![cfg(test)]

use std::cmp::Ordering;
use std::collections::BTreeMap;

use ringroad::config::Distribution;
use ringroad::hash::{HashKind, HashTag, md5_words, name_order};
use ringroad::topology::{Continuum, Member, Router, ServerIndex};
use serde_json::Value;

const VECTORS: &str = include_str!("../data/twemproxy-vectors.json");
const ROUTING: &str = include_str!("../data/twemproxy-routing.json");

#[test]
fn twelve_hashes_match_vectors() {
    let vectors = json(VECTORS);
    let keys = vectors["hash"].as_object().unwrap();
    assert_eq!(keys.len(), 100);
    for (hex, hashes) in keys {
        for kind in HashKind::ALL {
            let expected = hashes[kind.name()].as_u64().unwrap();
            let actual = u64::from(kind.hash(&from_hex(hex)));
            assert_eq!(actual, expected, "{} of {hex}", kind.name());
        }
    }
}

#[test]
fn ring_points_of_a_label_match_vectors() {
    let vectors = json(VECTORS);
    let labels = vectors["ketama_points"].as_object().unwrap();
    assert_eq!(labels.len(), 5);
    for (label, points) in labels {
        let expected: Vec<_> = array(points).iter().map(|p| p.as_u64().unwrap()).collect();
        assert_eq!(md5_words(label.as_bytes()).map(u64::from)[..], expected);
    }
}

#[test]
fn pools_of_the_vectors_route_alike() {
    let vectors = json(VECTORS);
    let pools = vectors["routes"].as_object().unwrap();
    assert_eq!(pools.len(), 20);
    for (name, pool) in pools {
        let servers = array(&pool["servers_conf"]);
        let members = sorted(servers.iter().map(|line| member_of_line(text(line))));
        let names: Vec<_> = members.iter().map(|m| m.name.as_str()).collect();
        let expected: Vec<_> = array(&pool["server_index_order"])
            .iter()
            .map(text)
            .collect();
        assert_eq!(names, expected, "order of the servers of {name}");

        if let Some(points) = pool.get("points_per_server") {
            let expected: Vec<_> = array(points).iter().map(|p| p.as_u64().unwrap()).collect();
            assert_eq!(points_of(&members), expected, "points of {name}");
        }

        let router = router(pool, &members);
        let keys = pool["key_hex_to_server_name"].as_object().unwrap();
        assert_eq!(keys.len(), 153);
        for (hex, owner) in keys {
            let server = router.route(&from_hex(hex)).unwrap();
            let actual = &members[server.index()].name;
            assert_eq!(actual, text(owner), "{hex} in {name}");
        }
    }
}

#[test]
fn every_key_of_the_38_pools_routes_alike() {
    let routing = json(ROUTING);
    let keys: Vec<_> = array(&routing["keys_base64"])
        .iter()
        .map(|key| from_base64(text(key)))
        .collect();
    let pools = array(&routing["pools"]);
    assert_eq!((keys.len(), pools.len()), (400, 38));
    for (number, pool) in pools.iter().enumerate() {
        // Owners are given by position in the file, ids follow the order of names.
        let in_file: Vec<_> = array(&pool["servers"])
            .iter()
            .map(member_of_array)
            .collect();
        let members = sorted(in_file.iter().cloned());
        let router = router(pool, &members);
        let owners = text(&pool["owners"]);
        assert_eq!(owners.len(), keys.len());
        for (key, owner) in keys.iter().zip(owners.chars()) {
            let expected = &in_file[owner.to_digit(10).unwrap() as usize];
            let actual = &members[router.route(key).unwrap().index()];
            assert_eq!(actual, expected, "{key:?} in pool {number}");
        }
    }
}

fn router(pool: &Value, members: &[Member]) -> Router {
    let tag = pool.get("hash_tag").and_then(Value::as_str).map(|tag| {
        let [open, close] = *tag.as_bytes() else {
            panic!("a tag has two bytes");
        };
        HashTag { open, close }
    });
    let hash = HashKind::from_name(text(&pool["hash"])).unwrap();
    let distribution = Distribution::from_name(text(&pool["distribution"])).unwrap();
    Router::new(hash, tag, distribution, members)
}

fn points_of(members: &[Member]) -> Vec<u64> {
    let live: Vec<_> = (0..).map(ServerIndex::new).zip(members).collect();
    let ring = Continuum::new(&live);
    live.iter().map(|&(id, _)| ring.points(id) as u64).collect()
}

fn sorted(members: impl Iterator<Item = Member>) -> Vec<Member> {
    let mut members: Vec<_> = members.collect();
    members.sort_by(|a, b| name_order(&a.name, &b.name));
    let distinct = |pair: &[Member]| name_order(&pair[0].name, &pair[1].name) == Ordering::Less;
    assert!(members.windows(2).all(distinct));
    members
}

/// `host:port:weight` with an alias behind a space, or without.
fn member_of_line(line: &str) -> Member {
    let (address, alias) = match line.split_once(' ') {
        Some((address, alias)) => (address, Some(alias)),
        None => (line, None),
    };
    let (address, weight) = address.rsplit_once(':').unwrap();
    let (host, port) = address.rsplit_once(':').unwrap();
    member(host, port, weight.parse().unwrap(), alias)
}

/// `[host, port, weight, alias or null]`.
fn member_of_array(server: &Value) -> Member {
    let weight = server[2].as_u64().unwrap().try_into().unwrap();
    let port = server[1].as_u64().unwrap().to_string();
    member(text(&server[0]), &port, weight, server[3].as_str())
}

fn member(host: &str, port: &str, weight: u32, alias: Option<&str>) -> Member {
    let name = match (alias, port) {
        (Some(alias), _) => alias.to_owned(),
        (None, "11211") => host.to_owned(),
        (None, port) => format!("{host}:{port}"),
    };
    Member { name, weight }
}

fn json(text: &str) -> BTreeMap<String, Value> {
    serde_json::from_str(text).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).unwrap();
    let byte = |pair: &[u8]| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).unwrap();
    hex.as_bytes().chunks_exact(2).map(byte).collect()
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for c in text.bytes().filter(|&c| c != b'=') {
        let digit = DIGITS.iter().position(|&d| d == c).unwrap();
        bits = bits << 6 | u32::try_from(digit).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}
