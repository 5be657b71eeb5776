//! The keys of an ejected server move to the others exactly as with nutcracker.

use serde_json::Value;

use crate::support::{Pool, Proxy, RedisServer, command, show};

const WEIGHTS: [u32; 5] = [1, 4, 6, 6, 8];
const EJECTED: usize = 3;

#[test]
fn ketama_with_equal_weights() {
    compare("ketama", "fnv1a_64", [1; 5]);
}

#[test]
fn ketama_with_weights() {
    compare("ketama", "md5", WEIGHTS);
}

#[test]
fn modula_with_equal_weights() {
    compare("modula", "fnv1a_64", [1; 5]);
}

#[test]
fn modula_with_weights() {
    compare("modula", "murmur", WEIGHTS);
}

fn compare(distribution: &str, hash: &str, weights: [u32; 5]) {
    let servers: [RedisServer; 5] = RedisServer::several();
    let weighted = servers.iter().map(RedisServer::address).zip(weights);
    let pool = Pool::weighted(weighted)
        .with("distribution", distribution)
        .with("hash", hash)
        .with("auto_eject_hosts", true)
        .with("server_failure_limit", 1)
        .with("server_retry_timeout", 600_000);
    let (nutcracker, ringroad) = (Proxy::nutcracker(&pool), Proxy::ringroad(&pool));
    let keys = keys();
    let before = placed(&nutcracker, &servers, &keys);
    assert_eq!(
        before,
        placed(&ringroad, &servers, &keys),
        "before the ejection"
    );
    assert!(!before[EJECTED].is_empty());
    servers[EJECTED].kill();
    for proxy in [&nutcracker, &ringroad] {
        // The errors that eject it: nothing after them fails.
        let mut client = proxy.client();
        for key in &keys {
            client.send(&command(&[b"SET".as_slice(), key, b"1"]));
            client.reply();
        }
    }
    let after = placed(&nutcracker, &servers, &keys);
    assert!(after[EJECTED].is_empty());
    assert_eq!(
        after,
        placed(&ringroad, &servers, &keys),
        "after the ejection"
    );
}

/// The keys of each server after all are set through `proxy`.
fn placed(proxy: &Proxy, servers: &[RedisServer], keys: &[Vec<u8>]) -> Vec<Vec<String>> {
    let alive = || servers.iter().filter(|server| server.is_running());
    alive().for_each(|server| assert_eq!(server.ask("FLUSHALL"), b"+OK\r\n"));
    let mut client = proxy.client();
    for key in keys {
        client.send(&command(&[b"SET".as_slice(), key, b"1"]));
        assert_eq!(show(&client.reply()), "+OK\\r\\n", "SET {}", show(key));
    }
    let of = |server: &RedisServer| {
        let keys = if server.is_running() {
            server.keys()
        } else {
            Vec::new()
        };
        keys.iter().map(|key| show(key)).collect()
    };
    servers.iter().map(of).collect()
}

/// The keys of the golden file.
fn keys() -> Vec<Vec<u8>> {
    let golden: Value =
        serde_json::from_str(include_str!("../../data/twemproxy-routing.json")).unwrap();
    let encoded = golden["keys_base64"].as_array().unwrap();
    let keys: Vec<_> = encoded
        .iter()
        .map(|key| from_base64(key.as_str().unwrap()))
        .collect();
    assert!(keys.len() >= 400);
    keys
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held) = (0_u32, 0);
    let mut bytes = Vec::new();
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let value = DIGITS.iter().position(|known| *known == digit).unwrap();
        bits = (bits << 6 | u32::try_from(value).unwrap()) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    bytes
}

#[test]
fn base64_decoding_matches_standard_vectors() {
    assert_eq!(from_base64("eHs5OTM5MDh9eTA="), b"x{993908}y0");
    assert_eq!(from_base64("9hX/"), [0xf6, 0x15, 0xff]);
}
