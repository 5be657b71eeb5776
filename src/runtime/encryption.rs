//! The TLS handshake of a client, between its acceptance and its session.

use std::rc::Rc;

use tokio::time::timeout;

use crate::net::Stream;
use crate::net::tls;
use crate::net::tls::{Handshakes, TlsError, Turn};
use crate::runtime::pool::AnyPool;
use crate::stats::PoolMetric;

/// Makes a TLS connection with a client; `None` if that fails.
pub(crate) async fn encrypt(
    stream: Stream,
    client: &str,
    pool: &AnyPool,
    handshakes: &Rc<Handshakes>,
) -> Option<Stream> {
    let cells = pool.cells();
    match handshake(stream, pool, handshakes).await {
        Ok(stream) => {
            cells.bump(PoolMetric::TlsHandshakes);
            Some(stream)
        }
        Err(TlsError::Unused) => {
            cells.bump(PoolMetric::ClientEof);
            None
        }
        Err(error) => {
            cells.bump(PoolMetric::TlsHandshakeErrors);
            cells.bump(PoolMetric::ClientErr);
            let pool = pool.name();
            tracing::warn!(pool, client, reason = %error, "TLS client refused");
            None
        }
    }
}

async fn handshake(
    stream: Stream,
    pool: &AnyPool,
    handshakes: &Rc<Handshakes>,
) -> Result<Stream, TlsError> {
    let (acceptor, within) = pool.tls().ok_or(TlsError::Unloaded)?;
    let Stream::Tcp(tcp) = stream else {
        return Err(TlsError::Address);
    };
    let accepting =
        handshakes.execute(async |turn: &Turn| tls::accept(tcp, &acceptor, Some(turn)).await);
    let accepted = timeout(within, accepting).await;
    let stream = accepted.unwrap_or(Err(TlsError::TimedOut))?;
    Ok(Stream::Tls(Box::new(stream)))
}
