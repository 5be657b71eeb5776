//! Networks that are cut between proxies, servers and sentinels. They need root; without, these tests do nothing.

use super::*;
use crate::support::{Network, RedisServer, role};

const PROXY: usize = 0;
const PRIMARY: usize = 1;
const REPLICAS: usize = 2;
const SENTINELS: usize = 3;

/// A shard and its sentinels, each in a network of its own, and a proxy. The network is removed after all that is in it.
struct Stage {
    proxy: Proxy,
    sentinels: Sentinels,
    shard: Shard,
    network: Network,
}

impl Stage {
    fn start() -> Option<Self> {
        let network = Network::start(&[1, 2, 3])?;
        let servers = [(PRIMARY, 0), (REPLICAS, 0), (REPLICAS, 1)];
        let shard = Shard::at(servers.map(|(node, nth)| network.place(node, nth)).into());
        let places = [0, 1, 2].map(|nth| network.place(SENTINELS, nth));
        let sentinels = Sentinels::at(places, &[("shard0", &shard)]);
        let pool = watched_pool(&shard, &sentinels)
            .with("timeout", 400)
            .with("server_failover_timeout", 20000);
        let proxy = Proxy::ringroad(&pool);
        Some(Self {
            proxy,
            sentinels,
            shard,
            network,
        })
    }

    /// Writes new keys; returns their names.
    fn write(&self) -> Vec<String> {
        let mut client = self.proxy.client();
        let keys: Vec<_> = (0..100)
            .map(|_| format!("key{}", unused_number()))
            .collect();
        for key in &keys {
            client.converse(&[(&format!("SET {key} 1"), OK)]);
        }
        keys
    }
}

/// The number of these keys that a server has.
fn count(server: &RedisServer, keys: &[String]) -> Vec<u8> {
    server.ask(&format!("EXISTS {}", keys.join(" ")))
}

#[test]
fn primary_serves_on_while_sentinels_cannot_be_reached() {
    let Some(stage) = Stage::start() else {
        return;
    };
    stage.write();
    stage.network.cut(PROXY, SENTINELS);
    stage
        .proxy
        .process()
        .await_output("no sentinel answers; the primaries that are known stay in use");
    let keys = stage.write();
    assert_eq!(count(stage.shard.primary(), &keys), b":100\r\n");
    let mut stats = Client::connect(stage.proxy.stats_address());
    stats.send(b"GET /healthz HTTP/1.0\r\n\r\n");
    let health = String::from_utf8(stats.read_to_close()).unwrap();
    assert!(health.contains(" 200 OK"), "{health}");
    // What happens meanwhile is learnt afterwards.
    stage.network.heal(PROXY, SENTINELS);
    let ordered = eventually("a sentinel can be reached", || {
        let address = stage.sentinels.sentinels[0].address();
        Client::try_connect(address).ok()
    });
    let mut sentinel = ordered;
    assert_eq!(sentinel.ask("SENTINEL FAILOVER shard0"), OK.as_bytes());
    let old = stage.shard.primary().address();
    stage
        .proxy
        .process()
        .await_output(&format!("now, was {old}: sentinel"));
    let keys = stage.write();
    assert_eq!(count(stage.shard.primary(), &keys), b":0\r\n");
}

#[test]
fn primary_that_is_cut_off_gets_nothing_after_the_switch() {
    let Some(stage) = Stage::start() else {
        return;
    };
    let old = stage.shard.primary();
    stage.write();
    stage.network.cut(PRIMARY, REPLICAS);
    stage.network.cut(PRIMARY, SENTINELS);
    // Until Sentinel has chosen another one, it takes what is lost then.
    let line = format!("now, was {}: sentinel", old.address());
    stage.proxy.process().await_output(&line);
    let promoted = stage.shard.promoted(old).expect("a primary that is known");
    let before = old.ask("DBSIZE");
    let keys = stage.write();
    assert_eq!(count(promoted, &keys), b":100\r\n");
    assert_eq!(role(old).as_deref(), Some("master"), "it lives");
    assert_eq!(old.ask("DBSIZE"), before);
    assert_eq!(count(old, &keys), b":0\r\n");
    stage.network.heal(PRIMARY, REPLICAS);
    stage.network.heal(PRIMARY, SENTINELS);
    // Sentinel makes it a replica ten seconds later.
    let more = stage.write();
    assert_eq!(count(promoted, &more), b":100\r\n");
    eventually(
        "the old primary is a replica, and has what it missed",
        || {
            let is_replica = role(old).as_deref() == Some("slave");
            (is_replica && count(old, &keys) == b":100\r\n").then_some(())
        },
    );
    let output = stage.proxy.process().output();
    assert_eq!(output.matches(" now, was ").count(), 1, "{output}");
}

#[test]
fn sentinels_that_are_cut_off_from_all_change_nothing() {
    let Some(stage) = Stage::start() else {
        return;
    };
    stage.write();
    for node in [PROXY, PRIMARY, REPLICAS] {
        stage.network.cut(node, SENTINELS);
    }
    stage
        .proxy
        .process()
        .await_output("no sentinel answers; the primaries that are known stay in use");
    let keys = stage.write();
    for node in [PROXY, PRIMARY, REPLICAS] {
        stage.network.heal(node, SENTINELS);
    }
    assert_eq!(count(stage.shard.primary(), &keys), b":100\r\n");
    eventually("a sentinel finds the primary well", || {
        let mut sentinel = Client::try_connect(stage.sentinels.sentinels[0].address()).ok()?;
        let answer = sentinel.ask("SENTINEL MASTER shard0");
        String::from_utf8_lossy(&answer)
            .contains("\r\nflags\r\n$6\r\nmaster\r\n")
            .then_some(())
    });
    stage.write();
    assert!(!stage.proxy.process().output().contains(" now, was "));
}
