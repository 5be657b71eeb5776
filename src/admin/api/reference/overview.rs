//! Examples of what a page asks for.

use crate::admin::api::answers::{
    Events, LoggedEvent, Overview, PoolOverview, PoolRing, RingServer, Rings, ServerOverview,
    ServerState,
};
use crate::admin::api::described::Field;
use crate::admin::api::reference::example::Example;
use crate::admin::api::requests::{EventsAfter, InPool, Request};
use crate::journal::EventKind;

/// The kinds of events, described.
static KINDS: [Field; EventKind::ALL.len()] = kinds();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated when the program is built"
)]
const fn kinds() -> [Field; EventKind::ALL.len()] {
    let mut fields = [Field { name: "", help: "" }; EventKind::ALL.len()];
    let mut at = 0;
    while at < fields.len() {
        let kind = EventKind::ALL[at];
        fields[at] = Field {
            name: kind.name(),
            help: kind.help(),
        };
        at += 1;
    }
    fields
}

pub(super) fn overview(wanted: InPool) -> Example {
    let server = ServerOverview {
        server: "s1".to_owned(),
        address: "10.0.0.1:6379".to_owned(),
        weight: 1,
        key_share: 0.253,
        connections: 8,
        in_flight: 12,
        requests: 123_456_789,
        replies: 123_456_777,
        bytes_in: 4_938_271_560,
        bytes_out: 12_345_677_700,
        latency: vec![(22, 4_938_271), (23, 1_234_567)],
        ..ServerOverview::default()
    };
    let pool = PoolOverview {
        pool: "cache".to_owned(),
        protocol: "redis".to_owned(),
        listen: "127.0.0.1:22121".to_owned(),
        hash: "murmur".to_owned(),
        distribution: "ketama".to_owned(),
        clients: 200,
        requests: 493_827_156,
        requests_local: 1_200,
        bytes_in: 19_753_086_240,
        bytes_out: 49_382_715_600,
        clients_accepted: 4_711,
        latency: vec![(24, 19_753_086), (25, 4_938_271)],
        servers: vec![server],
        ..PoolOverview::default()
    };
    let answer = Overview {
        version: "0.1.0".to_owned(),
        host: "proxy1".to_owned(),
        pid: 4711,
        now_ms: 1_795_241_947_000,
        uptime_seconds: 86_400.25,
        cpu_seconds: 12_345.67,
        memory_bytes: 48_234_496,
        open_files: 250,
        max_files: 65_536,
        workers: 4,
        log_level: 5,
        newest_event: 17,
        latency_bounds_us: vec![1, 2, 3, 4, 5, 6, 7, 8, 10, 12],
        pools: vec![pool],
        ..Overview::default()
    };
    Example::new(Request::Overview(wanted), &answer)
        .with::<PoolOverview>("Each of `pools`:")
        .with::<ServerOverview>("Each of `servers`:")
}

pub(super) fn events() -> Example {
    let kind = EventKind::ServerEjected;
    let event = LoggedEvent {
        number: 17,
        first_ms: 1_795_241_900_000,
        last_ms: 1_795_241_947_000,
        count: 3,
        kind: kind.name().to_owned(),
        severity: kind.severity().name().to_owned(),
        pool: Some("cache".to_owned()),
        server: Some("s1".to_owned()),
        client: None,
        text: "ejected for 2s after 2 failures in a row".to_owned(),
        details: Vec::new(),
    };
    let answer = Events {
        newest: 17,
        events: vec![event],
    };
    let wanted = EventsAfter {
        pool: None,
        after: Some(0),
    };
    let mut example = Example::new(Request::Events(wanted), &answer);
    example = example.with::<LoggedEvent>("Each of `events`:");
    example.answer.push(("Each `kind`:", &KINDS));
    example
}

pub(super) fn rings(wanted: InPool) -> Example {
    let server = |server: &str, key_share| RingServer {
        server: server.to_owned(),
        state: ServerState::Live,
        weight: 1,
        key_share,
        weight_share: 0.5,
    };
    let answer = Rings {
        pools: vec![PoolRing {
            pool: "cache".to_owned(),
            distribution: "ketama".to_owned(),
            hash: "murmur".to_owned(),
            placement: 3,
            points: 320,
            thinned: false,
            servers: vec![server("s1", 0.516), server("s2", 0.484)],
            arcs: vec![(0, 0.0014), (1, 0.0049), (0, 1.0)],
        }],
    };
    Example::new(Request::Rings(wanted), &answer)
        .with::<PoolRing>("Each of `pools`:")
        .with::<RingServer>("Each of `servers`:")
}
