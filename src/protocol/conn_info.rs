//! A client connection, as protocols know it.

use crate::protocol::KillSwitch;

/// A client that has just connected, as the client registry knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnInfo {
    /// Its address; for a unix socket the path of the socket, and `:0`.
    pub peer: String,
    /// The address that it connected to, likewise.
    pub local: String,
    /// The number of its session, among those of its worker.
    pub session: usize,
    /// Stops its session.
    pub kill_switch: KillSwitch,
}
