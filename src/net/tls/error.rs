//! The errors of TLS connections.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// The reason why a TLS connection was not made. The peer is "it" in the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Its bytes are not TLS.
    #[error("it does not speak TLS")]
    NotTls,
    /// It is too old, or too new.
    #[error("it offers no version of TLS that is allowed")]
    Version,
    /// There is no algorithm that both sides have.
    #[error("it has no cipher suite, key exchange or signature algorithm that is supported")]
    NothingInCommon,
    /// It must have a certificate.
    #[error("it presents no certificate")]
    NoCertificate,
    /// Its certificate, or one above it, has expired.
    #[error("its certificate has expired")]
    Expired,
    /// Its certificate is from the future.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// Nobody who is trusted has signed its certificate.
    #[error("its certificate is not signed by a CA that is trusted")]
    UnknownCa,
    /// Its certificate is that of another.
    #[error("its certificate is for another name")]
    WrongName,
    /// Its certificate is in a revocation list.
    #[error("its certificate is revoked")]
    Revoked,
    /// There are revocation lists, but none of the CA of its certificate.
    #[error("there is no revocation list of the CA of its certificate")]
    UnknownRevocation,
    /// Its certificate is one of a client and it a server, or the reverse.
    #[error("its certificate is not meant for this use")]
    Purpose,
    /// Its certificate has another fault.
    #[error("its certificate is not valid")]
    BadCertificate,
    /// It refuses this side, and says why.
    #[error("it refuses the TLS connection: {}", alert(*.0))]
    Alert(AlertDescription),
    /// It sent something that it may not.
    #[error("its TLS handshake is malformed")]
    Malformed,
    /// It has closed the connection before it has sent anything, as those do that only look whether somebody listens.
    #[error("it closed the connection without a word")]
    Unused,
    /// It has closed the connection.
    #[error("it closed the connection during the TLS handshake")]
    Closed,
    /// The time limit has passed.
    #[error("its TLS handshake took too long")]
    TimedOut,
    /// Its handshake was the oldest of too many.
    #[error("too many TLS handshakes are under way")]
    TooMany,
    /// A unix socket, or a name that cannot be one of a certificate.
    #[error("TLS is not possible with its address")]
    Address,
    /// The socket failed.
    #[error("the connection failed during the TLS handshake: {0}")]
    Io(io::ErrorKind),
    /// The files of this side are not read.
    #[error("the files for TLS are not read")]
    Unloaded,
    /// This side lacks something.
    #[error("the TLS handshake failed")]
    Failed,
}

impl From<&Error> for TlsError {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::AlertReceived(AlertDescription::ProtocolVersion) => Self::Version,
            Error::AlertReceived(alert) => Self::Alert(*alert),
            Error::PeerIncompatible(error) => Self::of_incompatible(error),
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::PeerSentOversizedRecord
            | Error::DecryptError => Self::Malformed,
            _ => Self::Failed,
        }
    }
}

impl TlsError {
    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownRevocationStatus => Self::UnknownRevocation,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownCa,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::Purpose
            }
            _ => Self::BadCertificate,
        }
    }

    fn of_incompatible(error: &PeerIncompatible) -> Self {
        match error {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // Those that have not this extension are older than TLS 1.2.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => Self::Version,
            _ => Self::NothingInCommon,
        }
    }
}

impl From<&io::Error> for TlsError {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WriteZero => Self::Closed,
            kind => Self::Io(kind),
        }
    }
}

/// The reason that a peer gives, in words.
fn alert(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::BadCertificate => "the certificate is not valid",
        AlertDescription::CertificateExpired => "the certificate has expired",
        AlertDescription::CertificateRevoked => "the certificate is revoked",
        AlertDescription::CertificateRequired => "it wants a certificate",
        AlertDescription::UnknownCA => "the certificate is not signed by a CA that it trusts",
        AlertDescription::CertificateUnknown => "it does not accept the certificate",
        AlertDescription::HandshakeFailure => "there is nothing that both sides support",
        AlertDescription::AccessDenied => "access denied",
        _ => return format!("{alert:?}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustls_errors_are_told_apart() {
        let cases = [
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                TlsError::NotTls,
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled),
                TlsError::Version,
            ),
            (
                Error::AlertReceived(AlertDescription::ProtocolVersion),
                TlsError::Version,
            ),
            (
                Error::InvalidCertificate(CertificateError::Expired),
                TlsError::Expired,
            ),
            (
                Error::InvalidCertificate(CertificateError::BadEncoding),
                TlsError::BadCertificate,
            ),
            (Error::FailedToGetRandomBytes, TlsError::Failed),
        ];
        for (error, expected) in cases {
            assert_eq!(TlsError::from(&error), expected, "{error}");
        }
        let refused = TlsError::Alert(AlertDescription::UnknownCA).to_string();
        assert!(refused.contains("not signed by a CA"), "{refused}");
    }
}
