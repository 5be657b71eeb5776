//! Replicas of the file: servers say themselves who is the primary.

use super::*;
use crate::support::role;

/// A pool of one shard with its replicas in the file.
pub(super) fn static_pool(shard: &Shard) -> Pool {
    let replicas = shard.servers[1..].iter();
    let replicas = replicas.map(|replica| format!("'{} shard0'", replica.address()));
    let replicas: Vec<_> = replicas.collect();
    pool([shard]).with("replicas", format!("[{}]", replicas.join(", ")))
}

#[test]
fn failover_of_redis_itself_is_followed() {
    let shard = Shard::start(2);
    let proxy = Proxy::ringroad(&static_pool(&shard));
    proxy.client().converse(&[("SET k 1", OK)]);
    let address = shard.servers[2].address();
    let order = format!(
        "FAILOVER TO {} {} TIMEOUT 5000",
        address.ip(),
        address.port()
    );
    assert_eq!(shard.primary().ask(&order), OK.as_bytes());
    await_writes_to(&proxy, address);
    let line = format!(
        "primary is {address} now, was {}: its role says so",
        shard.primary().address()
    );
    proxy.process().await_output(&line);
}

#[test]
fn replica_promoted_by_hand_is_followed_after_a_death() {
    let shard = Shard::start(1);
    let proxy = Proxy::ringroad(&static_pool(&shard));
    proxy
        .client()
        .converse(&[("SET k 1", OK), ("WAIT 1 5000", ":1\r\n")]);
    shard.primary().kill();
    shard.servers[1].ask("REPLICAOF NO ONE");
    eventually("the value is read at the new primary", || {
        (proxy.ask("GET k") == b"$1\r\n1\r\n").then_some(())
    });
}

#[test]
fn two_primaries_at_once_are_reported_and_the_known_one_stays() {
    let shard = Shard::start(1);
    let proxy = Proxy::ringroad(&static_pool(&shard));
    proxy.client().converse(&[("SET k 1", OK)]);
    shard.servers[1].ask("REPLICAOF NO ONE");
    proxy
        .process()
        .await_output("several servers of the shard say");
    assert_eq!(proxy.metric("ringroad_pool_server_roles_conflict_total"), 1);
    assert_eq!(proxy.ask("SET only-here 1"), OK.as_bytes());
    assert_eq!(shard.primary().ask("EXISTS only-here"), b":1\r\n");
    assert_eq!(role(&shard.servers[1]).as_deref(), Some("master"));
    assert_eq!(shard.servers[1].ask("EXISTS only-here"), b":0\r\n");
    let output = proxy.process().output();
    assert_eq!(
        output.matches("several servers of the shard say").count(),
        1
    );
}

#[test]
fn proxy_that_starts_at_a_replica_finds_its_primary() {
    let shard = Shard::start(1);
    let address = shard.servers[1].address();
    let order = format!(
        "FAILOVER TO {} {} TIMEOUT 5000",
        address.ip(),
        address.port()
    );
    shard.primary().ask(&order);
    eventually("the roles are swapped", || {
        let is_over = role(shard.primary()).as_deref() == Some("slave")
            && role(&shard.servers[1]).as_deref() == Some("master");
        is_over.then_some(())
    });
    let proxy = Proxy::ringroad(&static_pool(&shard));
    assert_eq!(proxy.ask("SET k 1"), OK.as_bytes());
}
