//! Follows the names of a pool's servers: looks them up again, and says when one stands for another address.
//!
//! ```text
//! interval ------------------+
//! a server cannot be reached-+--> look up --the address in use is gone, or dead--> TopologyStore: set_resolved
//! ```
//!
//! Invariants: the address in use stays as long as it is in the answer, unless only another one can be connected to; a
//! lookup that fails changes nothing. A name that no connection has used yet is left to the first one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::topology::{PoolServer, TopologyStore};

/// The time limit of a lookup, and of an attempt to connect.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause after a round of lookups, however often connections ask for one.
const PAUSE: Duration = Duration::from_millis(200);

/// Follows the names of a pool until it is aborted.
pub async fn follow_names(store: Arc<TopologyStore>) {
    let mut changes = store.changes();
    let mut last = Instant::now();
    loop {
        let interval = store.topology().config.server_resolve_interval;
        let is_round = tokio::select! {
            () = sleep_until(last + interval), if !interval.is_zero() => true,
            () = store.lookup_wanted() => false,
            outcome = changes.changed() => match outcome {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        if is_round {
            last = Instant::now();
        }
        let mut lookups = JoinSet::new();
        for server in store.topology().servers() {
            let is_urgent = server.take_lookup();
            if (is_round || is_urgent) && server.host().is_some() && server.in_use().is_some() {
                lookups.spawn(follow(Arc::clone(&store), Arc::clone(server), is_urgent));
            }
        }
        // A task that panicked has followed nothing.
        while lookups.join_next().await.is_some() {}
        sleep(PAUSE).await;
    }
}

/// Looks up the name of one server, and moves it if it must.
async fn follow(store: Arc<TopologyStore>, server: Arc<PoolServer>, is_urgent: bool) {
    let topology = store.topology();
    let (pool, name) = (&topology.config.name, &server.name);
    let (Some(host), Some(in_use)) = (server.host(), server.in_use()) else {
        return;
    };
    let found: Vec<_> = match timeout(PATIENCE, lookup_host(host)).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => {
            tracing::info!(pool, server = name, %error, "lookup failed; the last address stays in use");
            return;
        }
        Err(_) => {
            tracing::info!(
                pool,
                server = name,
                "lookup timed out; the last address stays in use"
            );
            return;
        }
    };
    if let Some(address) = choose(&found, in_use, is_urgent).await {
        tracing::warn!(pool, server = name, old = %in_use, new = %address, "server has another address by DNS");
        store.set_resolved(&server, address);
    }
}

/// The address to use from now on; none if the one in use stays.
async fn choose(found: &[SocketAddr], in_use: SocketAddr, is_urgent: bool) -> Option<SocketAddr> {
    let is_listed = found.contains(&in_use);
    if is_listed && (!is_urgent || accepts(in_use).await) {
        return None;
    }
    let others = found.iter().filter(|&&address| address != in_use);
    for &other in others {
        if accepts(other).await {
            return Some(other);
        }
    }
    if is_listed {
        None
    } else {
        found.first().copied()
    }
}

/// Returns true if a connection to the address can be opened.
async fn accepts(address: SocketAddr) -> bool {
    matches!(
        timeout(PATIENCE, TcpStream::connect(address)).await,
        Ok(Ok(_))
    )
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn address_in_use_stays_while_listed_and_alive() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let alive = listener.local_addr().unwrap();
            let dead: SocketAddr = "127.0.0.1:1".parse().unwrap();
            let other: SocketAddr = "127.0.0.1:2".parse().unwrap();
            for (found, in_use, is_urgent, expected) in [
                (&[alive][..], alive, false, None),
                (&[dead, alive], alive, true, None),
                (&[dead, alive], dead, false, None),
                (&[dead, alive], dead, true, Some(alive)),
                (&[dead, other], dead, true, None),
                (&[other, alive], dead, false, Some(alive)),
                (&[other], dead, false, Some(other)),
                (&[], dead, true, None),
            ] {
                let chosen = choose(found, in_use, is_urgent).await;
                assert_eq!(
                    chosen, expected,
                    "{found:?}, {in_use} in use, urgent: {is_urgent}"
                );
            }
        });
    }
}
