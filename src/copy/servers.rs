//! The servers of both pools, connected, and what they say about themselves.

use std::collections::HashMap;

use crate::config::PoolConfig;
use crate::copy::error::CopyError;
use crate::copy::job::Job;
use crate::mover::{DatabasePair, Endpoint};
use crate::protocol::redis::resp::inspect;
use crate::redis_client::{Connection, Info, ServerError};

/// A process, under one of its names.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) at: Endpoint,
    pub(super) connection: Connection,
    pub(super) info: Info,
}

impl Server {
    /// The run id; one that does not tell is known by its address.
    pub(super) fn id(&self) -> String {
        let id = self.info.run_id().map(str::to_owned);
        id.unwrap_or_else(|| self.at.address.to_string())
    }

    /// The failure of a request to it.
    pub(super) fn fault(&self, error: ServerError) -> CopyError {
        self.at.fault(error).into()
    }
}

/// Both sides.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) sources: Vec<Server>,
    /// By position in the pool, the position in `sources`.
    pub(super) source_of: Vec<usize>,
    pub(super) destinations: Vec<Server>,
    /// By position in the pool, the position in `destinations`.
    pub(super) destination_of: Vec<usize>,
    pub(super) databases: Vec<DatabasePair>,
    /// The keys of the sources in these databases, at the start.
    pub(super) keys: u64,
}

impl Sides {
    /// Connects to all servers; reports every one that fails.
    pub(super) fn open(job: &Job<'_>) -> Result<Self, CopyError> {
        let databases = databases(job)?;
        let (sources, destinations) = (open(job.from, job), open(job.to, job));
        let ((sources, source_of), (destinations, destination_of)) = match (sources, destinations) {
            (Ok(sources), Ok(destinations)) => (sources, destinations),
            (sources, destinations) => {
                let faults = [sources.err(), destinations.err()];
                let faults = faults.into_iter().flatten().flatten().collect();
                return Err(CopyError::Servers(faults));
            }
        };
        let is_copied = |number| databases.iter().any(|pair| pair.source == number);
        let keys = sources.iter().flat_map(|server| server.info.databases());
        let keys = keys.filter(|(number, _)| is_copied(*number));
        Ok(Self {
            keys: keys.map(|(_, keys)| keys).sum(),
            sources,
            source_of,
            destinations,
            destination_of,
            databases,
        })
    }
}

/// The processes of a pool, and for each of its servers the position of its process.
type Opened = (Vec<Server>, Vec<usize>);

fn open(pool: &PoolConfig, job: &Job<'_>) -> Result<Opened, Vec<String>> {
    let mut servers: Vec<Server> = Vec::new();
    let mut positions = Vec::new();
    let mut by_id: HashMap<String, usize> = HashMap::new();
    let mut faults = Vec::new();
    for config in &pool.servers {
        let at = Endpoint::of(pool, config);
        let opened = at
            .connect(&client_name(job), false)
            .and_then(|mut connection| {
                let info = connection.info().map_err(|error| at.fault(error))?;
                Ok((connection, info))
            });
        match opened {
            Ok((connection, info)) => {
                let server = Server {
                    at,
                    connection,
                    info,
                };
                let position = *by_id.entry(server.id()).or_insert(servers.len());
                positions.push(position);
                if position == servers.len() {
                    servers.push(server);
                }
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    if faults.is_empty() {
        Ok((servers, positions))
    } else {
        Err(faults)
    }
}

/// A connection of another copy to a destination: that of its change feed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rival {
    pub(super) client_name: String,
    pub(super) address: String,
}

impl Server {
    /// The other copies that are connected to it.
    pub(super) fn rivals(&mut self) -> Result<Vec<Rival>, CopyError> {
        let clients = self.connection.call(&[b"CLIENT", b"LIST"]);
        let clients = clients.map_err(|error| self.fault(error))?;
        let clients = String::from_utf8_lossy(inspect::bulk(&clients).unwrap_or_default());
        Ok(clients.lines().filter_map(rival).collect())
    }
}

/// Reads a line of CLIENT LIST. Only feeds subscribe, so connections of this copy are none yet.
fn rival(line: &str) -> Option<Rival> {
    let field = |name: &str| {
        let mut fields = line.split(' ').filter_map(|field| field.split_once('='));
        fields.find_map(|(key, value)| (key == name).then_some(value))
    };
    let client_name = field("name").filter(|name| name.starts_with(NAME_PREFIX))?;
    (field("sub")? != "0").then(|| Rival {
        client_name: client_name.to_owned(),
        address: field("addr").unwrap_or_default().to_owned(),
    })
}

/// The beginning of the names of all connections.
const NAME_PREFIX: &str = "rr-copy/";

/// The name of all connections: the prefix and the pool, without the bytes that servers refuse in names.
pub(super) fn client_name(job: &Job<'_>) -> String {
    let name = job.from.name.chars();
    let name: String = name
        .map(|c| if c.is_ascii_graphic() { c } else { '_' })
        .collect();
    format!("{NAME_PREFIX}{name}")
}

/// The databases of the first pool that clients use, with those of the other one: the one that they start with, if the first
/// pool has one; otherwise all that they can select, under the same numbers.
fn databases(job: &Job<'_>) -> Result<Vec<DatabasePair>, CopyError> {
    let (from, to) = (job.from, job.to);
    if from.databases == 1 {
        return Ok(vec![DatabasePair {
            source: from.redis_db,
            destination: to.redis_db,
        }]);
    }
    let mut numbers: Vec<u32> = (0..from.databases).collect();
    if !numbers.contains(&from.redis_db) {
        numbers.push(from.redis_db);
    }
    let pair = |database: u32| {
        if database == to.redis_db || database < to.databases {
            return Ok(DatabasePair {
                source: database,
                destination: database,
            });
        }
        Err(CopyError::Database {
            from: from.name.clone(),
            to: to.name.clone(),
            database,
        })
    };
    numbers.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rivals_are_the_feeds_of_other_copies() {
        let line = |name: &str, sub: u8| {
            format!(
                "id=3 addr=10.0.0.9:5123 laddr=10.0.0.1:6379 fd=8 name={name} age=1 db=0 sub={sub} psub=0"
            )
        };
        let found = Rival {
            client_name: "rr-copy/p".to_owned(),
            address: "10.0.0.9:5123".to_owned(),
        };
        assert_eq!(rival(&line("rr-copy/p", 1)), Some(found));
        for other in [line("rr-copy/p", 0), line("rr-move/p", 1), line("", 1)] {
            assert_eq!(rival(&other), None, "{other}");
        }
    }
}
