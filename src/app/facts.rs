//! The facts about a pool, as operators read them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::admin::api::answers::{Fact, FactSource, PoolTopology, ServerState, TopologyServer};
use crate::runtime::PoolSetup;
use crate::topology::{BUCKETS, Facts, Mark, PoolServer, Returns};

/// The facts about a pool, and the topology that follows from them.
pub(super) fn topology(setup: &PoolSetup, now: Instant) -> PoolTopology {
    let (topology, facts) = (setup.store.topology(), setup.store.facts());
    let members = topology.router.members().iter();
    let servers = topology.servers().iter().zip(members);
    let servers = servers.map(|(server, member)| TopologyServer {
        server: server.name.clone(),
        address: server.place.to_string(),
        resolved: server
            .host()
            .and_then(|_| server.in_use())
            .map(|address| address.to_string()),
        primary: facts
            .roles
            .primaries()
            .get(&server.name)
            .map(|primary| primary.address.to_string()),
        weight: member.weight,
        state: state(&facts, server),
    });
    PoolTopology {
        pool: setup.name.to_string(),
        epoch: topology.epoch,
        placement: topology.placement,
        servers: servers.collect(),
        facts: list(setup, &facts, topology.servers(), now),
    }
}

/// The state of a server.
pub(super) fn state(facts: &Facts, server: &PoolServer) -> ServerState {
    if facts.drained.contains_key(&server.name) {
        ServerState::Drained
    } else if facts.health.is_live(server.id) {
        ServerState::Live
    } else {
        ServerState::Ejected
    }
}

fn list(setup: &PoolSetup, facts: &Facts, servers: &[Arc<PoolServer>], now: Instant) -> Vec<Fact> {
    let (config, read) = &facts.config;
    let age = |said: &Instant| now.saturating_duration_since(*said);
    let of_server = |source, server: &str, text: String, age: Duration| Fact {
        source,
        server: Some(server.to_owned()),
        text,
        age_seconds: age.as_secs(),
    };
    let file = Fact {
        source: FactSource::File,
        server: None,
        text: format!(
            "{} servers; hash {}, distribution {}",
            config.servers.len(),
            config.hash.name(),
            config.distribution.name()
        ),
        age_seconds: age(read).as_secs(),
    };
    let ejected_at = setup.store.ejected_at_us();
    let ejected = servers.iter().filter_map(|server| {
        let text = match facts.health.awaits(server.id, now)? {
            Returns::After(left) => format!("ejected; may return in {} s", left.as_secs() + 1),
            Returns::Probed(1) => "ejected; returns after 1 more answered probe".to_owned(),
            Returns::Probed(left) => format!("ejected; returns after {left} more answered probes"),
        };
        let at = ejected_at.iter().find(|(name, _)| *name == server.name);
        let age = at.map_or(Duration::ZERO, |(_, micros)| since_us(*micros));
        Some(of_server(FactSource::Health, &server.name, text, age))
    });
    let resolved = facts.resolved.iter().map(|((name, _), (address, said))| {
        let text = format!("its name stands for {address}");
        of_server(FactSource::Dns, name, text, age(said))
    });
    let drained = facts
        .drained
        .iter()
        .map(|(name, said)| of_server(FactSource::Operator, name, "drained".to_owned(), age(said)));
    let marks = facts.marks().filter_map(|(name, seen, read)| {
        let text = of_mark(seen.mark.as_deref()?);
        Some(of_server(FactSource::Mark, name, text, age(read)))
    });
    let primaries = facts.roles.primaries().iter().map(|(name, primary)| {
        let (address, by) = (primary.address, &primary.by);
        let (source, text) = if config.sentinels.is_empty() {
            (FactSource::Role, format!("primary is {address}"))
        } else {
            let epoch = primary.epoch;
            let text = format!("primary is {address}: {by} says so (epoch {epoch})");
            (FactSource::Sentinel, text)
        };
        of_server(source, name, text, age(&primary.since))
    });
    let of_servers = ejected
        .chain(resolved)
        .chain(primaries)
        .chain(drained)
        .chain(marks);
    std::iter::once(file).chain(of_servers).collect()
}

fn of_mark(mark: &Mark) -> String {
    let (id, state, moved) = (&mark.move_id, mark.state.name(), mark.moved.len());
    let (hold, decision) = (mark.hold, mark.decision.name());
    format!("move {id} {state}; {moved} of {BUCKETS} buckets moved; hold {hold}: {decision}")
}

/// The time since a number of microseconds after the Unix epoch.
fn since_us(micros: u64) -> Duration {
    let then = UNIX_EPOCH + Duration::from_micros(micros);
    SystemTime::now().duration_since(then).unwrap_or_default()
}
