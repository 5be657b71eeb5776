//! The change of a primary: one line of the log, with who said so.

use std::fmt;
use std::net::SocketAddr;

use crate::topology::TopologyStore;

use super::choice::Choice;

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sentinel {} says so (epoch {})", self.by, self.epoch)
    }
}

/// Follows what a sentinel says.
pub(super) fn adopt(store: &TopologyStore, server: &str, choice: &Choice) {
    let by = format!("sentinel {}", choice.by);
    set(store, server, (choice.address, choice.epoch), &by, choice);
}

/// Follows what a server says of itself.
pub(super) fn adopt_by_role(store: &TopologyStore, server: &str, address: SocketAddr) {
    set(store, server, (address, 0), "its role", &"its role says so");
}

fn set(
    store: &TopologyStore,
    server: &str,
    (address, epoch): (SocketAddr, u64),
    by: &str,
    why: &dyn fmt::Display,
) {
    let before = in_use(store, server);
    if !store.set_primary(server, address, by, epoch) {
        return;
    }
    let pool = &store.topology().config.name;
    match before {
        Some(before) if before != address.to_string() => {
            tracing::warn!(
                pool,
                server,
                "primary is {address} now, was {before}: {why}"
            );
        }
        _ => tracing::info!(pool, server, "primary is {address}: {why}"),
    }
}

/// The address of connections to a server.
fn in_use(store: &TopologyStore, name: &str) -> Option<String> {
    let topology = store.topology();
    let mut servers = topology.servers().iter();
    let server = servers.find(|server| server.name == name)?;
    Some(match server.in_use() {
        Some(address) => address.to_string(),
        None => server.address.to_string(),
    })
}
