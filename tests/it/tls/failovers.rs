//! Failovers among servers that speak nothing but TLS.

use std::time::Duration;

use crate::admin::changes::Controlled;
use crate::sentinel::failovers::Writer;
use crate::support::{Pool, RedisServer, eventually, show};

use super::fleet::{self, Fleet};

/// A pool of one shard that begins at its first server.
fn pool(fleet: &Fleet, shard: &[RedisServer]) -> Pool {
    fleet.pool(Pool::named([format!("{}:1 shard0", shard[0].address())]))
}

/// The count that a server has; 0 if it does not say.
fn value(fleet: &Fleet, server: &RedisServer) -> u64 {
    let reply = fleet.try_ask(server, "GET n").unwrap_or_default();
    let reply = show(&reply);
    let digits = reply.split("\\r\\n").nth(1);
    digits.map_or(0, |digits| digits.parse().unwrap_or_default())
}

fn is_primary(fleet: &Fleet, server: &RedisServer) -> bool {
    let role = fleet.try_ask(server, "ROLE").unwrap_or_default();
    role.starts_with(b"*3\r\n$6\r\nmaster")
}

/// The one that has become the primary, once the writer writes there.
fn new_primary<'s>(fleet: &Fleet, others: &'s [RedisServer]) -> &'s RedisServer {
    let promoted = eventually("a replica is promoted", || {
        others.iter().find(|server| is_primary(fleet, server))
    });
    let before = value(fleet, promoted);
    eventually("the writer writes there", || {
        (value(fleet, promoted) > before + 50).then_some(())
    });
    promoted
}

#[test]
fn sentinels_over_tls_fail_over_without_a_lost_write() {
    let fleet = Fleet::new();
    let shard = fleet.shard(2);
    let sentinels = fleet.sentinels("shard0", &shard);
    let pool = pool(&fleet, &shard)
        .with("sentinels", fleet::list(&sentinels))
        .with("sentinel_tls", true);
    let controlled = Controlled::start(&pool);
    let writer = Writer::start(&controlled.proxy);
    eventually("the writer writes", || {
        (value(&fleet, &shard[0]) > 50).then_some(())
    });
    let text = controlled.ctl(&["failover", "shard0"]);
    assert!(
        text.ends_with(" ms by SENTINEL FAILOVER with writes paused\n"),
        "{text}"
    );
    let promoted = new_primary(&fleet, &shard[1..]);
    let acknowledged = writer.end();
    assert_eq!(value(&fleet, promoted), acknowledged);
    let facts = controlled.json(&["topology"])["pools"][0]["facts"].to_string();
    assert!(facts.contains("\"source\":\"sentinel\""), "{facts}");
}

#[test]
fn primary_over_tls_that_is_killed_is_replaced() {
    let fleet = Fleet::new();
    let shard = fleet.shard(1);
    let sentinels = fleet.sentinels("shard0", &shard);
    let pool = pool(&fleet, &shard)
        .with("sentinels", fleet::list(&sentinels))
        .with("sentinel_tls", true)
        .with("server_failover_timeout", 60_000);
    let controlled = Controlled::start(&pool);
    let mut client = controlled.proxy.client();
    // Sentinels whose votes are split try again after twice their `failover-timeout`.
    client.set_patience(Duration::from_secs(60));
    client.converse(&[("SET key value", "+OK\r\n"), ("WAIT 1 10000", ":1\r\n")]);
    shard[0].kill();
    client.converse(&[("GET key", "$5\r\nvalue\r\n"), ("SET key 1", "+OK\r\n")]);
    assert_eq!(fleet.ask(&shard[1], "GET key"), b"$1\r\n1\r\n");
}

#[test]
fn sentinels_that_are_not_trusted_are_not_believed() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let shard = fleet.shard(1);
    // What it would say is not heard.
    let stranger = other.server();
    let pool = pool(&fleet, &shard)
        .with("sentinels", format!("['{}']", stranger.address()))
        .with("sentinel_tls", true);
    let controlled = Controlled::start(&pool);
    let process = controlled.proxy.process();
    process.await_output("TLS: its certificate is not signed by a CA that is trusted");
    controlled
        .proxy
        .client()
        .converse(&[("SET key value", "+OK\r\n")]);
}

#[test]
fn ordered_failover_over_tls_loses_no_write() {
    let fleet = Fleet::new();
    let shard = fleet.shard(1);
    let replicas = format!("['{} shard0']", shard[1].address());
    let controlled = Controlled::start(&pool(&fleet, &shard).with("replicas", replicas));
    let writer = Writer::start(&controlled.proxy);
    eventually("the writer writes", || {
        (value(&fleet, &shard[0]) > 50).then_some(())
    });
    let text = controlled.ctl(&["failover", "shard0"]);
    assert!(text.ends_with(" ms by FAILOVER\n"), "{text}");
    let promoted = new_primary(&fleet, &shard[1..]);
    let acknowledged = writer.end();
    assert_eq!(value(&fleet, promoted), acknowledged);
    // The old one follows it over TLS, too.
    let role = fleet.ask(&shard[0], "ROLE");
    assert!(role.starts_with(b"*5\r\n$5\r\nslave"), "{}", show(&role));
}
