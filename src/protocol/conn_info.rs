//! A client connection, as protocols know it.

use crate::net::PeerKey;
use crate::protocol::{AuthFlag, KillSwitch};

/// A client that has just connected, as the client registry knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnInfo {
    /// Its address; for a unix socket the path of the socket, and `:0`.
    pub peer: String,
    /// Whom limits take it for; none if the system does not tell.
    pub key: Option<PeerKey>,
    /// The address that it connected to, likewise.
    pub local: String,
    /// The number of its session, among those of its worker.
    pub session: usize,
    /// Stops its session.
    pub kill_switch: KillSwitch,
    /// Set when it authenticates.
    pub auth: AuthFlag,
}
