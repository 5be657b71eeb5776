//! The servers of the pool, connected, and what they say about themselves.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use crate::config::{PoolConfig, ServerConfig};
use crate::net::ServerAddr;
use crate::protocol::redis::resp::inspect;
use crate::verify::connection::{Connection, ServerError};

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

/// Connects to all servers of a pool, in its order; reports every one that fails.
pub(super) fn open(pool: &PoolConfig) -> Result<Vec<Server>, Vec<ServerFault>> {
    let mut instances: HashMap<String, usize> = HashMap::new();
    let mut servers = Vec::new();
    let mut faults = Vec::new();
    for (index, server) in pool.servers.iter().enumerate() {
        match greet(server, pool.redis_auth.as_deref()) {
            Ok((connection, about)) => {
                // A server that does not tell is known by its address.
                let is_identified = about.run_id.is_some();
                let id = about.run_id.unwrap_or_else(|| server.address.to_string());
                servers.push(Server {
                    index,
                    name: server.name.clone(),
                    address: server.address.clone(),
                    connection: RefCell::new(connection),
                    instance: *instances.entry(id).or_insert(index),
                    databases: about.databases,
                    is_identified,
                    primary: about.primary,
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
    password: Option<&[u8]>,
) -> Result<(Connection, About), ServerError> {
    let mut connection = Connection::open(&server.address, password)?;
    let reply = connection.call(&[b"INFO"])?;
    let info = inspect::bulk(&reply).ok_or(ServerError::BadReply)?;
    Ok((connection, About::read(&String::from_utf8_lossy(info))))
}

/// What INFO says.
#[derive(Debug, Default, PartialEq, Eq)]
struct About {
    run_id: Option<String>,
    primary: Option<String>,
    databases: Vec<(u32, u64)>,
}

impl About {
    fn read(info: &str) -> Self {
        let fields: HashMap<&str, &str> = info
            .lines()
            .filter_map(|line| line.trim_end().split_once(':'))
            .collect();
        let field = |name: &str| fields.get(name).copied();
        let primary = field("role")
            .filter(|role| *role == "slave")
            .map(|_| [field("master_host"), field("master_port")].map(Option::unwrap_or_default));
        let mut databases: Vec<_> = fields.iter().filter_map(database).collect();
        databases.sort_unstable();
        Self {
            run_id: field("run_id").map(str::to_owned),
            primary: primary.map(|[host, port]| format!("{host}:{port}")),
            databases,
        }
    }
}

/// Reads `db0` and `keys=5,expires=0,avg_ttl=0`.
fn database((name, value): (&&str, &&str)) -> Option<(u32, u64)> {
    let number = name.strip_prefix("db")?.parse().ok()?;
    let mut counts = value.split(',');
    let keys = counts.find_map(|count| count.strip_prefix("keys="))?;
    Some((number, keys.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_tells_identity_role_and_databases() {
        let info = "# Server\r\nrun_id:abc\r\n# Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\n\
                    master_port:6379\r\n# Keyspace\r\ndb3:keys=1,expires=0,avg_ttl=0\r\ndb0:keys=5,expires=1\r\n";
        let expected = About {
            run_id: Some("abc".to_owned()),
            primary: Some("10.0.0.1:6379".to_owned()),
            databases: vec![(0, 5), (3, 1)],
        };
        assert_eq!(About::read(info), expected);
        assert_eq!(
            About::read("role:master\nmaster_host:x\n"),
            About::default()
        );
    }
}
