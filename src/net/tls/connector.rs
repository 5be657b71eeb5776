//! TLS towards servers.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::TlsError;
use super::crypto::{MinVersion, provider, versions};
use super::files::{FileDigest, LoadedFiles, TlsFile, TlsFileError};
use super::identity::Identity;

/// The number of sessions that may be resumed, for each pool.
const SESSIONS_MAX: usize = 256;

/// The CAs that sign the certificates of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Those of a file.
    File(TlsFile),
    /// Those that the system trusts.
    System,
}

/// What is checked of the certificate of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// That one of these CAs has signed it, that it is for the server's name, and in none of these revocation lists.
    Full(Roots, Option<TlsFile>),
    /// Nothing: anybody can pretend to be the server.
    Insecure,
}

/// What a pool says of TLS towards its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorSettings {
    /// What is checked of the servers.
    pub verification: Verification,
    /// The name in the certificates of all servers; `None` is the host of each.
    pub name: Option<ServerName<'static>>,
    /// The certificate of the proxy.
    pub own: Option<Identity>,
}

impl ConnectorSettings {
    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &TlsFile> {
        let (ca, crl) = match &self.verification {
            Verification::Full(Roots::File(file), crl) => (Some(file), crl.as_ref()),
            Verification::Full(Roots::System, crl) => (None, crl.as_ref()),
            Verification::Insecure => (None, None),
        };
        let own = self.own.iter().flat_map(Identity::files);
        ca.into_iter().chain(crl).chain(own)
    }
}

/// Makes TLS connections with servers. Two are equal if their files have the same content.
#[derive(Debug)]
pub struct TlsConnector {
    /// `None` if its files are not read: then it connects with nobody.
    config: Option<Arc<ClientConfig>>,
    name: Option<ServerName<'static>>,
    files: LoadedFiles,
}

impl TlsConnector {
    /// One that connects with nobody.
    #[must_use]
    pub fn unloaded() -> Self {
        Self {
            config: None,
            name: None,
            files: LoadedFiles::default(),
        }
    }

    /// Reads the files. `system` is the directive to name if the CAs of the system cannot be read.
    pub fn load(settings: &ConnectorSettings, system: &'static str) -> Result<Self, TlsFileError> {
        let mut files = LoadedFiles::default();
        let failed = |error: &dyn std::fmt::Display| TlsFileError {
            directive: system,
            text: error.to_string(),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&versions(MinVersion::Tls12))
            .map_err(|error| failed(&error))?;
        let builder = match &settings.verification {
            Verification::Insecure => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(NoVerification::new(&provider()))),
            Verification::Full(roots, crl) => {
                let roots = match roots {
                    Roots::File(file) => files.read_roots(file)?,
                    Roots::System => {
                        let (roots, digest) = system_roots().map_err(|text| failed(&text))?;
                        files.add(system, digest);
                        roots
                    }
                };
                builder.with_webpki_verifier(verifier(roots, crl.as_ref(), &mut files, system)?)
            }
        };
        let mut config = match &settings.own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let (chain, key) = own.load(&mut files)?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| own.refused(&error))?
            }
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(Self {
            config: Some(Arc::new(config)),
            name: settings.name.clone(),
            files,
        })
    }

    /// What was read.
    #[must_use]
    pub fn files(&self) -> &LoadedFiles {
        &self.files
    }

    /// A connection to the server of this host name or address.
    pub fn session(&self, host: &str) -> Result<ClientConnection, TlsError> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Address)?,
        };
        let config = self.config.as_ref().ok_or(TlsError::Unloaded)?;
        ClientConnection::new(Arc::clone(config), name).map_err(|error| TlsError::from(&error))
    }
}

impl PartialEq for TlsConnector {
    fn eq(&self, other: &Self) -> bool {
        (self.config.is_some(), &self.files) == (other.config.is_some(), &other.files)
    }
}

impl Eq for TlsConnector {}

fn verifier(
    roots: RootCertStore,
    crl: Option<&TlsFile>,
    files: &mut LoadedFiles,
    system: &'static str,
) -> Result<Arc<WebPkiServerVerifier>, TlsFileError> {
    let mut verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    if let Some(file) = crl {
        verifier = verifier.with_crls(files.read_revocation_lists(file)?);
    }
    verifier.build().map_err(|error| match (crl, error) {
        (Some(file), error @ VerifierBuilderError::InvalidCrl(_)) => file.unusable_list(&error),
        (_, error) => TlsFileError {
            directive: system,
            text: error.to_string(),
        },
    })
}

/// The CAs that the system trusts.
fn system_roots() -> Result<(RootCertStore, FileDigest), String> {
    let found = rustls_native_certs::load_native_certs();
    let digest = FileDigest::of(found.certs.iter().map(AsRef::as_ref));
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok((roots, digest));
    }
    let reason = found.errors.first().map(ToString::to_string);
    let reason = reason.unwrap_or_else(|| "there are none".to_owned());
    Err(format!("the CAs of the system cannot be read: {reason}"))
}

/// Accepts the certificate of anybody who has its key.
#[derive(Debug)]
struct NoVerification {
    algorithms: WebPkiSupportedAlgorithms,
}

impl NoVerification {
    fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
