//! A raw client over TLS.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};

use super::certificates::Files;
use crate::support::{PATIENCE, reply_len, show, words};

/// What a client is set up with. Sessions of one can be resumed.
#[derive(Debug, Clone)]
pub(crate) struct Setup(Arc<ClientConfig>);

/// A client over TLS.
pub(crate) struct TlsClient {
    pub(crate) session: ClientConnection,
    pub(crate) tcp: TcpStream,
    received: Vec<u8>,
}

impl Setup {
    pub(crate) fn new(ca: &Path, own: Option<&Files>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificates(ca).remove(0)).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
                builder
                    .with_client_auth_cert(certificates(&own.cert), key)
                    .unwrap()
            }
        };
        Self(Arc::new(config))
    }

    /// Connects, and completes the handshake with a server of this name.
    pub(crate) fn connect(&self, address: SocketAddr, name: &str) -> TlsClient {
        self.connect_after(b"", address, name)
    }

    /// The same, with these bytes before the handshake.
    pub(crate) fn connect_after(&self, first: &[u8], address: SocketAddr, name: &str) -> TlsClient {
        self.dial(first, address, name)
            .unwrap_or_else(|error| panic!("no TLS with {address}: {error}"))
    }

    /// As [`Self::connect`], but a connection that is not made is no failure.
    pub(crate) fn try_connect(&self, address: SocketAddr, name: &str) -> io::Result<TlsClient> {
        self.dial(b"", address, name)
    }

    fn dial(&self, first: &[u8], address: SocketAddr, name: &str) -> io::Result<TlsClient> {
        let mut tcp = TcpStream::connect(address)?;
        tcp.write_all(first)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = TlsClient {
            session: ClientConnection::new(Arc::clone(&self.0), name).unwrap(),
            tcp,
            received: Vec::new(),
        };
        while client.session.is_handshaking() {
            client.session.complete_io(&mut client.tcp)?;
        }
        Ok(client)
    }
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    let text = fs::read(file).unwrap();
    let found = CertificateDer::pem_slice_iter(&text);
    found.map(Result::unwrap).collect()
}

impl TlsClient {
    pub(crate) fn is_resumed(&self) -> bool {
        self.session.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate of the proxy.
    pub(crate) fn peer_certificate(&self) -> Vec<u8> {
        self.session.peer_certificates().unwrap()[0].to_vec()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = rustls::Stream::new(&mut self.session, &mut self.tcp);
        stream.write_all(bytes)?;
        stream.flush()
    }

    pub(crate) fn ask(&mut self, request: &str) -> Vec<u8> {
        self.send(&words(request));
        self.reply()
    }

    /// As [`Self::ask`], but a closed connection is no failure.
    pub(crate) fn try_ask(&mut self, request: &str) -> io::Result<Vec<u8>> {
        self.try_send(&words(request))?;
        self.try_reply()
    }

    pub(crate) fn reply(&mut self) -> Vec<u8> {
        self.try_reply()
            .unwrap_or_else(|error| panic!("{error} behind {}", show(&self.received)))
    }

    fn try_reply(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if !self.received.is_empty()
                && let Some(len) = reply_len(&self.received).unwrap()
            {
                let rest = self.received.split_off(len);
                return Ok(std::mem::replace(&mut self.received, rest));
            }
            if self.receive()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads until the proxy says that it sends no more, and returns all of it.
    pub(crate) fn read_to_close(&mut self) -> Vec<u8> {
        while self.receive().unwrap() > 0 {}
        std::mem::take(&mut self.received)
    }

    /// Returns true once the connection has ended, in whatever way.
    pub(crate) fn ends(&mut self) -> bool {
        let mut piece = [0; 16384];
        let mut stream = rustls::Stream::new(&mut self.session, &mut self.tcp);
        match stream.read(&mut piece) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Says that it sends no more, and still reads.
    pub(crate) fn half_close(&mut self) {
        self.session.send_close_notify();
        while self.session.wants_write() {
            self.session.write_tls(&mut self.tcp).unwrap();
        }
        self.tcp.shutdown(Shutdown::Write).unwrap();
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut piece = [0; 16384];
        let mut stream = rustls::Stream::new(&mut self.session, &mut self.tcp);
        let len = stream.read(&mut piece)?;
        self.received.extend_from_slice(&piece[..len]);
        Ok(len)
    }
}
