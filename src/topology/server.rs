//! Servers: their identity, and how placement sees them.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::log::LastLine;
use crate::net::{AbandonedConns, ServerAddr};

/// The identity of a server, unique in this process: never reused, so what refers to a server that has left its pool finds
/// nothing, and not another one. A server with a new address, or whose connections must be set up differently, is a new
/// server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(u64);

impl ServerId {
    /// An id that no server has or had.
    #[must_use]
    pub fn allocate() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The position of a server in one [`Topology`](crate::topology::Topology), whose servers are sorted by
/// `hash::name_order`. It means nothing in another topology. A pool has at most 65,536 servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerIndex(u16);

impl ServerIndex {
    /// The server at that position.
    #[must_use]
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// The position, for arrays with one element per server.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All possible positions in order: to be zipped with something per server.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=u16::MAX).map(Self)
    }
}

/// A server as the ring sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name that ring labels are made of: the alias if there is one, else what Twemproxy derives from the address.
    pub name: String,
    /// The weight, at least 1.
    pub weight: u32,
}

/// A server of a pool, as long as it is one: shared by the topologies that contain it and by all workers.
#[derive(Debug)]
pub struct PoolServer {
    /// Its identity.
    pub id: ServerId,
    /// Its name in the ring, in logs and statistics.
    pub name: String,
    /// The address of connections to it: that of the primary, if anybody has said who that is.
    pub address: ServerAddr,
    /// Its address in the file, or in the marks of a move, which know nothing of primaries.
    pub place: ServerAddr,
    /// It is a replica of the server with its name.
    pub is_replica: bool,
    /// Connections to it that it may still read.
    pub(crate) abandoned: Arc<AbandonedConns>,
    /// It has failures that a reply must reset.
    failing: AtomicBool,
    /// The address that its name stands for, as first used by a connection.
    in_use: OnceLock<SocketAddr>,
    /// Its name must be looked up at once.
    wants_lookup: AtomicBool,
    /// The lines about it that its connections cause.
    pub(crate) lines: ServerLines,
}

/// The last lines about a server. Its connections, in all workers, notice together what happens to it.
#[derive(Debug, Default)]
pub(crate) struct ServerLines {
    /// A connection failed.
    pub(crate) failed: LastLine,
    /// It rejected the handshake.
    pub(crate) rejected: LastLine,
    /// It answers again.
    pub(crate) recovered: LastLine,
}

impl PoolServer {
    /// A server that no pool has yet.
    #[must_use]
    pub fn new(name: String, address: ServerAddr) -> Self {
        Self {
            id: ServerId::allocate(),
            name,
            place: address.clone(),
            is_replica: false,
            address,
            abandoned: Arc::default(),
            failing: AtomicBool::new(false),
            in_use: OnceLock::new(),
            wants_lookup: AtomicBool::new(false),
            lines: ServerLines::default(),
        }
    }

    /// The same server, whose name stands for this address, if one is known.
    pub(super) fn using(self, address: Option<SocketAddr>) -> Self {
        if let Some(address) = address {
            self.set_in_use(address);
        }
        self
    }

    /// A replica of the server with this name.
    #[must_use]
    pub fn replica(name: String, address: SocketAddr) -> Self {
        Self {
            is_replica: true,
            ..Self::new(name, ServerAddr::from(address))
        }
    }

    /// The same server, whose primary is at that address.
    pub(super) fn at(self, primary: SocketAddr) -> Self {
        Self {
            address: ServerAddr::from(primary),
            ..self
        }
    }

    /// The address of its connections, if it is known without a lookup.
    pub(super) fn socket_address(&self) -> Option<SocketAddr> {
        self.in_use().or_else(|| match &self.address {
            ServerAddr::Tcp { host, port } => {
                let ip = host.parse().ok()?;
                Some(SocketAddr::new(ip, *port))
            }
            ServerAddr::Unix(_) => None,
        })
    }

    /// The same server after one at the same address, which may still read what was sent to it.
    pub(super) fn after(self, before: &Self) -> Self {
        Self {
            abandoned: Arc::clone(&before.abandoned),
            ..self
        }
    }

    /// The address that its name stands for; none before the first connection.
    #[must_use]
    pub fn in_use(&self) -> Option<SocketAddr> {
        self.in_use.get().copied()
    }

    /// Notes the address that a connection has found first. All others use it too.
    pub fn set_in_use(&self, address: SocketAddr) {
        // Another connection may have found one in the same moment.
        let _ = self.in_use.set(address);
    }

    /// The host and port to look up; `None` if its address is no name.
    #[must_use]
    pub fn host(&self) -> Option<(&str, u16)> {
        match &self.address {
            ServerAddr::Tcp { host, port } => {
                (host.parse::<IpAddr>().is_err()).then_some((host.as_str(), *port))
            }
            ServerAddr::Unix(_) => None,
        }
    }

    pub(super) fn want_lookup(&self) {
        self.wants_lookup.store(true, Ordering::Relaxed);
    }

    /// Returns true if its name must be looked up at once, and takes the wish back.
    #[must_use]
    pub fn take_lookup(&self) -> bool {
        self.wants_lookup.swap(false, Ordering::Relaxed)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    pub(super) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_id_is_never_reused() {
        let server = || PoolServer::new("s".into(), "127.0.0.1:1".parse().unwrap());
        let (first, second) = (server().id, server().id);
        assert!(first < second, "the same name and address, another server");
        assert!(second < server().id);
    }
}
