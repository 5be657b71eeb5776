//! The directives of TLS in a pool while it is read.

use std::time::Duration;

use crate::net::tls::{
    AcceptorSettings, ClientCertificates, ConnectorSettings, Identity, MinVersion, Roots,
    ServerName, TlsFile, Verification,
};

use super::tls::{ListenTls, PoolTls, ServerTls};

/// The directives of TLS in a pool while it is read.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of the file"
)]
pub(super) struct TlsDraft {
    pub(super) cert: Option<TlsFile>,
    pub(super) key: Option<TlsFile>,
    pub(super) client_ca: Option<TlsFile>,
    pub(super) lets_in_without: bool,
    pub(super) client_crl: Option<TlsFile>,
    pub(super) min_version: MinVersion,
    pub(super) handshake_timeout: Duration,
    pub(super) server: bool,
    pub(super) server_ca: Option<Roots>,
    pub(super) server_crl: Option<TlsFile>,
    pub(super) server_name: Option<ServerName<'static>>,
    pub(super) server_cert: Option<TlsFile>,
    pub(super) server_key: Option<TlsFile>,
    pub(super) server_insecure: bool,
    pub(super) sentinels: bool,
}

impl TlsDraft {
    pub(super) fn build(self, listens: bool) -> PoolTls {
        let listen = identity(self.cert, self.key).filter(|_| listens);
        let listen = listen.map(|own| {
            let crl = self.client_crl;
            let settings = AcceptorSettings {
                own,
                clients: self.client_ca.map(|ca| ClientCertificates {
                    ca,
                    are_required: !self.lets_in_without,
                    crl,
                }),
                min_version: self.min_version,
            };
            ListenTls::new(settings, self.handshake_timeout)
        });
        let server = self.server.then(|| {
            let settings = ConnectorSettings {
                verification: if self.server_insecure {
                    Verification::Insecure
                } else {
                    Verification::Full(self.server_ca.unwrap_or(Roots::System), self.server_crl)
                },
                name: self.server_name,
                own: identity(self.server_cert, self.server_key),
            };
            ServerTls::new(settings, self.sentinels)
        });
        PoolTls { listen, server }
    }
}

fn identity(cert: Option<TlsFile>, key: Option<TlsFile>) -> Option<Identity> {
    let (cert, key) = cert.zip(key)?;
    Some(Identity { cert, key })
}
