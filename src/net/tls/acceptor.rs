//! TLS towards clients: what a listener needs for it.

use std::sync::Arc;

use rustls::crypto::ring::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{Error, InconsistentKeys, ServerConfig, ServerConnection};

use super::TlsError;
use super::crypto::{MinVersion, provider, versions};
use super::files::{FileDigest, TlsExpiry, TlsFile, TlsFileError};

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
    /// The certificate, and those between it and its CA.
    pub cert: TlsFile,
    /// Its private key.
    pub key: TlsFile,
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
        [&self.cert, &self.key].into_iter().chain(clients.flatten())
    }
}

/// Makes TLS connections with clients. Two are equal if their files have the same content.
#[derive(Debug)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    /// By directive.
    digests: Vec<(&'static str, FileDigest)>,
    expiries: Vec<TlsExpiry>,
}

impl TlsAcceptor {
    /// Reads the files.
    pub fn load(settings: &AcceptorSettings) -> Result<Self, TlsFileError> {
        let (cert, key) = (settings.cert.read()?, settings.key.read()?);
        let mut digests = vec![
            (settings.cert.directive, cert.digest()),
            (settings.key.directive, key.digest()),
        ];
        let chain = cert.certificates()?;
        let mut expiries: Vec<_> = cert.first_expiry(&chain).into_iter().collect();
        let failed = |error: &dyn std::fmt::Display| settings.cert.error(error);
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions(settings.min_version))
            .map_err(|error| failed(&error))?;
        let builder = match &settings.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let verifier = clients.verifier(&mut digests, &mut expiries)?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder.with_single_cert(chain, key.key()?);
        let mut config = config.map_err(|error| pair_error(settings, &error))?;
        // Tickets keep their sessions in themselves, encrypted: no memory grows with the number of clients.
        config.ticketer = Ticketer::new().map_err(|error| failed(&error))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            config: Arc::new(config),
            digests,
            expiries,
        })
    }

    /// The content of the file that a directive names.
    #[must_use]
    pub fn digest(&self, directive: &str) -> Option<FileDigest> {
        find(&self.digests, directive)
    }

    /// When what it was made of expires.
    #[must_use]
    pub fn expiries(&self) -> &[TlsExpiry] {
        &self.expiries
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
        self.digests == other.digests
    }
}

impl Eq for TlsAcceptor {}

impl ClientCertificates {
    fn verifier(
        &self,
        digests: &mut Vec<(&'static str, FileDigest)>,
        expiries: &mut Vec<TlsExpiry>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsFileError> {
        let ca = self.ca.read()?;
        digests.push((self.ca.directive, ca.digest()));
        let (roots, expiry) = ca.roots()?;
        expiries.extend(expiry);
        let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        if let Some(file) = &self.crl {
            let crl = file.read()?;
            digests.push((file.directive, crl.digest()));
            verifier = verifier.with_crls(crl.revocation_lists()?);
        }
        if !self.are_required {
            verifier = verifier.allow_unauthenticated();
        }
        verifier.build().map_err(|error| match (&self.crl, error) {
            (Some(file), VerifierBuilderError::InvalidCrl(error)) => {
                file.error(format_args!("has a malformed revocation list: {error:?}"))
            }
            (_, error) => self.ca.error(error),
        })
    }
}

pub(super) fn find(digests: &[(&'static str, FileDigest)], directive: &str) -> Option<FileDigest> {
    let mut digests = digests.iter();
    let found = digests.find(|(known, _)| *known == directive)?;
    Some(found.1)
}

fn pair_error(settings: &AcceptorSettings, error: &Error) -> TlsFileError {
    pair_fault(&settings.cert, &settings.key, error)
}

/// The error of a certificate and its key.
pub(super) fn pair_fault(cert: &TlsFile, key: &TlsFile, error: &Error) -> TlsFileError {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => key.error(format_args!(
            "is not the key of the certificate in '{}'",
            cert.path.display()
        )),
        Error::InvalidCertificate(error) => {
            cert.error(format_args!("has a malformed certificate: {error:?}"))
        }
        error => key.error(format_args!("cannot be used: {error}")),
    }
}
