//! The listener of the stats port: detects the protocol of each connection, and answers.

use std::io;
use std::net;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::places::{Place, PlacedStream};
use super::{State, accept, routes};
use crate::net::AcceptGate;
use crate::net::tls;
use crate::net::tls::TlsError;

/// The time limit for a first byte; without one the client is a plain reader. HTTP clients send theirs right after
/// connecting; people and scripts that wait for the JSON should not notice.
const FIRST_BYTE_WITHIN: Duration = Duration::from_millis(100);
/// The same, where a browser has made requests lately.
const FIRST_BYTE_OF_BROWSER_WITHIN: Duration = Duration::from_secs(1);
/// The time limit for a TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// The time limit for a client to close after the JSON was sent.
const LINGER: Duration = Duration::from_secs(1);

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

/// Binds the port. `addr` is an address or a name that resolves to one; the error names both.
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

/// Serves the port behind `gate` until `shutdown` is cancelled. Runs on a tokio runtime with I/O and time; fails only if the listener
/// cannot be registered there.
pub async fn serve(
    listener: net::TcpListener,
    state: Arc<State>,
    gate: AcceptGate,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let router = routes::router(Arc::clone(&state));
    accept::serve(listener, gate, shutdown, |stream, place| {
        answer(stream, place, Arc::clone(&state), router.clone())
    })
    .await;
    Ok(())
}

async fn answer(stream: TcpStream, place: Arc<Place>, state: Arc<State>, router: Router) {
    let from = stream.peer_addr().ok().map(|address| address.ip());
    if let Some(tls) = &state.tls {
        let acceptor = tls.load_full();
        let accepting = tls::accept(stream, &acceptor, None);
        let accepted = timeout(HANDSHAKE_WITHIN, Box::pin(accepting)).await;
        let result = match accepted.unwrap_or(Err(TlsError::TimedOut)) {
            Ok(stream) => {
                let stream = PlacedStream::new(stream, Arc::clone(&place));
                http(stream, from, place, &state, router).await
            }
            Err(TlsError::Unused) => Ok(()),
            Err(error) => {
                let client = from.map(|from| from.to_string()).unwrap_or_default();
                return warn!(client, reason = %error, "client of the stats port refused");
            }
        };
        if let Err(error) = result {
            debug!(%error, "connection to the stats port failed");
        }
        return;
    }
    let mut received = peek(&stream, FIRST_BYTE_WITHIN).await;
    // It may have become known as one meanwhile: a browser opens several connections before its first request.
    let is_browser = || from.is_some_and(|from| state.browsers.has(from));
    if matches!(received, Ok(Received::Nothing)) && is_browser() {
        let rest = FIRST_BYTE_OF_BROWSER_WITHIN.saturating_sub(FIRST_BYTE_WITHIN);
        received = peek(&stream, rest).await;
    }
    let stream = PlacedStream::new(stream, Arc::clone(&place));
    let result = match received {
        Ok(Received::Http) => http(stream, from, place, &state, router).await,
        Ok(Received::Nothing) => plain(stream, &place, &state, false).await,
        Ok(Received::Other) => plain(stream, &place, &state, true).await,
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        debug!(%error, "connection to the stats port failed");
    }
}

/// The first bytes of a client.
enum Received {
    Http,
    /// Nothing within the time limit, or the end of its stream.
    Nothing,
    Other,
}

/// Peeks at the first bytes.
async fn peek(stream: &TcpStream, within: Duration) -> io::Result<Received> {
    let mut first = [0; 8];
    let Ok(peeked) = timeout(within, stream.peek(&mut first)).await else {
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

async fn http<S: AsyncRead + AsyncWrite + Unpin>(
    stream: PlacedStream<S>,
    from: Option<IpAddr>,
    place: Arc<Place>,
    state: &State,
    router: Router,
) -> io::Result<()> {
    let router = TowerToHyperService::new(router);
    let answer = service_fn(|request: Request<Incoming>| {
        if let Some(from) = from {
            state.browsers.note(from, request.headers());
        }
        let is_quick = !routes::asks_servers(request.uri().path());
        let response = router.call(request);
        let place = &place;
        async move {
            // Who waits for servers makes room for who asks how the proxy is.
            let _owed = is_quick.then(|| place.owe());
            response.await
        }
    });
    accept::http()
        .serve_connection(TokioIo::new(stream), answer)
        .await
        .map_err(io::Error::other)
}

async fn plain(
    mut stream: PlacedStream<TcpStream>,
    place: &Place,
    state: &State,
    has_sent: bool,
) -> io::Result<()> {
    let json = {
        let _owed = place.owe();
        state.json().await
    };
    stream.write_all(json.as_bytes()).await?;
    stream.shutdown().await?;
    if has_sent {
        // Closing with unread bytes resets the connection, and the reset may overtake the JSON.
        let mut rest = [0; 1024];
        let drain = async { while stream.read(&mut rest).await.is_ok_and(|len| len > 0) {} };
        let _ = timeout(LINGER, drain).await;
    }
    Ok(())
}
