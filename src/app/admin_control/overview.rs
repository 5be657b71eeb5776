//! What a page draws: read when it is asked for, from what workers publish and share.

use std::time::SystemTime;

use crate::admin::api::answers::{
    Events, LoggedEvent, Overview, PoolOverview, PoolRing, ProxyState, RingServer, Rings,
    ServerOverview,
};
use crate::admin::api::requests::EventsAfter;
use crate::admin::api::{Answer, OverviewRequests};
use crate::app::admin_control::AppControl;
use crate::app::facts;
use crate::app::servers::{ServerCounts, by_server, gauge};
use crate::app::times::unix_ms;
use crate::control;
use crate::journal::Entry;
use crate::log;
use crate::runtime::PoolSetup;
use crate::stats::process::{cpu_time, open_fds, resident_bytes};
use crate::stats::{
    HistogramCounts, PoolMetric, PoolSnapshot, ServerMetric, ServerSnapshot, Snapshot,
};
use crate::topology::Topology;

/// The reasons for which clients are closed because of a limit.
const CLOSED: [PoolMetric; 3] = [
    PoolMetric::SlowClientClosed,
    PoolMetric::SlowSubscriberClosed,
    PoolMetric::MemoryClosed,
];

impl OverviewRequests for AppControl {
    fn overview(&self, pool: Option<String>) -> Answer<'_, Overview> {
        Box::pin(async move {
            let setups = self.find(pool.as_deref())?;
            let snapshot = self.stats.collect().await;
            Ok(self.overview_of(&setups, &snapshot))
        })
    }

    fn events(&self, wanted: EventsAfter) -> Answer<'_, Events> {
        Box::pin(async move {
            if wanted.pool.is_some() {
                self.find(wanted.pool.as_deref())?;
            }
            let entries = self.journal.after(wanted.after.unwrap_or_default());
            let is_wanted = |entry: &Entry| {
                let pool = entry.event.pool.as_deref();
                wanted.pool.is_none() || wanted.pool.as_deref() == pool
            };
            let entries = entries.into_iter().filter(is_wanted);
            Ok(Events {
                newest: self.journal.newest(),
                events: entries.map(event).collect(),
            })
        })
    }

    fn rings(&self, pool: Option<String>) -> Answer<'_, Rings> {
        Box::pin(async move {
            let setups = self.find(pool.as_deref())?;
            Ok(Rings {
                pools: setups.iter().map(ring).collect(),
            })
        })
    }
}

impl AppControl {
    fn overview_of(&self, setups: &[PoolSetup], snapshot: &Snapshot) -> Overview {
        let host = rustix::system::uname();
        let counts = by_server(snapshot);
        let pools = setups.iter().filter_map(|setup| {
            let (_, own) = snapshot.pools().find(|(name, _)| *name == &*setup.name)?;
            Some(pool(setup, own, &counts))
        });
        let bounds = HistogramCounts::default();
        let bounds = bounds.buckets().filter_map(|(bound, _)| bound);
        Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host.nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            state: if self.draining.is_cancelled() {
                ProxyState::Stopping
            } else {
                ProxyState::Serving
            },
            now_ms: unix_ms(SystemTime::now()),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            cpu_seconds: cpu_time().unwrap_or_default().as_secs_f64(),
            memory_bytes: resident_bytes().unwrap_or_default(),
            open_files: open_fds().unwrap_or_default(),
            max_files: rlimit::Resource::NOFILE.get_soft().unwrap_or_default(),
            workers: self.workers,
            log_level: log::level(),
            config_refusal: self.journal.last_load().refusal,
            newest_event: self.journal.newest(),
            latency_bounds_us: bounds.collect(),
            pools: pools.collect(),
        }
    }
}

fn pool(setup: &PoolSetup, own: &PoolSnapshot, counts: &ServerCounts<'_>) -> PoolOverview {
    let topology = setup.store.topology();
    let config = &topology.config;
    let count = |metric| own.values.get(metric);
    PoolOverview {
        pool: setup.name.to_string(),
        protocol: setup.protocol.name().to_owned(),
        listen: config.listen_text(),
        hash: config.hash.name().to_owned(),
        distribution: config.distribution.name().to_owned(),
        moving: topology.moving.is_some(),
        ejects: setup.store.ejects(),
        guarded: config.placement_guard,
        fails_over: config.fails_over(),
        tls_refusals: setup.tls_refusals.reasons(),
        tls_expiries: control::expiry_warnings(&config.tls),
        clients: gauge(count(PoolMetric::ClientConnections)),
        subscriptions: gauge(count(PoolMetric::Subscriptions)),
        buffered_bytes: gauge(count(PoolMetric::BufferedBytes)),
        requests: own.requests(),
        requests_local: count(PoolMetric::RequestsLocal),
        errors: count(PoolMetric::ForwardError),
        refused: count(PoolMetric::RequestsRefused),
        bytes_in: count(PoolMetric::ClientBytesIn),
        bytes_out: count(PoolMetric::ClientBytesOut),
        clients_accepted: count(PoolMetric::ClientAccepted),
        clients_rejected: count(PoolMetric::ClientRejected),
        clients_closed: CLOSED.into_iter().map(count).sum(),
        client_errors: count(PoolMetric::ClientErr),
        ejections: count(PoolMetric::ServerEjects),
        primary_changes: count(PoolMetric::PrimaryChanges),
        latency: latency(&own.values.latency),
        servers: servers(setup, &topology, counts),
    }
}

fn servers(
    setup: &PoolSetup,
    topology: &Topology,
    counts: &ServerCounts<'_>,
) -> Vec<ServerOverview> {
    let facts = setup.store.facts();
    let shares = &topology.spread().shares;
    let members = topology.router.members().iter().zip(shares);
    let servers = topology.servers().iter().zip(members);
    let zero = ServerSnapshot::default();
    let servers = servers.map(|(server, (member, share))| {
        let name = server.name.as_str();
        let own = counts.get(&(&*setup.name, name)).copied();
        let own = own.unwrap_or(&zero);
        let count = |metric| own.get(metric);
        let ejected_at = count(ServerMetric::ServerEjectedAt) / 1000;
        ServerOverview {
            server: server.name.clone(),
            address: server.address.to_string(),
            weight: member.weight,
            state: facts::state(&facts, server),
            key_share: *share,
            connections: gauge(count(ServerMetric::ServerConnections)),
            queued: gauge(count(ServerMetric::InQueue)),
            in_flight: gauge(count(ServerMetric::OutQueue)),
            leases: gauge(count(ServerMetric::Leases)),
            requests: count(ServerMetric::Requests),
            replies: count(ServerMetric::Responses),
            bytes_in: count(ServerMetric::RequestBytes),
            bytes_out: count(ServerMetric::ResponseBytes),
            errors: count(ServerMetric::ServerErr),
            timeouts: count(ServerMetric::ServerTimedout),
            closed: count(ServerMetric::ServerEof),
            reply_errors: count(ServerMetric::ReplyErrors),
            connect_errors: count(ServerMetric::ConnectErrors),
            ejected_at_ms: (ejected_at > 0).then_some(ejected_at),
            latency: latency(&own.latency),
        }
    });
    servers.collect()
}

/// The buckets that are not empty.
fn latency(counts: &HistogramCounts) -> Vec<(usize, u64)> {
    let counts = counts.buckets().map(|(_, count)| count).enumerate();
    counts.filter(|(_, count)| *count > 0).collect()
}

fn event(entry: Entry) -> LoggedEvent {
    let Entry {
        number,
        first,
        last,
        count,
        event,
    } = entry;
    LoggedEvent {
        number,
        first_ms: unix_ms(first),
        last_ms: unix_ms(last),
        count,
        kind: event.kind.name().to_owned(),
        severity: event.kind.severity().name().to_owned(),
        pool: event.pool.map(|pool| pool.to_string()),
        server: event.server,
        client: event.client,
        text: event.text,
        details: event.details,
    }
}

fn ring(setup: &PoolSetup) -> PoolRing {
    let (topology, facts) = (setup.store.topology(), setup.store.facts());
    let spread = topology.spread();
    let members = topology.router.members();
    let live = topology.live.iter().zip(members);
    let live = live.filter_map(|(is_live, member)| is_live.then_some(f64::from(member.weight)));
    let total: f64 = live.sum();
    let servers = topology.servers().iter().zip(members);
    let shares = topology.live.iter().zip(&spread.shares);
    let servers = servers.zip(shares);
    let servers = servers.map(|((server, member), (is_live, share))| RingServer {
        server: server.name.clone(),
        state: facts::state(&facts, server),
        weight: member.weight,
        key_share: *share,
        weight_share: if *is_live {
            f64::from(member.weight) / total
        } else {
            0.0
        },
    });
    let arcs = spread.arcs.iter();
    PoolRing {
        pool: setup.name.to_string(),
        distribution: topology.config.distribution.name().to_owned(),
        hash: topology.config.hash.name().to_owned(),
        placement: topology.placement,
        points: spread.points,
        thinned: spread.is_thinned,
        servers: servers.collect(),
        arcs: arcs.map(|arc| (arc.server.index(), arc.end)).collect(),
    }
}
