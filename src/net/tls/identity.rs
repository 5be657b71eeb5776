//! The certificate and the key of one side.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys};

use super::files::{LoadedFiles, TlsFile, TlsFileError};

/// The files of a certificate and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those between it and its CA.
    pub cert: TlsFile,
    /// Its private key.
    pub key: TlsFile,
}

impl Identity {
    pub(super) fn files(&self) -> [&TlsFile; 2] {
        [&self.cert, &self.key]
    }

    /// Reads them.
    pub(super) fn load(
        &self,
        files: &mut LoadedFiles,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsFileError> {
        Ok((files.read_chain(&self.cert)?, files.read_key(&self.key)?))
    }

    /// The error of a pair that rustls refuses.
    pub(super) fn refused(&self, error: &Error) -> TlsFileError {
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => self.key.error(format_args!(
                "is not the key of the certificate in '{}'",
                self.cert.path.display()
            )),
            Error::InvalidCertificate(error) => {
                let text = format_args!("has a malformed certificate: {error:?}");
                self.cert.error(text)
            }
            error => self.key.error(format_args!("cannot be used: {error}")),
        }
    }
}
