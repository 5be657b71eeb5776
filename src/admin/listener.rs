//! The listener of the port: accepts connections, detects the protocol and enforces time limits.

use std::io;
use std::net;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::places::{Place, PlacedStream, Places};
use super::{State, routes};

/// The maximum number of connections. For a further one, the one that has been silent longest is closed.
const CONNECTIONS: usize = 64;
/// The time limit for a first byte; without one the client is a plain reader. HTTP clients send theirs right after
/// connecting; people and scripts that wait for the JSON should not notice.
const FIRST_BYTE_WITHIN: Duration = Duration::from_millis(100);
/// The time limit for the head of an HTTP request.
const REQUEST_HEAD: Duration = Duration::from_secs(5);
/// The time limit for a whole connection, however slowly its client reads.
const CONNECTION: Duration = Duration::from_secs(30);
/// The time limit for a client to close after the JSON was sent.
const LINGER: Duration = Duration::from_secs(1);
/// The time limit for answers in progress when the port closes.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);
/// The delay after a failed `accept`, which fails when file descriptors run out.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

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

/// Serves the port until `shutdown` is cancelled. Runs on a tokio runtime with I/O and time; fails only if the listener
/// cannot be registered there.
pub async fn serve(
    listener: net::TcpListener,
    state: Arc<State>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let router = routes::router(Arc::clone(&state));
    let mut connections = JoinSet::new();
    let mut places = Places::new(CONNECTIONS);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            () = places.may_have_room() => {}
            accepted = listener.accept(), if places.has_room() => match accepted {
                Ok((stream, _)) => {
                    let place = places.place();
                    let answer = answer(stream, Arc::clone(&place), Arc::clone(&state), router.clone());
                    let task = connections.spawn(timeout(CONNECTION, answer));
                    places.take(place, task);
                    // It reads its request before the next one is accepted, which might take its place.
                    yield_now().await;
                }
                Err(error) => {
                    warn!(%error, "failed to accept a connection on the stats port");
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(DRAIN_WITHIN, finish).await;
    Ok(())
}

async fn answer(stream: TcpStream, place: Arc<Place>, state: Arc<State>, router: Router) {
    let received = peek(&stream).await;
    let stream = PlacedStream::new(stream, Arc::clone(&place));
    let result = match received {
        Ok(Received::Http) => http(stream, place, router).await,
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
async fn peek(stream: &TcpStream) -> io::Result<Received> {
    let mut first = [0; 8];
    let Ok(peeked) = timeout(FIRST_BYTE_WITHIN, stream.peek(&mut first)).await else {
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

async fn http(
    stream: PlacedStream<TcpStream>,
    place: Arc<Place>,
    router: Router,
) -> io::Result<()> {
    let router = TowerToHyperService::new(router);
    let answer = service_fn(|request| {
        let response = router.call(request);
        async {
            let _owed = place.owe();
            response.await
        }
    });
    http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_HEAD)
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
