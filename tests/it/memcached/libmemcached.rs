//! An application that shards by itself with libmemcached (`KETAMA_WEIGHTED`, MD5) finds every key through the proxy,
//! on the same server, and vice versa: no key moves when the proxy is introduced.

use std::net::SocketAddr;

use crate::support::{Memcached, Pool, Proxy, run_client, show};

const KEYS: usize = 2000;
/// The flags of a text in pylibmc.
const TEXT: u32 = 16;

#[test]
fn equal_weights_on_different_ports() {
    let servers: [Memcached; 4] = Memcached::several();
    shares_its_keys(&servers, &[1; 4]);
}

#[test]
fn equal_weights_on_the_default_port() {
    let servers: [Memcached; 4] = std::array::from_fn(|_| Memcached::start_at_port(11211));
    shares_its_keys(&servers, &[1; 4]);
}

#[test]
fn different_weights() {
    let servers: [Memcached; 5] = Memcached::several();
    shares_its_keys(&servers, &[1, 4, 6, 6, 8]);
}

#[test]
fn different_weights_on_the_default_port() {
    let servers: [Memcached; 3] = std::array::from_fn(|_| Memcached::start_at_port(11211));
    shares_its_keys(&servers, &[3, 1, 10]);
}

fn shares_its_keys(servers: &[Memcached], weights: &[u32]) {
    let weighted = servers.iter().map(Memcached::address).zip(weights.to_vec());
    let weighted: Vec<(SocketAddr, u32)> = weighted.collect();
    let pool = Pool::nameless(weighted.iter().copied())
        .speaking_memcached()
        .with("hash", "md5")
        .with("distribution", "ketama");
    let proxy = Proxy::ringroad(&pool);
    let application = |action: &str, first: usize| {
        let (first, count) = (first.to_string(), KEYS.to_string());
        let specs = weighted.iter().map(|(at, weight)| format!("{at}:{weight}"));
        let specs: Vec<String> = specs.collect();
        let args = [action, &first, &count];
        let args: Vec<&str> = args
            .into_iter()
            .chain(specs.iter().map(String::as_str))
            .collect();
        run_client("venv/bin/python", "pylibmc_sharded.py", &args);
    };
    let mut client = proxy.client();

    application("set", 0);
    let before = counts(servers);
    for hundred in (0..KEYS).step_by(100) {
        let names: Vec<String> = (hundred..hundred + 100)
            .map(|n| format!("session:{n}"))
            .collect();
        let block = |name: &String| format!("VALUE {name} {TEXT} {}\r\n{name}\r\n", name.len());
        let blocks: String = names.iter().map(block).collect();
        let found = client.say(&format!("get {}", names.join(" ")));
        assert_eq!(show(&found), show(format!("{blocks}END\r\n").as_bytes()));
    }

    // Set again through the proxy: if a key moved, some server would have one more.
    for n in 0..KEYS {
        let name = format!("session:{n}");
        let set = format!("set {name} {TEXT} 0 {}\r\n{name}\r\n", name.len());
        client.chat(&[(&set, "STORED\r\n")]);
    }
    assert_eq!(counts(servers), before);
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
    assert_eq!(before.iter().sum::<u64>(), KEYS as u64);

    for n in KEYS..2 * KEYS {
        let name = format!("session:{n}");
        let set = format!("set {name} {TEXT} 0 {}\r\n{name}\r\n", name.len());
        client.chat(&[(&set, "STORED\r\n")]);
    }
    application("get", KEYS);
}

fn counts(servers: &[Memcached]) -> Vec<u64> {
    let count = |server: &Memcached| server.figure("curr_items");
    servers.iter().map(count).collect()
}
