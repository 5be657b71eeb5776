//! The loop that accepts the connections of a port, and the limits that both ports have.
//!
//! Connections are bounded in number and in time; a silent one makes room for a new one (see `places`). The listeners of
//! the two ports call this module.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::places::{Place, Places};
use crate::net::AcceptGate;

/// The maximum number of connections. For a further one, the one that has been silent longest is closed.
const CONNECTIONS: usize = 64;
/// The time limit for the head of an HTTP request.
const REQUEST_HEAD: Duration = Duration::from_secs(5);
/// The time limit for a client, however slowly it sends or reads. The time until its reply is ready is not counted.
const CONNECTION: Duration = Duration::from_secs(30);
/// The time limit for answers in progress when the port closes.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);
/// The delay after a failed `accept`, which fails when file descriptors run out.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// A listening socket.
pub(super) trait Accept {
    /// A connection of a client.
    type Stream;
    /// The port's name in the log.
    const NAME: &'static str;

    /// Accepts the next connection.
    async fn next(&self) -> io::Result<Self::Stream>;
}

/// Accepts connections behind `gate` until `shutdown` is cancelled, and lets `answer` handle each, concurrently.
pub(super) async fn serve<L, A, F>(
    listener: L,
    gate: AcceptGate,
    shutdown: CancellationToken,
    answer: A,
) where
    L: Accept,
    A: Fn(L::Stream, Arc<Place>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut places = Places::new(CONNECTIONS);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            () = places.may_have_room() => {}
            accepted = next(&listener, &gate), if places.has_room() => match accepted {
                Ok(stream) => {
                    let place = places.place();
                    let answer = answer(stream, Arc::clone(&place));
                    let limit = Arc::clone(&place);
                    let task = connections.spawn(async move {
                        tokio::select! {
                            () = answer => {}
                            () = limit.expired(CONNECTION) => {}
                        }
                    });
                    places.take(place, task);
                    // It reads its request before the next one is accepted, which might take its place.
                    yield_now().await;
                }
                Err(error) => {
                    warn!(%error, "failed to accept a connection on the {}", L::NAME);
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(DRAIN_WITHIN, finish).await;
}

/// Accepts the next connection while the gate is open.
async fn next<L: Accept>(listener: &L, gate: &AcceptGate) -> io::Result<L::Stream> {
    loop {
        gate.opened().await;
        tokio::select! {
            biased;
            () = gate.closed() => {}
            accepted = listener.next() => return accepted,
        }
    }
}

/// An HTTP server for one request on each connection.
pub(super) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.keep_alive(false)
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_HEAD);
    http
}

impl Accept for TcpListener {
    type Stream = TcpStream;
    const NAME: &'static str = "stats port";

    async fn next(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;
    const NAME: &'static str = "admin socket";

    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}
