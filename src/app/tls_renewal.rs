//! Files of TLS that were read again, for a running pool.

use std::sync::atomic::Ordering;

use crate::config::{PoolConfig, PoolTls};
use crate::control::diff::compare;
use crate::journal::EventKind;
use crate::net::tls::TlsFileError;
use crate::runtime::PoolSetup;

/// What a pool says of TLS, with files that were read again, or the errors of those.
pub(super) type Renewed = (String, Result<PoolTls, Vec<TlsFileError>>);

/// Has a pool use them; faulty ones leave the old ones in use.
pub(super) fn renew_tls(setup: &PoolSetup, renewed: Result<PoolTls, Vec<TlsFileError>>) {
    let (pool, journal) = (&*setup.name, setup.store.journal());
    let tls = match renewed {
        Ok(tls) => tls,
        Err(errors) => {
            setup.tls_refused.fetch_add(1, Ordering::Relaxed);
            for TlsFileError { directive, text } in errors {
                tracing::error!(pool, "'{directive}': {text}; the old one stays in use");
                journal.record(EventKind::TlsRefused, format!("'{directive}': {text}"));
            }
            return;
        }
    };
    let old = setup.store.comparable_config();
    if tls == old.tls || !tls.is_of_same_file(&old.tls) {
        return;
    }
    let new = PoolConfig {
        tls,
        ..PoolConfig::clone(&old)
    };
    let diff = compare(std::slice::from_ref(&old), std::slice::from_ref(&new));
    setup.set_config(new);
    for change in diff.changes() {
        tracing::info!("TLS: {change}");
        journal.record(EventKind::TlsRenewed, change);
    }
}
