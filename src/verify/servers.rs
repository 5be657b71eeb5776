//! The servers of the pool, connected, and what they say about themselves.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use crate::config::{PoolConfig, ServerAuth, ServerConfig};
use crate::net::ServerAddr;
use crate::net::tls::TlsConnector;
use crate::redis_client::{ConnectOptions, Connection, Info, ServerError};

/// A failure of one server.
#[derive(Debug)]
pub struct ServerFault {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: ServerAddr,
    /// The cause.
    pub error: ServerError,
}

impl fmt::Display for ServerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            address,
            error,
        } = self;
        write!(f, "server '{name}' ({address}): {error}")
    }
}

/// A server of the pool.
#[derive(Debug)]
pub(super) struct Server {
    /// Its position in the pool.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) address: ServerAddr,
    connection: RefCell<Connection>,
    /// The position of the first server of the pool that is the same process: the same keys under two names.
    pub(super) instance: usize,
    /// The number of keys by database.
    pub(super) databases: Vec<(u32, u64)>,
    /// True if it tells which process it is.
    pub(super) is_identified: bool,
    /// The address of its primary, if it is a replica.
    pub(super) primary: Option<String>,
}

impl Server {
    /// Sends requests in a database.
    pub(super) fn ask<T>(
        &self,
        database: u32,
        requests: impl FnOnce(&mut Connection) -> Result<T, ServerError>,
    ) -> Result<T, ServerFault> {
        let mut connection = self.connection.borrow_mut();
        connection
            .select(database)
            .and_then(|()| requests(&mut connection))
            .map_err(|error| self.fault(error))
    }

    /// The failure of a request to it.
    pub(super) fn fault(&self, error: ServerError) -> ServerFault {
        ServerFault {
            name: self.name.clone(),
            address: self.address.clone(),
            error,
        }
    }
}

/// The name of connections that write nothing: moves of keys, which stop for strangers, know by it that they are Ringroad's.
const READER: &str = "rr-verify/reader";

/// Connects to all servers of a pool, in its order; reports every one that fails.
pub(super) fn open(pool: &PoolConfig, is_reader: bool) -> Result<Vec<Server>, Vec<ServerFault>> {
    let mut instances: HashMap<String, usize> = HashMap::new();
    let mut servers = Vec::new();
    let mut faults = Vec::new();
    let auth = pool.server_auth();
    for (index, server) in pool.servers.iter().enumerate() {
        let auth = (auth.as_ref(), pool.connector().map(|tls| &**tls));
        match greet(server, auth, is_reader) {
            Ok((connection, info)) => {
                // A server that does not tell is known by its address.
                let id = info.run_id().map(str::to_owned);
                let is_identified = id.is_some();
                let id = id.unwrap_or_else(|| server.address.to_string());
                servers.push(Server {
                    index,
                    name: server.name.clone(),
                    address: server.address.clone(),
                    connection: RefCell::new(connection),
                    instance: *instances.entry(id).or_insert(index),
                    databases: info.databases(),
                    is_identified,
                    primary: info.primary(),
                });
            }
            Err(error) => faults.push(ServerFault {
                name: server.name.clone(),
                address: server.address.clone(),
                error,
            }),
        }
    }
    if faults.is_empty() {
        Ok(servers)
    } else {
        Err(faults)
    }
}

fn greet(
    server: &ServerConfig,
    (auth, tls): (Option<&ServerAuth>, Option<&TlsConnector>),
    is_reader: bool,
) -> Result<(Connection, Info), ServerError> {
    let options = ConnectOptions {
        auth,
        tls,
        ..ConnectOptions::default()
    };
    let mut connection = Connection::open(&server.address, &options)?;
    if is_reader {
        // First of all. One that may not is a stranger, and reads all the same.
        let _ = connection.call(&[b"CLIENT", b"SETNAME", READER.as_bytes()]);
    }
    let info = connection.info()?;
    Ok((connection, info))
}
