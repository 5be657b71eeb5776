//! What a pool says of failovers: its sentinels, its replicas, and which of them answer reads.

use std::fmt;

use crate::net::ServerAddr;

/// The servers of a shard that answer what only reads: the `read_from` of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ReadFrom {
    /// Its primary.
    #[default]
    Primary,
    /// Its replicas; the primary while none of them can.
    Replica,
    /// All of them.
    Any,
}

impl ReadFrom {
    /// Every choice, in the order in which the documentation lists them.
    pub const ALL: [Self; 3] = [Self::Primary, Self::Replica, Self::Any];

    /// The name in the configuration file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Any => "any",
        }
    }

    /// Returns the choice of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.name() == name)
    }
}

/// One entry of `replicas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// The address that the proxy connects to.
    pub address: ServerAddr,
    /// The name of the server whose replica it is.
    pub server: String,
}

impl ReplicaConfig {
    /// Parses `host:port name`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let form = "the form is 'host:port server', as in '10.0.0.5:6379 shard1'";
        let (address, server) = match text.split_once(' ') {
            Some((address, server)) if !server.is_empty() => (address, server),
            _ => return Err(format!("'{text}' names no server; {form}")),
        };
        let address = tcp(address).map_err(|reason| format!("'{text}' {reason}; {form}"))?;
        Ok(Self {
            address,
            server: server.to_owned(),
        })
    }
}

impl fmt::Display for ReplicaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.address, self.server)
    }
}

/// Parses an entry of `sentinels`.
pub(super) fn sentinel(text: &str) -> Result<ServerAddr, String> {
    tcp(text).map_err(|reason| {
        format!("'{text}' {reason}; the form is 'host:port', as in '10.0.1.1:26379'")
    })
}

fn tcp(text: &str) -> Result<ServerAddr, String> {
    match text.parse() {
        Ok(address @ ServerAddr::Tcp { .. }) => Ok(address),
        Ok(ServerAddr::Unix(_)) => Err("is a unix socket".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
