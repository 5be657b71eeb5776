//! Primaries and replicas, and the topologies that follow.

use super::*;
use crate::topology::{Replica, process_us};

fn pool(read_from: &str) -> TopologyStore {
    let text = format!("redis: true, sentinels: ['127.0.0.1:26379'], read_from: {read_from}");
    TopologyStore::new(config(&text), Instant::now())
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn replica(port: u16) -> Replica {
    Replica {
        address: address(port),
        is_up: true,
        behind_bytes: Some(0),
    }
}

#[test]
fn server_with_another_primary_is_another_server() {
    let pool = pool("primary");
    let (before, other) = (server(&pool, 0), server(&pool, 1));
    assert!(pool.set_primary("s0", address(99), "sentinel", 7));
    let after = server(&pool, 0);
    assert_ne!(after.id, before.id);
    assert_eq!(after.address.to_string(), "127.0.0.1:99");
    assert_eq!(after.place, before.address);
    assert_eq!(server(&pool, 1).id, other.id);
    assert!(!pool.set_primary("s0", address(99), "another", 8));
    assert_eq!(server(&pool, 0).id, after.id);
    let primary = pool.primary("s0").unwrap();
    assert_eq!((primary.by.as_str(), primary.epoch), ("sentinel", 8));
}

#[test]
fn primary_at_the_address_in_use_keeps_its_connections() {
    let pool = pool("primary");
    let before = server(&pool, 2);
    assert!(pool.set_primary("s2", address(3), "sentinel", 0));
    assert_eq!(server(&pool, 2).id, before.id);
    assert_eq!(pool.topology().handovers, 0);
}

#[test]
fn primary_of_an_unknown_server_is_nothing() {
    let pool = pool("primary");
    assert!(!pool.set_primary("nobody", address(99), "sentinel", 0));
    assert_eq!(pool.epoch(), 0);
}

#[test]
fn without_sentinels_the_file_says_where_servers_are() {
    let pool = pool("any");
    let before = server(&pool, 0);
    pool.set_primary("s0", address(99), "sentinel", 7);
    pool.set_replicas("s0", vec![replica(1)]);
    pool.set_config(config("redis: true"));
    let after = server(&pool, 0);
    assert_eq!(after.address, before.address);
    assert!(pool.topology().replicas(ServerIndex::new(0)).is_empty());
    assert!(!pool.set_primary("s0", address(99), "a late word", 8));
}

#[test]
fn primary_stays_across_a_reload_of_the_same_sentinels() {
    let pool = pool("primary");
    pool.set_primary("s0", address(99), "sentinel", 7);
    let before = server(&pool, 0);
    pool.set_config(config(
        "redis: true, timeout: 100, sentinels: ['127.0.0.1:26379']",
    ));
    assert_eq!(server(&pool, 0).id, before.id);
}

#[test]
fn replica_stays_the_same_while_it_is_listed() {
    let pool = pool("replica");
    pool.set_replicas("s1", vec![replica(21), replica(20)]);
    let first = pool.topology();
    let [one, other] = first.replicas(ServerIndex::new(1)) else {
        panic!("{first:?}");
    };
    assert_eq!((one.address, other.address), (address(20), address(21)));
    other.set_fresh_to_us(process_us(Instant::now()));
    let epoch = pool.epoch();
    pool.set_replicas("s1", vec![replica(20), replica(21)]);
    assert_eq!(pool.epoch(), epoch, "nothing that workers use has changed");
    pool.set_primary("s1", address(20), "sentinel", 1);
    pool.set_replicas("s1", vec![replica(2), replica(21)]);
    let topology = pool.topology();
    let [new, same] = topology.replicas(ServerIndex::new(1)) else {
        panic!("{topology:?}");
    };
    assert_eq!(same.id, other.id);
    assert!(same.lag(Instant::now()).is_some());
    assert_eq!((new.address, new.fresh_to_us()), (address(2), 0));
    assert!(topology.replicas(ServerIndex::new(0)).is_empty());
}
