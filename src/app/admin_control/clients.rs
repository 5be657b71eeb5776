//! The clients of a pool, for operators.

use crate::admin::api::answers::{Client, KilledClient};
use crate::admin::api::requests::ClientRef;
use crate::journal::EventKind;
use crate::protocol::redis::state::client_registry::Entry;
use crate::runtime::PoolSetup;

/// What is known of a client.
pub(super) fn client(setup: &PoolSetup, entry: &Entry) -> Client {
    let details = entry.details();
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    Client {
        pool: setup.name.to_string(),
        id: entry.id,
        address: entry.arrival.peer.clone(),
        local_address: entry.arrival.local.clone(),
        name: text(&details.name),
        age_seconds: entry.since.elapsed().as_secs(),
        db: details.db,
        resp: details.resp.number(),
        subscriptions: details.subscriptions.iter().sum(),
        blocked: details.is_blocked(),
        library: text(&details.library),
        library_version: text(&details.version),
    }
}

/// Disconnects a client, or those with the same address.
pub(super) fn kill_in(setup: &PoolSetup, wanted: &ClientRef) -> Vec<KilledClient> {
    let mut killed = Vec::new();
    setup.shared.clients.kill(|entry| {
        let is_wanted = match wanted {
            ClientRef::Id(id) => entry.id == *id,
            ClientRef::Address(address) => entry.arrival.peer == *address,
        };
        if is_wanted {
            let (pool, id, address) = (&*setup.name, entry.id, &entry.arrival.peer);
            tracing::info!(pool, id, address, "client killed by an operator");
            let text = format!("client {id} killed by an operator");
            let journal = setup.store.journal();
            journal.record_client(EventKind::ClientKilled, address, text);
            killed.push(KilledClient {
                pool: pool.to_owned(),
                id,
                address: address.clone(),
            });
        }
        is_wanted
    });
    killed
}
