//! Clients that speak TLS where nobody else does.

use crate::net::Stream;
use crate::protocol::Protocol;
use crate::proxy::pool::LocalPool;
use crate::stats::PoolMetric;

/// Returns true if a connection begins as one of TLS does: with a handshake record of any version. No request begins so.
#[inline]
pub(crate) fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x16, 0x03])
}

/// Counts and logs such a client.
#[cold]
pub(crate) fn note<P: Protocol>(stream: &Stream, pool: &LocalPool<P>) {
    pool.cells.bump(PoolMetric::ProtocolErrors);
    let (client, reason) = (stream.peer(), "it speaks TLS on a plain listener");
    tracing::warn!(pool = &*pool.name, client, reason, "client closed");
}
