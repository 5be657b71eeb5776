//! TLS towards clients: what a listener needs for it.

use std::sync::Arc;

use rustls::crypto::ring::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ServerConfig, ServerConnection};

use super::TlsError;
use super::crypto::{MinVersion, provider, versions};
use super::files::{LoadedFiles, TlsFile, TlsFileError};
use super::identity::Identity;

/// What is asked of the certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The CAs that sign them.
    pub ca: TlsFile,
    /// A client without a certificate is refused.
    pub are_required: bool,
    /// The certificates that are revoked.
    pub crl: Option<TlsFile>,
}

/// What a listener says of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptorSettings {
    /// The certificate that clients see.
    pub own: Identity,
    /// `None` if clients are not asked for certificates.
    pub clients: Option<ClientCertificates>,
    /// The lowest version that is accepted.
    pub min_version: MinVersion,
}

impl AcceptorSettings {
    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &TlsFile> {
        let clients = self.clients.iter();
        let clients = clients.flat_map(|clients| [Some(&clients.ca), clients.crl.as_ref()]);
        self.own.files().into_iter().chain(clients.flatten())
    }
}

/// Makes TLS connections with clients. Two are equal if their files have the same content.
#[derive(Debug)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    files: LoadedFiles,
}

impl TlsAcceptor {
    /// Reads the files.
    pub fn load(settings: &AcceptorSettings) -> Result<Self, TlsFileError> {
        let mut files = LoadedFiles::default();
        let (chain, key) = settings.own.load(&mut files)?;
        let failed = |error: &dyn std::fmt::Display| settings.own.cert.error(error);
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions(settings.min_version))
            .map_err(|error| failed(&error))?;
        let builder = match &settings.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(&mut files)?),
        };
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| settings.own.refused(&error))?;
        // Tickets keep their sessions in themselves, encrypted: no memory grows with the number of clients.
        config.ticketer = Ticketer::new().map_err(|error| failed(&error))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            config: Arc::new(config),
            files,
        })
    }

    /// What was read.
    #[must_use]
    pub fn files(&self) -> &LoadedFiles {
        &self.files
    }

    /// The configuration, for connections that are not the proxy's own.
    #[must_use]
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// A connection that waits for its client.
    pub(super) fn session(&self) -> Result<rustls::Connection, TlsError> {
        let session = ServerConnection::new(Arc::clone(&self.config));
        let session = session.map_err(|error| TlsError::from(&error))?;
        Ok(session.into())
    }
}

impl PartialEq for TlsAcceptor {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

impl Eq for TlsAcceptor {}

impl ClientCertificates {
    fn verifier(
        &self,
        files: &mut LoadedFiles,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsFileError> {
        let roots = Arc::new(files.read_roots(&self.ca)?);
        let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
        if let Some(file) = &self.crl {
            verifier = verifier.with_crls(files.read_revocation_lists(file)?);
        }
        if !self.are_required {
            verifier = verifier.allow_unauthenticated();
        }
        verifier.build().map_err(|error| match (&self.crl, error) {
            (Some(file), error @ VerifierBuilderError::InvalidCrl(_)) => file.unusable_list(&error),
            (_, error) => self.ca.error(error),
        })
    }
}
