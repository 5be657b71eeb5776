//! A failover that an operator orders: the primary of a shard and one of its replicas change their roles, and no acknowledged
//! write is lost.
//!
//! ```text
//! without Sentinel: FAILOVER at the primary: it stops writes, waits for the replica, and becomes one; else FAILOVER ABORT
//! with Sentinel:    CLIENT PAUSE at the primary, replicas have all of it, SENTINEL FAILOVER, REPLICAOF, CLIENT UNPAUSE
//! both:             until the watchers of roles have adopted the new primary
//! ```
//!
//! Invariant: writes that were paused go on, whatever fails.

mod redis;
mod sentinel;
mod shard;
mod state;
mod target;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::journal::EventKind;
use crate::net::ServerAddr;
use crate::topology::TopologyStore;

use shard::Shard;

pub use shard::FailoverError;

/// The time for a failover to end.
const WITHIN: Duration = Duration::from_secs(15);

/// A failover that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedOver {
    /// The primary before.
    pub old: String,
    /// The primary now.
    pub new: SocketAddr,
    /// How it was made.
    pub by: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What was not done.
    pub warnings: Vec<String>,
}

/// Makes a replica the primary of a server: the one at an address, or any. To be run to its end.
pub async fn fail_over(
    store: Arc<TopologyStore>,
    server: String,
    to: Option<SocketAddr>,
) -> Result<FailedOver, FailoverError> {
    let topology = store.topology();
    let config = Arc::clone(&topology.config);
    let mut servers = topology.servers().iter();
    let known = servers.find(|known| known.name == server);
    let Some(known) = known.filter(|_| config.has_roles()) else {
        return Err(FailoverError::Impossible(format!(
            "pool '{}' has neither 'sentinels' nor 'replicas': the proxy would not find the new primary",
            config.name
        )));
    };
    if topology.moving.is_some() {
        return Err(FailoverError::Impossible(format!(
            "keys of pool '{}' are being moved, which a failover would stop ('ringroad reshard status')",
            config.name
        )));
    }
    let primary = known
        .in_use()
        .map_or_else(|| known.address.clone(), ServerAddr::from);
    let shard = Shard {
        store: Arc::clone(&store),
        config,
        name: server,
        primary,
    };
    let begun = Instant::now();
    let pool = &shard.config.name;
    tracing::info!(pool, server = shard.name, old = %shard.primary, "failover ordered by an operator");
    let journal = shard.store.journal().clone();
    let text = format!("failover from {} ordered by an operator", shard.primary);
    journal.record_of(EventKind::FailoverOrdered, &shard.name, text);
    let done = if shard.config.sentinels.is_empty() {
        redis::fail_over(&shard, to, begun + WITHIN).await
    } else {
        sentinel::fail_over(&shard, to, begun + WITHIN).await
    };
    let outcome = done.map(|(new, by, warnings)| FailedOver {
        old: shard.primary.to_string(),
        new,
        by,
        took: begun.elapsed(),
        warnings,
    });
    match &outcome {
        Ok(done) => {
            tracing::info!(
                pool,
                server = shard.name,
                new = %done.new,
                took = ?done.took,
                warnings = ?done.warnings,
                "failover done"
            );
            let text = format!("failover done: {} is the primary", done.new);
            journal.record_of(EventKind::FailoverDone, &shard.name, text);
        }
        Err(error) => {
            tracing::error!(pool, server = shard.name, %error, "failover failed");
            let text = format!("failover failed: {error}");
            journal.record_of(EventKind::FailoverFailed, &shard.name, text);
        }
    }
    outcome
}
