//! TLS towards clients and servers, by rustls.
//!
//! ```text
//! files --load--> TlsAcceptor --accept(tcp)---> TlsStream    towards clients
//!                 TlsConnector --connect(tcp)-> TlsStream    towards servers
//! ```
//!
//! Both are immutable and shared by all threads. A changed file makes another one; connections keep the one that they
//! were made with. Sessions can be resumed only with the one that they began with, so a certificate that a new one does
//! not accept is not accepted by way of an old ticket either.

mod acceptor;
mod connector;
mod crypto;
mod error;
mod files;
mod handshake;
mod handshakes;
mod identity;
mod stream;
mod turns;

pub use acceptor::{AcceptorSettings, ClientCertificates, TlsAcceptor};
pub use connector::{ConnectorSettings, Roots, TlsConnector, Verification};
pub use crypto::MinVersion;
pub use error::TlsError;
pub use files::{FileDigest, LoadedFiles, TlsExpiry, TlsFile, TlsFileError, seconds_until};
pub use handshake::accept;
pub use handshakes::Handshakes;
pub use identity::Identity;
pub use rustls::pki_types::ServerName;
pub use stream::TlsStream;
pub use turns::{Turn, Turns};
