//! A socket that does not block, TCP or unix, and the wait for it.

use std::io;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::net::{ConnectError, ServerAddr};

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to the first address that accepts.
    pub(super) fn connect(address: &ServerAddr, within: Duration) -> Result<Self, ConnectError> {
        match address {
            ServerAddr::Tcp { host, port } => {
                let found = (host.as_str(), *port)
                    .to_socket_addrs()
                    .map_err(ConnectError::Resolve)?;
                let mut last = io::Error::from(io::ErrorKind::NotFound);
                for address in found {
                    match TcpStream::connect_timeout(&address, within) {
                        Ok(stream) => return Self::of_tcp(stream).map_err(ConnectError::Connect),
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

    fn of_tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Reads what is there; `None` if there is nothing, 0 at the end of the stream.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        available(|| match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        })
    }

    /// Writes what the system takes; `None` if it takes nothing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        available(|| match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        })
    }

    /// Waits until there is something to read, or, if it `sends`, something can be written; returns false after `within`.
    pub(super) fn wait(&self, sends: bool, within: Duration) -> io::Result<bool> {
        let flags = if sends {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        let limit = Timespec::try_from(within).ok();
        match poll(
            &mut [PollFd::from_borrowed_fd(self.fd(), flags)],
            limit.as_ref(),
        ) {
            Ok(ready) => Ok(ready > 0),
            // The caller looks at its clock and asks again.
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

fn available(mut act: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match act() {
            Ok(len) => return Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
