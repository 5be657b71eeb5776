//! The port itself: who connects, which of the two languages they speak, and how long they may stay.

use std::io;
use std::net;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{State, routes};

/// Connections at a time. More wait in the backlog of the port.
const CONNECTIONS: usize = 64;
/// How long the port waits for a first byte before it takes the client for a plain reader. HTTP clients send theirs
/// with the handshake; people and scripts that wait for the JSON should not notice.
const SILENCE: Duration = Duration::from_millis(100);
/// How long the head of an HTTP request may take.
const REQUEST_HEAD: Duration = Duration::from_secs(5);
/// How long one connection may take in all, however slowly its client reads.
const CONNECTION: Duration = Duration::from_secs(30);
/// How long the port waits for a client to close after the JSON was sent.
const LINGER: Duration = Duration::from_secs(1);
/// How long answers may take that are under way when the port closes.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the port rests after an `accept` that failed, which it does when file descriptors run out.
const REST: Duration = Duration::from_millis(100);

const METHODS: [&[u8]; 9] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
    b"CONNECT ",
];

/// Opens the port. `addr` is an address or a name that resolves to one; the error names both.
pub fn bind(addr: &str, port: u16) -> io::Result<net::TcpListener> {
    let host = addr
        .strip_prefix('[')
        .and_then(|addr| addr.strip_suffix(']'))
        .unwrap_or(addr);
    let open = || {
        let listener = net::TcpListener::bind((host, port))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    open().map_err(|error: io::Error| {
        let text = format!("listening on {addr}:{port} failed: {error}");
        io::Error::new(error.kind(), text)
    })
}

/// Answers on the port until `shutdown` is cancelled. Runs on a tokio runtime with I/O and time; fails only if the
/// listener cannot be registered there.
pub async fn serve(
    listener: net::TcpListener,
    state: Arc<State>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let router = routes::router(Arc::clone(&state));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let answer = answer(stream, Arc::clone(&state), router.clone());
                    connections.spawn(timeout(CONNECTION, answer));
                }
                Err(error) => {
                    warn!(%error, "failed to accept a connection on the stats port");
                    sleep(REST).await;
                }
            },
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(FAREWELL, finish).await;
    Ok(())
}

async fn answer(stream: TcpStream, state: Arc<State>, router: Router) {
    let result = match listen(&stream).await {
        Ok(Received::Http) => http(stream, router).await,
        Ok(Received::Nothing) => plain(stream, &state, false).await,
        Ok(Received::Other) => plain(stream, &state, true).await,
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        debug!(%error, "connection to the stats port failed");
    }
}

/// What a client says first.
enum Received {
    Http,
    /// Nothing within the time, or the end of its stream.
    Nothing,
    Other,
}

/// Looks at the first bytes and leaves them where they are.
async fn listen(stream: &TcpStream) -> io::Result<Received> {
    let mut first = [0; 8];
    let Ok(peeked) = timeout(SILENCE, stream.peek(&mut first)).await else {
        return Ok(Received::Nothing);
    };
    let first = first.get(..peeked?).unwrap_or_default();
    let http = |method: &&[u8]| first.starts_with(method) || method.starts_with(first);
    Ok(match first {
        [] => Received::Nothing,
        _ if METHODS.iter().any(http) => Received::Http,
        _ => Received::Other,
    })
}

async fn http(stream: TcpStream, router: Router) -> io::Result<()> {
    http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
        .map_err(io::Error::other)
}

async fn plain(mut stream: TcpStream, state: &State, spoke: bool) -> io::Result<()> {
    stream.write_all(state.json().await.as_bytes()).await?;
    stream.shutdown().await?;
    if spoke {
        // To close with bytes unread resets the connection, and the reset may overtake the JSON.
        let mut rest = [0; 1024];
        let drain = async { while stream.read(&mut rest).await.is_ok_and(|len| len > 0) {} };
        let _ = timeout(LINGER, drain).await;
    }
    Ok(())
}
