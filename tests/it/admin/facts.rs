//! Facts about pools that a scripted proxy tells.

use ringroad::admin::api::answers::{Fact, FactSource, PoolTopology, ServerState, TopologyServer};

/// A pool with a server that an operator has drained.
pub(super) fn topology(pool: &str) -> PoolTopology {
    PoolTopology {
        pool: pool.to_owned(),
        epoch: 3,
        placement: 2,
        servers: vec![TopologyServer {
            server: "s1\u{1b}[2J".to_owned(),
            address: "one:6379".to_owned(),
            resolved: Some("10.0.0.1:6379".to_owned()),
            weight: 1,
            state: ServerState::Drained,
            primary: Some("10.0.0.1:6379".to_owned()),
        }],
        facts: vec![
            Fact {
                source: FactSource::File,
                server: None,
                text: "1 server".to_owned(),
                age_seconds: 3600,
            },
            Fact {
                source: FactSource::Operator,
                server: Some("s1".to_owned()),
                text: "drained".to_owned(),
                age_seconds: 40,
            },
        ],
    }
}
