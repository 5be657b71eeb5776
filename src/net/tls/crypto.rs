//! The cryptography and the versions of TLS.

use std::sync::{Arc, LazyLock};

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};

/// The lowest version of TLS that is accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// The cryptography of all connections.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(ring::default_provider()));

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// The versions of TLS from this one on.
pub(super) fn versions(from: MinVersion) -> Vec<&'static SupportedProtocolVersion> {
    match from {
        MinVersion::Tls12 => vec![&TLS13, &TLS12],
        MinVersion::Tls13 => vec![&TLS13],
    }
}
