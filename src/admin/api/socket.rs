//! The unix socket: permissions, and the connections to it.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::error::ControlError;
use super::{Access, Control, dispatch, take_over};
use crate::admin::accept;
use crate::admin::guard::Guard;
use crate::admin::page;
use crate::admin::places::{Place, PlacedStream};
use crate::handover::TAKE_OVER_PATH;
use crate::net::{AcceptGate, ListenAddr, Listener, SocketFile};

/// The permission bits of the socket: only the user of the proxy.
const MODE: u32 = 0o600;
/// The maximum number of connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// A bound admin socket. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    /// Removed first, while the socket still listens: a successor does not mistake it for a stale one.
    file: Arc<SocketFile>,
    listener: UnixListener,
}

impl AdminSocket {
    /// Takes a socket at this path that another process has opened. Its file belongs to that process. Must be called within a
    /// runtime.
    pub fn adopt(socket: OwnedFd, path: &Path) -> io::Result<Self> {
        let mut listener = Listener::adopt(socket)?;
        listener.readdress(&address(path))?;
        Self::of(listener)
    }

    fn of(listener: Listener) -> io::Result<Self> {
        match listener {
            Listener::Unix(file, listener) => Ok(Self {
                file: Arc::new(file),
                listener,
            }),
            Listener::Tcp(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Its file.
    #[must_use]
    pub fn file(&self) -> Arc<SocketFile> {
        Arc::clone(&self.file)
    }
}

impl AsFd for AdminSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Binds the socket. A file at its path is replaced only if it is a socket that nobody listens on. Must be called within
/// a runtime.
pub fn bind(path: &Path) -> io::Result<AdminSocket> {
    match Listener::bind(&address(path), BACKLOG, false) {
        Ok(listener) => AdminSocket::of(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(io::Error::new(
            error.kind(),
            "another process listens there",
        )),
        Err(error) => Err(error),
    }
}

fn address(path: &Path) -> ListenAddr {
    ListenAddr::Unix {
        path: path.to_owned(),
        mode: Some(MODE),
    }
}

/// Serves the socket behind `gate` until `shutdown` is cancelled. Runs on a tokio runtime with I/O and time.
pub async fn serve(
    socket: AdminSocket,
    control: Arc<dyn Control>,
    gate: AcceptGate,
    shutdown: CancellationToken,
) {
    let AdminSocket { file, listener } = socket;
    let guard = Arc::new(Guard::new(None));
    accept::serve(listener, gate, shutdown, |stream, place| {
        answer(stream, place, Arc::clone(&control), Arc::clone(&guard))
    })
    .await;
    drop(file);
}

async fn answer(
    stream: UnixStream,
    place: Arc<Place>,
    control: Arc<dyn Control>,
    guard: Arc<Guard>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (control, place, guard) = (&control, &place, &guard);
        async move { Ok::<_, Infallible>(respond(request, place, guard, &**control).await) }
    });
    let stream = TokioIo::new(PlacedStream::new(stream, Arc::clone(&place)));
    let serving = accept::http().serve_connection(stream, service);
    if let Err(error) = serving.with_upgrades().await {
        debug!(%error, "connection to the admin socket failed");
    }
}

async fn respond(
    request: Request<Incoming>,
    place: &Place,
    guard: &Guard,
    control: &dyn Control,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    if let Err(untrusted) = guard.check(&head) {
        return dispatch::refuse(&untrusted.into());
    }
    if head.uri.path() == TAKE_OVER_PATH {
        let _owed = place.owe();
        return take_over::respond(Request::from_parts(head, body), control).await;
    }
    if let Some(page) = page::respond(&head, "", Access::Full) {
        return page;
    }
    let max_bytes = dispatch::body_max_bytes(&head);
    // Until the request is complete, nothing is owed: a client that sends half of it makes room for another.
    let Ok(body) = to_bytes(Body::new(body), max_bytes).await else {
        let text = format!("the body is incomplete, or longer than {max_bytes} bytes");
        return dispatch::refuse(&ControlError::Malformed(text));
    };
    let _owed = place.owe();
    dispatch::respond(control, Access::Full, &head, head.uri.path(), &body).await
}
