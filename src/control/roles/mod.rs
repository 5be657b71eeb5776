//! The watchers of roles: who is the primary of each server of a pool, which replicas it has, and how fresh they are.
//!
//! ```text
//! sentinels: notices, each second, a server fails --> sentinels --+
//! replicas:  each second, a server fails -----------> shards ---+--> TopologyStore: set_primary, set_replicas
//! read_from: several times per replica_max_lag -----> freshness ---> PoolReplica: fresh_to_us
//! ```
//!
//! They run on the control thread, over connections of their own, and begin anew when the configuration changes. What they have
//! said stays.

mod adopt;
mod choice;
mod freshness;
pub(in crate::control) mod role;
mod sentinel;
mod sentinels;
mod shards;
mod times;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::config::PoolConfig;
use crate::topology::TopologyStore;

/// The longest time that the first clients wait until the primaries are known.
const START_WITHIN: Duration = Duration::from_secs(1);

/// Watches the roles of a pool's servers, as its configuration says, until it is aborted.
pub async fn watch_roles(store: Arc<TopologyStore>) {
    let mut changes = store.changes();
    let mut running: Option<(Arc<PoolConfig>, Vec<AbortOnDropHandle<()>>)> = None;
    loop {
        let config = Arc::clone(&store.topology().config);
        if running.as_ref().is_none_or(|(known, _)| *known != config) {
            drop(running.take());
            let tasks = start(&store, &config);
            running = Some((config, tasks));
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn start(store: &Arc<TopologyStore>, config: &Arc<PoolConfig>) -> Vec<AbortOnDropHandle<()>> {
    let mut tasks = Vec::new();
    if !config.sentinels.is_empty() {
        let follow = sentinels::follow_sentinels(Arc::clone(store), Arc::clone(config));
        tasks.push(AbortOnDropHandle::new(tokio::spawn(follow)));
    } else if !config.replicas.is_empty() {
        let follow = shards::follow_servers(Arc::clone(store), Arc::clone(config));
        tasks.push(AbortOnDropHandle::new(tokio::spawn(follow)));
    }
    if config.reads_replicas() {
        let certify = freshness::certify(Arc::clone(store), Arc::clone(config));
        tasks.push(AbortOnDropHandle::new(tokio::spawn(certify)));
    }
    tasks
}

/// Completes when the primaries are known, or could not be learned: clients would write to a server that is a replica by now.
/// Completes at once in a pool without sentinels and replicas, and after a second in any.
pub async fn roles_read(store: &TopologyStore) {
    if store.topology().config.has_roles() {
        // Sentinels that hang must not keep the pool closed.
        let _ = timeout(START_WITHIN, store.roles_read()).await;
    }
}
