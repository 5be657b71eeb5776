//! The connections of a tenant.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::kind::QuotaKind;
use super::tenant::{OverQuota, Tenant};

/// A connection of a tenant, counted until it is dropped.
#[derive(Debug)]
pub struct TenantConnection {
    tenant: Arc<Tenant>,
}

impl TenantConnection {
    /// Counts one more, if the quota allows it.
    pub fn open(tenant: &Arc<Tenant>) -> Result<Self, OverQuota> {
        let limit = tenant.limit(QuotaKind::Connections);
        let one_more = |count: u64| {
            let is_over = limit.is_some_and(|limit| count >= limit.get());
            (!is_over).then(|| count + 1)
        };
        let count = counted(tenant);
        let opened = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        opened
            .map(|_| Self::of(tenant))
            .map_err(|_| Self::refusal(tenant))
    }

    /// Why there may not be one more.
    pub fn refusal(tenant: &Arc<Tenant>) -> OverQuota {
        OverQuota::new(tenant, QuotaKind::Connections)
    }

    /// Counts one more, whatever the quota says.
    pub fn open_anyway(tenant: &Arc<Tenant>) -> Self {
        counted(tenant).fetch_add(1, Ordering::Relaxed);
        Self::of(tenant)
    }

    /// Returns true if it is one of this tenant.
    pub fn is_of(&self, tenant: &Arc<Tenant>) -> bool {
        Arc::ptr_eq(&self.tenant, tenant)
    }

    fn of(tenant: &Arc<Tenant>) -> Self {
        Self {
            tenant: Arc::clone(tenant),
        }
    }
}

impl Drop for TenantConnection {
    fn drop(&mut self) {
        counted(&self.tenant).fetch_sub(1, Ordering::Relaxed);
    }
}

fn counted(tenant: &Tenant) -> &AtomicU64 {
    tenant.connections()
}
