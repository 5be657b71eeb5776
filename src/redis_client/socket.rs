//! A socket that does not block, TCP or unix, and the wait for it.

use std::io;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::net::tls::TlsConnector;
use crate::net::{ConnectError, ServerAddr};
use crate::redis_client::readiness::{available, wait};
use crate::redis_client::tls::TlsSocket;

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsSocket>),
}

impl Socket {
    /// Connects to the first address that accepts, and encrypts if that is wanted.
    pub(super) fn connect(
        address: &ServerAddr,
        tls: Option<&TlsConnector>,
        within: Duration,
    ) -> Result<Self, ConnectError> {
        match address {
            ServerAddr::Tcp { host, port } => {
                let found = (host.as_str(), *port)
                    .to_socket_addrs()
                    .map_err(ConnectError::Resolve)?;
                let mut last = io::Error::from(io::ErrorKind::NotFound);
                for address in found {
                    match TcpStream::connect_timeout(&address, within) {
                        Ok(stream) => {
                            return Self::of_tcp(stream, tls.map(|tls| (tls, &**host)), within);
                        }
                        Err(error) => last = error,
                    }
                }
                Err(ConnectError::Connect(last))
            }
            ServerAddr::Unix(path) => UnixStream::connect(path)
                .and_then(|stream| {
                    stream.set_nonblocking(true)?;
                    Ok(Self::Unix(stream))
                })
                .map_err(ConnectError::Connect),
        }
    }

    fn of_tcp(
        stream: TcpStream,
        tls: Option<(&TlsConnector, &str)>,
        within: Duration,
    ) -> Result<Self, ConnectError> {
        let tuned = stream.set_nodelay(true);
        tuned
            .and_then(|()| stream.set_nonblocking(true))
            .map_err(ConnectError::Connect)?;
        let Some(tls) = tls else {
            return Ok(Self::Tcp(stream));
        };
        let socket = TlsSocket::connect(stream, tls, within).map_err(ConnectError::Tls)?;
        Ok(Self::Tls(Box::new(socket)))
    }

    /// Reads what is there; `None` if there is nothing, 0 at the end of the stream.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Tcp(stream) => available(|| stream.read(buffer)),
            Self::Unix(stream) => available(|| stream.read(buffer)),
            Self::Tls(socket) => socket.read(buffer),
        }
    }

    /// Writes what the system takes; `None` if it takes nothing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Tcp(stream) => available(|| stream.write(bytes)),
            Self::Unix(stream) => available(|| stream.write(bytes)),
            Self::Tls(socket) => socket.write(bytes),
        }
    }

    /// Waits until there is something to read, or, if it `sends`, something can be written; returns false after `within`.
    pub(super) fn wait(&self, sends: bool, within: Duration) -> io::Result<bool> {
        wait(self.fd(), sends, within)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(socket) => socket.fd(),
        }
    }
}
