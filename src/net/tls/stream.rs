//! An open TLS connection.
//!
//! Invariants: a read is pending only when all that has arrived is returned, so that its task is woken for what comes.
//! Towards clients, a write is ready only when the socket has all that it says is written, so that nothing is left when a
//! session ends. Towards servers, it is ready as soon as a part may be on its way: a request that may have been sent must
//! not be sent again. There, reads go on with what is left, and whoever writes reads too.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufRead, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::TlsError;

/// The most bytes that one read takes from the socket.
const READ_BYTES: usize = 32 << 10;

/// The least that one read takes: what a session takes at once.
const STEP_BYTES: usize = 4 << 10;

/// The most plaintext that a part of a record can become that was received before.
const RECORD_BYTES: usize = 17 << 10;

thread_local! {
    /// What one read takes from the socket. Smaller reads would be more calls.
    static CIPHERTEXT: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// An open TLS connection.
pub struct TlsStream {
    tcp: TcpStream,
    session: Box<Connection>,
    /// A write is ready once its bytes are encrypted.
    is_early: bool,
    /// Bytes of the caller that are encrypted, and not all written: the next write begins with them again.
    taken: usize,
    is_at_end: bool,
    is_shut: bool,
}

impl TlsStream {
    pub(super) fn new(tcp: TcpStream, session: Box<Connection>) -> Self {
        Self {
            tcp,
            is_early: matches!(*session, Connection::Client(_)),
            session,
            taken: 0,
            is_at_end: false,
            is_shut: false,
        }
    }

    /// The socket.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The socket alone; the session is lost.
    pub fn into_tcp(self) -> TcpStream {
        self.tcp
    }

    /// Moves what is decrypted; returns true if there was something.
    fn drain(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let before = buf.remaining();
        while buf.remaining() > 0 {
            let mut reader = self.session.reader();
            let plain = match reader.fill_buf() {
                Ok([]) => {
                    // The peer has said that it sends no more.
                    self.is_at_end = true;
                    break;
                }
                Ok(plain) => plain,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Requests and replies say where they end, so a connection that is cut off is as good as one that is closed.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.is_at_end = true;
                    break;
                }
                Err(error) => return Err(error),
            };
            let len = plain.len().min(buf.remaining());
            buf.put_slice(plain.get(..len).unwrap_or_default());
            reader.consume(len);
        }
        Ok(buf.remaining() < before)
    }

    /// Reads once from the socket and decrypts. Ready with false at the end of the stream.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let most = buf.remaining().saturating_sub(RECORD_BYTES).max(STEP_BYTES);
        CIPHERTEXT.with_borrow_mut(|bytes| {
            // Not more than the caller has room for once it is decrypted.
            let room = bytes.get_mut(..most.min(READ_BYTES)).unwrap_or_default();
            let mut cipher = ReadBuf::new(room);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut cipher))?;
            let mut rest = cipher.filled();
            if rest.is_empty() {
                self.session.read_tls(&mut rest)?;
                self.process()?;
                return Poll::Ready(Ok(false));
            }
            while !rest.is_empty() {
                if self.session.read_tls(&mut rest)? == 0 {
                    // Nothing counts behind its last word.
                    break;
                }
                self.process()?;
                self.drain(buf)?;
            }
            Poll::Ready(Ok(true))
        })
    }

    fn process(&mut self) -> io::Result<()> {
        let processed = self.session.process_new_packets();
        processed.map_err(|error| {
            let error = TlsError::from(&error);
            io::Error::new(io::ErrorKind::InvalidData, error)
        })?;
        Ok(())
    }

    /// Writes all that is encrypted.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut socket = Socket {
                tcp: &mut self.tcp,
                cx,
            };
            match self.session.write_tls(&mut socket) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes bytes by `take` and writes them. After `Pending`, a caller towards a client must come with the same bytes again.
    fn poll_write_by(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut rustls::Writer<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.taken == 0 {
            // What a read has caused, such as a ticket, must not take the place of the caller's bytes.
            ready!(self.poll_send(cx))?;
            self.taken = take(&mut self.session.writer())?;
        }
        match self.poll_send(cx) {
            Poll::Pending if !self.is_early => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            _ => {}
        }
        Poll::Ready(Ok(std::mem::take(&mut self.taken)))
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if stream.session.wants_write()
            && let Poll::Ready(sent) = stream.poll_send(cx)
        {
            sent?;
        }
        loop {
            if buf.remaining() == 0 || stream.drain(buf)? || stream.is_at_end {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            let more = ready!(stream.poll_receive(cx, buf))?;
            if stream.session.wants_write() {
                // Answers of the session itself.
                if let Poll::Ready(sent) = stream.poll_send(cx) {
                    sent?;
                }
            }
            if !more {
                stream.is_at_end = true;
            }
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_by(cx, |writer| writer.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_by(cx, |writer| writer.write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if !stream.is_shut {
            stream.is_shut = true;
            stream.session.send_close_notify();
        }
        ready!(stream.poll_send(cx))?;
        Pin::new(&mut stream.tcp).poll_shutdown(cx)
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("tcp", &self.tcp)
            .finish_non_exhaustive()
    }
}

/// A socket that wakes this task when it goes on.
struct Socket<'s, 'c, 'w> {
    tcp: &'s mut TcpStream,
    cx: &'c mut Context<'w>,
}

impl Write for Socket<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now(Pin::new(&mut *self.tcp).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        now(Pin::new(&mut *self.tcp).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn now(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::tls::crypto::provider;

    const NAME: &str = "test";

    /// A server and a client that are connected.
    async fn pair() -> (TlsStream, TlsStream) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut server: Connection = ServerConnection::new(Arc::new(server)).unwrap().into();
        let name = NAME.try_into().unwrap();
        let mut client: Connection = ClientConnection::new(Arc::new(client), name)
            .unwrap()
            .into();
        while server.is_handshaking() || client.is_handshaking() {
            exchange(&mut client, &mut server);
            exchange(&mut server, &mut client);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (
            TlsStream::new(near.unwrap(), Box::new(server)),
            TlsStream::new(far.unwrap().0, Box::new(client)),
        )
    }

    fn exchange(from: &mut Connection, to: &mut Connection) {
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            to.read_tls(&mut rest).unwrap();
            to.process_new_packets().unwrap();
        }
    }

    /// Writes until the stream is pending; returns how much it has said is written.
    async fn fill(stream: &mut TlsStream, bytes: &[u8]) -> usize {
        let mut written = 0;
        std::future::poll_fn(|cx| {
            while let Poll::Ready(len) = Pin::new(&mut *stream).poll_write(cx, bytes) {
                written += len.unwrap();
            }
            Poll::Ready(())
        })
        .await;
        written
    }

    #[tokio::test]
    async fn full_socket_delays_writes_and_loses_nothing() {
        let (mut server, mut client) = pair().await;
        let piece = vec![7; 100_000];
        let written = fill(&mut server, &piece).await;
        // The same bytes come again: a part of them is encrypted already, and is not sent twice.
        let rest = async {
            server.write_all(&piece).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let (read, ()) = tokio::join!(client.read_to_end(&mut received), rest);
        assert_eq!(read.unwrap(), written + piece.len());
    }

    #[tokio::test]
    async fn what_may_be_on_its_way_to_a_server_counts_as_written() {
        let (mut server, mut client) = pair().await;
        let written = fill(&mut client, &vec![7; 50_000]).await;
        assert!(client.session.wants_write(), "the socket is full");
        assert_eq!(client.taken, 0);
        // Reading alone goes on with what is left.
        let waiting = async {
            let mut reply = [0; 4];
            client.read_exact(&mut reply).await.unwrap();
            reply
        };
        let receiving = async {
            let mut received = vec![0; written];
            server.read_exact(&mut received).await.unwrap();
            server.write_all(b"done").await.unwrap();
        };
        let (reply, ()) = tokio::join!(waiting, receiving);
        assert_eq!(&reply, b"done");
    }
}
