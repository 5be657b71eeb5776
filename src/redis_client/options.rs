//! The settings of a connection.

use std::time::Duration;

use crate::config::ServerAuth;
use crate::net::tls::TlsConnector;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longer than any command takes that tools send, on a server that also works for others.
const REPLY_WITHIN: Duration = Duration::from_secs(30);

/// The settings of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectOptions<'a> {
    /// What the server is told first, if anything.
    pub auth: Option<&'a ServerAuth>,
    /// Encrypts the connection.
    pub tls: Option<&'a TlsConnector>,
    /// Speak RESP3, which has pushes (`HELLO 3`, Redis 6.0).
    pub is_resp3: bool,
    /// The name in the server's `CLIENT LIST`: no blanks.
    pub name: Option<&'a str>,
    /// The time that each address may take to accept the connection. The lookup of a name is not limited by it.
    pub connect_within: Duration,
    /// The time without any progress, in either direction, after which a server counts as silent.
    pub reply_within: Duration,
}

impl Default for ConnectOptions<'_> {
    fn default() -> Self {
        Self {
            auth: None,
            tls: None,
            is_resp3: false,
            name: None,
            connect_within: CONNECT_WITHIN,
            reply_within: REPLY_WITHIN,
        }
    }
}
