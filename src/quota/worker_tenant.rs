//! The part of one worker in what a tenant uses.

use std::cell::Cell;
use std::sync::Arc;

use super::kind::QuotaKind;
use super::local_tokens::LocalTokens;
use super::moment::Moment;
use super::tenant::{OverQuota, Tenant};

/// A tenant as one worker knows it.
#[derive(Debug)]
pub struct WorkerTenant {
    tenant: Arc<Tenant>,
    requests: LocalTokens,
    bytes: LocalTokens,
    largest_bytes: Cell<usize>,
}

/// Admits a request of so many bytes if all of these may send one; otherwise it costs none of them anything.
pub fn admit<const N: usize>(
    tenants: [Option<&WorkerTenant>; N],
    bytes: usize,
    now: impl Fn() -> Moment,
) -> Result<(), OverQuota> {
    for tenant in tenants.into_iter().flatten() {
        if let Some(kind) = tenant.first_exceeded(&now) {
            return Err(OverQuota::new(&tenant.tenant, kind));
        }
    }
    for tenant in tenants.into_iter().flatten() {
        tenant.spend_request(&now);
        tenant.charge(bytes, &now);
    }
    Ok(())
}

impl WorkerTenant {
    /// The part of a worker that has none yet.
    #[must_use]
    pub fn new(tenant: Arc<Tenant>) -> Self {
        Self {
            tenant,
            requests: LocalTokens::default(),
            bytes: LocalTokens::default(),
            largest_bytes: Cell::new(0),
        }
    }

    pub(super) const fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The largest holdings of one of its clients seen lately.
    pub const fn largest_bytes(&self) -> &Cell<usize> {
        &self.largest_bytes
    }

    fn first_exceeded(&self, now: impl Fn() -> Moment) -> Option<QuotaKind> {
        let tenant = &self.tenant;
        if let Some(per_second) = tenant.limit(QuotaKind::Requests)
            && !self.requests.has_any(tenant.requests(), per_second, &now)
        {
            return Some(QuotaKind::Requests);
        }
        if let Some(per_second) = tenant.limit(QuotaKind::Bytes)
            && !self.bytes.has_any(tenant.bytes(), per_second, &now)
        {
            return Some(QuotaKind::Bytes);
        }
        None
    }

    fn spend_request(&self, now: impl FnOnce() -> Moment) {
        if let Some(per_second) = self.tenant.limit(QuotaKind::Requests) {
            let bucket = self.tenant.requests();
            self.requests.spend(1, bucket, per_second, now);
        }
    }

    /// Charges bytes, perhaps more than there are: the next requests wait for them.
    pub fn charge(&self, bytes: usize, now: impl FnOnce() -> Moment) {
        if let Some(per_second) = self.tenant.limit(QuotaKind::Bytes) {
            let bucket = self.tenant.bytes();
            self.bytes.spend(bytes as u64, bucket, per_second, now);
        }
    }
}
