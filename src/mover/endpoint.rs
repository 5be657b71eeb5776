//! A server, as the engine reaches it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{PoolConfig, ServerAuth, ServerConfig};
use crate::mover::error::MoverError;
use crate::net::ServerAddr;
use crate::net::tls::TlsConnector;
use crate::redis_client::{ConnectOptions, Connection, ServerError};

/// A server, as the engine reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name in the pool.
    pub name: String,
    /// Its address.
    pub address: ServerAddr,
    /// What it is told first, if anything.
    pub auth: Option<ServerAuth>,
    /// Encrypts its connections.
    pub tls: Option<Arc<TlsConnector>>,
}

impl Endpoint {
    /// A server of a pool.
    #[must_use]
    pub fn of(pool: &PoolConfig, server: &ServerConfig) -> Self {
        Self {
            name: server.name.clone(),
            address: server.address.clone(),
            auth: pool.server_auth(),
            tls: pool.connector().map(Arc::clone),
        }
    }

    /// Connects, under a name that `CLIENT LIST` shows.
    pub fn connect(&self, client_name: &str, is_resp3: bool) -> Result<Connection, MoverError> {
        self.open(&ConnectOptions {
            is_resp3,
            ..self.options(client_name)
        })
    }

    /// The same, for who does not wait long: `within` is the limit of the connect to each address, and of each reply.
    pub fn connect_briefly(
        &self,
        client_name: &str,
        within: Duration,
    ) -> Result<Connection, MoverError> {
        self.open(&ConnectOptions {
            connect_within: within,
            reply_within: within,
            ..self.options(client_name)
        })
    }

    fn options<'a>(&'a self, client_name: &'a str) -> ConnectOptions<'a> {
        ConnectOptions {
            auth: self.auth.as_ref(),
            tls: self.tls.as_deref(),
            name: Some(client_name),
            ..ConnectOptions::default()
        }
    }

    fn open(&self, options: &ConnectOptions<'_>) -> Result<Connection, MoverError> {
        Connection::open(&self.address, options).map_err(|error| self.fault(error))
    }

    /// The failure of this server: one that passes, or one that stays.
    #[must_use]
    pub fn fault(&self, error: ServerError) -> MoverError {
        const PASSING: [&str; 5] = ["BUSY", "LOADING", "MISCONF", "NOREPLICAS", "TRYAGAIN"];
        let server = self.to_string();
        let ServerError::Refused { command, reply } = error else {
            return MoverError::Server { server, error };
        };
        match reply.split(' ').next().unwrap_or_default() {
            "OOM" => MoverError::Full { server, reply },
            "READONLY" => MoverError::NotPrimary {
                server,
                role: "slave".to_owned(),
            },
            code if PASSING.contains(&code) => MoverError::Busy {
                server,
                command,
                reply,
            },
            _ => MoverError::Server {
                server,
                error: ServerError::Refused { command, reply },
            },
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server '{}' ({})", self.name, self.address)
    }
}
