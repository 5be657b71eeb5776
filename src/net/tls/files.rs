//! Files of certificates, keys and revocation lists.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use memchr::memmem;
use rustls::RootCertStore;
use rustls::client::VerifierBuilderError;
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

/// What was read of several files. Two are equal if they have the same content.
#[derive(Debug, Default)]
pub struct LoadedFiles {
    /// By directive.
    digests: Vec<(&'static str, FileDigest)>,
    expiries: Vec<TlsExpiry>,
}

impl LoadedFiles {
    /// The content of the file that a directive names.
    #[must_use]
    pub fn digest(&self, directive: &str) -> Option<FileDigest> {
        let mut digests = self.digests.iter();
        let found = digests.find(|(known, _)| *known == directive)?;
        Some(found.1)
    }

    /// When what they have expires.
    #[must_use]
    pub fn expiries(&self) -> &[TlsExpiry] {
        &self.expiries
    }

    /// Adds what is no file, but also read: the CAs of the system.
    pub(super) fn add(&mut self, directive: &'static str, digest: FileDigest) {
        self.digests.push((directive, digest));
    }

    /// Reads certificates of CAs.
    pub(super) fn read_roots(&mut self, file: &TlsFile) -> Result<RootCertStore, TlsFileError> {
        let content = self.read(file)?;
        let certificates = content.certificates()?;
        // The others serve on when the first expires.
        self.expiries
            .extend(content.expiry(&certificates, Iterator::max));
        content.roots(certificates)
    }

    /// Reads a certificate, with those between it and its CA.
    pub(super) fn read_chain(
        &mut self,
        file: &TlsFile,
    ) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
        let content = self.read(file)?;
        let certificates = content.certificates()?;
        self.expiries
            .extend(content.expiry(&certificates, Iterator::min));
        Ok(certificates)
    }

    /// Reads a private key.
    pub(super) fn read_key(
        &mut self,
        file: &TlsFile,
    ) -> Result<PrivateKeyDer<'static>, TlsFileError> {
        self.read(file)?.key()
    }

    /// Reads revocation lists.
    pub(super) fn read_revocation_lists(
        &mut self,
        file: &TlsFile,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
        self.read(file)?.revocation_lists()
    }

    fn read<'f>(&mut self, file: &'f TlsFile) -> Result<Content<'f>, TlsFileError> {
        let content = file.read()?;
        self.add(file.directive, FileDigest::of([&content.bytes[..]]));
        Ok(content)
    }
}

impl PartialEq for LoadedFiles {
    fn eq(&self, other: &Self) -> bool {
        self.digests == other.digests
    }
}

impl Eq for LoadedFiles {}

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

    /// The error of a file with a revocation list that rustls refuses.
    pub(super) fn unusable_list(&self, error: &VerifierBuilderError) -> TlsFileError {
        match error {
            VerifierBuilderError::InvalidCrl(error) => {
                self.error(format_args!("has a malformed revocation list: {error:?}"))
            }
            error => self.error(error),
        }
    }

    fn read(&self) -> Result<Content<'_>, TlsFileError> {
        let bytes = file::read(&self.path, FILE_MAX_BYTES, READ_WITHIN);
        let bytes = bytes.map_err(|error| self.error(format_args!("cannot be read: {error}")))?;
        Ok(Content { file: self, bytes })
    }
}

/// The content of a file.
struct Content<'f> {
    file: &'f TlsFile,
    bytes: Vec<u8>,
}

impl Content<'_> {
    /// The certificates, at least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
        self.items("certificate", CertificateDer::pem_slice_iter(&self.bytes))
    }

    /// The revocation lists, at least one.
    fn revocation_lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
        let lists = CertificateRevocationListDer::pem_slice_iter(&self.bytes);
        self.items("certificate revocation list", lists)
    }

    /// The first private key.
    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsFileError> {
        // In the line of the section, or in a header of an old form.
        if memmem::find(&self.bytes, b"ENCRYPTED").is_some() {
            return Err(self.file.error("is encrypted, and nobody could ask for its password: decrypt it, as with 'openssl pkey'"));
        }
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| match error {
            PemError::NoItemsFound => self.file.error("has no private key in PEM form"),
            error => self.malformed(&error),
        })
    }

    /// The certificates as those of CAs.
    fn roots(
        &self,
        certificates: Vec<CertificateDer<'static>>,
    ) -> Result<RootCertStore, TlsFileError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|error| {
                let text = format!("has a certificate that cannot be one of a CA: {error}");
                self.file.error(text)
            })?;
        }
        Ok(roots)
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

    /// The error of a file that is not PEM. It shows nothing of the file: a key on one line is a faulty begin of a section.
    fn malformed(&self, error: &PemError) -> TlsFileError {
        let reason = match error {
            PemError::MissingSectionEnd { .. } => "a section has no END line",
            PemError::IllegalSectionStart { .. } => {
                "a BEGIN line is malformed; what follows it must be on lines of its own"
            }
            PemError::Base64Decode(_) => "a section is not base64",
            PemError::SectionTooLarge => "a section is too large",
            _ => "it cannot be parsed",
        };
        self.file.error(format_args!("is not valid PEM: {reason}"))
    }
}

/// The times at which certificates expire.
type Ends<'c> = Box<dyn Iterator<Item = SystemTime> + 'c>;

/// The time at which a certificate expires; `None` if it cannot be read.
/// The seconds from `now` until `time`; negative if that is past.
#[must_use]
pub fn seconds_until(time: SystemTime, now: SystemTime) -> i64 {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(now) {
        Ok(left) => seconds(left),
        Err(past) => -seconds(past.duration()),
    }
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    Some(validity.not_after.to_system_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_keys_show_nothing_of_them() {
        const SECRET: &str = "MIGHAgEAMBMGByqGSM49";
        let file = TlsFile::new("tls_key", "/k".into());
        for (text, expected) in [
            (
                format!("-----BEGIN PRIVATE KEY----- {SECRET} -----END PRIVATE KEY-----"),
                "has no END line",
            ),
            (
                format!("-----BEGIN PRIVATE KEY----- {SECRET}"),
                "a BEGIN line is malformed",
            ),
            (
                format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n"),
                "has no END line",
            ),
            (
                format!("-----BEGIN PRIVATE KEY-----\n{SECRET}?\n-----END PRIVATE KEY-----\n"),
                "is not base64",
            ),
            (SECRET.to_owned(), "has no private key in PEM form"),
        ] {
            let content = Content {
                file: &file,
                bytes: text.clone().into_bytes(),
            };
            for error in [
                content.key().unwrap_err(),
                content.certificates().unwrap_err(),
            ] {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains(SECRET), "{shown}");
                // As numbers.
                assert!(!shown.contains("77, 73, 71"), "{shown}");
            }
            let shown = content.key().unwrap_err().text;
            assert!(shown.contains(expected), "{shown}");
        }
    }
}
