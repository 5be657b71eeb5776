//! Follows the names of a pool's servers: looks them up again, and says when one stands for another address.
//!
//! ```text
//! interval ------------------+
//! a server cannot be reached-+--> look up --the address in use is gone, or dead--> TopologyStore: set_resolved
//! ```
//!
//! Invariants: the address in use stays as long as it is in the answer, unless only another one can be connected to; a
//! lookup that fails changes nothing. A name that no connection has used yet is left to the first one.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::topology::{PoolServer, TopologyStore};

/// The time limit of a lookup, and of an attempt to connect.
const PATIENCE: Duration = Duration::from_secs(2);

/// The pause after a round of lookups, however often connections ask for one.
const PAUSE: Duration = Duration::from_millis(200);

/// Lookups in progress in the whole process. One that a name server does not answer takes its thread until the system
/// gives up, long after nobody waits for it.
static LOOKUPS: Semaphore = Semaphore::const_new(8);

/// Follows the names of a pool until it is aborted.
pub async fn follow_names(store: Arc<TopologyStore>) {
    let mut changes = store.changes();
    let mut last = Instant::now();
    let mut failing = HashSet::new();
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
            let is_named = server.host().is_some() && server.in_use().is_some();
            // Who says which server is the primary says where it is.
            if (is_round || is_urgent) && is_named && store.primary(&server.name).is_none() {
                lookups.spawn(follow(Arc::clone(&store), Arc::clone(server), is_urgent));
            }
        }
        while let Some(looked_up) = lookups.join_next().await {
            // A task that panicked has followed nothing.
            if let Ok((server, outcome)) = looked_up {
                note_outcome(&mut failing, &store, &server, outcome);
            }
        }
        sleep(PAUSE).await;
    }
}

/// Logs when the lookups of a name begin to fail, and when they work again.
fn note_outcome(
    failing: &mut HashSet<String>,
    store: &TopologyStore,
    server: &PoolServer,
    outcome: io::Result<()>,
) {
    let (pool, name) = (&store.topology().config.name, &server.name);
    match outcome {
        Ok(()) => {
            if failing.remove(name) {
                tracing::info!(pool, server = name, "lookups work again");
            }
        }
        Err(error) => {
            if failing.insert(name.clone()) {
                tracing::warn!(pool, server = name, %error, "lookup failed; the last address stays in use");
            }
        }
    }
}

/// Looks up the name of one server, and moves it if it must.
async fn follow(
    store: Arc<TopologyStore>,
    server: Arc<PoolServer>,
    is_urgent: bool,
) -> (Arc<PoolServer>, io::Result<()>) {
    let (Some((host, port)), Some(in_use)) = (server.host(), server.in_use()) else {
        return (server, Ok(()));
    };
    let found = timeout(PATIENCE, look_up(host.to_owned(), port)).await;
    let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let outcome = match found {
        Ok(found) => {
            if let Some(address) = choose(&found, in_use, is_urgent).await {
                let (pool, name) = (&store.topology().config.name, &server.name);
                tracing::warn!(pool, server = name, old = %in_use, new = %address, "server has another address by DNS");
                store.set_resolved(&server, address);
            }
            Ok(())
        }
        Err(error) => Err(error),
    };
    (server, outcome)
}

/// The first address of a host, which may be one already.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let found = timeout(PATIENCE, look_up(host.to_owned(), port)).await;
    let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    // Name servers give several in turn: the least is always the same one.
    let first = found.into_iter().min();
    first.ok_or_else(|| io::ErrorKind::NotFound.into())
}

async fn look_up(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let permit = LOOKUPS.acquire().await.map_err(io::Error::other)?;
    let found = spawn_blocking(move || {
        let found = (host.as_str(), port).to_socket_addrs();
        drop(permit);
        found.map(Iterator::collect)
    });
    found.await.map_err(io::Error::other)?
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
