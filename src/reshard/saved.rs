//! Waits until a destination has the copies safe: after that the originals may be unlinked.

use std::thread;
use std::time::{Duration, Instant};

use crate::protocol::redis::resp::inspect;
use crate::redis_client::Info;
use crate::reshard::board::Board;
use crate::reshard::error::ReshardError;
use crate::reshard::server::Server;

const POLL_EVERY: Duration = Duration::from_millis(50);
/// The time for which a server may refuse to begin saving: while it saves already, or rewrites its log.
const BEGIN_WITHIN: Duration = Duration::from_secs(600);
/// The longest wait for a replica, or for the log.
const ANSWER_MS: &str = "10000";

/// How a server keeps its keys over its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// It appends each change to a file.
    Log,
    /// It has replicas.
    Replicas,
    /// It saves all now and then.
    Snapshots,
    /// Not at all.
    Nothing,
}

/// Asks a server how it keeps its keys.
pub(super) fn keeping(server: &Server) -> Result<Keeping, ReshardError> {
    let info = server.ask(crate::redis_client::Connection::info)?;
    let save = server.ask(|connection| {
        connection.queue(&[b"CONFIG", b"GET", b"save"]);
        connection.finish()
    })?;
    // A server that does not tell is believed to save.
    let pairs = save.first().and_then(|reply| inspect::pairs(reply));
    let saves = pairs.is_none_or(|pairs| pairs.iter().any(|(_, value)| !value.is_empty()));
    Ok(kept(&info, saves))
}

fn kept(info: &Info, saves: bool) -> Keeping {
    if info.number("aof_enabled") == Some(1) {
        Keeping::Log
    } else if info.number("connected_slaves").unwrap_or_default() > 0 {
        Keeping::Replicas
    } else if saves {
        Keeping::Snapshots
    } else {
        Keeping::Nothing
    }
}

/// Waits until all that was written there before is safe; returns false if it was told to end before.
pub(super) fn await_saved(
    server: &Server,
    board: &Board,
    accepts_nothing: bool,
) -> Result<bool, ReshardError> {
    let keeping = keeping(server)?;
    match keeping {
        Keeping::Log => log_is_synced(server)?,
        Keeping::Replicas if has_replica_in_sync(server)? => {}
        Keeping::Replicas | Keeping::Snapshots => return snapshot(server, board),
        Keeping::Nothing if accepts_nothing => {}
        Keeping::Nothing => {
            return Err(ReshardError::Unsafe {
                server: server.at.to_string(),
            });
        }
    }
    Ok(true)
}

/// WAITAOF tells since Redis 7.2; before, a log that is written is synced within a second. With `appendfsync no` the system
/// syncs it when it likes, and WAITAOF waits for that.
fn log_is_synced(server: &Server) -> Result<(), ReshardError> {
    let policy = server.ask(|connection| {
        connection.queue(&[b"CONFIG", b"GET", b"appendfsync"]);
        connection.finish()
    })?;
    let pairs = policy.first().and_then(|reply| inspect::pairs(reply));
    let is_left_to_system =
        pairs.is_some_and(|pairs| pairs.iter().any(|(_, value)| *value == b"no"));
    let reply = if is_left_to_system {
        Vec::new()
    } else {
        server.ask(|connection| {
            connection.queue(&[b"WAITAOF", b"1", b"0", ANSWER_MS.as_bytes()]);
            connection.finish()
        })?
    };
    let counts = reply.first().and_then(|reply| inspect::integers(reply));
    let unsaved = |reason: &str| ReshardError::Unsaved {
        server: server.at.to_string(),
        reason: reason.to_owned(),
    };
    match counts.as_deref() {
        Some([synced, ..]) if *synced > 0 => Ok(()),
        Some(_) => Err(unsaved("WAITAOF was not answered within 10 s")),
        None => {
            let info = server.ask(crate::redis_client::Connection::info)?;
            match info.text("aof_last_write_status") {
                Some("ok") | None => Ok(()),
                Some(status) => Err(unsaved(&format!("aof_last_write_status is '{status}'"))),
            }
        }
    }
}

fn has_replica_in_sync(server: &Server) -> Result<bool, ReshardError> {
    let reply = server.call(&["WAIT", "1", ANSWER_MS])?;
    Ok(inspect::integer(&reply).unwrap_or_default() > 0)
}

/// Has it save all, and waits for it.
fn snapshot(server: &Server, board: &Board) -> Result<bool, ReshardError> {
    let until = Instant::now() + BEGIN_WITHIN;
    let is_saving = |info: &Info| info.number("rdb_bgsave_in_progress") == Some(1);
    let mut has_begun = false;
    loop {
        if board.is_ending() {
            return Ok(false);
        }
        let info = server.ask(crate::redis_client::Connection::info)?;
        if has_begun && !is_saving(&info) {
            return match info.text("rdb_last_bgsave_status") {
                Some("ok") => Ok(true),
                status => Err(ReshardError::Unsaved {
                    server: server.at.to_string(),
                    reason: format!(
                        "rdb_last_bgsave_status is '{}'; its log says why",
                        status.unwrap_or_default()
                    ),
                }),
            };
        }
        if !has_begun && !is_saving(&info) {
            // A save that began before does not have all copies.
            match server.call(&["BGSAVE"]) {
                Ok(_) => has_begun = true,
                Err(error) if Instant::now() > until => return Err(error),
                // It rewrites its log.
                Err(_) => {}
            }
        }
        thread::sleep(POLL_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_way_in_which_keys_are_kept_counts() {
        for (info, saves, expected) in [
            ("aof_enabled:1\nconnected_slaves:0", false, Keeping::Log),
            ("aof_enabled:0\nconnected_slaves:1", true, Keeping::Replicas),
            (
                "aof_enabled:0\nconnected_slaves:0",
                true,
                Keeping::Snapshots,
            ),
            ("aof_enabled:0\nconnected_slaves:0", false, Keeping::Nothing),
        ] {
            assert_eq!(kept(&Info::read(info.as_bytes()), saves), expected);
        }
    }
}
