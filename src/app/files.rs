//! File descriptors: how many clients there may be.

use crate::runtime::PoolSetup;

/// File descriptors reserved for the log, the stats port and the like, as in nutcracker.
const RESERVED_FILES: usize = 32;

/// The number of clients and dedicated connections that file descriptors suffice for, once the shared server
/// connections have theirs: those for RESP3 too, though they are only opened for clients that use it; not those for
/// other databases, which few pools use.
pub(super) fn client_limit(pools: &[PoolSetup], workers: usize) -> usize {
    let files = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => usize::try_from(files).unwrap_or(usize::MAX),
        Err(error) => {
            tracing::warn!(%error, "the limit of file descriptors is not known");
            return usize::MAX;
        }
    };
    let needed: usize = pools
        .iter()
        .map(|pool| 1 + pool.server_connections() * workers + pool.watcher_connections())
        .sum();
    let limit = files
        .saturating_sub(needed + RESERVED_FILES + workers * 4)
        .max(1);
    tracing::info!(files, clients = limit, servers = needed, "file descriptors");
    limit
}
