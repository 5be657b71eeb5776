//! Placement of keys as in nutcracker, in memcached pools as in those of Redis: set by one proxy, found by the other,
//! and verified on the servers themselves.

use std::net::SocketAddr;

use crate::support::{Client, Memcached, Pool, Proxy, show};

const KEYS: usize = 400;

#[test]
fn key_placement_matches_nutcracker() {
    let servers: [Memcached; 5] = Memcached::several();
    let (equal, heavy) = ([1; 5], [1, 4, 6, 6, 8]);
    let cases = [
        ("ketama", "md5", equal),
        ("ketama", "md5", heavy),
        ("ketama", "fnv1a_64", heavy),
        ("ketama", "crc32a", equal),
        ("ketama", "one_at_a_time", heavy),
        ("modula", "md5", equal),
        ("modula", "murmur", heavy),
        ("modula", "crc16", equal),
        ("modula", "hsieh", heavy),
    ];
    for (distribution, hash, weights) in cases {
        for is_named in [true, false] {
            let addresses = servers.iter().map(Memcached::address);
            let weighted: Vec<(SocketAddr, u32)> = addresses.zip(weights).collect();
            let pool = if is_named {
                Pool::weighted(weighted)
            } else {
                Pool::nameless(weighted)
            };
            let pool = pool
                .speaking_memcached()
                .with("distribution", distribution)
                .with("hash", hash);
            compare(&format!("{distribution} by {hash}"), &pool, &servers);
        }
    }
}

#[test]
fn default_port_is_left_out_of_the_server_name() {
    let servers: [Memcached; 4] = std::array::from_fn(|_| Memcached::start_at_port(11211));
    let pool = Pool::nameless(servers.iter().map(|server| (server.address(), 1)))
        .speaking_memcached()
        .with("hash", "md5");
    compare("port 11211", &pool, &servers);
}

#[test]
fn hash_tag_decides_placement() {
    let servers: [Memcached; 5] = Memcached::several();
    let pool = Pool::memcached(&servers)
        .with("hash", "fnv1a_64")
        .with("hash_tag", "\"{}\"");
    compare("with a tag", &pool, &servers);
    let ringroad = Proxy::ringroad(&pool);
    let mut client = ringroad.client();
    for n in 0..20 {
        client.chat(&[(&format!("set {{one}}-{n} 0 0 1\r\n1\r\n"), "STORED\r\n")]);
    }
    let held = |server: &&Memcached| server.keys().iter().any(|key| key.starts_with(b"{one}"));
    assert_eq!(servers.iter().filter(held).count(), 1);
}

#[test]
fn base64_meta_key_is_placed_by_its_decoded_name() {
    let servers: [Memcached; 5] = Memcached::several();
    let ringroad = Proxy::ringroad(&Pool::memcached(&servers).with("hash", "md5"));
    let mut client = ringroad.client();
    // Three bytes become four digits without any padding.
    for (plain, encoded) in [
        ("abc", "YWJj"),
        ("key-12", "a2V5LTEy"),
        ("key-1", "a2V5LTE="),
        ("key", "a2V5"),
        ("keys", "a2V5cw=="),
        ("~~~???", "fn5+Pz8/"),
        ("session", "c2Vzc2lvbg=="),
    ] {
        let len = plain.len();
        client.chat(&[
            (&format!("ms {encoded} {len} b\r\n{plain}\r\n"), "HD\r\n"),
            (
                &format!("get {plain}\r\n"),
                &format!("VALUE {plain} 0 {len}\r\n{plain}\r\nEND\r\n"),
            ),
            (&format!("delete {plain}\r\n"), "DELETED\r\n"),
            (&format!("mg {encoded} b v\r\n"), "EN\r\n"),
        ]);
    }
}

/// Half of the keys are set by each proxy, all are read by both; each key is then on one server only.
fn compare(context: &str, pool: &Pool, servers: &[Memcached]) {
    for server in servers {
        assert_eq!(server.ask("flush_all"), b"OK\r\n");
    }
    let proxies = [Proxy::nutcracker(pool), Proxy::ringroad(pool)];
    let mut clients: Vec<Client> = proxies.iter().map(Proxy::client).collect();
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    for (nth, key) in keys.iter().enumerate() {
        let len = key.len();
        let set = format!("set {key} 0 0 {len}\r\n{key}\r\n");
        clients[nth % 2].chat(&[(&set, "STORED\r\n")]);
    }
    let blocks = |keys: &[String]| {
        let block = |key: &String| format!("VALUE {key} 0 {}\r\n{key}\r\n", key.len());
        let blocks: Vec<String> = keys.iter().map(block).collect();
        blocks.concat() + "END\r\n"
    };
    for client in &mut clients {
        for hundred in keys.chunks(100) {
            let found = client.say(&format!("get {}", hundred.join(" ")));
            assert_eq!(show(&found), show(blocks(hundred).as_bytes()), "{context}");
        }
    }
    let counts: Vec<u64> = servers.iter().map(|server| items(server, &keys)).collect();
    assert_eq!(
        counts.iter().sum::<u64>(),
        KEYS as u64,
        "{context}: {counts:?}"
    );
    assert!(
        counts.iter().all(|count| *count > 0),
        "{context}: {counts:?}"
    );
}

/// The number of `keys` that a server has.
fn items(server: &Memcached, keys: &[String]) -> u64 {
    let reply = server.ask(&format!("get {}", keys.join(" ")));
    let text = String::from_utf8_lossy(&reply).into_owned();
    text.lines()
        .filter(|line| line.starts_with("VALUE "))
        .count() as u64
}

fn key(nth: usize) -> String {
    match nth % 4 {
        0 => format!("user:{nth}"),
        1 => format!("{{{}}}-{nth}", nth / 8),
        2 => format!("\u{e9}\t{nth}"),
        _ => "k".repeat(nth % 240) + &nth.to_string(),
    }
}
