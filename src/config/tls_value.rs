//! Parsers of the values of TLS. Every error is a sentence that names what would be valid.

use crate::net::tls::{MinVersion, Roots, ServerName, TlsFile};

/// Parses an absolute path: a proxy that runs as a daemon has another directory.
pub(super) fn file(directive: &'static str, text: &str) -> Result<TlsFile, String> {
    let file = TlsFile::new(directive, text);
    if file.path.is_absolute() {
        Ok(file)
    } else {
        Err(format!("'{text}' is not an absolute path"))
    }
}

/// Parses the CAs of servers.
pub(super) fn roots(text: &str) -> Result<Roots, String> {
    match text {
        "system" => Ok(Roots::System),
        _ => file("server_tls_ca", text)
            .map(Roots::File)
            .map_err(|error| format!("{error}, and not 'system'")),
    }
}

/// Parses the name in the certificates of servers.
pub(super) fn name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned())
        .map_err(|_| format!("'{text}' is not a host name or an IP address"))
}

/// Parses a version.
pub(super) fn min_version(text: &str) -> Result<MinVersion, String> {
    match text {
        "1.2" => Ok(MinVersion::Tls12),
        "1.3" => Ok(MinVersion::Tls13),
        _ => Err(format!("'{text}' is not '1.2' or '1.3'")),
    }
}

/// Parses what is asked of clients; returns true if one without a certificate is let in.
pub(super) fn client_auth(text: &str) -> Result<bool, String> {
    match text {
        "required" => Ok(false),
        "optional" => Ok(true),
        _ => Err(format!("'{text}' is not 'required' or 'optional'")),
    }
}
