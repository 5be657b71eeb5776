//! Files of certificates, keys and revocation lists.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use sha1_smol::Sha1;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::file;

/// The maximum size of a file. The certificates of all public CAs are a tenth of it.
const FILE_MAX_BYTES: usize = 4 << 20;

/// The time limit for the writer of a file that is a pipe.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// A file that a directive names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFile {
    /// The directive.
    pub directive: &'static str,
    /// An absolute path.
    pub path: PathBuf,
}

/// What tells one content of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigest([u8; 20]);

/// The end of what a file is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsExpiry {
    /// The file.
    pub file: TlsFile,
    /// The time from which its certificates are not accepted.
    pub not_after: SystemTime,
}

/// The error of a file. Its display names the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFileError {
    /// The directive that names the file.
    pub directive: &'static str,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for TlsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for TlsFileError {}

impl FileDigest {
    pub(super) fn of<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> Self {
        let mut sha1 = Sha1::new();
        for part in parts {
            sha1.update(part);
        }
        Self(sha1.digest().bytes())
    }
}

impl TlsFile {
    /// A file that a directive names, at an absolute path.
    #[must_use]
    pub fn new(directive: &'static str, path: PathBuf) -> Self {
        Self { directive, path }
    }

    /// An error of this file.
    pub(super) fn error(&self, text: impl fmt::Display) -> TlsFileError {
        TlsFileError {
            directive: self.directive,
            text: format!("'{}' {text}", self.path.display()),
        }
    }

    pub(super) fn read(&self) -> Result<Content<'_>, TlsFileError> {
        let bytes = file::read(&self.path, FILE_MAX_BYTES, READ_WITHIN);
        let bytes = bytes.map_err(|error| self.error(format_args!("cannot be read: {error}")))?;
        Ok(Content { file: self, bytes })
    }
}

/// The content of a file.
pub(super) struct Content<'f> {
    file: &'f TlsFile,
    bytes: Vec<u8>,
}

impl Content<'_> {
    pub(super) fn digest(&self) -> FileDigest {
        FileDigest::of([&self.bytes[..]])
    }

    /// The certificates, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
        self.items("certificate", CertificateDer::pem_slice_iter(&self.bytes))
    }

    /// The revocation lists, at least one.
    pub(super) fn revocation_lists(
        &self,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
        let lists = CertificateRevocationListDer::pem_slice_iter(&self.bytes);
        self.items("certificate revocation list", lists)
    }

    /// The first private key.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsFileError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| match error {
            PemError::NoItemsFound => self
                .file
                .error("has no private key in PEM form that is not encrypted"),
            error => self.malformed(&error),
        })
    }

    /// The certificates as those of CAs, and when the last of them expires.
    pub(super) fn roots(&self) -> Result<(RootCertStore, Option<TlsExpiry>), TlsFileError> {
        let mut roots = RootCertStore::empty();
        let certificates = self.certificates()?;
        let expiry = self.expiry(&certificates, Iterator::max);
        for certificate in certificates {
            roots.add(certificate).map_err(|error| {
                let text = format!("has a certificate that cannot be one of a CA: {error}");
                self.file.error(text)
            })?;
        }
        Ok((roots, expiry))
    }

    /// When the first of these certificates expires.
    pub(super) fn first_expiry(&self, certificates: &[CertificateDer<'_>]) -> Option<TlsExpiry> {
        self.expiry(certificates, Iterator::min)
    }

    fn expiry<'c>(
        &self,
        certificates: &'c [CertificateDer<'c>],
        choose: impl FnOnce(Ends<'c>) -> Option<SystemTime>,
    ) -> Option<TlsExpiry> {
        let ends: Ends<'c> = Box::new(certificates.iter().filter_map(not_after));
        Some(TlsExpiry {
            file: self.file.clone(),
            not_after: choose(ends)?,
        })
    }

    fn items<T>(
        &self,
        noun: &str,
        items: impl Iterator<Item = Result<T, PemError>>,
    ) -> Result<Vec<T>, TlsFileError> {
        let items: Result<Vec<_>, _> = items.collect();
        let items = items.map_err(|error| self.malformed(&error))?;
        if items.is_empty() {
            return Err(self.file.error(format_args!("has no {noun} in PEM form")));
        }
        Ok(items)
    }

    fn malformed(&self, error: &PemError) -> TlsFileError {
        self.file.error(format_args!("is not valid PEM: {error}"))
    }
}

/// The times at which certificates expire.
type Ends<'c> = Box<dyn Iterator<Item = SystemTime> + 'c>;

/// The time at which a certificate expires; `None` if it cannot be read.
fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    Some(validity.not_after.to_system_time())
}
