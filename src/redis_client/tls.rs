//! A TLS connection over a socket that does not block.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use crate::net::tls::{TlsConnector, TlsError};
use crate::redis_client::readiness::{available, wait};

/// An open TLS connection.
#[derive(Debug)]
pub(super) struct TlsSocket {
    tcp: TcpStream,
    session: ClientConnection,
    /// Bytes of the caller that are encrypted, and not all written: the next write begins with them again.
    taken: usize,
}

impl TlsSocket {
    /// Makes a connection with the server of this host name or address.
    pub(super) fn connect(
        tcp: TcpStream,
        (tls, host): (&TlsConnector, &str),
        within: Duration,
    ) -> Result<Self, TlsError> {
        let mut socket = Self {
            tcp,
            session: tls.session(host)?,
            taken: 0,
        };
        let deadline = Instant::now() + within;
        loop {
            let is_sent = socket.send().map_err(|error| TlsError::from(&error))?;
            if is_sent && !socket.session.is_handshaking() {
                return Ok(socket);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ready = wait(socket.fd(), !is_sent, left);
            if left.is_zero() || !ready.map_err(|error| TlsError::from(&error))? {
                return Err(TlsError::TimedOut);
            }
            let received = available(|| socket.session.read_tls(&mut socket.tcp));
            match received.map_err(|error| TlsError::from(&error))? {
                Some(0) => return Err(TlsError::Closed),
                Some(_) => {
                    let processed = socket.session.process_new_packets();
                    if let Err(error) = processed {
                        // The alert that says why, if the socket takes it.
                        let _ = socket.session.write_tls(&mut socket.tcp);
                        return Err(TlsError::from(&error));
                    }
                }
                None => {}
            }
        }
    }

    /// Fills the buffer as far as there is something; `None` if there is nothing, 0 at the end of the stream. Nothing is left
    /// behind what does not fill the buffer.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.session.reader().read(rest) {
                Ok(0) => return Ok(Some(filled)),
                Ok(len) => {
                    filled += len;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Replies say where they end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(Some(filled));
                }
                Err(error) => return Err(error),
            }
            let Some(_) = available(|| self.session.read_tls(&mut self.tcp))? else {
                return Ok((filled > 0).then_some(filled));
            };
            let processed = self.session.process_new_packets();
            processed.map_err(|error| {
                let error = TlsError::from(&error);
                io::Error::new(io::ErrorKind::InvalidData, error)
            })?;
        }
        Ok(Some(filled))
    }

    /// Writes; `None` if the system does not take all that is encrypted: then the caller comes with the same bytes again.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        if self.taken == 0 {
            self.taken = self.session.writer().write(bytes)?;
        }
        if !self.send()? {
            return Ok(None);
        }
        Ok(Some(std::mem::take(&mut self.taken)))
    }

    /// Writes what is encrypted; returns true if nothing is left.
    fn send(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match available(|| self.session.write_tls(&mut self.tcp))? {
                Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                Some(_) => {}
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}
