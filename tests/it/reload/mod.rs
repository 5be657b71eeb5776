//! A changed configuration is adopted while clients work, whole or not at all.

mod chaos;
mod chaos_clients;
mod listeners;
mod names;
mod pools;
mod probes;
mod servers;
mod settings;

use crate::support::{Pool, Proxy, RedisServer};

const OK: &str = "+OK\r\n";

/// A pool that leaves keys behind when its ring changes, over these servers.
fn cache<'s>(servers: impl IntoIterator<Item = &'s RedisServer>) -> Pool {
    Pool::of(servers)
        .with("hash", "murmur")
        .with("on_placement_change", "swap")
}

/// The number of connections that clients have to the proxy.
fn clients(proxy: &Proxy) -> i64 {
    proxy.stat(&["client_connections"])
}
