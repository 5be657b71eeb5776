//! The servers of a pool, as operators read them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::admin::api::answers::{ReplicaState, Server};
use crate::app::facts;
use crate::runtime::PoolSetup;
use crate::stats::{ServerMetric, ServerSnapshot, Snapshot};
use crate::topology::{PoolReplica, Roles, ServerIndex};

/// The counts of each server, by the names of its pool and of itself.
pub(super) type ServerCounts<'s> = HashMap<(&'s str, &'s str), &'s ServerSnapshot>;

pub(super) fn by_server(snapshot: &Snapshot) -> ServerCounts<'_> {
    let servers = snapshot.servers();
    servers
        .map(|(pool, server, counts)| ((pool, server), counts))
        .collect()
}

/// The servers of a pool, with their replicas.
pub(super) fn servers_of(setup: &PoolSetup, counts: &ServerCounts<'_>) -> Vec<Server> {
    let (topology, facts) = (setup.store.topology(), setup.store.facts());
    let members = topology.router.members().iter();
    let servers = topology.servers().iter().zip(members);
    let errors = [ServerMetric::ServerErr, ServerMetric::ServerTimedout];
    ServerIndex::all()
        .zip(servers)
        .map(|(index, (server, member))| {
            let counts = counts.get(&(&*setup.name, server.name.as_str()));
            let count = |metric| counts.map_or(0, |counts| counts.get(metric));
            Server {
                pool: setup.name.to_string(),
                server: server.name.clone(),
                address: server.address.to_string(),
                weight: member.weight,
                state: facts::state(&facts, server),
                connections: gauge(count(ServerMetric::ServerConnections)),
                queued: gauge(count(ServerMetric::InQueue)),
                in_flight: gauge(count(ServerMetric::OutQueue)),
                requests: count(ServerMetric::Requests),
                errors: errors.into_iter().map(count).sum(),
                primary_by: facts
                    .roles
                    .primaries()
                    .get(&server.name)
                    .map(|known| known.by.clone()),
                replicas: replicas(&facts.roles, &server.name, topology.replicas(index)),
            }
        })
        .collect()
}

/// The replicas of a server, of which some may answer reads.
fn replicas(roles: &Roles, server: &str, used: &[Arc<PoolReplica>]) -> Vec<ReplicaState> {
    let now = Instant::now();
    let known = roles.replicas().get(server).into_iter().flatten();
    let state = known.map(|known| {
        let mut used = used.iter();
        let lag = used
            .find(|used| used.address == known.address)
            .and_then(|used| used.lag(now));
        ReplicaState {
            address: known.address.to_string(),
            up: known.is_up,
            lag_ms: lag.map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)),
            behind_bytes: known.behind_bytes,
        }
    });
    state.collect()
}

/// The value of a gauge. While workers publish, a sum may be below zero.
pub(super) fn gauge(value: u64) -> u64 {
    u64::try_from(value.cast_signed()).unwrap_or_default()
}
