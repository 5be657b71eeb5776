//! Dedicated connections: for watched keys and for blocking commands.

mod blocking;
mod chaos;
mod failing;
mod half_closed;
mod replicas;
mod unblock;
mod watch;

use std::collections::BTreeSet;

use crate::support::{Client, Proxy, RedisServer, eventually, words};

const OK: &str = "+OK\r\n";
const QUEUED: &str = "+QUEUED\r\n";

/// The number of leases on a server of the pool.
pub(crate) fn leases(proxy: &Proxy, server: usize) -> i64 {
    metric(
        proxy,
        &format!("ringroad_server_leases{{pool=\"p\",server=\"s{server}\"}}"),
    )
}

/// The number of popped replies that were restored.
fn given_back(proxy: &Proxy) -> i64 {
    metric(
        proxy,
        "ringroad_pool_blocked_pops_restored_total{pool=\"p\"}",
    )
}

fn metric(proxy: &Proxy, name: &str) -> i64 {
    let mut port = Client::connect(proxy.stats_address());
    port.send(b"GET /metrics HTTP/1.0\r\n\r\n");
    let page = String::from_utf8(port.read_to_close()).unwrap();
    let line = page.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value
        .unwrap_or_else(|| panic!("no {name} in {page}"))
        .parse()
        .unwrap()
}

/// Waits until so many clients are blocked at a server.
fn await_blocked(server: &RedisServer, count: usize) {
    let expected = format!("blocked_clients:{count}\r\n");
    eventually("clients are blocked", || {
        let info = server.ask("INFO clients");
        String::from_utf8_lossy(&info)
            .contains(&expected)
            .then_some(())
    });
}

/// The number of connections of a server, without those of the test itself.
fn connections(server: &RedisServer) -> usize {
    let list = String::from_utf8(server.ask("CLIENT LIST")).unwrap();
    list.lines()
        .filter(|line| line.contains("addr=") && !line.contains("cmd=client|list"))
        .count()
}

/// Two keys that are stored on different servers.
fn two_keys_apart(servers: &[RedisServer], proxy: &Proxy) -> (String, String) {
    let mut client = proxy.client();
    let keys: Vec<String> = (0..20).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        client.ask(&format!("SET {key} 1"));
    }
    let key_lists = servers.iter().map(RedisServer::keys);
    let firsts: BTreeSet<Vec<u8>> = key_lists.filter_map(|keys| keys.first().cloned()).collect();
    let mut firsts = firsts
        .into_iter()
        .map(|key| String::from_utf8(key).unwrap());
    let apart = (firsts.next().unwrap(), firsts.next().unwrap());
    for key in &keys {
        client.ask(&format!("DEL {key}"));
    }
    apart
}

/// Sends requests without waiting for a reply.
fn send(client: &mut Client, requests: &[&str]) {
    let batch: Vec<u8> = requests.iter().flat_map(|request| words(request)).collect();
    client.send(&batch);
}
