//! A connected socket: TCP, plain or with TLS, or unix.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::tls::{TlsConnector, TlsError, TlsStream};
use super::{ConnectError, Peer, ServerAddr};

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
    /// Over TCP, encrypted.
    Tls(Box<TlsStream>),
}

/// How connections to servers are made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dial<'a> {
    /// Probe peers from which nothing has come for minutes.
    pub keepalive: bool,
    /// Encrypt.
    pub tls: Option<&'a TlsConnector>,
}

/// The time limit for a TLS handshake with a server. The caller may have a shorter one for all.
const TLS_WITHIN: Duration = Duration::from_secs(10);

/// A socket that was accepted on one thread, for use on another.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Stream {
    /// Connects to a server. Its name is resolved at each call, off this thread, and every address is tried in turn, unless
    /// the one to use is `known`.
    pub async fn connect(
        address: &ServerAddr,
        known: Option<SocketAddr>,
        dial: Dial<'_>,
    ) -> Result<Self, ConnectError> {
        let (host, port) = match address {
            ServerAddr::Tcp { host, port } => (host, *port),
            ServerAddr::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                return stream.map(Self::Unix).map_err(ConnectError::Connect);
            }
        };
        let connected = if let Some(address) = known {
            TcpStream::connect(address).await
        } else {
            let found = resolve(host, port).await;
            connect_any(&found.map_err(ConnectError::Resolve)?).await
        };
        let stream = connected.map_err(ConnectError::Connect)?;
        tune(&stream, dial.keepalive).map_err(ConnectError::Connect)?;
        let Some(tls) = dial.tls else {
            return Ok(Self::Tcp(stream));
        };
        let connected = timeout(TLS_WITHIN, tls.connect(stream, host)).await;
        let connected = connected.unwrap_or(Err(TlsError::TimedOut));
        let stream = connected.map_err(ConnectError::Tls)?;
        Ok(Self::Tls(Box::new(stream)))
    }

    /// The socket of TCP.
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.tcp()),
            Self::Unix(_) => None,
        }
    }

    /// The socket of TCP alone: what TLS knows of it is lost.
    pub(super) fn into_tcp(self) -> Option<TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.into_tcp()),
            Self::Unix(_) => None,
        }
    }

    /// Returns true if its bytes are encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The peer's address; `None` over a unix socket.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.tcp()?.peer_addr().ok()
    }

    /// Registers an accepted socket on the worker's thread.
    pub fn adopt(accepted: Accepted, keepalive: bool) -> io::Result<Self> {
        match accepted {
            Accepted::Tcp(stream) => {
                let stream = TcpStream::from_std(stream)?;
                tune(&stream, keepalive)?;
                Ok(Self::Tcp(stream))
            }
            Accepted::Unix(stream) => UnixStream::from_std(stream).map(Self::Unix),
        }
    }

    /// Who the peer is: its address, or its user over a unix socket.
    pub fn peer_identity(&self) -> Option<Peer> {
        match self {
            Self::Unix(stream) => user_of(stream),
            Self::Tcp(_) | Self::Tls(_) => {
                let address = self.peer_address()?;
                Some(Peer::Ip(address.ip()))
            }
        }
    }

    /// The peer's address, or the path of a unix socket with `:0` behind it, as Redis shows it.
    pub fn peer(&self) -> String {
        match self.tcp() {
            Some(stream) => shown(stream.peer_addr()),
            None => self.local(),
        }
    }

    /// The local address, likewise.
    pub fn local(&self) -> String {
        match self {
            Self::Tcp(stream) => shown(stream.local_addr()),
            Self::Tls(stream) => shown(stream.tcp().local_addr()),
            Self::Unix(stream) => {
                let address = stream.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                path.map_or_else(|| UNKNOWN.into(), |path| format!("{}:0", path.display()))
            }
        }
    }
}

/// The user of the process that has connected.
fn user_of(socket: &impl AsFd) -> Option<Peer> {
    let credentials = rustix::net::sockopt::socket_peercred(socket).ok()?;
    Some(Peer::Uid(credentials.uid.as_raw()))
}

/// The placeholder of an address that the system does not report.
const UNKNOWN: &str = "unknown";

fn shown(address: io::Result<SocketAddr>) -> String {
    address.map_or_else(|_| UNKNOWN.into(), |address| address.to_string())
}

impl Stream {
    /// Enables keepalive probes that detect within half a minute that the peer is gone, although nothing is sent.
    pub fn watch_peer(&self) -> io::Result<()> {
        let Some(stream) = self.tcp() else {
            return Ok(());
        };
        let probe = TcpKeepalive::new()
            .with_time(Duration::from_secs(15))
            .with_interval(Duration::from_secs(5))
            .with_retries(3);
        SockRef::from(stream).set_tcp_keepalive(&probe)
    }

    /// Says that nothing more is sent, if the peer can be told and there is room for it.
    pub fn say_end(&mut self, cx: &mut Context<'_>) {
        if let Self::Tls(stream) = self {
            let _ = Pin::new(&mut **stream).poll_shutdown(cx);
        }
    }

    /// Has the connection reset when it is closed: what was not sent is dropped, and so is what the peer has received and
    /// not read, on most systems.
    pub fn reset_on_close(&self) {
        if let Some(stream) = self.tcp() {
            // Fails only if the connection has ended already.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Returns true if the peer has closed or shut down its side, even behind bytes that were not read.
    pub fn is_hung_up(&self, cx: &mut Context<'_>) -> bool {
        let ready = match self {
            Self::Tcp(stream) => pin!(stream.ready(Interest::READABLE)).poll(cx),
            Self::Tls(stream) => pin!(stream.tcp().ready(Interest::READABLE)).poll(cx),
            Self::Unix(stream) => pin!(stream.ready(Interest::READABLE)).poll(cx),
        };
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }
}

/// Resolves a name.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = lookup_host((host, port)).await?.collect();
    if found.is_empty() {
        Err(io::ErrorKind::NotFound.into())
    } else {
        Ok(found)
    }
}

/// Connects to the first address that accepts the connection.
async fn connect_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn tune(stream: &TcpStream, keepalive: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if keepalive {
        let probe = TcpKeepalive::new()
            .with_time(Duration::from_secs(300))
            .with_interval(Duration::from_secs(60));
        SockRef::from(stream).set_tcp_keepalive(&probe)?;
    }
    Ok(())
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.tcp().as_fd(),
        }
    }
}

impl Accepted {
    /// Who the peer is, as [`Stream::peer_identity`].
    pub fn peer(&self) -> Option<Peer> {
        match self {
            Self::Tcp(stream) => stream
                .peer_addr()
                .ok()
                .map(|address| Peer::Ip(address.ip())),
            Self::Unix(stream) => user_of(stream),
        }
    }

    /// A connection that another process has accepted.
    pub fn of(socket: OwnedFd) -> io::Result<Self> {
        let is_tcp = SockRef::from(&socket).local_addr()?.as_socket().is_some();
        Ok(if is_tcp {
            Self::Tcp(socket.into())
        } else {
            Self::Unix(socket.into())
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
