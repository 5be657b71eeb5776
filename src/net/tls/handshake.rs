//! Handshakes: sockets are read and written on the thread that asks, and threads apart compute.
//!
//! A signature takes up to a millisecond, in which a worker serves a thousand requests. Threads that compute have a low
//! priority: where there is no processor to spare, new connections wait, and not the requests of those that are there.

use std::io::{self, Read, Write};

use rustix::process::setpriority_process;
use rustls::{Connection, HandshakeKind};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

use super::{TlsAcceptor, TlsConnector, TlsError, TlsStream, Turn};

/// The most bytes that a handshake may have. Long chains of certificates have 10 KiB.
pub(super) const HANDSHAKE_MAX_BYTES: usize = 64 << 10;

/// The niceness of threads that compute.
const NICE: i32 = 10;

/// Accepts a connection of a client. The caller limits the time, and the turns how many compute at the same time.
pub async fn accept(
    tcp: TcpStream,
    acceptor: &TlsAcceptor,
    turn: Option<&Turn>,
) -> Result<TlsStream, TlsError> {
    let session = drive(&tcp, acceptor.session()?, turn).await?;
    Ok(TlsStream::new(tcp, session))
}

impl TlsConnector {
    /// Makes a connection with the server of this host name or address. The caller limits the time.
    pub async fn connect(&self, tcp: TcpStream, host: &str) -> Result<TlsStream, TlsError> {
        let session = drive(&tcp, self.session(host)?.into(), None).await?;
        Ok(TlsStream::new(tcp, session))
    }
}

/// Drives a handshake to its end.
async fn drive(
    tcp: &TcpStream,
    session: Connection,
    turn: Option<&Turn>,
) -> Result<Box<Connection>, TlsError> {
    // It moves from thread to thread.
    let mut session = Box::new(session);
    let mut received = 0;
    loop {
        while session.wants_write() {
            tcp.writable()
                .await
                .map_err(|error| TlsError::from(&error))?;
            match session.write_tls(&mut Now(tcp)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(TlsError::from(&error)),
                Ok(_) => {}
            }
        }
        if !session.is_handshaking() {
            return Ok(session);
        }
        tcp.readable()
            .await
            .map_err(|error| TlsError::from(&error))?;
        match session.read_tls(&mut Now(tcp)) {
            Ok(0) if received == 0 => return Err(TlsError::Unused),
            Ok(0) => return Err(TlsError::Closed),
            Ok(len) => received += len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) if error.kind() == io::ErrorKind::Other => return Err(TlsError::Malformed),
            Err(error) => return Err(TlsError::from(&error)),
        }
        if received > HANDSHAKE_MAX_BYTES {
            return Err(TlsError::Malformed);
        }
        let processed;
        (session, processed) = compute(session, turn).await?;
        if let Err(error) = processed {
            // The alert that says why, if the socket takes it.
            let _ = session.write_tls(&mut Now(tcp));
            return Err(error);
        }
    }
}

/// Processes what was received, on a thread apart.
async fn compute(
    mut session: Box<Connection>,
    turn: Option<&Turn>,
) -> Result<(Box<Connection>, Result<(), TlsError>), TlsError> {
    let permit = match turn {
        Some(turn) => turn.take().await,
        None => None,
    };
    let computed = spawn_blocking(move || {
        // Without the permission, the priority stays.
        let _ = setpriority_process(None, NICE);
        let processed = session.process_new_packets();
        let processed = processed
            .map(|_| ())
            .map_err(|error| TlsError::from(&error));
        // Also if nobody waits any more.
        drop(permit);
        (session, processed)
    });
    let computed = computed.await.map_err(|_| TlsError::Failed);
    if let (Some(turn), Ok((session, _))) = (turn, &computed) {
        // A server that asks for another hello has not signed yet.
        let is_retry = session.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest);
        let asks_again = is_retry && !turn.was_retried();
        turn.end(session.wants_write() && !asks_again);
    }
    computed
}

/// A socket that does not wait.
struct Now<'s>(&'s TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
