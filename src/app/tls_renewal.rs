//! Files of TLS that were read again, for a running pool.

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
            let text = |error: &TlsFileError| format!("'{}': {error}", error.directive);
            let reasons: Vec<_> = errors.iter().map(text).collect();
            for reason in &reasons {
                tracing::error!(pool, "{reason}; the old one stays in use");
                journal.record(EventKind::TlsRefused, reason);
            }
            return setup.tls_refusals.refuse(reasons);
        }
    };
    setup.tls_refusals.clear();
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
