//! Replicas, as the proxy knows them.

use serde_json::Value;

use super::roles::static_pool;
use super::*;
use crate::admin::changes::Controlled;

/// The replicas of the first server, as `ctl servers` tells of them.
fn replicas(controlled: &Controlled) -> Vec<Value> {
    let servers = controlled.json(&["servers"]);
    servers["servers"][0]["replicas"]
        .as_array()
        .unwrap()
        .clone()
}

fn lag(controlled: &Controlled, address: SocketAddr) -> Option<u64> {
    let replicas = replicas(controlled);
    let mut replicas = replicas.iter();
    let found = replicas.find(|replica| replica["address"] == address.to_string());
    found?["lag_ms"].as_u64()
}

#[test]
fn replicas_of_sentinel_are_known_with_their_lag() {
    let shard = Shard::start(2);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    let pool = watched_pool(&shard, &sentinels)
        .with("read_from", "any")
        .with("replica_max_lag", 400);
    let controlled = Controlled::start(&pool);
    for replica in &shard.servers[1..] {
        eventually("the replica is certified to be fresh", || {
            lag(&controlled, replica.address()).filter(|ms| *ms < 400)
        });
    }
    assert_eq!(controlled.proxy.metric("ringroad_server_replicas_up"), 2);
    // One that does not answer has no certificate, and the other keeps its own.
    shard.servers[2].stop();
    eventually("the replica is not certified any more", || {
        let is_gone = lag(&controlled, shard.servers[2].address()).is_none_or(|ms| ms > 400);
        let is_kept = lag(&controlled, shard.servers[1].address()).is_some_and(|ms| ms < 400);
        (is_gone && is_kept).then_some(())
    });
    shard.servers[2].cont();
    eventually("the replica is certified again", || {
        lag(&controlled, shard.servers[2].address()).filter(|ms| *ms < 400)
    });
}

#[test]
fn replica_without_its_primary_is_not_certified() {
    let shard = Shard::start(2);
    let pool = static_pool(&shard)
        .with("read_from", "replica")
        .with("replica_max_lag", 200);
    let controlled = Controlled::start(&pool);
    for replica in &shard.servers[1..] {
        eventually("the replica is certified to be fresh", || {
            lag(&controlled, replica.address())
        });
    }
    // It follows another primary from now on: another history.
    let other = Shard::start(0);
    let address = other.primary().address();
    shard.servers[1].ask(&format!("REPLICAOF {} {}", address.ip(), address.port()));
    eventually("the replica has no certificate", || {
        lag(&controlled, shard.servers[1].address())
            .is_none()
            .then_some(())
    });
    assert!(lag(&controlled, shard.servers[2].address()).is_some());
}

#[test]
fn replicas_of_the_file_are_shown_without_reading_from_them() {
    let shard = Shard::start(1);
    let controlled = Controlled::start(&static_pool(&shard));
    let replica = eventually("the replica is up", || {
        let replica = replicas(&controlled).pop()?;
        (replica["up"] == true).then_some(replica)
    });
    assert_eq!(replica["address"], shard.servers[1].address().to_string());
    assert!(
        replica["lag_ms"].is_null() && replica["behind_bytes"].is_u64(),
        "{replica}"
    );
    shard.servers[1].kill();
    eventually("the replica is down", || {
        (replicas(&controlled).pop()?["up"] == false).then_some(())
    });
    assert_eq!(controlled.proxy.metric("ringroad_server_replicas_up"), 0);
}
