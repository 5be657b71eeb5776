//! Pools that follow Sentinel, or the roles that servers say they have.

pub(crate) mod failovers;
mod freshness;
mod liars;
mod partitions;
mod replicas;
mod roles;
mod switches;
mod unfinished;

use std::net::SocketAddr;

use crate::support::{Client, Pool, Proxy, Sentinels, Shard, eventually, words};

const OK: &str = "+OK\r\n";

/// A pool of shards that begins at their primaries of now: `shard0`, `shard1` and so on.
fn pool<'s>(shards: impl IntoIterator<Item = &'s Shard>) -> Pool {
    let named =
        |(nth, shard): (usize, &Shard)| format!("{}:1 shard{nth}", shard.primary().address());
    Pool::named(shards.into_iter().enumerate().map(named))
}

/// A pool of one shard that its sentinels watch.
fn watched_pool(shard: &Shard, sentinels: &Sentinels) -> Pool {
    pool([shard]).with("sentinels", sentinels.list())
}

/// Waits until the proxy writes to a server at that address.
fn await_writes_to(proxy: &Proxy, address: SocketAddr) {
    eventually("writes arrive at the new primary", || {
        // A sentinel that promotes a server closes its connections.
        let mut server = Client::try_connect(address).ok()?;
        let mut ask = |request: &str| {
            server.try_send(&words(request)).ok()?;
            server.try_reply().ok()
        };
        // What a replica has may have come from another.
        let is_primary = ask("ROLE")?.starts_with(b"*3\r\n$6\r\nmaster");
        let key = format!("probe{}", unused_number());
        let reply = proxy.ask(&format!("SET {key} 1"));
        let found = ask(&format!("EXISTS {key}"))?;
        (is_primary && reply == OK.as_bytes() && found == b":1\r\n").then_some(())
    });
}

/// A number that no other call has returned.
fn unused_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
