//! Where a client comes from, if its connection does not say so.

use std::net::SocketAddr;

use crate::net::{Peer, Stream};
use crate::protocol::{AuthFlag, ConnInfo, KillSwitch};

/// Where a client comes from, and who is told when it authenticates.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The address that a balancer has told.
    pub told: Option<SocketAddr>,
    /// Set when it authenticates.
    pub auth: AuthFlag,
}

impl Origin {
    /// The origin of a client that another process has handed over, with its address there if a balancer has told it.
    #[must_use]
    pub fn arrived(peer: &[u8]) -> Self {
        let told = str::from_utf8(peer).ok().and_then(|peer| peer.parse().ok());
        Self {
            told,
            ..Self::default()
        }
    }

    /// The address of the client.
    #[must_use]
    pub fn peer(&self, stream: &Stream) -> String {
        self.told
            .map_or_else(|| stream.peer(), |told| told.to_string())
    }

    /// Whom limits take the client for.
    #[must_use]
    pub fn identity(&self, stream: &Stream) -> Option<Peer> {
        let told = self.told.map(|told| Peer::Ip(told.ip()));
        told.or_else(|| stream.peer_identity())
    }

    /// What others know of the client.
    pub(crate) fn info(&self, stream: &Stream, number: usize) -> ConnInfo {
        ConnInfo {
            peer: self.peer(stream),
            key: self.identity(stream).map(Peer::key),
            local: stream.local(),
            session: number,
            kill_switch: KillSwitch::default(),
            auth: self.auth.clone(),
        }
    }
}
