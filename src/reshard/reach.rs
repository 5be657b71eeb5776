//! The servers of a move that answer, and their marks.

use crate::config::{PoolConfig, ServerConfig};
use crate::reshard::ended::is_needed;
use crate::reshard::error::ReshardError;
use crate::reshard::knowledge::Marks;
use crate::reshard::server::{Names, Server};
use crate::topology::Placement;

/// The servers of a move.
#[derive(Debug)]
pub(super) struct Reached {
    /// Those that answer.
    pub(super) servers: Vec<Server>,
    /// The others, which need not: each with its error.
    pub(super) without: Vec<String>,
}

/// Connects to the servers of a move; fails if one does not answer that is needed.
pub(super) fn reach(
    pool: &PoolConfig,
    names: &Names,
    move_id: &str,
    (before, after): (&Placement, &Placement),
) -> Result<Reached, ReshardError> {
    let configs = before.servers_in_move(after);
    let mut servers = Vec::new();
    let mut faults: Vec<(&ServerConfig, String)> = Vec::new();
    for (config, opened) in configs.iter().zip(Server::open_each(pool, names, &configs)) {
        match opened {
            Ok(server) => servers.push(server),
            Err(error) => faults.push((config, error.to_string())),
        }
    }
    if !faults.is_empty() {
        let marks = read_marks(&servers, names)?;
        let is_needed = |config: &ServerConfig| is_needed(&marks, move_id, (before, after), config);
        let needed = faults.iter().filter(|(config, _)| is_needed(config));
        let needed: Vec<_> = needed.map(|(_, fault)| fault.clone()).collect();
        if !needed.is_empty() {
            return Err(ReshardError::Servers(needed));
        }
    }
    Ok(Reached {
        servers,
        without: faults.into_iter().map(|(_, fault)| fault).collect(),
    })
}

/// Reads the marks of servers.
pub(super) fn read_marks(servers: &[Server], names: &Names) -> Result<Marks, ReshardError> {
    let read = |server: &Server| Ok((server.name.clone(), server.read_mark(names)?));
    servers.iter().map(read).collect()
}
