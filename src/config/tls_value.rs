//! Parsers of the values of TLS. Every error is a sentence that names what would be valid.

use crate::net::tls::{MinVersion, ServerName};

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
